//! The library against scripted nodes.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use raftctl::{Answer, Client, Code, Consistency, Endpoint, Error, Op, Options};
use raftd::api::{self, Done, Request};
use tokio::task::JoinSet;

use crate::fake::{Act, FakeNode, Refusing, at, error, served};

/// Long enough never to be reached where the test does not want it.
const LONG: Duration = Duration::from_mins(1);

/// Short, where running out of time is the point.
const SHORT: Duration = Duration::from_secs(1);

fn options(nodes: &[&FakeNode]) -> Options {
    let endpoints = nodes.iter().map(|node| Endpoint::of(node.id, node.addr()));
    Options { timeout: LONG, attempt_timeout: Some(LONG), ..Options::new(endpoints) }
}

/// No second attempt after an unknown outcome.
fn once(nodes: &[&FakeNode]) -> Options {
    Options { retry: false, ..options(nodes) }
}

fn client(options: Options) -> Client {
    Client::new(options).unwrap()
}

/// Does each act once, then goes on with the last one.
fn script(acts: Vec<fn() -> Act>) -> impl FnMut(&Request) -> Act + Send {
    let mut next = 0;
    move |_| {
        let act = acts[next];
        next = (next + 1).min(acts.len() - 1);
        act()
    }
}

fn done() -> Act {
    Act::Done(at(18))
}

fn hang() -> Act {
    Act::Hang
}

fn close() -> Act {
    Act::Close
}

fn leadership_lost() -> Act {
    Act::Refuse(error(Code::LeadershipLost))
}

fn overloaded() -> Act {
    Act::Refuse(error(Code::Overloaded))
}

fn mismatch() -> Act {
    Act::Refuse(api::Error { actual: Some("2".to_owned()), ..error(Code::Mismatch) })
}

fn expired() -> Act {
    Act::Refuse(api::Error { index: Some(40), ..error(Code::Expired) })
}

#[track_caller]
fn check_error(outcome: Result<Answer, Error>, code: &str, definite: bool) -> Error {
    let error = outcome.expect_err("the call must fail");
    assert_eq!((error.code(), error.is_definite()), (code, definite), "{error}");
    error
}

/// Names the node at this address as the leader.
fn points_to(addr: &str) -> Act {
    Act::Refuse(api::Error { leader_client: Some(addr.to_owned()), ..error(Code::NotLeader) })
}

/// A follower that names the leader, and the leader.
fn follower_and_leader() -> (FakeNode, FakeNode) {
    let leader = FakeNode::start(2, |_| done());
    let addr = leader.addr();
    (FakeNode::start(1, move |_| points_to(&addr)), leader)
}

#[tokio::test]
async fn write_goes_to_the_leader_that_the_answer_names_and_stays_there() {
    let (follower, leader) = follower_and_leader();
    // The leader is not among the endpoints: the hint alone leads there.
    let client = client(once(&[&follower]));
    let answer = client.put("k", "v").await.unwrap();
    assert_eq!((answer.node, answer.index), (2, Some(18)));
    client.put("k", "w").await.unwrap();
    assert_eq!(follower.requests().len(), 1);
    assert_eq!(leader.names().len(), 2);
    assert_eq!(follower.names(), leader.names()[..1]);
}

#[tokio::test]
async fn leader_that_died_is_dropped_and_another_node_asked() {
    let gone = Refusing::new();
    let addr = gone.addr();
    let mut first = true;
    let node =
        FakeNode::start(1, move |_| if take(&mut first) { points_to(&addr) } else { done() });
    let client = client(options(&[&node]));
    assert_eq!(client.put("k", "v").await.unwrap().node, 1);
}

#[tokio::test]
async fn nodes_that_point_to_each_other_are_asked_once_in_a_round() {
    let addrs: Arc<OnceLock<[String; 2]>> = Arc::default();
    let node = |id, other: usize| {
        let addrs = Arc::clone(&addrs);
        FakeNode::start(id, move |_| points_to(&addrs.get().unwrap()[other]))
    };
    let (first, second) = (node(1, 1), node(2, 0));
    addrs.set([first.addr(), second.addr()]).unwrap();
    let client = client(once(&[&first, &second]));
    check_error(client.put("k", "v").await, "not_leader", true);
    assert_eq!((first.requests().len(), second.requests().len()), (1, 1));
}

