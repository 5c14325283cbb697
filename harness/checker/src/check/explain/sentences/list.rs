//! Append lists.

use super::words::{Fate, Words};
use super::{Told, precedes};
use crate::check::decision::Anomaly;
use crate::ops::{Action, NEVER, Op, Seen, Word};

pub(super) fn tell(words: &Words<'_>) -> Option<Told> {
    strange(words)
        .or_else(|| doubled(words))
        .or_else(|| missing(words))
        .or_else(|| out_of_order(words))
        .or_else(|| at_odds(words))
}

fn reads<'c>(words: &Words<'c>) -> impl Iterator<Item = (&'c Op, &'c [Word])> {
    let key = &words.core.key;
    words.ops().iter().filter_map(|op| match (op.action, op.seen) {
        (Action::Read, Seen::List(list)) => Some((op, key.list(list))),
        _ => None,
    })
}

fn appends<'c>(words: &Words<'c>, token: Word) -> impl Iterator<Item = &'c Op> {
    words.ops().iter().filter(move |op| op.appends() == Some(token) && op.may_count())
}

fn initial<'c>(words: &Words<'c>) -> &'c [Word] {
    let key = &words.core.key;
    if let Seen::List(list) = key.initial { key.list(list) } else { &[] }
}

/// `Client 7 read k1 from n2 at 1.000 s`.
fn start(words: &Words<'_>, read: &Op) -> String {
    let name = words.name();
    format!("{} read {name}{}{}", words.client(read), words.from(read), words.at(read))
}

/// A token that nobody had appended by then.
fn strange(words: &Words<'_>) -> Option<Told> {
    let (read, token) = reads(words).find_map(|(read, list)| {
        let is_strange = |token: &&Word| {
            !initial(words).contains(token)
                && appends(words, **token).all(|append| read.ret < append.call)
        };
        list.iter().find(is_strange).map(|&token| (read, token))
    })?;
    let value = words.value(token);
    let origin = appends(words, token).next().or_else(|| words.origin(token));
    let first = format!("{} and saw {value}", start(words, read));
    Some(not_there(words, read, &first, (&value, &|what| format!("append {what}")), origin))
}

/// Something was seen that was not there: because nobody brought it in, because that failed, or was asked for later.
pub(super) fn not_there(
    words: &Words<'_>,
    read: &Op,
    first: &str,
    (value, ask): (&str, &dyn Fn(&str) -> String),
    origin: Option<&Op>,
) -> Told {
    let (anomaly, what, why) = match origin {
        None => (
            Anomaly::PhantomRead,
            format!("{first}, but nobody ever asked to {}", ask(value)),
            String::new(),
        ),
        Some(failed) if !failed.may_count() => {
            let error = words.facts.error(failed.number);
            let error = error.map_or(String::new(), |error| format!(" ({error})"));
            (
                Anomaly::AbortedRead,
                format!(
                    "{first}, but {} {} to {}{}, and that failed{error}",
                    words.client(failed),
                    tried(read, failed),
                    ask("it"),
                    words.at(failed)
                ),
                "what failed had no effect, so nobody can have seen it".to_owned(),
            )
        }
        Some(late) if read.ret < late.call => (
            Anomaly::PhantomRead,
            format!(
                "{first}, but {} asked to {} only {}",
                words.client(late),
                ask("it"),
                words.later(late, read)
            ),
            "nothing that may have brought it there had begun by then".to_owned(),
        ),
        Some(gone) => (
            Anomaly::PhantomRead,
            format!("{first}, but it was no longer there then"),
            words.phrase(gone),
        ),
    };
    let circumstances = words.circumstances(read);
    let why = [Some(why).filter(|why| !why.is_empty()), circumstances];
    Told { anomaly, what, why: why.into_iter().flatten().collect::<Vec<_>>().join("; ") }
}

/// `had tried`, or `tried` if that was only later.
pub(super) fn tried(read: &Op, failed: &Op) -> &'static str {
    if read.ret < failed.call { "only later tried" } else { "had tried" }
}

/// A token more often than it was appended.
fn doubled(words: &Words<'_>) -> Option<Told> {
    let count = |list: &[Word], token: Word| list.iter().filter(|&&other| other == token).count();
    let (read, token, times) = reads(words).find_map(|(read, list)| {
        list.iter().find_map(|&token| {
            let made = appends(words, token).count() + count(initial(words), token);
            let times = count(list, token);
            (times > made && made > 0).then_some((read, token, times))
        })
    })?;
    let times = if times == 2 { "twice".to_owned() } else { format!("{times} times") };
    let appended: Vec<String> = appends(words, token).map(|append| words.phrase(append)).collect();
    let why = if appended.is_empty() {
        words.initially().unwrap_or_default()
    } else {
        super::words::list(&appended)
    };
    Some(Told {
        anomaly: Anomaly::Duplicate,
        what: format!(
            "{} and saw {} {times}, more often than it was appended",
            start(words, read),
            words.value(token)
        ),
        why,
    })
}

