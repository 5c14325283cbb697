//! Client sessions: what makes a retry harmless (Thesis §6.3).
//!
//! Every request is named `client:seq`. A client's session remembers the answer to each of its requests until the
//! client says that it has them, so a repeated request gets the first answer and does nothing. A client may have many
//! requests in flight, and they may come to the log in any order.
//!
//! Memory is bounded, so sessions and answers must be forgotten at some time, and all replicas must forget the same:
//! everything here is decided by the log alone. What was forgotten must never be taken for new:
//!
//! - Within a session, answers are forgotten from the smallest sequence number up, and `floor` is the smallest that
//!   may still be remembered. Below it a request may have been applied: it is answered [`Refusal::Expired`]. From the
//!   floor up everything ever applied is still remembered, so an unknown number is certainly new.
//! - When a whole session is forgotten, its client's birth index stays behind in `births_expired`, the bound above
//!   all births of forgotten sessions. *An unknown client born at or above the bound is certainly new.* Proof: had it
//!   ever had a session, that session was forgotten (nothing else removes one), and the bound was then raised above
//!   the birth index of the session's client. The birth index is part of the client's name, so it is the same number
//!   now; and the bound never falls. So the birth index would lie below the bound: contradiction. And without a
//!   session nothing was ever applied for it. All other unknown clients are answered [`Refusal::Expired`].
//! - A birth index that is not below the index of the client's first entry was not seen, but made up. It would do no
//!   harm to safety, but once forgotten it would make every honest newcomer look expired until the log has grown past
//!   it. So it is refused with [`Refusal::BadBirth`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::hash::{Digest, fact, kind};
use super::sharded::{Key, Sharded};
use super::{Command, Output, Refusal, RequestId, TxnResult, Written};
use crate::types::Index;

/// Bounds on what the state machine keeps. The same on all nodes, or replicas would differ: `raftd` always uses the
/// default; tests use small ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions kept, at least 1; the least recently used one (by log index) expires when there would be more.
    pub sessions_max: usize,
    /// Answers kept for one session; beyond, the oldest is forgotten.
    pub answers_max: usize,
    /// Bytes of texts and transactions' results in the answers kept for one session (a failed cas holds a value);
    /// beyond, the oldest is forgotten.
    pub answer_bytes_max: usize,
    /// Longest value that append may build, and most that a transaction may read, bytes.
    pub value_bytes_max: usize,
}

impl Limits {
    /// Those of `raftd`.
    pub const DEFAULT: Limits = Limits {
        sessions_max: 10_000,
        answers_max: 1_024,
        answer_bytes_max: 1 << 20,
        value_bytes_max: 1 << 20,
    };
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::DEFAULT
    }
}

/// All sessions, and who is to go next.
#[derive(Clone, Debug)]
pub(super) struct Sessions {
    limits: Limits,
    table: Table,
    /// The clients of `table` by [`Session::used`]: no two are equal, for an entry uses one session.
    by_use: BTreeMap<Index, Arc<str>>,
}

/// All sessions. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Table {
    by_client: Sharded<Arc<Session>>,
    /// Above the birth index of every client whose session was forgotten; never falls.
    births_expired: Index,
    /// Sum of [`Session::hash`].
    hash: u64,
}

/// What is remembered of one client.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// Digest of the client's name.
    client: Digest,
    /// Index of the last entry that named the client, whatever became of it.
    used: Index,
    /// Requests below were forgotten, and perhaps applied. Never falls.
    floor: u64,
    /// The answers to all requests ever applied that are not below the floor.
    answers: BTreeMap<u64, Remembered>,
    /// Bytes in `answers` that count for [`Limits::answer_bytes_max`].
    answer_bytes: usize,
    /// Sum of [`Remembered::hash`].
    answers_hash: u64,
}

/// One answer.
#[derive(Clone, Debug)]
struct Remembered {
    written: Written,
    hash: u64,
}

impl Sessions {
    pub(super) fn new(limits: Limits) -> Sessions {
        Sessions::from_table(limits, Table::new(0))
    }

