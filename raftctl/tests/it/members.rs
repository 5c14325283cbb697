//! Changes of membership, and of who leads, on real `raftd` processes.

use std::time::Duration;

use raftctl::{Client, Consistency, Endpoint, Op, Options};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::load::Load;

fn place(cluster: &Cluster, id: u8) -> [String; 4] {
    ["--peer".to_owned(), cluster.peer(id), "--client".to_owned(), cluster.client(id)]
}

fn add(cluster: &Cluster, id: u8, more: &[&str]) -> crate::command::Run {
    let (number, place) = (id.to_string(), place(cluster, id));
    let place: Vec<&str> = place.iter().map(String::as_str).collect();
    cluster.run(&[&["member", "add", &number][..], &place, more].concat())
}

/// `ID=PEER,CLIENT`.
fn target(cluster: &Cluster, id: u8) -> String {
    format!("{id}={},{}", cluster.peer(id), cluster.client(id))
}

fn leader(cluster: &Cluster) -> u64 {
    let members = cluster.json(&["members"]);
    let leads = members.as_array().unwrap().iter().find(|member| member["leads"] == true);
    leads.unwrap()["id"].as_u64().unwrap()
}

fn voters(cluster: &Cluster) -> Value {
    let members = cluster.json(&["members"]);
    let members = members.as_array().unwrap().iter();
    members
        .filter(|member| member["member"] == "voter")
        .map(|member| member["id"].clone())
        .collect()
}

#[test]
fn node_is_added_promoted_and_removed_and_each_step_may_be_repeated() {
    let Some(mut cluster) = Cluster::start(3) else { return };
    cluster.run(&["put", "k", "v"]).exits(0);
    let id = cluster.start_joining();
    for _ in 0..2 {
        let run = add(&cluster, id, &["--learner"]).exits(0);
        assert_eq!(run.stdout, "node 4 is a learner; voters 1, 2, 3; learners 4\n");
    }
    let members = cluster.json(&["members"]);
    assert_eq!((&members[3]["id"], &members[3]["member"]), (&json!(4), &json!("learner")));
    cluster
        .run(&["member", "promote", "4"])
        .exits(0)
        .prints("node 4 has a vote; voters 1, 2, 3, 4\n");
    let again = "node 4 has a vote already; voters 1, 2, 3, 4\n";
    cluster.run(&["member", "promote", "4"]).exits(0).prints(again);
    add(&cluster, id, &[]).exits(0).prints(again);
    let args = ["--endpoints", &cluster.client(4), "--timeout", "2m", "get", "k"];
    crate::command::run(&mut crate::command::raftctl(&args)).exits(0).prints("v\n");
    cluster.run(&["member", "remove", "4"]).exits(0).prints("node 4 has left; voters 1, 2, 3\n");
    cluster
        .run(&["member", "remove", "4"])
        .exits(0)
        .prints("node 4 is no member; voters 1, 2, 3\n");
    assert_eq!(voters(&cluster), json!([1, 2, 3]));
}

#[test]
fn node_is_added_with_a_vote_in_one_step() {
    let Some(mut cluster) = Cluster::start(1) else { return };
    for n in 0..20 {
        cluster.run(&["put", "k", &n.to_string()]).exits(0);
    }
    for expected in ["voters 1, 2", "voters 1, 2, 3"] {
        let id = cluster.start_joining();
        let run = add(&cluster, id, &[]).exits(0);
        assert_eq!(run.stdout, format!("node {id} has a vote; {expected}\n"));
    }
    // All are asked, though the cluster file names one of them only.
    for what in ["status", "snapshot"] {
        let all = cluster.json(&[what]);
        assert_eq!(all.as_array().unwrap().len(), 3, "{what}: {all}");
    }
    // Two of three are enough, and the third one has everything.
    cluster.kill(0);
    let config = cluster.client(3);
    let args = ["--endpoints", &config, "--timeout", "2m", "get", "k"];
    crate::command::run(&mut crate::command::raftctl(&args)).exits(0).prints("19\n");
}

#[test]
fn leader_that_is_removed_is_replaced() {
    let Some(cluster) = Cluster::start(3) else { return };
    cluster.run(&["put", "k", "v"]).exits(0);
    let old = leader(&cluster);
    cluster.run(&["member", "remove", &old.to_string()]).exits(0);
    assert_ne!(leader(&cluster), old);
    assert_eq!(voters(&cluster).as_array().unwrap().len(), 2);
    cluster.run(&["put", "k", "w"]).exits(0);
    cluster.run(&["get", "k"]).exits(0).prints("w\n");
}

#[test]
fn change_that_makes_no_sense_is_refused_with_a_reason_and_changes_nothing() {
    let Some(cluster) = Cluster::start(1) else { return };
    cluster.run(&["put", "k", "v"]).exits(0);
    let index = || cluster.json(&["status"])[0]["status"]["config_index"].clone();
    let before = index();
    cluster.run(&["member", "promote", "9"]).exits(1).complains(&["error: ", "9"]);
    cluster.run(&["member", "remove", "1"]).exits(1).complains(&["error: "]);
    cluster.run(&["member", "set", "1", "9"]).exits(1).complains(&["9=PEER,CLIENT", "voters 1"]);
    cluster.run(&["transfer-leader", "9"]).exits(1).complains(&["error: "]);
    cluster
        .run(&["member", "promote", "1"])
        .exits(0)
        .prints("node 1 has a vote already; voters 1\n");
    cluster
        .run(&["member", "remove", "1", "--node", "1"])
        .exits(2)
        .complains(&["leave out --node"]);
    let refusal = cluster.json(&["member", "promote", "9"]);
    assert_eq!(refusal["error"]["code"], "not_member", "{refusal}");
    assert_eq!(index(), before);
}

