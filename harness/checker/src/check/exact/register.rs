//! Registers, with and without cas, and mutexes, which are registers of two values.
//!
//! A state is a value. Nothing but reads and cas looks at it, and a write does whatever it was; so most of what could
//! be done next need not be tried: see [`Register::is_worth`].

use std::rc::Rc;

use super::configuration::Configuration;
use super::hash::FastMap;
use super::mask::Mask;
use super::object::{Actor, Kind, Move, Nature, Object, Problem, State, Step};
use super::scene::Scene;
use crate::history::Outcome;
use crate::model::Model;
use crate::ops::{Action, KeyOps, NEVER, Op, Seen, Word, index};

const FREE: Word = 0;
const HELD: Word = 1;

const NONE: u32 = u32::MAX;

/// What the steps to come ask of a value.
#[derive(Clone, Copy, Debug, Default)]
struct Demand {
    /// Steps to come that certainly happened and need it.
    needs: u32,
    /// The first of them.
    next_need: u32,
    /// Steps to come that make it.
    makes: u32,
    /// Steps to come or under way that look at it.
    lookers: u32,
}

/// Operations under way that have to do with one value.
#[derive(Clone, Copy, Debug)]
struct Local<const W: usize> {
    state: State,
    readers: Mask<W>,
    swappers: Mask<W>,
    makers: Mask<W>,
    /// Certain operations and classes that are counted here.
    count: u32,
}

/// What an operation of a kind does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Read(State),
    Write(State),
    Swap { from: State, to: State },
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Register<const W: usize> {
    start: State,
    /// The state that stands for all values at which nobody will look any more.
    unseen: State,
    demands: Vec<Demand>,
    /// By step that certainly needs a value: the next one that needs the same.
    next_need: Rc<[u32]>,
    invoked: usize,
    /// By kind, from `2 * unseen` on: cas.
    swaps: Vec<(State, State)>,
    /// By value: where its operations under way are among the locals.
    local_of: Vec<u32>,
    locals: Vec<Local<W>>,
    locals_free: Vec<u32>,
    writers: Mask<W>,
    /// By slot.
    does: Vec<Does>,
    class_writes: Vec<(usize, State)>,
    /// By the value that they find.
    class_swaps: Vec<(State, usize, State)>,
    /// See [`Register::find_ways`].
    on_the_way: Vec<State>,
    /// Nobody will look at some value any more.
    has_news: bool,
}

impl<const W: usize> Register<W> {
    fn does(&self, kind: Kind) -> Does {
        if kind >= 2 * self.unseen {
            let (from, to) = self.swaps[index(kind - 2 * self.unseen)];
            Does::Swap { from, to }
        } else if kind & 1 == 0 {
            Does::Read(kind / 2)
        } else {
            Does::Write(kind / 2)
        }
    }

    fn local(&self, state: State) -> Option<&Local<W>> {
        let at = self.local_of[index(state)];
        if at == NONE { None } else { Some(&self.locals[index(at)]) }
    }

    fn enter(&mut self, state: State) -> &mut Local<W> {
        let mut at = self.local_of[index(state)];
        if at == NONE {
            let new = Local {
                state,
                readers: Mask::EMPTY,
                swappers: Mask::EMPTY,
                makers: Mask::EMPTY,
                count: 0,
            };
            at = self.locals_free.pop().unwrap_or_else(|| {
                self.locals.push(new);
                u32::try_from(self.locals.len() - 1).unwrap_or(NONE)
            });
            self.locals[index(at)] = new;
            self.local_of[index(state)] = at;
        }
        let local = &mut self.locals[index(at)];
        local.count += 1;
        local
    }

    fn leave(&mut self, state: State, slot: usize) {
        let at = self.local_of[index(state)];
        let local = &mut self.locals[index(at)];
        for mask in [&mut local.readers, &mut local.swappers, &mut local.makers] {
            mask.clear(slot);
        }
        local.count -= 1;
        if local.count == 0 {
            self.local_of[index(state)] = NONE;
            self.locals_free.push(at);
        }
    }

    /// Whether a value is worth being written although the target asks for something else or later: somebody under way
    /// waits for it. (If nobody does, the next operation is another write, and then this one can as well be taken as
    /// done before that, or be done later.)
    fn is_worth(&self, state: State, at: &Configuration<W>) -> bool {
        self.is_awaited(state, at) || self.on_the_way.contains(&state)
    }

