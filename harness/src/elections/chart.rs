//! Cumulative distributions, in two panels as in the published figure: how much the range helps, and how much short
//! timeouts do. The time axis is logarithmic.

use std::fmt::{self, Write};

use super::figures::float;
use super::published::Published;
use super::{Measured, Series};

/// The drawing's own coordinates.
const WIDTH: f64 = 960.0;
const PANEL_HEIGHT: f64 = 300.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 168.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 44.0;

/// Hues that can be told apart on light and on dark ground; with more ranges they begin again.
const HUES: usize = 7;

const STYLE: &str = "
  .elections { --ink: #1c2127; --soft: #59636e; --grid: #e1e5e9; --paper: #fdfdfc;
    --h0: #1863b0; --h1: #c2410c; --h2: #15803d; --h3: #9d2c8f; --h4: #8a6d00; --h5: #0e7c86; --h6: #6b7280; }
  @media (prefers-color-scheme: dark) { .elections { --ink: #e4e8eb; --soft: #a3adb7; --grid: #2b3238; --paper: #14181c;
    --h0: #6db6fe; --h1: #ff9a5c; --h2: #5cc98a; --h3: #f08fe0; --h4: #e0c04a; --h5: #4fd0d8; --h6: #a8b0b8; } }
  .elections .paper { fill: var(--paper); }
  .elections text { font: 13px system-ui, sans-serif; fill: var(--soft); }
  .elections .title { font-weight: 600; fill: var(--ink); }
  .elections .grid { stroke: var(--grid); fill: none; }
  .elections .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
  .elections .dot { stroke-width: 1.5; fill: var(--paper); }
  .elections .key { font-weight: 600; }
";

/// The whole drawing.
pub(super) fn svg(measured: &Measured) -> String {
    let spread: Vec<&Series> = measured.series.iter().filter(|series| is_150(series)).collect();
    let short: Vec<&Series> =
        measured.series.iter().filter(|series| !is_150(series) || is_default(series)).collect();
    let mut panels = Vec::new();
    if !spread.is_empty() {
        panels.push(("Shortest timeout 150 ms, ranges of different width", spread));
    }
    if short.iter().any(|series| !is_150(series)) {
        panels.push(("Timeouts of different length", short));
    }
    let height = PANEL_HEIGHT * float(panels.len().max(1));
    let mut out = String::new();
    put(
        &mut out,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"elections\" viewBox=\"0 0 {WIDTH} {height}\" \
             role=\"img\" aria-label=\"Cumulative distribution of the time without a leader\">\n\
             <style>{STYLE}</style>\n<rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\"/>\n"
        ),
    );
    for (place, (title, series)) in panels.into_iter().enumerate() {
        panel(&mut out, measured, title, &series, PANEL_HEIGHT * float(place));
    }
    out.push_str("</svg>\n");
    out
}

fn is_150(series: &Series) -> bool {
    series.range.min == 150
}

/// The range that stands in both panels, as in the published figure.
fn is_default(series: &Series) -> bool {
    series.range.min == 150 && series.range.max == 300
}

/// Where times and shares lie in one panel.
#[derive(Clone, Copy)]
struct Axes {
    top: f64,
    /// Exponents of ten.
    low: f64,
    high: f64,
}

impl Axes {
    fn x(self, ms: f64) -> f64 {
        let share = (ms.max(0.1).log10() - self.low) / (self.high - self.low);
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(self, share: f64) -> f64 {
        self.top + TOP + (1.0 - share) * (PANEL_HEIGHT - TOP - BOTTOM)
    }
}

fn panel(out: &mut String, measured: &Measured, title: &str, all: &[&Series], top: f64) {
    let axes = axes(measured, all, top);
    put(
        out,
        format_args!("<text class=\"title\" x=\"{LEFT}\" y=\"{}\">{title}</text>\n", top + 20.0),
    );
    grid(out, axes);
    for (place, series) in all.iter().enumerate() {
        // A range has the same colour in both panels.
        let position = measured.series.iter().position(|other| other.range == series.range);
        let hue = position.unwrap_or(place) % HUES;
        let sample = series.elected(&measured.args);
        let total = float(sample.len().max(1));
        let mut d = String::new();
        let mut share = 0.0;
        for (before, ms) in sample.sorted_ms().iter().enumerate() {
            let x = axes.x(*ms);
            let move_or_go = if before == 0 { 'M' } else { 'H' };
            let from = if before == 0 { format!(" {:.1}", axes.y(0.0)) } else { String::new() };
            share = float(before + 1) / total;
            put(&mut d, format_args!("{move_or_go}{x:.1}{from}V{:.1}", axes.y(share)));
        }
        put(out, format_args!("<path class=\"line\" stroke=\"var(--h{hue})\" d=\"{d}\"/>\n"));
        if let Some(published) = series.range.published() {
            dots(out, axes, published, hue);
        }
        let (x, y) = (WIDTH - RIGHT + 16.0, top + TOP + 14.0 + 20.0 * float(place));
        let capped = if share < 1.0 { " (cut off)" } else { "" };
        let median =
            sample.summary().map(|[_, p50, ..]| super::table::figure(p50)).unwrap_or_default();
        put(
            out,
            format_args!(
                "<text class=\"key\" x=\"{x}\" y=\"{y}\" style=\"fill:var(--h{hue})\">{}</text>\
                 <text x=\"{}\" y=\"{y}\">p50 {median} ms{capped}</text>\n",
                series.range,
                x + 68.0,
            ),
        );
    }
}

/// The decades that hold everything, cut to what is used of them.
fn axes(measured: &Measured, all: &[&Series], top: f64) -> Axes {
    let ours = all.iter().flat_map(|series| series.elected(&measured.args).sorted_ms().to_vec());
    let theirs = all.iter().filter_map(|series| series.range.published());
    let theirs = theirs.flat_map(|published| published.downtime_ms);
    let (low, high) = ours
        .chain(theirs)
        .fold((f64::MAX, f64::MIN), |(low, high), ms| (low.min(ms), high.max(ms)));
    let (low, high) = if low > high { (10.0, 1_000.0) } else { (low.max(1.0), high.max(10.0)) };
    Axes { top, low: (low * 0.8).log10(), high: (high * 1.25).log10() }
}

fn grid(out: &mut String, axes: Axes) {
    let (left, right) = (LEFT, WIDTH - RIGHT);
    for percent in [0_u32, 25, 50, 75, 100] {
        let y = axes.y(f64::from(percent) / 100.0);
        put(
            out,
            format_args!(
                "<path class=\"grid\" d=\"M{left} {y:.1}H{right}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{percent} %</text>\n",
                left - 8.0,
                y + 4.0
            ),
        );
    }
    let mut decade = 1.0;
    while decade <= 1e6 {
        for factor in [1.0, 2.0, 5.0] {
            let ms: f64 = decade * factor;
            if !(axes.low..=axes.high).contains(&ms.log10()) {
                continue;
            }
            let (x, from, to) = (axes.x(ms), axes.y(1.0), axes.y(0.0));
            let label =
                if ms < 1_000.0 { format!("{ms} ms") } else { format!("{} s", ms / 1_000.0) };
            put(
                out,
                format_args!(
                    "<path class=\"grid\" d=\"M{x:.1} {from:.1}V{to:.1}\"/>\
                     <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>\n",
                    to + 18.0
                ),
            );
        }
        decade *= 10.0;
    }
}

/// The published percentiles.
fn dots(out: &mut String, axes: Axes, published: &Published, hue: usize) {
    let [min, p50, _, p90, p99, max] = published.downtime_ms;
    for (ms, share) in [(min, 0.0), (p50, 0.5), (p90, 0.9), (p99, 0.99), (max, 1.0)] {
        put(
            out,
            format_args!(
                "<circle class=\"dot\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\" stroke=\"var(--h{hue})\"/>",
                axes.x(ms),
                axes.y(share)
            ),
        );
    }
    out.push('\n');
}

fn put(out: &mut String, words: fmt::Arguments<'_>) {
    out.write_fmt(words).expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::super::args::BenchElections;
    use super::super::figures::Trial;
    use super::*;

    fn series(range: &str, elected: &[f64]) -> Series {
        let trial = |ms: &f64| Trial {
            killed_after_ms: 10.0,
            elected_ms: Some(*ms),
            gap_ms: Some(*ms + 20.0),
            terms: 1,
            candidacies: 1,
            pre_candidacies: 1,
        };
        Series {
            range: range.parse().unwrap(),
            trials: elected.iter().map(trial).collect(),
            broadcast_ms: (2.0, 5.0),
            disturbed: 0,
            ended: None,
        }
    }

    fn measured(series: Vec<Series>) -> Measured {
        let args = BenchElections {
            ranges: Vec::new(),
            trials: 2,
            nodes: 5,
            cap: Duration::from_secs(30),
            seed: None,
            raftd: None,
            results: PathBuf::new(),
        };
        let version = "1".to_owned();
        Measured { args, seed: 1, version, series, left_out: Vec::new(), interrupted: false }
    }

    #[test]
    fn panels_are_those_that_have_something_to_show() {
        let panels = |ranges: &[&str]| {
            let all = ranges.iter().map(|range| series(range, &[100.0, 200.0])).collect();
            svg(&measured(all)).matches("class=\"title\"").count()
        };
        assert_eq!(panels(&["150-300", "150-155"]), 1);
        assert_eq!(panels(&["100-200"]), 1);
        assert_eq!(panels(&["150-300", "100-200"]), 2);
        assert_eq!(panels(&[]), 0);
    }

    #[test]
    fn line_rises_by_a_step_for_each_trial() {
        let text = svg(&measured(vec![series("150-300", &[100.0, 200.0, 400.0])]));
        let line = text.lines().find(|line| line.contains("class=\"line\"")).unwrap();
        assert_eq!(line.matches('V').count(), 3, "{line}");
        assert_eq!(text.matches("class=\"dot\"").count(), 5, "the published percentiles");
    }
}