#[tokio::test]
async fn write_without_an_answer_is_unknown() {
    let node = FakeNode::start(1, |_| Act::Hang);
    let client = client(Options { timeout: SHORT, ..once(&[&node]) });
    let error = check_error(client.put("k", "v").await, "timeout", false);
    assert_eq!(error.request.unwrap().to_string(), node.names()[0]);
    assert!(error.kind.to_string().contains("1s"), "{}", error.kind);
}

#[tokio::test]
async fn read_without_an_answer_has_no_effect() {
    let node = FakeNode::start(1, |_| Act::Hang);
    let client = client(Options { timeout: SHORT, ..once(&[&node]) });
    check_error(client.get("k", Consistency::Linearizable).await, "timeout", true);
}

#[tokio::test]
async fn silent_node_is_left_for_another_under_the_same_name() {
    let silent = FakeNode::start(2, |_| Act::Hang);
    let addr = silent.addr();
    let mut first = true;
    let node =
        FakeNode::start(1, move |_| if take(&mut first) { points_to(&addr) } else { done() });
    let client = client(Options { attempt_timeout: Some(SHORT), ..options(&[&node]) });
    let answer = client.put("k", "v").await.unwrap();
    assert_eq!(answer.node, 1);
    // In later rounds the silent one may come first again.
    let names = [node.names(), silent.names()].concat();
    assert!(node.names().len() == 2 && !silent.names().is_empty());
    assert!(names.iter().all(|name| *name == answer.request.as_ref().unwrap().to_string()));
}

#[tokio::test]
async fn silent_connection_is_given_up_for_a_new_one() {
    let node = FakeNode::start(1, script(vec![hang, done]));
    let client = client(Options { timeout: SHORT, ..once(&[&node]) });
    check_error(client.put("k", "v").await, "timeout", false);
    client.put("k", "v").await.unwrap();
    assert_eq!(node.connections(), 2);
}

#[tokio::test]
async fn connection_lost_in_the_middle_of_a_write_is_unknown() {
    let node = FakeNode::start(1, script(vec![close]));
    let error = check_error(client(once(&[&node])).put("k", "v").await, "connection_lost", false);
    assert!(error.to_string().contains("may or may not have taken effect"), "{error}");
}

#[tokio::test]
async fn retry_after_a_lost_connection_keeps_the_name_and_gets_the_answer() {
    let node = FakeNode::start(1, script(vec![close, close, done]));
    let answer = client(options(&[&node])).put("k", "v").await.unwrap();
    let names = node.names();
    assert_eq!(names.len(), 3);
    assert!(names.iter().all(|name| *name == answer.request.as_ref().unwrap().to_string()));
}

#[tokio::test]
async fn closed_connection_is_made_anew() {
    let node = FakeNode::start(1, |_| done());
    let client = client(options(&[&node]));
    client.put("k", "v").await.unwrap();
    node.hang_up();
    client.put("k", "w").await.unwrap();
    assert_eq!(node.connections(), 2);
}

#[tokio::test]
async fn refused_connection_is_definite() {
    let gone = Refusing::new();
    let endpoints = [Endpoint::at(gone.addr())];
    for retry in [false, true] {
        let options = Options { timeout: SHORT, retry, ..Options::new(endpoints.clone()) };
        let error = check_error(client(options).put("k", "v").await, "unreachable", true);
        let text = error.to_string();
        assert!(text.contains(&gone.addr()) && text.contains("connection refused"), "{text}");
    }
}

#[tokio::test]
async fn node_out_of_reach_leaves_an_earlier_attempt_unknown() {
    let gone = Refusing::new();
    let options = Options { timeout: SHORT, ..Options::new([Endpoint::at(gone.addr())]) };
    let request = "somebody@1:1".parse().unwrap();
    let op = Op::Put { key: "k".to_owned(), value: "v".to_owned() };
    check_error(client(options).call_as(request, op).await, "unreachable", false);
}

