//! The map and its operations.

use std::sync::Arc;

use super::hash::{Digest, fact, kind};
use super::session::Sessions;
use super::sharded::{Key, Sharded};
use super::state::{Content, State};
use super::{Command, Compare, Limits, Op, Output, Refusal, Txn, TxnOp, TxnResult, Written};
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
        Store { map: Map::new(limits, Values::new()), sessions: Sessions::new(limits), applied: 0 }
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
        self.map.values.get(key)
    }

    /// Depends on the state alone (values, sessions and remembered answers), not on the order in which it came about.
    /// O(1). Comparable between builds.
    pub fn state_hash(&self) -> u64 {
        self.map.values.hash().wrapping_add(self.sessions.table().hash())
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.map.values.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many client sessions are kept.
    pub fn sessions(&self) -> usize {
        self.sessions.table().len()
    }

    /// The state as it is now: it stays as it is, whatever is applied to the store afterwards. Takes some
    /// microseconds, however much there is; what changes afterwards is copied when it does, piece by piece.
    pub fn freeze(&self) -> State {
        State::new(Content {
            values: self.map.values.clone(),
            sessions: self.sessions.table().clone(),
            applied: self.applied,
        })
    }

    /// A store that goes on from there.
    pub fn thaw(limits: Limits, state: &State) -> Store {
        let Content { values, sessions, applied } = state.content();
        Store {
            map: Map::new(limits, values.clone()),
            sessions: Sessions::from_table(limits, sessions.clone()),
            applied: *applied,
        }
    }
}

/// Keys and what is done to them.
#[derive(Clone, Debug)]
struct Map {
    value_bytes_max: usize,
    values: Values,
}

/// Keys and their values.
#[derive(Clone, Debug)]
pub(super) struct Values {
    by_key: Sharded<Value>,
    /// Sum of [`Value::fact`] over all keys.
    hash: u64,
}

#[derive(Clone, Debug)]
struct Value {
    text: Arc<str>,
    /// Of `text`; kept so that appending does not read what is there.
    digest: Digest,
}

impl Map {
    fn new(limits: Limits, values: Values) -> Map {
        Map { value_bytes_max: limits.value_bytes_max, values }
    }

    fn apply(&mut self, op: &Op) -> Result<Output, Refusal> {
        match op {
            Op::Put { key, value } => {
                self.values.set(key, value);
                Ok(Output::Done)
            }
            Op::Delete { key } if self.values.remove(key) => Ok(Output::Done),
            Op::Delete { .. } => Err(Refusal::NotFound),
            Op::Cas { key, expect, value } => {
                let actual = self.values.get(key);
                if actual != expect.as_deref() {
                    return Err(Refusal::Mismatch { actual: actual.map(str::to_owned) });
                }
                self.values.set(key, value);
                Ok(Output::Done)
            }
            Op::Append { key, value } => self.append(key, value).map(Output::Length),
            Op::Incr { key, by } => self.incr(key, *by).map(Output::Number),
            Op::Txn(txn) => self.txn(txn),
        }
    }

    fn txn(&mut self, txn: &Txn) -> Result<Output, Refusal> {
        let holds = |compare: &Compare| self.values.get(&compare.key) == compare.expect.as_deref();
        let succeeded = txn.compare.iter().all(holds);
        let ops = if succeeded { &txn.then } else { &txn.otherwise };
        let mut results = Vec::with_capacity(ops.len());
        let mut read_bytes = 0;
        // What each key was before an operation on it.
        let mut undo = Vec::with_capacity(ops.len());
        for op in ops {
            undo.push((op.key(), self.values.by_key.get(Key::of(op.key())).cloned()));
            let result = self.txn_op(op).and_then(|result| {
                read_bytes += result.text_bytes();
                // The answer is sent and remembered as a whole.
                if read_bytes > self.value_bytes_max { Err(Refusal::TooLarge) } else { Ok(result) }
            });
            match result {
                Ok(result) => results.push(result),
                Err(refusal) => {
                    for (key, value) in undo.into_iter().rev() {
                        self.values.restore(key, value);
                    }
                    return Err(refusal);
                }
            }
        }
        Ok(Output::Txn { succeeded, results })
    }

