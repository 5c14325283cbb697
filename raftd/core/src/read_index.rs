//! Linearizable reads without log entries, at the leader and at followers (Thesis §6.4).

use std::collections::{BTreeMap, VecDeque};

use crate::effects::{Outcome, Token};
use crate::message::{Message, ReadQuestion};
use crate::node::{Node, RoleState};
use crate::types::{Index, NodeId, Time};

/// Rounds that may be on their way at once; reads that arrive meanwhile share the next one.
const ROUNDS_OPEN_MAX: usize = 2;

/// A leader's read rounds. A read is confirmed when a quorum has acknowledged an append that was
/// sent after the read arrived: then no successor had been elected by that time.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    /// Number of the newest round; stamped on all appends, counted up, never reused in a term.
    pub(crate) last: u64,
    /// Reads that arrived after the newest round began, and when.
    arrived: Vec<(Time, Reader)>,
    /// Rounds that wait for their quorum, oldest first.
    open: VecDeque<Round>,
    /// If leases are allowed: rounds that no quorum has acknowledged yet, and when each began.
    began: VecDeque<(u64, Time)>,
    /// When the newest round began that a quorum has acknowledged under the present configuration: until then, nobody
    /// else had been elected.
    confirmed: Option<Time>,
}

#[derive(Debug)]
struct Round {
    number: u64,
    /// The commit index when the round began: what its reads must see.
    index: Index,
    readers: Vec<(Time, Reader)>,
}

/// Who waits for a read index.
#[derive(Debug)]
enum Reader {
    Client { token: Token, key: String },
    Follower { id: NodeId, question: ReadQuestion },
}

impl Rounds {
    /// Starts the next round.
    pub(crate) fn begin(&mut self, now: Time, is_timed: bool) -> u64 {
        self.last += 1;
        if is_timed {
            self.began.push_back((self.last, now));
        }
        self.last
    }

    /// The members are others now: what the former ones acknowledged says nothing about the present ones.
    pub(crate) fn forget_confirmations(&mut self) {
        self.confirmed = None;
        self.began.clear();
    }

    fn len(&self) -> usize {
        self.arrived.len() + self.open.iter().map(|round| round.readers.len()).sum::<usize>()
    }
}

/// A node's own clients' reads.
#[derive(Debug)]
pub(crate) struct Reads {
    /// Drawn at the start, so that no question of an earlier life can be taken for one of this.
    incarnation: u64,
    /// Number of the newest question.
    asked_last: u64,
    /// At a follower: reads that no question covers yet.
    unasked: Vec<(Token, String)>,
    /// At a follower: questions without an answer, with their reads and when they were asked.
    asked: BTreeMap<u64, (Time, Vec<(Token, String)>)>,
    /// Reads whose index is known and not applied yet; stale reads that name an index, too.
    confirmed: BTreeMap<Index, Vec<(Time, Token, String)>>,
}

impl Reads {
    pub(crate) fn new(incarnation: u64) -> Reads {
        Reads {
            incarnation,
            asked_last: 0,
            unasked: Vec::new(),
            asked: BTreeMap::new(),
            confirmed: BTreeMap::new(),
        }
    }

    /// Reads that wait, those at the leader's rounds not included.
    pub(crate) fn len(&self) -> usize {
        self.unasked.len()
            + self.asked.values().map(|(_, reads)| reads.len()).sum::<usize>()
            + self.confirmed.values().map(Vec::len).sum::<usize>()
    }

    /// When the oldest wait has lasted `timeout`.
    pub(crate) fn deadline(&self, timeout: Time) -> Option<Time> {
        // Both are filled in order of time.
        let asked = self.asked.values().next().map(|(at, _)| *at);
        let confirmed =
            self.confirmed.values().filter_map(|reads| reads.first()).map(|(at, ..)| *at);
        confirmed.chain(asked).min().map(|at| at + timeout)
    }
}

impl Node {
    /// A client's linearizable read.
    pub(crate) fn on_read(&mut self, token: Token, key: String) {
        match &mut self.role {
            RoleState::Leader(leader) => {
                leader.rounds.arrived.push((self.now, Reader::Client { token, key }));
            }
            RoleState::Follower { leader: Some(_) } => self.reads.unasked.push((token, key)),
            RoleState::Follower { leader: None }
            | RoleState::PreCandidate { .. }
            | RoleState::Candidate { .. } => {
                self.answer(token, Outcome::NotLeader { leader: None });
            }
        }
    }

