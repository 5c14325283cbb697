//! Writes a history while it happens.

use std::io::{self, Write};

use super::{Event, FORMAT, Header};

/// Why an event was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The event is older than its predecessor.
    #[error("an event of time {time} cannot follow one of time {previous}")]
    Time {
        /// Its time.
        time: u64,
        /// Its predecessor's.
        previous: u64,
    },
    /// It has no JSON form.
    #[error("an event cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The output failed.
    #[error("the history cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// Appends events, numbers them, and refuses time that falls.
///
/// Each line reaches the output in one `write_all`, so a crash cuts at most the last one. Who hands in a buffered
/// output decides with [`Writer::flush`] how much a crash may cost.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
    line: Vec<u8>,
    index_next: u64,
    time: u64,
}

impl<W: Write> Writer<W> {
    /// Writes the header, with [`FORMAT`] as its version.
    pub fn new(out: W, header: &Header) -> Result<Writer<W>, WriteError> {
        let mut writer = Writer { out, line: Vec::new(), index_next: 0, time: 0 };
        writer.write_line(&Header { history: FORMAT, ..header.clone() })?;
        Ok(writer)
    }

    /// Appends an event under the next index, which is returned; the event's own index is ignored.
    pub fn write(&mut self, mut event: Event) -> Result<u64, WriteError> {
        if event.time < self.time {
            return Err(WriteError::Time { time: event.time, previous: self.time });
        }
        event.index = self.index_next;
        self.write_line(&event)?;
        self.time = event.time;
        self.index_next += 1;
        Ok(event.index)
    }

    /// Flushes the output.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        Ok(self.out.flush()?)
    }

    /// Flushes and hands the output back.
    pub fn into_inner(mut self) -> Result<W, WriteError> {
        self.flush()?;
        Ok(self.out)
    }

    fn write_line(&mut self, value: &impl serde::Serialize) -> Result<(), WriteError> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, value)?;
        self.line.push(b'\n');
        Ok(self.out.write_all(&self.line)?)
    }
}
