//! Snapshots in place of logs, under real processes that are killed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Cluster, wait_for};

/// Settings under which a snapshot is due every few writes.
const PRESSURE: &str = "snapshot_log_bytes = 2000\n";

fn number(status: &Value, field: &str) -> u64 {
    status[field].as_u64().unwrap()
}

#[test]
fn node_that_was_down_for_long_catches_up_by_a_snapshot() {
    let mut cluster = Cluster::with(3, PRESSURE);
    cluster.start_all();
    cluster.put("a:1", "x", "1");
    cluster.expect_equal_states();
    let down = cluster.follower();
    let last = number(&cluster.status(down), "last");
    cluster.kill(down);
    for write in 2..=200 {
        cluster.put(&format!("a:{write}"), &format!("key-{}", write % 7), &write.to_string());
    }
    let leader = cluster.leader();
    cluster.wait_status(leader, "a purged log", |status| {
        number(status, "first") > last + 1 && number(status, "snapshots_taken") > 1
    });
    cluster.start_node(down);
    cluster.node(down).event("snapshot_installed", |_| true);
    cluster.expect_equal_states();
    let status = cluster.status(down);
    assert_eq!(status["snapshots_installed"], 1, "{status}");
    assert_eq!(status["standing"], "full", "{status}");
}

#[test]
fn all_nodes_start_again_from_snapshots_alone() {
    let mut cluster = Cluster::with(3, PRESSURE);
    cluster.start_all();
    for write in 1..=30 {
        cluster.put(&format!("a:{write}"), &format!("key-{write}"), &write.to_string());
    }
    cluster.expect_equal_states();
    for id in cluster.running() {
        let answer = cluster.client(id).call(None, &json!("snapshot")).unwrap();
        let status = cluster.status(id);
        assert!(answer["ok"]["index"].as_u64() >= Some(31), "{answer}");
        assert!(status["snapshot"]["index"].as_u64() >= Some(31), "{status}");
        assert!(status["snapshot"]["bytes"].as_u64() > Some(0), "{status}");
        assert!(number(&status, "first") > 1, "{status}");
    }
    let append = json!({"append": {"key": "key-1", "value": "!"}});
    let first = cluster.client(cluster.leader()).call(Some("b:1"), &append).unwrap();
    assert!(first["ok"].is_object(), "{first}");
    for id in cluster.running() {
        cluster.client(id).call(None, &json!("snapshot")).unwrap();
    }
    cluster.kill_all();
    cluster.start_all();
    cluster.put("c:1", "late", "1");
    for write in 2..=30 {
        assert_eq!(cluster.get(&format!("key-{write}")), Some(write.to_string()));
    }
    // The sessions are in the snapshots as well: the retry is one.
    let again = wait_for("the retry", || {
        let answer = cluster.client(cluster.leader()).call(Some("b:1"), &append).unwrap();
        if answer["ok"].is_object() { Ok(answer) } else { Err(answer.to_string()) }
    });
    assert_eq!(again["ok"], first["ok"]);
    cluster.expect_equal_states();
}

/// Writes numbers to a key of its own until the process is killed; counts those that were acknowledged.
fn write_until_killed(cluster: &Cluster, key: &str, acknowledged: &AtomicU64, killed: &AtomicBool) {
    let mut client = cluster.client(cluster.leader());
    for number in 1.. {
        match client.put(&format!("{key}:{number}"), key, &number.to_string()) {
            Ok(answer) if answer["ok"].is_object() => {
                acknowledged.store(number, Ordering::SeqCst);
            }
            // Not acknowledged: no promise was made.
            Ok(_) => return,
            Err(error) => {
                assert!(killed.load(Ordering::SeqCst), "{error}");
                return;
            }
        }
    }
}

