//! Several registers, read and written at once by transactions.

use std::collections::BTreeMap;

use super::Sequential;
use super::spec::{Bad, Spec, Values, no_operation};
use crate::ops::{Action, KeyOps, NOTHING, Op, Seen, UNREAD, Word};

/// `multi-register`.
pub(super) const SPEC: Spec =
    Spec { name: "multi-register", functions: &["txn"], call, answer, initial, function };

fn call(values: &mut Values<'_, '_>) -> Result<Action, Bad> {
    if values.f == "txn" { values.transaction_asked().map(Action::Txn) } else { Err(Bad::Function) }
}

fn answer(values: &mut Values<'_, '_>, _: Action) -> Result<Seen, Bad> {
    values.transaction().map(Seen::List)
}

fn initial(values: &mut Values<'_, '_>) -> Result<Seen, Bad> {
    values.registers().map(Seen::List)
}

fn function(action: &Action) -> &'static str {
    if let Action::Txn(_) = action { "txn" } else { no_operation(action) }
}

/// Several registers, read and written at once by transactions.
#[derive(Clone, Copy, Debug)]
pub struct MultiRegister;

impl Sequential for MultiRegister {
    type State = BTreeMap<Word, Word>;

    /// `initial` is a transaction that writes all registers.
    fn start(&self, key: &KeyOps) -> BTreeMap<Word, Word> {
        let Seen::List(list) = key.initial else { return BTreeMap::new() };
        key.micros(list).map(|micro| (micro.register, micro.value)).collect()
    }

    fn apply(&self, key: &KeyOps, state: &Self::State, op: &Op) -> Option<Self::State> {
        let Action::Txn(asked) = op.action else { return None };
        let list = if let Seen::List(answered) = op.seen { answered } else { asked };
        let mut after = state.clone();
        for micro in key.micros(list) {
            if micro.writes {
                after.insert(micro.register, micro.value);
            } else if micro.value != UNREAD
                && after.get(&micro.register).copied().unwrap_or(NOTHING) != micro.value
            {
                return None;
            }
        }
        Some(after)
    }
}
