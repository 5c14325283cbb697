//! Reads all segments in order and checks every line: what starting a node and inspecting its files have in common.

use std::path::PathBuf;

use raft_core::effects::Record;
use raft_core::types::Index;

use super::segment::{Lines, SegmentFile};
use super::sequence::{Position, Sequence};
use super::{Error, Fault, Identity, Torn, tail};
use crate::codec::{self, LogLine, SegmentStart};

/// Goes through the lines of a log. Changes nothing.
#[derive(Debug)]
pub(super) struct Walk {
    identity: Identity,
    /// Those still to be read.
    segments: std::vec::IntoIter<SegmentFile>,
    current: Option<Reader>,
    /// Length of the segment before the current one; `None`: it is purged.
    previous_bytes: Option<u64>,
    sequence: Sequence,
    beginnings: Beginnings,
}

/// The end of the intact part of the newest segment.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    /// Where the last batch starts.
    pub(super) batch_start: u64,
    /// Where the last batch ends, as far as it is intact.
    pub(super) end: u64,
    /// Whether that includes the empty line that ends a batch.
    pub(super) batch_ended: bool,
    /// What follows and is to be cut, apart from padding.
    pub(super) torn: Option<Torn>,
}

impl Walk {
    /// `segments` without gaps; at least one.
    pub(super) fn new(segments: Vec<SegmentFile>, identity: Identity) -> Walk {
        let is_whole = segments.first().is_some_and(|first| first.number == 1);
        Walk {
            identity,
            segments: segments.into_iter(),
            current: None,
            previous_bytes: is_whole.then_some(0),
            sequence: Sequence::default(),
            beginnings: Beginnings::default(),
        }
    }

    /// The next line that says something; `None` at the end of the log.
    pub(super) fn next(&mut self) -> Result<Option<LogLine>, Error> {
        loop {
            if let Some(reader) = &mut self.current {
                if let Some(line) = reader.next()? {
                    self.check(&line)?;
                    return Ok(Some(line));
                }
                self.previous_bytes = Some(reader.lines.end());
            }
            let Some(file) = self.segments.next() else { return Ok(None) };
            self.current = Some(Reader::open(file, self.segments.len() == 0)?);
        }
    }

    /// The line that [`Walk::next`] gave last, or failed at: its file, and itself.
    pub(super) fn place(&self) -> Option<(&SegmentFile, &Lines)> {
        self.current.as_ref().map(|reader| (&reader.file, &reader.lines))
    }

    /// What the records so far lead to.
    pub(super) fn sequence(&self) -> &Sequence {
        &self.sequence
    }

    /// Where the log may come to begin, as far as it was read.
    pub(super) fn beginnings(&self) -> &Beginnings {
        &self.beginnings
    }

    /// The end of the segment that is being read; of the log, after [`Walk::next`] gave `None`.
    pub(super) fn tail(&self) -> Tail {
        self.current.as_ref().map(|reader| reader.tail.clone()).unwrap_or_default()
    }

    fn check(&mut self, line: &LogLine) -> Result<(), Error> {
        let reader = self.current.as_ref().expect("the line was read from it");
        let is_first = reader.lines.number == 1;
        let place = |fault| reader.damage(fault);
        match line {
            LogLine::Segment(start) if is_first => {
                let (sequence, at) = self.check_start(start, reader.file.number).map_err(place)?;
                self.beginnings.push(start.number, at.next);
                self.sequence = sequence;
            }
            LogLine::Segment(_) => return Err(place(Fault::StartInside)),
            LogLine::Record(_) if is_first => return Err(place(Fault::NotAStart)),
            LogLine::Record(record) => {
                let accepted = self.sequence.accept(record);
                accepted.map_err(|fault| place(Fault::Sequence(fault)))?;
                self.beginnings.note(record);
            }
        }
        Ok(())
    }

    /// A segment's first line tells whether it is the right file, and whether all before it is there.
    fn check_start(
        &self,
        start: &SegmentStart,
        expected: u64,
    ) -> Result<(Sequence, Position), Fault> {
        let SegmentStart { number, cluster, node, previous_bytes, next, last_term, term, vote } =
            start;
        let Identity { cluster: our_cluster, node: our_node } = &self.identity;
        if (*number, cluster, node) != (expected, our_cluster, our_node) {
            let (found, node, cluster) = (*number, *node, cluster.clone());
            return Err(Fault::OtherSegment { found, node, cluster, expected });
        }
        let at = Position { next: *next, last_term: *last_term, term: *term, vote: *vote };
        let Some(before) = self.previous_bytes else {
            // What led here is purged.
            return Ok((Sequence::starting(at).ok_or(Fault::Start(at))?, at));
        };
        if *previous_bytes != before {
            return Err(Fault::PreviousLength { stated: *previous_bytes, found: before });
        }
        let expected = self.sequence.position();
        if at != expected {
            return Err(Fault::Position { found: at, expected });
        }
        Ok((self.sequence.clone(), at))
    }
}

