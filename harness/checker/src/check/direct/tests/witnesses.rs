//! Orders that operations claim.

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::fuzz::history;
use crate::check::direct::{verify, witness};
use crate::model::Model;
use crate::testing::{Log, MODELS, Shape, generate, is_linearizable, print};

fn claiming(model: Model, open: u32, seed: u64) -> crate::ops::KeyOps {
    let mut rng = SmallRng::seed_from_u64(seed);
    let log = [Log::Own, Log::Reflected][usize::from(seed % 2 == 1)];
    let shape = Shape { open, small_values: 0, log, ..Shape::draw(30, &mut rng) };
    generate(model, shape, &mut rng)
}

#[test]
fn a_right_claim_is_verified() {
    for model in MODELS {
        for seed in 0..500 {
            let key = claiming(model, 0, seed);
            let Some(order) = witness(&key) else { continue };
            assert_eq!(verify(&key, &order), Ok(()), "seed {seed}: {order:?}\n{}", print(&key));
        }
    }
}

#[test]
fn what_happened_without_a_claim_is_placed_where_it_was_seen() {
    for model in [Model::Register, Model::CasRegister, Model::Append] {
        let cases = 500;
        let right = (0..cases)
            .map(|seed| claiming(model, 20, seed))
            .filter(|key| witness(key).is_none_or(|order| verify(key, &order).is_ok()));
        let right = right.count();
        assert!(right > 480, "{model}: {right} of {cases}");
    }
}

#[test]
fn a_wrong_claim_is_not_believed() {
    let mut refused = 0;
    for model in MODELS {
        for seed in 0..1_000 {
            let key = history(model, seed);
            match witness(&key).map(|order| verify(&key, &order)) {
                Some(Ok(())) => assert!(is_linearizable(&key), "seed {seed}\n{}", print(&key)),
                Some(Err(_)) => refused += 1,
                None => {}
            }
        }
    }
    assert!(refused > 500, "{refused}");
}
