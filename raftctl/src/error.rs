//! What can go wrong with a call, and whether the write may have taken effect all the same.

use std::time::Duration;

use raftd::api::{self, Code, RequestId};

use crate::NodeId;

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("{kind}{}", if *.definite { "" } else { "; the write may or may not have taken effect" })]
pub struct Error {
    /// What happened last.
    pub kind: Box<ErrorKind>,
    /// The write's name. Repeating the write under this name is safe.
    pub request: Option<RequestId>,
    definite: bool,
}

impl Error {
    /// `exposed`: whether the write was sent in some attempt that got no definite answer.
    pub(crate) fn new(kind: ErrorKind, request: Option<RequestId>, exposed: bool) -> Error {
        let definite = !exposed || kind.settles();
        Error { kind: Box::new(kind), request, definite }
    }

    /// Whether the request has certainly not taken effect, and will not by anything this call has sent. Reads have no
    /// effect, so their errors are always definite.
    pub fn is_definite(&self) -> bool {
        self.definite
    }

    /// A word for the kind of error: the server's code, or `timeout`, `unreachable`, `connection_lost`, `no_such_node`,
    /// `bad_request`.
    pub fn code(&self) -> &str {
        self.kind.code()
    }

    /// The node's answer, if it was one that refused.
    pub fn refusal(&self) -> Option<&api::Error> {
        match self.kind.as_ref() {
            ErrorKind::Refused { error, .. } => Some(error),
            ErrorKind::UnknownCode { .. }
            | ErrorKind::Unreachable { .. }
            | ErrorKind::ConnectionLost { .. }
            | ErrorKind::Timeout { .. }
            | ErrorKind::NoSuchNode { .. }
            | ErrorKind::Invalid { .. } => None,
        }
    }

    /// The node that answered, or whose answer did not come.
    pub fn node(&self) -> Option<NodeId> {
        match self.kind.as_ref() {
            ErrorKind::Refused { node, .. }
            | ErrorKind::UnknownCode { node, .. }
            | ErrorKind::ConnectionLost { node, .. } => Some(*node),
            ErrorKind::Timeout { node, .. } => *node,
            ErrorKind::Unreachable { .. }
            | ErrorKind::NoSuchNode { .. }
            | ErrorKind::Invalid { .. } => None,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ErrorKind {
    /// A node said no.
    #[error("{} (node {node})", .error.message)]
    Refused {
        /// Which node.
        node: NodeId,
        /// Its answer.
        error: Box<api::Error>,
    },
    /// A node said something that this client does not know: it is newer.
    #[error("{message} (node {node}, with an error code unknown here, {code:?})")]
    UnknownCode {
        /// Which node.
        node: NodeId,
        /// The code.
        code: String,
        /// Its message.
        message: String,
    },
    /// No connection could be made; nothing was sent in this round.
    #[error("no node could be reached ({}); check that raftd runs and the addresses are right", .tried.join("; "))]
    Unreachable {
        /// `ADDRESS: REASON`, one for each address tried.
        tried: Vec<String>,
    },
    /// The connection broke before the answer came.
    #[error("node {node} at {addr}: connection lost before the answer came: {reason}")]
    ConnectionLost {
        /// Which node.
        node: NodeId,
        /// Its address.
        addr: String,
        /// How.
        reason: String,
    },
    /// No answer in time.
    #[error("no answer within {waited:?}{}", .last.as_ref().map(|last| format!(" (before that: {last})")).unwrap_or_default())]
    Timeout {
        /// The call's limit.
        waited: Duration,
        /// The node that was asked when time ran out.
        node: Option<NodeId>,
        /// What had gone wrong before.
        last: Option<String>,
    },
    /// The node to talk to is not among the endpoints.
    #[error(
        "node {node} is not among the endpoints, which are {known}; add its address or choose one of them"
    )]
    NoSuchNode {
        /// The node asked for.
        node: NodeId,
        /// The nodes there are.
        known: String,
    },
    /// The arguments or options cannot be used; nothing was sent.
    #[error("{what}")]
    Invalid {
        /// What is wrong with them, and the remedy.
        what: String,
        /// The server's word for it.
        code: Code,
    },
}

impl ErrorKind {
    /// Whether this answer decides the request for all attempts together: it comes from the state machine, which
    /// gives the first attempt's answer to each retry, or it is a property of the request alone.
    pub(crate) fn settles(&self) -> bool {
        match self {
            ErrorKind::Refused { error, .. } => match error.code {
                Code::NotFound
                | Code::Mismatch
                | Code::NotANumber
                | Code::Overflow
                | Code::TooLarge => true,
                Code::BadRequest
                | Code::WrongHello
                | Code::NotLeader
                | Code::Overloaded
                | Code::DiskFull
                | Code::ReadFailed
                | Code::Expired
                | Code::LeadershipLost
                | Code::ShuttingDown
                | Code::Transferring
                | Code::ChangePending
                | Code::NotReady
                | Code::NotMember
                | Code::AlreadyMember
                | Code::AlreadyVoter
                | Code::NotCaughtUp
                | Code::NoVoters
                | Code::NoQuorum
                | Code::TooManyMembers
                | Code::NoTarget
                | Code::TransferBusy
                | Code::TransferTimedOut
                | Code::SnapshotFailed => false,
            },
            ErrorKind::UnknownCode { .. }
            | ErrorKind::Unreachable { .. }
            | ErrorKind::ConnectionLost { .. }
            | ErrorKind::Timeout { .. }
            | ErrorKind::NoSuchNode { .. }
            | ErrorKind::Invalid { .. } => false,
        }
    }

