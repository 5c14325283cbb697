//! Is there, for each key, an order of its operations that one thread could have carried out, and in which an
//! operation that ended before another began comes first? A history is linearizable exactly if all its keys are
//! (P-composition).

mod ahead;
mod configuration;
mod explain;
mod problem;
mod reduce;
mod search;

use serde_json::{Value, json};

use self::problem::{Part, Problem};
use self::search::{Answer, Budget, Effort, Limit, search};
use super::Options;
use super::keys::KeyOps;
use super::stale_reads::find::{Found, Stale};
use super::text::{self, Words};
use crate::history::History;
use crate::results::{Check, Verdict, Violation};

/// For each reduction of a counterexample: events walked through plus configurations explored.
const REDUCTION_WORK_MAX: u64 = 20_000_000;

/// Keys named in `details`, so that it stays readable.
const NAMED_MAX: usize = 50;

/// What became of the keys.
#[derive(Default)]
struct Tally<'c, 'h> {
    blocked: Vec<(&'c KeyOps<'h>, &'c [Stale])>,
    undecided: Vec<(String, usize, Limit)>,
    configurations: u64,
    frontier_max: usize,
}

pub(super) fn check(
    history: &History,
    keys: &[KeyOps<'_>],
    found: &[Found],
    options: &Options<'_>,
) -> Check {
    let budget = Budget {
        configurations: options.configurations_max,
        memory_bytes_max: options.memory_bytes_max,
        cancelled: options.cancelled,
    };
    let mut tally = Tally::default();
    for (key, found) in keys.iter().zip(found) {
        let problem = Problem::new(key, &Part::whole(key));
        let (answer, effort) = search(&problem, &budget);
        tally.add(key, &found.stale, &answer, effort);
    }
    let violations: Vec<Violation> = tally
        .blocked
        .iter()
        .take(options.violations_max)
        .map(|&(key, stale)| {
            let core = reduce::reduce(key, stale, &budget, REDUCTION_WORK_MAX);
            explain::violation(Words { history, key }, core.as_ref())
        })
        .collect();
    Check {
        name: "linearizable".to_owned(),
        verdict: tally.verdict(),
        summary: tally.summary(history, keys),
        details: tally.details(history, keys),
        violations,
    }
}

impl<'c, 'h> Tally<'c, 'h> {
    fn add(&mut self, key: &'c KeyOps<'h>, stale: &'c [Stale], answer: &Answer, effort: Effort) {
        self.configurations += effort.configurations;
        self.frontier_max = self.frontier_max.max(effort.frontier_max);
        match *answer {
            Answer::Linearizable => {}
            Answer::Blocked { .. } => self.blocked.push((key, stale)),
            Answer::GaveUp { position, limit } => {
                self.undecided.push((key.key.unwrap_or("").to_owned(), position, limit));
            }
        }
    }

    fn verdict(&self) -> Verdict {
        if !self.blocked.is_empty() {
            Verdict::Invalid
        } else if self.undecided.is_empty() {
            Verdict::Valid
        } else {
            Verdict::Unknown
        }
    }

    fn summary(&self, history: &History, keys: &[KeyOps<'_>]) -> String {
        if let Some((first, _)) = self.blocked.first() {
            let blocked = self.blocked.len();
            return format!(
                "{} of {} {} not linearizable, the first is {}.",
                text::number(blocked),
                text::count(keys.len(), "key"),
                if blocked == 1 { "is" } else { "are" },
                text::quote(first.key.unwrap_or(""))
            );
        }
        let Some((key, position, limit)) = self.undecided.first() else {
            let operations: usize = keys.iter().map(|key| key.ops.len()).sum();
            return format!(
                "All {} on {} are linearizable.",
                text::count(operations, "operation"),
                text::count(keys.len(), "key")
            );
        };
        format!(
            "{} of {} {} undecided; {} is linearizable up to {}, then {}.",
            text::number(self.undecided.len()),
            text::count(keys.len(), "key"),
            if self.undecided.len() == 1 { "is" } else { "are" },
            text::quote(key),
            text::at(time_of(history, *position)),
            limit.words()
        )
    }

    fn details(&self, history: &History, keys: &[KeyOps<'_>]) -> Value {
        let undecided: Vec<Value> = self
            .undecided
            .iter()
            .take(NAMED_MAX)
            .map(|(key, position, limit)| {
                json!({"key": key, "until_ns": time_of(history, *position), "why": limit.words()})
            })
            .collect();
        let named: Vec<Option<&str>> =
            self.blocked.iter().take(NAMED_MAX).map(|(key, _)| key.key).collect();
        json!({
            "keys": keys.len(),
            "keys_not_linearizable": self.blocked.len(),
            "keys_undecided": self.undecided.len(),
            "not_linearizable": named,
            "undecided": undecided,
            "configurations": self.configurations,
            "frontier_max": self.frontier_max,
        })
    }
}

impl Limit {
    fn words(self) -> &'static str {
        match self {
            Limit::Configurations => "the limit of configurations was reached",
            Limit::Memory => "the limit of memory was reached",
            Limit::Cancelled => "the time was over",
            Limit::Open => "too many operations were open at once",
        }
    }
}

fn time_of(history: &History, position: usize) -> u64 {
    history.events().get(position).map_or(0, |event| event.time)
}
