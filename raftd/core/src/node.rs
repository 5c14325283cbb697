//! One member of the cluster: takes [`Input`]s, asks for [`Effects`].

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::compaction::{Receiving, SavedAt, Taking};
use crate::effects::{
    Answer, Effects, Event, Outcome, Record, Role, Send, Token, TransferFailure, Write, WriteSeq,
};
use crate::handover::Handover;
pub use crate::input::{Compaction, Input, Lease, Options, Recovered, Standing};
use crate::invariants::{Before, check_send};
use crate::kv::{Command, Store};
use crate::log::Log;
use crate::membership::{Configuration, Configurations};
use crate::message::{Envelope, Message};
use crate::read_index::Reads;
use crate::replication::{Appended, Installed, Leader};
use crate::rng::Rng;
use crate::snapshot::{Saved, Snapshot};
use crate::types::{Entry, EntryId, Index, NodeId, Payload, Term, Time};
pub use crate::view::{Follower, FollowerMode, View};

/// Highest term believed. No cluster gets there; a forged one must not lead to terms that overflow, or that JSON's
/// numbers (exact up to 2^53) cannot hold.
const TERM_MAX: Term = 1 << 52;

/// What a node is, with what only that role knows.
#[derive(Debug)]
pub(crate) enum RoleState {
    Follower {
        /// Who leads the current term, once known; never changes within a term.
        leader: Option<NodeId>,
    },
    PreCandidate {
        /// Who would vote for this node in the next term, itself included.
        granted: BTreeSet<NodeId>,
    },
    Candidate {
        /// Who has voted for this node in this term; itself only once its vote is durable.
        granted: BTreeSet<NodeId>,
    },
    Leader(Box<Leader>),
}

/// One member of the cluster.
///
/// [`step`](Node::step) is the only way in; its effects are the only way out.
#[derive(Debug)]
pub struct Node {
    pub(crate) options: Options,
    rng: Rng,
    /// The time of the current step; never falls.
    pub(crate) now: Time,

    /// Latest term seen. Never falls. Changed by `set_hard_state` alone, which also has it persisted.
    pub(crate) term: Term,
    /// Whom this node voted for in `term`. Within a term it goes from `None` to one node and stays.
    /// Changed by `set_hard_state` alone.
    pub(crate) vote: Option<NodeId>,
    /// Whether this node may vote.
    pub(crate) standing: Standing,
    /// Those in the log, kept in step with it by `append_entry` and `truncate_log`.
    pub(crate) configs: Configurations,
    /// Appended to by `append_entry` and cut by `truncate_log`, which also have it persisted.
    pub(crate) log: Log,
    /// The log is durable up to here on this node's disk. Falls only when a suffix is truncated.
    pub(crate) synced: Index,
    /// Highest index known to be committed. Never falls; not persisted (it is found out again).
    pub(crate) commit: Index,
    /// Highest index applied to `store`; equal to `commit` between steps.
    pub(crate) applied: Index,
    /// The entry at `applied`.
    pub(crate) applied_id: EntryId,

    /// The newest durable snapshot.
    pub(crate) saved: SavedAt,
    /// Weight of the entries applied since the state was last frozen.
    pub(crate) applied_bytes: u64,
    /// The log is not needed up to here; what of it is still in memory is forgotten bit by bit.
    pub(crate) forget_to: Index,
    /// A snapshot that is being written.
    pub(crate) taking: Option<Taking>,
    /// Who waits for the next one.
    pub(crate) snapshot_tokens: Vec<Token>,
    /// The next one is due, however little was applied.
    pub(crate) snapshot_wanted: bool,
    /// The last one failed; until then, none is tried.
    pub(crate) snapshot_not_before: Time,
    /// A snapshot that comes in.
    pub(crate) receiving: Option<Receiving>,
    pub(crate) snapshots_taken: u64,
    pub(crate) snapshots_installed: u64,

