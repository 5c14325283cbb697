//! What must never happen, checked after every step, from outside the nodes (Thesis §3.2, figure 3.2).
//!
//! A node's log is known from what it writes, and the state that must result from a reference: the committed log, applied
//! to a store of its own as soon as the first node calls an entry committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use raft_core::effects::{Outcome, Record, Role, Write};
use raft_core::kv::{Limits, Op, Refusal, RequestId, Store, Written};
use raft_core::membership::Configuration;
use raft_core::message::{Envelope, Message};
use raft_core::node::Node;
use raft_core::snapshot::Snapshot;
use raft_core::types::{Entry, EntryId, Index, NodeId, Payload, Term};

use super::disk::Contents;
use super::duties::is_quorum;
use super::violation::{Violation, ensure};

/// What a node was asked for.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    /// A client's write.
    Write(RequestId),
    /// A client's read: the answer reflects at least this index.
    Read { key: String, at_least: Index, linearizable: bool },
    /// An operator's wish.
    Admin,
}

/// What was last seen of a node in its present life.
#[derive(Clone, Copy, Debug)]
struct Seen {
    term: Term,
    role: Role,
    commit: Index,
    last: Index,
}

/// All that was seen, as far as later things can contradict it.
#[derive(Debug)]
pub(super) struct Safety {
    /// Who led each term.
    leaders: BTreeMap<Term, NodeId>,
    /// Whom each node voted for in each term with which of its directories, as others could learn.
    ///
    /// A vote does not bind the next directory, which may vote at all only once a committed entry says that the one
    /// before it is lost ([`Safety::has_admitted`]). Whoever got the forgotten vote asked without that entry in its log,
    /// so one of every quorum refuses it (Thesis §3.6.1); and that two lead one term is noticed in any case.
    votes: BTreeMap<(NodeId, u64, Term), NodeId>,
    /// Each entry ever written, and the entry that stood before it.
    entries: BTreeMap<EntryId, (EntryId, Arc<Entry>)>,
    /// The committed log, from index 1.
    committed: Vec<Arc<Entry>>,
    /// In which term each of them was committed, which may be later than its own.
    committed_in: Vec<Term>,
    /// The configurations that are committed, with their indexes; the first is the founding one.
    configs: Vec<(Index, Arc<Configuration>)>,
    reference: Store,
    /// Hash of the state at each index, from 0.
    hashes: Vec<u64>,
    /// The first answer to each request.
    answers: BTreeMap<RequestId, Written>,
    /// Requests that changed the state.
    effective: BTreeSet<RequestId>,
    /// For each key its values, each with the index from which on it holds.
    values: BTreeMap<String, Vec<(Index, Option<String>)>>,
    /// Highest index in any answer: whatever is asked from now on must see the state there.
    acked: Index,
    /// What `acked` was when a request was first made.
    invoked: BTreeMap<RequestId, Index>,
    /// By node, from node 1.
    seen: Vec<Option<Seen>>,
    /// How often a suffix was voided.
    pub(super) voided: u64,
}

impl Safety {
    pub(super) fn new(founders: BTreeSet<NodeId>, hosts: usize, limits: Limits) -> Safety {
        let reference = Store::new(limits);
        Safety {
            leaders: BTreeMap::new(),
            votes: BTreeMap::new(),
            entries: BTreeMap::new(),
            committed: Vec::new(),
            committed_in: Vec::new(),
            configs: vec![(0, Arc::new(Configuration::founding(founders)))],
            hashes: vec![reference.state_hash()],
            reference,
            answers: BTreeMap::new(),
            effective: BTreeSet::new(),
            values: BTreeMap::new(),
            acked: 0,
            invoked: BTreeMap::new(),
            seen: vec![None; hosts],
            voided: 0,
        }
    }

