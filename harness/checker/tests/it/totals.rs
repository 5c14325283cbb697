//! What is only of transactions, queues and locks: totals, and what tells in the end what became of all operations.

use history_checker::history::{Event, Header, Kind, Process};
use history_checker::results::{Results, Verdict};
use history_checker::{History, Options, check};
use serde_json::{Value, json};

use crate::support::part;

/// Client 1's operations, one after the other: f, what it asks for, what it is answered. `runner` stands for a phase.
fn results(model: &str, total: Option<i64>, told: &[(&str, Value, Value)]) -> Results {
    let mut events = Vec::new();
    for (f, asked, answered) in told {
        if *f == "runner" {
            let process = Process::Named("runner".to_owned());
            let mut event = Event::new(0, process, Kind::Info, "phase");
            event.value = asked.clone();
            events.push(event);
            continue;
        }
        for (kind, value) in [(Kind::Invoke, asked), (Kind::Ok, answered)] {
            let mut event = Event::new(0, Process::Client(1), kind, *f);
            event.key = Some("k".to_owned());
            event.value = value.clone();
            events.push(event);
        }
    }
    for (index, event) in (0_u64..).zip(&mut events) {
        (event.index, event.time) = (index, index * 1_000_000);
    }
    let initial = total.map(|_| json!({"r0": 20, "r1": 20}));
    let header = Header {
        history: 1,
        workload: "test".to_owned(),
        model: model.to_owned(),
        initial,
        total,
        ..Header::default()
    };
    check(&History::new(header, events).expect("a well-formed history"), &Options::default())
}

fn read(r0: i64, r1: i64) -> (&'static str, Value, Value) {
    let steps = |a: Value, b: Value| json!([["r", "r0", a], ["r", "r1", b]]);
    ("txn", steps(Value::Null, Value::Null), steps(json!(r0), json!(r1)))
}

fn transfer(before: [i64; 2], after: [i64; 2]) -> (&'static str, Value, Value) {
    let steps = json!([
        ["r", "r0", before[0]],
        ["r", "r1", before[1]],
        ["w", "r0", after[0]],
        ["w", "r1", after[1]]
    ]);
    ("txn", steps.clone(), steps)
}

#[test]
fn total_that_every_read_sees_is_valid() {
    let told = [read(20, 20), transfer([20, 20], [17, 23]), read(17, 23)];
    let results = results("multi-register", Some(40), &told);
    assert_eq!(results.verdict, Verdict::Valid, "{results:#?}");
    assert_eq!(part(&results, "totals").details, json!({"total": 40, "reads": 2, "wrong": 0}));
}

#[test]
fn wrong_total_is_named_first() {
    let told = [transfer([20, 20], [17, 23]), read(17, 20)];
    let results = results("multi-register", Some(40), &told);
    assert_eq!(part(&results, "totals").verdict, Verdict::Invalid);
    assert_eq!(part(&results, "linearizable").verdict, Verdict::Invalid);
    assert!(results.headline.contains("the total was 37 instead of 40"), "{}", results.headline);
    assert_eq!(part(&results, "totals").violations[0].events, [2, 3]);
}

#[test]
fn total_is_asked_of_reads_of_all_registers_only() {
    let some = json!([["r", "r0", 17]]);
    let told = [transfer([20, 20], [17, 23]), ("txn", json!([["r", "r0", null]]), some)];
    let results = results("multi-register", Some(40), &told);
    assert_eq!(part(&results, "totals").verdict, Verdict::Unknown);
}

/// What coverage says when `told` is all that happened after `before`, in the last phase.
fn covered(model: &str, before: &[(&str, Value, Value)], last: &[(&str, Value, Value)]) -> Verdict {
    let phase = |name: &str| ("runner", json!(name), Value::Null);
    let mut told = vec![phase("clean")];
    told.extend_from_slice(before);
    told.push(phase("final"));
    told.extend_from_slice(last);
    told.push(phase("end"));
    part(&results(model, None, &told), "coverage").verdict
}

#[test]
fn registers_are_covered_by_a_last_transaction_that_only_reads() {
    let write = ("txn", json!([["w", "r0", 1]]), json!([["w", "r0", 1]]));
    let read = ("txn", json!([["r", "r0", null]]), json!([["r", "r0", 1]]));
    let (write, read) = ([write], [read]);
    assert_eq!(covered("multi-register", &write, &read), Verdict::Valid);
    assert_eq!(covered("multi-register", &write, &write), Verdict::Unknown);
}

#[test]
fn queue_is_covered_once_it_was_found_empty() {
    let put = ("enqueue", json!("a"), Value::Null);
    let take = ("dequeue", Value::Null, json!("a"));
    let none = ("dequeue", Value::Null, Value::Null);
    let put = [put];
    assert_eq!(covered("fifo-queue", &put, &[take.clone(), none]), Verdict::Valid);
    assert_eq!(covered("fifo-queue", &put, &[take]), Verdict::Unknown);
}

