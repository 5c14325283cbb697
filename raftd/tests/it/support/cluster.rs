//! Several `raftd` processes that form a cluster.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::{Client, Daemon, wait_for};

/// The port that shows that an address is taken by a test.
const RESERVED_PORT: u16 = 7100;

/// A cluster, its files and its processes; all gone when dropped.
pub(crate) struct Cluster {
    dir: TempDir,
    ip: IpAddr,
    _reserved: TcpListener,
    nodes: BTreeMap<u64, Option<Daemon>>,
}

impl Cluster {
    /// The files of a cluster; no node runs yet.
    pub(crate) fn new(size: u64) -> Cluster {
        Cluster::with(size, "")
    }

    /// [`Cluster::new`] with more settings in the cluster file.
    pub(crate) fn with(size: u64, settings: &str) -> Cluster {
        let (ip, reserved) = own_ip();
        let cluster = Cluster {
            dir: TempDir::new().unwrap(),
            ip,
            _reserved: reserved,
            nodes: (1..=size).map(|id| (id, None)).collect(),
        };
        let mut file = format!("cluster = \"test\"\n{settings}");
        (1..=size).for_each(|id| cluster.describe(id, &mut file));
        std::fs::write(cluster.config(), file).unwrap();
        cluster
    }

    fn describe(&self, id: u64, file: &mut String) {
        let (peer, client) = (self.peer(id), self.client_address(id));
        write!(file, "[[node]]\nid = {id}\npeer = \"{peer}\"\nclient = \"{client}\"\n").unwrap();
    }

    /// The file of a node that joins later: the founders' with the node itself added. The founders' own does not name it.
    pub(crate) fn prepare_joiner(&mut self, id: u64) {
        let mut file = std::fs::read_to_string(self.config()).unwrap();
        self.describe(id, &mut file);
        file.push_str("joins = true\n");
        std::fs::write(self.own_config(id), file).unwrap();
        self.nodes.insert(id, None);
    }

    fn own_config(&self, id: u64) -> PathBuf {
        self.dir.path().join(format!("cluster-{id}.toml"))
    }

    /// A cluster whose nodes all listen.
    pub(crate) fn start(size: u64) -> Cluster {
        let mut cluster = Cluster::new(size);
        cluster.start_all();
        cluster
    }

    pub(crate) fn start_all(&mut self) {
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        for id in ids {
            self.start_node(id);
        }
    }

    pub(crate) fn start_node(&mut self, id: u64) {
        let daemon = Daemon::start(self.args(id));
        daemon.listening();
        self.nodes.insert(id, Some(daemon));
    }

    /// The arguments to start a node with.
    pub(crate) fn args(&self, id: u64) -> Vec<String> {
        let own = self.own_config(id);
        let (config, data) = (if own.exists() { own } else { self.config() }, self.data(id));
        [
            "--config",
            config.to_str().unwrap(),
            "--id",
            &id.to_string(),
            "--data",
            data.to_str().unwrap(),
        ]
        .into_iter()
        .chain(["--log-format", "json"])
        .map(str::to_owned)
        .collect()
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("cluster.toml")
    }

    pub(crate) fn data(&self, id: u64) -> PathBuf {
        self.dir.path().join(format!("data-{id}"))
    }

    pub(crate) fn peer(&self, id: u64) -> SocketAddr {
        SocketAddr::new(self.ip, 7100 + u16::try_from(id).unwrap())
    }

    pub(crate) fn client_address(&self, id: u64) -> SocketAddr {
        SocketAddr::new(self.ip, 7200 + u16::try_from(id).unwrap())
    }

    /// The process of a running node.
    pub(crate) fn node(&self, id: u64) -> &Daemon {
        self.nodes[&id].as_ref().unwrap()
    }

    /// Takes the process of a running node out of the cluster.
    pub(crate) fn take(&mut self, id: u64) -> Daemon {
        self.nodes.get_mut(&id).unwrap().take().unwrap()
    }

    pub(crate) fn kill(&mut self, id: u64) {
        self.take(id).kill();
    }

    /// Sends a signal to all running nodes.
    pub(crate) fn signal_all(&self, signal: Signal) {
        self.nodes.values().flatten().for_each(|daemon| daemon.signal(signal));
    }

    /// SIGKILL for all, before any is waited for.
    pub(crate) fn kill_all(&mut self) {
        self.signal_all(Signal::SIGKILL);
        let running: Vec<Daemon> = self.nodes.values_mut().filter_map(Option::take).collect();
        running.into_iter().for_each(Daemon::kill);
    }

    /// Removes a stopped node's data directory.
    pub(crate) fn wipe(&self, id: u64) {
        std::fs::remove_dir_all(self.data(id)).unwrap();
    }

