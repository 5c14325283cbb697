//! The same tests while a run goes on: fed each call and each completion, they report the first certain violation at the
//! completion that makes it certain.
//!
//! What is reported is wrong whatever comes later: operations that are called later cannot change what had returned, and
//! operations that are still open may yet have any effect. Each event costs about the logarithm of what came before.

mod counter;
mod list;
mod reach;
mod register;
mod set;

use super::super::decision::{Anomaly, Contradiction};
use crate::model::Model;
use crate::ops::{KeyOps, Op, Word};

/// One object of a run that goes on.
pub struct Online {
    object: Box<dyn Watch + Send>,
}

/// What is watched of an object.
trait Watch {
    /// An operation is called; whatever it does, it may do from now on.
    fn call(&mut self, id: u32, op: &Op);

    /// It returned, failed, or is given up.
    fn complete(&mut self, id: u32, op: &Op, list: &[Word]) -> Option<Contradiction>;
}

impl Online {
    /// Watches an object that is as `key` says before the first operation; none of its operations are looked at. `None`
    /// if there is no such test for its model.
    pub fn new(key: &KeyOps) -> Option<Online> {
        let object: Box<dyn Watch + Send> = match key.model {
            Model::Register | Model::CasRegister => Box::new(register::Register::of(key)),
            Model::Append => Box::new(list::AppendList::of(key)),
            Model::Counter => Box::new(counter::Counter::of(key)),
            Model::Set => Box::new(set::Set::of(key)),
            Model::MultiRegister
            | Model::Kv
            | Model::FifoQueue
            | Model::UnorderedQueue
            | Model::Mutex => return None,
        };
        Some(Online { object })
    }

    /// An operation is called. Numbers are the caller's, ascending; contradictions are
    /// told in them. Calls and completions come in
    /// order of their positions. Of `op`, what it learnt and became of it is not looked at.
    pub fn call(&mut self, id: u32, op: &Op) {
        self.object.call(id, op);
    }

    /// It returned, failed, or nobody waits for it any more: then its outcome is `Open`. `list` are the elements of a list
    /// that it saw. The violation, if this makes one certain; the operation is left out from then on.
    pub fn complete(&mut self, id: u32, op: &Op, list: &[Word]) -> Option<Contradiction> {
        self.object.complete(id, op, list)
    }
}

fn contradiction(anomaly: Anomaly, ops: impl IntoIterator<Item = u32>) -> Contradiction {
    let mut ops: Vec<u32> = ops.into_iter().collect();
    ops.sort_unstable();
    ops.dedup();
    Contradiction { anomaly, ops }
}
