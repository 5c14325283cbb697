//! Whose value an operation saw if several may have written it, as deletes do: a guess that is right unless much of that
//! value happens at once. The order that follows from it is verified, so a wrong guess decides nothing.
//!
//! Operations are taken in order of invocation. Each joins the cluster of a write of its value that it can join without
//! making two blocks that have to come before each other. If there are several, the best is the one that returned last
//! before the operation was called: it stays in reach for longest of those that are as they are anyway. Then comes one that
//! others have joined already, and then the one that returns first, because it will be out of reach first. A write of
//! unknown outcome that nobody has joined can wait for ever, and keeps nobody from anything: one of them is as good as
//! another, and the last resort.

use std::collections::{BTreeMap, VecDeque};

use super::clusters::{Clusters, Role, SEVERAL, Source, Zone, role};
use super::source_op;
use crate::check::direct::number;
use crate::ops::{KeyOps, NEVER, Op, Position, Word, index};

/// How many writes to consider; more than are ever in reach, unless very much happens at once.
const CANDIDATES_MAX: usize = 64;

/// By operation: a source for what it saw; `None` if there is one for which none is possible.
pub(super) fn choose(key: &KeyOps, clusters: &Clusters) -> Option<Vec<Source>> {
    let blocks = Blocks::of(key, clusters);
    let mut writes = writes(key, clusters, &blocks);
    let mut chosen = vec![SEVERAL; key.ops.len()];
    for (op, id) in key.ops.iter().zip(0..) {
        let (word, consumes) = match role(op) {
            Role::Observer(word) => (word, false),
            Role::Swap { expect, .. } => (expect, true),
            Role::Writer(_) | Role::Free | Role::Nothing | Role::Foreign => continue,
        };
        // A cas of unknown outcome may not have happened at all.
        if clusters.source(word) == SEVERAL && (op.is_ok() || !consumes) {
            let joining = Joining { id, op, block: consumes.then(|| blocks.of[index(id + 1)]) };
            chosen[index(id)] = writes.get_mut(&word)?.join(key, &joining, &blocks)?;
        }
    }
    Some(chosen)
}

/// The writes of each value that several may have written.
fn writes(key: &KeyOps, clusters: &Clusters, blocks: &Blocks) -> BTreeMap<Word, Writes> {
    let mut writes: BTreeMap<Word, Writes> = BTreeMap::new();
    let mut add = |word: Word, source: Source, call: Position| {
        if clusters.source(word) == SEVERAL {
            let block = blocks.of[index(source)];
            let (first_return, last_call) =
                blocks.bounds.get(index(block)).copied().unwrap_or((i64::from(NEVER), call));
            let (linked, is_joined) = (NEVER, false);
            let write = Write { source, call, block, linked, first_return, last_call, is_joined };
            writes.entry(word).or_default().ahead.push(write);
        }
    };
    add(key.initial_word(), 0, 0);
    for (op, source) in key.ops.iter().zip(1..) {
        if let Role::Writer(word) | Role::Swap { new: word, .. } = role(op) {
            add(word, source, op.call);
        }
    }
    for writes in writes.values_mut() {
        writes.ahead.reverse();
    }
    writes
}

/// A write of the value, with the bounds of its block and of those that have joined it.
#[derive(Clone, Copy)]
struct Write {
    source: Source,
    call: Position,
    /// [`NEVER`] if nobody knows that it happened.
    block: u32,
    /// The block of the cas that replaced the value; [`NEVER`] if none has.
    linked: u32,
    first_return: i64,
    last_call: Position,
    is_joined: bool,
}

/// An operation that saw the value.
struct Joining<'a> {
    id: u32,
    op: &'a Op,
    /// If it is a cas: the block that it begins.
    block: Option<u32>,
}

#[derive(Default)]
struct Writes {
    /// The next one to be called last.
    ahead: Vec<Write>,
    reachable: Vec<Write>,
    /// Those of unknown outcome that nothing has joined, in order of invocation.
    idle: VecDeque<Write>,
    /// Overwritten, but what is still in reach may have to come before or after it.
    closed: Vec<Write>,
}

