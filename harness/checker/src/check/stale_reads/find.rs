//! Finds reads that are certainly stale, in O(n log n) for each key.
//!
//! A write is *effective* at the latest when it is acknowledged, or when an operation that saw its value completes. A
//! write of unknown outcome that nobody saw is never known to be effective, so it proves nothing.
//!
//! - Registers: a read is stale if it returned a value that was effective before another write was invoked, and that
//!   other write was effective before the read was invoked. If several writes wrote the value, this must hold for
//!   each.
//! - Lists: if a token was effective before the read was invoked, and the list lacks it.
//! - Counters that never fall: if the sum of what was effective before the read was invoked, or any number seen by
//!   then, is larger than what it returned.

use hashbrown::HashMap;

use crate::model::Model;
use crate::ops::{Action, KeyOps, List, NEVER, Op, Position, Seen, Word, index};

/// What is known about one key's reads.
#[derive(Debug, Default)]
pub(in crate::check) struct Found {
    /// Reads that this test can judge.
    pub(in crate::check) judged: usize,
    pub(in crate::check) stale: Vec<Stale>,
}

/// A read that is certainly stale. Operations are numbers in the key.
#[derive(Clone, Debug)]
pub(in crate::check) struct Stale {
    pub(in crate::check) read: usize,
    /// The write whose value it returned, if there is exactly one.
    pub(in crate::check) old: Option<Effective>,
    /// The oldest write that it missed.
    pub(in crate::check) missed: Effective,
    pub(in crate::check) class: Class,
}

/// That, and since when, a write is known to be effective.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::check) struct Effective {
    pub(in crate::check) write: usize,
    /// The operation whose completion proves it: the write itself, or one that saw its value.
    pub(in crate::check) proof: usize,
    /// Position of that completion; [`NEVER`] if there is none.
    pub(in crate::check) since: Position,
}

/// The strongest guarantee that a stale read breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::check) enum Class {
    ReadYourWrites,
    MonotonicReads,
    RealTime,
}

impl Class {
    pub(super) fn name(self) -> &'static str {
        match self {
            Class::ReadYourWrites => "read-your-writes",
            Class::MonotonicReads => "monotonic-reads",
            Class::RealTime => "real-time",
        }
    }

    fn of(own_write: bool, own_read: bool) -> Class {
        match (own_write, own_read) {
            (true, _) => Class::ReadYourWrites,
            (false, true) => Class::MonotonicReads,
            (false, false) => Class::RealTime,
        }
    }
}

/// Looks through one key.
pub(in crate::check) fn find(key: &KeyOps) -> Found {
    match key.model {
        Model::Register | Model::CasRegister => register(key),
        Model::Append => list(key),
        Model::Counter => counter(key),
        Model::MultiRegister
        | Model::Kv
        | Model::Set
        | Model::FifoQueue
        | Model::UnorderedQueue
        | Model::Mutex => Found::default(),
    }
}

/// What is known of a key that has an order: no read of it is stale.
pub(in crate::check) fn none_of(key: &KeyOps) -> Found {
    let judged = key.ops.iter().filter(|op| op.is_ok_read()).count();
    Found { judged, stale: Vec::new() }
}

/// How many acknowledged writes a stale read missed.
pub(super) fn versions_missed(key: &KeyOps, stale: &Stale) -> usize {
    let read = &key.ops[stale.read];
    let acknowledged = key.ops.iter().filter(|op| op.is_ok() && op.ret < read.call);
    match (key.model, read.seen) {
        (Model::Register | Model::CasRegister, _) => {
            let old = stale.old.map_or(0, |old| old.since);
            acknowledged.filter(|op| op.writes().is_some() && op.call >= old).count()
        }
        (Model::Append, Seen::List(list)) => acknowledged
            .filter(|op| op.appends().is_some_and(|token| !key.list(list).contains(&token)))
            .count(),
        _ => acknowledged
            .filter(|op| matches!(op.action, Action::Incr(_)) && op.ret >= stale.missed.since)
            .count(),
    }
}

/// The writes of a register, and since when each is effective.
struct Writes {
    /// In order of invocation.
    effective: Vec<Effective>,
    values: Vec<Value>,
}

