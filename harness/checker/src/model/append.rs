//! A list: `append`, and `read` of all of it.

use super::Sequential;
use super::sequential::initial_items;
use super::spec::{Bad, Spec, Values, initial_list, no_operation};
use crate::ops::{Action, KeyOps, Op, Seen, Word};

/// `append`.
pub(super) const SPEC: Spec = Spec {
    name: "append",
    functions: &["read", "append"],
    call,
    answer,
    initial: initial_list,
    function,
};

fn call(values: &mut Values<'_, '_>) -> Result<Action, Bad> {
    match values.f {
        "read" => Ok(Action::Read),
        "append" => values.something().map(Action::Append),
        _ => Err(Bad::Function),
    }
}

fn answer(values: &mut Values<'_, '_>, action: Action) -> Result<Seen, Bad> {
    if action == Action::Read { values.list().map(Seen::List) } else { Ok(Seen::Unknown) }
}

fn function(action: &Action) -> &'static str {
    match action {
        Action::Read => "read",
        Action::Append(_) => "append",
        other => no_operation(other),
    }
}

/// A list: `append`, and `read` of all of it.
#[derive(Clone, Copy, Debug)]
pub struct AppendList;

impl Sequential for AppendList {
    type State = Vec<Word>;

    fn start(&self, key: &KeyOps) -> Vec<Word> {
        initial_items(key)
    }

    fn apply(&self, key: &KeyOps, state: &Vec<Word>, op: &Op) -> Option<Vec<Word>> {
        match (op.action, op.seen) {
            (Action::Read, Seen::List(list)) => (key.list(list) == state).then(|| state.clone()),
            (Action::Read, Seen::Unknown) => Some(state.clone()),
            (Action::Append(token), _) => Some([state.as_slice(), &[token]].concat()),
            _ => None,
        }
    }
}
