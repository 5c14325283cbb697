//! One key's decision.

use crate::check::decision::{Answer, Budget, Contradiction, Finding, Limit};
use crate::check::direct;
use crate::check::exact::{self, Effort};
use crate::check::explain;
use crate::ops::{KeyOps, Position};

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
        Finding::Contradiction(contradiction) if contradicts(key, &contradiction.ops, budget) => {
            return Decision::Contradictory {
                way: Way::Direct,
                effort: Effort::default(),
                ops: Some(contradiction),
                blocked: None,
            };
        }
        // Not what the test took it for: the search decides.
        Finding::Contradiction(_) | Finding::Undecided => {}
    }
    if let Some(order) = direct::witness(key)
        && direct::verify(key, &order).is_ok()
    {
        return Decision::Linearizable(Way::Witness, Effort::default());
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

/// Whether a few operations contradict each other by themselves, whatever else happened: a second opinion.
fn contradicts(key: &KeyOps, ops: &[u32], budget: &Budget<'_>) -> bool {
    let Some(few) = explain::left_alone(key, ops) else { return false };
    // So few are not worth an interruption.
    let cancelled = budget.cancelled.filter(|_| few.ops.len() > SMALL);
    contradiction(&few, &Budget { cancelled, ..*budget }).is_some()
}

/// The operation that fits nowhere, if the operations certainly contradict each other. For small histories the search
/// is the quickest way; for large ones it is worth trying without.
pub(super) fn contradiction(key: &KeyOps, budget: &Budget<'_>) -> Option<u32> {
    if key.ops.len() > SMALL
        && let Finding::Order(_) = direct::decide(key)
    {
        return None;
    }
    match exact::search(key, budget).0 {
        Answer::Blocked { op } => Some(op),
        Answer::Linearizable | Answer::GaveUp { .. } => None,
    }
}

/// Up to so many operations there is nothing to gain by doing without a search.
const SMALL: usize = 64;
