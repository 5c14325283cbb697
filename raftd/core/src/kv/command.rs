//! What clients may ask of the state machine, and what it answers.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::txn::{Txn, TxnResult};
use crate::types::Index;

/// A write as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Which request of which client this is: what exactly-once hangs on.
    pub request: RequestId,
    /// The client has an answer to every request with a smaller sequence number, and will not repeat
    /// those: their answers may be forgotten (Thesis §6.3). 0 promises nothing.
    pub ack: u64,
    /// What to do.
    pub op: Op,
}

impl Command {
    /// Bytes of strings inside, for flow control.
    pub fn weight_bytes(&self) -> usize {
        self.request.client.len()
            + match &self.op {
                Op::Put { key, value } | Op::Append { key, value } => key.len() + value.len(),
                Op::Delete { key } | Op::Incr { key, .. } => key.len(),
                Op::Cas { key, expect, value } => {
                    key.len() + expect.as_ref().map_or(0, String::len) + value.len()
                }
                Op::Txn(txn) => txn.weight_bytes(),
            }
    }
}

/// The writes. Serialised as `{"put":{"key":"x","value":"1"}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Op {
    /// Sets the key.
    Put {
        /// The key.
        key: String,
        /// Its new value.
        value: String,
    },
    /// Removes the key; refused with [`Refusal::NotFound`] if there is none.
    Delete {
        /// The key.
        key: String,
    },
    /// Sets the key if its value is `expect` (`None`: if it has none).
    Cas {
        /// The key.
        key: String,
        /// The value it must have now.
        expect: Option<String>,
        /// Its new value.
        value: String,
    },
    /// Adds to the end of the value; a missing key counts as empty.
    Append {
        /// The key.
        key: String,
        /// What to add.
        value: String,
    },
    /// Adds to the value as a decimal 64-bit integer; a missing key counts as 0.
    Incr {
        /// The key.
        key: String,
        /// What to add; may be negative.
        by: i64,
    },
    /// Several keys at once.
    Txn(Txn),
}

impl Op {
    /// The keys that it may read or change.
    pub fn keys(&self) -> BTreeSet<&str> {
        match self {
            Op::Put { key, .. }
            | Op::Delete { key }
            | Op::Cas { key, .. }
            | Op::Append { key, .. }
            | Op::Incr { key, .. } => BTreeSet::from([key.as_str()]),
            Op::Txn(txn) => txn.texts().map(|(key, _)| key).collect(),
        }
    }
}

/// `put x 2`
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Put { key, value } => write!(f, "put {key} {value}"),
            Op::Delete { key } => write!(f, "delete {key}"),
            Op::Cas { key, expect, value } => {
                write!(f, "cas {key} {} {value}", expect.as_deref().unwrap_or("none"))
            }
            Op::Append { key, value } => write!(f, "append {key} {value}"),
            Op::Incr { key, by } => write!(f, "incr {key} {by}"),
            Op::Txn(txn) => write!(f, "txn {txn}"),
        }
    }
}

/// `client:seq`, the name of a request for all time.
///
/// A client's name may end in `@INDEX`, the *birth index*: a commit index that the client had seen before its first
/// request. It is what tells a new client from one whose session has expired (see `session`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId {
    /// The client: 1 to 128 bytes, no control characters, no `:`.
    pub client: String,
    /// Unique among the client's requests, at least 1.
    pub seq: u64,
}

impl RequestId {
    /// The longest client name, bytes.
    pub const CLIENT_BYTES_MAX: usize = 128;

    /// The client's birth index: the number after the last `@` of its name, else 0.
    pub fn birth(&self) -> Index {
        RequestId::birth_of(&self.client)
    }

    /// Whether a client can have this name.
    pub(super) fn is_client(name: &str) -> bool {
        (1..=RequestId::CLIENT_BYTES_MAX).contains(&name.len())
            && !name.contains(|c: char| c == ':' || c.is_control())
    }

    /// The birth index that a client's name states.
    pub(super) fn birth_of(client: &str) -> Index {
        client.rsplit_once('@').and_then(|(_, index)| index.parse().ok()).unwrap_or(0)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.client, self.seq)
    }
}

/// Why a text is no request ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRequestId(pub String);

impl fmt::Display for BadRequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "bad request id {:?}: expected CLIENT:SEQ, a client name of 1 to {} bytes without ':' or control \
             characters, and a number from 1 up",
            self.0,
            RequestId::CLIENT_BYTES_MAX
        )
    }
}

impl std::error::Error for BadRequestId {}

impl FromStr for RequestId {
    type Err = BadRequestId;

    fn from_str(text: &str) -> Result<RequestId, BadRequestId> {
        let bad = || BadRequestId(text.chars().take(200).collect());
        let (client, seq) = text.split_once(':').ok_or_else(bad)?;
        match seq.parse() {
            Ok(seq) if seq >= 1 && RequestId::is_client(client) => {
                Ok(RequestId { client: client.to_owned(), seq })
            }
            _ => Err(bad()),
        }
    }
}

/// The answer to a write, remembered for retries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Log index at which the write took effect (or was refused) - the first time, if this is a retry.
    pub index: Index,
    /// What it did.
    pub result: Result<Output, Refusal>,
}

/// What a write did. Serialised as `"done"`, `{"length":3}`, …
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Output {
    /// Put, delete, cas: done.
    Done,
    /// Append: the value's length now, bytes.
    Length(u64),
    /// Incr: the value now.
    Number(i64),
    /// Txn: done, one way or the other.
    Txn {
        /// Whether everything compared was as expected, so that `then` was done and not `otherwise`.
        succeeded: bool,
        /// What each operation did.
        results: Vec<TxnResult>,
    },
}

/// Why a write did nothing. All but [`Refusal::Expired`] and [`Refusal::BadBirth`] are the state machine's answer to
/// the request itself, and are remembered like any answer. Serialised as `"not_found"`, `{"mismatch":{"actual":"x"}}`, …
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Refusal {
    /// Delete: there is no such key.
    NotFound,
    /// Cas: the value is another.
    Mismatch {
        /// What it is.
        actual: Option<String>,
    },
    /// Incr: the value is not a decimal 64-bit integer.
    NotANumber,
    /// Incr: the sum does not fit 64 bits.
    Overflow,
    /// Append: the value would exceed [`crate::kv::Limits::value_bytes_max`]. Txn: or what it reads would, together.
    TooLarge,
    /// The cluster can no longer tell whether this request was applied before, and does not apply it.
    Expired,
    /// The client's birth index lies in the future: no honest client has that name.
    BadBirth,
}
