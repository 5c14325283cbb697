//! What clients and operators ask for, on its way to the core and back.

use raft_core::effects::{Outcome, Role, Token};
use raft_core::kv::Command;
use raft_core::node::Input;

use super::clients::Waiting;
use super::clock::Clock;
use super::handover::OWN_TOKEN;
use super::inbox::Inbox;
use super::standing::list;
use super::{Event, FAREWELL_PATIENCE, Server, answer};
use crate::api::{self, Code, Consistency, Response};
use crate::net::{self, Complaint, ConnectionId, Request, RequestKind};
use crate::status::{self, Counters};

impl Server {
    /// Gives a request to the core, or answers it at once.
    pub(super) fn on_request(&mut self, client: ConnectionId, Request { tag, kind }: Request) {
        if let RequestKind::Status = kind {
            let status = Some(Box::new(self.status()));
            let done = api::Done { status, ..api::Done::default() };
            return self.clients.respond(client, &Response::done(tag, done));
        }
        if let Err(complaint) = self.take(Waiting { client, tag }, kind) {
            self.clients.respond(client, &Response::refusal(tag, complaint.into()));
        }
    }

    fn take(&mut self, waiting: Waiting, kind: RequestKind) -> Result<(), Complaint> {
        self.check_taking_part(&kind)?;
        let input = match kind {
            RequestKind::Bad(complaint) => return Err(complaint),
            RequestKind::Read { key, consistency, min_index } => {
                let token = self.admit_read(waiting)?;
                match consistency {
                    Consistency::Linearizable => Input::Read { token, key },
                    Consistency::Lease => Input::LeaseRead { token, key },
                    Consistency::Stale => Input::StaleRead { token, key, at_least: min_index },
                }
            }
            RequestKind::Write(command) => self.propose(waiting, command)?,
            RequestKind::Change(change) => {
                self.check_disk()?;
                Input::Change { token: self.clients.admit(waiting)?, change }
            }
            RequestKind::Transfer { to } => {
                Input::Transfer { token: self.clients.admit(waiting)?, to }
            }
            RequestKind::Snapshot => Input::TakeSnapshot { token: self.clients.admit(waiting)? },
            RequestKind::Status => unreachable!("answered at once"),
        };
        self.inputs.push(input);
        Ok(())
    }

    /// A new node knows nothing, and does nothing but say so. What it holds may be read as what it is: stale.
    fn check_taking_part(&self, kind: &RequestKind) -> Result<(), Complaint> {
        let is_harmless = match kind {
            RequestKind::Bad(_) | RequestKind::Status => true,
            RequestKind::Read { consistency, min_index, .. } => {
                *consistency == Consistency::Stale && *min_index == 0
            }
            RequestKind::Write(_)
            | RequestKind::Change(_)
            | RequestKind::Transfer { .. }
            | RequestKind::Snapshot => false,
        };
        if is_harmless || !self.standing.is_new() {
            return Ok(());
        }
        let (node, missing) = (self.standpoint.node, list(self.standing.waiting_for()));
        let message = format!(
            "node {node} is new, and takes no part before it has heard from node {missing}: all founders must be up \
             once; nothing was done"
        );
        Err(Complaint::new(Code::NotLeader, message))
    }

    fn propose(&mut self, waiting: Waiting, command: Command) -> Result<Input, Complaint> {
        self.check_disk()?;
        Ok(Input::Propose { token: self.clients.admit(waiting)?, command })
    }

    /// A node that does not lead says who does, whatever the state of its disk.
    fn check_disk(&self) -> Result<(), Complaint> {
        if self.disk_full && self.standpoint.role == Role::Leader {
            let message =
                "the disk of this node is full: nothing was done; make room, then try again";
            return Err(Complaint::new(Code::DiskFull, message));
        }
        Ok(())
    }

    fn admit_read(&mut self, waiting: Waiting) -> Result<Token, Complaint> {
        if !self.clients.has_room(waiting.client) {
            return Err(Complaint::new(
                Code::Overloaded,
                "earlier answers have not been taken yet",
            ));
        }
        self.clients.admit(waiting)
    }

    /// Tells a client what became of its request.
    pub(super) fn answer(&mut self, token: Token, outcome: Outcome) {
        if token == OWN_TOKEN {
            return self.on_own_handover(&outcome);
        }
        let Waiting { client, tag } = self.clients.take(token);
        // Values pile up where they are not taken, and a read can be refused without harm.
        let is_too_much = matches!(outcome, Outcome::Read { .. }) && !self.clients.has_room(client);
        let response = if is_too_much {
            let message = "earlier answers have not been taken yet; take them, then ask again";
            Response::refusal(tag, api::Error::new(Code::Overloaded, message))
        } else {
            answer::response(tag, outcome, self.standpoint, self.addresses())
        };
        self.clients.respond(client, &response);
    }

    fn status(&self) -> api::Status {
        let counters = Counters {
            clients: self.clients.count(),
            messages_dropped: self.links.dropped() + self.gated_dropped,
            connections_refused: self.refused,
            disk_full: self.disk_full,
            uptime: self.clock.elapsed(),
        };
        let identity = status::Identity {
            standing: self.standing.now(),
            waiting_for: self.standing.waiting_for(),
            incarnation: self.standing.incarnation(),
            addresses: self.addresses(),
        };
        status::status(&identity, &self.node.view(), &self.writer.stats().view(), &counters)
    }

    /// Tells everyone who waits that it is in vain, and gives them a moment to hear it.
    pub(super) async fn say_goodbye(&mut self, inbox: &mut Inbox) {
        for Waiting { client, tag } in self.clients.take_all() {
            let why = "the node is going down; a write may or may not take effect";
            let error = api::Error::new(Code::ShuttingDown, why);
            self.clients.respond(client, &Response::refusal(tag, error));
        }
        self.clients.flush();
        let deadline = self.now + FAREWELL_PATIENCE;
        let mut events = Vec::new();
        while !self.clients.is_flushed() && Clock::now() < deadline {
            inbox.wait(deadline.into(), &mut events).await;
            for event in events.drain(..) {
                if let Event::Net(net::Event::Flushed { id, result }) = event {
                    self.clients.on_flushed(id, result);
                }
            }
        }
    }
}
