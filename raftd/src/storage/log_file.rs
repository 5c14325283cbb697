//! Appends to the newest segment.

use raft_core::effects::Write;

use super::Error;

/// The log, open for appending. Holds the directory's lock until it is dropped.
#[derive(Debug)]
pub struct LogFile {}

impl LogFile {
    /// Takes the records into the buffer; durable after [`LogFile::sync`].
    pub fn append(&mut self, write: &Write) {
        let _ = write;
        unimplemented!()
    }

    /// Writes the buffer out and makes it durable.
    pub fn sync(&mut self) -> Result<(), Error> {
        unimplemented!()
    }
}
