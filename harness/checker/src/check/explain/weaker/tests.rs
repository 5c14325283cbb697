//! What is said to hold or to be broken, against all orders of small histories.

use std::collections::{BTreeMap, HashSet};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{Holds, Weaker, weaker};
use crate::model::semantics::{AppendList, Register};
use crate::model::{Model, Sequential};
use crate::ops::{KeyOps, Op};
use crate::testing::{MODELS, Shape, generate, is_linearizable, mutate, print};

fn cases() -> u64 {
    std::env::var("CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(3_000)
}

fn judge(key: &KeyOps) -> Weaker {
    weaker(std::slice::from_ref(key), &[], u64::MAX)
}

/// Whether clients can take turns so that the model accepts what they saw.
fn is_sequential<M: Sequential>(model: &M, key: &KeyOps) -> bool {
    let mut clients: BTreeMap<u32, Vec<&Op>> = BTreeMap::new();
    for op in key.ops.iter().filter(|op| op.may_count() || op.seen != crate::ops::Seen::Unknown) {
        clients.entry(op.process).or_default().push(op);
    }
    let clients: Vec<Vec<&Op>> = clients.into_values().collect();
    let start = (vec![0; clients.len()], model.start(key));
    let mut known = HashSet::from([start.clone()]);
    let mut left = vec![start];
    while let Some((done, state)) = left.pop() {
        if done.iter().zip(&clients).all(|(done, ops)| *done == ops.len()) {
            return true;
        }
        for (client, ops) in clients.iter().enumerate() {
            let Some(op) = ops.get(done[client]) else { continue };
            let mut next = done.clone();
            next[client] += 1;
            let skipped = (!op.is_ok() && op.may_count()).then(|| state.clone());
            let after = [model.apply(key, &state, op), skipped];
            for state in after.into_iter().flatten() {
                if known.insert((next.clone(), state.clone())) {
                    left.push((next.clone(), state));
                }
            }
        }
    }
    false
}

#[test]
fn sequential_is_what_all_orders_say() {
    let (mut yes, mut broken, mut unknown) = (0, 0, 0);
    for seed in 0..cases() {
        let mut rng = SmallRng::seed_from_u64(seed);
        let model =
            [Model::Register, Model::CasRegister, Model::Append][rng.random_range(0..3_usize)];
        let mut key =
            generate(model, Shape { small_values: 0, ..Shape::draw(10, &mut rng) }, &mut rng);
        for _ in 0..rng.random_range(0..4) {
            mutate(&mut key, &mut rng);
        }
        let expected = if model == Model::Append {
            is_sequential(&AppendList, &key)
        } else {
            is_sequential(&Register, &key)
        };
        match judge(&key).sequential {
            Holds::Yes => {
                yes += 1;
                assert!(expected, "seed {seed}: {}", print(&key));
            }
            Holds::Broken { first, second } => {
                broken += 1;
                assert!(
                    !expected && first < second,
                    "seed {seed}: {first} {second} {}",
                    print(&key)
                );
            }
            Holds::Unknown => unknown += 1,
        }
    }
    assert!(yes > unknown && broken > 0, "{yes} held, {broken} broken, {unknown} not decided");
}

#[test]
fn what_is_linearizable_breaks_nothing() {
    let mut held = 0;
    for seed in 0..cases() {
        let mut rng = SmallRng::seed_from_u64(seed);
        let model = MODELS[rng.random_range(0..MODELS.len())];
        let mut key = generate(model, Shape::draw(10, &mut rng), &mut rng);
        mutate(&mut key, &mut rng);
        if !is_linearizable(&key) {
            continue;
        }
        let found = judge(&key);
        let all = [found.sequential, found.monotonic_reads, found.read_your_writes, found.eventual];
        let is_broken = |holds: &Holds| matches!(holds, Holds::Broken { .. });
        assert!(!all.iter().any(is_broken), "seed {seed}: {found:?} {}", print(&key));
        held += u32::from(found.sequential == Holds::Yes && found.strongest().is_some());
    }
    assert!(held > 100, "{held}");
}

#[test]
fn to_know_that_a_key_is_linearizable_decides_more_and_nothing_else() {
    let (mut broken, mut more) = (0, 0);
    for seed in 0..cases() {
        let mut rng = SmallRng::seed_from_u64(seed);
        let model = MODELS[rng.random_range(0..MODELS.len())];
        let keys = [(); 3].map(|()| {
            let mut key = generate(model, Shape::draw(8, &mut rng), &mut rng);
            mutate(&mut key, &mut rng);
            key
        });
        let linearizable: Vec<bool> = keys.iter().map(is_linearizable).collect();
        let (one, other) = (weaker(&keys, &[], 1_000), weaker(&keys, &linearizable, 1_000));
        let pairs = [
            (one.sequential, other.sequential),
            (one.monotonic_reads, other.monotonic_reads),
            (one.read_your_writes, other.read_your_writes),
            (one.eventual, other.eventual),
        ];
        for (one, other) in pairs {
            assert!(one == other || one == Holds::Unknown, "seed {seed}: {one:?}, then {other:?}");
            broken += u32::from(matches!(other, Holds::Broken { .. }));
            more += u32::from(one != other);
        }
    }
    assert!(broken > 100 && more > 100, "{broken} broken, {more} decided by what is known");
}

#[test]
fn a_client_that_goes_back_breaks_monotonic_reads_and_one_that_misses_its_write_does_not() {
    let line = |f: &str, client: u32, kind: &str, value: &str, n: u32| {
        format!(
            r#"{{"index":{n},"time":{n},"process":{client},"type":"{kind}","f":"{f}","key":"k","value":{value}}}"#
        )
    };
    let history = |steps: &[(&str, u32, &str)]| {
        let mut text = r#"{"history":1,"workload":"w","model":"register"}"#.to_owned();
        for (number, (f, client, value)) in (0..).zip(steps) {
            let asked = if *f == "read" { "null" } else { *value };
            for (kind, value, n) in [("invoke", asked, 2 * number), ("ok", *value, 2 * number + 1)]
            {
                text.push('\n');
                text.push_str(&line(f, *client, kind, value, n));
            }
        }
        crate::History::parse((text + "\n").as_bytes(), "test").expect("a history")
    };
    let back = history(&[
        ("write", 1, "\"a\""),
        ("write", 2, "\"b\""),
        ("read", 3, "\"b\""),
        ("read", 3, "\"a\""),
    ]);
    let found = weaker(back.keys(), &[], 1_000);
    assert_eq!(found.monotonic_reads, Holds::Broken { first: 2, second: 3 });
    assert_eq!(found.read_your_writes, Holds::Yes);
    // Client 2 may have written before client 1, if real time does not matter.
    assert_eq!(found.sequential, Holds::Yes);
    let own = history(&[("write", 1, "\"a\""), ("write", 2, "\"b\""), ("read", 2, "\"a\"")]);
    let found = weaker(own.keys(), &[], 1_000);
    assert_eq!(found.read_your_writes, Holds::Broken { first: 1, second: 2 });
    assert_eq!(found.monotonic_reads, Holds::Yes);
    assert_eq!(found.eventual, Holds::Yes);
    assert_eq!(weaker(own.keys(), &[], 1).eventual, Holds::Unknown);
}
