//! The log in memory, and index arithmetic.

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
    /// The entry before the first: `EntryId::ZERO`, as nothing is compacted yet.
    base: EntryId,
    entries: Vec<Arc<Entry>>,
}

impl Log {
    /// The log as found on disk.
    pub fn new(entries: Vec<Arc<Entry>>) -> Log {
        let mut log = Log::default();
        log.entries.reserve(entries.len());
        for entry in entries {
            log.push(entry);
        }
        log
    }

    /// First index that can be read.
    pub fn first(&self) -> Index {
        self.base.index + 1
    }

    /// The last entry, or `ZERO`.
    pub fn last(&self) -> EntryId {
        self.entries.last().map_or(self.base, |entry| entry.id)
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
        self.entries.push(entry);
    }

    /// Removes all entries from `from` on.
    pub fn truncate(&mut self, from: Index) {
        let keep = self.offset(from).expect("truncation starts inside the log");
        assert!(keep < self.entries.len(), "truncation starts inside the log");
        self.entries.truncate(keep);
    }

    /// Entries from `from` on: at least one if there is one, and as many more as fit `bytes_max`.
    pub fn slice(&self, from: Index, bytes_max: usize) -> Vec<Arc<Entry>> {
        let start = self.offset(from).expect("slices start inside the log");
        let rest = self.entries.get(start..).unwrap_or_default();
        let mut bytes = 0;
        let fits = rest.iter().take_while(|entry| {
            let first = bytes == 0;
            bytes += entry.weight_bytes();
            first || bytes <= bytes_max
        });
        let count = fits.count();
        rest[..count].to_vec()
    }

    /// The last entry at or before `index` whose term is at most `term`. As terms never fall, no
    /// log of a leader of `term` can agree with this one between there and `index`.
    pub fn last_of_term_at_most(&self, index: Index, term: Term) -> EntryId {
        let upto = self.offset(index.saturating_add(1)).unwrap_or(0).min(self.entries.len());
        let count = self.entries[..upto].partition_point(|entry| entry.id.term <= term);
        count.checked_sub(1).map_or(self.base, |at| self.entries[at].id)
    }

    /// Position of `index` in `entries`; `None` at or before the base.
    fn offset(&self, index: Index) -> Option<usize> {
        let distance = index.checked_sub(self.base.index)?.checked_sub(1)?;
        Some(usize::try_from(distance).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Payload;

    fn log(terms: &[Term]) -> Log {
        let entries = (1..)
            .zip(terms)
            .map(|(index, &term)| Entry::new(EntryId { term, index }, Payload::Noop));
        Log::new(entries.collect())
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
