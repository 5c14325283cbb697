//! Gives each value of a key a number.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use crate::datum::Datum;
use crate::formats::TextList;
use crate::ops::{KeyOps, List, NOTHING, Word, Words, index};

/// Numbers that were given out, over all keys. Needed while a history is read only.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    numbers: HashTable<Known>,
    hasher: DefaultHashBuilder,
    /// By key.
    lists: Vec<LastList>,
    /// To work with.
    rest: Vec<Word>,
    recent: Recent,
}

/// The list of a key that was kept last: the next one mostly begins like it.
#[derive(Clone, Copy, Debug, Default)]
struct LastList {
    list: List,
    /// Of the [`TextList`]; 0: it was none.
    number: u64,
}

/// What was asked for lately, each in the one place that its hash allows: small enough to stay in the processor's
/// caches, which the table of all values is not.
#[derive(Debug)]
struct Recent(Box<[Known]>);

/// Places: 96 KiB.
const RECENT: usize = 1 << 13;

impl Default for Recent {
    fn default() -> Recent {
        // Word 0 is no text, so this is found by nobody.
        let nobody = Known { key: u32::MAX, word: 0, hash: 0 };
        Recent(vec![nobody; RECENT].into_boxed_slice())
    }
}

impl Recent {
    fn place(&mut self, hash: u32) -> &mut Known {
        &mut self.0[index(hash) % RECENT]
    }
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

    /// Keeps a list of values, which nobody will change; what it has in common with the key's last one is kept once.
    pub(crate) fn values(&mut self, items: &[Datum<'_>]) -> Result<List, Full> {
        let last = self.last_list().list;
        let key = &self.keys[index(self.number)];
        let guesses = key.list(last).iter().zip(items);
        let alike = guesses.take_while(|(guess, item)| is_text(&key.words, **guess, item)).count();
        let mut rest = std::mem::take(&mut self.interner.rest);
        rest.clear();
        for item in &items[alike..] {
            rest.push(self.word(item)?);
        }
        let list = self.go_on(last, alike, &rest)?;
        self.interner.rest = rest;
        *self.last_list() = LastList { list, number: 0 };
        Ok(list)
    }

    /// The same for a list that is not taken apart.
    pub(crate) fn text_list(&mut self, texts: &TextList<'_>) -> Result<List, Full> {
        let LastList { list: last, number } = *self.last_list();
        // The key's last list may have come in another way, or have been forgotten by whoever read this one.
        let is_known = number == texts.before && number != 0;
        let alike = if is_known { texts.alike } else { 0 };
        let mut rest = std::mem::take(&mut self.interner.rest);
        rest.clear();
        for item in if is_known { texts.rest() } else { texts.items() } {
            rest.push(self.find(b's', item)?);
        }
        let list = self.go_on(last, alike, &rest)?;
        self.interner.rest = rest;
        *self.last_list() = LastList { list, number: texts.number };
        Ok(list)
    }

    fn last_list(&mut self) -> &mut LastList {
        let (number, lists) = (index(self.number), &mut self.interner.lists);
        if lists.len() <= number {
            lists.resize(self.keys.len(), LastList::default());
        }
        &mut lists[number]
    }

    /// Keeps the list that begins with so many items of the key's last one, and goes on with the rest.
    fn go_on(&mut self, last: List, alike: usize, rest: &[Word]) -> Result<List, Full> {
        let items = &self.keys[index(self.number)].items;
        let (start, end) = (index(last.start), index(last.start) + alike);
        // A longer one may have been seen before the last.
        let known = items[end..].iter().zip(rest).take_while(|(one, other)| one == other).count();
        let new = &rest[known..];
        if new.is_empty() || end + known == items.len() && end + known > start {
            self.list(new)?;
            let len = u32::try_from(alike + rest.len()).map_err(|_| Full)?;
            return Ok(List { start: last.start, len });
        }
        let all = [&items[start..end], rest].concat();
        self.list(&all)
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
        let recent = interner.recent.place(hash);
        if is_it(recent) {
            return Ok(recent.word);
        }
        if let Some(known) = interner.numbers.find(Known::in_table(hash), is_it) {
            *recent = *known;
            return Ok(known.word);
        }
        let word = keys[index(number)].words.push(tag, text).ok_or(Full)?;
        let known = Known { key: number, word, hash };
        let rehash = |known: &Known| Known::in_table(known.hash);
        interner.numbers.insert_unique(Known::in_table(hash), known, rehash);
        *recent = known;
        Ok(word)
    }
}

/// Whether a word is this value.
pub(super) fn is_text(words: &Words, word: Word, value: &Datum<'_>) -> bool {
    matches!(value, Datum::Text(text) if is(words, word, b's', text))
}

#[inline]
fn is(words: &Words, word: Word, tag: u8, text: &str) -> bool {
    match words.bytes(word).split_first() {
        Some((&known, bytes)) => known == tag && same(bytes, text.as_bytes()),
        None => false,
    }
}

/// Whether they are equal. Most are short, and a call costs more than the comparison.
#[inline]
fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    // The first and the last bytes, which may overlap, are all of them.
    match one.len() {
        4..8 => {
            one.first_chunk::<4>() == other.first_chunk::<4>()
                && one.last_chunk::<4>() == other.last_chunk::<4>()
        }
        8..=16 => {
            one.first_chunk::<8>() == other.first_chunk::<8>()
                && one.last_chunk::<8>() == other.last_chunk::<8>()
        }
        _ => one == other,
    }
}

/// The clients by their names, each with a number.
#[derive(Debug, Default)]
pub(super) struct Clients {
    /// By name, of small names: the number plus 1, or 0.
    small: Vec<u32>,
    large: HashMap<u64, u32>,
    count: u32,
}

