//! What nodes say to each other. No encoding here: that is the driver's.

use std::sync::Arc;

use crate::types::{Entry, EntryId, Index, NodeId, Term};

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Who says it.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// The sender's current term. Whoever is behind adopts it (Thesis §3.3), except that vote
    /// requests are ignored by nodes that hear from a leader (Thesis §4.2.3).
    pub term: Term,
    /// What is said.
    pub message: Message,
}

/// All messages. Each may be lost, delayed, duplicated and reordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Would you vote for me in `next_term`? Changes no state at the receiver (Thesis §9.6).
    PreVote {
        /// The term the sender would campaign in: its current one plus one.
        next_term: Term,
        /// The sender's last entry.
        last: EntryId,
    },
    /// Answer to [`Message::PreVote`].
    PreVoteReply {
        /// Echo of the request, so that answers to an older question count for nothing.
        next_term: Term,
        /// Whether the vote would be given.
        granted: bool,
    },
    /// Vote for me in the envelope's term (Thesis §3.4).
    Vote {
        /// The candidate's last entry.
        last: EntryId,
        /// The leader itself asked for this campaign: do not turn it down for that leader's sake (Thesis §4.2.3).
        transfer: bool,
    },
    /// Answer to [`Message::Vote`], for the envelope's term.
    VoteReply {
        /// Whether the vote was given.
        granted: bool,
    },
    /// Replicates entries; without entries it is the heartbeat (Thesis §3.5).
    Append {
        /// The entry before the first of `entries`.
        prev: EntryId,
        /// Consecutive entries that follow `prev`.
        entries: Vec<Arc<Entry>>,
        /// The leader's commit index.
        commit: Index,
        /// The leader's newest ReadIndex round (0: none yet). Acks echo it; a round is never reused
        /// within a term, so an old ack cannot confirm a newer read (Thesis §6.4).
        round: u64,
        /// As what the leader takes the receiver.
        stand: Stand,
    },
    /// The log matches the leader's up to `matched`, durably.
    AppendAccepted {
        /// Index of the last entry that the message proved equal to the leader's.
        matched: Index,
        /// Echo of the append's round.
        round: u64,
        /// Echo of [`Stand::session`].
        session: Index,
        /// The sender has not seen yet that the loss of its disk was taken note of: it is no voter.
        lost: bool,
    },
    /// The log has no entry `prev`; try earlier (Thesis §3.5).
    AppendRejected {
        /// Echo of the append's `prev.index`, so that late rejections are recognised.
        prev_index: Index,
        /// The rejecting log holds this entry, and holds nothing after it, up to `prev_index`, that
        /// the leader could have: the next probe need not start later than here.
        hint: EntryId,
        /// Echo of the append's round.
        round: u64,
        /// Echo of [`Stand::session`].
        session: Index,
    },
    /// A piece of a snapshot's file, for a follower that needs entries that are compacted away (Thesis §5.3).
    Install {
        /// The snapshot's last entry: which snapshot it is.
        last: EntryId,
        /// Where in the file the piece begins, bytes.
        offset: u64,
        /// The piece; empty: no more than a heartbeat.
        data: Arc<str>,
        /// Length of the file, bytes.
        total: u64,
        /// As in [`Message::Append`].
        round: u64,
        /// As in [`Message::Append`].
        stand: Stand,
    },
    /// Answer to [`Message::Install`], as long as the snapshot is not in place; then it is
    /// [`Message::AppendAccepted`].
    InstallReply {
        /// Which snapshot.
        last: EntryId,
        /// The first byte that is missing: `total` while the complete file is being verified.
        offset: u64,
        /// Echo of the piece's round.
        round: u64,
        /// Echo of [`Stand::session`].
        session: Index,
    },
    /// The sender lost its disk, and with it whatever it had promised: it must not count as a voter before the cluster
    /// has taken note of it (Thesis §3.8: it must come back as a new member).
    Lost {
        /// The number of its new data directory.
        incarnation: u64,
        /// Echo of [`Stand::session`].
        session: Index,
    },
    /// Campaign now, without waiting for a timeout (Thesis §3.10).
    TimeoutNow,
    /// From which index on may I serve a linearizable read? (Thesis §6.4, follower reads)
    ReadIndex {
        /// Names the question; never reused, not even after a restart.
        question: ReadQuestion,
    },
    /// Answer to [`Message::ReadIndex`].
    ReadIndexReply {
        /// Echo of the question.
        question: ReadQuestion,
        /// The index, confirmed after the question arrived; `None`: not the leader, ask again later.
        index: Option<Index>,
    },
}

/// As what a leader takes the member that it writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stand {
    /// Index at which the leader began to count this member's acknowledgements: an answer to what was sent before the
    /// member was removed and added again, or lost its disk, names another one and counts for nothing.
    pub session: Index,
    /// Whether its acknowledgements count towards a quorum.
    pub voter: bool,
    /// Which data directory is meant; see [`crate::membership::Member::incarnation`].
    pub incarnation: u64,
}

/// Names a follower's question for a read index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadQuestion {
    /// Random number drawn when the asking process started.
    pub incarnation: u64,
    /// Counts that process's questions.
    pub number: u64,
}
