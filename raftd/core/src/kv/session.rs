//! Client sessions: what makes a retry harmless (Thesis §6.3).

/// Bounds on what the state machine keeps. The same on all nodes, or replicas would differ: `raftd` always uses the
/// default; tests use small ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions kept; the least recently used one (by log index) expires when there would be more.
    pub sessions_max: usize,
    /// Answers kept for one session; beyond, the oldest is forgotten.
    pub answers_max: usize,
    /// Longest value that append may build, bytes.
    pub value_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { sessions_max: 10_000, answers_max: 1_024, value_bytes_max: 1 << 20 }
    }
}