#[tokio::test]
async fn leadership_lost_is_retried_under_the_same_name() {
    let node = FakeNode::start(1, script(vec![leadership_lost, overloaded, done]));
    client(options(&[&node])).put("k", "v").await.unwrap();
    let names = node.names();
    assert_eq!(names.len(), 3);
    assert!(names.iter().all(|name| *name == names[0]));
}

#[tokio::test]
async fn leadership_lost_without_retry_is_unknown() {
    let node = FakeNode::start(1, script(vec![leadership_lost]));
    check_error(client(once(&[&node])).put("k", "v").await, "leadership_lost", false);
}

#[tokio::test]
async fn overload_is_definite_unless_an_attempt_before_was_not() {
    let node = FakeNode::start(1, script(vec![overloaded]));
    check_error(client(once(&[&node])).put("k", "v").await, "overloaded", true);
    let node = FakeNode::start(2, script(vec![leadership_lost, overloaded]));
    let options = Options { timeout: SHORT, ..options(&[&node]) };
    check_error(client(options).put("k", "v").await, "timeout", false);
}

#[tokio::test]
async fn state_machines_answer_settles_what_was_unknown() {
    let node = FakeNode::start(1, script(vec![close, mismatch]));
    let outcome = client(options(&[&node])).cas("k", Some("1".to_owned()), "3").await;
    let error = check_error(outcome, "mismatch", true);
    assert_eq!(error.refusal().unwrap().actual.as_deref(), Some("2"));
}

#[tokio::test]
async fn error_code_of_a_newer_node_is_unknown() {
    let raw = "{\"tag\":1,\"error\":{\"code\":\"tired\",\"message\":\"later\"}}\n";
    let node = FakeNode::start(1, |_| Act::Raw(raw.to_owned()));
    let error = check_error(client(once(&[&node])).put("k", "v").await, "tired", false);
    assert_eq!(error.node(), Some(1));
}

#[tokio::test]
async fn garbage_instead_of_an_answer_is_unknown() {
    let node = FakeNode::start(1, |_| Act::Raw("gar\0bage\n".to_owned()));
    let error = check_error(client(once(&[&node])).put("k", "v").await, "connection_lost", false);
    assert!(error.to_string().contains("cannot be read"), "{error}");
}

#[tokio::test]
async fn forgotten_session_is_renewed_when_nothing_was_done() {
    let node = FakeNode::start(1, script(vec![expired, done]));
    let named = Options { name: Some("c".to_owned()), ..options(&[&node]) };
    let answer = client(named).put("k", "v").await.unwrap();
    assert_eq!(node.names(), ["c@17:1", "c@40:1"]);
    assert_eq!(answer.request.unwrap().to_string(), "c@40:1");
}

#[tokio::test]
async fn forgotten_session_without_retry_is_renewed_for_the_next_write() {
    let node = FakeNode::start(1, script(vec![expired, done]));
    let client = client(Options { name: Some("c".to_owned()), ..once(&[&node]) });
    check_error(client.put("k", "v").await, "expired", true);
    client.put("k", "v").await.unwrap();
    assert_eq!(node.names(), ["c@17:1", "c@40:1"]);
}

#[tokio::test]
async fn forgotten_session_after_an_unknown_outcome_stays_unknown() {
    let node = FakeNode::start(1, script(vec![close, expired, done]));
    check_error(client(options(&[&node])).put("k", "v").await, "expired", false);
    assert_eq!(node.requests().len(), 2);
}

#[tokio::test]
async fn pinned_client_takes_not_leader_for_an_answer() {
    let (follower, leader) = follower_and_leader();
    let pinned = Options { pin: Some(1), follow_leader: false, ..options(&[&follower, &leader]) };
    let error = check_error(client(pinned).put("k", "v").await, "not_leader", true);
    assert_eq!(error.refusal().unwrap().leader_client, Some(leader.addr()));
    assert_eq!(leader.requests(), []);
}