    /// The node asks for a write; `log` is what it wrote before.
    ///
    /// Log Matching (Thesis §3.5): an entry's name stands for one content and one predecessor, hence by induction for
    /// one log up to it. And a committed entry is never voided by a node that has it, from the term on in which it was
    /// committed.
    pub(super) fn on_write(
        &mut self,
        id: NodeId,
        write: &Write,
        log: &Contents,
    ) -> Result<(), Violation> {
        let (mut term, mut vote, mut last) = (log.term, log.vote, log.last());
        let mut added: Vec<EntryId> = Vec::new();
        for record in &write.records {
            match record {
                Record::HardState { term: new_term, vote: new_vote } => {
                    let keeps = *new_term > term || vote.is_none() || *new_vote == vote;
                    let rises = *new_term >= term;
                    ensure!(rises, "monotone terms", "n{id}: term falls from {term} to {new_term}");
                    ensure!(
                        keeps,
                        "one vote a term",
                        "n{id}: vote in term {term} changes from {vote:?} to {new_vote:?}"
                    );
                    (term, vote) = (*new_term, *new_vote);
                }
                Record::Truncate { from } => {
                    self.voided += 1;
                    let committed = self.committed.iter().zip(&self.committed_in);
                    for (entry, &committed_in) in committed.skip(position(*from)) {
                        // What a leader of a later term commits, it does not count on this node for.
                        let held = log.holds(entry.id) || added.contains(&entry.id);
                        ensure!(
                            !held || term < committed_in,
                            "committed entries stay",
                            "n{id} voids {} in term {term}, which was committed in term {committed_in}",
                            entry.id
                        );
                    }
                    added.retain(|entry| entry.index < *from);
                    let kept = from.checked_sub(1).and_then(|index| log.get(index));
                    let kept = kept.map_or(log.base, |entry| entry.id);
                    last = added.last().copied().unwrap_or(kept);
                }
                Record::Entry(entry) => {
                    self.on_entry(last, entry)?;
                    last = entry.id;
                    added.push(entry.id);
                }
                Record::Snapshot { last: end } => {
                    self.check_committed(id, *end, "snapshot record")?;
                    last = *end;
                    added.clear();
                }
            }
        }
        Ok(())
    }

    fn on_entry(&mut self, before: EntryId, entry: &Arc<Entry>) -> Result<(), Violation> {
        let known = self.entries.entry(entry.id).or_insert_with(|| (before, Arc::clone(entry)));
        ensure!(known.0 == before, "log matching", "{} follows {} and {before}", entry.id, known.0);
        let same = Arc::ptr_eq(&known.1, entry) || known.1 == *entry;
        ensure!(same, "log matching", "{} has two contents", entry.id);
        Ok(())
    }

    /// A message left its node, which has this directory: others may now rely on it.
    pub(super) fn on_leave(
        &mut self,
        envelope: &Envelope,
        directory: u64,
    ) -> Result<(), Violation> {
        let Some(vote) = vote_in(envelope) else { return Ok(()) };
        let (voter, term) = (envelope.from, envelope.term);
        let first = *self.votes.entry((voter, directory, term)).or_insert(vote);
        ensure!(
            first == vote,
            "one vote a term",
            "n{voter} votes for n{first} and for n{vote} in term {term}"
        );
        Ok(())
    }

    /// A node's life ended: what it forgets need not be remembered.
    pub(super) fn on_crash(&mut self, id: NodeId) {
        self.seen[position(id)] = None;
    }

    /// A client makes a request, perhaps once more.
    pub(super) fn on_write_request(&mut self, request: &RequestId) -> Asked {
        let acked = self.acked;
        self.invoked.entry(request.clone()).or_insert(acked);
        Asked::Write(request.clone())
    }

    /// A client makes a linearizable read.
    pub(super) fn on_read_request(&self, key: String) -> Asked {
        Asked::Read { key, at_least: self.acked, linearizable: true }
    }

