//! Random histories of one object, right by construction.

use rand::Rng;
use rand::rngs::SmallRng;

use super::object::{Object, Reply};
use crate::history::Outcome;
use crate::model::Model;
use crate::ops::{Action, KeyOps, List, Micro, NEVER, Op, Position, Seen, UNREAD};

/// All of them.
pub(crate) const MODELS: [Model; 10] = [
    Model::Register,
    Model::CasRegister,
    Model::Append,
    Model::Counter,
    Model::MultiRegister,
    Model::Kv,
    Model::Set,
    Model::FifoQueue,
    Model::UnorderedQueue,
    Model::Mutex,
];

/// What a generated history is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) ops: u32,
    pub(crate) clients: u32,
    /// How long an operation takes at most, in average pauses of a client.
    pub(crate) spread: u32,
    /// Percentage of operations of unknown outcome. Some take effect, some of those after their client gave up.
    pub(crate) open: u32,
    /// Percentage of operations that fail whatever the object is.
    pub(crate) failed: u32,
    /// Percentage of values that are one of few instead of a new one.
    pub(crate) small_values: u32,
    /// How many these few are.
    pub(crate) small_values_max: u32,
    /// Percentage of operations that returned and do not say what they learnt.
    pub(crate) silent: u32,
    /// Percentage of histories in which the object is something before the first operation.
    pub(crate) initial: u32,
    /// Whether operations claim a place in the order of effects.
    pub(crate) log: Log,
}

/// Which operations claim a place in the order of effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Log {
    /// None.
    No,
    /// All that returned have a place of their own.
    Own,
    /// What changes the object has a place; reads have that of the last change that they reflect.
    Reflected,
}

impl Shape {
    /// Few operations, much at once.
    pub(crate) fn small() -> Shape {
        Shape {
            ops: 8,
            clients: 3,
            spread: 6,
            open: 15,
            failed: 5,
            small_values: 30,
            small_values_max: 4,
            silent: 2,
            initial: 20,
            log: Log::No,
        }
    }

    /// Any small one.
    pub(crate) fn draw(ops_max: u32, rng: &mut SmallRng) -> Shape {
        Shape {
            ops: rng.random_range(2..=ops_max),
            clients: rng.random_range(1..=5),
            spread: rng.random_range(1..=20),
            open: [0, 10, 40][rng.random_range(0..3)],
            failed: [0, 0, 10][rng.random_range(0..3)],
            small_values: [0, 30, 100][rng.random_range(0..3)],
            small_values_max: rng.random_range(1..=5),
            silent: [0, 0, 5][rng.random_range(0..3)],
            initial: 20,
            log: [Log::No, Log::Own, Log::Reflected][rng.random_range(0..3)],
        }
    }
}

/// When an operation is called, takes effect and returns.
struct Plan {
    process: u32,
    times: [u64; 3],
    outcome: Outcome,
    takes_effect: bool,
}

/// Clients that work on one object; each operation has a moment at which it takes effect. A linearizable history.
pub(crate) fn generate(model: Model, shape: Shape, rng: &mut SmallRng) -> KeyOps {
    let mut key = KeyOps::new(model, None);
    let mut object = Object::new(&mut key, shape, rng);
    let plans = plan(shape, rng);
    // All moments in one order, ties in any order that keeps an operation's own.
    let mut moments: Vec<(u64, usize, usize)> = Vec::new();
    for (index, plan) in plans.iter().enumerate() {
        moments.extend(plan.times.iter().zip(0..).map(|(&time, moment)| (time, index, moment)));
    }
    moments.sort_unstable();
    let mut ops: Vec<Op> = plans.iter().map(blank).collect();
    let mut last_index = 0;
    for (position, (_, index, moment)) in (0..).zip(moments) {
        let op = &mut ops[index];
        match moment {
            0 => op.call = position,
            1 => take_effect(&mut key, &mut object, &plans[index], op, &mut last_index, rng),
            _ if op.outcome != Outcome::Open => op.ret = position,
            _ => {}
        }
    }
    key.ops = ops;
    put_in_order(&mut key);
    key
}

