//! In which order elements went through a queue that is first in, first out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Element, Moment};
use crate::check::direct::number;

/// Elements in an order in which they can have been put in and can have been taken; those that nobody took come last.
/// `None` if there is none.
pub(super) fn sequence(all: &[Element]) -> Option<Vec<u32>> {
    let (mut taken, mut left) = (Vec::new(), Vec::new());
    for (element, id) in all.iter().zip(0..) {
        if element.taken.is_some() { &mut taken } else { &mut left }.push(id);
    }
    let mut sequence = Vec::with_capacity(all.len());
    let mut is_placed = vec![false; all.len()];
    let mut puts = Returns::of(all, &taken, |element| element.put_return);
    let mut takes = Returns::of(all, &taken, |element| element.taken_return);
    taken.sort_unstable_by_key(|&id| Reverse(at(all, id).put_call));
    // Those that may be put in next, and those of them that may be taken next as well.
    let mut ready: BinaryHeap<Reverse<(Moment, u32)>> = BinaryHeap::new();
    let mut free: BinaryHeap<Reverse<(Moment, u32)>> = BinaryHeap::new();
    while let (Some(put_return), Some(taken_return)) =
        (puts.first(&is_placed), takes.first(&is_placed))
    {
        while let Some(id) = taken.pop_if(|id| at(all, *id).put_call <= put_return) {
            ready.push(Reverse((at(all, id).taken_call, id)));
        }
        while let Some(&Reverse((taken_call, id))) = ready.peek()
            && taken_call < taken_return
        {
            ready.pop();
            let element = at(all, id);
            // What has to be there, or to be gone, first.
            free.push(Reverse((element.put_return.min(element.taken_return), id)));
        }
        let Reverse((_, id)) = free.pop()?;
        is_placed[usize_of(id)] = true;
        sequence.push(id);
    }
    left.sort_unstable_by_key(|&id| at(all, id).put_call);
    sequence.extend(left);
    debug_assert_eq!(number(all.len()), number(sequence.len()));
    Some(sequence)
}

fn at(all: &[Element], id: u32) -> &Element {
    &all[usize_of(id)]
}

fn usize_of(id: u32) -> usize {
    crate::ops::index(id)
}

/// The earliest return among elements that have no place yet.
struct Returns {
    /// The next one last.
    ahead: Vec<(Moment, u32)>,
}

impl Returns {
    fn of(all: &[Element], ids: &[u32], of: impl Fn(&Element) -> Moment) -> Returns {
        let mut ahead: Vec<(Moment, u32)> = ids.iter().map(|&id| (of(at(all, id)), id)).collect();
        ahead.sort_unstable_by(|one, two| two.cmp(one));
        Returns { ahead }
    }

    fn first(&mut self, is_placed: &[bool]) -> Option<Moment> {
        while self.ahead.pop_if(|(_, id)| is_placed[usize_of(*id)]).is_some() {}
        self.ahead.last().map(|&(moment, _)| moment)
    }
}
