//! The command against scripted nodes: what it prints, and how it exits.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use raftctl::{Code, Op, TxnOp, TxnResult};
use raftd::api::{self, Done, Request};
use serde_json::json;

use crate::command::{Run, raftctl, raftctl_at, run};
use crate::fake::{Act, FakeNode, Refusing, at, error, served};

/// Carries everything out.
fn obliging() -> FakeNode {
    FakeNode::start(1, |request| Act::Done(obliged(&request.op)))
}

fn obliged(op: &Op) -> Done {
    match op {
        Op::Get { .. } => Done { value: Some("blue".to_owned()), served: Some(served(1)), ..at(9) },
        Op::Append { value, .. } => {
            Done { length: Some(u64::try_from(value.len()).unwrap()), ..at(18) }
        }
        Op::Incr { by, .. } => Done { number: Some(*by), ..at(18) },
        Op::Put { .. } | Op::Delete { .. } | Op::Cas { .. } => at(18),
        Op::Txn(txn) => {
            let result = |op: &TxnOp| {
                let is_read = matches!(op, TxnOp::Get { .. });
                if is_read { TxnResult::Value(None) } else { TxnResult::Number(7) }
            };
            let results = Some(txn.then.iter().map(result).collect());
            Done { succeeded: Some(!txn.compare.is_empty()), results, ..at(18) }
        }
        Op::Status | Op::Member(_) | Op::Transfer { .. } | Op::Snapshot => Done::default(),
    }
}

fn missing_key(_: &Request) -> Act {
    Act::Refuse(api::Error { index: Some(9), served: Some(served(1)), ..error(Code::NotFound) })
}

