//! The keys in use: a few at a time, each for a bounded number of operations.

use std::ops::RangeInclusive;

use rand::Rng;
use rand::rngs::StdRng;

use super::Object;

/// Operations of unknown outcome that a key may gather before it is retired: each stays open to the end of the
/// history, and the cost of an exact check can double with each.
const UNKNOWN_PER_KEY_MAX: u32 = 8;

/// One key in use.
#[derive(Debug)]
pub(super) struct Key {
    /// Its name, `k0`, `k1`, … in order of first use.
    pub(super) name: String,
    /// The value that a client most recently said it has; `None`: none.
    pub(super) seen: Option<String>,
    /// What a client most recently said is on its accounts.
    pub(super) balances: Vec<i64>,
    operations_left: u32,
    unknown_left: u32,
}

/// All keys of a run.
#[derive(Debug)]
pub(super) struct Keys {
    live: Vec<Key>,
    created: usize,
    /// How many operations a key takes; drawn anew for each, so that keys do not retire in step.
    operations: RangeInclusive<u32>,
    /// How many operations of unknown outcome.
    unknown: u32,
    /// The accounts of a fresh key.
    balances: Vec<i64>,
}

impl Keys {
    pub(super) fn new(
        live: usize,
        operations: RangeInclusive<u32>,
        model: Object,
        balances: Vec<i64>,
        rng: &mut StdRng,
    ) -> Keys {
        // A lock that may be held for ever is of no more use.
        let unknown = if model == Object::Mutex { 1 } else { UNKNOWN_PER_KEY_MAX };
        let live_keys = Vec::with_capacity(live);
        let mut keys = Keys { live: live_keys, created: 0, operations, unknown, balances };
        for _ in 0..live {
            let key = keys.fresh(rng);
            keys.live.push(key);
        }
        keys
    }

    /// The key for the next operation, which is counted. A key that has had its share is replaced first.
    pub(super) fn pick(&mut self, rng: &mut StdRng) -> &Key {
        let slot = rng.random_range(0..self.live.len());
        if self.live[slot].operations_left == 0 || self.live[slot].unknown_left == 0 {
            self.live[slot] = self.fresh(rng);
        }
        let key = &mut self.live[slot];
        key.operations_left -= 1;
        key
    }

    /// A client saw this value at the key.
    pub(super) fn saw(&mut self, name: &str, value: Option<String>) {
        if let Some(key) = self.find(name) {
            key.seen = value;
        }
    }

    /// A client saw these balances at the key.
    pub(super) fn saw_balances(&mut self, name: &str, balances: Vec<i64>) {
        if let Some(key) = self.find(name) {
            key.balances = balances;
        }
    }

    /// An operation on the key has an unknown outcome.
    pub(super) fn lost_track(&mut self, name: &str) {
        if let Some(key) = self.find(name) {
            key.unknown_left = key.unknown_left.saturating_sub(1);
        }
    }

    /// Every key used so far, in order of first use.
    pub(super) fn all(&self) -> impl Iterator<Item = String> + use<> {
        (0..self.created).map(name)
    }

    /// The keys in use now.
    pub(super) fn live(&self) -> impl Iterator<Item = &str> {
        self.live.iter().map(|key| key.name.as_str())
    }

    /// `None` for a retired key: answers may come after its retirement.
    fn find(&mut self, name: &str) -> Option<&mut Key> {
        self.live.iter_mut().find(|key| key.name == name)
    }

    fn fresh(&mut self, rng: &mut StdRng) -> Key {
        let name = name(self.created);
        self.created += 1;
        Key {
            name,
            seen: None,
            balances: self.balances.clone(),
            operations_left: rng.random_range(self.operations.clone()),
            unknown_left: self.unknown,
        }
    }
}

fn name(number: usize) -> String {
    format!("k{number}")
}
