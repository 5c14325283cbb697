//! States that are taken while the store goes on, and stores that go on from them.

use super::*;
use crate::kv::{BadState, SessionView, State, StateBuilder};

/// Everything in it, by value; equal only for equal states.
#[derive(Debug, PartialEq, Eq)]
struct Deep {
    applied: Index,
    births_expired: Index,
    hash: u64,
    values: Vec<(String, String)>,
    sessions: Vec<Remembered>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Remembered {
    client: String,
    used: Index,
    floor: u64,
    answers: Vec<(u64, Written)>,
}

impl Deep {
    fn of(state: &State) -> Deep {
        let values: Vec<_> =
            state.iter_values().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let sessions: Vec<_> = state.iter_sessions().map(Remembered::of).collect();
        assert_eq!((values.len(), sessions.len()), (state.keys(), state.sessions()));
        Deep {
            applied: state.applied(),
            births_expired: state.births_expired(),
            hash: state.hash(),
            values,
            sessions,
        }
    }

    fn build(&self, limits: Limits) -> Result<State, BadState> {
        let mut builder = StateBuilder::new(limits, self.applied, self.births_expired)?;
        for (key, value) in &self.values {
            builder.value(key, value)?;
        }
        for Remembered { client, used, floor, answers } in &self.sessions {
            builder.session(client, *used, *floor, answers.clone())?;
        }
        builder.finish(self.hash)
    }
}

impl Remembered {
    fn of(session: SessionView<'_>) -> Remembered {
        Remembered {
            client: session.client().to_owned(),
            used: session.used(),
            floor: session.floor(),
            answers: session.answers().map(|(seq, written)| (seq, written.clone())).collect(),
        }
    }
}

#[test]
fn frozen_states_stay_and_stores_go_on_from_them_alike() {
    let mut rebuilt = 0;
    let count = seeds::for_each("frozen_states", 200, |seed| rebuilt += run(seed));
    if count >= 200 {
        assert!(rebuilt > 1_000, "{rebuilt}");
    }
}

/// Random clients; now and then a state is taken, looked at again later, and a store goes on from it beside the first.
fn run(seed: u64) -> u64 {
    let mut rng = SmallRng::seed_from_u64(seed);
    let limits = Limits {
        sessions_max: rng.random_range(1..6),
        answers_max: rng.random_range(0..8),
        answer_bytes_max: rng.random_range(0..200),
        value_bytes_max: rng.random_range(3..10),
    };
    let mut store = Store::new(limits);
    let mut others: Vec<Store> = Vec::new();
    let mut frozen: Vec<(State, Deep)> = Vec::new();
    let mut clients: Vec<Client> = Vec::new();
    let (mut index, mut rebuilt) = (0, 0);
    for number in 0..150 {
        index += rng.random_range(1..3);
        if clients.is_empty() || rng.random_bool(0.1) {
            clients.push(Client::born_at(number, index - 1));
        }
        let who = rng.random_range(0..clients.len());
        let command = clients[who].next(&mut rng);
        let written = store.apply(index, &command);
        for other in &mut others {
            assert_eq!(other.apply(index, &command), written);
            assert_eq!(other.state_hash(), store.state_hash());
            assert_eq!(other.sessions(), store.sessions());
        }
        if rng.random_bool(0.1) {
            let state = store.freeze();
            let deep = Deep::of(&state);
            assert_eq!(deep.hash, store.hash_from_scratch());
            let again = deep.build(limits).unwrap();
            assert_eq!(Deep::of(&again), deep);
            let other = Store::thaw(limits, if rng.random_bool(0.5) { &again } else { &state });
            assert_eq!(other.hash_from_scratch(), deep.hash);
            others.push(other);
            others.drain(..others.len().saturating_sub(3));
            frozen.push((state, deep));
            rebuilt += 1;
        }
    }
    for (state, deep) in &frozen {
        assert_eq!(&Deep::of(state), deep, "a frozen state has changed");
    }
    rebuilt
}

/// Two sessions with answers, and two keys.
fn sample() -> Deep {
    let mut bench = Bench::new(ROOMY);
    bench.send("a:1", 0, put("1"));
    bench.send("b:5", 3, Op::Put { key: "y".into(), value: "2".into() });
    bench.send("b:6", 3, cas(None, "2"));
    Deep::of(&bench.store.freeze())
}

fn of<'a>(deep: &'a mut Deep, client: &str) -> &'a mut Remembered {
    deep.sessions.iter_mut().find(|session| session.client == client).unwrap()
}

#[test]
fn builder_accepts_nothing_that_no_store_has() {
    let refusal = |damage: &dyn Fn(&mut Deep)| {
        let mut deep = sample();
        damage(&mut deep);
        deep.build(Limits { sessions_max: 2, answers_max: 2, ..ROOMY }).unwrap_err().to_string()
    };
    let answer = |index| Written { index, result: Ok(Output::Done) };
    assert!(sample().build(ROOMY).is_ok());
    let cases: [(String, &str); 17] = [
        (refusal(&|deep| deep.values.reverse()), "out of order"),
        (refusal(&|deep| deep.values[1] = deep.values[0].clone()), "told twice"),
        (refusal(&|deep| deep.values[0].1.push('!')), "the state hash is"),
        (refusal(&|deep| drop(deep.values.pop())), "the state hash is"),
        (refusal(&|deep| deep.births_expired = 1), "the state hash is"),
        (refusal(&|deep| deep.births_expired = 4), "births_expired is 4"),
        (refusal(&|deep| deep.sessions.reverse()), "out of order"),
        (refusal(&|deep| deep.applied = 2), "used after the last command"),
        (refusal(&|deep| of(deep, "a").used = 3), "an entry that used another"),
        (refusal(&|deep| of(deep, "a").used = 0), "before the client was born"),
        (refusal(&|deep| of(deep, "a").client = ":".into()), "no client can have this name"),
        (refusal(&|deep| of(deep, "b").answers.reverse()), "out of order"),
        (refusal(&|deep| of(deep, "b").floor = 6), "below the floor"),
        (refusal(&|deep| of(deep, "b").floor = 4), "the state hash is"),
        (refusal(&|deep| of(deep, "b").answers[0].1.index = 4), "had not reached"),
        (refusal(&|deep| of(deep, "b").answers.push((7, answer(2)))), "more answers"),
        (
            refusal(&|deep| of(deep, "b").answers[0].1.result = Err(Refusal::Expired)),
            "never remembered",
        ),
    ];
    for (found, expected) in cases {
        assert!(found.contains(expected), "{found:?} does not say {expected:?}");
    }
    let one = Limits { sessions_max: 1, ..ROOMY };
    let refused = sample().build(one).unwrap_err().to_string();
    assert!(refused.contains("more sessions than are ever kept"), "{refused}");
}
