//! A register: `read`, `write`, `cas`, `delete`.

use super::Sequential;
use super::spec::{Bad, Spec, Values, initial_word, no_operation};
use crate::history::Outcome;
use crate::ops::{Action, KeyOps, NOTHING, Op, Seen, Word};

/// `register`.
pub(super) const SPEC: Spec = Spec {
    name: "register",
    functions: &["read", "write", "delete"],
    call,
    answer,
    initial: initial_word,
    function,
};

/// `cas-register`.
pub(super) const CAS_SPEC: Spec =
    Spec { name: "cas-register", functions: &["read", "write", "cas", "delete"], ..SPEC };

fn call(values: &mut Values<'_, '_>) -> Result<Action, Bad> {
    match values.f {
        "read" => Ok(Action::Read),
        "write" => values.something().map(Action::Write),
        "cas" => values.cas(),
        "delete" => Ok(Action::Write(NOTHING)),
        _ => Err(Bad::Function),
    }
}

fn answer(values: &mut Values<'_, '_>, action: Action) -> Result<Seen, Bad> {
    match action {
        Action::Read => values.scalar().map(Seen::Word),
        Action::Cas { expect, .. } => Ok(Seen::Word(expect)),
        _ => Ok(Seen::Unknown),
    }
}

fn function(action: &Action) -> &'static str {
    match action {
        Action::Read => "read",
        Action::Write(NOTHING) => "delete",
        Action::Write(_) => "write",
        Action::Cas { .. } => "cas",
        other => no_operation(other),
    }
}

/// A register: `read`, `write`, `cas`, `delete`.
#[derive(Clone, Copy, Debug)]
pub struct Register;

impl Sequential for Register {
    type State = Word;

    fn start(&self, key: &KeyOps) -> Word {
        key.initial_word()
    }

    fn apply(&self, _: &KeyOps, state: &Word, op: &Op) -> Option<Word> {
        let saw = |word: Word| *state == word;
        match (op.action, op.seen) {
            // A failed cas had no effect, but may say what it found.
            _ if op.outcome == Outcome::Fail => match op.seen {
                Seen::Word(word) => saw(word).then_some(*state),
                Seen::Unknown | Seen::List(_) | Seen::Number(_) => Some(*state),
            },
            (Action::Read, Seen::Word(word)) => saw(word).then_some(*state),
            (Action::Read, Seen::Unknown) => Some(*state),
            (Action::Write(word), _) => Some(word),
            (Action::Cas { expect, new }, _) => saw(expect).then_some(new),
            _ => None,
        }
    }
}
