//! What each client sees of one key: that it never goes back.

use hashbrown::HashMap;

use super::Holds;
use super::clients::ByClient;
use super::graph::{Graph, Witness};
use super::versions::{Version, Versions, sorted};
use crate::model::Model;
use crate::ops::{Action, KeyOps, NEVER, Op, Position, Seen, Word, index};

/// What holds for one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sessions {
    pub(super) monotonic_reads: Holds,
    /// That no client's reads are older than its own writes.
    pub(super) read_your_writes: Holds,
}

/// `versions` are the key's, if it has any.
pub(super) fn holds(key: &KeyOps, versions: Option<&Versions>) -> Sessions {
    let judge = match key.model {
        Model::Register | Model::CasRegister => {
            return versions.map_or(Sessions::UNKNOWN, |versions| register(key, versions));
        }
        Model::Append => list,
        Model::Set => set,
        Model::Counter => counter,
        Model::MultiRegister
        | Model::Kv
        | Model::FifoQueue
        | Model::UnorderedQueue
        | Model::Mutex => return Sessions::UNKNOWN,
    };
    Sessions { monotonic_reads: judge(key, false), read_your_writes: judge(key, true) }
}

impl Sessions {
    const UNKNOWN: Sessions =
        Sessions { monotonic_reads: Holds::Unknown, read_your_writes: Holds::Unknown };
}

/// There is an order of the versions that keeps real time between writes and what clients saw one after the other,
/// unless these make a circle.
fn register(key: &KeyOps, versions: &Versions) -> Sessions {
    let mut graph = real_time(key, versions);
    let edges = graph.edges();
    let mut holds = |own_writes| {
        graph.forget_all_but(edges);
        add_clients(&mut graph, key, versions, own_writes);
        graph.circle().map_or(Holds::Yes, |circle| broken(&circle))
    };
    Sessions { monotonic_reads: holds(false), read_your_writes: holds(true) }
}

/// Edges from what a client saw, or made itself, to what it saw after that.
fn add_clients(graph: &mut Graph, key: &KeyOps, versions: &Versions, own_writes: bool) {
    let mut last = ByClient::new(key);
    for (op, touch) in key.ops.iter().zip(&versions.touches) {
        let last: &mut Option<(Version, u32)> = last.of(op.process);
        if let (Some(saw), Some((known, by))) = (touch.saw, *last)
            && saw != known
        {
            graph.add(known, saw, Some((by, op.number)));
        }
        let knows = if own_writes { touch.made.filter(|_| op.is_ok()) } else { touch.saw };
        if let Some(version) = knows {
            *last = Some((version, op.number));
        }
    }
}

/// Two operations of a circle: of one client, if there are such.
pub(super) fn broken(circle: &[Witness]) -> Holds {
    let witnesses = || circle.iter().flatten().copied();
    if let Some((first, second)) = witnesses().find(|(first, second)| first < second) {
        return Holds::Broken { first, second };
    }
    // Each of them is a cas that saw one version and made another.
    let numbers = || witnesses().map(|(number, _)| number);
    match (numbers().min(), numbers().max()) {
        (Some(first), Some(second)) if first < second => Holds::Broken { first, second },
        _ => Holds::Unknown,
    }
}

/// Edges between versions and moments: what a write made before a moment, and what was asked for after it.
fn real_time(key: &KeyOps, versions: &Versions) -> Graph {
    let mut graph = Graph::new(versions.len());
    let made = (0..)
        .zip(&versions.makers)
        .filter_map(|(version, maker)| Some((version, key.ops.get(index((*maker)?))?)));
    let mut calls: Vec<(Position, Version)> = Vec::with_capacity(versions.len());
    let mut rets: Vec<(Position, Version)> = Vec::with_capacity(versions.len());
    for (version, op) in made {
        calls.push((op.call, version));
        if op.ret != NEVER {
            rets.push((op.ret, version));
        }
    }
    calls.sort_unstable();
    rets.sort_unstable();
    // The first version is before all others.
    let mut now = 0;
    let mut rets = rets.into_iter().peekable();
    for (call, version) in calls {
        if rets.peek().is_some_and(|&(ret, _)| ret < call) {
            let moment = graph.node();
            graph.add(now, moment, None);
            while let Some((_, version)) = rets.next_if(|&(ret, _)| ret < call) {
                graph.add(version, moment, None);
            }
            now = moment;
        }
        graph.add(now, version, None);
    }
    graph
}

