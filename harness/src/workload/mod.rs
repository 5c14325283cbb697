//! What the clients do: operations drawn from a scenario's mix, over a handful of keys at a time.
//!
//! Pure: a generator is a function of its seed, of who asks in which order, and of what the clients say they saw. No
//! clock, no I/O. Values are unique (`process-counter`), so a read tells which write it saw; a key takes a bounded
//! number of operations and is then retired for a fresh one, so the exact check of one key stays small.

mod generator;
mod keys;
mod operation;

use std::fmt;

use history_checker::model::Model;
use serde::Deserialize;

pub use generator::{Generator, Hints};
pub use operation::{Hold, Operation, Step};

/// What histories can be held against, in words. Most are also what workloads are about ([`Object`]).
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
    /// See [`Model::Set`].
    Set,
    /// See [`Model::MultiRegister`].
    MultiRegister,
    /// See [`Model::FifoQueue`].
    FifoQueue,
    /// See [`Model::Mutex`].
    Mutex,
}

impl Object {
    /// All of them.
    pub const ALL: [Object; 8] = [
        Object::Register,
        Object::CasRegister,
        Object::Append,
        Object::Counter,
        Object::Set,
        Object::MultiRegister,
        Object::FifoQueue,
        Object::Mutex,
    ];

    /// What a history of it is held against.
    pub fn model(self) -> Model {
        match self {
            Object::Register => Model::Register,
            Object::CasRegister => Model::CasRegister,
            Object::Append => Model::Append,
            Object::Counter => Model::Counter,
            Object::Set => Model::Set,
            Object::MultiRegister => Model::MultiRegister,
            Object::FifoQueue => Model::FifoQueue,
            Object::Mutex => Model::Mutex,
        }
    }

    /// Whether it holds one value, which a write replaces.
    pub fn is_register(self) -> bool {
        matches!(self, Object::Register | Object::CasRegister)
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
        Object::Set => &[F::Read, F::Add],
        Object::MultiRegister => &[F::Read, F::Txn, F::Transfer],
        Object::FifoQueue => &[F::Enqueue, F::Dequeue],
        Object::Mutex => &[F::Acquire, F::Release],
    }
}

/// The name of a register among those of a key.
pub fn register_name(number: usize) -> String {
    format!("r{number}")
}

/// Kinds of operation, as scenarios have them.
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
    /// Adds an element to a key's set.
    Add,
    /// Reads and writes some of a key's registers.
    Txn,
    /// Takes money from one of a key's registers to another.
    Transfer,
    /// Puts an element at the end of a key's queue.
    Enqueue,
    /// Takes the element at its front.
    Dequeue,
    /// Takes a lock.
    Acquire,
    /// Gives it back: whatever its share, what a holder does next.
    Release,
}

impl F {
    /// The name in scenarios.
    pub fn name(self) -> &'static str {
        match self {
            F::Read => "read",
            F::Write => "write",
            F::Cas => "cas",
            F::Append => "append",
            F::Incr => "incr",
            F::Add => "add",
            F::Txn => "txn",
            F::Transfer => "transfer",
            F::Enqueue => "enqueue",
            F::Dequeue => "dequeue",
            F::Acquire => "acquire",
            F::Release => "release",
        }
    }
}
