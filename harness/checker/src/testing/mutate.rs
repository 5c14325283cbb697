//! Small corruptions of a history, each of which may break it or not.

use rand::Rng;
use rand::rngs::SmallRng;

use super::object::push_list;
use super::random::{move_event, unread};
use crate::history::Outcome;
use crate::model::Model;
use crate::ops::{Action, KeyOps, List, Micro, NEVER, NOTHING, Op, Position, Seen, Word};

/// Corrupts something. What comes out is still well-formed: unique positions, returns after calls, a client has one
/// operation at a time.
pub(crate) fn mutate(key: &mut KeyOps, rng: &mut SmallRng) {
    if key.ops.is_empty() {
        return;
    }
    let index = rng.random_range(0..key.ops.len());
    let other = rng.random_range(0..key.ops.len());
    match rng.random_range(0..20) {
        0..=7 => see_something_else(key, index, other, rng),
        8 => swap_answers(key, index, other),
        9..=10 => return_earlier(key, index, rng),
        11..=12 => call_later(key, index, rng),
        13 => drop(key.ops.remove(index)),
        14 => become_certain(key, index, rng),
        15 => duplicate(key, index, rng),
        16 => ask_for_something_else(key, index, rng),
        17 => fail_or_not(key, index),
        18 => become_open(key, index),
        _ => corrupt_log(key, index, other, rng),
    }
}

fn any_word(key: &KeyOps, rng: &mut SmallRng) -> Word {
    rng.random_range(0..Word::try_from(key.words.len()).expect("few words"))
}

/// What another operation wrote or saw, or any word.
fn near_word(key: &KeyOps, other: usize, rng: &mut SmallRng) -> Word {
    match (key.ops[other].action, key.ops[other].seen) {
        (_, Seen::Word(word)) if rng.random_bool(0.5) => word,
        (
            Action::Write(word)
            | Action::Cas { new: word, .. }
            | Action::Append(word)
            | Action::Add(word)
            | Action::Enqueue(word),
            _,
        ) => word,
        _ => any_word(key, rng),
    }
}

fn see_something_else(key: &mut KeyOps, index: usize, other: usize, rng: &mut SmallRng) {
    let word = near_word(key, other, rng);
    let seen = match (key.ops[index].seen, key.ops[index].action) {
        // A cas that succeeded found what it expected.
        (Seen::Word(_), Action::Cas { .. }) if key.ops[index].is_ok() => return,
        (Seen::Word(_), _) => Seen::Word(word),
        (Seen::Number(number), _) => Seen::Number(number + rng.random_range(-3..=3)),
        (Seen::List(list), Action::Txn(_)) => Seen::List(misread_transaction(key, list, word, rng)),
        (Seen::List(list), _) => Seen::List(misread_list(key, list, word, rng)),
        (Seen::Unknown, _) => return,
    };
    key.ops[index].seen = seen;
}

fn misread_list(key: &mut KeyOps, list: List, word: Word, rng: &mut SmallRng) -> List {
    let mut items = key.list(list).to_vec();
    let place = rng.random_range(0..=items.len());
    // What order means nothing to a set.
    let kinds = if key.model == Model::Set { 4 } else { 6 };
    match rng.random_range(0..kinds) {
        0 if place < items.len() => drop(items.remove(place)),
        1 => items.truncate(place),
        2 if word != NOTHING => items.insert(place, word),
        3 if place < items.len() && word != NOTHING => items[place] = word,
        4 if place + 1 < items.len() => items.swap(place, place + 1),
        5 if place < items.len() => items.push(items[place]),
        _ if word != NOTHING => items.push(word),
        _ => {}
    }
    push_list(key, &items)
}

fn misread_transaction(key: &mut KeyOps, list: List, word: Word, rng: &mut SmallRng) -> List {
    let mut micros: Vec<Micro> = key.micros(list).collect();
    let step = rng.random_range(0..micros.len());
    if !micros[step].writes {
        micros[step].value = word;
    }
    let items: Vec<Word> = micros.into_iter().flat_map(Micro::to_items).collect();
    push_list(key, &items)
}

/// Only between operations that ask for the same.
fn swap_answers(key: &mut KeyOps, index: usize, other: usize) {
    let (one, two) = (key.ops[index], key.ops[other]);
    let asks_the_same = one.action == two.action && !matches!(one.action, Action::Txn(_));
    if asks_the_same && one.outcome == two.outcome {
        key.ops[index].seen = two.seen;
        key.ops[other].seen = one.seen;
    }
}

fn return_earlier(key: &mut KeyOps, index: usize, rng: &mut SmallRng) {
    let Op { call, ret, .. } = key.ops[index];
    if ret != NEVER {
        move_event(key, index, false, rng.random_range(call..ret));
    }
}