impl Clients {
    /// Names below this are looked up without a search, at the price of 4 bytes each.
    const SMALL: usize = 1 << 20;

    pub(super) fn find(&self, name: u64) -> Option<u32> {
        match Clients::small(name) {
            Some(name) => self.small.get(name).copied()?.checked_sub(1),
            None => self.large.get(&name).copied(),
        }
    }

    /// Gives a new one its number; none if there are too many.
    pub(super) fn add(&mut self, name: u64) -> Option<u32> {
        let number = self.count;
        self.count = number.checked_add(1)?;
        match Clients::small(name) {
            Some(name) => {
                if self.small.len() <= name {
                    self.small.resize(name + 1, 0);
                }
                self.small[name] = self.count;
            }
            None => drop(self.large.insert(name, number)),
        }
        Some(number)
    }

    fn small(name: u64) -> Option<usize> {
        usize::try_from(name).ok().filter(|&name| name < Clients::SMALL)
    }
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
        self.tagged(b's', text).unwrap_or(0)
    }

    /// The number of what may be a text (`s`) or something else (`v`) that is written alike.
    pub(super) fn tagged(&mut self, tag: u8, text: &str) -> Result<u32, Full> {
        let Texts { words, numbers, hasher } = self;
        let hash = hasher.hash_one((tag, text));
        if let Some(&word) = numbers.find(hash, |&word| is(words, word, tag, text)) {
            return Ok(word);
        }
        let word = words.push(tag, text).ok_or(Full)?;
        let rehash = |&word: &Word| {
            let tag = if words.is_text(word) { b's' } else { b'v' };
            hasher.hash_one((tag, words.text(word)))
        };
        numbers.insert_unique(hash, word, rehash);
        Ok(word)
    }

    /// The text of a number.
    pub(crate) fn text(&self, number: u32) -> Option<&str> {
        (number != 0).then(|| self.words.text(number))
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::formats::testing::{TextLists, next_list};
    use crate::model::Model;

    #[test]
    fn short_comparisons_compare_every_byte() {
        for length in 0..40 {
            let one: Vec<u8> = (0..length).collect();
            assert!(same(&one, &one));
            for at in 0..one.len() {
                let mut other = one.clone();
                other[at] ^= 0x80;
                assert!(!same(&one, &other), "byte {at} of {length}");
            }
            assert!(!same(&one, &[one.as_slice(), &[0]].concat()));
        }
    }

    #[test]
    fn clients_keep_their_numbers_whatever_their_names() {
        let mut clients = Clients::default();
        let small = u64::try_from(Clients::SMALL).unwrap();
        let names = [7, small - 1, small, u64::MAX, 0];
        for (name, number) in names.into_iter().zip(0..) {
            assert_eq!(clients.find(name), None);
            assert_eq!(clients.add(name), Some(number));
        }
        for (name, number) in names.into_iter().zip(0..) {
            assert_eq!(clients.find(name), Some(number), "client {name}");
        }
    }

    #[test]
    fn list_is_alike_to_the_one_that_is_named_only() {
        let mut keys = [KeyOps::new(Model::Append, None)];
        let (mut interner, mut lists) = (Interner::default(), TextLists::default());
        let mut intake = Intake { number: 0, keys: &mut keys, interner: &mut interner };
        let one = lists.read("k", r#"["a","b","c"]"#).unwrap();
        intake.text_list(&one).unwrap();
        // Another, which comes in another way.
        intake.values(&["a", "x"].map(|text| Datum::Text(Cow::from(text)))).unwrap();
        let more = lists.read("k", r#"["a","b","c","d"]"#).unwrap();
        let list = intake.text_list(&more).unwrap();
        let texts = keys[0].list(list).iter().map(|&word| keys[0].words.text(word));
        assert!(texts.eq(["a", "b", "c", "d"]));
    }

    #[test]
    fn lists_that_are_kept_once_are_what_they_were() {
        for seed in 0..200 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut keys = [KeyOps::new(Model::Append, None), KeyOps::new(Model::Append, None)];
            let (mut interner, mut lists) = (Interner::default(), TextLists::default());
            let mut kept: Vec<(usize, List, Vec<String>)> = Vec::new();
            let mut last = [Vec::new(), Vec::new()];
            for _ in 0..60 {
                let number = rng.random_range(0..2);
                last[number] = next_list(&last[number], &mut rng);
                let line = serde_json::to_string(&last[number]).unwrap();
                // Whoever reads the lists may take one key for another, see a list in vain, or not see it.
                let key = if rng.random_ratio(1, 4) { "other" } else { ["a", "b"][number] };
                let is_seen = rng.random_ratio(9, 10);
                let read = if is_seen { lists.read(key, &line) } else { None };
                let read = read.filter(|_| rng.random_ratio(9, 10));
                let items = last[number].iter().map(|text| Datum::Text(Cow::from(text.as_str())));
                let items: Vec<Datum<'_>> = items.collect();
                let mut intake = Intake {
                    number: u32::try_from(number).unwrap(),
                    keys: &mut keys,
                    interner: &mut interner,
                };
                // Something else comes between, now and then.
                if rng.random_ratio(1, 4) {
                    let word = intake.word(&Datum::Int(7)).unwrap();
                    intake.list(&[word, word]).unwrap();
                }
                let list = match &read {
                    Some(texts) => intake.text_list(texts),
                    None => intake.values(&items),
                };
                kept.push((number, list.unwrap(), last[number].clone()));
            }
            for (number, list, texts) in &kept {
                let key = &keys[*number];
                let found: Vec<&str> =
                    key.list(*list).iter().map(|&word| key.words.text(word)).collect();
                assert_eq!(found, *texts, "seed {seed}");
            }
        }
    }
}
