//! Tables: what happened, what was checked, what became of the nodes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use history_checker::history::Exit;
use history_checker::results::{Check, Verdict};
use serde::Serialize;

use super::lanes::times_leader;
use super::plots::quantile;
use super::run::{Outcome, Run};
use super::stage::{effect, kind_number};
use super::words::{amount, at, clip, count, nodes, number, plural, put, span};

/// Most faults listed one by one.
const FAULTS_MAX: usize = 1_000;

/// Most other things listed one by one.
const OTHERS_MAX: usize = 600;

/// One kind of operation.
#[derive(Debug, Default, Serialize)]
pub(super) struct FunctionRow {
    name: String,
    invoked: String,
    ok: String,
    fail: String,
    info: String,
    p50: String,
    p95: String,
    p99: String,
    max: String,
}

/// Operations by kind, and all of them. Latencies are of the ok ones.
pub(super) fn functions(run: &Run) -> Vec<FunctionRow> {
    let of =
        |function: usize| row(run, &run.functions[function], |op_function| op_function == function);
    let mut rows: Vec<FunctionRow> = (0..run.functions.len()).map(of).collect();
    if rows.len() > 1 {
        rows.push(row(run, "all", |_| true));
    }
    rows
}

fn row(run: &Run, name: &str, wanted: impl Fn(usize) -> bool) -> FunctionRow {
    let ops = || run.ops.iter().filter(|op| wanted(op.function));
    let ended = |outcomes: &[Outcome]| {
        count(number(ops().filter(|op| outcomes.contains(&op.outcome)).count()))
    };
    let ok = ops().filter(|op| op.outcome == Outcome::Ok);
    let mut latencies: Vec<u64> = ok.map(|op| op.completed - op.invoked).collect();
    latencies.sort_unstable();
    let latency = |share| quantile(&latencies, share).map_or(String::new(), span);
    FunctionRow {
        name: clip(name, 40),
        invoked: count(number(ops().count())),
        ok: ended(&[Outcome::Ok]),
        fail: ended(&[Outcome::Fail]),
        info: ended(&[Outcome::Info, Outcome::Open]),
        p50: latency(0.5),
        p95: latency(0.95),
        p99: latency(0.99),
        max: latency(1.0),
    }
}

/// One reason why operations did not end well.
#[derive(Debug, Serialize)]
pub(super) struct ErrorRow {
    outcome: &'static str,
    error: String,
    times: String,
}

/// The most frequent ones.
pub(super) fn errors(run: &Run) -> Vec<ErrorRow> {
    let mut errors: Vec<_> = run.errors.iter().collect();
    errors.sort_by_key(|(_, times)| std::cmp::Reverse(**times));
    errors
        .into_iter()
        .take(8)
        .map(|((outcome, error), times)| ErrorRow {
            outcome: outcome.word(),
            error: clip(error, 120),
            times: count(*times),
        })
        .collect()
}

/// One kind of fault.
#[derive(Debug, Serialize)]
pub(super) struct KindRow {
    name: String,
    kind: usize,
    bit: String,
    no_effect: String,
    skipped: String,
    /// All proof together: `12,040 ms stopped`.
    proof: String,
    /// How long faults of this kind were on, together.
    on: String,
    /// The longest time without an acknowledged write that such a fault had a part in.
    outage: String,
    reasons: Vec<String>,
}

/// Faults by kind.
pub(super) fn kinds(run: &Run, checks: &[Check]) -> Vec<KindRow> {
    let availability = checks.iter().find(|check| check.name == "availability");
    let outage = |name: &str| {
        let ms = availability?.details["faults"][name]["outage_ms_max"].as_f64()?;
        Some(span(Duration::try_from_secs_f64(ms / 1e3).ok()?.as_nanos().try_into().ok()?))
    };
    let mut names: Vec<&str> = Vec::new();
    for fault in &run.faults {
        if !names.contains(&fault.kind.as_str()) && names.len() < 24 {
            names.push(&fault.kind);
        }
    }
    names.sort_by_key(|name| (kind_number(name), *name));
    names.into_iter().map(|name| kind(run, name, outage(name).unwrap_or_default())).collect()
}

