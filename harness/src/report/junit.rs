//! JUnit XML, for CI systems.

use std::path::{Path, PathBuf};
use std::time::Duration;

use history_checker::results::{Check, Results, Verdict};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::canary::{Sighting, is_eye, sighting};

use super::words::{at, put};
use super::{Error, publish};

/// Most violations spelled out in a failure's text.
const VIOLATIONS_MAX: usize = 10;

/// One run, as far as a CI system is told of it.
#[derive(Clone, Debug)]
pub struct RunSummary {
    /// The workload's name.
    pub workload: String,
    /// The run's seed.
    pub seed: u64,
    /// Its result directory.
    pub dir: PathBuf,
    /// Whether the workload's author expects `invalid` (a canary): then that, for stale reads only, is a success.
    pub must_be_rejected: bool,
    /// How long it took.
    pub took: Duration,
    /// What the checks say, or how the harness itself failed.
    pub outcome: Result<Results, String>,
    /// How the harness itself failed although there is an outcome.
    pub failure: Option<String>,
}

/// Writes a JUnit document: one suite for each workload, one case for each check.
///
/// An invalid check is a failure, an unknown one an error, and so is a run in which the harness itself failed. A canary is
/// one more case, `rejected`, and that its reads are stale is not held against it; whatever else is wrong is.
pub fn junit(path: &Path, runs: &[RunSummary]) -> Result<(), Error> {
    let mut report = Report::new("harness");
    report.set_time(runs.iter().map(|run| run.took).sum());
    let mut workloads: Vec<&str> = Vec::new();
    for run in runs {
        if !workloads.contains(&run.workload.as_str()) {
            workloads.push(&run.workload);
        }
    }
    for workload in workloads {
        let of_workload: Vec<&RunSummary> =
            runs.iter().filter(|run| run.workload == workload).collect();
        report.add_test_suite(suite(workload, &of_workload));
    }
    let mut text = report.to_string()?;
    text.push('\n');
    publish(path, text.as_bytes())
}

fn suite(workload: &str, runs: &[&RunSummary]) -> TestSuite {
    let mut suite = TestSuite::new(workload);
    suite.set_time(runs.iter().map(|run| run.took).sum());
    for run in runs {
        let seed = if runs.len() > 1 { format!(" (seed {})", run.seed) } else { String::new() };
        for mut case in cases(run) {
            case.set_classname(workload);
            let name = format!("{}{seed}", case.name.as_str());
            case.name = name.into();
            case.add_property(("seed", run.seed.to_string().as_str()));
            case.add_property(("results", run.dir.display().to_string().as_str()));
            suite.add_test_case(case);
        }
    }
    suite
}

fn cases(run: &RunSummary) -> Vec<TestCase> {
    let results = match &run.outcome {
        Ok(results) => results,
        Err(failure) => {
            return vec![harness_failed(failure, run.took)];
        }
    };
    let mut cases: Vec<TestCase> =
        results.checks.iter().map(|check| check_case(run, check)).collect();
    if run.must_be_rejected {
        let missed = format!("the verdict is not `invalid`: {}", results.headline);
        let missed_it = matches!(sighting(results), Sighting::Undecided | Sighting::Missed);
        let problem =
            missed_it.then_some((NonSuccessKind::Failure, "the canary was not rejected", missed));
        cases.push(case("rejected", problem, Duration::ZERO));
    }
    cases.extend(run.failure.iter().map(|failure| harness_failed(failure, Duration::ZERO)));
    // The run's time is told once, so that the sum over cases is right.
    if let Some(first) = cases.first_mut() {
        first.set_time(run.took);
    }
    cases
}

fn harness_failed(failure: &str, took: Duration) -> TestCase {
    case("run", Some((NonSuccessKind::Error, "the harness failed", failure.to_owned())), took)
}

fn check_case(run: &RunSummary, check: &Check) -> TestCase {
    let kind = match check.verdict {
        Verdict::Valid => None,
        Verdict::Unknown => Some(NonSuccessKind::Error),
        Verdict::Invalid => Some(NonSuccessKind::Failure),
    };
    let excused = run.must_be_rejected && (is_eye(check) || check.verdict == Verdict::Unknown);
    let problem =
        kind.filter(|_| !excused).map(|kind| (kind, check.summary.as_str(), details(run, check)));
    let mut case = case(&check.name, problem, Duration::ZERO);
    if excused && kind.is_some() {
        case.set_system_out(format!(
            "as expected of a canary: {}\n{}",
            check.summary,
            details(run, check)
        ));
    }
    case
}

/// What a person needs who sees only this text.
fn details(run: &RunSummary, check: &Check) -> String {
    let mut text = String::new();
    for violation in check.violations.iter().take(VIOLATIONS_MAX) {
        let key = violation.key.as_ref().map_or(String::new(), |key| format!(" of key {key}"));
        let line = format!(
            "{}{key} at {} s: {}\n",
            violation.class,
            at(violation.time),
            violation.explanation
        );
        text.push_str(&line);
    }
    let rest = check.violations.len().saturating_sub(VIOLATIONS_MAX);
    if rest > 0 {
        put(&mut text, format_args!("and {rest} more\n"));
    }
    let dir = run.dir.display();
    put(
        &mut text,
        format_args!("report: {dir}/report.html\ncheck again: harness check {dir}/history.jsonl\n"),
    );
    text
}

fn case(name: &str, problem: Option<(NonSuccessKind, &str, String)>, took: Duration) -> TestCase {
    let status = match problem {
        None => TestCaseStatus::success(),
        Some((kind, message, description)) => {
            let mut status = TestCaseStatus::non_success(kind);
            status.set_message(message).set_description(description);
            status
        }
    };
    let mut case = TestCase::new(name, status);
    case.set_time(took);
    case
}
