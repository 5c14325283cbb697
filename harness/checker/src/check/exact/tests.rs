//! The exact search against the oracle, over random histories, right and wrong.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{Supply, Width, search, verdict_of};
use crate::check::decision::{Answer, Budget, Limit};
use crate::history::Outcome;
use crate::model::Model;
use crate::ops::{Action, KeyOps, NEVER, NOTHING, Op, Position, Seen, index};
use crate::testing::{Shape, generate, is_linearizable, mutate, print};

const AMPLE: Budget<'static> =
    Budget { configurations_max: 1_000_000, memory_bytes_max: 1 << 30, cancelled: None };

/// How many random histories of each model to try. A debug build is slow.
fn cases() -> u64 {
    match std::env::var("EXACT_CASES") {
        Ok(cases) => cases.parse().expect("EXACT_CASES is a number"),
        Err(_) => 1000,
    }
}

fn random_key(model: Model, seed: u64) -> KeyOps {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut shape = Shape::draw(12, &mut rng);
    if rng.random_bool(0.2) {
        // Many equal ones of unknown outcome.
        shape.open = 50;
        shape.small_values = 100;
        shape.small_values_max = 2;
    }
    let mut key = generate(model, shape, &mut rng);
    for _ in 0..rng.random_range(0..6) {
        mutate(&mut key, &mut rng);
    }
    key
}

/// What had happened by some position. What failed, has failed: it never had an effect.
fn until(key: &KeyOps, position: Position) -> KeyOps {
    let mut part = key.clone();
    part.ops.retain(|op| op.call <= position);
    for op in &mut part.ops {
        if op.ret > position {
            op.ret = NEVER;
            if op.outcome == Outcome::Ok {
                op.outcome = Outcome::Open;
            }
            if op.outcome == Outcome::Fail || !matches!(op.action, Action::Cas { .. }) {
                op.seen = Seen::Unknown;
            }
        }
    }
    part
}

fn check(model: Model, seed: u64) -> bool {
    let key = random_key(model, seed);
    let expected = is_linearizable(&key);
    let say = |what: &str| format!("{what}: seed {seed}, linearizable {expected}\n{}", print(&key));
    let (answer, _) = search(&key, &AMPLE);
    match answer {
        Answer::Linearizable => assert!(expected, "{}", say("found an order")),
        Answer::Blocked { op } => {
            assert!(!expected, "{}", say("found no order"));
            let part = until(&key, key.ops[index(op)].ret);
            assert!(!is_linearizable(&part), "{}", say(&format!("#{op} does not block")));
        }
        Answer::GaveUp { .. } => panic!("{}", say("gave up")),
    }
    // Each way to treat optional operations is right in what it may say.
    let counted = verdict_of(&key, &AMPLE, Supply::Counted);
    assert_eq!(counted, Some(expected), "{}", say("counted"));
    let width = Width { of_state: 1, of_return: 2, detours: 0, by_total: true };
    let frugal = verdict_of(&key, &AMPLE, Supply::Frugal(width));
    assert!(frugal.is_none_or(|says| says == expected), "{}", say("frugal"));
    let unlimited = verdict_of(&key, &AMPLE, Supply::Unlimited);
    assert!(unlimited.is_none_or(|says| !says && !expected), "{}", say("unlimited"));
    expected
}

fn check_all(model: Model) {
    let good: u64 = (0..cases()).map(|seed| u64::from(check(model, seed))).sum();
    assert!(good > cases() / 10 && good < cases() * 9 / 10, "{good} of {} are right", cases());
}

#[test]
fn registers_agree_with_the_oracle() {
    check_all(Model::Register);
}

#[test]
fn cas_registers_agree_with_the_oracle() {
    check_all(Model::CasRegister);
}

#[test]
fn lists_agree_with_the_oracle() {
    check_all(Model::Append);
}

#[test]
fn counters_agree_with_the_oracle() {
    check_all(Model::Counter);
}

#[test]
fn transactions_agree_with_the_oracle() {
    check_all(Model::MultiRegister);
}

#[test]
fn kv_keys_agree_with_the_oracle() {
    check_all(Model::Kv);
}

#[test]
fn sets_agree_with_the_oracle() {
    check_all(Model::Set);
}

#[test]
fn fifo_queues_agree_with_the_oracle() {
    check_all(Model::FifoQueue);
}

#[test]
fn unordered_queues_agree_with_the_oracle() {
    check_all(Model::UnorderedQueue);
}

#[test]
fn mutexes_agree_with_the_oracle() {
    check_all(Model::Mutex);
}

