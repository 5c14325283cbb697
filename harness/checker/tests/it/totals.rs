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
fn lock_needs_no_last_look() {
    let lock = ["acquire", "release"].map(|f| (f, Value::Null, Value::Null));
    assert_eq!(covered("mutex", &lock, &[]), Verdict::Valid);
}
