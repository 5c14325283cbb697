//! A cluster of real processes on this machine.
//!
//! Every node is a process of its own with its own directory (`nodes/ID/`: `cluster.toml`, `data/`, `stdout`, `stderr`),
//! its own process group, and output to files, as a pipe that nobody drains would stop it. Everything nodes and clients
//! say to each other goes through [`proxy`]: one for each directed link between nodes, one for each client port. The
//! proxies hold their ports for the whole run; a node takes any free ports at each start and says which in its log.
//!
//! Nothing outlives the harness. [`Cluster::shutdown`] ends the nodes properly, dropping the [`Cluster`] kills them, and
//! if the harness itself is killed, the kernel does (see [`process`]).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use history_checker::history::Exit;
use tokio::sync::watch;

pub use self::builds::Builds;
pub use self::error::Error;
pub use self::event::{Event, Recorder};
pub use self::view::{NodeView, Role, Status, View};

use self::board::Board;
use self::faketime::FakeTime;
use self::netns::Net;
use self::process::{Command, Keeper, Launch, Pace};
use self::proxy::{Link, Mesh};
use self::wait::{TimedOut, wait_for_value};
use crate::disk::{Blow, Disk, Harm, Mounted, Unavailable};

mod board;
mod builds;
mod config;
mod error;
mod event;
pub mod faketime;
mod limits;
pub(crate) mod logs;
pub mod netns;
pub mod process;
pub mod proxy;
mod view;
pub mod wait;

/// A node's number, from 1.
pub type NodeId = u64;

/// How long a node may take from its start until it listens. It recovers its log first.
const LISTEN_DEADLINE: Duration = Duration::from_secs(20);

/// How long a node may take to end after SIGTERM, before it is killed.
const TERMINATE_GRACE: Duration = Duration::from_secs(5);

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The daemon, of one build or several.
    pub builds: Builds,
    /// The harness's own executable, which starts each node so that it dies with the harness, however that happens
    /// (see [`process::exec_node`]). Without it, nodes outlive a harness that is killed by SIGKILL.
    pub supervisor: Option<PathBuf>,
    /// How many nodes; they are numbered from 1.
    pub nodes: u64,
    /// The result directory: everything goes to `nodes/ID/` in it.
    pub dir: PathBuf,
    /// The cluster's id.
    pub cluster: String,
    /// How often a leader makes itself heard.
    pub heartbeat_ms: u64,
    /// Shortest and longest time without a leader before a node campaigns.
    pub election_timeout_ms: [u64; 2],
    /// A snapshot is due when the log has grown by this much; `None`: the daemon's own default.
    pub snapshot_log_bytes: Option<u64>,
    /// By how much one node's clock may outrun another's, percent: then leaders may serve reads by theirs; otherwise not.
    pub lease_drift_percent: Option<u64>,
    /// Whether each node gets a disk that can fail (see [`crate::disk`]); needs a supervisor, and costs some speed.
    pub disks: bool,
    /// What carries what they say to each other and to clients.
    pub network: Network,
    /// Flags for every node besides those that the harness needs.
    pub raftd_args: Vec<OsString>,
}

/// What carries what nodes say, and so can be made to fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// A TCP proxy for each link.
    #[default]
    Proxy,
    /// The kernel, between network namespaces. The harness must be in one of its own ([`netns::enter`]).
    Netns,
}

impl Options {
    /// Defaults for everything but the essentials.
    pub fn new(raftd: impl Into<PathBuf>, nodes: u64, dir: impl Into<PathBuf>) -> Options {
        Options {
            builds: Builds::one(raftd),
            supervisor: None,
            nodes,
            dir: dir.into(),
            cluster: "harness".to_owned(),
            heartbeat_ms: 50,
            election_timeout_ms: [150, 300],
            snapshot_log_bytes: None,
            lease_drift_percent: None,
            disks: false,
            network: Network::default(),
            raftd_args: Vec::new(),
        }
    }
}

/// A running cluster. All methods may be called from several tasks at once.
pub struct Cluster {
    // Dropped first: kills the nodes, so that they do not see their links vanish.
    keepers: BTreeMap<NodeId, Keeper>,
    // Then their disks: nobody uses them any more.
    disks: BTreeMap<NodeId, Mounted>,
    board: Arc<Board>,
    /// Empty if the network is the kernel's.
    mesh: Arc<Mesh>,
    net: Option<Net>,
    dir: PathBuf,
    lease_drift_percent: Option<u64>,
    builds: Builds,
    /// The nodes that are to run the build that nodes are upgraded to.
    upgraded: Mutex<BTreeSet<NodeId>>,
}