    /// A running node's view of itself.
    pub(crate) fn status(&self, id: u64) -> Value {
        self.client(id).status().unwrap()
    }

    /// Waits until a running node's view of itself is as it should be.
    pub(crate) fn wait_status(&self, id: u64, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, || {
            let status = self.status(id);
            if is_it(&status) { Ok(status) } else { Err(status.to_string()) }
        })
    }

    /// Has the leader do something for operators; tries again as long as it says that this may help. What it did.
    pub(crate) fn operate(&self, op: &Value) -> Value {
        const PASSING: [&str; 8] = [
            "not_leader",
            "not_ready",
            "change_pending",
            "not_caught_up",
            "no_quorum",
            "transferring",
            "leadership_lost",
            "transfer_timed_out",
        ];
        wait_for("an operator's request", || {
            let answer = self.client(self.leader()).call(None, op).map_err(|e| e.to_string())?;
            let code = answer["error"]["code"].as_str();
            assert!(code.is_none_or(|code| PASSING.contains(&code)), "{op}: {answer}");
            if answer["ok"].is_object() {
                Ok(answer["ok"].clone())
            } else {
                Err(answer.to_string())
            }
        })
    }

    /// A running node that does not lead.
    pub(crate) fn follower(&self) -> u64 {
        let leader = self.leader();
        self.running().into_iter().find(|id| *id != leader).unwrap()
    }

    /// A connection to a running node.
    pub(crate) fn client(&self, id: u64) -> Client {
        Client::open(self.client_address(id)).unwrap()
    }

    pub(crate) fn running(&self) -> Vec<u64> {
        self.nodes.iter().filter(|(_, node)| node.is_some()).map(|(id, _)| *id).collect()
    }

    /// A node that leads, by its own account; waits for one.
    pub(crate) fn leader(&self) -> u64 {
        wait_for("a leader", || {
            let statuses: Vec<Value> =
                self.running().into_iter().map(|id| self.client(id).status().unwrap()).collect();
            let leader = statuses.iter().find(|status| status["role"] == "leader");
            leader.map(|status| status["node"].as_u64().unwrap()).ok_or(format!("{statuses:?}"))
        })
    }

    /// Makes sure that a put is done, whoever leads.
    pub(crate) fn put(&self, request: &str, key: &str, value: &str) {
        self.put_at(self.running(), request, key, value);
    }

    /// [`Cluster::put`] by way of these nodes.
    pub(crate) fn put_at(&self, nodes: Vec<u64>, request: &str, key: &str, value: &str) {
        let mut turn = nodes.into_iter().cycle();
        wait_for("a put", || {
            let answer = Client::open(self.client_address(turn.next().unwrap()))
                .and_then(|mut client| client.put(request, key, value))
                .map_err(|error| error.to_string())?;
            if answer["ok"].is_object() { Ok(()) } else { Err(answer.to_string()) }
        });
    }

    /// The value that a linearizable read gives, at any running node.
    pub(crate) fn get(&self, key: &str) -> Option<String> {
        let mut turn = self.running().into_iter().cycle();
        wait_for("a get", || {
            let answer =
                self.client(turn.next().unwrap()).get(key).map_err(|error| error.to_string())?;
            match (&answer["ok"]["value"], &answer["error"]["code"]) {
                (Value::String(value), _) => Ok(Some(value.clone())),
                (_, code) if code == "not_found" => Ok(None),
                _ => Err(answer.to_string()),
            }
        })
    }

    /// Waits until all running nodes have applied the same, and checks that their states are equal.
    pub(crate) fn expect_equal_states(&self) {
        wait_for("equal states", || {
            let statuses: Vec<Value> =
                self.running().into_iter().map(|id| self.client(id).status().unwrap()).collect();
            let applied = |status: &Value| (status["applied"].clone(), status["last"].clone());
            if statuses.iter().any(|status| applied(status) != applied(&statuses[0])) {
                return Err(format!("{statuses:?}"));
            }
            let hashes: Vec<&Value> = statuses.iter().map(|status| &status["state_hash"]).collect();
            assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{statuses:?}");
            Ok(())
        });
    }
}

/// A loopback address that no other test uses as long as the listener lives, so that its ports are free, and stay free
/// while a node is down.
fn own_ip() -> (IpAddr, TcpListener) {
    static NEXT: AtomicU8 = AtomicU8::new(2);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(number < 255, "more clusters than this scheme has addresses for");
        let ip = IpAddr::V4(Ipv4Addr::new(127, number, high, low));
        if let Ok(reserved) = TcpListener::bind((ip, RESERVED_PORT)) {
            return (ip, reserved);
        }
    }
}