    /// A node answers a client.
    ///
    /// Requests take effect in the order of the indexes in their answers, and none before one that was answered before
    /// it was made. A read's value is that at the index it names. A write's answer is the first that the committed log
    /// gives to the request, so retries agree with each other.
    pub(super) fn on_answer(&mut self, asked: &Asked, outcome: &Outcome) -> Result<(), Violation> {
        match (asked, outcome) {
            (Asked::Write(request), Outcome::Written(written)) => {
                if matches!(written.result, Err(Refusal::Expired)) {
                    return Ok(());
                }
                let first = self.answers.get(request);
                ensure!(
                    first == Some(written),
                    "answers are those of the log",
                    "{request}: {written:?}, but by the committed log {first:?}"
                );
                let (index, acked) = (written.index, self.invoked[request]);
                ensure!(
                    index > acked,
                    "real-time order",
                    "{request} at {index} was made after {acked} was answered"
                );
                self.acked = self.acked.max(index);
            }
            (Asked::Read { key, at_least, linearizable }, Outcome::Read { value, index }) => {
                let expected = self.value_at(key, *index);
                ensure!(
                    value.as_deref() == expected,
                    "reads return the state",
                    "{key} at index {index} is {expected:?}, and read as {value:?}"
                );
                ensure!(
                    index >= at_least,
                    if *linearizable { "stale read" } else { "reads go back in time" },
                    "{key} is read at {index}, asked for after {at_least} was answered"
                );
                if *linearizable {
                    self.acked = self.acked.max(*index);
                }
            }
            (Asked::Write(_) | Asked::Admin, Outcome::Read { .. })
            | (Asked::Read { .. } | Asked::Admin, Outcome::Written(_)) => {
                let evidence = format!("{asked:?}: {outcome:?}");
                return Err(Violation::new("answers fit their questions", evidence));
            }
            _ => {}
        }
        Ok(())
    }

    /// The committed log's last index.
    pub(super) fn committed(&self) -> Index {
        u64::try_from(self.committed.len()).expect("memory is smaller")
    }

    /// The configuration that is committed, and all that may be committed after it.
    pub(super) fn open_configs(&self) -> impl Iterator<Item = &Configuration> {
        let committed = self.configs.last().map(|(_, config)| &**config);
        let open = self.entries.values().filter(|(_, entry)| entry.id.index > self.committed());
        let open = open.filter_map(|(_, entry)| match &entry.payload {
            Payload::Configuration(config) => Some(&**config),
            Payload::Noop | Payload::Command(_) => None,
        });
        committed.into_iter().chain(open)
    }

    /// The latest term that had a leader.
    pub(super) fn latest_led(&self) -> Term {
        self.leaders.last_key_value().map_or(0, |(&term, _)| term)
    }

    /// Whether a committed configuration counts on this very directory.
    pub(super) fn has_admitted(&self, id: NodeId, incarnation: u64) -> bool {
        let is_meant = |config: &Configuration| {
            config.member(id).is_some_and(|member| member.incarnation == incarnation)
        };
        self.configs.iter().any(|(_, config)| is_meant(config))
    }

    /// How many terms had a leader.
    pub(super) fn terms_led(&self) -> usize {
        self.leaders.len()
    }

    /// The key's value after the entry at this index.
    fn value_at(&self, key: &str, index: Index) -> Option<&str> {
        let history = self.values.get(key)?;
        let until = history.partition_point(|(since, _)| *since <= index);
        history[..until].last().and_then(|(_, value)| value.as_deref())
    }

    /// A node took a step; `log` is what it has written so far, `keeps` tells which nodes would still have an entry after
    /// a crash.
    pub(super) fn on_step(
        &mut self,
        id: NodeId,
        node: &Node,
        log: &Contents,
        keeps: impl Fn(NodeId, EntryId) -> bool,
    ) -> Result<(), Violation> {
        let last = node.log().last();
        let (term, commit) = (node.term(), node.commit());
        let now = Seen { term, role: node.role(), commit, last: last.index };
        ensure!(
            (now.term, last) == (log.term, log.last()),
            "everything is written",
            "n{id} is in term {} with {last}, and wrote term {} and {}",
            now.term,
            log.term,
            log.last()
        );
        let before = self.seen[position(id)];
        if let Some(before) = before {
            let Seen { term, commit, .. } = before;
            ensure!(now.term >= term, "monotone terms", "n{id}: from {term} to {}", now.term);
            ensure!(now.commit >= commit, "monotone commit", "n{id}: {commit} to {}", now.commit);
        }
        let led = before.is_some_and(|it| (it.role, it.term) == (Role::Leader, now.term));
        if now.role == Role::Leader && !led {
            self.on_leader(id, node)?;
        }
        let commit_before = before.map_or(0, |before| before.commit);
        if led && now.role == Role::Leader && now.commit > commit_before {
            // Figure 3.7 of the thesis: older entries are committed along with one of the leader's own.
            let own = log.get(now.commit).is_none_or(|entry| entry.id.term == now.term);
            ensure!(
                own,
                "only own entries are counted",
                "n{id} commits {} by counting",
                now.commit
            );
        }
        if now.commit > commit_before {
            let counted_by = before.map_or(0, |before| before.last);
            if self.on_commit(id, node, log, commit_before)? {
                self.check_quorum(id, node, log, counted_by, keeps)?;
            }
        }
        let hash = usize::try_from(now.commit).ok().and_then(|at| self.hashes.get(at)).copied();
        ensure!(
            hash == Some(node.store().state_hash()),
            "state-machine safety",
            "n{id}: the state at {} differs",
            now.commit
        );
        self.seen[position(id)] = Some(now);
        Ok(())
    }

