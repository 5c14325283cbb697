//! Reads histories of operations and says whether they are linearizable, and why not.
//!
//! ```text
//! let history = History::read(path)?;                     // history.jsonl, see `history`
//! let results = check(&history, &Options::default());     // a verdict, and every check's own part
//! ```
//!
//! How to add a model: see [`model`].
//!
//! The verdict is a function of the history alone: nothing here knows clusters, processes, clocks or files other than
//! the one it is told to read.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an operation of another model is none of a model's business, nor that of a test for one"
)]

pub mod check;
pub mod datum;
pub mod formats;
pub mod history;
pub mod model;
pub mod ops;
pub mod results;
#[cfg(test)]
mod testing;
mod watch;

pub use check::{Options, check};
pub use history::History;
pub use watch::Watcher;
