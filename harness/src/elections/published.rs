//! What was measured elsewhere, and what theory expects.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Longest election timeout that is worth an experiment, ms.
const TIMEOUT_MS_MAX: u64 = 60_000;

/// From when to when, uniformly, a node that hears of no leader waits before it campaigns, ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeoutRange {
    /// Shortest.
    pub min: u64,
    /// Longest.
    pub max: u64,
}

/// Text that is no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write it like 150-300: two whole numbers of milliseconds, 2 to {TIMEOUT_MS_MAX}, the smaller one first"
)]
pub struct BadRange;

impl FromStr for TimeoutRange {
    type Err = BadRange;

    fn from_str(text: &str) -> Result<TimeoutRange, BadRange> {
        let (min, max) = text.trim().split_once('-').ok_or(BadRange)?;
        let (min, max) = (min.parse().map_err(|_| BadRange)?, max.parse().map_err(|_| BadRange)?);
        if min < 2 || min > max || max > TIMEOUT_MS_MAX {
            return Err(BadRange);
        }
        Ok(TimeoutRange { min, max })
    }
}

impl fmt::Display for TimeoutRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.min, self.max)
    }
}

impl TimeoutRange {
    /// Half of the shortest timeout, as in the published experiment.
    pub fn heartbeat(self) -> Duration {
        Duration::from_micros(self.min * 500)
    }

    /// [`heartbeat`](TimeoutRange::heartbeat) as the cluster file states it: in whole milliseconds.
    pub fn heartbeat_ms(self) -> u64 {
        (self.min / 2).max(1)
    }

    /// The published figures for this range.
    pub fn published(self) -> Option<&'static Published> {
        PUBLISHED.iter().find(|published| (published.min, published.max) == (self.min, self.max))
    }

    /// What to expect if no vote is split, ms: a leader dies a quarter of the shortest timeout after its last heartbeat
    /// on average; the first of `electable` uniformly drawn timeouts is at 1 / (electable + 1) of the range; and then
    /// there is a round of messages, `broadcast_ms`.
    pub fn rule_of_thumb_ms(self, electable: u32, broadcast_ms: f64) -> f64 {
        let ms = |whole: u64| Duration::from_millis(whole).as_secs_f64() * 1e3;
        0.75 * ms(self.min) + ms(self.max - self.min) / (f64::from(electable) + 1.0) + broadcast_ms
    }
}

/// Downtimes of the published experiment, ms (Thesis §9.3; in the Raft paper, figure 16).
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// The shortest timeout.
    pub min: u64,
    /// The longest.
    pub max: u64,
    /// Smallest, median, mean, 90th and 99th percentile, largest. Percentiles are read off the plotted curves.
    pub downtime_ms: [f64; 6],
}

/// Servers that could win in the published experiment, out of four survivors, and its broadcast time, ms.
pub const PUBLISHED_ELECTABLE: u32 = 2;
/// See [`PUBLISHED_ELECTABLE`].
pub const PUBLISHED_BROADCAST_MS: f64 = 15.0;

const fn published(min: u64, max: u64, downtime_ms: [f64; 6]) -> Published {
    Published { min, max, downtime_ms }
}

/// Five servers, 1,000 trials a range, 100 for 150-150.
const PUBLISHED: [Published; 10] = [
    published(150, 150, [9_865.0, 41_104.0, 54_552.0, 84_933.0, 527_964.0, 527_964.0]),
    published(150, 151, [86.0, 1_199.0, 1_536.0, 3_132.0, 6_013.0, 8_231.0]),
    published(150, 155, [85.0, 287.0, 345.0, 609.0, 1_242.0, 2_143.0]),
    published(150, 175, [84.0, 141.0, 164.0, 291.0, 467.0, 610.0]),
    published(150, 200, [87.0, 146.0, 156.0, 194.0, 352.0, 513.0]),
    published(150, 300, [93.0, 171.0, 181.0, 244.0, 415.0, 603.0]),
    published(12, 24, [15.0, 30.0, 35.0, 53.0, 87.0, 152.0]),
    published(25, 50, [24.0, 43.0, 48.0, 74.0, 119.0, 276.0]),
    published(50, 100, [37.0, 67.0, 71.0, 96.0, 169.0, 253.0]),
    published(100, 200, [66.0, 120.0, 125.0, 166.0, 277.0, 335.0]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_is_read_as_it_is_written() {
        for text in ["150-300", "2-2", "150-60000"] {
            assert_eq!(text.parse::<TimeoutRange>().unwrap().to_string(), text);
        }
        for text in ["", "150", "300-150", "1-2", "a-b", "150-300-600", "150-60001", "-5-7"] {
            assert_eq!(text.parse::<TimeoutRange>(), Err(BadRange), "{text:?}");
        }
    }

    #[test]
    fn rule_of_thumb_fits_the_published_means_where_votes_are_not_split() {
        for (text, slack) in [("150-300", 5.0), ("100-200", 5.0), ("50-100", 5.0), ("25-50", 8.0)] {
            let range: TimeoutRange = text.parse().unwrap();
            let expected = range.rule_of_thumb_ms(PUBLISHED_ELECTABLE, PUBLISHED_BROADCAST_MS);
            let measured = range.published().unwrap().downtime_ms[2];
            assert!((expected - measured).abs() <= slack, "{text}: {expected} for {measured}");
        }
    }

    #[test]
    fn published_figures_rise_from_the_smallest_to_the_largest() {
        for Published { min, max, downtime_ms: [least, p50, mean, p90, p99, most] } in PUBLISHED {
            let rising = [least, p50, p90, p99, most];
            assert!(rising.is_sorted() && (least..=most).contains(&mean), "{min}-{max}");
        }
    }
}
