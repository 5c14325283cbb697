//! Single operations as bars on a time axis, one row a client, faults behind them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use super::Error;
use super::lanes::{Lane, lanes};
use super::run::{self, Line, Outcome, Run};
use super::scale::{Tick, Time};
use super::stage::{Band, bands};
use super::words::{MILLISECOND, at, clip, float_len, operation, span};

/// Height of a row, pixels.
const ROW_PIXELS: u64 = 26;

/// Room that a character of a label takes at most, percent of the width.
const CHARACTER_PERCENT: f64 = 1.25;

/// Room at both ends of a drawing, nanoseconds: at least, and around an event without operations.
const MARGIN_MIN: u64 = MILLISECOND / 2;
const MARGIN_ALONE: u64 = 500 * MILLISECOND;

/// An operation with everything that its lines in the history say.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) process: u64,
    pub(super) outcome: Outcome,
    /// Nanoseconds.
    pub(super) invoked: u64,
    /// Nanoseconds; of an open operation the end of the history.
    pub(super) completed: u64,
    pub(super) invoke: Line,
    pub(super) completion: Option<Line>,
}

impl Shown {
    /// In words.
    pub(super) fn text(&self) -> String {
        operation(&self.invoke.event, self.completion.as_ref().map(|line| &line.event))
    }

    /// The node that answered, or was asked.
    pub(super) fn node(&self) -> Option<u64> {
        self.completion.as_ref().and_then(|line| line.event.node).or(self.invoke.event.node)
    }

    /// Why it failed, or why its outcome is unknown.
    pub(super) fn error(&self) -> Option<String> {
        self.completion
            .as_ref()
            .and_then(|line| line.event.error.as_deref())
            .map(|error| clip(error, 160))
    }

    /// What one reads when pointing at it.
    fn title(&self) -> String {
        let node = self.node().map_or(String::new(), |node| format!(" at n{node}"));
        let error = self.error().map_or(String::new(), |error| format!(" ({error})"));
        format!(
            "client {}: {}{node}: {}{error}, {}–{} s ({})",
            self.process,
            self.text(),
            self.outcome.word(),
            at(self.invoked),
            at(self.completed),
            span(self.completed - self.invoked)
        )
    }
}

/// What was fetched from the history to be shown.
#[derive(Debug)]
pub(super) struct Fetched {
    /// Operations by place in [`Run::ops`].
    pub(super) ops: BTreeMap<usize, Shown>,
    /// Other events by index.
    pub(super) events: BTreeMap<u64, Line>,
}

/// Fetches operations by place in [`Run::ops`] and other events by index.
pub(super) fn fetch(
    run: &Run,
    history: &Path,
    places: &BTreeSet<usize>,
    events: &BTreeSet<u64>,
) -> Result<Fetched, Error> {
    let ops = || places.iter().filter_map(|place| run.ops.get(*place).map(|op| (*place, op)));
    let of_op = |(_, op): (usize, &run::Op)| [Some(op.invoke_index), op.complete_index];
    let indexes = ops().flat_map(of_op).flatten().chain(events.iter().copied()).collect();
    let lines = run::fetch(history, &indexes)?;
    let shown = |(place, op): (usize, &run::Op)| {
        let shown = Shown {
            process: op.process,
            outcome: op.outcome,
            invoked: op.invoked,
            completed: op.completed,
            invoke: lines.get(&op.invoke_index)?.clone(),
            completion: op.complete_index.and_then(|index| lines.get(&index)).cloned(),
        };
        Some((place, shown))
    };
    let ops = ops().filter_map(shown).collect();
    let events = lines.into_iter().filter(|(index, _)| events.contains(index)).collect();
    Ok(Fetched { ops, events })
}

/// A drawing of operations.
#[derive(Debug, Serialize)]
pub(super) struct Waterfall {
    pub(super) rows: Vec<Row>,
    pub(super) lanes: Vec<Lane>,
    pub(super) bands: Vec<Band>,
    pub(super) ticks: Vec<Tick>,
    /// Where to look.
    pub(super) focus: Option<f64>,
    pub(super) bracket: Option<Bracket>,
}

/// A client's row.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    label: String,
    /// Pixels.
    height: u64,
    bars: Vec<Bar>,
}

/// An operation.
#[derive(Debug, Serialize)]
struct Bar {
    x: f64,
    w: f64,
    /// Pixels from the row's top.
    y: u64,
    /// CSS class.
    class: &'static str,
    label: String,
    /// Where the label stands: `in` the bar, `left` or `right` of it.
    side: &'static str,
    title: String,
    /// Whether the outcome is unknown, so that it may have taken effect at any later time.
    tail: bool,
    /// Whether it is part of the evidence.
    evidence: bool,
}

