//! What must never happen, checked after every step (Thesis §3.2, figure 3.2), from outside the nodes.
//!
//! The log of each node is known from its writes, and the state that must result from a reference store, which is
//! given each entry when the first node calls it committed. A log that goes on after a snapshot stands for the committed
//! log up to there, and the state after it must be that of the reference store.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::disk::{Contents, Disk, position};
use crate::effects::{Outcome, Record, Role, Write};
use crate::kv::{Refusal, RequestId, Store, Written};
use crate::membership::Configuration;
use crate::message::{Envelope, Message};
use crate::node::{Options, Standing, View};
use crate::types::{Entry, EntryId, Index, NodeId, Payload, Term};

/// What a client asked for.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Write(RequestId),
    Read {
        kind: ReadKind,
        key: String,
        /// The answer must not be older.
        at_least: Index,
    },
    /// What operators ask for, as text.
    Operator(String),
}

/// What a read rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadKind {
    /// A quorum's confirmation.
    Confirmed,
    /// The leader's clock.
    Lease,
    /// Nothing but what it names itself.
    Stale,
}

impl ReadKind {
    /// The command's name in scripts.
    pub(super) fn name(self) -> &'static str {
        match self {
            ReadKind::Confirmed => "read",
            ReadKind::Lease => "lease-read",
            ReadKind::Stale => "stale-read",
        }
    }
}

/// All that was seen, as far as later things can contradict it.
#[derive(Debug)]
pub(super) struct Safety {
    /// The founding configuration.
    founding: Arc<Configuration>,
    /// Who led each term.
    leaders: BTreeMap<Term, NodeId>,
    /// Whom each node voted for in each term, as others could learn.
    votes: BTreeMap<(NodeId, Term), NodeId>,
    /// Each entry ever written.
    entries: BTreeMap<EntryId, Known>,
    /// The committed log.
    committed: Vec<Arc<Entry>>,
    /// In which term each of them was committed, which may be later than its own.
    committed_in: Vec<Term>,
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
    views: BTreeMap<NodeId, View>,
    /// Disks that were lost, by node and number: they count for what they held until the loss is taken note of.
    lost_disks: BTreeMap<(NodeId, u64), Disk>,
}

/// An entry, and what its name stands for besides.
#[derive(Debug)]
struct Known {
    before: EntryId,
    entry: Arc<Entry>,
    /// The configuration that rules at the end of a log that ends here, and its index.
    config: (Index, Arc<Configuration>),
}

impl Safety {
    pub(super) fn new(options: &Options) -> Safety {
        let reference = Store::new(options.limits);
        Safety {
            founding: Arc::new(Configuration::founding(options.founders.clone())),
            leaders: BTreeMap::new(),
            votes: BTreeMap::new(),
            entries: BTreeMap::new(),
            committed: Vec::new(),
            committed_in: Vec::new(),
            hashes: vec![reference.state_hash()],
            reference,
            answers: BTreeMap::new(),
            values: BTreeMap::new(),
            acked: 0,
            invoked: BTreeMap::new(),
            voided: 0,
            views: BTreeMap::new(),
            lost_disks: BTreeMap::new(),
        }
    }

