//! Runs raftd clusters as local processes, breaks them, and checks what their clients saw.
//!
//! | module | what |
//! |---|---|
//! | [`cli`], [`commands`], [`exit`] | the command line, what each command does, what it exits with |
//! | [`suite`], [`canary`] | one run after another, each with its verdict, and what one means that must be `invalid` |
//! | [`merge`], [`replay`] | runs of several machines summed up; the faults of a recorded run once more |
//! | [`scenario`], [`workload`] | what to run, and the operations that clients draw from it |
//! | [`runner`], [`traffic`], [`client`] | one run: its stages, the clients at work, what came of an operation |
//! | [`journal`], [`progress`] | the history as it is written, the status line |
//! | [`cluster`], [`nemesis`] | processes and the wires between them, and faults |
//! | [`disk`] | a disk that forgets what was not synced, and that can fail |
//! | [`sim`], [`simulate`] | the core in a world of virtual time, thousands of schedules a minute |
//! | [`elections`] | how long a cluster is without a leader when its leader dies |
//! | [`mutants`] | bugs put into the daemon, and whether they are found |
//! | [`node_logs`] | what the nodes' own logs say when a run is over |
//! | [`judge`], [`record`], [`store`] | from a history to its verdict, `results.json`, where runs are kept |
//! | [`report`], [`terminal`] | what people get to see |

pub mod canary;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod commands;
pub mod daemon;
pub mod disk;
pub mod elections;
pub mod exit;
pub mod journal;
pub mod judge;
pub mod merge;
pub mod mutants;
pub mod nemesis;
pub mod node_logs;
pub mod progress;
pub mod record;
pub mod replay;
pub mod report;
pub mod runner;
pub mod scenario;
pub mod sim;
pub mod simulate;
pub mod store;
pub mod suite;
pub mod terminal;
pub mod traffic;
pub mod workload;
