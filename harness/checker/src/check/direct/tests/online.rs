//! What is reported while a run goes on.

use super::fuzz::{alone, history};
use crate::check::decision::{Anomaly, Contradiction, Finding};
use crate::check::direct::{Online, decide};
use crate::history::Outcome;
use crate::model::Model;
use crate::ops::{Action, KeyOps, NEVER, Op, Position, Seen, index};
use crate::testing::{is_linearizable, print};

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
fn watch(key: &KeyOps) -> Option<(Position, Contradiction)> {
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

/// Whether both tests look for the same.
fn is_covered(key: &KeyOps, found: &Contradiction) -> bool {
    let failed_increment =
        |op: &Op| op.outcome == Outcome::Fail && matches!(op.action, Action::Incr(_));
    match key.model {
        // Blocks of clusters are not looked at while a run goes on.
        Model::CasRegister
        | Model::MultiRegister
        | Model::Kv
        | Model::FifoQueue
        | Model::UnorderedQueue
        | Model::Mutex => false,
        // Bounds of reads that have returned are not looked at again.
        Model::Counter => !key.ops.iter().any(failed_increment),
        Model::Set => {
            let removes = |op: &Op| matches!(op.action, Action::Remove(_));
            let failed = key.ops.iter().any(|op| op.outcome == Outcome::Fail);
            found.anomaly != Anomaly::WrongOrder && !failed && !key.ops.iter().any(removes)
        }
        Model::Register | Model::Append => true,
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
