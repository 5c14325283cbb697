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
use super::run::Run;
use super::stage::{Stage, stage};
use super::summary::{self, CheckRow, Entry, ErrorRow, FunctionRow, KindRow, Link, NodeRow};
use super::violation::{self, Explained, Scene, explain};
use super::waterfall::{crowd, show};
use super::words::{at, clip, count, span};

/// Most violations explained; the checks' summaries count all of them.
const VIOLATIONS_MAX: usize = 20;

/// The page.
#[derive(Debug, Serialize)]
pub(super) struct View {
    title: String,
    verdict: &'static str,
    symbol: &'static str,
    headline: String,
    /// What the workload's author expects, if it is not the usual.
    expected: String,
    /// Name and value.
    facts: Vec<(&'static str, String)>,
    figures: Vec<String>,
    reproduce: String,
    recheck: String,
    command: Option<String>,
    first: Option<Explained>,
    others: Vec<Explained>,
    hidden: String,
    /// Summaries of the checks that found violations.
    totals: Vec<String>,
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

/// Puts the page together.
pub(super) fn view(
    dir: &Path,
    history: &Path,
    run: &Run,
    results: &Results,
    rest: &Value,
) -> Result<View, Error> {
    let meta = meta(rest, run);
    let all: Vec<(&Check, &Violation)> = results
        .checks
        .iter()
        .flat_map(|check| check.violations.iter().map(move |one| (check, one)))
        .collect();
    let explained = &all[..all.len().min(VIOLATIONS_MAX)];
    let times: Vec<(u64, String)> =
        all.iter().map(|(_, one)| (one.time, one.class.clone())).collect();

    let (focus, what) = moment(run, all.first().map(|(_, one)| one.time));
    let (window, near) = nearest(run, focus);
    let places = places(run, explained);
    let wanted = places.values().chain(&near).copied().collect();
    let shown = show(run, history, &wanted)?;
    let scene = Scene { dir, run, meta: &meta, shown: &shown, places: &places };
    let mut explanations =
        explained.iter().enumerate().map(|(place, (_, one))| explain(&scene, one, place == 0));
    let first = explanations.next();
    let others = explanations.collect();

    let proof: BTreeSet<u64> =
        all.first().map(|(_, one)| one.events.iter().copied().collect()).unwrap_or_default();
    let near: Vec<_> = near.iter().filter_map(|place| shown.get(place)).collect();
    let closeup = (!near.is_empty()).then(|| Closeup {
        what,
        from: at(window.start),
        to: at(window.end),
        ops: near.len(),
        waterfall: crowd(run, &near, window, focus, &|op| {
            let events = [Some(&op.invoke), op.completion.as_ref()];
            events.into_iter().flatten().any(|line| proof.contains(&line.event.index))
        }),
    });
    let (story, untold) = summary::story(run, &times);
    let bins = Bins::of(run);
    Ok(View {
        title: format!(
            "{}: {}",
            summary::verdict_word(results.verdict),
            clip(&run.header.workload, 80)
        ),
        verdict: summary::verdict_word(results.verdict),
        symbol: summary::symbol(results.verdict),
        headline: clip(&results.headline, 2_000),
        expected: expected(run, results.verdict),
        facts: facts(run, &meta),
        figures: summary::figures(run),
        reproduce: meta.reproduce,
        recheck: recheck(history),
        command: meta.command,
        first,
        others,
        hidden: violation::hidden(all.len(), explained.len()),
        totals: totals(results),
        stage: stage(run, &bins, &times),
        functions: summary::functions(run),
        errors: summary::errors(run),
        kinds: summary::kinds(run),
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

/// The operations that the evidence points at: places in the run by history index.
fn places(run: &Run, violations: &[(&Check, &Violation)]) -> BTreeMap<u64, usize> {
    // One more than are shown, so that the page can say that there are more.
    let most = 2 * violation::OPS_MAX + 2;
    let wanted: BTreeSet<u64> =
        violations.iter().flat_map(|(_, one)| one.events.iter().take(most)).copied().collect();
    if wanted.is_empty() {
        return BTreeMap::new();
    }
    let events = |(place, op): (usize, &super::run::Op)| {
        let indexes = [Some(op.invoke_index), op.complete_index];
        indexes.into_iter().flatten().map(move |index| (index, place))
    };
    run.ops
        .iter()
        .enumerate()
        .flat_map(events)
        .filter(|(index, _)| wanted.contains(index))
        .collect()
}

/// A verdict that was wanted, or not, deserves a word: canaries must be rejected.
fn expected(run: &Run, verdict: Verdict) -> String {
    match (run.header.expected.as_deref(), verdict) {
        (Some("invalid"), Verdict::Invalid) => {
            "This workload is a canary: it must be rejected, and it was. The bench sees what it is meant to see.".to_owned()
        }
        (Some("invalid"), Verdict::Valid | Verdict::Unknown) => {
            "This workload is a canary: it must be rejected, and it was not. The bench has missed something.".to_owned()
        }
        _ => String::new(),
    }
}

fn facts(run: &Run, meta: &Meta) -> Vec<(&'static str, String)> {
    let header = &run.header;
    let mut facts = vec![
        ("Workload", clip(&header.workload, 80)),
        ("Model", clip(&header.model, 40)),
        ("Nodes", count(header.nodes)),
        ("Duration", span(run.end)),
        ("Seed", header.seed.to_string()),
    ];
    if let Some(consistency) = &header.consistency {
        facts.insert(2, ("Reads", clip(consistency, 40)));
    }
    if let Some(started) = &meta.started {
        facts.push(("Started", started.clone()));
    }
    facts
}

fn totals(results: &Results) -> Vec<String> {
    let found = results.checks.iter().filter(|check| !check.violations.is_empty());
    found
        .map(|check| format!("{}: {}", clip(&check.name, 60), clip(&check.summary, 600)))
        .take(12)
        .collect()
}
