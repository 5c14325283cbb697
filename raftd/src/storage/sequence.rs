//! Which records may follow which: the same rules when they are written and when they are read.

use std::fmt;

use raft_core::effects::Record;
use raft_core::types::{EntryId, Index, NodeId, Term};

/// Where a log stands after some of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Index that the next entry gets.
    pub next: Index,
    /// Term of the entry before that; 0 if there is none.
    pub last_term: Term,
    /// The current term.
    pub term: Term,
    /// The vote in that term.
    pub vote: Option<NodeId>,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { next, last_term, term, .. } = self;
        write!(f, "index {next} (after an entry of term {last_term}) in term {term}")?;
        self.vote.map_or(Ok(()), |vote| write!(f, " with a vote for node {vote}"))
    }
}

/// Why a record cannot stand where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceFault {
    /// The current term never falls (Thesis §3.3).
    #[error("the term falls from {current} to {found}")]
    TermFalls {
        /// Before.
        current: Term,
        /// In the record.
        found: Term,
    },
    /// One vote a term (Thesis §3.4).
    #[error("the vote of term {term} changes from node {current} to {}", vote_name(*found))]
    VoteChanges {
        /// The term.
        term: Term,
        /// Before.
        current: NodeId,
        /// In the record.
        found: Option<NodeId>,
    },
    /// Nothing stands there that could become void.
    #[error("entries from {from} on are declared void, but those that stand are {first} to {last}")]
    TruncateBeyond {
        /// First void index.
        from: Index,
        /// First index there is.
        first: Index,
        /// Last index there is; `first - 1`: there is none.
        last: Index,
    },
    /// A node adopts a term before it lets a snapshot of the term replace its log.
    #[error("snapshot {found} is of a term above the current one, {term}")]
    SnapshotAhead {
        /// The current term.
        term: Term,
        /// The last entry in the snapshot.
        found: EntryId,
    },
    /// Entries have no gaps (Thesis §3.5).
    #[error("entry {found} stands where the entry with index {expected} belongs")]
    Gap {
        /// Index that is due.
        expected: Index,
        /// The entry found.
        found: EntryId,
    },
    /// Terms never fall along a log (Thesis §3.5).
    #[error("entry {found} follows entry {last}, whose term is higher")]
    EntryTermFalls {
        /// The last entry.
        last: EntryId,
        /// The entry found.
        found: EntryId,
    },
    /// A node adopts a term before it takes the term's entries (Thesis §3.5).
    #[error("entry {found} is of a term above the current one, {term}")]
    EntryAhead {
        /// The current term.
        term: Term,
        /// The entry found.
        found: EntryId,
    },
}

fn vote_name(vote: Option<NodeId>) -> String {
    vote.map_or_else(|| "none".to_owned(), |node| format!("node {node}"))
}

/// What must be remembered of the records so far to judge the next one.
#[derive(Clone, Debug, Default)]
pub(super) struct Sequence {
    term: Term,
    vote: Option<NodeId>,
    /// The entry before the first.
    base: EntryId,
    last: Index,
    /// First index and term of each run of entries of one term.
    runs: Vec<(Index, Term)>,
}

impl Sequence {
    /// What a log has to go on from that begins here; `None` if no log can.
    pub(super) fn starting(at: Position) -> Option<Sequence> {
        let Position { next, last_term, term, vote } = at;
        let base = EntryId { term: last_term, index: next.checked_sub(1)? };
        let can_be = (base.index == 0) == (base.term == 0) && last_term <= term;
        can_be.then(|| Sequence { term, vote, base, last: base.index, runs: Vec::new() })
    }

    /// Takes the next record, if it may follow.
    pub(super) fn accept(&mut self, record: &Record) -> Result<(), SequenceFault> {
        match record {
            Record::HardState { term, vote } => self.accept_hard_state(*term, *vote),
            Record::Truncate { from } => self.accept_truncate(*from),
            Record::Entry(entry) => self.accept_entry(entry.id),
            Record::Snapshot { last } => self.accept_snapshot(*last),
        }
    }

