//! What is said about stale reads.

use history_checker::results::{StaleRead, Verdict, Violation};

use crate::support::{events, header, parse, part, results};
use history_checker::{History, Options, check};

fn first(model: &str, text: &str) -> Violation {
    let results = results(model, text);
    let stale = part(&results, "stale-reads");
    assert_eq!(stale.verdict, Verdict::Invalid, "{stale:#?}");
    stale.violations[0].clone()
}

fn stale(model: &str, text: &str) -> StaleRead {
    first(model, text).stale.expect("figures of a stale read")
}

fn is_valid(model: &str, text: &str) -> bool {
    part(&results(model, text), "stale-reads").verdict == Verdict::Valid
}

#[test]
fn deposed_leader_is_explained_in_two_sentences() {
    let text = "* 1 node-2 role {\"role\":\"leader\",\"term\":3}
        * 8000 nemesis isolate-leader {\"phase\":\"start\",\"fault\":4,\"nodes\":[2],\"text\":\"partition {2} | {1,3,4,5}\",\"outcome\":\"installed\"}
        * 9000 node-4 role {\"role\":\"leader\",\"term\":4}
        1 write 3-17 @k41 #2 100-110
        3 write 4-2 @k41 #4 10900-10921
        3 write 4-3 @k41 #4 10950-10960
        * 14000 nemesis isolate-leader {\"phase\":\"stop\",\"fault\":4,\"nodes\":[2],\"text\":\"partition {2} | {1,3,4,5}\",\"proof\":7}
        7 read 3-17 @k41 #2 12841-12845";
    let (told, others) = parse(text);
    let mut events = events(&told, &others);
    for event in events.iter_mut().filter(|event| event.f == "read" && !event.value.is_null()) {
        event.role = Some("leader".to_owned());
        event.term = Some(3);
    }
    let history = History::new(header("register"), events).unwrap();
    let results = check(&history, &Options::default());
    let violation = &part(&results, "stale-reads").violations[0];
    assert_eq!(
        violation.explanation,
        "Client 7 read k41=\"3-17\" from n2 at 12.841 s, but client 3 had overwritten it with \"4-2\" and n4 had acknowledged \
         that 1.92 s earlier. n2 took itself for leader of term 3 while n4 led term 4; at that time n2 was cut off (partition {2} \
         | {1,3,4,5})."
    );
    assert_eq!(
        violation.stale,
        Some(StaleRead {
            class: "real-time".to_owned(),
            age_ms: 1920.0,
            versions: 2,
            node: Some(2),
            role: Some("leader".to_owned()),
            term: Some(3),
            true_leader: Some((4, 4)),
            faults: vec!["partition {2} | {1,3,4,5}".to_owned()],
            last_fault: None,
        })
    );
    assert_eq!(violation.events, [1, 2, 5, 6, 9, 10]);
    assert_eq!(violation.time, 12_841_000_000);
    assert_eq!(
        results.headline,
        "Invalid: 1 of 1 read is stale, on 1 key; the worst is 1.92 s old, from n2."
    );
}

#[test]
fn fault_that_is_over_is_named_with_the_time_since() {
    let text = "* 1 nemesis pause {\"phase\":\"start\",\"fault\":1,\"nodes\":[2],\"text\":\"pause n2\",\"outcome\":\"installed\"}
        * 500 nemesis pause {\"phase\":\"stop\",\"fault\":1,\"nodes\":[2],\"text\":\"pause n2\",\"proof\":499}
        * 600 nemesis kill {\"phase\":\"start\",\"fault\":2,\"nodes\":[3],\"text\":\"kill n3\",\"outcome\":\"installed\"}
        * 650 nemesis kill {\"phase\":\"stop\",\"fault\":2,\"nodes\":[3],\"text\":\"kill n3\",\"proof\":1}
        1 write a #1 2-3; 1 write b #1 4-5; 2 read a #2 740-741";
    let violation = first("register", text);
    let stale = violation.stale.unwrap();
    assert_eq!(stale.last_fault.as_deref(), Some("pause n2, which ended 240 ms before"));
    assert!(stale.faults.is_empty());
    assert!(
        violation.explanation.ends_with(
            "no fault was active, and the last one that touched n2 was pause n2, which ended 240 ms before."
        ),
        "{}",
        violation.explanation
    );
}

#[test]
fn own_write_missed_breaks_read_your_writes() {
    let text = "1 write a #1 0-1; 2 write b #1 2-3; 2 read a #2 4-5";
    assert_eq!(stale("register", text).class, "read-your-writes");
    let explanation = first("register", text).explanation;
    assert!(
        explanation.contains(
            "but had itself overwritten it with \"b\" and n1 had acknowledged that 1.0 ms earlier"
        ),
        "{explanation}"
    );
}

#[test]
fn own_increments_missed_break_read_your_writes() {
    assert_eq!(
        stale("counter", "1 incr 2 0-1; 1 incr 2 2-3; 1 read 3 4-5").class,
        "read-your-writes"
    );
    assert_eq!(stale("counter", "1 incr 2 0-1; 2 incr 2 2-3; 1 read 3 4-5").class, "real-time");
    assert_eq!(stale("append", "1 append x 0-1; 1 read - 4-5").class, "read-your-writes");
}

#[test]
fn last_fault_is_the_last_that_touched_the_node() {
    let fault = |number: u64, phase: &str, at: u64, text: &str, outcome: &str| {
        format!(
            "* {at} nemesis pause {{\"phase\":\"{phase}\",\"fault\":{number},\"nodes\":[2],\"text\":\"{text}\",\
             \"outcome\":\"{outcome}\",\"proof\":1}};"
        )
    };
    let text = [
        fault(1, "start", 1, "first", "installed"),
        fault(1, "stop", 2, "first", ""),
        fault(2, "start", 3, "second", "installed"),
        fault(2, "stop", 4, "second", ""),
        fault(3, "start", 5, "third", "skipped: no such node"),
    ]
    .concat();
    let stale =
        stale("register", &format!("{text} 1 write a #1 6-7; 1 write b #1 8-9; 2 read a #2 14-15"));
    assert_eq!(stale.last_fault.as_deref(), Some("second, which ended 10.0 ms before"));
    assert!(stale.faults.is_empty(), "a fault that was skipped was never active: {stale:?}");
}

#[test]
fn going_back_breaks_monotonic_reads() {
    let text = "1 write a 0-1; 2 write b 2-3; 3 read b 4-5; 3 read a 6-7";
    assert_eq!(stale("register", text).class, "monotonic-reads");
    assert_eq!(
        stale("append", "1 append x 0-1; 2 append y 2-3; 3 read [x,y] 4-5; 3 read [x] 6-7").class,
        "monotonic-reads"
    );
    assert_eq!(
        stale("counter", "1 incr 1 0-1; 2 incr 1 2-3; 3 read 2 4-5; 3 read 1 6-7").class,
        "monotonic-reads"
    );
}

#[test]
fn others_write_missed_breaks_real_time_only() {
    assert_eq!(stale("register", "1 write a 0-1; 2 write b 2-3; 3 read a 6-7").class, "real-time");
    // It read before b was there, and wrote before a.
    let text = "3 write z 0-1; 1 write a 2-3; 3 read a 4-5; 2 write b 6-7; 3 read a 8-9";
    assert_eq!(stale("register", text).class, "real-time");
}

#[test]
fn age_counts_from_the_oldest_write_missed() {
    let text = "1 write a 0-1; 2 write b 10-20; 2 write c 30-40; 4 write d 41-100; 3 read a 95-99";
    let stale = stale("register", text);
    assert!((stale.age_ms - 75.0).abs() < 1e-9, "{stale:?}");
    assert_eq!(stale.versions, 2);
}

#[test]
fn observed_open_write_counts_from_its_observation() {
    let text = "1 write a 0-1; 2 write b 2-?; 3 read b 50-60; 4 read a 61-62";
    let violation = first("register", text);
    assert!((violation.stale.as_ref().unwrap().age_ms - 1.0).abs() < 1e-9, "{violation:?}");
    assert!(violation.explanation.contains("client 2 had overwritten it with \"b\" and client 3 had seen that from the cluster 1.0 ms earlier"), "{}", violation.explanation);
    assert_eq!(violation.events.len(), 7);
}

#[test]
fn open_write_that_nobody_saw_proves_nothing() {
    assert!(is_valid("register", "1 write a 0-1; 2 write b 2-?; 4 read a 61-62"));
    assert!(is_valid("append", "1 append a 0-1; 2 append b 2-?; 4 read [a] 61-62"));
    assert!(is_valid("counter", "1 incr 1 0-1; 2 incr 1 2-?; 4 read 1 61-62"));
}

#[test]
fn open_write_may_land_after_others() {
    assert!(is_valid("register", "1 write a 0-?; 2 write b 2-3; 4 read a 61-62"));
    // Once seen, it had landed, and what was written after that is newer.
    assert!(!is_valid("register", "1 write a 0-?; 4 read a 1-2; 2 write b 3-4; 4 read a 61-62"));
}

#[test]
fn open_write_in_between_does_not_hide_a_later_one() {
    assert!(!is_valid("register", "1 write a 0-1; 2 write b 2-?; 4 write c 3-4; 3 read a 6-7"));
}

#[test]
fn concurrent_writes_prove_nothing() {
    assert!(is_valid("register", "1 write a 0-5; 2 write b 4-6; 3 read a 7-8"));
    assert!(is_valid("register", "1 write a 0-1; 2 write b 2-7; 3 read a 6-8"));
    assert!(is_valid("append", "1 append a 0-7; 3 read [] 6-8"));
    assert!(is_valid("counter", "1 incr 1 0-7; 3 read 0 6-8"));
}

#[test]
fn value_written_twice_is_stale_only_after_all_its_writes() {
    assert!(is_valid("register", "1 write a 0-1; 2 write b 2-3; 4 write a 2-5; 3 read a 6-7"));
    assert!(!is_valid("register", "1 write a 0-1; 4 write a 0-1; 2 write b 2-3; 3 read a 6-7"));
    // Seeing it does not tell which of the two took effect.
    assert!(is_valid(
        "register",
        "1 write a 0-?; 4 write a 0-?; 3 read a 1-2; 2 write b 3-4; 3 read a 6-7"
    ));
}

#[test]
fn nothing_after_a_delete_is_not_stale() {
    assert!(is_valid("register", "1 write a 0-1; 1 delete 2-3; 3 read - 6-7"));
    assert!(is_valid("register", "1 write a 0-1; 2 delete 2-9; 1 write b 3-4; 3 read - 6-7"));
    assert!(!is_valid("register", "1 delete 0-1; 1 write a 2-3; 3 read - 6-7"));
}

#[test]
fn failed_cas_that_found_the_new_value_proves_it_effective() {
    let text = "1 write a 0-1; 2 write b 2-?; 3 cas x>y=b 4-5!; 4 read a 6-7";
    assert!(!is_valid("cas-register", text));
    assert!(is_valid("cas-register", "1 write a 0-1; 2 write b 2-?; 3 cas x>y 4-5!; 4 read a 6-7"));
}

#[test]
fn counter_that_may_fall_is_not_judged() {
    let results = results("counter", "1 incr 5 0-1; 2 incr -1 2-?; 3 read 4 6-7");
    let stale = part(&results, "stale-reads");
    assert_eq!(stale.verdict, Verdict::Valid);
    assert!(stale.summary.contains("1 could not be judged"), "{}", stale.summary);
}

#[test]
fn counter_below_what_was_acknowledged_is_explained() {
    let explanation =
        first("counter", "1 incr 1=1 @c #1 0-1; 2 incr 2=3 @c #4 2-3; 3 read 1 @c #2 23-24")
            .explanation;
    assert!(
        explanation.starts_with(
            "Client 3 read c=1 from n2 at 0.023 s, but client 2 had added to it and got 3 and n4 had acknowledged that 20.0 ms \
             earlier. "
        ),
        "{explanation}"
    );
}

#[test]
fn list_without_an_acknowledged_token_is_explained() {
    let explanation =
        first("append", "1 append x @l #1 0-1; 2 append y @l #4 2-3; 3 read [x] @l #2 23-24")
            .explanation;
    assert!(
        explanation.starts_with(
            "Client 3 read l without \"y\" from n2 at 0.023 s, but client 2 had appended it and n4 had acknowledged that 20.0 ms \
             earlier. "
        ),
        "{explanation}"
    );
}

#[test]
fn totals_tell_where_and_when() {
    let text = "* 1 nemesis isolate-one {\"phase\":\"start\",\"fault\":9,\"nodes\":[2],\"text\":\"isolate n2\",\"outcome\":\"installed\"}
        1 write a #1 2-3; 1 write b #1 4-5; 2 read a #2 15-16; 3 read b #1 17-18; 2 read a #2 25-26
        * 30 nemesis isolate-one {\"phase\":\"stop\",\"fault\":9,\"nodes\":[2],\"text\":\"isolate n2\",\"proof\":5}
        * 31 runner phase \"heal\"; 2 read a #2 35-36; 2 read b #2 45-46";
    let results = results("register", text);
    let details = &part(&results, "stale-reads").details;
    assert_eq!(details["reads"], 5);
    assert_eq!(details["stale"], 3);
    assert_eq!(details["nodes"]["2"]["stale"], 3);
    assert_eq!(details["nodes"]["2"]["reads"], 4);
    assert_eq!(details["nodes"]["1"]["stale"], 0);
    assert_eq!(details["faults"][0]["stale"], 2);
    assert_eq!(details["faults"][0]["text"], "isolate n2");
    assert_eq!(details["outside_faults"], 1);
    assert_eq!(details["age_ms"]["p50"], 20.0);
    assert_eq!(details["age_ms"]["max"], 30.0);
    assert_eq!(details["first_ns"], 15_000_000);
    assert_eq!(details["last_ns"], 35_000_000);
    assert_eq!(details["after_heal"], 1);
    assert_eq!(details["ended_with_heal"], false);
    assert_eq!(details["keys"]["k"], 3);
}

#[test]
fn node_in_no_fault_is_told_of_faults_elsewhere() {
    let text = "* 1 nemesis kill {\"phase\":\"start\",\"fault\":9,\"nodes\":[3],\"text\":\"kill n3\",\"outcome\":\"installed\"}
        1 write a #1 2-3; 1 write b #1 4-5; 2 read a #2 15-16";
    let explanation = first("register", text).explanation;
    assert!(
        explanation.ends_with("; at that time there was a fault elsewhere (kill n3)."),
        "{explanation}"
    );
}
