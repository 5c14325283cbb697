//! What the core says of a request, in the words of the client protocol.

use raft_core::effects::{Outcome, Role, TransferFailure};
use raft_core::kv::{Output, Refusal, Written};
use raft_core::membership::{ChangeRefusal, MEMBERS_MAX};
use raft_core::types::{NodeId, Term};

use super::members::Addresses;
use crate::api::{Code, Done, Error, Response, Served};

/// What this node takes itself for while it answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standpoint {
    pub(super) node: NodeId,
    pub(super) role: Role,
    pub(super) term: Term,
}

/// The answer to the request with this tag.
pub(super) fn response(
    tag: u64,
    outcome: Outcome,
    standpoint: Standpoint,
    addresses: Addresses<'_>,
) -> Response {
    let refused = |code, message: &str| Response::refusal(tag, Error::new(code, message));
    match outcome {
        Outcome::Written(Written { index, result: Ok(output) }) => {
            Response::done(tag, Done { index: Some(index), ..done(output) })
        }
        Outcome::Written(Written { index, result: Err(refusal) }) => {
            Response::refusal(tag, Error { index: Some(index), ..refusal_error(refusal) })
        }
        Outcome::Read { value, index } => {
            let Standpoint { node, role, term } = standpoint;
            let served = Some(Served { node, role: role.name().to_owned(), term });
            let index = Some(index);
            match value {
                Some(_) => Response::done(tag, Done { index, value, served, ..Done::default() }),
                None => Response::refusal(
                    tag,
                    Error { index, served, ..Error::new(Code::NotFound, "no such key") },
                ),
            }
        }
        Outcome::NotLeader { leader } => {
            Response::refusal(tag, not_leader(standpoint, leader, addresses))
        }
        Outcome::Overloaded => refused(
            Code::Overloaded,
            "too many writes wait to be committed; nothing was done, try again",
        ),
        Outcome::LeadershipLost => refused(
            Code::LeadershipLost,
            "leadership was lost before it was committed; it may or may not take effect",
        ),
        Outcome::ReadFailed => refused(
            Code::ReadFailed,
            "the read was not confirmed in time, or the node is too far behind; ask again, or another node",
        ),
        Outcome::Transferring { to } => Response::refusal(tag, transferring(to, addresses)),
        Outcome::Changed { index } | Outcome::SnapshotTaken { index } => {
            Response::done(tag, Done { index: Some(index), ..Done::default() })
        }
        Outcome::ChangeRefused(refusal) => Response::refusal(tag, change_error(refusal)),
        Outcome::Transferred { to } => {
            Response::done(tag, Done { leader: Some(to), ..Done::default() })
        }
        Outcome::TransferFailed(failure) => Response::refusal(tag, transfer_error(failure)),
        Outcome::SnapshotFailed => refused(
            Code::SnapshotFailed,
            "the snapshot could not be written; the node's log says why (is its disk full?)",
        ),
    }
}

fn done(output: Output) -> Done {
    match output {
        Output::Done => Done::default(),
        Output::Length(length) => Done { length: Some(length), ..Done::default() },
        Output::Number(number) => Done { number: Some(number), ..Done::default() },
        Output::Txn { succeeded, results } => {
            Done { succeeded: Some(succeeded), results: Some(results), ..Done::default() }
        }
    }
}

fn transferring(to: NodeId, addresses: Addresses<'_>) -> Error {
    let message =
        format!("leadership is being handed over to node {to}; nothing was done, ask there");
    let leader_client = addresses.client(to);
    Error { leader: Some(to), leader_client, ..Error::new(Code::Transferring, message) }
}

