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
//! `stopping`, `stopped`, `failed`, `panic`. Nothing is logged for each request.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clock; all else is told the time"
)]

mod answer;
mod clients;
mod inbox;
mod links;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use raft_core::effects::{self, Effects, Outcome, Role, Token, WriteSeq};
use raft_core::kv::{Command, Limits};
use raft_core::message::Envelope;
use raft_core::node::{Input, Node, Options};
use raft_core::types::NodeId;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::api::{self, Code, Consistency, Response};
use crate::codec;
use crate::config::Cluster;
use crate::net::{self, Complaint, ConnectionId, Context, Port, Request, RequestKind, Task};
use crate::status::{self, Counters};
use crate::storage::{self, Identity, Opened, Writer, WriterEvent};
use answer::Standpoint;
use clients::{Clients, Waiting};
use inbox::Inbox;
use links::Links;

/// Most reports of the network that may wait for the loop. Few, as each may hold a megabyte.
const NET_EVENTS_MAX: usize = 256;

/// Most appends with entries on their way to one follower.
const INFLIGHT_MESSAGES_MAX: usize = 32;

/// Most bytes of entries that may wait to be committed.
const UNCOMMITTED_BYTES_MAX: usize = 64 << 20;

/// Most messages that may wait for the disk. A disk that hangs must not cost memory without end: beyond, messages are
/// dropped, and Raft repairs it.
const GATED_MESSAGES_MAX: usize = 1 << 16;

/// Open files that every connection there may be, and the rest, can do with.
const OPEN_FILES: u64 = 4096;

/// How long a stopping node waits for its clients to take their last answers.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(1);

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
    /// The disk's.
    Writer(WriterEvent),
    /// A signal asks the process to stop.
    Stop(&'static str),
}

/// Runs a node until a signal stops it. On an error nothing more leaves it: the caller must end the process.
pub fn run(setup: Setup) -> Result<(), Error> {
    let origin = Instant::now();
    allow_open_files();
    let identity = Identity { cluster: setup.cluster.id.clone(), node: setup.id };
    let opened = storage::open(&setup.data, &identity).map_err(Error::Storage)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::System { operation: "start the runtime", source })?;
    // In a task of its own: the runtime's main future would be woken through a system call.
    let outcome = runtime.block_on(async { tokio::spawn(serve(setup, opened, origin)).await });
    outcome.expect("a panic aborts the process, and nobody cancels this task")
}

async fn serve(setup: Setup, opened: Opened, origin: Instant) -> Result<(), Error> {
    let Opened { recovered, log, torn } = opened;
    let me = setup.id;
    if let Some(storage::Torn { file, line, cut_bytes, .. }) = torn {
        let file = file.display();
        tracing::warn!(event = "torn_tail", node = me, %file, line, cut_bytes, "cut a torn last write");
    }
    let (entries, term) = (recovered.entries.len(), recovered.term);
    tracing::info!(event = "recovered", node = me, entries, term);
    let seed = OsRng.try_next_u64().map_err(|error| Error::System {
        operation: "draw a random seed",
        source: io::Error::other(error),
    })?;
    let node = Node::new(origin.elapsed(), options(&setup, seed), recovered);

    let peers = listen("peer", setup.peer).await?;
    let clients = listen("client", setup.client).await?;
    let (urgent_sender, urgent) = mpsc::unbounded_channel();
    watch_signals(&urgent_sender)?;
    let writer = Writer::spawn(log, move |event| {
        // Fails only when the loop has ended, and the process with it.
        urgent_sender.send(Event::Writer(event)).ok();
    })
    .map_err(Error::Storage)?;
    let (events, net) = mpsc::channel(NET_EVENTS_MAX);
    let others = setup.cluster.nodes.iter().map(|member| member.id).filter(|id| *id != me);
    let context = Context {
        cluster: setup.cluster.id.as_str().into(),
        node: me,
        peers: others.collect(),
        events: events.clone(),
    };
    let (peer, client) = (peers.1, clients.1);
    tracing::info!(event = "listening", node = me, peer = %peer, client = %client);
    let acceptors = [
        Task::spawn_endless(net::accept_peers(peers.0, context.clone())),
        Task::spawn_endless(net::accept_clients(clients.0, context.clone())),
    ];

    let inbox = Inbox::new(urgent, net, origin.into());
    let links = Links::start(&setup.cluster, &context);
    let mut server = Server::new(setup.cluster, origin, node, writer, links, events);
    let signal = server.run(inbox, acceptors).await?;
    tracing::info!(event = "stopping", node = me, signal);
    server.writer.close();
    tracing::info!(event = "stopped", node = me);
    Ok(())
}

/// Takes as many open files as we need, if the system lets us; if not, connections beyond are refused.
fn allow_open_files() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < OPEN_FILES
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES.min(hard), hard)
    {
        tracing::warn!(event = "few_files", soft, %error, "cannot raise the number of open files");
    }
}

