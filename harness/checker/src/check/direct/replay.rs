//! What [`crate::model::semantics`] says, done in place: a whole sequence costs about as much as it takes to read it.
//!
//! `apply` is false if the operation cannot have happened in that state with what it saw; what the object is then does
//! not matter any more.

use std::collections::VecDeque;

use crate::history::Outcome;
use crate::ops::{Action, KeyOps, List, NOTHING, Op, Seen, UNREAD, Word, index};

/// An object that operations happen to, one after the other.
pub(super) trait Replay {
    /// The operation happens, if it can.
    fn apply(&mut self, key: &KeyOps, op: &Op) -> bool;
}

pub(super) struct Register(Word);

impl Register {
    pub(super) fn of(key: &KeyOps) -> Register {
        Register(key.initial_word())
    }
}

impl Replay for Register {
    fn apply(&mut self, _: &KeyOps, op: &Op) -> bool {
        match (op.action, op.seen) {
            _ if op.outcome == Outcome::Fail => {
                !matches!(op.seen, Seen::Word(word) if word != self.0)
            }
            (Action::Read, Seen::Word(word)) => word == self.0,
            (Action::Read, Seen::Unknown) => true,
            (Action::Write(word), _) => {
                self.0 = word;
                true
            }
            (Action::Cas { expect, new }, _) => std::mem::replace(&mut self.0, new) == expect,
            _ => false,
        }
    }
}

pub(super) struct AppendList {
    tokens: Vec<Word>,
    /// Items that are known to be the first tokens: reads may share where their lists are kept.
    same: List,
}

impl AppendList {
    pub(super) fn of(key: &KeyOps) -> AppendList {
        AppendList { tokens: initial(key).to_vec(), same: List { start: 0, len: 0 } }
    }

    fn is(&mut self, key: &KeyOps, list: List) -> bool {
        if index(list.len) != self.tokens.len() {
            return false;
        }
        let known = if list.start == self.same.start { index(self.same.len) } else { 0 };
        let matches = key.list(list).get(known..) == self.tokens.get(known..);
        self.same = list;
        matches
    }
}

impl Replay for AppendList {
    fn apply(&mut self, key: &KeyOps, op: &Op) -> bool {
        match (op.action, op.seen) {
            (Action::Read, Seen::List(list)) => self.is(key, list),
            (Action::Read, Seen::Unknown) => true,
            (Action::Append(token), _) => {
                self.tokens.push(token);
                true
            }
            _ => false,
        }
    }
}

pub(super) struct Counter(i64);

impl Counter {
    pub(super) fn of(key: &KeyOps) -> Counter {
        Counter(key.initial_number())
    }
}

impl Replay for Counter {
    fn apply(&mut self, _: &KeyOps, op: &Op) -> bool {
        if !matches!(op.action, Action::Read | Action::Incr(_)) {
            return false;
        }
        let Some(after) = self.0.checked_add(op.adds().unwrap_or(0)) else { return false };
        self.0 = after;
        match op.seen {
            Seen::Number(number) => number == after,
            Seen::Unknown => true,
            Seen::Word(_) | Seen::List(_) => false,
        }
    }
}

pub(super) struct Set {
    contains: Vec<bool>,
    len: usize,
    /// By word: the last read whose list had it, to count each element once.
    listed_by: Vec<u32>,
    reads: u32,
}

impl Set {
    pub(super) fn of(key: &KeyOps) -> Set {
        let words = key.words.len();
        let mut set =
            Set { contains: vec![false; words], len: 0, listed_by: vec![0; words], reads: 0 };
        for &word in initial(key) {
            set.put(word, true);
        }
        set
    }

    fn put(&mut self, word: Word, is_in: bool) -> bool {
        let Some(was_in) = self.contains.get_mut(index(word)) else { return false };
        match (*was_in, is_in) {
            (false, true) => self.len += 1,
            (true, false) => self.len -= 1,
            _ => {}
        }
        *was_in = is_in;
        true
    }

    fn is(&mut self, list: &[Word]) -> bool {
        self.reads += 1;
        let mut distinct = 0;
        for &word in list {
            if !self.contains.get(index(word)).is_some_and(|is_in| *is_in) {
                return false;
            }
            if std::mem::replace(&mut self.listed_by[index(word)], self.reads) != self.reads {
                distinct += 1;
            }
        }
        distinct == self.len
    }
}

impl Replay for Set {
    fn apply(&mut self, key: &KeyOps, op: &Op) -> bool {
        match (op.action, op.seen) {
            (Action::Read, Seen::List(list)) => self.is(key.list(list)),
            (Action::Read, Seen::Unknown) => true,
            (Action::Add(word), _) => self.put(word, true),
            (Action::Remove(word), _) => self.put(word, false),
            _ => false,
        }
    }
}

pub(super) struct FifoQueue(VecDeque<Word>);

impl FifoQueue {
    pub(super) fn of(key: &KeyOps) -> FifoQueue {
        FifoQueue(initial(key).to_vec().into())
    }
}

impl Replay for FifoQueue {
    fn apply(&mut self, _: &KeyOps, op: &Op) -> bool {
        match (op.action, op.seen) {
            (Action::Enqueue(word), _) => {
                self.0.push_back(word);
                true
            }
            (Action::Dequeue, Seen::Word(word)) => self.0.pop_front().unwrap_or(NOTHING) == word,
            (Action::Dequeue, Seen::Unknown) => {
                self.0.pop_front();
                true
            }
            _ => false,
        }
    }
}

pub(super) struct UnorderedQueue {
    /// By word.
    copies: Vec<u32>,
    len: usize,
}

