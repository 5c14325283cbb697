//! Tests of the `harness` command, against real processes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod claims;
mod cli;
mod client;
mod cluster;
mod disk;
mod elections;
mod faults;
mod late_messages;
mod link_faults;
mod mutants;
mod nemesis;
mod netns;
mod objects;
mod proxy;
mod readme;
mod report;
mod run;
mod sim;
mod support;
mod traffic;