    /// Whether something may have been done all the same, if this was the answer to the only attempt.
    pub(crate) fn leaves_doubt(&self) -> bool {
        match self {
            ErrorKind::Refused { error, .. } => !error.code.is_definite(),
            ErrorKind::UnknownCode { .. }
            | ErrorKind::ConnectionLost { .. }
            | ErrorKind::Timeout { .. } => true,
            ErrorKind::Unreachable { .. }
            | ErrorKind::NoSuchNode { .. }
            | ErrorKind::Invalid { .. } => false,
        }
    }

    fn code(&self) -> &str {
        match self {
            ErrorKind::Refused { error, .. } => code_name(error.code),
            ErrorKind::UnknownCode { code, .. } => code,
            ErrorKind::Unreachable { .. } => "unreachable",
            ErrorKind::ConnectionLost { .. } => "connection_lost",
            ErrorKind::Timeout { .. } => "timeout",
            ErrorKind::NoSuchNode { .. } => "no_such_node",
            ErrorKind::Invalid { code, .. } => code_name(*code),
        }
    }
}

/// The code as it stands on the wire.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::NotFound => "not_found",
        Code::Mismatch => "mismatch",
        Code::NotANumber => "not_a_number",
        Code::Overflow => "overflow",
        Code::TooLarge => "too_large",
        Code::BadRequest => "bad_request",
        Code::WrongHello => "wrong_hello",
        Code::NotLeader => "not_leader",
        Code::Overloaded => "overloaded",
        Code::DiskFull => "disk_full",
        Code::ReadFailed => "read_failed",
        Code::Expired => "expired",
        Code::LeadershipLost => "leadership_lost",
        Code::ShuttingDown => "shutting_down",
        Code::Transferring => "transferring",
        Code::ChangePending => "change_pending",
        Code::NotReady => "not_ready",
        Code::NotMember => "not_member",
        Code::AlreadyMember => "already_member",
        Code::AlreadyVoter => "already_voter",
        Code::NotCaughtUp => "not_caught_up",
        Code::NoVoters => "no_voters",
        Code::NoQuorum => "no_quorum",
        Code::TooManyMembers => "too_many_members",
        Code::NoTarget => "no_target",
        Code::TransferBusy => "transfer_busy",
        Code::TransferTimedOut => "transfer_timed_out",
        Code::SnapshotFailed => "snapshot_failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODES: [Code; 28] = [
        Code::NotFound,
        Code::Mismatch,
        Code::NotANumber,
        Code::Overflow,
        Code::TooLarge,
        Code::BadRequest,
        Code::WrongHello,
        Code::NotLeader,
        Code::Overloaded,
        Code::DiskFull,
        Code::ReadFailed,
        Code::Expired,
        Code::LeadershipLost,
        Code::ShuttingDown,
        Code::Transferring,
        Code::ChangePending,
        Code::NotReady,
        Code::NotMember,
        Code::AlreadyMember,
        Code::AlreadyVoter,
        Code::NotCaughtUp,
        Code::NoVoters,
        Code::NoQuorum,
        Code::TooManyMembers,
        Code::NoTarget,
        Code::TransferBusy,
        Code::TransferTimedOut,
        Code::SnapshotFailed,
    ];

    fn refused(code: Code) -> ErrorKind {
        let error = Box::new(api::Error::new(code, "why"));
        ErrorKind::Refused { node: 1, error }
    }

    fn others() -> [ErrorKind; 6] {
        [
            ErrorKind::UnknownCode { node: 1, code: "tired".to_owned(), message: String::new() },
            ErrorKind::Unreachable { tried: Vec::new() },
            ErrorKind::ConnectionLost { node: 1, addr: String::new(), reason: String::new() },
            ErrorKind::Timeout { waited: Duration::ZERO, node: None, last: None },
            ErrorKind::NoSuchNode { node: 1, known: String::new() },
            ErrorKind::Invalid { what: String::new(), code: Code::TooLarge },
        ]
    }

    #[test]
    fn code_is_named_as_on_the_wire() {
        for code in CODES {
            let wire = serde_json::to_string(&code).unwrap();
            assert_eq!(format!("{:?}", code_name(code)), wire);
        }
    }

    #[test]
    fn error_of_a_request_never_exposed_is_definite() {
        for kind in CODES.map(refused).into_iter().chain(others()) {
            assert!(Error::new(kind, None, false).is_definite());
        }
    }

    #[test]
    fn error_of_an_exposed_write_is_definite_only_if_it_settles_all_attempts() {
        let settles: Vec<Code> = CODES
            .into_iter()
            .filter(|code| Error::new(refused(*code), None, true).is_definite())
            .collect();
        let expected =
            [Code::NotFound, Code::Mismatch, Code::NotANumber, Code::Overflow, Code::TooLarge];
        assert_eq!(settles, expected);
        for kind in others() {
            assert!(!Error::new(kind, None, true).is_definite());
        }
    }

    #[test]
    fn indefinite_error_says_so() {
        let kind = refused(Code::LeadershipLost);
        assert_eq!(
            Error::new(kind.clone(), None, true).to_string(),
            "why (node 1); the write may or may not have taken effect"
        );
        assert_eq!(Error::new(kind, None, false).to_string(), "why (node 1)");
    }
}
