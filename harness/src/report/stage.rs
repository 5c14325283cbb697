//! The run at a glance: faults, nodes, throughput and latency under each other on one time axis.

use serde::Serialize;

use super::lanes::{Lane, lanes};
use super::plots::{Bins, Plot, failures, latency, throughput};
use super::run::{Fault, Run};
use super::scale::{Tick, Time};
use super::words::{amount, at, clip, float, number, span};

/// Fault kinds with a colour of their own, in the order in which they are shown. Others share one colour.
const KINDS: [&str; 9] = [
    "kill",
    "pause",
    "isolate-one",
    "isolate-leader",
    "halves",
    "bridge",
    "ring",
    "one-way",
    "block-client",
];

/// Most faults drawn; the figures count all of them.
const BANDS_MAX: usize = 1_000;

/// Most rows of faults; a history with more kinds is not from a run.
const ROWS_MAX: usize = 12;

/// Most violations marked.
const MARKS_MAX: usize = 200;

/// Everything on the time axis.
#[derive(Debug, Serialize)]
pub(super) struct Stage {
    /// For three magnifications, each without those of the one before.
    ticks: Vec<Vec<Tick>>,
    phases: Vec<Phase>,
    bands: Vec<Band>,
    rows: Vec<Row>,
    lanes: Vec<Lane>,
    marks: Vec<Mark>,
    throughput: Plot,
    failures: Plot,
    latency: Plot,
    data: Data,
    /// Faults that are not drawn.
    undrawn: u64,
    /// How strong the bands are, from 0 to 1: many bands must not drown the curves.
    dense: f64,
}

/// A part of the run.
#[derive(Debug, Serialize)]
struct Phase {
    x: f64,
    w: f64,
    name: String,
}

/// A fault's time, behind everything else.
#[derive(Debug, Serialize)]
pub(super) struct Band {
    pub(super) x: f64,
    pub(super) w: f64,
    /// Number of the colour.
    pub(super) kind: usize,
    /// Of the kind.
    pub(super) name: String,
    pub(super) title: String,
}

/// The faults of one kind.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    kind: usize,
    bars: Vec<Band>,
}

/// A violation.
#[derive(Debug, Serialize)]
struct Mark {
    x: f64,
    title: String,
}

/// What the page's script reads out where the pointer is. Times are seconds, latencies milliseconds.
#[derive(Debug, Serialize)]
struct Data {
    end: f64,
    width: f64,
    ok: Vec<f64>,
    fail: Vec<f64>,
    info: Vec<f64>,
    p50: Vec<Option<f64>>,
    p99: Vec<Option<f64>>,
    /// Time, node, term.
    leaders: Vec<(f64, u64, u64)>,
    /// From, to, text.
    faults: Vec<(f64, f64, String)>,
}

/// The number of a fault kind's colour: its own, or that of its family.
pub(super) fn kind_number(kind: &str) -> usize {
    let kind = match kind {
        "terminate" | "kill-all" | "kill-new-leader" | "kill-at-moment" | "restart-storm"
        | "rolling-restart" => "kill",
        "starve" => "pause",
        _ => kind,
    };
    KINDS.iter().position(|known| *known == kind).unwrap_or(KINDS.len())
}

/// Lays the run out.
pub(super) fn stage(run: &Run, bins: &Bins, violations: &[(u64, String)]) -> Stage {
    let time = Time::new(0, run.end);
    let drawn = &run.faults[..run.faults.len().min(BANDS_MAX)];
    Stage {
        ticks: ticks(time),
        phases: phases(run, time),
        bands: bands(drawn, run.end, time),
        rows: rows(drawn, run.end, time),
        lanes: lanes(run, time, |_| true),
        marks: violations
            .iter()
            .take(MARKS_MAX)
            .map(|(at_ns, class)| Mark {
                x: time.x(*at_ns),
                title: format!("{} at {} s", clip(class, 60), at(*at_ns)),
            })
            .collect(),
        throughput: throughput(bins),
        failures: failures(bins),
        latency: latency(run, bins),
        data: data(run, bins, drawn),
        undrawn: number(run.faults.len() - drawn.len()),
        dense: match drawn.len() {
            0..=12 => 1.0,
            13..=60 => 0.7,
            _ => 0.45,
        },
    }
}