fn call_later(key: &mut KeyOps, index: usize, rng: &mut SmallRng) {
    let Op { call, ret, .. } = key.ops[index];
    let end = if ret == NEVER { last_position(key) + 1 } else { ret };
    move_event(key, index, true, rng.random_range(call..end));
}

fn last_position(key: &KeyOps) -> Position {
    let end = |op: &Op| if op.ret == NEVER { op.call } else { op.ret };
    key.ops.iter().map(end).max().unwrap_or(0)
}

/// A known outcome for one that has none. Clients of unknown outcomes did nothing later, so any return will do.
fn become_certain(key: &mut KeyOps, index: usize, rng: &mut SmallRng) {
    let op = key.ops[index];
    if op.outcome != Outcome::Open {
        return;
    }
    let seen = match (op.action, key.model) {
        (Action::Read, Model::Counter) => Seen::Number(rng.random_range(0..5)),
        (Action::Read, Model::Append | Model::Set) => Seen::List(push_list(key, &[])),
        (Action::Read | Action::Dequeue, _) => Seen::Word(any_word(key, rng)),
        (Action::Cas { expect, .. }, _) => Seen::Word(expect),
        (Action::Txn(steps), _) => Seen::List(unread(key, steps)),
        _ => Seen::Unknown,
    };
    key.ops[index].outcome = Outcome::Ok;
    key.ops[index].seen = seen;
    let end = last_position(key) + 1;
    move_event(key, index, false, rng.random_range(op.call..end));
}

/// The same again, by somebody new.
fn duplicate(key: &mut KeyOps, index: usize, rng: &mut SmallRng) {
    let mut copy = key.ops[index];
    let last = last_position(key);
    copy.process = 1 + key.ops.iter().map(|op| op.process).max().unwrap_or(0);
    copy.call = last + 1;
    if copy.ret != NEVER {
        copy.ret = last + 2;
    }
    key.ops.push(copy);
    let at = key.ops.len() - 1;
    move_event(key, at, true, rng.random_range(0..=last));
    // Sorted anew, but the only one by this client.
    let at = key.ops.iter().position(|op| op.process == copy.process).unwrap_or(0);
    return_earlier(key, at, rng);
}

fn ask_for_something_else(key: &mut KeyOps, index: usize, rng: &mut SmallRng) {
    let word = any_word(key, rng);
    let action = key.ops[index].action;
    if word == NOTHING && !matches!(action, Action::Write(_)) {
        return;
    }
    key.ops[index].action = match action {
        Action::Write(_) => Action::Write(word),
        Action::Cas { expect, .. } => Action::Cas { expect, new: word },
        Action::Append(_) => Action::Append(word),
        Action::Add(_) => Action::Add(word),
        Action::Remove(_) => Action::Remove(word),
        Action::Enqueue(_) => Action::Enqueue(word),
        Action::Incr(by) => Action::Incr(by + rng.random_range(-1..=1)),
        Action::Read | Action::Dequeue | Action::Acquire | Action::Release | Action::Txn(_) => {
            return;
        }
    };
}

/// What took effect is said to have failed; what failed, to have taken effect.
fn fail_or_not(key: &mut KeyOps, index: usize) {
    let op = &mut key.ops[index];
    match (op.outcome, op.action) {
        (Outcome::Ok, _) => {
            op.outcome = Outcome::Fail;
            op.seen = Seen::Unknown;
        }
        (Outcome::Fail, Action::Cas { expect, .. }) => {
            op.outcome = Outcome::Ok;
            op.seen = Seen::Word(expect);
        }
        (Outcome::Fail, Action::Dequeue) => {
            op.outcome = Outcome::Ok;
            op.seen = Seen::Word(NOTHING);
        }
        (Outcome::Fail, Action::Read | Action::Txn(_)) | (Outcome::Open, _) => {}
        (Outcome::Fail, _) => op.outcome = Outcome::Ok,
    }
}

/// Only the last of its client.
fn become_open(key: &mut KeyOps, index: usize) {
    let op = key.ops[index];
    if key.ops.iter().any(|other| other.process == op.process && other.call > op.call) {
        return;
    }
    let op = &mut key.ops[index];
    op.outcome = Outcome::Open;
    op.ret = NEVER;
    op.seen = Seen::Unknown;
    op.log_index = 0;
}

fn corrupt_log(key: &mut KeyOps, index: usize, other: usize, rng: &mut SmallRng) {
    let (one, two) = (key.ops[index].log_index, key.ops[other].log_index);
    if one == 0 {
        return;
    }
    match rng.random_range(0..3) {
        0 if two != 0 => {
            key.ops[index].log_index = two;
            key.ops[other].log_index = one;
        }
        1 => key.ops[index].log_index = 0,
        _ => key.ops[index].log_index = two,
    }
}
