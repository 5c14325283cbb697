//! The order that operations claim themselves, by places in a log.

use super::place::insert_early;
use super::verify::is_certain;
use crate::model::Model;
use crate::ops::{Action, KeyOps, NEVER, Op, Seen, Word, index};

/// The claimed order, which is still to be verified. `None` if no operation claims a place.
///
/// A read with the place of a change stands behind it; one without a place, which a read of what was there from the
/// beginning has, as early as it can. What happened without a place because its outcome is unknown
/// stands right before whoever saw it first, and is left out if nobody did.
pub fn witness(key: &KeyOps) -> Option<Vec<u32>> {
    if key.ops.iter().all(|op| op.log_index == 0) {
        return None;
    }
    let mut claims: Vec<(u64, bool, u32)> = Vec::with_capacity(key.ops.len());
    let mut free = Vec::new();
    for (op, id) in key.ops.iter().zip(0..) {
        if op.log_index > 0 && (op.may_count() || is_certain(op)) {
            claims.push((op.log_index, !changes(op), id));
        } else if is_certain(op) {
            free.push(id);
        }
    }
    claims.sort_unstable();
    let order = with_the_unplaced(key, claims.into_iter().map(|(_, _, id)| id));
    Some(insert_early(key, order, free))
}

fn changes(op: &Op) -> bool {
    op.may_count() && op.action != Action::Read
}

/// Inserts changes of unknown outcome that have no place where they are seen first.
fn with_the_unplaced(key: &KeyOps, claimed: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut unplaced = Unplaced::of(key);
    let mut order = Vec::with_capacity(key.ops.len());
    for id in claimed {
        unplaced.before(key, &key.ops[index(id)], &mut order);
        order.push(id);
    }
    order
}

/// Changes without a place that may have happened.
struct Unplaced<'a> {
    /// By word: one that puts it there.
    by_word: Vec<Option<u32>>,
    /// A list's tokens, as the longest read shows them.
    tokens: &'a [Word],
    /// By word: its place among these.
    place: Vec<u32>,
    /// How many of them are in the order.
    placed: usize,
    is_empty: bool,
}

impl<'a> Unplaced<'a> {
    fn of(key: &'a KeyOps) -> Unplaced<'a> {
        let words = key.words.len();
        let tokens = longest_list(key);
        let mut place = vec![NEVER; words];
        for (&token, at) in tokens.iter().zip(0..) {
            if let Some(place) = place.get_mut(index(token)) {
                *place = at;
            }
        }
        let mut unplaced =
            Unplaced { by_word: vec![None; words], tokens, place, placed: 0, is_empty: true };
        for (op, id) in key.ops.iter().zip(0..) {
            if !is_certain(op)
                && op.may_count()
                && op.log_index == 0
                && let Some(entry) = put(op).and_then(|word| unplaced.by_word.get_mut(index(word)))
            {
                entry.get_or_insert(id);
                unplaced.is_empty = false;
            }
        }
        unplaced
    }

    /// What has to have happened before an operation because that saw it.
    fn before(&mut self, key: &KeyOps, op: &Op, order: &mut Vec<u32>) {
        match (op.action, op.seen) {
            (Action::Append(token), _) if key.model == Model::Append => {
                if let Some(&place) = self.place.get(index(token)).filter(|&&place| place != NEVER)
                {
                    self.put_tokens(index(place), order);
                    self.placed = self.placed.max(index(place) + 1);
                }
            }
            (Action::Read, Seen::List(list)) if key.model == Model::Append => {
                self.put_tokens(index(list.len), order);
            }
            (Action::Read, Seen::List(list)) if !self.is_empty => {
                for &word in key.list(list) {
                    self.put(word, order);
                }
            }
            (Action::Cas { expect: word, .. }, Seen::Unknown) | (_, Seen::Word(word)) => {
                self.put_with_what_it_needs(key, word, order);
            }
            _ => {}
        }
    }

    /// The tokens that come before this place.
    fn put_tokens(&mut self, before: usize, order: &mut Vec<u32>) {
        let tokens = self.tokens.get(self.placed..before).unwrap_or_default();
        for &token in tokens {
            self.put(token, order);
        }
        self.placed = self.placed.max(before);
    }

    fn put(&mut self, word: Word, order: &mut Vec<u32>) {
        order.extend(self.by_word.get_mut(index(word)).and_then(Option::take));
    }

    /// A cas of unknown outcome may have found the value of another one.
    fn put_with_what_it_needs(&mut self, key: &KeyOps, word: Word, order: &mut Vec<u32>) {
        let start = order.len();
        let mut word = Some(word);
        while let Some(id) =
            word.and_then(|word| self.by_word.get_mut(index(word)).and_then(Option::take))
        {
            order.push(id);
            let action = key.ops[index(id)].action;
            word = if let Action::Cas { expect, .. } = action { Some(expect) } else { None };
        }
        order[start..].reverse();
    }
}

/// The longest list of an append list that anybody saw.
fn longest_list(key: &KeyOps) -> &[Word] {
    if key.model != Model::Append {
        return &[];
    }
    let lists = key.ops.iter().filter(|op| op.is_ok()).filter_map(|op| match op.seen {
        Seen::List(list) => Some(list),
        Seen::Unknown | Seen::Word(_) | Seen::Number(_) => None,
    });
    lists.max_by_key(|list| list.len).map_or(&[], |list| key.list(list))
}

/// What a change puts there.
fn put(op: &Op) -> Option<Word> {
    match op.action {
        Action::Write(word)
        | Action::Cas { new: word, .. }
        | Action::Append(word)
        | Action::Add(word)
        | Action::Enqueue(word) => Some(word),
        Action::Read
        | Action::Incr(_)
        | Action::Remove(_)
        | Action::Dequeue
        | Action::Acquire
        | Action::Release
        | Action::Txn(_) => None,
    }
}
