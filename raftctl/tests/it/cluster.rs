//! The command against real `raftd` processes.
//!
//! `raftd` is another package's binary: it is there in `cargo test --workspace`, and after `cargo build -p raftd`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use raftctl::{Client, Options};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::command::{Run, raftctl, run};

/// Longer than any election takes on a loaded machine.
const TIMEOUT: &str = "2m";

/// A cluster, its files and its processes; all gone when dropped.
pub(crate) struct Cluster {
    dir: TempDir,
    ip: IpAddr,
    nodes: Vec<Option<Child>>,
}

impl Cluster {
    /// None, with a word on why, if there is no `raftd` to start.
    pub(crate) fn start(size: u8) -> Option<Cluster> {
        let raftd = raftd()?;
        let dir = TempDir::new().unwrap();
        let mut cluster = Cluster { dir, ip: own_ip(), nodes: Vec::new() };
        // Patient, so that a loaded machine does not make them campaign all the time.
        let timing = "heartbeat_ms = 100\nelection_timeout_ms = [1000, 2000]\n";
        let mut file = format!("cluster = \"test\"\n{timing}");
        for id in 1..=size {
            file += &cluster.section(id);
            cluster.nodes.push(None);
        }
        std::fs::write(cluster.config(), file).unwrap();
        (0..cluster.nodes.len()).for_each(|at| cluster.start_node(&raftd, at));
        Some(cluster)
    }

    /// Starts a node that is to be added, and waits until it listens; clients do not hear of it by the cluster file.
    pub(crate) fn start_joining(&mut self) -> u8 {
        let id = u8::try_from(self.nodes.len() + 1).unwrap();
        let founders = std::fs::read_to_string(self.config()).unwrap();
        let file = format!("{founders}{}joins = true\n", self.section(id));
        std::fs::write(self.dir.path().join(format!("joining-{id}.toml")), file).unwrap();
        self.nodes.push(None);
        self.start_node(&raftd().unwrap(), usize::from(id) - 1);
        let deadline = Instant::now() + Duration::from_mins(2);
        while TcpStream::connect(self.client(id)).is_err() {
            assert!(Instant::now() < deadline, "node {id} does not listen");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        id
    }

    fn section(&self, id: u8) -> String {
        let (peer, client) = (self.peer(id), self.client(id));
        format!("[[node]]\nid = {id}\npeer = \"{peer}\"\nclient = \"{client}\"\n")
    }

    /// Where members reach a node.
    pub(crate) fn peer(&self, id: u8) -> String {
        SocketAddr::new(self.ip, 7100 + u16::from(id)).to_string()
    }

    /// Where clients reach a node.
    pub(crate) fn client(&self, id: u8) -> String {
        SocketAddr::new(self.ip, 7200 + u16::from(id)).to_string()
    }

    fn start_node(&mut self, raftd: &PathBuf, at: usize) {
        let id = (at + 1).to_string();
        let log = std::fs::File::create(self.dir.path().join(format!("log-{id}"))).unwrap();
        let joining = self.dir.path().join(format!("joining-{id}.toml"));
        let config = if joining.exists() { joining } else { self.config() };
        let mut command = Command::new(raftd);
        command.arg("--config").arg(config).args(["--id", &id]);
        command.arg("--data").arg(self.data(at)).stdin(Stdio::null()).stderr(log);
        self.nodes[at] = Some(command.spawn().unwrap());
    }

    fn restart_all(&mut self) {
        let raftd = raftd().unwrap();
        (0..self.nodes.len()).for_each(|at| self.kill(at));
        (0..self.nodes.len()).for_each(|at| self.start_node(&raftd, at));
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, at: usize) {
        if let Some(mut child) = self.nodes[at].take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("cluster.toml")
    }

    fn data(&self, at: usize) -> PathBuf {
        self.dir.path().join(format!("data-{}", at + 1))
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        let config = self.config();
        run(&mut raftctl(
            &[&["--config", config.to_str().unwrap(), "--timeout", TIMEOUT], args].concat(),
        ))
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        self.run(&[&["--output", "json"], args].concat()).json()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..self.nodes.len()).for_each(|at| self.kill(at));
        if std::thread::panicking() {
            for id in 1..=self.nodes.len() {
                let log = std::fs::read_to_string(self.dir.path().join(format!("log-{id}")));
                eprintln!("--- log of node {id}\n{}", log.unwrap_or_default());
            }
        }
    }
}

