//! From a failing seed to the few faults and operations that it takes to fail in the same way.

use std::time::{Duration, Instant};

use super::plan::{Item, Plan, Weather};
use super::{Run, Sabotage, Settings, play};

/// A failure with as little around it as could be found.
#[derive(Debug)]
pub struct Shrunk {
    /// The smallest run that still fails in the same way, with its trace.
    pub run: Run,
    /// Faults, operators' wishes and client operations before.
    pub items_before: usize,
    /// And after.
    pub items_after: usize,
    /// Runs it took.
    pub attempts: u64,
}

/// Leaves out of a failing seed whatever it does not need to break the same promise, for at most so long.
pub fn shrink(seed: u64, settings: &Settings, time_max: Duration) -> Option<Shrunk> {
    let plan = Plan::draw(seed, settings);
    let promise = play(&plan, settings.sabotage, false).violation?.promise;
    let mut search = Search {
        sabotage: settings.sabotage,
        promise,
        until: Instant::now() + time_max,
        attempts: 0,
    };
    let items_before = plan.items.len();
    let plan = search.without_items(plan);
    let plan = search.calmer(plan);
    let run = play(&plan, settings.sabotage, true);
    Some(Shrunk { run, items_before, items_after: plan.items.len(), attempts: search.attempts })
}

struct Search {
    sabotage: Sabotage,
    /// What is broken.
    promise: String,
    until: Instant,
    attempts: u64,
}

impl Search {
    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    fn fails(&mut self, plan: &Plan) -> bool {
        self.attempts += 1;
        let violation = play(plan, self.sabotage, false).violation;
        violation.is_some_and(|violation| violation.promise == self.promise)
    }

    /// Delta debugging (Zeller 2002): leaves out ever smaller parts, until no single item can be spared.
    fn without_items(&mut self, mut plan: Plan) -> Plan {
        let mut size = plan.items.len().div_ceil(2);
        while size > 0 && !self.is_over() {
            let mut spared = false;
            let mut start = 0;
            while start < plan.items.len() && !self.is_over() {
                let end = (start + size).min(plan.items.len());
                let rest: Vec<Item> = [&plan.items[..start], &plan.items[end..]].concat();
                let smaller = Plan { items: rest, ..plan.clone() };
                if self.fails(&smaller) {
                    (plan, spared) = (smaller, true);
                } else {
                    start = end;
                }
            }
            size = match (size, spared) {
                (1, true) => 1,
                (1, false) => 0,
                (size, _) => size.div_ceil(2),
            };
        }
        plan
    }

    /// Takes away what is bad all the time, and what only makes for a longer trace.
    fn calmer(&mut self, mut plan: Plan) -> Plan {
        let easings: [fn(&mut Plan); 5] = [
            |plan| plan.knobs.network = Weather::FAIR,
            |plan| plan.knobs.drift_permille = 0,
            |plan| plan.knobs.client_loss = 0,
            |plan| plan.knobs.snapshot_failures = 0,
            |plan| plan.knobs.loop_latency_max = 0,
        ];
        for ease in easings {
            let mut easier = plan.clone();
            ease(&mut easier);
            if !self.is_over() && self.fails(&easier) {
                plan = self.without_items(easier);
            }
        }
        plan
    }
}
