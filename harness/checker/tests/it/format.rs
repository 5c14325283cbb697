//! Reading and writing histories.

use std::error::Error as _;
use std::io::Write as _;

use history_checker::history::{
    Event, Header, Kind, Outcome, Process, ReadError, Reader, WriteError, Writer,
};
use history_checker::results::Verdict;
use history_checker::{History, Options, check};
use proptest::prelude::*;
use serde_json::json;

use crate::support::{header, history, part};

const HEADER: &str = r#"{"history":1,"workload":"w","model":"cas-register"}"#;
const INVOKE: &str =
    r#"{"index":0,"time":5,"process":3,"type":"invoke","f":"write","key":"x","value":"3-1"}"#;
const OK: &str = r#"{"index":1,"time":6,"process":3,"type":"ok","f":"write","key":"x","value":"3-1","log_index":7}"#;

fn parse(text: impl AsRef<[u8]>) -> Result<History, ReadError> {
    History::parse(text.as_ref(), "h.jsonl")
}

/// The message for a file of these lines after the header.
fn refused(lines: &[&str]) -> String {
    let text = format!("{HEADER}\n{}\n", lines.join("\n"));
    parse(text).expect_err("a refusal").to_string()
}

#[test]
fn written_history_reads_back() {
    let header = Header { seed: 7, consistency: Some("stale".to_owned()), ..header("register") };
    let mut writer = Writer::new(Vec::new(), &Header { history: 0, ..header.clone() }).unwrap();
    let mut event = Event::new(5, Process::Client(3), Kind::Invoke, "write");
    event.key = Some("k".to_owned());
    event.value = json!("3-1");
    event.index = 99; // the writer knows better
    assert_eq!(writer.write(event.clone()).unwrap(), 0);
    event.kind = Kind::Ok;
    event.log_index = Some(7);
    assert_eq!(writer.write(event.clone()).unwrap(), 1);
    let bytes = writer.into_inner().unwrap();
    let history = parse(&bytes).unwrap();
    assert_eq!(history.header(), &header);
    let read: Vec<Event> =
        Reader::new(bytes.as_slice(), "h").unwrap().map(|event| event.unwrap()).collect();
    assert_eq!(read[1], Event { index: 1, ..event });
    assert_eq!(history.truncated_line(), None);
    let op = &history.keys()[0].ops[0];
    assert_eq!((op.call, op.ret, op.outcome, op.log_index), (0, 1, Outcome::Ok, 7));
    assert_eq!(
        (history.client(op), history.called(op), history.completed(op)),
        (3, Some(5), Some(5))
    );
}

#[test]
fn writer_refuses_time_that_falls() {
    let mut writer = Writer::new(Vec::new(), &header("register")).unwrap();
    let event = |time| Event::new(time, Process::Named("runner".to_owned()), Kind::Info, "phase");
    writer.write(event(5)).unwrap();
    let error = writer.write(event(4)).unwrap_err();
    assert!(matches!(error, WriteError::Time { time: 4, previous: 5 }), "{error}");
    assert_eq!(writer.write(event(5)).unwrap(), 1, "the refused event left no gap");
}

#[test]
fn missing_file_is_named() {
    let error = History::read(std::path::Path::new("/nowhere/h.jsonl")).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/h.jsonl: cannot be read: "), "{error}");
    assert!(error.source().is_some());
}

#[test]
fn file_reads_as_its_text_does() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let text = format!("{HEADER}\n{INVOKE}\n{OK}\n");
    file.write_all(text.as_bytes()).unwrap();
    let (file, text) = (History::read(file.path()).unwrap(), parse(text).unwrap());
    let of = |history| check(history, &Options::default());
    assert_eq!(of(&file), of(&text));
    assert_eq!(file.keys()[0].ops.len(), 1);
}

#[test]
fn empty_file_is_refused() {
    assert_eq!(parse("").unwrap_err().to_string(), "h.jsonl: is empty: there is no history in it");
}

#[test]
fn other_first_lines_are_refused() {
    for (line, what) in [
        ("hello", "h.jsonl: is no history in a format that is known."),
        (INVOKE, "h.jsonl"),
        (
            r#"{"history":2,"workload":"w","model":"register"}"#,
            "\"history\" is 2, but this program reads version 1",
        ),
        (
            r#"{"history":1,"workload":"w","model":"queue"}"#,
            "model \"queue\" is none of register, cas-register, append, counter",
        ),
    ] {
        let error = parse(line).unwrap_err().to_string();
        assert!(error.starts_with("h.jsonl") && error.contains(what), "{error}");
    }
}

