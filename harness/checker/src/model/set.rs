//! A set: `add`, `remove`, and `read` of all of it.

use super::Sequential;
use super::sequential::{initial_items, sorted};
use super::spec::{Bad, Spec, Values, initial_list, no_operation};
use crate::ops::{Action, KeyOps, Op, Seen, Word};

/// `set`.
pub(super) const SPEC: Spec = Spec {
    name: "set",
    functions: &["add", "remove", "read"],
    call,
    answer,
    initial: initial_list,
    function,
};

fn call(values: &mut Values<'_, '_>) -> Result<Action, Bad> {
    match values.f {
        "read" => Ok(Action::Read),
        "add" => values.something().map(Action::Add),
        "remove" => values.something().map(Action::Remove),
        _ => Err(Bad::Function),
    }
}

fn answer(values: &mut Values<'_, '_>, action: Action) -> Result<Seen, Bad> {
    if action == Action::Read { values.list().map(Seen::List) } else { Ok(Seen::Unknown) }
}

fn function(action: &Action) -> &'static str {
    match action {
        Action::Read => "read",
        Action::Add(_) => "add",
        Action::Remove(_) => "remove",
        other => no_operation(other),
    }
}

/// A set: `add`, `remove`, and `read` of all of it.
#[derive(Clone, Copy, Debug)]
pub struct Set;

impl Sequential for Set {
    type State = Vec<Word>;

    fn start(&self, key: &KeyOps) -> Vec<Word> {
        sorted(&initial_items(key))
    }

    fn apply(&self, key: &KeyOps, state: &Vec<Word>, op: &Op) -> Option<Vec<Word>> {
        match (op.action, op.seen) {
            (Action::Read, Seen::List(list)) => {
                (sorted(key.list(list)) == *state).then(|| state.clone())
            }
            (Action::Read, Seen::Unknown) => Some(state.clone()),
            (Action::Add(word), _) => {
                let mut after = state.clone();
                if let Err(place) = after.binary_search(&word) {
                    after.insert(place, word);
                }
                Some(after)
            }
            (Action::Remove(word), _) => {
                let mut after = state.clone();
                after.retain(|&element| element != word);
                Some(after)
            }
            _ => None,
        }
    }
}
