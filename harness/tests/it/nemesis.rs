//! Faults against the daemon itself: every kind must prove that it bit, and leave a cluster that works. And nothing may
//! be left of one whose harness is killed.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::io::{BufRead, Read};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use harness::cluster::wait::wait_for;
use harness::cluster::{Cluster, Event, Options, Status, View};
use harness::nemesis::schedule::{self, plan};
use harness::nemesis::{Kind, Lane, Nemesis};
use raftctl::{Client, Consistency, Endpoint};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use crate::cluster::drain;
use crate::support::{one_cluster_at_a_time, processes_about, raftd};

const DEADLINE: Duration = Duration::from_secs(20);

/// Room for one round of all kinds, and to try again what did not bite at once.
const TIME_LIMIT: Duration = Duration::from_secs(40);

/// There are more kinds of disk fault, and damage is made up for before the next.
const DISK_TIME_LIMIT: Duration = Duration::from_secs(40);

/// A client that asks one node how it is, again and again, and comes back when it is thrown out.
async fn ask_for_ever(address: SocketAddr) {
    let mut ticks = interval(Duration::from_millis(20));
    loop {
        ticks.tick().await;
        if let Ok(mut stream) = TcpStream::connect(address).await {
            let (reader, mut writer) = stream.split();
            let mut lines = BufReader::new(reader).lines();
            let mut say = "{\"hello\":{\"protocol\":1}}\n";
            while writer.write_all(say.as_bytes()).await.is_ok() {
                let answer = timeout(Duration::from_millis(200), lines.next_line()).await;
                if !matches!(answer, Ok(Ok(Some(_)))) {
                    break;
                }
                say = "{\"tag\":1,\"op\":\"status\"}\n";
                ticks.tick().await;
            }
        }
    }
}

/// All nodes run, and one of them leads.
fn works(view: &View) -> Result<(), String> {
    let up = view.with_status(Status::Up).len();
    if up == view.nodes.len() && view.leader().is_some() { Ok(()) } else { Err(view.to_string()) }
}

fn faults_that_bit(kinds: &[Kind], events: &[Event]) -> BTreeMap<&'static str, u64> {
    let mut bit: BTreeMap<&'static str, u64> = kinds.iter().map(|kind| (kind.name(), 0)).collect();
    for event in events {
        if let Event::Fault { f, fault } = event {
            *bit.get_mut(f).unwrap() += u64::from(fault.proof > 0);
        }
    }
    bit
}

/// Writes for ever, to whoever takes it.
async fn write_for_ever(client: Client) {
    let mut ticks = interval(Duration::from_millis(2));
    loop {
        ticks.tick().await;
        // Amid faults, many are not done.
        client.put("busy", "so that there is something to sync").await.ok();
    }
}

#[test]
fn every_kind_of_fault_bites_and_the_cluster_works_again() {
    let of = |lanes: &[Lane]| {
        Kind::ALL.into_iter().filter(|kind| lanes.contains(&kind.lane())).collect::<Vec<_>>()
    };
    check_bites(&of(&[Lane::Process, Lane::Network, Lane::Cluster]), TIME_LIMIT, false);
    match harness::disk::check(env!("CARGO_BIN_EXE_harness").as_ref()) {
        Ok(()) => check_bites(&of(&[Lane::Disk]), DISK_TIME_LIMIT, true),
        Err(why) => eprintln!("skipped: {why}"),
    }
}

fn check_bites(kinds: &[Kind], limit: Duration, disks: bool) {
    let _alone = one_cluster_at_a_time();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let (recorder, mut events) = unbounded_channel();
        let recorder = Arc::new(recorder);
        let options = Options {
            supervisor: Some(env!("CARGO_BIN_EXE_harness").into()),
            disks,
            // So that a follower is soon so far behind that it needs a snapshot.
            snapshot_log_bytes: Some(20_000),
            ..Options::new(raftd(), 5, dir.path())
        };
        let cluster = Arc::new(Cluster::start(&options, recorder.clone()).await.unwrap());
        let mut clients = JoinSet::new();
        for (_, address) in cluster.client_endpoints() {
            clients.spawn(ask_for_ever(address));
        }
        clients.spawn(write_for_ever(client(&cluster)));
        cluster.wait_until("a leader", DEADLINE, works).await.unwrap();

        let nemesis = Nemesis::new(Arc::clone(&cluster), recorder);
        let schedule = plan(&schedule::Options::new(kinds.to_vec(), 1, 5, limit));
        let (_keep, stop) = watch::channel(false);
        nemesis.run(&schedule, stop).await;
        nemesis.heal_all().await.unwrap();
        cluster.wait_until("a leader again", DEADLINE, works).await.unwrap();

        let exits = cluster.shutdown().await.unwrap();
        assert!(exits.len() == 5 && exits.values().all(|exit| exit.expected), "{exits:?}");
        assert!(cluster.is_clean());
        let events = drain(&mut events);
        let bit = faults_that_bit(kinds, &events);
        assert!(bit.values().all(|times| *times > 0), "{bit:?} of {events:#?}");
        let odd = |event: &&Event| match event {
            Event::Panic { .. } => true,
            Event::Exit { exit, .. } => !exit.expected,
            // Some of the kinds do damage disks.
            Event::Damaged { .. }
            | Event::Start { .. }
            | Event::Role { .. }
            | Event::Fault { .. } => false,
        };
        assert_eq!(events.iter().filter(odd).collect::<Vec<_>>(), Vec::<&Event>::new());
        if std::env::var_os("SHOW").is_some() {
            for event in &events {
                eprintln!("{} {} {}", event.process(), event.f(), event.value());
            }
        }
    });
}

