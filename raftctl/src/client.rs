//! The calls.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raftd::api::{
    Code, Consistency, KEY_BYTES_MAX, Op, RequestId, Served, Status, Txn, TxnResult,
    VALUE_BYTES_MAX,
};
use rand::Rng;
use rand::distr::Alphanumeric;
use tokio::time::Instant;

use crate::NodeId;
use crate::drive::{Driver, Errand, Reached, Task};
use crate::endpoint::Endpoint as Link;
use crate::error::{Error, ErrorKind};
use crate::options::Options;
use crate::router::{self, Router};
use crate::session::{Session, Ticket};

/// How often a call takes a new session because the one it had was forgotten by the cluster.
const RENEWALS_MAX: u32 = 3;

/// Most bytes of keys and values in a transaction: what fits a line, whatever characters they are.
const TXN_BYTES_MAX: usize = 2 * VALUE_BYTES_MAX;

/// Characters of a random client name: 12 of 62, so that no two clients ever share a name by chance.
const NAME_CHARS: usize = 12;

/// A session with a cluster. Clones are the same session; many calls may be under way at once.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) options: Options,
    pub(crate) driver: Driver,
    /// What the session's name begins with.
    prefix: String,
    /// None until the first write: its name holds a commit index, which a node must say.
    session: Mutex<Option<Arc<Session>>>,
    /// The highest index that any answer reflected.
    seen: AtomicU64,
}

/// What a call did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The node that answered.
    pub node: NodeId,
    /// The write's name.
    pub request: Option<RequestId>,
    /// Log index at which the write or the change of membership took effect; for reads, the index that the value
    /// reflects; for snapshots, the last one in it.
    pub index: Option<u64>,
    /// Get: the value; `None` if the key has none.
    pub value: Option<String>,
    /// Append: the value's length now, bytes.
    pub length: Option<u64>,
    /// Incr: the value now.
    pub number: Option<i64>,
    /// Txn: whether everything compared was as expected, so that `then` was done and not `else`.
    pub succeeded: Option<bool>,
    /// Txn: what each operation did.
    pub results: Option<Vec<TxnResult>>,
    /// Transfer: who leads now.
    pub leader: Option<NodeId>,
    /// Reads: the node that served it, what it took itself for, and its term.
    pub served: Option<Served>,
    /// Status: the node's view of itself.
    pub status: Option<Box<Status>>,
}

impl Answer {
    /// What a node did, without a name.
    pub(crate) fn of(Reached { node, done, .. }: Reached) -> Answer {
        Answer {
            node,
            request: None,
            index: done.index,
            value: done.value,
            length: done.length,
            number: done.number,
            succeeded: done.succeeded,
            results: done.results,
            leader: done.leader,
            served: done.served,
            status: done.status,
        }
    }
}

impl Client {
    /// A client that will connect when it is first used.
    pub fn new(options: Options) -> Result<Client, Error> {
        check_options(&options).map_err(|kind| Error::new(kind, None, false))?;
        let mut rng = router::random();
        let prefix = match &options.name {
            Some(name) => name.clone(),
            None => (0..NAME_CHARS).map(|_| char::from(rng.sample(Alphanumeric))).collect(),
        };
        let session = prefix.contains('@').then(|| Arc::new(Session::new(prefix.clone())));
        let links = options.endpoints.iter();
        let links = links.map(|at| Link::new(at.addr.clone(), at.node)).collect();
        let driver = Driver::new(&options, Router::new(links, rng));
        let (session, seen) = (Mutex::new(session), AtomicU64::new(0));
        let inner = Inner { options, driver, prefix, session, seen };
        Ok(Client { inner: Arc::new(inner) })
    }

    /// Reads a key; a key without a value is a successful answer.
    pub async fn get(
        &self,
        key: impl Into<String>,
        consistency: Consistency,
    ) -> Result<Answer, Error> {
        self.call(Op::Get { key: key.into(), consistency, min_index: 0 }).await
    }

