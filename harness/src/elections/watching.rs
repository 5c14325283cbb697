//! What is shown while leaders die: a live line on a terminal, a calm line now and then in a pipe.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::figures::Sample;
use super::published::TimeoutRange;
use super::table::figure;
use crate::terminal;

/// How often a line is printed where there is no terminal.
const PRINT_EVERY: Duration = Duration::from_secs(10);

/// How far one range has come. Writes to stderr: stdout is for figures.
pub(super) struct Watching {
    range: TimeoutRange,
    goal: u32,
    bar: Option<ProgressBar>,
    printed: Option<Instant>,
}

impl Watching {
    pub(super) fn new(range: TimeoutRange, goal: u32) -> Watching {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(u64::from(goal));
            let style = ProgressStyle::with_template(
                "{prefix:>11.bold} ms {bar:20.cyan/dim} {pos}/{len} {wide_msg} {eta:.dim}",
            );
            bar.set_style(
                style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━━─"),
            );
            bar.set_prefix(range.to_string());
            bar
        });
        Watching { range, goal, bar, printed: None }
    }

    /// Another trial is done; `elected` are the times of all so far.
    pub(super) fn update(&mut self, elected: &Sample) {
        let Some([_, p50, _, _, _, max]) = elected.summary() else { return };
        let (done, words) =
            (elected.len(), format!("median {} ms, longest {} ms", figure(p50), figure(max)));
        let is_last = u32::try_from(done).is_ok_and(|done| done == self.goal);
        if let Some(bar) = &self.bar {
            bar.set_message(words);
            bar.inc(1);
        } else if is_last || self.printed.is_none_or(|at| at.elapsed() >= PRINT_EVERY) {
            self.printed = Some(Instant::now());
            terminal::note(format!("{} ms: {done} of {}: {words}", self.range, self.goal));
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}