    fn is_awaited(&self, state: State, at: &Configuration<W>) -> bool {
        self.local(state).is_some_and(|local| {
            local.readers.meets(&at.owed) || !local.swappers.is_within(&at.used)
        })
    }

    /// Finds the values from which optional cas lead to one that somebody waits for.
    fn find_ways(&mut self, at: &Configuration<W>) {
        let mut found = std::mem::take(&mut self.on_the_way);
        found.clear();
        let mut known = usize::MAX;
        while known != found.len() {
            known = found.len();
            for &(from, _, to) in &self.class_swaps {
                let leads_on = found.contains(&to) || self.is_awaited(to, at);
                if leads_on && !found.contains(&from) {
                    found.push(from);
                }
            }
        }
        self.on_the_way = found;
    }

    /// If a value is needed later on, is not there, and cannot come back: who needs it.
    fn lost(&self, state: State, at: &Configuration<W>, scene: &Scene<W>) -> Option<u32> {
        let demand = &self.demands[index(state)];
        if demand.makes > 0 || at.state == state {
            return None;
        }
        let local = self.local(state);
        let mut needed = (demand.needs > 0).then_some(demand.next_need);
        if let Some(local) = local {
            if !local.makers.is_within(&at.used) {
                return None;
            }
            for mask in [&local.readers, &local.swappers] {
                if let Some(slot) = mask.and(&at.owed).slots().next() {
                    needed = Some(scene.slot(slot).number);
                }
            }
        }
        needed?;
        let of_class = |&class: &usize| scene.has_left(at, class);
        let writes =
            self.class_writes.iter().filter(|(_, to)| *to == state).map(|(class, _)| class);
        let swaps =
            self.class_swaps.iter().filter(|(_, _, to)| *to == state).map(|(_, class, _)| class);
        if writes.chain(swaps).any(of_class) { None } else { needed }
    }

    fn unlook(&mut self, kind: Kind, count: u32) {
        if let Does::Read(state) | Does::Swap { from: state, .. } = self.does(kind) {
            let demand = &mut self.demands[index(state)];
            demand.lookers -= count;
            self.has_news |= demand.lookers == 0;
        }
    }
}

impl<'k, const W: usize> Object<'k, W> for Register<W> {
    fn problem(key: &'k KeyOps) -> Problem<Self> {
        let is_mutex = key.model == Model::Mutex;
        let values = if is_mutex { 2 } else { key.words.len() };
        let unseen = State::try_from(values).unwrap_or(State::MAX / 2);
        let start = match (is_mutex, key.initial_number()) {
            (false, _) => key.initial_word(),
            (true, 0) => FREE,
            (true, _) => HELD,
        };
        let mut builder = Builder { unseen, swaps: Vec::new(), swap_kinds: FastMap::default() };
        let mut steps = Vec::with_capacity(key.ops.len());
        let mut impossible = None;
        for (number, op) in (0..).zip(&key.ops) {
            match builder.kind(op) {
                Ok(Some(kind)) => {
                    steps.push(Step { op: number, call: op.call, ret: op.ret, kind });
                }
                Ok(None) => {}
                Err(Impossible) => impossible = impossible.or(Some(number)),
            }
        }
        let mut object = Register {
            start,
            unseen,
            demands: vec![Demand { next_need: NONE, ..Demand::default() }; values + 1],
            next_need: Rc::from([]),
            invoked: 0,
            swaps: builder.swaps,
            local_of: vec![NONE; values + 1],
            locals: Vec::new(),
            locals_free: Vec::new(),
            writers: Mask::EMPTY,
            does: Vec::new(),
            class_writes: Vec::new(),
            class_swaps: Vec::new(),
            on_the_way: Vec::new(),
            has_news: false,
        };
        object.count(&steps);
        let impossible = impossible.or_else(|| object.never_made(&steps));
        Problem { steps, object, impossible }
    }

    fn start(&self) -> State {
        self.start
    }

    fn nature(&self, kind: Kind) -> Nature {
        match self.does(kind) {
            Does::Read(_) => Nature::Look,
            Does::Write(_) => Nature::Reset,
            Does::Swap { .. } => Nature::Guarded,
        }
    }

