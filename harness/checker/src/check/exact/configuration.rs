//! Configurations, and sets of them in which none is worse than another.

use super::mask::Mask;
use super::object::State;
use super::uses::{Tally, Uses};
use crate::ops::index;

/// One way things may stand.
///
/// An operation under way is *owed*: it has not been done and must be before it returns; or *used*: it has been done,
/// visibly; or neither: it can be taken as done, out of everybody's sight, or still be used, whichever suits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Configuration<const W: usize> {
    pub(super) state: State,
    /// How often each class of optional operations has been used.
    pub(super) uses: Tally,
    pub(super) owed: Mask<W>,
    pub(super) used: Mask<W>,
}

impl<const W: usize> Configuration<W> {
    /// Whether it can do whatever the other can, but for optional operations: of the same state, it owes no more and has
    /// used up no more.
    fn covers(&self, other: &Configuration<W>) -> bool {
        self.owed.is_within(&other.owed) && self.used.is_within(&other.used)
    }

    fn hash(&self) -> u64 {
        let start = u64::from(self.state) << 32 | u64::from(self.uses);
        let hash = self.used.mix(self.owed.mix(start.wrapping_mul(0xD6E8_FEB8_6659_FD93)));
        hash ^ (hash >> 32)
    }
}

const NONE: u32 = u32::MAX;

/// Comparisons with others of the same state for each new configuration, once there are many.
const COMPARED_MAX: usize = 64;

/// So many make a hash table worth while.
const FEW: usize = 192;

/// Configurations that none of the others covers, by state.
///
/// Once there are many of one state, not all pairs are compared: then some may be covered, but none is in it twice.
#[derive(Debug)]
pub(super) struct Known<const W: usize> {
    all: Vec<Configuration<W>>,
    /// By configuration: the previous one of the same state.
    previous: Vec<u32>,
    /// By configuration: another one covers it.
    covered: Vec<bool>,
    /// By state: the last one.
    last: Vec<u32>,
    /// Hashed, once there are many.
    table: Vec<u32>,
    /// Of optional operations, only how many have been used counts.
    by_total: bool,
    /// That has made a difference.
    is_partial: bool,
}

impl<const W: usize> Known<W> {
    pub(super) fn new() -> Known<W> {
        Known {
            all: Vec::new(),
            previous: Vec::new(),
            covered: Vec::new(),
            last: Vec::new(),
            table: Vec::new(),
            by_total: false,
            is_partial: false,
        }
    }

    pub(super) fn set_by_total(&mut self, by_total: bool) {
        self.by_total = by_total;
    }

    pub(super) fn clear(&mut self) {
        for configuration in &self.all {
            self.last[index(configuration.state)] = NONE;
        }
        self.all.clear();
        self.previous.clear();
        self.covered.clear();
        self.table.clear();
        self.is_partial = false;
    }

    /// Whether a configuration was taken as covered that is not.
    pub(super) fn is_partial(&self) -> bool {
        self.is_partial
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.all.capacity() * (size_of::<Configuration<W>>() + 5)
            + (self.table.capacity() + self.last.capacity()) * 4
    }

    pub(super) fn get(&self, number: usize) -> &Configuration<W> {
        &self.all[number]
    }

    pub(super) fn is_covered(&self, number: usize) -> bool {
        self.covered[number]
    }

    /// Those that no other is known to cover.
    pub(super) fn best(&self) -> impl Iterator<Item = &Configuration<W>> {
        self.all.iter().zip(&self.covered).filter(|&(_, &covered)| !covered).map(|(one, _)| one)
    }

    /// Adds one, unless another one covers it. Its number if it is added.
    pub(super) fn insert(&mut self, new: Configuration<W>, uses: &Uses) -> Option<usize> {
        let state = index(new.state);
        if self.last.len() <= state {
            self.last.resize((state + 1).next_power_of_two(), NONE);
        }
        let many = self.all.len() > FEW;
        let mut at = self.last[state];
        let mut compared = 0;
        while at != NONE && !(many && compared == COMPARED_MAX) {
            let place = index(at);
            if !self.covered[place] {
                if self.all[place].covers(&new) && self.is_cheaper(&self.all[place], &new, uses) {
                    self.is_partial |= !uses.is_within(self.all[place].uses, new.uses);
                    return None;
                }
                if new.covers(&self.all[place]) && self.is_cheaper(&new, &self.all[place], uses) {
                    self.is_partial |= !uses.is_within(new.uses, self.all[place].uses);
                    self.covered[place] = true;
                }
            }
            at = self.previous[place];
            compared += 1;
        }
        if many && self.is_in_table(&new) {
            return None;
        }
        let number = self.all.len();
        self.previous.push(self.last[state]);
        self.last[state] = u32::try_from(number).unwrap_or(NONE);
        self.all.push(new);
        self.covered.push(false);
        if self.all.len() > FEW {
            self.add_to_table(number);
        }
        Some(number)
    }

    /// Whether it has used no more optional operations.
    fn is_cheaper(&self, one: &Configuration<W>, other: &Configuration<W>, uses: &Uses) -> bool {
        if self.by_total {
            uses.total(one.uses) <= uses.total(other.uses)
        } else {
            uses.is_within(one.uses, other.uses)
        }
    }

    fn is_in_table(&self, new: &Configuration<W>) -> bool {
        if self.table.is_empty() {
            return false;
        }
        let mut place = self.place(new);
        while self.table[place] != NONE {
            if self.all[index(self.table[place])] == *new {
                return true;
            }
            place = (place + 1) & (self.table.len() - 1);
        }
        false
    }

    fn add_to_table(&mut self, number: usize) {
        if self.table.len() < self.all.len() * 2 {
            let size = (self.all.len() * 4).next_power_of_two();
            self.table.clear();
            self.table.resize(size, NONE);
            (0..number).for_each(|number| self.put(number));
        }
        self.put(number);
    }

    fn put(&mut self, number: usize) {
        let mut place = self.place(&self.all[number]);
        while self.table[place] != NONE {
            place = (place + 1) & (self.table.len() - 1);
        }
        self.table[place] = u32::try_from(number).unwrap_or(NONE);
    }

    fn place(&self, configuration: &Configuration<W>) -> usize {
        // Its upper half is not needed: no table has so many places.
        usize::try_from(configuration.hash() & 0xFFFF_FFFF).unwrap_or(0) & (self.table.len() - 1)
    }
}
