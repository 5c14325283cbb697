//! Processes of a cluster, with a shell script in the daemon's place.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::cluster::wait::wait_for;
use harness::cluster::{Cluster, Error, Event, Options, Status, process};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const DEADLINE: Duration = Duration::from_secs(10);

/// The harness's own executable, which has the subcommand that supervises nodes.
fn harness() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_harness"))
}

/// Three nodes that behave in this way.
pub(crate) fn stand_ins(dir: &TempDir, behaviour: &str) -> Options {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/stand_in.sh");
    let raftd_args = vec![behaviour.into()];
    Options { raftd_args, supervisor: Some(harness()), ..Options::new(script, 3, dir.path()) }
}

pub(crate) type Events = UnboundedReceiver<(Instant, Event)>;

pub(crate) async fn start(options: &Options) -> (Result<Cluster, Error>, Events) {
    let (recorder, events) = unbounded_channel();
    (Cluster::start(options, Arc::new(recorder)).await, events)
}

/// All that was recorded.
pub(crate) fn drain(events: &mut Events) -> Vec<Event> {
    std::iter::from_fn(|| events.try_recv().ok()).map(|(_, event)| event).collect()
}

/// The state of a process as the kernel reports it, or none if it is gone.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Waits until a process is gone. An orphan may stay a zombie for as long as its new parent pleases: that is gone, too.
pub(crate) async fn gone(pid: u32) {
    let probe = || {
        std::future::ready(
            state(pid).map_or(Ok(()), |state| if state == 'Z' { Ok(()) } else { Err(state) }),
        )
    };
    wait_for(&format!("process {pid} to be gone"), DEADLINE, probe).await.unwrap();
}

pub(crate) fn pid(cluster: &Cluster, node: u64) -> u32 {
    cluster.view().borrow().nodes[&node].pid.unwrap()
}

/// The process that a stand-in started.
fn child(cluster: &Cluster, node: u64) -> u32 {
    let text = fs::read_to_string(cluster.node_dir(node).join("child")).unwrap();
    text.trim().parse().unwrap()
}

#[tokio::test]
async fn cluster_starts_with_files_of_its_own_for_each_node() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, mut events) = start(&stand_ins(&dir, "")).await;
    let cluster = cluster.unwrap();
    assert_eq!(cluster.view().borrow().with_status(Status::Up), [1, 2, 3]);
    let mut files = Vec::new();
    for node in cluster.nodes() {
        let config = fs::read_to_string(cluster.node_dir(node).join("cluster.toml")).unwrap();
        assert_eq!(config.matches("[[node]]").count(), 3);
        for (_, endpoint) in cluster.client_endpoints() {
            assert!(config.contains(&format!("client = \"{endpoint}\"")), "{config}");
        }
        for peer in cluster.nodes() {
            let address = cluster.link(node, peer).address();
            assert!(config.contains(&format!("peer = \"{address}\"")), "{config}");
        }
        files.push(config);
    }
    assert!(files[0] != files[1] && files[1] != files[2]);
    let events = drain(&mut events);
    let starts = events.iter().filter(|event| event.f() == "start").count();
    let roles = events.iter().filter(|event| event.f() == "role").count();
    assert_eq!((starts, roles), (3, 3), "{events:?}");
}

#[tokio::test]
async fn shut_down_cluster_ends_by_itself_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, mut events) = start(&stand_ins(&dir, "")).await;
    let cluster = cluster.unwrap();
    let processes: Vec<u32> =
        cluster.nodes().flat_map(|node| [pid(&cluster, node), child(&cluster, node)]).collect();
    assert!(!cluster.is_clean());
    cluster.pause(2).await.unwrap();
    let exits = cluster.shutdown().await.unwrap();
    assert_eq!(exits.len(), 3);
    assert!(exits.values().all(|exit| exit.expected && exit.how == "exit code 0"), "{exits:?}");
    assert!(cluster.is_clean());
    assert_eq!(drain(&mut events).iter().filter(|event| event.f() == "exit").count(), 3);
    for process in processes {
        gone(process).await;
    }
    assert!(cluster.shutdown().await.unwrap().is_empty());
}

