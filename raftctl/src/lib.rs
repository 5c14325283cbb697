//! Client library of `raftd`: sessions, leader discovery, and errors that say whether a write may have taken effect.
//!
//! ```no_run
//! # async fn example() -> Result<(), raftctl::Error> {
//! use raftctl::{Client, Consistency, Endpoint, Options};
//!
//! let client = Client::new(Options::new([Endpoint::at("127.0.0.1:7201"), Endpoint::at("127.0.0.1:7202")]))?;
//! client.put("colour", "blue").await?;
//! let answer = client.get("colour", Consistency::Linearizable).await?;
//! assert_eq!(answer.value.as_deref(), Some("blue"));
//! # Ok(())
//! # }
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`Client`] (`client.rs`) | the calls |
//! | `nodes.rs` | calls about nodes: status, members, snapshots, who leads |
//! | `drive.rs` | how a call finds its node, and what it does about each answer |
//! | `router.rs` | the nodes, which of them to ask first, and whom to ask next |
//! | `session.rs` | names of requests, and which of them have an answer |
//! | `endpoint.rs`, `connection.rs` | one shared connection a node, many calls at once |
//! | `wire.rs` | lines of the protocol |
//! | [`Error`] (`error.rs`) | definite and indefinite |
//!
//! A [`Client`] is one *session*: one client name, `PREFIX@BIRTH`, whose requests `PREFIX@BIRTH:1`, `:2`, … the cluster
//! carries out at most once each. It is cheap to clone, and all its clones may call at the same time.

mod client;
mod connection;
mod drive;
mod endpoint;
mod error;
mod nodes;
mod options;
mod router;
mod session;
mod wire;

pub use client::{Answer, Call, Client};
pub use error::{Error, ErrorKind};
pub use nodes::{NodeSnapshot, NodeStatus};
pub use options::{Endpoint, Options};
pub use raftd::api::{
    BadRequestId, Code, Compare, Consistency, Member, MemberChange, Op, RequestId, Served, Status,
    Txn, TxnOp, TxnResult,
};

/// A member's number, at least 1.
pub type NodeId = u64;
