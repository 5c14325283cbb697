//! Throughput and latency over time.
//!
//! Operations are counted in at most [`BINS_MAX`] intervals, and single latencies fall into a grid whose cells are drawn
//! once, so that a million operations draw like a thousand.

use std::collections::BTreeSet;

use serde::Serialize;

use super::run::{Op, Outcome, Run};
use super::scale::{Height, Linear, Log, Time};
use super::words::{MILLISECOND, SECOND, float, integer, number, put};

/// Most intervals on the time axis.
const BINS_MAX: u64 = 240;

/// Width of a drawing's own coordinates; stretched to whatever the page gives.
const WIDTH: f64 = 1000.0;

/// Cells of the latency grid: columns, and pixels a row.
const COLUMNS: f64 = 600.0;
const CELL_PIXELS: f64 = 2.5;

/// Heights of the three plots, pixels.
const THROUGHPUT_PIXELS: f64 = 120.0;
const FAILURES_PIXELS: f64 = 56.0;
const LATENCY_PIXELS: f64 = 170.0;

/// One plot.
#[derive(Debug, Serialize)]
pub(super) struct Plot {
    pub(super) height: f64,
    pub(super) heights: Vec<Height>,
    pub(super) curves: Vec<Curve>,
}

/// One path of a plot.
#[derive(Debug, Serialize)]
pub(super) struct Curve {
    /// CSS class.
    pub(super) class: &'static str,
    /// The path's commands.
    pub(super) d: String,
}

/// Operations counted by the time they completed.
#[derive(Debug)]
pub(super) struct Bins {
    /// Nanoseconds.
    pub(super) width: u64,
    end: u64,
    pub(super) list: Vec<Bin>,
}

/// What completed in one interval.
#[derive(Clone, Debug, Default)]
pub(super) struct Bin {
    pub(super) ok: u64,
    pub(super) fail: u64,
    pub(super) info: u64,
    /// Latencies of the ok ones, nanoseconds, in order.
    pub(super) latencies: Vec<u64>,
}

impl Bins {
    pub(super) fn of(run: &Run) -> Bins {
        let end = run.end.max(1);
        let width = bin_width(end);
        // What remains belongs to the last interval: the rate of an instant means nothing.
        let bins = usize::try_from((end / width).max(1)).unwrap_or(1);
        let mut all = Bins { width, end, list: vec![Bin::default(); bins] };
        for op in &run.ops {
            all.add(op);
        }
        for bin in &mut all.list {
            bin.latencies.sort_unstable();
        }
        all
    }

    fn add(&mut self, op: &Op) {
        let place = usize::try_from(op.completed / self.width).unwrap_or(usize::MAX);
        let last = self.list.len() - 1;
        let bin = &mut self.list[place.min(last)];
        match op.outcome {
            Outcome::Ok => {
                bin.ok += 1;
                bin.latencies.push(op.completed - op.invoked);
            }
            Outcome::Fail => bin.fail += 1,
            Outcome::Info => bin.info += 1,
            Outcome::Open => {}
        }
    }

    /// From when to when an interval reaches, nanoseconds; the last one to the end.
    fn extent(&self, place: usize) -> (u64, u64) {
        let start = number(place).saturating_mul(self.width);
        let is_last = place + 1 == self.list.len();
        (start, if is_last { self.end.max(start + 1) } else { start + self.width })
    }

    /// Figures of each interval by second.
    pub(super) fn rates(&self, figure: impl Fn(&Bin) -> u64) -> Vec<f64> {
        let rate = |(place, bin)| {
            let (start, end) = self.extent(place);
            float(figure(bin)) * 1e9 / float(end - start)
        };
        self.list.iter().enumerate().map(rate).collect()
    }

    /// A quantile of the latencies of each interval, milliseconds.
    pub(super) fn quantiles(&self, share: f64) -> Vec<Option<f64>> {
        let ms = |ns| float(ns) / float(MILLISECOND);
        self.list.iter().map(|bin| quantile(&bin.latencies, share).map(ms)).collect()
    }

    /// Where the middle of an interval lies, in a drawing's coordinates.
    fn x(&self, place: usize) -> f64 {
        let (start, end) = self.extent(place);
        WIDTH * (float(start) + float(end)) / 2.0 / float(self.end)
    }
}

