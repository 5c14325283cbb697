//! The state machine by example, and against a naive model that forgets nothing.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::{
    Command, Compare, Limits, Op, Output, Refusal, RequestId, Store, Txn, TxnOp, TxnResult, Written,
};
use crate::tests::seeds;
use crate::types::Index;

mod state;
mod txn;

const ROOMY: Limits =
    Limits { sessions_max: 100, answers_max: 100, answer_bytes_max: 1000, value_bytes_max: 100 };

fn command(request: &str, ack: u64, op: Op) -> Command {
    Command { request: request.parse().unwrap(), ack, op }
}

fn put(value: &str) -> Op {
    Op::Put { key: "x".into(), value: value.into() }
}

fn append(value: &str) -> Op {
    Op::Append { key: "x".into(), value: value.into() }
}

fn incr(by: i64) -> Op {
    Op::Incr { key: "x".into(), by }
}

fn cas(expect: Option<&str>, value: &str) -> Op {
    Op::Cas { key: "x".into(), expect: expect.map(str::to_owned), value: value.into() }
}

fn delete() -> Op {
    Op::Delete { key: "x".into() }
}

/// A store that numbers entries and requests by itself.
struct Bench {
    store: Store,
    index: Index,
}

impl Bench {
    fn new(limits: Limits) -> Bench {
        Bench { store: Store::new(limits), index: 0 }
    }

    /// Applies the request as the next entry.
    fn send(&mut self, request: &str, ack: u64, op: Op) -> Written {
        self.index += 1;
        let written = self.store.apply(self.index, &command(request, ack, op));
        assert_eq!(self.store.state_hash(), self.store.hash_from_scratch());
        written
    }

    /// Applies a new request of a client whose every answer arrives.
    fn run(&mut self, op: Op) -> Result<Output, Refusal> {
        let seq = self.index + 1;
        self.send(&format!("c:{seq}"), seq, op).result
    }

    fn x(&self) -> Option<&str> {
        self.store.get("x")
    }
}

#[test]
fn operations_on_one_key_follow_their_documentation() {
    let mut bench = Bench::new(ROOMY);
    assert_eq!(bench.run(delete()), Err(Refusal::NotFound));
    assert_eq!(bench.run(cas(Some("1"), "2")), Err(Refusal::Mismatch { actual: None }));
    assert_eq!(bench.run(cas(None, "1")), Ok(Output::Done));
    assert_eq!(bench.run(cas(None, "2")), Err(Refusal::Mismatch { actual: Some("1".into()) }));
    assert_eq!(bench.run(cas(Some("1"), "41")), Ok(Output::Done));
    assert_eq!(bench.run(incr(1)), Ok(Output::Number(42)));
    assert_eq!(bench.run(append("é")), Ok(Output::Length(4)));
    assert_eq!(bench.x(), Some("42é"));
    assert_eq!(bench.run(incr(1)), Err(Refusal::NotANumber));
    assert_eq!(bench.run(put(&i64::MAX.to_string())), Ok(Output::Done));
    assert_eq!(bench.run(incr(1)), Err(Refusal::Overflow));
    assert_eq!(bench.run(incr(i64::MIN)), Ok(Output::Number(-1)));
    assert_eq!(bench.run(delete()), Ok(Output::Done));
    assert_eq!((bench.x(), bench.store.len()), (None, 0));
    assert_eq!(bench.run(incr(-7)), Ok(Output::Number(-7)));
    assert_eq!(bench.run(delete()), Ok(Output::Done));
    assert_eq!(bench.run(append("a")), Ok(Output::Length(1)));
}

#[test]
fn append_beyond_the_limit_is_refused_and_changes_nothing() {
    let mut bench = Bench::new(ROOMY);
    assert_eq!(bench.run(append(&"a".repeat(60))), Ok(Output::Length(60)));
    assert_eq!(bench.run(append(&"b".repeat(41))), Err(Refusal::TooLarge));
    assert_eq!(bench.run(append(&"b".repeat(40))), Ok(Output::Length(100)));
    assert_eq!(bench.run(append("")), Ok(Output::Length(100)));
}

