//! `raftctl status` and `raftctl inspect` where no real node is needed.

use raftctl::Status;
use raftd::api::Done;

use crate::command::{raftctl, raftctl_at, run};
use crate::fake::{Act, FakeNode, Refusing};

fn node(id: u64, role: &str) -> FakeNode {
    let status = Status {
        node: id,
        cluster: "demo".to_owned(),
        role: role.to_owned(),
        term: 4,
        vote: Some(1),
        leader: Some(1),
        commit: 1017,
        applied: 1016,
        first: 1,
        last: 1018,
        voters: vec![1, 2, 3],
        state_hash: "00000000000000ff".to_owned(),
        sync_us_p50: 190,
        sync_us_p99: 2_100,
        disk_full: id == 2,
        ..Status::default()
    };
    FakeNode::start(id, move |_| {
        Act::Done(Done { status: Some(Box::new(status.clone())), ..Done::default() })
    })
}

#[test]
fn table_shows_every_node_and_why_one_is_missing() {
    let (leader, follower, gone) = (node(1, "leader"), node(2, "follower"), Refusing::new());
    let endpoints = [leader.addr(), follower.addr(), gone.addr()].join(",");
    let run = run(&mut raftctl(&["--endpoints", &endpoints, "status"])).exits(0);
    let lines: Vec<Vec<&str>> =
        run.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..4], ["NODE", "ROLE", "TERM", "VOTE"]);
    assert_eq!(
        lines[1],
        [
            "1",
            "leader",
            "4",
            "1",
            "1",
            "1017",
            "1016",
            "1..1018",
            "-",
            "1,2,3",
            "0",
            "00000000000000ff",
            "0",
            "0",
            "0",
            "0.19ms",
            "2.10ms"
        ]
    );
    assert_eq!(lines[2][..2], ["2", "follower"]);
    assert_eq!(lines[3], [&gone.addr(), "unreachable"]);
    let reason = format!("node {0}: {0}: connection refused\n", gone.addr());
    assert!(run.stdout.contains(&reason), "{}", run.stdout);
    assert!(run.stdout.contains("node 2: its disk is full"), "{}", run.stdout);
    assert!(!run.stdout.contains('\x1b'), "colour in a pipe: {:?}", run.stdout);
}

#[test]
fn json_is_an_array_of_all_nodes() {
    let (leader, gone) = (node(1, "leader"), Refusing::new());
    let endpoints = [leader.addr(), gone.addr()].join(",");
    let args = ["--endpoints", &endpoints, "--output", "json", "status"];
    let json = run(&mut raftctl(&args)).exits(0).json();
    assert_eq!(json[0]["node"], 1);
    assert_eq!(json[0]["address"], leader.addr());
    assert_eq!(json[0]["status"]["commit"], 1017);
    assert_eq!(json[1]["error"]["code"], "unreachable");
    assert_eq!(json.as_array().unwrap().len(), 2);
}

#[test]
fn one_node_may_be_asked_alone() {
    let (first, second) = (node(1, "leader"), node(2, "follower"));
    let run = run(&mut raftctl_at(&[&first, &second], &["status", "--node", "2"])).exits(0);
    assert!(run.stdout.lines().nth(1).unwrap().starts_with("2 "), "{}", run.stdout);
    assert!(first.requests().is_empty());
}

#[test]
fn no_answer_at_all_exits_1() {
    let gone = Refusing::new();
    run(&mut raftctl(&["--endpoints", &gone.addr(), "status"])).exits(1);
}

#[test]
fn directory_without_a_log_exits_1() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nothing");
    let path = path.to_str().unwrap();
    run(&mut raftctl(&["inspect", path])).exits(1).complains(&["error: ", path]);
    let json = run(&mut raftctl(&["inspect", path, "--output", "json"])).exits(1).json();
    assert_eq!(json["dir"], path);
    assert!(json["problem"].as_str().unwrap().contains(path), "{json}");
}
