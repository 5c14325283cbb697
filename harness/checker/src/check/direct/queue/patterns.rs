//! What a queue cannot have done.

use super::{Element, Elements, Moment, Odd, moment};
use crate::check::decision::{Anomaly, Contradiction};
use crate::check::direct::Contradictions;
use crate::history::Outcome;
use crate::model::Model;
use crate::ops::{Action, KeyOps, Op, Seen, index};

/// Finds it all, each by a dequeue.
pub(super) fn find(key: &KeyOps, elements: &Elements, found: &mut Contradictions) {
    for odd in &elements.odd {
        found.add(|| impossible(key, odd));
    }
    let presence = Presence::of(&elements.all);
    if key.model == Model::FifoQueue {
        for second in elements.all.iter().filter(|element| element.taken.is_some()) {
            if let Some(first) = presence.longest_before(second.put_call)
                && first.taken_call > second.taken_return
            {
                found.add(|| overtaken(first, second));
            }
        }
    }
    for &id in &elements.empty {
        if let Some(there) = presence.cover(&key.ops[index(id)]) {
            found.add(|| {
                let ops = there.iter().flat_map(|element| [element.put, element.taken]).flatten();
                let ops = ops.chain([id]).collect();
                Contradiction { anomaly: Anomaly::LostWrite, ops }
            });
        }
    }
}

/// It took what nobody had put in, or what somebody had taken.
fn impossible(key: &KeyOps, odd: &Odd) -> Contradiction {
    let puts = |op: &Op| op.action == Action::Enqueue(odd.word);
    let takes = |op: &Op| op.is_ok() && op.seen == Seen::Word(odd.word);
    let (mut failed, mut counting, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for (op, id) in key.ops.iter().zip(0..) {
        if puts(op) {
            if op.outcome == Outcome::Fail { &mut failed } else { &mut counting }.push(id);
        } else if takes(op) && id < odd.id {
            others.push(id);
        }
    }
    let mut ops = vec![odd.id];
    let was_there = matches!(key.initial, Seen::List(list) if key.list(list).contains(&odd.word));
    let anomaly = if !others.is_empty() && (was_there || !counting.is_empty()) {
        ops.extend(others);
        ops.extend(counting);
        Anomaly::Duplicate
    } else if counting.is_empty() && !failed.is_empty() {
        ops.extend(failed.first());
        Anomaly::AbortedRead
    } else {
        ops.extend(counting);
        Anomaly::PhantomRead
    };
    Contradiction { anomaly, ops }
}

/// The second one came out before the first one, which had been there before it.
fn overtaken(first: &Element, second: &Element) -> Contradiction {
    let anomaly = if first.taken.is_some() { Anomaly::WrongOrder } else { Anomaly::LostWrite };
    let ops = [first.put, first.taken, second.put, second.taken];
    Contradiction { anomaly, ops: ops.into_iter().flatten().collect() }
}

/// When elements were certainly there: after they had been put in, before anybody asked for them.
struct Presence<'a> {
    /// By return of what put it in; with the one so far that was there longest.
    elements: Vec<(Moment, &'a Element)>,
}

impl<'a> Presence<'a> {
    fn of(all: &'a [Element]) -> Presence<'a> {
        let mut elements: Vec<(Moment, &Element)> =
            all.iter().map(|element| (element.put_return, element)).collect();
        elements.sort_unstable_by_key(|&(put_return, _)| put_return);
        let mut longest: Option<&Element> = None;
        for (_, element) in &mut elements {
            if let Some(known) = longest.filter(|known| known.taken_call >= element.taken_call) {
                *element = known;
            }
            longest = Some(element);
        }
        Presence { elements }
    }

    /// Of the elements that had been put in before this moment, the one that was taken last.
    fn longest_before(&self, moment: Moment) -> Option<&'a Element> {
        let at = self.elements.partition_point(|&(put_return, _)| put_return < moment);
        at.checked_sub(1).map(|last| self.elements[last].1)
    }

    /// Elements of which at least one was there at any time while the operation took place.
    fn cover(&self, op: &Op) -> Option<Vec<&'a Element>> {
        let mut there = Vec::new();
        let mut until = Moment::from(op.call);
        while until <= moment(op.ret) {
            let element = self.longest_before(until)?;
            if element.taken_call <= until {
                return None;
            }
            until = element.taken_call;
            there.push(element);
        }
        Some(there)
    }
}
