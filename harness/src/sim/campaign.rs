//! Many seeds, on all cores: until one fails, or all are done.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::{Settings, Tally, Violation, run};

/// What became of a range of seeds.
#[derive(Debug, Default)]
pub struct Campaign {
    /// Seeds that were run.
    pub seeds: u64,
    /// What happened in all of them.
    pub tally: Tally,
    /// The lowest seed that failed, of those that were run.
    pub failure: Option<(u64, Violation)>,
    /// How long it took.
    pub elapsed: Duration,
}

/// Kinds of faults and events that a long campaign must have seen.
const EXPECTED: [&str; 39] = [
    "answers lost",
    "bad snapshot files",
    "changes done",
    "changes refused",
    "clock jump",
    "configurations in force",
    "crash",
    "crash of all",
    "crashes that lost records",
    "crashes that tore a write",
    "cut: bridge",
    "cut: deaf node",
    "cut: halves",
    "cut: isolated node",
    "cut: mute node",
    "cut: one pair",
    "cut: one way",
    "cut: partial mesh",
    "cut: ring",
    "cut: thirds",
    "frames duplicated",
    "frames held by a link",
    "frames held for seconds",
    "frames lost",
    "frames lost in a cut",
    "links held",
    "nodes readmitted",
    "operations ok",
    "pause",
    "pieces of snapshots received",
    "requests repeated",
    "sessions found expired",
    "slow disk",
    "snapshots taken",
    "snapshots taken over",
    "storm",
    "suffixes voided",
    "transfers done",
    "wiped directory",
];

/// Seeds after which everything that is expected must have happened.
const ENOUGH_SEEDS: u64 = 1_000;

impl Campaign {
    /// What should have happened in so many seeds, and did not.
    pub fn missing(&self) -> Vec<&'static str> {
        if self.seeds < ENOUGH_SEEDS {
            return Vec::new();
        }
        EXPECTED.into_iter().filter(|what| !self.tally.counts.contains_key(what)).collect()
    }

    /// How many seeds were done in a minute.
    pub fn seeds_per_minute(&self) -> f64 {
        per_minute(Duration::from_secs(self.seeds), self.elapsed)
    }

    /// How many hours of the nodes' lives were done in a minute.
    pub fn hours_per_minute(&self) -> f64 {
        per_minute(Duration::from_micros(self.tally.virtual_us), self.elapsed) / 3_600.0
    }
}

/// So many seconds of something in a time, for a minute.
fn per_minute(of: Duration, time: Duration) -> f64 {
    of.as_secs_f64() / time.as_secs_f64().max(1e-9) * 60.0
}

/// Runs the seeds with so many threads, up to the first failure; tells now and then how many are done.
pub fn run_all(
    seeds: Range<u64>,
    settings: &Settings,
    jobs: usize,
    mut progress: impl FnMut(u64),
) -> Campaign {
    let start = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let stop = AtomicBool::new(false);
    let mut campaign = Campaign::default();
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..jobs.max(1) {
            let sender = sender.clone();
            let (next, stop, end) = (&next, &stop, seeds.end);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || sender.send((seed, run(seed, settings, false))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (seed, run) in receiver {
            campaign.seeds += 1;
            campaign.tally.merge(&run.tally);
            if let Some(violation) = run.violation {
                stop.store(true, Ordering::Relaxed);
                if campaign.failure.as_ref().is_none_or(|(lowest, _)| seed < *lowest) {
                    campaign.failure = Some((seed, violation));
                }
            }
            progress(campaign.seeds);
        }
    });
    campaign.elapsed = start.elapsed();
    campaign
}
