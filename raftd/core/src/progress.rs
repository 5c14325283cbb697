//! What a leader knows of one follower's log.

use std::collections::VecDeque;

use crate::types::{Index, Time};

/// One follower, as its leader sees it (Thesis §3.5: nextIndex, matchIndex).
#[derive(Debug)]
pub(crate) struct Progress {
    /// The follower's log is known to equal the leader's up to here, durably. Never falls.
    pub(crate) matched: Index,
    /// The next entry to send; always above `matched`.
    pub(crate) next: Index,
    /// How entries are sent.
    pub(crate) mode: Mode,
    /// When the follower last answered in this term: what check-quorum counts (Thesis §6.2).
    pub(crate) heard: Time,
    /// Newest read round that the follower has confirmed.
    pub(crate) round: u64,
    /// Highest commit index sent to it.
    pub(crate) commit_sent: Index,
    /// An append is due even if there are no entries to send.
    pub(crate) poke: bool,
}

/// How entries are sent to a follower.
#[derive(Debug)]
pub(crate) enum Mode {
    /// Where the logs agree is not known: one append at a time, repeated at each heartbeat.
    Probe {
        /// An append is on its way; wait for its answer or the next heartbeat.
        waiting: bool,
    },
    /// The logs agree: appends are sent without waiting for the answers, up to a window.
    Replicate {
        /// Last index of each append with entries that is not answered yet, rising.
        inflight: VecDeque<Index>,
    },
}

impl Progress {
    pub(crate) fn new(now: Time, next: Index) -> Progress {
        Progress {
            matched: 0,
            next,
            mode: Mode::Probe { waiting: false },
            heard: now,
            round: 0,
            commit_sent: 0,
            poke: true,
        }
    }

    /// The follower has proved that it holds the log up to `matched`.
    pub(crate) fn on_accepted(&mut self, matched: Index) {
        self.matched = self.matched.max(matched);
        self.next = self.next.max(self.matched + 1);
        match &mut self.mode {
            // Only an answer that reaches the probed position says that the logs agree there.
            Mode::Probe { .. } if matched + 1 >= self.next => {
                self.mode = Mode::Replicate { inflight: VecDeque::new() };
            }
            Mode::Probe { .. } => {}
            Mode::Replicate { inflight } => {
                while inflight.front().is_some_and(|&last| last <= self.matched) {
                    inflight.pop_front();
                }
            }
        }
    }

    /// The follower lacks the entry before `next`, or an earlier append got lost: probe from `next`.
    pub(crate) fn probe_from(&mut self, next: Index) {
        // A follower that rejects what it has acknowledged has lost it; asking at once gets the same answer again.
        let hopeless = next <= self.matched;
        self.next = next.max(self.matched + 1);
        self.mode = Mode::Probe { waiting: hopeless };
        self.poke = !hopeless;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follower_that_lost_what_it_acknowledged_is_asked_once_a_heartbeat() {
        let mut progress = Progress::new(Time::ZERO, 6);
        progress.on_accepted(5);
        progress.probe_from(3);
        assert!(matches!(progress.mode, Mode::Probe { waiting: true }), "{progress:?}");
        assert_eq!((progress.next, progress.poke), (6, false), "matched never falls");
        progress.probe_from(6);
        assert!(matches!(progress.mode, Mode::Probe { waiting: false }), "{progress:?}");
    }
}
