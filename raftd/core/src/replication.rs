//! Replication on both sides, and the commit rule (Thesis §3.5, §3.6.2, §6.2, §10.2).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::compaction::Receiving;
use crate::effects::{Event, ReadChunk, ReceivedChunk, Token};
use crate::handover::Handover;
use crate::log::{Log, Lookup};
use crate::message::{Message, Stand};
use crate::node::{Node, Options, RoleState, Standing};
use crate::progress::{Mode, Progress, Transfer};
use crate::read_index::Rounds;
use crate::types::{Entry, EntryId, Index, NodeId, Term, Time};

/// Highest index believed, for the reasons of the highest term.
const INDEX_MAX: Index = 1 << 52;

/// What only a leader knows.
#[derive(Debug)]
pub(crate) struct Leader {
    /// Every other member.
    pub(crate) progress: BTreeMap<NodeId, Progress>,
    /// Those who are members no more, each until it knows, or does not answer for too long. They count for nothing.
    pub(crate) departing: BTreeMap<NodeId, Departing>,
    /// The no-op that began this leadership; once it is committed, so is everything before it.
    pub(crate) noop: Index,
    /// When followers must hear from this node again.
    pub(crate) heartbeat_deadline: Time,
    /// Reads that wait for a quorum to confirm this leadership.
    pub(crate) rounds: Rounds,
    /// Who waits for the change of membership that is under way.
    pub(crate) change: Option<Token>,
    /// Members that lost their disks, with the numbers of their new data directories.
    pub(crate) lost: BTreeMap<NodeId, u64>,
    /// Leadership on its way to another node.
    pub(crate) handover: Option<Handover>,
    /// Somebody was told to campaign: by the clock alone, this node can be sure of nothing any more.
    pub(crate) has_handed_over: bool,
}

/// A former member.
#[derive(Debug)]
pub(crate) struct Departing {
    progress: Progress,
    /// Index of the configuration without it.
    index: Index,
    /// When to give up on it.
    deadline: Time,
}

impl Departing {
    pub(crate) fn new(mut progress: Progress, index: Index, deadline: Time) -> Departing {
        progress.stand.voter = false;
        Departing { progress, index, deadline }
    }

    /// Whether it knows that it is no member, as far as this can be known.
    fn is_gone(&self, now: Time) -> bool {
        let Departing { progress, index, deadline } = self;
        now >= *deadline || progress.matched >= *index && progress.commit_sent >= *index
    }
}

impl Leader {
    /// Everyone who gets appends.
    fn audience(&mut self) -> impl Iterator<Item = (NodeId, &mut Progress)> {
        let departing = self.departing.iter_mut().map(|(&id, there)| (id, &mut there.progress));
        self.progress.iter_mut().map(|(&id, progress)| (id, progress)).chain(departing)
    }

