//! Random small histories, valid by construction or broken, against the oracle; and large valid ones.

use history_checker::history::{Event, Kind};
use history_checker::results::Verdict;
use history_checker::{History, Options, check};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::oracle::is_linearizable;
use crate::support::{Told, events, header, part};

const MODELS: [&str; 4] = ["register", "cas-register", "append", "counter"];

/// What a generated history is like.
#[derive(Clone, Copy, Debug)]
struct Shape {
    ops: u64,
    clients: u64,
    /// How long an operation takes at most, in steps of time between which one is started on average.
    spread: u64,
    /// Percentage.
    open: u32,
    /// Percentage of writes whose value is one of three instead of a new one.
    small_values: u32,
}

/// Operations on one object, each with a moment at which it takes effect; answers are what the object said.
fn generate(model: &str, shape: Shape, rng: &mut SmallRng) -> Vec<Told> {
    let mut told: Vec<Told> = Vec::new();
    let mut effects: Vec<(u64, usize)> = Vec::new();
    let mut free_at = vec![0; usize::try_from(shape.clients).expect("fits")];
    let mut retired = 0;
    for number in 0..shape.ops {
        let worker = rng.random_range(0..free_at.len());
        let start = free_at[worker] + rng.random_range(1..=4);
        let end = start + rng.random_range(1..=shape.spread);
        let open = rng.random_range(0..100) < shape.open;
        free_at[worker] = end;
        let client = u64::try_from(worker).expect("fits") + 100 * retired;
        if open {
            retired += 1; // so that no client goes on after an open operation
        }
        let mut op = Told {
            client: client + 1000 * retired,
            f: String::new(),
            key: "k".to_owned(),
            asked: Value::Null,
            answered: Value::Null,
            outcome: if open { Kind::Info } else { Kind::Ok },
            start,
            // An open operation may say so, or just never complete.
            end: (!open || number % 2 == 0).then_some(end),
            node: None,
        };
        ask(model, &mut op, number, shape, rng);
        if !open {
            effects.push((rng.random_range(start..=end), told.len()));
        } else if rng.random_bool(0.6) {
            effects.push((rng.random_range(start..=start + 3 * shape.spread), told.len()));
        }
        told.push(op);
    }
    effects.sort_unstable();
    let mut state = Value::Null;
    for (_, number) in effects {
        answer(&mut told[number], &mut state, rng);
    }
    told
}

fn ask(model: &str, op: &mut Told, number: u64, shape: Shape, rng: &mut SmallRng) {
    let small = rng.random_range(0..100) < shape.small_values;
    let value = if small { format!("v{}", rng.random_range(0..3)) } else { format!("u{number}") };
    let any = format!("u{}", rng.random_range(0..=number));
    let kind = rng.random_range(0..10);
    let (f, asked) = match (model, kind) {
        (_, 0..=4) => ("read", Value::Null),
        ("append", _) => ("append", json!(value)),
        ("counter", _) => {
            let least = if small { -2 } else { 1 };
            ("incr", json!(rng.random_range(least..=3)))
        }
        ("cas-register", 7..) => {
            let expect = if small { format!("v{}", rng.random_range(0..3)) } else { any };
            ("cas", json!([expect, value]))
        }
        (_, 5) if small => ("delete", Value::Null),
        _ => ("write", json!(value)),
    };
    f.clone_into(&mut op.f);
    op.asked = asked;
}

/// Carries the operation out, and sets its answer unless it is open.
fn answer(op: &mut Told, state: &mut Value, rng: &mut SmallRng) {
    let (answered, next) = match op.f.as_str() {
        "read" => (state.clone(), state.clone()),
        "write" => (op.asked.clone(), op.asked.clone()),
        "delete" => (Value::Null, Value::Null),
        "append" => {
            let mut list = state.as_array().cloned().unwrap_or_default();
            list.push(op.asked.clone());
            (op.asked.clone(), Value::Array(list))
        }
        "incr" => {
            let sum = json!(state.as_i64().unwrap_or(0) + op.asked.as_i64().expect("a number"));
            (if rng.random_bool(0.5) { sum.clone() } else { Value::Null }, sum)
        }
        _ if op.asked[0] == *state => (op.asked.clone(), op.asked[1].clone()),
        _ => {
            if op.outcome == Kind::Ok {
                op.outcome = Kind::Fail;
                op.answered =
                    if rng.random_bool(0.5) { json!({"actual": state}) } else { op.asked.clone() };
            }
            return;
        }
    };
    *state = next;
    if op.outcome == Kind::Ok {
        op.answered = answered;
    }
}

