//! The versions of an object: what each write makes it, if no two make it the same.

use crate::check::explain::steps::registers::looks_at;
use crate::model::Model;
use crate::ops::{KeyOps, List, NEVER, NOTHING, Op, Seen, Word, index};

/// A version by its number: 0 is what the object was at first, others belong to one write each.
pub(super) type Version = u32;

/// What an operation has to do with versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Touch {
    /// The version that it saw.
    pub(super) saw: Option<Version>,
    /// The version that it made, or may have.
    pub(super) made: Option<Version>,
}

/// The versions of a register or a list.
pub(super) struct Versions {
    /// By operation of the key.
    pub(super) touches: Vec<Touch>,
    /// By version: the operation that made it; none for the first.
    pub(super) makers: Vec<Option<u32>>,
    /// Lists: each version but those that nobody saw is followed by the next.
    pub(super) is_ordered: bool,
}

impl Versions {
    /// None if a value was written twice, or seen without having been written.
    pub(super) fn of(key: &KeyOps) -> Option<Versions> {
        match key.model {
            Model::Register | Model::CasRegister => of_register(key),
            Model::Append => of_list(key),
            Model::Counter
            | Model::MultiRegister
            | Model::Kv
            | Model::Set
            | Model::FifoQueue
            | Model::UnorderedQueue
            | Model::Mutex => None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.makers.len()
    }
}

/// The number of the next version.
fn next(makers: &[Option<u32>]) -> Option<Version> {
    Version::try_from(makers.len()).ok()
}

fn of_register(key: &KeyOps) -> Option<Versions> {
    let mut version: Vec<Option<Version>> = vec![None; key.words.len()];
    *version.get_mut(index(key.initial_word()))? = Some(0);
    let mut makers = vec![None];
    for (number, op) in (0..).zip(&key.ops) {
        if let Some(word) = op.writes() {
            let version = version.get_mut(index(word))?;
            if version.is_some() {
                return None;
            }
            *version = Some(next(&makers)?);
            makers.push(Some(number));
        }
    }
    let of_word = |word: Word| version.get(index(word)).copied().flatten();
    let mut touches = Vec::with_capacity(key.ops.len());
    for op in &key.ops {
        let saw = match looks_at(op).filter(|_| op.ret != NEVER) {
            Some(word) => Some(of_word(word)?),
            None => None,
        };
        touches.push(Touch { saw, made: op.writes().and_then(of_word) });
    }
    Some(Versions { touches, makers, is_ordered: false })
}

/// The longest read tells the order; all others must be beginnings of it.
fn of_list(key: &KeyOps) -> Option<Versions> {
    let start = if let Seen::List(list) = key.initial { key.list(list) } else { &[] };
    let seen = |op: &Op| match op.seen {
        Seen::List(list) if op.is_ok_read() => Some(list),
        Seen::List(_) | Seen::Unknown | Seen::Word(_) | Seen::Number(_) => None,
    };
    let longest = key.ops.iter().filter_map(seen).max_by_key(|list| list.len);
    let longest = longest.map_or(start, |list| key.list(list));
    if !longest.starts_with(start) {
        return None;
    }
    let mut version: Vec<Option<Version>> = vec![None; key.words.len()];
    let mut makers = vec![None];
    for &token in &longest[start.len()..] {
        let version = version.get_mut(index(token))?;
        if version.replace(next(&makers)?).is_some() {
            return None;
        }
        makers.push(None);
    }
    let mut touches = Vec::with_capacity(key.ops.len());
    for (number, op) in (0..).zip(&key.ops) {
        let mut touch = Touch::default();
        if let Some(list) = seen(op) {
            let list = key.list(list);
            if list.len() < start.len() || !longest.starts_with(list) {
                return None;
            }
            touch.saw = Some(Version::try_from(list.len() - start.len()).ok()?);
        } else if let Some(token) = op.appends().filter(|_| op.may_count()) {
            let version = version.get_mut(index(token))?;
            let made = if let Some(made) = *version {
                made
            } else {
                let made = next(&makers)?;
                makers.push(None);
                *version.insert(made)
            };
            if makers[index(made)].replace(number).is_some() || start.contains(&token) {
                return None;
            }
            touch.made = Some(made);
        }
        touches.push(touch);
    }
    let all_made = makers.iter().skip(1).all(Option::is_some);
    all_made.then_some(Versions { touches, makers, is_ordered: true })
}

/// In a set the order means nothing, but then it is the same each time in practice.
pub(super) fn same_list(key: &KeyOps, one: List, other: List) -> bool {
    if key.model != Model::Set {
        return key.list(one) == key.list(other);
    }
    sorted(key, one) == sorted(key, other)
}

pub(super) fn sorted(key: &KeyOps, list: List) -> Vec<Word> {
    let mut words: Vec<Word> =
        key.list(list).iter().copied().filter(|&word| word != NOTHING).collect();
    words.sort_unstable();
    words.dedup();
    words
}
