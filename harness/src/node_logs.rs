//! The second oracle's eyes: what the nodes themselves have, once clients are done.
//!
//! Two looks. [`last_states`] asks the nodes, before they are stopped, how far they have committed and applied. [`read`] goes
//! through the files that they left, with `raftctl inspect`, a program that shares nothing with what it is looked at by.
//! Both only take down; `history_checker` judges.
//!
//! An entry counts as committed up to where its own node knew so. What the nodes have in common is told once; where one has
//! another entry than a node before it, both are.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use history_checker::history::{Committed, Difference, Electorate, NodeLog, NodeState, Vote};
use raftctl::{Client, NodeId, Status};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::cluster::wait::wait_for;
use crate::journal::Journal;

/// How long the nodes may take, with no client at work, until all of them have applied the same.
const SETTLE_DEADLINE: Duration = Duration::from_secs(2);

/// Entries in one event.
const ENTRIES_PER_EVENT: usize = 1_000;

/// Differences that are told of each node.
const DIFFERENCES_MAX: usize = 5;

/// How much of an entry is kept to be told, bytes; more may be compared.
const KEPT_MAX: usize = 240;

/// How far each node has committed, as it knew in the end.
pub type Commits = BTreeMap<NodeId, u64>;

/// Asks all nodes for their state and takes it down; waits a little until it is the same everywhere.
pub async fn last_states(client: &Client, journal: &Journal) -> Commits {
    let all_equal = async || {
        let statuses = statuses(client).await;
        let applied: Vec<u64> = statuses.iter().map(|status| status.applied).collect();
        if applied.windows(2).all(|pair| pair[0] == pair[1]) {
            Ok(statuses)
        } else {
            Err(format!("{applied:?}"))
        }
    };
    let settled = wait_for("all nodes to have applied the same", SETTLE_DEADLINE, all_equal).await;
    let statuses = match settled {
        Ok(statuses) => statuses,
        Err(_) => statuses(client).await,
    };
    let mut commits = Commits::new();
    for Status { node, commit, applied, state_hash, .. } in statuses {
        commits.insert(node, commit);
        journal.node_state(node, &NodeState { commit, applied, state_hash });
    }
    commits
}

async fn statuses(client: &Client) -> Vec<Status> {
    let all = client.status_of_all().await;
    all.into_iter().filter_map(|node| node.status.ok()).map(|status| *status).collect()
}

/// Goes through the files of stopped nodes, `directories`, and takes down what is committed there. `raftctl`: the program,
/// or why there is none. Blocks.
pub fn read(
    raftctl: &Result<PathBuf, String>,
    directories: &BTreeMap<NodeId, PathBuf>,
    commits: &Commits,
    journal: &Journal,
) {
    let mut common: BTreeMap<u64, Kept> = BTreeMap::new();
    let founders =
        Electorate { voters: directories.keys().copied().collect(), outgoing: Vec::new() };
    for (&node, directory) in directories {
        let commit = commits.get(&node).copied().unwrap_or(0);
        let read = match raftctl {
            Ok(raftctl) => inspect(raftctl, directory, Looked::at(node, &founders)),
            Err(problem) => Err(Unread::from(problem.clone())),
        };
        let log = match read {
            Ok(found) => add(node, commit, found, &mut common),
            Err(Unread { problem, damaged }) => NodeLog { problem, damaged, ..NodeLog::default() },
        };
        journal.node_log(node, &log);
    }
    for piece in pieces(&common) {
        journal.committed(&piece);
    }
}

/// Why nothing can be said of a node's files.
#[derive(Debug, PartialEq, Eq)]
struct Unread {
    problem: String,
    /// They are damaged.
    damaged: bool,
}

impl From<String> for Unread {
    fn from(problem: String) -> Unread {
        Unread { problem, damaged: false }
    }
}

/// What a node's files hold.
#[derive(Debug, Default)]
struct Found {
    entries: BTreeMap<u64, Entry>,
    votes: Vec<Vote>,
    /// See [`NodeLog::votes_since`].
    votes_since: Option<u64>,
    /// Its newest snapshot; none: there is none.
    snapshot: Option<Snapshot>,
}

