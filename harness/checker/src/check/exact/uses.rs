//! How often each class of optional operations has been used: vectors of counts, each kept once and known by number.

use super::hash::FastMap;
use crate::ops::index;

/// A vector's number.
pub(super) type Tally = u32;

/// Nothing has been used.
pub(super) const UNUSED: Tally = 0;

/// All vectors that configurations refer to.
#[derive(Clone, Debug, Default)]
pub(super) struct Uses {
    /// Columns in use and free ones.
    width: usize,
    counts: Vec<u32>,
    /// By vector: the sum of its counts.
    totals: Vec<u32>,
    hashes: Vec<u64>,
    /// By vector: the next one with the same hash.
    next: Vec<Tally>,
    first: FastMap<u64, Tally>,
}

const NONE: Tally = Tally::MAX;

impl Uses {
    pub(super) fn new() -> Uses {
        Uses { totals: vec![0], hashes: vec![0], next: vec![NONE], ..Uses::default() }
    }

    /// How many vectors there are.
    pub(super) fn len(&self) -> usize {
        self.totals.len()
    }

    /// Bytes that it holds.
    pub(super) fn bytes(&self) -> usize {
        self.counts.len() * 4 + self.totals.len() * 40
    }

    /// Makes room for one more class.
    pub(super) fn widen(&mut self, width: usize) {
        if width <= self.width {
            return;
        }
        // Doubled, so that this happens rarely.
        let width = width.next_power_of_two();
        let mut counts = vec![0; width * self.len()];
        if self.width > 0 {
            for (to, from) in counts.chunks_mut(width).zip(self.counts.chunks(self.width)) {
                to[..self.width].copy_from_slice(from);
            }
        }
        self.counts = counts;
        self.width = width;
        if self.len() == 1 {
            self.first.insert(0, UNUSED);
        }
    }

    fn row(&self, tally: Tally) -> &[u32] {
        &self.counts[index(tally) * self.width..(index(tally) + 1) * self.width]
    }

    /// How often a class has been used.
    pub(super) fn of(&self, tally: Tally, class: usize) -> u32 {
        self.counts[index(tally) * self.width + class]
    }

    /// How much has been used altogether.
    pub(super) fn total(&self, tally: Tally) -> u32 {
        self.totals[index(tally)]
    }

    /// Whether the first has used no more than the second of anything.
    pub(super) fn is_within(&self, tally: Tally, other: Tally) -> bool {
        tally == other
            || self.total(tally) <= self.total(other)
                && self.row(tally).iter().zip(self.row(other)).all(|(one, other)| one <= other)
    }

    /// The vector with one more use of a class. `None` if there are too many vectors.
    pub(super) fn plus_one(&mut self, tally: Tally, class: usize) -> Option<Tally> {
        let hash = self.hashes[index(tally)].wrapping_add(weight(class));
        let mut at = self.first.get(&hash).copied().unwrap_or(NONE);
        while at != NONE {
            let same = |(column, (one, other)): (usize, (&u32, &u32))| {
                one + u32::from(column == class) == *other
            };
            if self.row(tally).iter().zip(self.row(at)).enumerate().all(same) {
                return Some(at);
            }
            at = self.next[index(at)];
        }
        let new = Tally::try_from(self.len()).ok().filter(|&new| new != NONE)?;
        let start = index(tally) * self.width;
        self.counts.extend_from_within(start..start + self.width);
        let place = self.counts.len() - self.width + class;
        self.counts[place] += 1;
        self.totals.push(self.total(tally) + 1);
        self.hashes.push(hash);
        self.next.push(self.first.insert(hash, new).unwrap_or(NONE));
        Some(new)
    }

    /// Keeps those vectors only that `live` mentions, and gives them new numbers; forgets what was used of some
    /// classes.
    pub(super) fn collect<'a>(
        &mut self,
        live: impl Iterator<Item = &'a mut Tally>,
        is_forgotten: impl Fn(usize) -> bool,
    ) {
        let mut old = std::mem::replace(self, Uses::new());
        for row in old.counts.chunks_mut(old.width.max(1)) {
            for (class, count) in row.iter_mut().enumerate() {
                if is_forgotten(class) {
                    *count = 0;
                }
            }
        }
        self.widen(old.width);
        let mut moved: FastMap<Tally, Tally> = FastMap::default();
        for tally in live {
            let new = *moved.entry(*tally).or_insert_with(|| self.insert(old.row(*tally)));
            *tally = new;
        }
    }

    fn insert(&mut self, row: &[u32]) -> Tally {
        let hash = row.iter().enumerate().fold(0, |hash: u64, (class, &count)| {
            hash.wrapping_add(weight(class).wrapping_mul(u64::from(count)))
        });
        let mut at = self.first.get(&hash).copied().unwrap_or(NONE);
        while at != NONE {
            if self.row(at) == row {
                return at;
            }
            at = self.next[index(at)];
        }
        // No more than there were before, so their numbers fit.
        let new = Tally::try_from(self.len()).unwrap_or(NONE);
        self.counts.extend_from_slice(row);
        self.totals.push(row.iter().sum());
        self.hashes.push(hash);
        self.next.push(self.first.insert(hash, new).unwrap_or(NONE));
        new
    }
}

/// What one use of a class adds to a vector's hash.
fn weight(class: usize) -> u64 {
    let seed = u64::try_from(class).unwrap_or(u64::MAX).wrapping_add(1);
    let mixed = (seed ^ (seed >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) | 1
}
