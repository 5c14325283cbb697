//! What the ways to decide one key's history have in common.

use crate::ops::Position;

/// What an exact search may spend on one key.
#[derive(Clone, Copy)]
pub struct Budget<'a> {
    /// Configurations to explore.
    pub configurations_max: u64,
    /// Bytes for configurations, at any time.
    pub memory_bytes_max: u64,
    /// Asked now and then; from its first `true` on the search ends.
    pub cancelled: Option<&'a (dyn Fn() -> bool + Sync)>,
}

/// What ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// [`Budget::configurations_max`].
    Configurations,
    /// [`Budget::memory_bytes_max`].
    Memory,
    /// [`Budget::cancelled`].
    Cancelled,
}

/// What the exact search says. Operations are indexes into [`crate::ops::KeyOps::ops`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An order exists.
    Linearizable,
    /// No order exists for the events up to the return of this operation.
    Blocked {
        /// The operation that fits nowhere.
        op: u32,
    },
    /// A limit was hit.
    GaveUp {
        /// Up to here an order exists.
        position: Position,
        /// Which limit.
        limit: Limit,
    },
}

/// What a test without a search says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// An order of the operations that is yet to be verified. What may not have happened may be missing.
    Order(Vec<u32>),
    /// Operations that contradict each other whatever else happened.
    Contradiction(Contradiction),
    /// This test cannot tell.
    Undecided,
}

/// Operations that cannot all have happened as they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// What is wrong with them, in the words of [`Anomaly`].
    pub anomaly: Anomaly,
    /// The operations, as few as the test can name, ascending.
    pub ops: Vec<u32>,
}

/// What can be wrong with a few operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Anomaly {
    /// A read returned a state that had been overwritten before it began.
    StaleRead,
    /// The effect of an acknowledged operation is gone for good.
    LostWrite,
    /// Something was seen that nobody wrote, or nobody had asked to write by then.
    PhantomRead,
    /// The effect of an operation was seen that certainly failed.
    AbortedRead,
    /// An effect was seen twice.
    Duplicate,
    /// One client's reads went back.
    NonMonotonic,
    /// Two cas consumed the same value, or one expected a value that cannot have been there.
    ImpossibleCas,
    /// Two held a mutex at once, or it was released without being held.
    MutualExclusion,
    /// Elements or tokens came in an order in which they cannot have been put there.
    WrongOrder,
    /// None of these: no order explains them.
    NotLinearizable,
}

impl Anomaly {
    /// As reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Anomaly::StaleRead => "stale read",
            Anomaly::LostWrite => "lost write",
            Anomaly::PhantomRead => "phantom read",
            Anomaly::AbortedRead => "aborted read",
            Anomaly::Duplicate => "duplicate",
            Anomaly::NonMonotonic => "non-monotonic read",
            Anomaly::ImpossibleCas => "impossible cas",
            Anomaly::MutualExclusion => "mutual exclusion broken",
            Anomaly::WrongOrder => "wrong order",
            Anomaly::NotLinearizable => "not linearizable",
        }
    }
}