    pub(crate) role: RoleState,
    /// When a follower or candidate campaigns (again). Meaningless for leaders.
    pub(crate) election_deadline: Time,
    /// When a leader of the current term was last heard (Thesis §4.2.3). `None` since the start or a new term.
    pub(crate) leader_heard: Option<Time>,
    /// If leases are allowed: until when this node elects nobody but the leader that it last heard (0: unknown, of its
    /// life before), whatever term it is in by then. That is what leases rest on (Thesis §6.4.1).
    pub(crate) promise: Option<(NodeId, Time)>,

    pub(crate) store: Store,
    /// Proposals of this leadership that are not applied yet, by rising index.
    pub(crate) proposals: VecDeque<(Index, Token)>,
    /// Weight of the entries behind `proposals`.
    pub(crate) uncommitted_bytes: usize,
    /// Weight of the entries that are on their way to the disk.
    unsynced_bytes: usize,
    pub(crate) reads: Reads,

    /// Records of the current step, to become one write.
    records: Vec<Record>,
    /// Writes handed out and not reported durable yet.
    pending: VecDeque<Pending>,
    /// Number of the latest write handed out.
    last_seq: WriteSeq,
    pub(crate) out: Effects,
    pub(crate) messages_refused: u64,
}

/// A write on its way to the disk.
#[derive(Debug)]
struct Pending {
    seq: WriteSeq,
    term: Term,
    /// The log's last index when the write was handed out, lowered by later truncations.
    last: Index,
    /// Whether term or vote are in it.
    hard_state: bool,
    /// Weight of its entries.
    bytes: usize,
}

impl Node {
    /// A follower with the state that its disk holds. Entries are applied as the commit index
    /// becomes known.
    pub fn new(now: Time, options: Options, recovered: Recovered) -> Node {
        options.check();
        let Recovered { term, vote, snapshot, base, entries, standing } = recovered;
        let founders = Configuration::founding(options.founders.clone());
        let log = Log::new(base, entries);
        let mut rng = Rng::new(options.seed);
        let timeout = rng.between(options.election_timeout_min, options.election_timeout_max);
        let incarnation = rng.next();
        // Whoever ran before under this id may have heard a leader just now.
        let quiet = options.lease.filter(|_| term > 0).map(|_| options.election_timeout_min);
        let mut node = Node {
            rng,
            now,
            term,
            vote,
            standing,
            configs: Configurations::new(0, Arc::new(founders)),
            synced: log.last().index,
            log,
            commit: 0,
            applied: 0,
            applied_id: EntryId::ZERO,
            saved: SavedAt::default(),
            applied_bytes: 0,
            forget_to: 0,
            taking: None,
            snapshot_tokens: Vec::new(),
            snapshot_wanted: false,
            snapshot_not_before: Time::ZERO,
            receiving: None,
            snapshots_taken: 0,
            snapshots_installed: 0,
            role: RoleState::Follower { leader: None },
            election_deadline: now + timeout,
            leader_heard: None,
            promise: quiet.map(|quiet| (0, now + quiet)),
            store: Store::new(options.limits),
            proposals: VecDeque::new(),
            uncommitted_bytes: 0,
            unsynced_bytes: 0,
            reads: Reads::new(incarnation),
            records: Vec::new(),
            pending: VecDeque::new(),
            last_seq: 0,
            out: Effects::default(),
            messages_refused: 0,
            options,
        };
        node.load(snapshot.as_ref());
        node
    }

    /// Makes the state of a new node that of its disk.
    fn load(&mut self, snapshot: Option<&Saved>) {
        let base = self.log.base().index;
        let snapshot_end = snapshot.map_or(0, |saved| saved.snapshot.last.index);
        assert!(
            base <= snapshot_end,
            "the log starts at {base}, the snapshot ends at {snapshot_end}"
        );
        if let Some(saved) = snapshot {
            let Snapshot { config_index, config, .. } = &saved.snapshot;
            self.configs = Configurations::new(*config_index, Arc::clone(config));
            self.adopt(saved);
        }
        for index in self.log.first()..=self.log.last().index {
            let entry = Arc::clone(self.log.get(index).expect("it lies between first and last"));
            if let Payload::Configuration(config) = &entry.payload {
                self.configs.push(index, Arc::clone(config));
            }
        }
        let last = self.log.last();
        assert!(last.term <= self.term, "the log holds {last}, of a term never adopted");
        // Nobody else could lead a cluster of one: no need to wait.
        if *self.configs.latest().incoming() == BTreeSet::from([self.options.id]) {
            self.election_deadline = self.now;
        }
    }

