//! How a run failed, so that two failures can be compared.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Context;
use history_checker::results::{Results, Verdict};

use crate::store;

/// What was wrong with a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) verdict: Verdict,
    /// Classes of the violations: `stale read`.
    classes: BTreeSet<String>,
}

impl Failure {
    pub(super) fn of(results: &Results) -> Failure {
        let invalid = results.checks.iter().filter(|check| check.verdict == Verdict::Invalid);
        let violations = invalid.flat_map(|check| &check.violations);
        let classes = violations.map(|violation| violation.class.clone()).collect();
        Failure { verdict: results.verdict, classes }
    }

    /// As the run's `results.json` has it.
    pub(super) fn recorded(directory: &Path) -> anyhow::Result<Failure> {
        let path = directory.join(store::RESULTS);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let results = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} does not hold the results of a run", path.display()))?;
        Ok(Failure::of(&results))
    }

    /// The same verdict, and if that is invalid, one violation at least of the same class: a run that fails in one way may
    /// fail in others, too, as its clients happen to look.
    pub(super) fn is_like(&self, other: &Failure) -> bool {
        self.verdict == other.verdict
            && (self.classes.is_empty() || !self.classes.is_disjoint(&other.classes))
    }

    /// `stale read, lost write`.
    pub(super) fn words(&self) -> String {
        self.classes.iter().cloned().collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(verdict: Verdict, classes: &[&str]) -> Failure {
        Failure { verdict, classes: classes.iter().map(|class| (*class).to_owned()).collect() }
    }

    #[test]
    fn failures_are_alike_if_they_have_a_class_in_common() {
        let stale = failure(Verdict::Invalid, &["stale read"]);
        assert!(stale.is_like(&failure(Verdict::Invalid, &["stale read", "lost write"])));
        assert!(!stale.is_like(&failure(Verdict::Invalid, &["panic"])));
        assert!(!stale.is_like(&failure(Verdict::Valid, &[])));
        assert!(failure(Verdict::Valid, &[]).is_like(&failure(Verdict::Valid, &[])));
        assert!(!failure(Verdict::Unknown, &[]).is_like(&failure(Verdict::Valid, &[])));
    }
}