/// A measured distance in time.
#[derive(Debug, Serialize)]
pub(super) struct Bracket {
    pub(super) x: f64,
    pub(super) w: f64,
    pub(super) label: String,
}

/// Draws a few operations with their words beside them, under the lanes of some nodes.
pub(super) fn evidence(
    run: &Run,
    ops: &[&Shown],
    nodes: &BTreeSet<u64>,
    focus: u64,
    bracket: Option<(u64, u64, String)>,
) -> Waterfall {
    let begins = || ops.iter().map(|op| op.invoked);
    // Where an operation of unknown outcome ends says nothing, and may be far away.
    let ends = ops.iter().filter(|op| op.outcome == Outcome::Ok).map(|op| op.completed);
    let first = begins().min().unwrap_or(focus).min(focus);
    let last = begins().chain(ends).max().unwrap_or(focus).max(focus);
    let margin = if ops.is_empty() { MARGIN_ALONE } else { ((last - first) / 16).max(MARGIN_MIN) };
    let time = Time::new(first.saturating_sub(margin), last.saturating_add(margin));
    Waterfall {
        rows: rows(ops, time, &|_| true, true),
        lanes: lanes(run, time, |id| nodes.contains(&id)),
        bands: bands(&run.faults, run.end, time),
        ticks: time.ticks(6),
        focus: Some(time.x(focus)),
        bracket: bracket.map(|(from, to, label)| Bracket {
            x: time.x(from),
            w: time.width(from, to),
            label,
        }),
    }
}

/// Draws all operations of a span of time, their words inside them, under the lanes of the nodes.
pub(super) fn crowd(
    run: &Run,
    ops: &[&Shown],
    time: Time,
    focus: u64,
    is_evidence: &dyn Fn(&Shown) -> bool,
) -> Waterfall {
    Waterfall {
        rows: rows(ops, time, is_evidence, false),
        lanes: lanes(run, time, |_| true),
        bands: bands(&run.faults, run.end, time),
        ticks: time.ticks(10),
        focus: Some(time.x(focus)),
        bracket: None,
    }
}

fn rows(
    ops: &[&Shown],
    time: Time,
    is_evidence: &dyn Fn(&Shown) -> bool,
    labels_beside: bool,
) -> Vec<Row> {
    let mut by_process: BTreeMap<u64, Vec<&Shown>> = BTreeMap::new();
    for op in ops {
        by_process.entry(op.process).or_default().push(op);
    }
    let row = |(process, ops): (u64, Vec<&Shown>)| {
        let mut taken: Vec<f64> = Vec::new();
        let bars = ops
            .into_iter()
            .map(|op| {
                let mut bar = bar(op, time, labels_beside);
                bar.evidence = is_evidence(op);
                bar.y = ROW_PIXELS * level(&mut taken, extent(&bar));
                bar
            })
            .collect();
        let levels = u64::try_from(taken.len()).unwrap_or(u64::MAX);
        Row { label: format!("client {process}"), height: ROW_PIXELS.saturating_mul(levels), bars }
    };
    by_process.into_iter().map(row).collect()
}

fn bar(op: &Shown, time: Time, labels_beside: bool) -> Bar {
    let (x, w) = (time.x(op.invoked), time.width(op.invoked, op.completed));
    let side = match x + w {
        _ if !labels_beside || w > 45.0 => "in",
        end if end < 55.0 => "right",
        _ => "left",
    };
    Bar {
        x,
        w,
        y: 0,
        class: op.outcome.word(),
        label: clip(&op.text(), 60),
        side,
        title: op.title(),
        tail: labels_beside && matches!(op.outcome, Outcome::Info | Outcome::Open),
        evidence: false,
    }
}

/// From where to where a bar and its label reach, percent.
fn extent(bar: &Bar) -> (f64, f64) {
    let text = float_len(bar.label.chars().count()) * CHARACTER_PERCENT + 2.0;
    match bar.side {
        "left" => (bar.x - text, bar.x + bar.w),
        "right" => (bar.x, bar.x + bar.w + text),
        _ => (bar.x, bar.x + bar.w),
    }
}

/// The first level with room; `taken` holds up to where each is taken.
fn level(taken: &mut Vec<f64>, (from, to): (f64, f64)) -> u64 {
    let free = taken.iter().position(|end| *end <= from);
    let place = free.unwrap_or_else(|| {
        taken.push(0.0);
        taken.len() - 1
    });
    taken[place] = to;
    u64::try_from(place).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_that_would_collide_get_levels_of_their_own() {
        let mut taken = Vec::new();
        let levels = [(0.0, 30.0), (20.0, 40.0), (31.0, 50.0), (32.0, 60.0)]
            .map(|extent| level(&mut taken, extent));
        assert_eq!(levels, [0, 1, 0, 2]);
    }
}