    fn txn_op(&mut self, op: &TxnOp) -> Result<TxnResult, Refusal> {
        Ok(match op {
            TxnOp::Get { key } => TxnResult::Value(self.values.get(key).map(str::to_owned)),
            TxnOp::Put { key, value } => {
                self.values.set(key, value);
                TxnResult::Done
            }
            TxnOp::Delete { key } => TxnResult::Deleted(self.values.remove(key)),
            TxnOp::Append { key, value } => TxnResult::Length(self.append(key, value)?),
            TxnOp::Incr { key, by } => TxnResult::Number(self.incr(key, *by)?),
        })
    }

    /// The value's length now.
    fn append(&mut self, key: &str, text: &str) -> Result<u64, Refusal> {
        let length = self.values.get(key).map_or(0, str::len) + text.len();
        if length > self.value_bytes_max {
            return Err(Refusal::TooLarge);
        }
        self.values.append(key, text);
        Ok(u64::try_from(length).expect("a length fits 64 bits"))
    }

    /// The value now.
    fn incr(&mut self, key: &str, by: i64) -> Result<i64, Refusal> {
        let number = match self.values.get(key) {
            None => 0,
            Some(text) => text.parse::<i64>().map_err(|_| Refusal::NotANumber)?,
        };
        let sum = number.checked_add(by).ok_or(Refusal::Overflow)?;
        self.values.set(key, &sum.to_string());
        Ok(sum)
    }
}

impl Values {
    pub(super) fn new() -> Values {
        Values { by_key: Sharded::new(), hash: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.by_key.get(Key::of(key)).map(|value| &*value.text)
    }

    /// All there are, in the order of [`Key::rank`].
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.by_key.iter().map(|(key, value)| (&**key, &*value.text))
    }

    pub(super) fn set(&mut self, key: &str, text: &str) {
        self.change(key, |value| {
            value.text = Arc::from(text);
            value.digest = Digest::of(text);
        });
    }

    fn append(&mut self, key: &str, text: &str) {
        self.change(key, |value| {
            value.text = Arc::from([&value.text, text].concat());
            value.digest = value.digest.followed_by(text);
        });
    }

    /// Makes the key's value what it was, or removes the key if there was none.
    fn restore(&mut self, key: &str, before: Option<Value>) {
        match before {
            Some(before) => self.change(key, |value| *value = before),
            None => {
                self.remove(key);
            }
        }
    }

    /// Whether there was such a key.
    fn remove(&mut self, key: &str) -> bool {
        let key = Key::of(key);
        let removed = self.by_key.remove(key);
        if let Some(value) = &removed {
            self.hash = self.hash.wrapping_sub(value.fact(key));
        }
        removed.is_some()
    }

    /// Lets `edit` change the key's value, or an empty one in its place, and keeps the hash true.
    fn change(&mut self, key: &str, edit: impl FnOnce(&mut Value)) {
        let key = Key::of(key);
        if let Some(value) = self.by_key.get_mut(key) {
            self.hash = self.hash.wrapping_sub(value.fact(key));
            edit(value);
            self.hash = self.hash.wrapping_add(value.fact(key));
        } else {
            let mut value = Value { text: Arc::default(), digest: Digest::EMPTY };
            edit(&mut value);
            self.hash = self.hash.wrapping_add(value.fact(key));
            self.by_key.insert(key, value);
        }
    }
}

impl Value {
    /// That it is the key's.
    fn fact(&self, key: Key<'_>) -> u64 {
        fact([kind::VALUE, key.digest.word(), self.digest.word()])
    }
}

#[cfg(test)]
impl Store {
    /// What [`Store::state_hash`] must be, from nothing but the state.
    pub(super) fn hash_from_scratch(&self) -> u64 {
        let values = self.map.values.by_key.iter().map(|(key, value)| {
            assert_eq!(value.digest, Digest::of(&value.text), "the digest of {key}");
            value.fact(Key::of(key))
        });
        values.fold(self.sessions.hash_from_scratch(), u64::wrapping_add)
    }
}
