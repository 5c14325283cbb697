//! A lock: `acquire`, `release`.

use super::Sequential;
use super::spec::{Bad, Spec, Values, no_operation, nothing_learnt};
use crate::datum::Datum;
use crate::ops::{Action, KeyOps, Op, Seen};

/// `mutex`.
pub(super) const SPEC: Spec = Spec {
    name: "mutex",
    functions: &["acquire", "release"],
    call,
    answer: nothing_learnt,
    initial,
    function,
};

fn call(values: &mut Values<'_, '_>) -> Result<Action, Bad> {
    match values.f {
        "acquire" => Ok(Action::Acquire),
        "release" => Ok(Action::Release),
        _ => Err(Bad::Function),
    }
}

fn initial(values: &mut Values<'_, '_>) -> Result<Seen, Bad> {
    match values.value {
        Datum::Null | Datum::Bool(false) => Ok(Seen::Unknown),
        Datum::Bool(true) => Ok(Seen::Number(1)),
        Datum::Text(text) if text == "unlocked" => Ok(Seen::Unknown),
        Datum::Text(text) if text == "locked" => Ok(Seen::Number(1)),
        _ => Err(Bad::Shape("\"locked\" or \"unlocked\"")),
    }
}

fn function(action: &Action) -> &'static str {
    match action {
        Action::Acquire => "acquire",
        Action::Release => "release",
        other => no_operation(other),
    }
}

/// A lock: `acquire`, `release`.
#[derive(Clone, Copy, Debug)]
pub struct Mutex;

impl Sequential for Mutex {
    /// Whether it is held.
    type State = bool;

    fn start(&self, key: &KeyOps) -> bool {
        key.initial_number() != 0
    }

    fn apply(&self, _: &KeyOps, held: &bool, op: &Op) -> Option<bool> {
        match op.action {
            Action::Acquire => (!held).then_some(true),
            Action::Release => held.then_some(false),
            _ => None,
        }
    }
}