impl Writes {
    fn join(&mut self, key: &KeyOps, joining: &Joining<'_>, blocks: &Blocks) -> Option<Source> {
        let op = joining.op;
        while let Some(write) = self.ahead.pop_if(|write| write.call < op.ret) {
            if write.is_idle() {
                self.idle.push_back(write);
            } else {
                self.reachable.push(write);
            }
        }
        self.close(op.call, blocks);
        let is_possible = |write: &Write| {
            let with = write.with(joining, blocks);
            // What comes after a cas must not have returned before what comes before it was called.
            let is_late = with.linked != NEVER && {
                let last_call = if joining.block.is_some() { write.last_call } else { op.call };
                blocks
                    .bounds
                    .get(index(with.linked))
                    .is_some_and(|&(first_return, _)| first_return < i64::from(last_call))
            };
            let own = source_op(write.source).is_some_and(|id| id == joining.id);
            let is_consumed = joining.block.is_some() && write.linked != NEVER;
            let others = || self.reachable.iter().chain(&self.closed);
            !own && !is_consumed
                && !is_late
                && write.call < op.ret
                && !blocks.separate(&with)
                && !others().any(|other| other.source != write.source && other.crosses(&with))
        };
        let rank = |write: &Write| {
            if write.first_return < i64::from(op.call) {
                return (0, -write.first_return);
            }
            (if write.is_joined { 1 } else { 2 }, write.first_return)
        };
        let places = 0..self.reachable.len().min(CANDIDATES_MAX);
        let possible = places.filter(|&place| is_possible(&self.reachable[place]));
        let best = possible.min_by_key(|&place| rank(&self.reachable[place]));
        let best = if let Some(best) = best {
            &mut self.reachable[best]
        } else {
            let first = self.idle.front().filter(|write| is_possible(write)).copied()?;
            self.idle.pop_front();
            self.reachable.push_mut(first)
        };
        *best = best.with(joining, blocks);
        debug_assert!(index(best.source) <= key.ops.len());
        Some(best.source)
    }

    /// What was overwritten before this call is so for all that follow.
    fn close(&mut self, call: Position, blocks: &Blocks) {
        let is_out = |write: &mut Write| {
            blocks.separate(&Write { last_call: write.last_call.max(call), ..*write })
        };
        self.closed.extend(self.reachable.extract_if(.., is_out));
        let first = self.reachable.iter().map(|write| write.first_return).min();
        self.closed.retain(|write| first.is_some_and(|first| first < write.last_call.into()));
    }
}

impl Write {
    /// Whether it may come at any time, or never.
    fn is_idle(&self) -> bool {
        !self.is_joined && self.block == NEVER && self.first_return == i64::from(NEVER)
    }

    /// With an operation that joins it, and what comes right after if that is a cas.
    fn with(&self, joining: &Joining<'_>, blocks: &Blocks) -> Write {
        let mut write = Write {
            first_return: self.first_return.min(i64::from(joining.op.ret)),
            last_call: self.last_call.max(joining.op.call),
            is_joined: true,
            ..*self
        };
        if let Some(block) = joining.block
            && let Some(&(first_return, last_call)) = blocks.bounds.get(index(block))
        {
            write.linked = block;
            write.first_return = write.first_return.min(first_return);
            write.last_call = write.last_call.max(last_call);
        }
        write
    }

    /// Whether two have to come before each other.
    fn crosses(&self, other: &Write) -> bool {
        self.first_return < i64::from(other.last_call)
            && other.first_return < i64::from(self.last_call)
    }
}

/// Blocks as they are without any guess.
struct Blocks {
    /// By source.
    of: Vec<u32>,
    /// By block: earliest return and latest call.
    bounds: Vec<(i64, Position)>,
    /// Earliest returns, ascending, each with the three among its block and those before it that reach furthest.
    furthest: Vec<(i64, [(Position, u32); 3])>,
}

impl Blocks {
    fn of(key: &KeyOps, clusters: &Clusters) -> Blocks {
        let blocks = clusters.blocks(key);
        let mut of = vec![NEVER; key.ops.len() + 1];
        for (block, &(head, _)) in (0..).zip(&blocks) {
            for source in clusters.chain(head) {
                of[index(source)] = block;
            }
        }
        let bounds = |(head, zone): (Source, Zone)| {
            (if head == 0 { -1 } else { i64::from(zone.first_return) }, zone.last_call)
        };
        let bounds: Vec<(i64, Position)> = blocks.into_iter().map(bounds).collect();
        let mut sorted: Vec<(i64, u32)> = bounds
            .iter()
            .map(|&(first_return, _)| first_return)
            .zip(0..number(bounds.len()))
            .collect();
        sorted.sort_unstable();
        let mut furthest = [(0, NEVER); 3];
        let furthest = sorted.into_iter().map(|(first_return, block)| {
            let entry = (bounds[index(block)].1, block);
            if let Some(place) =
                furthest.iter().position(|&known| entry > known || known.1 == NEVER)
            {
                furthest[place..].rotate_right(1);
                furthest[place] = entry;
            }
            (first_return, furthest)
        });
        let furthest = furthest.collect();
        Blocks { of, bounds, furthest }
    }

    /// Whether another block has to come both after and before one with these bounds.
    fn separate(&self, write: &Write) -> bool {
        let last_call = i64::from(write.last_call);
        let before = self.furthest.partition_point(|&(first_return, _)| first_return < last_call);
        let Some(last) = before.checked_sub(1) else { return false };
        let is_other = |block: u32| block != write.block && block != write.linked && block != NEVER;
        let other = self.furthest[last].1.iter().find(|&&(_, block)| is_other(block));
        other.is_some_and(|&(latest, _)| i64::from(latest) > write.first_return)
    }
}