    /// Sets a key.
    pub async fn put(
        &self,
        key: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Answer, Error> {
        self.call(Op::Put { key: key.into(), value: value.into() }).await
    }

    /// Removes a key; refused with `not_found` if there is none.
    pub async fn delete(&self, key: impl Into<String>) -> Result<Answer, Error> {
        self.call(Op::Delete { key: key.into() }).await
    }

    /// Sets a key if its value is `expect` (`None`: if it has none); refused with `mismatch` otherwise.
    pub async fn cas(
        &self,
        key: impl Into<String>,
        expect: Option<String>,
        value: impl Into<String>,
    ) -> Result<Answer, Error> {
        self.call(Op::Cas { key: key.into(), expect, value: value.into() }).await
    }

    /// Adds to the end of a key's value.
    pub async fn append(
        &self,
        key: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Answer, Error> {
        self.call(Op::Append { key: key.into(), value: value.into() }).await
    }

    /// Adds to a key's value as a decimal 64-bit integer.
    pub async fn incr(&self, key: impl Into<String>, by: i64) -> Result<Answer, Error> {
        self.call(Op::Incr { key: key.into(), by }).await
    }

    /// Compares several keys, and does one list of operations or the other, all at once.
    pub async fn txn(&self, txn: Txn) -> Result<Answer, Error> {
        self.call(Op::Txn(txn)).await
    }

    /// The view that a node has of itself: the pinned one, else any.
    pub async fn status(&self) -> Result<Box<Status>, Error> {
        self.call(Op::Status).await.map(|answer| answer.status.unwrap_or_default())
    }

    /// The address of a node, if it is known: given, learnt, or named as a leader.
    pub fn addr_of(&self, node: NodeId) -> Option<String> {
        self.inner.driver.router.node(node).map(|link| link.addr().to_owned())
    }

    /// The highest index that any answer of this session reflected, writes and reads alike.
    pub fn seen(&self) -> u64 {
        self.inner.seen.load(Ordering::Relaxed)
    }

    /// Carries out any operation.
    pub async fn call(&self, op: Op) -> Result<Answer, Error> {
        let deadline = Instant::now() + self.inner.options.timeout;
        self.named(op, deadline).await?.send_until(deadline).await
    }

    /// Names a request without sending it, so that its name can be written down first. The first write of a session
    /// needs a node for this: the name holds a commit index.
    pub async fn begin(&self, op: Op) -> Result<Call, Error> {
        self.named(op, Instant::now() + self.inner.options.timeout).await
    }

    /// Carries out a write under a given name: repeats one whose outcome is unknown. If it took effect the first time,
    /// it does not again, and the first answer is returned. An error is definite only if it decides the earlier
    /// attempts too.
    pub async fn call_as(&self, request: RequestId, op: Op) -> Result<Answer, Error> {
        check_op(&op).map_err(|kind| Error::new(kind, Some(request.clone()), false))?;
        let name = Name::Given(request);
        let deadline = Instant::now() + self.inner.options.timeout;
        Call { client: self.clone(), op, name }.send_until(deadline).await
    }

    /// Promises not to repeat a write of this client whose outcome is unknown, so that the cluster may forget its answer.
    pub fn give_up(&self, request: &RequestId) {
        if let Some(session) = self.inner.session_of(request) {
            session.settle(request.seq);
        }
    }

    async fn named(&self, op: Op, deadline: Instant) -> Result<Call, Error> {
        check_op(&op).map_err(|kind| Error::new(kind, None, false))?;
        let name = match &op {
            Op::Get { .. } | Op::Status | Op::Member(_) | Op::Transfer { .. } | Op::Snapshot => {
                Name::None
            }
            Op::Put { .. }
            | Op::Delete { .. }
            | Op::Cas { .. }
            | Op::Append { .. }
            | Op::Incr { .. }
            | Op::Txn(_) => {
                let session = self.inner.current_session(deadline).await?;
                Name::Next(session.reserve().await)
            }
        };
        Ok(Call { client: self.clone(), op, name })
    }
}

impl Inner {
    fn saw(&self, index: Option<u64>) {
        self.seen.fetch_max(index.unwrap_or(0), Ordering::Relaxed);
    }

    fn session(&self) -> MutexGuard<'_, Option<Arc<Session>>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session, if the request is one of its.
    fn session_of(&self, request: &RequestId) -> Option<Arc<Session>> {
        self.session().as_ref().filter(|session| session.owns(request)).cloned()
    }

    /// The session; begun, if need be, with the commit index of the first node that says hello.
    async fn current_session(&self, deadline: Instant) -> Result<Arc<Session>, Error> {
        if let Some(session) = &*self.session() {
            return Ok(Arc::clone(session));
        }
        let mut errand = Errand::new(Task::Hello, deadline);
        let reached = self.driver.drive(&mut errand).await;
        let reached = reached.map_err(|kind| Error::new(kind, None, false))?;
        let session = || Arc::new(Session::new(format!("{}@{}", self.prefix, reached.commit)));
        Ok(Arc::clone(self.session().get_or_insert_with(session)))
    }

    /// The cluster has forgotten the session: begins another one, born at `birth`, unless that was done already. None
    /// if that would be no other one.
    fn renewed_session(&self, forgotten: &Session, birth: Option<u64>) -> Option<Arc<Session>> {
        let mut session = self.session();
        let current = session.as_ref()?;
        if current.client() == forgotten.client() {
            let birth = birth.filter(|birth| *birth > forgotten.birth())?;
            *session = Some(Arc::new(Session::new(format!("{}@{birth}", self.prefix))));
        }
        session.clone()
    }
}

/// A request with a name, not sent yet.
#[derive(Debug)]
pub struct Call {
    client: Client,
    op: Op,
    name: Name,
}

/// How a request came by its name.
#[derive(Debug)]
enum Name {
    /// Reads need none.
    None,
    /// The next of the session.
    Next(Ticket),
    /// The caller's: perhaps it was sent before.
    Given(RequestId),
}

impl Name {
    fn request(&self) -> Option<&RequestId> {
        match self {
            Name::None => None,
            Name::Next(ticket) => Some(ticket.request()),
            Name::Given(request) => Some(request),
        }
    }
}

impl Call {
    /// The write's name; reads have none.
    pub fn request(&self) -> Option<&RequestId> {
        self.name.request()
    }

    /// What it does.
    pub fn op(&self) -> &Op {
        &self.op
    }

    /// Sends it and waits for the outcome. If the cluster has forgotten this client and the request was certainly not
    /// carried out, it is sent again under a new name, which the answer holds - with [`Options::retry`] only.
    pub async fn send(self) -> Result<Answer, Error> {
        let deadline = Instant::now() + self.client.inner.options.timeout;
        self.send_until(deadline).await
    }

    async fn send_until(mut self, deadline: Instant) -> Result<Answer, Error> {
        let mut renewals = 0;
        loop {
            let (exposed, outcome) = self.drive(deadline).await;
            let has_effect = !matches!(self.op, Op::Get { .. } | Op::Status);
            match outcome {
                Ok(reached) => return Ok(self.answer(reached)),
                Err(kind) => {
                    if !exposed && renewals < RENEWALS_MAX && self.renew(&kind).await {
                        renewals += 1;
                        continue;
                    }
                    return self
                        .missing_key(kind)
                        .map_or_else(|kind| Err(self.error(kind, exposed && has_effect)), Ok);
                }
            }
        }
    }

    /// Whether the write is exposed now, and what became of it.
    async fn drive(&mut self, deadline: Instant) -> (bool, Result<Reached, ErrorKind>) {
        let inner = &self.client.inner;
        if let Op::Get { consistency: Consistency::Stale, min_index, .. } = &mut self.op
            && inner.options.monotonic
        {
            *min_index = inner.seen.load(Ordering::Relaxed).max(*min_index);
        }
        let given_session;
        let (task, exposed) = match &self.name {
            Name::None => (unnamed(&self.op), false),
            Name::Next(ticket) => {
                (Task::Write(&self.op, ticket.request(), Some(ticket.session())), false)
            }
            Name::Given(request) => {
                given_session = inner.session_of(request);
                (Task::Write(&self.op, request, given_session.as_deref()), true)
            }
        };
        let mut errand = Errand::new(task, deadline);
        errand.exposed = exposed;
        let outcome = inner.driver.drive(&mut errand).await;
        (errand.exposed, outcome)
    }

    /// Takes a name of a new session, if the cluster refused the old one as forgotten. Whether to go on with it.
    async fn renew(&mut self, kind: &ErrorKind) -> bool {
        let (Name::Next(ticket), ErrorKind::Refused { error, .. }) = (&mut self.name, kind) else {
            return false;
        };
        if error.code != Code::Expired {
            return false;
        }
        let inner = &self.client.inner;
        let Some(session) = inner.renewed_session(ticket.session(), error.index) else {
            return false;
        };
        if !inner.options.retry {
            return false;
        }
        ticket.settle();
        *ticket = session.reserve().await;
        true
    }

    fn answer(&mut self, reached: Reached) -> Answer {
        self.settle();
        self.client.inner.saw(reached.done.index);
        Answer { request: self.request().cloned(), ..Answer::of(reached) }
    }

    /// The answer to a get of a key without a value, which the protocol calls an error and the library does not.
    fn missing_key(&self, kind: ErrorKind) -> Result<Answer, ErrorKind> {
        match (&self.op, kind) {
            (Op::Get { .. }, ErrorKind::Refused { node, error })
                if error.code == Code::NotFound =>
            {
                self.client.inner.saw(error.index);
                Ok(Answer { node, index: error.index, served: error.served, ..Answer::default() })
            }
            (_, kind) => Err(kind),
        }
    }

    fn error(&mut self, kind: ErrorKind, exposed: bool) -> Error {
        let error = Error::new(kind, self.request().cloned(), exposed);
        if error.is_definite() {
            self.settle();
        }
        error
    }

    /// The outcome is known: the request will not be repeated.
    fn settle(&mut self) {
        match &mut self.name {
            Name::None => {}
            Name::Next(ticket) => ticket.settle(),
            Name::Given(request) => self.client.give_up(request),
        }
    }
}

/// What to do about an operation that needs no name.
fn unnamed(op: &Op) -> Task<'_> {
    match op {
        Op::Member(_) | Op::Snapshot => Task::Command { op, repeat: true },
        // Done twice without a target, the second one would have the first one's successor hand over.
        Op::Transfer { to } => Task::Command { op, repeat: to.is_some() },
        Op::Get { .. }
        | Op::Status
        | Op::Put { .. }
        | Op::Delete { .. }
        | Op::Cas { .. }
        | Op::Append { .. }
        | Op::Incr { .. }
        | Op::Txn(_) => Task::Read(op),
    }
}

/// Options that no call could work with are refused at once.
fn check_options(options: &Options) -> Result<(), ErrorKind> {
    let invalid = |what| Err(ErrorKind::Invalid { what, code: Code::BadRequest });
    if options.endpoints.is_empty() {
        return invalid("no endpoints; give the address of at least one node".to_owned());
    }
    if options.timeout.is_zero() {
        return invalid("the timeout is zero; give calls some time".to_owned());
    }
    if let Some(name) = &options.name
        && let Err(error) = format!("{name}:1").parse::<RequestId>()
    {
        return invalid(format!("bad client name {name:?}: {error}"));
    }
    let nodes = options.endpoints.iter().map(|endpoint| endpoint.node);
    if let Some(node) = options.pin
        && let Some(known) = nodes.collect::<Option<Vec<_>>>()
        && !known.contains(&node)
    {
        let known: Vec<String> = known.iter().map(ToString::to_string).collect();
        return Err(ErrorKind::NoSuchNode { node, known: known.join(", ") });
    }
    Ok(())
}

/// What every node would refuse is not sent: a line too long would cost the connection, and all calls on it.
fn check_op(op: &Op) -> Result<(), ErrorKind> {
    let (key, values) = match op {
        Op::Status | Op::Member(_) | Op::Transfer { .. } | Op::Snapshot => return Ok(()),
        Op::Get { key, .. } | Op::Delete { key } | Op::Incr { key, .. } => (key, [None, None]),
        Op::Put { key, value } | Op::Append { key, value } => (key, [Some(value), None]),
        Op::Cas { key, expect, value } => (key, [expect.as_ref(), Some(value)]),
        Op::Txn(txn) => return check_txn(txn),
    };
    values.into_iter().try_for_each(|value| check_texts(key, value.map(String::as_str)))
}

fn check_txn(txn: &Txn) -> Result<(), ErrorKind> {
    for (what, len, max) in [
        ("comparisons", txn.compare.len(), Txn::COMPARES_MAX),
        ("operations in then", txn.then.len(), Txn::OPS_MAX),
        ("operations in else", txn.otherwise.len(), Txn::OPS_MAX),
    ] {
        if len > max {
            let what = format!("the transaction has {len} {what}; the most is {max}");
            return Err(ErrorKind::Invalid { what, code: Code::TooLarge });
        }
    }
    // Each may be as long as it likes, but all together must fit a line.
    let mut bytes = 0;
    for (key, value) in txn.texts() {
        check_texts(key, value)?;
        bytes += key.len() + value.map_or(0, str::len);
    }
    if bytes > TXN_BYTES_MAX {
        let what = format!(
            "the transaction holds {bytes} bytes of keys and values; the most is {TXN_BYTES_MAX}"
        );
        return Err(ErrorKind::Invalid { what, code: Code::TooLarge });
    }
    Ok(())
}

fn check_texts(key: &str, value: Option<&str>) -> Result<(), ErrorKind> {
    if key.is_empty() {
        let what = "the key is empty; a key has 1 byte or more".to_owned();
        return Err(ErrorKind::Invalid { what, code: Code::BadRequest });
    }
    let texts = [("key", Some(key), KEY_BYTES_MAX), ("value", value, VALUE_BYTES_MAX)];
    for (what, text, max) in texts {
        let len = text.map_or(0, str::len);
        if len > max {
            let what = format!("the {what} has {len} bytes; the most is {max}");
            return Err(ErrorKind::Invalid { what, code: Code::TooLarge });
        }
    }
    Ok(())
}
