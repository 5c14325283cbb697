//! One node's address and the connection to it, made when needed and shared by all calls.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::NodeId;
use crate::connection::Connection;

/// An address, the node behind it, and the connection to it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    addr: String,
    /// 0: not known yet. Once known it stays.
    node: AtomicU64,
    /// Another node named it: it was not given to the client.
    learnt: bool,
    /// It was learnt, and nobody has asked it yet who else there is.
    news: AtomicBool,
    slot: Mutex<Slot>,
}

#[derive(Debug)]
enum Slot {
    Idle,
    /// A task is at it; the receiver is closed without a value only if the task was killed with its runtime.
    Connecting(watch::Receiver<Option<Connected>>),
    Up(Arc<Connection>),
}

type Connected = Result<Arc<Connection>, NotConnected>;

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotConnected {
    pub(crate) reason: String,
    /// Whether it is no use to try again.
    pub(crate) is_lasting: bool,
}

impl NotConnected {
    fn for_now(reason: impl Into<String>) -> NotConnected {
        NotConnected { reason: reason.into(), is_lasting: false }
    }
}

/// What a connection needs besides its address.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    pub(crate) cluster: Option<String>,
    pub(crate) timeout: Duration,
}

impl Endpoint {
    pub(crate) fn new(addr: String, node: Option<NodeId>) -> Arc<Endpoint> {
        Endpoint::make(addr, node, false)
    }

    /// One that another node has named.
    pub(crate) fn learnt(addr: String, node: Option<NodeId>) -> Arc<Endpoint> {
        Endpoint::make(addr, node, true)
    }

    fn make(addr: String, node: Option<NodeId>, learnt: bool) -> Arc<Endpoint> {
        let (node, news) = (AtomicU64::new(node.unwrap_or(0)), AtomicBool::new(learnt));
        Arc::new(Endpoint { addr, node, learnt, news, slot: Mutex::new(Slot::Idle) })
    }

    /// Whether another node named it.
    pub(crate) fn is_learnt(&self) -> bool {
        self.learnt
    }

    /// Whether it was learnt and not asked yet who else there is; from now on it was.
    pub(crate) fn take_news(&self) -> bool {
        self.learnt && self.news.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn addr(&self) -> &str {
        &self.addr
    }

    pub(crate) fn node(&self) -> Option<NodeId> {
        Some(self.node.load(Ordering::Relaxed)).filter(|node| *node != 0)
    }

    /// The connection, if it is up.
    pub(crate) fn up(&self) -> Option<Arc<Connection>> {
        match &*self.slot() {
            Slot::Up(connection) if !connection.is_closed() => Some(Arc::clone(connection)),
            Slot::Up(_) | Slot::Connecting(_) | Slot::Idle => None,
        }
    }

    /// The connection, made if need be. However many calls ask, one connection is made; it goes on being made when
    /// they have stopped waiting for it.
    pub(crate) async fn connect(self: &Arc<Endpoint>, dial: &Dial) -> Connected {
        let mut connected = {
            let mut slot = self.slot();
            match &*slot {
                Slot::Up(connection) if !connection.is_closed() => {
                    return Ok(Arc::clone(connection));
                }
                Slot::Connecting(connected) if connected.has_changed().is_ok() => connected.clone(),
                Slot::Up(_) | Slot::Connecting(_) | Slot::Idle => {
                    let (sender, receiver) = watch::channel(None);
                    tokio::spawn(Arc::clone(self).open(dial.clone(), sender));
                    *slot = Slot::Connecting(receiver.clone());
                    receiver
                }
            }
        };
        match connected.wait_for(Option::is_some).await {
            Ok(connected) => {
                connected.clone().unwrap_or_else(|| Err(NotConnected::for_now("no outcome")))
            }
            Err(_) => Err(NotConnected::for_now("stopped while connecting")),
        }
    }

    /// Stops using this connection for further calls. Those that wait for an answer on it go on waiting.
    pub(crate) fn retire(&self, connection: &Arc<Connection>) {
        let mut slot = self.slot();
        if matches!(&*slot, Slot::Up(up) if Arc::ptr_eq(up, connection)) {
            *slot = Slot::Idle;
        }
    }

    async fn open(self: Arc<Endpoint>, dial: Dial, sender: watch::Sender<Option<Connected>>) {
        let opening = Connection::open(&self.addr, self.node(), dial.cluster.as_deref());
        let connected = match timeout(dial.timeout, opening).await {
            Ok(Ok(connection)) => Ok(Arc::new(connection)),
            Ok(Err(error)) => {
                Err(NotConnected { reason: error.to_string(), is_lasting: error.is_lasting() })
            }
            Err(_) => Err(NotConnected::for_now(format!("no hello within {:?}", dial.timeout))),
        };
        if let Ok(connection) = &connected {
            self.node.store(connection.node(), Ordering::Relaxed);
        }
        *self.slot() = match &connected {
            Ok(connection) => Slot::Up(Arc::clone(connection)),
            Err(_) => Slot::Idle,
        };
        sender.send_replace(Some(connected));
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