fn ticks(time: Time) -> Vec<Vec<Tick>> {
    let mut levels: Vec<Vec<Tick>> = Vec::new();
    for most in [8, 40, 160] {
        let known: Vec<&Tick> = levels.iter().flatten().collect();
        let finer = time
            .ticks(most)
            .into_iter()
            .filter(|tick| known.iter().all(|known| differ(known.x, tick.x)));
        let finer = finer.collect();
        levels.push(finer);
    }
    levels
}

/// Whether two places are not the same but for rounding.
fn differ(a: f64, b: f64) -> bool {
    (a - b).abs() > 0.01
}

fn phases(run: &Run, time: Time) -> Vec<Phase> {
    let ends = run.phases.iter().skip(1).map(|(start, _)| *start).chain([run.end]);
    run.phases
        .iter()
        .zip(ends)
        .take(24)
        .map(|((start, name), end)| Phase {
            x: time.x(*start),
            w: time.width(*start, end),
            name: clip(name, 24),
        })
        .collect()
}

/// The faults that were installed and lie in a span of time.
pub(super) fn bands(faults: &[Fault], end: u64, time: Time) -> Vec<Band> {
    let drawn = |fault: &&Fault| {
        fault.skipped.is_none() && time.overlaps(fault.start, fault.stop.unwrap_or(end))
    };
    faults.iter().filter(drawn).map(|fault| band(fault, end, time)).collect()
}

fn band(fault: &Fault, end: u64, time: Time) -> Band {
    let stop = fault.stop.unwrap_or(end);
    Band {
        x: time.x(fault.start),
        w: time.width(fault.start, stop),
        kind: kind_number(&fault.kind),
        name: clip(&fault.kind, 20),
        title: format!("{}: {}", sentence(fault, end), effect(fault)),
    }
}

/// A fault and its time: `pause n2, 9.800–12.600 s (2.80 s)`.
fn sentence(fault: &Fault, end: u64) -> String {
    let stop = fault.stop.unwrap_or(end);
    let text = clip(if fault.text.is_empty() { &fault.kind } else { &fault.text }, 120);
    format!(
        "{text}, {}–{} s ({})",
        at(fault.start),
        at(stop),
        span(stop.saturating_sub(fault.start))
    )
}

/// What a fault did: `2,800 ms stopped`, `no effect`, `skipped: why`.
pub(super) fn effect(fault: &Fault) -> String {
    match &fault.skipped {
        Some(why) => format!("skipped: {}", clip(why, 160)),
        None if fault.proof > 0 => amount(fault.proof, &clip(&fault.unit, 60)),
        None if fault.stop.is_none() => "still on at the end".to_owned(),
        None => "no effect".to_owned(),
    }
}

fn rows(faults: &[Fault], end: u64, time: Time) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for fault in faults {
        let name = clip(&fault.kind, 20);
        let known = rows.iter().position(|row| row.name == name);
        if known.is_none() && rows.len() < ROWS_MAX {
            rows.push(Row { name, kind: kind_number(&fault.kind), bars: Vec::new() });
        }
        let place = known.unwrap_or(rows.len() - 1);
        if fault.skipped.is_none() {
            rows[place].bars.push(band(fault, end, time));
        }
    }
    rows.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    rows
}

fn data(run: &Run, bins: &Bins, drawn: &[Fault]) -> Data {
    let seconds = |ns| (float(ns) / 1e6).round() / 1e3;
    let short = |figures: Vec<f64>| {
        figures.into_iter().map(|figure| (figure * 10.0).round() / 10.0).collect()
    };
    let shorter = |figures: Vec<Option<f64>>| {
        figures
            .into_iter()
            .map(|figure| figure.map(|figure| (figure * 100.0).round() / 100.0))
            .collect()
    };
    let installed = drawn.iter().filter(|fault| fault.skipped.is_none());
    Data {
        end: seconds(run.end),
        width: float(bins.width) / 1e9,
        ok: short(bins.rates(|bin| bin.ok)),
        fail: short(bins.rates(|bin| bin.fail)),
        info: short(bins.rates(|bin| bin.info)),
        p50: shorter(bins.quantiles(0.5)),
        p99: shorter(bins.quantiles(0.99)),
        leaders: run
            .elections
            .iter()
            .take(2_000)
            .map(|e| (seconds(e.time), e.node, e.term))
            .collect(),
        faults: installed
            .map(|fault| {
                (
                    seconds(fault.start),
                    seconds(fault.stop.unwrap_or(run.end)),
                    clip(&fault.text, 60),
                )
            })
            .collect(),
    }
}
