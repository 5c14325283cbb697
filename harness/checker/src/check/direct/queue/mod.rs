//! Queues whose elements are told apart: what was put in and taken out, and when (after the bad patterns of Bouajjani,
//! Emmi, Enea and Hamza 2015, and Henzinger, Sezgin and Vafeiadis 2013).

mod merge;
mod patterns;
mod sequence;

use super::Contradictions;
use crate::model::Model;
use crate::ops::{Action, KeyOps, NEVER, NOTHING, Op, Seen, Word, index};

/// An order, if each element was put in once and nobody took any without saying which.
pub(super) fn order(key: &KeyOps) -> Option<Vec<u32>> {
    let mut elements = Elements::of(key)?;
    if elements.is_ambiguous || elements.takes_unknown_for_sure || !elements.odd.is_empty() {
        return None;
    }
    if key.model != Model::FifoQueue {
        return merge::merge(key, &elements, None);
    }
    elements.take_what_was_overtaken(key)?;
    let sequence = sequence::sequence(&elements.all)?;
    merge::merge(key, &elements, Some(sequence))
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
    /// Dequeues that may have taken something and do not say what.
    unknown: Vec<u32>,
    /// A dequeue did take something and does not say what.
    takes_unknown_for_sure: bool,
}

/// What happened to a word.
#[derive(Clone, Copy, Default)]
struct Uses {
    /// How often it may have been put in, and by whom last; nothing if it was there from the beginning.
    puts: u32,
    put: Option<u32>,
    /// How often it was taken, and by whom first.
    takes: u32,
    taken: Option<u32>,
    /// Where it was among what was there from the beginning, seen from the end.
    start: Moment,
}

impl Elements {
    /// `None` if there are operations that do not belong to a queue.
    fn of(key: &KeyOps) -> Option<Elements> {
        let mut words = vec![Uses::default(); key.words.len()];
        let initial = if let Seen::List(list) = key.initial { key.list(list) } else { &[] };
        for (&word, start) in initial.iter().rev().zip(1..) {
            let uses = words.get_mut(index(word))?;
            *uses = Uses { puts: uses.puts + 1, start: -start, ..*uses };
        }
        let mut elements = Elements {
            all: Vec::new(),
            empty: Vec::new(),
            odd: Vec::new(),
            unknown: Vec::new(),
            is_ambiguous: false,
            takes_unknown_for_sure: false,
        };
        // From when on somebody may have taken anything.
        let mut unknown_call = LAST;
        // Those who were not the first to take something, and the how manieth they were.
        let mut late_takes = Vec::new();
        for (op, id) in key.ops.iter().zip(0..).filter(|(op, _)| op.may_count()) {
            match (op.action, op.seen) {
                (Action::Enqueue(word), _) if word != NOTHING => {
                    let uses = words.get_mut(index(word))?;
                    *uses = Uses { puts: uses.puts + 1, put: Some(id), ..*uses };
                }
                (Action::Dequeue, Seen::Word(NOTHING)) if op.is_ok() => elements.empty.push(id),
                (Action::Dequeue, Seen::Word(word)) if op.is_ok() => {
                    let uses = words.get_mut(index(word))?;
                    if uses.takes > 0 {
                        late_takes.push((id, word, uses.takes));
                    }
                    let taken = uses.taken.or(Some(id));
                    *uses = Uses { takes: uses.takes + 1, taken, ..*uses };
                }
                (Action::Dequeue, Seen::Unknown) => {
                    unknown_call = unknown_call.min(Moment::from(op.call));
                    elements.takes_unknown_for_sure |= op.is_ok();
                    elements.unknown.push(id);
                }
                _ => return None,
            }
        }
        for (id, word, earlier) in late_takes {
            if earlier >= words[index(word)].puts {
                elements.odd.push(Odd { id, word });
            }
        }
        for (uses, word) in words.iter().zip(0..) {
            match (uses.puts, uses.taken) {
                (0, Some(id)) => elements.odd.push(Odd { id, word }),
                (0, None) => {}
                (1, _) => elements.add(key, uses, word, unknown_call),
                _ => elements.is_ambiguous = true,
            }
        }
        elements.odd.sort_unstable_by_key(|odd| odd.id);
        Some(elements)
    }

    /// Something that was put in once.
    fn add(&mut self, key: &KeyOps, uses: &Uses, word: Word, unknown_call: Moment) {
        let &Uses { put, taken, start, .. } = uses;
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

impl Elements {
    /// First in, first out: what nobody said to have taken was taken nevertheless if something that was put in later was
    /// taken, or if there was nothing later. `None` if nobody can have taken it.
    fn take_what_was_overtaken(&mut self, key: &KeyOps) -> Option<()> {
        let empty = self.empty.iter().map(|&id| &key.ops[index(id)]);
        let empty = empty.map(|op| (Moment::from(op.call), moment(op.ret)));
        let taken = self.all.iter().filter(|element| element.taken.is_some());
        // Later events by their first moment, with the earliest last moment from there on.
        let mut later: Vec<(Moment, Moment)> =
            taken.map(|element| (element.put_call, element.taken_return)).chain(empty).collect();
        later.sort_unstable();
        let mut earliest = LAST;
        for (_, last) in later.iter_mut().rev() {
            earliest = earliest.min(*last);
            *last = earliest;
        }
        let deadline = |element: &Element| {
            let at = later.partition_point(|&(first, _)| first < element.put_return);
            later.get(at).map_or(LAST, |&(_, last)| last)
        };
        let left = self.all.iter_mut().filter(|element| element.taken.is_none());
        let overtaken = left.map(|element| (deadline(element), element));
        let mut overtaken: Vec<(Moment, &mut Element)> =
            overtaken.filter(|&(deadline, _)| deadline < LAST).collect();
        overtaken.sort_unstable_by_key(|(deadline, _)| *deadline);
        let mut unknown = self.unknown.iter();
        for (_, element) in overtaken {
            let &id = unknown.next()?;
            element.taken = Some(id);
            element.taken_call = Moment::from(key.ops[index(id)].call);
        }
        Some(())
    }
}

fn moment(position: u32) -> Moment {
    if position == NEVER { LAST } else { Moment::from(position) }
}
