//! The operations of one object, with their values as numbers: what every check per key works on.
//!
//! An operation takes 64 bytes here, whatever its format was; a value's text is kept once for each key.

use crate::history::Outcome;
use crate::model::Model;

/// A value among the key's [`Words`].
pub type Word = u32;

/// No value: a register that was never written or was deleted, an empty queue's answer.
pub const NOTHING: Word = 0;

/// A point in the order of all invocations and completions of the history: unique, ascending, not a time.
///
/// One operation comes before another exactly if its return is less than the other's call.
pub type Position = u32;

/// Return position of what never returned, or whose outcome is unknown.
pub const NEVER: Position = Position::MAX;

/// One object's operations, in order of invocation.
#[derive(Clone, Debug)]
pub struct KeyOps {
    /// What kind of object it is.
    pub model: Model,
    /// The key; none if the history has one object only.
    pub name: Option<Box<str>>,
    /// All values that its operations mention.
    pub words: Words,
    /// The elements of all [`List`]s.
    pub items: Vec<Word>,
    /// What the object is before the first operation.
    pub initial: Seen,
    /// In order of invocation.
    pub ops: Vec<Op>,
}

/// An operation of a client.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    /// Its number in the history, in order of invocation.
    pub number: u32,
    /// Position of its invocation.
    pub call: Position,
    /// Position of its completion; [`NEVER`] if the outcome is unknown.
    pub ret: Position,
    /// The client, as a number.
    pub process: u32,
    /// What became of it.
    pub outcome: Outcome,
    /// What it asked for.
    pub action: Action,
    /// What it learnt.
    pub seen: Seen,
    /// Claimed place in a total order of effects (a log index); 0 if none is claimed.
    pub log_index: u64,
}

// There are millions of them.
const _: () = assert!(size_of::<Op>() == 64);

/// What an operation asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The state, or of a register its value.
    Read,
    /// Gives a register a value; a delete is the write of [`NOTHING`].
    Write(Word),
    /// Gives a register a value if it has this one.
    Cas {
        /// Expected.
        expect: Word,
        /// Written.
        new: Word,
    },
    /// Adds a token to a list, or text to a text (kv).
    Append(Word),
    /// Adds to a number.
    Incr(i64),
    /// Puts an element into a set.
    Add(Word),
    /// Takes an element out of a set.
    Remove(Word),
    /// Puts an element into a queue.
    Enqueue(Word),
    /// Takes an element out of a queue, and says which.
    Dequeue,
    /// Takes a mutex.
    Acquire,
    /// Gives it back.
    Release,
    /// Reads and writes several registers at once. The items are [`Micro`] steps, three a step.
    Txn(List),
}

/// What an operation learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Seen {
    /// Nothing but that it is done, or not even that.
    Unknown,
    /// A value: what a read returned, what a cas expected or failed on, what was dequeued.
    Word(Word),
    /// A list's tokens in order, a set's elements, a transaction's steps with what they read.
    List(List),
    /// A number: what a read returned, or the sum after an increment.
    Number(i64),
}

/// A run of the key's [`KeyOps::items`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct List {
    /// First.
    pub start: u32,
    /// How many.
    pub len: u32,
}

/// One step of a transaction: three items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Micro {
    /// Whether it writes, or else reads.
    pub writes: bool,
    /// Which register.
    pub register: Word,
    /// What it writes, or has read. [`UNREAD`] if what it read is not known.
    pub value: Word,
}

/// A read whose answer is not known.
pub const UNREAD: Word = Word::MAX;

impl Micro {
    /// As items.
    pub fn to_items(self) -> [Word; 3] {
        [Word::from(self.writes), self.register, self.value]
    }

    /// From items.
    pub fn from_items(items: [Word; 3]) -> Micro {
        Micro { writes: items[0] != 0, register: items[1], value: items[2] }
    }
}

impl KeyOps {
    /// An object without operations.
    pub fn new(model: Model, name: Option<&str>) -> KeyOps {
        KeyOps {
            model,
            name: name.map(Box::from),
            words: Words::default(),
            items: Vec::new(),
            initial: Seen::Unknown,
            ops: Vec::new(),
        }
    }

    /// The elements of a list.
    pub fn list(&self, list: List) -> &[Word] {
        let start = index(list.start);
        &self.items[start..start + index(list.len)]
    }

