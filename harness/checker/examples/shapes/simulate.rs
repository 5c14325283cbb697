//! Clients that work on a store, in simulated time.
//!
//! An operation takes 1 ms in the median, takes effect at some moment meanwhile, and the client goes on at once. One of
//! unknown outcome is given up after 20 ms; half of them take effect before that. The client then goes on as another
//! process.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, Write};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::operation::{Answer, Operation, Request, Value};
use crate::shape::{Shape, Truth, Workload};
use crate::sink::Sink;

/// Half of a median operation.
const HALF_MS: u64 = 500_000;
const GIVE_UP_NS: u64 = 20_000_000;
/// Of one key of an append workload: what Jepsen's list-append workload takes by default.
const APPENDS_MAX: u64 = 32;
const SMALL_VALUES: u8 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Call,
    Effect,
    Done,
}

struct Client {
    process: u64,
    written: u64,
    /// Per slot: the value that it saw or wrote last.
    saw: Option<(usize, Option<Value>)>,
    current: Option<Operation>,
    takes_effect: bool,
    script: VecDeque<Scripted>,
}

/// A step of the violation, which nothing happens to.
#[derive(Clone, Copy)]
struct Scripted {
    key: usize,
    request: Request,
    /// What a read must not show any more, or must show although it is gone.
    wrong: Option<Value>,
}

#[derive(Default)]
struct Key {
    register: Option<Value>,
    list: Vec<Value>,
    appends: u64,
}

/// How far the violation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Violation {
    /// Not this far, or not at all.
    Not,
    /// All clients wait until nothing is under way, so that nothing else explains what is read.
    Quiet {
        client: usize,
    },
    /// A client carries it out.
    Scripted {
        client: usize,
    },
    Over,
}

struct Simulation<'a, W> {
    shape: Shape,
    rng: SmallRng,
    clients: Vec<Client>,
    keys: Vec<Key>,
    /// By slot: which key is in use.
    in_use: Vec<usize>,
    agenda: BinaryHeap<Reverse<(u64, Moment, usize)>>,
    waiting: Vec<usize>,
    called: u64,
    under_way: usize,
    next_process: u64,
    violation: Violation,
    sink: &'a mut Sink<W>,
}

/// Writes a history of that shape. The same shape gives the same history.
pub(crate) fn simulate<W: Write>(shape: Shape, sink: &mut Sink<W>) -> io::Result<()> {
    let client = |process| Client {
        process,
        written: 0,
        saw: None,
        current: None,
        takes_effect: true,
        script: VecDeque::new(),
    };
    let mut next_process = 0;
    let mut clients = Vec::new();
    for _ in 0..shape.clients {
        clients.push(client(next_process));
        next_process += 1;
    }
    let mut simulation = Simulation {
        shape,
        rng: SmallRng::seed_from_u64(shape.seed),
        clients,
        keys: (0..shape.keys).map(|_| Key::default()).collect(),
        in_use: (0..shape.keys).collect(),
        agenda: BinaryHeap::new(),
        waiting: Vec::new(),
        called: 0,
        under_way: 0,
        next_process,
        violation: Violation::Not,
        sink,
    };
    for client in 0..shape.clients {
        simulation.pause(0, client);
    }
    while let Some(Reverse((time, moment, client))) = simulation.agenda.pop() {
        match moment {
            Moment::Call => simulation.call(time, client)?,
            Moment::Effect => simulation.take_effect(client),
            Moment::Done => simulation.done(time, client)?,
        }
    }
    simulation.sink.flush()
}

