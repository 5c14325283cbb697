//! The replicated state machine: a map from keys to strings, with client sessions.

mod command;
mod hash;
mod session;
mod sharded;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod txn;

pub use command::{BadRequestId, Command, Op, Output, Refusal, RequestId, Written};
pub use session::Limits;
pub use state::{BadState, SessionView, State, StateBuilder};
pub use store::Store;
pub use txn::{Compare, Txn, TxnOp, TxnResult};
