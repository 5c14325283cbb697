//! What a history that is not linearizable still is.
//!
//! | guarantee | here it means |
//! |---|---|
//! | sequential | there is one order of all operations, of all keys, that keeps each client's own order and that the models accept; it need not keep real time |
//! | monotonic reads | there is an order of each key's writes that keeps real time between writes, in which what a client reads never goes back |
//! | read your writes | the same, and what a client reads is never older than what it wrote itself before and was acknowledged |
//! | eventual | each client's last read of a key, of those that began after all writes to it had ended, returned the same |
//!
//! The two in the middle are about the order in which writes really came, as a person would expect; so a history can be
//! sequential and still not have them.
//!
//! They are decided for registers whose values are all different, for append lists whose tokens are all different,
//! for sets to which elements are only added and for counters that only grow, in about linear time; not for others.
//! What is called broken is broken; what is said to hold was verified.

mod clients;
mod graph;
mod sequential;
mod sessions;
#[cfg(test)]
mod tests;
mod versions;

use self::sessions::Sessions;
use self::versions::Versions;
use crate::ops::{Action, KeyOps, NEVER, Op, Seen};

/// Whether a guarantee holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// It does.
    Yes,
    /// It does not: these two operations show it. Numbers in the history; the second one came later.
    Broken {
        /// What the client knew.
        first: u32,
        /// What does not agree with that.
        second: u32,
    },
    /// It was not decided.
    Unknown,
}

/// Which guarantees a history still gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weaker {
    /// Sequential consistency, over all keys.
    pub sequential: Holds,
    /// No client's reads go back.
    pub monotonic_reads: Holds,
    /// No client misses its own writes.
    pub read_your_writes: Holds,
    /// In the end all see the same.
    pub eventual: Holds,
}

impl Weaker {
    /// The strongest that holds, in words; none if none is known to hold.
    pub fn strongest(&self) -> Option<&'static str> {
        let both = (self.monotonic_reads, self.read_your_writes);
        match (self.sequential, both) {
            (Holds::Yes, (Holds::Yes, Holds::Yes)) => Some(
                "sequentially consistent, with monotonic reads that include a client's own writes",
            ),
            (Holds::Yes, _) => Some("sequentially consistent"),
            (_, (Holds::Yes, Holds::Yes)) => {
                Some("monotonic for each client, its own writes included")
            }
            (_, (Holds::Yes, _)) => Some("monotonic for each client's reads"),
            (_, (_, Holds::Yes)) => Some("such that each client reads its own writes"),
            _ if self.eventual == Holds::Yes => Some("the same for all clients in the end"),
            _ => None,
        }
    }
}

/// Judges a history by all its keys; what takes more work than this (about an operation each) is not decided.
///
/// `linearizable` says of each key whether it is known to be. Such a key is monotonic and has all own writes, so that no
/// client goes back in it, and it need not be looked at to find one that does.
pub fn weaker(keys: &[KeyOps], linearizable: &[bool], work_max: u64) -> Weaker {
    let work: usize = keys.iter().map(|key| key.ops.len() + key.items.len()).sum();
    if u64::try_from(work).unwrap_or(u64::MAX) > work_max {
        let sequential = Holds::Unknown;
        let (monotonic_reads, read_your_writes) = (Holds::Unknown, Holds::Unknown);
        return Weaker { sequential, monotonic_reads, read_your_writes, eventual: Holds::Unknown };
    }
    let is_suspect = |number: usize| !linearizable.get(number).is_some_and(|&is| is);
    let suspects = (0..).zip(keys).filter(|&(number, _)| is_suspect(number));
    let suspects: Vec<_> = suspects.map(|(_, key)| (key, Versions::of(key))).collect();
    let versions = suspects.iter().filter_map(|(key, versions)| Some((*key, versions.as_ref()?)));
    let sequential = sequential::broken_by(versions).unwrap_or_else(|| sequential::holds(keys));
    let sessions = suspects.iter().map(|(key, versions)| sessions::holds(key, versions.as_ref()));
    let sessions: Vec<Sessions> = sessions.collect();
    Weaker {
        sequential,
        monotonic_reads: of_all(sessions.iter().map(|key| key.monotonic_reads)),
        read_your_writes: of_all(sessions.iter().map(|key| key.read_your_writes)),
        eventual: of_all(keys.iter().map(eventual)),
    }
}

/// Broken if it is for one key, and unknown rather than held.
fn of_all(keys: impl Iterator<Item = Holds>) -> Holds {
    let mut all = Holds::Yes;
    for holds in keys {
        match holds {
            Holds::Broken { .. } => return holds,
            Holds::Unknown => all = Holds::Unknown,
            Holds::Yes => {}
        }
    }
    all
}

fn eventual(key: &KeyOps) -> Holds {
    let is_read = |op: &Op| op.is_ok_read() && op.seen != Seen::Unknown;
    let changes = key.ops.iter().filter(|op| op.may_count() && op.action != Action::Read);
    let Some(end) = changes.map(|op| op.ret).max() else { return Holds::Unknown };
    // By client: its last read.
    let mut last: std::collections::BTreeMap<u32, &Op> = std::collections::BTreeMap::new();
    for op in key.ops.iter().filter(|op| end != NEVER && op.call > end && is_read(op)) {
        last.insert(op.process, op);
    }
    let same = |one: &Op, other: &Op| match (one.seen, other.seen) {
        (Seen::List(one), Seen::List(other)) => versions::same_list(key, one, other),
        (one, other) => one == other,
    };
    let mut last = last.into_values();
    let Some(first) = last.next() else { return Holds::Unknown };
    match last.find(|op| !same(first, op)) {
        Some(other) => Holds::Broken {
            first: first.number.min(other.number),
            second: first.number.max(other.number),
        },
        None => Holds::Yes,
    }
}
