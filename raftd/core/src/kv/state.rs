//! A store's content as it was at one index, to be written to a file, and built from one.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::session::{Session, Table};
use super::sharded::Key;
use super::store::Values;
use super::{Limits, RequestId, Written};
use crate::types::Index;

/// A store's whole content at one index: what a snapshot holds of it. Cheap to clone, and to take; never changes.
#[derive(Clone, Debug)]
pub struct State {
    content: Arc<Content>,
}

/// What it consists of; shares what has not changed since with the store it was taken from.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) values: Values,
    pub(super) sessions: Table,
    pub(super) applied: Index,
}

impl State {
    pub(super) fn new(content: Content) -> State {
        State { content: Arc::new(content) }
    }

    pub(super) fn content(&self) -> &Content {
        &self.content
    }

    /// As [`Store::state_hash`](super::Store::state_hash).
    pub fn hash(&self) -> u64 {
        self.content.values.hash().wrapping_add(self.content.sessions.hash())
    }

    /// Index of the last command applied; 0: none.
    pub fn applied(&self) -> Index {
        self.content.applied
    }

    /// Above the birth index of every client whose session was forgotten.
    pub fn births_expired(&self) -> Index {
        self.content.sessions.births_expired()
    }

    /// How many keys there are.
    pub fn keys(&self) -> usize {
        self.content.values.len()
    }

    /// How many client sessions there are.
    pub fn sessions(&self) -> usize {
        self.content.sessions.len()
    }

    /// All keys and their values, in an order that depends on nothing but the keys.
    pub fn iter_values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.content.values.iter()
    }

    /// All sessions, in an order that depends on nothing but the clients' names.
    pub fn iter_sessions(&self) -> impl Iterator<Item = SessionView<'_>> {
        self.content.sessions.iter().map(|(client, session)| SessionView { client, session })
    }
}

/// What is remembered of one client.
#[derive(Clone, Copy, Debug)]
pub struct SessionView<'a> {
    client: &'a str,
    session: &'a Session,
}

impl<'a> SessionView<'a> {
    /// The client's name.
    pub fn client(self) -> &'a str {
        self.client
    }

    /// Index of the last entry that named the client.
    pub fn used(self) -> Index {
        self.session.used()
    }

    /// Requests with smaller numbers were forgotten, and perhaps applied.
    pub fn floor(self) -> u64 {
        self.session.floor()
    }

    /// The answers to all requests ever applied that are not below the floor, by sequence number.
    pub fn answers(self) -> impl Iterator<Item = (u64, &'a Written)> {
        self.session.answers()
    }
}

/// Puts a [`State`] together from its parts, in the order in which a state tells them. Accepts nothing that no store
/// can hold, and in the end nothing but what was written: the hash says so.
#[derive(Debug)]
pub struct StateBuilder {
    limits: Limits,
    content: Content,
    /// Rank of the last key.
    last_key: Option<(usize, Box<str>)>,
    /// Rank of the last client.
    last_client: Option<(usize, Box<str>)>,
    /// All [`Session::used`] so far.
    uses: BTreeSet<Index>,
}

impl StateBuilder {
    /// A state without keys and sessions. `limits` are those of the store that is to go on from it.
    pub fn new(
        limits: Limits,
        applied: Index,
        births_expired: Index,
    ) -> Result<StateBuilder, BadState> {
        if births_expired > applied {
            return Err(BadState::BirthsExpired { births_expired, applied });
        }
        let content =
            Content { values: Values::new(), sessions: Table::new(births_expired), applied };
        Ok(StateBuilder {
            limits,
            content,
            last_key: None,
            last_client: None,
            uses: BTreeSet::new(),
        })
    }

    /// The next key, with its value.
    pub fn value(&mut self, key: &str, value: &str) -> Result<(), BadState> {
        if !follows(&mut self.last_key, key) {
            return Err(BadState::KeyOrder { key: key.to_owned() });
        }
        self.content.values.set(key, value);
        Ok(())
    }

    /// The next session; its answers by sequence number.
    pub fn session(
        &mut self,
        client: &str,
        used: Index,
        floor: u64,
        answers: Vec<(u64, Written)>,
    ) -> Result<(), BadState> {
        let bad = |problem| Err(BadState::Session { client: client.to_owned(), problem });
        if !follows(&mut self.last_client, client) {
            return bad("it is out of order, or told twice");
        }
        if !RequestId::is_client(client) {
            return bad("no client can have this name");
        }
        if self.content.sessions.len() == self.limits.sessions_max {
            return bad("there are more sessions than are ever kept");
        }
        if used > self.content.applied {
            return bad("it was used after the last command");
        }
        if RequestId::birth_of(client) >= used {
            return bad("it was used before the client was born");
        }
        if !self.uses.insert(used) {
            return bad("it was used by an entry that used another one");
        }
        match Session::restore(client, used, floor, answers, self.limits) {
            Ok(session) => self.content.sessions.insert(client, session),
            Err(problem) => return bad(problem),
        }
        Ok(())
    }

    /// The state, if it is the one that had this hash.
    pub fn finish(self, hash: u64) -> Result<State, BadState> {
        let state = State::new(self.content);
        match state.hash() {
            found if found == hash => Ok(state),
            found => Err(BadState::Hash { found, stated: hash }),
        }
    }
}

/// Whether `text` comes after `last` in the order of all states, and is the last one now.
fn follows(last: &mut Option<(usize, Box<str>)>, text: &str) -> bool {
    let rank = Key::of(text).rank();
    if last.as_ref().is_some_and(|(shard, text)| (*shard, &**text) >= rank) {
        return false;
    }
    let (shard, text) = rank;
    *last = Some((shard, text.into()));
    true
}

/// Why parts make no state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadState {
    /// The bound of births lies in the future.
    BirthsExpired {
        /// The bound.
        births_expired: Index,
        /// Index of the last command.
        applied: Index,
    },
    /// A key does not come after the one before.
    KeyOrder {
        /// The key.
        key: String,
    },
    /// A session that there cannot be.
    Session {
        /// The client.
        client: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The parts are not those of which the hash was made.
    Hash {
        /// What they give.
        found: u64,
        /// What was stated.
        stated: u64,
    },
}

impl fmt::Display for BadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadState::BirthsExpired { births_expired, applied } => {
                write!(f, "births_expired is {births_expired}, after the last command, {applied}")
            }
            BadState::KeyOrder { key } => {
                write!(f, "the key {key:?} is out of order, or told twice")
            }
            BadState::Session { client, problem } => {
                write!(f, "the session of {client:?}: {problem}")
            }
            BadState::Hash { found, stated } => {
                write!(f, "the state hash is {found:016x}, but {stated:016x} is stated")
            }
        }
    }
}

impl std::error::Error for BadState {}
