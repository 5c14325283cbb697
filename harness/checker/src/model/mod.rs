//! The objects that clients work on, as single-threaded programs would see them.
//!
//! A model is one small file: how its operations are written ([`spec::Spec`]), and what they do ([`Sequential`]).

mod append;
mod counter;
mod fifo_queue;
mod kv;
mod multi_register;
mod mutex;
mod register;
pub mod semantics;
mod sequential;
mod set;
pub(crate) mod spec;
mod unordered_queue;

use std::fmt;

pub use self::sequential::Sequential;
use self::spec::Spec;
use crate::history::Full;
use crate::ops::Action;

/// Which object each key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Model {
    /// `read`, `write`, `delete`.
    Register,
    /// A register with `cas`, which succeeds only on the value that it expects.
    CasRegister,
    /// `append` adds a token to a list, `read` returns the list; no value is the empty list.
    Append,
    /// `incr` adds to a number and may return the sum, `read` returns the number; no value is 0.
    Counter,
    /// Transactions (`txn`) of reads and writes over several registers at once.
    MultiRegister,
    /// One key of a key-value store: `get`, `put`, `append` (of text), `delete`, `cas`, `incr`.
    Kv,
    /// `add`, `remove`, and `read` of all elements.
    Set,
    /// `enqueue`, `dequeue`: first in, first out.
    FifoQueue,
    /// `enqueue`, `dequeue` in any order.
    UnorderedQueue,
    /// `acquire`, `release`.
    Mutex,
}

/// An operation that does not belong to the model, or whose value has another shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOperation {
    /// The model has no such operation.
    #[error("model {model} has no operation {f:?}, only {}", model.functions().join(", "))]
    Unknown {
        /// The model.
        model: Model,
        /// The operation.
        f: String,
    },
    /// The value is not of the shape that it must have.
    #[error("the value of {f} must be {expected}, not {found}")]
    Shape {
        /// The operation.
        f: String,
        /// What it must be.
        expected: &'static str,
        /// What it is, cut short.
        found: String,
    },
    /// There are more values than can be told apart.
    #[error(transparent)]
    Full(#[from] Full),
}

impl Model {
    /// All of them.
    pub const ALL: [Model; 10] = [
        Model::Register,
        Model::CasRegister,
        Model::Append,
        Model::Counter,
        Model::MultiRegister,
        Model::Kv,
        Model::Set,
        Model::FifoQueue,
        Model::UnorderedQueue,
        Model::Mutex,
    ];

    /// The model of that name.
    pub fn named(name: &str) -> Option<Model> {
        Model::ALL.into_iter().find(|model| model.name() == name)
    }

    /// Its name in headers.
    pub fn name(self) -> &'static str {
        self.spec().name
    }

    /// All names, for messages.
    pub fn names() -> String {
        Model::ALL.map(Model::name).join(", ")
    }

    /// The names of its operations.
    pub fn functions(self) -> &'static [&'static str] {
        self.spec().functions
    }

    /// The name of an operation.
    pub fn function(self, action: &Action) -> &'static str {
        (self.spec().function)(action)
    }

    pub(crate) fn spec(self) -> &'static Spec {
        match self {
            Model::Register => &register::SPEC,
            Model::CasRegister => &register::CAS_SPEC,
            Model::Append => &append::SPEC,
            Model::Counter => &counter::SPEC,
            Model::MultiRegister => &multi_register::SPEC,
            Model::Kv => &kv::SPEC,
            Model::Set => &set::SPEC,
            Model::FifoQueue => &fifo_queue::SPEC,
            Model::UnorderedQueue => &unordered_queue::SPEC,
            Model::Mutex => &mutex::SPEC,
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