    fn invoked(&mut self, step: &Step) -> bool {
        let number = self.invoked;
        self.invoked += 1;
        let does = self.does(step.kind);
        if let Does::Read(state) | Does::Swap { from: state, .. } = does
            && step.ret != NEVER
        {
            let demand = &mut self.demands[index(state)];
            demand.needs -= 1;
            demand.next_need = self.next_need[number];
        }
        if let Does::Write(state) | Does::Swap { to: state, .. } = does {
            self.demands[index(state)].makes -= 1;
        }
        if step.ret == NEVER && self.is_useless(step.kind) {
            self.unlook(step.kind, 1);
            return false;
        }
        true
    }

    fn opened(&mut self, slot: usize, kind: Kind) {
        let does = self.does(kind);
        match does {
            Does::Read(state) => self.enter(state).readers.set(slot),
            Does::Write(state) => {
                self.writers.set(slot);
                self.enter(state).makers.set(slot);
            }
            Does::Swap { from, to } => {
                self.enter(from).swappers.set(slot);
                self.enter(to).makers.set(slot);
            }
        }
        if self.does.len() <= slot {
            self.does.resize(slot + 1, does);
        }
        self.does[slot] = does;
    }

    fn closed(&mut self, slot: usize, kind: Kind) {
        match self.does[slot] {
            Does::Read(state) => self.leave(state, slot),
            Does::Write(state) => {
                self.writers.clear(slot);
                self.leave(state, slot);
            }
            Does::Swap { from, to } => {
                self.leave(from, slot);
                self.leave(to, slot);
            }
        }
        self.unlook(kind, 1);
    }

    fn class_opened(&mut self, class: usize, kind: Kind) {
        match self.does(kind) {
            Does::Read(_) => {}
            Does::Write(to) => self.class_writes.push((class, to)),
            Does::Swap { from, to } => {
                let place = self.class_swaps.partition_point(|&(other, _, _)| other < from);
                self.class_swaps.insert(place, (from, class, to));
            }
        }
    }

    fn class_closed(&mut self, class: usize, kind: Kind, members: u32) {
        self.class_writes.retain(|&(other, _)| other != class);
        self.class_swaps.retain(|&(_, other, _)| other != class);
        self.unlook(kind, members);
    }

    fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// A write or cas that need not have happened is of no use once nobody will look at its value: whatever comes next
    /// is another write, or nothing.
    fn is_useless(&self, kind: Kind) -> bool {
        match self.does(kind) {
            Does::Read(_) => true,
            Does::Write(to) | Does::Swap { to, .. } => self.demands[index(to)].lookers == 0,
        }
    }

    fn at_once(&mut self, state: State, owed: &Mask<W>, _: &Scene<W>) -> Mask<W> {
        self.local(state).map_or(Mask::EMPTY, |local| {
            local.readers.or(&local.makers.and(&self.writers)).and(owed)
        })
    }

    fn moves(&mut self, at: &Configuration<W>, scene: &Scene<W>, moves: &mut Vec<Move>) {
        if !self.class_swaps.is_empty() {
            self.find_ways(at);
        }
        if let Some(local) = self.local(at.state) {
            for slot in local.swappers.without(&at.used).slots() {
                if let Does::Swap { to, .. } = self.does[slot]
                    && scene.is_ready(at, slot)
                {
                    moves.push(Move { by: Actor::Slot(slot), to });
                }
            }
        }
        // A write of what is there already changes nothing, but hides those that are owed.
        let owes_writes = at.owed.meets(&self.writers);
        let writers = self.writers.without(&at.used);
        for local in &self.locals {
            let here = local.makers.and(&writers);
            if local.count == 0 || here == Mask::EMPTY {
                continue;
            }
            let to = local.state;
            let leads_on = here.has(scene.target)
                || if to == at.state { owes_writes } else { self.is_worth(to, at) };
            // The one that returns first goes first: the target, if it is one of them.
            if leads_on && let Some(slot) = here.slots().min_by_key(|&slot| scene.slot(slot).ret) {
                moves.push(Move { by: Actor::Slot(slot), to });
            }
        }
        for &(class, to) in &self.class_writes {
            let leads_on = if to == at.state { owes_writes } else { self.is_worth(to, at) };
            if leads_on && scene.is_class_ready(at, class) {
                moves.push(Move { by: Actor::Class(class), to });
            }
        }
        let first = self.class_swaps.partition_point(|&(from, _, _)| from < at.state);
        let from_here = self.class_swaps[first..].iter().take_while(|swap| swap.0 == at.state);
        for &(_, class, to) in from_here {
            if self.is_worth(to, at) && scene.is_class_ready(at, class) {
                moves.push(Move { by: Actor::Class(class), to });
            }
        }
    }

