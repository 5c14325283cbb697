//! Raft consensus and a key-value state machine, sans-io.

pub mod effects;
pub mod kv;
pub mod message;
pub mod node;
pub mod types;
