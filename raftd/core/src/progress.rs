//! What a leader knows of one follower's log.

use std::collections::VecDeque;

use crate::message::Stand;
use crate::types::{EntryId, Index, Time};

/// One follower, as its leader sees it (Thesis §3.5: nextIndex, matchIndex).
#[derive(Debug)]
pub(crate) struct Progress {
    /// As what this follower is written to.
    pub(crate) stand: Stand,
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
    /// A message is due even if there is nothing new to send.
    pub(crate) poke: bool,
    /// Its last answer said that it does not know yet that its loss was taken note of.
    pub(crate) lost: bool,
    /// Whether it keeps up (Thesis §4.2.1).
    catch_up: CatchUp,
}

/// Rounds of replication, each as long as the log was when it began (Thesis §4.2.1).
#[derive(Clone, Copy, Debug)]
struct CatchUp {
    /// Where the present round ends.
    target: Index,
    /// When it began.
    since: Time,
    /// Whether the round before took less than an election timeout.
    was_fast: bool,
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
    /// It lacks entries that are compacted away here: a snapshot goes over piece by piece, each waiting for the answer to
    /// the one before (Thesis §5.3).
    Snapshot(Transfer),
}

/// A snapshot on its way to a follower.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    /// Its last entry: which snapshot.
    pub(crate) last: EntryId,
    /// The first byte that the follower lacks.
    pub(crate) offset: u64,
    /// The file's length, once a piece of it was read.
    pub(crate) total: Option<u64>,
    /// When the piece at `offset` was last asked for at the disk; `None`: it is due.
    pub(crate) asked: Option<Time>,
}

impl Transfer {
    pub(crate) fn new(last: EntryId) -> Transfer {
        Transfer { last, offset: 0, total: None, asked: None }
    }
}

impl Progress {
    pub(crate) fn new(now: Time, next: Index, stand: Stand) -> Progress {
        Progress {
            stand,
            matched: 0,
            next,
            mode: Mode::Probe { waiting: false },
            heard: now,
            round: 0,
            commit_sent: 0,
            poke: true,
            lost: false,
            catch_up: CatchUp { target: next - 1, since: now, was_fast: false },
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
            // It may hold more than the snapshot by now.
            Mode::Snapshot(transfer) => {
                if self.matched >= transfer.last.index {
                    self.mode = Mode::Replicate { inflight: VecDeque::new() };
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

    /// Counts the rounds; `last` is the end of the leader's log.
    pub(crate) fn count_catch_up(&mut self, now: Time, last: Index, timeout: Time) {
        if self.matched >= self.catch_up.target {
            let was_fast = now <= self.catch_up.since + timeout;
            self.catch_up = CatchUp { target: last, since: now, was_fast };
        }
    }

    /// Whether it would hold up nothing if it got a vote: it answers, and it has the whole log, or had what there was an
    /// election timeout ago.
    pub(crate) fn is_caught_up(&self, now: Time, last: Index, timeout: Time) -> bool {
        let CatchUp { since, was_fast, .. } = self.catch_up;
        let answers = now <= self.heard + timeout;
        answers && !self.lost && (self.matched >= last || was_fast && now <= since + timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAND: Stand = Stand { session: 1, voter: true, incarnation: 0 };

    fn seconds(n: u64) -> Time {
        Time::from_secs(n)
    }

    #[test]
    fn follower_that_lost_what_it_acknowledged_is_asked_once_a_heartbeat() {
        let mut progress = Progress::new(Time::ZERO, 6, STAND);
        progress.on_accepted(5);
        progress.probe_from(3);
        assert!(matches!(progress.mode, Mode::Probe { waiting: true }), "{progress:?}");
        assert_eq!((progress.next, progress.poke), (6, false), "matched never falls");
        progress.probe_from(6);
        assert!(matches!(progress.mode, Mode::Probe { waiting: false }), "{progress:?}");
    }

    #[test]
    fn snapshot_ends_when_the_follower_holds_as_much_or_more() {
        for (matched, ended) in [(6, false), (7, true), (9, true)] {
            let mut progress = Progress::new(Time::ZERO, 3, STAND);
            let last = EntryId { term: 1, index: 7 };
            progress.mode = Mode::Snapshot(Transfer::new(last));
            progress.on_accepted(matched);
            assert_eq!(matches!(progress.mode, Mode::Replicate { .. }), ended, "{matched}");
        }
    }

    #[test]
    fn learner_keeps_up_when_a_round_takes_less_than_the_timeout() {
        let timeout = seconds(1);
        let mut progress = Progress::new(seconds(0), 1_001, STAND);
        let accept = |progress: &mut Progress, at, matched, last| {
            progress.heard = seconds(at);
            progress.on_accepted(matched);
            progress.count_catch_up(seconds(at), last, timeout);
            progress.is_caught_up(seconds(at), last, timeout)
        };
        assert!(!accept(&mut progress, 3, 1_000, 1_300), "the first round took 3 s");
        assert!(accept(&mut progress, 4, 1_300, 1_400), "the second took 1 s");
        assert!(!progress.is_caught_up(seconds(6), 1_400, timeout), "it went silent");
        assert!(!accept(&mut progress, 6, 1_390, 1_600), "the round is open for 2 s");
        assert!(accept(&mut progress, 6, 1_600, 1_600), "it has everything");
    }
}
