//! Counters: what a number can be at least and at most.

use super::words::Words;
use super::{Told, precedes};
use crate::check::decision::Anomaly;
use crate::check::text;
use crate::ops::{Action, KeyOps, Op, Seen};

pub(super) fn tell(words: &Words<'_>) -> Option<Told> {
    let told = |op: &'_ Op| if let Seen::Number(number) = op.seen { Some(number) } else { None };
    let numbers: Vec<(&Op, i64)> =
        words.ops().iter().filter_map(|op| Some((op, told(op)?))).collect();
    numbers.iter().find_map(|&number| bounded(words, number, None)).or_else(|| {
        let pairs = numbers.iter().flat_map(|one| numbers.iter().map(move |other| (*one, *other)));
        pairs
            .into_iter()
            .filter(|((one, _), (other, _))| precedes(one, other))
            .find_map(|(one, other)| bounded(words, other, Some(one)))
    })
}

/// What the increments between two moments add up to, at least and at most.
fn sums(key: &KeyOps, since: Option<&Op>, op: &Op) -> (i128, i128) {
    let (mut least, mut most) = (0, 0);
    for other in key.ops.iter().filter(|other| other.may_count()) {
        let Action::Incr(by) = other.action else { continue };
        let by = i128::from(by);
        let is_since = since.is_none_or(|since| other.ret > since.call && other.call != since.call);
        let is_certain = since.is_none_or(|since| precedes(since, other)) && precedes(other, op);
        if other.call == op.call || is_certain {
            least += by;
            most += by;
        } else if is_since && other.call < op.ret {
            least += by.min(0);
            most += by.max(0);
        }
    }
    (least, most)
}

/// A number that is too small or too large: for all increments, or for those since an earlier number.
fn bounded(words: &Words<'_>, (op, number): (&Op, i64), since: Option<(&Op, i64)>) -> Option<Told> {
    let key = &words.core.key;
    let (least, most) = sums(key, since.map(|(op, _)| op), op);
    let start = since.map_or(i128::from(key.initial_number()), |(_, number)| i128::from(number));
    let (least, most) = (start + least, start + most);
    let found = i128::from(number);
    let did = {
        let from = words.from(op);
        format!("{} {}{from}{}", words.client(op), words.did(op), words.at(op))
    };
    let before = words.initially().filter(|_| since.is_none());
    let circumstances = words.circumstances(op);
    let why = |text: String| {
        [before, Some(text), circumstances]
            .into_iter()
            .flatten()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("; ")
    };
    let same_client = since.is_some_and(|(earlier, _)| earlier.process == op.process);
    let seen = since.map(|(earlier, number)| {
        let who = if same_client { "it".to_owned() } else { words.client(earlier) };
        format!("{who} had seen {number}{} {}", words.from(earlier), words.earlier(earlier, op))
    });
    if found < least {
        let anomaly = match words.core.context.number_later.map(i128::from) {
            // An increment that found too little wiped out what was added before.
            _ if op.action != Action::Read => Anomaly::LostWrite,
            _ if same_client => Anomaly::NonMonotonic,
            Some(later) if later < least => Anomaly::LostWrite,
            _ => Anomaly::StaleRead,
        };
        let (what, reason) = match seen {
            Some(seen) => (
                format!("{did}, but {seen}, so it must have been at least {least}"),
                increments(
                    key,
                    op,
                    "what was added since then cannot have made it smaller than that",
                ),
            ),
            None => (
                format!("{did}, but it must have been at least {least} by then"),
                increments(key, op, "these had all been acknowledged"),
            ),
        };
        return Some(Told { anomaly, what, why: why(told(words, op, reason)) });
    }
    if found > most {
        let (what, reason) = match seen {
            Some(seen) => (
                format!("{did}, but {seen}, so it can have been {most} at most"),
                "all increments that had begun by then add up to no more".to_owned(),
            ),
            None => (
                format!("{did}, but it can have been {most} at most"),
                "all increments that had begun by then add up to no more, as if one had counted twice".to_owned(),
            ),
        };
        return Some(Told {
            anomaly: Anomaly::PhantomRead,
            what,
            why: why(told(words, op, reason)),
        });
    }
    None
}

fn increments(key: &KeyOps, op: &Op, reason: &str) -> String {
    let any = key.ops.iter().any(|other| other.adds().is_some() && precedes(other, op));
    if any { reason.to_owned() } else { String::new() }
}

/// The increments, if they are few, and what follows.
fn told(words: &Words<'_>, op: &Op, reason: String) -> String {
    let adds: Vec<&Op> = words
        .ops()
        .iter()
        .filter(|other| other.adds().is_some() && other.call != op.call && other.call < op.ret)
        .collect();
    let phrases = match adds.len() {
        0 => return reason,
        1..=4 => super::words::list(&adds.iter().map(|op| words.phrase(op)).collect::<Vec<_>>()),
        more => format!("there were {} by then", text::count(more, "increment")),
    };
    if reason.is_empty() { phrases } else { format!("{phrases}; {reason}") }
}
