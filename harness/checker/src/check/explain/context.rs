//! What a reader wants to know beside a contradiction: where a value came from that it is about, and whether what is
//! missed came back.

use std::collections::{BTreeMap, HashMap};

use super::steps::registers::looks_at;
use crate::model::Model;
use crate::ops::{
    Action, KeyOps, List, Micro, NEVER, NOTHING, Op, Position, Seen, UNREAD, Word, index,
};

/// What the whole history says about the values of a core.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Operations that are not needed for the contradiction, but tell where a value comes from that was seen and that
    /// nothing in the core brings in: one that failed, one that came long before, or one that came only later. With
    /// the core's words.
    pub ops: Vec<Op>,
    /// The core's words that anybody saw, ever.
    pub seen: Vec<Word>,
    /// Those of them that somebody saw who looked after the contradiction was complete.
    pub seen_later: Vec<Word>,
    /// How many looked then. Of registers: before the next write.
    pub looks_later: u32,
    /// The largest number that somebody read then.
    pub number_later: Option<i64>,
    /// For each operation of the core: how many elements of what it saw were left out as they do not matter.
    pub hidden: Vec<u32>,
    /// The operation that tells what the object was at first, if it was not so when the history began. With the core's
    /// words, as far as it has them.
    pub start: Option<Op>,
    /// Whether the initial number is what others had added up to.
    pub is_summed_up: bool,
    /// How many operations had ended before the first of the core began.
    pub ops_before: u32,
}

pub(super) fn of(whole: &KeyOps, left: &mut KeyOps, blocked: u32, start: Option<u32>) -> Context {
    let translation = Translation::new(whole, left);
    let end = left.ops.get(index(blocked)).map_or(NEVER, |op| op.ret);
    let mut context = Context {
        ops: origins(whole, left, &translation, end),
        hidden: hidden(whole, left),
        is_summed_up: matches!(left.initial, Seen::Number(_)) && left.initial != whole.initial,
        ops_before: before(whole, left),
        start: start.and_then(|number| started(whole, left, &translation, number)),
        ..Context::default()
    };
    later(whole, left, &translation, end, &mut context);
    context
}

fn before(whole: &KeyOps, left: &KeyOps) -> u32 {
    let first = left.ops.first().map_or(0, |op| op.call);
    let ended = whole.ops.iter().filter(|op| op.ret < first).count();
    u32::try_from(ended).unwrap_or(u32::MAX)
}

/// The operation that tells the state at first, unless it is in the core.
fn started(whole: &KeyOps, left: &KeyOps, translation: &Translation, number: u32) -> Option<Op> {
    let op = whole.ops.iter().find(|op| op.number == number)?;
    if left.ops.iter().any(|other| other.number == number) {
        return None;
    }
    if let Seen::Number(number) = op.seen
        && op.adds().map_or(Some(number), |by| number.checked_sub(by))
            != Some(left.initial_number())
    {
        // What came after that is counted to it as well.
        return None;
    }
    let seen = match op.seen {
        Seen::Word(word) => Seen::Word(translation.word(word)?),
        // It may say more than is left.
        Seen::List(_) => left.initial,
        Seen::Unknown | Seen::Number(_) => op.seen,
    };
    let action = match op.action {
        Action::Cas { expect, new } => Action::Cas {
            expect: translation.word(expect)?,
            new: translation.word(new).unwrap_or(NOTHING),
        },
        Action::Read | Action::Incr(_) | Action::Dequeue | Action::Acquire | Action::Release => {
            op.action
        }
        Action::Write(_)
        | Action::Append(_)
        | Action::Add(_)
        | Action::Remove(_)
        | Action::Enqueue(_)
        | Action::Txn(_) => return None,
    };
    Some(Op { action, seen, ..*op })
}

/// From words of the whole history to those of the core.
struct Translation(Vec<Option<Word>>);

impl Translation {
    fn new(whole: &KeyOps, left: &KeyOps) -> Translation {
        let words = |key: &KeyOps| 0..Word::try_from(key.words.len()).unwrap_or(Word::MAX);
        let known: HashMap<&[u8], Word> =
            words(left).map(|word| (left.words.bytes(word), word)).collect();
        Translation(words(whole).map(|word| known.get(whole.words.bytes(word)).copied()).collect())
    }

    fn word(&self, word: Word) -> Option<Word> {
        self.0.get(index(word)).copied().flatten()
    }
}

/// What an operation brings in, whether it did so or not, and into which register if there are several.
pub(super) fn brings(key: &KeyOps, op: &Op, mut with: impl FnMut(Word, Word)) {
    match op.action {
        Action::Write(word)
        | Action::Cas { new: word, .. }
        | Action::Append(word)
        | Action::Add(word)
        | Action::Enqueue(word) => with(NOTHING, word),
        Action::Txn(list) => {
            for micro in key.micros(list).filter(|micro| micro.writes) {
                with(micro.register, micro.value);
            }
        }
        Action::Read
        | Action::Incr(_)
        | Action::Remove(_)
        | Action::Dequeue
        | Action::Acquire
        | Action::Release => {}
    }
}

