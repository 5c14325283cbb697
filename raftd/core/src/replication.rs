//! Replication on both sides, and the commit rule (Thesis §3.5, §3.6.2, §6.2, §10.2).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::effects::Event;
use crate::log::Lookup;
use crate::message::Message;
use crate::node::{Node, RoleState};
use crate::progress::{Mode, Progress};
use crate::read_index::Rounds;
use crate::types::{Entry, EntryId, Index, NodeId, Term, Time};

/// What only a leader knows.
#[derive(Debug)]
pub(crate) struct Leader {
    /// Every other voter.
    pub(crate) progress: BTreeMap<NodeId, Progress>,
    /// The no-op that began this leadership; once it is committed, so is everything before it.
    pub(crate) noop: Index,
    /// When followers must hear from this node again.
    pub(crate) heartbeat_deadline: Time,
    /// Reads that wait for a quorum to confirm this leadership.
    pub(crate) rounds: Rounds,
}

impl Leader {
    pub(crate) fn new(now: Time, followers: Vec<NodeId>, next: Index) -> Leader {
        Leader {
            progress: followers.into_iter().map(|id| (id, Progress::new(now, next))).collect(),
            noop: next,
            heartbeat_deadline: now,
            rounds: Rounds::default(),
        }
    }
}

// The leader's side.
impl Node {
    pub(crate) fn schedule_heartbeat(&mut self) {
        let deadline = self.now + self.options.heartbeat;
        if let RoleState::Leader(leader) = &mut self.role {
            leader.heartbeat_deadline = deadline;
        }
    }

    /// Makes itself heard; or steps down, if it has not heard from a quorum for an election
    /// timeout: then others may have elected a successor already (check-quorum, Thesis §6.2).
    pub(crate) fn on_heartbeat_due(&mut self) {
        let (id, now) = (self.options.id, self.now);
        let RoleState::Leader(leader) = &mut self.role else { return };
        let heard =
            self.config.quorum_value(|voter| leader.progress.get(&voter).map_or(now, |p| p.heard));
        debug_assert!(!leader.progress.contains_key(&id), "a leader does not follow itself");
        if heard + self.options.election_timeout_max <= now {
            return self.become_follower(self.term, None);
        }
        for progress in leader.progress.values_mut() {
            progress.poke = true;
            if let Mode::Probe { waiting } = &mut progress.mode {
                *waiting = false;
            }
        }
        self.schedule_heartbeat();
    }

    /// Sends each follower what it lacks, as far as its window allows. The leader's own disk is not
    /// waited for (Thesis §10.2.1).
    pub(crate) fn send_appends(&mut self) {
        let RoleState::Leader(leader) = &mut self.role else { return };
        let mut messages = Vec::new();
        let window = self.options.inflight_messages_max;
        for (&to, progress) in &mut leader.progress {
            let mut send = |progress: &mut Progress, entries: Vec<Arc<Entry>>| {
                let prev = progress.next - 1;
                let Lookup::Term(term) = self.log.lookup(prev) else {
                    panic!("entry {prev} before the next one for node {to} is not in the log");
                };
                let prev = EntryId { term, index: prev };
                progress.poke = false;
                progress.commit_sent = self.commit;
                let round = leader.rounds.last;
                messages.push((to, Message::Append { prev, entries, commit: self.commit, round }));
            };
            let bytes_max = self.options.append_bytes_max;
            match &mut progress.mode {
                Mode::Probe { waiting } if !*waiting => {
                    *waiting = true;
                    let entries = self.log.slice(progress.next, bytes_max);
                    send(progress, entries);
                }
                Mode::Probe { .. } => {
                    if progress.poke {
                        send(progress, Vec::new());
                    }
                }
                Mode::Replicate { inflight } => {
                    let mut room = window.saturating_sub(inflight.len());
                    let mut sent = VecDeque::new();
                    while room > 0 && progress.next <= self.log.last().index {
                        let entries = self.log.slice(progress.next, bytes_max);
                        let last = entries.last().expect("there are entries").id.index;
                        send(progress, entries);
                        sent.push_back(last);
                        progress.next = last + 1;
                        room -= 1;
                    }
                    if let Mode::Replicate { inflight } = &mut progress.mode {
                        inflight.append(&mut sent);
                    }
                    if progress.poke {
                        send(progress, Vec::new());
                    }
                }
            }
        }
        for (to, message) in messages {
            self.send_now(to, message);
        }
    }

    pub(crate) fn on_append_accepted(
        &mut self,
        from: NodeId,
        term: Term,
        matched: Index,
        round: u64,
    ) {
        let last = self.log.last().index;
        match &mut self.role {
            RoleState::Leader(leader) if term == self.term => {
                if matched > last || round > leader.rounds.last {
                    return self.refuse();
                }
                let progress = leader.progress.get_mut(&from).expect("voters have a progress");
                progress.heard = self.now;
                progress.round = progress.round.max(round);
                progress.on_accepted(matched);
            }
            // Of an earlier leadership of this node, or of none.
            RoleState::Leader(_)
            | RoleState::Follower { .. }
            | RoleState::PreCandidate { .. }
            | RoleState::Candidate { .. } => {}
        }
    }

