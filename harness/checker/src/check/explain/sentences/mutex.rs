//! Locks.

use super::words::Words;
use super::{TOLD_MAX, Told, precedes};
use crate::check::decision::Anomaly;
use crate::ops::{Action, NEVER, Op, index};

pub(super) fn tell(words: &Words<'_>) -> Option<Told> {
    // Whether many of them can take turns is no matter of two of them.
    if words.ops().len() > TOLD_MAX {
        return None;
    }
    let blocked = words.ops().get(index(words.core.blocked))?;
    let start = format!("{} {}{}", words.client(blocked), words.did(blocked), words.at(blocked));
    let before = |action: Action| {
        let others = words.ops().iter().filter(move |op| op.action == action && op.is_ok());
        others.filter(|op| op.call != blocked.call).max_by_key(|op| (precedes(op, blocked), op.ret))
    };
    let undo = if blocked.action == Action::Acquire { Action::Release } else { Action::Acquire };
    let reason = possible(words, undo);
    let told =
        |what: String, why: String| Some(Told { anomaly: Anomaly::MutualExclusion, what, why });
    if blocked.action == Action::Acquire {
        let Some(holder) = before(Action::Acquire) else {
            return told(format!("{start}, but it was held from the beginning"), reason);
        };
        let same = holder.process == blocked.process;
        let who = if same { "it".to_owned() } else { words.client(holder) };
        let how = if precedes(holder, blocked) {
            format!("{who} had acquired it {}", words.acknowledged(holder, blocked))
        } else {
            format!("{} acquired it too, at the same time", words.client(holder))
        };
        return told(format!("{start}, but {how}"), reason);
    }
    match before(Action::Release) {
        Some(other) if precedes(other, blocked) => {
            let how = words.acknowledged(other, blocked);
            let who = words.client(other);
            told(format!("{start}, but nobody held it: {who} had released it {how}"), reason)
        }
        Some(other) => {
            let who = words.client(other);
            told(format!("{start}, but {who} released it too, and it was held only once"), reason)
        }
        None => told(format!("{start}, but nobody held it"), reason),
    }
}

/// What else was done that could explain it, and does not.
fn possible(words: &Words<'_>, undo: Action) -> String {
    let others: Vec<&Op> = words.ops().iter().filter(|op| op.action == undo).collect();
    if others.is_empty() {
        let done = if undo == Action::Release { "released" } else { "acquired" };
        return format!("nobody {done} it in between");
    }
    let told: Vec<String> = others.iter().map(|op| words.phrase(op)).collect();
    let even = if others.iter().any(|op| op.ret == NEVER) { "even that" } else { "that" };
    format!("{}, and {even} is not enough to have them take turns", super::words::list(&told))
}
