//! A file as a window of bytes that moves over it.

use std::io::{self, Read};
use std::ops::Range;

use super::error::Problem;

/// What is in memory of a small file.
const WINDOW_BYTES_MIN: usize = 8 << 10;

/// What is read at once of a larger one, unless a line is longer.
const WINDOW_BYTES: usize = 256 << 10;

/// The input, of which what has been read but not consumed is in memory.
#[derive(Debug)]
pub(super) struct Input<R> {
    source: R,
    /// The whole is allocated; what has been read of the file is `start..end`.
    window: Vec<u8>,
    start: usize,
    end: usize,
    /// Where in the window the line stands that was read last, without its end.
    line: Range<usize>,
    /// Whether that line has an end.
    ended: bool,
    exhausted: bool,
    bytes_max: usize,
}

impl<R: Read> Input<R> {
    pub(super) fn new(source: R, bytes_max: usize) -> Input<R> {
        let window = vec![0; WINDOW_BYTES_MIN];
        let line = 0..0;
        Input {
            source,
            window,
            start: 0,
            end: 0,
            line,
            ended: true,
            exhausted: false,
            bytes_max: bytes_max.max(1),
        }
    }

    /// What is read and not consumed.
    pub(super) fn unread(&self) -> &[u8] {
        self.window.get(self.start..self.end).unwrap_or_default()
    }

    /// Whether there is nothing beyond it.
    pub(super) fn exhausted(&self) -> bool {
        self.exhausted
    }

    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Whether the limit allows no more to be read before something is consumed.
    pub(super) fn full(&self) -> bool {
        self.end - self.start > self.bytes_max
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.start = self.end.min(self.start + bytes);
    }

    /// Consumes so many bytes, which are then [`Input::line`].
    pub(super) fn take(&mut self, bytes: usize) {
        let start = self.start;
        self.consume(bytes);
        self.line = start..self.start;
        self.ended = true;
    }

    /// Reads once, as much as comes; at the end of the file, nothing.
    pub(super) fn fill(&mut self) -> Result<(), Problem> {
        if self.exhausted {
            return Ok(());
        }
        if self.end == self.window.len() && self.end < WINDOW_BYTES {
            self.window.resize(WINDOW_BYTES, 0);
        }
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.window.len() {
            if self.start > 0 && self.end - self.start <= self.window.len() / 2 {
                self.window.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            } else {
                self.window.resize(self.window.len() * 2, 0);
            }
        }
        loop {
            let Some(free) = self.window.get_mut(self.end..) else { return Ok(()) };
            match self.source.read(free) {
                Ok(0) => self.exhausted = true,
                Ok(bytes) => self.end = self.window.len().min(self.end + bytes),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Problem::Io(error)),
            }
            return Ok(());
        }
    }

    /// Consumes the next line, which is then [`Input::line`]; false at the end of the file.
    pub(super) fn next_line(&mut self) -> Result<bool, Problem> {
        let mut searched = 0;
        loop {
            let unread = self.unread();
            let unsearched = unread.get(searched..).unwrap_or_default();
            let found = memchr::memchr(b'\n', unsearched).map(|at| searched + at);
            searched = unread.len();
            if found.unwrap_or(searched) > self.bytes_max {
                let bytes_max = self.bytes_max;
                return Err(Problem::TooLong { what: "a line", bytes_max });
            }
            if found.is_some() || self.exhausted {
                let length = found.unwrap_or(searched);
                self.line = self.start..self.start + length;
                self.ended = found.is_some();
                self.consume(length + 1);
                return Ok(found.is_some() || length > 0);
            }
            self.fill()?;
        }
    }

    /// The line that was consumed last.
    pub(super) fn line(&self) -> &[u8] {
        self.window.get(self.line.clone()).unwrap_or_default()
    }

    /// Whether it has an end; only the last line of a file may have none.
    pub(super) fn line_ended(&self) -> bool {
        self.ended
    }
}
