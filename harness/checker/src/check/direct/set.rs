//! Sets. Elements that nobody removes are there from their first add on: what is known to be there has to be in every
//! list that is read from then on. If nobody removes anything, the lists grow, which orders the reads.

use super::place::insert_free;
use super::{Contradictions, number};
use crate::check::decision::{Anomaly, Contradiction};
use crate::history::Outcome;
use crate::ops::{Action, KeyOps, NEVER, Op, Position, Seen, Word, index};

/// The order in which lists grow, if nobody removes anything.
pub(super) fn order(key: &KeyOps) -> Option<Vec<u32>> {
    let elements = Elements::of(key)?;
    if elements.some_are_removed {
        return None;
    }
    let mut reads: Vec<(u32, u32)> =
        shown_by(key).map(|(id, list)| (number(list.len()), id)).collect();
    reads.sort_unstable();
    // By word: the place of the first read that has it.
    let mut first_read = vec![NEVER; key.words.len()];
    for (&(_, id), place) in reads.iter().zip(0..) {
        for &word in shown(key, &key.ops[index(id)]).unwrap_or_default() {
            let first = &mut first_read[index(word)];
            *first = (*first).min(place);
        }
    }
    let mut sequence: Vec<(u64, u32)> =
        reads.iter().zip(0_u64..).map(|(&(_, id), place)| (2 * place + 1, id)).collect();
    let mut is_added = elements.is_initial;
    let mut free = Vec::new();
    for (op, id) in key.ops.iter().zip(0..).filter(|(op, _)| op.may_count()) {
        match (op.action, op.seen) {
            (Action::Add(word), _) => {
                let place = first_read[index(word)];
                if is_added[index(word)] || place == NEVER && !op.is_ok() {
                    free.push(id);
                } else {
                    // The first one is what the first reads saw.
                    is_added[index(word)] = true;
                    sequence.push((2 * u64::from(place), id));
                }
            }
            (_, Seen::Unknown) if op.is_ok() => free.push(id),
            _ => {}
        }
    }
    sequence.sort_unstable();
    Some(insert_free(key, sequence.into_iter().map(|(_, id)| id).collect(), free))
}

/// Reads that have what nobody had added, lack what was there, or have what was gone.
pub(super) fn contradictions(key: &KeyOps, found: &mut Contradictions) {
    let Some(mut elements) = Elements::of(key) else { return };
    elements.learn(key);
    let mut reads: Vec<(u32, &[Word])> = shown_by(key).collect();
    reads.retain(|&(id, list)| {
        let wrong = elements.wrong(key, id, list);
        if let Some((word, anomaly)) = wrong {
            found.add(|| elements.about_element(key, id, word, anomaly));
        } else if let Some(missing) = elements.missing(key, id, list) {
            found.add(|| elements.about_missing(key, id, list, missing));
        } else {
            return true;
        }
        false
    });
    if !elements.some_are_removed {
        compare(key, reads, found);
    }
}

/// Reads each of which has an element that the other lacks.
fn compare(key: &KeyOps, mut reads: Vec<(u32, &[Word])>, found: &mut Contradictions) {
    let mut last_seen = vec![NEVER; key.words.len()];
    reads.sort_by_key(|(_, list)| list.len());
    let mut before: Option<(u32, &[Word])> = None;
    for (place, (id, list)) in (0..).zip(reads) {
        for &word in list {
            last_seen[index(word)] = place;
        }
        if let Some((smaller, less)) = before
            && less.iter().any(|&word| last_seen[index(word)] != place)
        {
            // With repeated elements, the longer list may be the smaller set.
            if list.iter().all(|word| less.contains(word)) {
                continue;
            }
            found.add(|| Contradiction { anomaly: Anomaly::WrongOrder, ops: vec![smaller, id] });
            continue;
        }
        before = Some((id, list));
    }
}

fn shown<'a>(key: &'a KeyOps, op: &Op) -> Option<&'a [Word]> {
    if let Seen::List(list) = op.seen {
        return op.is_ok_read().then(|| key.list(list));
    }
    None
}

fn shown_by(key: &KeyOps) -> impl Iterator<Item = (u32, &[Word])> {
    key.ops.iter().zip(0..).filter_map(|(op, id)| Some((id, shown(key, op)?)))
}

/// What is known about the elements, by word.
struct Elements {
    is_initial: Vec<bool>,
    /// The first call that may add it; [`NEVER`] if nobody does.
    first_add: Vec<Position>,
    /// The last return of what may add it.
    last_add_return: Vec<Position>,
    may_be_removed: Vec<bool>,
    some_are_removed: bool,
    /// From when on it is certainly there and stays, and who proves it.
    there_since: Vec<(Position, u32)>,
    /// From when on it is certainly gone and stays so, and who removed it.
    gone_since: Vec<(Position, u32)>,
    /// `there_since`, ascending, with the word.
    there: Vec<(Position, Word)>,
}

impl Elements {
    /// `None` if there are operations that do not belong to a set.
    fn of(key: &KeyOps) -> Option<Elements> {
        let words = key.words.len();
        let mut elements = Elements {
            is_initial: vec![false; words],
            first_add: vec![NEVER; words],
            last_add_return: vec![0; words],
            may_be_removed: vec![false; words],
            some_are_removed: false,
            there_since: vec![(NEVER, NEVER); words],
            gone_since: vec![(NEVER, NEVER); words],
            there: Vec::new(),
        };
        if let Seen::List(list) = key.initial {
            for &word in key.list(list) {
                *elements.is_initial.get_mut(index(word))? = true;
            }
        }
        for op in key.ops.iter().filter(|op| op.may_count()) {
            match (op.action, op.seen) {
                (Action::Add(word), _) => {
                    let first = elements.first_add.get_mut(index(word))?;
                    *first = (*first).min(op.call);
                    let last = &mut elements.last_add_return[index(word)];
                    *last = (*last).max(op.ret);
                }
                (Action::Remove(word), _) => {
                    *elements.may_be_removed.get_mut(index(word))? = true;
                    elements.some_are_removed = true;
                }
                (Action::Read, Seen::List(_) | Seen::Unknown) => {}
                _ => return None,
            }
        }
        let mut all_shown = shown_by(key).flat_map(|(_, list)| list);
        all_shown.all(|&word| index(word) < words).then_some(elements)
    }

