//! Sets of slots: of the operations under way that certainly happened.

use crate::ops::index;

/// A set of up to `64 * W` slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mask<const W: usize>([u64; W]);

impl<const W: usize> Mask<W> {
    pub(super) const EMPTY: Mask<W> = Mask([0; W]);

    #[inline]
    pub(super) fn one(slot: usize) -> Mask<W> {
        let mut mask = Mask::EMPTY;
        mask.set(slot);
        mask
    }

    #[inline]
    pub(super) fn has(&self, slot: usize) -> bool {
        self.0[slot / 64] & (1 << (slot % 64)) != 0
    }

    #[inline]
    pub(super) fn set(&mut self, slot: usize) {
        self.0[slot / 64] |= 1 << (slot % 64);
    }

    #[inline]
    pub(super) fn clear(&mut self, slot: usize) {
        self.0[slot / 64] &= !(1 << (slot % 64));
    }

    #[inline]
    pub(super) fn and(&self, other: &Mask<W>) -> Mask<W> {
        let mut mask = *self;
        mask.0.iter_mut().zip(other.0).for_each(|(word, other)| *word &= other);
        mask
    }

    #[inline]
    pub(super) fn or(&self, other: &Mask<W>) -> Mask<W> {
        let mut mask = *self;
        mask.0.iter_mut().zip(other.0).for_each(|(word, other)| *word |= other);
        mask
    }

    #[inline]
    pub(super) fn without(&self, other: &Mask<W>) -> Mask<W> {
        let mut mask = *self;
        mask.0.iter_mut().zip(other.0).for_each(|(word, other)| *word &= !other);
        mask
    }

    #[inline]
    pub(super) fn is_within(&self, other: &Mask<W>) -> bool {
        self.0.iter().zip(other.0).all(|(word, other)| word & !other == 0)
    }

    #[inline]
    pub(super) fn meets(&self, other: &Mask<W>) -> bool {
        self.0.iter().zip(other.0).any(|(word, other)| word & other != 0)
    }

    pub(super) fn size(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// The lowest slot that is not in the set.
    pub(super) fn first_free(&self) -> Option<usize> {
        let word = self.0.iter().position(|&word| word != u64::MAX)?;
        Some(word * 64 + index(self.0[word].trailing_ones()))
    }

    /// All of them, ascending.
    #[inline]
    pub(super) fn slots(&self) -> impl Iterator<Item = usize> + use<W> {
        let mut left = *self;
        std::iter::from_fn(move || left.pop())
    }

    /// Takes out the lowest slot.
    #[inline]
    fn pop(&mut self) -> Option<usize> {
        for (number, word) in self.0.iter_mut().enumerate() {
            if *word != 0 {
                let bit = index(word.trailing_zeros());
                *word &= *word - 1;
                return Some(number * 64 + bit);
            }
        }
        None
    }

    /// Mixes it into a hash.
    #[inline]
    pub(super) fn mix(&self, seed: u64) -> u64 {
        self.0.iter().fold(seed, |hash, &word| {
            (hash.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        })
    }
}
