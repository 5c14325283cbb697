//! Faults and their proofs, with a shell script in the daemon's place: what needs a network that is used is tested with
//! the daemon itself.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::sync::Arc;
use std::time::Duration;

use harness::cluster::{Cluster, Event, Options, Status};
use harness::nemesis::schedule::{Aim, Planned, Schedule};
use harness::nemesis::{Course, DiskFault, Kind, Nemesis};
use history_checker::history::Fault;
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::watch;

use crate::cluster::{Events, drain, pid, stand_ins, start, state};

const DEADLINE: Duration = Duration::from_secs(20);

/// A schedule of one fault, at once, with room for `attempts`.
fn only(kind: Kind, duration_ms: u64, attempts: u64) -> Schedule {
    let planned = Planned {
        kind,
        start: Duration::ZERO,
        duration: Duration::from_millis(duration_ms),
        aim: Aim::Any,
        count: 1,
        seed: 1,
        moment: None,
    };
    // Each try waits for a leader that there is not, holds on to bite, and leaves a gap.
    let end = Duration::from_millis((1000 + 2 * duration_ms + 300) * attempts);
    Schedule::of([planned], end, 3)
}

async fn bench() -> (tempfile::TempDir, Arc<Cluster>, Nemesis, Events) {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, _) = start(&stand_ins(&dir, "")).await;
    let cluster = Arc::new(cluster.unwrap());
    let (recorder, events) = unbounded_channel();
    let nemesis = Nemesis::new(Arc::clone(&cluster), Arc::new(recorder));
    (dir, cluster, nemesis, events)
}

fn faults(events: &mut Events) -> Vec<(&'static str, Fault)> {
    let fault = |event| match event {
        Event::Fault { f, fault } => Some((f, fault)),
        Event::Start { .. }
        | Event::Role { .. }
        | Event::Panic { .. }
        | Event::Damaged { .. }
        | Event::Exit { .. } => None,
    };
    drain(events).into_iter().filter_map(fault).collect()
}

#[tokio::test]
async fn kill_proves_itself_by_processes_killed_and_starts_them_again() {
    let (_dir, cluster, nemesis, mut events) = bench().await;
    let before = [1, 2, 3].map(|node| pid(&cluster, node));
    let (_keep, stop) = watch::channel(false);
    nemesis.run(&only(Kind::Kill, 50, 1), stop).await;
    let faults = faults(&mut events);
    let [(f, start), (_, end)] = &faults[..] else { panic!("{faults:?}") };
    assert_eq!((*f, start.phase.as_str(), start.outcome.as_str()), ("kill", "start", "installed"));
    let node = start.nodes[0];
    assert_eq!(start.text, format!("kill n{node}"));
    assert_eq!((end.phase.as_str(), end.fault, end.proof), ("stop", start.fault, 1));
    assert_eq!(end.unit, "processes killed");
    let after = [1, 2, 3].map(|node| pid(&cluster, node));
    let changed: Vec<u64> = (1..)
        .zip(before.iter().zip(after))
        .filter(|(_, (a, b))| *a != b)
        .map(|(node, _)| node)
        .collect();
    assert_eq!(changed, [node]);
}

/// The proof of such a fault, and which nodes have another process afterwards.
async fn proof_of(kind: Kind, duration_ms: u64, stand_in: &str) -> (u64, Vec<u64>) {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, _) = start(&stand_ins(&dir, stand_in)).await;
    let cluster = Arc::new(cluster.unwrap());
    let (recorder, mut events) = unbounded_channel();
    let nemesis = Nemesis::new(Arc::clone(&cluster), Arc::new(recorder));
    let before = [1, 2, 3].map(|node| pid(&cluster, node));
    let (_keep, stop) = watch::channel(false);
    nemesis.run(&only(kind, duration_ms, 1), stop).await;
    let after = [1, 2, 3].map(|node| pid(&cluster, node));
    let changed = (1..).zip(before.iter().zip(after)).filter(|(_, (a, b))| *a != b);
    let faults = faults(&mut events);
    // What has no proof is tried again.
    let [(f, _), (_, end), ..] = &faults[..] else { panic!("{faults:?}") };
    assert_eq!((*f, end.phase.as_str()), (kind.name(), "stop"));
    for node in [1, 2, 3] {
        assert_ne!(state(pid(&cluster, node)), Some('T'), "{kind} leaves nobody stopped");
    }
    (end.proof, changed.map(|(node, _)| node).collect())
}

#[tokio::test]
async fn terminate_counts_nodes_that_ended_as_they_should() {
    let (ended, changed) = proof_of(Kind::Terminate, 50, "").await;
    assert_eq!((ended, changed.len()), (1, 1));
    let (ended, changed) = proof_of(Kind::Terminate, 50, "--ends-badly").await;
    assert_eq!((ended, changed.len()), (0, 1), "that is no proper end");
}

#[tokio::test]
async fn kill_all_leaves_nobody() {
    assert_eq!(proof_of(Kind::KillAll, 50, "").await, (3, vec![1, 2, 3]));
}