fn reads(key: &KeyOps) -> impl Iterator<Item = &Op> {
    key.ops.iter().filter(|op| op.is_ok_read())
}

/// Each read of a client begins with what it read before, and has what it appended.
fn list(key: &KeyOps, own_writes: bool) -> Holds {
    if own_writes {
        return own(key, Op::appends);
    }
    let mut last: HashMap<u32, (&[Word], u32)> = HashMap::new();
    for op in reads(key) {
        let Seen::List(list) = op.seen else { continue };
        let list = key.list(list);
        if let Some(&(known, first)) = last.get(&op.process)
            && !list.starts_with(known)
        {
            return Holds::Broken { first, second: op.number };
        }
        last.insert(op.process, (list, op.number));
    }
    Holds::Yes
}

/// Each read of a client has all elements that it knew of.
fn set(key: &KeyOps, own_writes: bool) -> Holds {
    if key.ops.iter().any(|op| matches!(op.action, Action::Remove(_)) && op.may_count()) {
        return Holds::Unknown;
    }
    if own_writes {
        return own(key, |op| if let Action::Add(word) = op.action { Some(word) } else { None });
    }
    let mut last: HashMap<u32, (Vec<Word>, u32)> = HashMap::new();
    for op in reads(key) {
        let Seen::List(list) = op.seen else { continue };
        let list = sorted(key, list);
        if let Some((known, first)) = last.get(&op.process)
            && !known.iter().all(|word| list.binary_search(word).is_ok())
        {
            return Holds::Broken { first: *first, second: op.number };
        }
        last.insert(op.process, (list, op.number));
    }
    Holds::Yes
}

/// Each read of a client has all that it brought in itself.
fn own(key: &KeyOps, brings: impl Fn(&Op) -> Option<Word>) -> Holds {
    // By client: what it brought in that no read of it was judged by yet, and all of it.
    let mut brought: HashMap<u32, Vec<(Word, u32)>> = HashMap::new();
    let mut work = 0_usize;
    for op in &key.ops {
        match (brings(op), op.seen) {
            (Some(word), _) if op.is_ok() => {
                brought.entry(op.process).or_default().push((word, op.number));
            }
            (None, Seen::List(list)) if op.is_ok_read() => {
                let Some(own) = brought.get(&op.process) else { continue };
                let seen = sorted(key, list);
                work += own.len();
                if work > WORK_MAX {
                    return Holds::Unknown;
                }
                let missed = own.iter().find(|(word, _)| seen.binary_search(word).is_err());
                if let Some(&(_, first)) = missed {
                    return Holds::Broken { first, second: op.number };
                }
            }
            _ => {}
        }
    }
    Holds::Yes
}

/// Comparisons of a client's own elements with what it read.
const WORK_MAX: usize = 50_000_000;

/// A number that only grows is at least what a client saw, or what it added itself.
fn counter(key: &KeyOps, own_writes: bool) -> Holds {
    if key.ops.iter().filter(|op| op.may_count()).filter_map(Op::adds).any(|by| by < 0) {
        return Holds::Unknown;
    }
    let mut least: HashMap<u32, (i64, u32)> = HashMap::new();
    for op in key.ops.iter().filter(|op| op.is_ok()) {
        let start = key.initial_number();
        let known = least.get(&op.process).copied();
        if let (Seen::Number(number), Some((least, first))) = (op.seen, known)
            && number < least
        {
            return Holds::Broken { first, second: op.number };
        }
        let knows = match (own_writes, op.adds(), op.seen) {
            (true, Some(by), _) => known.map_or(start, |(least, _)| least).saturating_add(by),
            (false, _, Seen::Number(number)) => number,
            _ => continue,
        };
        least.insert(op.process, (knows, op.number));
    }
    Holds::Yes
}
