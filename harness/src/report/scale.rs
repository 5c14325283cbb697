//! From figures to places on the page.
//!
//! Horizontal places are percentages, so that drawings fill whatever width there is while their text keeps its size;
//! vertical places are pixels.

use serde::Serialize;

use super::words::{SECOND, float};

/// Rounds to three places: more would only be bytes.
fn rounded(x: f64) -> f64 {
    (x * 1000.0).round() / 1000.0
}

/// A span of time laid out from 0 to 100 %.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time {
    /// Nanoseconds.
    pub(super) start: u64,
    /// Nanoseconds, after `start`.
    pub(super) end: u64,
}

/// A labelled place on the time axis.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Tick {
    pub(super) x: f64,
    pub(super) label: String,
}

impl Time {
    pub(super) fn new(start: u64, end: u64) -> Time {
        Time { start, end: end.max(start.saturating_add(1)) }
    }

    /// The place of a time, percent; outside the span, its border.
    pub(super) fn x(self, time: u64) -> f64 {
        let inside = time.clamp(self.start, self.end) - self.start;
        rounded(100.0 * float(inside) / float(self.end - self.start))
    }

    /// The width of an interval, percent.
    pub(super) fn width(self, from: u64, to: u64) -> f64 {
        rounded((self.x(to) - self.x(from)).max(0.0))
    }

    /// Whether an interval has a part inside.
    pub(super) fn overlaps(self, from: u64, to: u64) -> bool {
        from <= self.end && to >= self.start
    }

    /// Round times, about `most` of them and never more than that.
    pub(super) fn ticks(self, most: u64) -> Vec<Tick> {
        if self.end - self.start < 1_000 {
            return Vec::new();
        }
        let step = step((self.end - self.start) / most.max(1) + 1);
        let first = self.start.div_ceil(step);
        let last = self.end / step;
        (first..=last)
            .map(|i| Tick { x: self.x(i * step), label: label(i * step, step, self.end) })
            .collect()
    }
}

/// The next round interval at or above `least` nanoseconds.
fn step(least: u64) -> u64 {
    const SECONDS: [u64; 15] =
        [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 18_000];
    if least > SECOND / 2 {
        return SECONDS
            .into_iter()
            .map(|s| s * SECOND)
            .find(|step| *step >= least)
            .unwrap_or(least);
    }
    let mut unit = 1_000;
    while unit * 10 < least {
        unit *= 10;
    }
    [1, 2, 5, 10]
        .into_iter()
        .map(|factor| factor * unit)
        .find(|step| *step >= least)
        .unwrap_or(least)
}

/// A round time: `12`, `12.5`, `2:30`, with as many places as the steps need.
fn label(time: u64, step: u64, end: u64) -> String {
    if step >= SECOND {
        let seconds = time / SECOND;
        return if end >= 120 * SECOND {
            format!("{}:{:02}", seconds / 60, seconds % 60)
        } else {
            format!("{seconds} s")
        };
    }
    let mut places = 0;
    let mut unit = SECOND;
    while unit > step && places < 6 {
        unit /= 10;
        places += 1;
    }
    format!("{:.*} s", places, float(time) / 1e9)
}

/// A labelled height.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Height {
    pub(super) y: f64,
    pub(super) label: String,
}

/// A linear axis from 0 at the bottom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linear {
    /// Pixels.
    pub(super) height: f64,
    /// Round, above the highest figure.
    pub(super) top: f64,
}

impl Linear {
    pub(super) fn new(height: f64, highest: f64) -> Linear {
        let mut unit = 1.0;
        while unit * 10.0 < highest {
            unit *= 10.0;
        }
        let round = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0].map(|factor| factor * unit);
        let top = round.into_iter().find(|top| *top >= highest).unwrap_or(highest);
        Linear { height, top: top.max(1.0) }
    }

    pub(super) fn y(self, figure: f64) -> f64 {
        ((self.height * (1.0 - figure / self.top)) * 10.0).round() / 10.0
    }

    /// Bottom, middle and top.
    pub(super) fn heights(self) -> Vec<Height> {
        [0.0, 0.5, 1.0]
            .map(|share| self.top * share)
            .into_iter()
            .filter(|figure| figure.fract() == 0.0)
            .map(|figure| Height {
                y: self.y(figure),
                label: super::words::count(super::words::integer(figure)),
            })
            .collect()
    }
}

