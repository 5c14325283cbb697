//! The ways to decide a key against each other, on histories that are too large for the oracle.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{Log, MODELS, Shape, generate, mutate, print};
use crate::check::decision::{Answer, Budget, Finding};
use crate::check::linearizable::decide::{Decision, decide};
use crate::check::{direct, exact};
use crate::model::Model;
use crate::ops::KeyOps;

/// Exact answers in a second or so, also without optimization.
const BUDGET: Budget<'_> =
    Budget { configurations_max: 100_000, memory_bytes_max: 256 << 20, cancelled: None };

/// How often each way gave which answer.
#[derive(Debug, Default)]
struct Tally {
    cases: u32,
    direct_order: u32,
    direct_contradiction: u32,
    witness: u32,
    exact_linearizable: u32,
    exact_blocked: u32,
}

/// Many operations, few at once.
fn large(ops: u32, rng: &mut SmallRng) -> Shape {
    Shape {
        ops,
        clients: rng.random_range(2..=6),
        spread: rng.random_range(1..=4),
        open: [0, 1][rng.random_range(0..2)],
        failed: 1,
        small_values: [0, 0, 100][rng.random_range(0..3)],
        small_values_max: 5,
        silent: 0,
        initial: 20,
        log: [Log::No, Log::Own, Log::Reflected][rng.random_range(0..3)],
    }
}

/// Lists that are read in full, and states that are copied, cost the square of their number.
fn size(model: Model, ops: u32) -> u32 {
    match model {
        Model::Register | Model::CasRegister | Model::Counter | Model::Mutex => ops,
        Model::Append
        | Model::MultiRegister
        | Model::Kv
        | Model::Set
        | Model::FifoQueue
        | Model::UnorderedQueue => ops / 10,
    }
}

/// Asks all ways, and complains if one's answer excludes another's.
fn compare(key: &KeyOps, is_untouched: bool, what: &str, tally: &mut Tally) {
    let found = direct::decide(key);
    let witness = direct::witness(key).filter(|order| direct::verify(key, order).is_ok());
    let (answer, _) = exact::search(key, &BUDGET);
    let decision = decide(key, &BUDGET);
    let complain = |problem: &str| {
        let few = if key.ops.len() <= 200 { print(key) } else { String::new() };
        let found = match &found {
            Finding::Order(_) => "an order".to_owned(),
            Finding::Contradiction(_) | Finding::Undecided => format!("{found:?}"),
        };
        panic!("{problem}: {what}: direct {found}, exact {answer:?}\n{few}");
    };
    tally.cases += 1;
    match &found {
        Finding::Order(order) => {
            tally.direct_order += 1;
            if let Err(flaw) = direct::verify(key, order) {
                complain(&format!("an order with a flaw, {flaw:?}"));
            }
        }
        Finding::Contradiction(_) => tally.direct_contradiction += 1,
        Finding::Undecided => {}
    }
    tally.witness += u32::from(witness.is_some());
    tally.exact_linearizable += u32::from(answer == Answer::Linearizable);
    tally.exact_blocked += u32::from(matches!(answer, Answer::Blocked { .. }));
    let proven = witness.is_some()
        || matches!(decision, Decision::Linearizable(..))
        || answer == Answer::Linearizable
        || matches!(found, Finding::Order(_))
        || is_untouched;
    let refuted = matches!(found, Finding::Contradiction(_))
        || matches!(answer, Answer::Blocked { .. })
        || matches!(decision, Decision::Contradictory { .. });
    if proven && refuted {
        complain("the ways to decide disagree");
    }
}

/// All models, `cases` of each, valid and broken.
fn compare_all(ops: u32, cases: u64) {
    for model in MODELS {
        let mut tally = Tally::default();
        for seed in 0..cases {
            let mut rng = SmallRng::seed_from_u64(seed);
            let shape = large(size(model, ops), &mut rng);
            let mut key = generate(model, shape, &mut rng);
            let what = format!("model {model}, seed {seed}, {shape:?}");
            compare(&key, true, &what, &mut tally);
            for _ in 0..rng.random_range(1..6) {
                mutate(&mut key, &mut rng);
            }
            compare(&key, false, &what, &mut tally);
        }
        eprintln!("{model}: {tally:?}");
        // Otherwise the comparison means little.
        assert!(tally.exact_linearizable > 0 && tally.exact_blocked > 0, "{model}: {tally:?}");
        assert!(tally.witness > 0, "{model}: {tally:?}");
        if [Model::Register, Model::CasRegister, Model::Append].contains(&model) {
            assert!(tally.direct_order > 0, "{model}: {tally:?}");
            assert!(tally.direct_contradiction > 0, "{model}: {tally:?}");
        }
    }
}

#[test]
fn ways_to_decide_agree_on_large_histories() {
    compare_all(3_000, 8);
}

#[test]
fn ways_to_decide_agree_on_medium_histories() {
    compare_all(300, 40);
}
