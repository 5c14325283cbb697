//! Lines of a snapshot's file.
//!
//! ```text
//! {"snapshot":{"format":1,"cluster":"demo","index":17,"term":3,"config_index":0,"config":{"voters":[1,2,3]},"applied":17,"births_expired":0}}
//! {"key":"x","value":"v"}
//! {"client":"c3@12","used":17,"floor":12,"answers":[{"seq":17,"index":17,"ok":"done"}]}
//! {"end":{"lines":3,"crc":"5f1c8a30","state_hash":"650a41a5d2e4b2a6"}}
//! ```
//!
//! Keys come first, then sessions, each in the order of [`raft_core::kv::State`]: equal states give equal bytes. `crc`
//! is the CRC-32C of all bytes before the last line, and `lines` how many lines those are.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use raft_core::kv::{BadState, Limits, Output, Refusal, SessionView, StateBuilder, Written};
use raft_core::membership::Configuration;
use raft_core::snapshot::Snapshot;
use raft_core::types::{EntryId, Index, Term};
use serde::{Deserialize, Serialize};

use super::entry::{check_configuration, check_key, check_value};
use super::{Error, count, positive, read_line, write_json, write_line};
use crate::api::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// The only version there is.
const FORMAT: u32 = 1;

/// Longest line of a snapshot's file, bytes, its end included.
pub const SNAPSHOT_LINE_BYTES_MAX: usize = 16 << 20;

const _: () = {
    let limits = Limits::DEFAULT;
    let value = 6 * (KEY_BYTES_MAX + VALUE_BYTES_MAX) + 100;
    // Texts escaped sixfold. What else an answer says is up to 200 bytes; a result of a transaction, which counts for 32
    // bytes, says up to 31 and a comma.
    let session = 6 * (128 + limits.answer_bytes_max) + 200 * limits.answers_max + 200;
    assert!(value < SNAPSHOT_LINE_BYTES_MAX && session < SNAPSHOT_LINE_BYTES_MAX);
};

/// Tells the file of a snapshot, line by line, each with its end.
pub fn encode_snapshot(
    snapshot: &Snapshot,
    cluster: &str,
    out: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let Snapshot { last, config_index, config, state } = snapshot;
    let mut encoder = Encoder { out, line: Vec::new(), lines: 0, crc: 0 };
    encoder.line(&RareLine::Snapshot(Head {
        format: FORMAT,
        cluster: cluster.into(),
        index: last.index,
        term: last.term,
        config_index: *config_index,
        config: Arc::clone(config),
        applied: state.applied(),
        births_expired: state.births_expired(),
    }))?;
    for (key, value) in state.iter_values() {
        encoder.line(&ValueLine { key: key.into(), value: value.into() })?;
    }
    for session in state.iter_sessions() {
        encoder.line(&SessionLine::of(session))?;
    }
    let (lines, crc) = (encoder.lines, format!("{:08x}", encoder.crc));
    let state_hash = format!("{:016x}", state.hash());
    encoder.line(&RareLine::End(End { lines, crc, state_hash }))
}

struct Encoder<F> {
    out: F,
    line: Vec<u8>,
    /// How many lines there are so far.
    lines: u64,
    /// Of all of them.
    crc: u32,
}

impl<F: FnMut(&[u8]) -> io::Result<()>> Encoder<F> {
    fn line(&mut self, content: &impl Serialize) -> io::Result<()> {
        self.line.clear();
        write_line(&mut self.line, |out| write_json(out, content));
        self.lines += 1;
        self.crc = crc32c::crc32c_append(self.crc, &self.line);
        (self.out)(&self.line)
    }
}

/// Puts a snapshot together from the lines of its file. What comes out is what went in: lines that are missing, changed,
/// told twice, or in another order are noticed, in the last line at the latest.
#[derive(Debug)]
pub struct SnapshotDecoder {
    cluster: String,
    /// How many lines there were so far.
    lines: u64,
    /// Of all of them.
    crc: u32,
    progress: Progress,
}

/// How far it is.
#[derive(Debug)]
enum Progress {
    /// Nothing was read yet.
    Start,
    /// Between the first line and the last.
    Content(Box<Content>),
    /// The last line was read.
    End(Snapshot),
    /// A line was refused: there is nothing more to say.
    Failed,
}

#[derive(Debug)]
struct Content {
    last: EntryId,
    config_index: Index,
    config: Arc<Configuration>,
    state: StateBuilder,
    /// Whether a session was read: no keys follow.
    sessions_begun: bool,
}

