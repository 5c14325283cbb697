//! How a call finds its node, and what it does about each answer. The rules stand at [`crate::Options`].

use std::sync::Arc;
use std::time::Duration;

use raftd::api::{self, Code, Done, Op, RequestId};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::connection::{Connection, Unsent};
use crate::endpoint::{Dial, Endpoint, NotConnected};
use crate::error::ErrorKind;
use crate::router::{Router, contains};
use crate::session::Session;
use crate::wire::Refusal;
use crate::{NodeId, Options};

/// What a node that leads says of its role.
const LEADER: &str = "leader";

/// After so many rounds in vain, the members may be others than those known: whoever answers is asked for them.
const LOST_ROUNDS: u32 = 3;

/// Carries calls to nodes.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) router: Arc<Router>,
    dial: Dial,
    pin: Option<NodeId>,
    follow_leader: bool,
    retry: bool,
    timeout: Duration,
    attempt_timeout: Duration,
}

/// What a call wants, and how far it has got.
#[derive(Debug)]
pub(crate) struct Errand<'a> {
    pub(crate) task: Task<'a>,
    pub(crate) deadline: Instant,
    /// Whether the write was sent in an attempt that got no definite answer.
    pub(crate) exposed: bool,
    /// What has kept it from success so far.
    last: Option<ErrorKind>,
}

