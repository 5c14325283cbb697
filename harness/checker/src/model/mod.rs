//! The objects that clients work on, as single-threaded programs would see them.
//!
//! A model is one small file: how its operations are written ([`spec::Spec`]), and what they do ([`Sequential`]).
//!
//! # Adding a model
//!
//! 1. A file in this folder, with a `SPEC`, which makes [`Action`]s of names and values and [`crate::ops::Seen`] of
//!    answers, and a type that implements [`Sequential`]. The lock is a small one: `mutex.rs`.
//! 2. A variant of [`Model`], in [`Model::ALL`] and in `Model::spec`.
//! 3. An arm wherever the compiler asks for one: the exact search goes through the states of any model by its
//!    [`Sequential`] alone (`check/exact/semantics.rs`), and tests that need no search may leave it undecided
//!    (`check/direct/mod.rs`). The tests of all models (`testing/`) then try it against an oracle that tries all orders.
//!
//! What it takes at the least is what its operations do. A register that can only grow, for example:
//!
//! ```
//! use history_checker::model::{Model, Sequential};
//! use history_checker::ops::{Action, KeyOps, Op, Seen};
//!
//! struct Maximum;
//!
//! impl Sequential for Maximum {
//!     type State = i64;
//!
//!     fn start(&self, key: &KeyOps) -> i64 {
//!         if let Seen::Number(number) = key.initial { number } else { 0 }
//!     }
//!
//!     fn apply(&self, _: &KeyOps, state: &i64, op: &Op) -> Option<i64> {
//!         match (op.action, op.seen) {
//!             (Action::Incr(to), _) => Some(to.max(*state)),
//!             (Action::Read, Seen::Number(seen)) => (seen == *state).then_some(*state),
//!             (Action::Read, _) => Some(*state),
//!             _ => None,
//!         }
//!     }
//! }
//!
//! use history_checker::history::Outcome;
//!
//! let op = |action, seen| Op {
//!     number: 0, call: 0, ret: 1, process: 0, outcome: Outcome::Ok, action, seen, log_index: 0,
//! };
//! let key = KeyOps::new(Model::Counter, None);
//! let mut state = Maximum.start(&key);
//! for raise in [3, 7, 5] {
//!     state = Maximum.apply(&key, &state, &op(Action::Incr(raise), Seen::Unknown)).unwrap();
//! }
//! assert!(Maximum.apply(&key, &state, &op(Action::Read, Seen::Number(7))).is_some());
//! assert!(Maximum.apply(&key, &state, &op(Action::Read, Seen::Number(5))).is_none());
//! ```

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

    /// Whether a read returns a list of values, and nothing else is asked of it.
    pub(crate) fn reads_lists(self) -> bool {
        matches!(self, Model::Append | Model::Set)
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
