//! Looking at the nodes, and changing who they are.

use std::sync::Arc;

use raftd::api::{MemberChange, Op, Status};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::NodeId;
use crate::client::{Answer, Client};
use crate::drive::{Errand, Task};
use crate::endpoint::Endpoint as Link;
use crate::error::{Error, ErrorKind};
use crate::options::Endpoint;

/// What one node says, asked for something that each node does for itself.
#[derive(Debug)]
pub struct NodeStatus {
    /// Where it was asked; with its id, if that is known.
    pub endpoint: Endpoint,
    /// Its view of itself, or why there is none.
    pub status: Result<Box<Status>, Error>,
}

/// A node's snapshot.
#[derive(Debug)]
pub struct NodeSnapshot {
    /// Where it was asked for; with the node's id, if that is known.
    pub endpoint: Endpoint,
    /// The last index in it, or why there is none.
    pub index: Result<u64, Error>,
}

impl Client {
    /// The view that each endpoint's node has of itself, asked at the same time, in the order of the endpoints; and then
    /// of the members that these name and that were not known before.
    pub async fn status_of_all(&self) -> Vec<NodeStatus> {
        let router = &self.inner.driver.router;
        let mut all = Vec::new();
        let mut links = router.all();
        for _ in 0..2 {
            let answers = self.ask_all(Op::Status, &links).await.into_iter();
            let status = |(endpoint, answer): (_, Result<Answer, Error>)| NodeStatus {
                endpoint,
                status: answer.map(|answer| answer.status.unwrap_or_default()),
            };
            all.extend(answers.map(status));
            let statuses = all.iter().filter_map(|node: &NodeStatus| node.status.as_ref().ok());
            statuses.for_each(|status| router.learn(&status.members));
            links = router.all().split_off(all.len());
        }
        all
    }

    /// Has each endpoint's node write a snapshot, and those of the members that they name, all at the same time; in the
    /// order of the endpoints.
    pub async fn snapshot_all(&self) -> Vec<NodeSnapshot> {
        self.status_of_all().await;
        let links = self.inner.driver.router.all();
        let answers = self.ask_all(Op::Snapshot, &links).await.into_iter();
        let snapshot = |(endpoint, answer): (_, Result<Answer, Error>)| NodeSnapshot {
            endpoint,
            index: answer.map(|answer| answer.index.unwrap_or_default()),
        };
        answers.map(snapshot).collect()
    }

    /// One attempt at each endpoint.
    async fn ask_all(&self, op: Op, links: &[Arc<Link>]) -> Vec<(Endpoint, Result<Answer, Error>)> {
        let mut asking = JoinSet::new();
        for (position, link) in links.iter().enumerate() {
            let (inner, link, op) = (Arc::clone(&self.inner), Arc::clone(link), op.clone());
            asking.spawn(async move {
                let deadline = Instant::now() + inner.options.timeout;
                let errand = Errand::new(Task::Read(&op), deadline);
                let answer = match inner.driver.ask(&link, &errand).await {
                    Ok(reached) => Ok(Answer::of(reached)),
                    Err(kind) => {
                        let is_unknown = !matches!(op, Op::Status) && kind.leaves_doubt();
                        Err(Error::new(kind, None, is_unknown))
                    }
                };
                (position, Endpoint { node: link.node(), addr: link.addr().to_owned() }, answer)
            });
        }
        let mut all = asking.join_all().await;
        all.sort_by_key(|(position, ..)| *position);
        all.into_iter().map(|(_, endpoint, answer)| (endpoint, answer)).collect()
    }

    /// The leader's view of itself and of the members, which become known to this client. Waits for a leader if need be.
    pub async fn leader_status(&self) -> Result<Box<Status>, Error> {
        let timeout = self.inner.options.timeout;
        let deadline = Instant::now() + timeout;
        let driver = &self.inner.driver;
        let mut rounds = 0;
        loop {
            let kind = match driver.find_leader(deadline).await {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => {
                    let last = Some("no node in reach leads or knows who does".to_owned());
                    ErrorKind::Timeout { waited: timeout, node: None, last }
                }
                Err(kind) => kind,
            };
            let next = Instant::now() + driver.router.pause(rounds);
            if next >= deadline || !self.inner.options.retry {
                return Err(Error::new(kind, None, false));
            }
            sleep_until(next).await;
            rounds += 1;
        }
    }

    /// Changes who the members are, and returns when the change is committed. One that cannot begin yet, for a reason
    /// that passes, is tried until the timeout. An indefinite error may have changed them: see
    /// [`Client::leader_status`].
    pub async fn change_members(&self, change: MemberChange) -> Result<Answer, Error> {
        self.call(Op::Member(change)).await
    }

    /// Has the leader hand over to `to`, or to the voter whose log lacks least.
    pub async fn transfer_leadership(&self, to: Option<NodeId>) -> Result<Answer, Error> {
        self.call(Op::Transfer { to }).await
    }
}
