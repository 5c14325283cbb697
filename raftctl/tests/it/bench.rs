//! `raftctl bench` against a scripted node.

use std::collections::BTreeSet;

use raftctl::{Code, Op, Status};
use raftd::api::Done;

use crate::command::{raftctl, raftctl_at, run};
use crate::fake::{Act, FakeNode, Refusing, at, error};

const SHORT: [&str; 7] = ["bench", "--warmup", "20ms", "--duration", "1s", "--timeout", "20s"];

fn node() -> FakeNode {
    FakeNode::start(1, |request| {
        if request.op != Op::Status {
            return Act::Done(at(18));
        }
        let status = Status { node: 1, role: "leader".to_owned(), ..Status::default() };
        Act::Done(Done { status: Some(Box::new(status)), ..Done::default() })
    })
}

#[test]
fn figures_are_printed() {
    let node = node();
    let args = [&SHORT[..], &["--clients", "4", "--connections", "2"]].concat();
    let run = run(&mut raftctl_at(&[&node], &args)).exits(0);
    for part in
        ["put of 100 B, 4 clients on 2 connections to node 1", "operations/s", "p99", "FSYNCS/s"]
    {
        assert!(run.stdout.contains(part), "no {part:?} in {}", run.stdout);
    }
    assert_eq!(run.stderr, "", "progress is for terminals");
    // Two for the load, one for the watcher.
    assert_eq!(node.connections(), 3);
}

#[test]
fn json_holds_the_figures_and_the_settings() {
    let node = node();
    let args = [&SHORT[..], &["--output", "json", "--clients", "3", "--mix", "30", "--keys", "7"]];
    let json = run(&mut raftctl_at(&[&node], &args.concat())).exits(0).json();
    assert_eq!((&json["clients"], &json["connections"]), (&3.into(), &3.into()));
    assert!(json["operations"].as_u64().unwrap() > 0, "{json}");
    assert!(json["latency_ms"]["p50"].as_f64().unwrap() > 0.0, "{json}");
    assert_eq!(json["nodes"][0]["role"], "leader");
    let mut keys = BTreeSet::new();
    for request in node.requests() {
        if let Op::Put { key, .. } = request.op {
            keys.insert(key);
        }
    }
    assert_eq!(keys.len(), 7, "all keys are written first: {keys:?}");
}

#[test]
fn errors_are_counted_by_their_code() {
    let mut writes = 0;
    let node = FakeNode::start(1, move |request| {
        writes += u32::from(request.op != Op::Status);
        if writes > 1 { Act::Refuse(error(Code::DiskFull)) } else { Act::Done(at(1)) }
    });
    let args = [&SHORT[..], &["--output", "json"]].concat();
    let json = run(&mut raftctl_at(&[&node], &args)).exits(1).json();
    assert_eq!(json["operations"], 0);
    assert!(json["errors"]["disk_full"].as_u64().unwrap() > 0, "{json}");
}

#[test]
fn cluster_that_does_not_work_exits_1() {
    let gone = Refusing::new();
    let args = ["--endpoints", &gone.addr(), "--timeout", "1s", "bench"];
    run(&mut raftctl(&args)).exits(1).complains(&["the first write failed", "connection refused"]);
}

#[test]
fn settings_that_make_no_sense_exit_2() {
    let check = |args: &[&str], part: &str| {
        let args = [&["--endpoints", "a:1", "bench"], args].concat();
        run(&mut raftctl(&args)).exits(2).complains(&[part]);
    };
    check(&["--mix", "140"], "0 to 100");
    check(&["--key-bytes", "3"], "--key-bytes 5");
    check(&["--duration", "0s"], "--duration");
    check(&["--clients", "0"], "--clients");
}