/// The smallest round interval that needs no more than [`BINS_MAX`].
fn bin_width(end: u64) -> u64 {
    let least = (end / BINS_MAX).max(MILLISECOND);
    let mut unit = MILLISECOND;
    while unit * 10 < least {
        unit *= 10;
    }
    [1, 2, 5, 10]
        .into_iter()
        .map(|factor| factor * unit)
        .find(|width| *width >= least)
        .unwrap_or(least)
}

/// The value below which this share of the sorted values lies.
pub(super) fn quantile(sorted: &[u64], share: f64) -> Option<u64> {
    let last = sorted.len().checked_sub(1)?;
    let place = integer(float(number(last)) * share);
    sorted.get(usize::try_from(place).unwrap_or(last).min(last)).copied()
}

/// Operations with effect, by second.
pub(super) fn throughput(bins: &Bins) -> Plot {
    let ok = bins.rates(|bin| bin.ok);
    let axis = Linear::new(THROUGHPUT_PIXELS, highest(&ok));
    let line = curve(bins, ok.iter().map(|rate| Some(axis.y(*rate))));
    let (first, last) = (bins.x(0), bins.x(bins.list.len() - 1));
    let bottom = axis.height;
    let area = format!("{line}L{last:.1} {bottom}L{first:.1} {bottom}Z");
    Plot {
        height: axis.height,
        heights: axis.heights(),
        curves: vec![Curve { class: "area ok", d: area }, Curve { class: "line ok", d: line }],
    }
}

/// The others, on a scale of their own: they are few, and they matter. Unknown ones stand on failed ones.
pub(super) fn failures(bins: &Bins) -> Plot {
    let fail = bins.rates(|bin| bin.fail);
    let both = bins.rates(|bin| bin.fail + bin.info);
    let axis = Linear::new(FAILURES_PIXELS, highest(&both));
    let none = vec![0.0; fail.len()];
    Plot {
        height: axis.height,
        heights: axis.heights(),
        curves: vec![
            Curve { class: "stems fail", d: stems(bins, axis, &none, &fail) },
            Curve { class: "stems info", d: stems(bins, axis, &fail, &both) },
        ],
    }
}

/// A vertical line in each interval, from one figure to another, where they differ.
fn stems(bins: &Bins, axis: Linear, from: &[f64], to: &[f64]) -> String {
    let mut d = String::new();
    for (place, (from, to)) in from.iter().zip(to).enumerate() {
        if to > from {
            put(&mut d, format_args!("M{:.1} {}V{}", bins.x(place), axis.y(*from), axis.y(*to)));
        }
    }
    d
}

fn highest(rates: &[f64]) -> f64 {
    rates.iter().copied().fold(0.0, f64::max)
}

/// Every latency as a dot, and quantiles of the ok ones over them.
pub(super) fn latency(run: &Run, bins: &Bins) -> Plot {
    let completed = || run.ops.iter().filter(|op| op.complete_index.is_some());
    let spans = || completed().map(|op| op.completed - op.invoked);
    let axis = Log::new(
        LATENCY_PIXELS,
        spans().min().unwrap_or(MILLISECOND),
        spans().max().unwrap_or(SECOND),
    );
    let time = Time::new(0, run.end);
    let dots = |outcome| dots(completed().filter(|op| op.outcome == outcome), time, axis);
    let line = |share| {
        let y = |bin: &Bin| quantile(&bin.latencies, share).map(|ns| axis.y(ns));
        curve(bins, bins.list.iter().map(y))
    };
    Plot {
        height: axis.height,
        heights: axis.heights(),
        curves: vec![
            Curve { class: "dots ok", d: dots(Outcome::Ok) },
            Curve { class: "dots fail", d: dots(Outcome::Fail) },
            Curve { class: "dots info", d: dots(Outcome::Info) },
            Curve { class: "line p99", d: line(0.99) },
            Curve { class: "line p95", d: line(0.95) },
            Curve { class: "line p50", d: line(0.5) },
        ],
    }
}

