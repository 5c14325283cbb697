//! Queues.

use super::list::not_there;
use super::words::Words;
use super::{Told, precedes};
use crate::check::decision::Anomaly;
use crate::model::Model;
use crate::ops::{Action, NOTHING, Op, Seen, Word};

pub(super) fn tell(words: &Words<'_>) -> Option<Told> {
    strange(words)
        .or_else(|| doubled(words))
        .or_else(|| empty(words))
        .or_else(|| out_of_order(words))
}

/// Who took what.
fn takes<'c>(words: &Words<'c>) -> impl Iterator<Item = (&'c Op, Word)> {
    words.ops().iter().filter_map(|op| match (op.action, op.seen) {
        (Action::Dequeue, Seen::Word(word)) if word != NOTHING => Some((op, word)),
        _ => None,
    })
}

fn puts<'c>(words: &Words<'c>, element: Word) -> impl Iterator<Item = &'c Op> {
    words.ops().iter().filter(move |op| op.action == Action::Enqueue(element) && op.may_count())
}

fn initially(words: &Words<'_>, element: Word) -> usize {
    let key = &words.core.key;
    let Seen::List(list) = key.initial else { return 0 };
    key.list(list).iter().filter(|&&other| other == element).count()
}

/// The element that it certainly put there.
fn put_in(op: &Op) -> Option<(&Op, Word)> {
    if let Action::Enqueue(element) = op.action {
        op.is_ok().then_some((op, element))
    } else {
        None
    }
}

fn unknown_takes(words: &Words<'_>) -> bool {
    words.ops().iter().any(|op| op.action == Action::Dequeue && op.seen == Seen::Unknown)
}

fn start(words: &Words<'_>, op: &Op) -> String {
    format!("{} {}{}", words.client(op), words.did(op), words.at(op))
}

/// An element that nobody had put there by then.
fn strange(words: &Words<'_>) -> Option<Told> {
    let (op, element) = takes(words).find(|&(op, element)| {
        initially(words, element) == 0 && puts(words, element).all(|put| op.ret < put.call)
    })?;
    let value = words.value(element);
    let origin = puts(words, element).next().or_else(|| words.origin(element));
    Some(not_there(
        words,
        op,
        &start(words, op),
        (&value, &|what| format!("put {what} in")),
        origin,
    ))
}

/// An element that was taken more often than it was put there.
fn doubled(words: &Words<'_>) -> Option<Told> {
    let times = |element| takes(words).filter(|&(_, other)| other == element).count();
    let (_, element) = takes(words).find(|&(_, element)| {
        times(element) > puts(words, element).count() + initially(words, element)
    })?;
    let taken: Vec<String> = takes(words)
        .filter(|&(_, other)| other == element)
        .map(|(op, _)| words.phrase(op))
        .collect();
    let put: Vec<String> = puts(words, element).map(|put| words.phrase(put)).collect();
    let why = if put.is_empty() {
        words.initially().unwrap_or_default()
    } else {
        super::words::list(&put)
    };
    Some(Told {
        anomaly: Anomaly::Duplicate,
        what: format!(
            "{}, but {} was put there only {}",
            super::words::list(&taken),
            words.value(element),
            if times(element) == 2 { "once" } else { "less often" }
        ),
        why,
    })
}

/// The queue was found empty although an element was in it.
fn empty(words: &Words<'_>) -> Option<Told> {
    if unknown_takes(words) {
        return None;
    }
    let empties = words
        .ops()
        .iter()
        .filter(|op| (op.action, op.seen) == (Action::Dequeue, Seen::Word(NOTHING)) && op.is_ok());
    let (op, put, element) = empties.into_iter().find_map(|op| {
        let puts = words.ops().iter().filter_map(put_in);
        let puts = puts.filter(|(put, _)| precedes(put, op));
        let still_there = |(_, element): &(&Op, Word)| {
            takes(words).all(|(take, other)| other != *element || op.ret < take.call)
        };
        puts.into_iter().find(still_there).map(|(put, element)| (op, put, element))
    })?;
    let value = words.value(element);
    let (anomaly, why) = match takes(words).find(|&(_, other)| other == element) {
        Some((take, _)) => (Anomaly::StaleRead, words.phrase(take)),
        None if words.was_seen(element) => {
            (Anomaly::StaleRead, format!("somebody took {value} out only later"))
        }
        None => (Anomaly::LostWrite, format!("nobody ever took {value} out")),
    };
    Some(Told {
        anomaly,
        what: format!(
            "{}, but {} had put {value} into it {}, and nobody had taken that",
            start(words, op),
            words.client(put),
            words.acknowledged(put, op)
        ),
        why,
    })
}

/// An element overtook another.
fn out_of_order(words: &Words<'_>) -> Option<Told> {
    if words.core.key.model != Model::FifoQueue {
        return None;
    }
    let alone = |element| {
        let mut puts = puts(words, element);
        puts.next().filter(|_| puts.next().is_none() && initially(words, element) == 0)
    };
    let taken: Vec<(&Op, Word, &Op)> =
        takes(words).filter_map(|(take, element)| Some((take, element, alone(element)?))).collect();
    let pairs = taken.iter().flat_map(|one| taken.iter().map(move |other| (one, other)));
    if let Some((one, other)) =
        pairs.into_iter().find(|(one, other)| precedes(one.2, other.2) && precedes(other.0, one.0))
    {
        return Some(overtook(words, *one, *other));
    }
    // Or the other one is still there.
    let left = words.ops().iter().filter_map(put_in);
    let left = left.filter(|&(_, element)| {
        alone(element).is_some() && takes(words).all(|(_, other)| other != element)
    });
    let (put, element, later) = left.into_iter().find_map(|(put, element)| {
        let later = taken.iter().find(|(_, _, later)| precedes(put, later))?;
        (!unknown_takes(words)).then_some((put, element, later))
    })?;
    let (take, second, second_put) = *later;
    let (first, second) = (words.value(element), words.value(second));
    Some(Told {
        anomaly: Anomaly::WrongOrder,
        what: format!(
            "{}, but {first} was in front of it: {} had put that in {}",
            start(words, take),
            words.client(put),
            words.acknowledged(put, second_put)
        ),
        why: format!(
            "{}; nobody had taken {first} by then",
            put_phrase(words, second_put, &second)
        ),
    })
}

fn put_phrase(words: &Words<'_>, put: &Op, value: &str) -> String {
    format!("only then {} put {value} in", words.client(put))
}

fn overtook(words: &Words<'_>, one: (&Op, Word, &Op), other: (&Op, Word, &Op)) -> Told {
    let (first, second) = (words.value(one.1), words.value(other.1));
    Told {
        anomaly: Anomaly::WrongOrder,
        what: format!(
            "{}, and {} took {first} out only {}, but {first} was in front: {} had put it in {}",
            start(words, other.0),
            words.client(one.0),
            words.later(one.0, other.0),
            words.client(one.2),
            words.acknowledged(one.2, other.2)
        ),
        why: put_phrase(words, other.2, &second),
    }
}
