//! Operations of simulated clients, and the values that they write.

use std::fmt;

/// A value. It names the write, unless values are small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Small(u8),
    Unique { process: u64, number: u64 },
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Small(number) => write!(f, "{number}"),
            Value::Unique { process, number } => write!(f, "{process}-{number}"),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Request {
    Read,
    Write(Value),
    Cas { expect: Option<Value>, new: Value },
    Append(Value),
}

impl Request {
    pub(crate) fn f(self) -> &'static str {
        match self {
            Request::Read => "read",
            Request::Write(_) => "write",
            Request::Cas { .. } => "cas",
            Request::Append(_) => "append",
        }
    }
}

/// What the client got.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Nothing: it gave up.
    Unknown,
    Done,
    Value(Option<Value>),
    List(Vec<Value>),
    /// A cas did not find what it expects.
    Mismatch,
    /// A cas found this, which is not what it expects.
    Found(Option<Value>),
}

#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) process: u64,
    pub(crate) key: usize,
    pub(crate) request: Request,
    pub(crate) answer: Answer,
    pub(crate) call: u64,
}