impl UnorderedQueue {
    pub(super) fn of(key: &KeyOps) -> UnorderedQueue {
        let mut queue = UnorderedQueue { copies: vec![0; key.words.len()], len: 0 };
        for &word in initial(key) {
            queue.put(word);
        }
        queue
    }

    fn put(&mut self, word: Word) -> bool {
        let Some(copies) = self.copies.get_mut(index(word)) else { return false };
        *copies += 1;
        self.len += 1;
        true
    }

    fn take(&mut self, word: Word) -> bool {
        let Some(copies @ 1..) = self.copies.get_mut(index(word)) else { return false };
        *copies -= 1;
        self.len -= 1;
        true
    }
}

impl Replay for UnorderedQueue {
    fn apply(&mut self, _: &KeyOps, op: &Op) -> bool {
        match (op.action, op.seen) {
            (Action::Enqueue(word), _) => self.put(word),
            (Action::Dequeue, Seen::Word(NOTHING)) => self.len == 0,
            (Action::Dequeue, Seen::Word(word)) => self.take(word),
            // Which element it took is not known. If it may never have happened, it took none. If it did happen, it is
            // certain only of an empty queue that nothing is missing now: stricter than the model, which is sound.
            (Action::Dequeue, Seen::Unknown) => op.outcome == Outcome::Open || self.len == 0,
            _ => false,
        }
    }
}

pub(super) struct Mutex {
    held: bool,
}

impl Mutex {
    pub(super) fn of(key: &KeyOps) -> Mutex {
        Mutex { held: key.initial_number() != 0 }
    }
}

impl Replay for Mutex {
    fn apply(&mut self, _: &KeyOps, op: &Op) -> bool {
        let held = op.action == Action::Acquire;
        (held || op.action == Action::Release) && std::mem::replace(&mut self.held, held) != held
    }
}

/// By register.
pub(super) struct MultiRegister(Vec<Word>);

impl MultiRegister {
    pub(super) fn of(key: &KeyOps) -> MultiRegister {
        let mut registers = MultiRegister(vec![NOTHING; key.words.len()]);
        if let Seen::List(list) = key.initial {
            for micro in key.micros(list) {
                registers.set(micro.register, micro.value);
            }
        }
        registers
    }

    fn set(&mut self, register: Word, value: Word) -> bool {
        let place = self.0.get_mut(index(register));
        place.map(|place| *place = value).is_some()
    }
}

impl Replay for MultiRegister {
    fn apply(&mut self, key: &KeyOps, op: &Op) -> bool {
        let Action::Txn(asked) = op.action else { return false };
        let list = if let Seen::List(answered) = op.seen { answered } else { asked };
        key.micros(list).all(|micro| {
            if micro.writes {
                return self.set(micro.register, micro.value);
            }
            let value = self.0.get(index(micro.register)).copied().unwrap_or(NOTHING);
            micro.value == UNREAD || micro.value == value
        })
    }
}

pub(super) struct Kv {
    /// The value if it is known which word it is; words are compared faster than texts.
    word: Option<Word>,
    /// The value as [`crate::ops::Words`] keep it, if `word` is not known or `text_is_word`.
    text: Vec<u8>,
    text_is_word: bool,
}

impl Kv {
    pub(super) fn of(key: &KeyOps) -> Kv {
        Kv { word: Some(key.initial_word()), text: Vec::new(), text_is_word: false }
    }

    fn is(&mut self, key: &KeyOps, word: Word) -> bool {
        if let Some(known) = self.word {
            return known == word;
        }
        let is = key.words.bytes(word) == self.text.as_slice();
        if is {
            self.word = Some(word);
            self.text_is_word = true;
        }
        is
    }

    fn write(&mut self, word: Word) {
        self.word = Some(word);
        self.text_is_word = false;
    }

    fn text(&mut self, key: &KeyOps) -> &mut Vec<u8> {
        if let Some(word) = self.word
            && !self.text_is_word
        {
            self.text.clear();
            self.text.extend_from_slice(key.words.bytes(word));
            self.text_is_word = true;
        }
        &mut self.text
    }

    fn append(&mut self, key: &KeyOps, word: Word) {
        let text = self.text(key);
        if text.is_empty() {
            text.push(b's');
        }
        text.extend_from_slice(key.words.bytes(word).get(1..).unwrap_or_default());
        self.word = None;
    }

    /// The sum, if there is a number to add to.
    fn add(&mut self, key: &KeyOps, by: i64) -> Option<i64> {
        let digits = std::str::from_utf8(self.text(key).get(1..).unwrap_or_default()).ok()?;
        let number = if digits.is_empty() { 0 } else { digits.parse::<i64>().ok()? };
        let sum = number.checked_add(by)?;
        self.text = format!("v{sum}").into_bytes();
        self.word = None;
        Some(sum)
    }
}

impl Replay for Kv {
    fn apply(&mut self, key: &KeyOps, op: &Op) -> bool {
        match (op.action, op.outcome) {
            (Action::Read, _) | (Action::Cas { .. }, Outcome::Fail) => {
                if let Seen::Word(word) = op.seen { self.is(key, word) } else { true }
            }
            (Action::Write(word), _) => {
                self.write(word);
                true
            }
            (Action::Cas { expect, new }, _) => {
                let is = self.is(key, expect);
                self.write(new);
                is
            }
            (Action::Append(word), _) => {
                self.append(key, word);
                true
            }
            (Action::Incr(by), _) => {
                let Some(sum) = self.add(key, by) else { return false };
                if let Seen::Number(number) = op.seen { number == sum } else { true }
            }
            _ => false,
        }
    }
}

fn initial(key: &KeyOps) -> &[Word] {
    if let Seen::List(list) = key.initial { key.list(list) } else { &[] }
}
