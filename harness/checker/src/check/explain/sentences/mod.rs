//! What is wrong with a core, in two sentences: which operations contradict each other, and what made the state what
//! it was.
//!
//! A module for each kind of object looks for what it knows, the plainest first. What none of them knows is told
//! operation by operation, or, if that is too long, by the operation that fits nowhere.

mod counter;
mod list;
mod mutex;
mod queue;
mod register;
mod set;
mod text;
mod words;

pub(super) use self::words::Words;
use super::facts::Facts;
use super::reduce::Core;
use crate::check::decision::Anomaly;
use crate::check::text::{capital, count};
use crate::model::Model;
use crate::ops::{NEVER, Op, index};

/// A core up to this size is told operation by operation.
const TOLD_MAX: usize = 6;

/// A contradiction as a person reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What kind of contradiction it is.
    pub anomaly: Anomaly,
    /// Two sentences, or a few.
    pub sentences: String,
    /// The numbers of the operations, in order of time.
    pub ops: Vec<u32>,
    /// The number of the operation that fits nowhere.
    pub blocked: u32,
    /// Indexes of their events, ascending, as far as the history has any.
    pub events: Vec<u64>,
}

/// What is wrong, before it is put together.
struct Told {
    anomaly: Anomaly,
    /// Without a period.
    what: String,
    why: String,
}

/// Says what is wrong with a core.
pub fn explain(core: &Core, facts: &dyn Facts) -> Explanation {
    let words = Words { core, facts };
    let told = match core.key.model {
        Model::Register | Model::CasRegister | Model::MultiRegister => register::tell(&words),
        Model::Kv => text::tell(&words),
        Model::Append => list::tell(&words),
        Model::Set => set::tell(&words),
        Model::Counter => counter::tell(&words),
        Model::FifoQueue | Model::UnorderedQueue => queue::tell(&words),
        Model::Mutex => mutex::tell(&words),
    };
    let told = told.unwrap_or_else(|| tell_all(&words));
    let mut ops: Vec<&Op> = core.key.ops.iter().chain(&core.context.ops).collect();
    ops.sort_by_key(|op| op.call);
    let mut events: Vec<u64> = ops.iter().flat_map(|op| facts.events(op.number)).collect();
    events.sort_unstable();
    events.dedup();
    let sentences = [told.what, told.why].into_iter().filter(|sentence| !sentence.is_empty());
    Explanation {
        anomaly: told.anomaly,
        sentences: sentences
            .map(|sentence| format!("{}.", capital(&sentence)))
            .collect::<Vec<String>>()
            .join(" "),
        ops: ops.iter().map(|op| op.number).collect(),
        blocked: core.key.ops.get(index(core.blocked)).map_or(0, |op| op.number),
        events,
    }
}

/// All operations of a small core; of a large one, that which fits nowhere.
fn tell_all(words: &Words<'_>) -> Told {
    let ops = &words.core.key.ops;
    let others = ops.len().saturating_sub(1);
    let what = match ops.get(index(words.core.blocked)) {
        Some(blocked) if ops.len() > TOLD_MAX => format!(
            "{} fits nowhere: {} before it or together with it can be put in order, but only in ways in which this one \
             has no place",
            words.phrase(blocked),
            count(others, "operation"),
        ),
        _ => {
            let told: Vec<String> = ops.iter().map(|op| words.phrase(op)).collect();
            words::list(&told)
        }
    };
    let mut why = words.initially().map_or(String::new(), |initially| format!("{initially}; "));
    why.push_str("what ended before another began must come first, and no such order ");
    why.push_str(match words.core.key.model {
        Model::Register | Model::CasRegister => {
            "gives each of them the value written last before it"
        }
        Model::MultiRegister => "gives each read the value that was written last to that register",
        Model::Kv => "gives each of them the text that was left before it",
        Model::Append => "gives each read exactly the tokens appended before it",
        Model::Counter => "gives each of them the sum of what was added before it",
        Model::Set => "gives each read exactly the elements that were in the set then",
        Model::FifoQueue => "lets each of them take the element that had been in the queue longest",
        Model::UnorderedQueue => "lets each of them take an element that was in the queue then",
        Model::Mutex => {
            "has the lock free whenever it is acquired and held whenever it is released"
        }
    });
    let anomaly = if words.core.key.model == Model::Mutex {
        Anomaly::MutualExclusion
    } else {
        Anomaly::NotLinearizable
    };
    Told { anomaly, what, why }
}

/// It had ended when the other one began, for certain.
fn precedes(one: &Op, other: &Op) -> bool {
    one.ret != NEVER && one.ret < other.call
}
