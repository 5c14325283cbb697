//! From a history to its verdict: the same way live and offline.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use history_checker::history::ReadOptions;
use history_checker::{History, Options, check};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::record::Record;

/// How to read a history, and how far its check may go.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// What the file leaves open.
    pub reading: ReadOptions,
    /// After this long, what is not decided stays unknown.
    pub time_limit: Option<Duration>,
    /// Bytes for the exact search; none: the checker's default.
    pub memory_bytes_max: Option<u64>,
    /// Keys at the same time; none: one for each core.
    pub threads: Option<usize>,
}

/// Reads the history at `path` and checks it. If `interrupted` turns true on the way, whatever is not decided by then
/// stays unknown; if it is true already, the user wants the verdict on what there is.
pub async fn judge(
    path: &Path,
    terms: &Terms,
    interrupted: &watch::Receiver<bool>,
) -> anyhow::Result<Record> {
    let path = path.to_owned();
    let terms = terms.clone();
    let interrupted = interrupted.clone();
    let before = *interrupted.borrow();
    let judging = spawn_blocking(move || {
        let start = Instant::now();
        let history = History::read_as(&path, &terms.reading)?;
        let is_late = || terms.time_limit.is_some_and(|limit| start.elapsed() > limit);
        let cancelled = || (!before && *interrupted.borrow()) || is_late();
        let default = Options::default();
        let options = Options {
            cancelled: Some(&cancelled),
            memory_bytes_max: terms.memory_bytes_max.unwrap_or(default.memory_bytes_max),
            threads: terms.threads,
            ..default
        };
        let results = check(&history, &options);
        Ok(Record::new(&history, results))
    });
    judging.await.context("the checker failed")?
}
