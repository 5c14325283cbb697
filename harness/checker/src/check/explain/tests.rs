//! Steps never invent a contradiction, and what is left of one is one, and minimal.

use std::collections::HashSet;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::steps::{self, Atom, Out};
use super::{Core, Facts, Start, explain, reduce, timeline, timeline_svg, write_core};
use crate::History;
use crate::history::Outcome;
use crate::model::semantics::{
    AppendList, Counter, FifoQueue, Kv, MultiRegister, Mutex, Register, Set, UnorderedQueue,
};
use crate::model::{Model, Sequential};
use crate::ops::{Action, KeyOps, NEVER, NOTHING, Op, Seen, index};
use crate::testing::{MODELS, Shape, generate, is_linearizable, mutate, print};

/// How many cases; more with `CASES=1000000`, in release.
fn cases() -> u64 {
    std::env::var("CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(4_000)
}

/// Where the search ends without an order: the operation that returns first of those that make it impossible.
fn contradicts(key: &KeyOps) -> Option<u32> {
    if is_linearizable(key) {
        return None;
    }
    let mut returns: Vec<(u32, u32)> =
        (0..).zip(&key.ops).filter(|(_, op)| op.ret != NEVER).map(|(n, op)| (op.ret, n)).collect();
    returns.sort_unstable();
    let is_blocked = |&&(ret, _): &&(u32, u32)| !is_linearizable(&steps::cut(key, ret + 1));
    returns.iter().find(is_blocked).map(|&(_, number)| number)
}

/// Any of the steps.
fn step(key: &KeyOps, rng: &mut SmallRng) -> Option<KeyOps> {
    let ops = u32::try_from(key.ops.len()).expect("few");
    match rng.random_range(0..10) {
        0 => {
            let end = key.ops.iter().map(|op| op.call + 3).max()?;
            Some(steps::cut(key, rng.random_range(0..=end)))
        }
        1 => steps::start_at(key, rng.random_range(0..key.ops.len().max(1))),
        2 if ops > 0 => {
            let mut weaker = key.clone();
            let number = rng.random_range(0..key.ops.len());
            if weaker.ops[number].may_count() {
                weaker.ops[number] = steps::weaken(weaker.ops[number]);
            }
            Some(weaker)
        }
        3 => Some(steps::tidy(key.clone())),
        4 => Some(steps::compact(key.clone())),
        5 => {
            let share = rng.random_range(0.1..0.9);
            let kept: Vec<u32> = (0..ops).filter(|_| rng.random_bool(share)).collect();
            steps::without(key, &Out::all_but(key, &kept))
        }
        _ => {
            let share = rng.random_range(0.05..1.0);
            let atoms = steps::atoms(key);
            let out: Vec<Atom> = atoms.into_iter().filter(|_| rng.random_bool(share)).collect();
            steps::without(key, &Out::of(key, &out))
        }
    }
}

#[test]
fn no_step_makes_a_contradiction_of_what_is_none() {
    for seed in 0..cases() {
        let mut rng = SmallRng::seed_from_u64(seed);
        let model = MODELS[index(u32::try_from(seed).expect("few")) % MODELS.len()];
        let ops_max = rng.random_range(2..10);
        let shape = Shape::draw(ops_max, &mut rng);
        let mut key = generate(model, shape, &mut rng);
        // Most corrupted histories are still right in some other way.
        if rng.random_bool(0.5) {
            mutate(&mut key, &mut rng);
        }
        if !is_linearizable(&key) {
            continue;
        }
        for _ in 0..6 {
            let Some(smaller) = step(&key, &mut rng) else { continue };
            assert!(
                is_linearizable(&smaller),
                "seed {seed}: from {} came {}",
                print(&key),
                print(&smaller)
            );
            key = smaller;
        }
    }
}

/// A history that contradicts itself, if the seed gives one.
fn broken(seed: u64, ops_max: u32) -> Option<KeyOps> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let model = MODELS[index(u32::try_from(seed).expect("few")) % MODELS.len()];
    let shape = Shape::draw(ops_max, &mut rng);
    let mut key = generate(model, shape, &mut rng);
    for _ in 0..rng.random_range(1..4) {
        mutate(&mut key, &mut rng);
    }
    (!is_linearizable(&key)).then_some(key)
}

#[test]
fn a_core_contradicts_itself_and_nothing_can_be_left_out_of_it() {
    for seed in 0..cases() {
        let Some(key) = broken(seed, 12) else { continue };
        let start: Vec<u32> = (0..u32::try_from(key.ops.len()).expect("few")).collect();
        let start = Start {
            ops: (seed % 3 == 0).then_some(start.as_slice()),
            blocked: (seed % 3 == 1).then(|| contradicts(&key)).flatten(),
        };
        let core = reduce(&key, start, &mut contradicts, u64::MAX);
        let core = core.unwrap_or_else(|| panic!("seed {seed}: no core of {}", print(&key)));
        let told = || format!("seed {seed}: {} from {}", print(&core.key), print(&key));
        assert!(core.is_minimal, "{}", told());
        assert_eq!(contradicts(&core.key), Some(core.blocked), "{}", told());
        for atom in steps::atoms(&core.key) {
            if let Some(smaller) = steps::without(&core.key, &Out::of(&core.key, &[atom])) {
                assert!(
                    is_linearizable(&smaller) || smaller.ops.len() >= core.key.ops.len(),
                    "{atom:?} can go: {}",
                    told()
                );
            }
        }
        check_numbers(&key, &core, &told);
    }
}

