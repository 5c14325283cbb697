//! Snapshots on their way to other nodes, and from them: pieces of their files.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use raft_core::effects::ReceivedChunk;
use raft_core::snapshot::Saved;
use raft_core::types::EntryId;

use super::directory::{Directory, Lock, remove_unneeded};
use super::snapshot_files::{self, Reading, SYNC_BYTES, SnapshotFile};
use super::{Damage, Error, Fault};
use crate::codec::SNAPSHOT_LINE_BYTES_MAX;

/// Most bytes of a piece.
pub const PIECE_BYTES_MAX: usize = 256 << 10;

/// Most files that are open for reading: the newest snapshot, and one that it has replaced and that somebody is still
/// getting.
const OPEN_FILES_MAX: usize = 2;

/// Reads and writes pieces of snapshots; for a thread of its own.
#[derive(Debug)]
pub struct Transfers {
    directory: Directory,
    _lock: Arc<Lock>,
    /// Files that are being read, the one used last at the end.
    outgoing: Vec<Outgoing>,
    /// The one that comes in.
    incoming: Option<Incoming>,
}

/// A snapshot that others get. It stays readable when a newer one has replaced it.
#[derive(Debug)]
struct Outgoing {
    snapshot: EntryId,
    file: File,
    path: PathBuf,
}

/// Another node's snapshot.
#[derive(Debug)]
struct Incoming {
    target: SnapshotFile,
    /// Where it is written.
    path: PathBuf,
    file: File,
    /// The next byte that is due.
    next: u64,
    /// Bytes written and not made durable.
    unsynced: usize,
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    reading: Reading,
}

impl Transfers {
    pub(super) fn new(directory: Directory, lock: Arc<Lock>) -> Transfers {
        Transfers { directory, _lock: lock, outgoing: Vec::new(), incoming: None }
    }

    /// The piece of the snapshot's file that begins at byte `offset`, and the length of the file. A piece ends where
    /// another one can begin; at the file's end, and beyond it, there is only an empty one. `None`: there is no such
    /// snapshot, or not any more.
    pub fn read(
        &mut self,
        snapshot: EntryId,
        offset: u64,
    ) -> Result<Option<(Arc<str>, u64)>, Error> {
        let Some(outgoing) = self.outgoing(snapshot)? else { return Ok(None) };
        let (piece, total, is_replaced) = outgoing.read(offset)?;
        let end = offset.saturating_add(u64::try_from(piece.len()).expect("lengths fit 64 bits"));
        if is_replaced && end >= total {
            // It takes room on the disk for as long as it is open.
            self.outgoing.pop();
        }
        Ok(Some((piece, total)))
    }

    /// The open file, as the last one of `outgoing`.
    fn outgoing(&mut self, snapshot: EntryId) -> Result<Option<&Outgoing>, Error> {
        if let Some(at) = self.outgoing.iter().position(|open| open.snapshot == snapshot) {
            let open = self.outgoing.remove(at);
            self.outgoing.push(open);
            return Ok(self.outgoing.last());
        }
        let path = SnapshotFile::new(&self.directory.snapshot_dir(), snapshot).path;
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("open", &path, e)),
        };
        if self.outgoing.len() == OPEN_FILES_MAX {
            self.outgoing.remove(0);
        }
        self.outgoing.push(Outgoing { snapshot, file, path });
        Ok(self.outgoing.last())
    }

    /// Takes a piece of another node's snapshot. `None`: there is more to come. Otherwise the snapshot is complete,
    /// checked from its first line to its last, durable under its name, and older ones are gone.
    ///
    /// After an error what was received is thrown away, and nothing else has changed; the snapshot may be sent again.
    pub fn receive(&mut self, piece: &ReceivedChunk) -> Result<Option<Saved>, Error> {
        let mut incoming = self.incoming(piece)?;
        match incoming.take(&piece.data) {
            Ok(()) if piece.is_last => incoming.publish(&self.directory).map(Some),
            Ok(()) => {
                self.incoming = Some(incoming);
                Ok(None)
            }
            Err(error) => {
                remove_unneeded(&incoming.path);
                Err(error)
            }
        }
    }

    /// The file that the piece belongs to: a new one, or the one that is under way, if the piece is the next one.
    fn incoming(&mut self, piece: &ReceivedChunk) -> Result<Incoming, Error> {
        let ReceivedChunk { snapshot, offset, .. } = *piece;
        let unfinished = self.incoming.take();
        if offset == 0 {
            if let Some(unfinished) = unfinished {
                remove_unneeded(&unfinished.path);
            }
            return Incoming::begin(&self.directory, snapshot);
        }
        match unfinished {
            Some(incoming) if (incoming.target.last, incoming.next) == (snapshot, offset) => {
                Ok(incoming)
            }
            other => {
                let of_this = other.as_ref().filter(|other| other.target.last == snapshot);
                let expected = of_this.map_or(0, |incoming| incoming.next);
                // What is under way may still be completed.
                self.incoming = other;
                Err(Error::PieceOutOfOrder { snapshot, expected, found: offset })
            }
        }
    }
}

