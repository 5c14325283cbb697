//! What several runs together mean: a line for each, and one exit code.

use std::io::{self, Write};

use crate::canary::{Sighting, sighting};
use crate::exit::Exit;
use crate::report::RunSummary;
use crate::terminal;

/// One run that is over.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: Exit,
    pub(crate) summary: RunSummary,
}

/// What a run that is over means. A canary must be rejected, or the bench is blind; in a series that is what passes.
pub(crate) fn ran(summary: RunSummary, in_series: bool, interrupted: bool) -> Ran {
    let failed = summary.failure.is_some();
    let exit = match &summary.outcome {
        Err(_) => Exit::Harness,
        Ok(results) if summary.must_be_rejected => {
            canary_exit(sighting(results), in_series, failed, interrupted)
        }
        Ok(results) => {
            let failure = if failed { Exit::Harness } else { Exit::Valid };
            failure.merge(results.verdict.into())
        }
    };
    Ran { exit, summary }
}

/// One line a run, when there are several.
pub(crate) fn print_table(out: &mut impl Write, runs: &[Ran], left_out: usize) -> io::Result<()> {
    let mut table = terminal::table();
    let has_seeds = runs.windows(2).any(|pair| pair[0].summary.seed != pair[1].summary.seed);
    for ran in runs {
        let summary = &ran.summary;
        let verdict = match &summary.outcome {
            Ok(results) => terminal::word(results.verdict),
            Err(_) => "harness failed",
        };
        let sighting =
            summary.outcome.as_ref().ok().filter(|_| summary.must_be_rejected).map(sighting);
        let as_expected = match (ran.exit, sighting) {
            (Exit::Valid, Some(_)) => "passed: a canary, rejected as it must be",
            (Exit::Valid, None) => "passed",
            (_, Some(Sighting::Bug)) => "a canary, but more is wrong than its stale reads",
            (Exit::Harness, Some(Sighting::Undecided | Sighting::Missed)) => {
                "a canary that was not rejected"
            }
            (Exit::Harness, _) if summary.failure.is_some() => "the harness failed",
            _ => summary.outcome.as_ref().err().map_or("", String::as_str),
        };
        let ok = summary.outcome.as_ref().map_or(0, |results| results.counts.ok);
        let ok = format!("{} ok", indicatif::HumanCount(ok));
        let took = format!("{} s", summary.took.as_secs());
        let seed = if has_seeds { format!("seed {}", summary.seed) } else { String::new() };
        table.add_row([&summary.workload, &seed, verdict, &ok, &took, as_expected]);
    }
    writeln!(out, "{}", table.trim_fmt())?;
    if left_out > 0 {
        writeln!(out, " {left_out} more not run")?;
    }
    Ok(())
}

/// What a canary's outcome means. An interruption excuses that nothing was decided, and nothing else.
fn canary_exit(sighting: Sighting, in_series: bool, failed: bool, interrupted: bool) -> Exit {
    match sighting {
        Sighting::Seen if failed => Exit::Harness,
        Sighting::Seen if in_series => Exit::Valid,
        Sighting::Bug | Sighting::Seen => Exit::Invalid,
        Sighting::Undecided if interrupted && !failed => Exit::Unknown,
        Sighting::Undecided | Sighting::Missed => Exit::Harness,
    }
}

pub(super) fn canary_note(sighting: Sighting, interrupted: bool) -> &'static str {
    match sighting {
        Sighting::Seen => " This workload is a canary: it is right that it is rejected.",
        Sighting::Bug => {
            " This workload is a canary, but more is wrong than its stale reads: that is a bug."
        }
        Sighting::Undecided if interrupted => {
            " This workload is a canary; the run was too short to reject it."
        }
        Sighting::Undecided | Sighting::Missed => {
            " This workload is a canary and was not rejected: the bench is blind, and no other verdict can be trusted."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canary_exit_is_0_in_a_series_only_if_it_was_rejected_and_all_else_is_well() {
        let series =
            |sighting, failed, interrupted| canary_exit(sighting, true, failed, interrupted);
        assert_eq!(series(Sighting::Seen, false, false), Exit::Valid);
        assert_eq!(canary_exit(Sighting::Seen, false, false, false), Exit::Invalid, "alone");
        assert_eq!(series(Sighting::Seen, true, false), Exit::Harness, "a failure does not vanish");
        assert_eq!(series(Sighting::Bug, false, true), Exit::Invalid, "a bug is one");
        assert_eq!(series(Sighting::Undecided, false, true), Exit::Unknown, "cut short");
        assert_eq!(series(Sighting::Undecided, false, false), Exit::Harness);
        assert_eq!(series(Sighting::Missed, false, true), Exit::Harness, "no excuse");
    }
}