/// Longer ones, for which there is no oracle: all ways to decide must agree.
#[test]
fn walks_agree_with_each_other_on_longer_histories() {
    for model in [Model::Register, Model::CasRegister, Model::Append, Model::Mutex, Model::Kv] {
        for seed in 0..cases() / 20 {
            let mut rng = SmallRng::seed_from_u64(seed);
            let mut shape = Shape::draw(150, &mut rng);
            shape.open = rng.random_range(0..10);
            let mut key = generate(model, shape, &mut rng);
            for _ in 0..rng.random_range(0..4) {
                mutate(&mut key, &mut rng);
            }
            let say = |what: &str| format!("{what}: seed {seed}\n{}", print(&key));
            let Some(expected) = verdict_of(&key, &AMPLE, Supply::Counted) else { continue };
            let (answer, _) = search(&key, &AMPLE);
            assert_eq!(answer == Answer::Linearizable, expected, "{}", say("search"));
            for of_state in [1, 4] {
                let by_total = of_state == 1;
                let width =
                    Width { of_state, of_return: 5 * of_state, detours: of_state, by_total };
                let frugal = verdict_of(&key, &AMPLE, Supply::Frugal(width));
                assert!(frugal.is_none_or(|says| says == expected), "{}", say("frugal"));
            }
            let unlimited = verdict_of(&key, &AMPLE, Supply::Unlimited);
            assert!(unlimited.is_none_or(|says| !says && !expected), "{}", say("unlimited"));
        }
    }
}

#[test]
fn an_order_exists_up_to_where_it_gave_up() {
    for seed in 0..300 {
        let key = random_key(Model::CasRegister, seed);
        let few = Budget { configurations_max: seed % 7, ..AMPLE };
        let (answer, effort) = search(&key, &few);
        assert!(effort.configurations <= seed % 7 + 1, "seed {seed}");
        if let Answer::GaveUp { position, limit } = answer {
            assert_eq!(limit, Limit::Configurations, "seed {seed}");
            assert!(is_linearizable(&until(&key, position)), "seed {seed}\n{}", print(&key));
        }
    }
}

fn op(number: u32, call: Position, ret: Position, action: Action, seen: Seen) -> Op {
    let outcome = if ret == NEVER { Outcome::Open } else { Outcome::Ok };
    Op { number, call, ret, process: number, outcome, action, seen, log_index: 0 }
}

/// Clients that all write at once, and then read in the opposite order of the writes' numbers.
fn crowd(clients: u32) -> KeyOps {
    let mut key = KeyOps::new(Model::Register, None);
    for number in 1..=clients {
        key.words.push(b'v', &number.to_string()).expect("room");
        let write = Action::Write(number);
        key.ops.push(op(number, number, 10 * clients + number, write, Seen::Unknown));
    }
    for number in 1..=clients {
        let call = clients + 2 * number;
        let seen = Seen::Word(clients + 1 - number);
        key.ops.push(op(clients + number, call, call + 1, Action::Read, seen));
    }
    key
}

#[test]
fn more_operations_at_once_than_a_word_has_bits_are_decided() {
    for clients in [60, 70, 300] {
        let mut key = crowd(clients);
        let (answer, effort) = search(&key, &AMPLE);
        assert_eq!(answer, Answer::Linearizable, "{clients} clients");
        assert_eq!(effort.open_max, index(clients) + 1);
        // The first value again, after all others.
        let end = 10 * clients;
        let stale = Seen::Word(clients);
        key.ops.push(op(2 * clients + 1, end - 1, end, Action::Read, stale));
        let (answer, _) = search(&key, &AMPLE);
        assert_eq!(answer, Answer::Blocked { op: 2 * clients }, "{clients} clients");
    }
}

#[test]
fn too_many_operations_at_once_are_not_decided() {
    let (answer, _) = search(&crowd(4100), &AMPLE);
    assert!(matches!(answer, Answer::GaveUp { limit: Limit::Memory, .. }), "{answer:?}");
}

/// Thousands of writes of unknown outcome, of which one more or one less is used.
#[test]
fn optional_operations_are_counted() {
    let writes = 3000;
    let mut key = KeyOps::new(Model::Register, None);
    key.words.push(b'v', "1").expect("room");
    key.words.push(b'v', "2").expect("room");
    for number in 0..writes {
        key.ops.push(op(number, number, NEVER, Action::Write(1), Seen::Unknown));
    }
    let mut position = writes;
    let mut push = |key: &mut KeyOps, action, seen| {
        key.ops.push(op(position, position, position + 1, action, seen));
        position += 2;
    };
    for _ in 0..writes {
        push(&mut key, Action::Write(2), Seen::Unknown);
        push(&mut key, Action::Read, Seen::Word(1));
    }
    let (answer, _) = search(&key, &AMPLE);
    assert_eq!(answer, Answer::Linearizable);
    push(&mut key, Action::Write(2), Seen::Unknown);
    push(&mut key, Action::Read, Seen::Word(1));
    let (answer, _) = search(&key, &AMPLE);
    assert_eq!(answer, Answer::Blocked { op: 3 * writes + 1 });
}

