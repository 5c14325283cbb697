//! The latest call among clusters that returned first before some position, but one.

use std::collections::VecDeque;

use crate::check::direct::register::LatestTwo;

/// Clusters in order of their first return.
///
/// Those that returned first before any operation was called that is still open will be asked about together, so only
/// the two that reach furthest of them are kept.
#[derive(Default)]
pub(super) struct Reach {
    old: LatestTwo,
    recent: VecDeque<(i64, u32)>,
    /// A heap of maxima over the last calls of `recent`, its leaves from half of its length on.
    maxima: Vec<i64>,
    /// How many are in `old`.
    passed: usize,
}

/// Less than any call.
const NONE: i64 = i64::MIN;

impl Reach {
    /// A cluster of which nothing returned before. Its place is the number of those before it.
    pub(super) fn push(&mut self, first_return: i64, cluster: u32, last_call: i64) -> usize {
        self.recent.push_back((first_return, cluster));
        let leaf = self.recent.len() - 1;
        if leaf >= self.maxima.len() / 2 {
            self.rebuild();
        }
        self.set(leaf, last_call);
        self.passed + leaf
    }

    /// Another call in a cluster.
    pub(super) fn extend(&mut self, place: usize, cluster: u32, last_call: i64) {
        match place.checked_sub(self.passed) {
            Some(leaf) => self.set(leaf, last_call),
            None => self.old.insert(last_call, cluster),
        }
    }

    /// A cluster, other than the one in this place, that returned first before `call` and was called after `moment`.
    pub(super) fn other(&self, place: usize, cluster: u32, call: i64, moment: i64) -> Option<u32> {
        if let Some(old) = self.old.other_after(moment, cluster) {
            return Some(old);
        }
        let end = self.recent.partition_point(|&(first_return, _)| first_return < call);
        let own = place.checked_sub(self.passed).unwrap_or(end).min(end);
        let leaf = self.above(0, own, moment).or_else(|| self.above(own + 1, end, moment))?;
        self.recent.get(leaf).map(|&(_, cluster)| cluster)
    }

    /// No operation that was called before this position is open.
    pub(super) fn forget_before(&mut self, position: i64) {
        let passed = self.recent.partition_point(|&(first_return, _)| first_return < position);
        // Seldom, because all the others move.
        if passed > 32 && passed > self.recent.len() / 2 {
            let leaves = self.leaves();
            for (leaf, (_, cluster)) in self.recent.drain(..passed).enumerate() {
                self.old.insert(leaves[leaf], cluster);
            }
            self.passed += passed;
            self.fill(&leaves[passed..]);
        }
    }

    fn leaves(&self) -> Vec<i64> {
        let half = self.maxima.len() / 2;
        self.maxima[half..].iter().copied().take(self.recent.len()).collect()
    }

    fn rebuild(&mut self) {
        let leaves = self.leaves();
        self.fill(&leaves);
    }

    fn fill(&mut self, leaves: &[i64]) {
        let half = (self.recent.len() + 1).next_power_of_two().max(64);
        self.maxima.clear();
        self.maxima.resize(2 * half, NONE);
        self.maxima[half..half + leaves.len()].copy_from_slice(leaves);
        for node in (1..half).rev() {
            self.maxima[node] = self.maxima[2 * node].max(self.maxima[2 * node + 1]);
        }
    }

    fn set(&mut self, leaf: usize, last_call: i64) {
        let mut node = self.maxima.len() / 2 + leaf;
        while node >= 1 && self.maxima[node] < last_call {
            self.maxima[node] = last_call;
            node /= 2;
        }
    }

    /// A leaf from `from` to before `to` that is more than this.
    fn above(&self, from: usize, to: usize, moment: i64) -> Option<usize> {
        if from >= to {
            return None;
        }
        let half = self.maxima.len() / 2;
        let (mut low, mut high) = (half + from, half + to);
        let mut found = None;
        while low < high && found.is_none() {
            if low % 2 == 1 {
                found = Some(low).filter(|&node| self.maxima[node] > moment);
                low += 1;
            }
            if high % 2 == 1 && found.is_none() {
                high -= 1;
                found = Some(high).filter(|&node| self.maxima[node] > moment);
            }
            low /= 2;
            high /= 2;
        }
        let mut node = found?;
        while node < half {
            node *= 2;
            if self.maxima[node] <= moment {
                node += 1;
            }
        }
        Some(node - half)
    }
}
