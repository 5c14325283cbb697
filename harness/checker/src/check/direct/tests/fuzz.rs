//! What is decided is right, and what is named contradicts by itself.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::check::decision::Finding;
use crate::check::direct::{contradictions, decide, verify};
use crate::model::Model;
use crate::ops::{Action, KeyOps, NOTHING, Op, Seen, index};
use crate::testing::{MODELS, Shape, generate, is_linearizable, mutate, print};

/// A history of some shape, in three of four cases corrupted.
pub(super) fn history(model: Model, seed: u64) -> KeyOps {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut shape = Shape::draw(10, &mut rng);
    // Values that tell who wrote them are what these tests are made for.
    if rng.random_bool(0.6) {
        shape.small_values = 0;
    }
    let mut key = generate(model, shape, &mut rng);
    for _ in 0..rng.random_range(0..4) {
        mutate(&mut key, &mut rng);
    }
    key
}

/// Some operations alone. A cas whose expected value somebody else wrote is taken for a write, so that it contradicts the
/// others only by what it leaves.
pub(super) fn alone(key: &KeyOps, ops: &[u32]) -> KeyOps {
    let mut part = key.clone();
    part.ops = ops.iter().map(|&id| key.ops[index(id)]).collect();
    let changes = |op: &&Op| !matches!(op.action, Action::Cas { expect, new } if expect == new);
    let written = |key: &KeyOps, word: u32, before: u32| {
        let mut writes = key.ops.iter().filter(changes).filter(|op| op.writes() == Some(word));
        writes.any(|op| op.call < before)
    };
    let chosen = part.clone();
    for op in &mut part.ops {
        if let Action::Cas { expect, new } = op.action
            && op.may_count()
            && expect != key.initial_word()
            && written(key, expect, op.ret)
            && !written(&chosen, expect, u32::MAX)
        {
            op.action = Action::Write(new);
            op.seen = Seen::Unknown;
        }
    }
    part
}

/// The values that operations may have written, appended or put in, and what was there from the beginning.
fn values(key: &KeyOps) -> Vec<u32> {
    let mut words = match key.initial {
        Seen::List(list) => key.list(list).to_vec(),
        Seen::Word(_) | Seen::Unknown | Seen::Number(_) => vec![key.initial_word()],
    };
    words.extend(key.ops.iter().filter(|op| op.may_count()).filter_map(|op| {
        match (op.action, op.writes()) {
            (Action::Append(word) | Action::Enqueue(word), _) | (_, Some(word)) => Some(word),
            _ => None,
        }
    }));
    words
}

pub(super) fn are_unique(key: &KeyOps) -> bool {
    let mut words = values(key);
    let all = words.len();
    words.sort_unstable();
    words.dedup();
    words.len() == all
}

/// Histories that these tests are complete for.
fn has_to_decide(key: &KeyOps, is_good: bool) -> bool {
    let counting = || key.ops.iter().filter(|op| op.may_count());
    let takes_unknown =
        counting().any(|op| (op.action, op.seen) == (Action::Dequeue, Seen::Unknown));
    match key.model {
        Model::Register | Model::CasRegister | Model::Append => are_unique(key),
        Model::Mutex => is_good,
        Model::Counter => {
            let sizes: Vec<i64> = counting().filter_map(Op::adds).collect();
            is_good && sizes.windows(2).all(|pair| pair[0] == pair[1])
        }
        Model::UnorderedQueue => {
            let puts_nothing = counting().any(|op| op.action == Action::Enqueue(NOTHING));
            is_good && are_unique(key) && !takes_unknown && !puts_nothing
        }
        Model::MultiRegister | Model::Kv | Model::Set | Model::FifoQueue => false,
    }
}

#[derive(Default, Debug)]
struct Tally {
    linearizable: u32,
    undecided_good: u32,
    undecided_bad: u32,
    largest_core: usize,
}

fn check(key: &KeyOps, context: &str, tally: &mut Tally) {
    let is_good = is_linearizable(key);
    tally.linearizable += u32::from(is_good);
    let found = contradictions(key, 100);
    assert!(found.count == 0 || !is_good, "{context}: {found:?}\n{}", print(key));
    for contradiction in &found.first {
        let part = alone(key, &contradiction.ops);
        let is_core_good = is_linearizable(&part);
        // That nobody did something cannot be seen from those who did not.
        assert!(!is_core_good, "{context}: {contradiction:?}\n{}\n{}", print(key), print(&part));
        tally.largest_core = tally.largest_core.max(contradiction.ops.len());
    }
    match decide(key) {
        Finding::Order(order) => {
            assert!(is_good, "{context}: {order:?}\n{}", print(key));
            assert_eq!(verify(key, &order), Ok(()), "{context}");
            assert_eq!(found.count, 0, "{context}: {found:?}\n{}", print(key));
        }
        Finding::Contradiction(contradiction) => {
            assert_eq!(Some(&contradiction), found.first.first(), "{context}");
        }
        Finding::Undecided => {
            if is_good {
                tally.undecided_good += 1;
            } else {
                tally.undecided_bad += 1;
            }
            assert!(!has_to_decide(key, is_good), "{context}: undecided {is_good}\n{}", print(key));
            if is_good { tally.undecided_good += 1 } else { tally.undecided_bad += 1 }
        }
    }
}

fn check_many(model: Model, seeds: std::ops::Range<u64>) -> Tally {
    let mut tally = Tally::default();
    for seed in seeds {
        check(&history(model, seed), &format!("{model} seed {seed}"), &mut tally);
    }
    tally
}

#[test]
fn decisions_are_right() {
    for model in MODELS {
        check_many(model, 0..1_500);
    }
}

/// With `DIRECT_CASES=1000000`, as many histories of each model; prints how many stay undecided.
#[test]
fn decisions_are_right_at_length() {
    let Some(cases) =
        std::env::var("DIRECT_CASES").ok().and_then(|cases| cases.parse::<u64>().ok())
    else {
        return;
    };
    let only = std::env::var("DIRECT_MODEL").ok();
    for model in
        MODELS.into_iter().filter(|model| only.as_ref().is_none_or(|name| name == model.name()))
    {
        let tally = check_many(model, 1_000_000_000..1_000_000_000 + cases);
        eprintln!("{model}: of {cases} histories {tally:?}");
    }
}
