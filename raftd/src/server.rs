//! The one loop that owns the node.
//!
//! ```text
//! wait for one event, drain what is ready ─▶ inputs ─▶ Node::step ─▶ effects
//!        ▲                                                             │ 1. messages that wait for nothing
//!        │ sockets, writer thread, clock, signals                      │ 2. the write, to the writer thread
//!        │                                                             │ 3. messages that wait for it, kept back
//!        └─────────────── one write a connection ◀──────────────────── ┘ 4. answers
//! ```
//!
//! Whatever gathers while a step runs goes into the next one together: one write, one fsync, one append for each follower.
//! Every other task only moves bytes. An error here ends the process, and so does the end of any task that matters.
//!
//! What happens is logged with a field `event` that programs may rely on: `recovered`, `torn_tail`, `listening` (with both
//! addresses), `role` (at each change of role, term or leader), `link_down`, `refused`, `disk_full`, `disk_has_room`,
//! `stopping`, `stopped`, `failed`, `panic`; of standing, `new`, `founded`, `lost`, `damaged`, `readmitted`; of members and
//! leadership, `configuration`, `transfer_started`, `transfer_aborted`; of snapshots, `snapshot_taken`,
//! `snapshot_installed`, `snapshot_failed`, `snapshot_not_received`, `snapshot_not_sent`. Nothing is logged for each request.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clock; all else is told the time"
)]

mod answer;
mod clients;
mod clock;
mod handover;
mod inbox;
mod links;
pub(crate) mod members;
mod requests;
mod snapshots;
mod standing;
mod start;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use raft_core::effects::{self, Effects, WriteSeq};
use raft_core::membership::Configuration;
use raft_core::message::{Envelope, Message};
use raft_core::node::{Input, Node, Options};
use raft_core::types::{NodeId, Term};
use tokio::sync::mpsc;

use crate::api;
use crate::config::Cluster;
use crate::net::{self, ConnectionId, Context, Port, Task};
use crate::storage::{self, Founding, Identity, Opened, PapersStanding, Writer, WriterEvent};
use answer::Standpoint;
use clients::Clients;
use clock::Clock;
use handover::Leaving;
use inbox::Inbox;
use links::Links;
use members::Heard;
use snapshots::Snapshots;
use standing::OwnStanding;

/// Most reports of the network that may wait for the loop. Few, as each may hold a megabyte.
const NET_EVENTS_MAX: usize = 256;

/// Most messages that may wait for the disk. A disk that hangs must not cost memory without end: beyond, messages are
/// dropped, and Raft repairs it.
const GATED_MESSAGES_MAX: usize = 1 << 16;

/// How long a stopping node waits for its clients to take their last answers.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(1);

/// How long a link outlives the membership, in election timeouts: long enough that who leaves hears that it may.
const FAREWELL_TIMEOUTS: u32 = 10;

/// Most refused connections logged in [`REFUSED_LOG_INTERVAL`]; the rest is only counted.
const REFUSED_LOG_LINES_MAX: u32 = 10;
const REFUSED_LOG_INTERVAL: Duration = Duration::from_secs(1);

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The cluster.
    pub cluster: Cluster,
    /// Which of its members this is.
    pub id: NodeId,
    /// The data directory; created if it does not exist.
    pub data: PathBuf,
    /// Where to listen for other members. Port 0: any.
    pub peer: SocketAddr,
    /// Where to listen for clients. Port 0: any.
    pub client: SocketAddr,
    /// So much time passes for the node while 100 pass for the machine.
    pub clock_percent: u32,
}