    pub(crate) fn new(now: Time, noop: Index) -> Leader {
        Leader {
            progress: BTreeMap::new(),
            departing: BTreeMap::new(),
            noop,
            heartbeat_deadline: now,
            rounds: Rounds::default(),
            change: None,
            lost: BTreeMap::new(),
            handover: None,
            has_handed_over: false,
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
        let now = self.now;
        let RoleState::Leader(leader) = &mut self.role else { return };
        let heard = |voter| leader.progress.get(&voter).map_or(now, |p| p.heard);
        let heard = self.configs.latest().quorum_value(heard);
        if heard + self.options.election_timeout_max <= now {
            return self.become_follower(self.term, None);
        }
        leader.departing.retain(|_, there| !there.is_gone(now));
        for (_, progress) in leader.audience() {
            progress.poke = true;
            match &mut progress.mode {
                Mode::Probe { waiting } => *waiting = false,
                Mode::Replicate { .. } => {}
                Mode::Snapshot(transfer) => {
                    // A piece, or its answer, got lost.
                    let patience = self.options.election_timeout_min;
                    transfer.asked = transfer.asked.filter(|&at| now < at + patience);
                }
            }
        }
        if self.options.lease.is_some() {
            leader.rounds.begin(now, true);
        }
        self.expire_rounds();
        self.on_handover_beat();
        self.schedule_heartbeat();
    }

    /// Sends each follower what it lacks, as far as its window allows. The leader's own disk is not
    /// waited for (Thesis §10.2.1).
    pub(crate) fn send_appends(&mut self) {
        let RoleState::Leader(leader) = &mut self.role else { return };
        let mut outgoing = Outgoing {
            log: &self.log,
            commit: self.commit,
            round: leader.rounds.last,
            messages: Vec::new(),
        };
        let Options { append_bytes_max: bytes_max, inflight_messages_max: window, .. } =
            self.options;
        for (to, progress) in leader.audience() {
            if !matches!(progress.mode, Mode::Snapshot(_))
                && self.log.lookup(progress.next - 1) == Lookup::Compacted
            {
                let last = self.saved.last;
                assert!(last.index >= self.log.base().index, "what is compacted is in a snapshot");
                progress.mode = Mode::Snapshot(Transfer::new(last));
            }
            match &mut progress.mode {
                Mode::Probe { waiting } if !*waiting => {
                    *waiting = true;
                    let entries = self.log.slice(progress.next, bytes_max);
                    outgoing.append(to, progress, entries);
                }
                Mode::Probe { .. } => {}
                Mode::Replicate { inflight } => {
                    let mut inflight = std::mem::take(inflight);
                    while inflight.len() < window && progress.next <= self.log.last().index {
                        let entries = self.log.slice(progress.next, bytes_max);
                        let last = entries.last().expect("there are entries").id.index;
                        outgoing.append(to, progress, entries);
                        inflight.push_back(last);
                        progress.next = last + 1;
                    }
                    progress.mode = Mode::Replicate { inflight };
                }
                Mode::Snapshot(transfer) => {
                    let Transfer { last: snapshot, offset, total, asked } = *transfer;
                    if asked.is_none() && total != Some(offset) {
                        transfer.asked = Some(self.now);
                        self.out.chunks.push(ReadChunk { to, snapshot, offset });
                    }
                    if progress.poke {
                        outgoing.install(to, progress, &"".into());
                    }
                }
            }
            if progress.poke {
                outgoing.append(to, progress, Vec::new());
            }
        }
        for (to, message) in outgoing.messages {
            self.send_now(to, message);
        }
    }

    /// A piece of a snapshot was read: on to whoever needs it, if it still does.
    pub(crate) fn on_chunk_read(
        &mut self,
        to: NodeId,
        snapshot: EntryId,
        offset: u64,
        data: &Arc<str>,
        total: u64,
    ) {
        let RoleState::Leader(leader) = &mut self.role else { return };
        let Some(progress) = leader.progress.get_mut(&to) else { return };
        let Mode::Snapshot(transfer) = &mut progress.mode else { return };
        if transfer.last != snapshot || transfer.offset != offset {
            return;
        }
        transfer.total = Some(total);
        if offset > total {
            // The follower has more of the file than there is: it is not the same one.
            *transfer = Transfer::new(snapshot);
            return;
        }
        let round = leader.rounds.last;
        let mut outgoing =
            Outgoing { log: &self.log, commit: self.commit, round, messages: Vec::new() };
        outgoing.install(to, progress, data);
        for (to, message) in outgoing.messages {
            self.send_now(to, message);
        }
    }

    /// A snapshot cannot be read. If there is a newer one, that will do; otherwise one is made.
    pub(crate) fn on_chunk_failed(&mut self, to: NodeId, snapshot: EntryId) {
        if snapshot == self.saved.last {
            self.snapshot_wanted = true;
        }
        let RoleState::Leader(leader) = &mut self.role else { return };
        let Some(progress) = leader.progress.get_mut(&to) else { return };
        if let Mode::Snapshot(transfer) = &mut progress.mode
            && transfer.last == snapshot
        {
            // In a while: it may fail again.
            *transfer = Transfer { asked: Some(self.now), ..Transfer::new(self.saved.last) };
        }
    }

    pub(crate) fn on_install_reply(
        &mut self,
        from: NodeId,
        last: EntryId,
        offset: u64,
        round: u64,
        session: Index,
    ) {
        let Some(progress) = self.on_answer(from, round, session) else { return };
        if let Mode::Snapshot(transfer) = &mut progress.mode
            && transfer.last == last
            && transfer.offset != offset
        {
            // What is missing goes out next; an answer that says nothing new is one to a repetition.
            transfer.offset = offset;
            transfer.asked = None;
        }
    }

    /// What all answers to appends and installs have in common; `None` if this one counts for nothing.
    fn on_answer(&mut self, from: NodeId, round: u64, session: Index) -> Option<&mut Progress> {
        let now = self.now;
        let RoleState::Leader(leader) = &mut self.role else { return None };
        let newest = leader.rounds.last;
        // What a member of this number acknowledged before it was added again, or
        // lost its disk, is not what it holds now.
        let departing = leader.departing.get_mut(&from).map(|there| &mut there.progress);
        let progress = leader.progress.get_mut(&from).or(departing);
        let progress = progress.filter(|progress| progress.stand.session == session)?;
        if round > newest {
            self.messages_refused += 1;
            return None;
        }
        progress.heard = now;
        // A rejection acknowledges the leadership as well as an acceptance does.
        progress.round = progress.round.max(round);
        Some(progress)
    }

    pub(crate) fn on_append_accepted(
        &mut self,
        from: NodeId,
        matched: Index,
        round: u64,
        session: Index,
        is_lost: bool,
    ) {
        let (now, last, timeout) = (self.now, self.log.last().index, self.catch_up_timeout());
        if matched > last && matches!(self.role, RoleState::Leader(_)) {
            return self.refuse();
        }
        let Some(progress) = self.on_answer(from, round, session) else { return };
        progress.lost = is_lost;
        progress.on_accepted(matched);
        progress.count_catch_up(now, last, timeout);
    }

    pub(crate) fn on_append_rejected(
        &mut self,
        from: NodeId,
        prev_index: Index,
        hint: EntryId,
        round: u64,
        session: Index,
    ) {
        if !matches!(self.role, RoleState::Leader(_)) {
            return;
        }
        if prev_index > self.log.last().index || hint.index >= prev_index {
            return self.refuse();
        }
        // Both logs rule out whole terms (Thesis §3.5): the follower's by `hint.index`, ours by `hint.term`.
        let agreed = self.log.last_of_term_at_most(hint.index, hint.term).index;
        // Where ours is compacted, all that is certain is that the base is too late.
        let next = if hint.index < self.log.base().index { hint.index + 1 } else { agreed + 1 };
        let Some(progress) = self.on_answer(from, round, session) else { return };
        let expected = match progress.mode {
            Mode::Probe { .. } => prev_index + 1 == progress.next,
            Mode::Replicate { .. } => prev_index > progress.matched,
            Mode::Snapshot(_) => false,
        };
        if expected {
            progress.probe_from(next);
        }
    }

    /// How soon a learner must have what there was when a round began (Thesis §4.2.1).
    pub(crate) fn catch_up_timeout(&self) -> Time {
        self.options.election_timeout_min
    }

    /// An entry is committed when a quorum holds it durably and it is of the leader's own term;
    /// older ones are committed with it, never by counting (Thesis §3.6.2, figure 3.7).
    pub(crate) fn advance_commit(&mut self) {
        let RoleState::Leader(leader) = &self.role else { return };
        // A leader that is no voter any more is not asked for (Thesis §4.2.2).
        let matched = |voter| leader.progress.get(&voter).map_or(self.synced, |p| p.matched);
        let reached = self.configs.latest().quorum_value(matched);
        if reached > self.commit && self.log.lookup(reached) == Lookup::Term(self.term) {
            self.commit = reached;
        }
    }
}

/// Messages to followers, while they are gathered.
struct Outgoing<'a> {
    log: &'a Log,
    commit: Index,
    round: u64,
    messages: Vec<(NodeId, Message)>,
}