#[test]
fn retry_gets_the_first_answer_and_does_nothing() {
    let mut bench = Bench::new(ROOMY);
    let first = bench.send("c:1", 0, append("a"));
    let refused = bench.send("c:2", 0, delete_of("y"));
    bench.send("d:1", 0, Op::Put { key: "y".into(), value: "1".into() });
    assert_eq!(bench.send("c:1", 0, append("a")), first);
    assert_eq!(bench.send("c:2", 0, delete_of("y")), refused, "refusals are answers too");
    assert_eq!((bench.x(), bench.store.get("y")), (Some("a"), Some("1")));
}

fn delete_of(key: &str) -> Op {
    Op::Delete { key: key.into() }
}

#[test]
fn requests_in_flight_may_arrive_in_any_order() {
    let mut bench = Bench::new(ROOMY);
    for seq in [5, 2, 9, 3] {
        assert!(bench.send(&format!("c:{seq}"), 2, append("a")).result.is_ok());
    }
    assert_eq!(bench.x(), Some("aaaa"));
    assert_eq!(bench.send("c:9", 4, append("a")).index, 3);
    assert_eq!(bench.send("c:3", 4, append("a")).result, Err(Refusal::Expired), "acknowledged");
    assert_eq!(bench.send("c:4", 4, append("a")).result, Ok(Output::Length(5)), "still new");
}

#[test]
fn answers_beyond_the_limit_are_forgotten_oldest_first_and_never_applied_again() {
    let mut bench = Bench::new(Limits { answers_max: 2, ..ROOMY });
    for seq in [1, 2, 4] {
        assert!(bench.send(&format!("c:{seq}"), 0, append("a")).result.is_ok());
    }
    assert_eq!(bench.send("c:1", 0, append("a")).result, Err(Refusal::Expired));
    assert_eq!(bench.send("c:2", 0, append("a")).index, 2);
    assert!(bench.send("c:3", 0, append("a")).result.is_ok(), "above the floor, never seen");
    assert_eq!(bench.send("c:2", 0, append("a")).result, Err(Refusal::Expired));
    assert_eq!(bench.x(), Some("aaaa"));
}

#[test]
fn answers_with_large_values_are_forgotten_when_they_fill_their_room() {
    let mut bench = Bench::new(Limits { answer_bytes_max: 150, ..ROOMY });
    bench.send("c:1", 0, put(&"v".repeat(100)));
    let second = bench.send("c:2", 0, cas(None, ""));
    assert!(matches!(second.result, Err(Refusal::Mismatch { actual: Some(_) })));
    assert_eq!(bench.send("c:2", 0, cas(None, "")), second);
    bench.send("c:3", 0, cas(None, ""));
    assert_eq!(bench.send("c:2", 0, cas(None, "")).result, Err(Refusal::Expired));
}

#[test]
fn least_recently_used_session_expires_and_a_retry_is_a_use() {
    let mut bench = Bench::new(Limits { sessions_max: 2, ..ROOMY });
    bench.send("a:1", 0, append("a"));
    bench.send("b:1", 0, append("b"));
    bench.send("a:1", 0, append("a"));
    assert!(bench.send("c@3:1", 0, append("c")).result.is_ok(), "makes b expire, not a");
    assert_eq!(bench.store.sessions(), 2);
    let expired = bench.send("b:1", 0, append("b"));
    assert_eq!(expired, Written { index: 5, result: Err(Refusal::Expired) });
    assert_eq!(bench.send("a:1", 0, append("a")).index, 1);
    assert_eq!(bench.x(), Some("abc"));
}

#[test]
fn unknown_client_is_new_exactly_when_born_after_all_expired_ones() {
    let mut bench = Bench::new(Limits { sessions_max: 1, ..ROOMY });
    for _ in 0..9 {
        bench.run(put("")).unwrap();
    }
    assert!(bench.send("a@7:1", 0, append("a")).result.is_ok(), "expires the one before");
    assert!(bench.send("b@9:1", 0, append("b")).result.is_ok(), "expires a, born at 7");
    for client in ["a@7", "new@7", "new@6", "new", "new@", "new@x", "c"] {
        let written = bench.send(&format!("{client}:1"), 0, append("!"));
        assert_eq!(written.result, Err(Refusal::Expired), "{client}");
    }
    assert_eq!(bench.send("b@9:1", 0, append("b")).index, 11, "refusals open no session");
    assert!(bench.send("new@8:1", 0, append("n")).result.is_ok());
    assert_eq!(bench.x(), Some("abn"));
}

