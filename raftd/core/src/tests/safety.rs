//! What must never happen, checked after every step (Thesis §3.2, figure 3.2), from outside the nodes.
//!
//! The log of each node is known from its writes, and the state that must result from a reference store, which is
//! given each entry when the first node calls it committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::disk::{Contents, Disk, position};
use crate::effects::{Outcome, Record, Role, Write};
use crate::kv::{Limits, Refusal, RequestId, Store, Written};
use crate::message::{Envelope, Message};
use crate::node::View;
use crate::types::{Entry, EntryId, Index, NodeId, Payload, Term};

/// What a client asked for.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Write(RequestId),
    Read {
        key: String,
        /// The answer must not be older; `None`: it may be.
        at_least: Option<Index>,
    },
}

/// All that was seen, as far as later things can contradict it.
#[derive(Debug)]
pub(super) struct Safety {
    nodes: usize,
    /// Who led each term.
    leaders: BTreeMap<Term, NodeId>,
    /// Whom each node voted for in each term, as others could learn.
    votes: BTreeMap<(NodeId, Term), NodeId>,
    /// Each entry ever written, and the entry that stood before it.
    entries: BTreeMap<EntryId, (EntryId, Arc<Entry>)>,
    /// The committed log.
    committed: Vec<Arc<Entry>>,
    /// The committed log, applied.
    reference: Store,
    /// Hash of the state at each index, from 0.
    hashes: Vec<u64>,
    /// The first answer to each request.
    answers: BTreeMap<RequestId, Written>,
    /// For each key its values, each with the index from which on it holds.
    values: BTreeMap<String, Vec<(Index, Option<String>)>>,
    /// Highest index in any answer: whatever is asked from now on must see the state there.
    acked: Index,
    /// What `acked` was when a request was first made.
    invoked: BTreeMap<RequestId, Index>,
    /// How often a suffix was voided.
    voided: usize,
    /// The last picture of each node in its present life.
    views: Vec<Option<View>>,
}

impl Safety {
    pub(super) fn new(nodes: usize, limits: Limits) -> Safety {
        let reference = Store::new(limits);
        Safety {
            nodes,
            leaders: BTreeMap::new(),
            votes: BTreeMap::new(),
            entries: BTreeMap::new(),
            committed: Vec::new(),
            hashes: vec![reference.state_hash()],
            reference,
            answers: BTreeMap::new(),
            values: BTreeMap::new(),
            acked: 0,
            invoked: BTreeMap::new(),
            voided: 0,
            views: vec![None; nodes],
        }
    }

    /// The node asked for a write; `log` is what it wrote before.
    ///
    /// Log Matching (Thesis §3.5): an entry's name stands for one content and one predecessor, hence by induction for
    /// one log up to it. And a committed entry is never voided by a node that has it.
    pub(super) fn on_write(&mut self, id: NodeId, write: &Write, log: &Contents) {
        // The log as it will be: the first `kept` entries of `log`, then what this write adds.
        let (mut kept, mut added) = (log.log.len(), Vec::new());
        let (mut term, mut vote) = (log.term, log.vote);
        for record in &write.records {
            match record {
                Record::HardState { term: new_term, vote: new_vote } => {
                    assert!(*new_term >= term, "n{id}: term falls from {term} to {new_term}");
                    assert!(
                        *new_term > term || vote.is_none() || *new_vote == vote,
                        "n{id}: vote in term {term} changes from {vote:?} to {new_vote:?}"
                    );
                    (term, vote) = (*new_term, *new_vote);
                }
                Record::Truncate { from } => {
                    self.voided += 1;
                    let keep = position(*from);
                    for entry in self.committed.iter().skip(keep) {
                        let held = log.holds(entry.id) || added.contains(&entry.id);
                        assert!(!held, "n{id} voids {}, which is committed", entry.id);
                    }
                    added.truncate(keep.saturating_sub(kept));
                    kept = kept.min(keep);
                }
                Record::Entry(entry) => {
                    let before = added.last().copied().or_else(|| Some(log.log[..kept].last()?.id));
                    self.on_entry(before.unwrap_or(EntryId::ZERO), entry);
                    added.push(entry.id);
                }
            }
        }
    }

