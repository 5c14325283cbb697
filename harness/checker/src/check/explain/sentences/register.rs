//! Registers, alone or several at once: whose value stood when.

use super::words::{Fate, Words};
use super::{Told, precedes};
use crate::check::decision::Anomaly;
use crate::check::explain::steps::registers::looks_at;
use crate::model::Model;
use crate::ops::{Action, Micro, NEVER, NOTHING, Op, Seen, UNREAD, Word};

/// One register's part in the operations.
struct Register<'w, 'c> {
    words: &'w Words<'c>,
    /// How it is called.
    name: String,
    initial: Word,
    /// Operations that need it to have a value, with the value.
    looks: Vec<(&'c Op, Word)>,
    /// Operations that give it a value, or may have.
    makes: Vec<(&'c Op, Word)>,
}

pub(super) fn tell(words: &Words<'_>) -> Option<Told> {
    let registers = if words.core.key.model == Model::MultiRegister {
        several(words)
    } else {
        vec![one(words)]
    };
    // What is plain in any of them is told before what takes more words in another.
    registers
        .iter()
        .find_map(Register::phantom)
        .or_else(|| registers.iter().find_map(Register::taken_twice))
        .or_else(|| registers.iter().find_map(Register::overwritten))
        .or_else(|| registers.iter().find_map(Register::both_last))
}

fn one<'w, 'c>(words: &'w Words<'c>) -> Register<'w, 'c> {
    let look = |op: &'c Op| looks_at(op).map(|word| (op, word));
    let start = words.core.context.start.as_ref();
    let start = start.filter(|op| op.action == Action::Read || !op.may_count());
    let make = |op: &'c Op| op.writes().map(|word| (op, word));
    Register {
        words,
        name: words.name().to_owned(),
        initial: words.core.key.initial_word(),
        looks: words.ops().iter().chain(start).filter_map(look).collect(),
        makes: words.ops().iter().filter_map(make).collect(),
    }
}

fn several<'w, 'c>(words: &'w Words<'c>) -> Vec<Register<'w, 'c>> {
    let key = &words.core.key;
    let mut registers: Vec<(Word, Register<'w, 'c>)> = Vec::new();
    for op in words.ops() {
        let ((Action::Txn(_), Seen::List(list)) | (Action::Txn(list), _)) = (op.action, op.seen)
        else {
            continue;
        };
        for micro in key.micros(list) {
            let place = registers.iter().position(|(name, _)| *name == micro.register);
            let place = place.unwrap_or_else(|| {
                registers.push((micro.register, empty(words, micro.register)));
                registers.len() - 1
            });
            let register = &mut registers[place].1;
            let written = register.makes.last().is_some_and(|(last, _)| last.call == op.call);
            if micro.writes {
                register.makes.push((op, micro.value));
            } else if micro.value != UNREAD && !written {
                register.looks.push((op, micro.value));
            }
        }
    }
    registers.into_iter().map(|(_, register)| register).collect()
}

fn empty<'w, 'c>(words: &'w Words<'c>, name: Word) -> Register<'w, 'c> {
    let key = &words.core.key;
    let mut initial = NOTHING;
    if let Seen::List(list) = key.initial {
        let is_it = |micro: &Micro| micro.register == name;
        initial = key.micros(list).find(is_it).map_or(NOTHING, |micro| micro.value);
    }
    let name = key.words.text(name).to_owned();
    Register { words, name, initial, looks: Vec::new(), makes: Vec::new() }
}

impl<'c> Register<'_, 'c> {
    fn makers(&self, word: Word) -> impl Iterator<Item = &'c Op> {
        self.makes.iter().filter(move |(_, made)| *made == word).map(|&(op, _)| op)
    }

