//! Append lists: a read shows the order in which the tokens came, as long as each was appended once.
//!
//! All reads have to be prefixes of the longest one. That fixes where appends and reads stand: an append right before the
//! first list that has its token, a read right after the last append that it shows. Acknowledged appends that no read
//! shows come after all reads; those of unknown outcome that no read shows can be left out. In this sequence no operation
//! may stand behind one that was called after it had returned.

use super::place::insert_free;
use super::{Contradictions, number};
use crate::check::decision::{Anomaly, Contradiction};
use crate::history::Outcome;
use crate::ops::{Action, KeyOps, List, NEVER, Op, Seen, Word, index};

/// The sequence, if the longest read is right.
pub(super) fn order(key: &KeyOps) -> Option<Vec<u32>> {
    let lists = Lists::of(key)?;
    let sequence = lists.sequence(key);
    let order = sequence.into_iter().map(|(_, id)| id).collect();
    let silent = |op: &Op| op.is_ok_read() && op.seen == Seen::Unknown;
    let free = key.ops.iter().zip(0..).filter(|(op, _)| silent(op)).map(|(_, id)| id).collect();
    Some(insert_free(key, order, free))
}

/// What contradicts the longest read, or each other in the order that it shows.
pub(super) fn contradictions(key: &KeyOps, found: &mut Contradictions) {
    let Some(mut lists) = Lists::of(key) else { return };
    lists.compare_reads(key, found);
    lists.compare_tokens(key, found);
    lists.compare_times(key, found);
}

/// Place in the sequence of what comes after all reads.
const UNSEEN: u64 = u64::MAX >> 32;

/// The tokens in the order in which the longest read has them.
struct Lists<'a> {
    tokens: &'a [Word],
    /// The longest read; none if no read says anything, then `tokens` is what the list is initially.
    longest: Option<u32>,
    /// How many tokens were there before the first operation.
    initial: usize,
    /// By word: how many appends may have added it.
    appends: Vec<u32>,
    /// By operation: a read that contradicts the longest one.
    is_apart: Vec<bool>,
}

fn shown(op: &Op) -> Option<List> {
    if let Seen::List(list) = op.seen { Some(list).filter(|_| op.is_ok_read()) } else { None }
}

fn appended(op: &Op) -> Option<Word> {
    op.appends().filter(|_| op.may_count())
}

