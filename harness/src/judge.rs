//! From a history to its verdict: the same way live and offline.

use std::path::Path;

use anyhow::Context;
use history_checker::{History, Options, check};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::record::Record;

/// Reads the history at `path` and checks it. If `interrupted` turns true on the way, whatever is not decided by then
/// stays unknown; if it is true already, the user wants the verdict on what there is.
pub async fn judge(path: &Path, interrupted: &watch::Receiver<bool>) -> anyhow::Result<Record> {
    let path = path.to_owned();
    let interrupted = interrupted.clone();
    let before = *interrupted.borrow();
    let judging = spawn_blocking(move || {
        let history = History::read(&path)?;
        let cancelled = || !before && *interrupted.borrow();
        let options = Options { cancelled: Some(&cancelled), ..Options::default() };
        let results = check(&history, &options);
        Ok(Record::new(&history, results))
    });
    judging.await.context("the checker failed")?
}
