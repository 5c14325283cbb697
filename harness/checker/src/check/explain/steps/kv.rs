//! A key of a key-value store. As long as nobody appends or adds to it, it is a register.

use super::unseen::{Look, Looks};
use super::{Alike, Out, changes_nothing, registers, retain};
use crate::ops::{Action, KeyOps, NEVER, Op, Position, Seen};

/// How much text to look through for what is appended.
const TEXT_BYTES_MAX: usize = 100_000_000;

pub(super) fn without(key: &KeyOps, out: &Out) -> Option<KeyOps> {
    if !key.ops.iter().any(builds_on) {
        return registers::without(key, out);
    }
    let mut gone: Vec<bool> = key
        .ops
        .iter()
        .enumerate()
        .map(|(number, op)| out.op(number) && changes_nothing(key, op))
        .collect();
    drop_unread(key, out, &mut gone);
    let ends = Ends::new(key, &gone);
    drop_built(key, out, &ends, &mut gone);
    drop_written(key, out, &ends, &mut gone);
    gone.contains(&true).then(|| retain(key, |number, _| !gone[number]))
}

/// What makes a text that is not the beginning of any that somebody looks at, and appends of what is in no such text:
/// in a linearization, nobody looks before the next change that replaces the text, so the text before it, with what
/// is appended in the meantime, may stand longer. Increments look at the text too, so this is for keys without them.
fn drop_unread(key: &KeyOps, out: &Out, gone: &mut [bool]) {
    if key.ops.iter().any(|op| matches!(op.action, Action::Incr(_)) && op.may_count()) {
        return;
    }
    for _ in 0..4 {
        let there = key.ops.iter().zip(&*gone).filter(|(_, gone)| !**gone);
        let mut texts: Vec<&str> = there
            .filter_map(|(op, _)| registers::looks_at(op))
            .map(|word| key.words.text(word))
            .collect();
        texts.sort_unstable();
        texts.dedup();
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        let begins_one = |text: &str| {
            let first = texts.partition_point(|other| *other < text);
            texts.get(first).is_some_and(|other| other.starts_with(text))
        };
        let is_in_one = |text: &str| texts.iter().any(|other| other.contains(text));
        let mut progress = false;
        let mut work = 0;
        for (number, op) in key.ops.iter().enumerate().filter(|(_, op)| op.may_count()) {
            if gone[number] || !out.op(number) {
                continue;
            }
            let is_unread = if let Some(word) = op.writes() {
                !begins_one(key.words.text(word))
            } else if let Some(word) = op.appends() {
                work += bytes;
                work < TEXT_BYTES_MAX && !is_in_one(key.words.text(word))
            } else {
                false
            };
            gone[number] = is_unread;
            progress |= is_unread;
        }
        if !progress {
            return;
        }
    }
}

/// Appends, increments and cas that certainly were overwritten by a write before anything that depends on the state
/// can have come. From the last on, so that of a run of them each is the last one when its turn comes.
fn drop_built(key: &KeyOps, out: &Out, ends: &Ends, gone: &mut [bool]) {
    let mut latest = 0;
    // The latest return of what depends on the state and was called earlier.
    let earlier: Vec<Position> = key
        .ops
        .iter()
        .zip(&*gone)
        .map(|(op, gone)| {
            let before = latest;
            if !gone && depends(op) {
                latest = latest.max(op.ret);
            }
            before
        })
        .collect();
    // The earliest call of what depends on the state, was called later, and stays.
    let mut next = NEVER;
    for (number, op) in key.ops.iter().enumerate().rev() {
        if gone[number] || !depends(op) {
            continue;
        }
        let is_unseen = || {
            let end = ends.after(op.ret)?;
            Some(next > end && earlier[number] < op.call)
        };
        if out.op(number) && op.ret != NEVER && op.may_count() && is_unseen() == Some(true) {
            gone[number] = true;
        } else {
            next = op.call;
        }
    }
}

/// Writes that certainly were overwritten before anything that depends on the state can have come.
fn drop_written(key: &KeyOps, out: &Out, ends: &Ends, gone: &mut [bool]) {
    let dependent: Vec<Look> = key
        .ops
        .iter()
        .zip(&*gone)
        .filter(|(op, gone)| !**gone && depends(op))
        .map(|(op, _)| Look { slot: 0, call: op.call, ret: op.ret })
        .collect();
    let looks = Looks::new(&dependent, 1);
    // In order of the calls: what overwrites is still there when it is needed.
    for (number, op) in key.ops.iter().enumerate() {
        let is_write = matches!(op.action, Action::Write(_)) && op.is_ok();
        let is_out = is_write && out.op(number) && !gone[number];
        if let (true, Some(end)) = (is_out, ends.after(op.ret)) {
            gone[number] |= !looks.any_between(0, op.call, end);
        }
    }
}

/// Of writes of unknown outcome that do the same, as many as there are certain operations that depend on the state:
/// if none of them comes before the next write, a linearization can do without this one and all that builds on it.
pub(super) fn that_can_matter(key: &KeyOps) -> Option<Vec<bool>> {
    if !key.ops.iter().any(builds_on) {
        return registers::that_can_matter(key);
    }
    let certain = key.ops.iter().filter(|op| depends(op) && op.ret != NEVER).count();
    let mut alike = Alike::default();
    let is_open = |op: &Op| matches!(op.action, Action::Write(_)) && op.ret == NEVER;
    let keep = |op: &Op| !is_open(op) || alike.keep(op, certain);
    Some(key.ops.iter().map(keep).collect())
}

fn builds_on(op: &Op) -> bool {
    matches!(op.action, Action::Append(_) | Action::Incr(_)) && op.may_count()
}

/// What it does, or whether it can have happened, depends on the state.
fn depends(op: &Op) -> bool {
    let is_write = matches!(op.action, Action::Write(_));
    let changes = op.may_count() && op.action != Action::Read;
    !is_write && (changes || op.seen != Seen::Unknown)
}

/// Certain writes, latest first: the call, and the first return from there on.
struct Ends(Vec<(Position, Position)>);

impl Ends {
    fn new(key: &KeyOps, gone: &[bool]) -> Ends {
        let mut ends: Vec<(Position, Position)> = Vec::new();
        for (op, gone) in key.ops.iter().zip(gone).rev() {
            if !gone && op.is_ok() && op.ret != NEVER && matches!(op.action, Action::Write(_)) {
                let first = ends.last().map_or(op.ret, |&(_, ret)| ret.min(op.ret));
                ends.push((op.call, first));
            }
        }
        Ends(ends)
    }

    /// The first return of a write that was called after this position.
    fn after(&self, position: Position) -> Option<Position> {
        let later = self.0.partition_point(|&(call, _)| call > position);
        self.0.get(later.checked_sub(1)?).map(|&(_, ret)| ret)
    }
}