/// Breaks something, or only seems to: another answer, an interval cut short, an outcome made certain.
fn mutate(told: &mut [Told], rng: &mut SmallRng) {
    let number = rng.random_range(0..told.len());
    let other = told[rng.random_range(0..told.len())].clone();
    let op = &mut told[number];
    match (op.f.as_str(), rng.random_range(0..6)) {
        ("read", 0..=3) if op.end.is_some() => op.answered = misread(&op.answered, &other, rng),
        ("incr", 0..=1) if op.end.is_some() => op.answered = json!(rng.random_range(-1..6)),
        (_, 4) => {
            if let Some(end) = op.end {
                op.start = rng.random_range(op.start..=end);
            }
        }
        ("write" | "append", _) if op.outcome == Kind::Info => {
            op.outcome = Kind::Ok;
            op.end = Some(op.start + rng.random_range(1..5));
            op.answered = op.asked.clone();
        }
        _ => {}
    }
}

/// Another answer to a read, near the right one.
fn misread(answer: &Value, other: &Told, rng: &mut SmallRng) -> Value {
    match answer {
        Value::Array(list) => {
            let mut list = list.clone();
            let place = rng.random_range(0..=list.len());
            match rng.random_range(0..4) {
                0 if place < list.len() => drop(list.remove(place)),
                1 => list.truncate(place),
                2 if other.f == "append" => list.insert(place, other.asked.clone()),
                _ => list.reverse(),
            }
            json!(list)
        }
        Value::Number(number) => {
            json!(number.as_i64().expect("a number") + rng.random_range(-3..=3))
        }
        _ if other.f == "write" => other.asked.clone(),
        _ if other.f == "cas" => other.asked[1].clone(),
        _ if other.f == "read" && other.end.is_some() => other.answered.clone(),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Object(_) => Value::Null,
    }
}

fn history(model: &str, told: &[Told]) -> History {
    History::new(header(model), events(told, &[])).expect("a well-formed history")
}

/// Draws a small history, broken or not.
fn draw(model: &str, ops_max: u64, rng: &mut SmallRng) -> Vec<Told> {
    let shape = Shape {
        ops: rng.random_range(2..=ops_max),
        clients: rng.random_range(1..=4),
        spread: rng.random_range(1..=20),
        open: [0, 10, 40][rng.random_range(0..3)],
        small_values: [0, 30, 100][rng.random_range(0..3)],
    };
    let mut told = generate(model, shape, rng);
    for _ in 0..rng.random_range(0..7) {
        mutate(&mut told, rng);
    }
    told
}

fn complain(model: &str, seed: u64, told: &[Told], what: &str) -> ! {
    let lines: Vec<String> = told
        .iter()
        .map(|op| {
            format!(
                "{} {} {} -> {} {:?} {}-{:?}",
                op.client, op.f, op.asked, op.answered, op.outcome, op.start, op.end
            )
        })
        .collect();
    panic!(
        "{what}: model {model}, seed {seed}\n{}\nreproduce: CHECKER_SEED={seed} cargo test -p history-checker --test it random",
        lines.join("\n")
    );
}

/// Seeds to try: all up to a number, or the one in `CHECKER_SEED`.
fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("CHECKER_SEED") {
        Ok(seed) => vec![seed.parse().expect("CHECKER_SEED is a number")],
        Err(_) => (0..count).collect(),
    }
}

