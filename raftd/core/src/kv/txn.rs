//! Several keys at once: compare, then one list of operations or the other.

use std::fmt;

use serde::{Deserialize, Serialize};

/// If all of `compare` hold, all of `then` is done, in order, else all of `otherwise`; one entry, so nothing comes
/// between. If one of these operations is refused, the transaction is, and changes nothing.
///
/// Serialised as `{"compare":[{"key":"x","expect":"1"}],"then":[{"put":{"key":"x","value":"2"}}],"else":[…]}`; lists may
/// be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Txn {
    /// What must hold; nothing always does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compare: Vec<Compare>,
    /// What is done if it does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<TxnOp>,
    /// What is done if not.
    #[serde(default, rename = "else", skip_serializing_if = "Vec::is_empty")]
    pub otherwise: Vec<TxnOp>,
}

/// Something that may hold of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compare {
    /// The key.
    pub key: String,
    /// The value that it has; `None`: there is no such key.
    #[serde(default)]
    pub expect: Option<String>,
}

/// A part of a transaction. Serialised as `{"put":{"key":"x","value":"1"}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum TxnOp {
    /// Reads the key, as the operations before have left it.
    Get {
        /// The key.
        key: String,
    },
    /// Sets the key.
    Put {
        /// The key.
        key: String,
        /// Its new value.
        value: String,
    },
    /// Removes the key, if there is one.
    Delete {
        /// The key.
        key: String,
    },
    /// As [`Op::Append`](super::Op::Append).
    Append {
        /// The key.
        key: String,
        /// What to add.
        value: String,
    },
    /// As [`Op::Incr`](super::Op::Incr).
    Incr {
        /// The key.
        key: String,
        /// What to add; may be negative.
        by: i64,
    },
}

/// What one operation of a transaction did. Serialised as `"done"`, `{"value":null}`, `{"length":3}`, …
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TxnResult {
    /// Get: the value, if there is one.
    Value(Option<String>),
    /// Put: done.
    Done,
    /// Delete: whether there was such a key.
    Deleted(bool),
    /// Append: the value's length now, bytes.
    Length(u64),
    /// Incr: the value now.
    Number(i64),
}

impl Txn {
    /// Most comparisons there may be.
    pub const COMPARES_MAX: usize = 64;
    /// Most operations there may be in `then`, and in `otherwise`.
    pub const OPS_MAX: usize = 64;

    /// The keys that it names, and what else it holds: values and expected values. A key may come several times.
    pub fn texts(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let compared =
            self.compare.iter().map(|Compare { key, expect }| (key.as_str(), expect.as_deref()));
        let ops = self.then.iter().chain(&self.otherwise);
        compared.chain(ops.map(|op| (op.key(), op.value())))
    }

    /// Bytes of texts, and some for each part.
    pub(super) fn weight_bytes(&self) -> usize {
        let weight =
            |(key, value): (&str, Option<&str>)| 32 + key.len() + value.map_or(0, str::len);
        self.texts().map(weight).sum()
    }
}

impl TxnOp {
    /// The key that it is about.
    pub fn key(&self) -> &str {
        match self {
            TxnOp::Get { key }
            | TxnOp::Put { key, .. }
            | TxnOp::Delete { key }
            | TxnOp::Append { key, .. }
            | TxnOp::Incr { key, .. } => key,
        }
    }

    fn value(&self) -> Option<&str> {
        match self {
            TxnOp::Put { value, .. } | TxnOp::Append { value, .. } => Some(value),
            TxnOp::Get { .. } | TxnOp::Delete { .. } | TxnOp::Incr { .. } => None,
        }
    }
}

/// `if x=1, y=none: put x 2, get y; else: delete x`
impl fmt::Display for Txn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("if ")?;
        for (i, Compare { key, expect }) in self.compare.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{key}={}", expect.as_deref().unwrap_or("none"))?;
        }
        for (start, ops) in [(": ", &self.then), ("; else: ", &self.otherwise)] {
            for (i, op) in ops.iter().enumerate() {
                write!(f, "{}{op}", if i == 0 { start } else { ", " })?;
            }
        }
        Ok(())
    }
}

/// `put x 2`
impl fmt::Display for TxnOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TxnOp::Get { key } => write!(f, "get {key}"),
            TxnOp::Put { key, value } => write!(f, "put {key} {value}"),
            TxnOp::Delete { key } => write!(f, "delete {key}"),
            TxnOp::Append { key, value } => write!(f, "append {key} {value}"),
            TxnOp::Incr { key, by } => write!(f, "incr {key} {by}"),
        }
    }
}

impl TxnResult {
    /// Bytes of text inside.
    pub(super) fn text_bytes(&self) -> usize {
        match self {
            TxnResult::Value(Some(text)) => text.len(),
            TxnResult::Value(None)
            | TxnResult::Done
            | TxnResult::Deleted(_)
            | TxnResult::Length(_)
            | TxnResult::Number(_) => 0,
        }
    }
}
