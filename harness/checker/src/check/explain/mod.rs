//! Why a history is not linearizable: few operations that contradict each other, in words and in a drawing.
//!
//! [`reduce`] takes away whatever does not matter, by steps that never invent a contradiction. [`explain`] says in two
//! sentences what is wrong with what is left, which it judges from that alone: it does not matter who found it.

mod context;
mod facts;
mod reduce;
mod sentences;
mod steps;
#[cfg(test)]
mod tests;
mod timeline;
mod weaker;
mod write;

pub use self::context::Context;
pub use self::facts::Facts;
pub use self::reduce::{Core, Start, near, reduce};
pub use self::sentences::{Explanation, explain};
pub use self::timeline::{timeline, timeline_svg};
pub use self::weaker::{Holds, Weaker, weaker};
pub use self::write::write_core;

use crate::ops::KeyOps;

/// Only these operations (indexes), without all that depends on others, as far as the others may be left out: if the
/// whole history has a linearization, so has this. None if none of the others may be.
pub fn left_alone(key: &KeyOps, ops: &[u32]) -> Option<KeyOps> {
    let fewer = steps::without(key, &steps::Out::all_but(key, ops));
    let is_all = ops.len() >= key.ops.len();
    fewer.or_else(|| is_all.then(|| steps::tidy(key.clone())))
}
