//! Configurations of the search, and sets of them.

use crate::model::object::{FastMap, FastSet, State};

/// Slots of open operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mask<const W: usize>([u64; W]);

impl<const W: usize> Mask<W> {
    pub(super) const EMPTY: Mask<W> = Mask([0; W]);

    pub(super) fn has(&self, slot: usize) -> bool {
        self.0[slot / 64] & (1 << (slot % 64)) != 0
    }

    pub(super) fn set(&mut self, slot: usize) {
        self.0[slot / 64] |= 1 << (slot % 64);
    }

    pub(super) fn clear(&mut self, slot: usize) {
        self.0[slot / 64] &= !(1 << (slot % 64));
    }

    pub(super) fn add(&mut self, other: &Mask<W>) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word |= other;
        }
    }

    pub(super) fn remove(&mut self, other: &Mask<W>) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word &= !other;
        }
    }

    pub(super) fn is_within(&self, other: &Mask<W>) -> bool {
        self.0.iter().zip(other.0).all(|(word, other)| word & !other == 0)
    }

    pub(super) fn count(&self) -> usize {
        self.0.iter().map(|word| usize::try_from(word.count_ones()).unwrap_or(0)).sum()
    }

    pub(super) fn keep(&mut self, other: &Mask<W>) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word &= other;
        }
    }
}

/// One way things may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Configuration<const W: usize> {
    pub(super) state: State,
    /// Of the open operations, those that are done.
    pub(super) done: Mask<W>,
}

/// Configurations that are known already, or no better than one that is.
#[derive(Debug)]
pub(super) struct Known<const W: usize> {
    /// Slots of operations that need not have happened.
    optional: Mask<W>,
    /// If there are none: the configurations.
    plain: FastSet<Configuration<W>>,
    /// Otherwise: by state and certain operations done, the least sets of others done.
    least: FastMap<Configuration<W>, Vec<Mask<W>>>,
    len: usize,
}

impl<const W: usize> Known<W> {
    pub(super) fn new(optional: Mask<W>) -> Known<W> {
        Known { optional, plain: FastSet::default(), least: FastMap::default(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether it is new, and better than all others in something. Those with fewer optional operations done should
    /// come first.
    pub(super) fn insert(&mut self, configuration: Configuration<W>) -> bool {
        let new = if self.optional == Mask::EMPTY {
            self.plain.insert(configuration)
        } else {
            let mut used = configuration.done;
            used.keep(&self.optional);
            let mut key = configuration;
            key.done.remove(&self.optional);
            let least = self.least.entry(key).or_default();
            let new = !least.iter().any(|known| known.is_within(&used));
            if new {
                least.push(used);
            }
            new
        };
        self.len += usize::from(new);
        new
    }

    /// How many optional operations it has done.
    pub(super) fn cost(&self, configuration: &Configuration<W>) -> usize {
        let mut used = configuration.done;
        used.keep(&self.optional);
        used.count()
    }
}
