//! The client protocol: JSON lines over TCP, one request or answer a line. Shared with `raftctl`.
//!
//! ```text
//! > {"hello":{"protocol":1,"cluster":"demo"}}
//! < {"hello":{"protocol":1,"cluster":"demo","node":2,"commit":1017}}
//! > {"tag":1,"request":"c3@1017:1","op":{"put":{"key":"x","value":"1"}}}
//! > {"tag":2,"op":{"get":{"key":"x"}}}
//! < {"tag":1,"ok":{"index":1018}}
//! < {"tag":2,"ok":{"index":1018,"value":"1"}}
//! < {"tag":3,"error":{"code":"not_leader","message":"…","leader":1,"leader_client":"127.0.0.1:7201"}}
//! ```
//!
//! Requests on one connection are worked on together; answers carry their request's `tag` and come in any order.
//! Which errors are definite is part of the type: [`Code::is_definite`].

use raft_core::kv;
pub use raft_core::kv::{BadRequestId, RequestId};
use serde::{Deserialize, Serialize};

/// The only protocol version there is.
pub const PROTOCOL: u32 = 1;

/// Longest value, bytes of UTF-8.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// Longest key, bytes of UTF-8; at least 1.
pub const KEY_BYTES_MAX: usize = 1024;

/// Longest line of the client protocol, bytes: two values (cas) of characters that JSON escapes sixfold, and the rest.
pub const LINE_BYTES_MAX: usize = 13 << 20;

/// First line of a connection, in both directions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloLine {
    /// The only field, so that the line is recognised.
    pub hello: Hello,
}

/// Who one is and whom one expects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The cluster's id. A client that was given addresses only may leave it out; a wrong one is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// From a client: the node it means to talk to, if it matters (another one refuses). From a node: its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<u64>,
    /// From a node: its commit index, a fit birth index for a client's name (see [`kv::RequestId`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<u64>,
}

/// A request line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Chosen by the client, repeated in the answer; need not be unique, but then answers are hard to tell apart.
    pub tag: u64,
    /// `client:seq`; required for writes, ignored for the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// See [`kv::Command::ack`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ack: u64,
    /// What to do.
    pub op: Op,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// What a client may ask for. The writes are those of [`kv::Op`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Op {
    /// Reads a key.
    Get {
        /// The key.
        key: String,
        /// How fresh the value must be.
        #[serde(default)]
        consistency: Consistency,
    },
    /// See [`kv::Op::Put`].
    Put {
        /// The key.
        key: String,
        /// Its new value.
        value: String,
    },
    /// See [`kv::Op::Delete`].
    Delete {
        /// The key.
        key: String,
    },
    /// See [`kv::Op::Cas`].
    Cas {
        /// The key.
        key: String,
        /// The value it must have now; left out or null: it must have none.
        #[serde(default)]
        expect: Option<String>,
        /// Its new value.
        value: String,
    },
    /// See [`kv::Op::Append`].
    Append {
        /// The key.
        key: String,
        /// What to add.
        value: String,
    },
    /// See [`kv::Op::Incr`].
    Incr {
        /// The key.
        key: String,
        /// What to add.
        by: i64,
    },
    /// The node's own view of itself; answered at once, by any node.
    Status,
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// Reflects every write acknowledged before the read began (ReadIndex, Thesis §6.4).
    #[default]
    Linearizable,
    /// Whatever the node has applied, however old.
    Stale,
}

/// An answer line: exactly one of `ok` and `error`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// The request's.
    pub tag: u64,
    /// Present when the request was carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<Done>,
    /// Present otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

/// What a request did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// Log index at which it took effect; for reads, the index that the value reflects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// Get: the value. Always present in the answer to a get of an existing key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Append: the value's length now, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// Incr: the value now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<i64>,
    /// Reads: the node that served it, what it took itself for, and its term - so that a stale read can be explained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<Served>,
    /// Status: the node's view of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Box<Status>>,
}

/// Who served a read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The node.
    pub node: u64,
    /// `leader`, `follower`, `candidate` or `pre-candidate`.
    pub role: String,
    /// Its term.
    pub term: u64,
}

/// Why a request was not carried out, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// What kind of error.
    pub code: Code,
    /// For people.
    pub message: String,
    /// Refusals that stand in the log: at which index. Get of a missing key: the index that the answer reflects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// Cas mismatch: what the value is (absent: the key has none).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual: Option<String>,
    /// Not leader: who leads, as far as this node knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<u64>,
    /// Not leader: the leader's client address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_client: Option<String>,
    /// Get of a missing key: who says so, as in [`Done::served`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<Served>,
}

