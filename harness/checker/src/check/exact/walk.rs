//! The walk through a key's events, with all configurations that are possible.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Effort;
use super::configuration::{Configuration, Known};
use super::mask::Mask;
use super::object::{Actor, Kind, Move, Nature, Object, Problem, Step};
use super::scene::Scene;
use super::uses::UNUSED;
use crate::check::decision::{Answer, Budget, Limit};
use crate::ops::{NEVER, Position, index};

/// How a walk treats operations that were done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Supply {
    /// Each happens once at most; all configurations are kept.
    Counted,
    /// Each happens once at most; only some configurations are kept, those that have used least.
    Frugal(Width),
    /// Each may happen any number of times while it is under way, or ever after if it never returned.
    Unlimited,
}

/// How much a frugal walk keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Width {
    /// Configurations of one state.
    pub(super) of_state: usize,
    /// Configurations to look at for one return once there is a way.
    pub(super) of_return: usize,
    /// Operations to use for one return beyond what the cheapest way needs; an optional one counts four times.
    pub(super) detours: usize,
    /// Whether it counts only how many optional operations were used, not which.
    pub(super) by_total: bool,
}

/// Events between two moments to which a frugal walk can go back.
const SAVED_EVENTS_MIN: usize = if cfg!(test) { 5 } else { 2048 };

/// How wide a frugal walk goes, and for how long.
struct Retreat {
    level: usize,
    /// Events to go on with a level after the trouble is over.
    calm: usize,
    /// When that is.
    calm_at: usize,
}

impl Retreat {
    /// It has to go back from here. If it had to only recently, it stays with more for longer.
    fn begin(&mut self, events: usize) {
        let is_again = events < self.calm_at.saturating_add(self.calm);
        self.calm = if is_again { 2 * self.calm } else { SAVED_EVENTS_MIN };
        self.calm_at = events.saturating_add(self.calm);
        self.level += 1;
    }

    fn go_on(&mut self, events: usize) {
        if self.level > 0 && events > self.calm_at {
            self.level -= 1;
            self.calm_at = events.saturating_add(self.calm);
        }
    }

    /// Events until the next moment to which it can go back. To copy one costs as much as many events.
    fn pause(&self, weight: usize) -> usize {
        let is_troubled = self.calm_at > 0;
        SAVED_EVENTS_MIN.max(weight / if is_troubled { 256 } else { 32 })
    }
}

/// Work after which to look at the limits: a few milliseconds.
const LOOK_AROUND: usize = 1 << 14;

/// Why a walk ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Something ran out.
    Limit(Limit),
    /// More operations were under way at once than masks have bits.
    TooNarrow,
}

impl From<Limit> for Stop {
    fn from(limit: Limit) -> Stop {
        Stop::Limit(limit)
    }
}

/// What came out of a walk.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) end: Result<Answer, Stop>,
    /// Configurations were left out only because they were many.
    pub(super) is_partial: bool,
    /// Up to here it had a configuration left.
    pub(super) position: Position,
}

/// How things stand at one moment of a walk.
#[derive(Clone, Debug)]
struct Moment<O, const W: usize> {
    object: O,
    scene: Scene<W>,
    frontier: Vec<Configuration<W>>,
    /// Steps invoked.
    invoked: usize,
    /// Returns to come of those that are under way, and their slots.
    returns: BinaryHeap<Reverse<(Position, usize)>>,
    /// Of all operations that a dropped configuration could not do any more, the one that returns last.
    missed: Option<u32>,
    /// Configurations were left out only because they were many.
    is_partial: bool,
    /// Events dealt with.
    events: usize,
    /// Of the last one.
    position: Position,
}

