//! Is what all registers of a key add up to the same at all times?
//!
//! Only for histories whose header says what the total is: money is moved between accounts, and none is made or lost. The
//! registers are also held against their model, which is more; this check says in one sentence what is wrong.

use std::collections::BTreeSet;

use serde_json::json;

use super::Options;
use super::text;
use crate::history::History;
use crate::ops::{Action, KeyOps, List, Op, Seen, Word};
use crate::results::{Check, Verdict, Violation};

pub(super) fn check(history: &History, total: i64, options: &Options<'_>) -> Check {
    let mut violations = Vec::new();
    let (mut reads, mut wrong) = (0_u64, 0_u64);
    for key in history.keys() {
        let registers = registers(key);
        for (op, list) in
            key.ops.iter().filter_map(|op| Some((op, reads_all(key, op, &registers)?)))
        {
            reads += 1;
            let sum = sum(key, list);
            if sum == Some(total) {
                continue;
            }
            wrong += 1;
            if violations.len() < options.violations_max {
                violations.push(violation(history, key, op, sum, total));
            }
        }
    }
    let (verdict, summary) = match (violations.first(), reads) {
        (Some(first), _) => {
            let those = text::count(wrong, "read");
            (
                Verdict::Invalid,
                format!("{those} of all registers did not add up. {}", first.explanation),
            )
        }
        (None, 0) => (Verdict::Unknown, "No read saw all registers of a key.".to_owned()),
        (None, _) => {
            let all = text::count(reads, "read");
            (Verdict::Valid, format!("{all} of all registers saw a total of {total}."))
        }
    };
    Check {
        name: "totals".to_owned(),
        verdict,
        summary,
        violations,
        details: json!({"total": total, "reads": reads, "wrong": wrong}),
    }
}

/// All registers that any operation of the key names.
fn registers(key: &KeyOps) -> BTreeSet<Word> {
    let asked = |op: &Op| if let Action::Txn(list) = op.action { Some(list) } else { None };
    let all = key.ops.iter().filter_map(asked).flat_map(|list| key.micros(list));
    let initial = if let Seen::List(list) = key.initial { Some(list) } else { None };
    all.chain(initial.into_iter().flat_map(|list| key.micros(list)))
        .map(|micro| micro.register)
        .collect()
}

/// What a transaction that only reads, and reads all registers, was answered.
fn reads_all(key: &KeyOps, op: &Op, registers: &BTreeSet<Word>) -> Option<List> {
    let (true, Seen::List(list)) = (op.is_ok(), op.seen) else { return None };
    let only_reads = key.micros(list).all(|micro| !micro.writes);
    let read: BTreeSet<Word> = key.micros(list).map(|micro| micro.register).collect();
    (only_reads && read == *registers).then_some(list)
}

/// `None` if something is no number.
fn sum(key: &KeyOps, list: List) -> Option<i64> {
    let number = |word: Word| key.words.text(word).parse::<i64>().ok();
    key.micros(list).try_fold(0_i64, |sum, micro| sum.checked_add(number(micro.value)?))
}

fn violation(history: &History, key: &KeyOps, op: &Op, sum: Option<i64>, total: i64) -> Violation {
    let name = text::quote(key.name.as_deref().unwrap_or(""));
    let client = history.client(op);
    let time = history.completed(op).or(history.called(op)).unwrap_or(0);
    let sum = sum.map_or_else(|| "no number".to_owned(), |sum| sum.to_string());
    Violation {
        class: "wrong total".to_owned(),
        key: key.name.as_deref().map(str::to_owned),
        explanation: format!(
            "Client {client} read all registers of key {name} at {}: the total was {sum} instead of {total}. What is \
             moved from one to another was taken and not given, or given and not taken.",
            text::at(time)
        ),
        events: vec![u64::from(op.call), u64::from(op.ret)],
        time,
        core: None,
        stale: None,
    }
}