/// Whose files they are, and who was a voter at first.
#[derive(Debug)]
struct Looked<'f> {
    node: NodeId,
    founders: &'f Electorate,
    /// Who was a voter at the beginning of the log, as far as it was read; none: not known.
    base: Option<Electorate>,
}

impl<'f> Looked<'f> {
    fn at(node: NodeId, founders: &'f Electorate) -> Looked<'f> {
        Looked { node, founders, base: Some(founders.clone()) }
    }
}

/// An entry, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    term: u64,
    request: Option<String>,
    /// If it says who the members are: who has a vote.
    config: Option<Electorate>,
    /// Of the whole text.
    checksum: String,
    /// The text's beginning.
    text: String,
}

/// A committed entry, and the first node that has it.
#[derive(Debug)]
struct Kept {
    node: NodeId,
    entry: Entry,
}

/// A line that `raftctl inspect --records` prints: of a record, or in the end of all.
#[derive(Deserialize)]
struct Line<'l> {
    #[serde(default)]
    checksum: String,
    #[serde(borrow)]
    record: Option<&'l RawValue>,
    problem: Option<String>,
    snapshot: Option<Snapshot>,
}

/// The last index in a snapshot, and the index of the configuration in it.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Snapshot {
    index: u64,
    config_index: Option<u64>,
}

/// The lines of a log that count here.
#[derive(Deserialize)]
struct Record {
    index: Option<u64>,
    #[serde(default)]
    term: u64,
    request: Option<String>,
    config: Option<Electorate>,
    truncate: Option<u64>,
    snapshot: Option<IgnoredAny>,
    hard_state: Option<HardState>,
    segment: Option<SegmentStart>,
}

/// A node's term, and its vote in it.
#[derive(Clone, Copy, Deserialize)]
struct HardState {
    term: u64,
    vote: Option<u64>,
}

/// A segment's first line: what the segments before it led to.
#[derive(Deserialize)]
struct SegmentStart {
    number: u64,
    #[serde(flatten)]
    state: HardState,
}

/// Has a program look through a directory, and reads what it says.
fn inspect(raftctl: &Path, directory: &Path, looked: Looked<'_>) -> Result<Found, Unread> {
    let failed = |error: io::Error| format!("{} inspect: {error}", raftctl.display());
    let arguments: [&OsStr; 5] = [
        "inspect".as_ref(),
        directory.as_ref(),
        "--records".as_ref(),
        "--output".as_ref(),
        "json".as_ref(),
    ];
    let mut command = Command::new(raftctl);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(failed)?;
    let found = match child.stdout.take() {
        Some(output) => parse(BufReader::new(output), looked),
        None => Err(Unread::from("says nothing".to_owned())),
    };
    let status = child.wait().map_err(failed)?;
    let found = found?;
    if !status.success() {
        return Err(format!("raftctl inspect ended with {status}").into());
    }
    Ok(found)
}

/// The log as the next start would find it: a later line may take back what earlier ones said.
fn parse(mut lines: BufReader<impl Read>, mut looked: Looked<'_>) -> Result<Found, Unread> {
    let mut found = Found::default();
    let mut text = String::new();
    loop {
        text.clear();
        if lines.read_line(&mut text).map_err(|error| error.to_string())? == 0 {
            found.complete(&looked);
            return Ok(found);
        }
        let not_understood = |error: serde_json::Error| format!("cannot be understood: {error}");
        let line: Line<'_> = serde_json::from_str(&text).map_err(not_understood)?;
        if let Some(problem) = line.problem {
            return Err(Unread { problem, damaged: true });
        }
        if let Some(snapshot) = line.snapshot {
            found.snapshot = Some(snapshot);
        }
        let Some(raw) = line.record else { continue };
        let record: Record = serde_json::from_str(raw.get()).map_err(not_understood)?;
        if let Some(index) = record.index {
            let Record { term, request, config, .. } = record;
            let text = clipped(raw.get());
            let entry = Entry { term, request, config, checksum: line.checksum, text };
            found.entries.insert(index, entry);
        } else if let Some(from) = record.truncate {
            found.entries.split_off(&from);
        } else if record.snapshot.is_some() {
            found.entries.clear();
            looked.base = None;
        } else if let Some(state) = record.hard_state {
            found.take(state, &looked);
        } else if let Some(SegmentStart { number, state }) = record.segment {
            if found.votes_since.is_none() && number > 1 {
                // What was before it has been purged.
                looked.base = None;
            }
            found.votes_since.get_or_insert(if number == 1 { 0 } else { state.term });
            found.take(state, &looked);
        }
    }
}