    /// Election Safety (Thesis §3.4) and Leader Completeness (Thesis §3.6).
    fn on_leader(&mut self, id: NodeId, node: &Node) -> Result<(), Violation> {
        let term = node.term();
        let leader = *self.leaders.entry(term).or_insert(id);
        ensure!(leader == id, "election safety", "term {term} is led by n{leader} and n{id}");
        let earlier = self.committed_in.iter().rposition(|&committed_in| committed_in < term);
        // By Log Matching, who holds the last one holds all.
        if let Some(entry) = earlier.map(|at| &self.committed[at]) {
            let holds = node.log().holds(entry.id) || node.log().base().index > entry.id.index;
            ensure!(
                holds,
                "leader completeness",
                "n{id}, leader of term {term}, lacks {}, which is committed",
                entry.id
            );
        }
        Ok(())
    }

    /// State Machine Safety (Thesis §3.6.3). Whether it is the first to commit something.
    fn on_commit(
        &mut self,
        id: NodeId,
        node: &Node,
        log: &Contents,
        before: Index,
    ) -> Result<bool, Violation> {
        let commit = node.commit();
        let first = (before + 1).max(log.base.index + 1);
        if first > before + 1 {
            self.check_committed(id, EntryId { index: first - 1, ..log.base }, "snapshot")?;
        }
        let mut news = false;
        for index in first..=commit {
            let Some(entry) = log.get(index) else { continue };
            if index <= self.committed() {
                self.check_committed(id, entry.id, "commit")?;
                continue;
            }
            ensure!(index == self.committed() + 1, "log matching", "n{id} skips to {index}");
            self.committed_in.push(node.term());
            self.apply(entry)?;
            news = true;
        }
        Ok(news)
    }

    /// Committed means durable on a quorum. Who commits first leads, and counts by the latest configuration in its log;
    /// or by that before the step, if another came in the same step.
    fn check_quorum(
        &self,
        id: NodeId,
        node: &Node,
        log: &Contents,
        counted_by: Index,
        keeps: impl Fn(NodeId, EntryId) -> bool,
    ) -> Result<(), Violation> {
        let last = self.committed[position(node.commit())].id;
        let decides = |config: &Configuration| is_quorum(config, |voter| keeps(voter, last));
        let before = log.config_at(counted_by).or_else(|| {
            let count = self.configs.partition_point(|(index, _)| *index <= log.base.index);
            Some(&self.configs[count - 1].1)
        });
        ensure!(
            decides(&node.view().config) || before.is_some_and(|config| decides(config)),
            "committed means durable on a quorum",
            "n{id} commits {last}"
        );
        Ok(())
    }

    /// Whether this entry is the committed one at its index.
    fn check_committed(&self, id: NodeId, entry: EntryId, how: &str) -> Result<(), Violation> {
        let known =
            entry.index.checked_sub(1).and_then(|_| self.committed.get(position(entry.index)));
        let known = known.map(|known| known.id);
        ensure!(
            known == Some(entry),
            "state-machine safety",
            "n{id} takes {entry} for committed ({how}), but at that index it is {known:?}"
        );
        Ok(())
    }

    /// Leaders of later terms have what is committed, also if they were elected before it was.
    pub(super) fn check_leader(&self, id: NodeId, node: &Node) -> Result<(), Violation> {
        let (Some(last), Some(&committed_in)) = (self.committed.last(), self.committed_in.last())
        else {
            return Ok(());
        };
        let last = last.id;
        let lacks = node.role() == Role::Leader
            && node.term() > committed_in
            && !node.log().holds(last)
            && node.log().base().index <= last.index;
        ensure!(
            !lacks,
            "leader completeness",
            "n{id}, leader of term {}, lacks {last}, which was committed after its election",
            node.term()
        );
        Ok(())
    }

