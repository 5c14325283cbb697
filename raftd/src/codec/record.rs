//! Lines of the log files.

use std::sync::Arc;

use raft_core::effects::Record;
use raft_core::types::{EntryId, Index, NodeId, Term};
use serde::{Deserialize, Serialize};

use super::entry::ENTRY_START;
use super::{
    Error, count, decode_entry, entry_json, maybe_positive, positive, read_line, write_json,
    write_line,
};

/// A line of a log file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogLine {
    /// The first line of each file.
    Segment(SegmentStart),
    /// Any other.
    Record(Record),
}

/// First line of a segment: whose it is, and where the log stands at its beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentStart {
    /// Counts the segments from 1; the file's name.
    #[serde(deserialize_with = "positive")]
    pub number: u64,
    /// The cluster's id.
    pub cluster: String,
    /// The node.
    #[serde(deserialize_with = "positive")]
    pub node: NodeId,
    /// Length of the segment before, in bytes; 0 if there is none.
    #[serde(deserialize_with = "count")]
    pub previous_bytes: u64,
    /// Index that the next entry gets.
    #[serde(deserialize_with = "positive")]
    pub next: Index,
    /// Term of the entry before that; 0 if there is none. The log may come to begin here.
    #[serde(deserialize_with = "count")]
    pub last_term: Term,
    /// The current term.
    #[serde(deserialize_with = "count")]
    pub term: Term,
    /// The vote in that term.
    #[serde(default, deserialize_with = "maybe_positive", skip_serializing_if = "Option::is_none")]
    pub vote: Option<NodeId>,
}

/// Appends the record as a line, its end included.
pub fn encode_record(record: &Record, out: &mut Vec<u8>) {
    write_line(out, |out| match record {
        Record::Entry(entry) => out.extend_from_slice(entry_json(entry).as_bytes()),
        Record::HardState { term, vote } => {
            write_json(out, &RareLine::HardState { term: *term, vote: *vote });
        }
        Record::Truncate { from } => write_json(out, &RareLine::Truncate(*from)),
        Record::Snapshot { last: EntryId { index, term } } => {
            write_json(out, &RareLine::Snapshot { index: *index, term: *term });
        }
    });
}

/// Appends a segment's first line, its end included.
pub fn encode_segment_start(start: &SegmentStart, out: &mut Vec<u8>) {
    write_line(out, |out| write_json(out, &RareLine::Segment(start.clone())));
}

/// Reads a line of a log file, with or without its end.
pub fn decode_log_line(line: &[u8]) -> Result<LogLine, Error> {
    let text = read_line(line)?;
    if text.starts_with(ENTRY_START) {
        return Ok(LogLine::Record(Record::Entry(Arc::new(decode_entry(text)?))));
    }
    Ok(match serde_json::from_str(text).map_err(Error::Json)? {
        RareLine::HardState { term, vote } => LogLine::Record(Record::HardState { term, vote }),
        RareLine::Truncate(from) => LogLine::Record(Record::Truncate { from }),
        RareLine::Snapshot { index, term } => {
            LogLine::Record(Record::Snapshot { last: EntryId { term, index } })
        }
        RareLine::Segment(start) => LogLine::Segment(start),
    })
}

/// All lines but entries.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum RareLine {
    HardState {
        #[serde(deserialize_with = "count")]
        term: Term,
        #[serde(
            default,
            deserialize_with = "maybe_positive",
            skip_serializing_if = "Option::is_none"
        )]
        vote: Option<NodeId>,
    },
    Truncate(#[serde(deserialize_with = "positive")] Index),
    Snapshot {
        #[serde(deserialize_with = "positive")]
        index: Index,
        #[serde(deserialize_with = "positive")]
        term: Term,
    },
    Segment(SegmentStart),
}
