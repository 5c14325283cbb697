//! Whether this node's data directory is the one that the cluster knows.
//!
//! A node that lost its data directory has forgotten whom it voted for and what it acknowledged (Thesis §3.8). It cannot
//! tell by itself whether it is such a node, or a founder of a cluster that is just being born: both begin with nothing.
//! So each directory has a random number, each node notes its peers' numbers before it takes any message of theirs, and
//! says at each hello which one it has noted. A founder with a new directory takes no part until every other founder has
//! said hello without naming another number: then none of them ever took a message of a node of this id.

use std::collections::BTreeSet;

use raft_core::types::NodeId;

use crate::api::Code;
use crate::codec::PeerHello;
use crate::net::Complaint;
use crate::storage::{self, Papers, PapersStanding};

/// This node's own standing, and what it has noted of others.
#[derive(Debug)]
pub(super) struct OwnStanding {
    node: NodeId,
    papers: Papers,
    /// While new: the founders that have not said hello yet.
    waiting_for: BTreeSet<NodeId>,
}

/// What a hello has changed; durable already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Nothing.
    None,
    /// The last founder has confirmed that nobody knows this node under another number.
    Founded,
    /// The cluster is older than this data directory.
    Lost {
        /// What gave it away.
        why: &'static str,
    },
    /// The same, but this node has founded another cluster meanwhile: a founder that is the only one asks nobody.
    FoundedAgain,
}

impl OwnStanding {
    pub(super) fn new(node: NodeId, papers: Papers) -> OwnStanding {
        let mut waiting_for = BTreeSet::new();
        if papers.standing() == PapersStanding::New {
            waiting_for.extend(papers.founders().iter().filter(|id| **id != node));
        }
        OwnStanding { node, papers, waiting_for }
    }

    /// The number of this node's data directory.
    pub(super) fn incarnation(&self) -> u64 {
        self.papers.incarnation()
    }

    /// Those that this node takes for the founders.
    pub(super) fn founders(&self) -> &BTreeSet<NodeId> {
        self.papers.founders()
    }

    /// As the papers have it.
    pub(super) fn now(&self) -> PapersStanding {
        self.papers.standing()
    }

    /// Whether this node must not take part yet.
    pub(super) fn is_new(&self) -> bool {
        self.now() == PapersStanding::New
    }

    /// While new: the founders that have not said hello yet.
    pub(super) fn waiting_for(&self) -> &BTreeSet<NodeId> {
        &self.waiting_for
    }

    /// The number of a peer's data directory, if it is noted.
    pub(super) fn known(&self, peer: NodeId) -> Option<u64> {
        self.papers.known(peer)
    }

    /// Two clusters that were founded apart must never mix.
    pub(super) fn check_founders(&self, hello: &PeerHello) -> Result<(), Complaint> {
        let (node, from, ours) = (self.node, hello.from, self.founders());
        if ours.is_empty() || hello.founders.is_empty() || *ours == hello.founders {
            return Ok(());
        }
        let message = format!(
            "node {node} was founded with nodes {}, node {from} with nodes {}: these are two clusters; check the \
             cluster files, and give nodes that are added later \"joins = true\" before their first start",
            list(ours),
            list(&hello.founders)
        );
        Err(Complaint::new(Code::WrongHello, message))
    }

    /// Notes what a hello says before anything else that its sender says is taken. `is_admitted`: the configuration
    /// that rules here names this very directory.
    pub(super) fn hear(
        &mut self,
        hello: &PeerHello,
        is_member: bool,
        is_admitted: bool,
    ) -> Result<News, storage::Error> {
        // Of others no number is ever asked for.
        if is_member || self.founders().contains(&hello.from) {
            self.papers.note_peer(hello.from, hello.incarnation)?;
        }
        if !self.is_new() {
            let alone = *self.founders() == BTreeSet::from([self.node]);
            let other = hello.knows.is_some_and(|known| known != self.incarnation());
            let is_full = self.now() == PapersStanding::Full;
            return Ok(if alone && other && is_full && !is_admitted {
                News::FoundedAgain
            } else {
                News::None
            });
        }
        match judge(hello, self.founders(), self.incarnation()) {
            Verdict::Lost { why } => {
                self.papers.set_standing(PapersStanding::Lost)?;
                self.waiting_for.clear();
                Ok(News::Lost { why })
            }
            Verdict::Confirms => {
                self.waiting_for.remove(&hello.from);
                if !self.waiting_for.is_empty() {
                    return Ok(News::None);
                }
                self.papers.set_standing(PapersStanding::Full)?;
                Ok(News::Founded)
            }
        }
    }

    /// The cluster has taken note of this directory.
    pub(super) fn readmitted(&mut self) -> Result<(), storage::Error> {
        self.papers.set_standing(PapersStanding::Full)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Confirms,
    Lost { why: &'static str },
}

/// What a hello says about a founder with a new directory.
fn judge(hello: &PeerHello, founders: &BTreeSet<NodeId>, incarnation: u64) -> Verdict {
    if !founders.contains(&hello.from) || hello.founders.is_empty() {
        return Verdict::Lost { why: "a node that joined the cluster later knows of this one" };
    }
    match hello.knows {
        Some(known) if known != incarnation => {
            Verdict::Lost { why: "another founder knows this node with another data directory" }
        }
        Some(_) | None => Verdict::Confirms,
    }
}

/// `1, 2, 3`.
pub(super) fn list(ids: &BTreeSet<NodeId>) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(from: NodeId, founders: &[NodeId], knows: Option<u64>) -> PeerHello {
        PeerHello {
            protocol: 1,
            cluster: "c".to_owned(),
            from,
            to: 1,
            incarnation: 5,
            knows,
            founders: founders.iter().copied().collect(),
            address: None,
        }
    }

    fn verdict(hello: &PeerHello) -> Verdict {
        judge(hello, &BTreeSet::from([1, 2, 3]), 77)
    }

    #[test]
    fn founder_that_knows_no_other_directory_confirms() {
        for knows in [None, Some(77)] {
            assert_eq!(verdict(&hello(2, &[1, 2, 3], knows)), Verdict::Confirms);
        }
    }

    #[test]
    fn sign_of_an_older_cluster_means_loss() {
        let signs = [hello(2, &[1, 2, 3], Some(76)), hello(4, &[], None), hello(2, &[], None)];
        for sign in signs {
            assert!(matches!(verdict(&sign), Verdict::Lost { .. }), "{sign:?}");
        }
    }
}
