//! The object that generated operations work on: what clients ask of it, and what it answers.
//!
//! Apart from [`crate::model::semantics`], so that the two check each other.

use std::collections::{BTreeMap, HashMap, VecDeque};

use rand::Rng;
use rand::rngs::SmallRng;

use super::random::{Log, Shape};
use crate::model::Model;
use crate::ops::{Action, KeyOps, List, Micro, NOTHING, Seen, UNREAD, Word};

/// What the object is just now.
enum State {
    Register(Word),
    /// Lists, sets and queues.
    Elements(VecDeque<Word>),
    Number(i64),
    Registers(BTreeMap<Word, Word>),
    /// With its tag, as [`crate::ops::Words`] keep it.
    Text(Vec<u8>),
    Held(bool),
}

/// What the object says to a request.
pub(super) enum Reply {
    Done(Seen),
    /// It did nothing, and shows this.
    Refused(Seen),
}

pub(super) struct Object {
    state: State,
    known: HashMap<Vec<u8>, Word>,
    /// Values named so far.
    named: u32,
    shape: Shape,
}

impl Object {
    /// Sets what the key is initially.
    pub(super) fn new(key: &mut KeyOps, shape: Shape, rng: &mut SmallRng) -> Object {
        let state = match key.model {
            Model::Register | Model::CasRegister => State::Register(NOTHING),
            Model::Append | Model::Set | Model::FifoQueue | Model::UnorderedQueue => {
                State::Elements(VecDeque::new())
            }
            Model::Counter => State::Number(0),
            Model::MultiRegister => State::Registers(BTreeMap::new()),
            Model::Kv => State::Text(Vec::new()),
            Model::Mutex => State::Held(false),
        };
        let mut object = Object { state, known: HashMap::new(), named: 0, shape };
        if rng.random_range(0..100) < shape.initial {
            object.begin(key, rng);
        }
        object
    }

    fn begin(&mut self, key: &mut KeyOps, rng: &mut SmallRng) {
        let (first, second) = (self.value(key, rng), self.value(key, rng));
        match &mut self.state {
            State::Register(word) => {
                *word = first;
                key.initial = Seen::Word(first);
            }
            State::Elements(elements) => {
                elements.push_back(first);
                if second != first {
                    elements.push_back(second);
                }
                let list: Vec<Word> = elements.iter().copied().collect();
                key.initial = Seen::List(push_list(key, &list));
            }
            State::Number(number) => {
                *number = 5;
                key.initial = Seen::Number(5);
            }
            State::Registers(registers) => {
                let register = word(&mut self.known, key, "sr0");
                registers.insert(register, first);
                let micro = Micro { writes: true, register, value: first };
                key.initial = Seen::List(push_list(key, &micro.to_items()));
            }
            State::Text(text) => {
                *text = key.words.bytes(first).to_vec();
                key.initial = Seen::Word(first);
            }
            State::Held(held) => {
                *held = true;
                key.initial = Seen::Number(1);
            }
        }
    }

    /// What a client asks for. It knows what the object is, so that what it asks for is often possible.
    pub(super) fn ask(&mut self, key: &mut KeyOps, rng: &mut SmallRng) -> Action {
        let kind = rng.random_range(0..10);
        match (key.model, kind) {
            (Model::MultiRegister, _) => self.ask_transaction(key, rng),
            (Model::Mutex, _) => {
                let held = matches!(self.state, State::Held(true));
                if held == rng.random_bool(0.8) { Action::Release } else { Action::Acquire }
            }
            (Model::FifoQueue | Model::UnorderedQueue, 0..=4) => Action::Dequeue,
            (Model::FifoQueue | Model::UnorderedQueue, _) => Action::Enqueue(self.value(key, rng)),
            (_, 0..=4) => Action::Read,
            (Model::Append, _) | (Model::Kv, 6) => Action::Append(self.value(key, rng)),
            (Model::Counter, _) => self.ask_increment(rng),
            (Model::Kv, 5) if rng.random_bool(0.5) => self.ask_increment(rng),
            (Model::Set, 8..) => Action::Remove(any_word(key, rng)),
            (Model::Set, _) => Action::Add(self.value(key, rng)),
            (Model::CasRegister | Model::Kv, 7..) => Action::Cas {
                expect: if rng.random_bool(0.5) { self.show(key) } else { any_word(key, rng) },
                new: self.value(key, rng),
            },
            // Of what is deleted twice, nothing tells which delete a reader saw: no history of unique values.
            (_, 5) if self.shape.small_values > 0 && rng.random_bool(0.3) => Action::Write(NOTHING),
            _ => Action::Write(self.value(key, rng)),
        }
    }

