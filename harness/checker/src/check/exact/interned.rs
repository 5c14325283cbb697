//! All other models: states are values of any type, each kept once and known by its number, and each transition is
//! worked out once.

use std::rc::Rc;

use super::configuration::Configuration;
use super::hash::FastMap;
use super::mask::Mask;
use super::object::{Actor, Kind, Move, Nature, Object, Problem, State, Step};
use super::scene::Scene;
use super::semantics::Semantics;
use crate::ops::{Action, KeyOps, NEVER, Op, Seen, Word, index};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Interned<'k, S: Semantics> {
    key: &'k KeyOps,
    semantics: Rc<S>,
    states: Vec<S::State>,
    numbers: FastMap<S::State, State>,
    /// What the states take.
    bytes: usize,
    kinds: Rc<[Meaning]>,
    /// By state and kind: where its successors are.
    transitions: FastMap<(State, Kind), (u32, u32)>,
    successors: Vec<State>,
    /// Of the last collection.
    kept: usize,
    scratch: Vec<S::State>,
}

/// What operations of a kind are.
#[derive(Clone, Copy, Debug)]
struct Meaning {
    op: Op,
    nature: Nature,
}

impl<S: Semantics> Interned<'_, S> {
    fn number(&mut self, state: S::State) -> State {
        if let Some(&number) = self.numbers.get(&state) {
            return number;
        }
        let number = State::try_from(self.states.len()).unwrap_or(State::MAX);
        self.bytes += 2 * S::bytes(&state) + 96;
        self.states.push(state.clone());
        self.numbers.insert(state, number);
        number
    }

    /// Where an operation of a kind can lead: a range of `successors`.
    fn after(&mut self, state: State, kind: Kind) -> (usize, usize) {
        if let Some(&(start, end)) = self.transitions.get(&(state, kind)) {
            return (index(start), index(end));
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let op = &self.kinds[index(kind)].op;
        self.semantics.apply(self.key, &self.states[index(state)], op, &mut scratch);
        let start = self.successors.len();
        for next in scratch.drain(..) {
            let next = self.number(next);
            self.successors.push(next);
        }
        self.scratch = scratch;
        let end = self.successors.len();
        let place = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        self.transitions.insert((state, kind), (place(start), place(end)));
        (start, end)
    }

    fn is_possible(&mut self, state: State, kind: Kind) -> bool {
        let (start, end) = self.after(state, kind);
        start < end
    }
}

