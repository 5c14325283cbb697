//! The map and its operations.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::hash::{Digest, fact, kind};
use super::session::Sessions;
use super::{Command, Limits, Op, Output, Refusal, Written};
use crate::types::Index;

/// The state machine. Deterministic: equal logs give equal states and answers.
#[derive(Clone, Debug)]
pub struct Store {
    map: Map,
    sessions: Sessions,
    /// Index of the last command applied.
    applied: Index,
}

impl Store {
    /// An empty state.
    pub fn new(limits: Limits) -> Store {
        Store { map: Map::new(limits), sessions: Sessions::new(limits), applied: 0 }
    }

    /// Applies the command that stands at `index`; indexes must rise from call to call.
    ///
    /// Does nothing if the request was applied before, or if that cannot be told any more.
    pub fn apply(&mut self, index: Index, command: &Command) -> Written {
        assert!(
            index > self.applied,
            "applied {index} after {}: entries are applied once, in order",
            self.applied
        );
        self.applied = index;
        self.sessions.once(index, command, || self.map.apply(&command.op))
    }

    /// The key's value.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.map.values.get(key).map(|value| value.text.as_str())
    }

    /// Depends on the state alone (values, sessions and remembered answers), not on the order in which it came about.
    /// O(1). Comparable between builds.
    pub fn state_hash(&self) -> u64 {
        self.map.hash.wrapping_add(self.sessions.hash())
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.map.values.len()
    }

    /// The state as it is now, shared and not copied: it stays as it is, whatever is applied to the store afterwards.
    pub fn freeze(&self) -> State {
        State { store: Arc::new(self.clone()) }
    }

    /// A store that goes on from there.
    pub fn thaw(limits: Limits, state: &State) -> Store {
        let _ = limits;
        Store::clone(&state.store)
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.map.values.is_empty()
    }

    /// How many client sessions are kept.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }
}

/// A store's whole content at one index: what a snapshot holds of it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct State {
    store: Arc<Store>,
}

impl State {
    /// As [`Store::state_hash`].
    pub fn hash(&self) -> u64 {
        self.store.state_hash()
    }
}

/// Keys and their values.
#[derive(Clone, Debug)]
struct Map {
    value_bytes_max: usize,
    values: BTreeMap<String, Value>,
    /// Sum of [`Map::fact`] over all keys.
    hash: u64,
}

#[derive(Clone, Debug)]
struct Value {
    text: String,
    /// Of `text`; kept so that appending does not read what is there.
    digest: Digest,
}

impl Map {
    fn new(limits: Limits) -> Map {
        Map { value_bytes_max: limits.value_bytes_max, values: BTreeMap::new(), hash: 0 }
    }

    fn apply(&mut self, op: &Op) -> Result<Output, Refusal> {
        match op {
            Op::Put { key, value } => {
                self.set(key, value);
                Ok(Output::Done)
            }
            Op::Delete { key } => self.delete(key),
            Op::Cas { key, expect, value } => {
                let actual = self.values.get(key).map(|value| &value.text);
                if actual != expect.as_ref() {
                    return Err(Refusal::Mismatch { actual: actual.cloned() });
                }
                self.set(key, value);
                Ok(Output::Done)
            }
            Op::Append { key, value } => self.append(key, value),
            Op::Incr { key, by } => self.incr(key, *by),
        }
    }

    fn set(&mut self, key: &str, text: &str) {
        self.change(key, |value| {
            text.clone_into(&mut value.text);
            value.digest = Digest::of(text);
        });
    }

    fn delete(&mut self, key: &str) -> Result<Output, Refusal> {
        let value = self.values.remove(key).ok_or(Refusal::NotFound)?;
        self.hash = self.hash.wrapping_sub(Map::fact(Digest::of(key), &value));
        Ok(Output::Done)
    }

    fn append(&mut self, key: &str, text: &str) -> Result<Output, Refusal> {
        let length = self.values.get(key).map_or(0, |value| value.text.len()) + text.len();
        if length > self.value_bytes_max {
            return Err(Refusal::TooLarge);
        }
        self.change(key, |value| {
            value.text.push_str(text);
            value.digest = value.digest.followed_by(text);
        });
        Ok(Output::Length(u64::try_from(length).expect("a length fits 64 bits")))
    }

    fn incr(&mut self, key: &str, by: i64) -> Result<Output, Refusal> {
        let number = match self.values.get(key) {
            None => 0,
            Some(value) => value.text.parse::<i64>().map_err(|_| Refusal::NotANumber)?,
        };
        let sum = number.checked_add(by).ok_or(Refusal::Overflow)?;
        self.set(key, &sum.to_string());
        Ok(Output::Number(sum))
    }

    /// Lets `edit` change the key's value, or an empty one in its place, and keeps the hash true.
    fn change(&mut self, key: &str, edit: impl FnOnce(&mut Value)) {
        let name = Digest::of(key);
        if let Some(value) = self.values.get_mut(key) {
            self.hash = self.hash.wrapping_sub(Map::fact(name, value));
            edit(value);
            self.hash = self.hash.wrapping_add(Map::fact(name, value));
        } else {
            let mut value = Value { text: String::new(), digest: Digest::EMPTY };
            edit(&mut value);
            self.hash = self.hash.wrapping_add(Map::fact(name, &value));
            self.values.insert(key.to_owned(), value);
        }
    }

    fn fact(key: Digest, value: &Value) -> u64 {
        fact([kind::VALUE, key.word(), value.digest.word()])
    }
}

#[cfg(test)]
impl Store {
    /// What [`Store::state_hash`] must be, from nothing but the state.
    pub(super) fn hash_from_scratch(&self) -> u64 {
        let values = self.map.values.iter().map(|(key, value)| {
            assert_eq!(value.digest, Digest::of(&value.text), "the digest of {key}");
            Map::fact(Digest::of(key), value)
        });
        values.fold(self.sessions.hash_from_scratch(), u64::wrapping_add)
    }
}
