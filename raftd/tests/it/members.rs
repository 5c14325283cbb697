//! Members come, get a vote, and go, while the cluster serves.

use serde_json::{Value, json};

use crate::support::{Client, Cluster, wait_for};

/// The request to add a running node as a member without a vote.
fn add(cluster: &Cluster, id: u64) -> Value {
    json!({"member": {"add": {
        "id": id,
        "peer": cluster.peer(id).to_string(),
        "client": cluster.client_address(id).to_string(),
        "incarnation": cluster.status(id)["incarnation"],
    }}})
}

/// Starts a node that joins, and has it added.
fn join(cluster: &mut Cluster, id: u64) {
    cluster.prepare_joiner(id);
    cluster.start_node(id);
    let status = cluster.status(id);
    assert_eq!((&status["standing"], &status["voters"]), (&json!("lost"), &json!([])), "{status}");
    let done = cluster.operate(&add(cluster, id));
    assert!(done["index"].as_u64().unwrap() > 0, "{done}");
}

#[test]
fn joiner_catches_up_by_a_snapshot_and_gets_a_vote() {
    let mut cluster = Cluster::with(3, "snapshot_log_bytes = 2000\n");
    cluster.start_all();
    for number in 1..=100 {
        cluster.put(&format!("a:{number}"), &format!("key-{}", number % 10), &number.to_string());
    }
    join(&mut cluster, 4);
    cluster.operate(&json!({"member": {"promote": 4}}));
    let status = cluster.wait_status(4, "the vote to be known", |status| {
        status["voters"] == json!([1, 2, 3, 4]) && status["standing"] == "full"
    });
    assert_eq!(status["snapshots_installed"], 1, "{status}");
    cluster.expect_equal_states();
    // The founders' file does not name it, and still clients are led to it.
    wait_for("node 4 to lead", || {
        let leader = cluster.leader();
        if leader == 4 {
            return Ok(());
        }
        let answer = cluster.client(leader).call(None, &json!({"transfer": {"to": 4}}));
        Err(format!("{answer:?}"))
    });
    wait_for("a hint that names node 4", || {
        let answer = cluster.client(1).put("b:1", "y", "1").unwrap();
        let address = cluster.client_address(4).to_string();
        if answer["error"]["leader_client"] == address { Ok(()) } else { Err(answer.to_string()) }
    });
    // It remembers all that when it starts again.
    cluster.kill(4);
    cluster.start_node(4);
    assert_eq!(cluster.status(4)["standing"], "full");
    cluster.put("b:2", "y", "2");
    cluster.expect_equal_states();
}

#[test]
fn joiner_that_nobody_has_added_yet_is_no_hindrance() {
    let mut cluster = Cluster::new(3);
    cluster.prepare_joiner(4);
    cluster.start_node(4);
    cluster.node(4).event("lost", |_| true);
    for id in [1, 2, 3] {
        cluster.start_node(id);
    }
    cluster.put_at(vec![1, 2, 3], "a:1", "x", "1");
    for id in [1, 2, 3] {
        cluster.wait_status(id, "full standing", |status| status["standing"] == "full");
    }
    let status = cluster.status(4);
    assert_eq!((&status["standing"], &status["term"]), (&json!("lost"), &json!(0)), "{status}");
}

#[test]
fn all_members_are_replaced_by_others_at_once() {
    let mut cluster = Cluster::start(3);
    cluster.put("a:1", "x", "1");
    for id in [4, 5, 6] {
        join(&mut cluster, id);
    }
    let done = cluster.operate(&json!({"member": {"set": [4, 5, 6]}}));
    assert!(done["index"].as_u64().unwrap() > 0, "{done}");
    for id in [4, 5, 6] {
        cluster.wait_status(id, "the new members", |status| {
            status["voters"] == json!([4, 5, 6]) && status["outgoing"].is_null()
        });
    }
    for id in [1, 2, 3] {
        cluster.kill(id);
    }
    cluster.put_at(vec![4, 5, 6], "a:2", "x", "2");
    assert_eq!(cluster.get("x").as_deref(), Some("2"));
    cluster.kill_all();
    for id in [4, 5, 6] {
        cluster.start_node(id);
    }
    assert_eq!(cluster.get("x").as_deref(), Some("2"));
}