/// What is known of a register's value.
#[derive(Clone, Copy)]
struct Value {
    /// How many may have written it; the start counts for the initial value.
    writers: u32,
    /// The place of its last write among the effective ones.
    write: u32,
    /// From this position on, all its writes are effective; [`NEVER`] if that is not known.
    settled: Position,
}

impl Writes {
    fn of(key: &KeyOps) -> Writes {
        let mut writes = Writes {
            effective: Vec::new(),
            values: vec![Value { writers: 0, write: 0, settled: 0 }; key.words.len()],
        };
        writes.values[index(key.initial_word())].writers = 1;
        for (id, op) in key.ops.iter().enumerate() {
            if let Some(word) = op.writes() {
                let value = &mut writes.values[index(word)];
                value.writers += 1;
                value.write = u32::try_from(writes.effective.len()).unwrap_or(u32::MAX);
                writes.effective.push(Effective { write: id, proof: id, since: op.ret });
            }
        }
        for (id, op) in key.ops.iter().enumerate() {
            // Only a value with one writer tells whose it is.
            if let Some(write) = op.seen_word().and_then(|word| writes.only(key, word))
                && op.ret < writes.effective[write].since
            {
                let known = &mut writes.effective[write];
                *known = Effective { proof: id, since: op.ret, ..*known };
            }
        }
        for known in &writes.effective {
            if let Some(word) = key.ops[known.write].writes() {
                let settled = &mut writes.values[index(word)].settled;
                *settled = known.since.max(*settled);
            }
        }
        writes
    }

    /// The place of a value's only write.
    fn only(&self, key: &KeyOps, word: Word) -> Option<usize> {
        let value = self.values[index(word)];
        (value.writers == 1 && word != key.initial_word()).then(|| index(value.write))
    }
}

fn register(key: &KeyOps) -> Found {
    let writes = Writes::of(key);
    // In order of invocation: for each write, the first of it and all later ones to be effective.
    let mut first_effective = writes.effective.clone();
    for place in (1..first_effective.len()).rev() {
        let later = first_effective[place];
        if later.since < first_effective[place - 1].since {
            first_effective[place - 1] = later;
        }
    }
    let called = |known: &Effective| key.ops[known.write].call;

    let mut own: HashMap<u32, Own> = HashMap::new();
    let mut found = Found::default();
    for (id, op) in key.ops.iter().enumerate() {
        let own = own.entry(op.process).or_default();
        if op.is_ok_read()
            && let Seen::Word(word) = op.seen
            && writes.values[index(word)].writers > 0
        {
            found.judged += 1;
            // Writes invoked after all writes of this value were effective: if any of them was effective when the
            // read began, that value was gone.
            let settled = writes.values[index(word)].settled;
            let after = writes.effective.partition_point(|known| called(known) < settled);
            if let Some(missed) = first_effective.get(after).copied().filter(|_| settled != NEVER)
                && missed.since < op.call
            {
                let class = Class::of(own.wrote > settled, own.saw > settled);
                let old = writes.only(key, word).map(|write| writes.effective[write]);
                found.stale.push(Stale { read: id, old, missed, class });
            }
        }
        if op.is_ok() && op.writes().is_some() {
            own.wrote = own.wrote.max(op.call + 1);
        }
        if let Some(write) = op.seen_word().and_then(|word| writes.only(key, word)) {
            own.saw = own.saw.max(called(&writes.effective[write]) + 1);
        }
    }
    found
}

/// What a client itself knows of a register: invocations of the newest write that it made, and that it saw, plus 1.
#[derive(Default)]
struct Own {
    wrote: Position,
    saw: Position,
}