#[tokio::test]
async fn node_that_ends_badly_when_asked_to_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, _) = start(&stand_ins(&dir, "--ends-badly")).await;
    let exits = cluster.unwrap().shutdown().await.unwrap();
    assert!(exits.values().all(|exit| !exit.expected && exit.how == "exit code 4"), "{exits:?}");
}

#[tokio::test]
async fn node_that_ignores_sigterm_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { nodes: 1, ..stand_ins(&dir, "--stubborn") };
    let (cluster, _) = start(&options).await;
    let cluster = cluster.unwrap();
    let child = child(&cluster, 1);
    let exits = cluster.shutdown().await.unwrap();
    assert!(exits[&1].expected && exits[&1].how == "signal 9", "{exits:?}");
    gone(child).await;
}

#[tokio::test]
async fn dropped_cluster_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, _) = start(&stand_ins(&dir, "--stubborn")).await;
    let cluster = cluster.unwrap();
    let mut processes: Vec<u32> =
        cluster.nodes().flat_map(|node| [pid(&cluster, node), child(&cluster, node)]).collect();
    cluster.pause(1).await.unwrap();
    drop(cluster);
    // The nodes themselves are reaped before drop returns.
    for process in processes.drain(..) {
        gone(process).await;
    }
}

#[tokio::test]
async fn node_that_does_not_start_is_reported_with_its_last_words() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, _) = start(&stand_ins(&dir, "--fail")).await;
    let error = cluster.err().unwrap().to_string();
    assert!(error.contains("exit code 3") && error.contains("no such luck"), "{error}");
}

#[tokio::test]
async fn missing_daemon_is_named_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, _) = start(&Options::new("/nonexistent/raftd", 3, dir.path())).await;
    let error = cluster.err().unwrap().to_string();
    assert!(error.contains("/nonexistent/raftd") && error.contains("--raftd PATH"), "{error}");
}

#[tokio::test]
async fn killed_node_is_down_until_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, mut events) = start(&stand_ins(&dir, "")).await;
    let cluster = cluster.unwrap();
    let (before, child) = (pid(&cluster, 2), child(&cluster, 2));
    assert!(cluster.kill(2).await.unwrap());
    assert_eq!(state(before), None);
    gone(child).await;
    assert!(!cluster.kill(2).await.unwrap(), "there was nothing to kill");
    assert_eq!(cluster.view().borrow().with_status(Status::Down), [2]);
    assert!(matches!(cluster.start_node(1).await, Err(Error::AlreadyRuns { node: 1 })));
    drain(&mut events);
    cluster.start_node(2).await.unwrap();
    assert_ne!(pid(&cluster, 2), before);
    let events = drain(&mut events);
    assert_eq!(events[0], Event::Start { node: 2, pid: pid(&cluster, 2) });
}

#[tokio::test]
async fn links_to_a_node_that_is_down_refuse() {
    let dir = tempfile::tempdir().unwrap();
    // Whoever has the port that a dead node had is not to be taken for it.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("--client-at={}", listener.local_addr().unwrap());
    let (cluster, _) = start(&Options { nodes: 1, ..stand_ins(&dir, &at) }).await;
    let cluster = cluster.unwrap();
    let endpoint = cluster.client_endpoints()[0].1;
    let connection = TcpStream::connect(endpoint).await.unwrap();
    let (_accepted, _) = listener.accept().await.unwrap();
    drop(connection);
    cluster.kill(1).await.unwrap();
    let mut refused = TcpStream::connect(endpoint).await.unwrap();
    let read = tokio::time::timeout(DEADLINE, refused.read(&mut [0; 1])).await;
    let error = read.expect("still open").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(cluster.client_link(1).traffic().unreachable, 1);
    cluster.start_node(1).await.unwrap();
    let _connection = TcpStream::connect(endpoint).await.unwrap();
    listener.accept().await.unwrap();
}

