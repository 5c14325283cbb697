//! Puts enqueues and dequeues into one order, with as little in the queue as possible at any time, because some dequeues
//! may have to find nothing: what is put in comes as late as it can, what is taken as soon as it can.

use super::{Element, Elements};
use crate::ops::{KeyOps, NEVER, index};

/// The order. With ranks, elements go through the queue in this sequence; `None` if a dequeue that found nothing has no
/// place.
pub(super) fn merge(
    key: &KeyOps,
    elements: &Elements,
    sequence: Option<Vec<u32>>,
) -> Option<Vec<u32>> {
    let is_fifo = sequence.is_some();
    let all: Vec<Element> = match sequence {
        Some(sequence) => sequence.iter().map(|&id| elements.all[index(id)]).collect(),
        None => elements.all.clone(),
    };
    let mut merge = Merge::of(key, elements, all, is_fifo);
    for event in merge.events(key) {
        match event {
            Event::Call(id) => merge.call(id),
            Event::Return(id) => merge.end(id)?,
        }
    }
    Some(merge.order)
}

/// The call and the return of operations, which sorts by position.
#[derive(Clone, Copy)]
enum Event {
    Call(u32),
    Return(u32),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Put(u32),
    Take(u32),
    Empty,
    None,
}

struct Merge {
    all: Vec<Element>,
    is_fifo: bool,
    /// By operation.
    part_of: Vec<Part>,
    /// By element.
    is_put: Vec<bool>,
    is_take_called: Vec<bool>,
    is_taken: Vec<bool>,
    /// How many are in the queue.
    len: usize,
    /// First in, first out: how many have been put in and taken.
    puts: usize,
    takes: usize,
    /// Dequeues that have been called and still have to find nothing.
    waiting: Vec<u32>,
    is_waiting: Vec<bool>,
    order: Vec<u32>,
}

impl Merge {
    fn of(key: &KeyOps, elements: &Elements, all: Vec<Element>, is_fifo: bool) -> Merge {
        let mut part_of = vec![Part::None; key.ops.len()];
        let mut merge = Merge {
            all: Vec::new(),
            is_fifo,
            part_of: Vec::new(),
            is_put: vec![false; all.len()],
            is_take_called: vec![false; all.len()],
            is_taken: vec![false; all.len()],
            len: 0,
            puts: 0,
            takes: 0,
            waiting: Vec::new(),
            is_waiting: vec![false; key.ops.len()],
            order: Vec::with_capacity(key.ops.len()),
        };
        for (element, place) in all.iter().zip(0..) {
            if let Some(put) = element.put {
                part_of[index(put)] = Part::Put(place);
            } else {
                merge.is_put[index(place)] = true;
                merge.len += 1;
                // Those that are not first in the sequence are put in again in their turn, in vain.
                merge.puts += usize::from(merge.puts == index(place));
            }
            if let Some(taken) = element.taken {
                part_of[index(taken)] = Part::Take(place);
            }
        }
        for &id in &elements.empty {
            part_of[index(id)] = Part::Empty;
        }
        Merge { all, part_of, ..merge }
    }

    fn events(&self, key: &KeyOps) -> Vec<Event> {
        let mut events = Vec::with_capacity(2 * key.ops.len());
        for (op, id) in key.ops.iter().zip(0..) {
            if self.part_of[index(id)] != Part::None {
                events.push((op.call, Event::Call(id)));
                if op.ret != NEVER {
                    events.push((op.ret, Event::Return(id)));
                }
            }
        }
        events.sort_unstable_by_key(|&(position, _)| position);
        events.into_iter().map(|(_, event)| event).collect()
    }

    fn call(&mut self, id: u32) {
        match self.part_of[index(id)] {
            Part::Take(place) => {
                self.is_take_called[index(place)] = true;
                self.take_early(index(place));
            }
            Part::Empty => {
                self.waiting.push(id);
                self.is_waiting[index(id)] = true;
                self.find_nothing();
            }
            Part::Put(_) | Part::None => {}
        }
    }

    fn end(&mut self, id: u32) -> Option<()> {
        match self.part_of[index(id)] {
            Part::Put(place) => self.put(index(place)),
            Part::Take(place) => {
                self.put(index(place));
                self.take(index(place));
            }
            Part::Empty if self.is_waiting[index(id)] => return None,
            Part::Empty | Part::None => {}
        }
        Some(())
    }

    /// Puts an element in, after those that come before it.
    fn put(&mut self, place: usize) {
        let from = if self.is_fifo { self.puts } else { place };
        for place in from..=place {
            if !std::mem::replace(&mut self.is_put[place], true) {
                self.order.extend(self.all[place].put);
                self.len += 1;
            }
            self.puts = self.puts.max(place + 1);
            self.take_early(place);
        }
    }

    /// Takes whatever can be taken by now.
    fn take_early(&mut self, place: usize) {
        if !self.is_fifo {
            if self.is_put[place] && self.is_take_called[place] {
                self.take(place);
            }
            return;
        }
        while self.takes < self.puts && self.is_take_called[self.takes] {
            self.take(self.takes);
        }
    }

    /// Takes an element, after those that come before it.
    fn take(&mut self, place: usize) {
        let from = if self.is_fifo { self.takes } else { place };
        for place in from..=place {
            if !std::mem::replace(&mut self.is_taken[place], true) {
                self.order.extend(self.all[place].taken);
                self.len -= 1;
            }
            self.takes = self.takes.max(place + 1);
            self.find_nothing();
        }
    }

    fn find_nothing(&mut self) {
        if self.len == 0 {
            for id in self.waiting.drain(..) {
                self.is_waiting[index(id)] = false;
                self.order.push(id);
            }
        }
    }
}
