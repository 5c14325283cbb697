//! Names of requests, and which of them have an answer (Thesis §6.3).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raftd::api::RequestId;
use tokio::sync::Notify;

/// Most requests from the lowest one without an answer to the newest, both included. The cluster remembers at least
/// 1,024 answers of a session, so the answer to each of these is there for a retry.
const WINDOW_MAX: usize = 1_024;

/// One client name and the numbers it has given out.
#[derive(Debug)]
pub(crate) struct Session {
    client: String,
    window: Mutex<Window>,
    /// The window has moved, or a request in it was left unknown.
    moved: Notify,
}

/// The requests from the lowest one without an answer up to the newest.
#[derive(Debug)]
struct Window {
    /// All requests below have an answer, or were given up.
    ack: u64,
    /// What became of `ack`, `ack + 1`, …; the first one is never `Settled`.
    states: VecDeque<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A call is under way.
    Waiting,
    /// The call ended without a definite answer. It may still be repeated by hand, so its answer must be kept - as
    /// long as the window has room.
    Unknown,
    /// There is a definite answer, or the request was never sent, or it was given up: it will not be repeated.
    Settled,
}

impl Session {
    pub(crate) fn new(client: String) -> Session {
        let window = Window { ack: 1, states: VecDeque::new() };
        Session { client, window: Mutex::new(window), moved: Notify::new() }
    }

    pub(crate) fn client(&self) -> &str {
        &self.client
    }

    /// The client's birth index, which its name ends in.
    pub(crate) fn birth(&self) -> u64 {
        RequestId { client: self.client.clone(), seq: 1 }.birth()
    }

    /// The next request. Waits while the window is full of requests under way; an unknown one that stands in the way
    /// is given up.
    pub(crate) async fn reserve(self: &Arc<Session>) -> Ticket {
        loop {
            let moved = self.moved.notified();
            if let Some(seq) = self.window().reserve() {
                let request = RequestId { client: self.client.clone(), seq };
                return Ticket { session: Arc::clone(self), request, left: State::Unknown };
            }
            moved.await;
        }
    }

    /// The lowest request that may be repeated; all below are settled.
    pub(crate) fn ack(&self) -> u64 {
        self.window().ack
    }

    /// Whether the request is this session's.
    pub(crate) fn owns(&self, request: &RequestId) -> bool {
        request.client == self.client
    }

    /// The request will not be repeated.
    pub(crate) fn settle(&self, seq: u64) {
        self.leave(seq, State::Settled);
    }

    fn leave(&self, seq: u64, state: State) {
        let was_full = {
            let mut window = self.window();
            let was_full = window.states.len() >= WINDOW_MAX;
            window.leave(seq, state);
            was_full
        };
        if was_full {
            self.moved.notify_waiters();
        }
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    fn reserve(&mut self) -> Option<u64> {
        if self.states.len() >= WINDOW_MAX {
            if self.states.front() != Some(&State::Unknown) {
                return None;
            }
            self.leave(self.ack, State::Settled);
        }
        self.states.push_back(State::Waiting);
        Some(self.ack + len_u64(self.states.len()) - 1)
    }

    fn leave(&mut self, seq: u64, state: State) {
        let slot = seq
            .checked_sub(self.ack)
            .and_then(|offset| usize::try_from(offset).ok())
            .and_then(|offset| self.states.get_mut(offset));
        // A request below the window is settled already; one above was never given out.
        let Some(slot) = slot else { return };
        if *slot != State::Settled {
            *slot = state;
        }
        while self.states.front() == Some(&State::Settled) {
            self.states.pop_front();
            self.ack += 1;
        }
    }
}

fn len_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// One request's place in its session. Dropped as it is, it leaves the request unknown: the call was abandoned.
#[derive(Debug)]
pub(crate) struct Ticket {
    session: Arc<Session>,
    request: RequestId,
    left: State,
}

impl Ticket {
    pub(crate) fn request(&self) -> &RequestId {
        &self.request
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// There is a definite answer: the request will not be repeated.
    pub(crate) fn settle(&mut self) {
        self.left = State::Settled;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.session.leave(self.request.seq, self.left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Arc<Session> {
        Arc::new(Session::new("c@7".to_owned()))
    }

    fn settled(mut ticket: Ticket) {
        ticket.settle();
    }

    #[test]
    fn birth_stands_in_the_name() {
        assert_eq!(session().birth(), 7);
        assert_eq!(session().client(), "c@7");
        assert_eq!(Session::new("c".to_owned()).birth(), 0);
    }

    #[tokio::test]
    async fn requests_are_numbered_from_one() {
        let session = session();
        assert_eq!(session.ack(), 1);
        let (first, second) = (session.reserve().await, session.reserve().await);
        assert_eq!(first.request().to_string(), "c@7:1");
        assert_eq!(second.request().to_string(), "c@7:2");
        assert_eq!(session.ack(), 1);
    }

    #[tokio::test]
    async fn ack_is_the_lowest_request_without_an_answer() {
        let session = session();
        let first = session.reserve().await;
        let second = session.reserve().await;
        let third = session.reserve().await;
        settled(second);
        assert_eq!(session.ack(), 1);
        settled(first);
        assert_eq!(session.ack(), 3);
        settled(third);
        assert_eq!(session.ack(), 4);
        assert_eq!(session.reserve().await.request().seq, 4);
    }

    #[tokio::test]
    async fn unknown_request_holds_ack_until_it_is_given_up() {
        let session = session();
        drop(session.reserve().await);
        settled(session.reserve().await);
        assert_eq!(session.ack(), 1);
        session.settle(1);
        assert_eq!(session.ack(), 3);
        session.settle(1);
        session.settle(99);
        assert_eq!(session.ack(), 3);
    }

    #[tokio::test]
    async fn full_window_gives_up_an_unknown_request() {
        let session = session();
        drop(session.reserve().await);
        for _ in 1..WINDOW_MAX {
            settled(session.reserve().await);
        }
        assert_eq!(session.ack(), 1);
        let next = session.reserve().await;
        assert_eq!(next.request().seq, len_u64(WINDOW_MAX) + 1);
        assert_eq!(session.ack(), next.request().seq);
    }

    #[tokio::test]
    async fn full_window_waits_for_the_request_under_way() {
        let session = session();
        let slow = session.reserve().await;
        for _ in 1..WINDOW_MAX {
            settled(session.reserve().await);
        }
        let waiting = tokio::spawn({
            let session = Arc::clone(&session);
            async move { session.reserve().await.request().seq }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        settled(slow);
        assert_eq!(waiting.await.unwrap(), len_u64(WINDOW_MAX) + 1);
    }

    #[tokio::test]
    async fn full_window_goes_on_when_the_slow_request_is_abandoned() {
        let session = session();
        let slow = session.reserve().await;
        for _ in 1..WINDOW_MAX {
            settled(session.reserve().await);
        }
        let waiting = tokio::spawn({
            let session = Arc::clone(&session);
            async move { session.reserve().await.request().seq }
        });
        tokio::task::yield_now().await;
        drop(slow);
        assert_eq!(waiting.await.unwrap(), len_u64(WINDOW_MAX) + 1);
    }
}
