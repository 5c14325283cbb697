//! All operations around one moment: the first violation, or else a change of leader.

use std::collections::BTreeSet;

use serde::Serialize;

use super::run::Run;
use super::scale::Time;
use super::waterfall::Waterfall;
use super::words::{MILLISECOND, at};

/// Most operations drawn.
const OPS_MAX: usize = 240;

/// Most clients drawn.
const PROCESSES_MAX: usize = 40;

/// Furthest look around the moment, nanoseconds.
const RADIUS_MAX: u64 = 3_000 * MILLISECOND;

/// The drawing and what it shows.
#[derive(Debug, Serialize)]
pub(super) struct Closeup {
    pub(super) what: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) ops: usize,
    pub(super) waterfall: Waterfall,
}

/// The moment worth a look: the first violation; else the first leader change under faults; else any leader change or
/// fault; else the middle.
pub(super) fn moment(run: &Run, violation: Option<u64>) -> (u64, String) {
    if let Some(time) = violation {
        return (time, "the first violation".to_owned());
    }
    let faulty =
        run.faults.iter().find(|fault| fault.skipped.is_none()).map_or(0, |fault| fault.start);
    let changes = || run.elections.iter().skip(1);
    if let Some(change) = changes().find(|change| change.time > faulty).or_else(|| changes().next())
    {
        return (
            change.time,
            format!(
                "n{} becoming leader of term {} at {} s",
                change.node,
                change.term,
                at(change.time)
            ),
        );
    }
    match run.faults.first() {
        Some(fault) => (fault.start, "the first fault".to_owned()),
        None => (run.end / 2, "the middle of the run".to_owned()),
    }
}

/// The operations nearest to a moment, and the span of time that they fill.
pub(super) fn nearest(run: &Run, moment: u64) -> (Time, BTreeSet<usize>) {
    let distance = |place: usize| {
        let op = &run.ops[place];
        if op.invoked > moment { op.invoked - moment } else { moment.saturating_sub(op.completed) }
    };
    let near = |place: &usize| distance(*place) <= RADIUS_MAX;
    let mut places: Vec<usize> = (0..run.ops.len()).filter(near).collect();
    places.sort_by_key(|place| distance(*place));
    places.truncate(OPS_MAX);
    let mut processes = BTreeSet::new();
    places.retain(|place| {
        let process = run.ops[*place].process;
        processes.contains(&process)
            || (processes.len() < PROCESSES_MAX && processes.insert(process))
    });
    let radius =
        places.last().map_or(0, |place| distance(*place)).clamp(20 * MILLISECOND, RADIUS_MAX);
    let time = Time::new(moment.saturating_sub(radius), moment.saturating_add(radius).min(run.end));
    (time, places.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::run::{Election, Op, Outcome};

    #[test]
    fn window_holds_the_nearest_operations_and_no_more() {
        let op = |i: u64| Op {
            process: i % 10,
            function: 0,
            outcome: Outcome::Ok,
            invoked: i * MILLISECOND,
            completed: (i + 1) * MILLISECOND,
            invoke_index: 2 * i,
            complete_index: Some(2 * i + 1),
        };
        let run =
            Run { ops: (0..10_000).map(op).collect(), end: 10_000 * MILLISECOND, ..Run::default() };
        let (time, places) = nearest(&run, 5_000 * MILLISECOND);
        assert_eq!(places.len(), OPS_MAX);
        assert!(places.contains(&5_000));
        assert!(
            time.overlaps(5_000 * MILLISECOND, 5_000 * MILLISECOND)
                && time.end - time.start < 300 * MILLISECOND
        );
    }

    #[test]
    fn moment_is_the_violation_else_a_leader_change() {
        let mut run = Run { end: 100, ..Run::default() };
        assert_eq!(moment(&run, None).0, 50);
        run.elections =
            vec![Election { time: 5, node: 1, term: 1 }, Election { time: 70, node: 2, term: 2 }];
        assert_eq!(moment(&run, None).0, 70);
        assert_eq!(moment(&run, Some(33)).0, 33);
    }
}
