//! `snapshot/`: names, what is there, and reading a file.

use std::fs;
use std::path::{Path, PathBuf};

use raft_core::snapshot::{Saved, Snapshot};
use raft_core::types::EntryId;

use super::directory::{Directory, list, remove_unneeded, sync_dir};
use super::segment::Lines;
use super::{Error, Fault};
use crate::codec::SnapshotDecoder;

const SUFFIX: &str = ".snap";

/// Made durable at a time while a file is written. If all of a large one went to the disk at its end, the log's writes
/// would have to wait for all of it.
pub(super) const SYNC_BYTES: usize = 4 << 20;

/// A snapshot by name. Ordered by index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SnapshotFile {
    pub(super) last: EntryId,
    pub(super) path: PathBuf,
}

impl SnapshotFile {
    pub(super) fn new(dir: &Path, last: EntryId) -> SnapshotFile {
        let EntryId { term, index } = last;
        SnapshotFile { last, path: dir.join(format!("{index:020}-{term}{SUFFIX}")) }
    }

    /// The snapshot that a directory entry is, if it is one.
    fn parse(dir: &Path, name: &str) -> Option<SnapshotFile> {
        let (index, term) = name.strip_suffix(SUFFIX)?.split_once('-')?;
        let last = EntryId { term: term.parse().ok()?, index: index.parse().ok()? };
        let file = SnapshotFile::new(dir, last);
        // Exactly as we write it: no signs, no other number of zeros.
        (file.path.file_name()? == name).then_some(file)
    }

    /// Where the file is written before it gets its name.
    pub(super) fn unfinished(&self, extension: &str) -> PathBuf {
        self.path.with_extension(extension)
    }
}

/// What there is in the directory, oldest snapshot first.
pub(super) fn find(directory: &Directory) -> Result<Vec<SnapshotFile>, Error> {
    let dir = directory.snapshot_dir();
    let names = list(&dir)?;
    let mut found: Vec<_> =
        names.iter().filter_map(|name| SnapshotFile::parse(&dir, name)).collect();
    found.sort_by_key(|file| (file.last.index, file.last.term));
    Ok(found)
}

/// Reads and checks a whole file.
pub(super) fn load(file: &SnapshotFile, cluster: &str) -> Result<Saved, Error> {
    let mut lines = Lines::open(&file.path)?;
    let mut reading = Reading::new(file.clone(), cluster);
    while lines.advance()? {
        reading.line(&lines.line)?;
    }
    reading.finish()
}

/// A file as it is read, or as it comes in.
#[derive(Debug)]
pub(super) struct Reading {
    file: SnapshotFile,
    decoder: SnapshotDecoder,
    /// Lines so far.
    lines: u64,
    /// Bytes of them.
    bytes: u64,
}

impl Reading {
    pub(super) fn new(file: SnapshotFile, cluster: &str) -> Reading {
        Reading { file, decoder: SnapshotDecoder::new(cluster), lines: 0, bytes: 0 }
    }

    /// Takes the next line, its end included.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<(), Error> {
        self.lines += 1;
        self.bytes += u64::try_from(line.len()).expect("lengths fit 64 bits");
        if !line.ends_with(b"\n") {
            return Err(self.fault(Fault::Unended));
        }
        self.decoder.line(line).map_err(|error| self.fault(Fault::Snapshot(error)))
    }

    /// The snapshot, if the file is complete with the lines so far.
    pub(super) fn finish(self) -> Result<Saved, Error> {
        let Reading { file, decoder, lines, bytes } = self;
        let fault = |fault| Error::line(&file.path, lines, fault);
        let snapshot: Snapshot = decoder.finish().map_err(|error| fault(Fault::Snapshot(error)))?;
        if snapshot.last != file.last {
            return Err(fault(Fault::OtherSnapshot { found: snapshot.last }));
        }
        Ok(Saved { snapshot, bytes })
    }

    pub(super) fn fault(&self, fault: Fault) -> Error {
        Error::line(&self.file.path, self.lines, fault)
    }
}

/// Gives a complete and durable file its name, durably, and removes what it makes superfluous.
pub(super) fn publish(
    directory: &Directory,
    unfinished: &Path,
    file: &SnapshotFile,
) -> Result<(), Error> {
    fs::rename(unfinished, &file.path).map_err(|e| Error::io("rename to", &file.path, e))?;
    sync_dir(&directory.snapshot_dir())?;
    remove_older(directory, file)
}

/// Removes the snapshots before `newest`, which is durable.
pub(super) fn remove_older(directory: &Directory, newest: &SnapshotFile) -> Result<(), Error> {
    for file in find(directory)? {
        if file.last.index < newest.last.index {
            remove_unneeded(&file.path);
        }
    }
    Ok(())
}