    /// A client's read of what is here already, from `at_least` on.
    pub(crate) fn on_stale_read(&mut self, token: Token, key: String, at_least: Index) {
        if at_least <= self.applied {
            self.answer_read(token, &key);
        } else {
            self.read_once_applied(at_least, token, key);
        }
    }

    /// A client's linearizable read for which the leader's clock is good enough (Thesis §6.4.1).
    pub(crate) fn on_lease_read(&mut self, token: Token, key: String) {
        if self.lease_holds() {
            self.answer_read(token, &key);
        } else {
            self.on_read(token, key);
        }
    }

    /// Whether this node is certain, by its clock, that nobody else leads.
    ///
    /// A quorum acknowledged a message sent at `confirmed` or later; each of its members turns candidates down for the
    /// shortest election timeout from when it got that message (Thesis §4.2.3), and so did not elect anybody before that
    /// time has passed on *its* clock, which is no more than the allowed drift faster than this one. Campaigns on this
    /// leader's own wish are not turned down, so the lease ends for good when it hands over.
    pub(crate) fn lease_holds(&self) -> bool {
        let RoleState::Leader(leader) = &self.role else { return false };
        let Some(lease) = self.options.lease else { return false };
        let length = self.options.election_timeout_min * 100 / (100 + lease.drift_percent_max);
        !leader.has_handed_over
            && self.commit >= leader.noop
            && leader.rounds.confirmed.is_some_and(|since| self.now < since + length)
    }

    pub(crate) fn answer_read(&mut self, token: Token, key: &str) {
        let value = self.store.get(key).map(str::to_owned);
        self.answer(token, Outcome::Read { value, index: self.applied });
    }

    /// Gives the reads that have arrived a round of their own.
    pub(crate) fn begin_read_round(&mut self) {
        let RoleState::Leader(leader) = &mut self.role else { return };
        let rounds = &mut leader.rounds;
        // Until its no-op is committed, a leader may not know of everything that is (Thesis §6.4, step 1).
        if rounds.arrived.is_empty()
            || self.commit < leader.noop
            || rounds.open.len() >= ROUNDS_OPEN_MAX
        {
            return;
        }
        let number = rounds.begin(self.now, self.options.lease.is_some());
        rounds.open.push_back(Round {
            number,
            index: self.commit,
            readers: std::mem::take(&mut rounds.arrived),
        });
        leader.progress.values_mut().for_each(|progress| progress.poke = true);
    }

    /// Releases the rounds that a quorum has acknowledged.
    pub(crate) fn confirm_reads(&mut self) {
        let RoleState::Leader(leader) = &mut self.role else { return };
        let (progress, newest) = (&leader.progress, leader.rounds.last);
        if leader.rounds.open.is_empty() && leader.rounds.began.is_empty() {
            return;
        }
        let config = self.configs.latest();
        let confirmed = config.quorum_value(|id| progress.get(&id).map_or(newest, |p| p.round));
        while let Some(&(number, at)) = leader.rounds.began.front()
            && number <= confirmed
        {
            leader.rounds.began.pop_front();
            leader.rounds.confirmed = Some(at);
        }
        let mut released = Vec::new();
        while leader.rounds.open.front().is_some_and(|round| round.number <= confirmed) {
            released.extend(leader.rounds.open.pop_front());
        }
        for Round { index, readers, .. } in released {
            for (_, reader) in readers {
                match reader {
                    Reader::Client { token, key } => self.read_once_applied(index, token, key),
                    Reader::Follower { id, question } => self.grant(id, question, index),
                }
            }
        }
        self.begin_read_round();
    }

    /// Tells a follower its read index, and before that the commit index, for which it would
    /// otherwise wait until the next append.
    fn grant(&mut self, to: NodeId, question: ReadQuestion, index: Index) {
        if let RoleState::Leader(leader) = &mut self.role
            && let Some(progress) = leader.progress.get_mut(&to)
            && progress.commit_sent < index
        {
            progress.poke = true;
        }
        self.send_now(to, Message::ReadIndexReply { question, index: Some(index) });
    }

    pub(crate) fn on_read_index(&mut self, from: NodeId, question: ReadQuestion) {
        if let RoleState::Leader(leader) = &mut self.role {
            leader.rounds.arrived.push((self.now, Reader::Follower { id: from, question }));
        } else {
            self.send_now(from, Message::ReadIndexReply { question, index: None });
        }
    }

