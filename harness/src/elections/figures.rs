//! From trials to figures.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// One death of a leader. Times are milliseconds; none: it took longer than the cap.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// From the last heartbeat, which a write's answer stands for, to the kill.
    pub killed_after_ms: f64,
    /// From the kill until another node led.
    pub elected_ms: Option<f64>,
    /// From the client's last answer before the kill to its first one after it.
    pub gap_ms: Option<f64>,
    /// Elections held, the one that was won included: more than one means split votes.
    pub terms: u64,
    /// How often a node asked for votes.
    pub candidacies: u64,
    /// How often a node asked whether to ask for votes.
    pub pre_candidacies: u64,
}

/// Times in order of length; those beyond the cap are counted only.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    sorted_ms: Vec<f64>,
    capped: usize,
    cap_ms: f64,
}

/// A figure that a cap may have cut off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    /// This many milliseconds.
    Is(f64),
    /// More than this.
    Over(f64),
}

impl Sample {
    pub(super) fn of(times: impl Iterator<Item = Option<f64>>, cap: Duration) -> Sample {
        let mut sample = Sample { cap_ms: cap.as_secs_f64() * 1e3, ..Sample::default() };
        for time in times {
            match time {
                Some(ms) => sample.sorted_ms.push(ms),
                None => sample.capped += 1,
            }
        }
        sample.sorted_ms.sort_by(f64::total_cmp);
        sample
    }

    pub(super) fn len(&self) -> usize {
        self.sorted_ms.len() + self.capped
    }

    /// How many times were beyond the cap.
    pub(super) fn capped(&self) -> usize {
        self.capped
    }

    /// Those within the cap.
    pub(super) fn sorted_ms(&self) -> &[f64] {
        &self.sorted_ms
    }

    /// Smallest, median, mean, 90th and 99th percentile, largest; none without a single time.
    pub(super) fn summary(&self) -> Option<[Figure; 6]> {
        let last = self.len().checked_sub(1)?;
        let rank = |permille: usize| self.at((self.len() * permille).div_ceil(1000).max(1) - 1);
        Some([self.at(0), rank(500), self.mean(), rank(900), rank(990), self.at(last)])
    }

    fn at(&self, place: usize) -> Figure {
        self.sorted_ms.get(place).map_or(Figure::Over(self.cap_ms), |ms| Figure::Is(*ms))
    }

    fn mean(&self) -> Figure {
        let sum: f64 = self.sorted_ms.iter().sum();
        let sum = sum + float(self.capped) * self.cap_ms;
        let mean = sum / float(self.len().max(1));
        if self.capped == 0 { Figure::Is(mean) } else { Figure::Over(mean) }
    }
}

/// How many trials took how many terms.
pub(super) fn terms(trials: &[Trial]) -> BTreeMap<u64, usize> {
    let mut terms = BTreeMap::new();
    for trial in trials.iter().filter(|trial| trial.elected_ms.is_some()) {
        *terms.entry(trial.terms).or_default() += 1;
    }
    terms
}

/// Counts of trials are small.
pub(super) fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: Duration = Duration::from_secs(30);

    #[test]
    fn summary_takes_nearest_ranks() {
        let sample = Sample::of((1..=200).rev().map(|n| Some(f64::from(n))), CAP);
        let expected = [1.0, 100.0, 100.5, 180.0, 198.0, 200.0].map(Figure::Is);
        assert_eq!(sample.summary(), Some(expected));
        let one = Sample::of([Some(7.0)].into_iter(), CAP);
        assert_eq!(one.summary(), Some([Figure::Is(7.0); 6]));
        assert_eq!(Sample::of(std::iter::empty(), CAP).summary(), None);
    }

    #[test]
    fn times_beyond_the_cap_push_the_percentiles_up_and_the_mean_is_a_lower_bound() {
        let sample = Sample::of([Some(1_000.0), None, Some(2_000.0), None].into_iter(), CAP);
        let over = Figure::Over(30_000.0);
        let expected =
            [Figure::Is(1_000.0), Figure::Is(2_000.0), Figure::Over(15_750.0), over, over, over];
        assert_eq!((sample.summary(), sample.capped()), (Some(expected), 2));
    }

    #[test]
    fn terms_are_counted_for_elections_that_came_to_an_end() {
        let trial = |terms, elected_ms| Trial {
            killed_after_ms: 0.0,
            elected_ms,
            gap_ms: None,
            terms,
            candidacies: 1,
            pre_candidacies: 1,
        };
        let trials =
            [trial(1, Some(1.0)), trial(3, Some(1.0)), trial(1, Some(2.0)), trial(9, None)];
        assert_eq!(terms(&trials), BTreeMap::from([(1, 2), (3, 1)]));
    }
}
