//! Our own format's lines are read by hand; they must say what `serde_json` says they do.

use history_checker::datum::Datum;
use history_checker::formats::{Format, RawEvent, RawProcess, Record, Records};
use history_checker::history::{Event, Kind, Process};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::HEADER;
use super::mutated::mutate;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

/// What a line says to us: an event, another's event, or the text of an error.
fn ours(line: &[u8]) -> Result<String, ()> {
    let text = [HEADER.as_bytes(), b"\n", line, b"\n"].concat();
    let mut records = Records::new(&*text, "h", Some(Format::History)).expect("a header");
    records.next().expect("a header");
    match records.next() {
        Ok(Some(Record::Event(event))) => Ok(format!("{event:?}")),
        Ok(Some(Record::Other(event))) => Ok(format!("{event:?}")),
        Ok(other) => panic!("{other:?}"),
        Err(_) => Err(()),
    }
}

/// What it says to `serde_json`.
fn theirs(line: &[u8]) -> Result<String, ()> {
    let event: Event = serde_json::from_slice(line.trim_ascii_end()).map_err(|_| ())?;
    let Process::Client(client) = event.process else { return Ok(format!("{event:?}")) };
    let raw = RawEvent {
        process: RawProcess::Client(client),
        kind: event.kind,
        f: event.f.into(),
        key: event.key.map(|key| Datum::Text(key.into())),
        value: Datum::from(&event.value),
        time: Some(event.time),
        index: Some(event.index),
        error: event.error.map(Into::into),
        node: event.node,
        request: event.request.map(Into::into),
        log_index: event.log_index,
        role: event.role.map(Into::into),
        term: event.term,
    };
    Ok(format!("{raw:?}"))
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
        "[a-z0-9-]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]{1,2}", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn event() -> impl Strategy<Value = Event> {
    let process = prop_oneof![
        8 => (0_u64..100).prop_map(Process::Client),
        1 => any::<u64>().prop_map(Process::Client),
        1 => "[a-z]{1,5}".prop_map(Process::Named),
    ];
    let kind = prop::sample::select(vec![Kind::Invoke, Kind::Ok, Kind::Fail, Kind::Info]);
    let text = || prop::option::of(prop_oneof!["[a-z0-9@:]{0,8}", ".{0,4}"]);
    (
        (any::<u64>(), any::<u64>(), process, kind, "[a-z]{1,6}", text(), value()),
        (text(), prop::option::of(any::<u64>()), text(), prop::option::of(0_u64..1000), text()),
    )
        .prop_map(
            |((index, time, process, kind, f, key, value), (error, node, request, term, role))| {
                Event {
                    error,
                    index,
                    key,
                    value,
                    node,
                    request,
                    term,
                    role,
                    log_index: term.map(|term| term * 7),
                    ..Event::new(time, process, kind, f)
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn events_and_their_mutations_mean_the_same(event in event(), seed in any::<u64>()) {
        let line = serde_json::to_vec(&event).expect("JSON");
        prop_assert_eq!(ours(&line), theirs(&line));
        prop_assert!(ours(&line).is_ok());
        let mut random = SmallRng::seed_from_u64(seed);
        for _ in 0..40 {
            let mut mutated = line.clone();
            mutate(&mut mutated, &mut random);
            // A line end would make two lines of it.
            mutated.retain(|byte| *byte != b'\n');
            let (ours, theirs) = (ours(&mutated), theirs(&mutated));
            prop_assert_eq!(ours, theirs, "{}", String::from_utf8_lossy(&mutated));
        }
    }
}

#[test]
fn unusual_lines_mean_the_same() {
    let line =
        |more: &str| format!(r#"{{"index":0,"time":5,"process":3,"type":"ok","f":"read"{more}}}"#);
    for more in [
        r#","value":1.50"#,
        r#","value":-0"#,
        r#","value":123456789012345678901234567890"#,
        r#","value":18446744073709551615"#,
        r#","value":9999999999999999999"#,
        r#","value":9999999999999999999,"node":12345678"#,
        r#","value":999999999999999999"#,
        r#","value":{"b":1,"a":2}"#,
        r#","value":{"a":1,"a":2}"#,
        r#","value":"\ud83d\ude00\u0000""#,
        r#","value":"\ud83d""#,
        r#","value":null,"value":null"#,
        r#","key":null"#,
        r#","key":null,"key":null"#,
        r#","key":5"#,
        r#","k\u0065y":"x""#,
        r#","colour":{"red":[1]}"#,
        r#","colour":1,"colour":2"#,
        r#","node":1.0"#,
        r#","node":-1"#,
        r#","node":01"#,
        r#","term":99999999999999999999"#,
        r#","log_index":1000000000000000000"#,
        " , \"node\" : 7 \t",
        ",",
        "}",
    ] {
        let line = line(more);
        assert_eq!(ours(line.as_bytes()), theirs(line.as_bytes()), "{line}");
    }
    let deep = |levels| line(&format!(",\"value\":{}{}", "[".repeat(levels), "]".repeat(levels)));
    for levels in [1, 90, 99, 100, 101, 126, 127, 128, 10_000] {
        let line = deep(levels);
        assert_eq!(ours(line.as_bytes()), theirs(line.as_bytes()), "{levels} levels");
    }
    for line in [
        json!([0, 5, 3, "ok", "read", null, null, null, null, null, null, null, null]).to_string(),
        String::new(),
        "null".to_owned(),
        line("").replace("\"ok\"", "{\"ok\":null}"),
        line("").replace(":3,", ":\"3\","),
        line("").replace(":3,", ":3.0,"),
        format!("  {}\u{c}\r", line("")),
    ] {
        assert_eq!(ours(line.as_bytes()), theirs(line.as_bytes()), "{line}");
    }
}
