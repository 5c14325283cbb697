//! One key's history as a question to the search: steps, each with the interval in which it happened.

use crate::check::keys::{Action, KeyOps, NEVER, Op, Seen, Word};
use crate::history::Outcome;
use crate::model::Model;
use crate::model::object::{FastMap, State, Step, Tree, UNSEEN};

/// Which part of a key's history to look at.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Numbers of operations, ascending. Of lists, tokens whose append is not among them are taken out of all reads.
    pub(super) ids: Vec<usize>,
    /// Events before this position only: what had not returned by then may have happened or not.
    pub(super) cut: usize,
}

impl Part {
    /// All of it.
    pub(super) fn whole(key: &KeyOps<'_>) -> Part {
        Part { ids: (0..key.ops.len()).collect(), cut: NEVER }
    }
}

/// A step and its interval.
#[derive(Debug)]
pub(super) struct TimedStep {
    /// Number of the operation.
    pub(super) id: usize,
    /// Position of its invocation.
    pub(super) call: usize,
    /// Position of its completion; [`NEVER`] if it may have happened at any time since, or not at all.
    pub(super) ret: usize,
    pub(super) step: Step,
}

impl TimedStep {
    /// It happened, and not only may have.
    pub(super) fn is_certain(&self) -> bool {
        self.ret != NEVER
    }
}

/// An invocation or a return, of which step.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moment {
    Call(usize),
    Return(usize),
}

/// What the search works on.
#[derive(Debug)]
pub(super) struct Problem {
    /// In order of invocation.
    pub(super) steps: Vec<TimedStep>,
    /// Invocations and returns, with their positions, in order.
    pub(super) moments: Vec<(usize, Moment)>,
    pub(super) tree: Tree,
    pub(super) model: Model,
}

impl Problem {
    pub(super) fn new(key: &KeyOps<'_>, part: &Part) -> Problem {
        let tokens = Tokens::of(key, part);
        let mut tree = Tree::default();
        let mut steps = Vec::with_capacity(part.ids.len());
        for &id in &part.ids {
            let op = &key.ops[id];
            if op.call >= part.cut {
                break;
            }
            let returned = op.ret < part.cut;
            if let Some(step) = step(op, returned, &tokens, &mut tree) {
                let ret = if returned { op.ret } else { NEVER };
                steps.push(TimedStep { id, call: op.call, ret, step });
            }
        }
        match key.model {
            Model::Register | Model::CasRegister => drop_unseen_values(&mut steps),
            Model::Append => drop_unseen_tokens(&mut steps, &tokens),
            Model::Counter => {} // every increment shows in all later sums
        }
        let mut moments = Vec::with_capacity(steps.len() * 2);
        for (number, step) in steps.iter().enumerate() {
            moments.push((step.call, Moment::Call(number)));
            if step.is_certain() {
                moments.push((step.ret, Moment::Return(number)));
            }
        }
        moments.sort_unstable_by_key(|&(position, _)| position);
        Problem { steps, moments, tree, model: key.model }
    }
}

/// The number of a register's value as a state.
pub(super) fn state_of(word: Word) -> State {
    State::try_from(word).unwrap_or(State::MAX)
}

/// Which tokens to see in lists.
struct Tokens {
    /// By word: taken out, because its append is not part of the problem.
    hidden: Vec<bool>,
    /// By word: it is in a list that was read.
    seen: Vec<bool>,
}

impl Tokens {
    fn of(key: &KeyOps<'_>, part: &Part) -> Tokens {
        let mut hidden = vec![false; key.words.len()];
        let appended = |op: &Op| op.appends().filter(|_| op.may_count());
        if part.ids.len() < key.ops.len() {
            for token in key.ops.iter().filter_map(appended) {
                hidden[token] = true;
            }
            for token in part.ids.iter().filter_map(|&id| appended(&key.ops[id])) {
                hidden[token] = false;
            }
        }
        let mut seen = vec![false; key.words.len()];
        for &id in &part.ids {
            let op = &key.ops[id];
            if let Seen::List(list) = &op.seen
                && op.ret < part.cut
            {
                for &token in list {
                    seen[token] = true;
                }
            }
        }
        Tokens { hidden, seen }
    }
}