#[tokio::test]
async fn pinned_client_comes_back_to_a_node_that_knows_no_leader_now() {
    let nobody_leads = || Act::Refuse(error(Code::NotLeader));
    for follow_leader in [false, true] {
        let other = FakeNode::start(2, |_| done());
        let node = FakeNode::start(1, script(vec![nobody_leads, done, nobody_leads, done]));
        let both = options(&[&node, &other]);
        let pinned = client(Options { pin: Some(1), follow_leader, ..both });
        assert_eq!(pinned.get("k", Consistency::Linearizable).await.unwrap().node, 1);
        assert_eq!(pinned.put("k", "v").await.unwrap().node, 1);
        assert_eq!(other.requests(), []);
    }
}

#[tokio::test]
async fn pinned_client_that_follows_does_not_follow_with_reads() {
    let (follower, leader) = follower_and_leader();
    let pinned = client(Options { pin: Some(1), ..once(&[&follower, &leader]) });
    let outcome = pinned.get("k", Consistency::Linearizable).await;
    check_error(outcome, "not_leader", true);
    assert_eq!(leader.requests(), []);
}

#[tokio::test]
async fn pinned_client_that_follows_starts_each_write_at_its_node() {
    let (follower, leader) = follower_and_leader();
    let pinned = client(Options { pin: Some(1), ..once(&[&follower, &leader]) });
    for _ in 0..3 {
        assert_eq!(pinned.put("k", "v").await.unwrap().node, 2);
    }
    assert_eq!((follower.requests().len(), leader.requests().len()), (3, 3));
}

#[tokio::test]
async fn pinned_client_reads_at_its_node_only() {
    let other = FakeNode::start(2, |_| done());
    let unsure = FakeNode::start(1, |_| Act::Refuse(error(Code::ReadFailed)));
    let pinned = client(Options { pin: Some(1), ..once(&[&unsure, &other]) });
    check_error(pinned.get("k", Consistency::Linearizable).await, "read_failed", true);
    let gone = Refusing::new();
    let endpoints = vec![Endpoint::of(1, gone.addr()), Endpoint::of(2, other.addr())];
    let pinned = client(Options { endpoints, pin: Some(1), ..once(&[]) });
    check_error(pinned.get("k", Consistency::Stale).await, "unreachable", true);
    check_error(pinned.put("k", "v").await, "unreachable", true);
    assert_eq!(other.requests(), []);
}

#[tokio::test]
async fn pinned_node_is_found_among_bare_addresses() {
    let nodes: Vec<FakeNode> = (1..=3).map(|id| FakeNode::start(id, |_| done())).collect();
    let endpoints: Vec<Endpoint> = nodes.iter().map(|node| Endpoint::at(node.addr())).collect();
    let bare = |pin| Options { endpoints: endpoints.clone(), pin: Some(pin), ..once(&[]) };
    assert_eq!(client(bare(3)).put("k", "v").await.unwrap().node, 3);
    let error = check_error(client(bare(4)).put("k", "v").await, "no_such_node", true);
    assert!(error.to_string().contains(&format!("2 at {}", nodes[1].addr())), "{error}");
    assert!(nodes[0].requests().is_empty() && nodes[1].requests().is_empty());
}

#[tokio::test]
async fn hello_says_whom_the_client_means() {
    let node = FakeNode::start(1, |_| done());
    let named = Options { cluster: Some("demo".to_owned()), ..options(&[&node]) };
    client(named).put("k", "v").await.unwrap();
    assert_eq!(node.hellos(), ["{\"hello\":{\"protocol\":1,\"cluster\":\"demo\",\"node\":1}}"]);
}

