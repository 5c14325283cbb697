//! One key's decision.

use crate::check::decision::{Anomaly, Answer, Budget, Contradiction, Finding, Limit};
use crate::check::direct;
use crate::check::exact::{self, Effort};
use crate::check::explain;
use crate::check::stale_reads::find;
use crate::ops::{Action, KeyOps, Op, Position, Seen, index};

/// How a key was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// By a test that needs no search.
    Direct,
    /// By the order that the servers claim.
    Witness,
    /// By the exact search.
    Search,
}

impl Way {
    pub(crate) const ALL: [Way; 3] = [Way::Direct, Way::Witness, Way::Search];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Way::Direct => "direct",
            Way::Witness => "witness",
            Way::Search => "search",
        }
    }
}

/// What is known of a key.
#[derive(Clone, Debug)]
pub(crate) enum Decision {
    /// It is linearizable.
    Linearizable(Way, Effort),
    /// It is not.
    Contradictory {
        way: Way,
        effort: Effort,
        /// Operations that contradict each other by themselves, if a test named them.
        ops: Option<Contradiction>,
        /// The operation that fits nowhere, if the search found it.
        blocked: Option<u32>,
    },
    /// A limit was hit.
    Undecided {
        effort: Effort,
        /// Up to here it is linearizable.
        position: Position,
        limit: Limit,
    },
}

impl Decision {
    /// Whether an order of the operations was put together and verified.
    pub(crate) fn is_verified(&self) -> bool {
        matches!(self, Decision::Linearizable(Way::Direct | Way::Witness, _))
    }

    pub(crate) fn effort(&self) -> &Effort {
        match self {
            Decision::Linearizable(_, effort)
            | Decision::Contradictory { effort, .. }
            | Decision::Undecided { effort, .. } => effort,
        }
    }
}

/// Decides a key by the cheapest way that can.
pub(crate) fn decide(key: &KeyOps, budget: &Budget<'_>) -> Decision {
    match direct::decide(key) {
        // It has been verified.
        Finding::Order(_) => return Decision::Linearizable(Way::Direct, Effort::default()),
        Finding::Contradiction(contradiction) => {
            if let Some(blocked) = confirmed(key, &contradiction.ops, budget) {
                return Decision::Contradictory {
                    way: Way::Direct,
                    effort: Effort::default(),
                    ops: Some(contradiction),
                    blocked: Some(blocked),
                };
            }
            // Not what the test took it for: the search decides.
        }
        Finding::Undecided => {}
    }
    if let Some(order) = direct::witness(key)
        && direct::verify(key, &order).is_ok()
    {
        return Decision::Linearizable(Way::Witness, Effort::default());
    }
    if key.ops.len() > SMALL
        && let Some(contradiction) = stale_read(key)
        && let Some(blocked) = confirmed(key, &contradiction.ops, budget)
    {
        return Decision::Contradictory {
            way: Way::Direct,
            effort: Effort::default(),
            ops: Some(contradiction),
            blocked: Some(blocked),
        };
    }
    let (answer, effort) = exact::search(key, budget);
    match answer {
        Answer::Linearizable => Decision::Linearizable(Way::Search, effort),
        Answer::Blocked { op } => {
            Decision::Contradictory { way: Way::Search, effort, ops: None, blocked: Some(op) }
        }
        Answer::GaveUp { position, limit } => Decision::Undecided { effort, position, limit },
    }
}

/// A read that is certainly stale, with whatever may have made what it saw, and what shows that it was gone.
fn stale_read(key: &KeyOps) -> Option<Contradiction> {
    let found = find::find(key);
    let stale = found.stale.first()?;
    let read = key.ops.get(stale.read)?;
    let Seen::Word(seen) = read.seen else { return None };
    let makes = |op: &Op| match op.action {
        Action::Write(word) | Action::Cas { new: word, .. } => word == seen && op.may_count(),
        _ => false,
    };
    let makers = (0..key.ops.len()).filter(|&op| makes(&key.ops[op]));
    let ops = [stale.read, stale.missed.write, stale.missed.proof].into_iter().chain(makers);
    let mut ops: Vec<u32> = ops.filter_map(|op| u32::try_from(op).ok()).collect();
    ops.sort_unstable();
    ops.dedup();
    Some(Contradiction { anomaly: Anomaly::StaleRead, ops })
}

/// Whether a few operations contradict each other whatever else happened: a second opinion. The operation that fits nowhere
/// if they do.
fn confirmed(key: &KeyOps, ops: &[u32], budget: &Budget<'_>) -> Option<u32> {
    let mut number = None;
    if let Some(few) = explain::left_alone(key, ops).filter(|few| few.ops.len() <= FEW) {
        // So few are not worth an interruption.
        let cancelled = budget.cancelled.filter(|_| few.ops.len() > SMALL);
        let blocked = contradiction(&few, &Budget { cancelled, ..*budget });
        number = blocked.map(|blocked| few.ops[index(blocked)].number);
    }
    // Where values are few, others depend on most writes. But what they contradict is not far.
    let configurations_max = budget.configurations_max.min(NEAR_CONFIGURATIONS_MAX);
    let near = Budget { configurations_max, ..*budget };
    let mut contradicts = |key: &KeyOps| contradiction(key, &near);
    let number = number.or_else(|| explain::near(key, ops, &mut contradicts))?;
    let place = key.ops.iter().position(|op| op.number == number)?;
    u32::try_from(place).ok()
}

/// The operation that fits nowhere, if the operations certainly contradict each other. For small histories the search
/// is the quickest way; for large ones it is worth trying without.
pub(super) fn contradiction(key: &KeyOps, budget: &Budget<'_>) -> Option<u32> {
    match answer(key, budget) {
        Answer::Blocked { op } => Some(op),
        Answer::Linearizable | Answer::GaveUp { .. } => None,
    }
}

/// The same, with what it is if not that.
pub(super) fn answer(key: &KeyOps, budget: &Budget<'_>) -> Answer {
    // Where each value is written many times, these tests seldom can tell.
    let has_many_values = key.words.len() > key.ops.len() / 8;
    if key.ops.len() > SMALL
        && has_many_values
        && let Finding::Order(_) = direct::decide(key)
    {
        return Answer::Linearizable;
    }
    exact::search(key, budget).0
}

/// Up to so many operations there is nothing to gain by doing without a search.
const SMALL: usize = 64;

/// Up to so many operations a second opinion costs next to nothing.
const FEW: usize = 1000;

/// A contradiction that is not found with so many configurations is for the search of everything.
const NEAR_CONFIGURATIONS_MAX: u64 = 100_000;
