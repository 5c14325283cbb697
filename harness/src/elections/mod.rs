//! How long a cluster is without a leader when its leader dies: the experiment of Thesis §9.3 (figure 16 of the Raft
//! paper) on real processes.
//!
//! | module | what |
//! |---|---|
//! | [`args`] | the command line |
//! | [`published`] | ranges of timeouts, the published figures, what to expect |
//! | `stand.rs` | one cluster, one range, one trial after another |
//! | [`figures`] | trials in order of length, percentiles |
//! | `chart.rs`, `page.rs`, `table.rs` | cumulative distributions as SVG, a page around them, and the same in a terminal |

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Context;
use rand::rngs::{SmallRng, StdRng};
use rand::{Rng, SeedableRng};
use serde::Serialize;
use tokio::sync::watch;

use self::args::BenchElections;
use self::figures::{Sample, Trial};
use self::published::TimeoutRange;
use self::stand::{Outcome, Stand};
use self::watching::Watching;
use crate::exit::Exit;
use crate::store::{self, RunDirectory};
use crate::{cluster, daemon, terminal};

pub mod args;
mod chart;
pub mod figures;
mod page;
pub mod published;
mod stand;
mod table;
mod watching;

/// The directory among the results.
const NAME: &str = "elections";

/// Every trial, one JSON object a line.
const TRIALS: &str = "trials.jsonl";

/// The cumulative distributions.
const CHART: &str = "cdf.svg";

/// What was measured at one range.
#[derive(Clone, Debug)]
struct Series {
    range: TimeoutRange,
    trials: Vec<Trial>,
    /// What a write takes in peace, median and 99th percentile.
    broadcast_ms: (f64, f64),
    /// How often the leader lost its office by itself, before it could be killed.
    disturbed: u32,
    /// Why there are no more trials, if there were to be more.
    ended: Option<String>,
}

/// All of it.
#[derive(Clone, Debug)]
struct Measured {
    args: BenchElections,
    seed: u64,
    version: String,
    series: Vec<Series>,
    /// Ranges without a trial, and why.
    left_out: Vec<(TimeoutRange, String)>,
    interrupted: bool,
}

impl Measured {
    /// Survivors of a kill; each of them can win.
    fn electable(&self) -> u32 {
        u32::try_from(self.args.nodes - 1).unwrap_or(u32::MAX)
    }
}

impl Series {
    fn elected(&self, args: &BenchElections) -> Sample {
        Sample::of(self.trials.iter().map(|trial| trial.elected_ms), args.cap)
    }

    fn gaps(&self, args: &BenchElections) -> Sample {
        Sample::of(self.trials.iter().map(|trial| trial.gap_ms), args.cap)
    }
}

/// A line of [`TRIALS`].
#[derive(Debug, Serialize)]
struct Line<'a> {
    range: String,
    number: usize,
    #[serde(flatten)]
    trial: &'a Trial,
}

/// Carries out the experiment, prints it, and stores it.
pub async fn run(
    args: &BenchElections,
    raftd: PathBuf,
    mut interrupted: watch::Receiver<bool>,
) -> anyhow::Result<Exit> {
    let seed = args.seed.unwrap_or_else(|| SmallRng::from_os_rng().random_range(0..1_000_000));
    let directory = RunDirectory::create(&args.results, NAME, seed, SystemTime::now())?;
    let mut measured = Measured {
        version: daemon::version(&raftd).await,
        args: args.clone(),
        seed,
        series: Vec::new(),
        left_out: Vec::new(),
        interrupted: false,
    };
    let outcome = {
        let bench = Bench {
            raftd,
            trials: File::create(directory.file(TRIALS)).context("cannot create trials.jsonl")?,
            directory: &directory,
            measured: &mut measured,
        };
        tokio::select! {
            biased;
            _ = interrupted.wait_for(|interrupted| *interrupted) => Ok(false),
            outcome = bench.run() => outcome.map(|()| true),
        }
    };
    let is_complete = *outcome.as_ref().unwrap_or(&true);
    measured.interrupted = !is_complete;
    // Whatever ended the experiment: what was measured was measured.
    conclude(&measured, &directory)?;
    outcome?;
    Ok(match (is_complete, measured.series.is_empty()) {
        (false, _) => Exit::Unknown,
        (true, true) => Exit::Harness,
        (true, false) => Exit::Valid,
    })
}

/// Writes what there is to a file each, and prints it.
fn conclude(measured: &Measured, directory: &RunDirectory) -> anyhow::Result<()> {
    let chart = chart::svg(measured);
    directory.write(CHART, chart.as_bytes())?;
    directory.write(store::RESULTS, &page::results(measured)?)?;
    let page = directory.write(store::REPORT, page::html(measured, &chart)?.as_bytes())?;
    terminal::print(|out| {
        table::print(out, measured)?;
        writeln!(out, "\nreport      {}", page.display())?;
        writeln!(out, "reproduce   {}", reproduce(measured))
    })?;
    Ok(())
}

/// The command that kills at the same moments.
fn reproduce(measured: &Measured) -> String {
    let mut words: Vec<String> = env::args().collect();
    if measured.args.seed.is_none() {
        words.extend(["--seed".to_owned(), measured.seed.to_string()]);
    }
    terminal::shell(&words)
}