#[test]
fn elements_are_lost_or_late_or_in_every_read() {
    let add = |element: &str| ("add", json!(element), json!(element));
    let read = |list: Value| ("read", Value::Null, list);
    let all = [add("a"), read(json!(["a"])), add("b"), read(json!(["b", "a"]))];
    let late = [add("a"), read(json!([])), add("b"), read(json!(["a", "b"]))];
    let lost = [add("a"), read(json!(["a"])), add("b"), read(json!(["b"]))];
    let cases = [
        (&all, Verdict::Valid, 0, 0),
        (&late, Verdict::Invalid, 0, 1),
        (&lost, Verdict::Invalid, 1, 0),
    ];
    for (told, verdict, lost, stale) in cases {
        let results = results("set", None, told);
        let elements = part(&results, "elements");
        assert_eq!(elements.verdict, verdict, "{elements:#?}");
        assert_eq!(elements.details["acknowledged"], json!(2));
        assert_eq!(
            (&elements.details["lost"], &elements.details["stale"]),
            (&json!(lost), &json!(stale))
        );
    }
    let twice = results("set", None, &[add("a"), add("b"), read(json!(["a", "b", "a"]))]);
    let elements = part(&twice, "elements");
    assert_eq!(
        (elements.verdict, &elements.violations[0].class[..]),
        (Verdict::Invalid, "duplicate")
    );
    assert!(elements.summary.contains("found \"a\" twice"), "{}", elements.summary);
    // Acknowledged at 1 ms, missed by a read that began at 2 ms.
    let results = results("set", None, &late);
    assert_eq!(part(&results, "elements").details["stale_ms"]["max"], json!(1.0));
    assert!(results.headline.contains("was told at"), "{}", results.headline);
}

/// What `failover` says of a run in which node 1 led, was killed at 10 ms, and these writes were made, from when to when.
fn failover(victim: u64, writes: &[(u64, u64)]) -> (Verdict, Value) {
    let named = |time: u64, process: &str, f: &str, value: Value| {
        let mut event = Event::new(0, Process::Named(process.to_owned()), Kind::Info, f);
        (event.time, event.value) = (time, value);
        event
    };
    let fault = |phase: &str| json!({"phase": phase, "fault": 1, "nodes": [victim], "outcome": "installed", "proof": 1});
    let mut events = vec![
        named(0, "node-1", "role", json!({"role": "leader", "term": 1})),
        named(10, "nemesis", "kill", fault("start")),
        named(12, "nemesis", "kill", fault("stop")),
    ];
    for (client, &(start, end)) in (0..).zip(writes) {
        for (kind, time) in [(Kind::Invoke, start), (Kind::Ok, end)] {
            let mut event = Event::new(0, Process::Client(client), kind, "write");
            (event.time, event.value) = (time, json!(format!("v{client}")));
            event.key = Some("k".to_owned());
            events.push(event);
        }
    }
    events.sort_by_key(|event| event.time);
    for (index, event) in (0_u64..).zip(&mut events) {
        (event.index, event.time) = (index, event.time * 1_000_000);
    }
    let header = Header {
        history: 1,
        model: "register".to_owned(),
        failover_ms: Some(20),
        ..Header::default()
    };
    let history = History::new(header, events).expect("a well-formed history");
    let results = check(&history, &Options::default());
    let failover = part(&results, "failover");
    (failover.verdict, failover.details["ms"]["max"].clone())
}

#[test]
fn failover_is_from_the_kill_to_the_first_write_begun_after_it() {
    assert_eq!(failover(1, &[(9, 11), (13, 25), (14, 19)]), (Verdict::Valid, json!(9.0)));
    assert_eq!(failover(1, &[(1, 2), (13, 31)]), (Verdict::Unknown, json!(21.0)));
    assert_eq!(failover(1, &[(9, 11)]), (Verdict::Unknown, Value::Null));
    assert_eq!(failover(2, &[(13, 14)]), (Verdict::Unknown, Value::Null), "no leader was killed");
}

#[test]
fn lock_needs_no_last_look() {
    let lock = ["acquire", "release"].map(|f| (f, Value::Null, Value::Null));
    assert_eq!(covered("mutex", &lock, &[]), Verdict::Valid);
}

/// What a transaction of unknown outcome read is not known, and what it wrote may be seen.
#[test]
fn open_transaction_wrote_what_it_asked_for_and_read_anything() {
    let verdict = |seen: i64| {
        let lines = [
            json!({"history": 1, "workload": "w", "model": "multi-register"}),
            json!({"process": 1, "type": "invoke", "value": [["w", "a", 5]]}),
            json!({"process": 1, "type": "ok", "value": [["w", "a", 5]]}),
            json!({"process": 2, "type": "invoke", "value": [["r", "a", null], ["w", "b", 7]]}),
            json!({"process": 2, "type": "info", "value": [["r", "a", null], ["w", "b", 7]]}),
            json!({"process": 1, "type": "invoke", "value": [["r", "b", null]]}),
            json!({"process": 1, "type": "ok", "value": [["r", "b", seen]]}),
        ];
        let mut text = String::new();
        for (number, mut line) in (-1_i64..).zip(lines) {
            if number >= 0 {
                line["index"] = json!(number);
                line["time"] = json!(number);
                line["f"] = json!("txn");
                line["key"] = json!("k");
            }
            text.push_str(&line.to_string());
            text.push('\n');
        }
        let history = History::parse(text.as_bytes(), "test").expect("a well-formed history");
        let results = check(&history, &Options::default());
        part(&results, "linearizable").verdict
    };
    assert_eq!(verdict(7), Verdict::Valid);
    assert_eq!(verdict(8), Verdict::Invalid);
}