fn options(setup: &Setup, seed: u64) -> Options {
    Options {
        id: setup.id,
        voters: setup.cluster.nodes.iter().map(|member| member.id).collect(),
        heartbeat: setup.cluster.heartbeat,
        election_timeout_min: setup.cluster.election_timeout.0,
        election_timeout_max: setup.cluster.election_timeout.1,
        append_bytes_max: codec::APPEND_BYTES_MAX,
        inflight_messages_max: INFLIGHT_MESSAGES_MAX,
        uncommitted_bytes_max: UNCOMMITTED_BYTES_MAX,
        limits: Limits::default(),
        seed,
    }
}

async fn listen(
    port: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), Error> {
    let listen = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    listen.await.map_err(|source| Error::Listen { port, address, source })
}

fn watch_signals(urgent: &mpsc::UnboundedSender<Event>) -> Result<(), Error> {
    for (kind, name) in [(SignalKind::terminate(), "SIGTERM"), (SignalKind::interrupt(), "SIGINT")]
    {
        let mut stream = signal(kind)
            .map_err(|source| Error::System { operation: "watch for signals", source })?;
        let urgent = urgent.clone();
        Task::spawn(async move {
            while stream.recv().await.is_some() {
                urgent.send(Event::Stop(name)).ok();
            }
        })
        .detach();
    }
    Ok(())
}