impl<'a> Lists<'a> {
    /// `None` if there are operations that do not belong to a list.
    fn of(key: &'a KeyOps) -> Option<Lists<'a>> {
        let mut longest: Option<(List, u32)> = None;
        let mut appends = vec![0; key.words.len()];
        for (op, id) in key.ops.iter().zip(0..) {
            if let Some(list) = shown(op) {
                if longest.is_none_or(|(known, _)| known.len < list.len) {
                    longest = Some((list, id));
                }
            } else if let Some(token) = appended(op) {
                *appends.get_mut(index(token))? += 1;
            } else if op.is_ok() && (op.action, op.seen) != (Action::Read, Seen::Unknown) {
                return None;
            }
        }
        let initial = if let Seen::List(list) = key.initial { key.list(list) } else { &[] };
        Some(Lists {
            tokens: longest.map_or(initial, |(list, _)| key.list(list)),
            longest: longest.map(|(_, id)| id),
            initial: initial.len(),
            appends,
            is_apart: vec![false; key.ops.len()],
        })
    }

    /// Appends and reads with their places, in the order of these.
    fn sequence(&self, key: &KeyOps) -> Vec<(u64, u32)> {
        let mut places = Places::of(self.tokens, self.initial, self.appends.len());
        let mut sequence = Vec::with_capacity(key.ops.len());
        for certain in [true, false] {
            for (op, id) in key.ops.iter().zip(0..).filter(|(op, _)| op.is_ok() == certain) {
                if let Some(list) = shown(op).filter(|_| !self.is_apart[index(id)]) {
                    sequence.push((2 * u64::from(list.len), id));
                } else if let Some(token) = appended(op) {
                    match places.take(token) {
                        Some(place) => sequence.push((2 * u64::from(place) + 1, id)),
                        None if certain => sequence.push((UNSEEN, id)),
                        None => {}
                    }
                }
            }
        }
        sequence.sort_unstable();
        sequence
    }

    /// Reads that are no prefixes of the longest one, or lack what was there from the beginning.
    fn compare_reads(&mut self, key: &KeyOps, found: &mut Contradictions) {
        let Some(longest) = self.longest else { return };
        let initial = if let Seen::List(list) = key.initial { key.list(list) } else { &[] };
        if !self.tokens.starts_with(initial) {
            found.add(|| Contradiction { anomaly: Anomaly::LostWrite, ops: vec![longest] });
        }
        for (op, id) in key.ops.iter().zip(0..) {
            let Some(list) = shown(op) else { continue };
            if !self.tokens.starts_with(key.list(list)) {
                self.is_apart[index(id)] = true;
                found
                    .add(|| Contradiction { anomaly: Anomaly::WrongOrder, ops: vec![id, longest] });
            } else if index(list.len) < initial.len() {
                self.is_apart[index(id)] = true;
                found.add(|| Contradiction { anomaly: Anomaly::LostWrite, ops: vec![id] });
            }
        }
    }

    /// Tokens that nobody appended, or not as often as they are there.
    fn compare_tokens(&self, key: &KeyOps, found: &mut Contradictions) {
        let reads = self.reads_by_length(key);
        let mut left = self.appends.clone();
        for (place, &token) in self.tokens.iter().enumerate().skip(self.initial) {
            let left = &mut left[index(token)];
            if *left > 0 {
                *left -= 1;
                continue;
            }
            found.add(|| {
                let mut ops: Vec<u32> = first_longer(&reads, place).into_iter().collect();
                let adds = |op: &Op| op.appends() == Some(token);
                let appends = key.ops.iter().zip(0..).filter(|(op, _)| adds(op));
                let (mut failed, mut counting) = (Vec::new(), Vec::new());
                for (op, id) in appends {
                    if op.outcome == Outcome::Fail { &mut failed } else { &mut counting }.push(id);
                }
                let anomaly = if !counting.is_empty() || self.tokens[..place].contains(&token) {
                    Anomaly::Duplicate
                } else if failed.is_empty() {
                    Anomaly::PhantomRead
                } else {
                    Anomaly::AbortedRead
                };
                ops.extend(failed.first());
                ops.extend(counting);
                Contradiction { anomaly, ops }
            });
        }
    }

    /// Prefixes of the longest read.
    fn reads_by_length(&self, key: &KeyOps) -> Vec<(u32, u32)> {
        let reads = key.ops.iter().zip(0..).filter(|(_, id)| !self.is_apart[index(*id)]);
        let mut reads: Vec<(u32, u32)> =
            reads.filter_map(|(op, id)| Some((shown(op)?.len, id))).collect();
        reads.sort_unstable();
        reads
    }

    /// Operations that were called after one had returned that has to come later.
    fn compare_times(&self, key: &KeyOps, found: &mut Contradictions) {
        let reads = self.reads_by_length(key);
        let mut sequence = self.sequence(key);
        // Which of several appends of a token is meant is not known.
        sequence.retain(|&(_, id)| {
            appended(&key.ops[index(id)]).is_none_or(|token| self.is_told_apart(token))
        });
        let mut earliest: Option<(u64, u32)> = None;
        let mut blamed = Vec::new();
        for &(place, id) in sequence.iter().rev() {
            let op = &key.ops[index(id)];
            let returned = |(_, id): (u64, u32)| key.ops[index(id)].ret;
            if let Some(later) = earliest.filter(|&later| returned(later) < op.call) {
                blamed.push(((place, id), later));
            }
            if earliest.is_none_or(|earliest| op.ret < returned(earliest)) {
                earliest = Some((place, id));
            }
        }
        blamed.sort_unstable_by_key(|((_, id), _)| *id);
        for (blamed, later) in blamed {
            found.add(|| out_of_time(key, &reads, blamed, later));
        }
    }

    fn is_told_apart(&self, token: Word) -> bool {
        self.appends.get(index(token)) == Some(&1)
    }
}

/// The shortest read that shows the token at this place.
fn first_longer(reads: &[(u32, u32)], place: usize) -> Option<u32> {
    let at = reads.partition_point(|&(len, _)| index(len) <= place);
    reads.get(at).map(|&(_, id)| id)
}

/// The one was called after the other, which has to come later, had returned.
fn out_of_time(
    key: &KeyOps,
    reads: &[(u32, u32)],
    (place, id): (u64, u32),
    (later_place, later): (u64, u32),
) -> Contradiction {
    let is_read = |id: u32| key.ops[index(id)].action == Action::Read;
    let same_process = key.ops[index(id)].process == key.ops[index(later)].process;
    let mut ops = vec![id, later];
    let is_seen = later_place != UNSEEN;
    let anomaly = match (is_read(id), is_read(later)) {
        (true, true) if same_process => Anomaly::NonMonotonic,
        (true, _) if is_seen => Anomaly::StaleRead,
        (false, true) => Anomaly::PhantomRead,
        (false, false) => {
            // Somebody who saw both, or the one without the other.
            let place = if is_seen { later_place } else { place } / 2;
            ops.extend(first_longer(reads, usize::try_from(place).unwrap_or(usize::MAX)));
            if is_seen { Anomaly::WrongOrder } else { Anomaly::LostWrite }
        }
        (true, _) => Anomaly::LostWrite,
    };
    Contradiction { anomaly, ops }
}

/// Where each token is.
struct Places {
    /// By word: its first place that is not taken; [`NEVER`] if there is none.
    first: Vec<u32>,
    /// By place: the next one of the same token.
    next: Vec<u32>,
}

impl Places {
    fn of(tokens: &[Word], skip: usize, words: usize) -> Places {
        let mut places = Places { first: vec![NEVER; words], next: vec![NEVER; tokens.len()] };
        for (place, &token) in tokens.iter().enumerate().skip(skip).rev() {
            if let Some(first) = places.first.get_mut(index(token)) {
                places.next[place] = std::mem::replace(first, number(place));
            }
        }
        places
    }

    fn take(&mut self, token: Word) -> Option<u32> {
        let first = self.first.get_mut(index(token))?;
        let place = *first;
        *first = *self.next.get(index(place))?;
        Some(place)
    }
}