/// What is wrong with a snapshot's file beyond single lines.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It does not begin as snapshots do, or what is a first line comes later.
    #[error("a snapshot's file must begin with the line \"snapshot\", and have no other")]
    FirstLine,
    /// Another version wrote it.
    #[error("snapshot format {found} is unknown here; {FORMAT} is known")]
    Format {
        /// What it says.
        found: u32,
    },
    /// It belongs to another cluster.
    #[error("it is a snapshot of cluster {found:?}, not of {expected:?}")]
    Cluster {
        /// What it says.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// An index that lies beyond the last entry.
    #[error("{what} is {index}, beyond the snapshot's last entry, {last}")]
    Beyond {
        /// Which index.
        what: &'static str,
        /// What it says.
        index: Index,
        /// The last entry.
        last: EntryId,
    },
    /// A key after a session.
    #[error("keys come before sessions")]
    KeyAfterSession,
    /// No store has such a state.
    #[error("{0}")]
    State(#[from] BadState),
    /// The last line is not the one of the lines before.
    #[error(
        "the lines before are {found_lines} with checksum {found_crc}; {lines} with checksum {crc} were written"
    )]
    End {
        /// How many there were.
        found_lines: u64,
        /// Their checksum.
        found_crc: String,
        /// How many there must be.
        lines: u64,
        /// What their checksum must be.
        crc: String,
    },
    /// The state hash is not 16 hex digits.
    #[error("{0:?} is no state hash (16 hex digits)")]
    NoHash(String),
    /// There is no last line.
    #[error("the file ends without the line \"end\"")]
    NoEnd,
    /// There is more after the last line.
    #[error("the file goes on after the line \"end\"")]
    AfterEnd,
    /// Longer than any line that is ever written.
    #[error("it has {bytes} bytes; {SNAPSHOT_LINE_BYTES_MAX} is the most")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// An answer that is none, or two.
    #[error("the answer to request {seq} must be either \"ok\" or \"refused\"")]
    Answer {
        /// The request.
        seq: u64,
    },
    /// The line does not end as lines do.
    #[error("the file ends inside the line")]
    Unended,
    /// A line before was refused.
    #[error("a line before was refused")]
    Failed,
}

impl SnapshotDecoder {
    /// For a snapshot of this cluster.
    pub fn new(cluster: &str) -> SnapshotDecoder {
        SnapshotDecoder { cluster: cluster.to_owned(), lines: 0, crc: 0, progress: Progress::Start }
    }

    /// Takes the next line, its end included. After an error all is over.
    pub fn line(&mut self, line: &[u8]) -> Result<(), Error> {
        let progress = std::mem::replace(&mut self.progress, Progress::Failed);
        self.progress = match (progress, parse(line)?) {
            (Progress::Failed, _) => return Err(SnapshotError::Failed.into()),
            (Progress::End(_), _) => return Err(SnapshotError::AfterEnd.into()),
            (Progress::Start, Line::Rare(RareLine::Snapshot(head))) => {
                Progress::Content(Box::new(Content::new(head, &self.cluster)?))
            }
            (Progress::Start, _) | (_, Line::Rare(RareLine::Snapshot(_))) => {
                return Err(SnapshotError::FirstLine.into());
            }
            (Progress::Content(mut content), Line::Value(line)) => {
                content.take_value(&line)?;
                Progress::Content(content)
            }
            (Progress::Content(mut content), Line::Session(line)) => {
                content.take_session(line)?;
                Progress::Content(content)
            }
            (Progress::Content(content), Line::Rare(RareLine::End(end))) => {
                Progress::End(self.finish_content(*content, end)?)
            }
        };
        self.lines += 1;
        self.crc = crc32c::crc32c_append(self.crc, line);
        Ok(())
    }

    fn finish_content(&self, content: Content, end: End) -> Result<Snapshot, SnapshotError> {
        let End { lines, crc, state_hash } = end;
        let found_crc = format!("{:08x}", self.crc);
        if (self.lines, &found_crc) != (lines, &crc) {
            return Err(SnapshotError::End { found_lines: self.lines, found_crc, lines, crc });
        }
        let hash = u64::from_str_radix(&state_hash, 16).ok();
        let Some(hash) = hash.filter(|hash| format!("{hash:016x}") == state_hash) else {
            return Err(SnapshotError::NoHash(state_hash));
        };
        let Content { last, config_index, config, state, .. } = content;
        Ok(Snapshot { last, config_index, config, state: state.finish(hash)? })
    }

    /// The snapshot, if its last line was read.
    pub fn finish(self) -> Result<Snapshot, Error> {
        match self.progress {
            Progress::End(snapshot) => Ok(snapshot),
            Progress::Start | Progress::Content(_) => Err(SnapshotError::NoEnd.into()),
            Progress::Failed => Err(SnapshotError::Failed.into()),
        }
    }
}

impl SnapshotError {
    /// Whether this looks like damage to a file that was good once. If not, it was written by somebody else.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            SnapshotError::Format { .. } | SnapshotError::Cluster { .. } => false,
            SnapshotError::TooLong { .. }
            | SnapshotError::Unended
            | SnapshotError::FirstLine
            | SnapshotError::Beyond { .. }
            | SnapshotError::KeyAfterSession
            | SnapshotError::Answer { .. }
            | SnapshotError::State(_)
            | SnapshotError::End { .. }
            | SnapshotError::NoHash(_)
            | SnapshotError::NoEnd
            | SnapshotError::AfterEnd
            | SnapshotError::Failed => true,
        }
    }
}

