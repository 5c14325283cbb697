//! The protocol under test: by example (`script`, with `../testdata`), and at random (`random`).
//!
//! Both play with the same [`cluster`], whose every step is watched by [`safety`].

mod cluster;
mod commands;
mod disk;
mod notation;
mod random;
mod safety;
mod script;