    fn ask_increment(&self, rng: &mut SmallRng) -> Action {
        let least = if rng.random_range(0..100) < self.shape.small_values { -2 } else { 1 };
        Action::Incr(rng.random_range(least..=3))
    }

    fn ask_transaction(&mut self, key: &mut KeyOps, rng: &mut SmallRng) -> Action {
        let mut items = Vec::new();
        for _ in 0..rng.random_range(1..=3) {
            let name = ["sr0", "sr1", "sr2"][rng.random_range(0..3)];
            let register = word(&mut self.known, key, name);
            let writes = rng.random_bool(0.5);
            let value = if writes { self.value(key, rng) } else { UNREAD };
            items.extend(Micro { writes, register, value }.to_items());
        }
        Action::Txn(push_list(key, &items))
    }

    /// A value to write: a new one, or one of few.
    fn value(&mut self, key: &mut KeyOps, rng: &mut SmallRng) -> Word {
        if rng.random_range(0..100) < self.shape.small_values {
            let number = rng.random_range(0..self.shape.small_values_max);
            return word(&mut self.known, key, &format!("v{number}"));
        }
        self.named += 1;
        word(&mut self.known, key, &format!("sw{}", self.named))
    }

    /// What a reader of a register would see.
    fn show(&mut self, key: &mut KeyOps) -> Word {
        match &self.state {
            State::Register(word) => *word,
            State::Text(text) => {
                let text = String::from_utf8(text.clone()).expect("made of strings");
                word(&mut self.known, key, &text)
            }
            State::Elements(_) | State::Number(_) | State::Registers(_) | State::Held(_) => NOTHING,
        }
    }

    /// Carries a request out.
    pub(super) fn carry_out(
        &mut self,
        key: &mut KeyOps,
        action: Action,
        rng: &mut SmallRng,
    ) -> Reply {
        let shown = self.show(key);
        match (action, &mut self.state) {
            (Action::Read, State::Register(_) | State::Text(_)) => Reply::Done(Seen::Word(shown)),
            (Action::Read, State::Number(number)) => Reply::Done(Seen::Number(*number)),
            (Action::Read, State::Elements(elements)) => {
                let list: Vec<Word> = elements.iter().copied().collect();
                Reply::Done(Seen::List(push_list(key, &list)))
            }
            (Action::Write(value), State::Register(word)) => {
                *word = value;
                Reply::Done(Seen::Unknown)
            }
            (Action::Write(value), State::Text(text)) => {
                *text = key.words.bytes(value).to_vec();
                Reply::Done(Seen::Unknown)
            }
            (Action::Cas { expect, .. }, _) if expect != shown => Reply::Refused(Seen::Word(shown)),
            (Action::Cas { expect, new }, State::Register(word)) => {
                *word = new;
                Reply::Done(Seen::Word(expect))
            }
            (Action::Cas { expect, new }, State::Text(text)) => {
                *text = key.words.bytes(new).to_vec();
                Reply::Done(Seen::Word(expect))
            }
            (Action::Append(token), State::Text(text)) => {
                let tag = if text.is_empty() { "s" } else { "" };
                text.extend_from_slice(tag.as_bytes());
                text.extend_from_slice(key.words.text(token).as_bytes());
                Reply::Done(Seen::Unknown)
            }
            (Action::Incr(by), _) => self.increment(by),
            (Action::Append(token) | Action::Enqueue(token), State::Elements(elements)) => {
                elements.push_back(token);
                Reply::Done(Seen::Unknown)
            }
            (Action::Add(element), State::Elements(elements)) => {
                if !elements.contains(&element) {
                    elements.push_back(element);
                }
                Reply::Done(Seen::Unknown)
            }
            (Action::Remove(element), State::Elements(elements)) => {
                elements.retain(|&other| other != element);
                Reply::Done(Seen::Unknown)
            }
            (Action::Dequeue, State::Elements(elements)) => {
                let any = key.model == Model::UnorderedQueue && elements.len() > 1;
                let place = if any { rng.random_range(0..elements.len()) } else { 0 };
                match elements.remove(place) {
                    Some(element) => Reply::Done(Seen::Word(element)),
                    None if rng.random_bool(0.5) => Reply::Done(Seen::Word(NOTHING)),
                    None => Reply::Refused(Seen::Unknown),
                }
            }
            (Action::Acquire, State::Held(held)) => take(held, false),
            (Action::Release, State::Held(held)) => take(held, true),
            (Action::Txn(steps), State::Registers(registers)) => {
                let answered = transact(key, steps, registers);
                Reply::Done(Seen::List(push_list(key, &answered)))
            }
            _ => unreachable!("nobody asks a {} for {action:?}", key.model),
        }
    }