impl Outgoing<'_> {
    /// Entries that follow the one before `progress.next`; none: a heartbeat.
    fn append(&mut self, to: NodeId, progress: &mut Progress, entries: Vec<Arc<Entry>>) {
        let index = progress.next - 1;
        let Lookup::Term(term) = self.log.lookup(index) else {
            panic!("entry {index} before the next one for node {to} is not in the log");
        };
        progress.poke = false;
        progress.commit_sent = self.commit;
        let (prev, stand) = (EntryId { term, index }, progress.stand);
        let Outgoing { commit, round, .. } = *self;
        self.messages.push((to, Message::Append { prev, entries, commit, round, stand }));
    }

    /// The piece of its snapshot that a follower lacks; empty: a heartbeat.
    fn install(&mut self, to: NodeId, progress: &mut Progress, data: &Arc<str>) {
        let Mode::Snapshot(Transfer { last, offset, total, .. }) = progress.mode else {
            panic!("node {to} needs no snapshot");
        };
        progress.poke = false;
        let (round, stand, total) = (self.round, progress.stand, total.unwrap_or(0));
        let data = Arc::clone(data);
        self.messages.push((to, Message::Install { last, offset, data, total, round, stand }));
    }
}

// The follower's side.
impl Node {
    /// What appends and installs have in common: whether this node takes what comes with it.
    fn on_leader(&mut self, from: NodeId, stand: Stand) -> bool {
        if !self.accept_leader(from) {
            self.refuse();
            return false;
        }
        self.leader_heard = Some(self.now);
        if self.options.lease.is_some() {
            self.promise = Some((from, self.now + self.options.election_timeout_min));
        }
        self.reset_election_deadline();
        // Without a vote there is nothing to break; but the leader must mean this very directory.
        if let Standing::Lost { incarnation } = self.standing
            && (stand.voter || stand.incarnation != incarnation)
        {
            let session = stand.session;
            self.send_durably(from, Message::Lost { incarnation, session });
            return false;
        }
        true
    }

