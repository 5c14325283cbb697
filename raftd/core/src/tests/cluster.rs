//! A cluster in memory: nodes, a network, a disk and a clock for each node. Nothing happens by itself; whoever holds
//! the cluster decides what happens next, so that any schedule can be played.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::disk::{Contents, Disk, Done};
use super::notation::{self, Noops};
use super::safety::{ReadKind, Request, Safety};
use crate::effects::{Answer, Effects, Event, ReadChunk, Record, Role, Send, Token};
use crate::kv::{Command, Limits};
use crate::membership::Change;
use crate::message::Envelope;
use crate::node::{Compaction, Input, Node, Options, Recovered, Standing, View};
use crate::snapshot::{Saved, Snapshot};
use crate::types::{EntryId, Index, NodeId, Payload, Time};

/// Nodes 1 to `nodes`, and all that lies between them.
#[derive(Debug)]
pub(super) struct Cluster {
    /// What all nodes are told alike.
    options: Options,
    /// In how many pieces a snapshot travels.
    pieces: u64,
    members: Vec<Member>,
    /// Messages on their way, the oldest first.
    pub(super) network: Vec<Envelope>,
    /// Links, from and to, on which everything is lost.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Answers that nobody has fetched yet.
    pub(super) answers: Vec<(NodeId, Answer)>,
    /// What must never happen.
    pub(super) safety: Safety,
    /// If wanted, what happens, line by line.
    pub(super) trace: Option<Vec<String>>,
    /// Requests without an answer, with the node that was asked.
    pub(super) waiting: BTreeMap<Token, (NodeId, Request)>,
    last_token: Token,
    /// A node that is busy, and the inputs that wait for it: it takes them in one step.
    busy: Option<(NodeId, Vec<Input>)>,
    /// All snapshots that ever became durable: equal names, equal files.
    files: BTreeMap<EntryId, Snapshot>,
    /// How often things happened that no schedule can bring about by itself.
    counts: BTreeMap<&'static str, u64>,
    /// See [`Noops`].
    pub(super) noops: Noops,
    /// Kept between steps for its memory.
    effects: Effects,
}

/// A node and what is its own.
#[derive(Debug)]
pub(super) struct Member {
    /// `None` while crashed.
    pub(super) node: Option<Node>,
    /// Its own clock: no two need agree, not even on how fast time goes.
    pub(super) clock: Time,
    pub(super) disk: Disk,
    /// Messages that wait for a write.
    held: Vec<Send>,
    /// How often it was started.
    starts: u64,
    /// How many data directories it has lost.
    disks_lost: u64,
}

/// What tests like to vary.
pub(super) fn options(nodes: u64, seed: u64) -> Options {
    Options {
        id: 1,
        founders: (1..=nodes).collect(),
        compaction: Compaction {
            log_bytes_min: 1 << 40,
            log_percent_of_snapshot: 0,
            trailing_bytes: 0,
        },
        lease: None,
        heartbeat: Time::from_millis(100),
        election_timeout_min: Time::from_secs(1),
        election_timeout_max: Time::from_secs(2),
        append_bytes_max: 10_000,
        inflight_messages_max: 4,
        uncommitted_bytes_max: 100_000,
        limits: Limits::default(),
        seed,
    }
}

impl Cluster {
    /// A cluster in which every founder starts with an empty disk.
    pub(super) fn new(options: Options, pieces: u64) -> Cluster {
        let founders = options.founders.clone();
        let mut cluster = Cluster {
            pieces,
            members: Vec::with_capacity(founders.len()),
            network: Vec::new(),
            cut: BTreeSet::new(),
            answers: Vec::new(),
            safety: Safety::new(&options),
            trace: None,
            waiting: BTreeMap::new(),
            last_token: 0,
            busy: None,
            files: BTreeMap::new(),
            counts: BTreeMap::new(),
            noops: Noops::new(),
            effects: Effects::default(),
            options,
        };
        for id in founders {
            cluster.add(Disk::default());
            assert_eq!(cluster.ids().max(), Some(id), "founders are numbered from 1");
        }
        cluster
    }