pub(super) struct Walk<'p, O, const W: usize> {
    steps: &'p [Step],
    now: Moment<O, W>,
    supply: Supply,
    budget: Budget<'p>,
    effort: &'p mut Effort,
    /// To be extended until the target is done.
    todo: Vec<Configuration<W>>,
    /// All that have come up so far, before the target is done and after.
    known: Known<W>,
    results: Known<W>,
    /// Numbers of known ones that are yet to be extended, by how much they have used.
    by_cost: Vec<Vec<usize>>,
    moves: Vec<Move>,
    /// Since limits were looked at: configurations passed, those that were new eightfold.
    worked: usize,
}

impl<'p, 'k, O: Object<'k, W>, const W: usize> Walk<'p, O, W> {
    pub(super) fn new(
        problem: &'p Problem<O>,
        supply: Supply,
        budget: &Budget<'p>,
        effort: &'p mut Effort,
    ) -> Walk<'p, O, W> {
        let object = problem.object.clone();
        let start = Configuration {
            state: object.start(),
            uses: UNUSED,
            owed: Mask::EMPTY,
            used: Mask::EMPTY,
        };
        let now = Moment {
            object,
            scene: Scene::new(supply == Supply::Unlimited),
            frontier: vec![start],
            invoked: 0,
            returns: BinaryHeap::new(),
            missed: None,
            is_partial: false,
            events: 0,
            position: 0,
        };
        Walk {
            steps: &problem.steps,
            now,
            supply,
            budget: *budget,
            effort,
            todo: Vec::new(),
            known: Known::new(),
            results: Known::new(),
            by_cost: Vec::new(),
            moves: Vec::new(),
            worked: 0,
        }
    }

    /// Walks to the end, or as far as it gets.
    pub(super) fn run(mut self) -> Outcome {
        let end = loop {
            match self.event() {
                Ok(Some(answer)) => break Ok(answer),
                Ok(None) => {}
                Err(stop) => break Err(stop),
            }
        };
        Outcome { end, is_partial: self.now.is_partial, position: self.now.position }
    }

    /// Walks with few configurations; and where these lead nowhere, goes back a little and tries with more.
    pub(super) fn run_frugally(mut self, widths: &[Width]) -> Outcome {
        let mut saved = [self.now.clone(), self.now.clone()];
        let mut retreat = Retreat { level: 0, calm: SAVED_EVENTS_MIN, calm_at: 0 };
        let mut farthest = 0;
        let end = loop {
            self.set_width(widths[retreat.level]);
            let event = self.event();
            farthest = farthest.max(self.now.position);
            match event {
                Ok(Some(Answer::Blocked { .. }))
                    if self.now.is_partial && retreat.level + 1 < widths.len() =>
                {
                    retreat.begin(self.now.events);
                    self.now = saved[0].clone();
                    saved[1] = saved[0].clone();
                }
                Ok(Some(answer)) => break Ok(answer),
                Ok(None) => retreat.go_on(self.now.events),
                Err(stop) => break Err(stop),
            }
            if self.now.events >= saved[1].events + retreat.pause(self.now.object.weight()) {
                saved.swap(0, 1);
                saved[1].clone_from(&self.now);
            }
        };
        Outcome { end, is_partial: self.now.is_partial, position: farthest }
    }

    fn set_width(&mut self, width: Width) {
        self.supply = Supply::Frugal(width);
        self.known.set_by_total(width.by_total);
        self.results.set_by_total(width.by_total);
    }

    /// Deals with the next event. The answer, if there is one now.
    fn event(&mut self) -> Result<Option<Answer>, Stop> {
        self.now.events += 1;
        self.work(1 + self.now.frontier.len())?;
        let step = self.steps.get(self.now.invoked);
        let call = step.map_or(NEVER, |step| step.call);
        let ret = self.now.returns.peek().map_or(NEVER, |&Reverse((ret, _))| ret);
        if let Some(step) = step
            && call < ret
        {
            if step.ret == NEVER {
                self.call_optional(step);
            } else {
                let slot = self.call(step, self.now.invoked)?;
                self.now.returns.push(Reverse((step.ret, slot)));
                self.effort.open_max = self.effort.open_max.max(self.now.returns.len());
            }
            self.now.invoked += 1;
            self.now.position = call;
        } else {
            let Some(Reverse((_, slot))) = self.now.returns.pop() else {
                return Ok(Some(Answer::Linearizable));
            };
            if !self.ret(slot)? {
                return Ok(Some(Answer::Blocked { op: self.blocked(slot) }));
            }
            self.now.position = ret;
        }
        Ok(None)
    }

    /// The operation by whose return it is certain that there is no order: the one that has returned last of those
    /// that fit nowhere and those under way whose answer, which is not there yet, is what tells their effect.
    fn blocked(&self, slot: usize) -> u32 {
        let told = self
            .now
            .scene
            .all
            .slots()
            .map(|slot| self.now.scene.slot(slot))
            .filter(|open| self.now.object.is_told_by_answer(open.kind));
        let last = [Some(self.now.scene.slot(slot).number), self.now.missed]
            .into_iter()
            .flatten()
            .chain(told.map(|open| open.number))
            .map(|number| self.steps[index(number)])
            .max_by_key(|step| step.ret);
        last.map_or(0, |step| step.op)
    }

    fn call(&mut self, step: &Step, number: usize) -> Result<usize, Stop> {
        self.now.object.invoked(step);
        let nature = self.now.object.nature(step.kind);
        let slot = self
            .now
            .scene
            .open(u32::try_from(number).unwrap_or(u32::MAX), step.kind, step.ret, nature)
            .ok_or(Stop::TooNarrow)?;
        self.now.object.opened(slot, step.kind);
        let owed = Mask::one(slot);
        for configuration in &mut self.now.frontier {
            let now = self.now.object.at_once(configuration.state, &owed, &self.now.scene);
            if now == Mask::EMPTY {
                configuration.owed.set(slot);
            }
        }
        Ok(slot)
    }

    fn call_optional(&mut self, step: &Step) {
        if self.now.object.invoked(step)
            && let Some(class) = self.now.scene.join(step.kind)
        {
            self.now.object.class_opened(class, step.kind);
        }
    }

    /// The operation in the slot returns, so it has been done. Whether that is possible.
    fn ret(&mut self, slot: usize) -> Result<bool, Limit> {
        self.now.scene.target = slot;
        let kind = self.now.scene.slot(slot).kind;
        let is_mixed = self.sort_out(slot, kind);
        let is_extended = !self.todo.is_empty();
        if is_extended || is_mixed {
            self.results.clear();
            for done in self.now.frontier.drain(..) {
                self.results.insert(done, &self.now.scene.uses);
            }
            self.extend()?;
            self.now.is_partial |= self.known.is_partial() || self.results.is_partial();
            self.now.frontier.extend(self.results.best());
        }
        self.effort.frontier_max = self.effort.frontier_max.max(self.now.frontier.len());
        if self.now.frontier.is_empty() {
            return Ok(false);
        }
        self.now.object.closed(slot, kind);
        self.now.scene.close(slot);
        self.tidy(is_extended);
        Ok(true)
    }

    /// Leaves in the frontier what has done the target, and puts into `todo` what has yet to do it, or may. Whether some
    /// had used it and others not, so that there may be equals now.
    fn sort_out(&mut self, slot: usize, kind: Kind) -> bool {
        let now = &mut self.now;
        // What is neither owed nor used may have been hidden. Or it is still to come: then this is the last moment.
        let may_hide =
            now.scene.blind.has(slot) || now.scene.unlimited && !now.scene.looks.has(slot);
        let is_worth_showing = may_hide && now.object.is_worth_showing(kind);
        let (mut with, mut without) = (false, false);
        self.todo.clear();
        now.frontier.retain_mut(|at| {
            if at.owed.has(slot) {
                self.todo.push(*at);
                return false;
            }
            let was_used = at.used.has(slot);
            if may_hide && !was_used {
                if is_worth_showing {
                    self.todo.push(*at);
                }
                at.used.set(slot);
                if let Some(number) = now.object.hidden_dead_end(kind, at, &now.scene) {
                    now.missed = Some(later(self.steps, now.missed, number));
                    return false;
                }
            }
            at.used.clear(slot);
            with |= was_used;
            without |= !was_used;
            true
        });
        with && without
    }

    /// Extends configurations until the target is done.
    fn extend(&mut self) -> Result<(), Limit> {
        self.known.clear();
        self.by_cost.iter_mut().for_each(Vec::clear);
        let least = self.todo.iter().map(|at| self.cost(at)).min().unwrap_or(0);
        for number in 0..self.todo.len() {
            self.consider(self.todo[number], least);
        }
        let (mut cost, mut cheapest) = (0, None);
        while cost < self.by_cost.len() {
            if self.is_enough(cost, cheapest) {
                self.now.is_partial |=
                    self.by_cost[cost..].iter().any(|numbers| !numbers.is_empty());
                break;
            }
            let Some(number) = self.by_cost[cost].pop() else {
                cost += 1;
                continue;
            };
            if !self.known.is_covered(number) && self.extend_one(number, least)? {
                cheapest = cheapest.or(Some(cost));
            }
        }
        Ok(())
    }

    /// Whether a frugal walk leaves it at that.
    fn is_enough(&self, cost: usize, cheapest: Option<usize>) -> bool {
        match (self.supply, cheapest) {
            (Supply::Frugal(width), Some(cheapest)) => {
                cost > cheapest + width.detours || self.known.len() > width.of_return
            }
            _ => false,
        }
    }

    /// Does whatever can be done next. Whether the target is among it.
    fn extend_one(&mut self, number: usize, least: u32) -> Result<bool, Limit> {
        let at = *self.known.get(number);
        let target = self.now.scene.target;
        let mut moves = std::mem::take(&mut self.moves);
        moves.clear();
        let mut reaches = false;
        self.now.object.moves(&at, &self.now.scene, &mut moves);
        for step in &moves {
            let Some(mut next) = self.after(&at, step) else { return Err(Limit::Memory) };
            if let Some(number) = self.now.object.dead_end(at.state, &next, &self.now.scene) {
                self.now.missed = Some(later(self.steps, self.now.missed, number));
                continue;
            }
            let is_done = if self.now.scene.looks.has(target) {
                !next.owed.has(target)
            } else {
                step.by == Actor::Slot(target)
            };
            if is_done {
                next.used.clear(target);
                reaches = true;
                self.results.insert(next, &self.now.scene.uses);
            } else {
                self.consider(next, least);
            }
            self.spend()?;
        }
        self.moves = moves;
        Ok(reaches)
    }

    fn after(&mut self, at: &Configuration<W>, step: &Move) -> Option<Configuration<W>> {
        let mut next = *at;
        let kind = match step.by {
            Actor::Slot(slot) => {
                let kind = self.now.scene.slot(slot).kind;
                next.owed.clear(slot);
                if !self.now.scene.unlimited {
                    next.used.set(slot);
                }
                kind
            }
            Actor::Class(class) => {
                if !self.now.scene.unlimited {
                    next.uses = self.now.scene.uses.plus_one(at.uses, class)?;
                }
                self.now.scene.class(class)?.kind
            }
        };
        next.state = self.now.object.settled(step.to);
        if self.now.object.nature(kind) == Nature::Reset {
            next.owed = next.owed.without(&self.now.scene.blind);
        }
        let now = self.now.object.at_once(step.to, &next.owed, &self.now.scene);
        next.owed = next.owed.without(&now);
        Some(next)
    }

    /// What it has used: those that return are used up sooner or later anyway.
    fn cost(&self, at: &Configuration<W>) -> u32 {
        self.now.scene.uses.total(at.uses).saturating_mul(4).saturating_add(at.used.size())
    }

    fn consider(&mut self, at: Configuration<W>, least: u32) {
        if let Some(number) = self.known.insert(at, &self.now.scene.uses) {
            let cost = index(self.cost(&at).saturating_sub(least));
            if self.by_cost.len() <= cost {
                self.by_cost.resize_with(cost + 1, Vec::new);
            }
            self.by_cost[cost].push(number);
        }
    }

    fn spend(&mut self) -> Result<(), Limit> {
        self.effort.configurations += 1;
        if self.effort.configurations > self.budget.configurations_max {
            return Err(Limit::Configurations);
        }
        self.work(8)
    }

    /// Has a look at the limits every few milliseconds.
    fn work(&mut self, amount: usize) -> Result<(), Limit> {
        self.worked += amount;
        if self.worked < LOOK_AROUND {
            return Ok(());
        }
        self.worked = 0;
        if self.bytes() > self.budget.memory_bytes_max {
            return Err(Limit::Memory);
        }
        if self.budget.cancelled.is_some_and(|cancelled| cancelled()) {
            return Err(Limit::Cancelled);
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        let bytes = self.known.bytes()
            + self.results.bytes()
            + self.now.frontier.capacity() * size_of::<Configuration<W>>()
            + self.now.scene.uses.bytes()
            + self.now.object.bytes();
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// Keeps what is held in proportion to the frontier.
    fn tidy(&mut self, is_extended: bool) {
        if let Supply::Frugal(width) = self.supply
            && is_extended
        {
            self.keep_cheapest(width.of_state);
        }
        if !self.now.scene.live.is_empty() {
            self.end_classes();
        }
        self.now.object.collect(&mut self.now.frontier);
    }

    /// Of each state, keeps the configurations that have used least.
    fn keep_cheapest(&mut self, of_state: usize) {
        if self.now.frontier.len() <= of_state {
            return;
        }
        let uses = &self.now.scene.uses;
        self.now.frontier.sort_unstable_by_key(|at| {
            (at.state, 4 * uses.total(at.uses) + at.used.size() + at.owed.size())
        });
        let (mut state, mut kept) = (None, 0);
        let before = self.now.frontier.len();
        self.now.frontier.retain(|at| {
            if state != Some(at.state) {
                (state, kept) = (Some(at.state), 0);
            }
            kept += 1;
            kept <= of_state
        });
        self.now.is_partial |= self.now.frontier.len() < before;
    }

    /// Ends the classes that are of no use any more, and now and then those of which all is used.
    fn end_classes(&mut self) {
        let mut ended: Vec<usize> = Vec::new();
        while self.now.object.take_news() {
            while let Some((class, kind)) = self.useless_class() {
                self.end_class(class, kind);
                ended.push(class);
            }
        }
        let uses = &self.now.scene.uses;
        if self.now.scene.unlimited
            || ended.is_empty() && uses.len() < 1024 + 8 * self.now.frontier.len()
        {
            return;
        }
        let frontier = self.now.frontier.iter_mut().map(|at| &mut at.uses);
        self.now.scene.uses.collect(frontier, |class| ended.contains(&class));
    }

    fn useless_class(&self) -> Option<(usize, Kind)> {
        let kinds = self
            .now
            .scene
            .live
            .iter()
            .filter_map(|&class| self.now.scene.class(class).map(|of| (class, of.kind)));
        kinds.into_iter().find(|&(_, kind)| self.now.object.is_useless(kind))
    }

    fn end_class(&mut self, class: usize, kind: Kind) {
        if let Some(ended) = self.now.scene.end_class(class) {
            self.now.object.class_closed(class, kind, ended.members);
        }
    }
}

/// Of two steps, the one that returns later.
fn later(steps: &[Step], one: Option<u32>, other: u32) -> u32 {
    one.filter(|&one| steps[index(one)].ret >= steps[index(other)].ret).unwrap_or(other)
}