/// A logarithmic axis over whole decades of nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Log {
    /// Pixels.
    pub(super) height: f64,
    /// Exponents of ten.
    low: f64,
    high: f64,
}

impl Log {
    pub(super) fn new(height: f64, lowest_ns: u64, highest_ns: u64) -> Log {
        let low = float(lowest_ns.max(1_000)).log10().floor();
        let high = float(highest_ns.max(10_000)).log10().ceil();
        Log { height, low, high: high.max(low + 1.0) }
    }

    pub(super) fn y(self, ns: u64) -> f64 {
        let share = (float(ns.max(1)).log10() - self.low) / (self.high - self.low);
        ((self.height * (1.0 - share.clamp(0.0, 1.0))) * 10.0).round() / 10.0
    }

    /// One for each decade.
    pub(super) fn heights(self) -> Vec<Height> {
        const DECADES: [(u64, &str); 9] = [
            (1_000, "1 µs"),
            (10_000, "10 µs"),
            (100_000, "0.1 ms"),
            (1_000_000, "1 ms"),
            (10_000_000, "10 ms"),
            (100_000_000, "100 ms"),
            (1_000_000_000, "1 s"),
            (10_000_000_000, "10 s"),
            (100_000_000_000, "100 s"),
        ];
        DECADES
            .into_iter()
            .filter(|(ns, _)| (self.low..=self.high).contains(&float(*ns).log10().round()))
            .map(|(ns, label)| Height { y: self.y(ns), label: label.to_owned() })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::words::{MILLISECOND, integer};

    #[test]
    fn places_stay_between_0_and_100_percent() {
        let time = Time::new(10, 20);
        assert_eq!([0, 10, 15, 20, 99].map(|t| integer(time.x(t))), [0, 0, 50, 100, 100]);
        assert!((time.width(12, 14) - 20.0).abs() < 1e-9);
        assert!((Time::new(5, 5).x(5) - 0.0).abs() < 1e-9, "an empty span must not divide by zero");
    }

    #[test]
    fn ticks_are_round_and_bounded() {
        let labels = |end, most| -> Vec<String> {
            Time::new(0, end).ticks(most).into_iter().map(|tick| tick.label).collect()
        };
        assert_eq!(labels(30 * SECOND, 8), ["0 s", "5 s", "10 s", "15 s", "20 s", "25 s", "30 s"]);
        assert_eq!(labels(SECOND, 4), ["0.0 s", "0.5 s", "1.0 s"]);
        assert_eq!(labels(600 * SECOND, 6), ["0:00", "2:00", "4:00", "6:00", "8:00", "10:00"]);
        for end in
            [1, 999, MILLISECOND, 17 * SECOND, 45 * SECOND, 119 * SECOND, 7_000 * SECOND, 1 << 60]
        {
            for most in [4, 8, 40] {
                assert!(Time::new(0, end).ticks(most).len() <= 42, "end {end}, most {most}");
            }
        }
    }

    #[test]
    fn linear_axis_ends_above_the_highest_figure() {
        assert_eq!(
            [0.0, 7.0, 11.0, 812.0, 4_100.0]
                .map(|highest| integer(Linear::new(100.0, highest).top)),
            [1, 8, 15, 1_000, 5_000]
        );
    }

    #[test]
    fn log_axis_holds_all_figures() {
        let axis = Log::new(80.0, 700_000, 1_200_000_000);
        let labels: Vec<String> = axis.heights().into_iter().map(|height| height.label).collect();
        assert_eq!(labels, ["0.1 ms", "1 ms", "10 ms", "100 ms", "1 s", "10 s"]);
        assert!(axis.y(700_000) < 80.0 && axis.y(1_200_000_000) > 0.0);
    }
}