    fn add(&mut self, disk: Disk) {
        let id = self.ids().max().unwrap_or(0) + 1;
        // No clock agrees with another; but for scripts it is simplest if they begin so.
        let clock = self.members.first().map_or(Time::ZERO, |first| first.clock);
        let mut member =
            Member { node: None, clock, disk, held: Vec::new(), starts: 0, disks_lost: 0 };
        let recovered = Recovered { standing: member.disk.standing, ..Recovered::default() };
        member.start(id, &self.options, recovered);
        self.members.push(member);
    }

    /// One more node starts, and waits to be added; tells its number.
    pub(super) fn join(&mut self) -> NodeId {
        let id = self.ids().max().unwrap_or(0) + 1;
        self.add(Disk::empty(10 * id));
        id
    }

    /// All nodes, up or down.
    pub(super) fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        1..=u64::try_from(self.members.len()).expect("small")
    }

    pub(super) fn member(&self, id: NodeId) -> &Member {
        &self.members[slot(id)]
    }

    pub(super) fn member_mut(&mut self, id: NodeId) -> &mut Member {
        &mut self.members[slot(id)]
    }

    /// The node, if it is up.
    pub(super) fn node(&self, id: NodeId) -> Option<&Node> {
        self.member(id).node.as_ref()
    }

    /// From now on, what happens to this node waits until it has time.
    pub(super) fn keep_busy(&mut self, id: NodeId) {
        assert!(self.busy.is_none(), "one at a time");
        self.busy = Some((id, Vec::new()));
    }

    /// The busy node takes all that has come in.
    pub(super) fn catch_up(&mut self) {
        let (id, inputs) = self.busy.take().expect("somebody is busy");
        self.step(id, inputs);
    }

    /// Gives the node its inputs, if it is up, and its effects to the world.
    pub(super) fn step(&mut self, id: NodeId, inputs: impl IntoIterator<Item = Input>) {
        if let Some((busy, waiting)) = &mut self.busy
            && *busy == id
        {
            waiting.extend(inputs);
            return;
        }
        let member = &mut self.members[slot(id)];
        let Some(node) = &mut member.node else { return };
        let before = self.trace.is_some().then(|| node.view());
        let mut effects = std::mem::take(&mut self.effects);
        node.step(member.clock, inputs, &mut effects);
        let view = node.view();
        if let Some(trace) = &mut self.trace {
            let events = effects.events.iter();
            trace.extend(events.map(|event| format!("  {}", notation::event(&view, event))));
            trace.extend(
                effects.write.iter().map(|write| format!("  {}", notation::write(id, write))),
            );
        }
        self.use_disk(&view, &mut effects);
        for send in effects.sends.drain(..) {
            self.send(send);
        }
        let disks = self.members.iter().map(|member| &member.disk);
        self.safety.on_step(&view, &disks);
        if let (Some(trace), Some(before)) = (&mut self.trace, before) {
            trace.extend(notation::progress(&before, &view).map(|line| format!("  {line}")));
        }
        for answer in effects.answers.drain(..) {
            let request = self.waiting.remove(&answer.token).map(|(_, request)| request);
            let request = request.expect("each request is answered once");
            self.safety.on_answer(&request, &answer.outcome);
            if let Some(trace) = &mut self.trace {
                trace.push(format!("  {}", notation::answer(id, &request, &answer.outcome)));
            }
            self.answers.push((id, answer));
        }
        let chunks = std::mem::take(&mut effects.chunks);
        effects.clear();
        self.effects = effects;
        for chunk in chunks {
            self.read_chunk(id, chunk);
        }
    }

    /// What a step asks of the disk.
    fn use_disk(&mut self, view: &View, effects: &mut Effects) {
        let id = view.id;
        let disk = &mut self.members[slot(id)].disk;
        if let Some(write) = effects.write.take() {
            self.safety.on_write(id, &write, &disk.written);
            for record in &write.records {
                if let Record::Entry(entry) = record
                    && entry.payload == Payload::Noop
                    && (view.role, view.term) == (Role::Leader, entry.id.term)
                {
                    self.noops.entry(view.term).or_insert(entry.id.index);
                }
            }
            disk.write(write);
        }
        if let Some(snapshot) = effects.snapshot.take() {
            if let Some(trace) = &mut self.trace {
                trace.push(format!("  n{id} begins snapshot {}", snapshot.last));
            }
            disk.save(snapshot);
        }
        effects.received.drain(..).for_each(|chunk| disk.receive(chunk));
        if let Some(first) = effects.purge {
            disk.purge(first);
        }
        for event in &effects.events {
            let what = match event {
                Event::Readmitted { .. } => {
                    disk.standing = Standing::Full;
                    "readmissions"
                }
                Event::SnapshotTaken { .. } => "snapshots taken",
                Event::SnapshotInstalled { .. } => "snapshots installed",
                Event::Role { .. }
                | Event::Leader { .. }
                | Event::Configuration { .. }
                | Event::TransferStarted { .. }
                | Event::TransferAborted { .. } => continue,
            };
            *self.counts.entry(what).or_default() += 1;
        }
    }

    /// A piece of a snapshot is read at once.
    fn read_chunk(&mut self, id: NodeId, ReadChunk { to, snapshot, offset }: ReadChunk) {
        let input = if self.member_mut(id).disk.read(snapshot) {
            let (file, total) = (file(snapshot, self.pieces), self.pieces);
            let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(file.len());
            let data = file[begin..].chars().take(1).collect::<String>().into();
            Input::ChunkRead { to, snapshot, offset, data, total }
        } else {
            if let Some(trace) = &mut self.trace {
                trace.push(format!("n{id} cannot read snapshot {snapshot}"));
            }
            Input::ChunkFailed { to, snapshot }
        };
        self.step(id, [input]);
    }

    /// The next snapshot of this node's is written, or one that has come in is verified.
    pub(super) fn work(&mut self, id: NodeId) {
        let (pieces, member) = (self.pieces, self.member_mut(id));
        let (saved, line, input) = match member.disk.work() {
            None => return,
            Some(Done::Saved(snapshot)) => {
                let last = snapshot.last;
                self.check_file(&snapshot);
                let input = Input::SnapshotSaved { last, bytes: pieces };
                (Some(snapshot), format!("n{id} has snapshot {last} on disk"), input)
            }
            Some(Done::Received(last, text)) if text == file(last, pieces) => {
                let snapshot = self.files[&last].clone();
                let saved = Saved { snapshot: snapshot.clone(), bytes: pieces };
                let line = format!("n{id} has all of snapshot {last} on disk");
                (Some(snapshot), line, Input::SnapshotReceived { saved })
            }
            Some(Done::Received(snapshot, _)) => {
                let line = format!("n{id} has received what is no snapshot {snapshot}");
                (None, line, Input::ReceiveFailed { snapshot })
            }
        };
        if let Some(snapshot) = saved {
            self.member_mut(id).disk.publish(Saved { snapshot, bytes: pieces });
        }
        if let Some(trace) = &mut self.trace {
            trace.push(line);
        }
        self.step(id, [input]);
    }

    /// Equal logs make equal snapshots, whoever takes them.
    fn check_file(&mut self, snapshot: &Snapshot) {
        let known = self.files.entry(snapshot.last).or_insert_with(|| snapshot.clone());
        assert_eq!(known.state.hash(), snapshot.state.hash(), "two files of {}", snapshot.last);
        let config = |snapshot: &Snapshot| (snapshot.config_index, snapshot.config.clone());
        assert_eq!(config(known), config(snapshot), "two configurations at {}", snapshot.last);
    }

    /// A client's write, asked of a node that is up.
    pub(super) fn propose(&mut self, id: NodeId, command: Command) -> Token {
        let request = self.safety.on_write_request(&command.request);
        let token = self.ask(id, request);
        self.step(id, [Input::Propose { token, command }]);
        token
    }

    /// A client's read, asked of a node that is up; a stale one may name an index.
    pub(super) fn read(&mut self, id: NodeId, kind: ReadKind, key: &str, at_least: Index) -> Token {
        let key = key.to_owned();
        let request = self.safety.on_read_request(kind, key.clone(), at_least);
        let token = self.ask(id, request);
        let input = match kind {
            ReadKind::Confirmed => Input::Read { token, key },
            ReadKind::Lease => Input::LeaseRead { token, key },
            ReadKind::Stale => Input::StaleRead { token, key, at_least },
        };
        self.step(id, [input]);
        token
    }

    /// An operator wants other members.
    pub(super) fn change(&mut self, id: NodeId, change: Change, text: String) -> Token {
        let token = self.ask(id, Request::Operator(text));
        self.step(id, [Input::Change { token, change }]);
        token
    }

    /// An operator wants another leader.
    pub(super) fn transfer(&mut self, id: NodeId, to: Option<NodeId>, text: String) -> Token {
        let token = self.ask(id, Request::Operator(text));
        self.step(id, [Input::Transfer { token, to }]);
        token
    }

    /// An operator wants a snapshot.
    pub(super) fn take_snapshot(&mut self, id: NodeId) -> Token {
        let token = self.ask(id, Request::Operator("snapshot".to_owned()));
        self.step(id, [Input::TakeSnapshot { token }]);
        token
    }

    fn ask(&mut self, id: NodeId, request: Request) -> Token {
        assert!(self.node(id).is_some(), "n{id} is down");
        self.last_token += 1;
        self.waiting.insert(self.last_token, (id, request));
        self.last_token
    }

    /// Lets a message leave, at once or when its write is durable.
    fn send(&mut self, send: Send) {
        let from = send.envelope.from;
        let waits = send.after.is_some_and(|seq| !self.member(from).disk.is_durable(seq));
        if let Some(trace) = &mut self.trace {
            let mut line = format!("  {}", notation::envelope(&send.envelope, &self.noops));
            if let (Some(seq), true) = (send.after, waits) {
                write!(line, " (after w{seq})").expect("memory is there");
            } else if self.cut.contains(&(from, send.envelope.to)) {
                line += " (lost)";
            }
            trace.push(line);
        }
        if waits {
            self.member_mut(from).held.push(send);
        } else {
            self.leave(send.envelope);
        }
    }

    fn leave(&mut self, envelope: Envelope) {
        self.safety.on_leave(&envelope);
        if !self.cut.contains(&(envelope.from, envelope.to)) {
            self.network.push(envelope);
        }
    }

    /// Moves the node's clock to when it wants to be woken, and wakes it.
    pub(super) fn time_out(&mut self, id: NodeId) {
        let member = self.member_mut(id);
        let Some(node) = &member.node else { return };
        let deadline = node.deadline();
        assert!(deadline < Time::MAX, "n{id} waits for nothing");
        member.clock = member.clock.max(deadline);
        if let Some(trace) = &mut self.trace {
            trace.push(format!("n{id} times out"));
        }
        self.step(id, [Input::Tick]);
    }

    /// Gives the message at this place in the network to its receiver.
    pub(super) fn deliver(&mut self, at: usize) {
        let envelope = self.network.remove(at);
        self.receive(envelope.to, vec![envelope]);
    }

    /// Gives messages to their receiver, in one step.
    pub(super) fn receive(&mut self, to: NodeId, envelopes: Vec<Envelope>) {
        if let Some(trace) = &mut self.trace {
            trace.extend(envelopes.iter().map(|it| notation::envelope(it, &self.noops)));
            if self.members[slot(to)].node.is_none() {
                trace.push(format!("  n{to} is down"));
            }
        }
        self.step(to, envelopes.into_iter().map(Input::Peer));
    }

    /// Makes the node's oldest `count` pending writes durable, tells it so, and lets go the messages that waited.
    pub(super) fn sync(&mut self, id: NodeId, count: usize) {
        let member = self.member_mut(id);
        let Some((term, seq)) = member.disk.sync(count) else { return };
        let held = std::mem::take(&mut member.held);
        if let Some(trace) = &mut self.trace {
            trace.push(format!("n{id} has w{seq} on disk"));
        }
        for send in held {
            if send.after.is_some_and(|after| after > seq) {
                self.member_mut(id).held.push(send);
            } else {
                self.leave(send.envelope);
            }
        }
        self.step(id, [Input::Durable { term, seq }]);
    }

    /// Stops the node. Of what it had not synced, the first `survivors` records reach the disk nevertheless.
    pub(super) fn crash(&mut self, id: NodeId, survivors: usize) {
        let member = self.member_mut(id);
        member.node = None;
        member.held.clear();
        drop(member.disk.crash(survivors));
        self.waiting.retain(|_, (asked, _)| *asked != id);
        self.safety.on_crash(id);
    }

    /// Starts a crashed node with what its disk holds.
    pub(super) fn restart(&mut self, id: NodeId) {
        let options = self.options.clone();
        let member = self.member_mut(id);
        assert!(member.node.is_none(), "n{id} is up");
        let recovered = member.disk.crash(0);
        member.start(id, &options, recovered);
    }

    /// The node crashes, if it is up, and comes back with another disk, an empty one.
    pub(super) fn wipe(&mut self, id: NodeId) {
        self.crash(id, 0);
        let member = self.member_mut(id);
        member.disks_lost += 1;
        let disk = Disk::empty(10 * id + member.disks_lost);
        let lost = std::mem::replace(&mut member.disk, disk);
        self.safety.on_wipe(id, lost);
        self.restart(id);
    }

    /// The node did not come to store that it was readmitted.
    pub(super) fn forget_standing(&mut self, id: NodeId) {
        let disk = &mut self.member_mut(id).disk;
        disk.standing = Standing::Lost { incarnation: disk.incarnation };
    }

    /// Restarts the node with a disk that some earlier life might have left.
    pub(super) fn set_disk(&mut self, id: NodeId, contents: Contents) {
        self.crash(id, 0);
        self.safety.on_old_log(&contents);
        self.member_mut(id).disk = Disk::holding(contents);
        self.restart(id);
    }

    /// Loses all that is and will be on its way from one node to the other.
    pub(super) fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to));
        self.network.retain(|envelope| (envelope.from, envelope.to) != (from, to));
    }

    /// Repairs all links.
    pub(super) fn heal(&mut self) {
        self.cut.clear();
    }

    /// Delivers and syncs all there is, and what follows from it, without letting time pass.
    pub(super) fn stabilize(&mut self) {
        for _ in 0..100_000 {
            let dirty = self.ids().find(|&id| self.member(id).disk.is_dirty());
            let busy = self.ids().find(|&id| self.member(id).disk.has_job());
            if let Some(id) = dirty {
                self.sync(id, usize::MAX);
            } else if let Some(id) = busy {
                self.work(id);
            } else if self.network.is_empty() {
                return;
            } else {
                self.deliver(0);
            }
        }
        panic!("the nodes never stop talking");
    }

    /// Lets time pass alike for all nodes, while everything is delivered and synced at once.
    pub(super) fn run_for(&mut self, duration: Time) {
        let mut left = duration;
        self.stabilize();
        while let Some((id, wait)) = self.next_deadline().filter(|&(_, wait)| wait <= left) {
            self.pass(wait);
            left -= wait;
            self.time_out(id);
            self.stabilize();
        }
        self.pass(left);
    }

    /// Who has to be woken next, and in how long.
    pub(super) fn next_deadline(&self) -> Option<(NodeId, Time)> {
        let wait = |id| {
            let member = self.member(id);
            let deadline = member.node.as_ref()?.deadline();
            Some((id, deadline.saturating_sub(member.clock)))
        };
        self.ids().filter_map(wait).min_by_key(|&(_, wait)| wait)
    }

    /// By name, how often things happened that no schedule can bring about by itself.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts.iter().map(|(&what, &count)| (what, count))
    }

    /// Moves all clocks, waking nobody.
    pub(super) fn pass(&mut self, duration: Time) {
        self.members.iter_mut().for_each(|member| member.clock += duration);
    }
}

impl Member {
    fn start(&mut self, id: NodeId, options: &Options, recovered: Recovered) {
        self.starts += 1;
        let seed = options.seed.wrapping_mul(1_000_003).wrapping_add(id * 1_009 + self.starts);
        let mut options = Options { id, seed, ..options.clone() };
        if !options.founders.contains(&id) {
            options.founders.clear();
        }
        self.node = Some(Node::new(self.clock, options, recovered));
    }
}

/// What a snapshot's file holds: as many characters as there are pieces, others for each snapshot.
fn file(last: EntryId, pieces: u64) -> String {
    let letter = |piece| {
        let number = u32::try_from((3 * last.index + 5 * last.term + piece) % 26).expect("small");
        char::from_u32(u32::from('a') + number).expect("a letter")
    };
    (0..pieces).map(letter).collect()
}

fn slot(id: NodeId) -> usize {
    usize::try_from(id - 1).expect("small")
}
