//! What the tests with real processes share.

mod client;
mod cluster;
mod daemon;
mod wait;

pub(crate) use client::Client;
pub(crate) use cluster::Cluster;
pub(crate) use daemon::Daemon;
pub(crate) use wait::wait_for;