#[tokio::test]
async fn storm_kills_one_node_often_and_leaves_it_running() {
    let (killed, changed) = proof_of(Kind::Course(Course::RestartStorm), 2000, "").await;
    assert!(killed >= 2 && changed.len() == 1, "{killed} killed, of {changed:?}");
}

#[tokio::test]
async fn starved_node_is_stopped_most_of_the_time_and_runs_afterwards() {
    let (ms, changed) = proof_of(Kind::Course(Course::Starve), 1000, "").await;
    assert!(ms >= 100 && changed.is_empty(), "{ms} ms");
}

#[tokio::test]
async fn rolling_restart_goes_on_only_when_a_node_takes_part_again() {
    // A stand-in never does, so the first is the last.
    let (restarted, changed) = proof_of(Kind::Course(Course::RollingRestart), 4000, "").await;
    assert_eq!((restarted, changed.len()), (1, 1));
}

#[tokio::test]
async fn upgrade_counts_processes_that_the_kernel_says_are_of_the_other_build() {
    // What runs a stand-in is the shell. So it is tried again, with other nodes.
    let (replaced, changed) = proof_of(Kind::Course(Course::Upgrade), 4000, "").await;
    assert!(replaced == 0 && !changed.is_empty(), "{replaced} of {changed:?}");
}

#[tokio::test]
async fn clock_of_a_node_that_does_not_tell_the_time_proves_nothing() {
    if harness::cluster::faketime::library().is_err() {
        eprintln!("skipped: there is no libfaketime");
        return;
    }
    for course in [Course::ClockStep, Course::ClockStrobe] {
        let (proof, _) = proof_of(Kind::Course(course), 100, "").await;
        assert_eq!(proof, 0, "{course:?}");
    }
}

#[tokio::test]
async fn wishes_that_nobody_hears_prove_nothing() {
    for course in [Course::Transfer, Course::Snapshot, Course::SwapMember] {
        let (proof, changed) = proof_of(Kind::Course(course), 100, "").await;
        assert_eq!((proof, changed.len()), (0, 0), "{course:?}");
    }
}

#[tokio::test]
async fn pause_proves_itself_by_milliseconds_stopped() {
    let (_dir, cluster, nemesis, mut events) = bench().await;
    let (_keep, stop) = watch::channel(false);
    let schedule = only(Kind::Pause, 100, 1);
    let run = nemesis.run(&schedule, stop);
    let look = async {
        let paused = |view: &harness::cluster::View| {
            view.with_status(Status::Paused).first().copied().ok_or_else(|| view.to_string())
        };
        let node = cluster.wait_until("a paused node", DEADLINE, paused).await.unwrap();
        (node, state(pid(&cluster, node)))
    };
    let ((), (node, seen)) = tokio::join!(run, look);
    assert_eq!(seen, Some('T'));
    assert_ne!(state(pid(&cluster, node)), Some('T'));
    let faults = faults(&mut events);
    let [(_, start), (_, end)] = &faults[..] else { panic!("{faults:?}") };
    assert_eq!(start.nodes, [node]);
    assert!(end.proof >= 90 && end.unit == "ms stopped", "{end:?}");
}

#[tokio::test]
async fn fault_without_effect_has_no_proof_and_is_tried_again() {
    // Nobody uses this network, so cutting it has no effect.
    let (_dir, cluster, nemesis, mut events) = bench().await;
    let (_keep, stop) = watch::channel(false);
    nemesis.run(&only(Kind::Halves, 20, 3), stop).await;
    let faults = faults(&mut events);
    assert!(faults.len() >= 4, "{faults:?}");
    for pair in faults.chunks(2) {
        assert_eq!((pair[0].1.phase.as_str(), pair[1].1.phase.as_str()), ("start", "stop"));
        assert_eq!((pair[1].1.proof, pair[1].1.unit.as_str()), (0, "bytes dropped"));
    }
    for (from, to) in [(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)] {
        assert_eq!(cluster.link(from, to).mode(), harness::cluster::proxy::Mode::Pass);
    }
}

#[tokio::test]
async fn fault_without_a_target_is_skipped_with_the_reason() {
    let (_dir, _cluster, nemesis, mut events) = bench().await;
    let (_keep, stop) = watch::channel(false);
    let mut schedule = only(Kind::IsolateLeader, 20, 1);
    schedule.left_out = vec![Kind::Ring];
    nemesis.run(&schedule, stop).await;
    let faults = faults(&mut events);
    assert_eq!((faults[0].0, faults[0].1.outcome.as_str()), ("ring", "skipped: it takes 3 nodes"));
    assert_eq!(faults[1].1.outcome, "skipped: nobody leads");
    assert!(faults.iter().all(|(_, fault)| fault.phase == "start"), "{faults:?}");
}

