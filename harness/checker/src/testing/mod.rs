//! What tests of checks share: an oracle that tries all orders, and random histories of every model, right and wrong.

mod cross;
mod export;
mod mutate;
mod object;
mod oracle;
mod print;
mod random;
mod tests;

pub(crate) use self::mutate::mutate;
pub(crate) use self::oracle::is_linearizable;
pub(crate) use self::print::print;
pub(crate) use self::random::{Log, MODELS, Shape, generate};
