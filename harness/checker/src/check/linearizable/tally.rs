//! What became of all keys, in words and figures.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::decide::{Decision, Way};
use super::violation::violation;
use crate::check::Options;
use crate::check::decision::{Budget, Limit};
use crate::check::explain::{self, Holds, Weaker};
use crate::check::text;
use crate::history::History;
use crate::ops::{KeyOps, NEVER, Position};
use crate::results::{Check, Verdict};

/// Keys named in `details`, so that it stays readable.
const NAMED_MAX: usize = 50;

/// Operations and list elements up to which weaker guarantees are judged.
const WEAKER_WORK_MAX: u64 = 20_000_000;

/// The keys and their decisions.
pub(super) struct Tally<'h> {
    history: &'h History,
    keys: Vec<(&'h KeyOps, Decision)>,
    /// What the history still is, if it is not linearizable.
    weaker: Option<Weaker>,
}

impl<'h> Tally<'h> {
    pub(super) fn new(history: &'h History, decisions: Vec<Decision>) -> Tally<'h> {
        let is_broken = |decision: &Decision| matches!(decision, Decision::Contradictory { .. });
        let weaker = decisions.iter().any(is_broken);
        let linearizable: Vec<bool> = decisions
            .iter()
            .map(|decision| matches!(decision, Decision::Linearizable(..)))
            .collect();
        let weaker =
            weaker.then(|| explain::weaker(history.keys(), &linearizable, WEAKER_WORK_MAX));
        Tally { history, keys: history.keys().iter().zip(decisions).collect(), weaker }
    }

    pub(super) fn check(&self, budget: &Budget<'_>, options: &Options<'_>) -> Check {
        let violations = self
            .contradictory()
            .take(options.violations_max)
            .map(|(key, decision)| violation(self.history, key, decision, budget))
            .collect();
        Check {
            name: "linearizable".to_owned(),
            verdict: self.verdict(),
            summary: self.summary(),
            violations,
            details: self.details(),
        }
    }

    fn contradictory(&self) -> impl Iterator<Item = (&'h KeyOps, &Decision)> {
        self.keys
            .iter()
            .filter(|(_, decision)| matches!(decision, Decision::Contradictory { .. }))
            .map(|(key, decision)| (*key, decision))
    }

    fn undecided(&self) -> impl Iterator<Item = (&'h KeyOps, Position, Limit)> {
        self.keys.iter().filter_map(|(key, decision)| match decision {
            Decision::Undecided { position, limit, .. } => Some((*key, *position, *limit)),
            Decision::Linearizable(..) | Decision::Contradictory { .. } => None,
        })
    }

    fn verdict(&self) -> Verdict {
        if self.contradictory().next().is_some() {
            Verdict::Invalid
        } else if self.undecided().next().is_some() {
            Verdict::Unknown
        } else {
            Verdict::Valid
        }
    }

    fn summary(&self) -> String {
        let all = text::count(self.keys.len(), "key");
        if let Some((first, _)) = self.contradictory().next() {
            let contradictory = self.contradictory().count();
            let still = self.weaker.and_then(|weaker| weaker.strongest());
            let still =
                still.map_or(String::new(), |still| format!(" The whole is still {still}."));
            if first.name.is_none() && self.keys.len() == 1 {
                let operations = text::count(u64::from(self.history.operations()), "operation");
                return format!("No order explains the {operations}.{still}");
            }
            return format!(
                "{} of {all} {} not linearizable, the first is {}.{still}",
                text::number(contradictory),
                if contradictory == 1 { "is" } else { "are" },
                name(first),
            );
        }
        let Some((key, position, limit)) = self.undecided().next() else {
            let operations = text::count(u64::from(self.history.operations()), "operation");
            return format!("All {operations} on {all} are linearizable.");
        };
        let undecided = self.undecided().count();
        format!(
            "{} of {all} proven, {} undecided{}; {} is linearizable up to {}, then {}.",
            text::number(self.keys.len() - undecided),
            text::number(undecided),
            because(key, position),
            name(key),
            self.up_to(key, position),
            limit.words()
        )
    }

    /// A position in words: the time of the last event before it that belongs to the key.
    fn up_to(&self, key: &KeyOps, position: Position) -> String {
        let last = key.ops.iter().rev().find(|op| op.call <= position);
        match last.map(|op| self.history.called(op).ok_or(op)) {
            Some(Ok(time)) => text::at(time),
            Some(Err(op)) => format!("operation {}", text::number(op.number)),
            None => text::at(0),
        }
    }

    fn details(&self) -> Value {
        let undecided: Vec<Value> = self
            .undecided()
            .take(NAMED_MAX)
            .map(|(key, position, limit)| {
                json!({
                    "key": key.name,
                    "until": position,
                    "open": open_at(key, position),
                    "why": limit.words(),
                })
            })
            .collect();
        let named: Vec<_> =
            self.contradictory().take(NAMED_MAX).map(|(key, _)| &key.name).collect();
        let efforts = || self.keys.iter().map(|(_, decision)| decision.effort());
        json!({
            "keys": self.keys.len(),
            "keys_by_way": self.by_way(),
            "keys_not_linearizable": self.contradictory().count(),
            "keys_undecided": self.undecided().count(),
            "not_linearizable": named,
            "undecided": undecided,
            "configurations": efforts().map(|effort| effort.configurations).sum::<u64>(),
            "frontier_max": efforts().map(|effort| effort.frontier_max).max(),
            "still": self.weaker.map(|weaker| guarantees(&weaker)),
        })
    }

    /// How many keys were decided by which way.
    fn by_way(&self) -> BTreeMap<&'static str, usize> {
        let mut by_way = BTreeMap::from(Way::ALL.map(|way| (way.name(), 0)));
        for (_, decision) in &self.keys {
            if let Decision::Linearizable(way, _) | Decision::Contradictory { way, .. } = decision {
                *by_way.entry(way.name()).or_default() += 1;
            }
        }
        by_way
    }
}

/// What the history still is, guarantee by guarantee.
fn guarantees(weaker: &Weaker) -> Value {
    let of = |holds: Holds| match holds {
        Holds::Yes => json!("holds"),
        Holds::Broken { first, second } => json!({"broken_by": [first, second]}),
        Holds::Unknown => json!("not decided"),
    };
    json!({
        "sequential": of(weaker.sequential),
        "monotonic_reads": of(weaker.monotonic_reads),
        "read_your_writes": of(weaker.read_your_writes),
        "eventual": of(weaker.eventual),
    })
}

/// What makes a key hard: the operations of unknown outcome that are open there.
fn because(key: &KeyOps, position: Position) -> String {
    match open_at(key, position) {
        0 => String::new(),
        open => {
            format!(" because of {} on {}", text::count(open, "indeterminate operation"), name(key))
        }
    }
}

fn open_at(key: &KeyOps, position: Position) -> usize {
    let open = |op: &&crate::ops::Op| op.may_count() && op.ret == NEVER;
    key.ops.iter().take_while(|op| op.call <= position).filter(open).count()
}

/// A key's name in a sentence.
fn name(key: &KeyOps) -> String {
    key.name.as_deref().map_or_else(|| "the only object".to_owned(), text::quote)
}

impl Limit {
    fn words(self) -> &'static str {
        match self {
            Limit::Configurations => "the limit of configurations was reached",
            Limit::Memory => "the limit of memory was reached",
            Limit::Cancelled => "the time was over",
        }
    }
}