/// The node and all that it talks to.
struct Server {
    cluster: Cluster,
    /// When the process started; the core's time counts from here.
    origin: Instant,
    node: Node,
    standpoint: Standpoint,
    writer: Writer,
    links: Links,
    clients: Clients,
    /// Who dials us, by member; a newer connection replaces an older one.
    peers: BTreeMap<NodeId, Task>,
    /// Messages that may leave when the write of that number is durable; numbers never fall.
    gated: VecDeque<(WriteSeq, Envelope)>,
    /// Messages dropped because [`GATED_MESSAGES_MAX`] waited.
    gated_dropped: u64,
    /// The latest write known to be durable.
    durable: WriteSeq,
    /// Whether the disk is full: writes are refused, reads go on.
    disk_full: bool,
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
        origin: Instant,
        node: Node,
        writer: Writer,
        links: Links,
        events: mpsc::Sender<net::Event>,
    ) -> Server {
        let view = node.view();
        Server {
            cluster,
            origin,
            node,
            standpoint: Standpoint { node: view.id, role: view.role, term: view.term },
            writer,
            links,
            clients: Clients::new(events.clone()),
            peers: BTreeMap::new(),
            gated: VecDeque::new(),
            gated_dropped: 0,
            durable: 0,
            disk_full: false,
            refused: 0,
            refused_logged: (origin, 0),
            last_connection: 0,
            events,
            inputs: Vec::new(),
        }
    }

    /// Until a signal comes; returns its name.
    async fn run(&mut self, mut inbox: Inbox, acceptors: [Task; 2]) -> Result<&'static str, Error> {
        let mut events = Vec::new();
        let mut effects = Effects::default();
        loop {
            inbox.wait(self.deadline(), &mut events).await;
            for event in events.drain(..) {
                match event {
                    Event::Net(event) => self.on_net(event),
                    Event::Writer(event) => self.on_writer(event)?,
                    Event::Stop(signal) => {
                        drop(acceptors);
                        self.say_goodbye(&mut inbox).await;
                        return Ok(signal);
                    }
                }
            }
            let now = self.origin.elapsed();
            if now >= self.node.deadline() {
                self.inputs.push(Input::Tick);
            }
            if !self.inputs.is_empty() {
                self.node.step(now, self.inputs.drain(..), &mut effects);
                self.execute(&mut effects);
            }
            self.links.flush();
            self.clients.flush();
        }
    }

    /// When the core wants to be woken.
    fn deadline(&self) -> tokio::time::Instant {
        const FAR: Duration = Duration::from_hours(1);
        let now = Instant::now();
        let deadline = self.origin.checked_add(self.node.deadline());
        deadline.unwrap_or(now + FAR).min(now + FAR).into()
    }

    fn on_net(&mut self, event: net::Event) {
        match event {
            net::Event::Requests { id, requests } => {
                if self.clients.on_requests(id, requests.len()) {
                    for request in requests {
                        self.on_request(id, request);
                    }
                }
            }
            net::Event::Envelopes(envelopes) => {
                self.inputs.extend(envelopes.into_iter().map(Input::Peer));
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
            net::Event::PeerOpened(peer) => {
                let from = peer.from;
                self.links.on_sign_of_life(from);
                let reader = net::read_envelopes(peer, self.standpoint.node, self.events.clone());
                self.peers.insert(from, Task::spawn(reader));
            }
            net::Event::LinkUp { to, writer } => {
                let id = self.next_connection();
                self.links.on_up(to, id, writer);
            }
            net::Event::LinkDown { to } => self.links.on_down(to),
            net::Event::Refused { port, from, reason } => self.on_refused(port, from, &reason),
        }
    }

    fn next_connection(&mut self) -> ConnectionId {
        self.last_connection += 1;
        self.last_connection
    }

    /// Gives a request to the core, or answers it at once.
    fn on_request(&mut self, client: ConnectionId, Request { tag, kind }: Request) {
        let waiting = Waiting { client, tag };
        let taken = match kind {
            RequestKind::Write(command) => self.take_write(waiting, command),
            RequestKind::Read { key, consistency } => self.take_read(waiting, key, consistency),
            RequestKind::Status => {
                let status = Some(Box::new(self.status()));
                let done = api::Done { status, ..api::Done::default() };
                return self.clients.respond(client, &Response::done(tag, done));
            }
            RequestKind::Bad(complaint) => Err(complaint),
        };
        if let Err(complaint) = taken {
            self.clients.respond(client, &Response::refusal(tag, complaint.into()));
        }
    }

    fn take_write(&mut self, waiting: Waiting, command: Command) -> Result<(), Complaint> {
        // A node that does not lead says who does, whatever the state of its disk.
        if self.disk_full && self.standpoint.role == Role::Leader {
            let message =
                "the disk of this node is full: nothing was done; make room, then try again";
            return Err(Complaint::new(Code::DiskFull, message));
        }
        let token = self.clients.admit(waiting)?;
        self.inputs.push(Input::Propose { token, command });
        Ok(())
    }

    fn take_read(
        &mut self,
        waiting: Waiting,
        key: String,
        consistency: Consistency,
    ) -> Result<(), Complaint> {
        if !self.clients.has_room(waiting.client) {
            return Err(Complaint::new(
                Code::Overloaded,
                "earlier answers have not been taken yet",
            ));
        }
        let token = self.clients.admit(waiting)?;
        self.inputs.push(match consistency {
            Consistency::Linearizable => Input::Read { token, key },
            Consistency::Stale => Input::StaleRead { token, key },
        });
        Ok(())
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
    fn execute(&mut self, effects: &mut Effects) {
        for effects::Send { envelope, after } in effects.sends.drain(..) {
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
        for event in effects.events.drain(..) {
            self.on_event(event);
        }
        for effects::Answer { token, outcome } in effects.answers.drain(..) {
            self.answer(token, outcome);
        }
    }

    fn answer(&mut self, token: Token, outcome: Outcome) {
        let Waiting { client, tag } = self.clients.take(token);
        // Values pile up where they are not taken, and a read can be refused without harm.
        let is_too_much = matches!(outcome, Outcome::Read { .. }) && !self.clients.has_room(client);
        let response = if is_too_much {
            let message = "earlier answers have not been taken yet; take them, then ask again";
            Response::refusal(tag, api::Error::new(Code::Overloaded, message))
        } else {
            answer::response(tag, outcome, self.standpoint, &self.cluster)
        };
        self.clients.respond(client, &response);
    }

    fn on_event(&mut self, event: effects::Event) {
        let node = self.standpoint.node;
        let (term, leader) = match event {
            effects::Event::Role { term, role, leader } => {
                self.standpoint = Standpoint { node, role, term };
                (term, leader)
            }
            effects::Event::Leader { term, leader } => (term, Some(leader)),
        };
        tracing::info!(event = "role", node, role = self.standpoint.role.name(), term, leader);
    }

    fn on_refused(&mut self, port: Port, from: SocketAddr, reason: &str) {
        self.refused += 1;
        let now = Instant::now();
        if now - self.refused_logged.0 >= REFUSED_LOG_INTERVAL {
            self.refused_logged = (now, 0);
        }
        self.refused_logged.1 += 1;
        if self.refused_logged.1 <= REFUSED_LOG_LINES_MAX {
            let (node, refused) = (self.standpoint.node, self.refused);
            tracing::warn!(event = "refused", node, %port, %from, reason, refused, "refused a connection");
        }
    }

    fn status(&self) -> api::Status {
        let counters = Counters {
            clients: self.clients.count(),
            messages_dropped: self.links.dropped() + self.gated_dropped,
            connections_refused: self.refused,
            disk_full: self.disk_full,
            uptime: self.origin.elapsed(),
        };
        status::status(&self.cluster.id, &self.node.view(), &self.writer.stats().view(), &counters)
    }

    /// Tells everyone who waits that it is in vain, and gives them a moment to hear it.
    async fn say_goodbye(&mut self, inbox: &mut Inbox) {
        for Waiting { client, tag } in self.clients.take_all() {
            let why = "the node is going down; a write may or may not take effect";
            let error = api::Error::new(Code::ShuttingDown, why);
            self.clients.respond(client, &Response::refusal(tag, error));
        }
        self.clients.flush();
        let deadline = Instant::now() + FAREWELL_PATIENCE;
        let mut events = Vec::new();
        while !self.clients.is_flushed() && Instant::now() < deadline {
            inbox.wait(deadline.into(), &mut events).await;
            for event in events.drain(..) {
                if let Event::Net(net::Event::Flushed { id, result }) = event {
                    self.clients.on_flushed(id, result);
                }
            }
        }
    }
}
