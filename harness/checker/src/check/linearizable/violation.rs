//! A key that is not linearizable, explained.

use super::decide::{Decision, answer};
use crate::check::decision::{Answer, Budget};
use crate::check::explain::{self, Facts, Start};
use crate::check::text;
use crate::history::History;
use crate::ops::{KeyOps, Op};
use crate::results::{self, Violation};

/// Operations that go through steps and decisions of a reduction, at most.
const REDUCTION_WORK_MAX: u64 = 20_000_000;

/// And for each operation of the key: to find a later start of a long history takes a few dozen passes.
const REDUCTION_WORK_EACH: u64 = 50;

/// Configurations for each step of a reduction: there are many steps, and the small histories that they should lead to
/// take few.
const REDUCTION_CONFIGURATIONS_MAX: u64 = 300_000;

/// Columns of a timeline in text.
const COLUMNS: usize = 100;

pub(super) fn violation(
    history: &History,
    key: &KeyOps,
    decision: &Decision,
    budget: &Budget<'_>,
) -> Violation {
    let (start, blocked) = match decision {
        Decision::Contradictory { ops, blocked, .. } => {
            (ops.as_ref().map(|found| found.ops.as_slice()), *blocked)
        }
        Decision::Linearizable(..) | Decision::Undecided { .. } => (None, None),
    };
    let configurations_max = budget.configurations_max.min(REDUCTION_CONFIGURATIONS_MAX);
    let small = Budget { configurations_max, ..*budget };
    let mut is_certain = true;
    let mut contradicts = |key: &KeyOps| match answer(key, &small) {
        Answer::Blocked { op } => Some(op),
        Answer::Linearizable => None,
        Answer::GaveUp { .. } => {
            is_certain = false;
            None
        }
    };
    let start = Start { ops: start, blocked };
    let operations = u64::try_from(key.ops.len()).unwrap_or(u64::MAX);
    let work = REDUCTION_WORK_MAX.saturating_add(operations.saturating_mul(REDUCTION_WORK_EACH));
    let core = explain::reduce(key, start, &mut contradicts, work);
    let of_key = OfKey::new(history, key);
    let Some(core) = core else { return unexplained(&of_key, blocked) };
    let told = explain::explain(&core, &of_key);
    let time = of_key.invoked_ns(told.blocked).unwrap_or(0);
    Violation {
        class: told.anomaly.name().to_owned(),
        key: key.name.as_deref().map(str::to_owned),
        explanation: in_two_sentences(told.sentences),
        events: told.events,
        time,
        core: Some(results::Core {
            operations: u64::try_from(core.key.ops.len()).unwrap_or(u64::MAX),
            is_minimal: core.is_minimal && is_certain,
            timeline: explain::timeline(&core, &of_key, COLUMNS),
            svg: explain::timeline_svg(&core, &of_key),
            history: explain::write_core(&core, &of_key),
        }),
        stale: None,
    }
}

/// Where one sentence says it all, a second one says that it does.
fn in_two_sentences(told: String) -> String {
    let is_one = !told.trim_end_matches('.').contains(". ");
    if is_one { format!("{told} No order of the operations can explain that.") } else { told }
}

/// The decision can be repeated, so there always is a core, unless it was cancelled meanwhile.
fn unexplained(of_key: &OfKey<'_>, blocked: Option<u32>) -> Violation {
    let name = of_key.key.name.as_deref().unwrap_or("the value");
    let op = blocked.and_then(|id| of_key.key.ops.get(crate::ops::index(id)));
    Violation {
        class: "not linearizable".to_owned(),
        key: of_key.key.name.as_deref().map(str::to_owned),
        explanation: format!(
            "No order of the operations on {} explains what clients saw. The limits left no room to say which.",
            text::quote(name)
        ),
        events: op.map_or_else(Vec::new, |op| of_key.events(op.number)),
        time: op.and_then(|op| of_key.history.called(op)).unwrap_or(0),
        core: None,
        stale: None,
    }
}

/// What the history says of one key's operations.
struct OfKey<'h> {
    history: &'h History,
    key: &'h KeyOps,
    /// Their places by their numbers, which need not rise with their calls.
    places: Vec<(u32, usize)>,
}

impl<'h> OfKey<'h> {
    fn new(history: &'h History, key: &'h KeyOps) -> OfKey<'h> {
        let mut places: Vec<_> = key.ops.iter().map(|op| op.number).zip(0..).collect();
        places.sort_unstable();
        OfKey { history, key, places }
    }

    fn op(&self, number: u32) -> Option<&Op> {
        let place = self.places.binary_search_by_key(&number, |&(number, _)| number).ok()?;
        self.key.ops.get(self.places[place].1)
    }
}

impl Facts for OfKey<'_> {
    fn client(&self, number: u32) -> u64 {
        self.op(number).map_or(0, |op| self.history.client(op))
    }

    fn invoked_ns(&self, number: u32) -> Option<u64> {
        self.op(number).and_then(|op| self.history.called(op))
    }

    fn completed_ns(&self, number: u32) -> Option<u64> {
        let op = self.op(number).filter(|op| op.ret != crate::ops::NEVER)?;
        self.history.completed(op)
    }

    fn node(&self, number: u32) -> Option<u64> {
        self.op(number).and_then(|op| self.history.node(op))
    }

    fn role(&self, number: u32) -> Option<&str> {
        self.op(number).and_then(|op| self.history.role(op))
    }

    fn term(&self, number: u32) -> Option<u64> {
        self.op(number).and_then(|op| self.history.term(op))
    }

    fn error(&self, number: u32) -> Option<&str> {
        self.op(number).and_then(|op| self.history.error(op))
    }

    fn request(&self, number: u32) -> Option<&str> {
        self.op(number).and_then(|op| self.history.request(op))
    }

    fn events(&self, number: u32) -> Vec<u64> {
        let events = self.op(number).map(|op| self.history.events(op));
        events.map_or_else(Vec::new, |(call, completion)| {
            [call].into_iter().chain(completion).collect()
        })
    }
}
