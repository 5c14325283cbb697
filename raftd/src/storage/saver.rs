//! Writes snapshots of this node's own.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use raft_core::snapshot::Snapshot;

use super::Error;
use super::directory::{Directory, Lock, remove_unneeded};
use super::snapshot_files::{self, SYNC_BYTES, SnapshotFile};
use crate::codec;

/// Written with one call.
const WRITE_BYTES: usize = 256 << 10;

/// Saves snapshots; for a thread of its own.
#[derive(Debug)]
pub struct Saver {
    directory: Directory,
    _lock: Arc<Lock>,
}

impl Saver {
    pub(super) fn new(directory: Directory, lock: Arc<Lock>) -> Saver {
        Saver { directory, _lock: lock }
    }

    /// Makes the snapshot durable under its name, file and directory, and removes older ones; the length of its file,
    /// bytes.
    ///
    /// After an error there is no such snapshot, and nothing else has changed; there may be more luck with the next one.
    /// (Only if the directory cannot be made durable, the snapshot may be there or not after a crash, which does no harm.)
    pub fn save(&mut self, snapshot: &Snapshot) -> Result<u64, Error> {
        let file = SnapshotFile::new(&self.directory.snapshot_dir(), snapshot.last);
        let unfinished = file.unfinished("tmp");
        let written = self.write(snapshot, &unfinished);
        if written.is_err() {
            remove_unneeded(&unfinished);
        }
        let bytes = written?;
        snapshot_files::publish(&self.directory, &unfinished, &file)?;
        Ok(bytes)
    }

    /// Writes a durable file that has not got its name yet.
    fn write(&self, snapshot: &Snapshot, path: &Path) -> Result<u64, Error> {
        let file = File::create(path).map_err(|e| Error::io("create", path, e))?;
        let mut output = Output {
            file,
            path,
            buffer: Vec::with_capacity(WRITE_BYTES),
            unsynced: 0,
            bytes: 0,
            failed: None,
        };
        let cluster = &self.directory.identity().cluster;
        let encoded = codec::encode_snapshot(snapshot, cluster, |line| output.take(line));
        let Output { failed, .. } = &mut output;
        if let Some(error) = failed.take() {
            return Err(error);
        }
        encoded.map_err(|e| Error::io("write", path, e))?;
        output.write()?;
        output.file.sync_all().map_err(|e| Error::sync(path, e))?;
        Ok(output.bytes)
    }
}

/// A file that is written piece by piece.
struct Output<'a> {
    file: File,
    path: &'a Path,
    buffer: Vec<u8>,
    /// Bytes written and not made durable.
    unsynced: usize,
    /// Bytes written.
    bytes: u64,
    /// What `take` has to say beyond an `io::Error`.
    failed: Option<Error>,
}

impl Output<'_> {
    fn take(&mut self, line: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(line);
        if self.buffer.len() < WRITE_BYTES {
            return Ok(());
        }
        self.write().map_err(|error| {
            self.failed = Some(error);
            io::Error::other("see `failed`")
        })
    }

    fn write(&mut self) -> Result<(), Error> {
        self.file.write_all(&self.buffer).map_err(|e| Error::io("write", self.path, e))?;
        self.bytes += u64::try_from(self.buffer.len()).expect("lengths fit 64 bits");
        self.unsynced += self.buffer.len();
        self.buffer.clear();
        if self.unsynced >= SYNC_BYTES {
            self.file.sync_data().map_err(|e| Error::sync(self.path, e))?;
            self.unsynced = 0;
        }
        Ok(())
    }
}