#[test]
fn client_born_in_the_future_is_refused() {
    let mut bench = Bench::new(ROOMY);
    bench.run(put("")).unwrap();
    for client in ["c@2", "c@3", "c@18446744073709551615"] {
        let written = bench.send(&format!("{client}:1"), 0, append("!"));
        bench.index -= 1;
        bench.store = Store::new(ROOMY);
        assert_eq!(written, Written { index: 2, result: Err(Refusal::BadBirth) }, "{client}");
    }
    assert!(bench.send("c@1:1", 0, append("a")).result.is_ok());
}

#[test]
fn state_hash_depends_on_the_state_alone() {
    // Values: two ways to the same map, by commands of which no session remains.
    let by = |ops: &[Op]| {
        let mut bench = Bench::new(Limits { sessions_max: 1, ..ROOMY });
        for op in ops {
            bench.run(op.clone()).unwrap();
        }
        bench.index = 100;
        bench.send("last@50:1", 0, put("end"));
        bench.store.state_hash()
    };
    let other = || Op::Put { key: "y".into(), value: "1".into() };
    let hash = by(&[put("ab"), other()]);
    assert_eq!(hash, by(&[other(), put("a"), append("b"), delete(), cas(None, "ab")]));
    assert_ne!(hash, by(&[put("ab")]));
    assert_ne!(hash, by(&[put("ab"), Op::Put { key: "y".into(), value: "2".into() }]));

    // Replicas of different builds compare hashes: if this number changes, so does the protocol.
    assert_eq!(hash, 7_279_094_176_695_805_606);
}

#[test]
fn state_hash_sees_sessions_and_answers() {
    let by = |requests: &[(&str, u64, Op)]| {
        let mut bench = Bench::new(ROOMY);
        for (request, ack, op) in requests {
            bench.send(request, *ack, op.clone());
        }
        bench.store.state_hash()
    };
    let hashes: BTreeSet<u64> = [
        by(&[("c:1", 0, put("1"))]),
        by(&[("c:2", 0, put("1"))]),
        by(&[("d:1", 0, put("1"))]),
        by(&[("c:1", 1, put("1"))]),
        by(&[("c:1", 0, append("1"))]),
        by(&[("c:1", 0, incr(1))]),
        by(&[("c:1", 0, put("1")), ("c:1", 0, put("1"))]),
    ]
    .into_iter()
    .collect();
    assert_eq!(hashes.len(), 7);
}

/// A client that tries everything the protocol lets it do wrong.
struct Client {
    name: String,
    next_seq: u64,
    ack: u64,
    sent: Vec<Command>,
}

impl Client {
    fn born_at(number: u64, birth: Index) -> Client {
        Client { name: format!("c{number}@{birth}"), next_seq: 1, ack: 0, sent: Vec::new() }
    }

    /// A new request, or an old one once more; sequence numbers come out of order and with gaps.
    fn next(&mut self, rng: &mut SmallRng) -> Command {
        if !self.sent.is_empty() && rng.random_bool(0.4) {
            let mut again = self.sent[rng.random_range(0..self.sent.len())].clone();
            again.ack = again.ack.min(self.ack);
            return again;
        }
        let seq = self.next_seq + rng.random_range(0..4);
        if self.sent.iter().any(|sent| sent.request.seq == seq) {
            self.next_seq += 1;
            return self.next(rng);
        }
        if rng.random_bool(0.2) {
            self.ack = rng.random_range(self.ack..=self.next_seq);
        }
        let request = RequestId { client: self.name.clone(), seq };
        let command = Command { request, ack: self.ack.min(seq), op: random_op(rng) };
        self.sent.push(command.clone());
        command
    }
}

