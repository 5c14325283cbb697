//! Lists. A state is a node of the tree of all lists that were read, and of their prefixes; all other lists are one
//! state, since no read can tell them apart, and nothing leads back from there.

use std::rc::Rc;

use super::configuration::Configuration;
use super::hash::FastMap;
use super::mask::Mask;
use super::object::{Actor, Kind, Move, Nature, Object, Problem, State, Step};
use super::scene::Scene;
use crate::history::Outcome;
use crate::ops::{Action, KeyOps, NEVER, Op, Seen, Word, index};

const NONE: u32 = u32::MAX;

/// A list that was read, or a prefix of one.
#[derive(Clone, Copy, Debug)]
struct Node {
    /// Its last token.
    token: Word,
    first_child: State,
    sibling: State,
    /// The nodes from here up to this one, in the order of `entered`, are those that it is a prefix of.
    entered: u32,
    left: u32,
    /// Reads to come that certainly happened and return it.
    needs: u32,
    /// The first of them.
    next_need: u32,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct List {
    nodes: Vec<Node>,
    /// By step that certainly needs a list: the next one that needs the same.
    next_need: Rc<[u32]>,
    /// Steps that need a list, and which, in order.
    reads: Rc<[(u32, State)]>,
    reads_invoked: usize,
    invoked: usize,
    start: State,
}

impl List {
    fn unseen(&self) -> State {
        State::try_from(self.nodes.len()).unwrap_or(NONE)
    }

    fn node(&self, state: State) -> Option<&Node> {
        self.nodes.get(index(state))
    }

    /// The tokens that lead to lists that were read, and where.
    fn children(&self, state: State) -> impl Iterator<Item = (Word, State)> + '_ {
        let mut next = self.node(state).map_or(NONE, |node| node.first_child);
        std::iter::from_fn(move || {
            let child = self.node(next)?;
            let here = (child.token, next);
            next = child.sibling;
            Some(here)
        })
    }

    fn is_prefix(&self, state: State, of: State) -> bool {
        match (self.node(state), self.node(of)) {
            (Some(one), Some(other)) => one.entered <= other.entered && other.entered < one.left,
            _ => false,
        }
    }
}

impl<'k, const W: usize> Object<'k, W> for List {
    fn problem(key: &'k KeyOps) -> Problem<Self> {
        let mut tree = Builder::new();
        let initial = if let Seen::List(list) = key.initial { key.list(list) } else { &[] };
        let start = tree.node(initial);
        let mut is_seen = vec![false; key.words.len()];
        for op in key.ops.iter().filter(|op| op.is_ok_read() && op.ret != NEVER) {
            if let Seen::List(list) = op.seen {
                key.list(list).iter().for_each(|&token| is_seen[index(token)] = true);
            }
        }
        let mut steps = Vec::with_capacity(key.ops.len());
        let mut impossible = None;
        for (number, op) in (0..).zip(&key.ops) {
            match kind(key, op, &is_seen, &mut tree) {
                Ok(Some(kind)) => {
                    steps.push(Step { op: number, call: op.call, ret: op.ret, kind });
                }
                Ok(None) => {}
                Err(Impossible) => impossible = impossible.or(Some(number)),
            }
        }
        let mut nodes = tree.nodes;
        number(&mut nodes);
        let mut object = List {
            nodes,
            next_need: Rc::from([]),
            reads: Rc::from([]),
            reads_invoked: 0,
            invoked: 0,
            start,
        };
        let mut next_need = vec![NONE; steps.len()];
        let mut reads = Vec::new();
        for (place, step) in steps.iter().enumerate().rev() {
            if step.kind & 1 == 0 {
                let number = u32::try_from(place).unwrap_or(NONE);
                let node = &mut object.nodes[index(step.kind / 2)];
                node.needs += 1;
                next_need[place] = node.next_need;
                node.next_need = number;
                reads.push((number, step.kind / 2));
            }
        }
        reads.reverse();
        object.next_need = Rc::from(next_need);
        object.reads = Rc::from(reads);
        Problem { steps, object, impossible }
    }

    fn start(&self) -> State {
        self.start
    }

    fn nature(&self, kind: Kind) -> Nature {
        if kind & 1 == 0 { Nature::Look } else { Nature::Blind }
    }

    fn invoked(&mut self, step: &Step) -> bool {
        if step.kind & 1 == 0 {
            let node = &mut self.nodes[index(step.kind / 2)];
            node.needs -= 1;
            node.next_need = self.next_need[self.invoked];
            self.reads_invoked += 1;
        }
        self.invoked += 1;
        true
    }

    fn opened(&mut self, _: usize, _: Kind) {}

    fn closed(&mut self, _: usize, _: Kind) {}

    fn class_opened(&mut self, _: usize, _: Kind) {}

    fn class_closed(&mut self, _: usize, _: Kind, _: u32) {}

    fn is_useless(&self, _: Kind) -> bool {
        false
    }

    /// In a list that nobody will ever read, it does not matter what is appended.
    fn at_once(&mut self, state: State, owed: &Mask<W>, scene: &Scene<W>) -> Mask<W> {
        if state == self.unseen() {
            return owed.without(&scene.looks);
        }
        let mut now = Mask::EMPTY;
        for slot in owed.and(&scene.looks).slots() {
            if scene.slot(slot).kind / 2 == state {
                now.set(slot);
            }
        }
        now
    }

