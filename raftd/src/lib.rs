//! The daemon's library: client protocol types, options, storage, network, and the event loop.

pub mod api;
pub mod codec;
pub mod config;
mod net;
pub mod server;
mod status;
pub mod storage;