fn change_error(refusal: ChangeRefusal) -> Error {
    let say = |code, message: String| Error::new(code, message);
    match refusal {
        ChangeRefusal::Pending => say(
            Code::ChangePending,
            "another change of membership is not committed yet; one at a time, try again"
                .to_owned(),
        ),
        ChangeRefusal::NotReady => say(
            Code::NotReady,
            "the leader is new and has not committed anything of its own term yet; try again"
                .to_owned(),
        ),
        ChangeRefusal::Transferring => say(
            Code::Transferring,
            "leadership is being handed over; nothing was done, ask the new leader".to_owned(),
        ),
        ChangeRefusal::NotMember { id } => say(
            Code::NotMember,
            format!("node {id} is no member; add it first, and let it catch up"),
        ),
        ChangeRefusal::AlreadyMember { id } => say(
            Code::AlreadyMember,
            format!(
                "node {id} is a member already; to add another node, give it an id that was never used"
            ),
        ),
        ChangeRefusal::AlreadyVoter { id } => {
            say(Code::AlreadyVoter, format!("node {id} has a vote already"))
        }
        ChangeRefusal::NotCaughtUp { id, behind } => Error {
            behind: Some(behind),
            ..say(
                Code::NotCaughtUp,
                format!(
                    "node {id} has not caught up: it lacks {behind} entries, or answers too slowly; try again"
                ),
            )
        },
        ChangeRefusal::NoVoters => {
            say(Code::NoVoters, "nobody would have a vote; a cluster needs at least one".to_owned())
        }
        ChangeRefusal::NoQuorum => say(
            Code::NoQuorum,
            "too few of those who would have a vote answer now: the change might never end; start them, or keep others"
                .to_owned(),
        ),
        ChangeRefusal::TooMany => say(
            Code::TooManyMembers,
            format!("{MEMBERS_MAX} members is the most; remove one first"),
        ),
    }
}

fn transfer_error(failure: TransferFailure) -> Error {
    let (code, message) = match failure {
        TransferFailure::NoTarget => {
            (Code::NoTarget, "that node has no vote, or no other node with a vote answers")
        }
        TransferFailure::Busy => {
            (Code::TransferBusy, "leadership is being handed over to another node already")
        }
        TransferFailure::TimedOut => (
            Code::TransferTimedOut,
            "the other node did not take over within an election timeout; it may still do so, see who leads",
        ),
    };
    Error::new(code, message)
}

fn not_leader(standpoint: Standpoint, leader: Option<NodeId>, addresses: Addresses<'_>) -> Error {
    let node = standpoint.node;
    let message = match leader {
        Some(leader) => format!("node {node} does not lead; node {leader} does"),
        None => format!("node {node} does not lead, and knows no leader now; try again"),
    };
    let leader_client = leader.and_then(|leader| addresses.client(leader));
    Error { leader, leader_client, ..Error::new(Code::NotLeader, message) }
}

