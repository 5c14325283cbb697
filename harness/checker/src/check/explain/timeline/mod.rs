//! A core drawn on a line of time: one row for each client, a bar for each operation.
//!
//! What happens first is left of what happens later, but the gaps are not to scale: between the write of a value and
//! the stale read of it there may be minutes, and the bars of both must still be wide enough to see what overlaps.

mod svg;
mod text;

use super::facts::Facts;
use super::reduce::Core;
use super::sentences::Words;
use crate::ops::{NEVER, Op, Position, index};

pub use self::svg::timeline_svg;
pub use self::text::timeline;

/// Most operations that are drawn.
const SHOWN_MAX: usize = 40;

/// Where the drawing ends, in the units in which places on the line are given.
const END: usize = 10_000;

/// How wide the widest gap between two events is, if the narrowest is 1.
const GAP_MAX: usize = 3;

/// The whole drawing.
struct Layout {
    /// By client, in order of their first operations.
    rows: Vec<Row>,
    /// Invocations and completions: where, and when if that is known.
    ticks: Vec<(usize, Option<u64>)>,
    /// Operations that are not drawn.
    left_out: usize,
}

struct Row {
    client: String,
    /// In order of time; of one client no two overlap.
    bars: Vec<Bar>,
}

/// An operation.
struct Bar {
    start: usize,
    /// None: it is open to the end.
    end: Option<usize>,
    label: String,
    /// A whole sentence.
    title: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It certainly happened.
    Certain,
    /// It may have happened.
    Open,
    /// It fits nowhere.
    Blocked,
    /// It is not needed for the contradiction.
    Context,
}

impl Layout {
    fn of(core: &Core, facts: &dyn Facts) -> Layout {
        let words = Words { core, facts };
        let shown = shown(core);
        let line = Line::of(&shown, core, facts);
        let blocked = core.key.ops.get(index(core.blocked)).map(|op| op.call);
        let mut rows: Vec<(u32, Row)> = Vec::new();
        for op in &shown {
            let kind = if core.context.ops.iter().any(|other| other.call == op.call) {
                Kind::Context
            } else if Some(op.call) == blocked {
                Kind::Blocked
            } else if op.ret == NEVER && facts.completed_ns(op.number).is_none() {
                Kind::Open
            } else {
                Kind::Certain
            };
            let bar = Bar {
                start: line.place(op.call),
                end: (op.ret != NEVER).then(|| line.place(op.ret)),
                label: words.label(op),
                title: words.phrase(op),
                kind,
            };
            let fits = |(client, row): &&mut (u32, Row)| {
                let free =
                    row.bars.last().is_none_or(|last| last.end.is_some_and(|end| end < bar.start));
                *client == op.process && free
            };
            match rows.iter_mut().find(fits) {
                Some((_, row)) => row.bars.push(bar),
                None => {
                    rows.push((op.process, Row { client: words.client(op), bars: vec![bar] }));
                }
            }
        }
        Layout {
            rows: rows.into_iter().map(|(_, row)| row).collect(),
            ticks: line.0.iter().map(|event| (event.place, event.time)).collect(),
            left_out: core.key.ops.len() + core.context.ops.len() - shown.len(),
        }
    }
}

/// The operations to draw, in order of their calls: those nearest to the one that fits nowhere.
fn shown(core: &Core) -> Vec<Op> {
    let mut ops: Vec<Op> = core.key.ops.iter().chain(&core.context.ops).copied().collect();
    ops.sort_by_key(|op| op.call);
    if ops.len() > SHOWN_MAX {
        let blocked = core.key.ops.get(index(core.blocked)).map_or(0, |op| op.call);
        ops.sort_by_key(|op| op.call.abs_diff(blocked));
        ops.truncate(SHOWN_MAX);
        ops.sort_by_key(|op| op.call);
    }
    ops
}

/// Invocations and completions, in order.
struct Line(Vec<Event>);

struct Event {
    position: Position,
    place: usize,
    time: Option<u64>,
}

impl Line {
    fn of(shown: &[Op], core: &Core, facts: &dyn Facts) -> Line {
        let event = |position, time| Event { position, place: 0, time };
        let mut events: Vec<Event> = Vec::new();
        for op in shown {
            events.push(event(op.call, facts.invoked_ns(op.number)));
            if op.ret != NEVER {
                events.push(event(op.ret, facts.completed_ns(op.number)));
            }
        }
        events.sort_by_key(|event| event.position);
        let gap = |pair: &[Event]| match (pair[0].time, pair[1].time) {
            (Some(earlier), Some(later)) => later.saturating_sub(earlier),
            _ => 0,
        };
        let widest = events.windows(2).map(gap).max().unwrap_or(0).isqrt().max(1);
        let extra = u64::try_from(100 * (GAP_MAX - 1)).unwrap_or(0);
        let widths: Vec<usize> = events
            .windows(2)
            .map(|pair| 100 + usize::try_from(gap(pair).isqrt() * extra / widest).unwrap_or(0))
            .collect();
        // What is open to the end has some room there.
        let open = core.key.ops.iter().any(|op| op.ret == NEVER);
        let total = widths.iter().sum::<usize>() + if open { 100 } else { 0 };
        let mut so_far = 0;
        for (number, event) in events.iter_mut().enumerate() {
            event.place = so_far * END / total.max(1);
            so_far += widths.get(number).copied().unwrap_or(0);
        }
        Line(events)
    }

    fn place(&self, position: Position) -> usize {
        let place = self.0.binary_search_by_key(&position, |event| event.position);
        place.map_or(END, |number| self.0[number].place)
    }
}