    pub(crate) fn on_append_rejected(
        &mut self,
        from: NodeId,
        term: Term,
        prev_index: Index,
        hint: EntryId,
        round: u64,
    ) {
        let RoleState::Leader(leader) = &mut self.role else { return };
        if term != self.term {
            return;
        }
        let last = self.log.last().index;
        if round > leader.rounds.last || prev_index > last || hint.index >= prev_index {
            return self.refuse();
        }
        let progress = leader.progress.get_mut(&from).expect("voters have a progress");
        progress.heard = self.now;
        // A rejection acknowledges the leadership as well as an acceptance does.
        progress.round = progress.round.max(round);
        let expected = match progress.mode {
            Mode::Probe { .. } => prev_index + 1 == progress.next,
            Mode::Replicate { .. } => prev_index > progress.matched,
        };
        if expected {
            // Both logs rule out whole terms (Thesis §3.5): the follower's by `hint.index`, ours by `hint.term`.
            let agreed = self.log.last_of_term_at_most(hint.index, hint.term).index;
            progress.probe_from(agreed + 1);
        }
    }

    /// An entry is committed when a quorum holds it durably and it is of the leader's own term;
    /// older ones are committed with it, never by counting (Thesis §3.6.2, figure 3.7).
    pub(crate) fn advance_commit(&mut self) {
        let RoleState::Leader(leader) = &self.role else { return };
        let reached = self
            .config
            .quorum_value(|voter| leader.progress.get(&voter).map_or(self.synced, |p| p.matched));
        if reached > self.commit && self.log.lookup(reached) == Lookup::Term(self.term) {
            self.commit = reached;
        }
    }
}

// The follower's side.
impl Node {
    pub(crate) fn on_append(
        &mut self,
        from: NodeId,
        term: Term,
        prev: EntryId,
        entries: Vec<Arc<Entry>>,
        commit: Index,
        round: u64,
    ) {
        if term < self.term {
            // The answer's term tells the old leader to step down.
            let hint = EntryId::ZERO;
            return self.send_durably(
                from,
                Message::AppendRejected { prev_index: prev.index, hint, round: 0 },
            );
        }
        if !is_well_formed(term, prev, &entries) || !self.accept_leader(from) {
            return self.refuse();
        }
        self.leader_heard = Some(self.now);
        self.reset_election_deadline();

        if !self.log.holds(prev) {
            if prev.index <= self.commit {
                // Committed entries are never contradicted by a leader.
                return self.refuse();
            }
            let hint = self.log.last_of_term_at_most(prev.index - 1, prev.term);
            return self.send_durably(
                from,
                Message::AppendRejected { prev_index: prev.index, hint, round },
            );
        }
        let heartbeat = entries.is_empty();
        let matched = entries.last().map_or(prev.index, |entry| entry.id.index);
        if !self.take_entries(entries) {
            return self.refuse();
        }
        // Only what this message proved may be committed: the log's tail may differ (Thesis §3.5).
        self.commit = self.commit.max(commit.min(matched));
        if heartbeat && self.hard_state_is_durable() {
            // Nothing new: say at once what is durable already, so that read rounds need not wait for the disk.
            let matched = matched.min(self.synced);
            self.send_now(from, Message::AppendAccepted { matched, round });
        } else {
            self.send_durably(from, Message::AppendAccepted { matched, round });
        }
    }

    /// Follows `from` in the current term; `false` if that cannot be, because another leads it.
    fn accept_leader(&mut self, from: NodeId) -> bool {
        match &self.role {
            RoleState::Leader(_) => false,
            RoleState::Follower { leader: Some(leader) } => *leader == from,
            RoleState::Follower { leader: None } => {
                self.role = RoleState::Follower { leader: Some(from) };
                self.out.events.push(Event::Leader { term: self.term, leader: from });
                true
            }
            RoleState::PreCandidate { .. } | RoleState::Candidate { .. } => {
                self.become_follower(self.term, Some(from));
                true
            }
        }
    }

    /// Adds what is missing; removes a suffix only on a real conflict, as the message may be older
    /// than what the log holds by now (Thesis §3.5). `false`: it contradicts a committed entry.
    fn take_entries(&mut self, entries: Vec<Arc<Entry>>) -> bool {
        let mut entries =
            entries.into_iter().skip_while(|entry| self.log.holds(entry.id)).peekable();
        let Some(first) = entries.peek().map(|entry| entry.id.index) else { return true };
        if first <= self.commit {
            return false;
        }
        let entries: Vec<_> = entries.collect();
        if first <= self.log.last().index {
            self.truncate_log(first);
        }
        for entry in entries {
            self.append_entry(entry);
        }
        true
    }
}

/// What every leader's append fulfils: consecutive entries whose terms do not fall, none beyond the
/// leader's own.
fn is_well_formed(term: Term, prev: EntryId, entries: &[Arc<Entry>]) -> bool {
    let starts_well = (prev.index == 0) == (prev.term == 0);
    let mut before = prev;
    let follows = entries.iter().all(|entry| {
        let good =
            entry.id.index == before.index.saturating_add(1) && entry.id.term >= before.term.max(1);
        before = entry.id;
        good
    });
    starts_well && follows && before.term <= term
}