impl Cluster {
    /// Starts all nodes and waits until they listen. Must be called within a tokio runtime, which then runs the proxies.
    pub async fn start(options: &Options, recorder: Arc<dyn Recorder>) -> Result<Cluster, Error> {
        if let Some(missing) = options.builds.paths().find(|path| !path.is_file()) {
            return Err(Error::NoDaemon { path: missing.to_owned() });
        }
        limits::raise_open_files();
        let dir = absolute(&options.dir)?;
        let (proxied, net) = match options.network {
            Network::Proxy => (options.nodes, None),
            Network::Netns => {
                let program = options.supervisor.as_ref().ok_or(Error::NoSupervisor)?;
                (0, Some(Net::set_up(options.nodes, program).await?))
            }
        };
        let mesh = Arc::new(Mesh::bind(proxied).await?);
        let board = Arc::new(Board::new(options.nodes, recorder, Arc::clone(&mesh)));
        let mut disks = BTreeMap::new();
        let mut keepers = BTreeMap::new();
        for node in 1..=options.nodes {
            let mut launch = launch(options, &dir, node, &mesh, net.as_ref())?;
            if options.disks {
                let holder = launch.supervisor.as_deref().ok_or_else(Unavailable::no_holder)?;
                let mounted = Mounted::mount(holder, &launch.dir)?;
                launch.disk = Some((Arc::clone(mounted.disk()), mounted.namespace()));
                disks.insert(node, mounted);
            }
            keepers.insert(node, Keeper::spawn(node, launch, Arc::clone(&board))?);
        }
        let lease_drift_percent = options.lease_drift_percent;
        let (builds, upgraded) = (options.builds.clone(), Mutex::default());
        let cluster = Cluster {
            keepers,
            disks,
            board,
            mesh,
            net,
            dir,
            lease_drift_percent,
            builds,
            upgraded,
        };
        for node in cluster.nodes() {
            cluster.ask(node, Command::Start).await?;
        }
        for node in cluster.nodes() {
            cluster.listening(node).await?;
        }
        Ok(cluster)
    }

