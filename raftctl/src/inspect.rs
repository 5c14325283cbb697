//! `raftctl inspect`: reads and checks a stopped node's files.

use std::path::{Path, PathBuf};

use raftd::storage::{self, Inspected, InspectedSnapshot, PapersStanding, Summary, Torn};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::args::InspectArgs;
use crate::output::{Exit, Output};

/// What is printed of a record with `--output json`.
#[derive(Debug, Serialize)]
struct RecordReport<'a> {
    file: &'a Path,
    line: u64,
    offset: u64,
    checksum: &'a str,
    record: &'a RawValue,
}

/// What is printed of a directory with `--output json`; after the records, if those are printed.
#[derive(Debug, Serialize)]
struct Report<'a> {
    dir: &'a Path,
    #[serde(flatten)]
    log: Option<LogReport<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct LogReport<'a> {
    cluster: &'a str,
    node: u64,
    incarnation: u64,
    /// Whether the node may vote: `full`, `new` or `lost`.
    standing: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<SnapshotReport<'a>>,
    term: u64,
    vote: Option<u64>,
    first: u64,
    last: u64,
    last_term: u64,
    segments: u64,
    records: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    torn: Option<TornReport<'a>>,
    /// Files that the next start removes.
    leftovers: &'a [PathBuf],
    /// Where damaged files were moved by earlier starts.
    damaged: &'a [PathBuf],
}

#[derive(Debug, Serialize)]
struct SnapshotReport<'a> {
    file: &'a Path,
    index: u64,
    term: u64,
    bytes: u64,
    keys: usize,
    sessions: usize,
    config_index: u64,
    voters: Vec<u64>,
    /// As `status` shows it.
    state_hash: String,
}

#[derive(Debug, Serialize)]
struct TornReport<'a> {
    file: &'a Path,
    line: u64,
    keep_bytes: u64,
    cut_bytes: u64,
}

pub(crate) fn run(args: &InspectArgs, output: &Output) -> Exit {
    let mut inspection = match storage::inspect(&args.dir) {
        Ok(inspection) => inspection,
        Err(error) => {
            print_json(&args.dir, None, Some(&error), output);
            output.error(&error.to_string());
            return Exit::Failed;
        }
    };
    if args.records {
        for record in inspection.by_ref() {
            print_record(&record, output);
        }
    }
    let summary = inspection.finish();
    print_json(&args.dir, Some(&summary), summary.problem.as_ref(), output);
    if !output.is_json() {
        print_summary(&args.dir, &summary, output);
    }
    match &summary.problem {
        Some(problem) => {
            output.error(&problem.to_string());
            Exit::Failed
        }
        None => Exit::Done,
    }
}

fn print_record(record: &Inspected, output: &Output) {
    if !output.is_json() {
        let file = record.file.file_name().unwrap_or_default().display();
        return output.line(&format!("{file}:{}: {}", record.line, record.text));
    }
    // The line was decoded, so it is a checksum, a space, and JSON.
    let parts = record.text.split_once(' ');
    if let Some((checksum, json)) = parts
        && let Ok(content) = serde_json::from_str::<&RawValue>(json)
    {
        let (file, line, offset) = (record.file.as_path(), record.line, record.offset);
        output.json(&RecordReport { file, line, offset, checksum, record: content });
    }
}

fn print_json(
    dir: &Path,
    summary: Option<&Summary>,
    problem: Option<&storage::Error>,
    output: &Output,
) {
    if !output.is_json() {
        return;
    }
    let log = summary.map(|summary| LogReport {
        cluster: &summary.cluster,
        node: summary.node,
        incarnation: summary.incarnation,
        standing: standing(summary).0,
        snapshot: summary.snapshot.as_ref().map(|snapshot| SnapshotReport {
            file: &snapshot.file,
            index: snapshot.last.index,
            term: snapshot.last.term,
            bytes: snapshot.bytes,
            keys: snapshot.keys,
            sessions: snapshot.sessions,
            config_index: snapshot.config_index,
            voters: snapshot.config.voters().into_iter().collect(),
            state_hash: format!("{:016x}", snapshot.state_hash),
        }),
        term: summary.term,
        vote: summary.vote,
        first: summary.first,
        last: summary.last.index,
        last_term: summary.last.term,
        segments: summary.segments,
        records: summary.records,
        bytes: summary.bytes,
        torn: summary.torn.as_ref().map(|torn| TornReport {
            file: &torn.file,
            line: torn.line,
            keep_bytes: torn.keep_bytes,
            cut_bytes: torn.cut_bytes,
        }),
        leftovers: &summary.leftovers,
        damaged: &summary.damaged,
    });
    output.json(&Report { dir, log, problem: problem.map(ToString::to_string) });
}

fn print_summary(dir: &Path, summary: &Summary, output: &Output) {
    let vote = summary.vote.map_or_else(|| "nobody".to_owned(), |node| format!("node {node}"));
    let entries = if summary.first == 0 {
        "none".to_owned()
    } else {
        let last = summary.last;
        format!("{} to {}, the last of term {}", summary.first, last.index, last.term)
    };
    let Summary { cluster, node, term, segments, records, bytes, .. } = summary;
    output.line(&format!("{}: node {node} of cluster {cluster}", dir.display()));
    output.line(&format!("standing  {}", standing(summary).1));
    output.line(&format!("snapshot  {}", snapshot(summary)));
    output.line(&format!("term      {term}, vote for {vote}"));
    output.line(&format!("entries   {entries}"));
    output.line(&format!("files     {segments} segments, {records} records, {bytes} bytes"));
    output.line(&format!("tail      {}", tail(summary.torn.as_ref())));
    for leftover in &summary.leftovers {
        output.line(&format!("leftover  {}; the next start removes it", leftover.display()));
    }
    for damaged in &summary.damaged {
        output.line(&format!("damaged   {}; moved there by an earlier start", damaged.display()));
    }
    let verdict = if summary.problem.is_some() { "DAMAGED" } else { "intact" };
    output.line(&format!("verdict   {verdict}"));
}

/// A word, and what it means.
fn standing(summary: &Summary) -> (&'static str, &'static str) {
    match summary.standing {
        PapersStanding::New => (
            "new",
            "new: takes no part until all other founders have said that they do not know it",
        ),
        PapersStanding::Full => ("full", "full: holds all that it ever promised"),
        PapersStanding::Lost => {
            ("lost", "lost: has no vote until a leader has taken note of this directory")
        }
    }
}

fn snapshot(summary: &Summary) -> String {
    let Some(InspectedSnapshot { last, bytes, keys, sessions, .. }) = &summary.snapshot else {
        return if summary.problem.is_some() { "none that is intact" } else { "none" }.to_owned();
    };
    let (index, term) = (last.index, last.term);
    format!("up to {index} of term {term}, {keys} keys, {sessions} sessions, {bytes} bytes")
}

fn tail(torn: Option<&Torn>) -> String {
    torn.map_or_else(
        || "complete".to_owned(),
        |torn| {
            format!(
                "{}, line {}: {} bytes of a write that never finished; nothing was acknowledged from it, and the \
                 next start removes it",
                torn.file.display(),
                torn.line,
                torn.cut_bytes
            )
        },
    )
}