/// Both answers must occur often, or the comparison means little.
fn compare(ops_max: u64, cases: u64) {
    for model in MODELS {
        let (mut good, mut bad) = (0, 0);
        let seeds = seeds(cases);
        for &seed in &seeds {
            let mut rng = SmallRng::seed_from_u64(seed);
            let told = draw(model, ops_max, &mut rng);
            let expected = is_linearizable(model, &told);
            let results = check(&history(model, &told), &Options::default());
            let verdict = part(&results, "linearizable").verdict;
            let wanted = if expected { Verdict::Valid } else { Verdict::Invalid };
            if verdict != wanted {
                complain(
                    model,
                    seed,
                    &told,
                    &format!("search says {verdict:?}, oracle {wanted:?}"),
                );
            }
            if expected {
                for name in ["stale-reads", "exactly-once"] {
                    if part(&results, name).verdict == Verdict::Invalid {
                        let what = format!("{name} accuses a linearizable history: {results:#?}");
                        complain(model, seed, &told, &what);
                    }
                }
            }
            *(if expected { &mut good } else { &mut bad }) += 1;
        }
        if seeds.len() > 1 {
            assert!(good > cases / 10 && bad > cases / 10, "{model}: {good} good, {bad} bad");
        }
    }
}

#[test]
fn random_small_histories_get_the_oracles_verdict() {
    compare(7, 6000);
}

#[test]
fn random_medium_histories_get_the_oracles_verdict() {
    compare(16, 1500);
}

#[test]
fn random_large_valid_histories_are_never_accused() {
    for model in MODELS {
        for seed in seeds(40) {
            let mut rng = SmallRng::seed_from_u64(seed);
            let shape = Shape {
                ops: 400,
                clients: rng.random_range(2..=20),
                spread: rng.random_range(2..=40),
                open: rng.random_range(0..=5),
                small_values: if model == "append" { 0 } else { [0, 50][rng.random_range(0..2)] },
            };
            let told = generate(model, shape, &mut rng);
            let results = check(&history(model, &told), &Options::default());
            for check in results.checks.iter().filter(|check| check.name != "coverage") {
                if check.verdict != Verdict::Valid {
                    complain(model, seed, &told, &format!("{shape:?}: {check:#?}"));
                }
            }
        }
    }
}

/// What a violation cites is enough: the operations alone contradict each other.
#[test]
fn random_violations_cite_events_that_contradict_by_themselves() {
    for model in MODELS {
        for seed in seeds(1500) {
            let mut rng = SmallRng::seed_from_u64(seed);
            let told = draw(model, 12, &mut rng);
            let events = events(&told, &[]);
            let history =
                History::new(header(model), events.clone()).expect("a well-formed history");
            let results = check(&history, &Options::default());
            // Sums need all that was added; a violation of theirs cites what shows it.
            let checks = ["linearizable", "stale-reads"];
            for violation in checks.iter().flat_map(|name| &part(&results, name).violations) {
                assert!((1..=4).contains(&sentences(&violation.explanation)), "{violation:#?}");
                if let Some(core) = &violation.core {
                    let alone = History::parse(core.history.as_bytes(), "core");
                    let alone = check(&alone.expect("a well-formed history"), &Options::default());
                    if part(&alone, "linearizable").verdict != Verdict::Invalid || !core.is_minimal
                    {
                        complain(model, seed, &told, &format!("not by itself: {violation:#?}"));
                    }
                    continue;
                }
                if model == "counter" {
                    continue;
                }
                let alone = History::new(header(model), only(&events, &violation.events));
                let alone = check(&alone.expect("a well-formed history"), &Options::default());
                if part(&alone, "linearizable").verdict != Verdict::Invalid {
                    complain(model, seed, &told, &format!("not by itself: {violation:#?}"));
                }
            }
        }
    }
}

/// Some events of a history, numbered anew.
fn only(events: &[Event], indexes: &[u64]) -> Vec<Event> {
    let kept = events.iter().filter(|event| indexes.contains(&event.index)).cloned();
    kept.zip(0..).map(|(event, index)| Event { index, ..event }).collect()
}

fn sentences(text: &str) -> usize {
    text.matches(". ").count() + usize::from(text.ends_with('.'))
}