fn random_op(rng: &mut SmallRng) -> Op {
    let key = ["x", "y", "z"][rng.random_range(0..3)].to_owned();
    let value = rng.random_range(0..3).to_string();
    match rng.random_range(0..7) {
        5 | 6 => Op::Txn(random_txn(rng)),
        0 => Op::Put { key, value },
        1 => Op::Delete { key },
        2 => {
            let expect = rng.random_bool(0.7).then(|| rng.random_range(0..3).to_string());
            Op::Cas { key, expect, value }
        }
        3 => Op::Append { key, value },
        _ => Op::Incr { key, by: rng.random_range(-2..=2) },
    }
}

fn random_txn(rng: &mut SmallRng) -> Txn {
    let key = |rng: &mut SmallRng| ["x", "y", "z"][rng.random_range(0..3)].to_owned();
    let value = |rng: &mut SmallRng| rng.random_range(0..3).to_string();
    let compare = |rng: &mut SmallRng| {
        let expect = rng.random_bool(0.5).then(|| value(rng));
        Compare { key: key(rng), expect }
    };
    let op = |rng: &mut SmallRng| {
        let key = key(rng);
        match rng.random_range(0..5) {
            0 => TxnOp::Get { key },
            1 => TxnOp::Put { key, value: value(rng) },
            2 => TxnOp::Delete { key },
            3 => TxnOp::Append { key, value: value(rng) },
            _ => TxnOp::Incr { key, by: rng.random_range(-2..=2) },
        }
    };
    Txn {
        compare: (0..rng.random_range(0..3)).map(|_| compare(rng)).collect(),
        then: (0..rng.random_range(0..5)).map(|_| op(rng)).collect(),
        otherwise: (0..rng.random_range(0..5)).map(|_| op(rng)).collect(),
    }
}

/// What an operation does, said again in the plainest way.
fn naive(
    values: &mut BTreeMap<String, String>,
    op: &Op,
    bytes_max: usize,
) -> Result<Output, Refusal> {
    match op.clone() {
        Op::Put { key, value } => {
            values.insert(key, value);
            Ok(Output::Done)
        }
        Op::Delete { key } => values.remove(&key).map(|_| Output::Done).ok_or(Refusal::NotFound),
        Op::Cas { key, expect, value } if values.get(&key) == expect.as_ref() => {
            values.insert(key, value);
            Ok(Output::Done)
        }
        Op::Cas { key, .. } => Err(Refusal::Mismatch { actual: values.get(&key).cloned() }),
        Op::Append { key, value } => {
            let text = values.get(&key).cloned().unwrap_or_default() + &value;
            if text.len() > bytes_max {
                return Err(Refusal::TooLarge);
            }
            let length = u64::try_from(text.len()).unwrap();
            values.insert(key, text);
            Ok(Output::Length(length))
        }
        Op::Incr { key, by } => {
            let text = values.get(&key).cloned().unwrap_or_else(|| "0".to_owned());
            let number: i64 = text.parse().map_err(|_| Refusal::NotANumber)?;
            let sum = number.checked_add(by).ok_or(Refusal::Overflow)?;
            values.insert(key, sum.to_string());
            Ok(Output::Number(sum))
        }
        Op::Txn(txn) => naive_txn(values, txn, bytes_max),
    }
}

