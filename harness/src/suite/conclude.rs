//! From a run's history to everything that is kept of it.

use std::fs;
use std::path::Path;

use anyhow::Context;
use history_checker::results::Verdict;
use tokio::sync::watch;

use crate::judge::{Terms, judge};
use crate::progress::spinner;
use crate::record::Record;
use crate::store::{self, RunDirectory};
use crate::{report, terminal};

/// What came of one run whose history could be judged.
pub(crate) struct Concluded {
    pub(crate) record: Record,
    /// How the harness itself failed, if it did: that takes no verdict back, and must not vanish either.
    pub(crate) failure: Option<String>,
}

impl Concluded {
    /// Something failed that changes no verdict.
    pub(super) fn note_failure(&mut self, outcome: anyhow::Result<()>) {
        if let Err(error) = outcome {
            terminal::note(format!("error: {error:#}"));
            self.failure.get_or_insert(format!("{error:#}"));
        }
    }
}

/// Makes everything that follows from a history: verdict, results, report.
///
/// If the harness itself failed, that is the outcome; but a counterexample that clients had seen by then stands, and so
/// does any verdict if it is only that its files cannot be written.
pub(crate) async fn conclude(
    ran: anyhow::Result<()>,
    directory: &RunDirectory,
    interrupted: &watch::Receiver<bool>,
) -> anyhow::Result<Concluded> {
    let spinner = spinner("checking the history");
    let judged = judge(&directory.file(store::HISTORY), &Terms::default(), interrupted).await;
    spinner.finish_and_clear();
    let (record, ran) = match (ran, judged) {
        (Err(error), Ok(record)) if record.is_counterexample() => (record, Err(error)),
        (Err(error), _) => return Err(error),
        (Ok(()), judged) => (judged?, Ok(())),
    };
    let mut concluded = Concluded { record, failure: None };
    concluded.note_failure(ran);
    let stored = keep(&concluded.record, directory);
    concluded.note_failure(stored);
    // A page that cannot be drawn changes no verdict.
    if let Err(error) = report::write(&directory.path) {
        terminal::note(format!("warning: there is no report: {:#}", anyhow::Error::new(error)));
    }
    Ok(concluded)
}

/// Writes what follows from a history.
fn keep(record: &Record, directory: &RunDirectory) -> anyhow::Result<()> {
    directory.write(store::RESULTS, &record.to_json()?)?;
    directory.write(store::SCHEDULE, &record.schedule_lines()?)?;
    if record.results.verdict == Verdict::Valid {
        remove_data(&directory.file(store::NODES))?;
    }
    Ok(())
}

/// Removes the nodes' data directories: nobody looks at those of a valid run, and they are large.
fn remove_data(nodes: &Path) -> anyhow::Result<()> {
    let failed = || format!("cannot tidy up {}", nodes.display());
    if !nodes.exists() {
        return Ok(());
    }
    for node in fs::read_dir(nodes).with_context(failed)? {
        let data = node.with_context(failed)?.path().join("data");
        if data.exists() {
            fs::remove_dir_all(&data).with_context(failed)?;
        }
    }
    Ok(())
}
