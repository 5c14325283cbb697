//! What the history still demands of states later on: with that, the search sees dead ends when it enters them.

use super::problem::{Moment, Problem};
use crate::model::Model;
use crate::model::object::{FastMap, START, State, Step, UNSEEN};

/// Demands of the steps that are not invoked yet.
#[derive(Debug)]
pub(super) struct Ahead {
    model: Model,
    states: FastMap<State, Demand>,
    /// Steps to come that certainly happened and need some state.
    needs_total: usize,
    /// Of a counter that never falls: the least sum that any step needs which is invoked as number N or later.
    least: Option<Vec<State>>,
    invoked: usize,
}

/// How many steps to come ask for a state.
#[derive(Clone, Copy, Debug, Default)]
struct Demand {
    /// Certainly happened, and need it.
    needs: usize,
    /// May have happened or did, and change it into another.
    swaps: usize,
    /// May have happened or did, and make it.
    makes: usize,
}

impl Ahead {
    pub(super) fn new(problem: &Problem) -> Ahead {
        let mut ahead = Ahead {
            model: problem.model,
            states: FastMap::default(),
            needs_total: 0,
            least: None,
            invoked: 0,
        };
        if problem.model == Model::Counter {
            ahead.least = least_needed(problem);
            return ahead;
        }
        for timed in &problem.steps {
            ahead.count(timed.step, timed.is_certain(), |n| *n += 1);
        }
        ahead
    }

    /// The next step is invoked.
    pub(super) fn invoked(&mut self, step: Step, certain: bool) {
        self.invoked += 1;
        if self.model != Model::Counter {
            self.count(step, certain, |n| *n -= 1);
        }
    }

    fn count(&mut self, step: Step, certain: bool, change: impl Fn(&mut usize)) {
        if let Some(state) = step.needs() {
            let demand = self.states.entry(state).or_default();
            if certain {
                change(&mut demand.needs);
                change(&mut self.needs_total);
            }
            if matches!(step, Step::Swap { .. }) {
                change(&mut demand.swaps);
            }
        }
        if let Some(state) = step.makes() {
            change(&mut self.states.entry(state).or_default().makes);
        }
    }

    fn demand(&self, state: State) -> Demand {
        self.states.get(&state).copied().unwrap_or_default()
    }

    /// Whether no step to come looks at a register's value.
    pub(super) fn is_done_with(&self, state: State) -> bool {
        let demand = self.demand(state);
        demand.needs == 0 && demand.swaps == 0
    }

    /// Whether going from one state to another leaves behind a state that is still needed and cannot come back.
    /// `open` are the steps under way that are not done yet in this configuration, and whether each certainly
    /// happened.
    pub(super) fn is_dead_end(
        &self,
        from: State,
        to: State,
        mut open: impl Iterator<Item = (Step, bool)> + Clone,
    ) -> bool {
        match self.model {
            _ if from == to => false,
            Model::Register | Model::CasRegister => {
                let needed = self.demand(from).needs > 0
                    || open.clone().any(|(step, certain)| certain && step.needs() == Some(from));
                needed
                    && self.demand(from).makes == 0
                    && !open.any(|(step, _)| step.makes() == Some(from))
            }
            // Lists only grow.
            Model::Append if to == UNSEEN => {
                self.needs_total > 0 || open.any(|(step, _)| step.needs().is_some())
            }
            Model::Append => self.demand(from).needs > 0,
            Model::Counter => self.least.as_ref().is_some_and(|least| {
                least[self.invoked] < to
                    || open.any(|(step, certain)| {
                        certain && step.needs().is_some_and(|state| state < to)
                    })
            }),
        }
    }
}

/// None if the counter may fall.
fn least_needed(problem: &Problem) -> Option<Vec<State>> {
    let falls = |step| match step {
        Step::Add(by) => by < 0,
        Step::Swap { from, to } => to < from,
        Step::Is(_) | Step::Set(_) | Step::Push(_) => false,
    };
    if problem.steps.iter().any(|timed| falls(timed.step)) {
        return None;
    }
    let mut least = vec![State::MAX; problem.steps.len() + 1];
    for (number, timed) in problem.steps.iter().enumerate().rev() {
        let needed = timed.step.needs().filter(|_| timed.is_certain());
        least[number] = least[number + 1].min(needed.unwrap_or(State::MAX));
    }
    Some(least)
}

/// A state that is needed although nothing makes it: no search will find a way there.
pub(super) fn never_made(problem: &Problem) -> Option<usize> {
    if !matches!(problem.model, Model::Register | Model::CasRegister) {
        return None;
    }
    let made: crate::model::object::FastSet<State> =
        problem.steps.iter().filter_map(|timed| timed.step.makes()).chain([START]).collect();
    problem.moments.iter().find_map(|&(_, moment)| match moment {
        Moment::Return(number) => {
            let needed = problem.steps[number].step.needs()?;
            (!made.contains(&needed)).then_some(number)
        }
        Moment::Call(_) => None,
    })
}
