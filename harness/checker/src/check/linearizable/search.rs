//! The exact search: Wing and Gong's, with Lowe's memoisation and his just-in-time linearization, in breadth.
//!
//! A *configuration* is a state of the object and the set of open operations that have been done in it
//! ("linearized"). The search walks through the history's events with the set of all configurations that are
//! possible, the *frontier*:
//!
//! - an invocation opens an operation;
//! - at a return, the operation must have been done: configurations in which it has not are extended by other open
//!   operations in all ways until it has, and no further ("just in time"). Each configuration is looked at once
//!   (Lowe's memoisation). Those that cannot be extended so are dropped. If none is left, the history up to here has
//!   no linearization.
//!
//! So memory is bound by the widest frontier, not by the history; the set is a mask over slots of *open* operations,
//! not over the history; and progress can be told ("linearizable up to 12.3 s").
//!
//! Extending in all ways would be exponential in the number of open operations. Five arguments keep it small. All but
//! the fourth say that of two configurations one can do whatever the other can, so that this one suffices:
//!
//! 1. *Reads at once.* An open operation that finds the state which is there now and leaves it is done right away.
//! 2. *Equals by deadline.* Of open operations that do exactly the same, the one that returns first goes first; those
//!    without a return go last. (Whoever does it otherwise may swap the two.)
//! 3. *Silent writes.* When a register is overwritten, all open writes whose value nobody will look at afterwards
//!    happen right before, together with the open reads of it. (Whoever does them later may leave them out there:
//!    until the next write, nothing looks at their value.)
//! 4. *Dead ends* ([`Ahead`]): a state is not left while it is needed later on and cannot come back.
//! 5. *Spare what need not have happened*: a configuration is dropped if another one has the same state, has done the
//!    same operations of known outcome, and only some of the others. (What is open for ever can still be done
//!    whenever the other one has to.)

use super::ahead::{Ahead, never_made};
use super::configuration::{Configuration, Known, Mask};
use super::problem::{Moment, Problem};
use crate::model::Model;
use crate::model::object::{FastMap, FastSet, START, State, Step, UNSEEN};

/// What the search says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// An order exists.
    Linearizable,
    /// No order exists for the events up to the return of this step, if later ones are to fit as well.
    Blocked {
        /// The step.
        step: usize,
        /// The states in which the object may have been instead.
        states: Vec<State>,
    },
    /// A limit was hit; up to this position an order exists.
    GaveUp {
        /// Position among the history's events.
        position: usize,
        /// Which limit.
        limit: Limit,
    },
}

/// What ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Configurations,
    Memory,
    Cancelled,
    Open,
}

/// What the search may spend.
#[derive(Clone, Copy)]
pub(super) struct Budget<'a> {
    /// Units of work left: configurations explored.
    pub(super) configurations: u64,
    pub(super) memory_bytes_max: u64,
    pub(super) cancelled: Option<&'a (dyn Fn() -> bool + Sync)>,
}

/// Figures of a search.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Effort {
    pub(super) configurations: u64,
    pub(super) frontier_max: usize,
}

/// Looks for an order.
pub(super) fn search(problem: &Problem, budget: &Budget<'_>) -> (Answer, Effort) {
    if let Some(step) = never_made(problem) {
        return (Answer::Blocked { step, states: Vec::new() }, Effort::default());
    }
    // How many slots it takes shows on the way only: an operation without a return gives its slot back as soon as it
    // is done in all configurations.
    let widths = [Search::<1>::run, Search::<2>::run, Search::<8>::run, Search::<64>::run];
    let mut found = (Answer::GaveUp { position: 0, limit: Limit::Open }, Effort::default());
    for run in widths {
        found = run(problem, budget);
        if !matches!(found.0, Answer::GaveUp { limit: Limit::Open, .. }) {
            break;
        }
    }
    found
}

/// An operation under way.
#[derive(Clone, Copy, Debug)]
struct Open {
    number: usize,
    step: Step,
    certain: bool,
    slot: usize,
    /// Return and invocation: the order of equals.
    deadline: (usize, usize),
    /// Slot of the next earlier one of its equals.
    before: Option<usize>,
}

struct Search<'p, const W: usize> {
    problem: &'p Problem,
    budget: Budget<'p>,
    ahead: Ahead,
    /// By deadline.
    open: Vec<Open>,
    slots_free: Vec<usize>,
    slots: usize,
    frontier: Vec<Configuration<W>>,
    effort: Effort,
    /// Position of the last event dealt with.
    position: usize,
}

