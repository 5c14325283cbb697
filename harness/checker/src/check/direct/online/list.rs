//! Append lists: the longest list so far, and what had to be in a list by the time that it was read.

use std::collections::{BTreeMap, HashMap};

use super::{Watch, contradiction};
use crate::check::decision::{Anomaly, Contradiction};
use crate::history::Outcome;
use crate::ops::{Action, KeyOps, NEVER, Op, Position, Seen, Word};

pub(super) struct AppendList {
    tokens: Vec<Word>,
    longest: Option<u32>,
    initial: usize,
    appends: HashMap<Word, Append>,
    /// By return: the furthest token that had been appended or seen by then; only those that are further than all before.
    reached: BTreeMap<Position, (usize, u32)>,
    /// By return: acknowledged appends whose token no read has shown.
    unseen: BTreeMap<Position, (Word, u32)>,
}

/// The appends of a token.
#[derive(Clone, Copy)]
struct Append {
    /// The last one.
    id: u32,
    call: Position,
    ret: Position,
    /// How many may have happened.
    count: u32,
    /// Which of them a list shows cannot be told; that all but one fail later does not help those who saw it before.
    are_several: bool,
    /// The first read that showed it.
    shown_by: Option<u32>,
}

impl AppendList {
    pub(super) fn of(key: &KeyOps) -> AppendList {
        let tokens =
            if let Seen::List(list) = key.initial { key.list(list).to_vec() } else { vec![] };
        AppendList {
            initial: tokens.len(),
            tokens,
            longest: None,
            appends: HashMap::new(),
            reached: BTreeMap::new(),
            unseen: BTreeMap::new(),
        }
    }

    fn read(&mut self, id: u32, op: &Op, list: &[Word]) -> Option<Contradiction> {
        let both = list.len().min(self.tokens.len());
        if list.len() < self.initial || list[..both] != self.tokens[..both] {
            let anomaly = if self.longest.is_some() && list.len() >= self.initial {
                Anomaly::WrongOrder
            } else {
                Anomaly::LostWrite
            };
            return Some(contradiction(anomaly, self.longest.into_iter().chain([id])));
        }
        if let Some(found) = self.longer(id, list) {
            return Some(found);
        }
        if let Some((_, &(reached, other))) = self.reached.range(..op.call).next_back()
            && reached > list.len()
        {
            return Some(contradiction(Anomaly::StaleRead, [id, other]));
        }
        if let Some((_, &(_, append))) = self.unseen.range(..op.call).next() {
            return Some(contradiction(Anomaly::LostWrite, [id, append]));
        }
        self.reach(op.ret, list.len(), id);
        None
    }

    /// Takes over tokens that no read had shown.
    fn longer(&mut self, id: u32, list: &[Word]) -> Option<Contradiction> {
        let known = self.tokens.len();
        let new = list.get(known..).unwrap_or_default();
        if new.is_empty() {
            if self.longest.is_none() && list.len() == known {
                self.longest = Some(id);
            }
            return None;
        }
        if let Some(found) = self.impossible(id, new) {
            return Some(found);
        }
        let shown: Vec<Append> =
            new.iter().filter_map(|token| self.appends.get(token).copied()).collect();
        for append in &shown {
            self.unseen.remove(&append.ret);
        }
        let wrong = self.wrong_order(id, &shown);
        for ((token, append), place) in new.iter().zip(&shown).zip(known + 1..) {
            self.tokens.push(*token);
            if !append.are_several && append.ret != NEVER {
                self.reach(append.ret, place, append.id);
            }
            if let Some(append) = self.appends.get_mut(token) {
                append.shown_by.get_or_insert(id);
            }
        }
        self.longest = Some(id);
        wrong
    }

    /// A new token that nobody appended, or that was there already.
    fn impossible(&self, id: u32, new: &[Word]) -> Option<Contradiction> {
        let mut times: HashMap<Word, u32> = HashMap::new();
        for &token in new {
            let Some(append) = self.appends.get(&token) else {
                let is_known = self.tokens.contains(&token);
                let anomaly = if is_known { Anomaly::Duplicate } else { Anomaly::PhantomRead };
                return Some(contradiction(anomaly, [id]));
            };
            let times = times.entry(token).or_insert_with(|| self.times_shown(token, append));
            *times += 1;
            if *times > append.count {
                let anomaly =
                    if append.count == 0 { Anomaly::AbortedRead } else { Anomaly::Duplicate };
                // Of several appends, the last one stands for all.
                return Some(contradiction(anomaly, [id, append.id]));
            }
        }
        None
    }

    fn times_shown(&self, token: Word, append: &Append) -> u32 {
        if append.shown_by.is_none() {
            return 0;
        }
        let shown = &self.tokens[self.initial..];
        super::super::number(shown.iter().filter(|&&known| known == token).count())
    }

    /// An append that was called after one had returned that comes later, says this read.
    fn wrong_order(&self, id: u32, shown: &[Append]) -> Option<Contradiction> {
        let unseen = self.unseen.iter().next().map(|(&ret, &(_, append))| (ret, append));
        let mut later = unseen.unwrap_or((NEVER, NEVER));
        for append in shown.iter().rev().filter(|append| !append.are_several) {
            if later.0 < append.call {
                return Some(contradiction(Anomaly::WrongOrder, [id, append.id, later.1]));
            }
            later = later.min((append.ret, append.id));
        }
        None
    }

    /// From this position on, lists are at least this long.
    fn reach(&mut self, since: Position, len: usize, proof: u32) {
        let before = self.reached.range(..=since).next_back();
        if before.is_some_and(|(_, &(reached, _))| reached >= len) {
            return;
        }
        while let Some((&next, _)) =
            self.reached.range(since..).next().filter(|(_, (reached, _))| *reached <= len)
        {
            self.reached.remove(&next);
        }
        self.reached.insert(since, (len, proof));
    }

    fn appended(&mut self, id: u32, op: &Op, token: Word) {
        let Some(append) = self.appends.get_mut(&token).filter(|append| append.id == id) else {
            return;
        };
        append.ret = op.ret;
        if append.are_several {
            return;
        }
        if append.shown_by.is_none() {
            self.unseen.insert(op.ret, (token, id));
        }
        // If it has been shown, whoever showed it returned before.
    }

    fn failed(&mut self, id: u32, token: Word) -> Option<Contradiction> {
        let append = self.appends.get_mut(&token)?;
        append.count -= 1;
        let seen = append.shown_by.filter(|_| append.count == 0);
        seen.map(|read| contradiction(Anomaly::AbortedRead, [id, read]))
    }
}

impl Watch for AppendList {
    fn call(&mut self, id: u32, op: &Op) {
        let Action::Append(token) = op.action else { return };
        let (ret, are_several) = (NEVER, false);
        let new = Append { id, call: op.call, ret, count: 1, are_several, shown_by: None };
        let Some(append) = self.appends.get_mut(&token) else {
            self.appends.insert(token, new);
            return;
        };
        self.unseen.remove(&append.ret);
        let count = append.count + 1;
        *append = Append { count, are_several: count > 1, shown_by: append.shown_by, ..new };
    }

    fn complete(&mut self, id: u32, op: &Op, list: &[Word]) -> Option<Contradiction> {
        match (op.action, op.outcome) {
            (Action::Read, Outcome::Ok) if matches!(op.seen, Seen::List(_)) => {
                self.read(id, op, list)
            }
            (Action::Append(token), Outcome::Ok) => {
                self.appended(id, op, token);
                None
            }
            (Action::Append(token), Outcome::Fail) => self.failed(id, token),
            _ => None,
        }
    }
}
