//! Leadership that is handed over instead of being lost.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{Cluster, wait_for};

#[test]
fn leadership_goes_to_whom_it_is_handed() {
    let cluster = Cluster::start(3);
    cluster.put("a:1", "x", "1");
    for target in [1, 2, 3, 1] {
        let done = cluster.operate(&json!({"transfer": {"to": target}}));
        assert_eq!(done["leader"], target, "{done}");
        wait_for("the target to lead", || {
            let leader = cluster.leader();
            if leader == target { Ok(()) } else { Err(format!("node {leader} leads")) }
        });
    }
    cluster.put("a:2", "x", "2");
    assert_eq!(cluster.get("x").as_deref(), Some("2"));
}

#[test]
fn leader_that_is_asked_to_stop_hands_over_first() {
    let mut cluster = Cluster::start(3);
    cluster.put("a:1", "x", "1");
    cluster.expect_equal_states();
    let leader = cluster.leader();
    let term = cluster.status(leader)["term"].as_u64().unwrap();
    let daemon = cluster.take(leader);
    daemon.signal(Signal::SIGTERM);
    let event = daemon.event("transfer_started", |_| true);
    daemon.event("stopped", |_| true);
    assert_eq!(daemon.exit().0, Some(0));
    let successor = event["to"].as_u64().unwrap();
    let led = cluster
        .node(successor)
        .event("role", |event| event["role"] == "leader" && event["term"].as_u64().unwrap() > term);
    assert_eq!(led["term"], term + 1, "elected at once: {led}");
    // Whoever waits for a timeout asks for pre-votes first.
    for id in cluster.running() {
        let waited =
            |event: &serde_json::Value| event["role"] == "pre-candidate" && event["term"] == term;
        assert_eq!(cluster.node(id).count("role", waited), 0, "node {id} ran into a timeout");
    }
    cluster.put("a:2", "x", "2");
}

#[test]
fn leader_that_is_asked_to_stop_stays_for_as_long_as_its_vote_is_needed() {
    let mut cluster = Cluster::start(2);
    cluster.put("a:1", "x", "1");
    cluster.expect_equal_states();
    let leader = cluster.leader();
    let term = cluster.status(leader)["term"].as_u64().unwrap();
    let daemon = cluster.take(leader);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit().0, Some(0));
    let [other] = cluster.running()[..] else { panic!("one is left") };
    let led = cluster
        .node(other)
        .event("role", |event| event["role"] == "leader" && event["term"].as_u64().unwrap() > term);
    assert_eq!(led["term"], term + 1, "{led}");
}

#[test]
fn last_of_the_voters_stops_at_once() {
    let mut cluster = Cluster::start(1);
    cluster.put("a:1", "x", "1");
    let daemon = cluster.take(1);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit().0, Some(0));
}
