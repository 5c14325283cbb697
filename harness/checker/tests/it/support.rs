//! Histories in a line: `1 write a 0-2; 2 read a 1-3; 3 write b 4-?`.
//!
//! `CLIENT F ARGUMENTS START-END`: `END` is `?` if the outcome is open, and ends in `!` if the operation failed.
//! Times are milliseconds. Arguments: `write a`, `read a`, `read -` (no value), `read [a,b]`, `read 5`, `cas a>b`,
//! `cas a>b=c` (failed, found c), `append a`, `incr 2`, `incr 2=7` (returned 7), `delete`. A key may stand before the
//! times: `@k2`, and the node that answered: `#2`. Other processes: `* EVENT` with a JSON value, see [`history`].

use std::collections::BTreeMap;

use history_checker::history::{Event, Header, Kind, Process};
use history_checker::results::{Check, Results, Verdict};
use history_checker::{History, Options, check};
use serde_json::{Value, json};

/// One operation as a test states it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) client: u64,
    pub(crate) f: String,
    pub(crate) key: String,
    /// Of the invocation.
    pub(crate) asked: Value,
    /// Of the completion.
    pub(crate) answered: Value,
    pub(crate) outcome: Kind,
    pub(crate) start: u64,
    /// None: there is no completion.
    pub(crate) end: Option<u64>,
    pub(crate) node: Option<u64>,
}

pub(crate) fn header(model: &str) -> Header {
    Header {
        history: 1,
        workload: "test".to_owned(),
        model: model.to_owned(),
        nodes: 5,
        ..Header::default()
    }
}

/// Parses the notation above. Lines starting with `*` are events of other processes: `* 5 nemesis kill {"phase":…}`.
pub(crate) fn parse(text: &str) -> (Vec<Told>, Vec<Event>) {
    let mut told = Vec::new();
    let mut others = Vec::new();
    for part in text.split([';', '\n']).map(str::trim).filter(|part| !part.is_empty()) {
        match part.strip_prefix("* ") {
            Some(other) => others.push(parse_other(other)),
            None => told.push(parse_operation(part)),
        }
    }
    (told, others)
}

fn parse_other(text: &str) -> Event {
    let mut parts = text.splitn(4, ' ');
    let mut next = || parts.next().expect("* TIME PROCESS F VALUE");
    let time: u64 = next().parse().expect("a time");
    let process = Process::Named(next().to_owned());
    let mut event = Event::new(time * 1_000_000, process, Kind::Info, next());
    event.value = serde_json::from_str(next()).expect("a JSON value");
    event
}

fn parse_operation(text: &str) -> Told {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    let (start, end) = words.pop().and_then(|times| times.split_once('-')).expect("START-END");
    let mut told = Told {
        client: words[0].parse().expect("a client"),
        f: words[1].to_owned(),
        key: "k".to_owned(),
        asked: Value::Null,
        answered: Value::Null,
        outcome: Kind::Ok,
        start: start.parse().expect("a start"),
        end: None,
        node: None,
    };
    if end == "?" {
        told.outcome = Kind::Info;
    } else {
        if end.ends_with('!') {
            told.outcome = Kind::Fail;
        }
        told.end = Some(end.trim_end_matches('!').parse().expect("an end"));
    }
    for word in words.drain(2..) {
        if let Some(key) = word.strip_prefix('@') {
            key.clone_into(&mut told.key);
        } else if let Some(node) = word.strip_prefix('#') {
            told.node = Some(node.parse().expect("a node"));
        } else {
            argument(&mut told, word);
        }
    }
    told
}

fn argument(told: &mut Told, word: &str) {
    let value = |word: &str| match word {
        "-" => Value::Null,
        _ if word.starts_with('[') => {
            json!(
                word.trim_matches(['[', ']'])
                    .split(',')
                    .filter(|t| !t.is_empty())
                    .collect::<Vec<_>>()
            )
        }
        word => word.parse::<i64>().map_or_else(|_| json!(word), |number| json!(number)),
    };
    match told.f.as_str() {
        "read" => told.answered = value(word),
        "cas" => {
            let (swap, actual) =
                word.split_once('=').map_or((word, None), |(swap, actual)| (swap, Some(actual)));
            let (expect, new) = swap.split_once('>').expect("cas a>b");
            told.asked = json!([value(expect), new]);
            told.answered =
                actual.map_or(told.asked.clone(), |actual| json!({"actual": value(actual)}));
        }
        "incr" => {
            let (by, sum) = word.split_once('=').map_or((word, None), |(by, sum)| (by, Some(sum)));
            told.asked = value(by);
            told.answered = sum.map_or(Value::Null, value);
        }
        _ => {
            told.asked = json!(word);
            told.answered = json!(word);
        }
    }
}

/// Lays operations out as events, in order of time; at equal times, completions come last.
pub(crate) fn events(told: &[Told], others: &[Event]) -> Vec<Event> {
    let mut all: Vec<(u64, usize, Event)> = Vec::new();
    for (number, op) in told.iter().enumerate() {
        let mut event = Event::new(
            op.start * 1_000_000,
            Process::Client(op.client),
            Kind::Invoke,
            op.f.clone(),
        );
        event.key = Some(op.key.clone());
        event.value = op.asked.clone();
        event.node = op.node;
        event.request = Some(format!("c{}:{number}", op.client));
        all.push((op.start, 0, event.clone()));
        if let Some(end) = op.end {
            event.time = end * 1_000_000;
            event.kind = op.outcome;
            event.value = op.answered.clone();
            if op.outcome == Kind::Fail {
                event.error = Some(if op.f == "cas" { "mismatch" } else { "refused" }.to_owned());
            }
            all.push((end, 1, event));
        }
    }
    all.extend(others.iter().map(|event| (event.time / 1_000_000, 0, event.clone())));
    all.sort_by_key(|(time, order, _)| (*time, *order));
    let mut events: Vec<Event> = all.into_iter().map(|(_, _, event)| event).collect();
    for (index, event) in events.iter_mut().enumerate() {
        event.index = u64::try_from(index).expect("fits");
    }
    events
}

pub(crate) fn history(model: &str, text: &str) -> History {
    let (told, others) = parse(text);
    History::new(header(model), events(&told, &others)).expect("a well-formed history")
}

pub(crate) fn results(model: &str, text: &str) -> Results {
    check(&history(model, text), &Options::default())
}

/// One check's part.
pub(crate) fn part<'r>(results: &'r Results, name: &str) -> &'r Check {
    results.checks.iter().find(|check| check.name == name).expect("a check of that name")
}

/// The verdicts of all checks, by name.
pub(crate) fn verdicts(results: &Results) -> BTreeMap<&str, Verdict> {
    results.checks.iter().map(|check| (check.name.as_str(), check.verdict)).collect()
}