#[test]
fn cut_last_line_is_left_out_and_reported() {
    let whole = format!("{HEADER}\n{INVOKE}\n{OK}\n");
    let start_of_last = whole.len() - OK.len() - 1;
    for cut in start_of_last + 1..whole.len() - 1 {
        let history = parse(&whole[..cut]).unwrap();
        assert_eq!(history.truncated_line(), Some(3), "cut at byte {cut}");
        assert_eq!(history.operations(), 1);
        assert_eq!(history.keys()[0].ops[0].outcome, Outcome::Open);
    }
    assert_eq!(parse(&whole[..start_of_last]).unwrap().truncated_line(), None);
    assert_eq!(
        parse(&whole[..whole.len() - 1]).unwrap().keys()[0].ops[0].outcome,
        Outcome::Ok,
        "only its line end is missing"
    );
    let results = check(&parse(&whole[..whole.len() - 5]).unwrap(), &Options::default());
    let coverage = part(&results, "coverage");
    assert_eq!(coverage.verdict, Verdict::Unknown);
    assert!(
        coverage.summary.contains("breaks off in the middle of line 3"),
        "{}",
        coverage.summary
    );
}

#[test]
fn damage_before_the_last_line_is_refused() {
    assert_eq!(
        refused(&[&INVOKE[..40], OK]),
        "h.jsonl, line 2: no event of a history: EOF while parsing a string (column 40)"
    );
    let error = refused(&[r#"{"index":0,"time":1,"process":-4,"type":"invoke","f":"read"}"#]);
    assert!(error.contains("`process` must be a client's number or a name"), "{error}");
}

#[test]
fn gap_in_indexes_is_refused() {
    assert_eq!(
        refused(&[INVOKE, &OK.replace("\"index\":1", "\"index\":2")]),
        "h.jsonl, line 3: \"index\" is 2 where 1 is due: events are numbered 0, 1, 2, …"
    );
}

#[test]
fn falling_time_is_refused() {
    assert_eq!(
        refused(&[INVOKE, &OK.replace("\"time\":6", "\"time\":4")]),
        "h.jsonl, line 3: \"time\" falls from 5 to 4: events stand in order of time"
    );
}

#[test]
fn second_operation_of_a_busy_client_is_refused() {
    assert_eq!(
        refused(&[INVOKE, &INVOKE.replace("\"index\":0", "\"index\":1")]),
        "h.jsonl, line 3: client 3 invokes although its operation of event 0 has not completed"
    );
}

#[test]
fn client_with_an_unknown_outcome_does_not_come_back() {
    let info = OK.replace("\"ok\"", "\"info\"");
    let again = INVOKE.replace("\"index\":0", "\"index\":2").replace("\"time\":5", "\"time\":7");
    let expected = "h.jsonl, line 4: client 3 goes on after an info completion: its worker needs a new client number";
    assert_eq!(refused(&[INVOKE, &info, &again]), expected);
    let late = OK.replace("\"index\":1", "\"index\":2");
    assert_eq!(refused(&[INVOKE, &info, &late]), expected);
}

#[test]
fn completion_of_nothing_is_refused() {
    assert_eq!(
        refused(&[&OK.replace("\"index\":1", "\"index\":0")]),
        "h.jsonl, line 2: client 3 completes \"write\", but has no operation open"
    );
}

#[test]
fn completion_of_something_else_is_refused() {
    for (from, to, what) in [
        ("\"write\"", "\"read\"", "completes f read, but the invocation (event 0) says write"),
        ("\"x\"", "\"y\"", "completes key \"y\", but the invocation (event 0) says \"x\""),
        (
            "\"3-1\"",
            "\"3-2\"",
            "completes value \"3-2\", but the invocation (event 0) says \"3-1\"",
        ),
    ] {
        let error = refused(&[INVOKE, &OK.replace(from, to)]);
        assert_eq!(error, format!("h.jsonl, line 3: client 3 {what}"));
    }
}

#[test]
fn completion_of_another_cas_is_refused() {
    let cas = |line: &str, value| line.replace("\"write\"", "\"cas\"").replace("\"3-1\"", value);
    for other in [r#"["b","new"]"#, r#"["a","old"]"#, r#"[null,"new"]"#, r#"["a",1]"#] {
        let error = refused(&[&cas(INVOKE, r#"["a","new"]"#), &cas(OK, other)]);
        let what = "but the invocation (event 0) says [\"a\",\"new\"]";
        assert_eq!(error, format!("h.jsonl, line 3: client 3 completes value {other}, {what}"));
    }
}

#[test]
fn operations_of_other_shapes_are_refused() {
    for (line, what) in [
        (
            INVOKE.replace("write", "append"),
            "model cas-register has no operation \"append\", only read, write, cas, delete",
        ),
        (
            INVOKE.replace("\"3-1\"", "[5]"),
            "the value of write must be a string or a number, not [5]",
        ),
        (
            INVOKE.replace("write", "cas"),
            "the value of cas must be [expected value or null, new value], not \"3-1\"",
        ),
        (
            INVOKE.replace("write", "cas").replace("\"3-1\"", "[[1],\"a\"]"),
            "the value of cas must be [expected value or null, new value], not [[1],\"a\"]",
        ),
        (
            r#"{"index":0,"time":1,"process":"nemesis","type":"info","f":"kill","value":7}"#
                .to_owned(),
            "the value of a nemesis event must describe a fault: ",
        ),
        (
            r#"{"index":0,"time":1,"process":"node-1","type":"ok","f":"role"}"#.to_owned(),
            "node-1 is no client, so its events have \"type\":\"info\"",
        ),
    ] {
        let error = refused(&[&line]);
        assert!(error.starts_with(&format!("h.jsonl, line 2: {what}")), "{error}");
    }
}

#[test]
fn answers_of_other_shapes_are_refused() {
    for (model, value, what) in [
        (
            "register",
            "{}",
            "the value of read must be a string, a number, or null for no value, not {}",
        ),
        (
            "append",
            "[\"a\",[5]]",
            "the value of read must be a list of strings or numbers, or null for no value, not [\"a\",[5]]",
        ),
        ("counter", "1.5", "the value of read must be a 64-bit integer, or null, not 1.5"),
    ] {
        let text = format!(
            "{{\"history\":1,\"workload\":\"w\",\"model\":\"{model}\"}}\n\
             {{\"index\":0,\"time\":1,\"process\":1,\"type\":\"invoke\",\"f\":\"read\"}}\n\
             {{\"index\":1,\"time\":2,\"process\":1,\"type\":\"ok\",\"f\":\"read\",\"value\":{value}}}\n"
        );
        assert_eq!(parse(text).unwrap_err().to_string(), format!("h.jsonl, line 3: {what}"));
    }
}

#[test]
fn unknown_fields_and_processes_are_let_through() {
    let line = r#"{"index":0,"time":1,"process":"proxy","type":"info","f":"cut","value":[1],"colour":"red"}"#;
    assert_eq!(parse(format!("{HEADER}\n{line}\n")).unwrap().others().len(), 1);
}

proptest! {
    /// Whatever comes in: an error or a history, and then a verdict, but no panic.
    #[test]
    fn garbage_lines_never_panic(text in "\\PC*\n\\PC*") {
        drop(parse(&text));
        drop(parse(format!("{HEADER}\n{text}")));
    }

    #[test]
    fn damaged_histories_never_panic(
        place in 0_usize..1000,
        byte in any::<u8>(),
        cut in 0_usize..1000,
        model in prop::sample::select(vec!["register", "cas-register", "append", "counter"]),
    ) {
        let mut text = format!(
            "{}\n{INVOKE}\n{OK}\n{}\n",
            HEADER.replace("cas-register", model),
            r#"{"index":2,"time":9,"process":"nemesis","type":"info","f":"kill","value":{"phase":"start","fault":4}}"#
        )
        .into_bytes();
        let place = place % text.len();
        text[place] = byte;
        text.truncate(cut.max(place));
        if let Ok(history) = parse(&text) {
            drop(check(&history, &Options::default()));
        }
    }

    /// Extreme numbers overflow nothing.
    #[test]
    fn extreme_counters_never_panic(numbers in prop::collection::vec(any::<i64>(), 1..6), reads in any::<i64>()) {
        let mut text = String::new();
        for (n, number) in numbers.iter().enumerate() {
            use std::fmt::Write as _;
            let tail = if n % 2 == 0 { "-?" } else { "-9" };
            write!(text, "{} incr {number}={reads} {n}{tail};", n + 1).unwrap();
        }
        let history = history("counter", &format!("{text} 99 read {reads} 5-8"));
        drop(check(&history, &Options::default()));
    }
}
