//! Changes of membership, each from whatever state things are in: what is done already is seen, what is missing is done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use raftctl::{Client, Code, Endpoint, Error, Member, MemberChange, NodeId, Options, Status};
use tokio::time::Instant;

use super::catch_up::{CatchUp, Progress};
use super::{Done, Failure};
use crate::args::Connect;
use crate::output::Output;
use crate::status::reason;

/// Where a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) peer: String,
    pub(super) client: String,
}

/// A change of membership under way.
pub(super) struct Task<'a> {
    pub(super) client: Client,
    timeout: Duration,
    cluster: Option<String>,
    output: &'a Output,
}

/// A node that is to become a member.
struct Newcomer {
    id: NodeId,
    place: Place,
    incarnation: u64,
}

impl<'a> Task<'a> {
    pub(super) fn new(client: Client, connect: &Connect, output: &'a Output) -> Task<'a> {
        Task { client, timeout: connect.timeout, cluster: connect.cluster.clone(), output }
    }

    /// `member add`.
    pub(super) async fn add(
        &self,
        id: NodeId,
        place: Place,
        learner: bool,
        patience: Duration,
    ) -> Result<Done, Failure> {
        let before = self.client.leader_status().await?;
        let newcomer = self.visit(id, place, &before).await?;
        if before.voters.contains(&id) {
            newcomer.check(&before)?;
            let sentence = if learner {
                format!("node {id} is a member with a vote already")
            } else {
                format!("node {id} has a vote already")
            };
            return Ok(Done { sentence, status: before });
        }
        let is_new = self.introduce(&newcomer, &before).await?;
        if learner {
            let status = self.client.leader_status().await?;
            let sentence = format!("node {id} is a learner");
            return Ok(Done { sentence, status });
        }
        let added: &[NodeId] = if is_new { &[id] } else { &[] };
        self.await_logs(&BTreeSet::from([id]), added, patience).await?;
        self.promote(id).await
    }

    /// `member promote`.
    pub(super) async fn promote(&self, id: NodeId) -> Result<Done, Failure> {
        let has_vote = |status: &Status| status.voters.contains(&id);
        let change = MemberChange::Promote(id);
        let (status, is_news) = self.change(change, Code::AlreadyVoter, has_vote).await?;
        let already = if is_news { "" } else { " already" };
        Ok(Done { sentence: format!("node {id} has a vote{already}"), status })
    }

    /// `member remove`.
    pub(super) async fn remove(&self, id: NodeId) -> Result<Done, Failure> {
        let is_gone = |status: &Status| !is_member(status, id);
        let (status, is_news) =
            self.change(MemberChange::Remove(id), Code::NotMember, is_gone).await?;
        let sentence =
            if is_news { format!("node {id} has left") } else { format!("node {id} is no member") };
        Ok(Done { sentence, status })
    }

    /// `member set`.
    pub(super) async fn set(
        &self,
        targets: &BTreeMap<NodeId, Option<Place>>,
        patience: Duration,
    ) -> Result<Done, Failure> {
        let voters: BTreeSet<NodeId> = targets.keys().copied().collect();
        let before = self.client.leader_status().await?;
        let is_done = |status: &Status| {
            status.outgoing.is_empty()
                && status.learners.is_empty()
                && status.voters.iter().eq(voters.iter())
        };
        let sentence = "the voters are set".to_owned();
        if is_done(&before) {
            return Ok(Done { sentence, status: before });
        }
        // Every newcomer is asked before anything is changed.
        let mut newcomers = Vec::new();
        for (&id, place) in targets {
            match place {
                Some(place) if !before.voters.contains(&id) => {
                    newcomers.push(self.visit(id, place.clone(), &before).await?);
                }
                None if !is_member(&before, id) => {
                    let message = format!(
                        "node {id} is no member: say where it is, {id}=PEER,CLIENT; the members are {}",
                        super::table::who(&before)
                    );
                    return Err(Failure::refused("not_member", message));
                }
                Some(_) | None => {}
            }
        }
        let mut added = Vec::new();
        for newcomer in &newcomers {
            match self.introduce(newcomer, &before).await {
                Ok(true) => added.push(newcomer.id),
                Ok(false) => {}
                Err(failure) => return Err(self.undo(&added, failure).await),
            }
        }
        let waiting = voters.iter().copied().filter(|id| !before.voters.contains(id)).collect();
        self.await_logs(&waiting, &added, patience).await?;
        let (status, _) =
            self.change(MemberChange::Set(voters.clone()), Code::AlreadyVoter, is_done).await?;
        Ok(Done { sentence, status })
    }

    /// Asks a node that is to become a member who it is: one that does not answer is not worth a change.
    async fn visit(&self, id: NodeId, place: Place, leader: &Status) -> Result<Newcomer, Failure> {
        let options = Options {
            cluster: self.cluster.clone().or_else(|| Some(leader.cluster.clone())),
            timeout: self.timeout,
            retry: false,
            ..Options::new([Endpoint::of(id, place.client.clone())])
        };
        let status = match Client::new(options) {
            Ok(node) => node.status().await,
            Err(error) => Err(error),
        };
        let status = status.map_err(|error| {
            let message = format!(
                "node {id} does not answer at {}, so nothing was changed: {}; start it first (raftd --id {id})",
                place.client,
                reason(&error)
            );
            Failure::refused("unreachable", message)
        })?;
        Ok(Newcomer { id, place, incarnation: status.incarnation })
    }

    /// Makes it a member without a vote, unless it is one. Whether it was made one now.
    async fn introduce(&self, newcomer: &Newcomer, leader: &Status) -> Result<bool, Failure> {
        let Newcomer { id, place: Place { peer, client }, incarnation } = newcomer;
        if is_member(leader, *id) {
            newcomer.check(leader)?;
            return Ok(false);
        }
        let change = MemberChange::Add {
            id: *id,
            peer: peer.clone(),
            client: client.clone(),
            incarnation: *incarnation,
        };
        let is_done = |status: &Status| newcomer.check(status).is_ok();
        let (_, is_news) = self.change(change, Code::AlreadyMember, is_done).await?;
        if is_news {
            self.note(&format!("node {id} is a learner now"));
        }
        Ok(is_news)
    }

    /// Waits until these members have the log. If they do not get it in time, those that were added are removed again.
    async fn await_logs(
        &self,
        members: &BTreeSet<NodeId>,
        added: &[NodeId],
        patience: Duration,
    ) -> Result<(), Failure> {
        let mut waiting = CatchUp::new(members.clone(), Instant::now() + patience);
        loop {
            // No leader for a while is no reason to give up: the deadline is.
            let progress = match self.client.leader_status().await {
                Ok(status) => waiting.look(&status),
                Err(error) => Progress::Waiting(format!("{}", error.kind)),
            };
            match progress {
                Progress::Done => return Ok(()),
                Progress::Waiting(words) if waiting.is_over() => {
                    let limit = humantime::format_duration(patience);
                    let message = format!("not caught up within {limit}: {words}");
                    let failure = Failure::refused("not_caught_up", message);
                    return Err(self.undo(added, failure).await);
                }
                Progress::Waiting(words) => {
                    if waiting.is_time_to_speak(&words) {
                        self.note(&words);
                    }
                }
            }
            waiting.pause().await;
        }
    }

    /// Removes what was added, because of a failure; which is told with what became of that.
    async fn undo(&self, added: &[NodeId], failure: Failure) -> Failure {
        if added.is_empty() {
            return failure;
        }
        let mut words = Vec::new();
        let mut is_unknown = !failure.is_definite();
        for id in added {
            match self.remove(*id).await {
                Ok(_) => words.push(format!("node {id} was removed again")),
                Err(error) => {
                    is_unknown = true;
                    let error = error.message();
                    words.push(format!(
                        "node {id} is still a learner, as it could not be removed: {error}"
                    ));
                }
            }
        }
        let message = format!("{}; {}", failure.message(), words.join("; "));
        if is_unknown {
            Failure::Unknown { message }
        } else {
            Failure::refused("not_caught_up", message)
        }
    }

    /// Carries out one change. The members then, according to the leader; and whether it was this that made them so.
    ///
    /// `already` is how the cluster refuses what is done; after an attempt without an answer that may be the answer. So
    /// whatever the answer is, what counts is what the members are.
    async fn change(
        &self,
        change: MemberChange,
        already: Code,
        is_done: impl Fn(&Status) -> bool,
    ) -> Result<(Box<Status>, bool), Failure> {
        let outcome = self.client.change_members(change).await;
        let error = match outcome {
            Ok(_) => None,
            Err(error) if is_refusal(&error, already) => Some(error),
            Err(error) if error.is_definite() => return Err(error.into()),
            Err(error) => Some(error),
        };
        let seen = self.settled(&is_done).await;
        match (error, seen) {
            (None, Ok(status)) => Ok((status, true)),
            // Committed, that much is sure; only nobody can be asked any more.
            (None, Err(failure)) => Err(Failure::Unknown {
                message: format!("the change is committed, but {}", failure.message()),
            }),
            (Some(error), Ok(status)) => Ok((status, !error.is_definite())),
            (Some(error), Err(_)) => Err(error.into()),
        }
    }

    /// The members once they are as they are to be, and committed as such.
    async fn settled(&self, is_done: impl Fn(&Status) -> bool) -> Result<Box<Status>, Failure> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let status = self.client.leader_status().await?;
            // A leader that removes itself says so until it has gone.
            let leads_on = status.voters.contains(&status.node);
            if status.config_index <= status.commit && leads_on && is_done(&status) {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                let who = super::table::who(&status);
                return Err(Failure::refused("timeout", format!("the members are {who}")));
            }
            super::catch_up::pause().await;
        }
    }

    /// Says how things go, to whoever watches.
    fn note(&self, words: &str) {
        if !self.output.is_json() {
            eprintln!("{words}");
        }
    }
}

impl Newcomer {
    /// Whether a member of this id is this node.
    fn check(&self, leader: &Status) -> Result<(), Failure> {
        let Newcomer { id, place, incarnation } = self;
        let Some(member) = leader.members.iter().find(|member| member.id == *id) else {
            return Err(Failure::refused("not_member", format!("node {id} is no member")));
        };
        let Member { peer, incarnation: known, .. } = member;
        // Founders began with a directory that has no number in the configuration.
        if *known != 0 && known != incarnation {
            let message = format!(
                "node {id} is a member already, with another data directory; remove it first (raftctl member remove {id})"
            );
            return Err(Failure::refused("already_member", message));
        }
        if peer.as_ref().is_some_and(|peer| *peer != place.peer) {
            let peer = peer.as_deref().unwrap_or_default();
            let message = format!(
                "node {id} is a member already, at {peer}; remove it first (raftctl member remove {id})"
            );
            return Err(Failure::refused("already_member", message));
        }
        Ok(())
    }
}

fn is_member(status: &Status, id: NodeId) -> bool {
    status.members.iter().any(|member| member.id == id)
}

fn is_refusal(error: &Error, code: Code) -> bool {
    error.refusal().is_some_and(|refusal| refusal.code == code)
}
