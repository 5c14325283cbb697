//! Reports: consumers of a result directory, `report.html` for people and JUnit for machines.
//!
//! A report is drawn from `results.json`, `history.jsonl` and `nodes/<id>/stderr` alone, so it can be drawn again from a
//! stored run at any time. It never changes a verdict: it repeats what the checkers wrote, and whoever calls
//! [`write()`] reports its failure and goes on.
//!
//! Rust computes words and geometry; all markup is in `template/`, where every value is escaped: keys, values and log
//! lines come from the system under test and are hostile until proven otherwise. Whatever the history's length, the page stays small:
//! everything that grows with it is aggregated, sampled or cut off with a sentence saying so.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use history_checker::history::ReadError;
use history_checker::results::Results;
use serde_json::Value;

mod closeup;
mod junit;
mod lanes;
mod log;
mod meta;
mod plots;
mod run;
mod scale;
mod stage;
mod staleness;
mod summary;
mod view;
mod violation;
mod waterfall;
mod words;

pub(crate) use self::words::amount;

pub use junit::{RunSummary, junit};

/// The name of the report in a result directory.
const REPORT: &str = "report.html";

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("failed to {operation} {}", path.display())]
    Io {
        /// What was tried: `read`, `write`, …
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The directory holds no verdict.
    #[error(
        "{} has no results.json: is it the directory of one run, and did the run end? \
         `harness check {}` judges a history by itself", dir.display(), dir.join("history.jsonl").display()
    )]
    NoResults {
        /// The directory.
        dir: PathBuf,
    },
    /// `results.json` is not what a run writes.
    #[error("{} does not hold the results of a run", path.display())]
    Results {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The history breaks the rules of its format.
    #[error("failed to read the history")]
    History(#[from] ReadError),
    /// An event's value is not what its kind requires.
    #[error("{} line {line} holds no such event", path.display())]
    Event {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The page could not be put together.
    #[error("failed to fill in the report's template")]
    Template(#[from] minijinja::Error),
    /// The JUnit document could not be put together.
    #[error("failed to serialise the JUnit report")]
    Junit(#[from] quick_junit::SerializeError),
}

/// Draws `report.html` of the run stored in `dir`, and returns its path.
///
/// The file appears whole or not at all, and replaces an older one.
pub fn write(dir: &Path) -> Result<PathBuf, Error> {
    let (results, rest) = read_results(dir)?;
    let history = dir.join("history.jsonl");
    let run = run::read(&history)?;
    let view = view::view(dir, &history, &run, &results, &rest)?;
    let page = render(&view)?;
    let path = dir.join(REPORT);
    publish(&path, page.as_bytes())?;
    Ok(path)
}

/// The checkers' part of `results.json`, and all of it.
fn read_results(dir: &Path) -> Result<(Results, Value), Error> {
    let path = dir.join("results.json");
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::NoResults { dir: dir.to_owned() });
        }
        Err(source) => return Err(Error::Io { operation: "read", path, source }),
    };
    let read = || {
        let all: Value = serde_json::from_slice(&bytes)?;
        Ok((serde_json::from_value(all.clone())?, all))
    };
    read().map_err(|source| Error::Results { path, source })
}

/// Fills the template in. Auto-escaping follows from the templates' names ending in `.html`.
fn render(view: &view::View) -> Result<String, minijinja::Error> {
    let mut environment = minijinja::Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.add_template("report.html", include_str!("template/report.html"))?;
    environment.add_template("macros.html", include_str!("template/macros.html"))?;
    environment.add_template("stage.html", include_str!("template/stage.html"))?;
    environment.add_template("violation.html", include_str!("template/violation.html"))?;
    environment.add_template("report.css", include_str!("template/report.css"))?;
    environment.add_template("report.js", include_str!("template/report.js"))?;
    environment.get_template("report.html")?.render(view)
}

/// Writes beside the target and renames, so that nobody sees half a file.
fn publish(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let failed = |operation, source| Error::Io { operation, path: path.to_owned(), source };
    fs::write(&temporary, bytes).map_err(|source| failed("write", source))?;
    fs::rename(&temporary, path).map_err(|source| failed("replace", source))
}
