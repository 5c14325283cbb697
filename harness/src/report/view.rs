//! Everything that the template shows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use history_checker::results::{Check, Results, Verdict, Violation};
use serde::Serialize;
use serde_json::Value;

use super::Error;
use super::closeup::{Closeup, moment, nearest};
use super::meta::{Meta, meta, recheck};
use super::plots::Bins;
use super::run::{Op, Run};
use super::stage::{Stage, stage};
use super::staleness::{Staleness, staleness};
use super::summary::{self, CheckRow, Entry, ErrorRow, FunctionRow, KindRow, Link, NodeRow};
use super::violation::{self, Explained, Scene, explain, hidden};
use super::waterfall::{Shown, crowd, fetch};
use super::words::{at, clip, count, span};

/// Most violations of one check explained; its summary counts all of them.
const VIOLATIONS_MAX: usize = 8;

/// Checks in the order in which their violations explain most: what was lost or doubled, then what was stale, then
/// what merely has no order.
const MOST_TELLING: [&str; 9] = [
    "totals",
    "elements",
    "exactly-once",
    "stale-reads",
    "linearizable",
    "logs",
    "nodes",
    "elections",
    "availability",
];

/// The page.
#[derive(Debug, Serialize)]
pub(super) struct View {
    title: String,
    verdict: &'static str,
    symbol: &'static str,
    headline: String,
    /// What the workload's author expects, if it is not the usual.
    expected: &'static str,
    hypothesis: Option<String>,
    /// Name and value.
    facts: Vec<(&'static str, String)>,
    figures: Vec<String>,
    reproduce: String,
    recheck: String,
    command: Option<String>,
    first: Option<Explained>,
    others: Vec<Group>,
    staleness: Option<Staleness>,
    stage: Stage,
    functions: Vec<FunctionRow>,
    errors: Vec<ErrorRow>,
    kinds: Vec<KindRow>,
    story: Vec<Entry>,
    untold: String,
    checks: Vec<CheckRow>,
    nodes: Vec<NodeRow>,
    files: Vec<Link>,
    closeup: Option<Closeup>,
    versions: Vec<(String, String)>,
    torn: bool,
}

/// What one check found, but for the very first violation.
#[derive(Debug, Serialize)]
struct Group {
    check: String,
    summary: String,
    violations: Vec<Explained>,
    hidden: String,
}

/// Puts the page together.
pub(super) fn view(
    dir: &Path,
    history: &Path,
    run: &Run,
    results: &Results,
    rest: &Value,
) -> Result<View, Error> {
    let meta = meta(rest, run);
    let found = found(results);
    let first = found.first().and_then(|check| check.violations.first());
    let times: Vec<(u64, String)> = found
        .iter()
        .flat_map(|check| &check.violations)
        .map(|one| (one.time, one.class.clone()))
        .collect();

    let (focus, what) = moment(run, first.map(|one| one.time));
    let (window, near) = nearest(run, focus);
    let (places, events) = evidence(run, &found);
    let wanted = places.values().chain(&near).copied().collect();
    let fetched = fetch(run, history, &wanted, &events)?;
    let scene = Scene { dir, run, meta: &meta, fetched: &fetched, places: &places };

    let near: Vec<&Shown> = near.iter().filter_map(|place| fetched.ops.get(place)).collect();
    let closeup = (!near.is_empty()).then(|| Closeup {
        what,
        from: at(window.start),
        to: at(window.end),
        ops: near.len(),
        waterfall: crowd(run, &near, window, focus, &|op| proves(first, op)),
    });
    let (story, untold) = summary::story(run, &times);
    let bins = Bins::of(run);
    let verdict = summary::verdict_word(results.verdict);
    Ok(View {
        title: format!("{verdict}: {}", clip(&run.header.workload, 80)),
        verdict,
        symbol: summary::symbol(results.verdict),
        headline: headline(results),
        expected: expected(run, results.verdict),
        hypothesis: meta.hypothesis.clone(),
        facts: facts(run, &meta),
        figures: summary::figures(run),
        reproduce: meta.reproduce.clone(),
        recheck: recheck(history),
        command: meta.command.clone(),
        first: first.map(|one| explain(&scene, one, true)),
        others: groups(&scene, &found),
        staleness: staleness(results),
        stage: stage(run, &bins, &times),
        functions: summary::functions(run),
        errors: summary::errors(run),
        kinds: summary::kinds(run, &results.checks),
        story,
        untold,
        checks: summary::checks(&results.checks),
        nodes: summary::node_rows(run, dir),
        files: summary::run_files(dir),
        closeup,
        versions: meta.versions,
        torn: run.torn,
    })
}

/// The checks that found violations, the most telling first.
fn found(results: &Results) -> Vec<&Check> {
    let rank = |check: &&Check| {
        MOST_TELLING.iter().position(|name| *name == check.name).unwrap_or(usize::MAX)
    };
    let mut found: Vec<&Check> =
        results.checks.iter().filter(|check| !check.violations.is_empty()).collect();
    found.sort_by_key(rank);
    found
}

/// All violations but the first one, by check.
fn groups(scene: &Scene<'_>, found: &[&Check]) -> Vec<Group> {
    let group = |(place, check): (usize, &&Check)| {
        let rest = &check.violations[usize::from(place == 0)..];
        let shown = &rest[..rest.len().min(VIOLATIONS_MAX)];
        Group {
            check: clip(&check.name, 60),
            summary: clip(&check.summary, 600),
            violations: shown.iter().map(|one| explain(scene, one, false)).collect(),
            hidden: hidden(rest.len(), shown.len()),
        }
    };
    let groups = found.iter().enumerate().map(group);
    groups.filter(|group| !group.violations.is_empty()).take(12).collect()
}

/// What the evidence points at: operations' places in the run by history index, and the indexes of other events.
fn evidence(run: &Run, found: &[&Check]) -> (BTreeMap<u64, usize>, BTreeSet<u64>) {
    // More than are shown, so that the page can say that there are more.
    let most = 2 * violation::OPS_MAX + 2;
    let explained = found.iter().flat_map(|check| check.violations.iter().take(VIOLATIONS_MAX + 1));
    let mut wanted: BTreeSet<u64> =
        explained.flat_map(|one| one.events.iter().take(most)).copied().collect();
    if wanted.is_empty() {
        return (BTreeMap::new(), BTreeSet::new());
    }
    let events = |(place, op): (usize, &Op)| {
        let indexes = [Some(op.invoke_index), op.complete_index];
        indexes.into_iter().flatten().map(move |index| (index, place))
    };
    let ops = run.ops.iter().enumerate().flat_map(events);
    let places: BTreeMap<u64, usize> = ops.filter(|(index, _)| wanted.contains(index)).collect();
    wanted.retain(|index| !places.contains_key(index));
    (places, wanted)
}

/// Whether an operation belongs to a violation's evidence.
fn proves(violation: Option<&Violation>, op: &Shown) -> bool {
    let lines = [Some(&op.invoke), op.completion.as_ref()];
    let contains = |index| violation.is_some_and(|one| one.events.contains(&index));
    lines.into_iter().flatten().any(|line| contains(line.event.index))
}

/// The verdict's sentence; the word before it stands above it already.
fn headline(results: &Results) -> String {
    let word = summary::verdict_word(results.verdict);
    let headline = clip(&results.headline, 2_000);
    match headline.split_once(": ") {
        Some((first, sentence)) if first.eq_ignore_ascii_case(word) => sentence.to_owned(),
        _ => headline,
    }
}

/// A verdict that was wanted, or not, deserves a word: canaries must be rejected.
fn expected(run: &Run, verdict: Verdict) -> &'static str {
    match (run.header.expected.as_deref(), verdict) {
        (Some("invalid"), Verdict::Invalid) => {
            "This workload is a canary: it must be rejected, and it was. The bench sees what it is meant to see."
        }
        (Some("invalid"), Verdict::Valid | Verdict::Unknown) => {
            "This workload is a canary: it must be rejected, and it was not. The bench has missed something."
        }
        _ => "",
    }
}

fn facts(run: &Run, meta: &Meta) -> Vec<(&'static str, String)> {
    let header = &run.header;
    let facts = [
        ("Workload", Some(clip(&header.workload, 80))),
        ("Model", Some(clip(&header.model, 40))),
        ("Reads", header.consistency.as_deref().map(|consistency| clip(consistency, 40))),
        ("Nodes", Some(count(header.nodes))),
        ("Clients", meta.clients.map(count)),
        ("Duration", Some(span(run.end))),
        ("Seed", Some(header.seed.to_string())),
        ("Started", meta.started.clone()),
    ];
    facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
