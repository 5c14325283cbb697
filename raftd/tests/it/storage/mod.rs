//! The data directory, seen from outside: what survives, what is refused, and in which words.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod damage;
mod directory;
mod disk_full;
mod inspect;
mod papers;
mod purge;
mod recovery;
mod set_aside;
mod snapshots;
mod transfers;
mod writer;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_core::effects::{Record, Write};
use raft_core::kv::{Command, Limits, Op, RequestId, Store};
use raft_core::membership::Configuration;
use raft_core::node::Recovered;
use raft_core::snapshot::Snapshot;
use raft_core::types::{Entry, EntryId, Index, NodeId, Payload, Term};
use raftd::storage::{self, Error, Founding, Identity, LogFile, Opened, Options};
use rand::Rng;
use rand::rngs::SmallRng;
use tempfile::TempDir;

/// A directory in memory, where there is such a place: these tests sync thousands of times, and whether the disk obeys
/// is not what they find out.
fn scratch() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

fn identity() -> Identity {
    Identity { cluster: "demo".into(), node: 1 }
}

/// Node 1 is the whole cluster.
fn alone() -> Founding {
    Founding { founders: [1].into(), has_peers: false }
}

/// Node 1 is one of three.
fn with_peers() -> Founding {
    Founding { founders: [1, 2, 3].into(), has_peers: true }
}

/// Small enough that a test sees several segments and several steps of padding.
const TINY: Options = Options { segment_bytes: 2_000, padding_bytes: 512 };

/// One segment, no padding: the file holds what was written and nothing else.
const PLAIN: Options = Options { segment_bytes: u64::MAX, padding_bytes: 0 };

fn open(dir: &Path) -> Opened {
    open_with(dir, PLAIN).unwrap()
}

fn open_with(dir: &Path, options: Options) -> Result<Opened, Error> {
    storage::open_with(dir, &identity(), &alone(), options)
}

/// Why the directory cannot be opened; asserts that the attempt changed nothing.
fn refusal(dir: &Path) -> String {
    let before = contents(dir);
    let refused = open_with(dir, PLAIN).expect_err("the directory must be refused");
    assert_eq!(contents(dir), before, "a refused start changed files: {refused}");
    refused.to_string()
}

/// All files but the lock, by path.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(dir) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if path.file_name().unwrap() != "LOCK" {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

fn segment(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("log/{number:020}.log"))
}

/// Numbers of the segments there are.
fn segments(dir: &Path) -> Vec<u64> {
    let names = contents(&dir.join("log")).into_iter().map(|(path, _)| path);
    let segments = names.filter(|path| path.extension().is_some_and(|end| end == "log"));
    segments.map(|path| path.file_stem().unwrap().to_str().unwrap().parse().unwrap()).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(path, target).unwrap();
        }
    }
}

fn copy_file(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
}

fn copied(from: &Path) -> TempDir {
    let dir = scratch();
    copy(from, dir.path());
    dir
}

fn edit(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = fs::read(file).unwrap();
    change(&mut content);
    fs::write(file, content).unwrap();
}

fn hard_state(term: Term, vote: Option<NodeId>) -> Record {
    Record::HardState { term, vote }
}

fn put(index: Index, term: Term, value: &str) -> Record {
    let request = RequestId { client: "c1@0".into(), seq: index };
    let op = Op::Put { key: "key".into(), value: value.into() };
    let payload = Payload::Command(Command { request, ack: index - 1, op });
    Record::Entry(Entry::new(EntryId { term, index }, payload))
}

/// What the log up to `last` may amount to, with some text that is more than ASCII.
fn snapshot(last: EntryId, value_bytes: usize) -> Snapshot {
    let mut store = Store::new(Limits::default());
    for index in last.index.saturating_sub(3).max(1)..=last.index {
        let value = "v\"\u{e9}\u{20ac}\u{1f600}".repeat(value_bytes / 11 + 1);
        let request = RequestId { client: "c1@0".into(), seq: index };
        let op = Op::Put { key: format!("key {index}"), value };
        store.apply(index, &Command { request, ack: 0, op });
    }
    let config = Arc::new(Configuration::founding([1, 2, 3].into()));
    Snapshot { last, config_index: last.index.min(1), config, state: store.freeze() }
}

fn id(index: Index, term: Term) -> EntryId {
    EntryId { term, index }
}

fn snapshot_path(dir: &Path, last: EntryId) -> PathBuf {
    dir.join(format!("snapshot/{:020}-{}.snap", last.index, last.term))
}

/// Names in the snapshots' directory.
fn snapshots(dir: &Path) -> Vec<String> {
    let paths = contents(&dir.join("snapshot")).into_iter().map(|(path, _)| path);
    paths.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

fn assert_same(found: &Snapshot, expected: &Snapshot) {
    assert_eq!(
        (found.last, found.config_index, &found.config, found.state.hash()),
        (expected.last, expected.config_index, &expected.config, expected.state.hash())
    );
}

/// Makes the records durable as one batch.
fn write(log: &mut LogFile, records: Vec<Record>) {
    log.append(&Write { seq: 1, term: 1, records });
    log.sync().unwrap();
}

/// What a directory must give back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    term: Term,
    vote: Option<NodeId>,
    base: EntryId,
    entries: Vec<Arc<Entry>>,
}

impl From<Recovered> for Model {
    fn from(recovered: Recovered) -> Model {
        let Recovered { term, vote, base, entries, .. } = recovered;
        Model { term, vote, base, entries }
    }
}

impl Model {
    fn apply(&mut self, record: &Record) {
        match record {
            Record::HardState { term, vote } => (self.term, self.vote) = (*term, *vote),
            Record::Truncate { from } => self.entries.retain(|entry| entry.id.index < *from),
            Record::Entry(entry) => self.entries.push(Arc::clone(entry)),
            Record::Snapshot { last } => {
                self.base = *last;
                self.entries.clear();
            }
        }
    }

    fn apply_all(&mut self, records: &[Record]) {
        for record in records {
            self.apply(record);
        }
    }

    fn last(&self) -> EntryId {
        self.entries.last().map_or(self.base, |entry| entry.id)
    }

    /// Records that a node could write next that knows the entries up to `committed` to be so; takes them as written.
    fn random_records(&mut self, rng: &mut SmallRng, committed: Index) -> Vec<Record> {
        let mut records = Vec::new();
        for _ in 0..rng.random_range(1..6) {
            let record = match rng.random_range(0..10) {
                0 => hard_state(self.term + rng.random_range(1..3), None),
                1 => hard_state(self.term, Some(self.vote.unwrap_or(rng.random_range(1..6)))),
                2 if self.last().index > committed => {
                    let last = self.last().index;
                    let from = last.saturating_sub(3).max(committed + 1);
                    Record::Truncate { from: rng.random_range(from..=last) }
                }
                _ if self.term == 0 => hard_state(1, None),
                _ => {
                    let last = self.last();
                    let term = rng.random_range(last.term.max(1)..=self.term);
                    put(last.index + 1, term, &"v".repeat(rng.random_range(0..300)))
                }
            };
            self.apply(&record);
            records.push(record);
        }
        records
    }
}