/// Kinds of error. A client that meets an unknown one must take it for indefinite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Get, delete: there is no such key.
    NotFound,
    /// Cas: the value is another.
    Mismatch,
    /// Incr: the value is not a decimal 64-bit integer.
    NotANumber,
    /// Incr: the sum does not fit 64 bits.
    Overflow,
    /// A key or value is too long, or append would make it so.
    TooLarge,
    /// The request is malformed: it names the fault.
    BadRequest,
    /// The hello names another protocol, cluster or node.
    WrongHello,
    /// This node does not lead, and did not propose the write.
    NotLeader,
    /// Too much is waiting; nothing was done.
    Overloaded,
    /// The disk is full; the write was refused. Reads go on.
    DiskFull,
    /// A read could not be confirmed by a quorum; ask again.
    ReadFailed,
    /// The cluster can no longer tell whether this request took effect earlier, and will never apply it now. A first
    /// attempt has certainly done nothing; a retry's first attempt may have.
    Expired,
    /// Proposed, then leadership was lost: it may or may not take effect.
    LeadershipLost,
    /// The node is going down; a write that it had proposed may or may not take effect.
    ShuttingDown,
}

impl Error {
    /// An error that needs no more than words.
    pub fn new(code: Code, message: impl Into<String>) -> Error {
        Error {
            code,
            message: message.into(),
            index: None,
            actual: None,
            leader: None,
            leader_client: None,
            served: None,
        }
    }
}

impl Response {
    /// The request was carried out.
    pub fn done(tag: u64, done: Done) -> Response {
        Response { tag, ok: Some(done), error: None }
    }

    /// It was not, or may not have been.
    pub fn refusal(tag: u64, error: Error) -> Response {
        Response { tag, ok: None, error: Some(error) }
    }
}

impl Code {
    /// Whether the request has certainly not taken effect, and never will by this attempt.
    pub fn is_definite(self) -> bool {
        match self {
            Code::NotFound
            | Code::Mismatch
            | Code::NotANumber
            | Code::Overflow
            | Code::TooLarge
            | Code::BadRequest
            | Code::WrongHello
            | Code::NotLeader
            | Code::Overloaded
            | Code::DiskFull
            | Code::ReadFailed
            | Code::Expired => true,
            Code::LeadershipLost | Code::ShuttingDown => false,
        }
    }
}

/// A node's view of itself. All counters are since its start; times are microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The node.
    pub node: u64,
    /// The cluster's id.
    pub cluster: String,
    /// `leader`, `follower`, `candidate` or `pre-candidate`.
    pub role: String,
    /// Current term.
    pub term: u64,
    /// Vote in that term.
    pub vote: Option<u64>,
    /// Leader of that term, as far as known.
    pub leader: Option<u64>,
    /// Commit index.
    pub commit: u64,
    /// Applied index.
    pub applied: u64,
    /// First index in the log.
    pub first: u64,
    /// Last index in the log.
    pub last: u64,
    /// Term of the last entry.
    pub last_term: u64,
    /// The voting members.
    pub voters: Vec<u64>,
    /// Hash of the state at `applied`, 16 hex digits; equal on all nodes at equal `applied`.
    pub state_hash: String,
    /// Keys in the store.
    pub keys: u64,
    /// Client sessions kept.
    pub sessions: u64,
    /// Proposals that wait for their commit.
    pub proposals_waiting: u64,
    /// Reads that wait to be confirmed or applied.
    pub reads_waiting: u64,
    /// Writes handed to the disk and not durable yet.
    pub writes_waiting: u64,
    /// Client connections open.
    pub clients: u64,
    /// Messages to peers dropped because their queue was full or their connection down.
    pub messages_dropped: u64,
    /// Messages refused because no correct member sends them.
    pub messages_refused: u64,
    /// Whether the disk is full.
    pub disk_full: bool,
    /// fsyncs of the log.
    pub syncs: u64,
    /// Records written to the log.
    pub records: u64,
    /// Bytes written to the log.
    pub log_bytes: u64,
    /// fsync latency: median of the recent ones.
    pub sync_us_p50: u64,
    /// fsync latency: 99th percentile of the recent ones.
    pub sync_us_p99: u64,
    /// CPU time of the process, user and system.
    pub cpu_us: u64,
    /// Time since the start.
    pub uptime_us: u64,
}

impl Op {
    /// The state machine's write, unless this is a read or a status request.
    pub fn into_write(self) -> Option<kv::Op> {
        Some(match self {
            Op::Put { key, value } => kv::Op::Put { key, value },
            Op::Delete { key } => kv::Op::Delete { key },
            Op::Cas { key, expect, value } => kv::Op::Cas { key, expect, value },
            Op::Append { key, value } => kv::Op::Append { key, value },
            Op::Incr { key, by } => kv::Op::Incr { key, by },
            Op::Get { .. } | Op::Status => return None,
        })
    }
}