/// A write or a cas of unknown outcome explains the first read; the second needs the write.
#[test]
fn optional_operations_of_different_kinds_are_told_apart() {
    let mut key = KeyOps::new(Model::CasRegister, None);
    for value in ["1", "2", "3"] {
        key.words.push(b'v', value).expect("room");
    }
    key.initial = Seen::Word(1);
    let cas = Action::Cas { expect: 1, new: 3 };
    key.ops = vec![
        op(0, 0, NEVER, Action::Write(3), Seen::Unknown),
        op(1, 1, NEVER, cas, Seen::Unknown),
        op(2, 2, 3, Action::Read, Seen::Word(3)),
        op(3, 4, 5, Action::Write(2), Seen::Unknown),
        op(4, 6, 7, Action::Read, Seen::Word(3)),
    ];
    assert_eq!(search(&key, &AMPLE).0, Answer::Linearizable);
    assert_eq!(verdict_of(&key, &AMPLE, Supply::Counted), Some(true));
    key.ops.push(op(5, 8, 9, Action::Write(1), Seen::Unknown));
    key.ops.push(op(6, 10, 11, Action::Read, Seen::Word(3)));
    assert_eq!(search(&key, &AMPLE).0, Answer::Blocked { op: 6 });
}

#[test]
fn cancelled_searches_end() {
    let key = crowd(60);
    let cancelled = || true;
    // Looked at only after some work.
    let mut long = key.clone();
    for round in 0..4000 {
        let call = 700 + 2 * round;
        let last = Seen::Word(1);
        long.ops.push(op(1000 + round, call, call + 1, Action::Read, last));
    }
    let (answer, _) = search(&long, &Budget { cancelled: Some(&cancelled), ..AMPLE });
    assert!(matches!(answer, Answer::GaveUp { limit: Limit::Cancelled, .. }), "{answer:?}");
}

#[test]
fn a_limit_of_memory_is_kept() {
    let mut rng = SmallRng::seed_from_u64(1);
    let shape = Shape { ops: 3000, clients: 40, open: 3, small_values: 100, ..Shape::small() };
    let key = generate(Model::Set, shape, &mut rng);
    let (answer, _) = search(&key, &Budget { memory_bytes_max: 1 << 16, ..AMPLE });
    assert!(matches!(answer, Answer::GaveUp { limit: Limit::Memory, .. }), "{answer:?}");
}

#[test]
fn a_dequeue_of_unknown_outcome_may_have_emptied_an_unordered_queue() {
    let mut key = KeyOps::new(Model::UnorderedQueue, None);
    key.words.push(b'v', "1").expect("room");
    key.ops = vec![
        op(0, 0, 1, Action::Enqueue(1), Seen::Unknown),
        op(1, 2, NEVER, Action::Dequeue, Seen::Unknown),
        op(2, 3, 4, Action::Dequeue, Seen::Word(NOTHING)),
        op(3, 5, 6, Action::Enqueue(1), Seen::Unknown),
        op(4, 7, 8, Action::Dequeue, Seen::Word(NOTHING)),
    ];
    assert_eq!(search(&key, &AMPLE).0, Answer::Blocked { op: 4 });
    key.ops.truncate(4);
    assert_eq!(search(&key, &AMPLE).0, Answer::Linearizable);
}

/// The first write is overwritten by one of the value that was there before, which the cas then finds.
#[test]
fn a_write_of_what_is_there_hides_others() {
    let mut key = KeyOps::new(Model::CasRegister, None);
    for value in ["1", "2", "3"] {
        key.words.push(b'v', value).expect("room");
    }
    key.initial = Seen::Word(1);
    key.ops = vec![
        op(0, 0, 20, Action::Write(2), Seen::Unknown),
        op(1, 1, 30, Action::Write(1), Seen::Unknown),
        op(2, 2, 10, Action::Cas { expect: 1, new: 3 }, Seen::Word(1)),
        op(3, 25, 26, Action::Read, Seen::Word(3)),
    ];
    assert!(is_linearizable(&key));
    assert_eq!(search(&key, &AMPLE).0, Answer::Linearizable);
    key.ops.remove(1);
    assert_eq!(search(&key, &AMPLE).0, Answer::Blocked { op: 2 });
}

#[test]
fn a_dequeue_that_does_not_say_what_it_took_may_have_taken_what_is_in_doubt() {
    for model in [Model::FifoQueue, Model::UnorderedQueue] {
        let mut key = KeyOps::new(model, None);
        key.words.push(b'v', "1").expect("room");
        key.words.push(b'v', "2").expect("room");
        key.ops = vec![
            op(0, 0, NEVER, Action::Enqueue(2), Seen::Unknown),
            op(1, 1, 2, Action::Enqueue(1), Seen::Unknown),
            op(2, 3, 4, Action::Dequeue, Seen::Unknown),
            op(3, 5, 6, Action::Dequeue, Seen::Word(1)),
        ];
        assert!(is_linearizable(&key));
        assert_eq!(search(&key, &AMPLE).0, Answer::Linearizable, "{model}");
        key.ops.remove(0);
        assert_eq!(search(&key, &AMPLE).0, Answer::Blocked { op: 2 }, "{model}");
    }
}
