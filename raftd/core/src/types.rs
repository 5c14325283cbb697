//! The words everything else is written in: terms, indexes, entries.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::kv::Command;
use crate::membership::Configuration;

/// A logical clock of elections; starts at 0 (before any election) and never falls (Thesis §3.3).
pub type Term = u64;

/// A position in the log. The first entry is 1; 0 stands for "before the first entry".
pub type Index = u64;

/// A member's number, at least 1, unique in the cluster for all time.
pub type NodeId = u64;

/// Monotonic time since an origin that the caller chooses once for a node's life.
pub type Time = Duration;

/// Names one entry of all logs there can be: two logs that hold the same `EntryId` hold the same
/// entry, and are identical up to it (Log Matching, Thesis §3.5).
///
/// Ordered by term, then index: this *is* the up-to-date rule of elections (Thesis §3.6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// The term of the leader that created the entry; 0 only together with index 0.
    pub term: Term,
    /// The entry's position in the log.
    pub index: Index,
}

impl EntryId {
    /// The position before the first entry, on which all logs agree.
    pub const ZERO: EntryId = EntryId { term: 0, index: 0 };
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}

/// One entry of the replicated log. Never changed once created, so it is shared, not copied.
#[derive(Debug)]
pub struct Entry {
    /// Where in the log, and which leader created it.
    pub id: EntryId,
    /// What it does when applied.
    pub payload: Payload,
    /// The entry's encoding, written once by whoever encodes or decodes it first, so that the same
    /// bytes go to disk and to every follower. The core never looks at it.
    pub encoded: OnceLock<Box<str>>,
}

impl Entry {
    /// An entry that is not encoded yet.
    pub fn new(id: EntryId, payload: Payload) -> Arc<Entry> {
        Arc::new(Entry { id, payload, encoded: OnceLock::new() })
    }

    /// Roughly how many bytes the entry takes in a message, for flow control.
    pub fn weight_bytes(&self) -> usize {
        match &self.payload {
            Payload::Noop => 40,
            Payload::Configuration(config) => 80 + 100 * config.members().len(),
            Payload::Command(command) => 80 + command.weight_bytes(),
        }
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.id == other.id && self.payload == other.payload
    }
}

impl Eq for Entry {}

/// What an entry does when it is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Nothing. Each leader starts its term with one, so that older entries get committed and the
    /// commit index becomes known (Thesis §3.6.2, §6.4).
    Noop,
    /// A client's write.
    Command(Command),
    /// Who the members are; rules from the moment it is in the log (Thesis §4.1).
    Configuration(Arc<Configuration>),
}
