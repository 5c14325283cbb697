//! What a history is like: which object, how many operations, keys and clients, and how much goes wrong.

use std::fmt;

use anyhow::{Context, bail};
use clap::ValueEnum;

/// The object of every key, and the values that are written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// Half reads, half writes of values that are never written twice.
    Register,
    /// Half reads, half writes of 0 to 4.
    RegisterSmall,
    /// Thirds of reads, writes and cas, of values that are never written twice; a failed cas says what it found.
    Cas,
    /// Thirds of reads, writes and cas of 0 to 4, as Jepsen has them: a failed cas says nothing.
    CasSmall,
    /// Half reads, half appends. A key that got 32 appends is left for a new one, as in Jepsen's list-append
    /// workload, since every read repeats the list.
    Append,
}

impl Workload {
    /// The model in headers, and after `--model`.
    pub(crate) fn model(self) -> &'static str {
        match self {
            Workload::Register | Workload::RegisterSmall => "register",
            Workload::Cas | Workload::CasSmall => "cas-register",
            Workload::Append => "append",
        }
    }

    pub(crate) fn is_small(self) -> bool {
        matches!(self, Workload::RegisterSmall | Workload::CasSmall)
    }

    pub(crate) fn is_cas(self) -> bool {
        matches!(self, Workload::Cas | Workload::CasSmall)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Workload::Register => "register",
            Workload::RegisterSmall => "register-small",
            Workload::Cas => "cas",
            Workload::CasSmall => "cas-small",
            Workload::Append => "append",
        })
    }
}

/// Whether the history is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Truth {
    /// It is linearizable.
    Valid,
    /// One read halfway returned what had been overwritten before it began.
    Stale,
}

impl fmt::Display for Truth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Truth::Valid => "valid",
            Truth::Stale => "stale",
        })
    }
}

/// A cell of the benchmark.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) workload: Workload,
    pub(crate) ops: u64,
    pub(crate) keys: usize,
    pub(crate) clients: usize,
    /// Percentage of operations whose outcome is unknown.
    pub(crate) open: u64,
    pub(crate) truth: Truth,
    pub(crate) seed: u64,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shape { workload, ops, keys, clients, open, truth, seed } = self;
        write!(f, "{workload}-{ops}-{keys}k-{clients}c-{open}p-{truth}-{seed}")
    }
}

/// `10000`, `10k` or `1M`.
pub(crate) fn count(text: &str) -> anyhow::Result<u64> {
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 1_000),
        Some(b'M') => (&text[..text.len() - 1], 1_000_000),
        Some(_) => (text, 1),
        None => bail!("a number is missing"),
    };
    let number: u64 = digits.parse().with_context(|| format!("{text:?} is no number"))?;
    number.checked_mul(factor).with_context(|| format!("{text:?} is too large"))
}

/// As in tables.
pub(crate) fn short(count: u64) -> String {
    match count {
        0 => "0".to_owned(),
        _ if count.is_multiple_of(1_000_000) => format!("{}M", count / 1_000_000),
        _ if count.is_multiple_of(1_000) => format!("{}k", count / 1_000),
        _ => count.to_string(),
    }
}
