//! Linearizability by definition: try all orders. Written apart from the checker, and as simply as possible.

use std::collections::HashSet;

use history_checker::history::Kind;
use serde_json::{Value, json};

use crate::support::Told;

/// Whether some order of the operations (of one key) explains what clients saw. At most 64 operations.
pub(crate) fn is_linearizable(model: &str, told: &[Told]) -> bool {
    let start = match model {
        "append" => json!([]),
        "counter" => json!(0),
        _ => Value::Null,
    };
    let relevant: Vec<&Told> = told.iter().filter(|op| says_something(op)).collect();
    place(&relevant, 0, &start, &mut HashSet::new())
}

fn says_something(op: &Told) -> bool {
    match op.outcome {
        Kind::Ok => true,
        Kind::Fail => op.answered.get("actual").is_some(),
        Kind::Info | Kind::Invoke => op.f != "read",
    }
}

fn is_certain(op: &Told) -> bool {
    op.outcome != Kind::Info
}

fn end(op: &Told) -> u64 {
    if is_certain(op) { op.end.unwrap_or(u64::MAX) } else { u64::MAX }
}

fn place(ops: &[&Told], placed: u64, state: &Value, known: &mut HashSet<(u64, String)>) -> bool {
    let left = || ops.iter().enumerate().filter(|(n, _)| placed & (1 << n) == 0);
    if left().all(|(_, op)| !is_certain(op)) {
        return true;
    }
    if !known.insert((placed, state.to_string())) {
        return false;
    }
    let first_end = left().map(|(_, op)| end(op)).min().unwrap_or(u64::MAX);
    left().any(|(n, op)| {
        // It may come next unless another one ended before it began (equal times: both were under way).
        op.start <= first_end
            && apply(op, state).is_some_and(|next| place(ops, placed | (1 << n), &next, known))
    })
}

/// The state afterwards, if the operation can have happened in this state with its answer.
fn apply(op: &Told, state: &Value) -> Option<Value> {
    let certain = is_certain(op);
    match op.f.as_str() {
        "read" => {
            let same = op.answered == *state
                || op.answered.is_null() && (*state == json!(0) || *state == json!([]));
            same.then(|| state.clone())
        }
        "cas" if op.outcome == Kind::Fail => {
            (op.answered["actual"] == *state).then(|| state.clone())
        }
        "write" => Some(op.asked.clone()),
        "delete" => Some(Value::Null),
        "cas" => (op.asked[0] == *state).then(|| op.asked[1].clone()),
        "append" => {
            let mut list = state.as_array()?.clone();
            list.push(op.asked.clone());
            Some(Value::Array(list))
        }
        "incr" => {
            let sum = state.as_i64()?.checked_add(op.asked.as_i64()?)?;
            (!certain || op.answered.is_null() || op.answered == json!(sum)).then(|| json!(sum))
        }
        f => panic!("the oracle does not know {f}"),
    }
}
