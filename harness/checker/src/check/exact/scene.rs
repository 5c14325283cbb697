//! The operations under way.

use super::configuration::Configuration;
use super::hash::FastMap;
use super::mask::Mask;
use super::object::{Kind, Nature};
use super::uses::Uses;
use crate::ops::Position;

/// A certain operation under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    /// Number of its step.
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) ret: Position,
    /// Of its equals, the slot of the one that returns next before it: that goes first.
    before: Option<usize>,
}

/// Optional operations under way, all of one kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Class<const W: usize> {
    pub(super) kind: Kind,
    /// How many.
    pub(super) members: u32,
    /// Certain operations under way that are of the same kind.
    equals: Mask<W>,
}

/// Whatever is under way.
#[derive(Clone, Debug)]
pub(super) struct Scene<const W: usize> {
    slots: Vec<Open>,
    /// Slots in use.
    pub(super) all: Mask<W>,
    /// Of those, operations that only look.
    pub(super) looks: Mask<W>,
    /// Those that can happen in every state and learn nothing, whether they reset it or not.
    pub(super) blind: Mask<W>,
    /// Those that lead to one state from all states.
    pub(super) resets: Mask<W>,
    /// The one that is about to return.
    pub(super) target: usize,
    classes: Vec<Option<Class<W>>>,
    free_classes: Vec<usize>,
    /// Of the classes, those in use.
    pub(super) live: Vec<usize>,
    class_of: FastMap<Kind, usize>,
    pub(super) uses: Uses,
    /// Every optional operation may happen any number of times.
    pub(super) unlimited: bool,
}

impl<const W: usize> Scene<W> {
    pub(super) fn new(unlimited: bool) -> Scene<W> {
        Scene {
            slots: Vec::new(),
            all: Mask::EMPTY,
            looks: Mask::EMPTY,
            blind: Mask::EMPTY,
            resets: Mask::EMPTY,
            target: 0,
            classes: Vec::new(),
            free_classes: Vec::new(),
            live: Vec::new(),
            class_of: FastMap::default(),
            uses: Uses::new(),
            unlimited,
        }
    }

    pub(super) fn slot(&self, slot: usize) -> &Open {
        &self.slots[slot]
    }

    /// Gives an operation a slot. `None` if all are taken.
    pub(super) fn open(
        &mut self,
        number: u32,
        kind: Kind,
        ret: Position,
        nature: Nature,
    ) -> Option<usize> {
        let slot = self.all.first_free()?;
        let mut open = Open { number, kind, ret, before: None };
        if nature != Nature::Look {
            open.before = self.queue_up(slot, &open);
        }
        if self.slots.len() == slot {
            self.slots.push(open);
        } else {
            self.slots[slot] = open;
        }
        self.all.set(slot);
        match nature {
            Nature::Look => self.looks.set(slot),
            Nature::Blind => self.blind.set(slot),
            Nature::Reset => {
                self.blind.set(slot);
                self.resets.set(slot);
            }
            Nature::Guarded | Nature::Other => {}
        }
        if !self.live.is_empty()
            && let Some(&class) = self.class_of.get(&kind)
            && let Some(class) = &mut self.classes[class]
        {
            class.equals.set(slot);
        }
        Some(slot)
    }

    /// Puts it among its equals, by return.
    fn queue_up(&mut self, slot: usize, open: &Open) -> Option<usize> {
        let mut before: Option<usize> = None;
        let mut after: Option<usize> = None;
        for other in self.all.without(&self.looks).slots() {
            let (kind, ret) = (self.slots[other].kind, self.slots[other].ret);
            if kind != open.kind {
                continue;
            }
            let nearest = if ret < open.ret { &mut before } else { &mut after };
            let is_nearer = nearest.is_none_or(|nearest| {
                ret.abs_diff(open.ret) < self.slots[nearest].ret.abs_diff(open.ret)
            });
            if is_nearer {
                *nearest = Some(other);
            }
        }
        if let Some(after) = after {
            self.slots[after].before = Some(slot);
        }
        before
    }

    /// Takes its slot back.
    pub(super) fn close(&mut self, slot: usize) {
        let closed = self.slots[slot];
        for mask in [&mut self.all, &mut self.looks, &mut self.blind, &mut self.resets] {
            mask.clear(slot);
        }
        for other in self.all.slots() {
            if self.slots[other].before == Some(slot) {
                self.slots[other].before = closed.before;
            }
        }
        if !self.live.is_empty()
            && let Some(&class) = self.class_of.get(&closed.kind)
            && let Some(class) = &mut self.classes[class]
        {
            class.equals.clear(slot);
        }
    }

    /// Whether it is this one's turn among its equals. If none is used up by being done, then the first can do whatever
    /// the others can, but for what they owe.
    pub(super) fn is_ready(&self, at: &Configuration<W>, slot: usize) -> bool {
        let Some(before) = self.slots[slot].before else { return true };
        if self.unlimited { at.owed.has(slot) && !at.owed.has(before) } else { at.used.has(before) }
    }

    /// The class of a kind, if it has one.
    pub(super) fn class_of(&self, kind: Kind) -> Option<usize> {
        if self.live.is_empty() { None } else { self.class_of.get(&kind).copied() }
    }

    pub(super) fn class(&self, class: usize) -> Option<&Class<W>> {
        self.classes[class].as_ref()
    }

    /// Adds an optional operation. The class if it is a new one.
    pub(super) fn join(&mut self, kind: Kind) -> Option<usize> {
        if let Some(&class) = self.class_of.get(&kind) {
            if let Some(class) = &mut self.classes[class] {
                class.members = class.members.saturating_add(1);
            }
            return None;
        }
        let mut equals = Mask::EMPTY;
        for slot in self.all.without(&self.looks).slots() {
            if self.slots[slot].kind == kind {
                equals.set(slot);
            }
        }
        let new = Some(Class { kind, members: 1, equals });
        let class = if let Some(free) = self.free_classes.pop() {
            self.classes[free] = new;
            free
        } else {
            self.classes.push(new);
            self.classes.len() - 1
        };
        if !self.unlimited {
            self.uses.widen(self.classes.len());
        }
        self.class_of.insert(kind, class);
        self.live.push(class);
        Some(class)
    }

    /// Ends a class. Its column must be cleared in all tallies before it is used again.
    pub(super) fn end_class(&mut self, class: usize) -> Option<Class<W>> {
        let ended = self.classes[class].take()?;
        self.class_of.remove(&ended.kind);
        self.free_classes.push(class);
        self.live.retain(|&live| live != class);
        Some(ended)
    }

    /// Whether there is a member of the class left.
    pub(super) fn has_left(&self, at: &Configuration<W>, class: usize) -> bool {
        let Some(of) = &self.classes[class] else { return false };
        self.unlimited || self.uses.of(at.uses, class) < of.members
    }

    /// Whether it is the turn of a member of the class among its equals: those that return go first. If members are
    /// unlimited, those that return do it, and are not used up by it.
    pub(super) fn is_class_ready(&self, at: &Configuration<W>, class: usize) -> bool {
        let Some(of) = &self.classes[class] else { return false };
        of.equals.is_within(&at.used) && self.has_left(at, class)
    }
}
