//! Exit codes: what a CI job goes by.

use std::process::ExitCode;

use history_checker::results::Verdict;

/// How a command ended. Stable: scripts rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: every verdict is valid (or the command has none to give, and did what it was asked).
    Valid,
    /// 1: at least one history is proven wrong.
    Invalid,
    /// 2: not decided: too little happened, a limit of the search was hit, or the run was cut short.
    Unknown,
    /// 3: the harness itself failed, or a canary was not rejected.
    Harness,
    /// 64: the command line or a scenario file is wrong; nothing was run.
    Usage,
}

impl Exit {
    /// The number the process exits with.
    pub fn code(self) -> u8 {
        match self {
            Exit::Valid => 0,
            Exit::Invalid => 1,
            Exit::Unknown => 2,
            Exit::Harness => 3,
            Exit::Usage => 64,
        }
    }

    /// One for two: invalid beats harness failure beats unknown beats valid. A counterexample stands whatever else
    /// went wrong; a harness failure must not pass for "not decided".
    #[must_use]
    pub fn merge(self, other: Exit) -> Exit {
        let rank = |exit| match exit {
            Exit::Valid => 0,
            Exit::Unknown => 1,
            Exit::Harness => 2,
            Exit::Invalid => 3,
            Exit::Usage => 4,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

impl From<Verdict> for Exit {
    fn from(verdict: Verdict) -> Exit {
        match verdict {
            Verdict::Valid => Exit::Valid,
            Verdict::Invalid => Exit::Invalid,
            Verdict::Unknown => Exit::Unknown,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::Exit::{Harness, Invalid, Unknown, Valid};
    use super::*;

    #[test]
    fn merge_of_any_two_keeps_the_worse() {
        let by_weight = [Valid, Unknown, Harness, Invalid];
        for (i, &a) in by_weight.iter().enumerate() {
            for (j, &b) in by_weight.iter().enumerate() {
                assert_eq!(a.merge(b), by_weight[i.max(j)], "{a:?} with {b:?}");
            }
        }
    }

    #[test]
    fn codes_are_the_documented_ones() {
        let codes = [Valid, Invalid, Unknown, Harness, Exit::Usage].map(Exit::code);
        assert_eq!(codes, [0, 1, 2, 3, 64]);
    }
}
