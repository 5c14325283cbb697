//! How often what happened: a run in which nothing happens proves nothing.

use std::collections::BTreeMap;

use super::rng::Micros;

/// Counts, over one run or many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Virtual time, microseconds.
    pub virtual_us: Micros,
    /// Steps of nodes.
    pub steps: u64,
    /// Steps that took several inputs.
    pub batches: u64,
    /// Frames that reached their receivers.
    pub frames: u64,
    /// Syncs.
    pub syncs: u64,
    /// Everything else, by name.
    pub counts: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(super) fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    pub(super) fn add(&mut self, what: &'static str, times: u64) {
        *self.counts.entry(what).or_default() += times;
    }

    /// Adds another run's counts.
    pub fn merge(&mut self, other: &Tally) {
        self.virtual_us += other.virtual_us;
        self.steps += other.steps;
        self.batches += other.batches;
        self.frames += other.frames;
        self.syncs += other.syncs;
        for (what, count) in &other.counts {
            self.add(what, *count);
        }
    }
}
