//! Runs seeded tests: the same seeds every time, and one command to repeat the one that failed.
//!
//! | variable | meaning |
//! |---|---|
//! | `RAFT_SEED=N` | run this seed alone |
//! | `RAFT_SEEDS=N` | run the seeds 0 to N-1 |

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs `run` with each seed; `test` is the name of the calling test. Tells how many seeds were run.
pub(crate) fn for_each(test: &str, default_count: u64, mut run: impl FnMut(u64)) -> u64 {
    let seeds = match only() {
        Some(seed) => seed..seed + 1,
        None => 0..number("RAFT_SEEDS").unwrap_or(default_count),
    };
    for seed in seeds.clone() {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(seed))) {
            let release = if cfg!(debug_assertions) { "" } else { "--release " };
            eprintln!("seed {seed} failed; reproduce:");
            eprintln!("RAFT_SEED={seed} cargo test {release}-p raft-core {test}");
            resume_unwind(panic);
        }
    }
    seeds.end - seeds.start
}

/// The one seed to run, if only one is wanted.
pub(crate) fn only() -> Option<u64> {
    number("RAFT_SEED")
}

#[expect(clippy::disallowed_methods, reason = "seeds to repeat are given from outside")]
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}
