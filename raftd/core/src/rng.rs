//! A small seeded generator, so that the core's choices are a function of its inputs.

use crate::types::Time;

/// SplitMix64 (Steele, Lea, Flood 2014): one addition and a mix; plenty for election timeouts.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in `min..=max`, to the microsecond.
    pub(crate) fn between(&mut self, min: Time, max: Time) -> Time {
        let span = max.checked_sub(min).expect("a range of times begins before it ends");
        let span_us = u64::try_from(span.as_micros()).expect("timeouts are short");
        min + Time::from_micros(self.next() % (span_us + 1))
    }
}
