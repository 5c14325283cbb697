//! What a run is found guilty of.

use std::fmt;

/// A promise that was broken. Two runs fail in the same way if they break the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which promise; or, for a node that stopped itself, where in its source.
    pub promise: String,
    /// What contradicts it.
    pub evidence: String,
}

impl Violation {
    /// Of this promise, by this evidence.
    pub(super) fn new(promise: impl Into<String>, evidence: impl Into<String>) -> Violation {
        Violation { promise: promise.into(), evidence: evidence.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.evidence)
    }
}

/// Returns a violation unless the condition holds: `ensure!(holds, "promise", "evidence {detail}")`.
macro_rules! ensure {
    ($holds:expr, $promise:expr, $($evidence:tt)+) => {
        if !$holds {
            return Err($crate::sim::violation::Violation::new($promise, format!($($evidence)+)));
        }
    };
}
pub(super) use ensure;