/// Founded by node 1, and joined by nodes 2 and 3, which have votes.
fn grown_from_one() -> Cluster {
    let mut cluster = Cluster::start(1);
    cluster.put("a:1", "x", "1");
    for id in [2, 3] {
        join(&mut cluster, id);
        cluster.operate(&json!({"member": {"promote": id}}));
    }
    cluster
}

#[test]
fn cluster_of_one_grows() {
    let mut cluster = grown_from_one();
    cluster.kill(1);
    cluster.put_at(vec![2, 3], "a:2", "x", "2");
    cluster.start_node(1);
    cluster.expect_equal_states();
    assert_eq!(cluster.status(1)["voters"], json!([1, 2, 3]));
}

#[test]
fn only_founder_that_lost_its_directory_does_not_found_again_unnoticed() {
    let mut cluster = grown_from_one();
    cluster.kill(1);
    cluster.wipe(1);
    cluster.start_node(1);
    let (code, log) = cluster.take(1).exit();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("joins = true"), "the remedy is named: {log}");
    cluster.put_at(vec![2, 3], "a:2", "x", "2");
}

#[test]
fn removed_node_is_a_member_no_more_and_disturbs_nobody() {
    let mut cluster = Cluster::start(3);
    cluster.put("a:1", "x", "1");
    let removed = cluster.follower();
    cluster.operate(&json!({"member": {"remove": removed}}));
    let status = cluster.status(cluster.leader());
    let term = status["term"].clone();
    assert!(!status["voters"].as_array().unwrap().contains(&json!(removed)), "{status}");
    // It is told, and does not ask for votes.
    cluster.wait_status(removed, "the news of its removal", |status| {
        !status["voters"].as_array().unwrap().contains(&json!(removed))
            && status["commit"] == status["last"]
    });
    let rest: Vec<u64> = cluster.running().into_iter().filter(|id| *id != removed).collect();
    cluster.put_at(rest, "a:2", "x", "2");
    // The leader may remove itself as well.
    let leader = cluster.leader();
    assert_eq!(cluster.status(leader)["term"], term, "an election took place");
    cluster.operate(&json!({"member": {"remove": leader}}));
    let last = cluster.running().into_iter().find(|id| ![leader, removed].contains(id)).unwrap();
    cluster.wait_status(last, "leading alone", |status| {
        status["role"] == "leader" && status["voters"] == json!([last])
    });
    for gone in [leader, removed] {
        cluster.kill(gone);
    }
    cluster.put("a:3", "x", "3");
}

#[test]
fn change_that_makes_no_sense_is_refused_with_a_code() {
    let mut cluster = Cluster::start(3);
    cluster.put("a:1", "x", "1");
    cluster.prepare_joiner(4);
    cluster.start_node(4);
    cluster.put_at(vec![1, 2, 3], "a:2", "x", "2");
    let check = |op: Value, code: &str| {
        wait_for(code, || {
            let answer = cluster.client(cluster.leader()).call(None, &op).unwrap();
            assert!(answer["ok"].is_null(), "{answer}");
            if answer["error"]["code"] == code { Ok(()) } else { Err(answer.to_string()) }
        });
    };
    check(json!({"member": {"promote": 1}}), "already_voter");
    check(json!({"member": {"promote": 9}}), "not_member");
    check(json!({"member": {"remove": 4}}), "not_member");
    check(json!({"member": {"set": [1, 2, 9]}}), "not_member");
    check(json!({"member": {"set": []}}), "no_voters");
    check(json!({"transfer": {"to": 9}}), "no_target");
    let mut wrong = add(&cluster, 4);
    wrong["member"]["add"]["id"] = json!(1);
    check(wrong, "already_member");
    let follower = cluster.running().into_iter().find(|id| *id != cluster.leader() && *id < 4);
    wait_for("a follower to name the leader", || {
        let answer = Client::open(cluster.client_address(follower.unwrap()))
            .unwrap()
            .call(None, &json!({"member": {"remove": 1}}))
            .unwrap();
        let (leader, error) = (cluster.leader(), &answer["error"]);
        let is_led = error["code"] == "not_leader"
            && error["leader_client"] == cluster.client_address(leader).to_string();
        if is_led { Ok(()) } else { Err(answer.to_string()) }
    });
    assert_eq!(cluster.status(cluster.leader())["voters"], json!([1, 2, 3]));
}