#[test]
fn operation_prints_what_came_of_it() {
    let node = obliging();
    let check = |args: &[&str], expected: &str| {
        run(&mut raftctl_at(&[&node], args)).exits(0).prints(expected);
    };
    check(&["get", "colour"], "blue\n");
    check(&["put", "colour", "blue"], "ok (index 18)\n");
    check(&["cas", "colour", "blue", "green"], "ok (index 18)\n");
    check(&["cas", "colour", "--absent", "green"], "ok (index 18)\n");
    check(&["append", "list", "abc"], "ok (index 18, length 3)\n");
    check(&["incr", "visits"], "1 (index 18)\n");
    check(&["incr", "visits", "-7"], "-7 (index 18)\n");
    check(&["del", "colour"], "ok (index 18)\n");
    check(&["delete", "colour"], "ok (index 18)\n");
    let then = r#""then":[{"incr":{"key":"n","by":1}},{"get":{"key":"m"}}]"#;
    let txn = format!(r#"{{"compare":[{{"key":"n","expect":"6"}}],{then}}}"#);
    check(&["txn", &txn], "then (index 18)\n7\n(no such key)\n");
    check(&["txn", "{}"], "else (index 18)\n");
    run(&mut raftctl_at(&[&node], &["txn", "{\"when\":[]}"]))
        .exits(2)
        .complains(&["when", "--help"]);
    let ops: Vec<Op> = node.requests().into_iter().map(|request| request.op).collect();
    let (key, value) = ("colour".to_owned(), "green".to_owned());
    let expect = Some("blue".to_owned());
    assert_eq!(ops[2], Op::Cas { key: key.clone(), expect, value: value.clone() });
    assert_eq!(ops[3], Op::Cas { key, expect: None, value });
}

#[test]
fn json_output_is_one_object() {
    let node = obliging();
    let json_of = |args: &[&str]| {
        let args = [&["--output", "json"], args].concat();
        run(&mut raftctl_at(&[&node], &args)).exits(0).json()
    };
    assert_eq!(
        json_of(&["get", "k"]),
        json!({"node": 1, "index": 9, "value": "blue",
            "served": {"node": 1, "role": "follower", "term": 3}})
    );
    assert_eq!(
        json_of(&["--request-id", "c:7", "incr", "k", "4"]),
        json!({"request": "c:7", "node": 1, "index": 18, "number": 4})
    );
}

#[test]
fn missing_key_exits_1() {
    let node = FakeNode::start(1, missing_key);
    run(&mut raftctl_at(&[&node], &["get", "k"]))
        .exits(1)
        .prints("")
        .complains(&["error: there is no such key\n"]);
    let json = run(&mut raftctl_at(&[&node], &["get", "k", "--output", "json"])).exits(1).json();
    assert_eq!(
        json,
        json!({"node": 1, "index": 9, "served": {"node": 1, "role": "follower", "term": 3},
            "error": {"code": "not_found", "definite": true, "message": "there is no such key"}})
    );
    run(&mut raftctl_at(&[&node], &["del", "k"])).exits(1).complains(&["error: "]);
}

#[test]
fn mismatch_exits_1_and_shows_the_value() {
    let node = FakeNode::start(1, |_| {
        let actual = Some("red".to_owned());
        Act::Refuse(api::Error { actual, index: Some(5), ..error(Code::Mismatch) })
    });
    let cas = ["cas", "colour", "blue", "green"];
    run(&mut raftctl_at(&[&node], &cas)).exits(1).complains(&["it is \"red\""]);
    let args = [&cas[..], &["--output", "json"]].concat();
    let json = run(&mut raftctl_at(&[&node], &args)).exits(1).json();
    assert_eq!(json["error"]["code"], "mismatch");
    assert_eq!(json["error"]["actual"], "red");
    assert_eq!(json["index"], 5);
}

#[test]
fn hanging_node_exits_3_and_the_line_printed_gets_the_outcome() {
    let hung = FakeNode::start(1, |_| Act::Hang);
    let args = ["--timeout", "2s", "put", "it's", "a value"];
    let run = run(&mut raftctl_at(&[&hung], &args)).exits(3).prints("").complains(&[
        "error: no answer within 2s",
        "may or may not",
        "--request-id ",
    ]);
    let line = run.stderr.lines().last().unwrap().trim();
    assert!(line.contains(&hung.names()[0]), "{line}");
    assert!(hung.names().iter().all(|name| *name == hung.names()[0]));
    // Given to a shell - for a node that answers - it repeats the same write under the same name.
    let node = obliging();
    let line = line.replace(&hung.addr(), &node.addr()).replace(" 2s ", " 1m ");
    let again = Run::of(Command::new("sh").args(["-c", &line]).output().unwrap());
    again.exits(0).prints("ok (index 18)\n");
    assert_eq!(node.names(), hung.names()[..1]);
    assert_eq!(node.requests()[0].op, hung.requests()[0].op);
}

#[test]
fn unknown_outcome_in_json_says_how_to_go_on() {
    let node = FakeNode::start(1, |_| Act::Close);
    let args = ["--timeout", "2s", "--output", "json", "incr", "k"];
    let run = run(&mut raftctl_at(&[&node], &args)).exits(3);
    let json = run.json();
    assert_eq!(json["error"]["definite"], false);
    assert_eq!(json["request"], *node.names()[0]);
    assert!(json["retry"].as_str().unwrap().contains(&node.names()[0]), "{json}");
    assert_eq!(run.stderr, "");
}

#[test]
fn connection_lost_in_the_middle_is_repeated_under_the_same_name() {
    let mut acts = [Act::Done(at(18)), Act::Close].into_iter();
    let node = FakeNode::start(1, move |_| acts.next_back().unwrap());
    run(&mut raftctl_at(&[&node], &["put", "k", "v"])).exits(0).prints("ok (index 18)\n");
    assert_eq!(node.names().len(), 2);
    assert_eq!(node.names()[0], node.names()[1]);
}

#[test]
fn refused_connection_exits_1_and_names_the_remedy() {
    let gone = Refusing::new();
    let args = ["--endpoints", &gone.addr(), "--timeout", "1s", "put", "k", "v"];
    run(&mut raftctl(&args)).exits(1).complains(&[
        &gone.addr(),
        "connection refused",
        "check that raftd runs",
    ]);
}

#[test]
fn read_that_hangs_exits_1() {
    let node = FakeNode::start(1, |_| Act::Hang);
    let run = run(&mut raftctl_at(&[&node], &["--timeout", "1s", "get", "k"])).exits(1);
    assert!(!run.stderr.contains("may or may not"), "{}", run.stderr);
}

#[test]
fn given_request_id_is_used_and_its_outcome_not_guessed() {
    let node = obliging();
    run(&mut raftctl_at(&[&node], &["--request-id", "me@3:9", "put", "k", "v"])).exits(0);
    assert_eq!(node.names(), ["me@3:9"]);
    let gone = Refusing::new();
    let (addr, id) = (gone.addr(), "me@3:9");
    let args = ["--endpoints", &addr, "--timeout", "1s", "--request-id", id, "put", "k", "v"];
    // The attempt before this one may have done it.
    let run = run(&mut raftctl(&args)).exits(3);
    assert_eq!(run.stderr.matches("--request-id").count(), 1, "{}", run.stderr);
}

#[test]
fn pinned_follower_exits_1_and_names_the_leader() {
    let node = FakeNode::start(1, |_| {
        Act::Refuse(api::Error { leader: Some(2), ..error(Code::NotLeader) })
    });
    run(&mut raftctl_at(&[&node], &["--node", "1", "put", "k", "v"]))
        .exits(1)
        .complains(&["leave out --node, or ask the leader: --node 2"]);
}

#[test]
fn value_comes_from_standard_input_to_the_last_byte() {
    let node = obliging();
    let feed = |bytes: &[u8]| {
        let mut command = raftctl_at(&[&node], &["put", "k", "-"]);
        let stdio = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = stdio.spawn().unwrap();
        // It stops reading a value that is too long.
        child.stdin.take().unwrap().write_all(bytes).ok();
        Run::of(child.wait_with_output().unwrap())
    };
    feed("grün\n".as_bytes()).exits(0);
    let (key, value) = ("k".to_owned(), "grün\n".to_owned());
    assert_eq!(node.requests()[0].op, Op::Put { key, value });
    feed(b"abc\xff").exits(2).complains(&["not UTF-8 (byte 4)", "base64"]);
    feed(&vec![b'x'; (1 << 20) + 1]).exits(1).complains(&["1048577 bytes", "1048576"]);
    assert_eq!(node.requests().len(), 1);
}

#[test]
fn wrong_usage_exits_2_and_says_what_is_right() {
    let check = |args: &[&str], parts: &[&str]| {
        run(&mut raftctl(args)).exits(2).prints("").complains(parts);
    };
    check(&["get", "k", "--frobnicate"], &["--frobnicate", "--help"]);
    check(&["get", "k"], &["which cluster?", "--config", "--endpoints", "RAFTCTL_CONFIG"]);
    check(&["get", "k", "--endpoints", "here"], &["\"here\"", "127.0.0.1:7201"]);
    check(&["get", "k", "--endpoints", "a:1", "--config", "c.toml"], &["both"]);
    check(&["get", "k", "--config", "/nonexistent/c.toml"], &["/nonexistent/c.toml"]);
    check(&["get", "k", "--endpoints", "a:1", "--timeout", "0s"], &["timeout"]);
    check(&["get", "k", "--endpoints", "a:1", "--request-id", "c:1"], &["for writes"]);
    check(&["cas", "k", "v", "--endpoints", "a:1"], &["--absent"]);
    check(&["cas", "k", "v", "w", "--absent", "--endpoints", "a:1"], &["new value only"]);
}

#[test]
fn cluster_file_says_whom_to_talk_to() {
    let node = obliging();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cluster.toml");
    let text = format!(
        "cluster = \"demo\"\n[[node]]\nid = 1\npeer = \"127.0.0.1:1\"\nclient = \"{}\"\n",
        node.addr()
    );
    std::fs::write(&file, &text).unwrap();
    let path = file.to_str().unwrap();
    run(&mut raftctl(&["--config", path, "get", "k"])).exits(0).prints("blue\n");
    run(raftctl(&["get", "k"]).env("RAFTCTL_CONFIG", path)).exits(0).prints("blue\n");
    // Whoever answers must be who the file says.
    assert!(node.hellos().iter().all(|hello| hello.contains("\"cluster\":\"demo\",\"node\":1")));
    run(&mut raftctl(&["--config", path, "--cluster", "prod", "--timeout", "1m", "get", "k"]))
        .exits(1)
        .complains(&["cluster \"demo\", not \"prod\""]);
    run(&mut raftctl(&["--config", path, "--node", "2", "get", "k"]))
        .exits(2)
        .complains(&["node 2", "choose one"]);
    std::fs::write(&file, text.replace("peer", "pear")).unwrap();
    run(&mut raftctl(&["--config", path, "get", "k"]))
        .exits(2)
        .complains(&["cluster.toml:4: ", "pear"]);
}

#[test]
fn reader_that_went_away_is_no_error() {
    let (gone, wait) = mpsc::channel::<()>();
    let node = FakeNode::start(1, move |_| {
        wait.recv().ok();
        Act::Done(Done { value: Some("v".to_owned()), ..at(9) })
    });
    let mut command = raftctl_at(&[&node], &["--timeout", "1m", "get", "k"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    gone.send(()).unwrap();
    let run = Run::of(child.wait_with_output().unwrap()).exits(0);
    assert_eq!(run.stderr, "");
}

#[test]
fn answer_that_cannot_be_printed_is_an_error() {
    let node = obliging();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = raftctl_at(&[&node], &["get", "k"]).stdout(full).output().unwrap();
    Run::of(output).exits(3).complains(&["cannot print the answer"]);
}

#[test]
fn help_teaches() {
    let help = run(&mut raftctl(&["--help"])).exits(0);
    for part in ["Exit codes:", "3  the outcome is unknown", "Examples:", "raftctl cas"] {
        assert!(help.stdout.contains(part), "{}", help.stdout);
    }
    run(&mut raftctl(&[])).exits(2).complains(&["Usage: raftctl"]);
}
