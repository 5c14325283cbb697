//! What clients do, as the history has it.

use std::time::Duration;

use serde_json::{Value, json};

/// What one client is to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reads `key`.
    Read {
        /// The key.
        key: String,
    },
    /// Sets `key` to `value`.
    Write {
        /// The key.
        key: String,
        /// Unique in the run.
        value: String,
    },
    /// Sets `key` to `value` if it is `expect`.
    Cas {
        /// The key.
        key: String,
        /// The value it must have; `None`: it must have none.
        expect: Option<String>,
        /// Unique in the run.
        value: String,
    },
    /// Adds `token` to `key`'s list.
    Append {
        /// The key.
        key: String,
        /// Unique in the run; holds no comma.
        token: String,
    },
    /// Adds `by` to `key`'s number.
    Incr {
        /// The key.
        key: String,
        /// What to add; at least 1.
        by: i64,
    },
    /// Adds `element` to `key`'s set.
    Add {
        /// The key.
        key: String,
        /// Unique in the run; holds no comma.
        element: String,
        /// The lock that it is to take first, if any.
        hold: Option<Hold>,
    },
    /// Reads and writes registers of `key` at once.
    Txn {
        /// The key.
        key: String,
        /// What it does, in order.
        steps: Vec<Step>,
    },
    /// Puts `value` at the end of `key`'s queue.
    Enqueue {
        /// The key.
        key: String,
        /// Unique in the run.
        value: String,
    },
    /// Takes what is at the front of `key`'s queue.
    Dequeue {
        /// The key.
        key: String,
    },
    /// Takes the lock `key`.
    Acquire {
        /// The key.
        key: String,
        /// What tells this holding from all others.
        holder: String,
    },
    /// Gives it back.
    Release {
        /// The key.
        key: String,
        /// What it was taken with.
        holder: String,
    },
}

/// A part of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reads a register.
    Read {
        /// Which.
        register: String,
    },
    /// Nothing of the transaction is done unless a register has this value.
    Expect {
        /// Which.
        register: String,
        /// The value.
        value: Value,
    },
    /// Sets a register.
    Write {
        /// Which.
        register: String,
        /// To what.
        value: Value,
    },
}

/// How to hold the lock that guards a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// A lock held longer than this may be taken away.
    pub lease: Duration,
    /// How long to sleep between reading and writing.
    pub pause: Option<Duration>,
    /// Whether to write only if the lock is still one's own.
    pub fencing: bool,
}

impl Operation {
    /// `f` in the history.
    pub fn name(&self) -> &'static str {
        match self {
            Operation::Read { .. } => "read",
            Operation::Write { .. } => "write",
            Operation::Cas { .. } => "cas",
            Operation::Append { .. } => "append",
            Operation::Incr { .. } => "incr",
            Operation::Add { .. } => "add",
            Operation::Txn { .. } => "txn",
            Operation::Enqueue { .. } => "enqueue",
            Operation::Dequeue { .. } => "dequeue",
            Operation::Acquire { .. } => "acquire",
            Operation::Release { .. } => "release",
        }
    }

    /// The key it is about.
    pub fn key(&self) -> &str {
        match self {
            Operation::Read { key }
            | Operation::Write { key, .. }
            | Operation::Cas { key, .. }
            | Operation::Append { key, .. }
            | Operation::Incr { key, .. }
            | Operation::Add { key, .. }
            | Operation::Txn { key, .. }
            | Operation::Enqueue { key, .. }
            | Operation::Dequeue { key }
            | Operation::Acquire { key, .. }
            | Operation::Release { key, .. } => key,
        }
    }

    /// `value` of its invocation in the history.
    pub fn value(&self) -> Value {
        match self {
            Operation::Read { .. }
            | Operation::Dequeue { .. }
            | Operation::Acquire { .. }
            | Operation::Release { .. } => Value::Null,
            Operation::Write { value, .. } | Operation::Enqueue { value, .. } => json!(value),
            Operation::Cas { expect, value, .. } => json!([expect, value]),
            Operation::Append { token, .. } => json!(token),
            Operation::Add { element, .. } => json!(element),
            Operation::Incr { by, .. } => json!(by),
            Operation::Txn { steps, .. } => steps.iter().map(Step::value).collect(),
        }
    }

    /// Whether it leaves the state as it is.
    pub fn is_read(&self) -> bool {
        match self {
            Operation::Read { .. } => true,
            Operation::Txn { steps, .. } => {
                !steps.iter().any(|step| matches!(step, Step::Write { .. }))
            }
            Operation::Write { .. }
            | Operation::Cas { .. }
            | Operation::Append { .. }
            | Operation::Incr { .. }
            | Operation::Add { .. }
            | Operation::Enqueue { .. }
            | Operation::Dequeue { .. }
            | Operation::Acquire { .. }
            | Operation::Release { .. } => false,
        }
    }

    /// Whether it takes several requests. Only the last of them changes what the key holds.
    pub fn takes_several_requests(&self) -> bool {
        match self {
            Operation::Add { hold, .. } => hold.is_some(),
            Operation::Enqueue { .. } | Operation::Dequeue { .. } => true,
            Operation::Read { .. }
            | Operation::Write { .. }
            | Operation::Cas { .. }
            | Operation::Append { .. }
            | Operation::Incr { .. }
            | Operation::Txn { .. }
            | Operation::Acquire { .. }
            | Operation::Release { .. } => false,
        }
    }
}

impl Step {
    /// As the history has it; what was read is not known yet.
    pub fn value(&self) -> Value {
        match self {
            Step::Read { register } => json!(["r", register, null]),
            Step::Expect { register, value } => json!(["r", register, value]),
            Step::Write { register, value } => json!(["w", register, value]),
        }
    }
}