fn refusal_error(refusal: Refusal) -> Error {
    match refusal {
        Refusal::NotFound => Error::new(Code::NotFound, "no such key"),
        Refusal::Mismatch { actual } => {
            Error { actual, ..Error::new(Code::Mismatch, "the value is another") }
        }
        Refusal::NotANumber => {
            Error::new(Code::NotANumber, "the value is not a decimal 64-bit integer")
        }
        Refusal::Overflow => Error::new(Code::Overflow, "the sum does not fit 64 bits"),
        Refusal::TooLarge => Error::new(Code::TooLarge, "the value would become too long"),
        Refusal::Expired => Error::new(
            Code::Expired,
            "the session has expired: whether this request took effect earlier cannot be told any more, \
             and it will not be applied now",
        ),
        Refusal::BadBirth => Error::new(
            Code::BadRequest,
            "the client's name ends in @INDEX with an index that lies in the future; use one that a hello gave",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use raft_core::membership::{Address, Change, Configuration};

    use super::*;
    use crate::api::TxnResult;
    use crate::config::Cluster;
    use crate::net::encode_line;

    /// The answer's line.
    fn line(outcome: Outcome) -> String {
        let text = "cluster = \"demo\"\n[[node]]\nid = 3\npeer = \"127.0.0.1:7103\"\nclient = \"127.0.0.1:7203\"";
        let cluster = Cluster::parse(Path::new("c.toml"), text).unwrap();
        let address = |text: &str| Address { peer: text.to_owned(), client: text.to_owned() };
        let add = |id, text| Change::AddLearner { id, address: address(text), incarnation: 1 };
        let config = Configuration::founding([1].into());
        let config = config.after(&add(3, "127.0.0.1:1")).unwrap();
        let config = config.after(&add(4, "127.0.0.1:7204")).unwrap();
        let standpoint = Standpoint { node: 2, role: Role::Follower, term: 5 };
        let addresses = Addresses { cluster: &cluster, config: &config };
        let mut line = Vec::new();
        encode_line(&response(1, outcome, standpoint, addresses), &mut line);
        String::from_utf8(line).unwrap()
    }

    fn check(outcome: Outcome, expected: &str) {
        assert_eq!(line(outcome), format!("{expected}\n"));
    }

    fn written(result: Result<Output, Refusal>) -> Outcome {
        Outcome::Written(Written { index: 9, result })
    }

    #[test]
    fn write_is_answered_with_its_index() {
        check(written(Ok(Output::Done)), r#"{"tag":1,"ok":{"index":9}}"#);
        check(written(Ok(Output::Length(4))), r#"{"tag":1,"ok":{"index":9,"length":4}}"#);
        check(written(Ok(Output::Number(-4))), r#"{"tag":1,"ok":{"index":9,"number":-4}}"#);
        let results = vec![TxnResult::Value(None), TxnResult::Done];
        check(
            written(Ok(Output::Txn { succeeded: false, results })),
            r#"{"tag":1,"ok":{"index":9,"succeeded":false,"results":[{"value":null},"done"]}}"#,
        );
    }

    #[test]
    fn refused_write_keeps_index_and_cause() {
        check(
            written(Err(Refusal::Mismatch { actual: Some("a".to_owned()) })),
            r#"{"tag":1,"error":{"code":"mismatch","message":"the value is another","index":9,"actual":"a"}}"#,
        );
        assert!(line(written(Err(Refusal::Expired))).contains(r#""code":"expired""#));
    }

    #[test]
    fn read_says_who_served_it_whether_or_not_there_is_a_value() {
        let served = r#""served":{"node":2,"role":"follower","term":5}"#;
        let read =
            |value: Option<&str>| Outcome::Read { value: value.map(str::to_owned), index: 8 };
        check(read(Some("v")), &format!(r#"{{"tag":1,"ok":{{"index":8,"value":"v",{served}}}}}"#));
        let error = r#""code":"not_found","message":"no such key","index":8"#;
        check(read(None), &format!(r#"{{"tag":1,"error":{{{error},{served}}}}}"#));
    }

    #[test]
    fn not_leader_points_to_the_leader() {
        let hint = line(Outcome::NotLeader { leader: Some(3) });
        assert!(hint.contains(r#""leader":3,"leader_client":"127.0.0.1:7203""#), "{hint}");
        assert!(!line(Outcome::NotLeader { leader: None }).contains("leader_client"));
        // The cluster file does not name it.
        let hint = line(Outcome::Transferring { to: 4 });
        assert!(hint.contains(r#""leader":4,"leader_client":"127.0.0.1:7204""#), "{hint}");
    }

    #[test]
    fn operators_are_answered_with_index_leader_or_what_is_missing() {
        check(Outcome::Changed { index: 9 }, r#"{"tag":1,"ok":{"index":9}}"#);
        check(Outcome::SnapshotTaken { index: 9 }, r#"{"tag":1,"ok":{"index":9}}"#);
        check(Outcome::Transferred { to: 4 }, r#"{"tag":1,"ok":{"leader":4}}"#);
        let behind = line(Outcome::ChangeRefused(ChangeRefusal::NotCaughtUp { id: 4, behind: 7 }));
        assert!(behind.contains(r#""code":"not_caught_up""#), "{behind}");
        assert!(behind.contains("node 4") && behind.contains(r#""behind":7"#), "{behind}");
    }
}
