//! Members, leaders and indexes as the library sees them, against scripted nodes.

use std::time::Duration;

use raftctl::{Client, Code, Consistency, Endpoint, Member, MemberChange, Op, Options, Status};
use raftd::api::{self, Done, Request};
use tokio::time::timeout;

use crate::fake::{Act, FakeNode, at, error};

/// Long enough never to be reached.
const LONG: Duration = Duration::from_mins(1);

fn client(nodes: &[&FakeNode]) -> Client {
    Client::new(options(nodes)).unwrap()
}

fn options(nodes: &[&FakeNode]) -> Options {
    let endpoints = nodes.iter().map(|node| Endpoint::of(node.id, node.addr()));
    Options { timeout: LONG, attempt_timeout: Some(LONG), ..Options::new(endpoints) }
}

/// A status that names these members.
fn status(node: u64, role: &str, members: &[(u64, String)]) -> Act {
    let member = |(id, client): &(u64, String)| Member {
        id: *id,
        client: Some(client.clone()),
        ..Member::default()
    };
    let members = members.iter().map(member).collect();
    let status = Status { node, role: role.to_owned(), members, ..Status::default() };
    Act::Done(Done { status: Some(Box::new(status)), ..Done::default() })
}

/// Refuses, and names a leader.
fn refuse(code: Code, leader: u64, addr: &str) -> Act {
    let (leader, leader_client) = (Some(leader), Some(addr.to_owned()));
    Act::Refuse(api::Error { leader, leader_client, ..error(code) })
}

/// Waits until the client knows a node.
async fn knows(client: &Client, node: u64) {
    let known = async {
        while client.addr_of(node).is_none() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, known).await.expect("the node must become known");
}

#[tokio::test]
async fn write_refused_because_of_a_transfer_goes_to_the_successor_under_its_name() {
    let successor = FakeNode::start(2, |_| Act::Done(at(18)));
    let addr = successor.addr();
    let leader = FakeNode::start(1, move |_| refuse(Code::Transferring, 2, &addr));
    // Nothing may have been done by the first one, so a client that repeats nothing goes on, too.
    for retry in [true, false] {
        let client = Client::new(Options { retry, ..options(&[&leader]) }).unwrap();
        assert_eq!(client.put("k", "v").await.unwrap().node, 2);
    }
    assert_eq!(leader.names(), successor.names());
}

#[tokio::test]
async fn members_that_a_new_leader_names_become_known() {
    let third = FakeNode::start(3, |_| Act::Done(at(19)));
    let members = [(3, third.addr())];
    let leader = FakeNode::start(2, move |request| {
        if request.op == Op::Status { status(2, "leader", &members) } else { Act::Done(at(18)) }
    });
    let addr = leader.addr();
    let old = FakeNode::start(1, move |_| refuse(Code::NotLeader, 2, &addr));
    let client = client(&[&old]);
    client.put("k", "v").await.unwrap();
    knows(&client, 3).await;
    // The nodes that it began with, and the one that led it on, are gone.
    drop((old, leader));
    assert_eq!(client.put("k", "w").await.unwrap().node, 3);
}

#[tokio::test]
async fn client_that_finds_no_leader_asks_who_the_members_are() {
    let leader = FakeNode::start(2, |_| Act::Done(at(18)));
    let members = [(2, leader.addr())];
    let old = FakeNode::start(1, move |request| {
        if request.op == Op::Status {
            status(1, "follower", &members)
        } else {
            Act::Refuse(error(Code::NotLeader))
        }
    });
    assert_eq!(client(&[&old]).put("k", "v").await.unwrap().node, 2);
}

#[tokio::test]
async fn stale_reads_of_a_monotonic_client_name_the_highest_index_seen() {
    let mut indexes = [25, 21].into_iter();
    let node = FakeNode::start(1, move |request| {
        let is_read = matches!(request.op, Op::Get { .. });
        Act::Done(at(if is_read { indexes.next().unwrap_or(30) } else { 18 }))
    });
    let asked = || {
        let index = |request: Request| {
            if let Op::Get { min_index, .. } = request.op { Some(min_index) } else { None }
        };
        node.requests().into_iter().filter_map(index).collect::<Vec<_>>()
    };
    let forgetful = client(&[&node]);
    let monotonic = Client::new(Options { monotonic: true, ..options(&[&node]) }).unwrap();
    monotonic.put("k", "v").await.unwrap();
    for _ in 0..3 {
        monotonic.get("k", Consistency::Stale).await.unwrap();
    }
    assert_eq!((asked(), monotonic.seen()), (vec![18, 25, 25], 30));
    monotonic.get("k", Consistency::Linearizable).await.unwrap();
    forgetful.get("k", Consistency::Stale).await.unwrap();
    assert_eq!(asked()[3..], [0, 0]);
}

#[tokio::test]
async fn change_that_cannot_begin_yet_is_tried_again() {
    let mut codes =
        [Code::ChangePending, Code::NotReady, Code::NotCaughtUp, Code::Overloaded].into_iter();
    let leader = FakeNode::start(1, move |_| match codes.next() {
        Some(code) => Act::Refuse(error(code)),
        None => Act::Done(at(20)),
    });
    let answer = client(&[&leader]).change_members(MemberChange::Promote(4)).await.unwrap();
    assert_eq!(answer.index, Some(20));
}

#[tokio::test]
async fn change_that_makes_no_sense_is_refused_for_good() {
    for code in [Code::NotMember, Code::AlreadyMember, Code::AlreadyVoter, Code::NoVoters] {
        let leader = FakeNode::start(1, move |_| Act::Refuse(error(code)));
        let outcome = client(&[&leader]).change_members(MemberChange::Remove(4)).await;
        assert!(outcome.unwrap_err().is_definite());
        assert_eq!(leader.requests().len(), 1);
    }
}

#[tokio::test]
async fn transfer_to_anyone_is_not_asked_for_twice() {
    for (to, requests) in [(None, 1), (Some(2), 2)] {
        let mut is_first = true;
        let leader = FakeNode::start(1, move |_| {
            if std::mem::take(&mut is_first) { Act::Close } else { Act::Done(at(20)) }
        });
        let outcome = client(&[&leader]).transfer_leadership(to).await;
        match to {
            None => assert!(!outcome.unwrap_err().is_definite()),
            Some(_) => assert!(outcome.is_ok()),
        }
        assert_eq!(leader.requests().len(), requests);
    }
}

#[tokio::test]
async fn leader_is_found_by_what_others_say_of_it() {
    let leader = FakeNode::start(3, |_| status(3, "leader", &[]));
    let members = [(3, leader.addr())];
    let follower = FakeNode::start(1, move |_| {
        let Act::Done(mut done) = status(1, "follower", &members) else { return Act::Hang };
        if let Some(status) = &mut done.status {
            status.leader = Some(3);
        }
        Act::Done(done)
    });
    let status = client(&[&follower]).leader_status().await.unwrap();
    assert_eq!(status.node, 3);
}

#[tokio::test]
async fn members_that_no_file_names_are_asked_for_their_status_too() {
    let third = FakeNode::start(3, |_| status(3, "follower", &[]));
    let members = [(1, "elsewhere:1".to_owned()), (3, third.addr())];
    let leader = FakeNode::start(1, move |_| status(1, "leader", &members));
    let client = client(&[&leader]);
    for _ in 0..2 {
        let all = client.status_of_all().await;
        let nodes: Vec<u64> = all.into_iter().map(|node| node.status.unwrap().node).collect();
        assert_eq!(nodes, [1, 3]);
    }
}
