//! A key of a key-value store: a register, or a text that grows.

use super::words::{Fate, Words};
use super::{Told, precedes, register};
use crate::check::decision::Anomaly;
use crate::ops::{Action, NOTHING, Op, Seen, Word};

pub(super) fn tell(words: &Words<'_>) -> Option<Told> {
    let builds =
        |op: &Op| matches!(op.action, Action::Append(_) | Action::Incr(_)) && op.may_count();
    if !words.ops().iter().any(builds) {
        return register::tell(words);
    }
    // Where nothing is replaced, what was appended stays.
    let only_grows = words
        .ops()
        .iter()
        .all(|op| matches!(op.action, Action::Read | Action::Append(_)) || !op.may_count());
    if only_grows { missing(words).or_else(|| doubled(words)) } else { None }
}

fn reads<'c>(words: &Words<'c>) -> impl Iterator<Item = (&'c Op, &'c str)> {
    let key = &words.core.key;
    words.ops().iter().filter_map(|op| match (op.action, op.seen) {
        (Action::Read, Seen::Word(word)) => Some((op, key.words.text(word))),
        _ => None,
    })
}

fn appends<'c>(words: &Words<'c>) -> impl Iterator<Item = (&'c Op, Word)> {
    words.ops().iter().filter_map(|op| Some((op, op.appends()?)))
}

/// A read lacks what was appended before it.
fn missing(words: &Words<'_>) -> Option<Told> {
    let key = &words.core.key;
    let (read, (append, token)) = reads(words).find_map(|(read, text)| {
        let lacks = |(append, token): &(&Op, Word)| {
            let token = key.words.text(*token);
            precedes(append, read) && !token.is_empty() && !text.contains(token)
        };
        appends(words).find(lacks).map(|append| (read, append))
    })?;
    let fate = words.fate(token);
    let seen = if let Seen::Word(word) = read.seen { word } else { NOTHING };
    let (anomaly, lost) = match fate {
        Fate::Gone(_) => (Anomaly::LostWrite, "; nobody saw it later either"),
        Fate::Back | Fate::Unknown => (Anomaly::StaleRead, ""),
    };
    Some(Told {
        anomaly,
        what: format!(
            "{} read {}={}{}{}, without {}, but {} had appended that {}{lost}",
            words.client(read),
            words.name(),
            words.value(seen),
            words.from(read),
            words.at(read),
            words.value(token),
            words.client(append),
            words.acknowledged(append, read),
        ),
        why: words.circumstances(read).unwrap_or_else(|| "nothing replaced the text".to_owned()),
    })
}

/// A read has more than once what was appended once.
fn doubled(words: &Words<'_>) -> Option<Told> {
    let key = &words.core.key;
    let times = |text: &str, token: &str| text.matches(token).count();
    let (read, append, token) = reads(words).find_map(|(read, text)| {
        appends(words).find_map(|(append, token)| {
            let word = key.words.text(token);
            let made: usize =
                appends(words).map(|(_, other)| times(key.words.text(other), word)).sum();
            let initial = times(key.words.text(key.initial_word()), word);
            let is_doubled =
                !word.is_empty() && times(text, word) > made + initial && word.len() > 1;
            is_doubled.then_some((read, append, token))
        })
    })?;
    Some(Told {
        anomaly: Anomaly::Duplicate,
        what: format!(
            "{} {}{}{}, with {} more often than anybody appended it",
            words.client(read),
            words.did(read),
            words.from(read),
            words.at(read),
            words.value(token),
        ),
        why: words.phrase(append),
    })
}
