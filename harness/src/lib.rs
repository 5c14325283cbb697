//! The harness.

pub mod cluster;
pub mod nemesis;
