//! Nodes that lost what they had promised: never a vote from them, and yet they come back by themselves.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Cluster, wait_for};

/// Waits until a node that came back without its data is a voter like any other.
fn expect_readmitted(cluster: &Cluster, id: u64) {
    cluster.node(id).event("readmitted", |_| true);
    cluster.wait_status(id, "full standing", |status| status["standing"] == "full");
    let incarnation = cluster.status(id)["incarnation"].clone();
    wait_for("its vote to come back", || {
        let status = cluster.status(cluster.leader());
        let members = status["members"].as_array().unwrap();
        let member = members.iter().find(|member| member["id"] == id).unwrap();
        let has_vote = status["voters"].as_array().unwrap().contains(&json!(id));
        if has_vote && member["incarnation"] == incarnation {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
}

#[test]
fn wiped_node_comes_back_as_a_learner_and_votes_again_once_it_has_caught_up() {
    let mut cluster = Cluster::start(3);
    for number in 1..=20 {
        cluster.put(&format!("a:{number}"), "x", &number.to_string());
    }
    let before = cluster.status(1)["incarnation"].clone();
    assert!(before.as_u64().unwrap() > 0, "{before}");
    for id in [1, 2, 3] {
        cluster.kill(id);
        cluster.wipe(id);
        cluster.start_node(id);
        cluster.node(id).event("lost", |_| true);
        expect_readmitted(&cluster, id);
        cluster.expect_equal_states();
    }
    assert_ne!(cluster.status(1)["incarnation"], before);
    // It is a voter that counts: without one of the others, the two left are a majority.
    let other = cluster.follower();
    cluster.kill(other);
    cluster.put("b:1", "x", "last");
    assert_eq!(cluster.get("x").as_deref(), Some("last"));
}

#[test]
fn wiped_node_gives_no_vote_even_where_its_vote_is_all_that_is_missing() {
    let mut cluster = Cluster::start(3);
    cluster.put("a:1", "x", "1");
    let leader = cluster.leader();
    let followers: Vec<u64> = cluster.running().into_iter().filter(|id| *id != leader).collect();
    let [wiped, intact] = followers[..] else { panic!("{followers:?}") };
    // The only one that knows all for certain is down; whom the wiped one might have voted for, nobody knows.
    cluster.kill(wiped);
    cluster.kill(leader);
    cluster.wipe(wiped);
    cluster.start_node(wiped);
    cluster.node(wiped).event("lost", |_| true);
    // Asked for its vote again and again.
    let status = cluster.status(intact);
    let asked = |event: &Value| event["role"] == "pre-candidate";
    for _ in 0..5 {
        let seen = cluster.node(intact).count("role", asked);
        wait_for("the intact node to ask again", || {
            let now = cluster.node(intact).count("role", asked);
            if now > seen { Ok(()) } else { Err(format!("asked {now} times; {status}")) }
        });
    }
    for id in [wiped, intact] {
        let status = cluster.status(id);
        assert_eq!(status["leader"], Value::Null, "{status}");
    }
    let status = cluster.status(wiped);
    assert_eq!((&status["standing"], &status["vote"]), (&json!("lost"), &Value::Null), "{status}");
    assert_eq!(status["voters"], json!([1, 2, 3]), "{status}");
    cluster.start_node(leader);
    expect_readmitted(&cluster, wiped);
    cluster.expect_equal_states();
    assert_eq!(cluster.get("x").as_deref(), Some("1"));
}

/// The only segment of a node's log.
fn damage_log(data: &Path, from: &str, to: &str) {
    let path = std::fs::read_dir(data.join("log")).unwrap().next().unwrap().unwrap().path();
    let intact = std::fs::read_to_string(&path).unwrap();
    assert!(intact.contains(from));
    std::fs::write(&path, intact.replace(from, to)).unwrap();
}

#[test]
fn damaged_log_is_set_aside_and_the_node_recovers_from_its_peers() {
    let mut cluster = Cluster::start(3);
    for number in 1..=20 {
        cluster.put(&format!("a:{number}"), "x", &format!("value-{number}-"));
    }
    cluster.expect_equal_states();
    let id = cluster.follower();
    let before = cluster.status(id)["incarnation"].clone();
    cluster.kill(id);
    damage_log(&cluster.data(id), "value-10-", "value-1x-");
    cluster.start_node(id);
    let event = cluster.node(id).event("damaged", |_| true);
    assert!(event["reason"].as_str().unwrap().contains(".log"), "{event}");
    let aside = event["moved_to"].as_str().unwrap();
    assert!(Path::new(aside).join("log").is_dir(), "{event}");
    cluster.node(id).event("lost", |_| true);
    expect_readmitted(&cluster, id);
    assert_ne!(cluster.status(id)["incarnation"], before);
    cluster.expect_equal_states();
}

#[test]
fn founders_take_no_part_before_all_of_them_have_been_up_once() {
    let mut cluster = Cluster::new(3);
    cluster.start_node(1);
    cluster.start_node(2);
    for id in [1, 2] {
        cluster.node(id).event("new", |_| true);
        cluster.wait_status(id, "the other founder's hello", |status| {
            status["standing"] == "new" && status["waiting_for"] == json!([3])
        });
        let mut client = cluster.client(id);
        for answer in [client.put("a:1", "x", "1").unwrap(), client.get("x").unwrap()] {
            let error = &answer["error"];
            assert_eq!(error["code"], "not_leader", "{answer}");
            assert!(error["message"].as_str().unwrap().contains("from node 3"), "{answer}");
        }
        let status = cluster.status(id);
        assert_eq!((&status["term"], &status["last"]), (&json!(0), &json!(0)), "{status}");
    }
    // What was confirmed once need not be confirmed by the same process.
    cluster.kill(2);
    cluster.start_node(3);
    cluster.start_node(2);
    cluster.put("a:1", "x", "1");
    for id in [1, 2, 3] {
        cluster.wait_status(id, "full standing", |status| status["standing"] == "full");
    }
    // Once is enough.
    cluster.kill_all();
    cluster.start_node(1);
    cluster.start_node(2);
    cluster.put("a:2", "x", "2");
    assert_eq!(cluster.get("x").as_deref(), Some("2"));
}

#[test]
fn clusters_that_were_founded_apart_refuse_each_other() {
    let mut cluster = Cluster::new(3);
    let three = std::fs::read_to_string(cluster.config()).unwrap();
    let two = &three[..three.rfind("[[node]]").unwrap()];
    std::fs::write(cluster.config(), two).unwrap();
    cluster.start_node(1);
    cluster.start_node(2);
    cluster.put("a:1", "x", "1");
    std::fs::write(cluster.config(), &three).unwrap();
    cluster.start_node(3);
    let says = |event: &Value| event["reason"].as_str().unwrap().contains("two clusters");
    cluster.node(3).event("link_down", says);
    cluster.node(1).event("refused", says);
    let status = cluster.status(3);
    assert_eq!((&status["standing"], &status["last"]), (&json!("new"), &json!(0)), "{status}");
    cluster.put_at(vec![1, 2], "a:2", "x", "2");
}
