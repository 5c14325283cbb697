//! Draws the next operation.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::seq::index::sample;
use rand::{Rng, SeedableRng};

use super::keys::Keys;
use super::{F, Hold, Object, Operation, Step, register_name};
use crate::scenario::{Lock, Scenario};

/// Draws operations for all clients of a run. Same seed, same order of calls, same operations.
#[derive(Debug)]
pub struct Generator {
    rng: StdRng,
    mix: Vec<(F, u32)>,
    model: Object,
    /// How many registers a key has.
    registers: usize,
    lock: Option<Lock>,
    keys: Keys,
    /// The lock that a process holds, and with what.
    held: BTreeMap<u64, (String, String)>,
    /// Values written so far: what makes the next one unique.
    values: u64,
}

/// What the completion of an operation tells the generator: what the next cas, or transfer, will expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hints {
    /// A key's value.
    Value(Option<String>),
    /// What is on a key's accounts.
    Balances(Vec<i64>),
}

impl Generator {
    /// For one run of `scenario`.
    pub fn new(scenario: &Scenario, seed: u64) -> Generator {
        let mut rng = StdRng::seed_from_u64(seed);
        let [shortest, longest] = scenario.keys.operations;
        let balances = vec![scenario.opening_balance.unwrap_or(0); scenario.registers];
        let (live, model) = (scenario.keys.live, scenario.model);
        let keys = Keys::new(live, shortest..=longest, model, balances, &mut rng);
        Generator {
            rng,
            mix: scenario.mix().collect(),
            model,
            registers: scenario.registers,
            lock: scenario.lock,
            keys,
            held: BTreeMap::new(),
            values: 0,
        }
    }

    /// What the client called `process` is to do next.
    pub fn next(&mut self, process: u64) -> Operation {
        if let Some((key, holder)) = self.held.get(&process).cloned() {
            return Operation::Release { key, holder };
        }
        let chosen = self.mix.choose_weighted(&mut self.rng, |&(_, share)| share);
        let f = chosen.map_or(F::Read, |&(f, _)| f);
        self.operation(f, process)
    }

    /// What a client that only reads is to read next.
    pub fn next_read(&mut self, process: u64) -> Operation {
        self.operation(F::Read, process)
    }

    /// What tells in the end what `key` holds. A queue is to be asked until it is empty; a lock tells nothing.
    pub fn last_read(&self, key: String) -> Option<Operation> {
        match self.model {
            Object::Register
            | Object::CasRegister
            | Object::Append
            | Object::Counter
            | Object::Set => Some(Operation::Read { key }),
            Object::MultiRegister => Some(self.read_all(key)),
            Object::FifoQueue => Some(Operation::Dequeue { key }),
            Object::Mutex => None,
        }
    }

    fn operation(&mut self, f: F, process: u64) -> Operation {
        let key = self.keys.pick(&mut self.rng);
        let (seen, balances) = (key.seen.clone(), key.balances.clone());
        let key = key.name.clone();
        match f {
            F::Read if self.model == Object::MultiRegister => self.read_all(key),
            F::Read => Operation::Read { key },
            F::Write => Operation::Write { key, value: self.fresh_value(process) },
            F::Cas => Operation::Cas { key, expect: seen, value: self.fresh_value(process) },
            F::Append => Operation::Append { key, token: self.fresh_value(process) },
            F::Incr => Operation::Incr { key, by: self.rng.random_range(1..=5) },
            F::Add => {
                let hold = self.lock.map(|lock| self.hold(lock));
                Operation::Add { key, element: self.fresh_value(process), hold }
            }
            F::Txn => self.transaction(key, process),
            F::Transfer => self.transfer(key, &balances),
            F::Enqueue => Operation::Enqueue { key, value: self.fresh_value(process) },
            F::Dequeue => Operation::Dequeue { key },
            // Nobody gives back what it does not hold.
            F::Acquire | F::Release => {
                Operation::Acquire { key, holder: self.fresh_value(process) }
            }
        }
    }

    fn read_all(&self, key: String) -> Operation {
        let read = |number| Step::Read { register: register_name(number) };
        Operation::Txn { key, steps: (0..self.registers).map(read).collect() }
    }

    /// Two or three registers, at least one of which is written.
    fn transaction(&mut self, key: String, process: u64) -> Operation {
        let several = self.rng.random_range(2..=self.registers.min(3));
        let chosen = sample(&mut self.rng, self.registers, several);
        let written = self.rng.random_range(0..several);
        let mut steps = Vec::new();
        for (i, number) in chosen.into_iter().enumerate() {
            let register = register_name(number);
            if i == written || self.rng.random_bool(0.5) {
                let value = self.fresh_value(process).into();
                steps.push(Step::Write { register, value });
            } else {
                steps.push(Step::Read { register });
            }
        }
        Operation::Txn { key, steps }
    }