impl<W: Write> Simulation<'_, W> {
    /// A moment before the next operation.
    fn pause(&mut self, time: u64, client: usize) {
        let pause = self.rng.random_range(1..20_000);
        self.agenda.push(Reverse((time + pause, Moment::Call, client)));
    }

    fn call(&mut self, time: u64, client: usize) -> io::Result<()> {
        if self.called >= self.shape.ops {
            return Ok(());
        }
        if self.shape.truth == Truth::Stale
            && self.violation == Violation::Not
            && self.called >= self.shape.ops / 2
        {
            self.begin_violation(client);
        }
        match self.violation {
            Violation::Quiet { client: who } if who == client && self.under_way == 0 => {
                self.violation = Violation::Scripted { client };
            }
            Violation::Quiet { client: who } if who == client => {
                self.pause(time, client);
                return Ok(());
            }
            Violation::Quiet { .. } => {
                self.waiting.push(client);
                return Ok(());
            }
            // Alone if it began when all was quiet; and if it did not, nobody waits.
            Violation::Scripted { client: who } if who != client && self.must_be_quiet() => {
                self.waiting.push(client);
                return Ok(());
            }
            Violation::Scripted { .. } | Violation::Not | Violation::Over => {}
        }
        self.invoke(time, client)
    }

    /// With few values and no operation of unknown outcome, a stale value is certainly stale if nothing else is under
    /// way. If one may still take effect, no value of the few is ever certainly gone, so the violation has others.
    fn must_be_quiet(&self) -> bool {
        self.shape.workload.is_small() && self.shape.open == 0
    }

    fn begin_violation(&mut self, client: usize) {
        let key = self.in_use[0];
        let (first, second) = match (self.shape.workload.is_small(), self.must_be_quiet()) {
            (true, true) => (Value::Small(0), Value::Small(1)),
            (true, false) => (Value::Small(SMALL_VALUES), Value::Small(SMALL_VALUES + 1)),
            (false, _) => (self.unique(client), self.unique(client)),
        };
        let step = |request| Scripted { key, request, wrong: None };
        let wrong = Scripted { wrong: Some(first), ..step(Request::Read) };
        self.clients[client].script = if self.shape.workload == Workload::Append {
            [step(Request::Append(first)), wrong].into()
        } else {
            [step(Request::Write(first)), step(Request::Write(second)), wrong].into()
        };
        self.violation = if self.must_be_quiet() {
            Violation::Quiet { client }
        } else {
            Violation::Scripted { client }
        };
    }

    fn invoke(&mut self, time: u64, client: usize) -> io::Result<()> {
        let scripted = self.clients[client].script.front().copied();
        let (key, request) = match scripted {
            Some(step) => (step.key, step.request),
            None => self.choose(client),
        };
        let is_open = scripted.is_none() && self.rng.random_range(0..100) < self.shape.open;
        let takes_effect = !is_open || self.rng.random_bool(0.5);
        let took = if is_open { GIVE_UP_NS } else { self.latency() };
        let effect = time + self.rng.random_range(1..took);
        let process = self.clients[client].process;
        let answer = if is_open { Answer::Unknown } else { Answer::Done };
        let op = Operation { process, key, request, answer, call: time };
        self.sink.called(&op)?;
        self.called += 1;
        self.under_way += 1;
        self.clients[client].current = Some(op);
        self.clients[client].takes_effect = takes_effect;
        self.agenda.push(Reverse((effect, Moment::Effect, client)));
        self.agenda.push(Reverse((time + took, Moment::Done, client)));
        Ok(())
    }

    /// Half a millisecond to a whole one for half of them, up to one and a half for half of the others, and so on.
    fn latency(&mut self) -> u64 {
        let halvings = u64::from(self.rng.random::<u64>().trailing_zeros()) + 1;
        halvings * HALF_MS + self.rng.random_range(0..HALF_MS)
    }

    fn choose(&mut self, client: usize) -> (usize, Request) {
        let slot = self.rng.random_range(0..self.in_use.len());
        let key = self.in_use[slot];
        let kinds = if self.shape.workload.is_cas() { 3 } else { 2 };
        let request = match self.rng.random_range(0..kinds) {
            0 => Request::Read,
            1 if self.shape.workload == Workload::Append => {
                return (self.key_for_append(slot), Request::Append(self.unique(client)));
            }
            1 => Request::Write(self.value(client)),
            _ => Request::Cas { expect: self.expectation(client, key), new: self.value(client) },
        };
        (key, request)
    }

    fn key_for_append(&mut self, slot: usize) -> usize {
        if self.keys[self.in_use[slot]].appends == APPENDS_MAX {
            self.in_use[slot] = self.keys.len();
            self.keys.push(Key::default());
        }
        self.keys[self.in_use[slot]].appends += 1;
        self.in_use[slot]
    }

    /// What the client saw there last; of small values, any.
    fn expectation(&mut self, client: usize, key: usize) -> Option<Value> {
        if self.shape.workload.is_small() {
            return Some(Value::Small(self.rng.random_range(0..SMALL_VALUES)));
        }
        match self.clients[client].saw {
            Some((seen_key, value)) if seen_key == key => value,
            // It asks somebody else.
            _ => self.keys[key].register,
        }
    }

    fn value(&mut self, client: usize) -> Value {
        if self.shape.workload.is_small() {
            return Value::Small(self.rng.random_range(0..SMALL_VALUES));
        }
        self.unique(client)
    }

    fn unique(&mut self, client: usize) -> Value {
        let Client { process, written, .. } = &mut self.clients[client];
        *written += 1;
        Value::Unique { process: *process, number: *written }
    }

    fn take_effect(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let Some(op) = &mut client.current else { return };
        if !client.takes_effect {
            return;
        }
        let key = &mut self.keys[op.key];
        let answer = match op.request {
            Request::Read if self.shape.workload == Workload::Append => {
                Answer::List(key.list.clone())
            }
            Request::Read => Answer::Value(key.register),
            Request::Write(value) => {
                key.register = Some(value);
                Answer::Done
            }
            Request::Cas { expect, new } if expect == key.register => {
                key.register = Some(new);
                Answer::Done
            }
            Request::Cas { .. } if self.shape.workload.is_small() => Answer::Mismatch,
            Request::Cas { .. } => Answer::Found(key.register),
            Request::Append(value) => {
                key.list.push(value);
                Answer::Done
            }
        };
        if !matches!(op.answer, Answer::Unknown) {
            op.answer = answer;
        }
    }

    fn done(&mut self, time: u64, number: usize) -> io::Result<()> {
        let client = &mut self.clients[number];
        let Some(mut op) = client.current.take() else { return Ok(()) };
        if let Some(step) = client.script.pop_front()
            && let Some(wrong) = step.wrong
        {
            op.answer = misread(&op.answer, wrong);
        }
        let is_over =
            self.violation == Violation::Scripted { client: number } && client.script.is_empty();
        client.saw = match (&op.answer, op.request) {
            (Answer::Value(value) | Answer::Found(value), _) => Some((op.key, *value)),
            (Answer::Done, Request::Write(value) | Request::Cas { new: value, .. }) => {
                Some((op.key, Some(value)))
            }
            _ => client.saw,
        };
        if let Answer::Unknown = op.answer {
            client.process = self.next_process;
            client.written = 0;
            self.next_process += 1;
        }
        self.sink.done(&op, time)?;
        self.under_way -= 1;
        self.pause(time, number);
        if is_over {
            self.violation = Violation::Over;
            for waiting in std::mem::take(&mut self.waiting) {
                self.pause(time, waiting);
            }
        }
        Ok(())
    }
}

/// A register shows what had been overwritten, a list lacks what had been appended, and all after it.
fn misread(answer: &Answer, wrong: Value) -> Answer {
    if let Answer::List(list) = answer {
        let before = list.iter().take_while(|value| **value != wrong).copied().collect();
        return Answer::List(before);
    }
    Answer::Value(Some(wrong))
}