/// A read lacks a token that had been appended, or that had been seen.
fn missing(words: &Words<'_>) -> Option<Told> {
    let known = |read: &Op, list: &[Word]| {
        let acknowledged = words.ops().iter().filter_map(|op| Some((op, op.appends()?)));
        let acknowledged = acknowledged.filter(|(op, _)| op.is_ok());
        let seen = reads(words).flat_map(|(op, list)| list.iter().map(move |&token| (op, token)));
        acknowledged.chain(seen).find(|(op, token)| precedes(op, read) && !list.contains(token))
    };
    let (read, (shows, token)) =
        reads(words).find_map(|(read, list)| known(read, list).map(|shows| (read, shows)))?;
    let value = words.value(token);
    let fate = words.fate(token);
    let is_append = shows.appends().is_some();
    let same_client = shows.process == read.process;
    let anomaly = match fate {
        Fate::Gone(_) => Anomaly::LostWrite,
        Fate::Unknown if !words.was_seen(token) => Anomaly::LostWrite,
        Fate::Back | Fate::Unknown if !is_append && same_client => Anomaly::NonMonotonic,
        Fate::Back | Fate::Unknown => Anomaly::StaleRead,
    };
    let who = if same_client { "it".to_owned() } else { words.client(shows) };
    let had = if same_client { "had itself" } else { "had" };
    let because = if is_append {
        format!("{who} {had} appended it {}", words.acknowledged(shows, read))
    } else {
        format!("{who} {had} seen it{} {}", words.from(shows), words.earlier(shows, read))
    };
    let later = match fate {
        Fate::Back => format!("{value} was seen again later"),
        Fate::Gone(looks) => {
            format!("nobody saw {value} later, in {}", crate::check::text::count(looks, "read"))
        }
        Fate::Unknown if words.was_seen(token) => format!("nobody read {} later", words.name()),
        Fate::Unknown => format!("nobody ever saw {value}"),
    };
    let circumstances = words.circumstances(read).map_or(String::new(), |text| format!("; {text}"));
    Some(Told {
        anomaly,
        what: format!("{} without {value}, but {because}", start(words, read)),
        why: format!("{later}{circumstances}"),
    })
}

/// Two tokens of a read in an order in which they cannot have been appended, or one without the other.
fn out_of_order(words: &Words<'_>) -> Option<Told> {
    let (read, list, (one, first, other, second)) = reads(words).find_map(|(read, list)| {
        let pairs =
            words.ops().iter().flat_map(|one| words.ops().iter().map(move |other| (one, other)));
        let found =
            pairs.into_iter().find_map(|(one, other)| overtakes(words, list, one, other))?;
        Some((read, list, found))
    })?;
    let (first, second, is_there) =
        (words.value(first), words.value(second), list.contains(&first));
    let what = if is_there {
        format!("{} and saw {second} before {first}", start(words, read))
    } else {
        format!("{} and saw {second} without {first}", start(words, read))
    };
    Some(Told {
        anomaly: if is_there { Anomaly::WrongOrder } else { Anomaly::LostWrite },
        what: format!(
            "{what}, but {} had appended {first} {}",
            words.client(one),
            words.acknowledged(one, other)
        ),
        why: format!("only then {} asked to append {second}", words.client(other)),
    })
}

/// Whether a list has the second token but not the first one before it, although that had been appended earlier.
fn overtakes<'o>(
    words: &Words<'_>,
    list: &[Word],
    one: &'o Op,
    other: &'o Op,
) -> Option<(&'o Op, Word, &'o Op, Word)> {
    let (first, second) = (one.appends()?, other.appends()?);
    let alone = appends(words, first).count() == 1 && appends(words, second).count() == 1;
    let place = |token| list.iter().position(|&other| other == token);
    let is_wrong = match (place(first), place(second)) {
        (Some(first), Some(second)) => second < first,
        (None, Some(_)) => true,
        (_, None) => false,
    };
    (alone && precedes(one, other) && is_wrong).then_some((one, first, other, second))
}

/// Two reads of which neither is the beginning of the other, or the earlier one goes on where the later one ends.
fn at_odds(words: &Words<'_>) -> Option<Told> {
    let all: Vec<(&Op, &[Word])> = reads(words).collect();
    let pairs = all
        .iter()
        .enumerate()
        .flat_map(|(n, one)| all[n + 1..].iter().map(move |other| (one, other)));
    let (one, other) = pairs
        .into_iter()
        .find(|((_, one), (_, other))| !one.starts_with(other) && !other.starts_with(one))?;
    let open = words.ops().iter().any(|op| op.appends().is_some() && op.ret == NEVER);
    let hint = if open { " whatever became of the appends of unknown outcome" } else { "" };
    Some(Told {
        anomaly: Anomaly::WrongOrder,
        what: format!("{}, and {}", words.phrase(one.0), words.phrase(other.0)),
        why: format!(
            "a list only grows at its end, so one of them must be the beginning of the other{hint}"
        ),
    })
}