    /// Takes all inputs in order, then asks for everything that follows from them in one go: one
    /// write, one append per follower. `effects` must be empty on entry.
    pub fn step(
        &mut self,
        now: Time,
        inputs: impl IntoIterator<Item = Input>,
        effects: &mut Effects,
    ) {
        assert!(effects.is_empty(), "the effects of the step before were not carried out");
        let before = Before::of(self);
        std::mem::swap(&mut self.out, effects);
        // What the start itself had to tell.
        self.out.events.append(&mut effects.events);
        self.now = self.now.max(now);
        for input in inputs {
            self.on_input(input);
        }
        self.advance_commit();
        self.settle_standing();
        self.advance_membership();
        self.begin_read_round();
        self.confirm_reads();
        self.ask_read_index();
        self.apply_committed();
        self.send_appends();
        self.drive_handover();
        self.resign_if_removed();
        self.take_snapshot_if_due();
        self.forget_a_little();
        self.finish_write();
        before.check_against(self);
        std::mem::swap(&mut self.out, effects);
    }

    fn on_input(&mut self, input: Input) {
        match input {
            Input::Tick => self.on_tick(),
            Input::Peer(envelope) => self.on_envelope(envelope),
            Input::Propose { token, command } => self.on_propose(token, command),
            Input::Read { token, key } => self.on_read(token, key),
            Input::StaleRead { token, key, at_least } => self.on_stale_read(token, key, at_least),
            Input::LeaseRead { token, key } => self.on_lease_read(token, key),
            Input::Change { token, change } => self.on_change(token, &change),
            Input::Transfer { token, to } => self.on_transfer(token, to),
            Input::TakeSnapshot { token } => self.on_take_snapshot(token),
            Input::SnapshotSaved { last, bytes } => self.on_snapshot_saved(last, bytes),
            Input::SnapshotFailed { last } => self.on_snapshot_failed(last),
            Input::ChunkRead { to, snapshot, offset, data, total } => {
                self.on_chunk_read(to, snapshot, offset, &data, total);
            }
            Input::ChunkFailed { to, snapshot } => self.on_chunk_failed(to, snapshot),
            Input::SnapshotReceived { saved } => self.on_snapshot_received(&saved),
            Input::ReceiveFailed { snapshot } => self.on_receive_failed(snapshot),
            Input::Durable { term, seq } => self.on_durable(term, seq),
        }
    }

    /// When the next [`Input::Tick`] is due.
    pub fn deadline(&self) -> Time {
        let role = match &self.role {
            RoleState::Leader(leader) => leader.heartbeat_deadline,
            RoleState::Follower { .. }
            | RoleState::PreCandidate { .. }
            | RoleState::Candidate { .. } => self.election_deadline,
        };
        self.reads.deadline(self.options.election_timeout_max).map_or(role, |reads| role.min(reads))
    }

    fn on_tick(&mut self) {
        self.expire_reads();
        match &self.role {
            RoleState::Leader(leader) => {
                if self.now >= leader.heartbeat_deadline {
                    self.on_heartbeat_due();
                }
            }
            RoleState::Follower { .. }
            | RoleState::PreCandidate { .. }
            | RoleState::Candidate { .. } => {
                if self.now >= self.election_deadline {
                    self.on_election_due();
                }
            }
        }
    }