/// Segments that the log may come to begin with, when those before are purged: nothing after their first lines goes
/// back behind these.
#[derive(Clone, Debug, Default)]
pub(super) struct Beginnings {
    /// Number and next index, by rising number.
    known: Vec<(u64, Index)>,
}

impl Beginnings {
    /// A segment begins at `next`.
    pub(super) fn push(&mut self, number: u64, next: Index) {
        self.known.push((number, next));
    }

    /// A record follows.
    pub(super) fn note(&mut self, record: &Record) {
        if let Record::Truncate { from } = record {
            self.known.retain(|(_, next)| next <= from);
        }
    }

    /// The last one with which nothing is lost from `index` on. The segments before are not needed.
    pub(super) fn before(&self, index: Index) -> Option<u64> {
        self.known.iter().rev().find(|(_, next)| *next <= index).map(|(number, _)| *number)
    }

    /// Those before are purged.
    pub(super) fn purge(&mut self, first: u64) {
        self.known.retain(|(number, _)| *number >= first);
    }
}

/// Reads one segment.
#[derive(Debug)]
struct Reader {
    file: SegmentFile,
    is_newest: bool,
    lines: Lines,
    /// Empty lines just before the current line.
    empty_lines: u64,
    tail: Tail,
}

impl Reader {
    fn open(file: SegmentFile, is_newest: bool) -> Result<Reader, Error> {
        let lines = Lines::open(&file.path)?;
        let tail = Tail {
            number: file.number,
            path: file.path.clone(),
            batch_ended: true,
            ..Tail::default()
        };
        Ok(Reader { file, is_newest, lines, empty_lines: 0, tail })
    }

    /// The next line that is not empty; `None` at the end of what is intact.
    fn next(&mut self) -> Result<Option<LogLine>, Error> {
        while self.lines.advance()? {
            if self.lines.line == b"\n" && self.lines.number > 1 {
                self.empty_lines += 1;
                if self.empty_lines == 1 {
                    self.tail.end = self.lines.end();
                    self.tail.batch_ended = true;
                }
                continue;
            }
            return match self.read_line() {
                Ok(line) => {
                    if self.tail.batch_ended {
                        self.tail.batch_start = self.lines.offset;
                    }
                    self.tail.end = self.lines.end();
                    self.tail.batch_ended = false;
                    self.empty_lines = 0;
                    Ok(Some(line))
                }
                Err(fault) => self.judge(fault).map(|()| None),
            };
        }
        if self.lines.number == 1 {
            return Err(self.damage(Fault::NotAStart));
        }
        Ok(None)
    }

    fn read_line(&self) -> Result<LogLine, Fault> {
        let line = codec::decode_log_line(&self.lines.line).map_err(Fault::Unreadable)?;
        if !self.lines.line.ends_with(b"\n") {
            return Err(Fault::Unended);
        }
        if self.empty_lines > 1 {
            return Err(Fault::EmptyLines(self.empty_lines));
        }
        Ok(line)
    }

    /// A line is bad: the end of the log, if it is a torn last write, or else damage.
    fn judge(&mut self, fault: Fault) -> Result<(), Error> {
        // A segment appears under its name only once its first line is durable.
        let is_complete = self.lines.line.ends_with(b"\n")
            && matches!(&fault, Fault::Unreadable(error) if !error.is_incomplete());
        let may_be_torn = self.is_newest && self.lines.number > 1 && !is_complete;
        if !may_be_torn {
            return Err(self.damage(fault));
        }
        let surplus = self.lines.offset - self.tail.end;
        let mut rest = vec![b'\n'; usize::try_from(surplus).expect("padding fits memory")];
        rest.extend_from_slice(&self.lines.line);
        self.lines.read_rest(&mut rest)?;
        if !tail::is_torn(&rest, self.tail.end, self.tail.batch_ended) {
            return Err(self.damage(fault));
        }
        self.tail.torn = Some(Torn {
            file: self.file.path.clone(),
            line: self.lines.number,
            keep_bytes: self.tail.end,
            cut_bytes: u64::try_from(rest.len()).expect("lengths fit 64 bits"),
        });
        Ok(())
    }

    fn damage(&self, fault: Fault) -> Error {
        Error::line(&self.file.path, self.lines.number, fault)
    }
}