    fn apply(&mut self, entry: &Arc<Entry>) -> Result<(), Violation> {
        self.committed.push(Arc::clone(entry));
        let index = entry.id.index;
        match &entry.payload {
            Payload::Noop => {}
            Payload::Configuration(config) => self.configs.push((index, Arc::clone(config))),
            Payload::Command(command) => {
                let value = |store: &Store, key: &str| store.get(key).map(str::to_owned);
                let keys = command.op.keys();
                let before = keys.into_iter().map(|key| (key, value(&self.reference, key)));
                let mut changed: Vec<_> = before.collect();
                let written = self.reference.apply(index, command);
                changed.retain(|(key, before)| self.reference.get(key) != before.as_deref());
                if let Some((_, before)) = changed.first() {
                    self.on_effect(&command.request, &command.op, before.as_deref())?;
                }
                for (key, _) in changed {
                    let now = value(&self.reference, key);
                    self.values.entry(key.to_owned()).or_default().push((index, now));
                }
                if !matches!(written.result, Err(Refusal::Expired)) {
                    self.answers.entry(command.request.clone()).or_insert(written);
                }
            }
        }
        self.hashes.push(self.reference.state_hash());
        Ok(())
    }

    /// Exactly-once: no request changes the state twice, and no token is appended twice.
    fn on_effect(
        &mut self,
        request: &RequestId,
        op: &Op,
        before: Option<&str>,
    ) -> Result<(), Violation> {
        let first = self.effective.insert(request.clone());
        ensure!(first, "exactly once", "{request} takes effect a second time");
        if let (Op::Append { key, value }, Some(before)) = (op, before) {
            let again = before.contains(value.as_str());
            ensure!(!again, "exactly once", "{value} is appended to {key} a second time");
        }
        Ok(())
    }

    /// A node takes a snapshot, or starts from one: it is the state at its index.
    pub(super) fn on_snapshot(&self, id: NodeId, snapshot: &Snapshot) -> Result<(), Violation> {
        self.check_committed(id, snapshot.last, "snapshot")?;
        let at = usize::try_from(snapshot.last.index).unwrap_or(usize::MAX);
        ensure!(
            self.hashes.get(at) == Some(&snapshot.state.hash()),
            "snapshots are the state",
            "n{id}: that at {} is another",
            snapshot.last
        );
        let count = self.configs.partition_point(|(index, _)| *index <= snapshot.last.index);
        let (index, config) = &self.configs[count - 1];
        ensure!(
            (*index, config) == (snapshot.config_index, &snapshot.config),
            "snapshots hold the configuration",
            "n{id}: at {} rules {:?} of {index}, and in the snapshot {:?} of {}",
            snapshot.last,
            config,
            snapshot.config,
            snapshot.config_index
        );
        Ok(())
    }
}

/// For whom the sender votes in the message's term, if that is what it says.
pub(super) fn vote_in(envelope: &Envelope) -> Option<NodeId> {
    if matches!(envelope.message, Message::VoteReply { granted: true }) {
        Some(envelope.to)
    } else {
        matches!(envelope.message, Message::Vote { .. }).then_some(envelope.from)
    }
}

/// Where the thing with this number, from 1, stands in a vector of all of them.
fn position(number: u64) -> usize {
    usize::try_from(number - 1).expect("memory is smaller")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A vote for that node by node 1, in term 2.
    fn vote_for(to: NodeId) -> Envelope {
        let message = Message::VoteReply { granted: true };
        Envelope { from: 1, to, term: 2, message }
    }

    #[test]
    fn vote_binds_the_directory_it_was_recorded_in() {
        let mut safety = Safety::new(BTreeSet::from([1, 2, 3]), 3, Limits::default());
        safety.on_leave(&vote_for(2), 0).unwrap();
        safety.on_leave(&vote_for(2), 0).expect("it may be repeated");
        let twice = safety.on_leave(&vote_for(3), 0).expect_err("two votes in a term");
        assert_eq!(twice.to_string(), "one vote a term: n1 votes for n2 and for n3 in term 2");

        // Another directory forgot the vote; whether it may vote at all is another check.
        safety.on_leave(&vote_for(3), 101).unwrap();
        let twice = safety.on_leave(&vote_for(2), 101).expect_err("two votes in a term");
        assert_eq!(twice.to_string(), "one vote a term: n1 votes for n3 and for n2 in term 2");
    }
}