    fn accept_hard_state(&mut self, term: Term, vote: Option<NodeId>) -> Result<(), SequenceFault> {
        if term < self.term {
            return Err(SequenceFault::TermFalls { current: self.term, found: term });
        }
        if let Some(current) = self.vote
            && term == self.term
            && vote != self.vote
        {
            return Err(SequenceFault::VoteChanges { term, current, found: vote });
        }
        (self.term, self.vote) = (term, vote);
        Ok(())
    }

    fn accept_truncate(&mut self, from: Index) -> Result<(), SequenceFault> {
        let (first, last) = (self.base.index + 1, self.last);
        if !(first..=last).contains(&from) {
            return Err(SequenceFault::TruncateBeyond { from, first, last });
        }
        self.last = from - 1;
        while self.runs.last().is_some_and(|&(first, _)| first >= from) {
            self.runs.pop();
        }
        Ok(())
    }

    fn accept_entry(&mut self, found: EntryId) -> Result<(), SequenceFault> {
        let last = self.last();
        if found.index != last.index + 1 {
            return Err(SequenceFault::Gap { expected: last.index + 1, found });
        }
        if found.term < last.term {
            return Err(SequenceFault::EntryTermFalls { last, found });
        }
        if found.term > self.term {
            return Err(SequenceFault::EntryAhead { term: self.term, found });
        }
        if found.term > last.term {
            self.runs.push((found.index, found.term));
        }
        self.last = found.index;
        Ok(())
    }

    fn accept_snapshot(&mut self, last: EntryId) -> Result<(), SequenceFault> {
        if last.term > self.term {
            return Err(SequenceFault::SnapshotAhead { term: self.term, found: last });
        }
        (self.base, self.last) = (last, last.index);
        self.runs.clear();
        Ok(())
    }

    /// The entry before the first one that is not void.
    pub(super) fn base(&self) -> EntryId {
        self.base
    }

    /// The last entry that is not void, or the base.
    pub(super) fn last(&self) -> EntryId {
        let term = self.runs.last().map_or(self.base.term, |&(_, term)| term);
        EntryId { term, index: self.last }
    }

    pub(super) fn position(&self) -> Position {
        let EntryId { term: last_term, index } = self.last();
        Position { next: index + 1, last_term, term: self.term, vote: self.vote }
    }
}

#[cfg(test)]
mod tests {
    use raft_core::types::{Entry, Payload};

    use super::*;

    fn hard_state(term: Term, vote: Option<NodeId>) -> Record {
        Record::HardState { term, vote }
    }

    fn entry(index: Index, term: Term) -> Record {
        Record::Entry(Entry::new(EntryId { term, index }, Payload::Noop))
    }

    /// Takes all records but the last, which must be refused.
    fn refusal(records: &[Record]) -> SequenceFault {
        let mut sequence = Sequence::default();
        let (last, before) = records.split_last().unwrap();
        for record in before {
            sequence.accept(record).unwrap();
        }
        let position = sequence.position();
        let fault = sequence.accept(last).unwrap_err();
        assert_eq!(sequence.position(), position, "a refused record changes nothing");
        fault
    }

    #[test]
    fn sequence_of_legal_records_is_accepted() {
        let mut sequence = Sequence::default();
        let records = [
            hard_state(1, None),
            hard_state(1, Some(2)),
            hard_state(1, Some(2)),
            entry(1, 1),
            entry(2, 1),
            hard_state(3, None),
            entry(3, 3),
            Record::Truncate { from: 2 },
            entry(2, 2),
            entry(3, 3),
            Record::Truncate { from: 3 },
        ];
        for record in &records {
            sequence.accept(record).unwrap();
        }
        assert_eq!(sequence.last(), EntryId { term: 2, index: 2 });
        let expected = Position { next: 3, last_term: 2, term: 3, vote: None };
        assert_eq!(sequence.position(), expected);
    }

