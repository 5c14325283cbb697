//! The clients at work.
//!
//! Each worker is pinned to a node: its reads are served there, whether that node leads, follows or has been deposed,
//! and its writes start there. It asks for one operation at a time, at its share of the rate, and goes on under a new
//! process number, with a new session if it has one of its own, once it has lost track of an operation.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use history_checker::history::Kind;
use raftctl::{Consistency, NodeId};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::client::{Access, Completion, Session};
use crate::journal::Journal;
use crate::workload::{Generator, Operation};

/// How long a worker leaves a node alone that it could not reach, at first; then twice as long each time.
const BACKOFF_MIN: Duration = Duration::from_millis(20);

/// At most this long.
const BACKOFF_MAX: Duration = Duration::from_millis(320);

/// How often a final read is tried. Each attempt takes as long as an operation may.
const FINAL_ATTEMPTS: u32 = 5;

/// The clients of a run.
pub struct Traffic {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    workers: JoinSet<anyhow::Result<()>>,
}

/// How many clients, and how busy.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Clients at work at the same time; client i talks to node i modulo the number of nodes.
    pub clients: u64,
    /// The last so many of them only read.
    pub readers: u64,
    /// Operations a second that all together aim at.
    pub rate: u64,
    /// Whether all clients of a node are one session, which has many requests on their way at a time then.
    pub shared_sessions: bool,
}

/// What all workers have in common.
struct Shared {
    access: Access,
    journal: Arc<Journal>,
    generator: Mutex<Generator>,
    /// The next process number that nobody has had.
    processes: AtomicU64,
}

/// A client: one operation at a time, one process number after another.
struct Worker {
    shared: Arc<Shared>,
    node: NodeId,
    process: u64,
    session: Session,
    /// With other clients of the same node.
    shares_session: bool,
    only_reads: bool,
    /// Operations in a row for which the node could not be reached.
    unreachable: u32,
}

impl Traffic {
    /// Lets the clients begin.
    pub fn start(
        access: Access,
        journal: Arc<Journal>,
        generator: Generator,
        load: Load,
    ) -> anyhow::Result<Traffic> {
        let Load { clients, readers, rate, shared_sessions } = load;
        let shared = Shared {
            access,
            journal,
            generator: Mutex::new(generator),
            processes: AtomicU64::new(0),
        };
        let mut traffic = Traffic {
            shared: Arc::new(shared),
            stop: watch::Sender::new(false),
            workers: JoinSet::new(),
        };
        let rate_ns = 1_000_000_000 / rate.max(1);
        let start = Instant::now();
        let mut sessions = BTreeMap::new();
        for client in 0..clients {
            let nodes = &traffic.shared.access.endpoints;
            let node = usize::try_from(client).map_or(0, |client| client % nodes.len());
            let node = nodes[node].node.context("the cluster does not number its nodes")?;
            let only_reads = client + readers >= clients;
            let mut worker = Worker::new(Arc::clone(&traffic.shared), node, only_reads)?;
            if shared_sessions {
                worker.shares_session = true;
                worker.session = sessions.entry(node).or_insert(worker.session).clone();
            }
            let mut ticks = interval_at(
                start + Duration::from_nanos(rate_ns.saturating_mul(client)),
                Duration::from_nanos(rate_ns.saturating_mul(clients).max(1)),
            );
            // A client that waited for an answer does not make up for what it missed.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let stop = traffic.stop.subscribe();
            traffic.workers.spawn(worker.run(ticks, stop));
        }
        Ok(traffic)
    }

    /// Lets the clients finish what they are at, and stop.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        join(&mut self.workers).await
    }

    /// Reads every key that was used, linearizably: those in use to the last by every node, the others by one each.
    pub async fn final_reads(&mut self) -> anyhow::Result<()> {
        let (keys, live) = {
            let generator = self.shared.generator();
            (generator.keys(), generator.live_keys())
        };
        let access =
            Access { consistency: Consistency::Linearizable, ..self.shared.access.clone() };
        let nodes = access.endpoints.len();
        let mut readers = JoinSet::new();
        for (i, endpoint) in access.endpoints.iter().enumerate() {
            let node = endpoint.node.context("the cluster does not number its nodes")?;
            let its_own =
                keys.iter().enumerate().filter(|(k, key)| k % nodes == i || live.contains(key));
            let its_own: Vec<String> = its_own.map(|(_, key)| key.clone()).collect();
            let process = self.shared.fresh_process();
            let session = access.session(process, node)?;
            let shared = Arc::clone(&self.shared);
            readers.spawn(async move {
                let mut reader = Worker {
                    shared,
                    node,
                    process,
                    session,
                    shares_session: false,
                    only_reads: true,
                    unreachable: 0,
                };
                for key in its_own {
                    reader.read_at_last(key).await?;
                }
                Ok(())
            });
        }
        join(&mut readers).await
    }
}