    pub(super) fn from_table(limits: Limits, table: Table) -> Sessions {
        assert!(limits.sessions_max >= 1, "exactly-once needs room for a session");
        let by_use = table
            .by_client
            .iter()
            .map(|(client, session)| (session.used, Arc::clone(client)))
            .collect();
        Sessions { limits, table, by_use }
    }

    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// Calls `apply` unless the request was, or may have been, applied before; tells the answer to the request.
    pub(super) fn once(
        &mut self,
        index: Index,
        command: &Command,
        apply: impl FnOnce() -> Result<Output, Refusal>,
    ) -> Written {
        let request = &command.request;
        let limits = self.limits;
        let key = Key::of(&request.client);
        if self.table.by_client.get(key).is_none()
            && let Err(refusal) = self.open(index, request)
        {
            return Written { index, result: Err(refusal) };
        }
        let session = self.table.by_client.get_mut(key).expect("it was there, or is open now");
        let session = Arc::make_mut(session);
        self.table.hash = self.table.hash.wrapping_sub(session.hash());
        let client = self.by_use.remove(&session.used).expect("each session is listed by its use");
        self.by_use.insert(index, client);
        session.used = index;
        session.forget_below(command.ack);

        let written = if request.seq < session.floor {
            Written { index, result: Err(Refusal::Expired) }
        } else if let Some(remembered) = session.answers.get(&request.seq) {
            remembered.written.clone()
        } else {
            let written = Written { index, result: apply() };
            session.remember(request.seq, written.clone(), limits);
            written
        };
        self.table.hash = self.table.hash.wrapping_add(session.hash());
        written
    }

    /// Makes room for, and starts, the session of a client that has none, if the client is certainly new.
    fn open(&mut self, index: Index, request: &RequestId) -> Result<(), Refusal> {
        let birth = request.birth();
        if birth >= index {
            return Err(Refusal::BadBirth);
        }
        if birth < self.table.births_expired {
            return Err(Refusal::Expired);
        }
        while self.table.len() >= self.limits.sessions_max {
            let (_, client) = self.by_use.pop_first().expect("every session is listed by its use");
            self.table.expire(&client);
        }
        self.by_use.insert(index, Arc::from(request.client.as_str()));
        self.table.insert(&request.client, Session::new(&request.client, index, 0));
        Ok(())
    }
}

impl Table {
    pub(super) fn new(births_expired: Index) -> Table {
        Table { by_client: Sharded::new(), births_expired, hash: 0 }
    }

    /// Adds the session of a client that has none.
    pub(super) fn insert(&mut self, client: &str, session: Session) {
        self.hash = self.hash.wrapping_add(session.hash());
        self.by_client.insert(Key::of(client), Arc::new(session));
    }

    fn expire(&mut self, client: &str) {
        let session = self.by_client.remove(Key::of(client)).expect("it is there to expire");
        self.hash = self.hash.wrapping_sub(session.hash());
        self.births_expired = self.births_expired.max(RequestId::birth_of(client) + 1);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_client.len()
    }

    pub(super) fn births_expired(&self) -> Index {
        self.births_expired
    }

    /// All there are with their clients, in the order of [`Key::rank`].
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Session)> {
        self.by_client.iter().map(|(client, session)| (&**client, &**session))
    }

    /// Hash of all that is remembered.
    pub(super) fn hash(&self) -> u64 {
        self.hash.wrapping_add(fact([kind::BIRTHS_EXPIRED, self.births_expired]))
    }
}

impl Session {
    fn new(client: &str, used: Index, floor: u64) -> Session {
        Session {
            client: Digest::of(client),
            used,
            floor,
            answers: BTreeMap::new(),
            answer_bytes: 0,
            answers_hash: 0,
        }
    }

    /// A session as it was kept elsewhere, or why there can be none like it.
    pub(super) fn restore(
        client: &str,
        used: Index,
        floor: u64,
        answers: Vec<(u64, Written)>,
        limits: Limits,
    ) -> Result<Session, &'static str> {
        let mut session = Session::new(client, used, floor);
        let count = answers.len();
        let mut next = floor.max(1);
        for (seq, written) in answers {
            if seq < next {
                return Err("an answer is out of order, or below the floor");
            }
            if !(1..=used).contains(&written.index) {
                return Err("an answer is of an index that the client had not reached");
            }
            if matches!(written.result, Err(Refusal::Expired | Refusal::BadBirth)) {
                return Err("an answer is one that is never remembered");
            }
            next = seq.saturating_add(1);
            session.remember(seq, written, limits);
        }
        if session.answers.len() < count {
            return Err("there are more answers than are ever kept");
        }
        Ok(session)
    }

    pub(super) fn used(&self) -> Index {
        self.used
    }

    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// By sequence number.
    pub(super) fn answers(&self) -> impl Iterator<Item = (u64, &Written)> {
        self.answers.iter().map(|(&seq, remembered)| (seq, &remembered.written))
    }

    fn remember(&mut self, seq: u64, written: Written, limits: Limits) {
        let remembered = Remembered::new(self.client, seq, written);
        self.answer_bytes += remembered.bytes();
        self.answers_hash = self.answers_hash.wrapping_add(remembered.hash);
        self.answers.insert(seq, remembered);
        while self.answers.len() > limits.answers_max || self.answer_bytes > limits.answer_bytes_max
        {
            self.forget_oldest();
        }
    }

    fn forget_below(&mut self, floor: u64) {
        while self.answers.first_key_value().is_some_and(|(&seq, _)| seq < floor) {
            self.forget_oldest();
        }
        self.floor = self.floor.max(floor);
    }

    fn forget_oldest(&mut self) {
        let (seq, remembered) = self.answers.pop_first().expect("there is an answer to forget");
        self.answer_bytes -= remembered.bytes();
        self.answers_hash = self.answers_hash.wrapping_sub(remembered.hash);
        self.floor = self.floor.max(seq.saturating_add(1));
    }

    fn hash(&self) -> u64 {
        fact([kind::SESSION, self.client.word(), self.used, self.floor])
            .wrapping_add(self.answers_hash)
    }
}