    /// The steps of a transaction.
    pub fn micros(&self, list: List) -> impl Iterator<Item = Micro> + '_ {
        self.list(list)
            .chunks_exact(3)
            .map(|items| Micro::from_items([items[0], items[1], items[2]]))
    }

    /// Whether it leaves everything as it is, whatever comes of it.
    pub fn only_reads(&self, action: &Action) -> bool {
        match *action {
            Action::Read => true,
            Action::Txn(steps) => !self.micros(steps).any(|step| step.writes),
            _ => false,
        }
    }

    /// Makes the reads of a transaction that found nothing say nothing.
    pub(crate) fn forget_nil_reads(&mut self, list: List) {
        let start = index(list.start);
        for step in self.items[start..start + index(list.len)].chunks_exact_mut(3) {
            if step[0] == 0 && step[2] == NOTHING {
                step[2] = UNREAD;
            }
        }
    }

    /// A value as histories write it.
    pub fn value(&self, word: Word) -> String {
        match word {
            NOTHING => "null".to_owned(),
            _ if self.words.is_text(word) => format!("{:?}", self.words.text(word)),
            _ => self.words.text(word).to_owned(),
        }
    }

    /// What an operation asks for, as histories write it.
    pub(crate) fn written(&self, action: &Action) -> String {
        match *action {
            Action::Write(word)
            | Action::Append(word)
            | Action::Add(word)
            | Action::Remove(word)
            | Action::Enqueue(word) => self.value(word),
            Action::Cas { expect, new } => format!("[{},{}]", self.value(expect), self.value(new)),
            Action::Incr(by) => by.to_string(),
            Action::Read | Action::Dequeue | Action::Acquire | Action::Release | Action::Txn(_) => {
                "null".to_owned()
            }
        }
    }

    /// The value that a register holds before the first operation.
    pub fn initial_word(&self) -> Word {
        if let Seen::Word(word) = self.initial { word } else { NOTHING }
    }

    /// The number that a counter holds before the first operation.
    pub fn initial_number(&self) -> i64 {
        if let Seen::Number(number) = self.initial { number } else { 0 }
    }
}

impl Op {
    /// It certainly took effect.
    pub fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }

    /// It took effect, or may have.
    pub fn may_count(&self) -> bool {
        self.outcome != Outcome::Fail
    }

    /// A read that returned.
    pub fn is_ok_read(&self) -> bool {
        self.is_ok() && self.action == Action::Read
    }

    /// The token that it appends, whether it did or not.
    pub fn appends(&self) -> Option<Word> {
        if let Action::Append(token) = self.action { Some(token) } else { None }
    }

    /// What it adds to a counter, whether it did or not.
    pub fn adds(&self) -> Option<i64> {
        if let Action::Incr(by) = self.action { Some(by) } else { None }
    }

    /// The value that it gives a register, unless it certainly had no effect.
    pub fn writes(&self) -> Option<Word> {
        match self.action {
            Action::Write(word) | Action::Cas { new: word, .. } if self.may_count() => Some(word),
            Action::Write(_)
            | Action::Cas { .. }
            | Action::Read
            | Action::Append(_)
            | Action::Incr(_)
            | Action::Add(_)
            | Action::Remove(_)
            | Action::Enqueue(_)
            | Action::Dequeue
            | Action::Acquire
            | Action::Release
            | Action::Txn(_) => None,
        }
    }

    /// The value of a register that it saw, if it returned.
    pub fn seen_word(&self) -> Option<Word> {
        match self.seen {
            Seen::Word(word) if self.ret != NEVER => Some(word),
            Seen::Word(_) | Seen::Unknown | Seen::List(_) | Seen::Number(_) => None,
        }
    }
}

/// Texts, each once, numbered from 1; 0 is [`NOTHING`].
#[derive(Clone, Debug)]
pub struct Words {
    text: Vec<u8>,
    /// By word: where it ends. A word's first byte tells a string (`s`) from everything else (`v`).
    ends: Vec<u32>,
}

impl Default for Words {
    fn default() -> Words {
        Words { text: Vec::new(), ends: vec![0] }
    }
}

impl Words {
    /// How many there are, [`NOTHING`] included: words are less than this.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none but [`NOTHING`].
    pub fn is_empty(&self) -> bool {
        self.ends.len() == 1
    }

    /// Adds one that is not among them yet. `None` if there is no room for it: 4 GiB of text for one key.
    pub fn push(&mut self, tag: u8, text: &str) -> Option<Word> {
        let word = Word::try_from(self.ends.len()).ok()?;
        let end = u32::try_from(self.text.len() + 1 + text.len()).ok()?;
        self.text.push(tag);
        self.text.extend_from_slice(text.as_bytes());
        self.ends.push(end);
        Some(word)
    }

    /// A word with its tag, as bytes: what to compare and to hash.
    pub fn bytes(&self, word: Word) -> &[u8] {
        let word = index(word);
        if word == 0 {
            return &[];
        }
        &self.text[index(self.ends[word - 1])..index(self.ends[word])]
    }

    /// The text of a string, or how the value is written.
    pub fn text(&self, word: Word) -> &str {
        self.bytes(word).get(1..).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("")
    }

    /// Whether it is a string, and no number or other value.
    pub fn is_text(&self, word: Word) -> bool {
        self.bytes(word).first() == Some(&b's')
    }
}

/// As an index.
pub fn index(number: u32) -> usize {
    // No machine that this runs on has fewer bits.
    usize::try_from(number).unwrap_or(usize::MAX)
}