    /// The nodes' numbers.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        self.keepers.keys().copied().collect::<Vec<_>>().into_iter()
    }

    /// Where clients reach each node: its client proxy, if there is one.
    pub fn client_endpoints(&self) -> Vec<(NodeId, SocketAddr)> {
        let address = |node| match self.net {
            Some(_) => Net::addresses(node).1,
            None => self.mesh.client(node).address(),
        };
        self.nodes().map(|node| (node, address(node))).collect()
    }

    /// Where members and clients reach a node: what there is to say of a newcomer. Its peers' own files win over it, see
    /// [`config`].
    pub fn place(&self, node: NodeId) -> (SocketAddr, SocketAddr) {
        if self.net.is_some() {
            return Net::addresses(node);
        }
        let other = self.nodes().find(|other| *other != node).unwrap_or(node);
        (self.mesh.peer(other, node).address(), self.mesh.client(node).address())
    }

    /// The kernel's network, if that is what nodes are in.
    pub fn net(&self) -> Option<&Net> {
        self.net.as_ref()
    }

    /// A node's directory: `cluster.toml`, `data/`, `stdout`, `stderr`.
    pub fn node_dir(&self, node: NodeId) -> PathBuf {
        node_dir(&self.dir, node)
    }

    /// The cluster as it is seen now, and each time it changes.
    pub fn view(&self) -> watch::Receiver<View> {
        self.board.view()
    }

    /// The leader that counts and its term, as far as the nodes' logs tell.
    pub fn leader_hint(&self) -> Option<(NodeId, u64)> {
        self.board.view().borrow().leader()
    }

    /// Waits until the view satisfies a condition; the probe's `Err` says what it sees instead.
    pub async fn wait_until<T, S: std::fmt::Display>(
        &self,
        what: &str,
        deadline: Duration,
        probe: impl FnMut(&View) -> Result<T, S>,
    ) -> Result<T, TimedOut> {
        wait_for_value(what, deadline, &mut self.board.view(), probe).await
    }

    /// The proxies.
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// The link on which `from` speaks to `to`.
    pub fn link(&self, from: NodeId, to: NodeId) -> &Link {
        self.mesh.peer(from, to)
    }

    /// The link between clients and a node.
    pub fn client_link(&self, node: NodeId) -> &Link {
        self.mesh.client(node)
    }

    /// Starts a node that is down, and waits until it listens.
    pub async fn start_node(&self, node: NodeId) -> Result<(), Error> {
        self.ask(node, Command::Start).await?;
        self.listening(node).await
    }

    /// Starts those of the nodes that do not run, and waits until they listen. Tries all before it reports what did not
    /// work.
    pub async fn start_nodes(&self, nodes: &[NodeId]) -> Result<(), Error> {
        let mut failures = Vec::new();
        let mut started = Vec::new();
        for node in nodes {
            match self.ask(*node, Command::Start).await {
                Ok(()) => started.push(*node),
                Err(Error::AlreadyRuns { .. }) => {}
                Err(error) => failures.push(error),
            }
        }
        for node in started {
            failures.extend(self.listening(node).await.err());
        }
        if failures.is_empty() { Ok(()) } else { Err(Error::NotRestored { failures }) }
    }

    /// SIGKILL. Returns when the process is gone; whether there was one, and it was the signal that ended it.
    pub async fn kill(&self, node: NodeId) -> Result<bool, Error> {
        self.ask(node, Command::Kill).await
    }

    /// SIGTERM, and SIGKILL if the node does not end in time. Returns when the process is gone: how it ended, unless there
    /// was none.
    pub async fn terminate(&self, node: NodeId) -> Result<Option<Exit>, Error> {
        let grace = TERMINATE_GRACE;
        self.ask(node, |reply| Command::Terminate { grace, reply }).await
    }

    /// From its next start on a node's time passes at so many percent of the machine's; none: as usual.
    pub async fn set_clock(&self, node: NodeId, percent: Option<u64>) -> Result<(), Error> {
        let pace = Pace { percent, fake: None };
        self.ask(node, |reply| Command::Clock(pace, reply)).await
    }

    /// From its next start on a node goes by a clock that can be set: that clock. Where leaders rely on clocks it is only the
    /// time of day that can be set, as nothing may rest on that.
    pub async fn fake_clock(&self, node: NodeId) -> Result<FakeTime, Error> {
        let directory = self.node_dir(node);
        let fake = FakeTime::new(&directory, self.lease_drift_percent.is_some())
            .map_err(|source| Error::file("set the clock in", &directory, source))?;
        let pace = Pace { percent: None, fake: Some(fake.clone()) };
        self.ask(node, |reply| Command::Clock(pace, reply)).await?;
        Ok(fake)
    }

    /// The last line of a node's log that says when it was written: that time, by the node's own time of day.
    pub fn last_logged(&self, node: NodeId) -> Option<SystemTime> {
        let lines = logs::last_lines(&self.node_dir(node).join("stderr"));
        lines.lines().rev().find_map(logs::timestamp)
    }

    /// Whether a node is to run the build that nodes are upgraded to.
    pub fn is_upgraded(&self, node: NodeId) -> bool {
        self.upgraded.lock().unwrap_or_else(PoisonError::into_inner).contains(&node)
    }

    /// From its next start on a node runs the build that nodes are upgraded to, or its own again.
    pub async fn set_upgraded(&self, node: NodeId, is_upgraded: bool) -> Result<(), Error> {
        let program = absolute(self.builds.of(node, is_upgraded))?;
        self.ask(node, |reply| Command::Program(program, reply)).await?;
        let mut upgraded = self.upgraded.lock().unwrap_or_else(PoisonError::into_inner);
        if is_upgraded {
            upgraded.insert(node);
        } else {
            upgraded.remove(&node);
        }
        Ok(())
    }

    /// Whether a node's process, as the kernel has it, is of the build that it is to run.
    pub fn runs_its_build(&self, node: NodeId) -> bool {
        let process = self.board.view().borrow().nodes.get(&node).and_then(|node| node.pid);
        let runs = process.and_then(|pid| fs::read_link(format!("/proc/{pid}/exe")).ok());
        let should = self.builds.of(node, self.is_upgraded(node)).canonicalize().ok();
        runs.is_some() && runs == should
    }

    /// By how much one node's clock may outrun another's, percent, if leaders rely on theirs.
    pub fn lease_drift_percent(&self) -> Option<u64> {
        self.lease_drift_percent
    }

    /// A node's disk, if it is one that can fail.
    pub fn disk(&self, node: NodeId) -> Option<&Arc<Disk>> {
        self.disks.get(&node).map(Mounted::disk)
    }

    /// Kills a node, if it runs, and then does this to its disk; what came of it.
    pub async fn strike(&self, node: NodeId, blow: Blow, seed: u64) -> Result<Harm, Error> {
        self.ask(node, |reply| Command::Strike { blow, seed, reply }).await
    }

    /// SIGSTOP. Returns when all threads are seen stopped; whether there was a process to stop.
    pub async fn pause(&self, node: NodeId) -> Result<bool, Error> {
        self.ask(node, Command::Pause).await
    }

    /// SIGCONT. Returns for how long the process was stopped: zero unless it was stopped all the time.
    pub async fn resume(&self, node: NodeId) -> Result<Duration, Error> {
        self.ask(node, Command::Resume).await
    }

    /// Makes everything work again, whatever was done to it: lets all links pass, resumes paused nodes, starts those
    /// that are down. May be called again and again. Tries everything before it reports what did not work.
    pub async fn restore(&self) -> Result<(), Error> {
        self.mesh.pass_all();
        for mounted in self.disks.values() {
            mounted.disk().relieve();
            mounted.disk().thaw();
        }
        let mut failures = Vec::new();
        if let Some(net) = &self.net {
            failures.extend(net.lift_all().await.err());
        }
        let view = self.board.view().borrow().clone();
        for node in view.with_status(Status::Paused) {
            failures.extend(self.resume(node).await.err());
        }
        for node in view.with_status(Status::Down) {
            failures.extend(self.start_node(node).await.err());
        }
        for node in view.with_status(Status::Starting) {
            failures.extend(self.listening(node).await.err());
        }
        if failures.is_empty() { Ok(()) } else { Err(Error::NotRestored { failures }) }
    }

    /// Ends all nodes: SIGTERM, and SIGKILL for those that do not end in time. Returns how each ended, unless it was
    /// down already.
    pub async fn shutdown(&self) -> Result<BTreeMap<NodeId, Exit>, Error> {
        let mut waiting = Vec::new();
        for (node, keeper) in &self.keepers {
            let grace = TERMINATE_GRACE;
            waiting.push((*node, keeper.send(*node, |reply| Command::Terminate { grace, reply })?));
        }
        let mut exits = BTreeMap::new();
        for (node, reply) in waiting {
            if let Some(exit) = reply.await.map_err(|_| Error::KeeperGone { node })?? {
                exits.insert(node, exit);
            }
        }
        Ok(exits)
    }

    /// Whether no process of this cluster is left.
    pub fn is_clean(&self) -> bool {
        self.board.view().borrow().nodes.values().all(|node| node.status == Status::Down)
    }

    async fn ask<T>(
        &self,
        node: NodeId,
        command: impl FnOnce(process::Reply<T>) -> Command,
    ) -> Result<T, Error> {
        let keeper = self.keepers.get(&node).ok_or(Error::NoSuchNode { node })?;
        keeper.send(node, command)?.await.map_err(|_| Error::KeeperGone { node })?
    }

    /// Waits until a node that was started listens; fails at once if it ends instead.
    async fn listening(&self, node: NodeId) -> Result<(), Error> {
        let probe = |view: &View| match view.nodes.get(&node) {
            Some(NodeView { status: Status::Up | Status::Paused, .. }) => Ok(None),
            Some(NodeView { status: Status::Down, last_exit, .. }) => Ok(Some(last_exit.clone())),
            Some(NodeView { status: Status::Starting, .. }) | None => Err(view.to_string()),
        };
        let what = format!("n{node} to listen");
        let not_listening = |why: String| Error::NotListening {
            node,
            why,
            stderr: self.node_dir(node).join("stderr"),
            tail: logs::last_lines(&self.node_dir(node).join("stderr")),
        };
        match self.wait_until(&what, LISTEN_DEADLINE, probe).await {
            Ok(None) => Ok(()),
            Ok(Some(exit)) => Err(not_listening(exit.unwrap_or_default().how)),
            Err(timed_out) => Err(not_listening(timed_out.to_string())),
        }
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|source| Error::file("find", path, source))
}