    /// The node asked for a write; `log` is what it wrote before.
    ///
    /// Log Matching (Thesis §3.5): an entry's name stands for one content and one predecessor, hence by induction for
    /// one log up to it. And a committed entry is never voided by a node that has it, from the term on in which it was
    /// committed: before, a node on which nobody counted may take a late append of a leader that lacks it.
    pub(super) fn on_write(&mut self, id: NodeId, write: &Write, log: &Contents) {
        // The log as it will be: `log` up to `kept`, then what this write adds.
        let (mut kept, mut added) = (log.last(), Vec::new());
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
                    let committed = self.committed.iter().zip(&self.committed_in);
                    for (entry, &committed_in) in committed.skip(position(*from)) {
                        let in_log = entry.id.index <= kept.index && log.holds(entry.id);
                        let held = in_log || added.contains(&entry.id);
                        assert!(
                            !held || term < committed_in,
                            "n{id} voids {} in term {term}, which was committed in {committed_in}",
                            entry.id
                        );
                    }
                    added.retain(|id: &EntryId| id.index < *from);
                    if *from <= kept.index {
                        kept = log.get(from - 1).map_or(log.base, |entry| entry.id);
                    }
                }
                Record::Entry(entry) => {
                    self.on_entry(added.last().copied().unwrap_or(kept), entry);
                    added.push(entry.id);
                }
                Record::Snapshot { last } => {
                    let is_committed = self.is_committed(*last);
                    assert!(is_committed, "n{id} goes on after {last}, which is not committed");
                    assert!(!log.holds(*last), "n{id} voids a log that holds {last}");
                    added.clear();
                    kept = *last;
                }
            }
        }
    }

    fn is_committed(&self, id: EntryId) -> bool {
        id == EntryId::ZERO
            || self.committed.get(position(id.index)).is_some_and(|entry| entry.id == id)
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
        if let Some(known) = self.entries.get(&entry.id) {
            let id = entry.id;
            assert_eq!(known.before, before, "Log Matching: {id} follows two different entries");
            let is_same = Arc::ptr_eq(&known.entry, entry) || known.entry == *entry;
            assert!(is_same, "Log Matching: {id} has two contents");
            return;
        }
        let (index, ruling) = self.config_after(before);
        let config = match &entry.payload {
            Payload::Configuration(next) => {
                check_change(&ruling, next);
                (entry.id.index, Arc::clone(next))
            }
            Payload::Noop | Payload::Command(_) => (index, ruling),
        };
        self.entries.insert(entry.id, Known { before, entry: Arc::clone(entry), config });
    }

    /// The configuration that rules at the end of a log that ends with this entry.
    pub(super) fn config_after(&self, last: EntryId) -> (Index, Arc<Configuration>) {
        let known = self.entries.get(&last).map(|known| known.config.clone());
        known.unwrap_or_else(|| (0, Arc::clone(&self.founding)))
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
            | Message::Install { .. }
            | Message::InstallReply { .. }
            | Message::Lost { .. }
            | Message::TimeoutNow
            | Message::ReadIndex { .. }
            | Message::ReadIndexReply { .. } => return,
        };
        let (voter, term) = (envelope.from, envelope.term);
        let is_lost = self.views.get(&voter).is_some_and(|it| it.standing != Standing::Full);
        assert!(!is_lost, "n{voter} votes, and has forgotten for whom it has voted before");
        let first = *self.votes.entry((voter, term)).or_insert(vote);
        assert_eq!(first, vote, "n{voter} votes twice in term {term}");
    }

    /// A node crashed: what it forgets need not be remembered.
    pub(super) fn on_crash(&mut self, id: NodeId) {
        self.views.remove(&id);
    }

    /// A node lost its disk: it does not know whom it voted for. That it may vote again before nobody counts on that any
    /// more, Election Safety must show.
    pub(super) fn on_wipe(&mut self, id: NodeId, lost: Disk) {
        self.lost_disks.insert((id, lost.incarnation), lost);
        self.votes.retain(|(voter, _), _| *voter != id);
    }

    /// A client makes a request, perhaps once more.
    pub(super) fn on_write_request(&mut self, request: &RequestId) -> Request {
        let acked = self.acked;
        self.invoked.entry(request.clone()).or_insert(acked);
        Request::Write(request.clone())
    }

    /// A client reads; a stale read is no older than it wants itself.
    pub(super) fn on_read_request(&self, kind: ReadKind, key: String, at_least: Index) -> Request {
        let at_least = if kind == ReadKind::Stale { at_least } else { self.acked };
        Request::Read { kind, key, at_least }
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
            (Request::Read { kind, key, at_least }, Outcome::Read { value, index }) => {
                assert_eq!(value.as_deref(), self.value_at(key, *index), "{key} at index {index}");
                let what = kind.name();
                assert!(
                    index >= at_least,
                    "{what} of {key} at {index}, made after {at_least} was answered"
                );
                if *kind != ReadKind::Stale {
                    self.acked = self.acked.max(*index);
                }
            }
            (_, Outcome::Written(_) | Outcome::Read { .. }) => panic!("{request:?}: {outcome:?}"),
            (
                _,
                Outcome::NotLeader { .. }
                | Outcome::Overloaded
                | Outcome::LeadershipLost
                | Outcome::ReadFailed
                | Outcome::Transferring { .. }
                | Outcome::Changed { .. }
                | Outcome::ChangeRefused(_)
                | Outcome::Transferred { .. }
                | Outcome::TransferFailed(_)
                | Outcome::SnapshotTaken { .. }
                | Outcome::SnapshotFailed,
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
        let log = &disks.clone().nth(slot(id)).expect("one disk a node").written;
        let before = self.views.get(&id);
        check_against_log(view, log, before);
        self.check_config(view);
        let led = before.is_some_and(|it| (it.role, it.term) == (Role::Leader, view.term));
        let leads = view.role == Role::Leader;
        let commit_before = before.map_or(0, |before| before.commit);
        if leads && !led {
            self.on_leader(view, log);
        }
        if led && leads && view.commit > commit_before {
            // Figure 3.7 of the thesis: older entries are committed along with one of the leader's own.
            let entry = log.get(view.commit).expect("it was committed just now");
            assert_eq!(entry.id.term, view.term, "n{id} commits by counting {}", entry.id);
        }
        if log.base.index > commit_before {
            assert!(self.is_committed(log.base), "n{id} has a snapshot of {}", log.base);
        }
        for index in commit_before.max(log.base.index) + 1..=view.commit {
            let entry = log.get(index).expect("what is committed is in the log");
            self.on_committed(view, entry, disks);
        }
        let applied = usize::try_from(view.applied).expect("small");
        assert_eq!(view.state_hash, self.hashes[applied], "n{id}: the state at {applied} differs");
        self.views.insert(id, view.clone());
    }

    /// The last configuration in a node's log rules it, committed or not (Thesis §4.1).
    fn check_config(&self, view: &View) {
        let (index, config) = self.config_after(view.last);
        let id = view.id;
        assert_eq!(view.config_index, index, "n{id} goes by another configuration");
        // Who joins knows nobody until somebody tells it; a snapshot does.
        let is_in_the_dark = index == 0 && self.founding.member(id).is_none();
        if !is_in_the_dark || *view.config != Configuration::nobody() {
            assert_eq!(view.config, config, "n{id} goes by another configuration");
        }
    }

    /// Election Safety (Thesis §3.4) and Leader Completeness (Thesis §3.6).
    fn on_leader(&mut self, view: &View, log: &Contents) {
        let leader = *self.leaders.entry(view.term).or_insert(view.id);
        assert_eq!(leader, view.id, "Election Safety: term {} has two leaders", view.term);
        // A late winner of an older term than that in which an entry was committed need not have it.
        let committed = self.committed.iter().zip(&self.committed_in);
        let earlier = committed.filter(|(_, committed_in)| **committed_in < view.term);
        for (entry, _) in earlier.filter(|(entry, _)| entry.id.index > log.base.index) {
            assert!(
                log.holds(entry.id),
                "Leader Completeness: n{}, leader of term {}, lacks {}, which is committed",
                view.id,
                view.term,
                entry.id
            );
        }
    }

    /// State Machine Safety (Thesis §3.6.3), and: committed means durable on a quorum of the members that rule, each
    /// with the disk that the configuration means. Even one that was lost a moment ago may count.
    fn on_committed<'a>(
        &mut self,
        view: &View,
        entry: &Arc<Entry>,
        disks: &(impl Iterator<Item = &'a Disk> + Clone),
    ) {
        let id = view.id;
        if let Some(known) = self.committed.get(position(entry.id.index)) {
            assert_eq!(
                known.id, entry.id,
                "State Machine Safety: n{id} commits {}, but {} is committed",
                entry.id, known.id
            );
            return;
        }
        let holds = |config: &Configuration, voter| {
            let meant = config.member(voter).expect("voters are members").incarnation;
            let present = disks.clone().nth(slot(voter)).filter(|disk| disk.incarnation == meant);
            let disk = present.or_else(|| self.lost_disks.get(&(voter, meant)));
            disk.is_some_and(|disk| disk.standing == Standing::Full && disk.keeps(entry.id))
        };
        // A step may commit under the configuration that it found, and then begin another.
        let found = self.views.get(&id).map_or(&view.config, |before| &before.config);
        assert!(
            [found, &view.config].iter().any(|it| it.is_quorum(|voter| holds(it, voter))),
            "n{id} commits {}, which is not durable on a quorum of {:?}",
            entry.id,
            view.config
        );
        self.committed.push(Arc::clone(entry));
        self.committed_in.push(view.term);
        if let Payload::Command(command) = &entry.payload {
            let written = self.reference.apply(entry.id.index, command);
            for key in command.op.keys() {
                let value = self.reference.get(key);
                let history = self.values.entry(key.to_owned()).or_default();
                if history.last().and_then(|(_, value)| value.as_deref()) != value {
                    history.push((entry.id.index, value.map(str::to_owned)));
                }
            }
            if !matches!(written.result, Err(Refusal::Expired | Refusal::BadBirth)) {
                self.answers.entry(command.request.clone()).or_insert(written);
            }
        }
        self.hashes.push(self.reference.state_hash());
    }
}