    /// Where a value comes from that the core does not bring in.
    fn origin(&self, word: Word) -> Option<&'c Op> {
        let words = self.words;
        let key = &words.core.key;
        if key.model != Model::MultiRegister {
            return words.origin(word);
        }
        let brings = |op: &&Op| {
            let Action::Txn(list) = op.action else { return false };
            let is_it =
                |micro: Micro| micro.value == word && key.words.text(micro.register) == self.name;
            key.micros(list).any(is_it)
        };
        words.core.context.ops.iter().find(brings)
    }

    /// What it says about the value: `read k1="3-1"`.
    fn looked(&self, op: &Op, word: Word) -> String {
        if !matches!(op.action, Action::Txn(_)) {
            self.words.did(op)
        } else if word == NOTHING {
            format!("found no value in {}", self.name)
        } else {
            format!("read {}={}", self.name, self.words.value(word))
        }
    }

    /// A value that nobody had given it by then.
    fn phantom(&self) -> Option<Told> {
        let (op, word) = self.looks.iter().copied().find(|&(op, word)| {
            word != self.initial && self.makers(word).all(|maker| op.ret < maker.call)
        })?;
        let words = self.words;
        let value = words.value(word);
        let first = format!(
            "{} {}{}{}",
            words.client(op),
            self.looked(op, word),
            words.from(op),
            words.at(op)
        );
        let origin = self.makers(word).next().or_else(|| self.origin(word));
        // It was there once, so something in the core ended that.
        if let Some(origin) = origin.filter(|origin| origin.may_count() && origin.call < op.ret) {
            return self.stale((op, word), origin);
        }
        let (anomaly, what, why) = match origin {
            None if word == NOTHING => (
                Anomaly::PhantomRead,
                format!("{first}, but it was not empty before, and nobody deleted it"),
                words.initially().unwrap_or_default(),
            ),
            None => (
                Anomaly::PhantomRead,
                format!("{first}, but nobody ever wrote {value}"),
                format!("no operation of the history asks for {} to become {value}", self.name),
            ),
            Some(failed) if !failed.may_count() => {
                let error = words.facts.error(failed.number);
                let error = error.map_or(String::new(), |error| format!(" ({error})"));
                (
                    Anomaly::AbortedRead,
                    format!(
                        "{first}, but {} {} to write {value}{}, and that failed{error}",
                        words.client(failed),
                        super::list::tried(op, failed),
                        words.at(failed)
                    ),
                    "what failed had no effect, so nobody can have seen it".to_owned(),
                )
            }
            Some(late) => (
                Anomaly::PhantomRead,
                format!(
                    "{first}, but {} asked to write {value} only {}",
                    words.client(late),
                    words.later(late, op)
                ),
                format!("no write of {value} that may have taken effect had begun by then"),
            ),
        };
        Some(Told { anomaly, what, why })
    }

    /// A value that was there fewer times than cas took it away.
    fn taken_twice(&self) -> Option<Told> {
        let takes = |op: &Op| op.is_ok() && matches!(op.action, Action::Cas { .. });
        let (_, word) = self.looks.iter().copied().find(|&(op, word)| {
            let times = self.makers(word).count() + usize::from(word == self.initial);
            let takers = self.looks.iter().filter(|(other, same)| takes(other) && *same == word);
            takes(op) && takers.count() > times
        })?;
        let words = self.words;
        let takers = self.looks.iter().filter(|(op, same)| takes(op) && *same == word);
        let told: Vec<String> = takers.map(|(op, _)| words.phrase(op)).collect();
        let value = words.value(word);
        let made: Vec<String> = self.makers(word).map(|op| words.phrase(op)).collect();
        let times = if made.is_empty() && word != self.initial || made.len() == 1 {
            "only once"
        } else if made.is_empty() {
            "only at first"
        } else {
            "not so often"
        };
        let why = if made.is_empty() {
            format!("nothing made it {value} again, so they cannot all have succeeded")
        } else {
            format!("{}, so they cannot all have succeeded", super::words::list(&made))
        };
        Some(Told {
            anomaly: Anomaly::ImpossibleCas,
            what: format!("{}, but {} was {value} {times}", super::words::list(&told), self.name),
            why,
        })
    }

    /// A value that had been overwritten before the look at it began.
    fn overwritten(&self) -> Option<Told> {
        // Those that came last say most.
        let mut looks = self.looks.clone();
        looks.sort_by_key(|(op, _)| std::cmp::Reverse(op.call));
        looks.into_iter().find_map(|(op, word)| {
            let origin = self.makers(word).max_by_key(|maker| maker.call);
            self.successor(op, word, None)?;
            match origin {
                Some(origin) => self.stale((op, word), origin),
                None => self.stale_since_the_beginning((op, word)),
            }
        })
    }

    /// An operation that shows another value to have been there, after this one for certain, and before `op` began.
    fn successor(&self, op: &Op, word: Word, origin: Option<&Op>) -> Option<(&'c Op, Word)> {
        let mut makers: Vec<&Op> = self.makers(word).collect();
        makers.extend(origin.filter(|origin| makers.iter().all(|maker| maker.call != origin.call)));
        let follows = |other: &Op| {
            let all_over = makers.iter().all(|maker| precedes(maker, other));
            // Or the value can have come only once, and had been seen by then.
            let seen_before = makers.len() + usize::from(word == self.initial) == 1
                && self.looks.iter().any(|(look, same)| *same == word && precedes(look, other));
            all_over || seen_before
        };
        let shows = self.makes.iter().chain(&self.looks);
        let certain = shows.filter(|(other, shown)| {
            *shown != word
                && other.call != op.call
                && precedes(other, op)
                && (other.is_ok() || other.seen != Seen::Unknown)
        });
        // What was initially there had been looked at or not: only a write shows that it was over.
        let is_write = |other: &Op, shown: Word| {
            self.makes.iter().any(|(maker, made)| maker.call == other.call && *made == shown)
        };
        certain
            .filter(|(other, shown)| {
                follows(other)
                    && (!makers.is_empty() || is_write(other, *shown) || word == self.initial)
            })
            .copied()
            // An acknowledged write is what a reader believes first, then what showed it first.
            .min_by_key(|(other, shown)| (!is_write(other, *shown), other.ret))
    }

    fn stale(&self, (op, word): (&'c Op, Word), origin: &'c Op) -> Option<Told> {
        let words = self.words;
        let (next, shown) = self.successor(op, word, Some(origin))?;
        let had_been = if origin.ret == NEVER || !precedes(origin, next) {
            format!("{} had been there before: {}", words.value(word), words.phrase(origin))
        } else {
            words.phrase(origin)
        };
        Some(self.overtaken((op, word), (next, shown), &had_been))
    }

    fn stale_since_the_beginning(&self, (op, word): (&'c Op, Word)) -> Option<Told> {
        let next = self.successor(op, word, None)?;
        let why = if word == NOTHING {
            format!("nobody emptied {} after that", self.name)
        } else {
            format!(
                "{} was {} at first, and nothing made it so again",
                self.name,
                self.words.value(word)
            )
        };
        Some(self.overtaken((op, word), next, &why))
    }

    fn overtaken(
        &self,
        (op, word): (&'c Op, Word),
        (next, shown): (&'c Op, Word),
        why: &str,
    ) -> Told {
        let words = self.words;
        let same_client = next.process == op.process;
        let who = if same_client { "it".to_owned() } else { words.client(next) };
        let by_write =
            self.makes.iter().any(|(maker, made)| maker.call == next.call && *made == shown);
        let shown_value = words.value(shown);
        let (missed, fate) = if by_write {
            let did = match shown {
                NOTHING => "deleted it".to_owned(),
                _ if word == NOTHING => format!("written {shown_value}"),
                _ => format!("overwritten it with {shown_value}"),
            };
            let had = if same_client { "had itself" } else { "had" };
            (format!("{who} {had} {did} {}", words.acknowledged(next, op)), words.fate(shown))
        } else {
            let saw = if shown == NOTHING { "found nothing" } else { "seen" };
            let saw =
                if shown == NOTHING { saw.to_owned() } else { format!("{saw} {shown_value}") };
            let had = if same_client { "had itself already" } else { "had already" };
            (
                format!("{who} {had} {saw}{} {}", words.from(next), words.earlier(next, op)),
                Fate::Back,
            )
        };
        let is_read = op.action == Action::Read || matches!(op.action, Action::Txn(_));
        let anomaly = match fate {
            _ if !is_read => Anomaly::ImpossibleCas,
            _ if !by_write && same_client => Anomaly::NonMonotonic,
            Fate::Gone(_) if !words.was_seen(shown) => Anomaly::LostWrite,
            Fate::Back | Fate::Gone(_) | Fate::Unknown => Anomaly::StaleRead,
        };
        let lost = match (anomaly, fate) {
            (Anomaly::LostWrite, Fate::Gone(_)) => format!("; nobody ever saw {shown_value}"),
            _ => String::new(),
        };
        let circumstances =
            words.circumstances(op).map_or(String::new(), |text| format!("; {text}"));
        Told {
            anomaly,
            what: format!(
                "{} {}{}{}, but {missed}{lost}",
                words.client(op),
                self.looked(op, word),
                words.from(op),
                words.at(op)
            ),
            why: format!("{why}{circumstances}"),
        }
    }

    /// Two values, each of which was looked at after all writes of both were over: both would have to be the last.
    fn both_last(&self) -> Option<Told> {
        let pairs = self.looks.iter().enumerate().flat_map(|(number, one)| {
            self.looks[number + 1..].iter().map(move |other| (*one, *other))
        });
        let all_over = |word: Word, op: &Op| self.makers(word).all(|maker| precedes(maker, op));
        let ((one, first), (other, second)) =
            pairs.into_iter().find(|&((one, first), (other, second))| {
                let over = |word| all_over(word, one) && all_over(word, other);
                first != second && over(first) && over(second)
            })?;
        let words = self.words;
        let makers: Vec<String> = self
            .makers(first)
            .chain(self.makers(second))
            .map(|maker| words.phrase(maker))
            .collect();
        let why = if makers.is_empty() {
            words.initially().unwrap_or_default()
        } else {
            format!("nothing else made it so: {}", super::words::list(&makers))
        };
        Some(Told {
            anomaly: Anomaly::StaleRead,
            what: format!(
                "{} {} and {} {}, both when the writes of both values were over, but only one of them can have been \
                 the last",
                words.client(one),
                self.looked(one, first),
                words.client(other),
                self.looked(other, second),
            ),
            why,
        })
    }
}
