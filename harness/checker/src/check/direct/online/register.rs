//! Registers: clusters as in [`crate::check::direct::register`], each with its earliest return and latest call so far.
//!
//! A cas that succeeded belongs to the clusters of both its values here. What follows from clusters having to stand
//! together because of it is not looked for.

use std::collections::{BTreeSet, HashMap};

use super::reach::Reach;
use super::{Watch, contradiction};
use crate::check::decision::{Anomaly, Contradiction};
use crate::check::direct::register::{Role, role};
use crate::history::Outcome;
use crate::ops::{Action, KeyOps, NEVER, Op, Position, Word, index};

pub(super) struct Register {
    values: HashMap<Word, Value>,
    clusters: Vec<Cluster>,
    reach: Reach,
    /// Calls of operations that are open.
    open: BTreeSet<Position>,
}

/// Who wrote a value.
enum Value {
    /// Nobody, but this one tried and failed.
    Failed(u32),
    /// One operation, or the initial value.
    One(Source),
    /// One of these, and it cannot be told which one.
    Few(Vec<Source>),
    /// As [`Value::Few`], and they are not kept: how many may yet have an effect, and which of the others returned last.
    Many(u32, Returned),
}

/// The return of a write, and which one that is; the initial value is none.
type Returned = (i64, Option<u32>);

const OPEN: i64 = i64::MAX;

/// How many writes of one value are kept, in case that all but one fail.
const FEW: usize = 4;

impl Value {
    /// A write of it is acknowledged.
    fn returned(&mut self, id: u32, ret: i64) {
        match self {
            Value::One(source) if source.op == Some(id) => source.ret = ret,
            Value::Few(sources) => {
                let own = sources.iter_mut().filter(|source| source.op == Some(id));
                own.for_each(|source| source.ret = ret);
            }
            Value::Many(open, last) => {
                *open -= 1;
                *last = (*last).max((ret, Some(id)));
            }
            Value::Failed(_) | Value::One(_) => {}
        }
    }

    /// The last return, if all of several writes have returned.
    fn all_returned(&self) -> Option<Returned> {
        match self {
            Value::Few(sources) => sources.iter().map(|source| (source.ret, source.op)).max(),
            Value::Many(0, last) => Some(*last),
            Value::Many(..) | Value::Failed(_) | Value::One(_) => None,
        }
    }
}

#[derive(Clone, Copy)]
struct Source {
    /// None is the initial value.
    op: Option<u32>,
    call: i64,
    /// [`OPEN`] as long as it is not acknowledged.
    ret: i64,
    /// Once anything of it returned.
    cluster: Option<u32>,
}

/// A value that was there.
#[derive(Clone, Copy)]
struct Cluster {
    source: Option<u32>,
    place: usize,
    first_return: i64,
    /// Who returned first.
    first: Option<u32>,
    last_call: i64,
    /// Who was called last.
    last: Option<u32>,
    /// The cas that replaced it.
    consumer: Option<u32>,
}

impl Cluster {
    /// Of a single write.
    fn of(id: u32, call: i64, ret: i64) -> Cluster {
        Cluster {
            source: Some(id),
            place: 0,
            first_return: ret,
            first: Some(id),
            last_call: call,
            last: Some(id),
            consumer: None,
        }
    }
}

impl Register {
    pub(super) fn of(key: &KeyOps) -> Register {
        let mut register = Register {
            values: HashMap::new(),
            clusters: Vec::new(),
            reach: Reach::default(),
            open: BTreeSet::new(),
        };
        // Its place among those that happened is before all others.
        register.begin(Cluster { source: None, first: None, last: None, ..Cluster::of(0, -1, -1) });
        let initial = Source { op: None, call: -1, ret: -1, cluster: Some(0) };
        register.values.insert(key.initial_word(), Value::One(initial));
        register
    }

    /// An operation saw a value, or its own write was acknowledged.
    fn see(&mut self, id: u32, op: &Op, word: Word) -> Result<u32, Option<Contradiction>> {
        let source = match self.values.get_mut(&word) {
            None => return Err(Some(contradiction(Anomaly::PhantomRead, [id]))),
            Some(Value::Failed(write)) => {
                return Err(Some(contradiction(Anomaly::AbortedRead, [id, *write])));
            }
            Some(value @ (Value::Few(_) | Value::Many(..))) => {
                let last = value.all_returned();
                return Err(last.and_then(|last| self.overwritten(id, op, last)));
            }
            Some(Value::One(source)) => source,
        };
        let (call, ret) = (i64::from(op.call), i64::from(op.ret));
        let Some(number) = source.cluster else {
            let last_call = call.max(source.call);
            let last = if call > source.call { Some(id) } else { source.op };
            let number = super::super::number(self.clusters.len());
            source.cluster = Some(number);
            let source = source.op;
            self.begin(Cluster { source, last_call, last, ..Cluster::of(id, call, ret) });
            return Ok(number);
        };
        let cluster = &self.clusters[index(number)];
        if let Some(other) = self.reach.other(cluster.place, number, call, cluster.first_return) {
            return Err(Some(self.stale(id, op, number, other)));
        }
        let cluster = &mut self.clusters[index(number)];
        if call > cluster.last_call {
            cluster.last_call = call;
            cluster.last = Some(id);
            self.reach.extend(cluster.place, number, call);
        }
        Ok(number)
    }

    fn begin(&mut self, cluster: Cluster) -> u32 {
        let number = super::super::number(self.clusters.len());
        let place = self.reach.push(cluster.first_return, number, cluster.last_call);
        self.clusters.push(Cluster { place, ..cluster });
        number
    }