#[tokio::test]
async fn node_that_ends_unasked_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, mut events) = start(&stand_ins(&dir, "--panics")).await;
    let cluster = cluster.unwrap();
    let left = child(&cluster, 3);
    let kill = Command::new("kill").args(["-9", &pid(&cluster, 3).to_string()]).status();
    assert!(kill.unwrap().success());
    let down = |view: &harness::cluster::View| {
        if view.with_status(Status::Down) == [3] { Ok(()) } else { Err(view.to_string()) }
    };
    cluster.wait_until("n3 to be down", DEADLINE, down).await.unwrap();
    let events = drain(&mut events);
    let ended = |event: &Event| matches!(event, Event::Exit { node: 3, exit } if !exit.expected && exit.how == "signal 9");
    assert!(events.iter().any(ended), "{events:?}");
    let panics = events.iter().filter(|event| event.f() == "panic").count();
    assert_eq!(panics, 3, "{events:?}");
    gone(left).await;
    cluster.restore().await.unwrap();
    assert_eq!(cluster.view().borrow().with_status(Status::Up), [1, 2, 3]);
}

#[tokio::test]
async fn paused_node_is_stopped_until_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, _) = start(&stand_ins(&dir, "")).await;
    let cluster = cluster.unwrap();
    let begin = Instant::now();
    assert!(cluster.pause(1).await.unwrap());
    assert_eq!(state(pid(&cluster, 1)), Some('T'));
    assert_eq!(cluster.view().borrow().with_status(Status::Paused), [1]);
    let stopped = cluster.resume(1).await.unwrap();
    assert!(stopped > Duration::ZERO && stopped <= begin.elapsed());
    assert_ne!(state(pid(&cluster, 1)), Some('T'));
    assert_eq!(cluster.view().borrow().with_status(Status::Up), [1, 2, 3]);
    assert_eq!(cluster.resume(1).await.unwrap(), Duration::ZERO, "it was not paused");
}

#[tokio::test]
async fn node_that_somebody_else_continued_was_not_stopped_all_the_time() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, _) = start(&stand_ins(&dir, "")).await;
    let cluster = cluster.unwrap();
    cluster.pause(1).await.unwrap();
    let continued = Command::new("kill").args(["-CONT", &pid(&cluster, 1).to_string()]).status();
    assert!(continued.unwrap().success());
    assert_eq!(cluster.resume(1).await.unwrap(), Duration::ZERO);
}

#[tokio::test]
async fn supervised_node_is_the_process_that_was_started() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, _) = start(&stand_ins(&dir, "")).await;
    let cluster = cluster.unwrap();
    let command = fs::read_to_string(format!("/proc/{}/cmdline", pid(&cluster, 1))).unwrap();
    assert!(command.contains("stand_in.sh") && !command.contains("supervise"), "{command:?}");
    assert!(cluster.kill(1).await.unwrap());
}

#[tokio::test]
async fn supervised_node_dies_with_a_harness_that_is_killed() {
    // A shell in the harness's place starts a node as the harness does, says which, and stays.
    let script = format!(
        "\"$0\" {} --parent $$ -- sleep 60 </dev/null >/dev/null 2>&1 & echo $! >pid.new; mv pid.new pid; wait",
        process::SUPERVISE_NODE
    );
    let dir = tempfile::tempdir().unwrap();
    let mut shell = Command::new("/bin/sh")
        .args(["-c", &script])
        .arg(harness())
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let became_sleep = || {
        let text = fs::read_to_string(dir.path().join("pid")).unwrap_or_default();
        let pid: u32 = text.trim().parse().unwrap_or_default();
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        std::future::ready(if name.trim() == "sleep" {
            Ok(pid)
        } else {
            Err(format!("{pid}: {name:?}"))
        })
    };
    let pid = wait_for("the node to be started", DEADLINE, became_sleep).await.unwrap();
    shell.kill().unwrap();
    shell.wait().unwrap();
    gone(pid).await;
}

#[tokio::test]
async fn supervised_node_of_a_harness_that_is_gone_does_not_start() {
    let mut command = Command::new(harness());
    command.args([process::SUPERVISE_NODE, "--parent", "1", "--", "echo", "started"]);
    let output = command.output().unwrap();
    assert!(!output.status.success());
    assert_eq!(output.stdout, b"");
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("process 1") && message.contains("gone"), "{message}");
}
