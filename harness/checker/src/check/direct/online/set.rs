//! Sets that grow: what is known to be there has to be in each list that is read from then on.

use std::collections::{HashMap, HashSet};

use super::{Watch, contradiction};
use crate::check::decision::{Anomaly, Contradiction};
use crate::history::Outcome;
use crate::ops::{Action, KeyOps, Op, Position, Seen, Word};

pub(super) struct Set {
    initial: HashSet<Word>,
    /// Its first add, and how many may have happened.
    adds: HashMap<Word, Adds>,
    /// Elements, in the order in which it became certain that they are there, and who proves it.
    there: Vec<(Position, Word, u32)>,
    since: HashMap<Word, Position>,
    /// Once something may have been removed, only what is in lists and cannot be is reported.
    some_are_removed: bool,
}

#[derive(Clone, Copy)]
struct Adds {
    first_call: Position,
    id: u32,
    count: u32,
}

impl Set {
    pub(super) fn of(key: &KeyOps) -> Set {
        let initial = if let Seen::List(list) = key.initial { key.list(list) } else { &[] };
        Set {
            initial: initial.iter().copied().collect(),
            adds: HashMap::new(),
            there: Vec::new(),
            since: HashMap::new(),
            some_are_removed: false,
        }
    }

    fn is_there(&mut self, word: Word, since: Position, proof: u32) {
        if !self.initial.contains(&word) && !self.since.contains_key(&word) {
            self.since.insert(word, since);
            self.there.push((since, word, proof));
        }
    }

    fn read(&mut self, id: u32, op: &Op, list: &[Word]) -> Option<Contradiction> {
        let words: HashSet<Word> = list.iter().copied().collect();
        // The earliest moment at which it can have been read.
        let mut earliest = (op.call, None);
        for &word in list.iter().filter(|word| !self.initial.contains(word)) {
            match self.adds.get(&word) {
                None => return Some(contradiction(Anomaly::PhantomRead, [id])),
                Some(adds) if adds.count == 0 => {
                    return Some(contradiction(Anomaly::AbortedRead, [id, adds.id]));
                }
                Some(adds) if adds.first_call > earliest.0 => {
                    // Which of several adds it was is not known; the first one was the earliest.
                    earliest = (adds.first_call, Some(adds.id));
                }
                Some(_) => {}
            }
        }
        if !self.some_are_removed
            && let Some(found) = self.missing(id, &words, earliest)
        {
            return Some(found);
        }
        for &word in list {
            self.is_there(word, op.ret, id);
        }
        None
    }

    fn missing(
        &self,
        id: u32,
        words: &HashSet<Word>,
        (moment, proof): (Position, Option<u32>),
    ) -> Option<Contradiction> {
        if !self.initial.is_subset(words) {
            return Some(contradiction(Anomaly::LostWrite, [id]));
        }
        let expected = self.there.partition_point(|&(since, _, _)| since < moment);
        let is_expected = |word: &Word| self.since.get(word).is_some_and(|&since| since < moment);
        if self.initial.len() + expected <= words.len()
            && expected == words.iter().filter(|word| is_expected(word)).count()
        {
            return None;
        }
        let lacks = |&&(_, word, _): &&(Position, Word, u32)| !words.contains(&word);
        let &(_, _, other) = self.there[..expected].iter().find(lacks)?;
        Some(contradiction(Anomaly::StaleRead, [id, other].into_iter().chain(proof)))
    }
}

impl Watch for Set {
    fn call(&mut self, id: u32, op: &Op) {
        self.some_are_removed |= matches!(op.action, Action::Remove(_));
        if let Action::Add(word) = op.action {
            let new = Adds { first_call: op.call, id, count: 0 };
            let adds = self.adds.entry(word).or_insert(new);
            if adds.count == 0 {
                *adds = new;
            }
            adds.count += 1;
        }
    }

    fn complete(&mut self, id: u32, op: &Op, list: &[Word]) -> Option<Contradiction> {
        match (op.action, op.outcome) {
            (Action::Read, Outcome::Ok) if matches!(op.seen, Seen::List(_)) => {
                self.read(id, op, list)
            }
            (Action::Add(word), Outcome::Ok) => {
                self.is_there(word, op.ret, id);
                None
            }
            (Action::Add(word), Outcome::Fail) => {
                if let Some(adds) = self.adds.get_mut(&word) {
                    adds.count -= 1;
                }
                None
            }
            _ => None,
        }
    }
}