impl<'p, const W: usize> Search<'p, W> {
    fn new(problem: &'p Problem, budget: &Budget<'p>) -> Search<'p, W> {
        Search {
            problem,
            budget: *budget,
            ahead: Ahead::new(problem),
            open: Vec::new(),
            slots_free: Vec::new(),
            slots: 0,
            frontier: vec![Configuration { state: START, done: Mask::EMPTY }],
            effort: Effort { configurations: 0, frontier_max: 1 },
            position: 0,
        }
    }

    fn run(problem: &'p Problem, budget: &Budget<'p>) -> (Answer, Effort) {
        let mut search = Search::<W>::new(problem, budget);
        let answer = search.walk();
        let position = search.position;
        (answer.unwrap_or_else(|limit| Answer::GaveUp { position, limit }), search.effort)
    }

    fn walk(&mut self) -> Result<Answer, Limit> {
        for (count, &(position, moment)) in self.problem.moments.iter().enumerate() {
            if count.is_multiple_of(1024)
                && self.budget.cancelled.is_some_and(|cancelled| cancelled())
            {
                return Err(Limit::Cancelled);
            }
            match moment {
                Moment::Call(number) => self.call(number)?,
                Moment::Return(number) => {
                    if let Some(states) = self.return_of(number)? {
                        return Ok(Answer::Blocked { step: number, states });
                    }
                }
            }
            self.position = position;
        }
        Ok(Answer::Linearizable)
    }

    fn call(&mut self, number: usize) -> Result<(), Limit> {
        let timed = &self.problem.steps[number];
        let (step, certain) = (timed.step, timed.is_certain());
        self.ahead.invoked(step, certain);
        let slot = match self.slots_free.pop() {
            Some(slot) => slot,
            None if self.slots == 64 * W => return Err(Limit::Open),
            None => {
                self.slots += 1;
                self.slots - 1
            }
        };
        let deadline = (timed.ret, timed.call);
        let place = self.open.partition_point(|open| open.deadline < deadline);
        let before =
            self.open[..place].iter().rev().find(|open| open.step == step).map(|open| open.slot);
        if let Some(after) = self.open[place..].iter_mut().find(|open| open.step == step) {
            after.before = Some(slot);
        }
        self.open.insert(place, Open { number, step, certain, slot, deadline, before });
        for configuration in &mut self.frontier {
            if is_done_at_once(step, configuration.state) {
                configuration.done.set(slot);
            }
        }
        Ok(())
    }

    /// The operation has returned, so it was done. Returns the states instead if it cannot have been.
    fn return_of(&mut self, number: usize) -> Result<Option<Vec<State>>, Limit> {
        let Some(place) = self.open.iter().position(|open| open.number == number) else {
            return Ok(None); // it was closed before, being done in all configurations
        };
        let slot = self.open[place].slot;
        let (done, todo) = self.frontier.iter().partition(|c| c.done.has(slot));
        self.frontier = done;
        if !todo.is_empty() {
            let states = self.extend(todo, slot)?;
            if self.frontier.is_empty() {
                return Ok(Some(states));
            }
        }
        self.close(place);
        if self.open.iter().any(|open| !open.certain) {
            self.close_settled();
        }
        self.effort.frontier_max = self.effort.frontier_max.max(self.frontier.len());
        Ok(None)
    }

    /// Extends `todo` until `target` is done, and puts the results into the frontier. Returns the states met on the
    /// way.
    fn extend(&mut self, todo: Vec<Configuration<W>>, target: usize) -> Result<Vec<State>, Limit> {
        let silent = self.silent_writes();
        let mut states: Vec<State> = todo.iter().map(|configuration| configuration.state).collect();
        let mut known = Known::new(self.optional());
        let mut by_cost = Vec::new();
        for configuration in self.frontier.iter().chain(&todo) {
            known.insert(*configuration);
        }
        for configuration in todo {
            enqueue(&mut by_cost, &known, configuration);
        }
        let mut cost = 0;
        while cost < by_cost.len() {
            let Some(configuration) = by_cost[cost].pop() else {
                cost += 1;
                continue;
            };
            for open in &self.open {
                let Some(next) = self.next(&configuration, open, &silent) else { continue };
                if !known.insert(next) {
                    continue;
                }
                self.effort.configurations += 1;
                self.budget.spend(self.effort.configurations, known.len(), size_of_val(&next))?;
                states.push(next.state);
                if next.done.has(target) {
                    self.frontier.push(next);
                } else {
                    enqueue(&mut by_cost, &known, next);
                }
            }
        }
        states.sort_unstable();
        states.dedup();
        Ok(states)
    }

    /// Does one open operation, if that can be done now and leads anywhere.
    fn next(
        &self,
        configuration: &Configuration<W>,
        open: &Open,
        silent: &Mask<W>,
    ) -> Option<Configuration<W>> {
        let mut done = configuration.done;
        if done.has(open.slot) || open.before.is_some_and(|before| !done.has(before)) {
            return None;
        }
        let state = open.step.apply(configuration.state, &self.problem.tree)?;
        done.set(open.slot);
        if matches!(open.step, Step::Set(_)) {
            done.add(silent);
        }
        // By deadline: the certain ones come first.
        for other in self.open.iter().take_while(|other| other.certain) {
            if is_done_at_once(other.step, state) {
                done.set(other.slot);
            }
        }
        let undone = self.open.iter().filter(|other| !done.has(other.slot));
        let dead = self.ahead.is_dead_end(
            configuration.state,
            state,
            undone.map(|other| (other.step, other.certain)),
        );
        (!dead).then_some(Configuration { state, done })
    }

    /// Open writes to a register whose value only open reads look at, or nobody; and those reads.
    fn silent_writes(&self) -> Mask<W> {
        let mut silent = Mask::EMPTY;
        if !matches!(self.problem.model, Model::Register | Model::CasRegister) {
            return silent;
        }
        let mut readers: FastMap<State, Vec<usize>> = FastMap::default();
        let mut swapped: FastSet<State> = FastSet::default();
        for open in &self.open {
            match open.step {
                Step::Is(state) => readers.entry(state).or_default().push(open.slot),
                Step::Swap { from, .. } => {
                    swapped.insert(from);
                }
                Step::Set(_) | Step::Push(_) | Step::Add(_) => {}
            }
        }
        for open in &self.open {
            if let Step::Set(state) = open.step
                && self.ahead.is_done_with(state)
                && !swapped.contains(&state)
            {
                silent.set(open.slot);
                readers.get(&state).into_iter().flatten().for_each(|&slot| silent.set(slot));
            }
        }
        silent
    }

    /// Slots of open operations that need not have happened.
    fn optional(&self) -> Mask<W> {
        let mut optional = Mask::EMPTY;
        for open in self.open.iter().filter(|open| !open.certain) {
            optional.set(open.slot);
        }
        optional
    }

    /// Forgets an operation that is done in all configurations.
    fn close(&mut self, place: usize) {
        let closed = self.open.remove(place);
        for configuration in &mut self.frontier {
            configuration.done.clear(closed.slot);
        }
        if let Some(after) = self.open.iter_mut().find(|open| open.before == Some(closed.slot)) {
            after.before = closed.before;
        }
        self.slots_free.push(closed.slot);
    }

    /// Closes operations without a return that are done in all configurations.
    fn close_settled(&mut self) {
        let Some(first) = self.frontier.first() else { return };
        let mut settled = first.done;
        for configuration in &self.frontier {
            settled.keep(&configuration.done);
        }
        while let Some(place) =
            self.open.iter().position(|open| !open.certain && settled.has(open.slot))
        {
            settled.clear(self.open[place].slot);
            self.close(place);
        }
    }
}

