//! Canaries: workloads that must be rejected, and for the right reason only.
//!
//! They ask for reads that may be stale, or trust a lock that runs out. The checks that look for what comes of that must find
//! some, or the bench is blind; what any other check finds is as much a bug as anywhere.

use history_checker::results::{Check, Results, Verdict};

/// The checks that a canary must be rejected by.
const EYES: [&str; 3] = ["stale-reads", "elements", "linearizable"];

/// What came of a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// It was rejected for its stale reads, or lost elements, and nothing else.
    Seen,
    /// Something is wrong that a canary does not excuse.
    Bug,
    /// Nothing was decided.
    Undecided,
    /// It passed for valid.
    Missed,
}

/// What `results` mean for a canary.
pub fn sighting(results: &Results) -> Sighting {
    if results.checks.iter().any(|check| check.verdict == Verdict::Invalid && !is_eye(check)) {
        return Sighting::Bug;
    }
    match results.verdict {
        Verdict::Invalid => Sighting::Seen,
        Verdict::Unknown => Sighting::Undecided,
        Verdict::Valid => Sighting::Missed,
    }
}

/// Whether it is this check's part to reject canaries.
pub fn is_eye(check: &Check) -> bool {
    EYES.contains(&check.name.as_str())
}

#[cfg(test)]
pub(crate) mod tests {
    use history_checker::results::Counts;

    use super::*;

    /// Results of these checks.
    pub(crate) fn results(checks: &[(&str, Verdict)]) -> Results {
        let check = |&(name, verdict): &(&str, Verdict)| Check {
            name: name.to_owned(),
            verdict,
            summary: String::new(),
            violations: Vec::new(),
            details: serde_json::Value::Null,
        };
        Results {
            verdict: checks.iter().map(|&(_, verdict)| verdict).max().unwrap_or_default(),
            headline: String::new(),
            checks: checks.iter().map(check).collect(),
            counts: Counts::default(),
        }
    }

    #[test]
    fn canary_is_seen_by_the_checks_for_stale_reads_only() {
        use Verdict::{Invalid, Unknown, Valid};
        let cases: [(&[(&str, Verdict)], Sighting); 7] = [
            (&[("linearizable", Unknown), ("stale-reads", Invalid)], Sighting::Seen),
            (&[("linearizable", Invalid), ("coverage", Unknown)], Sighting::Seen),
            (&[("linearizable", Invalid), ("exactly-once", Invalid)], Sighting::Bug),
            (&[("linearizable", Invalid), ("elements", Invalid)], Sighting::Seen),
            (&[("stale-reads", Valid), ("nodes", Invalid)], Sighting::Bug),
            (&[("stale-reads", Valid), ("coverage", Unknown)], Sighting::Undecided),
            (&[("stale-reads", Valid), ("nodes", Valid)], Sighting::Missed),
        ];
        for (checks, expected) in cases {
            assert_eq!(sighting(&results(checks)), expected, "{checks:?}");
        }
    }
}
