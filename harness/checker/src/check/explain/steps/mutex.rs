//! Locks.

use super::{Out, retain};
use crate::ops::{Action, KeyOps, NEVER, Op};

/// Leaves out pairs of an acquisition and a release, in either order, with nothing under way from the beginning of the
/// first to the end of the second: they are neighbours in each linearization, and the lock is afterwards what it was
/// before. That they are of one client would not be enough: another one may have released the lock in between.
pub(super) fn without(key: &KeyOps, out: &Out) -> Option<KeyOps> {
    let mut gone = vec![false; key.ops.len()];
    let mut latest = 0;
    let mut number = 0;
    let mut any = false;
    while let Some(first) = key.ops.get(number) {
        if let Some(second) = key.ops.get(number + 1)
            && out.op(number)
            && out.op(number + 1)
            && first.is_ok()
            && second.is_ok()
            && first.action != second.action
            && latest < first.call
            && first.ret < second.call
            && key.ops.get(number + 2).is_none_or(|next| second.ret < next.call)
        {
            gone[number] = true;
            gone[number + 1] = true;
            any = true;
            number += 1;
            latest = second.ret;
        }
        latest = latest.max(first.ret);
        number += 1;
    }
    any.then(|| retain(key, |number, _| !gone[number]))
}

/// Of operations of unknown outcome, as many of each kind as there are certain ones: two of them that are neighbours
/// in a linearization undo each other and can be left out of it, and so can the last of all.
pub(super) fn that_can_matter(key: &KeyOps) -> Option<Vec<bool>> {
    if key.ops.iter().all(|op| op.ret != NEVER) {
        return None;
    }
    let certain = key.ops.iter().filter(|op| op.is_ok()).count();
    let (mut acquires, mut releases) = (0, 0);
    let keep = |op: &Op| {
        if op.ret != NEVER {
            return true;
        }
        let kept = if op.action == Action::Acquire { &mut acquires } else { &mut releases };
        *kept += 1;
        *kept <= certain
    };
    Some(key.ops.iter().map(keep).collect())
}
