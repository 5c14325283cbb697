//! Histories that random ones are unlikely to hit.

use super::online::watch;
use crate::check::decision::{Anomaly, Finding};
use crate::check::direct::decide;
use crate::history::Outcome;
use crate::model::Model;
use crate::ops::{Action, KeyOps, NEVER, Op, Seen, Word};

/// Operations of clients of their own, from call, return, request and answer, in order of call; without a return of
/// unknown outcome.
fn history(model: Model, ops: &[(u32, u32, Action, Seen)]) -> KeyOps {
    let mut key = KeyOps::new(model, None);
    for number in 0..100 {
        key.words.push(b'v', &number.to_string()).expect("room");
    }
    for (&(call, ret, action, seen), number) in ops.iter().zip(0..) {
        let outcome = if ret == NEVER { Outcome::Open } else { Outcome::Ok };
        let process = number;
        key.ops.push(Op { number, call, ret, process, outcome, action, seen, log_index: 0 });
    }
    key
}

fn cas(expect: Word, new: Word) -> Action {
    Action::Cas { expect, new }
}

/// Both are known to have happened only because of the read, whoever saw the other's value.
#[test]
fn cas_in_a_circle_name_who_saw_them() {
    let key = history(
        Model::CasRegister,
        &[
            (0, NEVER, cas(1, 2), Seen::Unknown),
            (1, NEVER, cas(2, 1), Seen::Unknown),
            (2, 3, Action::Read, Seen::Word(1)),
        ],
    );
    let Finding::Contradiction(found) = decide(&key) else { panic!("{:?}", decide(&key)) };
    assert_eq!((found.anomaly, found.ops), (Anomaly::ImpossibleCas, vec![0, 1, 2]));
}

#[test]
fn two_cas_that_replaced_one_value_are_reported_at_once() {
    let key = history(
        Model::CasRegister,
        &[
            (0, 1, Action::Write(1), Seen::Unknown),
            (2, 4, cas(1, 2), Seen::Unknown),
            (3, 5, cas(1, 3), Seen::Unknown),
        ],
    );
    let (position, found) = watch(&key).expect("a violation");
    assert_eq!((position, found.anomaly, found.ops), (5, Anomaly::ImpossibleCas, vec![0, 1, 2]));
}

/// Everything that the stale read missed returned before anything was called that is open.
#[test]
fn a_stale_read_is_reported_long_after() {
    let writes: u32 = 80;
    let end = 2 * writes + 1;
    let last = Seen::Word(writes);
    let mut ops = vec![(0, end, Action::Read, last)];
    ops.extend(
        (1..=writes).map(|word| (2 * word - 1, 2 * word, Action::Write(word), Seen::Unknown)),
    );
    ops.push((end + 1, end + 2, Action::Read, last));
    ops.push((end + 3, end + 4, Action::Read, Seen::Word(7)));
    let (position, found) = watch(&history(Model::Register, &ops)).expect("a violation");
    assert_eq!((position, found.anomaly), (end + 4, Anomaly::StaleRead));
    assert!(found.ops.contains(&7) && found.ops.contains(&82), "{found:?}");
}

/// It is free at first, so one acquire more than there are releases is right.
#[test]
fn a_mutex_that_stays_taken_is_right() {
    let key = history(
        Model::Mutex,
        &[
            (0, 1, Action::Acquire, Seen::Unknown),
            (2, 3, Action::Release, Seen::Unknown),
            (4, 5, Action::Acquire, Seen::Unknown),
        ],
    );
    assert_eq!(decide(&key), Finding::Order(vec![0, 1, 2]));
}

/// The fewest increments that are more than it says.
#[test]
fn a_read_that_missed_an_increment_names_it() {
    let key = history(
        Model::Counter,
        &[
            (0, 1, Action::Incr(2), Seen::Unknown),
            (2, 3, Action::Incr(3), Seen::Unknown),
            (4, 5, Action::Read, Seen::Number(2)),
        ],
    );
    let Finding::Contradiction(found) = decide(&key) else { panic!("{:?}", decide(&key)) };
    assert_eq!((found.anomaly, found.ops), (Anomaly::StaleRead, vec![1, 2]));
}