fn node_dir(dir: &Path, node: NodeId) -> PathBuf {
    dir.join("nodes").join(node.to_string())
}

/// Writes a node's files and says how to start it.
fn launch(
    options: &Options,
    dir: &Path,
    node: NodeId,
    mesh: &Mesh,
    net: Option<&Net>,
) -> Result<Launch, Error> {
    let dir = node_dir(dir, node);
    fs::create_dir_all(&dir).map_err(|source| Error::file("create", &dir, source))?;
    let config = dir.join("cluster.toml");
    let text = config::cluster_toml(options, node, mesh);
    fs::write(&config, text).map_err(|source| Error::file("write", &config, source))?;
    let mut args: Vec<OsString> = vec!["--config".into(), config.into()];
    args.extend(["--id".into(), node.to_string().into(), "--data".into(), dir.join("data").into()]);
    if net.is_none() {
        for listen in ["peer=127.0.0.1:0", "client=127.0.0.1:0"] {
            args.extend(["--listen".into(), listen.into()]);
        }
    }
    args.extend(["--log-format".into(), "json".into()]);
    args.extend(options.raftd_args.iter().cloned());
    let program = absolute(options.builds.of(node, false))?;
    let supervisor = options.supervisor.as_deref().map(absolute).transpose()?;
    let network_of = net.and_then(|net| net.holder(node));
    Ok(Launch { program, args, supervisor, network_of, dir, disk: None, pace: Pace::default() })
}