fn list(key: &KeyOps) -> Found {
    let effective = tokens_effective(key);
    let mut order: Vec<(usize, Effective)> = (effective.iter().enumerate())
        .filter_map(|(token, known)| Some((token, (*known)?)))
        .filter(|(_, known)| known.since != NEVER)
        .collect();
    order.sort_unstable_by_key(|(_, known)| known.since);

    let mut in_list = vec![usize::MAX; key.words.len()]; // by token: the last read that has it
    let mut own_tokens: HashMap<u32, Vec<Word>> = HashMap::new();
    let mut own_read: HashMap<u32, List> = HashMap::new();
    let mut found = Found::default();
    for (id, op) in key.ops.iter().enumerate() {
        match (op.action, op.seen) {
            (Action::Read, Seen::List(list)) => {
                found.judged += 1;
                for &token in key.list(list) {
                    in_list[index(token)] = id;
                }
                let lacks = |token: &Word| in_list[index(*token)] != id;
                // The first token by time that the list lacks: all before it are in the list, so this takes no longer
                // than the list is long.
                if let Some((_, missed)) = order.iter().find(|(token, _)| in_list[*token] != id)
                    && missed.since < op.call
                {
                    let class = Class::of(
                        own_tokens.get(&op.process).is_some_and(|own| own.iter().any(lacks)),
                        own_read
                            .get(&op.process)
                            .is_some_and(|own| key.list(*own).iter().any(lacks)),
                    );
                    found.stale.push(Stale { read: id, old: None, missed: *missed, class });
                }
                own_read.insert(op.process, list);
            }
            (Action::Append(token), _) if op.is_ok() => {
                own_tokens.entry(op.process).or_default().push(token);
            }
            _ => {}
        }
    }
    found
}

/// By token: since when it is in the list; none if nobody appended it.
fn tokens_effective(key: &KeyOps) -> Vec<Option<Effective>> {
    let mut effective: Vec<Option<Effective>> = vec![None; key.words.len()];
    for (id, op) in key.ops.iter().enumerate() {
        if let Action::Append(token) = op.action
            && op.may_count()
            && effective[index(token)].is_none_or(|known| op.ret < known.since)
        {
            effective[index(token)] = Some(Effective { write: id, proof: id, since: op.ret });
        }
    }
    for (id, op) in key.ops.iter().enumerate() {
        let Seen::List(list) = op.seen else { continue };
        for &token in key.list(list) {
            if let Some(known) = &mut effective[index(token)]
                && op.ret < known.since
            {
                *known = Effective { write: known.write, proof: id, since: op.ret };
            }
        }
    }
    effective
}

fn counter(key: &KeyOps) -> Found {
    let falls = |op: &Op| matches!(op.action, Action::Incr(by) if by < 0 && op.may_count());
    if key.ops.iter().any(falls) {
        return Found::default();
    }
    let floors = floors(key);
    let mut own: HashMap<u32, (i64, i64)> = HashMap::new();
    let mut found = Found::default();
    for (id, op) in key.ops.iter().enumerate() {
        let (own_sum, own_seen) = own.entry(op.process).or_default();
        match (op.action, op.seen) {
            (Action::Read, Seen::Number(number)) => {
                found.judged += 1;
                let first = floors.partition_point(|&(floor, _)| floor <= number);
                if let Some((_, missed)) = floors.get(first)
                    && missed.since < op.call
                {
                    let class = Class::of(*own_sum > number, *own_seen > number);
                    found.stale.push(Stale { read: id, old: None, missed: *missed, class });
                }
                *own_seen = (*own_seen).max(number);
            }
            (Action::Incr(by), seen) if op.is_ok() => {
                let sum = own_sum.saturating_add(by);
                let seen = if let Seen::Number(number) = seen { number } else { 0 };
                *own_sum = sum.max(seen);
            }
            _ => {}
        }
    }
    found
}

/// What the counter was at least, in order of time, and which completion proves it.
fn floors(key: &KeyOps) -> Vec<(i64, Effective)> {
    let mut returned: Vec<(usize, &Op)> =
        key.ops.iter().enumerate().filter(|(_, op)| op.is_ok()).collect();
    returned.sort_unstable_by_key(|(_, op)| op.ret);
    let mut floors: Vec<(i64, Effective)> = Vec::new();
    let mut sum: i64 = 0;
    for (id, op) in returned {
        if let Action::Incr(by) = op.action {
            sum = sum.saturating_add(by);
        }
        let seen = if let Seen::Number(number) = op.seen { number } else { 0 };
        let floor = sum.max(seen);
        if floor > floors.last().map_or(0, |&(floor, _)| floor) {
            floors.push((floor, Effective { write: id, proof: id, since: op.ret }));
        }
    }
    floors
}
