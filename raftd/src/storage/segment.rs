//! One file of the log: its name, its first line, and reading it line by line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::Error;

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
