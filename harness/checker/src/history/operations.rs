//! What the history knows of operations beyond what checks work on, and the rules that it keeps.

use super::FORMAT;
use crate::model::{BadOperation, Model};
use crate::ops::{NEVER, Position, index};

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It took effect, between invocation and completion.
    Ok,
    /// It did not, and never will.
    Fail,
    /// `info`, or no completion at all: it may have taken effect at any time since its invocation, or never.
    Open,
}

/// When operations were invoked and completed, by their numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    /// Nanoseconds. Empty if the history has no times.
    calls: Vec<u64>,
    /// The same; the largest number if there is no completion.
    completions: Vec<u64>,
    /// Positions of invocations and completions, also of those that leave the outcome open. Empty if operations came
    /// as a whole.
    positions: Vec<(Position, Position)>,
    /// Some invocation has a time, and some has none.
    incomplete: bool,
}

impl Times {
    /// Makes room for so many operations, if there is any: to grow step by step is to copy everything several times.
    pub(super) fn reserve(&mut self, operations: usize) {
        self.calls.try_reserve(operations).ok();
        self.completions.try_reserve(operations).ok();
        self.positions.try_reserve(operations).ok();
    }

    pub(super) fn push(&mut self, call: Option<u64>, position: Option<Position>) {
        self.incomplete |= call.is_none();
        self.calls.push(call.unwrap_or(0));
        self.completions.push(u64::MAX);
        if let Some(position) = position {
            self.positions.push((position, NEVER));
        }
    }

    pub(super) fn complete(&mut self, number: u32, time: Option<u64>, position: Option<Position>) {
        if let (Some(completion), Some(time)) = (self.completions.get_mut(index(number)), time) {
            *completion = time;
        }
        if let (Some(known), Some(position)) = (self.positions.get_mut(index(number)), position) {
            known.1 = position;
        }
    }

    /// When it was invoked, nanoseconds; none if the history does not say.
    pub(crate) fn called(&self, number: u32) -> Option<u64> {
        self.calls.get(index(number)).copied().filter(|_| !self.incomplete)
    }

    /// When it was completed, nanoseconds.
    pub(crate) fn completed(&self, number: u32) -> Option<u64> {
        self.completions.get(index(number)).copied().filter(|&time| time != u64::MAX)
    }

    /// The last of all times.
    pub(crate) fn last(&self) -> u64 {
        let completions = self.completions.iter().filter(|&&time| time != u64::MAX);
        self.calls.iter().chain(completions).copied().max().unwrap_or(0)
    }

    /// Indexes of its events: invocation and completion. Of an operation that came as a whole, its own number.
    pub(crate) fn events(&self, number: u32) -> (u64, Option<u64>) {
        match self.positions.get(index(number)) {
            Some(&(call, completion)) => {
                (u64::from(call), (completion != NEVER).then_some(u64::from(completion)))
            }
            None => (u64::from(number), None),
        }
    }
}

/// The clients' own numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clients(Vec<u64>);

impl Clients {
    pub(super) fn push(&mut self, client: u64) {
        self.0.push(client);
    }

    pub(crate) fn get(&self, number: u32) -> u64 {
        self.0.get(index(number)).copied().unwrap_or(0)
    }
}

/// What only explanations look at, by operation. Histories pay for what they say only.
#[derive(Clone, Debug, Default)]
pub(crate) struct Details {
    /// Numbers of nodes, plus 1.
    pub(crate) asked: Column<u32>,
    pub(crate) answered: Column<u32>,
    /// Numbers of texts.
    pub(crate) error: Column<u32>,
    pub(crate) request: Column<u32>,
    pub(crate) role: Column<u32>,
    /// Plus 1.
    pub(crate) term: Column<u64>,
}

/// What operations say in one field; 0 is nothing. It reaches as far as the last one that says something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Column<T>(Vec<T>);

impl<T: Copy + Default + PartialEq> Column<T> {
    /// Keeps what an operation says, unless that is nothing.
    pub(super) fn set(&mut self, number: u32, value: T) {
        if value == T::default() {
            return;
        }
        if self.0.len() <= index(number) {
            self.0.resize(index(number) + 1, T::default());
        }
        self.0[index(number)] = value;
    }

    /// What an operation says.
    pub(crate) fn get(&self, number: u32) -> T {
        self.0.get(index(number)).copied().unwrap_or_default()
    }
}

/// Which rule a history breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The header's version.
    #[error("\"history\" is {found}, but this program reads version {FORMAT}")]
    Format {
        /// What it says.
        found: u32,
    },
    /// The header's model.
    #[error("model {model:?} is none of {}", Model::names())]
    Model {
        /// What it says.
        model: String,
    },
    /// A gap or repetition in the numbers.
    #[error("\"index\" is {found} where {expected} is due: events are numbered 0, 1, 2, …")]
    Index {
        /// What it says.
        found: u64,
        /// What it should say.
        expected: u64,
    },
    /// Time ran backwards.
    #[error("\"time\" falls from {previous} to {time}: events stand in order of time")]
    Time {
        /// What it says.
        time: u64,
        /// What the line before says.
        previous: u64,
    },
    /// An operation returned before it was called.
    #[error("it returns at {ret}, before its call at {call}")]
    Ends {
        /// Call.
        call: u64,
        /// Return.
        ret: u64,
    },
    /// A client without a number.
    #[error("\"process\" is {name:?}, but clients are numbers here")]
    Client {
        /// Its name.
        name: String,
    },
    /// No model has all these operations.
    #[error(
        "no model has operations {functions}; say which is meant with --model: {}",
        Model::names()
    )]
    NoModel {
        /// Their names.
        functions: String,
    },
    /// Something other than a client invoked or completed.
    #[error("{process} is no client, so its events have \"type\":\"info\"")]
    NotInfo {
        /// Which process.
        process: String,
    },
    /// Two operations at once.
    #[error("client {client} invokes although its operation of event {open} has not completed")]
    StillOpen {
        /// The client.
        client: u64,
        /// Index of the open invocation.
        open: u64,
    },
    /// A client came back from an unknown outcome.
    #[error(
        "client {client} goes on after an info completion: its worker needs a new client number"
    )]
    Retired {
        /// The client.
        client: u64,
    },
    /// A completion of nothing.
    #[error("client {client} completes {f:?}, but has no operation open")]
    NotOpen {
        /// The client.
        client: u64,
        /// What it claims to complete.
        f: String,
    },
    /// A completion of something else.
    #[error(
        "client {client} completes {what} {found}, but the invocation (event {open}) says {expected}"
    )]
    Differs {
        /// The client.
        client: u64,
        /// `f`, `key` or `value`.
        what: &'static str,
        /// What the completion says.
        found: String,
        /// What the invocation says.
        expected: String,
        /// Index of the invocation.
        open: u64,
    },
    /// An operation that the model does not know, or of another shape.
    #[error(transparent)]
    Operation(#[from] BadOperation),
    /// A nemesis event of another shape.
    #[error("the value of a nemesis event must describe a fault: {problem}")]
    Fault {
        /// What is wrong with it.
        problem: String,
    },
    /// More events than positions.
    #[error(
        "a history of more than 4,294,967,294 events cannot be checked at once; split it by key"
    )]
    TooLong,
}