fn kind(run: &Run, name: &str, outage: String) -> KindRow {
    let all = || run.faults.iter().filter(|fault| fault.kind == name);
    let installed = || all().filter(|fault| fault.skipped.is_none());
    let mut reasons: Vec<String> = Vec::new();
    for why in all().filter_map(|fault| fault.skipped.as_deref()) {
        let why = clip(why, 160);
        if !reasons.contains(&why) && reasons.len() < 3 {
            reasons.push(why);
        }
    }
    let mut proof: BTreeMap<String, u64> = BTreeMap::new();
    for fault in installed().filter(|fault| fault.proof > 0) {
        let sum = proof.entry(clip(&fault.unit, 60)).or_default();
        *sum = sum.saturating_add(fault.proof);
    }
    let proof: Vec<String> =
        proof.into_iter().take(4).map(|(unit, sum)| amount(sum, &unit)).collect();
    let on =
        installed().map(|fault| fault.stop.unwrap_or(run.end).saturating_sub(fault.start)).sum();
    KindRow {
        name: clip(name, 40),
        kind: kind_number(name),
        bit: count(number(installed().filter(|fault| fault.proof > 0).count())),
        no_effect: nonzero(number(installed().filter(|fault| fault.proof == 0).count())),
        skipped: nonzero(number(all().filter(|fault| fault.skipped.is_some()).count())),
        proof: proof.join(", "),
        on: span(on),
        outage,
        reasons,
    }
}

/// A count, or nothing for none: a table of zeros hides the figures.
fn nonzero(n: u64) -> String {
    if n == 0 { String::new() } else { count(n) }
}

/// Something that happened.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    #[serde(skip)]
    time: u64,
    at: String,
    lasted: String,
    /// `fault`, `leader`, `exit`, `panic`, `phase` or `violation`.
    class: &'static str,
    /// Number of the fault kind's colour.
    kind: Option<usize>,
    text: String,
    effect: String,
}

/// The run's story in order of time, and how many entries did not fit.
pub(super) fn story(run: &Run, violations: &[(u64, String)]) -> (Vec<Entry>, String) {
    let other = |time, class, text| Entry {
        time,
        at: at(time),
        lasted: String::new(),
        class,
        kind: None,
        text,
        effect: String::new(),
    };
    let mut others: Vec<Entry> = Vec::new();
    others
        .extend(violations.iter().map(|(time, class)| other(*time, "violation", clip(class, 80))));
    others.extend(run.phases.iter().map(|(time, name)| other(*time, "phase", phase(name))));
    for (id, node) in &run.nodes {
        others.extend(
            node.panics
                .iter()
                .map(|(time, line)| other(*time, "panic", format!("n{id}: {}", clip(line, 200)))),
        );
        let unexpected = node.exits.iter().filter(|(_, exit)| !exit.expected);
        others.extend(unexpected.map(|(time, exit)| {
            other(*time, "exit", format!("n{id} exited by itself: {}", clip(&exit.how, 80)))
        }));
    }
    others.extend(
        run.elections
            .iter()
            .map(|e| other(e.time, "leader", format!("n{} leads term {}", e.node, e.term))),
    );
    let left =
        others.len().saturating_sub(OTHERS_MAX) + run.faults.len().saturating_sub(FAULTS_MAX);
    others.truncate(OTHERS_MAX);
    let mut story = others;
    story.extend(run.faults.iter().take(FAULTS_MAX).map(|fault| {
        let text = if fault.text.is_empty() {
            format!("{} {}", fault.kind, nodes(&fault.nodes))
        } else {
            fault.text.clone()
        };
        Entry {
            time: fault.start,
            at: at(fault.start),
            lasted: match (&fault.skipped, fault.stop) {
                (None, Some(stop)) => span(stop.saturating_sub(fault.start)),
                (None, None) | (Some(_), _) => String::new(),
            },
            class: if fault.skipped.is_some() { "fault skipped" } else { "fault" },
            kind: Some(kind_number(&fault.kind)),
            text: clip(text.trim(), 200),
            effect: effect(fault),
        }
    }));
    story.sort_by_key(|entry| entry.time);
    (story, nonzero(number(left)))
}