impl<'k, S: Semantics, const W: usize> Object<'k, W> for Interned<'k, S> {
    fn problem(key: &'k KeyOps) -> Problem<Self> {
        let semantics = S::new(key);
        let mut kinds: Vec<Meaning> = Vec::new();
        let mut builder = Builder::new(key);
        let mut steps = Vec::with_capacity(key.ops.len());
        for (number, op) in (0..).zip(&key.ops) {
            let mut op = *op;
            if op.ret == NEVER {
                op.seen = Seen::Unknown;
            }
            if !semantics.matters(key, &op) {
                continue;
            }
            let nature = semantics.nature(key, &op);
            if op.ret == NEVER && nature == Nature::Look {
                continue;
            }
            let next = Kind::try_from(kinds.len()).unwrap_or(Kind::MAX);
            let kind = builder.kind(&op, next);
            if kind == next {
                kinds.push(Meaning { op, nature });
            }
            steps.push(Step { op: number, call: op.call, ret: op.ret, kind });
        }
        let start = semantics.start(key);
        let mut object = Interned {
            key,
            semantics: Rc::new(semantics),
            states: Vec::new(),
            numbers: FastMap::default(),
            bytes: 0,
            kinds: Rc::from(kinds),
            transitions: FastMap::default(),
            successors: Vec::new(),
            kept: 0,
            scratch: Vec::new(),
        };
        object.number(start);
        Problem { steps, object, impossible: None }
    }

    fn start(&self) -> State {
        0
    }

    fn nature(&self, kind: Kind) -> Nature {
        self.kinds[index(kind)].nature
    }

    /// A dequeue that found nothing looks only, but who does not know its answer cannot tell.
    fn is_told_by_answer(&self, kind: Kind) -> bool {
        let of = &self.kinds[index(kind)];
        of.nature == Nature::Other || of.op.action == Action::Dequeue
    }

    fn invoked(&mut self, _: &Step) -> bool {
        true
    }

    fn opened(&mut self, _: usize, _: Kind) {}

    fn closed(&mut self, _: usize, _: Kind) {}

    fn class_opened(&mut self, _: usize, _: Kind) {}

    fn class_closed(&mut self, _: usize, _: Kind, _: u32) {}

    fn is_useless(&self, _: Kind) -> bool {
        false
    }

    fn at_once(&mut self, state: State, owed: &Mask<W>, scene: &Scene<W>) -> Mask<W> {
        let mut now = Mask::EMPTY;
        for slot in owed.and(&scene.looks).slots() {
            if self.is_possible(state, scene.slot(slot).kind) {
                now.set(slot);
            }
        }
        now
    }

    fn moves(&mut self, at: &Configuration<W>, scene: &Scene<W>, moves: &mut Vec<Move>) {
        for slot in scene.all.without(&scene.looks).without(&at.used).slots() {
            if !scene.is_ready(at, slot) {
                continue;
            }
            let (start, end) = self.after(at.state, scene.slot(slot).kind);
            for &to in &self.successors[start..end] {
                moves.push(Move { by: Actor::Slot(slot), to });
            }
        }
        for &class in &scene.live {
            let Some(kind) = scene.class(class).map(|class| class.kind) else { continue };
            if !scene.is_class_ready(at, class) {
                continue;
            }
            let op = &self.kinds[index(kind)].op;
            let owed = at.owed.slots().map(|slot| &self.kinds[index(scene.slot(slot).kind)].op);
            if !self.semantics.is_worth(op, owed) {
                continue;
            }
            let (start, end) = self.after(at.state, kind);
            for &to in &self.successors[start..end] {
                if to != at.state {
                    moves.push(Move { by: Actor::Class(class), to });
                }
            }
        }
    }

    fn is_worth_showing(&self, _: Kind) -> bool {
        true
    }

    fn dead_end(&self, _: State, _: &Configuration<W>, _: &Scene<W>) -> Option<u32> {
        None
    }

    fn hidden_dead_end(&self, _: Kind, _: &Configuration<W>, _: &Scene<W>) -> Option<u32> {
        None
    }

    fn settled(&self, state: State) -> State {
        state
    }

    fn weight(&self) -> usize {
        (self.bytes + self.transitions.len() * 16) / 4
    }

    fn is_finite(&self) -> bool {
        self.semantics.is_finite()
    }

    fn bytes(&self) -> usize {
        self.bytes + self.transitions.len() * 32 + self.successors.len() * 4
    }

    /// Forgets all states but those of the frontier, once they have become many times as much.
    fn collect(&mut self, live: &mut [Configuration<W>]) {
        let bytes = Object::<W>::bytes(self);
        if bytes < (1 << 20) + 8 * self.kept {
            return;
        }
        let mut old = std::mem::take(&mut self.states);
        let mut moved = vec![State::MAX; old.len()];
        self.numbers.clear();
        self.transitions.clear();
        self.successors.clear();
        self.bytes = 0;
        // The first one stays the first, for whoever asks for the start.
        for state in std::iter::once(&mut 0).chain(live.iter_mut().map(|at| &mut at.state)) {
            let from = index(*state);
            if moved[from] == State::MAX {
                moved[from] = self.number(std::mem::take(&mut old[from]));
            }
            *state = moved[from];
        }
        self.kept = Object::<W>::bytes(self);
    }
}

/// Finds kinds: equal operations are of one, whatever their lists' places.
struct Builder<'k> {
    key: &'k KeyOps,
    lists: FastMap<&'k [Word], u32>,
    kinds: FastMap<(Action, Seen, bool, u32, u32), Kind>,
}

impl<'k> Builder<'k> {
    fn new(key: &'k KeyOps) -> Builder<'k> {
        Builder { key, lists: FastMap::default(), kinds: FastMap::default() }
    }

    fn kind(&mut self, op: &Op, next: Kind) -> Kind {
        let (mut action, mut seen) = (op.action, op.seen);
        let (mut asked, mut answered) = (0, 0);
        if let Action::Txn(list) = &mut action {
            asked = self.list(list);
        }
        if let Seen::List(list) = &mut seen {
            answered = self.list(list);
        }
        let did = op.may_count();
        *self.kinds.entry((action, seen, did, asked, answered)).or_insert(next)
    }

    /// The number of a list's content; its place no longer matters then.
    fn list(&mut self, list: &mut crate::ops::List) -> u32 {
        let next = u32::try_from(self.lists.len() + 1).unwrap_or(u32::MAX);
        let number = *self.lists.entry(self.key.list(*list)).or_insert(next);
        *list = crate::ops::List { start: 0, len: 0 };
        number
    }
}
