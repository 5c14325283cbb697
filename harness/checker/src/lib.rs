//! Reads histories of operations and says whether they are linearizable, and why not.
//!
//! ```text
//! let history = History::read(path)?;                     // history.jsonl, see `history`
//! let results = check(&history, &Options::default());     // a verdict, and every check's own part
//! ```
//!
//! The verdict is a function of the history alone: nothing here knows clusters, processes, clocks or files other than
//! the one it is told to read.

pub mod check;
pub mod history;
pub mod model;
pub mod results;

pub use check::{Options, check};
pub use history::History;