#[tokio::test]
async fn stranger_is_named_as_such() {
    async fn check(hello: &str, expected: &str) {
        let node = FakeNode::with_hello(1, hello, |_| done());
        // Though retries are allowed and there is time: it would be no use.
        let cluster = Some("demo".to_owned());
        let options = Options { cluster, timeout: SHORT, ..options(&[&node]) };
        let error = check_error(client(options).put("k", "v").await, "unreachable", true);
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!((node.requests(), node.connections()), (vec![], 1));
    }
    let hello = |rest: &str| format!("{{\"hello\":{{{rest}}}}}\n");
    check(&hello("\"protocol\":1,\"cluster\":\"prod\",\"node\":1"), "cluster \"prod\"").await;
    check(&hello("\"protocol\":1,\"cluster\":\"demo\",\"node\":2"), "is node 2, not 1").await;
    check(&hello("\"protocol\":9,\"cluster\":\"demo\",\"node\":1"), "protocol 9").await;
    check("HTTP/1.1 400 Bad Request\n", "does not speak the client protocol").await;
    let refusal = "{\"tag\":0,\"error\":{\"code\":\"wrong_hello\",\"message\":\"go away\"}}\n";
    check(refusal, "go away").await;
}

#[tokio::test]
async fn missing_key_is_an_answer_that_says_who_served_it() {
    let node = FakeNode::start(1, |_| {
        let (index, served) = (Some(9), Some(served(1)));
        Act::Refuse(api::Error { index, served, ..error(Code::NotFound) })
    });
    let client = client(once(&[&node]));
    let answer = client.get("k", Consistency::Linearizable).await.unwrap();
    assert_eq!((answer.value, answer.index, answer.served), (None, Some(9), Some(served(1))));
    check_error(client.delete("k").await, "not_found", true);
}

#[tokio::test]
async fn answers_carry_what_the_node_said() {
    let node = FakeNode::start(1, |request| {
        Act::Done(match &request.op {
            Op::Get { .. } => {
                Done { value: Some("v".to_owned()), served: Some(served(1)), ..at(5) }
            }
            Op::Append { .. } => Done { length: Some(3), ..at(6) },
            Op::Incr { by, .. } => Done { number: Some(*by), ..at(7) },
            Op::Put { .. }
            | Op::Delete { .. }
            | Op::Cas { .. }
            | Op::Status
            | Op::Txn(_)
            | Op::Member(_)
            | Op::Transfer { .. }
            | Op::Snapshot => at(8),
        })
    });
    let client = client(once(&[&node]));
    let read = client.get("k", Consistency::Stale).await.unwrap();
    assert_eq!(
        (read.value.as_deref(), read.served, read.request),
        (Some("v"), Some(served(1)), None)
    );
    assert_eq!(client.append("k", "abc").await.unwrap().length, Some(3));
    assert_eq!(client.incr("k", -4).await.unwrap().number, Some(-4));
    assert_eq!(client.cas("k", None, "v").await.unwrap().index, Some(8));
}

#[tokio::test]
async fn ack_follows_the_answers_and_waits_for_the_unknown() {
    let node = FakeNode::start(1, script(vec![done, close, done]));
    let client = client(once(&[&node]));
    client.put("k", "1").await.unwrap();
    let unknown = client.put("k", "2").await.unwrap_err().request.unwrap();
    client.put("k", "3").await.unwrap();
    client.give_up(&unknown);
    client.put("k", "4").await.unwrap();
    let acks: Vec<u64> = node.requests().iter().map(|request| request.ack).collect();
    assert_eq!(acks, [1, 2, 2, 4]);
}

#[tokio::test]
async fn repeating_an_unknown_write_by_hand_settles_it() {
    let node = FakeNode::start(1, script(vec![close, done]));
    let client = client(once(&[&node]));
    let unknown = client.put("k", "1").await.unwrap_err().request.unwrap();
    let op = Op::Put { key: "k".to_owned(), value: "1".to_owned() };
    let answer = client.call_as(unknown.clone(), op).await.unwrap();
    assert_eq!(answer.request, Some(unknown));
    client.put("k", "2").await.unwrap();
    assert_eq!(node.requests().last().unwrap().ack, 2);
}

#[tokio::test]
async fn name_is_known_before_the_request_is_sent() {
    let node = FakeNode::start(1, |_| done());
    let client = client(Options { name: Some("c3".to_owned()), ..once(&[&node]) });
    let op = Op::Incr { key: "k".to_owned(), by: 1 };
    let call = client.begin(op.clone()).await.unwrap();
    assert_eq!(call.request().unwrap().to_string(), "c3@17:1");
    assert_eq!(node.requests(), []);
    let answer = call.send().await.unwrap();
    assert_eq!(answer.request.unwrap().to_string(), "c3@17:1");
    assert_eq!(node.requests()[0].op, op);
}

