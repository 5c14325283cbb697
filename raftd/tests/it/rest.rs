//! Clusters of real processes that are left alone, or lose no more than they can stand.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Cluster, wait_for};

#[test]
fn node_that_is_alone_of_three_becomes_no_leader() {
    let mut cluster = Cluster::start(3);
    cluster.put("a:1", "x", "1");
    cluster.kill_all();
    // Alone it cannot become anything that counts.
    cluster.start_node(2);
    cluster.node(2).event("role", |event| event["role"] == "pre-candidate");
    let roles = cluster.node(2).count("role", |event| event["role"] == "leader");
    assert_eq!(roles, 0);
    let status = cluster.status(2);
    assert!(status["term"].as_u64() >= Some(1), "terms survive: {status}");
}

#[test]
fn nodes_at_rest_agree_on_everything() {
    let cluster = Cluster::start(3);
    cluster.put("a:1", "x", "1");
    cluster.expect_equal_states();
    wait_for("equal commit indexes", || {
        let all: Vec<Value> = cluster.running().into_iter().map(|id| cluster.status(id)).collect();
        let same = |field: &str| all.iter().all(|status| status[field] == all[0][field]);
        let agreed = ["term", "leader", "commit", "applied", "last", "last_term"];
        if agreed.into_iter().all(same) { Ok(()) } else { Err(format!("{all:?}")) }
    });
}

#[test]
fn without_a_majority_nobody_leads_or_acknowledges() {
    let mut cluster = Cluster::start(3);
    cluster.put("a:1", "x", "1");
    let survivor = cluster.leader();
    let others: Vec<u64> = cluster.running().into_iter().filter(|id| *id != survivor).collect();
    for id in &others {
        cluster.kill(*id);
    }
    cluster.wait_status(survivor, "a leader that steps down", |status| status["role"] != "leader");
    let answer = cluster.client(survivor).put("a:2", "x", "2").unwrap();
    assert_eq!(answer["error"]["code"], "not_leader", "{answer}");
    let answer = cluster.client(survivor).get("x").unwrap();
    assert!(answer["error"].is_object() && answer["error"]["code"] != "not_found", "{answer}");
    cluster.start_node(others[0]);
    cluster.put("a:3", "y", "3");
    assert_eq!(cluster.get("x").as_deref(), Some("1"));
}

#[test]
fn clusters_of_every_size_serve_with_a_minority_down() {
    for size in [1, 2, 3, 4, 5, 7] {
        let mut cluster = Cluster::start(size);
        cluster.put("a:1", "x", "1");
        let victims: Vec<u64> = cluster.running();
        for victim in victims.into_iter().take(usize::try_from((size - 1) / 2).unwrap()) {
            cluster.kill(victim);
        }
        cluster.put("a:2", "y", "2");
        assert_eq!(cluster.get("x").as_deref(), Some("1"), "{size} nodes");
    }
}

#[test]
fn paused_follower_holds_up_nobody() {
    let cluster = Cluster::start(3);
    cluster.put("a:1", "x", "1");
    let slow = cluster.follower();
    cluster.node(slow).signal(Signal::SIGSTOP);
    let awake: Vec<u64> = cluster.running().into_iter().filter(|id| *id != slow).collect();
    for write in 2..=100 {
        cluster.put_at(awake.clone(), &format!("a:{write}"), "x", &write.to_string());
    }
    cluster.node(slow).signal(Signal::SIGCONT);
    cluster.expect_equal_states();
    assert_eq!(cluster.get("x").as_deref(), Some("100"));
}

/// Length of all files below a directory.
fn bytes_in(dir: &Path) -> u64 {
    let lengths = fs::read_dir(dir).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() { bytes_in(&path) } else { path.metadata().map_or(0, |file| file.len()) }
    });
    lengths.sum()
}

#[test]
fn endless_writes_on_few_keys_keep_the_directory_bounded() {
    const MIB: u64 = 1 << 20;
    // Four keys of 128 KiB, so half a MiB of state; trailing entries, the segments that they lie in, and the one that is
    // being written come on top.
    const BOUND: u64 = 32 * MIB;
    let mut cluster = Cluster::with(1, "snapshot_log_bytes = 1000000\n");
    cluster.start_all();
    let value = "v".repeat(1 << 17);
    let mut client = cluster.client(cluster.leader());
    let mut written = 0;
    for write in 1_u64..=640 {
        let answer = client.put(&format!("a:{write}"), &format!("k{}", write % 4), &value).unwrap();
        assert!(answer["ok"].is_object(), "{answer}");
        written += 1 << 17;
    }
    assert!(written > 2 * BOUND, "the test writes enough to mean it");
    let status =
        cluster.wait_status(1, "a purged log", |status| status["first"].as_u64() > Some(500));
    wait_for("a bounded directory", || {
        let bytes = bytes_in(&cluster.data(1));
        if bytes < BOUND { Ok(()) } else { Err(format!("{bytes} bytes; {status}")) }
    });
}