/// A line through the given heights, broken where there is none.
fn curve(bins: &Bins, heights: impl Iterator<Item = Option<f64>>) -> String {
    let mut d = String::new();
    let mut drawing = false;
    for (place, y) in heights.enumerate() {
        if let Some(y) = y {
            put(
                &mut d,
                format_args!("{}{:.1} {y}", if drawing { 'L' } else { 'M' }, bins.x(place)),
            );
            if !drawing {
                // A figure between two gaps would otherwise be invisible.
                d.push_str("h.1");
            }
        }
        drawing = y.is_some();
    }
    d
}

/// A dot for each cell of the grid that an operation falls into.
fn dots<'a>(ops: impl Iterator<Item = &'a Op>, time: Time, axis: Log) -> String {
    let cell = |op: &Op| {
        let column = time.x(op.completed) / 100.0 * COLUMNS;
        (integer(column), integer(axis.y(op.completed - op.invoked) / CELL_PIXELS))
    };
    let cells: BTreeSet<(u64, u64)> = ops.map(cell).collect();
    let mut d = String::with_capacity(cells.len() * 12);
    for (column, row) in cells {
        let (x, y) = (float(column) / COLUMNS * WIDTH, float(row) * CELL_PIXELS);
        put(&mut d, format_args!("M{x} {y}h.1"));
    }
    d
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(ops: &[(u64, u64, Outcome)]) -> Run {
        let op = |(invoked, completed, outcome): &(u64, u64, Outcome)| Op {
            process: 0,
            function: 0,
            outcome: *outcome,
            invoked: *invoked,
            completed: *completed,
            invoke_index: 0,
            complete_index: Some(1),
        };
        let end = ops.iter().map(|op| op.1).max().unwrap_or(0);
        Run { ops: ops.iter().map(op).collect(), end, ..Run::default() }
    }

    #[test]
    fn bins_count_every_completed_operation_once() {
        let ops: Vec<_> = (0..1000)
            .map(|i| (i * 30 * MILLISECOND, (i + 1) * 30 * MILLISECOND, Outcome::Ok))
            .collect();
        let bins = Bins::of(&run(&ops));
        assert!(number(bins.list.len()) <= BINS_MAX + 1, "{} bins", bins.list.len());
        assert_eq!(bins.list.iter().map(|bin| bin.ok).sum::<u64>(), 1000);
    }

    #[test]
    fn short_remainder_makes_no_peak_at_the_end() {
        let ops: Vec<_> = (0..=1_003)
            .map(|i| (i * 10 * MILLISECOND, i * 10 * MILLISECOND, Outcome::Ok))
            .collect();
        let rates = Bins::of(&run(&ops)).rates(|bin| bin.ok);
        assert!(rates.iter().all(|rate| (90.0..=120.0).contains(rate)), "{rates:?}");
    }

    #[test]
    fn quantiles_lie_among_the_values() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[7], 0.99), Some(7));
        assert_eq!(
            [0.0, 0.5, 1.0].map(|share| quantile(&[1, 2, 3, 4, 5], share)),
            [Some(1), Some(3), Some(5)]
        );
    }

    #[test]
    fn empty_history_draws_empty_plots() {
        let run = run(&[]);
        let bins = Bins::of(&run);
        assert!(!throughput(&bins).heights.is_empty());
        assert!(!failures(&bins).heights.is_empty());
        assert_eq!(latency(&run, &bins).curves[0].d, "");
    }

    #[test]
    fn line_is_broken_where_nothing_completed() {
        let ops = [(0, MILLISECOND, Outcome::Ok), (0, 500 * MILLISECOND, Outcome::Ok)];
        let run = run(&ops);
        let d =
            latency(&run, &Bins::of(&run)).curves.pop().map(|curve| curve.d).unwrap_or_default();
        assert_eq!(d.matches('M').count(), 2, "{d}");
    }

    #[test]
    fn many_operations_draw_few_dots() {
        let ops: Vec<_> = (0..200_000_u64)
            .map(|i| (i * 1000, i * 1000 + (i % 977) * 100_000, Outcome::Ok))
            .collect();
        let run = run(&ops);
        let plot = latency(&run, &Bins::of(&run));
        assert!(plot.curves[0].d.len() < 500_000, "{} bytes", plot.curves[0].d.len());
    }
}