/// What an operation says was there, and in which register if there are several.
fn sees(key: &KeyOps, op: &Op, mut with: impl FnMut(Word, Word)) {
    match (op.action, op.seen) {
        (Action::Txn(_), Seen::List(list)) => {
            for micro in key.micros(list).filter(|micro| !micro.writes) {
                with(micro.register, micro.value);
            }
        }
        (_, Seen::List(list)) => key.list(list).iter().for_each(|&word| with(NOTHING, word)),
        (Action::Dequeue, Seen::Word(word)) => with(NOTHING, word),
        _ => {
            if let Some(word) = looks_at(op).filter(|_| op.ret != NEVER) {
                with(NOTHING, word);
            }
        }
    }
}

/// Where values come from that the core saw but did not bring in.
fn origins(whole: &KeyOps, left: &mut KeyOps, translation: &Translation, end: Position) -> Vec<Op> {
    let mut wanted = wanted(left);
    for op in &whole.ops {
        brings(whole, op, |register, word| {
            let (Some(register), Some(word)) = (translation.word(register), translation.word(word))
            else {
                return;
            };
            let Some(known) = wanted.get_mut(&(register, word)) else { return };
            let is_better = known.is_none_or(|known| {
                // The latest of those that came in time; else any that did not fail.
                op.may_count() && (op.call < end || !known.may_count())
            });
            if is_better {
                *known = Some(*op);
            }
        });
    }
    let mut origins: Vec<Op> = wanted
        .into_iter()
        .filter_map(|((register, word), op)| translated(left, &op?, translation, (register, word)))
        .collect();
    origins.sort_by_key(|op| op.call);
    origins.dedup_by_key(|op| op.call);
    origins
}

/// Values that the core saw but did not bring in, with their registers if there are several.
fn wanted(left: &KeyOps) -> BTreeMap<(Word, Word), Option<Op>> {
    let mut wanted = BTreeMap::new();
    for op in &left.ops {
        sees(left, op, |register, word| {
            if word != UNREAD && word != NOTHING {
                wanted.insert((register, word), None);
            }
        });
    }
    match left.initial {
        Seen::Word(word) => {
            wanted.remove(&(NOTHING, word));
        }
        Seen::List(list) if left.model == Model::MultiRegister => {
            for micro in left.micros(list) {
                wanted.remove(&(micro.register, micro.value));
            }
        }
        Seen::List(list) => {
            for &word in left.list(list) {
                wanted.remove(&(NOTHING, word));
            }
        }
        Seen::Unknown | Seen::Number(_) => {}
    }
    for op in &left.ops {
        brings(left, op, |register, word| {
            wanted.remove(&(register, word));
        });
    }
    wanted
}

/// The operation in the core's words; a cas from a value that the core does not have counts as a write, and of a
/// transaction only what it brings is left.
fn translated(
    left: &mut KeyOps,
    op: &Op,
    translation: &Translation,
    (register, word): (Word, Word),
) -> Option<Op> {
    let action = match op.action {
        Action::Cas { expect, .. } => match translation.word(expect) {
            Some(expect) => Action::Cas { expect, new: word },
            None => Action::Write(word),
        },
        Action::Write(_) => Action::Write(word),
        Action::Append(_) => Action::Append(word),
        Action::Add(_) => Action::Add(word),
        Action::Enqueue(_) => Action::Enqueue(word),
        Action::Txn(_) => {
            let start = u32::try_from(left.items.len()).ok()?;
            left.items.extend(Micro { writes: true, register, value: word }.to_items());
            Action::Txn(List { start, len: 3 })
        }
        Action::Read
        | Action::Incr(_)
        | Action::Remove(_)
        | Action::Dequeue
        | Action::Acquire
        | Action::Release => return None,
    };
    Some(Op { action, seen: Seen::Unknown, ..*op })
}

fn later(
    whole: &KeyOps,
    left: &KeyOps,
    translation: &Translation,
    end: Position,
    context: &mut Context,
) {
    let is_register = matches!(whole.model, Model::Register | Model::CasRegister);
    let next_write = if is_register {
        let writes = |op: &&Op| op.call > end && op.writes().is_some();
        whole.ops.iter().find(writes).map_or(NEVER, |op| op.call)
    } else {
        NEVER
    };
    let (mut seen, mut seen_later) = (vec![false; left.words.len()], vec![false; left.words.len()]);
    let mut mark = |word: Word, is_later: bool| {
        if let Some(word) = translation.word(word).map(index) {
            seen[word] = true;
            seen_later[word] |= is_later;
        }
    };
    for op in whole.ops.iter().filter(|op| op.ret != NEVER) {
        let is_later = op.call > end && op.ret < next_write;
        sees(whole, op, |_, word| mark(word, is_later));
        if is_later && op.seen != Seen::Unknown {
            context.looks_later += 1;
            if let Seen::Number(number) = op.seen {
                context.number_later = context.number_later.max(Some(number));
            }
        }
    }
    let all = |marks: Vec<bool>| {
        (0..).zip(marks).filter(|(_, is_marked)| *is_marked).map(|(word, _)| word).collect()
    };
    context.seen = all(seen);
    context.seen_later = all(seen_later);
}

/// How many elements each operation of the core saw that are no longer there.
fn hidden(whole: &KeyOps, left: &KeyOps) -> Vec<u32> {
    let len = |seen: Seen| if let Seen::List(list) = seen { list.len } else { 0 };
    left.ops
        .iter()
        .map(|op| {
            let original = whole.ops.binary_search_by_key(&op.call, |op| op.call).ok();
            let before = original.map_or(0, |number| len(whole.ops[number].seen));
            if op.seen == Seen::Unknown { 0 } else { before.saturating_sub(len(op.seen)) }
        })
        .collect()
}