    #[test]
    fn sequence_broken_by_a_record_says_how() {
        let id = |index, term| EntryId { term, index };
        assert_eq!(
            refusal(&[hard_state(3, None), hard_state(2, None)]),
            SequenceFault::TermFalls { current: 3, found: 2 }
        );
        assert_eq!(
            refusal(&[hard_state(3, Some(1)), hard_state(3, Some(2))]),
            SequenceFault::VoteChanges { term: 3, current: 1, found: Some(2) }
        );
        assert_eq!(
            refusal(&[hard_state(3, Some(1)), hard_state(3, None)]),
            SequenceFault::VoteChanges { term: 3, current: 1, found: None }
        );
        assert_eq!(
            refusal(&[hard_state(1, None), entry(1, 1), Record::Truncate { from: 2 }]),
            SequenceFault::TruncateBeyond { from: 2, first: 1, last: 1 }
        );
        assert_eq!(
            refusal(&[hard_state(1, None), entry(2, 1)]),
            SequenceFault::Gap { expected: 1, found: id(2, 1) }
        );
        assert_eq!(
            refusal(&[hard_state(1, None), entry(1, 1), entry(1, 1)]),
            SequenceFault::Gap { expected: 2, found: id(1, 1) }
        );
        assert_eq!(
            refusal(&[hard_state(2, None), entry(1, 2), entry(2, 1)]),
            SequenceFault::EntryTermFalls { last: id(1, 2), found: id(2, 1) }
        );
        assert_eq!(
            refusal(&[hard_state(1, None), entry(1, 2)]),
            SequenceFault::EntryAhead { term: 1, found: id(1, 2) }
        );
    }
    #[test]
    fn sequence_goes_on_after_a_snapshot() {
        let id = |index, term| EntryId { term, index };
        let snapshot = |index, term| Record::Snapshot { last: id(index, term) };
        let mut sequence = Sequence::default();
        for record in [hard_state(1, None), entry(1, 1), hard_state(4, None), snapshot(9, 3)] {
            sequence.accept(&record).unwrap();
        }
        assert_eq!((sequence.base(), sequence.last()), (id(9, 3), id(9, 3)));
        sequence.accept(&entry(10, 3)).unwrap();
        // Back, too: what stood there was never committed.
        sequence.accept(&snapshot(5, 4)).unwrap();
        let expected = Position { next: 6, last_term: 4, term: 4, vote: None };
        assert_eq!(sequence.position(), expected);

        assert_eq!(
            refusal(&[hard_state(2, None), snapshot(9, 3)]),
            SequenceFault::SnapshotAhead { term: 2, found: id(9, 3) }
        );
        assert_eq!(
            refusal(&[hard_state(4, None), snapshot(9, 3), entry(11, 3)]),
            SequenceFault::Gap { expected: 10, found: id(11, 3) }
        );
        assert_eq!(
            refusal(&[hard_state(4, None), snapshot(9, 3), entry(10, 2)]),
            SequenceFault::EntryTermFalls { last: id(9, 3), found: id(10, 2) }
        );
        assert_eq!(
            refusal(&[hard_state(4, None), snapshot(9, 3), Record::Truncate { from: 9 }]),
            SequenceFault::TruncateBeyond { from: 9, first: 10, last: 9 }
        );
    }

    #[test]
    fn sequence_may_start_wherever_a_log_can() {
        let at = |next, last_term, term| Position { next, last_term, term, vote: None };
        for position in [at(1, 0, 0), at(1, 0, 5), at(7, 2, 2), at(7, 2, 3)] {
            assert_eq!(Sequence::starting(position).unwrap().position(), position);
        }
        for position in [at(0, 0, 0), at(1, 1, 1), at(7, 0, 1), at(7, 2, 1)] {
            assert!(Sequence::starting(position).is_none(), "{position}");
        }
    }
}