fn phase(name: &str) -> String {
    match name {
        "clean" => "clean traffic begins".to_owned(),
        "faults" => "faults begin".to_owned(),
        "heal" => "faults end; everything is healed".to_owned(),
        "recovered" => "the cluster has recovered".to_owned(),
        "not-recovered" => "the cluster did not recover in time".to_owned(),
        "final" => "final operations begin".to_owned(),
        "end" => "the run ends".to_owned(),
        other => clip(other, 60),
    }
}

/// One check.
#[derive(Debug, Serialize)]
pub(super) struct CheckRow {
    name: String,
    verdict: &'static str,
    symbol: &'static str,
    summary: String,
    caveat: &'static str,
}

/// The checks as `results.json` has them.
pub(super) fn checks(checks: &[Check]) -> Vec<CheckRow> {
    let row = |check: &Check| CheckRow {
        name: clip(&check.name, 60),
        verdict: verdict_word(check.verdict),
        symbol: symbol(check.verdict),
        summary: clip(&check.summary, 1_000),
        caveat: caveat(&check.name),
    };
    checks.iter().take(40).map(row).collect()
}

/// The verdict as a word.
pub(super) fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "valid",
        Verdict::Unknown => "unknown",
        Verdict::Invalid => "invalid",
    }
}

/// The verdict as a symbol, for those who do not see the colour.
pub(super) fn symbol(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "✓",
        Verdict::Unknown => "?",
        Verdict::Invalid => "✗",
    }
}

/// What a check cannot see.
fn caveat(check: &str) -> &'static str {
    match check {
        "linearizable" => {
            "Judges each key by itself, so it sees no contradiction between keys. An operation with unknown outcome may \
             take effect at any later time or never, and each of them makes the check more lenient. A key whose search \
             hits a cap is unknown, not valid."
        }
        "stale-reads" => {
            "Certain when it accuses, silent otherwise: a read counts as stale only against writes that were acknowledged \
             or seen before it began. Anything subtler is left to the linearizability check."
        }
        "exactly-once" => {
            "Sees a lost or doubled operation through what was read afterwards. What no read ever returned, it cannot judge."
        }
        "totals" => {
            "Asks reads of all registers of a key only, and only for their sum: what was moved to the wrong place is for the \
             linearizability check."
        }
        "elements" => "Sees an element that was lost or late only if a read missed it.",
        "failover" => {
            "Counts from the moment of the kill to the answer of the first write that was begun afterwards, from whichever \
             client. What the clients themselves waited before is not in it."
        }
        "coverage" => {
            "Says that enough happened, not that the interesting things happened at the same time."
        }
        "nodes" => {
            "Reads exit statuses and logs. A node that is wrong and keeps quiet is for the other checks to find."
        }
        "elections" => {
            "Judges only cuts of two seconds and more, as in the workload calm, of which each node's log tells what it did \
             meanwhile: a shorter one, or one among other faults, would prove nothing."
        }
        "logs" => {
            "Looks at the nodes' files after the run: at what they knew to be committed, and not at what snapshots have \
             replaced. Entries are compared by term and checksum, requests by name."
        }
        "availability" => {
            "Measures on this machine, with whatever else it was doing. Faults that overlap share an outage: each of them is \
             charged with all of it."
        }
        _ => "",
    }
}

/// One node.
#[derive(Debug, Serialize)]
pub(super) struct NodeRow {
    name: String,
    starts: String,
    killed: String,
    unexpected: String,
    how: Vec<String>,
    panics: String,
    led: String,
    last: String,
    links: Vec<Link>,
}

/// A file beside the report.
#[derive(Debug, Serialize)]
pub(super) struct Link {
    pub(super) href: String,
    pub(super) name: String,
    pub(super) size: String,
}

