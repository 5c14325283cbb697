//! Gives each value of a key a number.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::datum::Datum;
use crate::ops::{KeyOps, List, NOTHING, Word, Words, index};

/// Numbers that were given out, over all keys. Needed while a history is read only.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    numbers: HashTable<Known>,
    hasher: DefaultHashBuilder,
}

/// A number that was given out.
#[derive(Clone, Copy, Debug)]
struct Known {
    key: u32,
    word: Word,
    /// Half of the hash: the table grows without a look at any text, and seldom compares with a wrong one.
    hash: u32,
}

impl Known {
    /// The hash by which the table knows it.
    fn in_table(hash: u32) -> u64 {
        u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// There is no room for a value: 4 GiB of text, or as many list elements, in one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its key mentions more than 4 GiB of values")]
pub struct Full;

/// Where the values of one key go.
#[derive(Debug)]
pub(crate) struct Intake<'b> {
    pub(crate) number: u32,
    pub(crate) keys: &'b mut [KeyOps],
    pub(crate) interner: &'b mut Interner,
}

impl Intake<'_> {
    /// The number of a value; null is [`NOTHING`].
    pub(crate) fn word(&mut self, value: &Datum<'_>) -> Result<Word, Full> {
        match value {
            Datum::Null => Ok(NOTHING),
            Datum::Text(text) => self.find(b's', text),
            Datum::Bool(_) | Datum::Int(_) | Datum::Other(_) | Datum::List(_) | Datum::Map(_) => {
                self.find(b'v', &value.to_string())
            }
        }
    }

    /// Keeps a list.
    pub(crate) fn list(&mut self, items: &[Word]) -> Result<List, Full> {
        let key = &mut self.keys[index(self.number)];
        let start = u32::try_from(key.items.len()).map_err(|_| Full)?;
        let len = u32::try_from(items.len()).map_err(|_| Full)?;
        start.checked_add(len).ok_or(Full)?;
        key.items.extend_from_slice(items);
        Ok(List { start, len })
    }

    fn find(&mut self, tag: u8, text: &str) -> Result<Word, Full> {
        let Intake { number, keys, interner } = self;
        let number = *number;
        let whole = interner.hasher.hash_one((number, tag, text));
        let hash = u32::try_from(whole >> 32).unwrap_or(0);
        let is_it = |known: &Known| {
            known.hash == hash
                && known.key == number
                && is(&keys[index(number)].words, known.word, tag, text)
        };
        if let Some(known) = interner.numbers.find(Known::in_table(hash), is_it) {
            return Ok(known.word);
        }
        let word = keys[index(number)].words.push(tag, text).ok_or(Full)?;
        let known = Known { key: number, word, hash };
        let rehash = |known: &Known| Known::in_table(known.hash);
        interner.numbers.insert_unique(Known::in_table(hash), known, rehash);
        Ok(word)
    }
}

fn is(words: &Words, word: Word, tag: u8, text: &str) -> bool {
    words.bytes(word).split_first() == Some((&tag, text.as_bytes()))
}

/// Texts, each once, numbered from 1; 0 is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts {
    words: Words,
    numbers: HashTable<Word>,
    hasher: DefaultHashBuilder,
}

impl Texts {
    /// The number of a text; 0 if there is no room for it.
    pub(crate) fn number(&mut self, text: &str) -> u32 {
        let Texts { words, numbers, hasher } = self;
        let hash = hasher.hash_one(text);
        if let Some(&word) = numbers.find(hash, |&word| words.text(word) == text) {
            return word;
        }
        let Some(word) = words.push(b's', text) else { return 0 };
        numbers.insert_unique(hash, word, |&word| hasher.hash_one(words.text(word)));
        word
    }

    /// The text of a number.
    pub(crate) fn text(&self, number: u32) -> Option<&str> {
        (number != 0).then(|| self.words.text(number))
    }
}
