//! The protocol under test: by example (`script`, with `../testdata`), and at random (`random`).
//!
//! Both play with the same [`cluster`], whose every step is watched by [`safety`]. And whatever peers send, no node
//! panics (`garbage`).

mod cluster;
mod commands;
mod disk;
mod garbage;
mod notation;
mod random;
mod safety;
mod script;
pub(crate) mod seeds;
