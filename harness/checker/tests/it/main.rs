//! Tests of the checker, at its public boundary: histories in, verdicts out.

mod format;
mod oracle;
mod random;
mod stale;
mod support;
mod verdicts;
