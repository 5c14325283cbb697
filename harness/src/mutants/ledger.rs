//! What was measured, and when: kept from one command to the next.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::trial::{Finding, Outcome};

/// The file, among the results.
pub(super) const FILE: &str = "track-record.json";

/// Everything that was measured last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Ledger {
    /// On real processes, by the bug's name.
    pub(super) real: BTreeMap<String, Measured>,
    /// In the simulator, by the bug's name.
    pub(super) sim: BTreeMap<String, Measured>,
    /// Of the clean build on real processes, by what was run.
    pub(super) clean_real: BTreeMap<String, Measured>,
    /// Of the clean build in the simulator, by what was run.
    pub(super) clean_sim: BTreeMap<String, Measured>,
}

/// What came of some runs of one build.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Measured {
    /// The day, UTC.
    pub(super) date: String,
    /// The commit of the checkout; a `+` behind it: with changes.
    pub(super) commit: String,
    /// Seed of the first run.
    pub(super) seed: u64,
    /// Runs whose outcome is known.
    pub(super) runs: u32,
    /// Runs in which something was seen.
    pub(super) found: u32,
    /// Until it was seen, median of those runs, seconds.
    pub(super) seconds: Option<f64>,
    /// What saw it, in most of those runs.
    pub(super) by: String,
    /// What was seen in one of them.
    pub(super) evidence: String,
}

impl Measured {
    /// What these outcomes come to.
    pub(super) fn new(date: &str, commit: &str, seed: u64, outcomes: &[Outcome]) -> Measured {
        let known = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Outcome::Found(_) | Outcome::Missed(_)));
        let findings: Vec<&Finding> = outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                Outcome::Found(finding) => Some(finding),
                Outcome::Missed(_) | Outcome::Failed(_) | Outcome::Interrupted => None,
            })
            .collect();
        let mut by: BTreeMap<&str, u32> = BTreeMap::new();
        for finding in &findings {
            *by.entry(&finding.by).or_default() += 1;
        }
        let most = by.into_iter().max_by_key(|&(_, count)| count).map(|(by, _)| by.to_owned());
        let seconds = median(findings.iter().map(|finding| finding.seconds).collect());
        Measured {
            date: date.to_owned(),
            commit: commit.to_owned(),
            seed,
            runs: u32::try_from(known.count()).unwrap_or(u32::MAX),
            found: u32::try_from(findings.len()).unwrap_or(u32::MAX),
            seconds,
            by: most.unwrap_or_default(),
            evidence: findings.first().map(|found| found.evidence.clone()).unwrap_or_default(),
        }
    }
}

/// The middle one; of an even number the upper of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// What was found in every run is sure to be found again, if it did not take longer than this, seconds.
const SURE_SECONDS_MAX: f64 = 10.0;

/// And on real processes, where chance plays a part, if it was looked for so often.
const SURE_RUNS_MIN: u32 = 3;

impl Ledger {
    /// Whether a bug was found every time, and soon: whoever does not find it has a fault of their own.
    pub(super) fn is_sure(&self, name: &str, is_sim: bool) -> bool {
        let (rows, runs_min) = if is_sim { (&self.sim, 1) } else { (&self.real, SURE_RUNS_MIN) };
        rows.get(name).is_some_and(|row| {
            let is_soon = row.seconds.is_some_and(|seconds| seconds <= SURE_SECONDS_MAX);
            row.runs >= runs_min && row.found == row.runs && is_soon
        })
    }

    /// What is kept there; nothing, if there is no such file.
    pub(super) fn read(path: &Path) -> anyhow::Result<Ledger> {
        match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| {
                format!("cannot make sense of {}; remove it to begin anew", path.display())
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ledger::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// As it stands in the file.
    pub(super) fn to_json(&self) -> anyhow::Result<Vec<u8>> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        Ok(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_come_to_a_median_and_to_what_saw_it_most_often() {
        let found = |by: &str, seconds| {
            let (by, evidence) = (by.to_owned(), format!("after {seconds} s"));
            Outcome::Found(Finding { by, evidence, seconds })
        };
        let outcomes = [
            found("a", 9.0),
            found("b", 2.0),
            Outcome::Missed(String::new()),
            found("b", 4.0),
            Outcome::Failed(String::new()),
        ];
        let measured = Measured::new("today", "abc", 7, &outcomes);
        assert_eq!((measured.runs, measured.found, measured.seconds), (4, 3, Some(4.0)));
        assert_eq!((measured.by.as_str(), measured.evidence.as_str()), ("b", "after 9 s"));
        assert_eq!(Measured::new("today", "abc", 7, &outcomes[4..]).seconds, None);
    }

    #[test]
    fn sure_is_what_was_found_every_time_and_soon() {
        let row = |runs, found, seconds| {
            let measured = Measured { runs, found, seconds, ..Measured::default() };
            let rows = BTreeMap::from([("x".to_owned(), measured)]);
            Ledger { real: rows.clone(), sim: rows, ..Ledger::default() }
        };
        let sure = |ledger: Ledger| (ledger.is_sure("x", false), ledger.is_sure("x", true));
        assert_eq!(sure(row(3, 3, Some(9.0))), (true, true));
        assert_eq!(sure(row(1, 1, Some(9.0))), (false, true));
        assert_eq!(sure(row(3, 2, Some(9.0))), (false, false));
        assert_eq!(sure(row(3, 3, Some(11.0))), (false, false));
        assert_eq!(sure(row(3, 3, None)), (false, false));
        assert_eq!(sure(Ledger::default()), (false, false));
    }

    #[test]
    fn ledger_reads_what_it_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        assert_eq!(Ledger::read(&path).unwrap(), Ledger::default());
        let mut ledger = Ledger::default();
        ledger.real.insert("x".into(), Measured { seconds: Some(1.5), ..Measured::default() });
        fs::write(&path, ledger.to_json().unwrap()).unwrap();
        assert_eq!(Ledger::read(&path).unwrap(), ledger);
        fs::write(&path, "x").unwrap();
        assert!(Ledger::read(&path).unwrap_err().to_string().contains("remove it"));
    }
}
