//! Which operations belong together, because they wrote or saw the same value.

use std::collections::BTreeMap;

use super::source_call;
use crate::check::direct::{number, verify};
use crate::history::Outcome;
use crate::ops::{Action, KeyOps, NEVER, Op, Position, Seen, Word, index};

/// What an operation means to a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::check::direct) enum Role {
    /// It saw the value, and left it.
    Observer(Word),
    /// It wrote the value, or may have.
    Writer(Word),
    /// It replaced one value by another, or may have.
    Swap { expect: Word, new: Word },
    /// It happened and says nothing.
    Free,
    /// It may as well be missing.
    Nothing,
    /// No operation of a register whose values are words.
    Foreign,
}

/// What an operation means to a register.
pub(in crate::check::direct) fn role(op: &Op) -> Role {
    match (op.action, op.seen) {
        (Action::Cas { .. }, Seen::Word(word)) if verify::says_what_it_found(op) => {
            Role::Observer(word)
        }
        _ if op.outcome == Outcome::Fail => Role::Nothing,
        (Action::Read, _) if !op.is_ok() => Role::Nothing,
        (Action::Read, Seen::Word(word)) => Role::Observer(word),
        (Action::Read, Seen::Unknown) => Role::Free,
        (Action::Write(word), _) => Role::Writer(word),
        // It leaves what it finds, so it is a read.
        (Action::Cas { expect, new }, _) if expect == new => {
            if op.is_ok() {
                Role::Observer(expect)
            } else {
                Role::Nothing
            }
        }
        (Action::Cas { expect, new }, _) => Role::Swap { expect, new },
        _ => Role::Foreign,
    }
}

/// Where a cluster's value comes from: 0 is the initial value, everything else an operation's index plus 1.
pub(super) type Source = u32;

/// Nobody can have written the value.
pub(super) const NOBODY: Source = u32::MAX;
/// Several may have.
pub(super) const SEVERAL: Source = u32::MAX - 1;

/// A cluster's bounds. It has happened if anybody saw it or its write was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Zone {
    /// `f`: the earliest return of its operations.
    pub(super) first_return: Position,
    /// `s`: their latest call.
    pub(super) last_call: Position,
    /// The cas that replaced the value, as the [`Source`] that it is; 0 if there is none.
    pub(super) consumer: Source,
    /// How many saw the value and left it.
    pub(super) observers: u32,
}

/// An operation that cannot have seen what it saw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Broken {
    pub(super) op: u32,
    /// The word that it saw or expected.
    pub(super) word: Word,
    /// Where the word comes from.
    pub(super) source: Source,
    /// Another cas replaced the value already.
    pub(super) rival: Option<u32>,
}

/// The clusters of a register.
pub(super) struct Clusters {
    /// By word.
    by_word: Vec<Source>,
    /// By operation that saw a value which several may have written: whose it is taken for. Empty if that is left open.
    chosen: Vec<Source>,
    /// By operation that saw a value and left it: the cluster that it belongs to; [`NOBODY`] if that is not known.
    observed: Vec<Source>,
    /// Operations that happened and say nothing.
    pub(super) free: Vec<u32>,
    swaps: bool,
    /// By source.
    pub(super) zones: Vec<Zone>,
    pub(super) happened: Vec<bool>,
    /// For a write of unknown outcome that happened: who saw its value.
    pub(super) seen_by: BTreeMap<Source, u32>,
    pub(super) broken: Vec<Broken>,
    /// An operation saw a value that several may have written.
    pub(super) is_ambiguous: bool,
    /// There are operations that do not belong to a register.
    pub(super) is_foreign: bool,
}

impl Clusters {
    pub(super) fn of(key: &KeyOps) -> Clusters {
        Clusters::with_choice(key, Vec::new())
    }