/// Waits for all tasks; the first error, or panic, is the outcome.
async fn join(tasks: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(ended) = tasks.join_next().await {
        ended.context("a client of the harness failed")??;
    }
    Ok(())
}

impl Shared {
    fn generator(&self) -> MutexGuard<'_, Generator> {
        self.generator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fresh_process(&self) -> u64 {
        self.processes.fetch_add(1, Ordering::Relaxed)
    }
}

impl Worker {
    fn new(shared: Arc<Shared>, node: NodeId, only_reads: bool) -> anyhow::Result<Worker> {
        let process = shared.fresh_process();
        let session = shared.access.session(process, node)?;
        let shares_session = false;
        Ok(Worker { shared, node, process, session, shares_session, only_reads, unreachable: 0 })
    }

    async fn run(
        mut self,
        mut ticks: tokio::time::Interval,
        mut stop: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                () = self.back_off() => {}
            }
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                _ = ticks.tick() => {}
            }
            let operation = self.next();
            self.carry_out(&operation).await?;
        }
    }

    fn next(&self) -> Operation {
        let mut generator = self.shared.generator();
        if self.only_reads {
            generator.next_read(self.process)
        } else {
            generator.next(self.process)
        }
    }

    /// Leaves an unreachable node alone for a while: it is refused again soon enough, and each refusal is a line in
    /// the history.
    async fn back_off(&self) {
        if let Some(doublings) = self.unreachable.checked_sub(1) {
            sleep(BACKOFF_MAX.min(BACKOFF_MIN * 2_u32.saturating_pow(doublings))).await;
        }
    }

    /// Asks for a key's state until there is an answer; a queue until it is empty.
    async fn read_at_last(&mut self, key: String) -> anyhow::Result<()> {
        let Some(operation) = self.shared.generator().last_read(key) else { return Ok(()) };
        let mut attempts = 0;
        while attempts < FINAL_ATTEMPTS {
            let (kind, is_last) = self.carry_out(&operation).await?;
            if kind == Kind::Ok && is_last {
                break;
            }
            attempts += u32::from(kind != Kind::Ok);
            self.back_off().await;
        }
        Ok(())
    }

    /// From the invocation to its end. Also whether the same need not be asked for again to know the state.
    async fn carry_out(&mut self, operation: &Operation) -> anyhow::Result<(Kind, bool)> {
        let journal = Arc::clone(&self.shared.journal);
        let (request, completion) = if operation.takes_several_requests() {
            journal.invoked(self.process, self.node, operation, None);
            (None, self.session.perform(operation).await)
        } else {
            // The request's name is written down before it is sent, and to have a name a new session needs to hear from
            // the cluster. If it does not, nothing was sent.
            let begun = self.session.begin(operation).await;
            let request = match &begun {
                Ok(call) => call.request().map(ToString::to_string),
                Err(error) => error.request.as_ref().map(ToString::to_string),
            };
            journal.invoked(self.process, self.node, operation, request.as_deref());
            let outcome = match begun {
                Ok(call) => call.send().await,
                Err(error) => Err(error),
            };
            (request, self.session.completion(operation, outcome))
        };
        let kind = completion.kind;
        let is_last = operation.is_read() || completion.value.is_null();
        self.learn(operation, &completion);
        journal.completed(self.process, operation, request.as_deref(), completion);
        if kind == Kind::Info {
            self.process = self.shared.fresh_process();
            if !self.shares_session {
                self.session = self.shared.access.session(self.process, self.node)?;
            }
        }
        Ok((kind, is_last))
    }

    /// Tells the generator what came of its operation.
    fn learn(&mut self, operation: &Operation, completion: &Completion) {
        self.unreachable = if completion.unreachable { self.unreachable + 1 } else { 0 };
        let mut generator = self.shared.generator();
        if let Some(hints) = &completion.hints {
            generator.saw(operation.key(), hints.clone());
        }
        match (completion.kind, operation) {
            (Kind::Info | Kind::Invoke, _) => generator.lost_track(self.process, operation.key()),
            (Kind::Ok, Operation::Acquire { key, holder }) => {
                generator.acquired(self.process, key, holder);
            }
            (Kind::Ok, Operation::Release { .. }) => generator.released(self.process),
            // Then it was not its own any more; after any other failure it still is.
            (Kind::Fail, Operation::Release { .. })
                if completion.error.as_deref() == Some("mismatch") =>
            {
                generator.released(self.process);
            }
            (Kind::Ok | Kind::Fail, _) => {}
        }
    }
}