    /// From an account that has something to another one.
    fn transfer(&mut self, key: String, balances: &[i64]) -> Operation {
        let full: Vec<usize> = (0..balances.len()).filter(|&i| balances[i] > 0).collect();
        let from = full.choose(&mut self.rng).copied().unwrap_or(0);
        let others: Vec<usize> = (0..balances.len()).filter(|&i| i != from).collect();
        let to = others.choose(&mut self.rng).copied().unwrap_or(0);
        let amount = self.rng.random_range(1..=balances[from].clamp(1, 5));
        let expect =
            |i: usize| Step::Expect { register: register_name(i), value: balances[i].into() };
        let write = |i: usize, by: i64| Step::Write {
            register: register_name(i),
            value: (balances[i] + by).into(),
        };
        let steps = vec![expect(from), expect(to), write(from, -amount), write(to, amount)];
        Operation::Txn { key, steps }
    }

    fn hold(&mut self, lock: Lock) -> Hold {
        let pauses = self.rng.random_range(0..100) < lock.pauses_percent;
        let pause = pauses.then_some(lock.pause);
        Hold { lease: lock.lease, pause, fencing: lock.fencing }
    }

    /// A client learnt something of `key`.
    pub fn saw(&mut self, key: &str, hints: Hints) {
        match hints {
            Hints::Value(value) => self.keys.saw(key, value),
            Hints::Balances(balances) if balances.len() == self.registers => {
                self.keys.saw_balances(key, balances);
            }
            Hints::Balances(_) => {}
        }
    }

    /// An operation on `key` has an unknown outcome.
    pub fn lost_track(&mut self, process: u64, key: &str) {
        self.keys.lost_track(key);
        self.held.remove(&process);
    }

    /// `process` has taken the lock `key`.
    pub fn acquired(&mut self, process: u64, key: &str, holder: &str) {
        self.held.insert(process, (key.to_owned(), holder.to_owned()));
    }

    /// `process` holds no lock any more.
    pub fn released(&mut self, process: u64) {
        self.held.remove(&process);
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
#[expect(clippy::wildcard_enum_match_arm, reason = "each test is about a few operations")]
mod tests {
    use std::collections::BTreeSet;

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
        for name in ["register", "cas-register", "append", "set", "queue", "mutex"] {
            let mut seen = BTreeSet::new();
            for operation in operations(name, 7, 5000) {
                let value = match operation {
                    Operation::Write { value, .. }
                    | Operation::Cas { value, .. }
                    | Operation::Enqueue { value, .. } => value,
                    Operation::Append { token, .. } => token,
                    Operation::Add { element, .. } => element,
                    Operation::Acquire { holder, .. } => holder,
                    _ => continue,
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
                kinds.insert(operation.name());
            }
            // Reads of several registers and transfers between them are transactions; nobody holds a lock here.
            let named = |f: F| match f {
                F::Read | F::Transfer if scenario.model == Object::MultiRegister => "txn",
                F::Release => "acquire",
                f => f.name(),
            };
            assert_eq!(kinds, scenario.mix().map(|(f, _)| named(f)).collect(), "{}", scenario.name);
            let most = per_key.values().max().copied().unwrap();
            assert!(most <= scenario.keys.operations[1], "{most} operations on one key");
        }
    }

    #[test]
    fn key_with_many_unknown_outcomes_is_retired() {
        let mut generator = Generator::new(&Scenario::built_in("counter").unwrap(), 1);
        let doomed = generator.live_keys()[0].clone();
        for _ in 0..100 {
            generator.lost_track(1, &doomed);
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
            generator.saw(&key, Hints::Value(Some("seen".to_owned())));
        }
        let expected = (0..100).find_map(|process| match generator.next(process) {
            Operation::Cas { expect, .. } => Some(expect),
            _ => None,
        });
        assert_eq!(expected, Some(Some("seen".to_owned())));
    }

    #[test]
    fn transfers_keep_the_total_and_never_overdraw() {
        let mut generator = Generator::new(&Scenario::built_in("bank").unwrap(), 1);
        let mut transfers = 0;
        for process in 0..2000 {
            let Operation::Txn { key, steps } = generator.next(process) else { panic!("no txn") };
            let of = |written: bool| -> Vec<i64> {
                let value = |step: &Step| match step {
                    Step::Expect { value, .. } if !written => value.as_i64(),
                    Step::Write { value, .. } if written => value.as_i64(),
                    _ => None,
                };
                steps.iter().filter_map(value).collect()
            };
            let (before, after) = (of(false), of(true));
            assert_eq!(before.len(), after.len(), "{steps:?}");
            assert_eq!(before.iter().sum::<i64>(), after.iter().sum::<i64>(), "{steps:?}");
            assert!(after.iter().all(|&balance| balance >= 0), "{steps:?}");
            transfers += usize::from(!after.is_empty());
            generator.saw(&key, Hints::Balances(vec![0, 3, 57, 0]));
        }
        assert!(transfers > 500, "{transfers}");
    }

    #[test]
    fn holder_of_a_lock_gives_it_back_next() {
        let mut generator = Generator::new(&Scenario::built_in("mutex").unwrap(), 1);
        generator.acquired(3, "k0", "3-1");
        let release = Operation::Release { key: "k0".to_owned(), holder: "3-1".to_owned() };
        assert_eq!([generator.next(3), generator.next(3)], [release.clone(), release]);
        assert!(matches!(generator.next(4), Operation::Acquire { .. }));
        generator.released(3);
        assert!(matches!(generator.next(3), Operation::Acquire { .. }));
    }
}
