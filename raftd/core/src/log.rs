//! The log in memory, and index arithmetic.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::types::{Entry, EntryId, Index, Term};

/// What the log knows of an index. Never 0 for "unknown": a term of 0 would match other unknowns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The term of the entry there (0 only at index 0).
    Term(Term),
    /// Before the first entry kept.
    Compacted,
    /// After the last entry.
    Beyond,
}

/// Consecutive entries after `base`; terms never fall from one to the next.
#[derive(Debug, Default)]
pub struct Log {
    /// The entry before the first: `EntryId::ZERO`, or the last one that was compacted away.
    base: EntryId,
    entries: VecDeque<Arc<Entry>>,
    /// Sum of [`Entry::weight_bytes`].
    bytes: u64,
}

impl Log {
    /// The log as found on disk.
    pub fn new(base: EntryId, entries: Vec<Arc<Entry>>) -> Log {
        let mut log = Log { base, entries: VecDeque::with_capacity(entries.len()), bytes: 0 };
        for entry in entries {
            log.push(entry);
        }
        log
    }

    /// The entry before the first.
    pub fn base(&self) -> EntryId {
        self.base
    }

    /// First index that can be read.
    pub fn first(&self) -> Index {
        self.base.index + 1
    }

    /// The last entry, or the base.
    pub fn last(&self) -> EntryId {
        self.entries.back().map_or(self.base, |entry| entry.id)
    }

    /// Weight of all entries that can be read.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What the log knows of `index`.
    pub fn lookup(&self, index: Index) -> Lookup {
        match index.checked_sub(self.base.index) {
            None => Lookup::Compacted,
            Some(0) => Lookup::Term(self.base.term),
            Some(_) => self.get(index).map_or(Lookup::Beyond, |entry| Lookup::Term(entry.id.term)),
        }
    }

    /// Whether the log holds exactly this entry.
    pub fn holds(&self, id: EntryId) -> bool {
        self.lookup(id.index) == Lookup::Term(id.term)
    }

    /// The entry at `index`.
    pub fn get(&self, index: Index) -> Option<&Arc<Entry>> {
        self.entries.get(self.offset(index)?)
    }

    /// Adds an entry; it must follow the last one.
    pub fn push(&mut self, entry: Arc<Entry>) {
        let last = self.last();
        assert_eq!(entry.id.index, last.index + 1, "log has a gap: {} after {last}", entry.id);
        assert!(entry.id.term >= last.term, "log's terms fall: {} after {last}", entry.id);
        self.bytes += weight(&entry);
        self.entries.push_back(entry);
    }

    /// Removes all entries from `from` on.
    pub fn truncate(&mut self, from: Index) {
        let keep = self.offset(from).expect("truncation starts inside the log");
        assert!(keep < self.entries.len(), "truncation starts inside the log");
        self.bytes -= self.entries.range(keep..).map(weight).sum::<u64>();
        self.entries.truncate(keep);
    }

    /// Forgets the entries up to `index`, which a snapshot holds; harmless if they are forgotten already.
    pub fn compact(&mut self, index: Index) {
        let Some(at) = self.offset(index) else { return };
        let base = self.entries.get(at).expect("what is compacted is in the log").id;
        self.bytes -= self.entries.drain(..=at).map(|entry| weight(&entry)).sum::<u64>();
        self.base = base;
    }

    /// Starts anew after `base`: nothing of what is there agrees with the snapshot that ends there (Thesis §5.3).
    pub fn reset(&mut self, base: EntryId) {
        *self = Log { base, entries: VecDeque::new(), bytes: 0 };
    }

    /// The index after which to compact so that entries of at most `bytes` up to `index` stay.
    pub fn before_last_bytes(&self, index: Index, bytes: u64) -> Index {
        let upto = self.offset(index.saturating_add(1)).unwrap_or(0).min(self.entries.len());
        let mut kept = 0;
        let fits = self.entries.range(..upto).rev().take_while(|entry| {
            kept += weight(entry);
            kept <= bytes
        });
        index.saturating_sub(u64::try_from(fits.count()).unwrap_or(u64::MAX)).max(self.base.index)
    }

    /// Entries from `from` on: at least one if there is one, and as many more as fit `bytes_max`.
    pub fn slice(&self, from: Index, bytes_max: usize) -> Vec<Arc<Entry>> {
        let start = self.offset(from).expect("slices start inside the log");
        let mut bytes = 0;
        let fits = self.entries.range(start.min(self.entries.len())..).take_while(|entry| {
            let first = bytes == 0;
            bytes += entry.weight_bytes();
            first || bytes <= bytes_max
        });
        fits.cloned().collect()
    }

