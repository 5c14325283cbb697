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
//!
//! Several keys change together, or none: `{"txn":{"compare":[{"key":"x","expect":"1"}],"then":[…],"else":[…]}}` is answered
//! `{"index":1019,"succeeded":true,"results":["done",{"number":10}]}`; see [`Txn`].
//!
//! Operators ask for changes on the same port; all but `snapshot` are for the leader, and refused like writes elsewhere:
//!
//! ```text
//! > {"tag":4,"op":{"member":{"add":{"id":4,"peer":"127.0.0.1:7104","client":"127.0.0.1:7204","incarnation":81…}}}}
//! > {"tag":5,"op":{"member":{"promote":4}}}
//! > {"tag":6,"op":{"member":{"remove":1}}}
//! > {"tag":7,"op":{"member":{"set":[2,3,4]}}}
//! > {"tag":8,"op":{"transfer":{"to":2}}}
//! > {"tag":9,"op":"snapshot"}
//! < {"tag":4,"ok":{"index":1020}}
//! < {"tag":5,"error":{"code":"not_caught_up","message":"…","behind":517}}
//! < {"tag":8,"ok":{"leader":2}}
//! ```

use std::collections::BTreeSet;

use raft_core::kv;
pub use raft_core::kv::{BadRequestId, Compare, RequestId, Txn, TxnOp, TxnResult};
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !*flag
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
        /// Stale reads: wait until the node has applied everything up to this index. A client that names the highest
        /// index it has seen never goes back in time, whichever node it asks. 0: do not wait.
        #[serde(default, skip_serializing_if = "is_zero")]
        min_index: u64,
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
    /// Several keys at once; see [`kv::Txn`].
    Txn(Txn),
    /// The node's own view of itself; answered at once, by any node.
    Status,
    /// Changes who the members are.
    Member(MemberChange),
    /// Hands the leadership over.
    Transfer {
        /// To whom; left out: to the voter whose log lacks least.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<u64>,
    },
    /// Has the node that is asked write a snapshot of all that it has applied.
    Snapshot,
}

/// A change of membership; one at a time. See [`raft_core::membership::Change`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum MemberChange {
    /// A new member without a vote, which gets the log.
    Add {
        /// Its number; never one that another node had before.
        id: u64,
        /// Where members reach it, `IP:PORT`.
        peer: String,
        /// Where clients reach it, `IP:PORT`.
        client: String,
        /// The number of its data directory, as its own status says ([`Status::incarnation`]).
        incarnation: u64,
    },
    /// A learner that has caught up gets a vote.
    Promote(u64),
    /// A member leaves.
    Remove(u64),
    /// These are to be the voters, and all other members leave (joint consensus, Thesis §4.3).
    Set(BTreeSet<u64>),
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// Reflects every write acknowledged before the read began (ReadIndex, Thesis §6.4).
    #[default]
    Linearizable,
    /// The same, but a leader may trust its clock instead of asking around (Thesis §6.4.1), if the cluster file sets
    /// `lease_drift_percent`; if not, as [`Consistency::Linearizable`].
    Lease,
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
    /// Log index at which it took effect; for reads, the index that the value reflects; for changes of membership,
    /// that of the new configuration; for snapshots, the last one in it.
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
    /// Txn: whether everything compared was as expected, so that `then` was done and not `else`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succeeded: Option<bool>,
    /// Txn: what each operation did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results: Option<Vec<TxnResult>>,
    /// Transfer: who has taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<u64>,
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
    /// Not leader: who leads, as far as this node knows. Transferring: who is about to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<u64>,
    /// The client address of [`Error::leader`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_client: Option<String>,
    /// Not caught up: how many entries are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<u64>,
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
    /// Leadership is being handed over; nothing was done. Ask the new leader.
    Transferring,
    /// Change of membership: another one is under way.
    ChangePending,
    /// Change of membership: the leader is new, and has not committed anything of its own yet.
    NotReady,
    /// Change of membership: there is no such member.
    NotMember,
    /// Change of membership: there is a member with this id.
    AlreadyMember,
    /// Change of membership: it has a vote.
    AlreadyVoter,
    /// Change of membership: its log is too far behind for a vote.
    NotCaughtUp,
    /// Change of membership: nobody would have a vote.
    NoVoters,
    /// Change of membership: too few of those who would have a vote answer now.
    NoQuorum,
    /// Change of membership: there would be too many.
    TooManyMembers,
    /// Transfer: the target has no vote, or nobody else who has one answers.
    NoTarget,
    /// Transfer: another one is under way.
    TransferBusy,
    /// Transfer: the target did not take over in time; it still might.
    TransferTimedOut,
    /// The snapshot could not be written.
    SnapshotFailed,
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
            behind: None,
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
            | Code::Expired
            | Code::Transferring
            | Code::ChangePending
            | Code::NotReady
            | Code::NotMember
            | Code::AlreadyMember
            | Code::AlreadyVoter
            | Code::NotCaughtUp
            | Code::NoVoters
            | Code::NoQuorum
            | Code::TooManyMembers
            | Code::NoTarget
            | Code::TransferBusy
            | Code::SnapshotFailed => true,
            Code::LeadershipLost | Code::ShuttingDown | Code::TransferTimedOut => false,
        }
    }
}

