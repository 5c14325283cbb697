//! The clients' connections and the requests that wait for an answer, as the event loop sees them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use raft_core::effects::Token;
use slab::Slab;
use tokio::sync::{Semaphore, mpsc};

use crate::api::{Code, HelloLine, Response};
use crate::net::{
    self, Complaint, ConnectionId, Flushed, NewClient, Outbox, Place, Task, encode_line,
    read_requests,
};

/// Most requests of one connection that may wait for their answers; beyond, it is not read.
const WAITING_PER_CLIENT_MAX: usize = 1024;

/// Most requests that may wait in all; beyond, they are refused as overload.
const WAITING_MAX: usize = 1 << 16;

/// Answers that a client has not taken yet, bytes. Beyond, reads are answered `overloaded` instead.
const UNTAKEN_BYTES_MAX: usize = 16 << 20;

/// The same for all clients together.
const UNTAKEN_BYTES_MAX_TOTAL: usize = 256 << 20;

/// All clients.
#[derive(Debug)]
pub(super) struct Clients {
    connected: BTreeMap<ConnectionId, Client>,
    /// Who waits for which answer; a token is the place in here.
    waiting: Slab<Waiting>,
    /// Clients with something new in their outbox.
    talked_to: Vec<ConnectionId>,
    /// Sum of what the clients have not taken yet, as of their latest flush, bytes.
    untaken_bytes: usize,
    events: mpsc::Sender<net::Event>,
}

#[derive(Debug)]
struct Client {
    outbox: Outbox,
    /// Requests taken in and not answered.
    waiting: usize,
    /// Answers put into the outbox since it was last empty: their requests' places in `quota` are free once it is.
    answered: usize,
    quota: Arc<Semaphore>,
    /// Whether it is among `talked_to`.
    is_talked_to: bool,
    /// Whether to close the connection once all is answered.
    is_ending: bool,
    /// What the outbox held after the latest flush, bytes.
    untaken_bytes: usize,
    /// Reads its requests.
    reader: Task,
    _place: Place,
}

/// Whose request it is, and the client's name for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) client: ConnectionId,
    pub(super) tag: u64,
}

impl Clients {
    pub(super) fn new(events: mpsc::Sender<net::Event>) -> Clients {
        Clients {
            connected: BTreeMap::new(),
            waiting: Slab::new(),
            talked_to: Vec::new(),
            untaken_bytes: 0,
            events,
        }
    }

    /// How many are connected.
    pub(super) fn count(&self) -> usize {
        self.connected.len()
    }

    /// Greets a client, and starts reading its requests.
    pub(super) fn on_opened(&mut self, id: ConnectionId, client: NewClient, hello: &HelloLine) {
        let NewClient { lines, writer, place } = client;
        let mut outbox = Outbox::new(id, writer);
        encode_line(hello, outbox.queue());
        let quota = Arc::new(Semaphore::new(WAITING_PER_CLIENT_MAX));
        let requests =
            read_requests(id, lines, Arc::clone(&quota), self.events.clone(), Arc::clone(&place));
        let client = Client {
            outbox,
            waiting: 0,
            answered: 0,
            quota,
            is_talked_to: true,
            is_ending: false,
            untaken_bytes: 0,
            reader: Task::spawn(requests),
            _place: place,
        };
        self.connected.insert(id, client);
        self.talked_to.push(id);
    }

    /// A client has sent this many requests; each is owed one [`Clients::respond`]. False if it is gone.
    pub(super) fn on_requests(&mut self, id: ConnectionId, count: usize) -> bool {
        self.connected.get_mut(&id).map(|client| client.waiting += count).is_some()
    }

    /// A token for a request that the core is to answer, unless too many wait.
    pub(super) fn admit(&mut self, waiting: Waiting) -> Result<Token, Complaint> {
        if self.waiting.len() >= WAITING_MAX {
            let message = "too many requests wait for their answers: nothing was done; try again";
            return Err(Complaint::new(Code::Overloaded, message));
        }
        Ok(Token::try_from(self.waiting.insert(waiting)).expect("a place in memory fits 64 bits"))
    }

    /// Whether the client takes its answers, so that another value may be added.
    pub(super) fn has_room(&self, id: ConnectionId) -> bool {
        self.untaken_bytes < UNTAKEN_BYTES_MAX_TOTAL
            && self
                .connected
                .get(&id)
                .is_some_and(|client| client.outbox.bytes() < UNTAKEN_BYTES_MAX)
    }

    /// Whose answer this is. The token is free from now on.
    pub(super) fn take(&mut self, token: Token) -> Waiting {
        let waiting = usize::try_from(token).ok().and_then(|key| self.waiting.try_remove(key));
        waiting.expect("the core answers each token once")
    }

    /// Everyone who still waits, to be told why it is in vain.
    pub(super) fn take_all(&mut self) -> Vec<Waiting> {
        self.waiting.drain().collect()
    }

    /// Queues the answer to a request; it leaves with the next [`Clients::flush`].
    pub(super) fn respond(&mut self, id: ConnectionId, response: &Response) {
        // Who has hung up gets no answer.
        let Some(client) = self.connected.get_mut(&id) else { return };
        encode_line(response, client.outbox.queue());
        client.waiting -= 1;
        client.answered += 1;
        if !client.is_talked_to {
            client.is_talked_to = true;
            self.talked_to.push(id);
        }
    }

    /// A client will say no more: it gets the answers that it waits for, and these last words.
    pub(super) fn on_ended(&mut self, id: ConnectionId, parting: Option<Complaint>) {
        let Some(client) = self.connected.get_mut(&id) else { return };
        if let Some(complaint) = parting {
            encode_line(&Response::refusal(0, complaint.into()), client.outbox.queue());
        }
        client.is_ending = true;
        if !client.is_talked_to {
            client.is_talked_to = true;
            self.talked_to.push(id);
        }
    }

    /// Writes what was queued: once for each client.
    pub(super) fn flush(&mut self) {
        let mut talked_to = std::mem::take(&mut self.talked_to);
        for id in talked_to.drain(..) {
            if let Some(client) = self.connected.get_mut(&id) {
                client.is_talked_to = false;
                let result = client.outbox.flush(&self.events);
                self.settle(id, &result);
            }
        }
        self.talked_to = talked_to;
    }

    /// A stalled connection goes on, or is broken.
    pub(super) fn on_flushed(&mut self, id: ConnectionId, result: io::Result<Flushed>) {
        if let Some(client) = self.connected.get_mut(&id) {
            let result = client.outbox.resume(result, &self.events);
            self.settle(id, &result);
        }
    }

    /// Whether everything said was taken.
    pub(super) fn is_flushed(&self) -> bool {
        self.connected.values().all(|client| client.outbox.bytes() == 0)
    }

    /// Draws the conclusions of a write.
    fn settle(&mut self, id: ConnectionId, result: &io::Result<()>) {
        let Some(client) = self.connected.get_mut(&id) else { return };
        let untaken_bytes = client.outbox.bytes();
        self.untaken_bytes -= client.untaken_bytes;
        if result.is_err() {
            self.connected.remove(&id);
            return;
        }
        self.untaken_bytes += untaken_bytes;
        client.untaken_bytes = untaken_bytes;
        if untaken_bytes > 0 {
            return;
        }
        client.quota.add_permits(std::mem::take(&mut client.answered));
        if client.is_ending
            && client.waiting == 0
            && let Some(client) = self.connected.remove(&id)
        {
            // It ends by itself, after it has let the client hear its last words.
            client.reader.detach();
        }
    }
}
