//! Lists: each token once, none lost, none invented, in an order that can have been.

use super::{Class, Findings, acknowledged, read_from};
use crate::check::text::{self, Words};
use crate::ops::{NEVER, Op, Position, Seen, Word, index};

pub(super) fn check(words: Words<'_>, last: &[usize], findings: &mut Findings) {
    let appends = Appends::of(words);
    let mut reported = vec![false; words.key.words.len()];
    let mut in_order = true;
    for op in &words.key.ops {
        let Seen::List(list) = op.seen else { continue };
        let list = words.key.list(list);
        tokens_of(words, &appends, op, list, &mut reported, findings);
        // One such pair is enough: it tends to show in every later read.
        in_order = in_order && order(words, &appends, op, list, findings);
    }
    lost(words, last, findings);
}

/// By token.
struct Appends {
    /// Positions of the invocations of appends that took effect, or may have.
    calls: Vec<Vec<Position>>,
    /// The only append, by number, if there is just one.
    only: Vec<Option<usize>>,
    /// An append that certainly failed.
    failed: Vec<Option<usize>>,
}

impl Appends {
    fn of(words: Words<'_>) -> Appends {
        let count = words.key.words.len();
        let mut appends = Appends {
            calls: vec![Vec::new(); count],
            only: vec![None; count],
            failed: vec![None; count],
        };
        for (id, op) in words.key.ops.iter().enumerate() {
            let Some(token) = op.appends() else { continue };
            if op.may_count() {
                appends.calls[index(token)].push(op.call);
                appends.only[index(token)] = (appends.calls[index(token)].len() == 1).then_some(id);
            } else {
                appends.failed[index(token)] = appends.failed[index(token)].or(Some(id));
            }
        }
        appends
    }
}

/// Duplicates and inventions in one read; each token is reported once.
fn tokens_of(
    words: Words<'_>,
    appends: &Appends,
    read: &Op,
    list: &[Word],
    reported: &mut [bool],
    findings: &mut Findings,
) {
    let mut sorted = list.to_vec();
    sorted.sort_unstable();
    for group in sorted.chunk_by(|a, b| a == b) {
        let token = group[0];
        let asked = appends.calls[index(token)].partition_point(|&call| call < read.ret);
        if group.len() <= asked || reported[index(token)] {
            continue;
        }
        reported[index(token)] = true;
        let saw = || text::capital(&read_from(words, read));
        let value = words.value(token);
        if asked > 0 {
            let append = appends.only[index(token)].map(|id| &words.key.ops[id]);
            let ops: Vec<&Op> = append.into_iter().chain([read]).collect();
            findings.add_on_key(Class::Duplicate, words, &ops, || {
                let times = if asked == 1 { "once".to_owned() } else { text::count(asked, "time") };
                format!(
                    "{} and found {value} {} times in it. It had been appended {times} only, so a \
                     request took effect more than once.",
                    saw(),
                    group.len(),
                )
            });
        } else if let Some(failed) = appends.failed[index(token)].map(|id| &words.key.ops[id]) {
            findings.add_on_key(Class::AbortedRead, words, &[failed, read], || {
                format!(
                    "{} and found {value} in it. Client {} had been told that its append of {value} \
                     certainly failed, and nobody else appended it.",
                    saw(),
                    words.history.client(failed)
                )
            });
        } else {
            findings.add_on_key(Class::PhantomRead, words, &[read], || {
                let never = appends.calls[index(token)].is_empty();
                let when =
                    if never { "ever appended it" } else { "had asked to append it by then" };
                format!("{} and found {value} in it. Nobody {when}.", saw())
            });
        }
    }
}

/// Whether no token stands before one that was acknowledged before it was appended.
fn order(
    words: Words<'_>,
    appends: &Appends,
    read: &Op,
    list: &[Word],
    findings: &mut Findings,
) -> bool {
    let mut latest: Option<&Op> = None;
    for append in list.iter().filter_map(|&token| appends.only[index(token)]) {
        let append = &words.key.ops[append];
        if let Some(earlier) = latest.filter(|earlier| append.ret < earlier.call) {
            findings.add_on_key(Class::WrongOrder, words, &[append, earlier, read], || {
                let token = |op: &Op| op.appends().map_or(String::new(), |token| words.value(token));
                format!(
                    "{} and found {} before {}. But the append of {} had been acknowledged before client \
                     {} asked to append {}.",
                    text::capital(&read_from(words, read)),
                    token(earlier),
                    token(append),
                    token(append),
                    words.history.client(earlier),
                    token(earlier),
                )
            });
            return false;
        }
        if latest.is_none_or(|latest| append.call > latest.call) {
            latest = Some(append);
        }
    }
    true
}

/// Acknowledged tokens that no final read has.
fn lost(words: Words<'_>, last: &[usize], findings: &mut Findings) {
    let mut present = vec![false; words.key.words.len()];
    let mut first_call = NEVER;
    let mut first: Option<&Op> = None;
    for op in last.iter().map(|&id| &words.key.ops[id]) {
        if let Seen::List(list) = op.seen {
            for &token in words.key.list(list) {
                present[index(token)] = true;
            }
            if op.call < first_call {
                (first_call, first) = (op.call, Some(op));
            }
        }
    }
    let Some(read) = first else { return };
    for op in words.key.ops.iter().filter(|op| op.is_ok() && op.ret < first_call) {
        if let Some(token) = op.appends()
            && !present[index(token)]
        {
            present[index(token)] = true;
            findings.add_on_key(Class::LostAppend, words, &[op, read], || {
                format!(
                    "Client {} appended {} to {} and {}. At the end, {} and it was not there.",
                    words.history.client(op),
                    words.value(token),
                    words.name(),
                    acknowledged(words, op),
                    read_from(words, read),
                )
            });
        }
    }
}
