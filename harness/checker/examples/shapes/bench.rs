//! Runs a checker, and perhaps a rival, on every shape.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use crate::measure::{Caps, Cost, measure};
use crate::shape::{Shape, Truth, short};
use crate::simulate::simulate;
use crate::sink::{Format, Sink};

/// A checker's command line, and what it reads.
#[derive(Clone, Debug)]
pub(crate) struct Checker {
    /// `{}` is the file and `{model}` its model; without `{}`, the file comes last.
    pub(crate) command: Vec<String>,
    pub(crate) format: Format,
    pub(crate) caps: Caps,
    pub(crate) runs: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Said {
    Valid,
    Invalid,
    Unknown,
    TimedOut,
    /// Neither of these; mostly out of memory.
    Died,
}

impl Said {
    /// By exit code, as `harness check` and Jepsen have it.
    fn from_cost(cost: &Cost) -> Said {
        match cost.exit {
            _ if cost.timed_out => Said::TimedOut,
            Some(0) => Said::Valid,
            Some(1) => Said::Invalid,
            Some(2) => Said::Unknown,
            Some(_) | None => Said::Died,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Said::Valid => "valid",
            Said::Invalid => "invalid",
            Said::Unknown => "UNKNOWN",
            Said::TimedOut => "TIMED OUT",
            Said::Died => "DIED",
        }
    }

    /// Whether it is a verdict, and not this one.
    fn contradicts(self, truth: Truth) -> bool {
        match self {
            Said::Valid => truth == Truth::Stale,
            Said::Invalid => truth == Truth::Valid,
            Said::Unknown | Said::TimedOut | Said::Died => false,
        }
    }
}

#[derive(Debug, Serialize)]
struct Result {
    said: Said,
    #[serde(flatten)]
    cost: Cost,
}

#[derive(Serialize)]
struct Row {
    workload: String,
    ops: u64,
    keys: usize,
    clients: usize,
    open_percent: u64,
    truth: String,
    bytes: u64,
    ours: Result,
    #[serde(skip_serializing_if = "Option::is_none")]
    rival: Option<Result>,
}

/// Counts wrong verdicts.
pub(crate) fn bench(
    shapes: &[Shape],
    ours: &Checker,
    rival: Option<&Checker>,
    json: bool,
) -> anyhow::Result<u64> {
    let directory = tempfile::tempdir().context("cannot make a directory")?;
    let mut out = io::stdout().lock();
    if !json {
        writeln!(out, "{}", head(rival.is_some()))?;
    }
    let mut wrong = 0;
    for shape in shapes {
        let (result, bytes) = checked(shape, ours, directory.path())?;
        let rival = match rival {
            Some(rival) => Some(checked(shape, rival, directory.path())?.0),
            None => None,
        };
        let contradicts = |result: &Result| result.said.contradicts(shape.truth);
        wrong += u64::from(contradicts(&result));
        wrong += u64::from(rival.as_ref().is_some_and(contradicts));
        let row = Row {
            workload: shape.workload.to_string(),
            ops: shape.ops,
            keys: shape.keys,
            clients: shape.clients,
            open_percent: shape.open,
            truth: shape.truth.to_string(),
            bytes,
            ours: result,
            rival,
        };
        let line = if json { serde_json::to_string(&row)? } else { row_text(&row, shape.truth) };
        writeln!(out, "{line}")?;
        out.flush()?;
    }
    Ok(wrong)
}

/// The median of its runs on one shape, and the size of the file.
fn checked(shape: &Shape, checker: &Checker, directory: &Path) -> anyhow::Result<(Result, u64)> {
    let path = generate(shape, checker.format, directory)?;
    let bytes = fs::metadata(&path)?.len();
    let file = path.to_str().context("the directory's name is no text")?;
    let mut command: Vec<String> = checker
        .command
        .iter()
        .map(|word| word.replace("{model}", shape.workload.model()).replace("{}", file))
        .collect();
    if !checker.command.iter().any(|word| word.contains("{}")) {
        command.push(file.to_owned());
    }
    let mut costs: Vec<Cost> = Vec::new();
    while costs.len() < checker.runs.max(1) {
        let cost = measure(&command, checker.caps)?;
        costs.push(cost);
        // It will not be faster the next time.
        if cost.timed_out || cost.wall_ms > 20_000 {
            break;
        }
    }
    fs::remove_file(&path)?;
    costs.sort_by_key(|cost| cost.wall_ms);
    let cost = costs[costs.len() / 2];
    Ok((Result { said: Said::from_cost(&cost), cost }, bytes))
}

fn generate(shape: &Shape, format: Format, directory: &Path) -> anyhow::Result<PathBuf> {
    let path = directory.join(format!("{shape}.jsonl"));
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut sink = Sink::new(format, shape, BufWriter::with_capacity(1 << 20, file))?;
    simulate(*shape, &mut sink).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn head(with_rival: bool) -> String {
    let left = format!(
        "{:<14} {:>5} {:>5} {:>7} {:>5} {:<7}  {:>9} {:>9} {:>9}  {:<10}",
        "workload", "ops", "keys", "clients", "open", "history", "wall", "cpu", "peak", "verdict"
    );
    let right =
        format!("  {:>9} {:>9}  {:<10} {:>8} {:>8}", "wall", "peak", "rival", "×time", "×peak");
    if with_rival { left + &right } else { left }
}

fn row_text(row: &Row, truth: Truth) -> String {
    let Row { workload, keys, clients, open_percent, truth: history, ours, .. } = row;
    let left = format!(
        "{workload:<14} {:>5} {keys:>5} {clients:>7} {:>5} {history:<7}  {:>9} {:>9} {:>9}  {:<10}",
        short(row.ops),
        format!("{open_percent} %"),
        seconds(ours.cost.wall_ms),
        seconds(ours.cost.cpu_ms),
        mebibytes(ours.cost.peak_kib),
        verdict(ours, truth),
    );
    let Some(rival) = &row.rival else { return left };
    let ratio = |theirs: u64, ours: u64| {
        let tenths = theirs * 10 / ours.max(1);
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    let right = format!(
        "  {:>9} {:>9} {:>9}  {:<10} {:>8} {:>8}",
        seconds(rival.cost.wall_ms),
        seconds(rival.cost.cpu_ms),
        mebibytes(rival.cost.peak_kib),
        verdict(rival, truth),
        ratio(rival.cost.wall_ms, ours.cost.wall_ms),
        ratio(rival.cost.peak_kib, ours.cost.peak_kib),
    );
    left + &right
}

fn verdict(result: &Result, truth: Truth) -> String {
    let wrong = if result.said.contradicts(truth) { " WRONG" } else { "" };
    format!("{}{wrong}", result.said.name())
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03} s", ms / 1000, ms % 1000)
}

fn mebibytes(kib: u64) -> String {
    format!("{} MiB", kib / 1024)
}