/// A node's view of itself. All counters are since its start; times are microseconds unless the name says otherwise.
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
    /// `full`; `new`: it takes no part until it has heard from [`Status::waiting_for`]; `lost`: it has no vote until a
    /// leader has taken note of its new data directory, and it has caught up.
    pub standing: String,
    /// New: the founders that have not said yet whether they know this node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<u64>,
    /// The number of its data directory.
    pub incarnation: u64,
    /// Who has a vote; amid a joint change, who will have one after it.
    pub voters: Vec<u64>,
    /// Amid a joint change: who had a vote before it. Both sets must agree meanwhile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outgoing: Vec<u64>,
    /// Members without a vote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub learners: Vec<u64>,
    /// All members.
    pub members: Vec<Member>,
    /// Index of the configuration that says so; 0: the founding one.
    pub config_index: u64,
    /// The newest durable snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotFile>,
    /// Snapshots of its own that became durable.
    pub snapshots_taken: u64,
    /// Snapshots of others that took the place of its state.
    pub snapshots_installed: u64,
    /// A snapshot that is coming in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiving: Option<Receiving>,
    /// At a leader: whom it hands over to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transferring: Option<u64>,
    /// At a leader: whether it may serve reads by its clock now.
    pub lease: bool,
    /// At a leader: every other member as it sees it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub followers: Vec<Follower>,
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
    pub bytes_written: u64,
    /// Size of the log that is kept, in memory and about the same on the disk, bytes.
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

/// A member, as a node knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its number.
    pub id: u64,
    /// Where this node reaches it, if it knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Where clients reach it, if this node knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The number of the data directory that counts as its own; 0: the one a founder began with.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub incarnation: u64,
    /// It lost its data directory, and gets its vote back by itself once it has caught up.
    #[serde(default, skip_serializing_if = "is_false")]
    pub returning: bool,
}

/// A snapshot on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotFile {
    /// The last entry in it: its index.
    pub index: u64,
    /// And its term.
    pub term: u64,
    /// Length of the file.
    pub bytes: u64,
}

/// How much of a snapshot has come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receiving {
    /// So much.
    pub bytes: u64,
    /// Of so much.
    pub total: u64,
}

/// A member as its leader sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follower {
    /// Who.
    pub id: u64,
    /// Its log is known to equal the leader's up to here.
    pub matched: u64,
    /// `replicate`: entries stream; `probe`: where the logs agree is being found out; `snapshot`: it is sent one.
    pub mode: String,
    /// Mode `snapshot`: how much of it the member has, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_bytes: Option<u64>,
    /// How long ago it was last heard, milliseconds.
    pub silent_ms: u64,
    /// Whether it could get a vote now.
    pub caught_up: bool,
}

impl Op {
    /// The state machine's write, unless this is something else.
    pub fn into_write(self) -> Option<kv::Op> {
        Some(match self {
            Op::Put { key, value } => kv::Op::Put { key, value },
            Op::Delete { key } => kv::Op::Delete { key },
            Op::Cas { key, expect, value } => kv::Op::Cas { key, expect, value },
            Op::Append { key, value } => kv::Op::Append { key, value },
            Op::Incr { key, by } => kv::Op::Incr { key, by },
            Op::Txn(txn) => kv::Op::Txn(txn),
            Op::Get { .. } | Op::Status | Op::Member(_) | Op::Transfer { .. } | Op::Snapshot => {
                return None;
            }
        })
    }
}