    fn is_worth_showing(&self, kind: Kind) -> bool {
        match self.does(kind) {
            Does::Write(to) | Does::Swap { to, .. } => self.demands[index(to)].lookers > 0,
            Does::Read(_) => false,
        }
    }

    /// A value is not left while it is needed later on and cannot come back.
    fn dead_end(&self, from: State, next: &Configuration<W>, scene: &Scene<W>) -> Option<u32> {
        self.lost(from, next, scene)
    }

    fn hidden_dead_end(
        &self,
        kind: Kind,
        next: &Configuration<W>,
        scene: &Scene<W>,
    ) -> Option<u32> {
        match self.does(kind) {
            Does::Write(to) | Does::Swap { to, .. } => self.lost(to, next, scene),
            Does::Read(_) => None,
        }
    }

    fn settled(&self, state: State) -> State {
        if self.demands[index(state)].lookers == 0 { self.unseen } else { state }
    }

    fn weight(&self) -> usize {
        self.demands.len() * 4
    }

    fn is_finite(&self) -> bool {
        true
    }
}

impl<const W: usize> Register<W> {
    /// Counts what all steps ask for.
    fn count(&mut self, steps: &[Step]) {
        let mut next_need = vec![NONE; steps.len()];
        for (number, step) in steps.iter().enumerate().rev() {
            let does = self.does(step.kind);
            if let Does::Read(state) | Does::Swap { from: state, .. } = does {
                let demand = &mut self.demands[index(state)];
                demand.lookers += 1;
                if step.ret != NEVER {
                    demand.needs += 1;
                    next_need[number] = demand.next_need;
                    demand.next_need = u32::try_from(number).unwrap_or(NONE);
                }
            }
            if let Does::Write(state) | Does::Swap { to: state, .. } = does {
                self.demands[index(state)].makes += 1;
            }
        }
        self.next_need = Rc::from(next_need);
    }

    /// The first operation to return that needs a value which nothing makes.
    fn never_made(&self, steps: &[Step]) -> Option<u32> {
        let needs = |step: &&Step| match self.does(step.kind) {
            Does::Read(state) | Does::Swap { from: state, .. } => {
                step.ret != NEVER && state != self.start && self.demands[index(state)].makes == 0
            }
            Does::Write(_) => false,
        };
        steps.iter().filter(needs).min_by_key(|step| step.ret).map(|step| step.op)
    }
}

/// It cannot have happened in any state.
struct Impossible;

/// Finds kinds.
struct Builder {
    unseen: State,
    swaps: Vec<(State, State)>,
    swap_kinds: FastMap<(State, State), Kind>,
}

impl Builder {
    /// What the operation does, if it says anything about the object.
    fn kind(&mut self, op: &Op) -> Result<Option<Kind>, Impossible> {
        let read = |word: Word| (op.ret != NEVER).then_some(2 * word);
        Ok(match (op.action, op.seen) {
            // A cas that says what it found is a read; other failures had no effect and saw nothing.
            (Action::Cas { .. }, Seen::Word(word)) if op.outcome == Outcome::Fail => read(word),
            _ if op.outcome == Outcome::Fail => None,
            (Action::Read, Seen::Word(word)) => read(word),
            (Action::Read, Seen::Unknown) => None,
            (Action::Write(word), _) => Some(2 * word + 1),
            (Action::Cas { expect, new }, _) if expect == new => read(new),
            (Action::Cas { expect, new }, _) => Some(self.swap(expect, new)),
            (Action::Acquire, _) => Some(self.swap(FREE, HELD)),
            (Action::Release, _) => Some(self.swap(HELD, FREE)),
            _ if op.ret == NEVER => None,
            _ => return Err(Impossible),
        })
    }

    fn swap(&mut self, from: State, to: State) -> Kind {
        *self.swap_kinds.entry((from, to)).or_insert_with(|| {
            self.swaps.push((from, to));
            let number = u32::try_from(self.swaps.len() - 1).unwrap_or(NONE);
            2 * self.unseen + number
        })
    }
}