fn naive_txn(
    values: &mut BTreeMap<String, String>,
    txn: Txn,
    bytes_max: usize,
) -> Result<Output, Refusal> {
    let mut tried = values.clone();
    let succeeded = txn.compare.iter().all(|it| values.get(&it.key) == it.expect.as_ref());
    let mut results = Vec::new();
    let mut read = String::new();
    for op in if succeeded { txn.then } else { txn.otherwise } {
        let op = match op {
            TxnOp::Get { key } => {
                let value = tried.get(&key).cloned();
                read.extend(value.as_deref());
                if read.len() > bytes_max {
                    return Err(Refusal::TooLarge);
                }
                results.push(TxnResult::Value(value));
                continue;
            }
            TxnOp::Put { key, value } => Op::Put { key, value },
            TxnOp::Delete { key } => Op::Delete { key },
            TxnOp::Append { key, value } => Op::Append { key, value },
            TxnOp::Incr { key, by } => Op::Incr { key, by },
        };
        let is_delete = matches!(op, Op::Delete { .. });
        results.push(match naive(&mut tried, &op, bytes_max) {
            Ok(Output::Done) if is_delete => TxnResult::Deleted(true),
            Err(Refusal::NotFound) if is_delete => TxnResult::Deleted(false),
            Ok(Output::Done) => TxnResult::Done,
            Ok(Output::Length(bytes)) => TxnResult::Length(bytes),
            Ok(Output::Number(number)) => TxnResult::Number(number),
            Ok(Output::Txn { .. }) => unreachable!("transactions do not nest"),
            Err(refusal) => return Err(refusal),
        });
    }
    *values = tried;
    Ok(Output::Txn { succeeded, results })
}

/// Random clients against two stores and a reference that remembers every request for ever.
#[test]
fn random_requests_with_retries_are_applied_at_most_once() {
    let mut seen = Seen::default();
    let count = seeds::for_each("random_requests", 300, |seed| seen.add(run_random_requests(seed)));
    if count >= 300 {
        assert!(seen.applied > 10_000 && seen.repeated > 3_000, "{seen:?}");
        assert!(seen.expired > 3_000 && seen.evicted > 1_000, "{seen:?}");
    }
}

/// What happened; a test in which nothing happens proves nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    applied: u64,
    repeated: u64,
    expired: u64,
    evicted: u64,
}

impl Seen {
    fn add(&mut self, other: Seen) {
        self.applied += other.applied;
        self.repeated += other.repeated;
        self.expired += other.expired;
        self.evicted += other.evicted;
    }
}

fn run_random_requests(seed: u64) -> Seen {
    let mut rng = SmallRng::seed_from_u64(seed);
    let limits = Limits {
        sessions_max: rng.random_range(1..6),
        answers_max: rng.random_range(0..8),
        answer_bytes_max: rng.random_range(0..20),
        value_bytes_max: rng.random_range(3..10),
    };
    let (mut store, mut twin) = (Store::new(limits), Store::new(limits));
    let mut values = BTreeMap::new();
    let mut first_answers: BTreeMap<RequestId, Written> = BTreeMap::new();
    let mut clients: Vec<Client> = Vec::new();
    let mut seen = Seen::default();
    let mut index = 0;
    for number in 0..rng.random_range(50..300) {
        index += rng.random_range(1..3);
        // Now and then somebody new comes, who has seen the newest entry: never mistaken for an expired client.
        let newcomer = clients.is_empty() || rng.random_bool(0.1);
        if newcomer {
            clients.push(Client::born_at(number, index - 1));
        }
        let who = if newcomer { clients.len() - 1 } else { rng.random_range(0..clients.len()) };
        let command = clients[who].next(&mut rng);
        let sessions_before = store.sessions();
        let written = store.apply(index, &command);
        assert_eq!(twin.apply(index, &command), written);

        let refused = Written { index, result: Err(Refusal::Expired) };
        let first = first_answers.get(&command.request);
        if written == refused {
            assert!(!newcomer, "{} is certainly new", command.request);
            seen.expired += 1;
        } else if let Some(first) = first {
            assert_eq!(&written, first, "{}", command.request);
            seen.repeated += 1;
        } else {
            let result = naive(&mut values, &command.op, limits.value_bytes_max);
            assert_eq!(written, Written { index, result }, "{}", command.request);
            first_answers.insert(command.request, written);
            seen.applied += 1;
        }
        for key in ["x", "y", "z"] {
            assert_eq!(store.get(key), values.get(key).map(String::as_str), "key {key}");
        }
        if newcomer && store.sessions() == sessions_before {
            seen.evicted += 1;
        }
        assert!(store.sessions() <= limits.sessions_max);
        assert_eq!(store.state_hash(), twin.state_hash());
        assert_eq!(store.state_hash(), store.hash_from_scratch());
    }
    seen
}
