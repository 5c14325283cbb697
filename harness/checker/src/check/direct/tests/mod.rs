//! The tests without a search against an oracle that tries all orders, on small random histories.

mod fuzz;
mod online;
mod replays;
mod witnesses;
