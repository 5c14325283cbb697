//! What is shown while a run goes on: a live line on a terminal, a calm line now and then in a pipe.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::journal::{Live, Phase};
use crate::terminal;

/// How often the live line is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// How often a line is printed where there is no terminal.
const PRINT_EVERY: Duration = Duration::from_secs(5);

/// Over how much time operations per second are counted.
const RATE_OVER: Duration = Duration::from_secs(1);

/// Faults named in full; of more there is only the number.
const FAULTS_NAMED_MAX: usize = 3;

/// Shows how a run is going. Writes to stderr: stdout is for verdicts.
#[derive(Debug)]
pub struct Progress {
    time_limit: Duration,
    bar: Option<ProgressBar>,
    /// Time and operations with `ok`, over the last [`RATE_OVER`].
    samples: VecDeque<(Duration, u64)>,
    /// When the last line was printed.
    printed: Duration,
}

impl Progress {
    /// For a run of the workload called `name`.
    pub fn new(name: &str, time_limit: Duration) -> Progress {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(
                Some(whole_ms(time_limit)),
                ProgressDrawTarget::stderr_with_hz(20),
            );
            let style = ProgressStyle::with_template(
                "{spinner:.dim} {prefix:.bold} {bar:12.cyan/dim} {wide_msg}",
            );
            bar.set_style(
                style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━━─"),
            );
            bar.set_prefix(name.to_owned());
            bar
        });
        Progress { time_limit, bar, samples: VecDeque::new(), printed: Duration::ZERO }
    }

    /// Shows what has happened up to `elapsed` after the first operation.
    pub fn update(&mut self, elapsed: Duration, live: &Live) {
        let rate = self.rate(elapsed, live.ok);
        if let Some(bar) = &self.bar {
            bar.set_position(whole_ms(elapsed.min(self.time_limit)));
            bar.set_message(format!("{} {}", clock(elapsed, self.time_limit), status(live, rate)));
            bar.tick();
        } else if elapsed >= self.printed + PRINT_EVERY {
            self.printed = elapsed;
            terminal::note(format!("{} {}", clock(elapsed, self.time_limit), status(live, rate)));
        }
    }

    /// Operations per second over the last second.
    fn rate(&mut self, now: Duration, ok: u64) -> u64 {
        self.samples.push_back((now, ok));
        while self.samples.len() > 2 && self.samples[1].0 + RATE_OVER <= now {
            self.samples.pop_front();
        }
        let (then, before) = self.samples[0];
        let over_ms = whole_ms(now.saturating_sub(then)).max(1);
        (ok - before) * 1000 / over_ms
    }
}

/// Shows that something goes on that says nothing of how far it is, until it is dropped.
pub fn spinner(what: &str) -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::new_spinner().with_message(what.to_owned());
    spinner.enable_steady_tick(DRAW_EVERY);
    spinner
}

/// ` 7s of 30s`.
fn clock(elapsed: Duration, limit: Duration) -> String {
    format!("{:>3}s of {}s", elapsed.as_secs(), limit.as_secs())
}

/// Everything there is to know at a glance.
fn status(live: &Live, rate: u64) -> String {
    let mut text = match live.phase {
        Phase::Clean | Phase::Faults => format!("{:>5} ops/s", HumanCount(rate).to_string()),
        Phase::Heal => "healing".to_owned(),
        Phase::Recovered | Phase::NotRecovered | Phase::Interrupted => "stopping".to_owned(),
        Phase::Final => "final reads".to_owned(),
        Phase::End => "done".to_owned(),
    };
    let [ok, fail, info, anomalies] =
        [live.ok, live.fail, live.info, live.anomalies].map(HumanCount);
    let leader = live.leader.map_or_else(
        || "no leader yet".to_owned(),
        |(node, term)| format!("n{node} leads, term {term}"),
    );
    // What is looked at first comes first: narrow terminals cut the end off.
    let faults = faults(live);
    let written = write!(
        text,
        " · anomalies {anomalies} · {leader} · {faults} · ok {ok} fail {fail} info {info}"
    );
    written.expect("strings take everything");
    text
}

fn faults(live: &Live) -> String {
    match live.faults.len() {
        0 => format!("no fault now ({} so far)", live.faults_begun),
        1..=FAULTS_NAMED_MAX => live.faults.values().cloned().collect::<Vec<_>>().join(" + "),
        many => format!("{many} faults at once"),
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_that_of_the_last_second() {
        let mut progress = Progress::new("register", Duration::from_secs(30));
        let rates = (0..=30_u64).map(|tenth| {
            let ok = if tenth <= 10 { 0 } else { (tenth - 10) * 50 };
            progress.rate(Duration::from_millis(tenth * 100), ok)
        });
        let rates: Vec<u64> = rates.collect();
        assert_eq!((rates[10], rates[15], rates[20], rates[30]), (0, 250, 500, 500));
    }

    #[test]
    fn status_tells_what_is_going_on() {
        let mut live =
            Live { ok: 12_345, fail: 6, info: 7, leader: Some((2, 3)), ..Live::default() };
        live.faults.insert(4, "kill n2".to_owned());
        assert_eq!(
            status(&live, 812),
            "  812 ops/s · anomalies 0 · n2 leads, term 3 · kill n2 · ok 12,345 fail 6 info 7"
        );
    }
}