    /// A node was given a log by hand.
    pub(super) fn on_old_log(&mut self, contents: &Contents) {
        let mut last = EntryId::ZERO;
        for entry in &contents.log {
            self.on_entry(last, entry);
            last = entry.id;
        }
    }

    fn on_entry(&mut self, before: EntryId, entry: &Arc<Entry>) {
        let known = self.entries.entry(entry.id).or_insert_with(|| (before, Arc::clone(entry)));
        assert_eq!(known.0, before, "Log Matching: {} follows two different entries", entry.id);
        assert!(
            Arc::ptr_eq(&known.1, entry) || known.1 == *entry,
            "Log Matching: {} has two contents",
            entry.id
        );
    }

    /// A message left its node: others may now rely on it.
    pub(super) fn on_leave(&mut self, envelope: &Envelope) {
        let vote = match &envelope.message {
            Message::VoteReply { granted: true } => envelope.to,
            Message::Vote { .. } => envelope.from,
            Message::VoteReply { granted: false }
            | Message::PreVote { .. }
            | Message::PreVoteReply { .. }
            | Message::Append { .. }
            | Message::AppendAccepted { .. }
            | Message::AppendRejected { .. }
            | Message::ReadIndex { .. }
            | Message::ReadIndexReply { .. } => return,
        };
        let (voter, term) = (envelope.from, envelope.term);
        let first = *self.votes.entry((voter, term)).or_insert(vote);
        assert_eq!(first, vote, "n{voter} votes twice in term {term}");
    }

    /// A node crashed: what it forgets need not be remembered.
    pub(super) fn on_crash(&mut self, id: NodeId) {
        self.views[slot(id)] = None;
    }

    /// A client makes a request, perhaps once more.
    pub(super) fn on_write_request(&mut self, request: &RequestId) -> Request {
        let acked = self.acked;
        self.invoked.entry(request.clone()).or_insert(acked);
        Request::Write(request.clone())
    }

    /// A client reads.
    pub(super) fn on_read_request(&self, key: String, stale: bool) -> Request {
        Request::Read { key, at_least: (!stale).then_some(self.acked) }
    }

    /// A client was told something.
    ///
    /// Linearizability: requests take effect in the order of the indexes in their answers, and no request takes effect
    /// before one that was answered before it was made. A read's value is that at the index it names. A write's
    /// answer is the first that the committed log gives to the request, so retries agree with each other.
    pub(super) fn on_answer(&mut self, request: &Request, outcome: &Outcome) {
        match (request, outcome) {
            (Request::Write(request), Outcome::Written(written)) => {
                if matches!(written.result, Err(Refusal::Expired | Refusal::BadBirth)) {
                    return;
                }
                assert_eq!(self.answers.get(request), Some(written), "the answer to {request}");
                let (index, acked) = (written.index, self.invoked[request]);
                assert!(index > acked, "{request} at {index} was made after {acked} was answered");
                self.acked = self.acked.max(index);
            }
            (Request::Read { key, at_least }, Outcome::Read { value, index }) => {
                assert_eq!(value.as_deref(), self.value_at(key, *index), "{key} at index {index}");
                if let Some(acked) = at_least {
                    assert!(
                        index >= acked,
                        "stale read: of {key} at {index}, made after {acked} was answered"
                    );
                    self.acked = self.acked.max(*index);
                }
            }
            (_, Outcome::Written(_) | Outcome::Read { .. }) => panic!("{request:?}: {outcome:?}"),
            (
                _,
                Outcome::NotLeader { .. }
                | Outcome::Overloaded
                | Outcome::LeadershipLost
                | Outcome::ReadFailed,
            ) => {}
        }
    }

    /// The committed log's last index.
    pub(super) fn committed(&self) -> Index {
        u64::try_from(self.committed.len()).expect("small")
    }

    /// How often a suffix of a log was voided.
    pub(super) fn voided(&self) -> usize {
        self.voided
    }

    /// How many terms had a leader.
    pub(super) fn terms_led(&self) -> usize {
        self.leaders.len()
    }

    /// The key's value after the entry at this index.
    pub(super) fn value_at(&self, key: &str, index: Index) -> Option<&str> {
        let history = self.values.get(key)?;
        let until = history.partition_point(|(since, _)| *since <= index);
        history[..until].last().and_then(|(_, value)| value.as_deref())
    }

