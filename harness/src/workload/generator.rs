//! Draws the next operation.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::keys::Keys;
use super::{F, Operation};
use crate::scenario::Scenario;

/// Draws operations for all clients of a run. Same seed, same order of calls, same operations.
#[derive(Debug)]
pub struct Generator {
    rng: StdRng,
    mix: Vec<(F, u32)>,
    keys: Keys,
    /// Values written so far: what makes the next one unique.
    values: u64,
}

impl Generator {
    /// For one run of `scenario`.
    pub fn new(scenario: &Scenario, seed: u64) -> Generator {
        let mut rng = StdRng::seed_from_u64(seed);
        let [shortest, longest] = scenario.keys.operations;
        let keys = Keys::new(scenario.keys.live, shortest..=longest, &mut rng);
        Generator { rng, mix: scenario.mix().collect(), keys, values: 0 }
    }

    /// What the client called `process` is to do next.
    pub fn next(&mut self, process: u64) -> Operation {
        let chosen = self.mix.choose_weighted(&mut self.rng, |&(_, share)| share);
        let f = chosen.map_or(F::Read, |&(f, _)| f);
        self.operation(f, process)
    }

    /// Which key a client that only reads is to read next.
    pub fn next_read(&mut self, process: u64) -> Operation {
        self.operation(F::Read, process)
    }

    fn operation(&mut self, f: F, process: u64) -> Operation {
        let key = self.keys.pick(&mut self.rng);
        let (seen, key) = (key.seen.clone(), key.name.clone());
        match f {
            F::Read => Operation::Read { key },
            F::Write => Operation::Write { key, value: self.fresh_value(process) },
            F::Cas => Operation::Cas { key, expect: seen, value: self.fresh_value(process) },
            F::Append => Operation::Append { key, token: self.fresh_value(process) },
            F::Incr => Operation::Incr { key, by: self.rng.random_range(1..=5) },
        }
    }

    /// A client saw `value` at `key`: what the next cas will expect.
    pub fn saw(&mut self, key: &str, value: Option<String>) {
        self.keys.saw(key, value);
    }

    /// An operation on `key` has an unknown outcome.
    pub fn lost_track(&mut self, key: &str) {
        self.keys.lost_track(key);
    }

    /// Every key used so far, in order of first use.
    pub fn keys(&self) -> Vec<String> {
        self.keys.all().collect()
    }

    /// The keys in use now.
    pub fn live_keys(&self) -> Vec<String> {
        self.keys.live().map(str::to_owned).collect()
    }

    fn fresh_value(&mut self, process: u64) -> String {
        self.values += 1;
        format!("{process}-{}", self.values)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// `count` operations of the built-in workload `name`, asked for by ten processes in turn.
    fn operations(name: &str, seed: u64, count: u64) -> Vec<Operation> {
        let mut generator = Generator::new(&Scenario::built_in(name).unwrap(), seed);
        (0..count).map(|i| generator.next(i % 10)).collect()
    }

    #[test]
    fn generator_with_the_same_seed_draws_the_same() {
        for scenario in Scenario::all_built_in().unwrap() {
            let draw = |seed| operations(&scenario.name, seed, 2000);
            assert_eq!(draw(1), draw(1), "{}", scenario.name);
            assert_ne!(draw(1), draw(2), "{}", scenario.name);
        }
    }

    #[test]
    fn generator_never_writes_a_value_twice() {
        for name in ["register", "cas-register", "append"] {
            let mut seen = BTreeSet::new();
            for operation in operations(name, 7, 5000) {
                let value = match operation {
                    Operation::Write { value, .. } | Operation::Cas { value, .. } => value,
                    Operation::Append { token, .. } => token,
                    Operation::Read { .. } | Operation::Incr { .. } => continue,
                };
                assert!(!value.contains(','), "a comma separates tokens: {value}");
                assert!(seen.insert(value.clone()), "{name} wrote {value} twice");
            }
        }
    }

    #[test]
    fn generator_draws_every_operation_of_the_mix_and_bounds_every_key() {
        for scenario in Scenario::all_built_in().unwrap() {
            let mut per_key: BTreeMap<String, u32> = BTreeMap::new();
            let mut kinds = BTreeSet::new();
            for operation in operations(&scenario.name, 3, 5000) {
                *per_key.entry(operation.key().to_owned()).or_default() += 1;
                kinds.insert(operation.f());
            }
            assert_eq!(kinds, scenario.mix().map(|(f, _)| f).collect(), "{}", scenario.name);
            let most = per_key.values().max().copied().unwrap();
            assert!(most <= scenario.keys.operations[1], "{most} operations on one key");
        }
    }

    #[test]
    fn key_with_many_unknown_outcomes_is_retired() {
        let mut generator = Generator::new(&Scenario::built_in("counter").unwrap(), 1);
        let doomed = generator.live_keys()[0].clone();
        for _ in 0..100 {
            generator.lost_track(&doomed);
        }
        for process in 0..200 {
            assert_ne!(generator.next(process).key(), doomed);
        }
        assert!(generator.keys().contains(&doomed), "its final read is still due");
    }

    #[test]
    fn cas_expects_what_was_seen_last() {
        let mut generator = Generator::new(&Scenario::built_in("cas-register").unwrap(), 1);
        for key in generator.live_keys() {
            generator.saw(&key, Some("seen".to_owned()));
        }
        let expected = (0..100).find_map(|process| match generator.next(process) {
            Operation::Cas { expect, .. } => Some(expect),
            Operation::Read { .. }
            | Operation::Write { .. }
            | Operation::Append { .. }
            | Operation::Incr { .. } => None,
        });
        assert_eq!(expected, Some(Some("seen".to_owned())));
    }
}
