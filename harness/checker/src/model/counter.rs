//! A number: `incr`, which may return the sum, and `read`.

use super::Sequential;
use super::spec::{Bad, Spec, Values, no_operation};
use crate::ops::{Action, KeyOps, Op, Seen};

/// `counter`. Jepsen calls the increment `add`.
pub(super) const SPEC: Spec =
    Spec { name: "counter", functions: &["read", "incr", "add"], call, answer, initial, function };

fn call(values: &mut Values<'_, '_>) -> Result<Action, Bad> {
    match values.f {
        "read" => Ok(Action::Read),
        "incr" | "add" => values.number().map(Action::Incr),
        _ => Err(Bad::Function),
    }
}

fn answer(values: &mut Values<'_, '_>, action: Action) -> Result<Seen, Bad> {
    match (action, values.number_or_null()?) {
        (_, Some(_)) if values.f == "add" => Ok(Seen::Unknown), // repeats what was added
        (_, Some(number)) => Ok(Seen::Number(number)),
        (Action::Read, None) => Ok(Seen::Number(0)),
        (_, None) => Ok(Seen::Unknown),
    }
}

fn initial(values: &mut Values<'_, '_>) -> Result<Seen, Bad> {
    Ok(values.number_or_null()?.map_or(Seen::Unknown, Seen::Number))
}

fn function(action: &Action) -> &'static str {
    match action {
        Action::Read => "read",
        Action::Incr(_) => "incr",
        other => no_operation(other),
    }
}

/// A number: `incr`, which may return the sum, and `read`.
#[derive(Clone, Copy, Debug)]
pub struct Counter;

impl Sequential for Counter {
    type State = i64;

    fn start(&self, key: &KeyOps) -> i64 {
        key.initial_number()
    }

    fn apply(&self, _: &KeyOps, state: &i64, op: &Op) -> Option<i64> {
        let after = match op.action {
            Action::Read => *state,
            Action::Incr(by) => state.checked_add(by)?,
            _ => return None,
        };
        match op.seen {
            Seen::Number(number) => (number == after).then_some(after),
            Seen::Unknown => Some(after),
            Seen::Word(_) | Seen::List(_) => None,
        }
    }
}