/// The experiment under way.
struct Bench<'a> {
    raftd: PathBuf,
    trials: File,
    directory: &'a RunDirectory,
    measured: &'a mut Measured,
}

impl Bench<'_> {
    async fn run(mut self) -> anyhow::Result<()> {
        for range in self.measured.args.ranges.clone() {
            // The nodes' files: of use only if something goes wrong, or while somebody looks.
            let files = Files { path: self.directory.file(&format!("cluster-{range}")) };
            if let Err(error) = self.measure(range, &files).await {
                let kept = files.path.display().to_string();
                std::mem::forget(files);
                return Err(error.context(format!("range {range}; the nodes' files are in {kept}")));
            }
        }
        Ok(())
    }

    async fn measure(&mut self, range: TimeoutRange, files: &Files) -> anyhow::Result<()> {
        let BenchElections { nodes, cap, trials, .. } = self.measured.args;
        let started = Stand::start(&self.raftd, nodes, range, cap, &files.path).await;
        let mut stand = match started {
            Ok(stand) => stand,
            Err(error) => match error.downcast_ref() {
                Some(cluster::Error::NotListening { tail, .. }) if range.min == range.max => {
                    let why = format!("raftd does not start with it: {}", last_words(tail));
                    return self.leave_out(range, why);
                }
                _ => return Err(error),
            },
        };
        let broadcast_ms = match stand.broadcast_ms().await {
            Ok(times) => times,
            Err(error) => return self.leave_out(range, format!("{error:#}")),
        };
        if let Some(why) = too_slow(range, broadcast_ms) {
            return self.leave_out(range, why);
        }
        let series = Series { range, trials: Vec::new(), broadcast_ms, disturbed: 0, ended: None };
        self.measured.series.push(series);
        // The same moments whichever ranges came before.
        let mut rng = StdRng::seed_from_u64(self.measured.seed);
        let mut watching = Watching::new(range, trials);
        let ended = self.kill_leaders(&mut stand, &mut rng, &mut watching).await;
        if let Some(series) = self.measured.series.last_mut() {
            series.ended = ended?;
        }
        Ok(())
    }

    /// One trial after another. Why it ended before its time, if it did.
    async fn kill_leaders(
        &mut self,
        stand: &mut Stand,
        rng: &mut StdRng,
        watching: &mut Watching,
    ) -> anyhow::Result<Option<String>> {
        let BenchElections { trials: goal, cap, .. } = self.measured.args;
        let Some(series) = self.measured.series.last_mut() else { return Ok(None) };
        while series.trials.len() < usize::try_from(goal).unwrap_or(usize::MAX) {
            match stand.trial(rng).await {
                Ok(Outcome::Measured(trial)) => {
                    let (range, number) = (series.range.to_string(), series.trials.len() + 1);
                    let line = serde_json::to_string(&Line { range, number, trial: &trial })?;
                    writeln!(self.trials, "{line}").context("cannot write trials.jsonl")?;
                    series.trials.push(trial);
                    watching.update(&Sample::of(
                        series.trials.iter().map(|trial| trial.elected_ms),
                        cap,
                    ));
                }
                Ok(Outcome::Disturbed) => {
                    series.disturbed += 1;
                    if series.disturbed > goal {
                        return Ok(Some(
                            "leaders keep losing their office by themselves".to_owned(),
                        ));
                    }
                }
                // That a cluster does not come to rest is a result.
                Err(error) if error.is::<cluster::wait::TimedOut>() => {
                    return Ok(Some(format!("{error:#}")));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is how the measurement of a range ends")]
    fn leave_out(&mut self, range: TimeoutRange, why: String) -> anyhow::Result<()> {
        terminal::note(format!("{range} ms: left out: {why}"));
        self.measured.left_out.push((range, why));
        Ok(())
    }
}

/// Why this machine does not allow a range, if it does not: messages must be much faster than timeouts (Thesis §3.9).
fn too_slow(range: TimeoutRange, (_, p99_ms): (f64, f64)) -> Option<String> {
    let heartbeat_ms = stand::ms(range.heartbeat());
    (p99_ms >= heartbeat_ms).then(|| {
        format!(
            "one write in a hundred takes {p99_ms:.1} ms here in peace, as long as the heartbeat interval of \
             {heartbeat_ms:.0} ms: nodes would campaign though nobody died"
        )
    })
}

/// What a program that refuses to start says last: `raftd: FILE:LINE: REASON`.
fn last_words(tail: &str) -> &str {
    let line = tail.lines().last().unwrap_or("it does not say why");
    line.splitn(3, ": ").last().unwrap_or(line)
}

/// The files of a cluster that is no more, unless there is a reason to look at them.
struct Files {
    path: PathBuf,
}

impl Drop for Files {
    fn drop(&mut self) {
        if !std::thread::panicking()
            && let Err(error) = fs::remove_dir_all(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            terminal::note(format!("cannot remove {}: {error}", self.path.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_is_too_fast_for_a_machine_that_is_too_slow() {
        let range = TimeoutRange { min: 50, max: 100 };
        assert_eq!(too_slow(range, (2.0, 24.9)), None);
        let why = too_slow(range, (2.0, 31.25)).unwrap();
        assert!(why.contains("31.2 ms") && why.contains("interval of 25 ms"), "{why}");
    }
}
