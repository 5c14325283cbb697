//! Pairs invocations with completions, and holds a history to its rules.

use std::collections::BTreeMap;

use super::{Event, FORMAT, Fault, Header, Kind, Process};
use crate::model::{BadOperation, Model};

/// One operation of a client: an invocation and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Position of the invocation among the events.
    pub invoke: usize,
    /// Position of the completion; none if it never completed.
    pub complete: Option<usize>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect, between invocation and completion.
    Ok,
    /// It did not, and never will.
    Fail,
    /// `info`, or no completion at all: it may have taken effect at any time since its invocation, or never.
    Open,
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
}

/// Takes events one by one, and knows which operations are open.
#[derive(Debug)]
pub(super) struct Pairing {
    model: Model,
    clients: BTreeMap<u64, Client>,
    operations: Vec<Operation>,
    events: usize,
    index_next: u64,
    time: u64,
}

/// Where a client stands.
#[derive(Debug)]
enum Client {
    Idle,
    /// The number of its operation, and what the completion has to repeat.
    Busy(usize, Box<Event>),
    Retired,
}

impl Pairing {
    pub(super) fn new(header: &Header) -> Result<Pairing, Broken> {
        if header.history != FORMAT {
            return Err(Broken::Format { found: header.history });
        }
        let model = Model::named(&header.model)
            .ok_or_else(|| Broken::Model { model: header.model.clone() })?;
        Ok(Pairing {
            model,
            clients: BTreeMap::new(),
            operations: Vec::new(),
            events: 0,
            index_next: 0,
            time: 0,
        })
    }

    pub(super) fn into_operations(self) -> Vec<Operation> {
        self.operations
    }

    /// Takes the next event.
    pub(super) fn add(&mut self, event: &Event) -> Result<(), Broken> {
        if event.index != self.index_next {
            return Err(Broken::Index { found: event.index, expected: self.index_next });
        }
        if event.time < self.time {
            return Err(Broken::Time { time: event.time, previous: self.time });
        }
        match &event.process {
            Process::Client(client) => match event.kind {
                Kind::Invoke => self.invoke(*client, event)?,
                Kind::Ok | Kind::Fail | Kind::Info => self.complete(*client, event)?,
            },
            Process::Named(name) => named(name, event)?,
        }
        self.events += 1;
        self.index_next += 1;
        self.time = event.time;
        Ok(())
    }

    fn invoke(&mut self, client: u64, event: &Event) -> Result<(), Broken> {
        match self.clients.get(&client) {
            None | Some(Client::Idle) => {}
            Some(Client::Busy(_, open)) => {
                return Err(Broken::StillOpen { client, open: open.index });
            }
            Some(Client::Retired) => return Err(Broken::Retired { client }),
        }
        self.model.call(event)?;
        self.clients.insert(client, Client::Busy(self.operations.len(), Box::new(event.clone())));
        self.operations.push(Operation {
            invoke: self.events,
            complete: None,
            outcome: Outcome::Open,
        });
        Ok(())
    }

    fn complete(&mut self, client: u64, event: &Event) -> Result<(), Broken> {
        let (number, invocation) = match self.clients.get(&client) {
            Some(Client::Busy(number, invocation)) => (*number, invocation),
            Some(Client::Retired) => return Err(Broken::Retired { client }),
            None | Some(Client::Idle) => {
                return Err(Broken::NotOpen { client, f: event.f.clone() });
            }
        };
        let differs = |what, found: String, expected: String| {
            Err(Broken::Differs { client, what, found, expected, open: invocation.index })
        };
        if event.f != invocation.f {
            return differs("f", event.f.clone(), invocation.f.clone());
        }
        if event.key.is_some() && event.key != invocation.key {
            return differs("key", name(event.key.as_ref()), name(invocation.key.as_ref()));
        }
        let outcome = match event.kind {
            Kind::Ok => {
                let call = self.model.call(invocation)?;
                if call.repeats_value() && !event.value.is_null() && event.value != invocation.value
                {
                    return differs("value", event.value.to_string(), invocation.value.to_string());
                }
                self.model.answer(&call, event)?;
                Outcome::Ok
            }
            Kind::Fail => Outcome::Fail,
            Kind::Info | Kind::Invoke => Outcome::Open,
        };
        let after = if outcome == Outcome::Open { Client::Retired } else { Client::Idle };
        if let Some(operation) = self.operations.get_mut(number) {
            operation.complete = Some(self.events);
            operation.outcome = outcome;
        }
        self.clients.insert(client, after);
        Ok(())
    }
}

fn name(key: Option<&String>) -> String {
    key.map_or_else(|| "none".to_owned(), |key| format!("{key:?}"))
}

fn named(name: &str, event: &Event) -> Result<(), Broken> {
    if event.kind != Kind::Info {
        return Err(Broken::NotInfo { process: name.to_owned() });
    }
    if name == "nemesis" {
        serde_json::from_value::<Fault>(event.value.clone())
            .map_err(|error| Broken::Fault { problem: error.to_string() })?;
    }
    Ok(())
}