impl Budget<'_> {
    fn spend(&self, configurations: u64, known: usize, bytes_each: usize) -> Result<(), Limit> {
        if configurations > self.configurations {
            return Err(Limit::Configurations);
        }
        // A hash table holds up to twice its contents, and the frontier a copy of it.
        let bytes = known.saturating_mul(bytes_each).saturating_mul(3);
        if u64::try_from(bytes).unwrap_or(u64::MAX) > self.memory_bytes_max {
            return Err(Limit::Memory);
        }
        if configurations.is_multiple_of(4096)
            && self.cancelled.is_some_and(|cancelled| cancelled())
        {
            return Err(Limit::Cancelled);
        }
        Ok(())
    }
}

/// Puts a configuration among those with as many optional operations done.
fn enqueue<const W: usize>(
    by_cost: &mut Vec<Vec<Configuration<W>>>,
    known: &Known<W>,
    configuration: Configuration<W>,
) {
    let cost = known.cost(&configuration);
    if by_cost.len() <= cost {
        by_cost.resize_with(cost + 1, Vec::new);
    }
    by_cost[cost].push(configuration);
}

/// A step that changes nothing in this state is best done at once: nothing later can profit from its absence.
fn is_done_at_once(step: Step, state: State) -> bool {
    match step {
        Step::Is(here) => here == state,
        Step::Push(_) => state == UNSEEN,
        Step::Set(_) | Step::Swap { .. } | Step::Add(_) => false,
    }
}