#[tokio::test]
async fn stopped_nemesis_ends_its_fault_at_once() {
    let (_dir, cluster, nemesis, mut events) = bench().await;
    let (stopper, stop) = watch::channel(false);
    let schedule = only(Kind::Pause, 3_600_000, 1);
    let run = nemesis.run(&schedule, stop);
    let stopping = async {
        let paused = |view: &harness::cluster::View| {
            if view.with_status(Status::Paused).is_empty() { Err(view.to_string()) } else { Ok(()) }
        };
        cluster.wait_until("a paused node", DEADLINE, paused).await.unwrap();
        stopper.send(true).unwrap();
    };
    tokio::time::timeout(DEADLINE, async { tokio::join!(run, stopping) }).await.unwrap();
    assert_eq!(faults(&mut events).len(), 2);
    assert_eq!(cluster.view().borrow().with_status(Status::Up), [1, 2, 3]);
}

#[tokio::test]
async fn cancelled_nemesis_is_healed() {
    let (_dir, cluster, nemesis, mut events) = bench().await;
    let (_keep, stop) = watch::channel(false);
    let schedule = Schedule {
        network: only(Kind::Bridge, 3_600_000, 1).network,
        ..only(Kind::Kill, 3_600_000, 1)
    };
    let down = |view: &harness::cluster::View| {
        if view.with_status(Status::Down).is_empty() { Err(view.to_string()) } else { Ok(()) }
    };
    let both = async {
        cluster.wait_until("a node to be down", DEADLINE, down).await.unwrap();
        let active = || {
            let active = nemesis.active_faults();
            std::future::ready(if active.len() == 2 { Ok(()) } else { Err(active.join(", ")) })
        };
        harness::cluster::wait::wait_for("two faults", DEADLINE, active).await.unwrap();
    };
    tokio::select! {
        () = nemesis.run(&schedule, stop) => panic!("it ran to its end"),
        () = both => {}
    }
    assert_eq!(faults(&mut events).len(), 2);
    nemesis.heal_all().await.unwrap();
    let ended = faults(&mut events);
    assert_eq!(ended.len(), 2, "{ended:?}");
    assert!(ended.iter().all(|(_, fault)| fault.phase == "stop"));
    assert!(nemesis.active_faults().is_empty());
    assert_eq!(cluster.view().borrow().with_status(Status::Up), [1, 2, 3]);
    nemesis.heal_all().await.unwrap();
    assert!(faults(&mut events).is_empty());
}

#[tokio::test]
async fn nemesis_cancelled_while_it_begins_is_healed() {
    let (_dir, cluster, nemesis, mut events) = bench().await;
    let (_keep, stop) = watch::channel(false);
    let schedule = only(Kind::Kill, 3_600_000, 1);
    // As soon as the fault is recorded, which is before it is known to be done.
    let begun = tokio::select! {
        biased;
        () = nemesis.run(&schedule, stop) => panic!("it ran to its end"),
        begun = events.recv() => begun.unwrap().1,
    };
    assert_eq!(begun.f(), "kill");
    nemesis.heal_all().await.unwrap();
    let ended = faults(&mut events);
    assert_eq!(ended.len(), 1, "{ended:?}");
    assert_eq!(cluster.view().borrow().with_status(Status::Up), [1, 2, 3]);
}

#[tokio::test]
async fn node_that_does_not_come_up_again_is_reported_by_healing() {
    let (_dir, cluster, nemesis, _events) = bench().await;
    for node in [1, 2, 3] {
        cluster.kill(node).await.unwrap();
    }
    // The log of one can no longer be opened.
    let log = cluster.node_dir(1).join("stderr");
    std::fs::remove_file(&log).unwrap();
    std::fs::create_dir(&log).unwrap();
    let error = nemesis.heal_all().await.unwrap_err().to_string();
    assert!(error.contains("could not be restored") && error.contains("stderr"), "{error}");
    assert_eq!(cluster.view().borrow().with_status(Status::Up), [2, 3], "the others were healed");
}

#[tokio::test]
async fn disk_faults_of_disks_that_nobody_uses_have_no_proof() {
    if let Err(why) = harness::disk::check(env!("CARGO_BIN_EXE_harness").as_ref()) {
        eprintln!("skipped: {why}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let options = Options { disks: true, ..stand_ins(&dir, "") };
    let (cluster, _) = start(&options).await;
    let cluster = Arc::new(cluster.unwrap());
    let (recorder, mut events) = unbounded_channel();
    let nemesis = Nemesis::new(Arc::clone(&cluster), Arc::new(recorder));
    let harmless = [
        DiskFault::PowerLossAll,
        DiskFault::TornWrite,
        DiskFault::LostPages,
        DiskFault::DiskFull,
        DiskFault::SlowDisk,
        DiskFault::StuckDisk,
    ];
    for fault in harmless {
        let (_keep, stop) = watch::channel(false);
        nemesis.run(&only(Kind::Disk(fault), 20, 1), stop).await;
        let faults = faults(&mut events);
        // It is tried again as long as there is time.
        assert!(faults.len() >= 2, "{faults:?}");
        for pair in faults.chunks(2) {
            assert_eq!((pair[0].1.outcome.as_str(), pair[1].1.proof), ("installed", 0), "{pair:?}");
            assert_eq!(pair[1].1.unit, fault.unit());
        }
    }
    cluster.shutdown().await.unwrap();
}