impl Remembered {
    fn new(client: Digest, seq: u64, written: Written) -> Remembered {
        let (outcome, detail) = match &written.result {
            Ok(Output::Done) => (1, 0),
            Ok(Output::Length(bytes)) => (2, *bytes),
            Ok(Output::Number(number)) => (3, number.cast_unsigned()),
            Ok(Output::Txn { succeeded, results }) => (10, txn_digest(*succeeded, results)),
            Err(Refusal::NotFound) => (4, 0),
            Err(Refusal::Mismatch { actual: None }) => (5, 0),
            Err(Refusal::Mismatch { actual: Some(value) }) => (6, Digest::of(value).word()),
            Err(Refusal::NotANumber) => (7, 0),
            Err(Refusal::Overflow) => (8, 0),
            Err(Refusal::TooLarge) => (9, 0),
            Err(refusal @ (Refusal::Expired | Refusal::BadBirth)) => {
                unreachable!("{refusal:?} answers what is not applied")
            }
        };
        let hash = fact([kind::ANSWER, client.word(), seq, written.index, outcome, detail]);
        Remembered { written, hash }
    }

    /// Beside what every answer takes.
    fn bytes(&self) -> usize {
        match &self.written.result {
            Err(Refusal::Mismatch { actual: Some(value) }) => value.len(),
            Ok(Output::Txn { results, .. }) => {
                results.iter().map(|result| TXN_RESULT_BYTES + result.text_bytes()).sum()
            }
            Ok(_) | Err(_) => 0,
        }
    }
}

/// What the result of one operation of a transaction counts for, beside its text: about what it takes in memory.
const TXN_RESULT_BYTES: usize = 32;

fn txn_digest(succeeded: bool, results: &[TxnResult]) -> u64 {
    results.iter().fold(u64::from(succeeded), |digest, result| {
        let (kind, detail) = match result {
            TxnResult::Value(None) => (1, 0),
            TxnResult::Value(Some(text)) => (2, Digest::of(text).word()),
            TxnResult::Done => (3, 0),
            TxnResult::Deleted(was_there) => (4, u64::from(*was_there)),
            TxnResult::Length(bytes) => (5, *bytes),
            TxnResult::Number(number) => (6, number.cast_unsigned()),
        };
        fact([digest, kind, detail])
    })
}

#[cfg(test)]
impl Sessions {
    /// What [`Table::hash`] must be, from nothing but the state; checks the books on the way.
    pub(super) fn hash_from_scratch(&self) -> u64 {
        assert_eq!(self.by_use.len(), self.table.by_client.len());
        let mut hash = fact([kind::BIRTHS_EXPIRED, self.table.births_expired]);
        for (client, session) in self.table.by_client.iter() {
            assert_eq!(self.by_use.get(&session.used), Some(client));
            assert_eq!(
                session.answer_bytes,
                session.answers.values().map(Remembered::bytes).sum::<usize>()
            );
            let name = Digest::of(client);
            hash =
                hash.wrapping_add(fact([kind::SESSION, name.word(), session.used, session.floor]));
            for (&seq, remembered) in &session.answers {
                assert!(seq >= session.floor, "what lies below the floor is forgotten");
                let again = Remembered::new(name, seq, remembered.written.clone());
                hash = hash.wrapping_add(again.hash);
            }
        }
        hash
    }
}
