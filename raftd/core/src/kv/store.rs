//! The map and its operations.

use std::collections::BTreeMap;

use super::{Command, Limits, Written};
use crate::types::Index;

/// The state machine. Deterministic: equal logs give equal states and answers.
#[derive(Debug)]
pub struct Store {
    limits: Limits,
    values: BTreeMap<String, String>,
}

impl Store {
    /// An empty state.
    pub fn new(limits: Limits) -> Store {
        Store { limits, values: BTreeMap::new() }
    }

    /// Applies the command that stands at `index`; indexes must rise from call to call.
    pub fn apply(&mut self, index: Index, command: &Command) -> Written {
        let _ = (index, command, self.limits);
        unimplemented!()
    }

    /// The key's value.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// Depends on the state alone (values, sessions and remembered answers), not on the order in which it came about.
    pub fn state_hash(&self) -> u64 {
        0
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// How many client sessions are kept.
    pub fn sessions(&self) -> usize {
        0
    }
}
