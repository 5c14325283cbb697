//! Lines out of a byte stream, in big reads and with a bound on their length.

use std::io;

use tokio::io::AsyncReadExt as _;
use tokio::net::tcp::OwnedReadHalf;

/// Room offered to the first reads of a connection, bytes. Idle connections are many and small.
const READ_BYTES_MIN: usize = 16 << 10;

/// Room offered once reads come back full, bytes.
const READ_BYTES_MAX: usize = 256 << 10;

/// A drained buffer larger than this is given back, bytes: one long line must not cost memory for ever.
const KEEP_BYTES_MAX: usize = 1 << 20;

/// The reading half of a connection, line by line.
#[derive(Debug)]
pub(crate) struct Lines {
    reader: OwnedReadHalf,
    buffer: Vec<u8>,
    /// The next line begins here.
    start: usize,
    /// No line ends between `start` and here: what was searched once is not searched again.
    searched: usize,
    /// How much room the next read gets, bytes.
    read_bytes: usize,
    line_bytes_max: usize,
}

/// A line exceeds its bound. Nothing after it can be trusted to be a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong {
    /// The bound, bytes.
    pub(crate) line_bytes_max: usize,
}

impl Lines {
    /// `line_bytes_max` counts without the line's end.
    pub(crate) fn new(reader: OwnedReadHalf, line_bytes_max: usize) -> Lines {
        Lines {
            reader,
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            read_bytes: READ_BYTES_MIN,
            line_bytes_max,
        }
    }

    /// Changes the bound for the lines to come.
    pub(crate) fn set_line_bytes_max(&mut self, line_bytes_max: usize) {
        self.line_bytes_max = line_bytes_max;
    }

    /// The next line without its end, if it has arrived whole.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, TooLong> {
        let too_long = TooLong { line_bytes_max: self.line_bytes_max };
        let Some(offset) = memchr::memchr(b'\n', &self.buffer[self.searched..]) else {
            self.searched = self.buffer.len();
            let pending_bytes = self.buffer.len() - self.start;
            return if pending_bytes > self.line_bytes_max { Err(too_long) } else { Ok(None) };
        };
        let (start, end) = (self.start, self.searched + offset);
        self.start = end + 1;
        self.searched = self.start;
        if end - start > self.line_bytes_max {
            Err(too_long)
        } else {
            Ok(Some(&self.buffer[start..end]))
        }
    }

    /// Waits for more bytes; `false` at the end of the stream.
    pub(crate) async fn fill(&mut self) -> io::Result<bool> {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            if self.buffer.capacity() > KEEP_BYTES_MAX {
                self.buffer = Vec::new();
            }
        } else {
            self.buffer.drain(..self.start);
        }
        self.searched -= self.start;
        self.start = 0;
        self.buffer.reserve(self.read_bytes);
        let room_bytes = self.buffer.capacity() - self.buffer.len();
        let count = self.reader.read_buf(&mut self.buffer).await?;
        if count == room_bytes {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        }
        Ok(count > 0)
    }

    /// Whether bytes of an unfinished line are waiting for the rest.
    pub(crate) fn is_mid_line(&self) -> bool {
        self.start < self.buffer.len()
    }

    /// Reads and forgets until the stream ends. Closing a socket with bytes unread would reset the connection, and the
    /// other side might never see our last words. The caller bounds the time.
    pub(crate) async fn discard(mut self) {
        self.buffer = Vec::with_capacity(READ_BYTES_MIN);
        loop {
            self.buffer.clear();
            match self.reader.read_buf(&mut self.buffer).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// What `Lines` makes of the chunks, each sent when the one before has been read.
    fn check(chunks: &[&str], line_bytes_max: usize, expected: &[&str], too_long: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let mut lines = Lines::new(stream.into_split().0, line_bytes_max);
            let mut seen: Vec<String> = Vec::new();
            let mut chunks = chunks.iter();
            let ended = loop {
                match lines.next() {
                    Ok(Some(line)) => seen.push(String::from_utf8(line.to_vec()).unwrap()),
                    Err(_) => break true,
                    Ok(None) => {
                        let Some(chunk) = chunks.next() else { break false };
                        sender.write_all(chunk.as_bytes()).await.unwrap();
                        assert!(lines.fill().await.unwrap());
                    }
                }
            };
            assert_eq!(seen, expected);
            assert_eq!(ended, too_long);
        });
    }

    #[test]
    fn lines_come_out_whole_however_they_arrive() {
        check(&["ab\ncd\n"], 10, &["ab", "cd"], false);
        check(&["a", "b", "\nc", "d\n\n", "e"], 10, &["ab", "cd", ""], false);
    }

    #[test]
    fn line_at_the_bound_passes_and_one_byte_more_does_not() {
        check(&["1234\n"], 4, &["1234"], false);
        check(&["1\n12345\n"], 4, &["1"], true);
        check(&["1\n1234", "5"], 4, &["1"], true);
    }
}