impl<'a> Errand<'a> {
    pub(crate) fn new(task: Task<'a>, deadline: Instant) -> Errand<'a> {
        Errand { task, deadline, exposed: false, last: None }
    }
}

/// What to do at a node.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Task<'a> {
    /// Get connected, and learn its commit index.
    Hello,
    /// A read, or a look at the status.
    Read(&'a Op),
    /// A write, with its name; and the session it belongs to, if that is this client's.
    Write(&'a Op, &'a RequestId, Option<&'a Session>),
    /// Something that an operator wants done. It has no name; `repeat`: but it does no harm to have it done twice.
    Command { op: &'a Op, repeat: bool },
}

/// What a node did.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) node: NodeId,
    /// Its commit index when the connection was made.
    pub(crate) commit: u64,
    pub(crate) done: Done,
}

/// How one attempt at one node ended.
enum Attempt {
    Done(Reached),
    /// No connection: nothing was sent.
    Unreachable(NotConnected),
    /// The deadline has passed before there was a connection.
    OutOfTime,
    /// The node said no.
    Refused(NodeId, Box<api::Error>),
    /// The request may have been sent, and there is no answer that this client can rely on.
    Unknown(ErrorKind),
}

/// How a round ended without success.
enum Ending {
    /// Another round would make no difference, or must not be.
    Final(ErrorKind),
    /// Another round may help.
    Passing(ErrorKind),
    /// There is no time for another attempt.
    OutOfTime,
}

/// What a refusal calls for.
enum Reaction {
    /// Ask the leader.
    FollowLeader,
    /// Ask another node.
    GoElsewhere,
    /// Ask again later.
    ComeBack,
    /// It is the answer.
    TakeIt,
}

/// What comes after a refusal.
enum Next {
    /// This node; or none in this round.
    Ask(Option<Arc<Endpoint>>),
    /// Nothing: the refusal is the answer.
    Answer,
}

fn reaction(code: Code) -> Reaction {
    match code {
        Code::NotLeader | Code::Transferring => Reaction::FollowLeader,
        Code::ReadFailed | Code::LeadershipLost | Code::ShuttingDown => Reaction::GoElsewhere,
        Code::Overloaded
        | Code::ChangePending
        | Code::NotReady
        | Code::NotCaughtUp
        | Code::TransferBusy => Reaction::ComeBack,
        Code::NotFound
        | Code::Mismatch
        | Code::NotANumber
        | Code::Overflow
        | Code::TooLarge
        | Code::BadRequest
        | Code::WrongHello
        | Code::DiskFull
        | Code::Expired
        | Code::NotMember
        | Code::AlreadyMember
        | Code::AlreadyVoter
        | Code::NoVoters
        | Code::NoQuorum
        | Code::TooManyMembers
        | Code::NoTarget
        | Code::TransferTimedOut
        | Code::SnapshotFailed => Reaction::TakeIt,
    }
}

impl Driver {
    pub(crate) fn new(options: &Options, router: Router) -> Driver {
        let timeout = options.timeout;
        let attempt_timeout = match options.attempt_timeout {
            Some(attempt_timeout) => attempt_timeout.min(timeout),
            None => timeout / 4,
        };
        Driver {
            router: Arc::new(router),
            dial: Dial {
                cluster: options.cluster.clone(),
                timeout: options.connect_timeout.min(timeout),
            },
            pin: options.pin,
            follow_leader: options.follow_leader,
            retry: options.retry,
            timeout,
            attempt_timeout: if options.retry { attempt_timeout } else { timeout },
        }
    }

    /// Rounds until one succeeds, or no other may be tried.
    pub(crate) async fn drive(&self, errand: &mut Errand<'_>) -> Result<Reached, ErrorKind> {
        let mut rounds = 0;
        loop {
            let kind = match self.round(errand).await {
                Ok(reached) => return Ok(reached),
                Err(Ending::Final(kind)) => return Err(kind),
                Err(Ending::OutOfTime) => return Err(self.out_of_time(errand.last.take())),
                Err(Ending::Passing(kind)) => kind,
            };
            if !self.retry {
                return Err(kind);
            }
            let next = Instant::now() + self.router.pause(rounds);
            if next >= errand.deadline {
                return Err(self.out_of_time(Some(kind)));
            }
            errand.last = Some(kind);
            sleep_until(next).await;
            rounds += 1;
            if rounds == LOST_ROUNDS {
                self.router.all().iter().for_each(|endpoint| self.ask_for_members(endpoint));
            }
        }
    }

    /// Asks one node and no other.
    pub(crate) async fn ask(
        &self,
        endpoint: &Arc<Endpoint>,
        errand: &Errand<'_>,
    ) -> Result<Reached, ErrorKind> {
        match self.attempt(endpoint, errand).await {
            Attempt::Done(reached) => Ok(reached),
            Attempt::Unreachable(why) => Err(unreachable(&[why])),
            Attempt::OutOfTime => Err(self.out_of_time(None)),
            Attempt::Refused(node, error) => Err(ErrorKind::Refused { node, error }),
            Attempt::Unknown(kind) => Err(kind),
        }
    }

    /// Asks a node who the members are, and does not wait for the answer.
    fn ask_for_members(&self, endpoint: &Endpoint) {
        let Some(connection) = endpoint.up() else { return };
        let Ok(mut waiter) = connection.send(None, None, &Op::Status) else { return };
        let (router, patience) = (Arc::clone(&self.router), self.timeout);
        tokio::spawn(async move {
            let reply = timeout(patience, waiter.reply()).await;
            if let Ok(Ok(Ok(Done { status: Some(status), .. }))) = reply {
                router.learn(&status.members);
            }
        });
    }

    /// Asks each node at most once: the first one, then whom the answers point to.
    async fn round(&self, errand: &mut Errand<'_>) -> Result<Reached, Ending> {
        let mut asked = Vec::new();
        let mut tried = Vec::new();
        let mut last = None;
        let mut next = self.first(errand.deadline).await?;
        while let Some(endpoint) = next {
            let attempt = self.attempt(&endpoint, errand).await;
            asked.push(Arc::clone(&endpoint));
            next = match attempt {
                Attempt::Done(reached) => {
                    self.on_done(&endpoint, errand);
                    return Ok(reached);
                }
                Attempt::Unreachable(why) => {
                    self.router.forget(&endpoint);
                    tried.push(why);
                    self.elsewhere(&asked)
                }
                Attempt::OutOfTime => {
                    let seen = last.or_else(|| (!tried.is_empty()).then(|| unreachable(&tried)));
                    errand.last = seen.or(errand.last.take());
                    return Err(Ending::OutOfTime);
                }
                Attempt::Refused(node, error) => {
                    self.on_refused(errand, &endpoint, &asked, (node, error), &mut last)?
                }
                Attempt::Unknown(kind) => {
                    errand.exposed = true;
                    self.router.forget(&endpoint);
                    if !self.retry || matches!(errand.task, Task::Command { repeat: false, .. }) {
                        return Err(Ending::Final(kind));
                    }
                    last = Some(kind);
                    self.elsewhere(&asked)
                }
            };
        }
        match last {
            Some(kind) => Err(Ending::Passing(kind)),
            None if tried.iter().all(|why| why.is_lasting) => {
                Err(Ending::Final(unreachable(&tried)))
            }
            None => Err(Ending::Passing(unreachable(&tried))),
        }
    }

    fn on_done(&self, endpoint: &Arc<Endpoint>, errand: &Errand<'_>) {
        match errand.task {
            Task::Write(..) => self.router.prefer(endpoint),
            Task::Read(_) | Task::Hello | Task::Command { .. } => {
                self.router.prefer_for_now(endpoint);
            }
        }
        if endpoint.take_news() {
            self.ask_for_members(endpoint);
        }
    }

    /// Whom to ask after a refusal, if anyone in this round.
    fn on_refused(
        &self,
        errand: &mut Errand<'_>,
        endpoint: &Arc<Endpoint>,
        asked: &[Arc<Endpoint>],
        (node, error): (NodeId, Box<api::Error>),
        last: &mut Option<ErrorKind>,
    ) -> Result<Option<Arc<Endpoint>>, Ending> {
        errand.exposed |= !error.code.is_definite();
        let next = match reaction(error.code) {
            Reaction::FollowLeader => {
                self.router.forget(endpoint);
                self.after_not_leader(errand.task, asked, &error)
            }
            Reaction::GoElsewhere if self.retry => {
                self.router.forget(endpoint);
                Next::Ask(self.elsewhere(asked))
            }
            Reaction::ComeBack if self.retry => Next::Ask(None),
            Reaction::GoElsewhere | Reaction::ComeBack | Reaction::TakeIt => Next::Answer,
        };
        let kind = ErrorKind::Refused { node, error };
        match next {
            Next::Ask(next) => {
                *last = Some(kind);
                Ok(next)
            }
            Next::Answer => Err(Ending::Final(kind)),
        }
    }

    /// A read is served by any node that knows a leader, so the hint is for writes.
    fn after_not_leader(
        &self,
        task: Task<'_>,
        asked: &[Arc<Endpoint>],
        error: &api::Error,
    ) -> Next {
        let names_leader = error.leader.is_some() || error.leader_client.is_some();
        match task {
            Task::Read(_) | Task::Hello => Next::Ask(self.elsewhere(asked)),
            Task::Write(..) | Task::Command { .. } if self.follow_leader => {
                let hinted = self.router.hinted(error, asked);
                if let Some(leader) = &hinted {
                    self.router.prefer(leader);
                }
                Next::Ask(hinted.or_else(|| self.elsewhere(asked)))
            }
            Task::Write(..) | Task::Command { .. } if names_leader => Next::Answer,
            Task::Write(..) | Task::Command { .. } => Next::Ask(None),
        }
    }

    /// Another node, unless the client is pinned: then only a hint leads away.
    fn elsewhere(&self, asked: &[Arc<Endpoint>]) -> Option<Arc<Endpoint>> {
        match self.pin {
            Some(_) => None,
            None => self.router.other(asked),
        }
    }

    /// The leader's view of itself; none if nobody leads, as far as the nodes in reach know - or what kept them from
    /// saying so. The members that they name become known.
    pub(crate) async fn find_leader(
        &self,
        deadline: Instant,
    ) -> Result<Option<Box<api::Status>>, ErrorKind> {
        let errand = Errand::new(Task::Read(&Op::Status), deadline);
        let (mut asked, mut problem, mut answered) = (Vec::new(), None, false);
        let mut next = self.router.first();
        while let Some(endpoint) = next {
            let answer = self.ask(&endpoint, &errand).await;
            asked.push(endpoint);
            let mut hinted = None;
            match answer.map(|reached| reached.done.status.unwrap_or_default()) {
                Ok(status) => {
                    answered = true;
                    self.router.learn(&status.members);
                    if status.role == LEADER {
                        return Ok(Some(status));
                    }
                    let leader = status.leader.and_then(|leader| self.router.node(leader));
                    hinted = leader.filter(|leader| !contains(&asked, leader));
                }
                Err(kind) => problem = Some(kind),
            }
            next = hinted.or_else(|| self.router.other(&asked));
        }
        match problem {
            Some(kind) if !answered => Err(kind),
            Some(_) | None => Ok(None),
        }
    }

    /// The node to begin with.
    async fn first(&self, deadline: Instant) -> Result<Option<Arc<Endpoint>>, Ending> {
        let Some(node) = self.pin else { return Ok(self.router.first()) };
        if let Some(endpoint) = self.router.node(node) {
            return Ok(Some(endpoint));
        }
        self.find(node, deadline).await.map(Some)
    }

    /// Looks for the pinned node among the addresses whose node is not known.
    async fn find(&self, node: NodeId, deadline: Instant) -> Result<Arc<Endpoint>, Ending> {
        let mut tried = Vec::new();
        for endpoint in self.router.all() {
            if endpoint.node().is_none() {
                match self.connect(&endpoint, deadline).await {
                    Some(Ok(_)) => {}
                    Some(Err(why)) => tried.push(why),
                    None => return Err(Ending::OutOfTime),
                }
            }
            if endpoint.node() == Some(node) {
                return Ok(endpoint);
            }
        }
        if !tried.is_empty() {
            return Err(Ending::Passing(unreachable(&tried)));
        }
        let known = self.router.all();
        let known: Vec<String> = known
            .iter()
            .filter_map(|endpoint| Some(format!("{} at {}", endpoint.node()?, endpoint.addr())))
            .collect();
        Err(Ending::Final(ErrorKind::NoSuchNode { node, known: known.join(", ") }))
    }

    /// The connection; None if the deadline came first.
    async fn connect(
        &self,
        endpoint: &Arc<Endpoint>,
        deadline: Instant,
    ) -> Option<Result<Arc<Connection>, NotConnected>> {
        if let Some(connection) = endpoint.up() {
            return Some(Ok(connection));
        }
        let connected = timeout_at(deadline, endpoint.connect(&self.dial)).await.ok()?;
        Some(connected.map_err(|why| not_connected(endpoint, &why.reason, why.is_lasting)))
    }

    async fn attempt(&self, endpoint: &Arc<Endpoint>, errand: &Errand<'_>) -> Attempt {
        let connection = match self.connect(endpoint, errand.deadline).await {
            Some(Ok(connection)) => connection,
            Some(Err(why)) => return Attempt::Unreachable(why),
            None => return Attempt::OutOfTime,
        };
        let (node, commit) = (connection.node(), connection.commit());
        let (op, request, ack) = match errand.task {
            Task::Hello => {
                return Attempt::Done(Reached { node, commit, done: Done::default() });
            }
            Task::Read(op) | Task::Command { op, .. } => (op, None, None),
            Task::Write(op, request, session) => (op, Some(request), session.map(Session::ack)),
        };
        let now = Instant::now();
        if now >= errand.deadline {
            return Attempt::OutOfTime;
        }
        let until = errand.deadline.min(now + self.attempt_timeout);
        let mut waiter = loop {
            let reason = match connection.send(request, ack, op) {
                Ok(waiter) => break waiter,
                Err(Unsent::Full) if timeout_at(until, connection.room()).await.is_ok() => continue,
                Err(Unsent::Full) => "too many requests wait for it already".to_owned(),
                Err(Unsent::Closed) => connection.closed().unwrap_or_default(),
            };
            return Attempt::Unreachable(not_connected(endpoint, &reason, false));
        };
        match timeout_at(until, waiter.reply()).await {
            Ok(Ok(Ok(done))) => Attempt::Done(Reached { node, commit, done }),
            Ok(Ok(Err(Refusal::Known(error)))) => Attempt::Refused(node, error),
            Ok(Ok(Err(Refusal::Unknown { code, message }))) => {
                Attempt::Unknown(ErrorKind::UnknownCode { node, code, message })
            }
            Ok(Err(reason)) => {
                let addr = endpoint.addr().to_owned();
                Attempt::Unknown(ErrorKind::ConnectionLost { node, addr, reason })
            }
            Err(_) => {
                // A node that says nothing at all may be cut off by a link that will never report it: the next call
                // finds out by a connection of its own.
                if waiter.node_is_silent() {
                    endpoint.retire(&connection);
                }
                let waited = self.attempt_timeout;
                Attempt::Unknown(ErrorKind::Timeout { waited, node: Some(node), last: None })
            }
        }
    }

    /// The deadline has passed; `last` is what kept the call from success.
    fn out_of_time(&self, last: Option<ErrorKind>) -> ErrorKind {
        let waited = self.timeout;
        match last {
            Some(kind @ ErrorKind::Unreachable { .. }) => kind,
            Some(ErrorKind::Timeout { node, last, .. }) => {
                ErrorKind::Timeout { waited, node, last }
            }
            Some(kind) => ErrorKind::Timeout { waited, node: None, last: Some(kind.to_string()) },
            None => ErrorKind::Timeout { waited, node: None, last: None },
        }
    }
}

fn not_connected(endpoint: &Endpoint, reason: &str, is_lasting: bool) -> NotConnected {
    NotConnected { reason: format!("{}: {reason}", endpoint.addr()), is_lasting }
}

fn unreachable(tried: &[NotConnected]) -> ErrorKind {
    ErrorKind::Unreachable { tried: tried.iter().map(|why| why.reason.clone()).collect() }
}
