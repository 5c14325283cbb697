//! What is reported while a run goes on.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::fuzz::{alone, are_unique, history};
use crate::check::decision::{Anomaly, Contradiction, Finding};
use crate::check::direct::{Online, decide};
use crate::history::Outcome;
use crate::model::Model;
use crate::ops::{Action, KeyOps, NEVER, NOTHING, Op, Position, Seen, index};
use crate::testing::{Shape, generate, is_linearizable, mutate, print};

/// Calls and completions in order: position, operation, whether it is a call.
fn events(key: &KeyOps) -> Vec<(Position, u32, bool)> {
    let mut events = Vec::new();
    for (op, id) in key.ops.iter().zip(0..) {
        events.push((op.call, id, true));
        if op.ret != NEVER {
            events.push((op.ret, id, false));
        }
    }
    events.sort_unstable();
    events
}

/// What was known right after a position.
fn prefix(key: &KeyOps, position: Position) -> KeyOps {
    let mut prefix = key.clone();
    prefix.ops.retain(|op| op.call <= position);
    for op in prefix.ops.iter_mut().filter(|op| op.ret > position) {
        *op = Op { ret: NEVER, outcome: Outcome::Open, seen: Seen::Unknown, ..*op };
    }
    prefix
}

/// The first report, and the position of the completion.
pub(super) fn watch(key: &KeyOps) -> Option<(Position, Contradiction)> {
    let mut online = Online::new(key)?;
    for (position, id, is_call) in events(key) {
        let op = &key.ops[index(id)];
        if is_call {
            online.call(id, op);
            continue;
        }
        let list = if let Seen::List(list) = op.seen { key.list(list) } else { &[] };
        if let Some(found) = online.complete(id, op, list) {
            return Some((position, found));
        }
    }
    None
}

/// The first prefix that contradicts, as the test on whole histories says.
fn first_decided(key: &KeyOps) -> Option<(Position, Contradiction)> {
    events(key).into_iter().filter(|&(_, _, is_call)| !is_call).find_map(|(position, _, _)| {
        match decide(&prefix(key, position)) {
            Finding::Contradiction(found) => Some((position, found)),
            Finding::Order(_) | Finding::Undecided => None,
        }
    })
}

/// Whether both tests look for the same. While a run goes on, what has returned is not looked at again when a write fails
/// that it may have seen.
fn is_covered(key: &KeyOps, found: &Contradiction) -> bool {
    if key.ops.iter().any(|op| op.outcome == Outcome::Fail) {
        return false;
    }
    match key.model {
        // Blocks of clusters are not looked at while a run goes on.
        Model::CasRegister
        | Model::MultiRegister
        | Model::Kv
        | Model::FifoQueue
        | Model::UnorderedQueue
        | Model::Mutex => false,
        Model::Set => {
            let removes = |op: &Op| matches!(op.action, Action::Remove(_));
            found.anomaly != Anomaly::WrongOrder && !key.ops.iter().any(removes)
        }
        Model::Register | Model::Append => are_unique(key),
        Model::Counter => true,
    }
}

fn check(key: &KeyOps, context: &str) -> bool {
    let reported = watch(key);
    if let Some((position, found)) = &reported {
        let part = prefix(key, *position);
        assert!(!is_linearizable(&part), "{context}: {found:?}\n{}", print(&part));
        let core = alone(&part, &found.ops);
        assert!(!is_linearizable(&core), "{context}: {found:?}\n{}\n{}", print(key), print(&core));
    }
    if let Some((position, found)) = first_decided(key)
        && is_covered(key, &found)
    {
        let is_in_time = reported.as_ref().is_some_and(|(reported, _)| *reported <= position);
        assert!(is_in_time, "{context}: {found:?} at {position}, not {reported:?}\n{}", print(key));
    }
    reported.is_some()
}

#[test]
fn violations_are_reported_as_soon_as_they_are_certain() {
    let cases = std::env::var("DIRECT_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases = cases.unwrap_or(800);
    for model in [Model::Register, Model::CasRegister, Model::Append, Model::Counter, Model::Set] {
        let keys = (0..cases).map(|seed| (seed, history(model, seed)));
        let reported = keys.filter(|(seed, key)| check(key, &format!("{model} seed {seed}")));
        let reported = reported.count();
        assert!(reported > 20, "{model}: {reported}");
    }
}

/// Long enough for what is kept of a register to be thinned out.
#[test]
fn long_runs_are_reported_if_they_contradict() {
    for model in [Model::Register, Model::Append] {
        let mut reported = 0;
        for seed in 0..60 {
            let mut rng = SmallRng::seed_from_u64(seed);
            let unique = Shape { small_values: 0, failed: 0, ..Shape::draw(10, &mut rng) };
            let mut key = generate(model, Shape { ops: 400, ..unique }, &mut rng);
            key.ops
                .retain(|op| op.action != Action::Write(NOTHING) && op.seen != Seen::Word(NOTHING));
            for _ in 0..rng.random_range(0..3) {
                mutate(&mut key, &mut rng);
            }
            if !are_unique(&key) || key.ops.iter().any(|op| op.outcome == Outcome::Fail) {
                continue;
            }
            let decided = decide(&key);
            let found = watch(&key);
            let is_wrong = matches!(decided, Finding::Contradiction(_));
            assert_eq!(found.is_some(), is_wrong, "{model} seed {seed}: {found:?}, {decided:?}");
            reported += usize::from(is_wrong);
        }
        assert!(reported > 5, "{model}: {reported}");
    }
}
