//! What must come before what.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::ops::index;

/// A node's number.
pub(super) type Node = u32;

/// Two operations of a client, of which the second one saw what the first one knew, or something later.
pub(super) type Witness = Option<(u32, u32)>;

/// No operation's number.
const NOBODY: u32 = u32::MAX;

/// That one node is before another.
#[derive(Clone, Copy)]
struct Edge {
    from: Node,
    to: Node,
    /// What says so; [`NOBODY`] if that is not what a client saw.
    by: (u32, u32),
}

/// A directed graph; some edges are from what a client knew to what it saw then. It may have as many nodes and edges as a
/// history has operations, so it has no list for each node.
pub(super) struct Graph {
    nodes: usize,
    edges: Vec<Edge>,
}

impl Graph {
    pub(super) fn new(nodes: usize) -> Graph {
        Graph { nodes, edges: Vec::new() }
    }

    pub(super) fn node(&mut self) -> Node {
        self.nodes += 1;
        number(self.nodes - 1)
    }

    pub(super) fn add(&mut self, from: Node, to: Node, by: Witness) {
        self.edges.push(Edge { from, to, by: by.unwrap_or((NOBODY, NOBODY)) });
    }

    /// How many edges there are.
    pub(super) fn edges(&self) -> usize {
        self.edges.len()
    }

    /// Takes the edges away that were added after the first so many.
    pub(super) fn forget_all_but(&mut self, edges: usize) {
        self.edges.truncate(edges);
    }

    /// The nodes in an order that goes with all edges, the smallest `rank` first where there is a choice; shorter than
    /// the graph if there is none.
    pub(super) fn order(&self, rank: impl Fn(Node) -> u32) -> Vec<Node> {
        let mut free: BinaryHeap<Reverse<(u32, Node)>> = BinaryHeap::new();
        let mut order = Vec::with_capacity(self.nodes);
        let mut walk = Walk::new(self);
        free.extend(walk.first().map(|node| Reverse((rank(node), node))));
        while let Some(Reverse((_, node))) = free.pop() {
            order.push(node);
            walk.pass(node, |next| free.push(Reverse((rank(next), next))));
        }
        order
    }

    /// What the edges of a circle say, if there is one.
    pub(super) fn circle(&self) -> Option<Vec<Witness>> {
        let mut is_left = vec![true; self.nodes];
        let mut walk = Walk::new(self);
        let mut free: Vec<Node> = walk.first().collect();
        while let Some(node) = free.pop() {
            is_left[index(node)] = false;
            walk.pass(node, |next| free.push(next));
        }
        let first = number(is_left.iter().position(|&is_left| is_left)?);
        // Whatever is left has a predecessor that is left: going back from one, some node comes twice.
        let mut back: Vec<Option<&Edge>> = vec![None; self.nodes];
        for edge in &self.edges {
            if is_left[index(edge.from)] && is_left[index(edge.to)] {
                back[index(edge.to)] = Some(edge);
            }
        }
        let mut node = first;
        for _ in 0..self.nodes {
            node = back[index(node)]?.from;
        }
        let first = node;
        let mut circle = Vec::new();
        loop {
            let edge = back[index(node)]?;
            circle.push((edge.by.0 != NOBODY).then_some(edge.by));
            node = edge.from;
            if node == first {
                return Some(circle);
            }
        }
    }
}

/// A walk through a graph that comes to each node after all that are before it.
struct Walk {
    /// By node: where those that it is before begin in `after`; and in the end, where they end.
    starts: Vec<u32>,
    after: Vec<Node>,
    /// By node: how many before it were not passed yet.
    before: Vec<u32>,
}

impl Walk {
    fn new(graph: &Graph) -> Walk {
        let mut starts = vec![0; graph.nodes + 1];
        let mut before = vec![0; graph.nodes];
        for edge in &graph.edges {
            starts[index(edge.from) + 1] += 1;
            before[index(edge.to)] += 1;
        }
        for node in 1..starts.len() {
            starts[node] += starts[node - 1];
        }
        let mut next = starts.clone();
        let mut after = vec![0; graph.edges.len()];
        for edge in &graph.edges {
            let place = &mut next[index(edge.from)];
            after[index(*place)] = edge.to;
            *place += 1;
        }
        Walk { starts, after, before }
    }

    /// The nodes that nothing is before.
    fn first(&self) -> impl Iterator<Item = Node> {
        (0..).zip(&self.before).filter(|&(_, &before)| before == 0).map(|(node, _)| node)
    }

    /// Passes a node; says which can be passed now.
    fn pass(&mut self, node: Node, mut free: impl FnMut(Node)) {
        let range = index(self.starts[index(node)])..index(self.starts[index(node) + 1]);
        for &next in &self.after[range] {
            let before = &mut self.before[index(next)];
            *before -= 1;
            if *before == 0 {
                free(next);
            }
        }
    }
}

/// As a node's number; there are never more than four billion operations, and not many more nodes than these.
fn number(place: usize) -> Node {
    Node::try_from(place).unwrap_or(Node::MAX)
}