#[test]
fn nodes_killed_amid_snapshots_lose_no_acknowledged_write() {
    const WRITERS: usize = 4;
    let mut cluster = Cluster::with(3, PRESSURE);
    cluster.start_all();
    // So many writes go before the kill: each time another moment in the life of a snapshot.
    for (round, writes) in [17, 43, 71, 104].into_iter().enumerate() {
        cluster.put(&format!("round-{round}:1"), "round", &round.to_string());
        let acknowledged: [AtomicU64; WRITERS] = std::array::from_fn(|_| AtomicU64::new(0));
        let killed = AtomicBool::new(false);
        let total = || acknowledged.iter().map(|count| count.load(Ordering::SeqCst)).sum::<u64>();
        std::thread::scope(|scope| {
            let threads: Vec<_> = acknowledged
                .iter()
                .enumerate()
                .map(|(writer, acknowledged)| {
                    let (cluster, killed) = (&cluster, &killed);
                    scope.spawn(move || {
                        let key = format!("round-{round}-writer-{writer}");
                        write_until_killed(cluster, &key, acknowledged, killed);
                    })
                })
                .collect();
            wait_for("writes", || {
                let is_over = threads.iter().all(std::thread::ScopedJoinHandle::is_finished);
                if is_over || total() >= writes { Ok(()) } else { Err(total().to_string()) }
            });
            killed.store(true, Ordering::SeqCst);
            cluster.signal_all(Signal::SIGKILL);
        });
        cluster.kill_all();
        cluster.start_all();
        for (writer, acknowledged) in acknowledged.iter().enumerate() {
            let found = cluster.get(&format!("round-{round}-writer-{writer}"));
            let found: u64 = found.map_or(0, |text| text.parse().unwrap());
            let acknowledged = acknowledged.load(Ordering::SeqCst);
            // The write after the last acknowledged one may have been under way.
            assert!(
                found == acknowledged || found == acknowledged + 1,
                "writer {writer} of round {round}: {found} found, {acknowledged} acknowledged"
            );
        }
        for id in cluster.running() {
            let status = cluster.status(id);
            assert_eq!(status["standing"], "full", "no damage is found after kills: {status}");
        }
    }
    cluster.expect_equal_states();
    let leader = cluster.leader();
    cluster.wait_status(leader, "a snapshot", |status| status["snapshot"].is_object());
}

#[test]
fn stale_read_waits_for_the_index_that_it_names() {
    let cluster = Cluster::start(3);
    for write in 1..=20 {
        let answer = wait_for("a put", || {
            let answer = cluster.client(cluster.leader()).put(
                &format!("a:{write}"),
                "x",
                &write.to_string(),
            );
            let answer = answer.unwrap();
            if answer["ok"].is_object() { Ok(answer) } else { Err(answer.to_string()) }
        });
        let index = &answer["ok"]["index"];
        for id in cluster.running() {
            let get = json!({"get": {"key": "x", "consistency": "stale", "min_index": index}});
            let answer = wait_for("a stale read", || {
                let answer = cluster.client(id).call(None, &get).unwrap();
                if answer["ok"].is_object() { Ok(answer) } else { Err(answer.to_string()) }
            });
            assert_eq!(answer["ok"]["value"], write.to_string(), "{answer}");
            assert!(answer["ok"]["index"].as_u64() >= index.as_u64(), "{answer}");
        }
    }
    // An index that nobody has: not answered with something older.
    let get = json!({"get": {"key": "x", "consistency": "stale", "min_index": 1_000_000}});
    let answer = cluster.client(cluster.leader()).call(None, &get).unwrap();
    assert_eq!(answer["error"]["code"], "read_failed", "{answer}");
}

#[test]
fn lease_reads_are_served_where_they_are_allowed() {
    for (settings, allowed) in [("lease_drift_percent = 5\n", true), ("", false)] {
        let mut cluster = Cluster::with(3, settings);
        cluster.start_all();
        cluster.put("a:1", "x", "1");
        let get = json!({"get": {"key": "x", "consistency": "lease"}});
        wait_for("a lease read", || {
            let leader = cluster.leader();
            let answer = cluster.client(leader).call(None, &get).unwrap();
            let lease = cluster.status(leader)["lease"].clone();
            if answer["ok"]["value"] == "1" && lease == allowed {
                Ok(())
            } else {
                Err(format!("{answer}, lease: {lease}"))
            }
        });
    }
}
