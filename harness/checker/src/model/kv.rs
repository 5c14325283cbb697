//! A key of a key-value store: a text with `get`, `put`, `append`, `delete`, `cas`, and `incr` of a number.

use super::Sequential;
use super::spec::{Bad, Spec, Values, initial_word, no_operation};
use crate::history::Outcome;
use crate::ops::{Action, KeyOps, NOTHING, Op, Seen, Word};

/// `kv`.
pub(super) const SPEC: Spec = Spec {
    name: "kv",
    functions: &["get", "put", "append", "delete", "cas", "incr"],
    call,
    answer,
    initial: initial_word,
    function,
};

fn call(values: &mut Values<'_, '_>) -> Result<Action, Bad> {
    match values.f {
        "get" => Ok(Action::Read),
        "put" => values.something().map(Action::Write),
        "append" => values.something().map(Action::Append),
        "delete" => Ok(Action::Write(NOTHING)),
        "cas" => values.cas(),
        "incr" => values.number().map(Action::Incr),
        _ => Err(Bad::Function),
    }
}

fn answer(values: &mut Values<'_, '_>, action: Action) -> Result<Seen, Bad> {
    match action {
        Action::Read => values.scalar().map(Seen::Word),
        Action::Cas { expect, .. } => Ok(Seen::Word(expect)),
        Action::Incr(_) => Ok(values.number_or_null()?.map_or(Seen::Unknown, Seen::Number)),
        _ => Ok(Seen::Unknown),
    }
}

fn function(action: &Action) -> &'static str {
    match action {
        Action::Read => "get",
        Action::Write(NOTHING) => "delete",
        Action::Write(_) => "put",
        Action::Append(_) => "append",
        Action::Cas { .. } => "cas",
        Action::Incr(_) => "incr",
        other => no_operation(other),
    }
}

/// A key of a key-value store: a text with `get`, `put`, `append`, `delete`, `cas`, and `incr` of a number.
#[derive(Clone, Copy, Debug)]
pub struct Kv;

impl Sequential for Kv {
    /// The value as [`crate::ops::Words`] keep it, tag and text; nothing is empty.
    type State = Vec<u8>;

    fn start(&self, key: &KeyOps) -> Vec<u8> {
        key.words.bytes(key.initial_word()).to_vec()
    }

    fn apply(&self, key: &KeyOps, state: &Vec<u8>, op: &Op) -> Option<Vec<u8>> {
        let is = |word: Word| key.words.bytes(word) == state.as_slice();
        let saw = match op.seen {
            Seen::Word(word) => is(word),
            Seen::Unknown | Seen::List(_) | Seen::Number(_) => true,
        };
        match op.action {
            _ if op.outcome == Outcome::Fail => saw.then(|| state.clone()),
            Action::Read => saw.then(|| state.clone()),
            Action::Write(word) => Some(key.words.bytes(word).to_vec()),
            Action::Cas { expect, new } => is(expect).then(|| key.words.bytes(new).to_vec()),
            Action::Append(word) => {
                let mut after = if state.is_empty() { b"s".to_vec() } else { state.clone() };
                after.extend_from_slice(key.words.bytes(word).get(1..).unwrap_or_default());
                Some(after)
            }
            Action::Incr(by) => {
                let text = std::str::from_utf8(state.get(1..).unwrap_or_default()).ok()?;
                let number = if text.is_empty() { 0 } else { text.parse::<i64>().ok()? };
                let after = number.checked_add(by)?;
                let fits = if let Seen::Number(sum) = op.seen { sum == after } else { true };
                fits.then(|| format!("v{after}").into_bytes())
            }
            _ => None,
        }
    }
}
