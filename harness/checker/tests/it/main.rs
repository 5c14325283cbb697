//! Tests of the checker, at its public boundary: histories in, verdicts out.

mod format;
mod formats;
mod oracle;
mod published;
mod random;
mod stale;
mod support;
mod totals;
mod verdicts;