/// What the operation did, if it says anything about the object.
fn step(op: &Op, returned: bool, tokens: &Tokens, tree: &mut Tree) -> Option<Step> {
    if op.outcome == Outcome::Fail {
        // A cas that says what it found is a read; other failures had no effect and saw nothing.
        return match op.seen {
            Seen::Word(word) if returned => Some(Step::Is(state_of(word))),
            Seen::Word(_) | Seen::Unknown | Seen::List(_) | Seen::Number(_) => None,
        };
    }
    match (&op.action, &op.seen) {
        (Action::Read, _) if !returned => None,
        (Action::Read, Seen::Word(word)) => Some(Step::Is(state_of(*word))),
        (Action::Read, Seen::Number(number)) => Some(Step::Is(*number)),
        (Action::Read, Seen::List(list)) => {
            let shown = list.iter().copied().filter(|&token| !tokens.hidden[token]);
            Some(Step::Is(tree.node(shown)))
        }
        (Action::Write(word), _) => Some(Step::Set(state_of(*word))),
        (Action::Cas { expect, new }, _) if expect == new => {
            returned.then_some(Step::Is(state_of(*new)))
        }
        (Action::Cas { expect, new }, _) => {
            Some(Step::Swap { from: state_of(*expect), to: state_of(*new) })
        }
        (Action::Append(token), _) => Some(Step::Push(*token)),
        (Action::Incr(by), Seen::Number(sum)) if returned => {
            let from = sum.checked_sub(*by).unwrap_or(UNSEEN);
            Some(if *by == 0 { Step::Is(*sum) } else { Step::Swap { from, to: *sum } })
        }
        (Action::Read, Seen::Unknown) | (Action::Incr(0), _) => None,
        (Action::Incr(by), _) => Some(Step::Add(*by)),
    }
}

/// Leaves out appends that may not have happened and that no read shows: if there is an order with such an append, it
/// comes after all reads, and the order without it will do.
fn drop_unseen_tokens(steps: &mut Vec<TimedStep>, tokens: &Tokens) {
    steps.retain(|timed| match timed.step {
        Step::Push(token) => timed.is_certain() || tokens.seen[token],
        Step::Is(_) | Step::Set(_) | Step::Swap { .. } | Step::Add(_) => true,
    });
}

/// Leaves out writes that may not have happened and whose value nobody saw or expects: if there is an order with such
/// a write, the same order without it will do, since what comes next (another write, or nothing) does not look at the
/// value. A write that did happen stays, but values that nobody looks at need not be told apart.
fn drop_unseen_values(steps: &mut Vec<TimedStep>) {
    let mut lookers: FastMap<State, usize> = FastMap::default();
    for state in steps.iter().filter_map(|timed| timed.step.needs()) {
        *lookers.entry(state).or_default() += 1;
    }
    loop {
        let before = steps.len();
        steps.retain(|timed| {
            let unseen = timed.step.makes().is_some_and(|to| !lookers.contains_key(&to));
            if timed.is_certain() || !unseen {
                return true;
            }
            // A cas that is dropped no longer looks at what it expected, so that may become unseen in turn.
            if let Some(from) = timed.step.needs()
                && let Some(count) = lookers.get_mut(&from)
            {
                *count -= 1;
                if *count == 0 {
                    lookers.remove(&from);
                }
            }
            false
        });
        if steps.len() == before {
            break;
        }
    }
    for timed in steps {
        if let Step::Set(to) | Step::Swap { to, .. } = &mut timed.step
            && !lookers.contains_key(to)
        {
            *to = UNSEEN;
        }
    }
}
