//! Sets.

use super::list::not_there;
use super::words::{Fate, Words};
use super::{Told, precedes};
use crate::check::decision::Anomaly;
use crate::ops::{Action, Op, Seen, Word};

pub(super) fn tell(words: &Words<'_>) -> Option<Told> {
    strange(words).or_else(|| missing(words)).or_else(|| removed(words))
}

fn reads<'c>(words: &Words<'c>) -> impl Iterator<Item = (&'c Op, &'c [Word])> {
    let key = &words.core.key;
    words.ops().iter().filter_map(|op| match (op.action, op.seen) {
        (Action::Read, Seen::List(list)) => Some((op, key.list(list))),
        _ => None,
    })
}

fn of<'c>(words: &Words<'c>, action: Action) -> impl Iterator<Item = &'c Op> {
    words.ops().iter().filter(move |op| op.action == action && op.may_count())
}

/// The element that it certainly added.
fn added(op: &Op) -> Option<(&Op, Word)> {
    if let Action::Add(element) = op.action { op.is_ok().then_some((op, element)) } else { None }
}

/// The element that it certainly removed.
fn taken_out(op: &Op) -> Option<(&Op, Word)> {
    if let Action::Remove(element) = op.action { op.is_ok().then_some((op, element)) } else { None }
}

fn initially(words: &Words<'_>, element: Word) -> bool {
    let key = &words.core.key;
    if let Seen::List(list) = key.initial { key.list(list).contains(&element) } else { false }
}

fn start(words: &Words<'_>, read: &Op) -> String {
    let name = words.name();
    format!("{} read {name}{}{}", words.client(read), words.from(read), words.at(read))
}

/// An element that nobody had added by then.
fn strange(words: &Words<'_>) -> Option<Told> {
    let (read, element) = reads(words).find_map(|(read, list)| {
        let is_strange = |element: &&Word| {
            !initially(words, **element)
                && of(words, Action::Add(**element)).all(|add| read.ret < add.call)
        };
        list.iter().find(is_strange).map(|&element| (read, element))
    })?;
    let value = words.value(element);
    let origin = of(words, Action::Add(element)).next().or_else(|| words.origin(element));
    let first = format!("{} and saw {value}", start(words, read));
    Some(not_there(words, read, &first, (&value, &|what| format!("add {what}")), origin))
}

/// A read lacks an element that had been added, or that had been seen, and that nobody can have removed.
fn missing(words: &Words<'_>) -> Option<Told> {
    let (read, shows, element) = reads(words).find_map(|(read, list)| {
        let adds = words.ops().iter().filter_map(added);
        let seen =
            reads(words).flat_map(|(op, list)| list.iter().map(move |&element| (op, element)));
        let lacks = |(op, element): &(&Op, Word)| {
            precedes(op, read)
                && !list.contains(element)
                && of(words, Action::Remove(*element))
                    .all(|remove| read.ret < remove.call || precedes(remove, op))
        };
        adds.chain(seen).find(lacks).map(|(op, element)| (read, op, element))
    })?;
    let value = words.value(element);
    let fate = words.fate(element);
    let is_add = matches!(shows.action, Action::Add(_));
    let same_client = shows.process == read.process;
    let anomaly = match fate {
        Fate::Gone(_) => Anomaly::LostWrite,
        Fate::Unknown if !words.was_seen(element) => Anomaly::LostWrite,
        Fate::Back | Fate::Unknown if !is_add && same_client => Anomaly::NonMonotonic,
        Fate::Back | Fate::Unknown => Anomaly::StaleRead,
    };
    let who = if same_client { "it".to_owned() } else { words.client(shows) };
    let had = if same_client { "had itself" } else { "had" };
    let because = if is_add {
        format!("{who} {had} added it {}", words.acknowledged(shows, read))
    } else {
        format!("{who} {had} seen it{} {}", words.from(shows), words.earlier(shows, read))
    };
    let later = match fate {
        Fate::Back => format!("{value} was seen again later"),
        Fate::Gone(_) => format!("nobody saw {value} later"),
        Fate::Unknown if words.was_seen(element) => format!("nobody read {} later", words.name()),
        Fate::Unknown => format!("nobody ever saw {value}"),
    };
    let circumstances = words.circumstances(read).map_or(String::new(), |text| format!("; {text}"));
    Some(Told {
        anomaly,
        what: format!(
            "{} without {value}, but {because}, and nobody had removed it",
            start(words, read)
        ),
        why: format!("{later}{circumstances}"),
    })
}

/// A read has an element that had been removed for good.
fn removed(words: &Words<'_>) -> Option<Told> {
    let (read, remove, element) = reads(words).find_map(|(read, list)| {
        let removes = words.ops().iter().filter_map(taken_out);
        let is_back = |(remove, element): &(&Op, Word)| {
            precedes(remove, read)
                && list.contains(element)
                && of(words, Action::Add(*element))
                    .all(|add| read.ret < add.call || precedes(add, remove))
        };
        removes.into_iter().find(is_back).map(|(remove, element)| (read, remove, element))
    })?;
    let value = words.value(element);
    let adds: Vec<String> = of(words, Action::Add(element)).map(|add| words.phrase(add)).collect();
    let why = if adds.is_empty() {
        words.initially().unwrap_or_default()
    } else {
        format!("nobody added it again: {}", super::words::list(&adds))
    };
    Some(Told {
        anomaly: Anomaly::StaleRead,
        what: format!(
            "{} and saw {value}, but {} had removed it {}",
            start(words, read),
            words.client(remove),
            words.acknowledged(remove, read)
        ),
        why,
    })
}
