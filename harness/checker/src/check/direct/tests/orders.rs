//! Verification of orders against the definition, read as literally as possible.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::fuzz::history;
use crate::check::direct::verify::{is_certain, says_what_it_found};
use crate::check::direct::{place, verify};
use crate::history::Outcome;
use crate::model::{Model, Sequential, semantics};
use crate::ops::{Action, KeyOps, Op, Seen, index};
use crate::testing::{MODELS, print};

fn runs<M: Sequential>(model: &M, key: &KeyOps, order: &[u32]) -> bool {
    let mut state = model.start(key);
    order.iter().all(|&id| match model.apply(key, &state, &key.ops[index(id)]) {
        Some(after) => {
            state = after;
            true
        }
        None => false,
    })
}

fn is_an_order(key: &KeyOps, order: &[u32]) -> bool {
    let op = |id: u32| -> &Op { &key.ops[index(id)] };
    let exist = order.iter().all(|&id| index(id) < key.ops.len());
    if !exist {
        return false;
    }
    let times = |id: u32| order.iter().filter(|&&other| other == id).count();
    let happen = key.ops.iter().zip(0..).all(|(op, id)| match op.outcome {
        Outcome::Ok => times(id) == 1,
        Outcome::Open => times(id) <= 1,
        Outcome::Fail => times(id) == usize::from(says_what_it_found(op)),
    });
    let pairs = || {
        order
            .iter()
            .enumerate()
            .flat_map(|(at, id)| order[at..].iter().map(move |next| (*id, *next)))
    };
    let in_time = pairs().all(|(before, after)| op(after).ret > op(before).call);
    happen
        && in_time
        && match key.model {
            Model::Register | Model::CasRegister => runs(&semantics::Register, key, order),
            Model::Append => runs(&semantics::AppendList, key, order),
            Model::Counter => runs(&semantics::Counter, key, order),
            Model::MultiRegister => runs(&semantics::MultiRegister, key, order),
            Model::Kv => runs(&semantics::Kv, key, order),
            Model::Set => runs(&semantics::Set, key, order),
            Model::FifoQueue => runs(&semantics::FifoQueue, key, order),
            Model::UnorderedQueue => runs(&semantics::UnorderedQueue, key, order),
            Model::Mutex => runs(&semantics::Mutex, key, order),
        }
}

/// In order of return, with something left out, repeated, added or moved.
fn proposal(key: &KeyOps, rng: &mut SmallRng) -> Vec<u32> {
    let mut order = place::by_return(key);
    for _ in 0..rng.random_range(0..3) {
        let at = rng.random_range(0..=order.len());
        let any = rng.random_range(0..=u32::try_from(key.ops.len()).expect("few"));
        match rng.random_range(0..4) {
            0 if at < order.len() => drop(order.remove(at)),
            1 | 2 => order.insert(at, any),
            3 if at + 1 < order.len() => order.swap(at, at + 1),
            _ => {}
        }
    }
    order
}

#[test]
fn orders_are_verified_as_they_are_defined() {
    let mut right = 0;
    for model in MODELS {
        for seed in 0..6_000 {
            let key = history(model, seed);
            // What it took is not known then: stricter than the model, see there.
            let takes_unknown = |op: &Op| (op.action, op.seen) == (Action::Dequeue, Seen::Unknown);
            if model == Model::UnorderedQueue && key.ops.iter().any(takes_unknown) {
                continue;
            }
            let order = proposal(&key, &mut SmallRng::seed_from_u64(seed));
            let verified = verify(&key, &order);
            let expected = is_an_order(&key, &order);
            let context = || format!("seed {seed}: {order:?}, {verified:?}\n{}", print(&key));
            assert_eq!(verified.is_ok(), expected, "{}", context());
            right += usize::from(expected);
        }
    }
    assert!(right > 3_000, "{right}");
}

#[test]
fn what_failed_is_certain_only_if_it_says_what_it_found() {
    for seed in 0..2_000 {
        for op in history(Model::CasRegister, seed).ops {
            let says = matches!((op.action, op.seen), (Action::Cas { .. }, Seen::Word(_)));
            let expected = match op.outcome {
                Outcome::Ok => true,
                Outcome::Fail => says,
                Outcome::Open => false,
            };
            assert_eq!(is_certain(&op), expected, "{op:?}");
        }
    }
}