    pub(crate) fn on_append(
        &mut self,
        from: NodeId,
        term: Term,
        Appended { prev, entries, commit, round, stand }: Appended,
    ) {
        let session = stand.session;
        if term < self.term {
            // The answer's term tells the old leader to step down.
            let hint = EntryId::ZERO;
            let rejected =
                Message::AppendRejected { prev_index: prev.index, hint, round: 0, session };
            return self.send_durably(from, rejected);
        }
        if !is_well_formed(term, prev, &entries) {
            return self.refuse();
        }
        if !self.on_leader(from, stand) {
            return;
        }
        if prev.index < self.log.base().index {
            // Compacted here, so committed, so the leader holds the same (Leader Completeness, Thesis §3.6).
            return self.accept_append(from, self.commit, round, session, false);
        }
        if !self.log.holds(prev) {
            if prev.index <= self.commit {
                // Committed entries are never contradicted by a leader.
                return self.refuse();
            }
            let hint = self.log.last_of_term_at_most(prev.index - 1, prev.term);
            let prev_index = prev.index;
            let rejected = Message::AppendRejected { prev_index, hint, round, session };
            return self.send_durably(from, rejected);
        }
        let is_heartbeat = entries.is_empty();
        let matched = entries.last().map_or(prev.index, |entry| entry.id.index);
        if !self.take_entries(entries) {
            return self.refuse();
        }
        // Only what this message proved may be committed: the log's tail may differ (Thesis §3.5).
        self.commit = self.commit.max(commit.min(matched));
        self.accept_append(from, matched, round, session, is_heartbeat);
    }

    fn accept_append(
        &mut self,
        to: NodeId,
        matched: Index,
        round: u64,
        session: Index,
        is_heartbeat: bool,
    ) {
        let lost = self.is_lost();
        if is_heartbeat && self.hard_state_is_durable() {
            // Nothing new: say at once what is durable already, so that read rounds need not wait for the disk.
            let matched = matched.min(self.synced);
            self.send_now(to, Message::AppendAccepted { matched, round, session, lost });
        } else {
            self.send_durably(to, Message::AppendAccepted { matched, round, session, lost });
        }
    }

    /// A piece of the leader's snapshot (Thesis §5.3). Pieces are taken in order only; the answer says which is next.
    pub(crate) fn on_install(
        &mut self,
        from: NodeId,
        term: Term,
        Installed { last, offset, data, total, round, stand }: Installed,
    ) {
        let session = stand.session;
        if term < self.term {
            let reply = Message::InstallReply { last, offset: 0, round: 0, session };
            return self.send_durably(from, reply);
        }
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let end = offset.saturating_add(length);
        let is_entry = (1..=INDEX_MAX).contains(&last.index) && (1..=term).contains(&last.term);
        if !is_entry || end > total && length > 0 {
            return self.refuse();
        }
        if !self.on_leader(from, stand) {
            return;
        }
        if last.index <= self.commit {
            // Older than what is here already.
            self.receiving = None;
            return self.accept_append(from, self.commit, round, session, false);
        }
        let matching =
            |there: &&mut Receiving| there.last == last && (length == 0 || there.total == total);
        let next = self.receiving.as_mut().filter(matching).map_or(0, |there| {
            (there.from, there.stand) = (from, stand);
            there.next
        });
        let mut expected = next;
        if length > 0 && offset == next {
            expected = end;
            self.receiving = Some(Receiving { last, total, next: end, from, stand });
            let is_last = end == total;
            self.out.received.push(ReceivedChunk { snapshot: last, offset, data, is_last });
        }
        let reply = Message::InstallReply { last, offset: expected, round, session };
        self.send_durably(from, reply);
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

/// [`Message::Append`]'s content.
pub(crate) struct Appended {
    pub(crate) prev: EntryId,
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) commit: Index,
    pub(crate) round: u64,
    pub(crate) stand: Stand,
}

/// [`Message::Install`]'s content.
pub(crate) struct Installed {
    pub(crate) last: EntryId,
    pub(crate) offset: u64,
    pub(crate) data: Arc<str>,
    pub(crate) total: u64,
    pub(crate) round: u64,
    pub(crate) stand: Stand,
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
