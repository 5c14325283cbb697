//! The writing half of a connection: gather, then write once.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;

use super::{ConnectionId, Event, Task};

/// A receiver that takes nothing for this long is given up.
const STALL_MAX: Duration = Duration::from_secs(30);

/// A drained buffer larger than this is given back, bytes.
const KEEP_BYTES_MAX: usize = 1 << 20;

/// Bytes on their way to one receiver.
///
/// The event loop appends what it has to say, and writes once a wake-up. What the socket does not take at once, a task of
/// its own finishes, and hands the socket back with [`Event::Flushed`]; until then new bytes gather here.
#[derive(Debug)]
pub(crate) struct Outbox {
    id: ConnectionId,
    socket: Socket,
    queue: Vec<u8>,
}

#[derive(Debug)]
enum Socket {
    /// Took everything so far.
    Ready(OwnedWriteHalf),
    /// With the task that finishes an earlier write.
    Stalled {
        /// What that task was given, bytes.
        bytes: usize,
        _task: Task,
    },
    /// Failed: say no more.
    Broken,
}

/// A socket that comes back from a stall, and the buffer that was written.
#[derive(Debug)]
pub(crate) struct Flushed {
    writer: OwnedWriteHalf,
    buffer: Vec<u8>,
}

impl Outbox {
    pub(crate) fn new(id: ConnectionId, writer: OwnedWriteHalf) -> Outbox {
        Outbox { id, socket: Socket::Ready(writer), queue: Vec::new() }
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    /// Where to append whole lines; they leave with the next [`Outbox::flush`].
    pub(crate) fn queue(&mut self) -> &mut Vec<u8> {
        &mut self.queue
    }

    /// How many bytes the socket has not taken yet.
    pub(crate) fn bytes(&self) -> usize {
        let stalled_bytes = match self.socket {
            Socket::Stalled { bytes, .. } => bytes,
            Socket::Ready(_) | Socket::Broken => 0,
        };
        self.queue.len() + stalled_bytes
    }

    /// Writes what has gathered, as far as the socket takes it now. An error ends the connection.
    pub(crate) fn flush(&mut self, events: &mpsc::Sender<Event>) -> io::Result<()> {
        let Socket::Ready(writer) = &mut self.socket else { return Ok(()) };
        if self.queue.is_empty() {
            return Ok(());
        }
        let taken_bytes = match writer.try_write(&self.queue) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if taken_bytes == self.queue.len() {
            self.queue.clear();
            if self.queue.capacity() > KEEP_BYTES_MAX {
                self.queue = Vec::new();
            }
            return Ok(());
        }
        let buffer = std::mem::take(&mut self.queue);
        let bytes = buffer.len() - taken_bytes;
        if let Socket::Ready(writer) = std::mem::replace(&mut self.socket, Socket::Broken) {
            let task = finish(self.id, writer, buffer, taken_bytes, events.clone());
            self.socket = Socket::Stalled { bytes, _task: Task::spawn(task) };
        }
        Ok(())
    }

    /// Takes the socket back after a stall, and writes what has gathered since.
    pub(crate) fn resume(
        &mut self,
        flushed: io::Result<Flushed>,
        events: &mpsc::Sender<Event>,
    ) -> io::Result<()> {
        self.socket = Socket::Broken;
        let Flushed { writer, mut buffer } = flushed?;
        self.socket = Socket::Ready(writer);
        if self.queue.is_empty() && buffer.capacity() <= KEEP_BYTES_MAX {
            buffer.clear();
            self.queue = buffer;
        }
        self.flush(events)
    }
}

/// Writes the rest of a buffer at the receiver's pace.
async fn finish(
    id: ConnectionId,
    mut writer: OwnedWriteHalf,
    buffer: Vec<u8>,
    from: usize,
    events: mpsc::Sender<Event>,
) {
    let written = tokio::time::timeout(STALL_MAX, writer.write_all(&buffer[from..])).await;
    let result = match written {
        Ok(Ok(())) => Ok(Flushed { writer, buffer }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
    };
    // Sending fails only when the event loop has ended, and the process with it.
    events.send(Event::Flushed { id, result }).await.ok();
}
