//! Did every acknowledged operation take effect once, every failed one never, and nothing else at all?

mod register;
mod requests;
mod sums;
mod tokens;

use serde_json::{Map, Value};

use super::Options;
use super::cluster::Cluster;
use super::stale_reads::find::Found;
use super::text::{self, Words};
use crate::history::History;
use crate::model::Model;
use crate::ops::{KeyOps, Op};
use crate::results::{Check, Verdict, Violation};

/// What can go wrong, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    LostWrite,
    LostAppend,
    LostIncrement,
    Duplicate,
    WrongSum,
    AbortedRead,
    PhantomRead,
    WrongOrder,
    LogIndexTwice,
    TwoLogIndexes,
}

impl Class {
    const ALL: [Class; 10] = [
        Class::LostWrite,
        Class::LostAppend,
        Class::LostIncrement,
        Class::Duplicate,
        Class::WrongSum,
        Class::AbortedRead,
        Class::PhantomRead,
        Class::WrongOrder,
        Class::LogIndexTwice,
        Class::TwoLogIndexes,
    ];

    fn name(self) -> &'static str {
        match self {
            Class::LostWrite => "lost write",
            Class::LostAppend => "lost append",
            Class::LostIncrement => "lost increment",
            Class::Duplicate => "duplicate",
            Class::WrongSum => "wrong sum",
            Class::AbortedRead => "aborted read",
            Class::PhantomRead => "phantom read",
            Class::WrongOrder => "wrong order",
            Class::LogIndexTwice => "log index twice",
            Class::TwoLogIndexes => "two log indexes",
        }
    }
}

/// Counts all violations, keeps some.
struct Findings {
    by_class: Vec<(Class, usize, Vec<Violation>)>,
    kept_max: usize,
}

impl Findings {
    fn new(kept_max: usize) -> Findings {
        let by_class = Class::ALL.map(|class| (class, 0, Vec::new())).into();
        Findings { by_class, kept_max }
    }

    fn add(&mut self, class: Class, violation: impl FnOnce() -> Violation) {
        let found = self.by_class.iter_mut().find(|(known, ..)| *known == class);
        if let Some((_, count, kept)) = found {
            *count += 1;
            if kept.len() < self.kept_max {
                kept.push(violation());
            }
        }
    }

    /// Adds one about operations on a key; the last of them is where to look.
    fn add_on_key(
        &mut self,
        class: Class,
        words: Words<'_>,
        ops: &[&Op],
        explanation: impl FnOnce() -> String,
    ) {
        self.add(class, || Violation {
            class: class.name().to_owned(),
            key: words.key.name.as_deref().map(str::to_owned),
            explanation: explanation(),
            events: words.events(ops.iter().copied()),
            time: ops.last().map_or(0, |op| words.called(op)),
            core: None,
            stale: None,
        });
    }

    fn total(&self) -> usize {
        self.by_class.iter().map(|(_, count, _)| count).sum()
    }

    fn summary(&self) -> String {
        if self.total() == 0 {
            return "Nothing was lost, applied twice, or seen that should not exist.".to_owned();
        }
        let parts: Vec<String> = self
            .by_class
            .iter()
            .filter(|(_, count, _)| *count > 0)
            .map(|(class, count, _)| format!("{} × {}", text::number(*count), class.name()))
            .collect();
        format!("Effects do not match acknowledgements: {}.", text::list(&parts))
    }

    fn details(&self) -> Value {
        let counts: Map<String, Value> = self
            .by_class
            .iter()
            .filter(|(_, count, _)| *count > 0)
            .map(|(class, count, _)| (class.name().to_owned(), Value::from(*count)))
            .collect();
        Value::Object(counts)
    }
}

pub(super) fn check(
    history: &History,
    found: &[Found],
    verified: &[bool],
    cluster: &Cluster,
    options: &Options<'_>,
) -> Check {
    let mut findings = Findings::new(options.violations_max);
    let keys = history.keys().iter().zip(found).zip(verified);
    // Where there is an order, every effect is in it once.
    for ((key, found), _) in keys.filter(|(_, is_verified)| !**is_verified) {
        let words = Words { history, key };
        let last = final_reads(key, cluster);
        match key.model {
            Model::Register | Model::CasRegister => {
                // The last read of an unfinished run may be stale and nothing lost.
                let last = if cluster.phases.is_empty() { &[] } else { last.as_slice() };
                register::check(words, found, last, &mut findings);
            }
            Model::Append => tokens::check(words, &last, &mut findings),
            Model::Counter => sums::check(words, &last, &mut findings),
            Model::MultiRegister
            | Model::Kv
            | Model::Set
            | Model::FifoQueue
            | Model::UnorderedQueue
            | Model::Mutex => {}
        }
    }
    requests::check(history, &mut findings);
    Check {
        name: "exactly-once".to_owned(),
        verdict: if findings.total() == 0 { Verdict::Valid } else { Verdict::Invalid },
        summary: findings.summary(),
        details: findings.details(),
        violations: findings
            .by_class
            .into_iter()
            .flat_map(|(_, _, kept)| kept)
            .take(options.violations_max)
            .collect(),
    }
}

/// The reads of the final phase; without phases, the last read. Numbers of operations.
fn final_reads(key: &KeyOps, cluster: &Cluster) -> Vec<usize> {
    let reads = || key.ops.iter().enumerate().filter(|(_, op)| op.is_ok_read()).map(|(id, _)| id);
    if cluster.phases.is_empty() {
        return reads().next_back().into_iter().collect();
    }
    let Some(phase) = cluster.phase("final") else { return Vec::new() };
    reads().filter(|&id| key.ops[id].call > phase.event).collect()
}

/// `n2 acknowledged that at 12.841 s`.
fn acknowledged(words: Words<'_>, op: &Op) -> String {
    let node = words.history.node(op).map_or("the cluster".to_owned(), text::node);
    let at =
        words.history.completed(op).map_or(String::new(), |time| format!(" at {}", text::at(time)));
    format!("{node} acknowledged that{at}")
}

/// `client 7 read … from n2 at 12.841 s`.
fn read_from(words: Words<'_>, op: &Op) -> String {
    let at = text::at(words.called(op));
    format!("{} read {}{} at {at}", words.client(op), words.name(), words.answered_from(op))
}
