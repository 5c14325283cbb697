//! Tests of the `harness` command, against real processes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod claims;
mod cli;
mod client;
mod cluster;
mod elections;
mod faults;
mod mutants;
mod nemesis;
mod proxy;
mod readme;
mod report;
mod run;
mod sim;
mod support;
mod traffic;
