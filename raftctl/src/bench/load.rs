//! What the clients of a benchmark do, and what came of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use raftctl::{Client, Op};
use rand::distr::Alphanumeric;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use super::{BenchArgs, Mix, index};

/// What takes longer is counted as this: an hour.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

/// The operations that clients choose from.
#[derive(Debug)]
pub(super) struct Load {
    keys: Vec<String>,
    value: String,
    mix: Mix,
    seed: u64,
}

impl Load {
    pub(super) fn new(args: &BenchArgs) -> anyhow::Result<Load> {
        let width = index(args.key_bytes) - 1;
        let digits_max = (args.keys - 1).checked_ilog10().map_or(1, |digits| index(digits) + 1);
        if digits_max > width {
            bail!(
                "{} keys do not fit {} bytes; give --key-bytes {} or more",
                args.keys,
                args.key_bytes,
                digits_max + 1
            );
        }
        let mut rng = SmallRng::seed_from_u64(args.seed);
        let letters = (&mut rng).sample_iter(Alphanumeric).map(char::from);
        Ok(Load {
            value: letters.take(index(args.value_bytes)).collect(),
            keys: (0..args.keys).map(|key| format!("k{key:0width$}")).collect(),
            mix: args.mix,
            seed: args.seed,
        })
    }

    pub(super) fn keys(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn put(&self, key: usize) -> Op {
        Op::Put { key: self.keys[key].clone(), value: self.value.clone() }
    }

    fn next(&self, rng: &mut SmallRng) -> Op {
        let key = rng.random_range(0..self.keys.len());
        if rng.random_range(0..100) < self.mix.gets_percent {
            let (key, consistency) = (self.keys[key].clone(), self.mix.consistency);
            return Op::Get { key, consistency, min_index: 0 };
        }
        self.put(key)
    }
}

/// One client: a request, its answer, the next request.
pub(super) async fn work(client: Client, load: Arc<Load>, tally: Arc<Tally>, worker: u32) {
    let mut rng = SmallRng::seed_from_u64(load.seed ^ (u64::from(worker) + 1) << 32);
    let mut begun = Instant::now();
    while begun < tally.stop {
        let op = load.next(&mut rng);
        let outcome = client.call(op).await;
        let ended = Instant::now();
        let is_refused = outcome.is_err();
        tally.count(begun, ended, outcome.as_ref().err().map(raftctl::Error::code));
        if is_refused {
            // What fails at once, such as a connection refused, must not take the processor from the nodes.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        begun = Instant::now();
    }
}

/// What came of the operations.
#[derive(Debug)]
pub(super) struct Tally {
    counted_from: Instant,
    stop: Instant,
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    /// All that succeeded so far, counted or not.
    ended: u64,
    latency_ns: Histogram<u64>,
    errors: BTreeMap<String, u64>,
}

/// What a benchmark amounts to.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Of the operations that succeeded and count.
    pub(super) latency_ns: Histogram<u64>,
    /// How many failed, by error code.
    pub(super) errors: BTreeMap<String, u64>,
}

impl Tally {
    pub(super) fn new(counted_from: Instant, stop: Instant) -> Tally {
        let latency_ns = Histogram::new_with_max(LATENCY_NS_MAX, 3)
            .expect("an hour in nanoseconds to 3 digits is a legal range");
        let counts = Counts { ended: 0, latency_ns, errors: BTreeMap::new() };
        Tally { counted_from, stop, counts: Mutex::new(counts) }
    }

    /// How many operations have succeeded so far, counted or not.
    pub(super) fn ended(&self) -> u64 {
        self.counts().ended
    }

    pub(super) fn result(&self) -> Outcome {
        let counts = self.counts();
        Outcome { latency_ns: counts.latency_ns.clone(), errors: counts.errors.clone() }
    }

    fn count(&self, begun: Instant, ended: Instant, error: Option<&str>) {
        let mut counts = self.counts();
        if error.is_none() {
            counts.ended += 1;
        }
        if ended < self.counted_from || ended > self.stop {
            return;
        }
        if let Some(code) = error {
            *counts.errors.entry(code.to_owned()).or_default() += 1;
        } else {
            let ns = (ended - begun).as_nanos();
            counts.latency_ns.saturating_record(u64::try_from(ns).unwrap_or(u64::MAX));
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// CPU time of this process.
pub(super) fn own_cpu() -> anyhow::Result<Duration> {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;

    let usage = getrusage(UsageWho::RUSAGE_SELF).context("cannot read the processor time used")?;
    let us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(us)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> BenchArgs {
        #[derive(clap::Parser)]
        struct Only {
            #[command(flatten)]
            bench: BenchArgs,
        }
        let words = std::iter::once("bench").chain(line.split_whitespace());
        <Only as clap::Parser>::parse_from(words).bench
    }

    #[test]
    fn keys_and_values_have_their_sizes() {
        let load = Load::new(&args("--keys 100 --key-bytes 5 --value-bytes 7")).unwrap();
        assert_eq!((load.keys[0].as_str(), load.keys[99].as_str()), ("k0000", "k0099"));
        assert_eq!(load.value.len(), 7);
        assert!(Load::new(&args("--keys 10 --key-bytes 2")).is_ok());
        let complaint = Load::new(&args("--keys 11 --key-bytes 2")).unwrap_err().to_string();
        assert!(complaint.contains("--key-bytes 3"), "{complaint}");
    }

    #[test]
    fn mix_decides_what_is_done_and_the_seed_decides_the_rest() {
        let gets = |mix: &str| {
            let load = Load::new(&args(&format!("--mix {mix}"))).unwrap();
            let mut rng = SmallRng::seed_from_u64(1);
            (0..1_000).filter(|_| matches!(load.next(&mut rng), Op::Get { .. })).count()
        };
        assert_eq!((gets("put"), gets("get")), (0, 1_000));
        assert!((300..700).contains(&gets("mixed")));
        assert_eq!(gets("30"), gets("30"));
    }

    #[test]
    fn operation_counts_if_it_ends_in_time() {
        let start = Instant::now();
        let second = |s| start + Duration::from_secs(s);
        let tally = Tally::new(second(1), second(3));
        tally.count(second(0), second(0), None);
        tally.count(second(0), second(2), None);
        tally.count(second(2), second(4), None);
        tally.count(second(2), second(2), Some("timeout"));
        assert_eq!(tally.ended(), 3);
        let outcome = tally.result();
        assert_eq!(outcome.latency_ns.len(), 1);
        assert!(outcome.latency_ns.equivalent(outcome.latency_ns.max(), 2_000_000_000));
        assert_eq!(outcome.errors, BTreeMap::from([("timeout".to_owned(), 1)]));
    }
}