    /// A write was acknowledged.
    fn written(&mut self, id: u32, op: &Op, word: Word) -> Option<Contradiction> {
        if let Some(value) = self.values.get_mut(&word) {
            value.returned(id, i64::from(op.ret));
        }
        if let Some(Value::Few(_) | Value::Many(..)) = self.values.get(&word) {
            // Who sees the value may have seen another write of it, but this one is there at some time.
            let cluster = Cluster::of(id, i64::from(op.call), i64::from(op.ret));
            let number = self.begin(cluster);
            if let Some(Value::Few(sources)) = self.values.get_mut(&word) {
                let own = sources.iter_mut().filter(|source| source.op == Some(id));
                own.for_each(|source| source.cluster = source.cluster.or(Some(number)));
            }
            return None;
        }
        self.see(id, op, word).err().flatten()
    }

    /// All writes of what an operation saw had returned, and another value came after them, and before it was called.
    fn overwritten(&self, id: u32, op: &Op, (ret, last): Returned) -> Option<Contradiction> {
        let other = self.reach.other(usize::MAX, NEVER, i64::from(op.call), ret)?;
        let other = &self.clusters[index(other)];
        let ops = [Some(id), last, other.source, other.first, other.last];
        Some(contradiction(Anomaly::StaleRead, ops.into_iter().flatten()))
    }

    /// The other value had been there before the operation was called, and came after its own had been there.
    fn stale(&self, id: u32, op: &Op, own: u32, other: u32) -> Contradiction {
        let (own, other) = (&self.clusters[index(own)], &self.clusters[index(other)]);
        let anomaly =
            if op.action == Action::Read { Anomaly::StaleRead } else { Anomaly::ImpossibleCas };
        let ops = [own.source, own.first, other.source, other.first, other.last, Some(id)];
        contradiction(anomaly, ops.into_iter().flatten())
    }

    fn returned(&mut self, id: u32, op: &Op) -> Option<Contradiction> {
        match role(op) {
            Role::Observer(word) => self.see(id, op, word).err().flatten(),
            Role::Writer(word) => self.written(id, op, word),
            Role::Swap { expect, new } => {
                let expected = match self.see(id, op, expect) {
                    Ok(number) => self.consume(id, number),
                    Err(found) => found
                        .map(|found| Contradiction { anomaly: Anomaly::ImpossibleCas, ..found }),
                };
                let written = self.written(id, op, new);
                expected.or(written)
            }
            Role::Free | Role::Nothing | Role::Foreign => None,
        }
    }

    fn consume(&mut self, id: u32, number: u32) -> Option<Contradiction> {
        let cluster = &mut self.clusters[index(number)];
        let rival = *cluster.consumer.get_or_insert(id);
        (rival != id).then(|| {
            contradiction(Anomaly::ImpossibleCas, cluster.source.into_iter().chain([rival, id]))
        })
    }

    /// A write has no effect and never will.
    fn failed(&mut self, id: u32, word: Word) -> Option<Contradiction> {
        let value = self.values.get_mut(&word)?;
        let cluster = match value {
            Value::One(Source { op: Some(write), cluster, .. }) if *write == id => {
                let cluster = *cluster;
                *value = Value::Failed(id);
                cluster
            }
            Value::Few(sources) => {
                let own = sources.iter().find(|source| source.op == Some(id));
                // Who saw it returned before the others were called.
                let cluster = own.and_then(|source| source.cluster);
                sources.retain(|source| source.op != Some(id));
                if let [only] = sources.as_slice() {
                    *value = Value::One(*only);
                }
                cluster
            }
            Value::Many(open, _) => {
                *open -= 1;
                return None;
            }
            Value::Failed(_) | Value::One(_) => return None,
        };
        let seen = cluster.map(|cluster| self.clusters[index(cluster)]);
        seen.map(|seen| contradiction(Anomaly::AbortedRead, [id].into_iter().chain(seen.first)))
    }
}

/// The value that an operation writes if it happens.
fn written(op: &Op) -> Option<Word> {
    if let Action::Cas { expect, new } = op.action {
        return (expect != new).then_some(new);
    }
    if let Action::Write(word) = op.action { Some(word) } else { None }
}

impl Watch for Register {
    fn call(&mut self, id: u32, op: &Op) {
        self.open.insert(op.call);
        if let Some(word) = written(op) {
            let call = i64::from(op.call);
            let source = Source { op: Some(id), call, ret: OPEN, cluster: None };
            let value = self.values.entry(word).or_insert(Value::Failed(id));
            match value {
                Value::Failed(_) => *value = Value::One(source),
                Value::One(first) => *value = Value::Few(vec![*first, source]),
                Value::Few(sources) if sources.len() < FEW => sources.push(source),
                Value::Few(sources) => {
                    let is_open = |source: &&Source| source.ret == OPEN;
                    let open = super::super::number(sources.iter().filter(is_open).count());
                    let done = sources.iter().filter(|source| source.ret != OPEN);
                    let last = done.map(|source| (source.ret, source.op)).max();
                    *value = Value::Many(open + 1, last.unwrap_or((-1, None)));
                }
                Value::Many(open, _) => *open += 1,
            }
        }
    }

    fn complete(&mut self, id: u32, op: &Op, _: &[Word]) -> Option<Contradiction> {
        self.open.remove(&op.call);
        let seen = if op.outcome == Outcome::Open { None } else { self.returned(id, op) };
        let failed = match (op.outcome, written(op)) {
            (Outcome::Fail, Some(word)) => self.failed(id, word),
            _ => None,
        };
        let oldest = self.open.first().copied().unwrap_or(op.ret);
        self.reach.forget_before(i64::from(oldest));
        seen.or(failed)
    }
}
