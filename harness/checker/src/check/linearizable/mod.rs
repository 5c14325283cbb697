//! Is there, for each key, an order of its operations that one thread could have carried out, and in which an
//! operation that ended before another began comes first? A history is linearizable exactly if all its keys are
//! (P-composition).
//!
//! Each key is decided by the cheapest way that can: direct tests that need no search, the order that the servers
//! claim (log indexes), the exact search. The first two only ever propose: an order is verified, and operations that
//! are said to contradict each other are put to the exact search by themselves. So a mistake in them costs time, and
//! no verdict.

pub(crate) mod decide;
mod tally;
mod violation;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use self::decide::{Decision, decide};
use self::tally::Tally;
use super::Options;
use super::decision::Budget;
use crate::history::History;
use crate::ops::KeyOps;
use crate::results::Check;

/// The check, and by key whether an order of its operations was verified.
pub(super) fn check(history: &History, options: &Options<'_>) -> (Check, Vec<bool>) {
    let budget = Budget {
        configurations_max: options.configurations_max,
        memory_bytes_max: options.memory_bytes_max / u64::try_from(threads(options)).unwrap_or(1),
        cancelled: options.cancelled,
    };
    let decide = |key: &KeyOps| {
        let operations = u64::try_from(key.ops.len()).unwrap_or(u64::MAX);
        let share = options.configurations_per_operation.saturating_mul(operations);
        decide(key, &Budget { configurations_max: budget.configurations_max.max(share), ..budget })
    };
    let decisions = decide_all(history.keys(), decide, threads(options));
    let verified = decisions.iter().map(Decision::is_verified).collect();
    (Tally::new(history, decisions).check(&budget, options), verified)
}

/// How many threads to use.
fn threads(options: &Options<'_>) -> usize {
    options.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from)).max(1)
}

/// Decides each key; the largest first, so that no core is left with a large one in the end.
fn decide_all(
    keys: &[KeyOps],
    decide: impl Fn(&KeyOps) -> Decision + Sync,
    threads: usize,
) -> Vec<Decision> {
    let threads = threads.min(keys.len());
    if threads <= 1 {
        return keys.iter().map(decide).collect();
    }
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by_key(|&number| std::cmp::Reverse(keys[number].ops.len()));
    let next = AtomicUsize::new(0);
    let decided: Mutex<Vec<(usize, Decision)>> = Mutex::new(Vec::with_capacity(keys.len()));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut mine = Vec::new();
                while let Some(&number) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    mine.push((number, decide(&keys[number])));
                }
                // A thread that panics takes the scope with it, so nothing is lost in silence.
                decided.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(mine);
            });
        }
    });
    let mut decided = decided.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    decided.sort_unstable_by_key(|&(number, _)| number);
    decided.into_iter().map(|(_, decision)| decision).collect()
}
