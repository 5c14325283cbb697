//! Queues whose elements are told apart: what was put in and taken out, and when (after the bad patterns of Bouajjani,
//! Emmi, Enea and Hamza 2015, and Henzinger, Sezgin and Vafeiadis 2013).

mod merge;
mod patterns;
mod sequence;

use std::collections::BTreeMap;

use super::Contradictions;
use crate::model::Model;
use crate::ops::{Action, KeyOps, NEVER, NOTHING, Op, Seen, Word, index};

/// An order, if each element was put in once and nobody took any without saying which.
pub(super) fn order(key: &KeyOps) -> Option<Vec<u32>> {
    let elements = Elements::of(key)?;
    if elements.is_ambiguous || elements.takes_unknown_for_sure || !elements.odd.is_empty() {
        return None;
    }
    let ranks = (key.model == Model::FifoQueue).then(|| sequence::ranks(&elements.all));
    merge::merge(key, &elements, ranks.map_or(Some(None), |ranks| ranks.map(Some))?)
}

/// What was taken and cannot have been, came in the wrong order, or was missed.
pub(super) fn contradictions(key: &KeyOps, found: &mut Contradictions) {
    if let Some(elements) = Elements::of(key) {
        patterns::find(key, &elements, found);
    }
}

/// A moment; what was there from the beginning came before all positions.
type Moment = i64;

const LAST: Moment = i64::MAX;

/// Something that was put in, unless nobody can tell.
#[derive(Clone, Copy, Debug)]
struct Element {
    /// Nothing if it was there from the beginning.
    put: Option<u32>,
    put_call: Moment,
    put_return: Moment,
    /// Who said to have taken it.
    taken: Option<u32>,
    /// From when on somebody may have taken it.
    taken_call: Moment,
    taken_return: Moment,
}

/// A dequeue that cannot have taken what it says.
struct Odd {
    id: u32,
    word: Word,
}

struct Elements {
    all: Vec<Element>,
    /// Dequeues that found nothing.
    empty: Vec<u32>,
    odd: Vec<Odd>,
    /// There are elements that are not told apart.
    is_ambiguous: bool,
    /// A dequeue did take something and does not say what.
    takes_unknown_for_sure: bool,
}

/// What happened to a word.
#[derive(Default)]
struct Uses {
    puts: Vec<Option<u32>>,
    takes: Vec<u32>,
}

impl Elements {
    /// `None` if there are operations that do not belong to a queue.
    fn of(key: &KeyOps) -> Option<Elements> {
        let mut words: BTreeMap<Word, Uses> = BTreeMap::new();
        let initial = if let Seen::List(list) = key.initial { key.list(list) } else { &[] };
        for &word in initial {
            words.entry(word).or_default().puts.push(None);
        }
        let mut elements = Elements {
            all: Vec::new(),
            empty: Vec::new(),
            odd: Vec::new(),
            is_ambiguous: false,
            takes_unknown_for_sure: false,
        };
        // From when on somebody may have taken anything.
        let mut unknown_call = LAST;
        for (op, id) in key.ops.iter().zip(0..).filter(|(op, _)| op.may_count()) {
            match (op.action, op.seen) {
                (Action::Enqueue(word), _) if word != NOTHING => {
                    words.entry(word).or_default().puts.push(Some(id));
                }
                (Action::Dequeue, Seen::Word(NOTHING)) if op.is_ok() => elements.empty.push(id),
                (Action::Dequeue, Seen::Word(word)) if op.is_ok() => {
                    words.entry(word).or_default().takes.push(id);
                }
                (Action::Dequeue, Seen::Unknown) => {
                    unknown_call = unknown_call.min(Moment::from(op.call));
                    elements.takes_unknown_for_sure |= op.is_ok();
                }
                _ => return None,
            }
        }
        let first = Moment::try_from(initial.len()).unwrap_or(LAST);
        let places: BTreeMap<Word, Moment> =
            initial.iter().zip(0..).map(|(&word, place)| (word, place - first)).collect();
        for (word, Uses { puts, takes }) in words {
            elements.odd.extend(takes.iter().skip(puts.len()).map(|&id| Odd { id, word }));
            match puts.as_slice() {
                [] => {}
                &[put] => {
                    let start = places.get(&word).copied().unwrap_or(0);
                    elements.add(key, put, start, takes.first().copied(), unknown_call, word);
                }
                _ => elements.is_ambiguous = true,
            }
        }
        Some(elements)
    }

    fn add(
        &mut self,
        key: &KeyOps,
        put: Option<u32>,
        start: Moment,
        taken: Option<u32>,
        unknown_call: Moment,
        word: Word,
    ) {
        let op = |id: u32| -> &Op { &key.ops[index(id)] };
        if taken.is_none() && put.is_some_and(|put| !op(put).is_ok()) {
            return;
        }
        let element = Element {
            put,
            put_call: put.map_or(start, |put| Moment::from(op(put).call)),
            put_return: put.map_or(start, |put| moment(op(put).ret)),
            taken,
            taken_call: taken.map_or(unknown_call, |taken| Moment::from(op(taken).call)),
            taken_return: taken.map_or(LAST, |taken| moment(op(taken).ret)),
        };
        match taken {
            Some(id) if element.taken_return < element.put_call => self.odd.push(Odd { id, word }),
            _ => self.all.push(element),
        }
    }
}

fn moment(position: u32) -> Moment {
    if position == NEVER { LAST } else { Moment::from(position) }
}
