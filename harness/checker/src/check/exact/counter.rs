//! Counters. A state is a sum that was reached, by number.

use std::rc::Rc;

use super::configuration::Configuration;
use super::hash::FastMap;
use super::mask::Mask;
use super::object::{Actor, Kind, Move, Nature, Object, Problem, State, Step};
use super::scene::Scene;
use crate::history::Outcome;
use crate::ops::{Action, KeyOps, NEVER, Op, Seen, index};

/// What an operation of a kind does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Does {
    Read(i64),
    /// An increment that returned the sum.
    Swap {
        from: i64,
        to: i64,
    },
    /// What the sum was is not known.
    Add(i64),
}

impl Does {
    /// The sum that it must find.
    fn needs(self) -> Option<i64> {
        match self {
            Does::Read(sum) | Does::Swap { from: sum, .. } => Some(sum),
            Does::Add(_) => None,
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Counter {
    kinds: Vec<Does>,
    /// By state.
    sums: Vec<i64>,
    states: FastMap<i64, State>,
    /// If nothing ever makes the sum less: by number of steps invoked, which of those to come that certainly happened
    /// needs the least sum.
    least: Option<Rc<[u32]>>,
    /// Some order of the additions may lead beyond what 64 bits hold.
    may_overflow: bool,
    /// By step: what it needs.
    needs: Rc<[i64]>,
    invoked: usize,
    /// By class.
    adds: Vec<(usize, i64)>,
}

const NONE: u32 = u32::MAX;

impl Counter {
    fn does(&self, kind: Kind) -> Does {
        self.kinds[index(kind)]
    }

    fn sum(&self, state: State) -> i64 {
        self.sums[index(state)]
    }

    fn state(&mut self, sum: i64) -> State {
        let next = self.sums.len();
        *self.states.entry(sum).or_insert_with(|| {
            self.sums.push(sum);
            State::try_from(next).unwrap_or(State::MAX)
        })
    }

    /// Whether an addition that nobody has to do yet is worth being done: somebody waits for a sum that it leads
    /// towards. (Unless they may overflow, additions can change places with each other, so without that it can be done
    /// later.)
    fn is_worth<const W: usize>(&self, to: i64, at: &Configuration<W>, scene: &Scene<W>) -> bool {
        if self.may_overflow {
            return true;
        }
        let is_monotonic = self.least.is_some();
        at.owed.slots().any(|slot| {
            self.does(scene.slot(slot).kind)
                .needs()
                .is_some_and(|needed| !is_monotonic || needed >= to)
        })
    }
}

impl<'k, const W: usize> Object<'k, W> for Counter {
    fn problem(key: &'k KeyOps) -> Problem<Self> {
        let mut numbers: FastMap<Does, Kind> = FastMap::default();
        let mut kinds = Vec::new();
        let mut steps = Vec::new();
        let mut impossible = None;
        for (number, op) in (0..).zip(&key.ops) {
            let does = match does(op) {
                Ok(Some(does)) => does,
                Ok(None) => continue,
                Err(Impossible) => {
                    impossible = impossible.or(Some(number));
                    continue;
                }
            };
            let next = Kind::try_from(kinds.len()).unwrap_or(Kind::MAX);
            let kind = *numbers.entry(does).or_insert_with(|| {
                kinds.push(does);
                next
            });
            steps.push(Step { op: number, call: op.call, ret: op.ret, kind });
        }
        let start = key.initial_number();
        let mut object = Counter {
            kinds,
            sums: Vec::new(),
            states: FastMap::default(),
            least: None,
            may_overflow: false,
            needs: Rc::from([]),
            invoked: 0,
            adds: Vec::new(),
        };
        object.state(start);
        object.look_ahead(&steps);
        Problem { steps, object, impossible }
    }

    fn start(&self) -> State {
        0
    }

    fn nature(&self, kind: Kind) -> Nature {
        match self.does(kind) {
            Does::Read(_) => Nature::Look,
            Does::Swap { .. } => Nature::Other,
            // It could overflow.
            Does::Add(_) => Nature::Guarded,
        }
    }

    fn invoked(&mut self, _: &Step) -> bool {
        self.invoked += 1;
        true
    }

    fn opened(&mut self, _: usize, _: Kind) {}

    fn closed(&mut self, _: usize, _: Kind) {}

    fn class_opened(&mut self, class: usize, kind: Kind) {
        if let Does::Add(by) = self.does(kind) {
            self.adds.push((class, by));
        }
    }

    fn class_closed(&mut self, class: usize, _: Kind, _: u32) {
        self.adds.retain(|&(other, _)| other != class);
    }

    /// Every addition shows in all later sums.
    fn is_useless(&self, _: Kind) -> bool {
        false
    }

    fn at_once(&mut self, state: State, owed: &Mask<W>, scene: &Scene<W>) -> Mask<W> {
        let sum = self.sum(state);
        let mut now = Mask::EMPTY;
        for slot in owed.and(&scene.looks).slots() {
            if self.does(scene.slot(slot).kind) == Does::Read(sum) {
                now.set(slot);
            }
        }
        now
    }

    fn moves(&mut self, at: &Configuration<W>, scene: &Scene<W>, moves: &mut Vec<Move>) {
        let sum = self.sum(at.state);
        for slot in scene.all.without(&scene.looks).without(&at.used).slots() {
            let to = match self.does(scene.slot(slot).kind) {
                Does::Swap { from, to } if from == sum => to,
                Does::Read(_) | Does::Swap { .. } => continue,
                Does::Add(by) => match sum.checked_add(by) {
                    Some(to) if slot == scene.target || self.is_worth(to, at, scene) => to,
                    Some(_) | None => continue,
                },
            };
            if scene.is_ready(at, slot) {
                let to = self.state(to);
                moves.push(Move { by: Actor::Slot(slot), to });
            }
        }
        for place in 0..self.adds.len() {
            let (class, by) = self.adds[place];
            if let Some(to) = sum.checked_add(by)
                && scene.is_class_ready(at, class)
                && self.is_worth(to, at, scene)
            {
                let to = self.state(to);
                moves.push(Move { by: Actor::Class(class), to });
            }
        }
    }

    fn is_worth_showing(&self, _: Kind) -> bool {
        true
    }

    /// A counter that never falls does not go beyond a sum that is still needed.
    fn dead_end(&self, _: State, next: &Configuration<W>, scene: &Scene<W>) -> Option<u32> {
        let least = self.least.as_ref()?;
        let sum = self.sum(next.state);
        let first = least[self.invoked];
        if first != NONE && self.needs[index(first)] < sum {
            return Some(first);
        }
        let missed = next.owed.slots().find(|&slot| {
            self.does(scene.slot(slot).kind).needs().is_some_and(|needed| needed < sum)
        });
        missed.map(|slot| scene.slot(slot).number)
    }

    fn hidden_dead_end(&self, _: Kind, _: &Configuration<W>, _: &Scene<W>) -> Option<u32> {
        None
    }

    fn settled(&self, state: State) -> State {
        state
    }

    fn weight(&self) -> usize {
        self.sums.len() * 8
    }

    /// Nothing is done that leads beyond what somebody waits for, if nothing leads back.
    fn is_finite(&self) -> bool {
        self.least.is_some() && !self.may_overflow
    }

    fn bytes(&self) -> usize {
        self.sums.len() * 40
    }
}

impl Counter {
    fn look_ahead(&mut self, steps: &[Step]) {
        let falls = |does: &Does| match *does {
            Does::Add(by) => by < 0,
            Does::Swap { from, to } => to < from,
            Does::Read(_) => false,
        };
        self.needs =
            steps.iter().map(|step| self.does(step.kind).needs().unwrap_or(i64::MAX)).collect();
        let size = |does: &Does| match *does {
            Does::Add(by) => i128::from(by).abs(),
            Does::Read(sum) | Does::Swap { to: sum, .. } => i128::from(sum).abs(),
        };
        let reach: i128 = steps.iter().map(|step| size(&self.does(step.kind))).sum();
        self.may_overflow = reach + i128::from(self.sums[0]).abs() > i128::from(i64::MAX);
        if self.kinds.iter().any(falls) {
            return;
        }
        let mut least = vec![NONE; steps.len() + 1];
        for (number, step) in steps.iter().enumerate().rev() {
            least[number] = least[number + 1];
            let needed = self.needs[number];
            let is_less = least[number] == NONE || needed < self.needs[index(least[number])];
            if step.ret != NEVER && self.does(step.kind).needs().is_some() && is_less {
                least[number] = u32::try_from(number).unwrap_or(NONE);
            }
        }
        self.least = Some(Rc::from(least));
    }
}

/// It cannot have happened in any state.
struct Impossible;

/// What the operation does, if it says anything about the object.
fn does(op: &Op) -> Result<Option<Does>, Impossible> {
    let returned = op.ret != NEVER;
    if op.outcome == Outcome::Fail {
        return Ok(None);
    }
    match (op.action, op.seen) {
        (Action::Read, Seen::Number(sum)) if returned => Ok(Some(Does::Read(sum))),
        (Action::Read | Action::Incr(0), Seen::Unknown) => Ok(None),
        (Action::Incr(by), Seen::Number(to)) if returned => match to.checked_sub(by) {
            Some(_) if by == 0 => Ok(Some(Does::Read(to))),
            Some(from) => Ok(Some(Does::Swap { from, to })),
            None => Err(Impossible),
        },
        (Action::Incr(by), Seen::Unknown) => Ok(Some(Does::Add(by))),
        (Action::Incr(by), _) if !returned && by != 0 => Ok(Some(Does::Add(by))),
        _ if !returned => Ok(None),
        _ => Err(Impossible),
    }
}