    /// A node took a step.
    pub(super) fn on_step<'a>(
        &mut self,
        view: &View,
        disks: &(impl Iterator<Item = &'a Disk> + Clone),
    ) {
        let id = view.id;
        let slot = slot(id);
        let log = &disks.clone().nth(slot).expect("one disk a node").written;
        assert_eq!(
            (view.term, view.vote),
            (log.term, log.vote),
            "n{id} did not write its hard state"
        );
        assert_eq!(view.last, log.last(), "n{id} did not write its log");
        assert!(view.applied <= view.commit && view.commit <= view.last.index, "{view:?}");
        if let Some(before) = &self.views[slot] {
            assert!(view.term >= before.term, "n{id}: the term falls");
            assert!(view.commit >= before.commit, "n{id}: the commit index falls");
            assert!(view.applied >= before.applied, "n{id}: the applied index falls");
        }
        let became_leader = view.role == Role::Leader
            && self.views[slot]
                .as_ref()
                .is_none_or(|before| before.role != Role::Leader || before.term != view.term);
        if became_leader {
            self.on_leader(view, log);
        }
        let before = self.views[slot].as_ref();
        let commit_before = before.map_or(0, |before| before.commit);
        let led = before.is_some_and(|it| (it.role, it.term) == (Role::Leader, view.term));
        if led && view.role == Role::Leader && view.commit > commit_before {
            // Figure 3.7 of the thesis: older entries are committed along with one of the leader's own.
            let entry = &log.log[position(view.commit)];
            assert_eq!(entry.id.term, view.term, "n{id} commits by counting {}", entry.id);
        }
        for index in commit_before + 1..=view.commit {
            self.on_committed(id, &log.log[position(index)], disks.clone());
        }
        let applied = usize::try_from(view.applied).expect("small");
        assert_eq!(view.state_hash, self.hashes[applied], "n{id}: the state at {applied} differs");
        self.views[slot] = Some(view.clone());
    }

    /// Election Safety (Thesis §3.4) and Leader Completeness (Thesis §3.6).
    fn on_leader(&mut self, view: &View, log: &Contents) {
        let leader = *self.leaders.entry(view.term).or_insert(view.id);
        assert_eq!(leader, view.id, "Election Safety: term {} has two leaders", view.term);
        for entry in self.committed.iter().filter(|entry| entry.id.term < view.term) {
            assert!(
                log.holds(entry.id),
                "Leader Completeness: n{}, leader of term {}, lacks {}, which is committed",
                view.id,
                view.term,
                entry.id
            );
        }
    }

    /// State Machine Safety (Thesis §3.6.3), and: committed means durable on a quorum.
    fn on_committed<'a>(
        &mut self,
        id: NodeId,
        entry: &Arc<Entry>,
        disks: impl Iterator<Item = &'a Disk>,
    ) {
        if let Some(known) = self.committed.get(position(entry.id.index)) {
            assert_eq!(
                known.id, entry.id,
                "State Machine Safety: n{id} commits {}, but {} is committed",
                entry.id, known.id
            );
            return;
        }
        let holders = disks.filter(|disk| disk.durable.holds(entry.id)).count();
        assert!(
            holders > self.nodes / 2,
            "n{id} commits {}, which is durable on {holders} of {} nodes",
            entry.id,
            self.nodes
        );
        self.committed.push(Arc::clone(entry));
        if let Payload::Command(command) = &entry.payload {
            let written = self.reference.apply(entry.id.index, command);
            let key = command.op.key();
            let value = self.reference.get(key);
            let history = self.values.entry(key.to_owned()).or_default();
            if history.last().and_then(|(_, value)| value.as_deref()) != value {
                history.push((entry.id.index, value.map(str::to_owned)));
            }
            if !matches!(written.result, Err(Refusal::Expired | Refusal::BadBirth)) {
                self.answers.entry(command.request.clone()).or_insert(written);
            }
        }
        self.hashes.push(self.reference.state_hash());
    }
}

fn slot(id: NodeId) -> usize {
    usize::try_from(id - 1).expect("small")
}
