//! Raft consensus and a key-value state machine, deterministic and sans-io.
//!
//! A [`node::Node`] takes [`node::Input`]s and asks for [`effects::Effects`]; its driver owns the clock, the disk, the
//! network and the clients. The same bytes run in the daemon, in tests over a simulated network, and anywhere else.
//!
//! # What is implemented
//!
//! From Ongaro's thesis, *Consensus: Bridging Theory and Practice* (2014), cited as `Thesis §…`:
//!
//! | what | where | section |
//! |---|---|---|
//! | terms, roles, what survives a crash | [`node`] | 3.3, 3.8 |
//! | elections with randomised timeouts, one vote a term, up-to-date rule | `election` | 3.4, 3.6.1 |
//! | pre-vote; deafness to campaigns while a leader is heard | `election` | 9.6, 4.2.3 |
//! | log replication, conflict hints, pipelining with a window | `replication`, `progress` | 3.5, 10.2.2 |
//! | the leader's disk in parallel with its followers' | [`effects`] | 10.2.1 |
//! | no-op at term start, only own-term entries committed by counting | `replication` | 3.6.2 |
//! | check-quorum: a leader without a quorum steps down | `replication` | 6.2 |
//! | linearizable reads without log entries, at leader and followers | `read_index` | 6.4 |
//! | client sessions, exactly-once for many requests in flight | [`kv`] | 6.3 |
//! | quorums as functions of voter sets, joint ones too | [`membership`] | 4.3 |
//!
//! # What is left out, for now
//!
//! Snapshots and compaction (Thesis §5), membership changes (§4), leadership transfer (§3.10), lease reads (§6.4.1):
//! the log stays in memory as a whole, and the voters are those of the start.

mod compaction;
pub mod effects;
mod election;
mod handover;
mod invariants;
pub mod kv;
pub mod log;
pub mod membership;
pub mod message;
pub mod node;
mod progress;
mod read_index;
mod reconfiguration;
mod replication;
mod rng;
pub mod snapshot;
#[cfg(test)]
mod tests;
pub mod types;
