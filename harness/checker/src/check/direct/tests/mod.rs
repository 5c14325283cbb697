//! The tests without a search against an oracle that tries all orders, on small random histories.

mod by_hand;
mod fuzz;
mod online;
mod orders;
mod replays;
mod witnesses;