/// The node's own view agrees with what it wrote, and nothing falls that may not.
fn check_against_log(view: &View, log: &Contents, before: Option<&View>) {
    let id = view.id;
    assert_eq!((view.term, view.vote), (log.term, log.vote), "n{id} did not write its hard state");
    assert_eq!(view.last, log.last(), "n{id} did not write its log");
    assert!(view.applied <= view.commit && view.commit <= view.last.index, "{view:?}");
    if let Some(before) = before {
        assert!(view.term >= before.term, "n{id}: the term falls");
        assert!(view.commit >= before.commit, "n{id}: the commit index falls");
        assert!(view.applied >= before.applied, "n{id}: the applied index falls");
        assert!(view.snapshot.index >= before.snapshot.index, "n{id}: its snapshot gets older");
    }
}

/// Any quorum of one configuration and any of the next have a member in common (Thesis §4.1, §4.3).
fn check_change(config: &Configuration, next: &Configuration) {
    let overlaps = match (config.is_joint(), next.is_joint()) {
        (false, false) => config.voters().symmetric_difference(&next.voters()).count() <= 1,
        (false, true) => next.outgoing() == config.incoming(),
        (true, false) => next.incoming() == config.incoming(),
        (true, true) => false,
    };
    assert!(overlaps, "{next:?} cannot follow {config:?}");
}

fn slot(id: NodeId) -> usize {
    usize::try_from(id - 1).expect("small")
}