impl Found {
    fn take(&mut self, HardState { term, vote }: HardState, looked: &Looked<'_>) {
        let Some(node) = vote else { return };
        if self.votes.last().is_some_and(|last| (last.term, last.node) == (term, node)) {
            return;
        }
        let electorate = (node == looked.node).then(|| {
            let latest = self.entries.values().rev().find_map(|entry| entry.config.clone());
            latest.or_else(|| looked.base.clone())
        });
        self.votes.push(Vote { term, node, electorate: electorate.flatten() });
    }

    /// If the newest snapshot still has the founders as members, nothing before it had others.
    fn complete(&mut self, looked: &Looked<'_>) {
        if self.snapshot.is_none_or(|snapshot| snapshot.config_index != Some(0)) {
            return;
        }
        for vote in self.votes.iter_mut().filter(|vote| vote.node == looked.node) {
            vote.electorate.get_or_insert_with(|| looked.founders.clone());
        }
    }
}

fn clipped(text: &str) -> String {
    let end = (0..=KEPT_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text[..end.unwrap_or(0)].to_owned()
}

/// Adds what a node has committed to what others have, and says what there is to say of it.
fn add(node: NodeId, commit: u64, found: Found, common: &mut BTreeMap<u64, Kept>) -> NodeLog {
    let snapshot = found.snapshot.map_or(0, |snapshot| snapshot.index);
    let snapshot_config = found.snapshot.and_then(|snapshot| snapshot.config_index);
    let end = found.entries.keys().next_back().copied().unwrap_or(0).max(snapshot);
    let Found { votes, votes_since, .. } = found;
    let mut log =
        NodeLog { end, snapshot, snapshot_config, votes, votes_since, ..NodeLog::default() };
    for (index, entry) in found.entries {
        if index > commit {
            break;
        }
        if log.first == 0 {
            log.first = index;
        }
        log.last = index;
        let other = common.entry(index).or_insert_with(|| Kept { node, entry: entry.clone() });
        if other.entry != entry && log.differs.len() < DIFFERENCES_MAX {
            let (here, there) = (entry.text, other.entry.text.clone());
            log.differs.push(Difference { index, here, node: other.node, there });
        }
    }
    log
}

/// The entries in pieces, one term and one node each.
fn pieces(common: &BTreeMap<u64, Kept>) -> Vec<Committed> {
    let mut pieces: Vec<Committed> = Vec::new();
    let mut next = 0;
    for (&index, Kept { node, entry }) in common {
        let follows = index == next;
        next = index.saturating_add(1);
        let goes_on = |piece: &&mut Committed| {
            let same = piece.node == *node && piece.term == entry.term;
            same && follows && piece.requests.len() < ENTRIES_PER_EVENT
        };
        let request = entry.request.clone();
        let configs = entry.config.is_some().then_some(index);
        match pieces.last_mut().filter(goes_on) {
            Some(piece) => {
                piece.requests.push(request);
                piece.configs.extend(configs);
            }
            None => pieces.push(Committed {
                node: *node,
                first: index,
                term: entry.term,
                requests: vec![request],
                configs: configs.into_iter().collect(),
            }),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn founders() -> Electorate {
        Electorate { voters: vec![1, 2, 3], outgoing: Vec::new() }
    }

    fn found(lines: &[&str]) -> Result<Found, Unread> {
        parse(BufReader::new(lines.join("\n").as_bytes()), Looked::at(1, &founders()))
    }

    fn entry(index: u64, term: u64, request: &str) -> String {
        format!(
            r#"{{"file":"f","line":1,"offset":0,"checksum":"c{index}{term}","record":{{"index":{index},"term":{term},"request":"{request}","op":{{}}}}}}"#
        )
    }

    #[test]
    fn later_lines_take_back_what_earlier_ones_said() {
        let truncate = r#"{"checksum":"x","record":{"truncate":2}}"#;
        let lines = [
            &entry(1, 1, "a:1"),
            &entry(2, 1, "a:2"),
            &entry(3, 1, "a:3"),
            truncate,
            &entry(2, 2, "b:1"),
        ];
        let found = found(&lines).unwrap();
        let left: Vec<_> =
            found.entries.iter().map(|(index, entry)| (*index, entry.term)).collect();
        assert_eq!(left, [(1, 1), (2, 2)]);
    }

    #[test]
    fn snapshot_takes_the_place_of_all_entries_before_it() {
        let lines = [
            &entry(1, 1, "a:1"),
            r#"{"checksum":"x","record":{"snapshot":{"index":9,"term":1}}}"#,
            &entry(10, 1, "a:2"),
            r#"{"dir":"d","snapshot":{"index":9,"term":1},"first":10}"#,
        ];
        let found = found(&lines).unwrap();
        assert_eq!(found.entries.keys().copied().collect::<Vec<_>>(), [10]);
        let log = add(1, 9, found, &mut BTreeMap::new());
        assert_eq!((log.first, log.last, log.end), (0, 0, 10));
    }

    #[test]
    fn changes_of_members_and_those_in_the_snapshot_are_told() {
        let lines = [
            &entry(1, 1, "a:1"),
            r#"{"checksum":"c","record":{"index":2,"term":1,"config":{"voters":[1]}}}"#,
            &entry(3, 1, "a:2"),
            r#"{"dir":"d","snapshot":{"index":2,"term":1,"config_index":2,"voters":[1]},"first":1}"#,
        ];
        let mut common = BTreeMap::new();
        let log = add(1, 3, found(&lines).unwrap(), &mut common);
        assert_eq!((log.snapshot, log.snapshot_config), (2, Some(2)));
        let [piece] = &pieces(&common)[..] else { panic!("one term, one node") };
        assert_eq!(piece.configs, [2]);
    }

    #[test]
    fn votes_are_told_and_since_when_they_are_all_there() {
        let segment = |number: u64, term: u64, vote: &str| {
            format!(
                r#"{{"checksum":"c","record":{{"segment":{{"number":{number},"cluster":"c","node":1,"next":1,"term":{term}{vote}}}}}}}"#
            )
        };
        let state = |term: u64, vote: &str| {
            format!(r#"{{"checksum":"c","record":{{"hard_state":{{"term":{term}{vote}}}}}}}"#)
        };
        let log = |lines: &[String]| {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let log = add(1, 0, found(&lines).unwrap(), &mut BTreeMap::new());
            let votes: Vec<_> = log.votes.iter().map(|vote| (vote.term, vote.node)).collect();
            (votes, log.votes_since)
        };
        let lines = [
            segment(1, 0, ""),
            state(1, r#","vote":2"#),
            state(3, ""),
            segment(2, 3, ""),
            state(3, r#","vote":1"#),
            segment(3, 3, r#","vote":1"#),
        ];
        assert_eq!(log(&lines), (vec![(1, 2), (3, 1)], Some(0)));
        assert_eq!(log(&lines[3..]), (vec![(3, 1)], Some(3)));
        assert_eq!(log(&[]), (vec![], None));
    }

    #[test]
    fn own_votes_say_who_had_to_agree() {
        let segment = r#"{"checksum":"c","record":{"segment":{"number":1,"cluster":"c","node":1,"next":1,"term":0}}}"#;
        let purged = r#"{"checksum":"c","record":{"segment":{"number":4,"cluster":"c","node":1,"next":1,"term":1}}}"#;
        let vote = |term: u64, node: u64| {
            format!(
                r#"{{"checksum":"c","record":{{"hard_state":{{"term":{term},"vote":{node}}}}}}}"#
            )
        };
        let config = r#"{"checksum":"c","record":{"index":4,"term":1,"config":{"voters":[1,2],"outgoing":[1,3],"learners":[4]}}}"#;
        let truncate = r#"{"checksum":"x","record":{"truncate":4}}"#;
        let installed = r#"{"checksum":"x","record":{"snapshot":{"index":9,"term":1}}}"#;
        let snapshot = |config: u64| {
            format!(
                r#"{{"dir":"d","snapshot":{{"index":9,"term":1,"config_index":{config}}},"first":10}}"#
            )
        };
        let own = |lines: &[&str]| {
            let votes = found(lines).unwrap().votes;
            votes.into_iter().map(|vote| vote.electorate).collect::<Vec<_>>()
        };
        let joint = Electorate { voters: vec![1, 2], outgoing: vec![1, 3] };
        let (one, two, other) = (vote(1, 1), vote(2, 1), vote(3, 2));
        let lines = [segment, &one, config, &two, truncate, &vote(3, 1), &vote(4, 2)];
        let expected = [Some(founders()), Some(joint.clone()), Some(founders()), None];
        assert_eq!(own(&lines), expected);
        assert_eq!(own(&[purged, &two, config, &vote(3, 1)]), [None, Some(joint)]);
        assert_eq!(own(&[purged, &two, &other, &snapshot(0)]), [Some(founders()), None]);
        assert_eq!(own(&[purged, &two, &snapshot(8)]), [None]);
        assert_eq!(own(&[segment, config, installed, &two, &snapshot(8)]), [None]);
    }

    #[test]
    fn damage_is_told_as_such() {
        let error = found(&[&entry(1, 1, "a:1"), r#"{"dir":"d","problem":"line 7 is damaged"}"#])
            .unwrap_err();
        let problem = "line 7 is damaged".to_owned();
        assert_eq!(error, Unread { problem, damaged: true });
        assert!(!found(&["raftd"]).unwrap_err().damaged);
    }

    #[test]
    fn entries_that_differ_are_told_up_to_what_both_have_committed() {
        let mut common = BTreeMap::new();
        let one = found(&[&entry(1, 1, "a:1"), &entry(2, 1, "a:2"), &entry(3, 1, "a:3")]).unwrap();
        let two = found(&[&entry(1, 1, "a:1"), &entry(2, 2, "b:2"), &entry(3, 2, "b:3")]).unwrap();
        assert_eq!(add(1, 3, one, &mut common).differs, []);
        let log = add(2, 2, two, &mut common);
        let indexes: Vec<_> =
            log.differs.iter().map(|difference| (difference.index, difference.node)).collect();
        assert_eq!((indexes, log.last, log.end), (vec![(2, 1)], 2, 3));
    }

    #[test]
    fn pieces_are_of_one_term_and_without_gaps() {
        let mut common = BTreeMap::new();
        let lines =
            [&entry(1, 1, "a:1"), &entry(2, 1, "a:2"), &entry(3, 2, "a:3"), &entry(5, 2, "a:4")];
        add(1, 9, found(&lines.map(String::as_str)).unwrap(), &mut common);
        let told: Vec<_> = pieces(&common)
            .into_iter()
            .map(|piece| (piece.first, piece.term, piece.requests.len()))
            .collect();
        assert_eq!(told, [(1, 1, 2), (3, 2, 1), (5, 2, 1)]);
    }

    #[test]
    fn long_entries_are_cut_between_characters() {
        let text = "ä".repeat(KEPT_MAX);
        assert_eq!(clipped(&text).len(), KEPT_MAX);
        assert_eq!(clipped("short"), "short");
    }
}
