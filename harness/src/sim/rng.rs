//! Chance, as a function of the seed.

/// Virtual time, or a length of it, microseconds.
pub(super) type Micros = u64;

/// SplitMix64 (Steele, Lea, Flood 2014). Each matter has a stream of its own, so that what is decided about one does not
/// depend on how often the others were decided: a schedule with one fault less stays nearly the same elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    /// The stream for one matter of the run with this seed.
    pub(super) fn stream(seed: u64, matter: &[u64]) -> Rng {
        let mut rng = Rng(seed);
        for part in matter {
            rng = Rng(rng.next() ^ part.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        }
        Rng(rng.next())
    }

    /// 64 random bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Less than `bound`, which is at least 1. The bias of the remainder is of no account here.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// From `low` to `high`, both included.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// Yes, in so many of 1000 cases.
    pub(super) fn chance(&mut self, permille: u64) -> bool {
        permille > 0 && self.below(1_000) < permille
    }

    /// One of them; there is at least one.
    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }

    /// A position in something of this length, at least 1.
    pub(super) fn index(&mut self, length: usize) -> usize {
        let length = u64::try_from(length).expect("memory is smaller");
        usize::try_from(self.below(length)).expect("less than a length")
    }

    /// One of several values, or none.
    pub(super) fn choose<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        (!of.is_empty()).then(|| self.pick(of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_one_seed_differ_and_repeat() {
        let draw = |seed, matter: &[u64]| Rng::stream(seed, matter).next();
        assert_eq!(draw(7, &[1, 2]), draw(7, &[1, 2]));
        let others = [draw(7, &[1, 3]), draw(7, &[2, 1]), draw(8, &[1, 2]), draw(7, &[1])];
        assert!(!others.contains(&draw(7, &[1, 2])));
    }

    #[test]
    fn chance_is_about_as_likely_as_it_says() {
        let mut rng = Rng::stream(1, &[]);
        let hits = (0..10_000).filter(|_| rng.chance(100)).count();
        assert!((800..1_200).contains(&hits), "{hits}");
        assert!(!(0..10_000).any(|_| rng.chance(0)));
    }
}