    /// Term rules that all messages share (Thesis §3.3), then the message's own handler.
    fn on_envelope(&mut self, Envelope { from, to, term, message }: Envelope) {
        // Term 0 is before any election: only pre-votes are spoken in it.
        let speaks_too_early =
            term == 0 && !matches!(message, Message::PreVote { .. } | Message::PreVoteReply { .. });
        // Who is no member here may be one by a configuration that this node has not got yet (Thesis §4.1).
        let is_astray = to != self.options.id || from == to;
        if is_astray || speaks_too_early || term > TERM_MAX {
            return self.refuse();
        }
        if term > self.term && !self.is_deaf_to(from, &message) {
            self.become_follower(term, None);
        }
        // Answers of an earlier leadership of this node, or of none, count for nothing.
        let is_current = term == self.term;
        match message {
            Message::PreVote { next_term, last } => self.on_pre_vote(from, term, next_term, last),
            Message::PreVoteReply { next_term, granted } => {
                self.on_pre_vote_reply(from, next_term, granted);
            }
            Message::Vote { last, transfer } => self.on_vote(from, term, last, transfer),
            Message::VoteReply { granted } => self.on_vote_reply(from, term, granted),
            Message::Append { prev, entries, commit, round, stand } => {
                self.on_append(from, term, Appended { prev, entries, commit, round, stand });
            }
            Message::Install { last, offset, data, total, round, stand } => {
                let piece = Installed { last, offset, data, total, round, stand };
                self.on_install(from, term, piece);
            }
            Message::AppendAccepted { matched, round, session, lost } if is_current => {
                self.on_append_accepted(from, matched, round, session, lost);
            }
            Message::AppendRejected { prev_index, hint, round, session } if is_current => {
                self.on_append_rejected(from, prev_index, hint, round, session);
            }
            Message::InstallReply { last, offset, round, session } if is_current => {
                self.on_install_reply(from, last, offset, round, session);
            }
            Message::Lost { incarnation, session } if is_current => {
                self.on_lost(from, incarnation, session);
            }
            Message::AppendAccepted { .. }
            | Message::AppendRejected { .. }
            | Message::InstallReply { .. }
            | Message::Lost { .. } => {}
            Message::TimeoutNow => self.on_timeout_now(from, term),
            Message::ReadIndex { question } => self.on_read_index(from, question),
            Message::ReadIndexReply { question, index } => {
                self.on_read_index_reply(question, index);
            }
        }
    }

    /// A client's write: the leader appends it, everyone else says who leads (Thesis §6.2).
    fn on_propose(&mut self, token: Token, command: Command) {
        if !matches!(self.role, RoleState::Leader(_)) {
            let leader = self.leader();
            return self.answer(token, Outcome::NotLeader { leader });
        }
        if let Some(to) = self.successor() {
            return self.answer(token, Outcome::Transferring { to });
        }
        // A quorum may do without this node's disk (Thesis §10.2.1), but what waits for it must be bounded all the same.
        let waiting = self.uncommitted_bytes.max(self.unsynced_bytes);
        if waiting >= self.options.uncommitted_bytes_max {
            return self.answer(token, Outcome::Overloaded);
        }
        let entry = self.append_new(Payload::Command(command));
        self.uncommitted_bytes += entry.weight_bytes();
        self.proposals.push_back((entry.id.index, token));
    }

    /// Creates the next entry of this leader's log.
    pub(crate) fn append_new(&mut self, payload: Payload) -> Arc<Entry> {
        assert!(matches!(self.role, RoleState::Leader(_)), "only leaders create entries");
        let id = EntryId { term: self.term, index: self.log.last().index + 1 };
        let entry = Entry::new(id, payload);
        self.append_entry(Arc::clone(&entry));
        entry
    }

    pub(crate) fn append_entry(&mut self, entry: Arc<Entry>) {
        if let Payload::Configuration(config) = &entry.payload {
            self.configs.push(entry.id.index, Arc::clone(config));
            self.out.events.push(Event::Configuration { index: entry.id.index });
        }
        self.log.push(Arc::clone(&entry));
        self.records.push(Record::Entry(entry));
    }

    /// Removes a suffix that conflicts with the leader's log (Thesis §3.5).
    pub(crate) fn truncate_log(&mut self, from: Index) {
        assert!(from > self.commit, "truncation at {from} would remove committed entries");
        assert!(!matches!(self.role, RoleState::Leader(_)), "leaders never truncate (Thesis §3.5)");
        self.log.truncate(from);
        let config_before = self.configs.latest_index();
        self.configs.truncate(from);
        self.report_configuration_since(config_before);
        self.synced = self.synced.min(from - 1);
        self.void_pending_writes(from - 1);
        self.records.push(Record::Truncate { from });
    }

