//! `raftctl` from outside: the library and the command, against scripted nodes and real ones.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod bench;
mod cli;
mod client;
mod cluster;
mod command;
mod fake;
mod load;
mod member;
mod members;
mod status;