#[test]
fn dead_address_is_not_added() {
    let Some(cluster) = Cluster::start(3) else { return };
    cluster.run(&["put", "k", "v"]).exits(0);
    let before = cluster.json(&["members"]);
    add(&cluster, 4, &[]).exits(1).complains(&["node 4 does not answer at", "nothing was changed"]);
    let target = target(&cluster, 4);
    cluster
        .run(&["member", "set", "1", "2", &target])
        .exits(1)
        .complains(&["node 4 does not answer"]);
    let after = cluster.json(&["members"]);
    let ids = |members: &Value| -> Vec<Value> {
        members.as_array().unwrap().iter().map(|member| member["id"].clone()).collect()
    };
    assert_eq!(ids(&after), ids(&before));
    cluster.run(&["put", "k", "w"]).exits(0);
}

#[test]
fn node_that_does_not_catch_up_is_removed_again() {
    use crate::fake::{Act, FakeNode, Refusing};
    use raftd::api::{Done, Status};
    let Some(cluster) = Cluster::start(3) else { return };
    cluster.run(&["put", "k", "v"]).exits(0);
    // It says who it is, but its peer port is dead.
    let status =
        Status { node: 4, cluster: "test".to_owned(), incarnation: 77, ..Status::default() };
    let hello = r#"{"hello":{"protocol":1,"cluster":"test","node":4,"commit":0}}"#;
    let newcomer = FakeNode::with_hello(4, &format!("{hello}\n"), move |_| {
        Act::Done(Done { status: Some(Box::new(status.clone())), ..Done::default() })
    });
    let (client, peer) = (newcomer.addr(), Refusing::new());
    let peer = peer.addr();
    let args = ["member", "add", "4", "--peer", &peer, "--client", &client];
    let run = cluster.run(&[&args[..], &["--catch-up-timeout", "1s"]].concat()).exits(1);
    run.complains(&["not caught up within 1s", "node 4 was removed again"]);
    assert_eq!(voters(&cluster), json!([1, 2, 3]));
    cluster.run(&["put", "k", "w"]).exits(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swap_of_all_members_under_load_loses_and_repeats_nothing() {
    let Some(mut cluster) = Cluster::start(3) else { return };
    let mut load = Load::start(&cluster.config());
    load.goes_on().await;
    let targets: Vec<String> = (0..3)
        .map(|_| {
            let id = cluster.start_joining();
            target(&cluster, id)
        })
        .collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let set = [&["member", "set"], &targets[..]].concat();
    for _ in 0..2 {
        let run = tokio::task::block_in_place(|| cluster.run(&set)).exits(0);
        assert_eq!(run.stdout, "the voters are set; voters 4, 5, 6\n");
        load.goes_on().await;
    }
    // None of the nodes that the clients were told of is left; then not even the one that led them on.
    let leader = tokio::task::block_in_place(|| leader(&cluster));
    (0..3).for_each(|at| cluster.kill(at));
    load.goes_on().await;
    cluster.kill(usize::try_from(leader).unwrap() - 1);
    load.goes_on().await;
    load.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_under_load_lose_and_repeat_nothing() {
    let Some(cluster) = Cluster::start(3) else { return };
    let mut load = Load::start(&cluster.config());
    load.goes_on().await;
    for _ in 0..3 {
        let old = tokio::task::block_in_place(|| leader(&cluster));
        let to = (old % 3 + 1).to_string();
        let run = tokio::task::block_in_place(|| cluster.run(&["transfer-leader", &to])).exits(0);
        assert!(run.stdout.starts_with(&format!("node {to} leads")), "{}", run.stdout);
        load.goes_on().await;
        let run = tokio::task::block_in_place(|| cluster.run(&["transfer-leader"])).exits(0);
        assert!(!run.stdout.starts_with(&format!("node {to} leads")), "{}", run.stdout);
    }
    load.goes_on().await;
    load.check().await;
}

#[tokio::test]
async fn stale_reads_that_name_an_index_never_go_back_from_node_to_node() {
    let Some(cluster) = Cluster::start(3) else { return };
    let timeout = Duration::from_mins(2);
    let at = |id: u8| Endpoint::of(u64::from(id), cluster.client(id));
    let client =
        |pin| Client::new(Options { timeout, pin, ..Options::new([at(1), at(2), at(3)]) }).unwrap();
    let writer = client(None);
    let readers = [1, 2, 3].map(|id| client(Some(id)));
    for n in 1..=100_i64 {
        let seen = writer.incr("n", 1).await.unwrap().index.unwrap();
        for reader in &readers {
            let (key, consistency) = ("n".to_owned(), Consistency::Stale);
            let read = reader.call(Op::Get { key, consistency, min_index: seen }).await.unwrap();
            assert!(read.index.unwrap() >= seen, "{read:?} after {seen}");
            assert_eq!(read.value, Some(n.to_string()), "{read:?}");
        }
    }
}

#[test]
fn snapshot_is_taken_by_every_node_or_by_one() {
    let Some(cluster) = Cluster::start(3) else { return };
    let index = cluster.json(&["put", "k", "v"])["index"].as_u64().unwrap();
    let all = cluster.json(&["snapshot"]);
    assert_eq!(all.as_array().unwrap().len(), 3, "{all}");
    assert!(all[0]["index"].as_u64().is_some(), "{all}");
    let one = cluster.run(&["snapshot", "--node", "2"]).exits(0);
    assert!(one.stdout.starts_with("node 2: snapshot up to index "), "{}", one.stdout);
    let node = &cluster.json(&["status"])[1]["status"];
    assert!(node["snapshot"]["index"].as_u64().unwrap() <= node["applied"].as_u64().unwrap());
    assert!(index > 0);
}
