//! Values that several operations may have written: what an operation that saw one can say nevertheless.

use std::collections::BTreeMap;

use super::clusters::{Clusters, Role, SEVERAL, role};
use crate::check::direct::verify::is_certain;
use crate::ops::{KeyOps, NEVER, Op, Word};

/// When all writes of a value were, seen from an operation that saw it.
#[derive(Clone, Copy)]
pub(super) enum Written {
    /// All were called after it had returned. The first of them.
    Later(u32),
    /// Those that it can have seen all had returned by this moment, before it was called; the last one, unless that is
    /// the initial value.
    Until(i64, Option<u32>),
}

/// The writes of all such values.
pub(super) struct Writes(BTreeMap<Word, Vec<Write>>);

/// A write, and of it and those that were called before it the one that returned last.
struct Write {
    call: i64,
    last_return: i64,
    last: Option<u32>,
}

impl Writes {
    pub(super) fn of(key: &KeyOps, clusters: &Clusters) -> Writes {
        let mut writes: BTreeMap<Word, Vec<Write>> = BTreeMap::new();
        let mut add = |word: Word, call: i64, ret: i64, id: Option<u32>| {
            if clusters.source(word) == SEVERAL {
                let writes = writes.entry(word).or_default();
                let own = (ret, id);
                let (last_return, last) = writes
                    .last()
                    .map(|write| (write.last_return, write.last))
                    .filter(|before| *before > own)
                    .unwrap_or(own);
                writes.push(Write { call, last_return, last });
            }
        };
        add(key.initial_word(), -1, -1, None);
        for (op, id) in key.ops.iter().zip(0..) {
            if let Role::Writer(word) | Role::Swap { new: word, .. } = role(op) {
                let ret = if op.is_ok() { op.ret } else { NEVER };
                add(word, i64::from(op.call), i64::from(ret), Some(id));
            }
        }
        Writes(writes)
    }

    /// When they were, if all were before or after.
    pub(super) fn all_before(&self, clusters: &Clusters, id: u32, op: &Op) -> Option<Written> {
        let word = match role(op) {
            Role::Observer(word) | Role::Swap { expect: word, .. } => word,
            Role::Writer(_) | Role::Free | Role::Nothing | Role::Foreign => return None,
        };
        if clusters.source(word) != SEVERAL || !is_certain(op) {
            return None;
        }
        let writes = self.0.get(&word)?;
        let at = writes.partition_point(|write| write.call < i64::from(op.ret));
        let Some(write) = at.checked_sub(1).map(|last| &writes[last]) else {
            return writes.first()?.last.map(Written::Later);
        };
        let has_returned = write.last_return < i64::from(op.call) && write.last != Some(id);
        has_returned.then_some(Written::Until(write.last_return, write.last))
    }
}