    /// The last entry at or before `index` whose term is at most `term`. As terms never fall, no
    /// log of a leader of `term` can agree with this one between there and `index`.
    pub fn last_of_term_at_most(&self, index: Index, term: Term) -> EntryId {
        let upto = self.offset(index.saturating_add(1)).unwrap_or(0).min(self.entries.len());
        let count = self.entries.partition_point(|entry| entry.id.term <= term).min(upto);
        count.checked_sub(1).map_or(self.base, |at| self.entries[at].id)
    }

    /// Position of `index` in `entries`; `None` at or before the base.
    fn offset(&self, index: Index) -> Option<usize> {
        let distance = index.checked_sub(self.base.index)?.checked_sub(1)?;
        Some(usize::try_from(distance).unwrap_or(usize::MAX))
    }
}

fn weight(entry: &Arc<Entry>) -> u64 {
    u64::try_from(entry.weight_bytes()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Payload;

    fn log(terms: &[Term]) -> Log {
        let entries = (1..)
            .zip(terms)
            .map(|(index, &term)| Entry::new(EntryId { term, index }, Payload::Noop));
        Log::new(EntryId::ZERO, entries.collect())
    }

    #[test]
    fn compacted_log_knows_its_base_and_nothing_before() {
        let mut log = log(&[1, 1, 3, 3, 5]);
        let bytes = log.bytes();
        log.compact(3);
        assert_eq!((log.base(), log.first()), (EntryId { term: 3, index: 3 }, 4));
        assert_eq!(log.bytes(), bytes * 2 / 5);
        assert_eq!(log.lookup(3), Lookup::Term(3));
        assert_eq!(log.lookup(2), Lookup::Compacted);
        assert_eq!(log.last_of_term_at_most(4, 2), EntryId { term: 3, index: 3 });
        log.compact(2);
        assert_eq!(log.first(), 4, "twice is as once");
        log.compact(5);
        assert_eq!(log.last(), EntryId { term: 5, index: 5 });
        assert_eq!(log.bytes(), 0);
        log.reset(EntryId { term: 7, index: 90 });
        assert_eq!((log.last().index, log.lookup(91)), (90, Lookup::Beyond));
    }

    #[test]
    fn trailing_entries_are_counted_by_weight_from_the_end() {
        let mut log = log(&[1, 1, 1, 1, 1]);
        assert_eq!(log.before_last_bytes(4, 80), 2);
        assert_eq!(log.before_last_bytes(4, 79), 3);
        assert_eq!(log.before_last_bytes(4, 0), 4);
        assert_eq!(log.before_last_bytes(4, 1_000), 0);
        log.compact(3);
        assert_eq!(log.before_last_bytes(4, 1_000), 3, "what is gone cannot be kept");
    }

    #[test]
    fn lookup_tells_unknown_from_zero() {
        let log = log(&[1, 1, 3]);
        assert_eq!(log.lookup(0), Lookup::Term(0));
        assert_eq!(log.lookup(3), Lookup::Term(3));
        assert_eq!(log.lookup(4), Lookup::Beyond);
        assert_eq!(log.lookup(Index::MAX), Lookup::Beyond);
        assert!(!log.holds(EntryId { term: 0, index: 4 }), "an unknown term matches nothing");
    }

    #[test]
    fn last_of_term_at_most_skips_whole_terms() {
        let log = log(&[1, 1, 3, 3, 5]);
        assert_eq!(log.last_of_term_at_most(5, 4), EntryId { term: 3, index: 4 });
        assert_eq!(log.last_of_term_at_most(3, 4), EntryId { term: 3, index: 3 });
        assert_eq!(log.last_of_term_at_most(5, 2), EntryId { term: 1, index: 2 });
        assert_eq!(log.last_of_term_at_most(5, 0), EntryId::ZERO);
        assert_eq!(log.last_of_term_at_most(0, 9), EntryId::ZERO);
        assert_eq!(log.last_of_term_at_most(99, 9), EntryId { term: 5, index: 5 });
    }

    #[test]
    fn slice_always_makes_progress_and_honours_its_bound() {
        let log = log(&[1, 1, 1]);
        assert_eq!(log.slice(1, 0).len(), 1);
        assert_eq!(log.slice(1, 80).len(), 2);
        assert_eq!(log.slice(4, 80).len(), 0);
    }
}
