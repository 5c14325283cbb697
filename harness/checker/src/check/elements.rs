//! When was an acknowledged element of a set seen by every read, and was it ever?
//!
//! That a read misses one contradicts the model, too. Here it is said of how many elements, for how long, and whether they
//! came back: an element that is seen late is stale, one that is gone for good is lost. A read that has one twice means nothing
//! to the model; here it says that something was done twice.

use std::collections::HashSet;

use serde_json::json;

use super::Options;
use super::failover::percentile;
use super::text::{self, Words};
use crate::history::History;
use crate::model::Model;
use crate::ops::{Action, KeyOps, Op, Seen, Word};
use crate::results::{Check, Verdict, Violation};

/// An acknowledged element that some read missed which began afterwards.
struct Missed<'k> {
    key: &'k KeyOps,
    word: Word,
    add: &'k Op,
    /// The last such read.
    read: &'k Op,
    /// No read found it after that one.
    is_lost: bool,
    /// From the acknowledgement to that read, nanoseconds.
    age: u64,
}

/// `verified`: which keys have an order. Of those no read has missed anything.
pub(super) fn check(history: &History, verified: &[bool], options: &Options<'_>) -> Check {
    let mut elements = 0;
    let mut missed = Vec::new();
    let mut doubled = Vec::new();
    let is_verified = |number: usize| verified.get(number).copied().unwrap_or(false);
    for (number, key) in history.keys().iter().enumerate() {
        let adds = key.ops.iter().filter(|op| op.is_ok() && matches!(op.action, Action::Add(_)));
        elements += adds.count();
        doubled.extend(first_double(key).map(|(read, word)| double(history, key, read, word)));
        if key.model == Model::Set && !is_verified(number) {
            of_key(history, key, &mut missed);
        }
    }
    let lost = missed.iter().filter(|missed| missed.is_lost).count();
    let stale = missed.len() - lost;
    let mut ages: Vec<u64> = missed.iter().filter(|m| !m.is_lost).map(|m| m.age).collect();
    ages.sort_unstable();
    missed.sort_by_key(|missed| (!missed.is_lost, missed.add.number));
    let doubles = doubled.len();
    let missing = missed.iter().map(|missed| violation(history, missed));
    let violations: Vec<Violation> = missing.chain(doubled).take(options.violations_max).collect();
    let all = text::count(elements, "acknowledged element");
    let summary = match violations.first() {
        None => format!("{all}, each of them in every read that began afterwards."),
        Some(first) => {
            format!(
                "{all}: {lost} lost, {stale} seen late, {doubles} keys with one twice. {}",
                first.explanation
            )
        }
    };
    let ms =
        |percent: usize| (!ages.is_empty()).then(|| text::milliseconds(percentile(&ages, percent)));
    Check {
        name: "elements".to_owned(),
        verdict: if violations.is_empty() { Verdict::Valid } else { Verdict::Invalid },
        summary,
        violations,
        details: json!({
            "acknowledged": elements,
            "lost": lost,
            "stale": stale,
            "keys_with_doubles": doubles,
            "stale_ms": {"p50": ms(50), "p95": ms(95), "max": ms(100)},
        }),
    }
}

/// Adds the elements that were missed, but for those that somebody may have removed.
fn of_key<'k>(history: &History, key: &'k KeyOps, missed: &mut Vec<Missed<'k>>) {
    let removed: HashSet<Word> = key
        .ops
        .iter()
        .filter_map(|op| if let Action::Remove(word) = op.action { Some(word) } else { None })
        .collect();
    let reads: Vec<(&Op, HashSet<Word>)> = key
        .ops
        .iter()
        .filter(|op| op.is_ok_read())
        .filter_map(|op| {
            let Seen::List(list) = op.seen else { return None };
            Some((op, key.list(list).iter().copied().collect()))
        })
        .collect();
    for add in key.ops.iter().filter(|op| op.is_ok()) {
        let Action::Add(word) = add.action else { continue };
        if removed.contains(&word) {
            continue;
        }
        let later = || reads.iter().filter(|(read, _)| read.call > add.ret);
        let Some((read, _)) = later().rev().find(|(_, seen)| !seen.contains(&word)) else {
            continue;
        };
        let is_lost = !later().any(|(other, seen)| other.call > read.call && seen.contains(&word));
        let times = history.called(read).zip(history.completed(add));
        let age = times.map_or(0, |(read, add)| read.saturating_sub(add));
        missed.push(Missed { key, word, add, read, is_lost, age });
    }
}

/// The first read that has an element twice.
fn first_double(key: &KeyOps) -> Option<(&Op, Word)> {
    let reads = key.ops.iter().filter(|op| key.model == Model::Set && op.is_ok_read());
    reads.into_iter().find_map(|read| {
        let Seen::List(list) = read.seen else { return None };
        let mut seen = HashSet::new();
        let twice = key.list(list).iter().find(|&&word| !seen.insert(word))?;
        Some((read, *twice))
    })
}

fn double(history: &History, key: &KeyOps, read: &Op, word: Word) -> Violation {
    let words = Words { history, key };
    Violation {
        class: "duplicate".to_owned(),
        key: key.name.as_deref().map(str::to_owned),
        explanation: format!(
            "{} read the set {} at {} and found {} twice. Every element is added once, so an addition was done twice.",
            text::capital(&words.client(read)),
            text::quote(words.name()),
            text::at(words.completed(read)),
            words.value(word)
        ),
        events: words.events([read]),
        time: words.completed(read),
        core: None,
        stale: None,
    }
}

fn violation(history: &History, missed: &Missed<'_>) -> Violation {
    let Missed { key, word, add, read, is_lost, age } = *missed;
    let words = Words { history, key };
    let end = if is_lost { "No later read has it." } else { "Later reads have it." };
    Violation {
        class: if is_lost { "lost element" } else { "stale read" }.to_owned(),
        key: key.name.as_deref().map(str::to_owned),
        explanation: format!(
            "{} added {} to {} and was told at {} that it is there; {} read the set {} later without it. {end}",
            text::capital(&words.client(add)),
            words.value(word),
            text::quote(words.name()),
            text::at(words.completed(add)),
            words.client(read),
            text::span(age)
        ),
        events: words.events([add, read]),
        time: words.called(read),
        core: None,
        stale: None,
    }
}