/// The nodes and their files.
pub(super) fn node_rows(run: &Run, dir: &Path) -> Vec<NodeRow> {
    let drawn = usize::try_from(super::run::NODES_MAX).unwrap_or(usize::MAX);
    let row = |(id, node): (&u64, &super::run::Node)| {
        let unexpected = || node.exits.iter().filter(|(_, exit)| !exit.expected);
        NodeRow {
            name: format!("n{id}"),
            starts: nonzero(number(node.starts.len())),
            killed: nonzero(number(node.exits.iter().filter(|(_, exit)| killed(exit)).count())),
            unexpected: nonzero(number(unexpected().count())),
            how: unexpected()
                .take(3)
                .map(|(time, exit)| format!("{} at {} s", clip(&exit.how, 60), at(*time)))
                .collect(),
            panics: nonzero(number(node.panics.len())),
            led: nonzero(times_leader(run, *id)),
            last: node.roles.last().map_or(String::new(), |role| {
                format!("{}, term {}", clip(&role.name, 20), role.term)
            }),
            links: files(dir, &format!("nodes/{id}")),
        }
    };
    run.nodes.iter().take(drawn).map(row).collect()
}

/// Whether the harness killed the node, rather than asked it to end.
fn killed(exit: &Exit) -> bool {
    exit.expected && exit.how.starts_with("signal")
}

/// The files of the run itself.
pub(super) fn run_files(dir: &Path) -> Vec<Link> {
    let mut links = files(dir, "");
    links.retain(|link| !link.name.starts_with(super::REPORT));
    links
}

/// Links to the files in a folder below the result directory, in order of name.
fn files(dir: &Path, folder: &str) -> Vec<Link> {
    let Ok(entries) = fs::read_dir(dir.join(folder)) else { return Vec::new() };
    let mut links: Vec<Link> = entries.filter_map(|entry| link(&entry.ok()?, folder)).collect();
    links.sort_by(|a, b| a.name.cmp(&b.name));
    links.truncate(12);
    links
}

fn link(entry: &fs::DirEntry, folder: &str) -> Option<Link> {
    let metadata = entry.metadata().ok()?;
    let name = entry.file_name().into_string().ok()?;
    if metadata.is_dir() && folder.is_empty() {
        return None;
    }
    let slash = if metadata.is_dir() { "/" } else { "" };
    let separator = if folder.is_empty() { "" } else { "/" };
    let size = if metadata.is_dir() { String::new() } else { bytes(metadata.len()) };
    Some(Link {
        href: format!("{folder}{separator}{}{slash}", percent_encoded(&name)),
        name: format!("{}{slash}", clip(&name, 60)),
        size,
    })
}

/// A file name as part of a URL.
fn percent_encoded(name: &str) -> String {
    let mut url = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            url.push(char::from(byte));
        } else {
            put(&mut url, format_args!("%{byte:02X}"));
        }
    }
    url
}

/// `0 B`, `12 kB`, `3.4 MB`.
fn bytes(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{} kB", n / 1_000),
        _ => format!("{:.1} MB", super::words::float(n) / 1e6),
    }
}

/// The run's figures in one line: operations, faults, leader changes.
pub(super) fn figures(run: &Run) -> Vec<String> {
    let ok = number(run.ops.iter().filter(|op| op.outcome == Outcome::Ok).count());
    let installed = number(run.faults.iter().filter(|fault| fault.skipped.is_none()).count());
    let changes = number(run.elections.len().saturating_sub(1));
    vec![
        plural(ok, "operation ok", "operations ok"),
        plural(installed, "fault", "faults"),
        plural(changes, "leader change", "leader changes"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_cannot_leave_their_link() {
        assert_eq!(percent_encoded("a b\"><script>.log"), "a%20b%22%3E%3Cscript%3E.log");
        assert_eq!([0, 12_345, 3_400_000].map(bytes), ["0 B", "12 kB", "3.4 MB"]);
    }
}
