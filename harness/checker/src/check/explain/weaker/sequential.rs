//! One order of all operations that keeps each client's own order, whatever real time says.

use hashbrown::HashMap;

use super::Holds;
use super::clients::ByClient;
use super::graph::{Graph, Node};
use super::sessions::broken;
use super::versions::{Version, Versions};
use crate::model::Model;
use crate::model::Sequential;
use crate::model::semantics::{AppendList, Register};
use crate::ops::{KeyOps, NEVER, Op, index};

/// The first of these keys in which what clients did and saw one after the other forces versions into a circle.
pub(super) fn broken_by<'k>(
    keys: impl Iterator<Item = (&'k KeyOps, &'k Versions)>,
) -> Option<Holds> {
    keys.filter_map(|(key, versions)| graph_of_versions(key, versions).circle())
        .map(|circle| broken(&circle))
        .find(|holds| matches!(holds, Holds::Broken { .. }))
}

/// Broken if what clients did and saw one after the other forces versions of a key into a circle. Held if an order of
/// the versions that goes with that leads to an order of all operations, which the models then have to accept.
/// Otherwise another order of the versions might still do.
pub(super) fn holds(keys: &[KeyOps]) -> Holds {
    let versions: Option<Vec<Versions>> = keys.iter().map(Versions::of).collect();
    let Some(versions) = versions else { return Holds::Unknown };
    let mut orders = Vec::with_capacity(keys.len());
    for (key, versions) in keys.iter().zip(&versions) {
        match order_of_versions(key, versions) {
            Ok(order) => orders.push(order),
            Err(broken) => return broken,
        }
    }
    let Some(order) = order_of_operations(keys, &versions, &orders) else { return Holds::Unknown };
    if is_accepted(keys, &order) { Holds::Yes } else { Holds::Unknown }
}

/// What clients did and saw one after the other.
fn graph_of_versions(key: &KeyOps, versions: &Versions) -> Graph {
    let mut graph = Graph::new(versions.len());
    for (version, _) in (0..).zip(&versions.makers).skip(1) {
        let before = if versions.is_ordered { version - 1 } else { 0 };
        graph.add(before, version, None);
    }
    let mut last: ByClient<Option<(Version, u32)>> = ByClient::new(key);
    for (op, touch) in key.ops.iter().zip(&versions.touches) {
        let made = touch.made.filter(|_| op.ret != NEVER);
        for version in [touch.saw, made].into_iter().flatten() {
            if let Some((known, by)) = last.of(op.process).replace((version, op.number))
                && known != version
            {
                graph.add(known, version, Some((by, op.number)));
            }
        }
    }
    graph
}

/// Versions in an order in which no client goes back; the earlier writes first where there is a choice.
fn order_of_versions(key: &KeyOps, versions: &Versions) -> Result<Vec<Version>, Holds> {
    let graph = graph_of_versions(key, versions);
    let call = |version: Version| {
        let maker = versions.makers.get(index(version)).copied().flatten();
        maker.and_then(|number| key.ops.get(index(number))).map_or(0, |op| op.call)
    };
    let order = graph.order(call);
    if order.len() == versions.len() {
        return Ok(order);
    }
    Err(graph.circle().map_or(Holds::Unknown, |circle| broken(&circle)))
}

/// An order of all operations in which each key's versions follow each other like this: (key, operation).
fn order_of_operations(
    keys: &[KeyOps],
    versions: &[Versions],
    orders: &[Vec<Version>],
) -> Option<Vec<(usize, usize)>> {
    let mut nodes: Vec<(usize, usize)> = Vec::new();
    let mut starts: Vec<Node> = Vec::with_capacity(keys.len());
    for (number, key) in keys.iter().enumerate() {
        starts.push(Node::try_from(nodes.len()).ok()?);
        nodes.extend((0..key.ops.len()).map(|op| (number, op)));
    }
    let op_of = |node: Node| -> &Op {
        let (key, op) = nodes[index(node)];
        &keys[key].ops[op]
    };
    let mut graph = Graph::new(nodes.len());
    for ((versions, order), start) in versions.iter().zip(orders).zip(starts) {
        let mut next: Vec<Option<Node>> = vec![None; versions.len()];
        let maker = |version: Version| versions.makers[index(version)].map(|op| start + op);
        for pair in order.windows(2) {
            next[index(pair[0])] = maker(pair[1]);
            if let (Some(one), Some(other)) = (maker(pair[0]), maker(pair[1])) {
                graph.add(one, other, None);
            }
        }
        for (node, touch) in (start..).zip(&versions.touches) {
            let Some(saw) = touch.saw else { continue };
            if let Some(made) = maker(saw) {
                graph.add(made, node, None);
            }
            if let Some(next) = next[index(saw)].filter(|&next| next != node) {
                graph.add(node, next, None);
            }
        }
    }
    // Each client's own order, over all keys.
    let mut by_call: Vec<Node> = (0..).zip(&nodes).map(|(node, _)| node).collect();
    by_call.sort_by_key(|&node| op_of(node).call);
    let mut last: HashMap<u32, Node> = HashMap::new();
    for &node in &by_call {
        if let Some(before) = last.insert(op_of(node).process, node) {
            graph.add(before, node, None);
        }
    }
    let order = graph.order(|node| op_of(node).call);
    (order.len() == nodes.len()).then(|| order.into_iter().map(|node| nodes[index(node)]).collect())
}

/// Goes through the operations in this order. What failed and saw nothing is skipped.
fn is_accepted(keys: &[KeyOps], order: &[(usize, usize)]) -> bool {
    let mut by_key: Vec<Vec<usize>> = vec![Vec::new(); keys.len()];
    for &(key, op) in order {
        by_key[key].push(op);
    }
    keys.iter().zip(by_key).all(|(key, order)| match key.model {
        Model::Register | Model::CasRegister => accepts(&Register, key, &order),
        Model::Append => accepts_list(key, &order),
        Model::Counter
        | Model::MultiRegister
        | Model::Kv
        | Model::Set
        | Model::FifoQueue
        | Model::UnorderedQueue
        | Model::Mutex => false,
    })
}

fn accepts<M: Sequential>(model: &M, key: &KeyOps, order: &[usize]) -> bool {
    let mut state = model.start(key);
    order.iter().map(|&op| &key.ops[op]).all(|op| match model.apply(key, &state, op) {
        Some(after) => {
            state = after;
            true
        }
        // What may not have happened did not.
        None => op.ret == NEVER,
    })
}

/// As [`accepts`] would, without a new list for each step.
fn accepts_list(key: &KeyOps, order: &[usize]) -> bool {
    use crate::ops::Seen;
    let mut state = AppendList.start(key);
    order.iter().map(|&op| &key.ops[op]).all(|op| match (op.appends(), op.seen) {
        (Some(token), _) => {
            if op.may_count() {
                state.push(token);
            }
            true
        }
        (None, Seen::List(list)) if op.is_ok_read() => key.list(list) == state,
        _ => true,
    })
}
