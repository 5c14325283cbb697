//! Counters: no read may exceed what was asked for by then, and the last may not fall short of what was acknowledged.

use super::{Class, Findings, read_from};
use crate::check::text::{self, Words};
use crate::ops::{NEVER, Op, Position, Seen};

pub(super) fn check(words: Words<'_>, last: &[usize], findings: &mut Findings) {
    let sums = Sums::of(words);
    for op in words.key.ops.iter().filter(|op| op.is_ok_read()) {
        let Seen::Number(number) = op.seen else { continue };
        let most = sums.most(op);
        if i128::from(number) > most {
            let (class, why) = sums.class(Class::Duplicate, "a request took effect more than once");
            findings.add_on_key(class, words, &[op], || {
                format!(
                    "{} and got {number}. Everything that had been asked for by then, acknowledged or \
                     not, adds up to at most {most}, so {why}.",
                    text::capital(&read_from(words, op)),
                )
            });
        }
    }
    for op in last.iter().map(|&id| &words.key.ops[id]) {
        let Seen::Number(number) = op.seen else { continue };
        let least = sums.least(op);
        if i128::from(number) < least {
            let mut before =
                words.key.ops.iter().filter(|other| other.is_ok() && other.ret < op.call);
            let newest = before.rfind(|other| other.adds().is_some());
            let ops: Vec<&Op> = newest.into_iter().chain([op]).collect();
            let (class, why) = sums.class(Class::LostIncrement, "an acknowledged request was lost");
            findings.add_on_key(class, words, &ops, || {
                format!(
                    "At the end, {} and got {number}. What had been acknowledged before adds up to at \
                     least {least}, so {why}.",
                    read_from(words, op),
                )
            });
        }
    }
}

/// What was added, summed up in order of positions.
struct Sums {
    /// Increments that took effect, by completion.
    positive_done: Vec<(Position, i128)>,
    negative_done: Vec<(Position, i128)>,
    /// Increments that took effect or may have, by invocation.
    positive_asked: Vec<(Position, i128)>,
    negative_asked: Vec<(Position, i128)>,
}

impl Sums {
    fn of(words: Words<'_>) -> Sums {
        let sum = |sign: i64, position: fn(&Op) -> Position| {
            let mut parts: Vec<(Position, i128)> = words
                .key
                .ops
                .iter()
                .filter(|op| op.may_count())
                .filter_map(|op| {
                    let by = op.adds().filter(|by| by.signum() == sign)?;
                    Some((position(op), i128::from(by)))
                })
                .collect();
            parts.sort_unstable_by_key(|&(position, _)| position);
            let mut total = 0;
            for (_, part) in &mut parts {
                total += *part;
                *part = total;
            }
            parts
        };
        Sums {
            positive_done: sum(1, |op| op.ret),
            negative_done: sum(-1, |op| op.ret),
            positive_asked: sum(1, |op| op.call),
            negative_asked: sum(-1, |op| op.call),
        }
    }

    /// What is wrong if a sum is too large, or too small - unless numbers were subtracted too, which can be lost or
    /// applied twice just as well.
    fn class(&self, class: Class, why: &'static str) -> (Class, &'static str) {
        if self.negative_asked.is_empty() {
            (class, why)
        } else {
            (Class::WrongSum, "a request was lost or took effect more than once")
        }
    }

    fn most(&self, read: &Op) -> i128 {
        before(&self.positive_asked, read.ret) + before(&self.negative_done, read.call)
    }

    fn least(&self, read: &Op) -> i128 {
        before(&self.positive_done, read.call) + before(&self.negative_asked, read.ret)
    }
}

/// The sum of what stands before a position.
fn before(sums: &[(Position, i128)], position: Position) -> i128 {
    debug_assert!(position != NEVER);
    let count = sums.partition_point(|&(at, _)| at < position);
    count.checked_sub(1).map_or(0, |last| sums[last].1)
}