/// The binary beside this test's own.
fn raftd() -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_BIN_EXE_raftctl")).with_file_name("raftd");
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is missing", path.display());
    eprintln!("SKIPPED: {} is missing; cargo build -p raftd makes it", path.display());
    None
}

/// A loopback address that no other test uses, so that its ports are free, and stay free while a node is down.
fn own_ip() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(2);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, NEXT.fetch_add(1, Ordering::Relaxed), high, low))
}

#[test]
fn three_nodes_serve_every_operation() {
    let Some(cluster) = Cluster::start(3) else { return };
    cluster.run(&["get", "colour"]).exits(1).complains(&["there is no such key"]);
    cluster.run(&["put", "colour", "blue"]).exits(0);
    cluster.run(&["get", "colour"]).exits(0).prints("blue\n");
    cluster.run(&["cas", "colour", "blue", "green"]).exits(0);
    cluster.run(&["cas", "colour", "blue", "red"]).exits(1).complains(&["it is \"green\""]);
    cluster.run(&["cas", "colour", "--absent", "red"]).exits(1);
    assert_eq!(cluster.json(&["append", "list", "a\u{1}ü"])["length"], 4);
    assert_eq!(cluster.json(&["incr", "visits", "-3"])["number"], -3);
    cluster.run(&["incr", "colour"]).exits(1).complains(&["integer"]);
    let txn = r#"{"compare":[{"key":"colour","expect":"green"},{"key":"nothing"}],
        "then":[{"incr":{"key":"visits","by":5}},{"get":{"key":"list"}}]}"#;
    cluster.run(&["txn", txn]).exits(0);
    cluster.run(&["get", "visits"]).exits(0).prints("2\n");
    cluster.run(&["del", "colour"]).exits(0);
    cluster.run(&["del", "colour"]).exits(1);
    let all = cluster.json(&["status"]);
    let voters: Vec<&Value> = (0..3).map(|at| &all[at]["status"]["voters"]).collect();
    assert!(voters.iter().all(|voters| **voters == serde_json::json!([1, 2, 3])), "{all}");
}

#[test]
fn every_node_serves_reads_and_says_if_it_does_not_lead() {
    let Some(cluster) = Cluster::start(3) else { return };
    cluster.run(&["put", "colour", "blue"]).exits(0);
    for node in ["1", "2", "3"] {
        cluster.run(&["get", "colour", "--node", node]).exits(0).prints("blue\n");
        let written = cluster.json(&["put", "colour", "blue", "--node", node]);
        match written["error"]["code"].as_str() {
            None => assert_eq!(written["node"].as_u64(), node.parse().ok(), "{written}"),
            Some(code) => assert_eq!(code, "not_leader", "{written}"),
        }
    }
}

#[test]
fn write_goes_on_when_the_leader_is_killed() {
    let Some(mut cluster) = Cluster::start(3) else { return };
    let leader = cluster.json(&["put", "k", "1"])["node"].as_u64().unwrap();
    cluster.kill(usize::try_from(leader).unwrap() - 1);
    let answer = cluster.json(&["put", "k", "2"]);
    assert_ne!(answer["node"], leader, "{answer}");
    cluster.run(&["get", "k"]).exits(0).prints("2\n");
}

#[test]
fn repeated_request_id_applies_once_even_after_kill_and_restart() {
    let Some(mut cluster) = Cluster::start(3) else { return };
    let first = cluster.json(&["incr", "visits", "5"]);
    let request = first["request"].as_str().unwrap().to_owned();
    let again = || cluster.json(&["--request-id", &request, "incr", "visits", "5"]);
    assert_eq!((&again()["index"], &again()["number"]), (&first["index"], &first["number"]));
    cluster.restart_all();
    let again = cluster.json(&["--request-id", &request, "incr", "visits", "5"]);
    assert_eq!((&again["index"], &again["number"]), (&first["index"], &first["number"]));
    cluster.run(&["get", "visits"]).exits(0).prints("5\n");
}