/// Operations keep their numbers and intervals.
fn check_numbers(key: &KeyOps, core: &Core, told: &dyn Fn() -> String) {
    for op in &core.key.ops {
        let same = |other: &&Op| (other.number, other.call) == (op.number, op.call);
        let original = key.ops.iter().find(same).unwrap_or_else(|| panic!("{}", told()));
        assert!(op.ret == original.ret || op.ret == NEVER, "{}", told());
    }
}

/// A millisecond for each position; a client's number is as it is; nodes take turns.
struct Told<'k>(&'k KeyOps);

impl Told<'_> {
    fn op(&self, number: u32) -> &Op {
        self.0.ops.iter().find(|op| op.number == number).expect("an operation of the history")
    }
}

impl Facts for Told<'_> {
    fn client(&self, number: u32) -> u64 {
        u64::from(self.op(number).process)
    }

    fn invoked_ns(&self, number: u32) -> Option<u64> {
        Some(u64::from(self.op(number).call) * 1_000_000)
    }

    fn completed_ns(&self, number: u32) -> Option<u64> {
        let ret = self.op(number).ret;
        (ret != NEVER).then(|| u64::from(ret) * 1_000_000)
    }

    fn node(&self, number: u32) -> Option<u64> {
        Some(u64::from(number % 3) + 1)
    }
}

#[test]
fn every_core_is_explained_in_words() {
    for seed in 0..cases() {
        let Some(key) = broken(seed, 12) else { continue };
        let core =
            reduce(&key, Start::default(), &mut contradicts, u64::MAX).expect("a contradiction");
        let explanation = explain(&core, &Told(&key));
        let sentences = &explanation.sentences;
        let told = || format!("seed {seed}: {sentences}\n{}", print(&core.key));
        if std::env::var("SHOW").is_ok() {
            println!("{}: {}", explanation.anomaly.name(), told());
        }
        assert!(sentences.ends_with('.') && !sentences.contains(".."), "{}", told());
        assert!(sentences.len() < 900, "{}", told());
        assert!(explanation.ops.contains(&explanation.blocked), "{}", told());
        assert!(explanation.ops.len() >= core.key.ops.len(), "{}", told());
    }
}

/// Configurations by return: enough for long histories with little at once, of which few outcomes are unknown.
fn blocked_by<M: Sequential>(model: &M, key: &KeyOps) -> Option<u32> {
    let mut moments: Vec<(u32, bool, usize)> = Vec::new();
    for (number, op) in key.ops.iter().enumerate().filter(|(_, op)| op.may_count()) {
        moments.push((op.call, true, number));
        if op.ret != NEVER {
            moments.push((op.ret, false, number));
        }
    }
    moments.sort_unstable();
    let mut open: Vec<usize> = Vec::new();
    let mut at: HashSet<(M::State, Vec<usize>)> = HashSet::from([(model.start(key), Vec::new())]);
    for (_, is_call, number) in moments {
        if is_call {
            open.push(number);
            continue;
        }
        let mut found = HashSet::new();
        let mut left: Vec<(M::State, Vec<usize>)> = at.drain().collect();
        let mut known: HashSet<(M::State, Vec<usize>)> = left.iter().cloned().collect();
        while let Some((state, done)) = left.pop() {
            if done.contains(&number) {
                let done = done.into_iter().filter(|&other| other != number).collect();
                found.insert((state, done));
                continue;
            }
            for &next in open.iter().filter(|next| !done.contains(next)) {
                let Some(after) = model.apply(key, &state, &key.ops[next]) else { continue };
                let mut done = done.clone();
                done.push(next);
                done.sort_unstable();
                if known.insert((after.clone(), done.clone())) {
                    left.push((after, done));
                }
            }
        }
        if found.is_empty() {
            return u32::try_from(number).ok();
        }
        open.retain(|&other| other != number);
        at = found;
    }
    None
}

fn long_contradicts(key: &KeyOps) -> Option<u32> {
    match key.model {
        Model::Register | Model::CasRegister => blocked_by(&Register, key),
        Model::Append => blocked_by(&AppendList, key),
        Model::Counter => blocked_by(&Counter, key),
        Model::MultiRegister => blocked_by(&MultiRegister, key),
        Model::Kv => blocked_by(&Kv, key),
        Model::Set => blocked_by(&Set, key),
        Model::FifoQueue => blocked_by(&FifoQueue, key),
        Model::UnorderedQueue => blocked_by(&UnorderedQueue, key),
        Model::Mutex => blocked_by(&Mutex, key),
    }
}