#[tokio::test]
async fn name_with_a_birth_index_is_taken_as_it_is() {
    let node = FakeNode::start(1, |_| done());
    let client = client(Options { name: Some("c3@5".to_owned()), ..once(&[&node]) });
    client.put("k", "v").await.unwrap();
    assert_eq!(node.names(), ["c3@5:1"]);
}

#[tokio::test]
async fn many_calls_share_one_connection_and_answers_find_their_callers() {
    const CALLS: usize = 256;
    let node = FakeNode::start(1, |_| Act::Gather(CALLS));
    let client = client(once(&[&node]));
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let client = client.clone();
        calls.spawn(async move { client.put("k", "v").await.unwrap() });
    }
    let answers = calls.join_all().await;
    let tags: BTreeMap<String, u64> = node
        .requests()
        .into_iter()
        .map(|request| (request.request.unwrap(), request.tag))
        .collect();
    assert_eq!((answers.len(), tags.len()), (CALLS, CALLS));
    for answer in answers {
        assert_eq!(answer.index, Some(tags[&answer.request.unwrap().to_string()]));
    }
    assert_eq!(node.connections(), 1);
}

#[tokio::test]
async fn abandoned_call_leaves_the_connection_in_order() {
    let node = FakeNode::start(1, script(vec![hang, done]));
    let client = client(once(&[&node]));
    let abandoned = tokio::spawn({
        let client = client.clone();
        async move { client.put("k", "1").await }
    });
    let sent = async {
        while node.requests().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, sent).await.unwrap();
    abandoned.abort();
    assert!(abandoned.await.unwrap_err().is_cancelled());
    client.put("k", "2").await.unwrap();
    assert_eq!(node.requests()[1].ack, 1);
}

#[tokio::test]
async fn request_that_every_node_would_refuse_is_not_sent() {
    let node = FakeNode::start(1, |_| done());
    let client = client(once(&[&node]));
    check_error(client.put("", "v").await, "bad_request", true);
    check_error(client.put("k".repeat(1_025), "v").await, "too_large", true);
    check_error(client.put("k", "v".repeat((1 << 20) + 1)).await, "too_large", true);
    client.put("k", "\u{1}".repeat(1 << 20)).await.unwrap();
    assert_eq!(node.requests().len(), 1);
}

#[test]
fn options_that_cannot_work_are_refused() {
    let complaint = |options| Client::new(options).unwrap_err().to_string();
    let good = Options::new([Endpoint::of(1, "127.0.0.1:1")]);
    assert!(complaint(Options::new([])).contains("no endpoints"));
    assert!(complaint(Options { pin: Some(2), ..good.clone() }).contains("choose one of them"));
    assert!(complaint(Options { timeout: Duration::ZERO, ..good.clone() }).contains("timeout"));
    assert!(complaint(Options { name: Some("a:b".to_owned()), ..good }).contains("a:b"));
}

#[tokio::test]
async fn status_is_asked_of_every_node() {
    let status = |id| {
        move |_: &Request| {
            let status = api::Status { node: id, ..api::Status::default() };
            Act::Done(Done { status: Some(Box::new(status)), ..Done::default() })
        }
    };
    let (first, third) = (FakeNode::start(1, status(1)), FakeNode::start(3, status(3)));
    let gone = Refusing::new();
    let endpoints =
        vec![Endpoint::at(first.addr()), Endpoint::of(2, gone.addr()), Endpoint::at(third.addr())];
    let client = client(Options { endpoints, ..once(&[]) });
    let all = client.status_of_all().await;
    let seen: Vec<_> = all
        .iter()
        .map(|node| (node.endpoint.node, node.status.as_ref().map(|status| status.node).ok()))
        .collect();
    assert_eq!(seen, [(Some(1), Some(1)), (Some(2), None), (Some(3), Some(3))]);
}
