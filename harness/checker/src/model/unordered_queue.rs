//! A queue that gives elements back in any order.

use super::Sequential;
use super::sequential::initial_items;
use super::spec::Spec;
use crate::ops::{Action, KeyOps, NOTHING, Op, Seen, Word};

/// `unordered-queue`.
pub(super) const SPEC: Spec = Spec { name: "unordered-queue", ..super::fifo_queue::SPEC };

/// A queue that gives elements back in any order.
#[derive(Clone, Copy, Debug)]
pub struct UnorderedQueue;

impl Sequential for UnorderedQueue {
    /// Sorted. The elements that dequeues of unknown outcome took are not known before somebody misses them, so such
    /// a dequeue is left out: see [`UnorderedQueue::apply`].
    type State = Vec<Word>;

    fn start(&self, key: &KeyOps) -> Vec<Word> {
        let mut start = initial_items(key);
        start.sort_unstable();
        start
    }

    /// A dequeue of unknown outcome may have taken any element: as the state is one, it takes none here, which is right
    /// as long as no dequeue of the key finds the queue empty.
    fn apply(&self, _: &KeyOps, state: &Vec<Word>, op: &Op) -> Option<Vec<Word>> {
        let mut after = state.clone();
        match (op.action, op.seen) {
            (Action::Enqueue(word), _) => {
                let place = after.partition_point(|&element| element < word);
                after.insert(place, word);
            }
            (Action::Dequeue, Seen::Word(NOTHING)) => return after.is_empty().then_some(after),
            (Action::Dequeue, Seen::Word(word)) => {
                let place = after.binary_search(&word).ok()?;
                after.remove(place);
            }
            (Action::Dequeue, Seen::Unknown) => {}
            _ => return None,
        }
        Some(after)
    }
}