fn client(cluster: &Cluster) -> Client {
    let endpoints = cluster.client_endpoints().into_iter();
    let endpoints = endpoints.map(|(node, address)| Endpoint::of(node, address.to_string()));
    Client::new(raftctl::Options::new(endpoints)).unwrap()
}

/// Writes key after key until that fails; says which were acknowledged.
async fn write_until_failure(client: Client, writer: u64, acknowledged: UnboundedSender<String>) {
    for number in 0.. {
        let key = format!("{writer}-{number}");
        if client.put(&key, &key).await.is_err() || acknowledged.send(key).is_err() {
            return;
        }
    }
}

/// SIGKILL leaves alone what the kernel has: this is about recovery, not about fsync.
#[test]
fn cluster_killed_at_once_has_every_acknowledged_write_when_it_is_back() {
    let _alone = one_cluster_at_a_time();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            supervisor: Some(env!("CARGO_BIN_EXE_harness").into()),
            ..Options::new(raftd(), 3, dir.path())
        };
        let (recorder, _events) = unbounded_channel();
        let cluster = Arc::new(Cluster::start(&options, Arc::new(recorder)).await.unwrap());
        let mut acknowledged = Vec::new();
        for round in 0..3 {
            cluster.wait_until("a leader", DEADLINE, works).await.unwrap();
            let (sender, mut keys) = unbounded_channel();
            let mut writers = JoinSet::new();
            for writer in 0..4 {
                let writing =
                    write_until_failure(client(&cluster), 10 * round + writer, sender.clone());
                writers.spawn(writing);
            }
            for _ in 0..200 {
                let key = timeout(DEADLINE, keys.recv()).await.expect("it takes no writes");
                acknowledged.push(key.unwrap());
            }
            let mut kills = JoinSet::new();
            for node in cluster.nodes() {
                let cluster = Arc::clone(&cluster);
                kills.spawn(async move { cluster.kill(node).await.unwrap() });
            }
            assert_eq!(kills.join_all().await, [true; 3]);
            writers.abort_all();
            drop(sender);
            while let Some(key) = keys.recv().await {
                acknowledged.push(key);
            }
            cluster.restore().await.unwrap();
        }
        let client = client(&cluster);
        for key in &acknowledged {
            let value = client.get(key, Consistency::Linearizable).await.unwrap().value;
            assert_eq!(value.as_ref(), Some(key), "lost, of {}", acknowledged.len());
        }
        assert!(cluster.shutdown().await.unwrap().values().all(|exit| exit.expected));
    });
}

#[test]
fn harness_that_is_killed_leaves_no_daemon() {
    let _alone = one_cluster_at_a_time();
    let dir = tempfile::tempdir().unwrap();
    let mut harness = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["cluster", "--nodes", "3", "--raftd"])
        .arg(raftd())
        .env("TMPDIR", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Kept to the end: a harness that can no longer print ends by itself.
    let mut stdout = std::io::BufReader::new(harness.stdout.take().unwrap());
    let up = stdout.by_ref().lines().any(|line| line.unwrap().contains("nodes are up"));
    assert!(up, "it ended: {:?}", harness.wait());
    let daemons = || {
        let all = processes_about(dir.path());
        all.into_iter().filter(|process| process.contains("--config")).collect::<Vec<_>>()
    };
    assert_eq!(daemons().len(), 3, "{:?}", daemons());
    harness.kill().unwrap();
    harness.wait().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let gone = || {
        let left = daemons();
        std::future::ready(if left.is_empty() { Ok(()) } else { Err(left.join("; ")) })
    };
    runtime.block_on(wait_for("the daemons to be gone", DEADLINE, gone)).unwrap();
}
