//! What the clients do: operations drawn from a scenario's mix, over a handful of keys at a time.
//!
//! Pure: a generator is a function of its seed, of who asks in which order, and of what the clients say they saw. No
//! clock, no I/O. Values are unique (`process-counter`), so a read tells which write it saw; a key takes a bounded
//! number of operations and is then retired for a fresh one, so the exact check of one key stays small.

mod generator;
mod keys;

use std::fmt;

use history_checker::model::Model;
use serde::Deserialize;
use serde_json::{Value, json};

pub use generator::Generator;

/// What histories can be held against, in words. The first four are also what workloads are about ([`Object`]).
pub const MODELS: [(Model, &str); 10] = [
    (Model::Register, "one value a key: a read returns the latest write"),
    (
        Model::CasRegister,
        "a register that also compares and sets: only the expected value is replaced",
    ),
    (
        Model::Append,
        "a list of tokens a key: every appended token is there exactly once, in one order",
    ),
    (Model::Counter, "a number a key: a read returns the sum of the increments"),
    (
        Model::MultiRegister,
        "several registers: a transaction reads and writes some of them at once",
    ),
    (Model::Kv, "a text a key: get, put, append to it, delete, cas, incr"),
    (Model::Set, "elements: add, remove, read them all"),
    (Model::FifoQueue, "a queue: what was enqueued first is dequeued first"),
    (Model::UnorderedQueue, "a queue that gives its elements back in any order"),
    (Model::Mutex, "a lock: whoever acquires it holds it alone until it is released"),
];

/// What the clients of a workload work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// See [`Model::Register`].
    Register,
    /// See [`Model::CasRegister`].
    CasRegister,
    /// See [`Model::Append`].
    Append,
    /// See [`Model::Counter`].
    Counter,
}

impl Object {
    /// All of them.
    pub const ALL: [Object; 4] =
        [Object::Register, Object::CasRegister, Object::Append, Object::Counter];

    /// What a history of it is held against.
    pub fn model(self) -> Model {
        match self {
            Object::Register => Model::Register,
            Object::CasRegister => Model::CasRegister,
            Object::Append => Model::Append,
            Object::Counter => Model::Counter,
        }
    }

    /// Its model's name.
    pub fn name(self) -> &'static str {
        self.model().name()
    }

    /// The object of that name.
    pub fn named(name: &str) -> Option<Object> {
        Object::ALL.into_iter().find(|object| object.name() == name)
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The operations that a workload on such an object can have.
pub fn operations(object: Object) -> &'static [F] {
    match object {
        Object::Register => &[F::Read, F::Write],
        Object::CasRegister => &[F::Read, F::Write, F::Cas],
        Object::Append => &[F::Read, F::Append],
        Object::Counter => &[F::Read, F::Incr],
    }
}

/// Kinds of operation: `f` in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum F {
    /// Reads a key.
    Read,
    /// Sets a key.
    Write,
    /// Sets a key if it has the expected value.
    Cas,
    /// Adds a token to a key's list.
    Append,
    /// Adds to a key's number.
    Incr,
}

impl F {
    /// The name in scenarios and histories.
    pub fn name(self) -> &'static str {
        match self {
            F::Read => "read",
            F::Write => "write",
            F::Cas => "cas",
            F::Append => "append",
            F::Incr => "incr",
        }
    }
}

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
}

impl Operation {
    /// Its kind.
    pub fn f(&self) -> F {
        match self {
            Operation::Read { .. } => F::Read,
            Operation::Write { .. } => F::Write,
            Operation::Cas { .. } => F::Cas,
            Operation::Append { .. } => F::Append,
            Operation::Incr { .. } => F::Incr,
        }
    }

    /// The key it is about.
    pub fn key(&self) -> &str {
        match self {
            Operation::Read { key }
            | Operation::Write { key, .. }
            | Operation::Cas { key, .. }
            | Operation::Append { key, .. }
            | Operation::Incr { key, .. } => key,
        }
    }

    /// `value` of its invocation in the history.
    pub fn value(&self) -> Value {
        match self {
            Operation::Read { .. } => Value::Null,
            Operation::Write { value, .. } => json!(value),
            Operation::Cas { expect, value, .. } => json!([expect, value]),
            Operation::Append { token, .. } => json!(token),
            Operation::Incr { by, .. } => json!(by),
        }
    }

    /// Whether it leaves the state as it is.
    pub fn is_read(&self) -> bool {
        self.f() == F::Read
    }
}
