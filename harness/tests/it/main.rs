//! Tests against real processes.

mod cluster;
mod faults;
mod proxy;