impl Content {
    fn new(head: Head<'_>, cluster: &str) -> Result<Content, Error> {
        let Head { format, index, term, config_index, config, applied, births_expired, .. } = head;
        if format != FORMAT {
            return Err(SnapshotError::Format { found: format }.into());
        }
        if head.cluster != cluster {
            let (found, expected) = (head.cluster.into_owned(), cluster.to_owned());
            return Err(SnapshotError::Cluster { found, expected }.into());
        }
        check_configuration(&config)?;
        let last = EntryId { term, index };
        for (what, index) in [("config_index", config_index), ("applied", applied)] {
            if index > last.index {
                return Err(SnapshotError::Beyond { what, index, last }.into());
            }
        }
        let state = StateBuilder::new(Limits::DEFAULT, applied, births_expired)
            .map_err(SnapshotError::State)?;
        Ok(Content { last, config_index, config, state, sessions_begun: false })
    }

    fn take_value(&mut self, line: &ValueLine<'_>) -> Result<(), Error> {
        if self.sessions_begun {
            return Err(SnapshotError::KeyAfterSession.into());
        }
        check_key(&line.key)?;
        check_value(&line.value)?;
        Ok(self.state.value(&line.key, &line.value).map_err(SnapshotError::State)?)
    }

    fn take_session(&mut self, line: SessionLine<'_>) -> Result<(), Error> {
        self.sessions_begun = true;
        let SessionLine { client, used, floor, answers } = line;
        let answers = answers.into_iter().map(AnswerLine::written).collect::<Result<_, _>>()?;
        let added = self.state.session(&client, used, floor, answers);
        Ok(added.map_err(SnapshotError::State)?)
    }
}

/// Any line.
enum Line<'a> {
    Value(ValueLine<'a>),
    Session(SessionLine<'a>),
    Rare(RareLine<'a>),
}

fn parse(line: &[u8]) -> Result<Line<'_>, Error> {
    if line.len() > SNAPSHOT_LINE_BYTES_MAX {
        return Err(SnapshotError::TooLong { bytes: line.len() }.into());
    }
    let Some(line) = line.strip_suffix(b"\n") else {
        return Err(SnapshotError::Unended.into());
    };
    let text = read_line(line)?;
    let parsed = if text.starts_with(r#"{"key":"#) {
        serde_json::from_str(text).map(Line::Value)
    } else if text.starts_with(r#"{"client":"#) {
        serde_json::from_str(text).map(Line::Session)
    } else {
        serde_json::from_str(text).map(Line::Rare)
    };
    parsed.map_err(Error::Json)
}

/// The first line and the last.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum RareLine<'a> {
    #[serde(borrow)]
    Snapshot(Head<'a>),
    End(End),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head<'a> {
    format: u32,
    cluster: Cow<'a, str>,
    #[serde(deserialize_with = "positive")]
    index: Index,
    #[serde(deserialize_with = "positive")]
    term: Term,
    #[serde(deserialize_with = "count")]
    config_index: Index,
    config: Arc<Configuration>,
    #[serde(deserialize_with = "count")]
    applied: Index,
    #[serde(deserialize_with = "count")]
    births_expired: Index,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    lines: u64,
    crc: String,
    state_hash: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ValueLine<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionLine<'a> {
    #[serde(borrow)]
    client: Cow<'a, str>,
    #[serde(deserialize_with = "positive")]
    used: Index,
    floor: u64,
    answers: Vec<AnswerLine<'a>>,
}

/// An answer; exactly one of `ok` and `refused`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerLine<'a> {
    seq: u64,
    #[serde(deserialize_with = "positive")]
    index: Index,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ok: Option<Cow<'a, Output>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<Cow<'a, Refusal>>,
}

impl<'a> SessionLine<'a> {
    fn of(session: SessionView<'a>) -> SessionLine<'a> {
        SessionLine {
            client: session.client().into(),
            used: session.used(),
            floor: session.floor(),
            answers: session.answers().map(|(seq, written)| AnswerLine::of(seq, written)).collect(),
        }
    }
}

impl<'a> AnswerLine<'a> {
    fn of(seq: u64, written: &'a Written) -> AnswerLine<'a> {
        let (ok, refused) = match &written.result {
            Ok(output) => (Some(Cow::Borrowed(output)), None),
            Err(refusal) => (None, Some(Cow::Borrowed(refusal))),
        };
        AnswerLine { seq, index: written.index, ok, refused }
    }

    fn written(self) -> Result<(u64, Written), SnapshotError> {
        let AnswerLine { seq, index, ok, refused } = self;
        let result = match (ok, refused) {
            (Some(output), None) => Ok(output.into_owned()),
            (None, Some(refusal)) => Err(refusal.into_owned()),
            (Some(_), Some(_)) | (None, None) => return Err(SnapshotError::Answer { seq }),
        };
        Ok((seq, Written { index, result }))
    }
}