    /// What is on its way to the disk makes no more than `last` durable: the rest is void by now.
    pub(crate) fn void_pending_writes(&mut self, last: Index) {
        for write in &mut self.pending {
            write.last = write.last.min(last);
        }
    }

    pub(crate) fn record(&mut self, record: Record) {
        self.records.push(record);
    }

    /// Applies what is committed, in order, and answers whoever waits for it (Thesis §3.5).
    fn apply_committed(&mut self) {
        while self.applied < self.commit {
            let index = self.applied + 1;
            let entry = Arc::clone(self.log.get(index).expect("committed entries are in the log"));
            (self.applied, self.applied_id) = (index, entry.id);
            self.applied_bytes += u64::try_from(entry.weight_bytes()).unwrap_or(u64::MAX);
            let written = match &entry.payload {
                Payload::Noop | Payload::Configuration(_) => None,
                Payload::Command(command) => Some(self.store.apply(index, command)),
            };
            if self.proposals.front().is_some_and(|&(waiting, _)| waiting == index) {
                let (_, token) = self.proposals.pop_front().expect("there is a front");
                self.uncommitted_bytes -= entry.weight_bytes();
                self.answer(token, Outcome::Written(written.expect("only commands are proposed")));
            }
        }
        self.answer_applied_reads();
    }

    /// Persists term and vote; every change of theirs passes here.
    pub(crate) fn set_hard_state(&mut self, term: Term, vote: Option<NodeId>) {
        assert!(term >= self.term, "term falls from {} to {term}", self.term);
        assert!(
            term > self.term || self.vote.is_none() || self.vote == vote,
            "vote of term {term} changes from {:?} to {vote:?} (Thesis §3.4)",
            self.vote
        );
        if (term, vote) == (self.term, self.vote) {
            return;
        }
        (self.term, self.vote) = (term, vote);
        if let Some(Record::HardState { .. }) = self.records.last() {
            self.records.pop();
        }
        self.records.push(Record::HardState { term, vote });
    }

    /// Steps down, or follows along in a newer term.
    pub(crate) fn become_follower(&mut self, term: Term, leader: Option<NodeId>) {
        let same_term = term == self.term;
        let was_leader = matches!(self.role, RoleState::Leader(_));
        self.fail_leaders_business(same_term);
        // Within a term the vote stays: forgetting it would allow a second one.
        let vote = if same_term { self.vote } else { None };
        self.set_hard_state(term, vote);
        if !same_term {
            self.leader_heard = None;
        }
        if was_leader {
            self.reset_election_deadline();
        }
        self.fail_proposals();
        self.fail_unconfirmed_reads();
        self.role = RoleState::Follower { leader };
        self.report_role();
    }

    /// Tells operators what became of what they asked this leader for.
    fn fail_leaders_business(&mut self, same_term: bool) {
        let RoleState::Leader(leader) = &mut self.role else { return };
        let (change, handover) = (leader.change.take(), leader.handover.take());
        if let Some(token) = change {
            self.answer(token, Outcome::LeadershipLost);
        }
        if let Some(Handover { to, token, .. }) = handover {
            // A new term means that somebody campaigned, and only one was told to.
            let timed_out = Outcome::TransferFailed(TransferFailure::TimedOut);
            let outcome = if same_term { timed_out } else { Outcome::Transferred { to } };
            self.answer(token, outcome);
        }
    }

    /// Clients whose proposals may or may not survive are told so at once.
    fn fail_proposals(&mut self) {
        self.uncommitted_bytes = 0;
        for (_, token) in std::mem::take(&mut self.proposals) {
            self.answer(token, Outcome::LeadershipLost);
        }
    }

    /// Draws a new election timeout (Thesis §3.4).
    pub(crate) fn reset_election_deadline(&mut self) {
        let Options { election_timeout_min: min, election_timeout_max: max, .. } = self.options;
        self.election_deadline = self.now + self.rng.between(min, max);
    }

