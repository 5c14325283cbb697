//! The daemon's library: client protocol types, options, storage, network, and the event loop.

pub mod api;
pub mod codec;
pub mod config;
pub mod storage;
