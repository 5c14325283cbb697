//! The calls.

use std::sync::Arc;

use raftd::api::{Consistency, Op, RequestId, Served, Status};

use crate::error::{Error, ErrorKind};
use crate::options::{Endpoint, Options};
use crate::{Code, NodeId};

/// A session with a cluster. Clones are the same session; many calls may be under way at once.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: Options,
}

/// What a call did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The node that answered.
    pub node: NodeId,
    /// The write's name.
    pub request: Option<RequestId>,
    /// Log index at which the write took effect; for reads, the index that the value reflects.
    pub index: Option<u64>,
    /// Get: the value; `None` if the key has none.
    pub value: Option<String>,
    /// Append: the value's length now, bytes.
    pub length: Option<u64>,
    /// Incr: the value now.
    pub number: Option<i64>,
    /// Reads: the node that served it, what it took itself for, and its term.
    pub served: Option<Served>,
    /// Status: the node's view of itself.
    pub status: Option<Box<Status>>,
}

/// What is known of one node.
#[derive(Debug)]
pub struct NodeStatus {
    /// Where it was asked; with its id, if that is known.
    pub endpoint: Endpoint,
    /// Its view of itself, or why there is none.
    pub status: Result<Box<Status>, Error>,
}

impl Client {
    /// A client that will connect when it is first used.
    pub fn new(options: Options) -> Result<Client, Error> {
        Ok(Client { inner: Arc::new(Inner { options }) })
    }

    /// Reads a key; a key without a value is a successful answer.
    pub async fn get(
        &self,
        key: impl Into<String>,
        consistency: Consistency,
    ) -> Result<Answer, Error> {
        self.call(Op::Get { key: key.into(), consistency }).await
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

    /// The view that a node has of itself: the pinned one, else any.
    pub async fn status(&self) -> Result<Box<Status>, Error> {
        self.call(Op::Status).await.map(|answer| answer.status.unwrap_or_default())
    }

    /// The view that each endpoint's node has of itself, asked at the same time, in the order of the endpoints.
    pub async fn status_of_all(&self) -> Vec<NodeStatus> {
        Vec::new()
    }

    /// Carries out any operation.
    pub async fn call(&self, op: Op) -> Result<Answer, Error> {
        self.begin(op).await?.send().await
    }

    /// Names a request without sending it, so that its name can be written down first. The first write of a session
    /// needs a node for this: the name holds a commit index.
    pub async fn begin(&self, op: Op) -> Result<Call, Error> {
        Ok(Call { client: self.clone(), op, request: None })
    }

    /// Carries out a write under a given name: repeats one whose outcome is unknown. If it took effect the first time,
    /// it does not again, and the first answer is returned.
    pub async fn call_as(&self, request: RequestId, op: Op) -> Result<Answer, Error> {
        Call { client: self.clone(), op, request: Some(request) }.send().await
    }

    /// Promises not to repeat a write of this client whose outcome is unknown, so that the cluster may forget its answer.
    pub fn give_up(&self, request: &RequestId) {
        let _ = (request, &self.inner.options);
    }
}

/// A request with a name, not sent yet.
#[derive(Debug)]
pub struct Call {
    client: Client,
    op: Op,
    request: Option<RequestId>,
}

impl Call {
    /// The write's name; reads have none.
    pub fn request(&self) -> Option<&RequestId> {
        self.request.as_ref()
    }

    /// What it does.
    pub fn op(&self) -> &Op {
        &self.op
    }

    /// Sends it and waits for the outcome.
    pub async fn send(self) -> Result<Answer, Error> {
        let _ = &self.client.inner;
        let what = "this client does not connect yet".to_owned();
        Err(Error::new(ErrorKind::Invalid { what, code: Code::BadRequest }, self.request, false))
    }
}