    /// The disk caught up: releases nothing itself (the driver holds the messages), but the node may
    /// now count its own log and its own vote.
    fn on_durable(&mut self, term: Term, seq: WriteSeq) {
        while self.pending.front().is_some_and(|write| write.seq <= seq) {
            let write = self.pending.pop_front().expect("there is a front");
            assert!(write.seq < seq || write.term == term, "write {seq} is not of term {term}");
            self.synced = self.synced.max(write.last);
            self.unsynced_bytes -= write.bytes;
        }
        self.count_own_vote();
    }

    /// Whether term and vote are durable as they are now.
    pub(crate) fn hard_state_is_durable(&self) -> bool {
        !self.pending.iter().any(|write| write.hard_state)
            && !self.records.iter().any(|record| matches!(record, Record::HardState { .. }))
    }

    /// Bundles the step's records into one write.
    fn finish_write(&mut self) {
        if self.records.is_empty() {
            return;
        }
        self.last_seq += 1;
        let records = std::mem::take(&mut self.records);
        let hard_state = records.iter().any(|record| matches!(record, Record::HardState { .. }));
        let (seq, term, last) = (self.last_seq, self.term, self.log.last().index);
        let weight = |record: &Record| match record {
            Record::Entry(entry) => entry.weight_bytes(),
            Record::HardState { .. } | Record::Truncate { .. } | Record::Snapshot { .. } => 0,
        };
        let bytes = records.iter().map(weight).sum();
        self.unsynced_bytes += bytes;
        self.pending.push_back(Pending { seq, term, last, hard_state, bytes });
        self.out.write = Some(Write { seq, term, records });
    }

    /// Sends a message that promises nothing about this node's disk.
    pub(crate) fn send_now(&mut self, to: NodeId, message: Message) {
        self.send(to, message, None);
    }

    /// Sends a message once everything that this node has decided so far is durable (Thesis §3.8).
    pub(crate) fn send_durably(&mut self, to: NodeId, message: Message) {
        let after = if !self.records.is_empty() {
            Some(self.last_seq + 1)
        } else if self.pending.is_empty() {
            None
        } else {
            Some(self.last_seq)
        };
        self.send(to, message, after);
    }

    fn send(&mut self, to: NodeId, message: Message, after: Option<WriteSeq>) {
        let envelope = Envelope { from: self.options.id, to, term: self.term, message };
        let send = Send { envelope, after };
        check_send(self, &send);
        self.out.sends.push(send);
    }

    pub(crate) fn answer(&mut self, token: Token, outcome: Outcome) {
        self.out.answers.push(Answer { token, outcome });
    }

    /// Counts a message that no correct member sends; it has no other effect.
    pub(crate) fn refuse(&mut self) {
        self.messages_refused += 1;
    }

    pub(crate) fn report_role(&mut self) {
        let event = Event::Role { term: self.term, role: self.role(), leader: self.leader() };
        self.out.events.push(event);
    }

    /// Every other voter, in order.
    pub(crate) fn other_voters(&self) -> Vec<NodeId> {
        let voters = self.configs.latest().voters();
        voters.into_iter().filter(|&id| id != self.options.id).collect()
    }

    /// The current role.
    pub fn role(&self) -> Role {
        match &self.role {
            RoleState::Follower { .. } => Role::Follower,
            RoleState::PreCandidate { .. } => Role::PreCandidate,
            RoleState::Candidate { .. } => Role::Candidate,
            RoleState::Leader(_) => Role::Leader,
        }
    }

    /// Who leads the current term, as far as this node knows.
    pub fn leader(&self) -> Option<NodeId> {
        match &self.role {
            RoleState::Follower { leader } => *leader,
            RoleState::PreCandidate { .. } | RoleState::Candidate { .. } => None,
            RoleState::Leader(_) => Some(self.options.id),
        }
    }

    /// The current term.
    pub fn term(&self) -> Term {
        self.term
    }

    /// Highest index known to be committed.
    pub fn commit(&self) -> Index {
        self.commit
    }

    /// The log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The state machine.
    pub fn store(&self) -> &Store {
        &self.store
    }
}
