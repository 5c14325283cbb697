//! What the log costs: `cargo bench -p raftd --bench storage [DIR]` measures on the disk that DIR is on.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use raft_core::effects::{Record, Write};
use raft_core::kv::{Command, Op, RequestId};
use raft_core::types::{Entry, EntryId, Payload};
use raftd::storage::{self, Founding, Identity, LogFile, Options};
use tempfile::TempDir;

const VALUE_BYTES: usize = 100;
const RECOVERED_ENTRIES: u64 = 1_000_000;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --all-targets` runs this too, and wants no figures.
    if !args.iter().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let parent = args.iter().find(|arg| !arg.starts_with("--"));
    let parent = parent.map_or_else(std::env::temp_dir, PathBuf::from);
    measure_padding(&parent)?;
    measure_recovery(&parent)
}

fn identity() -> Identity {
    Identity { cluster: "bench".into(), node: 1 }
}

fn founding() -> Founding {
    Founding { founders: [1].into(), has_peers: false }
}

fn put(index: u64) -> Record {
    let request = RequestId { client: format!("c{}@1", index % 64), seq: index };
    let op = Op::Put { key: format!("key-{index:012}"), value: "v".repeat(VALUE_BYTES) };
    let payload = Payload::Command(Command { request, ack: index - 1, op });
    Record::Entry(Entry::new(EntryId { term: 1, index }, payload))
}

/// One batch after the other, each made durable, with and without padding. Rounds alternate, so that both see the same
/// weather.
fn measure_padding(parent: &Path) -> Result<()> {
    const ROUNDS: usize = 5;
    const SYNCS: u64 = 1_000;
    println!(
        "append and fdatasync, median of {ROUNDS} rounds of {SYNCS}, records of {VALUE_BYTES}-byte values"
    );
    println!("{:>8} {:>14} {:>14} {:>7}", "records", "no padding", "padding", "ratio");
    for records in [1, 8, 64, 256] {
        let (mut plain, mut padded) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            plain.push(append(parent, 0, records, SYNCS)?);
            padded.push(append(parent, Options::default().padding_bytes, records, SYNCS)?);
        }
        let (plain, padded) = (median(plain), median(padded));
        let ratio = plain.as_secs_f64() / padded.as_secs_f64();
        println!("{records:>8} {plain:>11.1?}/op {padded:>11.1?}/op {ratio:>6.2}x");
    }
    Ok(())
}

/// Mean time of a batch.
fn append(parent: &Path, padding_bytes: u64, records: u64, syncs: u64) -> Result<Duration> {
    let dir = TempDir::new_in(parent)?;
    let options = Options { padding_bytes, ..Options::default() };
    let mut log = open(dir.path(), options)?;
    let start = Instant::now();
    for sync in 0..syncs {
        let batch = (1..=records).map(|n| put(sync * records + n)).collect();
        log.append(&Write { seq: sync + 1, term: 1, records: batch });
        log.sync()?;
    }
    Ok(start.elapsed() / u32::try_from(syncs)?)
}

fn open(dir: &Path, options: Options) -> Result<LogFile> {
    let mut log = storage::open_with(dir, &identity(), &founding(), options)?.log;
    let records = vec![Record::HardState { term: 1, vote: Some(1) }];
    log.append(&Write { seq: 1, term: 1, records });
    log.sync()?;
    Ok(log)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn measure_recovery(parent: &Path) -> Result<()> {
    let dir = TempDir::new_in(parent)?;
    let mut log = open(dir.path(), Options::default())?;
    for first in (1..=RECOVERED_ENTRIES).step_by(1_000) {
        let records = (first..first + 1_000).map(put).collect();
        log.append(&Write { seq: first + 1, term: 1, records });
        log.sync()?;
    }
    drop(log);
    let before = memory_kib()?;
    let start = Instant::now();
    let opened = storage::open(dir.path(), &identity(), &founding())?;
    let elapsed = start.elapsed();
    let memory = (memory_kib()? - before) / 1024;
    let entries = opened.recovered.entries.len();
    println!("recovery of {entries} entries: {elapsed:.2?}, {memory} MiB of memory");
    Ok(())
}

fn memory_kib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