fn plan(shape: Shape, rng: &mut SmallRng) -> Vec<Plan> {
    let mut plans = Vec::new();
    let workers = usize::try_from(shape.clients).expect("fits");
    let mut free_at = vec![0_u64; workers];
    let mut process_of: Vec<u32> = (0..shape.clients).collect();
    let mut next_process = shape.clients;
    let spread = 2 * u64::from(shape.spread);
    for _ in 0..shape.ops {
        let worker = rng.random_range(0..workers);
        let call = free_at[worker] + rng.random_range(1..=4);
        let ret = call + rng.random_range(1..=spread);
        free_at[worker] = ret;
        let mut plan = Plan {
            process: process_of[worker],
            times: [call, rng.random_range(call..=ret), ret],
            outcome: Outcome::Ok,
            takes_effect: true,
        };
        if rng.random_range(0..100) < shape.open {
            // The client does not go on under this number.
            process_of[worker] = next_process;
            next_process += 1;
            plan.outcome = Outcome::Open;
            plan.takes_effect = rng.random_bool(0.6);
            plan.times[1] = rng.random_range(call..=call + 3 * spread);
            plan.times[2] = plan.times[1];
        } else if rng.random_range(0..100) < shape.failed {
            plan.outcome = Outcome::Fail;
            plan.takes_effect = false;
        }
        plans.push(plan);
    }
    plans
}

fn blank(plan: &Plan) -> Op {
    Op {
        number: 0,
        call: 0,
        ret: NEVER,
        process: plan.process,
        outcome: plan.outcome,
        action: Action::Read,
        seen: Seen::Unknown,
        log_index: 0,
    }
}

fn take_effect(
    key: &mut KeyOps,
    object: &mut Object,
    plan: &Plan,
    op: &mut Op,
    last_index: &mut u64,
    rng: &mut SmallRng,
) {
    op.action = object.ask(key, rng);
    if !plan.takes_effect {
        return;
    }
    match object.carry_out(key, op.action, rng) {
        Reply::Done(seen) => op.seen = seen,
        Reply::Refused(_) if plan.outcome == Outcome::Open => return,
        Reply::Refused(found) => {
            op.outcome = Outcome::Fail;
            op.seen = if rng.random_bool(0.6) { found } else { Seen::Unknown };
        }
    }
    claim(object.log(), op, last_index);
    let silent = object.is_silent(rng);
    let may_be_silent = op.action != Action::Dequeue && !matches!(op.action, Action::Cas { .. });
    if op.outcome == Outcome::Open || silent && may_be_silent {
        forget(key, op);
    } else if matches!(op.action, Action::Incr(_)) && rng.random_bool(0.5) {
        op.seen = Seen::Unknown;
    }
}

fn claim(log: Log, op: &mut Op, last_index: &mut u64) {
    let only_reads = op.action == Action::Read || op.outcome == Outcome::Fail;
    if log == Log::Own || !only_reads {
        *last_index += 1;
    }
    if log != Log::No && op.outcome != Outcome::Open {
        op.log_index = *last_index;
    }
}

/// Takes back what it learnt.
fn forget(key: &mut KeyOps, op: &mut Op) {
    op.seen = Seen::Unknown;
    if let (Action::Txn(steps), true) = (op.action, op.outcome != Outcome::Open) {
        op.seen = Seen::List(unread(key, steps));
    }
}

/// A transaction's steps with nothing read.
pub(super) fn unread(key: &mut KeyOps, steps: List) -> List {
    let blind = |micro: Micro| {
        let value = if micro.writes { micro.value } else { UNREAD };
        Micro { value, ..micro }.to_items()
    };
    let items: Vec<u32> = key.micros(steps).flat_map(blind).collect();
    super::object::push_list(key, &items)
}

/// Sorts by invocation, and numbers so that no test takes numbers for indexes.
pub(super) fn put_in_order(key: &mut KeyOps) {
    key.ops.sort_unstable_by_key(|op| op.call);
    for (op, number) in key.ops.iter_mut().zip(0..) {
        op.number = 3 * number + 2;
    }
}

/// Gives an operation another call or return, right after the event that has the position `after`.
pub(super) fn move_event(key: &mut KeyOps, index: usize, is_call: bool, after: Position) {
    let mut events: Vec<(u64, usize, bool)> = Vec::new();
    for (at, op) in key.ops.iter().enumerate() {
        let place = |position, event_is_call| {
            let moved = at == index && event_is_call == is_call;
            if moved { 2 * u64::from(after) + 1 } else { 2 * u64::from(position) }
        };
        events.push((place(op.call, true), at, true));
        let gets_one = at == index && !is_call;
        if op.ret != NEVER || gets_one {
            events.push((place(op.ret, false), at, false));
        }
    }
    events.sort_unstable();
    for (position, (_, at, event_is_call)) in (0..).zip(events) {
        let op = &mut key.ops[at];
        *(if event_is_call { &mut op.call } else { &mut op.ret }) = position;
    }
    put_in_order(key);
}
