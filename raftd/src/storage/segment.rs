//! The files of the log: their names, which of them there must be, and reading one line by line.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::directory::{Directory, list, publish};
use super::sequence::Position;
use super::{Damage, Error, Identity, sealed};
use crate::codec::{self, SegmentStart};

/// Enough to keep a disk busy; more gains nothing.
const READ_BYTES: usize = 1 << 20;

/// A segment by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentFile {
    pub(super) number: u64,
    pub(super) path: PathBuf,
}

impl SegmentFile {
    pub(super) fn new(log_dir: &Path, number: u64) -> SegmentFile {
        SegmentFile { number, path: log_dir.join(format!("{number:020}.log")) }
    }

    /// The segment that a directory entry is, if it is one: everything else there is none of our business.
    pub(super) fn parse(log_dir: &Path, name: &str) -> Option<SegmentFile> {
        let digits = name.strip_suffix(".log")?;
        let is_number = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| Some(SegmentFile::new(log_dir, digits.parse().ok()?))).flatten()
    }

    /// All there are, by number.
    pub(super) fn list(log_dir: &Path) -> Result<Vec<SegmentFile>, Error> {
        let names = list(log_dir)?;
        Ok(names.iter().filter_map(|name| SegmentFile::parse(log_dir, name)).collect())
    }
}

/// `segments.json`: which segments there must be, so that one that is gone is noticed. Its owner is whoever owns the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counters {
    /// The first one that counts. Those before are what an interrupted purge left behind.
    pub(super) first: u64,
    /// The newest one that is known of. There may be one more: it appears first, and is counted then.
    pub(super) newest: u64,
}

impl Counters {
    fn path(directory: &Directory) -> PathBuf {
        directory.log_dir().join("segments.json")
    }

    pub(super) fn read(directory: &Directory) -> Result<Counters, Error> {
        let path = Counters::path(directory);
        sealed::read(&path)?.ok_or(Error::Damaged(Damage::Missing { path }))
    }

    pub(super) fn publish(self, directory: &Directory) -> Result<(), Error> {
        publish(&Counters::path(directory), sealed::seal(&self).as_bytes())
    }
}

/// The segments of a directory.
#[derive(Debug)]
pub(super) struct Segments {
    /// Those that count; none is missing.
    pub(super) live: Vec<SegmentFile>,
    /// Those that do not count any more.
    pub(super) purged: Vec<SegmentFile>,
    pub(super) counters: Counters,
}

impl Segments {
    pub(super) fn find(directory: &Directory) -> Result<Segments, Error> {
        let counters = Counters::read(directory)?;
        let log_dir = directory.log_dir();
        let (purged, live): (Vec<_>, Vec<_>) =
            SegmentFile::list(&log_dir)?.into_iter().partition(|file| file.number < counters.first);
        let missing = |number| {
            Err(Error::Damaged(Damage::Missing { path: SegmentFile::new(&log_dir, number).path }))
        };
        let mut expected = counters.first;
        for segment in &live {
            if segment.number != expected {
                return missing(expected);
            }
            expected += 1;
        }
        if expected <= counters.newest {
            return missing(expected);
        }
        Ok(Segments { live, purged, counters })
    }
}

/// Creates a segment that holds its first line, durably, and remembers that there is one. Doing it again is harmless as
/// long as nothing was written to it.
pub(super) fn create_segment(
    directory: &Directory,
    counters: Counters,
    previous_bytes: u64,
    at: Position,
) -> Result<(File, PathBuf, u64), Error> {
    let Identity { cluster, node } = directory.identity().clone();
    let Position { next, last_term, term, vote } = at;
    let number = counters.newest;
    let start = SegmentStart { number, cluster, node, previous_bytes, next, last_term, term, vote };
    let mut content = Vec::new();
    codec::encode_segment_start(&start, &mut content);
    content.push(b'\n');
    let path = SegmentFile::new(&directory.log_dir(), number).path;
    publish(&path, &content)?;
    counters.publish(directory)?;
    let bytes = u64::try_from(content.len()).expect("lengths fit 64 bits");
    Ok((open_segment(&path)?, path, bytes))
}

pub(super) fn open_segment(path: &Path) -> Result<File, Error> {
    OpenOptions::new().read(true).write(true).open(path).map_err(|e| Error::io("open", path, e))
}

/// Reads a file's lines, knowing where it is.
#[derive(Debug)]
pub(super) struct Lines {
    input: BufReader<File>,
    path: PathBuf,
    /// Number of the current line, from 1.
    pub(super) number: u64,
    /// Where the current line starts in the file.
    pub(super) offset: u64,
    /// The current line with its end; without one, the file ends in it.
    pub(super) line: Vec<u8>,
}

impl Lines {
    pub(super) fn open(path: &Path) -> Result<Lines, Error> {
        let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
        let input = BufReader::with_capacity(READ_BYTES, file);
        Ok(Lines { input, path: path.to_owned(), number: 0, offset: 0, line: Vec::new() })
    }

    /// Goes on to the next line; `false` at the end of the file.
    pub(super) fn advance(&mut self) -> Result<bool, Error> {
        self.offset = self.end();
        self.number += 1;
        self.line.clear();
        let read = self.input.read_until(b'\n', &mut self.line);
        Ok(read.map_err(|e| Error::io("read", &self.path, e))? > 0)
    }

    /// Appends everything after the current line to `rest`.
    pub(super) fn read_rest(&mut self, rest: &mut Vec<u8>) -> Result<(), Error> {
        let read = self.input.read_to_end(rest);
        read.map(drop).map_err(|e| Error::io("read", &self.path, e))
    }

    /// Where the current line ends in the file.
    pub(super) fn end(&self) -> u64 {
        self.offset + u64::try_from(self.line.len()).expect("lengths fit 64 bits")
    }
}