    /// With a guess for each operation that saw a value which several may have written.
    pub(super) fn with_choice(key: &KeyOps, chosen: Vec<Source>) -> Clusters {
        let none = Zone { first_return: NEVER, last_call: 0, consumer: 0, observers: 0 };
        let mut clusters = Clusters {
            by_word: vec![NOBODY; key.words.len()],
            chosen,
            observed: vec![NOBODY; key.ops.len()],
            free: Vec::new(),
            swaps: false,
            zones: vec![none; key.ops.len() + 1],
            happened: vec![false; key.ops.len() + 1],
            seen_by: BTreeMap::new(),
            broken: Vec::new(),
            is_ambiguous: false,
            is_foreign: false,
        };
        clusters.happened[0] = true;
        clusters.find_sources(key);
        for (op, id) in key.ops.iter().zip(0..) {
            match role(op) {
                Role::Observer(word) => {
                    if let Some(source) = clusters.seen(key, id, word) {
                        clusters.zones[index(source)].observers += 1;
                        clusters.observed[index(id)] = source;
                        clusters.has_happened(key, source, Some(id));
                    }
                }
                Role::Writer(_) | Role::Swap { .. } if op.is_ok() => {
                    clusters.has_happened(key, id + 1, None);
                }
                Role::Free => clusters.free.push(id),
                Role::Writer(_) | Role::Swap { .. } | Role::Nothing | Role::Foreign => {}
            }
        }
        clusters
    }

    fn find_sources(&mut self, key: &KeyOps) {
        if let Some(source) = self.by_word.get_mut(index(key.initial_word())) {
            *source = 0;
        }
        for (op, id) in key.ops.iter().zip(1..) {
            let role = role(op);
            match role {
                Role::Writer(word) | Role::Swap { new: word, .. } => {
                    self.swaps |= matches!(role, Role::Swap { .. });
                    if let Some(source) = self.by_word.get_mut(index(word)) {
                        *source = if *source == NOBODY { id } else { SEVERAL };
                    }
                }
                Role::Foreign => self.is_foreign = true,
                Role::Observer(_) | Role::Free | Role::Nothing => {}
            }
        }
    }

    /// Where a word comes from: one source, [`NOBODY`] or [`SEVERAL`].
    pub(super) fn source(&self, word: Word) -> Source {
        self.by_word.get(index(word)).copied().unwrap_or(NOBODY)
    }

    /// Where the word that an operation saw comes from.
    pub(super) fn source_for(&self, id: u32, word: Word) -> Source {
        let source = self.source(word);
        if source == SEVERAL {
            return self.chosen.get(index(id)).copied().unwrap_or(SEVERAL);
        }
        source
    }

    /// An operation saw the word: where it comes from, if that is known and possible.
    fn seen(&mut self, key: &KeyOps, id: u32, word: Word) -> Option<Source> {
        let source = self.source_for(id, word);
        if source == SEVERAL {
            self.is_ambiguous = true;
            return None;
        }
        let op = &key.ops[index(id)];
        let is_possible =
            source != NOBODY && source_call(key, source).is_none_or(|call| call < op.ret);
        if !is_possible {
            self.broken.push(Broken { op: id, word, source, rival: None });
            return None;
        }
        self.widen(source, op);
        Some(source)
    }

    fn widen(&mut self, source: Source, op: &Op) {
        let zone = &mut self.zones[index(source)];
        zone.first_return = zone.first_return.min(op.ret);
        zone.last_call = zone.last_call.max(op.call);
    }

    /// A write did happen: it was acknowledged, or an operation saw its value. So what it replaced had been there.
    fn has_happened(&mut self, key: &KeyOps, source: Source, seen_by: Option<u32>) {
        let mut next = Some((source, seen_by));
        while let Some((source, seen_by)) = next.take() {
            if std::mem::replace(&mut self.happened[index(source)], true) {
                return;
            }
            let Some(id) = super::source_op(source) else { return };
            let op = &key.ops[index(id)];
            if let (Some(observer), false) = (seen_by, op.is_ok()) {
                self.seen_by.insert(source, observer);
            }
            self.widen(source, op);
            if let Role::Swap { expect, .. } = role(op)
                && let Some(before) = self.seen(key, id, expect)
            {
                self.link(before, source, id, expect);
                next = Some((before, Some(id)));
            }
        }
    }

