//! `harness replay`: the faults of a recorded run once more.
//!
//! A fault's targets were chosen from a seed and from who led when it began; the history has both, and the times. So the
//! same choices are made again, with the leader of the day.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use history_checker::results::Verdict;
use serde_json::{Value, json};
use tokio::sync::watch;

use self::args::Replay;
use self::failure::Failure;
use self::recording::Recording;
use self::shrink::shrink;
use crate::cluster::{Builds, Network, netns};
use crate::exit::Exit;
use crate::nemesis::schedule::{Planned, Schedule};
use crate::runner::{self, Plan};
use crate::store::RunDirectory;
use crate::suite::conclude;
use crate::{daemon, disk, terminal};

pub mod args;
mod failure;
mod recording;
mod shrink;

/// Room for faults that take longer than they did.
const SLACK: Duration = Duration::from_secs(5);

/// One command's work.
#[derive(Debug)]
pub struct Session<'a> {
    args: &'a Replay,
    recording: Recording,
}

/// A run that is over.
struct Replayed {
    failure: Failure,
    directory: RunDirectory,
    took: Duration,
}

impl<'a> Session<'a> {
    /// Makes sense of a recorded run. An error is the user's.
    pub fn new(args: &'a Replay) -> anyhow::Result<Session<'a>> {
        let mut recording = Recording::read(&args.directory)?;
        if let Some(raftd) = &args.raftd {
            recording.builds = Builds::one(raftd);
        }
        for build in recording.builds.paths() {
            daemon::find(Some(build))?;
        }
        if recording.scenario.needs_disks() {
            let own =
                std::env::current_exe().context("cannot find the harness's own executable")?;
            disk::check(&own).context("the run cannot be replayed")?;
        }
        if recording.network == Network::Netns {
            netns::probe()?;
            // Before there are any threads: they would stay outside.
            netns::enter()?;
        }
        Ok(Session { args, recording })
    }

    /// Replays it as often as was asked for, or shrinks it. `interrupted` turns true when the user wants it to end.
    pub async fn run(&self, interrupted: &watch::Receiver<bool>) -> anyhow::Result<Exit> {
        let Recording { scenario, faults, failure, .. } = &self.recording;
        terminal::note(format!(
            "{} was {}{}, with {}",
            scenario.name,
            terminal::word(failure.verdict),
            in_brackets(&failure.words()),
            terminal::plural(count(faults), "fault"),
        ));
        if self.args.shrink {
            self.shrink(interrupted).await
        } else {
            self.repeat(interrupted).await
        }
    }

    async fn repeat(&self, interrupted: &watch::Receiver<bool>) -> anyhow::Result<Exit> {
        let mut exit = Exit::Valid;
        let (mut same, mut done) = (0, 0);
        for number in 1..=self.args.times {
            let replayed = self.once(&self.recording.faults, interrupted).await?;
            if *interrupted.borrow() {
                exit = exit.merge(Exit::Unknown);
                break;
            }
            done += 1;
            same += u64::from(self.recording.failure.is_like(&replayed.failure));
            exit = exit.merge(replayed.failure.verdict.into());
            self.tell(&format!("{number} of {}", self.args.times), &replayed)?;
        }
        let rate = format!(
            "\n {same} of {} ended as the recorded run did",
            terminal::plural(done, "replay")
        );
        terminal::print(|out| writeln!(out, "{rate}")).context("cannot print")?;
        Ok(exit)
    }

    /// Leaves out faults as long as the run fails in the same way.
    async fn shrink(&self, interrupted: &watch::Receiver<bool>) -> anyhow::Result<Exit> {
        let Recording { faults, failure, .. } = &self.recording;
        if failure.verdict == Verdict::Valid {
            terminal::note("error: that run was valid: there is nothing to shrink");
            return Ok(Exit::Usage);
        }
        let mut runs = 0;
        let mut last: Option<Replayed> = None;
        // None: there is no time for more.
        let mut fails = async |faults: &[Planned]| -> anyhow::Result<Option<bool>> {
            for _ in 0..self.args.times {
                if runs >= self.args.runs_max || *interrupted.borrow() {
                    return Ok(None);
                }
                runs += 1;
                let replayed = self.once(faults, interrupted).await?;
                let same = failure.is_like(&replayed.failure);
                self.tell(
                    &format!("{} left", terminal::plural(count(faults), "fault")),
                    &replayed,
                )?;
                if same {
                    last = Some(replayed);
                    return Ok(Some(true));
                }
            }
            Ok(Some(false))
        };
        let whole = fails(faults).await?;
        if whole != Some(true) {
            let text = format!(
                "\n not seen again in {}: nothing was left out",
                terminal::plural(runs, "replay")
            );
            terminal::print(|out| writeln!(out, "{text}")).context("cannot print")?;
            return Ok(Exit::Unknown);
        }
        let left = shrink(faults.clone(), &mut fails).await?;
        self.tell_shrunk(&left, last.as_ref(), runs)?;
        Ok(failure.verdict.into())
    }

    /// One run with these faults.
    async fn once(
        &self,
        faults: &[Planned],
        interrupted: &watch::Receiver<bool>,
    ) -> anyhow::Result<Replayed> {
        let Recording { scenario, seed, time_limit, builds, network, .. } = &self.recording;
        let begun = Instant::now();
        let now = SystemTime::now();
        let directory = RunDirectory::create(&self.args.results, &scenario.name, *seed, now)?;
        let last = faults.iter().map(|fault| fault.start + fault.duration).max();
        let end = last.unwrap_or_default() + SLACK;
        let plan = Plan {
            scenario: scenario.clone(),
            seed: *seed,
            time_limit: *time_limit,
            builds: builds.clone(),
            network: *network,
            fail_fast: true,
            replayed: Some(Schedule::of(faults.iter().cloned(), end, scenario.nodes)),
            circumstances: self.circumstances(),
        };
        let outcome = runner::run(&plan, &directory, interrupted).await;
        let concluded = conclude(outcome, &directory, interrupted).await?;
        let failure = Failure::of(&concluded.record.results);
        Ok(Replayed { failure, directory, took: begun.elapsed() })
    }

    /// What the history of a replay says of how it came about, so that it can be replayed, too.
    fn circumstances(&self) -> BTreeMap<String, Value> {
        let Recording { scenario, time_limit, builds, network, .. } = &self.recording;
        let command: Vec<String> = std::env::args().collect();
        let backend = if *network == Network::Netns { "netns" } else { "proxy" };
        let entries = [
            ("command", json!(command)),
            ("replay_of", json!(self.args.directory)),
            ("raftd", json!(builds.all)),
            ("raftd_of", json!(builds.of)),
            ("upgrade_to", json!(builds.upgrade)),
            ("hypothesis", json!(scenario.hypothesis)),
            ("scenario", json!(scenario.text)),
            ("clients", json!(scenario.clients)),
            ("rate", json!(scenario.rate)),
            ("quorum_safe", json!(scenario.quorum_safe)),
            ("time_limit_ms", json!(time_limit.as_millis())),
            ("backend", json!(backend)),
        ];
        entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn tell(&self, which: &str, replayed: &Replayed) -> anyhow::Result<()> {
        let same = self.recording.failure.is_like(&replayed.failure);
        let Replayed { failure, directory, took } = replayed;
        terminal::print(|out| {
            writeln!(
                out,
                " {which:<14} {:<8} {:>5.1} s  {}{}",
                terminal::word(failure.verdict),
                took.as_secs_f64(),
                directory.path.display(),
                if same {
                    String::new()
                } else {
                    format!("  otherwise{}", in_brackets(&failure.words()))
                },
            )
        })
        .context("cannot print")
    }

    fn tell_shrunk(
        &self,
        left: &[Planned],
        last: Option<&Replayed>,
        runs: u64,
    ) -> anyhow::Result<()> {
        let all = count(&self.recording.faults);
        terminal::print(|out| {
            let runs = terminal::plural(runs, "replay");
            if left.is_empty() {
                writeln!(out, "\n It fails without any of the {all} faults, too ({runs}).")?;
            } else {
                writeln!(out, "\n {} of {all} faults are left after {runs}:\n", left.len())?;
            }
            for Planned { kind, start, duration, aim, .. } in left {
                let (start, duration) = (start.as_secs_f64(), duration.as_secs_f64());
                writeln!(
                    out,
                    " {start:>8.3} s  for {duration:.3} s  {kind}, aimed at {}",
                    match aim.name() {
                        "leader" => "the leader",
                        name => name,
                    }
                )?;
            }
            match last {
                Some(last) => writeln!(out, "\n run        {}", last.directory.path.display()),
                None => Ok(()),
            }
        })
        .context("cannot print")
    }
}

fn count(faults: &[Planned]) -> u64 {
    u64::try_from(faults.len()).unwrap_or(u64::MAX)
}

fn in_brackets(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}