impl Outgoing {
    /// A piece, the file's length, and whether the file is no longer to be found under its name.
    fn read(&self, offset: u64) -> Result<(Arc<str>, u64, bool), Error> {
        let failed = |e| Error::io("read", &self.path, e);
        let metadata = self.file.metadata().map_err(failed)?;
        let (total, is_replaced) = (metadata.len(), metadata.nlink() == 0);
        if offset >= total {
            return Ok((Arc::from(""), total, is_replaced));
        }
        let mut bytes = vec![0; PIECE_BYTES_MAX];
        let mut length = 0;
        while length < bytes.len() {
            let at = offset + u64::try_from(length).expect("lengths fit 64 bits");
            match self.file.read_at(&mut bytes[length..], at) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(failed(e)),
            }
        }
        bytes.truncate(length);
        let text = match std::str::from_utf8(&bytes) {
            Ok(text) => text,
            // The last character does not fit.
            Err(e) if e.error_len().is_none() && e.valid_up_to() > 0 => {
                std::str::from_utf8(&bytes[..e.valid_up_to()]).expect("valid up to there")
            }
            Err(_) => return Err(Error::BadOffset { path: self.path.clone(), offset }),
        };
        Ok((text.into(), total, is_replaced))
    }
}

impl Incoming {
    fn begin(directory: &Directory, snapshot: EntryId) -> Result<Incoming, Error> {
        let target = SnapshotFile::new(&directory.snapshot_dir(), snapshot);
        let path = target.unfinished("part");
        let file = File::create(&path).map_err(|e| Error::io("create", &path, e))?;
        let reading = Reading::new(target.clone(), &directory.identity().cluster);
        let partial = Vec::new();
        Ok(Incoming { target, path, file, next: 0, unsynced: 0, partial, reading })
    }

    fn take(&mut self, data: &str) -> Result<(), Error> {
        let data = data.as_bytes();
        self.file.write_all(data).map_err(|e| Error::io("write", &self.path, e))?;
        self.next += u64::try_from(data.len()).expect("lengths fit 64 bits");
        self.unsynced += data.len();
        if self.unsynced >= SYNC_BYTES {
            self.file.sync_data().map_err(|e| Error::sync(&self.path, e))?;
            self.unsynced = 0;
        }
        for part in data.split_inclusive(|&b| b == b'\n') {
            self.partial.extend_from_slice(part);
            // A line that does not end is refused before it fills the memory.
            if part.ends_with(b"\n") || self.partial.len() > SNAPSHOT_LINE_BYTES_MAX {
                self.reading.line(&self.partial).map_err(received)?;
                self.partial.clear();
            }
        }
        Ok(())
    }

    /// Checks the end, makes the file durable, and gives it its name.
    fn publish(self, directory: &Directory) -> Result<Saved, Error> {
        let Incoming { target, path, file, partial, mut reading, .. } = self;
        let published = (|| {
            if !partial.is_empty() {
                reading.line(&partial).map_err(received)?;
            }
            let saved = reading.finish().map_err(received)?;
            file.sync_all().map_err(|e| Error::sync(&path, e))?;
            snapshot_files::publish(directory, &path, &target)?;
            Ok(saved)
        })();
        if published.is_err() {
            remove_unneeded(&path);
        }
        published
    }
}

/// A bad line of what somebody else sent is no damage to this node's disk.
fn received(error: Error) -> Error {
    if let Error::NotUnderstood { file, line, source } = error {
        let fault = Fault::Snapshot(source);
        return Error::BadSnapshotReceived(Damage::Line { file, line, fault });
    }
    if let Error::Damaged(damage) = error {
        return Error::BadSnapshotReceived(damage);
    }
    error
}