    /// From when on elements are there, and from when on gone.
    fn learn(&mut self, key: &KeyOps) {
        for (op, id) in key.ops.iter().zip(0..).filter(|(op, _)| op.is_ok()) {
            match (op.action, op.seen) {
                (Action::Add(word), _) => self.is_there(word, op.ret, id),
                (Action::Remove(word), _) if self.last_add_return[index(word)] < op.call => {
                    let gone = &mut self.gone_since[index(word)];
                    *gone = (*gone).min((op.ret, id));
                }
                _ => {
                    for &word in shown(key, op).unwrap_or_default() {
                        if self.is_possible(word, op) {
                            self.is_there(word, op.ret, id);
                        }
                    }
                }
            }
        }
        for (word, is_initial) in (0..).zip(&self.is_initial) {
            if *is_initial && !self.may_be_removed[index(word)] {
                self.there_since[index(word)] = (0, NEVER);
            }
        }
        let there = (0..).zip(&self.there_since).filter(|(_, (since, _))| *since != NEVER);
        self.there = there.map(|(word, &(since, _))| (since, word)).collect();
        self.there.sort_unstable();
    }

    fn is_there(&mut self, word: Word, since: Position, proof: u32) {
        if !self.may_be_removed[index(word)] {
            let there = &mut self.there_since[index(word)];
            *there = (*there).min((since, proof));
        }
    }

    fn is_possible(&self, word: Word, read: &Op) -> bool {
        self.is_initial[index(word)] || self.first_add[index(word)] < read.ret
    }

    /// An element of a list that cannot have been in it.
    fn wrong(&self, key: &KeyOps, id: u32, list: &[Word]) -> Option<(Word, Anomaly)> {
        let read = &key.ops[index(id)];
        let phantom = list.iter().find(|&&word| !self.is_possible(word, read));
        let gone = || list.iter().find(|&&word| self.gone_since[index(word)].0 < read.call);
        phantom
            .map(|&word| (word, Anomaly::PhantomRead))
            .or_else(|| gone().map(|&word| (word, Anomaly::StaleRead)))
    }

    /// The earliest moment at which a list can have been read, and the element that says so, if it is not the call.
    fn earliest(&self, key: &KeyOps, id: u32, list: &[Word]) -> (Position, Option<Word>) {
        let call = key.ops[index(id)].call;
        let added = list.iter().filter(|&&word| !self.is_initial[index(word)]);
        let last = added.map(|&word| (self.first_add[index(word)], Some(word))).max();
        last.filter(|&(moment, _)| moment > call).unwrap_or((call, None))
    }

    /// An element that was there when the list was read, but is not in it.
    fn missing(&self, key: &KeyOps, id: u32, list: &[Word]) -> Option<Word> {
        let (moment, _) = self.earliest(key, id, list);
        let expected = self.there.partition_point(|&(since, _)| since < moment.max(1));
        let there = |word: &Word| self.there_since[index(*word)].0 < moment.max(1);
        let mut has: Vec<Word> = list.iter().copied().filter(there).collect();
        has.sort_unstable();
        has.dedup();
        if has.len() == expected {
            return None;
        }
        let lacks = |word: &Word| has.binary_search(word).is_err();
        self.there[..expected].iter().map(|&(_, word)| word).find(lacks)
    }

    fn about_element(&self, key: &KeyOps, id: u32, word: Word, anomaly: Anomaly) -> Contradiction {
        let mut ops = vec![id];
        let adds = || key.ops.iter().zip(0..).filter(|(op, _)| op.action == Action::Add(word));
        let failed = adds().find(|(op, _)| op.outcome == Outcome::Fail);
        ops.extend(adds().filter(|(op, _)| op.may_count()).map(|(_, id)| id));
        if anomaly == Anomaly::StaleRead {
            ops.push(self.gone_since[index(word)].1);
        } else if let (Some((_, failed)), [_]) = (failed, ops.as_slice()) {
            ops.push(failed);
            return Contradiction { anomaly: Anomaly::AbortedRead, ops };
        }
        Contradiction { anomaly, ops }
    }

    fn about_missing(&self, key: &KeyOps, id: u32, list: &[Word], missing: Word) -> Contradiction {
        let (since, proof) = self.there_since[index(missing)];
        let mut ops = vec![id];
        let op = &key.ops[index(id)];
        let mut anomaly = Anomaly::LostWrite;
        if proof != NEVER {
            ops.push(proof);
            let other = &key.ops[index(proof)];
            let went_back = other.action == Action::Read && other.process == op.process;
            anomaly = if went_back { Anomaly::NonMonotonic } else { Anomaly::StaleRead };
        }
        // Called before the element was there, but it shows one that was added after that.
        if let (_, Some(later)) = self.earliest(key, id, list)
            && (since >= op.call)
        {
            let adds = |op: &Op| op.may_count() && op.action == Action::Add(later);
            ops.extend(key.ops.iter().zip(0..).filter(|(op, _)| adds(op)).map(|(_, id)| id));
            anomaly = Anomaly::WrongOrder;
        }
        Contradiction { anomaly, ops }
    }
}