    pub(super) fn log(&self) -> Log {
        self.shape.log
    }

    /// Whether the client does not hear the answer.
    pub(super) fn is_silent(&self, rng: &mut SmallRng) -> bool {
        rng.random_range(0..100) < self.shape.silent
    }

    fn increment(&mut self, by: i64) -> Reply {
        match &mut self.state {
            State::Number(number) => {
                *number += by;
                Reply::Done(Seen::Number(*number))
            }
            State::Text(text) => {
                let number = std::str::from_utf8(text.get(1..).unwrap_or(b"0")).expect("a string");
                let Ok(number) = number.parse::<i64>() else {
                    return Reply::Refused(Seen::Unknown);
                };
                *text = format!("v{}", number + by).into_bytes();
                Reply::Done(Seen::Number(number + by))
            }
            State::Register(_) | State::Elements(_) | State::Registers(_) | State::Held(_) => {
                Reply::Refused(Seen::Unknown)
            }
        }
    }
}

fn take(held: &mut bool, must_be: bool) -> Reply {
    if *held != must_be {
        return Reply::Refused(Seen::Unknown);
    }
    *held = !must_be;
    Reply::Done(Seen::Unknown)
}

fn transact(key: &KeyOps, steps: List, registers: &mut BTreeMap<Word, Word>) -> Vec<Word> {
    let mut answered = Vec::new();
    for mut micro in key.micros(steps) {
        if micro.writes {
            registers.insert(micro.register, micro.value);
        } else {
            micro.value = registers.get(&micro.register).copied().unwrap_or(NOTHING);
        }
        answered.extend(micro.to_items());
    }
    answered
}

/// A word that operations before mentioned, or nothing.
fn any_word(key: &KeyOps, rng: &mut SmallRng) -> Word {
    let words = Word::try_from(key.words.len()).expect("few words");
    rng.random_range(0..words)
}

/// The word for a text with its tag in front; nothing for no text.
fn word(known: &mut HashMap<Vec<u8>, Word>, key: &mut KeyOps, text: &str) -> Word {
    let Some(&tag) = text.as_bytes().first() else { return NOTHING };
    *known
        .entry(text.as_bytes().to_vec())
        .or_insert_with(|| key.words.push(tag, &text[1..]).expect("room for it"))
}

pub(super) fn push_list(key: &mut KeyOps, items: &[Word]) -> List {
    let start = u32::try_from(key.items.len()).expect("few items");
    key.items.extend_from_slice(items);
    List { start, len: u32::try_from(items.len()).expect("few items") }
}
