//! Faults: which, when, against whom, and the proof that they bit.

pub use self::kind::{Kind, Lane, UnknownKind};

mod kind;
pub mod schedule;
