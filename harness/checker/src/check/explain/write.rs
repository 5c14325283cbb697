//! A core as a history of its own, to be checked again.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::facts::Facts;
use super::reduce::Core;
use crate::history::{Event, Header, Kind, Process, Writer};
use crate::model::Model;
use crate::ops::{Action, KeyOps, List, NEVER, NOTHING, Op, Position, Seen, UNREAD, Word};

/// Writes a core as `history.jsonl`: again not linearizable, by itself.
///
/// What the core starts from is in the header. An operation of which only that it began matters has no completion, and
/// if its client went on, the client goes on under a new number. Failed operations that tell where a value comes from
/// are included.
pub fn write_core(core: &Core, facts: &dyn Facts) -> String {
    let key = &core.key;
    let failed = core.context.ops.iter().filter(|op| !op.may_count());
    let mut ops: Vec<&Op> = key.ops.iter().chain(failed).collect();
    ops.sort_by_key(|op| op.call);
    let mut moments: Vec<(Position, usize, bool)> = Vec::new();
    for (number, op) in ops.iter().enumerate() {
        moments.push((op.call, number, true));
        if is_told(op) {
            moments.push((op.ret, number, false));
        }
    }
    moments.sort_unstable();
    let header = Header {
        workload: "core".to_owned(),
        model: key.model.name().to_owned(),
        initial: initial(key),
        expected: Some("invalid".to_owned()),
        ..Header::default()
    };
    let mut lines = Vec::new();
    let Ok(mut writer) = Writer::new(&mut lines, &header) else { return String::new() };
    let mut clients = Clients::default();
    let mut now = 0;
    for (_, number, is_call) in moments {
        let op = ops[number];
        let at = if is_call { facts.invoked_ns(op.number) } else { facts.completed_ns(op.number) };
        now = at.unwrap_or(now + 1_000_000).max(now);
        let client =
            if is_call { clients.begin(op, facts.client(op.number)) } else { clients.end(op) };
        let mut event = Event::new(
            now,
            Process::Client(client),
            Kind::Invoke,
            (key.model.spec().function)(&op.action),
        );
        event.key = key.name.as_deref().map(str::to_owned);
        event.node = facts.node(op.number);
        if is_call {
            event.value = asked(key, op);
        } else {
            complete(&mut event, key, op, facts);
        }
        if writer.write(event).is_err() {
            return String::new();
        }
    }
    drop(writer);
    String::from_utf8(lines).unwrap_or_default()
}

/// Its completion is part of the contradiction. One that took something unknown cannot be written as such.
fn is_told(op: &Op) -> bool {
    op.ret != NEVER
        && (op.action, op.seen, op.may_count()) != (Action::Dequeue, Seen::Unknown, true)
}

fn complete(event: &mut Event, key: &KeyOps, op: &Op, facts: &dyn Facts) {
    event.role = facts.role(op.number).map(str::to_owned);
    event.term = facts.term(op.number);
    event.log_index = (op.log_index > 0).then_some(op.log_index);
    if op.may_count() {
        event.kind = Kind::Ok;
        event.value = answered(key, op);
        return;
    }
    event.kind = Kind::Fail;
    event.error = facts.error(op.number).map(str::to_owned);
    if let Seen::Word(actual) = op.seen {
        event.error = Some("mismatch".to_owned());
        event.value = json!({"actual": value(key, actual)});
    }
}

fn asked(key: &KeyOps, op: &Op) -> Value {
    match op.action {
        Action::Write(NOTHING)
        | Action::Read
        | Action::Dequeue
        | Action::Acquire
        | Action::Release => Value::Null,
        Action::Write(word)
        | Action::Append(word)
        | Action::Add(word)
        | Action::Remove(word)
        | Action::Enqueue(word) => value(key, word),
        Action::Cas { expect, new } => json!([value(key, expect), value(key, new)]),
        Action::Incr(by) => json!(by),
        Action::Txn(list) => steps(key, list),
    }
}

fn answered(key: &KeyOps, op: &Op) -> Value {
    match (op.action, op.seen) {
        (Action::Txn(_), Seen::List(list)) => steps(key, list),
        (_, Seen::List(list)) => values(key, list),
        (Action::Read | Action::Dequeue, Seen::Word(word)) => value(key, word),
        (_, Seen::Number(number)) => json!(number),
        (Action::Incr(_), _) => Value::Null,
        _ => asked(key, op),
    }
}

fn value(key: &KeyOps, word: Word) -> Value {
    let text = key.words.text(word);
    if word == NOTHING {
        Value::Null
    } else if key.words.is_text(word) {
        Value::from(text)
    } else {
        serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
    }
}

fn values(key: &KeyOps, list: List) -> Value {
    key.list(list).iter().map(|&word| value(key, word)).collect()
}

fn steps(key: &KeyOps, list: List) -> Value {
    key.micros(list)
        .map(|micro| {
            let read = if micro.value == UNREAD { Value::Null } else { value(key, micro.value) };
            let kind = if micro.writes { "w" } else { "r" };
            json!([kind, value(key, micro.register), read])
        })
        .collect()
}

/// What the object is at first; none if it is what such objects are when they are new.
fn initial(key: &KeyOps) -> Option<Value> {
    match key.initial {
        Seen::Unknown | Seen::Word(NOTHING) | Seen::Number(0) => None,
        Seen::Word(word) => Some(value(key, word)),
        Seen::Number(_) if key.model == Model::Mutex => Some(json!("locked")),
        Seen::Number(number) => Some(json!(number)),
        Seen::List(list) if key.model == Model::MultiRegister => {
            let registers: BTreeMap<String, Value> = key
                .micros(list)
                .map(|micro| (key.words.text(micro.register).to_owned(), value(key, micro.value)))
                .collect();
            (!registers.is_empty()).then(|| json!(registers))
        }
        Seen::List(list) => (list.len > 0).then(|| values(key, list)),
    }
}

/// Clients have one operation at a time.
#[derive(Default)]
struct Clients {
    /// By the call of the operation that is open.
    open: BTreeMap<Position, u64>,
    busy: BTreeSet<u64>,
    fresh: u64,
}

/// Numbers from here on are given to those who go on after an operation that has no completion here.
const FRESH: u64 = 1_000_000;

impl Clients {
    fn begin(&mut self, op: &Op, client: u64) -> u64 {
        let mut client = client;
        while !self.busy.insert(client) {
            client = FRESH + self.fresh;
            self.fresh += 1;
        }
        self.open.insert(op.call, client);
        client
    }

    fn end(&mut self, op: &Op) -> u64 {
        let client = self.open.remove(&op.call).unwrap_or(FRESH);
        self.busy.remove(&client);
        client
    }
}