    /// At a follower: asks the leader once for all reads that have come in (Thesis §6.4).
    pub(crate) fn ask_read_index(&mut self) {
        if self.reads.unasked.is_empty() {
            return;
        }
        let leader = self.leader().expect("reads without a leader were answered");
        self.reads.asked_last += 1;
        let number = self.reads.asked_last;
        let reads = std::mem::take(&mut self.reads.unasked);
        self.reads.asked.insert(number, (self.now, reads));
        let question = ReadQuestion { incarnation: self.reads.incarnation, number };
        self.send_now(leader, Message::ReadIndex { question });
    }

    pub(crate) fn on_read_index_reply(&mut self, question: ReadQuestion, index: Option<Index>) {
        if question.incarnation != self.reads.incarnation {
            return;
        }
        let Some((_, reads)) = self.reads.asked.remove(&question.number) else { return };
        for (token, key) in reads {
            match index {
                Some(index) => self.read_once_applied(index, token, key),
                None => self.answer(token, Outcome::ReadFailed),
            }
        }
    }

    fn read_once_applied(&mut self, index: Index, token: Token, key: String) {
        self.reads.confirmed.entry(index).or_default().push((self.now, token, key));
    }

    /// Answers the reads whose index is applied (Thesis §6.4, step 4).
    pub(crate) fn answer_applied_reads(&mut self) {
        while let Some(entry) = self.reads.confirmed.first_entry() {
            if *entry.key() > self.applied {
                break;
            }
            for (_, token, key) in entry.remove() {
                self.answer_read(token, &key);
            }
        }
    }

    /// Reads that only a leader could confirm, when it is gone or another.
    pub(crate) fn fail_unconfirmed_reads(&mut self) {
        if let RoleState::Leader(leader) = &mut self.role {
            let rounds = std::mem::take(&mut leader.rounds);
            let open = rounds.open.into_iter().flat_map(|round| round.readers);
            self.fail_readers(open.chain(rounds.arrived).map(|(_, reader)| reader).collect());
        }
        let asked = std::mem::take(&mut self.reads.asked);
        let unasked = std::mem::take(&mut self.reads.unasked);
        for (token, _) in asked.into_values().flat_map(|(_, reads)| reads).chain(unasked) {
            self.answer(token, Outcome::ReadFailed);
        }
    }

    fn fail_readers(&mut self, readers: Vec<Reader>) {
        for reader in readers {
            match reader {
                Reader::Client { token, .. } => self.answer(token, Outcome::ReadFailed),
                Reader::Follower { id, question } => {
                    self.send_now(id, Message::ReadIndexReply { question, index: None });
                }
            }
        }
    }

    /// At a leader: gives up on reads that no quorum has confirmed for an election timeout, as when the first commit of
    /// its term does not come about.
    pub(crate) fn expire_rounds(&mut self) {
        let (now, timeout) = (self.now, self.options.election_timeout_max);
        let RoleState::Leader(leader) = &mut self.role else { return };
        let Rounds { arrived, open, .. } = &mut leader.rounds;
        let lists = open.iter_mut().map(|round| &mut round.readers).chain([arrived]);
        let expired = lists.flat_map(|list| list.extract_if(.., |(at, _)| *at + timeout <= now));
        let expired = expired.map(|(_, reader)| reader).collect();
        self.fail_readers(expired);
    }

    /// Gives up on reads that have waited for an election timeout: question or answer got lost, or
    /// this node cannot keep up.
    pub(crate) fn expire_reads(&mut self) {
        let timeout = self.options.election_timeout_max;
        let now = self.now;
        let expired = |at: Time| at + timeout <= now;
        let mut given_up = Vec::new();
        self.reads.asked.retain(|_, (at, reads)| {
            if expired(*at) {
                given_up.extend(reads.drain(..).map(|(token, _)| token));
            }
            !expired(*at)
        });
        self.reads.confirmed.retain(|_, reads| {
            given_up
                .extend(reads.extract_if(.., |(at, ..)| expired(*at)).map(|(_, token, _)| token));
            !reads.is_empty()
        });
        for token in given_up {
            self.answer(token, Outcome::ReadFailed);
        }
    }

    /// Reads that wait anywhere in this node.
    pub(crate) fn reads_waiting(&self) -> usize {
        let rounds =
            if let RoleState::Leader(leader) = &self.role { leader.rounds.len() } else { 0 };
        rounds + self.reads.len()
    }
}