    fn link(&mut self, before: Source, source: Source, id: u32, word: Word) {
        let zone = &mut self.zones[index(before)];
        if let Some(rival) = super::source_op(zone.consumer) {
            self.broken.push(Broken { op: id, word, source: before, rival: Some(rival) });
        } else {
            zone.consumer = source;
        }
    }

    /// Whether a cluster follows another one immediately.
    fn is_linked(&self, key: &KeyOps, source: Source) -> bool {
        if !self.swaps {
            return false;
        }
        let Some(id) = super::source_op(source) else { return false };
        let Role::Swap { expect, .. } = role(&key.ops[index(id)]) else { return false };
        let before = self.source_for(id, expect);
        before < SEVERAL && self.zones[index(before)].consumer == source
    }

    /// All blocks: their first cluster, with bounds over all of theirs.
    pub(super) fn blocks(&self, key: &KeyOps) -> Vec<(Source, Zone)> {
        let sources = self.happened.iter().zip(0..).filter(|(happened, _)| **happened);
        let heads =
            sources.map(|(_, source)| source).filter(|&source| !self.is_linked(key, source));
        heads
            .map(|head| {
                let mut bounds = self.zones[index(head)];
                for source in self.chain(head).skip(1) {
                    let zone = self.zones[index(source)];
                    bounds.first_return = bounds.first_return.min(zone.first_return);
                    bounds.last_call = bounds.last_call.max(zone.last_call);
                }
                (head, bounds)
            })
            .collect()
    }

    /// A block's clusters.
    pub(super) fn chain(&self, head: Source) -> impl Iterator<Item = Source> + '_ {
        std::iter::successors(Some(head), |&source| {
            let next = self.zones[index(source)].consumer;
            (next != 0).then_some(next)
        })
    }

    /// All that happened in the order of blocks, and where each block begins. It is right if any order is.
    pub(super) fn in_order(&self, key: &KeyOps) -> (Vec<u32>, Vec<(Source, u32)>) {
        let mut sorted: Vec<u64> = self.blocks(key).into_iter().map(sort_key).collect();
        sorted.sort_unstable();
        let heads = sorted.into_iter().map(low_half);
        self.lay_out(heads)
    }

    /// The operations of these blocks in this order.
    fn lay_out(&self, heads: impl Iterator<Item = Source>) -> (Vec<u32>, Vec<(Source, u32)>) {
        let mut order = Vec::with_capacity(self.observed.len());
        let mut starts = Vec::new();
        // Where a cluster's next observer goes: nowhere, if the cluster is in no block.
        let mut places = vec![NEVER; self.zones.len()];
        for head in heads {
            starts.push((head, number(order.len())));
            for source in self.chain(head) {
                order.extend(super::source_op(source));
                places[index(source)] = number(order.len());
                order.resize(order.len() + index(self.zones[index(source)].observers), NEVER);
            }
        }
        for (&source, id) in self.observed.iter().zip(0..) {
            if let Some(next) = places.get_mut(index(source))
                && let Some(place) = order.get_mut(index(*next))
            {
                *place = id;
                *next += 1;
            }
        }
        (order, starts)
    }

    /// The cluster that an operation is in: its own, or that of what it saw.
    pub(super) fn cluster(&self, id: u32) -> Option<Source> {
        match self.observed[index(id)] {
            NOBODY => self.happened[index(id + 1)].then_some(id + 1),
            source => Some(source),
        }
    }
}

/// A block's place in the order. The initial value comes before everything.
fn sort_key((head, bounds): (Source, Zone)) -> u64 {
    let place = if head == 0 { 0 } else { bounds.first_return.min(bounds.last_call) };
    u64::from(place) << 32 | u64::from(head)
}

fn low_half(entry: u64) -> u32 {
    u32::try_from(entry & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}
