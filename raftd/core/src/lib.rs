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
//! | lease reads, where the clocks are trusted | `read_index` | 6.4.1 |
//! | client sessions, exactly-once for many requests in flight | [`kv`] | 6.3 |
//! | snapshots taken while writes go on; compaction with trailing entries; chunked transfer | `compaction`, [`snapshot`] | 5 |
//! | membership: learners, one-by-one and joint changes, removal of the leader | [`membership`], `reconfiguration` | 4 |
//! | voters that lost their disks come back as new members | `reconfiguration` | 3.8 |
//! | leadership transfer | `handover` | 3.10 |
//!
//! # What is chosen where the thesis leaves a choice
//!
//! - Snapshots are shipped whole by the leader, in pieces (§5.3); slices of state in the log itself (leader-based
//!   approaches, §5.4) are not used: one mechanism serves compaction, slow followers and new members.
//! - A configuration rules from when it is in the log (§4.1), not from when it is applied, as some implementations have it.
//! - A change of one voter needs no joint phase; `set` always takes one. The first change of a leadership waits for the
//!   leader's no-op, without which changes of one voter are unsafe (Ongaro, raft-dev, 2015).

mod compaction;
pub mod effects;
mod election;
mod handover;
mod input;
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
mod view;
