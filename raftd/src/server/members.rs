//! Who the other members are, where they are reached, and which of them are heard.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use raft_core::membership::{Configuration, MEMBERS_MAX};
use raft_core::node::{Node, Recovered, Standing};
use raft_core::types::{Index, NodeId};

use super::standing::News;
use super::{Error, Server};
use crate::api::Code;
use crate::config::Cluster;
use crate::net::{self, Complaint, ConnectionId, Peer, Task};

/// Where members are found: as the node's own cluster file says, else as the configuration does. The file comes first,
/// so that an operator can lead the way around a broken path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) config: &'a Configuration,
}

impl Addresses<'_> {
    /// For other members.
    pub(crate) fn peer(&self, id: NodeId) -> Option<SocketAddr> {
        let in_file = self.cluster.member(id).map(|member| member.peer);
        // Checked when the member was added.
        let in_config = || self.config.member(id)?.address.as_ref()?.peer.parse().ok();
        in_file.or_else(in_config)
    }

    /// For clients.
    pub(crate) fn client(&self, id: NodeId) -> Option<String> {
        let in_file = self.cluster.member(id).map(|member| member.client.to_string());
        let in_config = || Some(self.config.member(id)?.address.as_ref()?.client.clone());
        in_file.or_else(in_config)
    }
}

/// A node that has dialled us and is heard.
#[derive(Debug)]
pub(super) struct Heard {
    id: ConnectionId,
    /// Where it says that it is reached.
    reached_at: Option<SocketAddr>,
    _reader: Task,
}

impl Server {
    pub(super) fn addresses(&self) -> Addresses<'_> {
        Addresses { cluster: &self.cluster, config: &self.config }
    }

    /// A node of this cluster has dialled us. What its hello means for this node's own standing is settled, and durable,
    /// before any of its messages is read.
    pub(super) fn on_peer_opened(&mut self, peer: Peer) -> Result<(), Error> {
        if let Err(complaint) = self.check_peer(&peer) {
            self.refuse(peer, complaint);
            return Ok(());
        }
        let from = peer.hello.from;
        let is_member = self.config.member(from).is_some() || self.cluster.member(from).is_some();
        let me = self.config.member(self.standpoint.node);
        let is_admitted = me.is_none_or(|me| me.incarnation == self.standing.incarnation());
        match self.standing.hear(&peer.hello, is_member, is_admitted) {
            Err(error) if error.is_disk_full() => {
                let message = format!("who is who cannot be noted now: {error}");
                self.refuse(peer, Complaint::new(Code::DiskFull, message));
                return Ok(());
            }
            Err(error) => return Err(Error::Storage(error)),
            Ok(news) => self.on_news(news, from)?,
        }
        let id = self.next_connection();
        let reached_at = peer.reached_at;
        let reader = net::read_peer(peer, id, self.standpoint.node, self.events.clone());
        self.heard.insert(from, Heard { id, reached_at, _reader: Task::spawn(reader) });
        self.attend_links();
        self.links.on_sign_of_life(from);
        Ok(())
    }

    fn refuse(&self, peer: Peer, complaint: Complaint) {
        Task::spawn(net::refuse_peer(peer, complaint, self.events.clone())).detach();
    }

    /// This node has learnt what its data directory is worth.
    fn on_news(&mut self, news: News, from: NodeId) -> Result<(), Error> {
        match news {
            News::None => {}
            News::FoundedAgain => {
                return Err(Error::FoundedAgain { node: self.standpoint.node, from });
            }
            News::Founded => {
                tracing::info!(
                    event = "founded",
                    node = self.standpoint.node,
                    "all founders have been up: taking part"
                );
                self.begin(Standing::Full);
            }
            News::Lost { why } => {
                let (node, incarnation) = (self.standpoint.node, self.standing.incarnation());
                tracing::warn!(
                    event = "lost",
                    node,
                    incarnation,
                    why,
                    "this data directory is not the one that the cluster knows: no vote until caught up"
                );
                self.begin(Standing::Lost { incarnation });
            }
        }
        Ok(())
    }

    /// Whether to hear this node at all.
    fn check_peer(&self, peer: &Peer) -> Result<(), Complaint> {
        self.standing.check_founders(&peer.hello)?;
        let (node, from) = (self.standpoint.node, peer.hello.from);
        let wrong = |message: String| Err(Complaint::new(Code::WrongHello, message));
        if self.addresses().peer(from).or(peer.reached_at).is_none() {
            return wrong(format!(
                "node {from} is no member that node {node} knows, and its hello does not say where it is reached; \
                 check the cluster file"
            ));
        }
        let is_new = !self.links.is_attended(from);
        if is_new && self.config.member(from).is_none() && self.links.count() >= MEMBERS_MAX {
            return wrong(format!("node {node} talks to {MEMBERS_MAX} others already"));
        }
        Ok(())
    }

    pub(super) fn on_peer_ended(&mut self, from: NodeId, id: ConnectionId) {
        if self.heard.get(&from).is_some_and(|heard| heard.id == id) {
            self.heard.remove(&from);
            self.attend_links();
        }
    }

    /// The core is made anew, now that it is known whether it may vote. It has done nothing so far.
    fn begin(&mut self, standing: Standing) {
        let recovered = Recovered { standing, ..Recovered::default() };
        self.node = Node::new(self.clock.elapsed(), self.options.clone(), recovered);
    }

    /// Dials the members, and whoever has dialled us: what it asks is answered on a connection of our own.
    pub(super) fn attend_links(&mut self) {
        let me = self.standpoint.node;
        let members = self.config.members().keys().filter(|id| **id != me);
        let mut wanted: BTreeMap<NodeId, SocketAddr> =
            members.filter_map(|&id| Some((id, self.addresses().peer(id)?))).collect();
        for (&id, heard) in &self.heard {
            if let Some(address) = self.addresses().peer(id).or(heard.reached_at) {
                wanted.entry(id).or_insert(address);
            }
        }
        // A founder that the cluster file does not name is found once it dials us.
        self.links.attend(&wanted, self.now, |id| self.standing.known(id));
    }

    /// Another configuration rules.
    pub(super) fn on_configuration(&mut self, index: Index) {
        let view = self.node.view();
        self.config = Arc::clone(&view.config);
        if view.config_index == index {
            let config = &view.config;
            tracing::info!(
                event = "configuration",
                node = view.id,
                index,
                voters = ?config.incoming(),
                outgoing = ?config.outgoing(),
                learners = ?config.learners(),
            );
        }
        self.attend_links();
    }
}
