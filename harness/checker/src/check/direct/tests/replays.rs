//! The replays in place do what [`crate::model::semantics`] says.

use std::fmt::Debug;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::fuzz::history;
use crate::check::direct::replay::{self, Replay};
use crate::check::direct::verify::says_what_it_found;
use crate::history::Outcome;
use crate::model::{Model, Sequential, semantics};
use crate::ops::{Action, KeyOps, Op, Seen};
use crate::testing::{MODELS, print};

fn agree<M: Sequential>(model: &M, mut object: impl Replay, key: &KeyOps, ops: &[Op], seed: u64)
where
    M::State: Debug,
{
    let mut state = model.start(key);
    for op in ops {
        let expected = model.apply(key, &state, op);
        let happened = object.apply(key, op);
        assert_eq!(
            happened,
            expected.is_some(),
            "seed {seed}: {op:?} in {state:?}\n{}",
            print(key)
        );
        let Some(after) = expected else { return };
        state = after;
    }
}

/// In any order, so that they are refused often; but an operation that fits is likely to come next.
fn sequence(key: &KeyOps, rng: &mut SmallRng) -> Vec<Op> {
    let mut ops = key.ops.clone();
    ops.retain(|op| op.outcome != Outcome::Fail || says_what_it_found(op));
    for _ in 0..rng.random_range(0..4) {
        if ops.len() > 1 {
            let place = rng.random_range(1..ops.len());
            ops.swap(place - 1, place);
        }
    }
    ops
}

#[test]
fn replays_agree_with_the_models() {
    for model in MODELS {
        for seed in 0..2_000 {
            let key = history(model, seed);
            let ops = sequence(&key, &mut SmallRng::seed_from_u64(seed));
            let key = &key;
            match model {
                Model::Register | Model::CasRegister => {
                    agree(&semantics::Register, replay::Register::of(key), key, &ops, seed);
                }
                Model::Append => {
                    agree(&semantics::AppendList, replay::AppendList::of(key), key, &ops, seed);
                }
                Model::Counter => {
                    agree(&semantics::Counter, replay::Counter::of(key), key, &ops, seed);
                }
                Model::MultiRegister => {
                    agree(
                        &semantics::MultiRegister,
                        replay::MultiRegister::of(key),
                        key,
                        &ops,
                        seed,
                    );
                }
                Model::Kv => agree(&semantics::Kv, replay::Kv::of(key), key, &ops, seed),
                Model::Set => agree(&semantics::Set, replay::Set::of(key), key, &ops, seed),
                Model::FifoQueue => {
                    agree(&semantics::FifoQueue, replay::FifoQueue::of(key), key, &ops, seed);
                }
                Model::UnorderedQueue => {
                    // Only of what is certain to have taken nothing: see there.
                    let unknown = |op: &Op| {
                        op.is_ok() && (op.action, op.seen) == (Action::Dequeue, Seen::Unknown)
                    };
                    let ops: Vec<Op> = ops.into_iter().filter(|op| !unknown(op)).collect();
                    let object = replay::UnorderedQueue::of(key);
                    agree(&semantics::UnorderedQueue, object, key, &ops, seed);
                }
                Model::Mutex => agree(&semantics::Mutex, replay::Mutex::of(key), key, &ops, seed),
            }
        }
    }
}