    fn moves(&mut self, at: &Configuration<W>, scene: &Scene<W>, moves: &mut Vec<Move>) {
        let available = scene.all.without(&scene.looks).without(&at.used);
        let mut target_leads_on = false;
        for (token, to) in self.children(at.state) {
            let kind = 2 * token + 1;
            for slot in available.slots() {
                if scene.slot(slot).kind == kind && scene.is_ready(at, slot) {
                    moves.push(Move { by: Actor::Slot(slot), to });
                    target_leads_on |= slot == scene.target;
                }
            }
            if let Some(class) = scene.class_of(kind)
                && scene.is_class_ready(at, class)
            {
                moves.push(Move { by: Actor::Class(class), to });
            }
        }
        // Whatever else leads to a list that was never read can as well be done after the target.
        if !target_leads_on && available.has(scene.target) {
            moves.push(Move { by: Actor::Slot(scene.target), to: self.unseen() });
        }
    }

    fn is_worth_showing(&self, _: Kind) -> bool {
        true
    }

    /// Lists only grow: what is read later on must begin with what is there.
    fn dead_end(&self, from: State, next: &Configuration<W>, scene: &Scene<W>) -> Option<u32> {
        if let Some(left) = self.node(from)
            && left.needs > 0
        {
            return Some(left.next_need);
        }
        if let Some(&(number, read)) = self.reads.get(self.reads_invoked)
            && !self.is_prefix(next.state, read)
        {
            return Some(number);
        }
        let owed = next.owed.and(&scene.looks);
        let missed =
            owed.slots().find(|&slot| !self.is_prefix(next.state, scene.slot(slot).kind / 2));
        missed.map(|slot| scene.slot(slot).number)
    }

    fn hidden_dead_end(&self, _: Kind, _: &Configuration<W>, _: &Scene<W>) -> Option<u32> {
        None
    }

    fn settled(&self, state: State) -> State {
        state
    }

    fn weight(&self) -> usize {
        self.nodes.len() * 4
    }

    fn is_finite(&self) -> bool {
        true
    }
}

/// It cannot have happened in any state.
struct Impossible;

/// What the operation does, if it can matter: twice the node of the list that it returned; or twice the token that it
/// appends and one.
///
/// Left out are appends that may not have happened and whose token no read shows: if there is an order with such an
/// append, it comes after all reads, and the order without it will do.
fn kind(
    key: &KeyOps,
    op: &Op,
    is_seen: &[bool],
    tree: &mut Builder,
) -> Result<Option<Kind>, Impossible> {
    let returned = op.ret != NEVER;
    match (op.action, op.seen) {
        _ if op.outcome == Outcome::Fail => Ok(None),
        (Action::Read, Seen::List(list)) if returned => Ok(Some(2 * tree.node(key.list(list)))),
        (Action::Read, Seen::Unknown) => Ok(None),
        (Action::Append(token), _) => {
            Ok((returned || is_seen[index(token)]).then_some(2 * token + 1))
        }
        _ if !returned => Ok(None),
        _ => Err(Impossible),
    }
}

/// Makes the tree.
struct Builder {
    nodes: Vec<Node>,
    children: FastMap<(State, Word), State>,
    /// The last list, as nodes: most lists begin with the one before.
    path: Vec<State>,
    tokens: Vec<Word>,
}

impl Builder {
    fn new() -> Builder {
        let mut tree = Builder {
            nodes: Vec::new(),
            children: FastMap::default(),
            path: Vec::new(),
            tokens: Vec::new(),
        };
        tree.push(0);
        tree
    }

    fn push(&mut self, token: Word) -> State {
        self.nodes.push(Node {
            token,
            first_child: NONE,
            sibling: NONE,
            entered: 0,
            left: 0,
            needs: 0,
            next_need: NONE,
        });
        State::try_from(self.nodes.len() - 1).unwrap_or(NONE)
    }

    fn node(&mut self, list: &[Word]) -> State {
        let same = if list.starts_with(&self.tokens) {
            self.tokens.len()
        } else {
            list.iter().zip(&self.tokens).take_while(|(one, other)| one == other).count()
        };
        self.tokens.truncate(same);
        self.path.truncate(same);
        let mut node = self.path.last().copied().unwrap_or(0);
        for &token in &list[same..] {
            node = self.child(node, token);
            self.tokens.push(token);
            self.path.push(node);
        }
        node
    }

    fn child(&mut self, node: State, token: Word) -> State {
        if let Some(&child) = self.children.get(&(node, token)) {
            return child;
        }
        let child = self.push(token);
        self.nodes[index(child)].sibling = self.nodes[index(node)].first_child;
        self.nodes[index(node)].first_child = child;
        self.children.insert((node, token), child);
        child
    }
}

/// Numbers the nodes so that the lists that begin with one of them follow it.
fn number(nodes: &mut [Node]) {
    let mut count = 0;
    let mut path: Vec<State> = vec![0];
    let mut enters = true;
    while let Some(&at) = path.last() {
        if enters {
            nodes[index(at)].entered = count;
            count += 1;
            if nodes[index(at)].first_child != NONE {
                path.push(nodes[index(at)].first_child);
                continue;
            }
        }
        nodes[index(at)].left = count;
        path.pop();
        enters = nodes[index(at)].sibling != NONE;
        if enters {
            path.push(nodes[index(at)].sibling);
        }
    }
}