/// Why a node cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory; it names its causes itself.
    #[error("{0}")]
    Storage(storage::Error),
    /// A port cannot be had.
    #[error(
        "cannot listen for {port}s on {address}; stop whoever uses it, or choose another address with \
         --listen {port}=IP:PORT"
    )]
    Listen {
        /// `peer` or `client`.
        port: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// A cluster's only founder lost its data directory and began anew, and then heard of those that joined it before.
    #[error(
        "this node has founded the cluster a second time: node {from} knows node {node} with another data directory, \
         which was lost; remove this one, add \"joins = true\" to node {node} in its cluster file, and start it again: \
         it will get everything from the others"
    )]
    FoundedAgain {
        /// This node.
        node: NodeId,
        /// Who knows better.
        from: NodeId,
    },
    /// The operating system refuses something else.
    #[error("cannot {operation}")]
    System {
        /// What.
        operation: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// What wakes the loop.
#[derive(Debug)]
enum Event {
    /// The sockets' doings.
    Net(net::Event),
    /// The log's.
    Writer(WriterEvent),
    /// What became of a snapshot, in the core's words.
    Snapshot(Input),
    /// A signal asks the process to stop.
    Stop(&'static str),
}

/// Runs a node until a signal stops it. On an error nothing more leaves it: the caller must end the process.
pub fn run(setup: Setup) -> Result<(), Error> {
    let clock = Clock::start(setup.clock_percent);
    start::allow_open_files();
    let identity = Identity { cluster: setup.cluster.id.clone(), node: setup.id };
    let has_peers = setup.cluster.nodes.iter().any(|member| member.id != setup.id);
    let founding = Founding { founders: setup.cluster.founders(), has_peers };
    let options = storage::Options::for_snapshots_after(setup.cluster.snapshot_log_bytes);
    let opened =
        storage::open_with(&setup.data, &identity, &founding, options).map_err(Error::Storage)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::System { operation: "start the runtime", source })?;
    // In a task of its own: the runtime's main future would be woken through a system call.
    let outcome = runtime.block_on(async { tokio::spawn(serve(setup, opened, clock)).await });
    outcome.expect("a panic aborts the process, and nobody cancels this task")
}

async fn serve(setup: Setup, opened: Opened, clock: Clock) -> Result<(), Error> {
    let me = setup.id;
    report(me, &opened);
    let Opened { recovered, log, papers, saver, transfers, .. } = opened;
    let options = start::options(&setup, &papers)?;
    let node = Node::new(clock.elapsed(), options.clone(), recovered);
    let own_address =
        setup.cluster.member(me).expect("checked with the arguments: the file names this node");

    let peers = start::listen("peer", setup.peer).await?;
    let clients = start::listen("client", setup.client).await?;
    let (urgent_sender, urgent) = mpsc::unbounded_channel();
    start::watch_signals(&urgent_sender)?;
    let to_loop = urgent_sender.clone();
    let writer = Writer::spawn(log, move |event| {
        // Fails only when the loop has ended, and the process with it.
        to_loop.send(Event::Writer(event)).ok();
    })
    .map_err(Error::Storage)?;
    let snapshots = Snapshots::spawn(me, saver, transfers, move |input| {
        // As above.
        urgent_sender.send(Event::Snapshot(input)).ok();
    })
    .map_err(|source| Error::System { operation: "start the threads for snapshots", source })?;
    let (events, net) = mpsc::channel(NET_EVENTS_MAX);
    let context = Context {
        cluster: setup.cluster.id.as_str().into(),
        node: me,
        incarnation: papers.incarnation(),
        founders: Arc::new(papers.founders().clone()),
        address: own_address.peer,
        events: events.clone(),
    };
    let (peer, client) = (peers.1, clients.1);
    tracing::info!(event = "listening", node = me, peer = %peer, client = %client);
    let acceptors = [
        Task::spawn_endless(net::accept_peers(peers.0, context.clone())),
        Task::spawn_endless(net::accept_clients(clients.0, context.clone())),
    ];

    let inbox = Inbox::new(urgent, net, clock.origin().into());
    let links = Links::new(context, setup.cluster.election_timeout.1 * FAREWELL_TIMEOUTS);
    let standing = OwnStanding::new(me, papers);
    let disk = (writer, snapshots);
    let mut server =
        Server::new(setup.cluster, clock, (node, options), standing, disk, links, events);
    let signal = server.run(inbox, acceptors).await?;
    tracing::info!(event = "stopping", node = me, signal);
    server.writer.close();
    tracing::info!(event = "stopped", node = me);
    Ok(())
}

/// Says what was found on the disk.
fn report(node: NodeId, opened: &Opened) {
    if let Some(storage::Torn { file, line, cut_bytes, .. }) = &opened.torn {
        let file = file.display();
        tracing::warn!(event = "torn_tail", node, %file, line, cut_bytes, "cut a torn last write");
    }
    if let Some(set_aside) = &opened.damage {
        let storage::SetAside { reason, dir, incarnation } = set_aside;
        let moved_to = dir.display();
        tracing::error!(
            event = "damaged",
            node,
            incarnation,
            reason,
            %moved_to,
            "moved damaged data away: starting with nothing, and without a vote"
        );
    }
    let recovered = &opened.recovered;
    let (entries, term) = (recovered.entries.len(), recovered.term);
    let snapshot = recovered.snapshot.as_ref().map(|saved| saved.snapshot.last.index);
    tracing::info!(event = "recovered", node, entries, term, snapshot);
}

/// The node and all that it talks to.
struct Server {
    cluster: Cluster,
    /// When the process started; the core's time counts from here.
    clock: Clock,
    node: Node,
    /// What the node was made with.
    options: Options,
    /// The members it goes by.
    config: Arc<Configuration>,
    standing: OwnStanding,
    /// When the present turn of the loop began.
    now: Instant,
    standpoint: Standpoint,
    writer: Writer,
    snapshots: Snapshots,
    links: Links,
    clients: Clients,
    /// Who dials us, by node; a newer connection replaces an older one.
    heard: BTreeMap<NodeId, Heard>,
    /// Messages that may leave when the write of that number is durable; numbers never fall.
    gated: VecDeque<(WriteSeq, Envelope)>,
    /// Messages dropped because [`GATED_MESSAGES_MAX`] waited.
    gated_dropped: u64,
    /// The latest write known to be durable.
    durable: WriteSeq,
    /// Whether the disk is full: writes are refused, reads go on.
    disk_full: bool,
    /// When a leader with a full disk next tries to hand over.
    relief_due: Instant,
    /// Set once a signal has asked the process to stop.
    leaving: Option<Leaving>,
    /// Connections refused, or closed because of what came in.
    refused: u64,
    /// Since when, and how many of them were logged.
    refused_logged: (Instant, u32),
    last_connection: ConnectionId,
    events: mpsc::Sender<net::Event>,
    /// What the core is to be told next.
    inputs: Vec<Input>,
}

impl Server {
    fn new(
        cluster: Cluster,
        clock: Clock,
        (node, options): (Node, Options),
        standing: OwnStanding,
        (writer, snapshots): (Writer, Snapshots),
        links: Links,
        events: mpsc::Sender<net::Event>,
    ) -> Server {
        let view = node.view();
        Server {
            cluster,
            clock,
            node,
            options,
            config: view.config,
            standing,
            now: clock.origin(),
            standpoint: Standpoint { node: view.id, role: view.role, term: view.term },
            writer,
            snapshots,
            links,
            clients: Clients::new(events.clone()),
            heard: BTreeMap::new(),
            gated: VecDeque::new(),
            gated_dropped: 0,
            durable: 0,
            disk_full: false,
            relief_due: clock.origin(),
            leaving: None,
            refused: 0,
            refused_logged: (clock.origin(), 0),
            last_connection: 0,
            events,
            inputs: Vec::new(),
        }
    }

    /// Until a signal comes; returns its name.
    async fn run(&mut self, mut inbox: Inbox, acceptors: [Task; 2]) -> Result<&'static str, Error> {
        self.report_standing();
        self.attend_links();
        let mut events = Vec::new();
        let mut effects = Effects::default();
        loop {
            inbox.wait(self.deadline().into(), &mut events).await;
            self.now = Instant::now();
            for event in events.drain(..) {
                match event {
                    Event::Net(event) => self.on_net(event)?,
                    Event::Writer(event) => self.on_writer(event)?,
                    Event::Snapshot(input) => self.inputs.push(input),
                    Event::Stop(signal) => self.on_stop(signal),
                }
            }
            self.hand_over_if_disk_full();
            self.step(&mut effects)?;
            if let Some(signal) = self.is_done() {
                drop(acceptors);
                self.say_goodbye(&mut inbox).await;
                return Ok(signal);
            }
            if self.links.deadline().is_some_and(|end| self.now >= end) {
                self.attend_links();
            }
            self.links.flush();
            self.clients.flush();
        }
    }

    /// Tells the core all that has happened, and does what it asks for.
    fn step(&mut self, effects: &mut Effects) -> Result<(), Error> {
        let now = self.clock.at(self.now);
        // A new node takes no part: it would campaign.
        if now >= self.node.deadline() && !self.standing.is_new() {
            self.inputs.push(Input::Tick);
        }
        if self.inputs.is_empty() {
            return Ok(());
        }
        self.node.step(now, self.inputs.drain(..), effects);
        self.execute(effects)
    }

    /// Says where a node stands that may not vote yet.
    fn report_standing(&self) {
        let (node, incarnation) = (self.standpoint.node, self.standing.incarnation());
        match self.standing.now() {
            PapersStanding::Full => {}
            PapersStanding::New => tracing::info!(
                event = "new",
                node,
                incarnation,
                waiting_for = ?self.standing.waiting_for(),
                "a new data directory: taking no part until all other founders have been up"
            ),
            PapersStanding::Lost => tracing::warn!(
                event = "lost",
                node,
                incarnation,
                "no vote until a leader has taken note of this data directory, and it has caught up"
            ),
        }
    }

    /// When something is due that nobody else will wake us for.
    fn deadline(&self) -> Instant {
        const FAR: Duration = Duration::from_hours(1);
        let core = self.clock.moment(self.node.deadline());
        let core = core.filter(|_| !self.standing.is_new());
        let others = self.handover_deadline().into_iter().chain(self.links.deadline());
        core.into_iter().chain(others).fold(self.now + FAR, Instant::min)
    }

    fn on_net(&mut self, event: net::Event) -> Result<(), Error> {
        match event {
            net::Event::Requests { id, requests } => {
                if self.clients.on_requests(id, requests.len()) {
                    for request in requests {
                        self.on_request(id, request);
                    }
                }
            }
            net::Event::Envelopes(envelopes) => {
                if !self.standing.is_new() {
                    self.inputs.extend(envelopes.into_iter().map(Input::Peer));
                }
            }
            net::Event::Flushed { id, result } => {
                if let Some(result) = self.links.on_flushed(id, result) {
                    self.clients.on_flushed(id, result);
                }
            }
            net::Event::ClientOpened(client) => {
                let hello = api::HelloLine {
                    hello: api::Hello {
                        protocol: api::PROTOCOL,
                        cluster: Some(self.cluster.id.clone()),
                        node: Some(self.standpoint.node),
                        commit: Some(self.node.view().commit),
                    },
                };
                let id = self.next_connection();
                self.clients.on_opened(id, client, &hello);
            }
            net::Event::ClientEnded { id, parting } => self.clients.on_ended(id, parting),
            net::Event::PeerOpened(peer) => self.on_peer_opened(peer)?,
            net::Event::PeerEnded { from, id } => self.on_peer_ended(from, id),
            net::Event::LinkUp { to, writer } => {
                let id = self.next_connection();
                self.links.on_up(to, id, writer);
            }
            net::Event::LinkDown { to } => self.links.on_down(to),
            net::Event::Refused { port, from, reason } => self.on_refused(port, from, &reason),
        }
        Ok(())
    }

    fn next_connection(&mut self) -> ConnectionId {
        self.last_connection += 1;
        self.last_connection
    }

    fn on_writer(&mut self, event: WriterEvent) -> Result<(), Error> {
        let node = self.standpoint.node;
        match event {
            WriterEvent::Durable { term, seq } => {
                assert!(seq > self.durable, "write {seq} became durable after {}", self.durable);
                self.durable = seq;
                self.inputs.push(Input::Durable { term, seq });
                while let Some((_, envelope)) = self.gated.pop_front_if(|(after, _)| *after <= seq)
                {
                    self.links.send(&envelope);
                }
                Ok(())
            }
            WriterEvent::DiskFull(true) => {
                self.disk_full = true;
                tracing::error!(
                    event = "disk_full",
                    node,
                    "the disk is full: writes are refused until there is room"
                );
                Ok(())
            }
            WriterEvent::DiskFull(false) => {
                self.disk_full = false;
                tracing::info!(
                    event = "disk_has_room",
                    node,
                    "the disk has room again: writes are taken"
                );
                Ok(())
            }
            WriterEvent::Failed(error) => Err(Error::Storage(error)),
        }
    }

    /// Does what a step asks for, in the order that `raft_core::effects` prescribes.
    fn execute(&mut self, effects: &mut Effects) -> Result<(), Error> {
        for effects::Send { envelope, after } in effects.sends.drain(..) {
            if matches!(envelope.message, Message::InstallReply { .. })
                && self.snapshots.is_behind()
            {
                continue;
            }
            match after {
                Some(seq) if seq > self.durable => {
                    let latest = self.gated.back().map_or(0, |(latest, _)| *latest);
                    assert!(
                        latest <= seq,
                        "a message waits for write {seq}, one before it for {latest}"
                    );
                    if self.gated.len() < GATED_MESSAGES_MAX {
                        self.gated.push_back((seq, envelope));
                    } else {
                        self.gated_dropped += 1;
                    }
                }
                Some(_) | None => self.links.send(&envelope),
            }
        }
        if let Some(write) = effects.write.take() {
            // The followers' disks start working before ours does: their way is the longer one.
            self.links.flush();
            self.writer.submit(write);
        }
        if let Some(index) = effects.purge.take() {
            self.writer.purge(index);
        }
        if let Some(snapshot) = effects.snapshot.take() {
            self.snapshots.save(snapshot);
        }
        effects.chunks.drain(..).for_each(|chunk| self.snapshots.read(chunk));
        effects.received.drain(..).for_each(|chunk| self.snapshots.receive(chunk));
        for event in effects.events.drain(..) {
            self.on_event(event)?;
        }
        for effects::Answer { token, outcome } in effects.answers.drain(..) {
            self.answer(token, outcome);
        }
        Ok(())
    }

    fn on_event(&mut self, event: effects::Event) -> Result<(), Error> {
        let node = self.standpoint.node;
        match event {
            effects::Event::Role { term, role, leader } => {
                self.standpoint = Standpoint { node, role, term };
                self.report_role(term, leader);
            }
            effects::Event::Leader { term, leader } => self.report_role(term, Some(leader)),
            effects::Event::Configuration { index } => self.on_configuration(index),
            effects::Event::SnapshotTaken { last, bytes } => {
                let (index, term) = (last.index, last.term);
                tracing::info!(event = "snapshot_taken", node, index, term, bytes);
            }
            effects::Event::SnapshotInstalled { last, bytes } => {
                let (index, term) = (last.index, last.term);
                tracing::info!(event = "snapshot_installed", node, index, term, bytes);
            }
            effects::Event::Readmitted { incarnation } => {
                match self.standing.readmitted() {
                    // Then the cluster has to take note again after a restart; nothing worse.
                    Err(error) if error.is_disk_full() => tracing::warn!(%error),
                    result => result.map_err(Error::Storage)?,
                }
                tracing::info!(
                    event = "readmitted",
                    node,
                    incarnation,
                    "the cluster has taken note of this data directory"
                );
            }
            effects::Event::TransferStarted { to } => {
                tracing::info!(event = "transfer_started", node, to);
            }
            effects::Event::TransferAborted { to } => {
                tracing::info!(event = "transfer_aborted", node, to, "leading on");
            }
        }
        Ok(())
    }

    fn report_role(&self, term: Term, leader: Option<NodeId>) {
        let Standpoint { node, role, .. } = self.standpoint;
        tracing::info!(event = "role", node, role = role.name(), term, leader);
    }

    fn on_refused(&mut self, port: Port, from: SocketAddr, reason: &str) {
        self.refused += 1;
        if self.now - self.refused_logged.0 >= REFUSED_LOG_INTERVAL {
            self.refused_logged = (self.now, 0);
        }
        self.refused_logged.1 += 1;
        if self.refused_logged.1 <= REFUSED_LOG_LINES_MAX {
            let (node, refused) = (self.standpoint.node, self.refused);
            tracing::warn!(event = "refused", node, %port, %from, reason, refused, "refused a connection");
        }
    }
}
