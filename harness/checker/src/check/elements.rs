//! When was an acknowledged element of a set seen by every read, and was it ever?
//!
//! That a read misses one contradicts the model, too. Here it is said of how many elements, for how long, and whether they
//! came back: an element that is seen late is stale, one that is gone for good is lost.

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
    let is_verified = |number: usize| verified.get(number).copied().unwrap_or(false);
    for (number, key) in history.keys().iter().enumerate() {
        let adds = key.ops.iter().filter(|op| op.is_ok() && matches!(op.action, Action::Add(_)));
        elements += adds.count();
        if key.model == Model::Set && !is_verified(number) {
            of_key(history, key, &mut missed);
        }
    }
    let lost = missed.iter().filter(|missed| missed.is_lost).count();
    let stale = missed.len() - lost;
    let mut ages: Vec<u64> = missed.iter().filter(|m| !m.is_lost).map(|m| m.age).collect();
    ages.sort_unstable();
    missed.sort_by_key(|missed| (!missed.is_lost, missed.add.number));
    let violations: Vec<Violation> = missed
        .iter()
        .take(options.violations_max)
        .map(|missed| violation(history, missed))
        .collect();
    let all = text::count(elements, "acknowledged element");
    let summary = match violations.first() {
        None => format!("{all}, each of them in every read that began afterwards."),
        Some(first) => {
            format!("{all}: {lost} lost, {stale} seen late. {}", first.explanation)
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
