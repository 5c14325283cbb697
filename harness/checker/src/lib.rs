//! Reads histories of operations and says whether they are linearizable, and why not.

pub mod history;
pub mod results;