#[test]
fn a_long_history_is_reduced_to_a_few_operations() {
    let ops = std::env::var("OPS").ok().and_then(|ops| ops.parse().ok()).unwrap_or(1_500);
    // Registers with few values too; of the others, this way to decide cannot tell what is done.
    for seed in 0..12 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let model = MODELS[index(u32::try_from(seed).expect("few")) % MODELS.len()];
        let lists = matches!(model, Model::Append | Model::Set | Model::Kv);
        // What came in together may be in any order until it comes out: too much for this way to decide.
        let is_queue = matches!(model, Model::FifoQueue | Model::UnorderedQueue);
        let ops = match (lists, is_queue) {
            (_, true) => 40,
            (true, false) => ops.min(1_500),
            (false, false) => ops,
        };
        let small_values = if seed < 10 { 0 } else { 100 };
        let shape = Shape {
            ops,
            clients: 4,
            spread: 3,
            open: 0,
            small_values,
            silent: 0,
            ..Shape::small()
        };
        let valid = generate(model, shape, &mut rng);
        let key = loop {
            let mut key = valid.clone();
            mutate(&mut key, &mut rng);
            if key.ops.iter().all(|op| op.ret != NEVER) && long_contradicts(&key).is_some() {
                break key;
            }
        };
        let mut decisions = (0, 0);
        let mut count = |key: &KeyOps| {
            decisions = (decisions.0 + 1, decisions.1 + key.ops.len());
            long_contradicts(key)
        };
        let core =
            reduce(&key, Start::default(), &mut count, 200_000_000).expect("a contradiction");
        if std::env::var("SHOW").is_ok() {
            println!(
                "{model} {small_values}: {} of {} operations, {decisions:?}: {}",
                core.key.ops.len(),
                key.ops.len(),
                explain(&core, &Told(&key)).sentences
            );
        }
        assert!(core.is_minimal, "seed {seed}");
        let told = || format!("seed {seed}: {}", print(&core.key));
        assert!(long_contradicts(&core.key).is_some(), "{}", told());
        assert_eq!(core.context.hidden.len(), core.key.ops.len(), "{}", told());
        if matches!(model, Model::Register | Model::CasRegister) && core.key.initial != key.initial
        {
            // Somebody in the core tells where its first value comes from.
            let first = core.key.initial_word();
            let tells = core.key.ops.iter().any(|op| steps::registers::looks_at(op) == Some(first));
            assert!(tells, "{}", told());
        }
        // Locks can only be counted, and with many at once that may take many.
        let is_few = core.key.ops.len() <= 14 || model == Model::Mutex;
        assert!(is_few, "seed {seed}: {}", print(&core.key));
    }
}

#[test]
fn every_core_is_drawn_and_written_so_that_it_contradicts_itself_again() {
    for seed in 0..cases() {
        let Some(key) = broken(seed, 12) else { continue };
        // No format can ask for that.
        if key.ops.iter().any(|op| op.action == Action::Remove(NOTHING)) {
            continue;
        }
        let core =
            reduce(&key, Start::default(), &mut contradicts, u64::MAX).expect("a contradiction");
        let facts = Told(&key);
        let drawing = timeline(&core, &facts, 80);
        let written = write_core(&core, &facts);
        let svg = timeline_svg(&core, &facts);
        let told = || format!("seed {seed}: {}\n{drawing}\n{written}\n{svg}", print(&core.key));
        if std::env::var("SHOW").is_ok() {
            println!("{}", told());
        }
        assert!(drawing.is_ascii() && drawing.lines().all(|line| line.len() <= 80), "{}", told());
        assert!(drawing.contains("=="), "{}", told());
        assert_eq!(svg.matches("<g ").count(), svg.matches("</g>").count(), "{}", told());
        assert_eq!(
            svg.matches("<rect ").count(),
            svg.matches("</title><text ").count(),
            "{}",
            told()
        );
        let history = History::parse(written.as_bytes(), "core")
            .unwrap_or_else(|e| panic!("{e}: {}", told()));
        let [again] = history.keys() else { panic!("{}", told()) };
        assert!(!is_linearizable(again), "{} became {}", told(), print(again));
    }
}

#[test]
fn an_append_stays_if_a_read_that_began_before_it_may_have_seen_it() {
    let mut key = KeyOps::new(Model::Kv, None);
    let mut word = |text: &str| key.words.push(b's', text).expect("room for it");
    let (before, token, after, seen) = (word("x"), word("a"), word("y"), word("xa"));
    key.initial = Seen::Word(before);
    let calls = [
        (0, 10, Action::Read, Seen::Word(seen)),
        (1, 2, Action::Append(token), Seen::Unknown),
        (3, 4, Action::Write(after), Seen::Unknown),
    ];
    for (number, (call, ret, action, seen)) in (0..).zip(calls) {
        let (process, outcome) = (number, Outcome::Ok);
        key.ops.push(Op { number, call, ret, process, outcome, action, seen, log_index: 0 });
    }
    assert!(is_linearizable(&key), "{}", print(&key));
    let out = Out::of(&key, &[Atom::Op(1)]);
    let smaller = steps::without(&key, &out);
    assert!(smaller.is_none_or(|smaller| is_linearizable(&smaller)));
}
