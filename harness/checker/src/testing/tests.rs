//! The generator and the oracle against each other.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{MODELS, Shape, generate, is_linearizable, mutate, print};
use crate::history::Outcome;
use crate::model::Model;
use crate::ops::{Action, KeyOps, NEVER, NOTHING, Op, Seen};

fn is_well_formed(key: &KeyOps) -> bool {
    let returned = key.ops.iter().map(|op| op.ret).filter(|&ret| ret != NEVER);
    let mut positions: Vec<u32> = key.ops.iter().map(|op| op.call).chain(returned).collect();
    positions.sort_unstable();
    let alone = key.ops.iter().enumerate().all(|(index, op)| {
        let later = &key.ops[index + 1..];
        later.iter().all(|next| next.process != op.process || op.ret < next.call)
    });
    key.ops.is_sorted_by_key(|op| op.call)
        && key.ops.is_sorted_by_key(|op| op.number)
        && positions.windows(2).all(|pair| pair[0] < pair[1])
        && key.ops.iter().all(|op| op.call < op.ret)
        && alone
}

#[test]
fn generated_histories_are_linearizable() {
    for model in MODELS {
        for seed in 0..400 {
            let mut rng = SmallRng::seed_from_u64(seed);
            let shape = Shape::draw(12, &mut rng);
            let key = generate(model, shape, &mut rng);
            assert!(is_well_formed(&key), "seed {seed}\n{}", print(&key));
            assert!(is_linearizable(&key), "seed {seed}\n{}", print(&key));
        }
    }
}

#[test]
fn mutated_histories_are_well_formed_and_of_both_kinds() {
    for model in MODELS {
        let cases = 600;
        let mut good = 0;
        for seed in 0..cases {
            let mut rng = SmallRng::seed_from_u64(seed);
            let shape = Shape::draw(10, &mut rng);
            let mut key = generate(model, shape, &mut rng);
            for _ in 0..rng.random_range(1..8) {
                mutate(&mut key, &mut rng);
            }
            assert!(is_well_formed(&key), "seed {seed}\n{}", print(&key));
            good += u64::from(is_linearizable(&key));
        }
        assert!(
            good > cases / 6 && good < cases * 5 / 6,
            "{model}: {good} of {cases} linearizable"
        );
    }
}

#[test]
fn a_small_shape_is_small() {
    let key = generate(MODELS[0], Shape::small(), &mut SmallRng::seed_from_u64(1));
    assert_eq!(key.ops.len(), 8);
}

/// Operations of clients of their own, from call, return, request and answer; without a return of unknown outcome.
fn by_hand(model: Model, ops: &[(u32, u32, Action, Seen)]) -> KeyOps {
    let mut key = KeyOps::new(model, None);
    for word in ["a", "b"] {
        key.words.push(b's', word).expect("room");
    }
    for (&(call, ret, action, seen), process) in ops.iter().zip(0..) {
        let outcome = if ret == NEVER { Outcome::Open } else { Outcome::Ok };
        let number = process;
        key.ops.push(Op { number, call, ret, process, outcome, action, seen, log_index: 0 });
    }
    key
}

#[test]
fn the_oracle_knows_real_time() {
    let (write, read) = (Action::Write(1), Action::Read);
    let old = |call, ret| (call, ret, read, Seen::Word(NOTHING));
    let new = |call, ret| (call, ret, read, Seen::Word(1));
    let wrote = |ret| (0, ret, write, Seen::Unknown);
    for (ops, expected) in [
        (vec![wrote(1), old(2, 3)], false),
        (vec![wrote(3), old(1, 2)], true),
        (vec![wrote(9), new(1, 2), old(3, 4)], false),
        (vec![wrote(9), old(1, 2), new(3, 4)], true),
        (vec![wrote(NEVER), old(1, 2), new(3, 4)], true),
        (vec![wrote(NEVER), new(1, 2), old(3, 4)], false),
        (vec![wrote(NEVER), old(1, 2), old(3, 4)], true),
    ] {
        let key = by_hand(Model::Register, &ops);
        assert_eq!(is_linearizable(&key), expected, "{}", print(&key));
    }
}

#[test]
fn the_oracle_lets_a_dequeue_of_unknown_outcome_take_anything_once() {
    let takes = |call, word| (call, call + 1, Action::Dequeue, Seen::Word(word));
    let ops = |last: &[(u32, u32, Action, Seen)]| {
        let mut ops = vec![
            (0, 1, Action::Enqueue(1), Seen::Unknown),
            (2, 3, Action::Enqueue(2), Seen::Unknown),
            (4, NEVER, Action::Dequeue, Seen::Unknown),
        ];
        ops.extend(last);
        by_hand(Model::UnorderedQueue, &ops)
    };
    assert!(is_linearizable(&ops(&[takes(5, 2), takes(7, NOTHING)])));
    assert!(is_linearizable(&ops(&[takes(5, 1), takes(7, NOTHING)])));
    assert!(is_linearizable(&ops(&[takes(5, 1), takes(7, 2), takes(9, NOTHING)])));
    assert!(!is_linearizable(&ops(&[takes(5, NOTHING)])));
    assert!(!is_linearizable(&ops(&[takes(5, 1), takes(7, 1)])));
}