#[tokio::test]
async fn concurrent_increments_apply_once_each_though_the_leader_is_killed() {
    const CALLERS: u64 = 16;
    const CALLS: u64 = 25;
    let Some(mut cluster) = Cluster::start(3) else { return };
    let members = raftd::config::Cluster::load(&cluster.config()).unwrap();
    let timeout = Duration::from_mins(2);
    let client = Client::new(Options { timeout, ..Options::for_cluster(&members) }).unwrap();
    let leader = client.put("other", "v").await.unwrap().node;
    let mut callers = JoinSet::new();
    let (progress, mut answers) = mpsc::unbounded_channel();
    for _ in 0..CALLERS {
        let (client, progress) = (client.clone(), progress.clone());
        callers.spawn(async move {
            for _ in 0..CALLS {
                progress.send(client.incr("n", 1).await.unwrap().number.unwrap()).unwrap();
            }
        });
    }
    drop(progress);
    let mut numbers = BTreeSet::new();
    while let Some(number) = answers.recv().await {
        assert!(numbers.insert(number), "{number} was counted twice");
        if numbers.len() == 100 {
            cluster.kill(usize::try_from(leader).unwrap() - 1);
        }
    }
    callers.join_all().await;
    // Every increment gave a number of its own, up to their count: none was lost, none applied twice.
    assert_eq!(numbers.len(), usize::try_from(CALLERS * CALLS).unwrap());
    assert_eq!(numbers.last(), i64::try_from(CALLERS * CALLS).ok().as_ref());
}

#[test]
fn inspect_reads_a_stopped_nodes_files_and_finds_damage() {
    let Some(mut cluster) = Cluster::start(1) else { return };
    for n in 0..20 {
        cluster.run(&["put", "key", &format!("value-{n}")]).exits(0);
    }
    cluster.kill(0);
    let data = cluster.data(0);
    let data = data.to_str().unwrap();
    let run_inspect = |args: &[&str]| run(&mut raftctl(&[&["inspect", data], args].concat()));
    let summary = run_inspect(&[]).exits(0);
    for part in ["node 1 of cluster test", "verdict   intact"] {
        assert!(summary.stdout.contains(part), "{}", summary.stdout);
    }
    let records = run_inspect(&["--records", "--output", "json"]).exits(0);
    let lines: Vec<Value> =
        records.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let puts = lines.iter().filter(|line| line["record"]["op"]["put"]["key"] == "key").count();
    assert_eq!(puts, 20, "{}", records.stdout);
    assert_eq!(lines.last().unwrap()["node"], 1);

    let segment = std::fs::read_dir(cluster.data(0).join("log")).unwrap().next().unwrap();
    let path = segment.unwrap().path();
    let damaged = std::fs::read_to_string(&path).unwrap().replacen("value-7", "valve-7", 1);
    std::fs::write(&path, damaged).unwrap();
    let summary = run_inspect(&[]).exits(1).complains(&["checksum", ".log, line "]);
    assert!(summary.stdout.contains("verdict   DAMAGED"), "{}", summary.stdout);
}

#[test]
fn bench_measures_a_real_cluster() {
    let Some(cluster) = Cluster::start(3) else { return };
    let args = ["bench", "--duration", "1s", "--warmup", "50ms", "--keys", "50"];
    for mix in ["put", "mixed"] {
        let json = cluster.json(&[&args[..], &["--mix", mix, "--target", "all"]].concat());
        assert!(json["operations"].as_u64().unwrap() > 0, "{json}");
        assert_eq!(json["nodes"].as_array().unwrap().len(), 3, "{json}");
        assert!(json["nodes"][0]["syncs_per_second"].as_f64().unwrap() > 0.0, "{json}");
    }
}
