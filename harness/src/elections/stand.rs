//! One cluster with one range of timeouts, whose leader dies again and again.

use std::env;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use raftctl::{Client, Endpoint, NodeStatus, Status};
use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{sleep_until, timeout_at};

use super::figures::{Figure, Sample, Trial};
use super::published::TimeoutRange;
use crate::cluster::wait::{TimedOut, wait_for};
use crate::cluster::{self, Cluster, Event, NodeId};

/// What the client writes; the value does not matter.
const KEY: &str = "elections";

/// How long the cluster may take until all nodes agree, at least; some ranges need as long as a trial may take.
const SETTLE_DEADLINE: Duration = Duration::from_mins(1);

/// Writes that show what a round of messages takes.
const BROADCASTS: usize = 100;

/// How long a status call may take.
const LOOK_TIMEOUT: Duration = Duration::from_millis(500);

/// A cluster to experiment with.
pub(super) struct Stand {
    cluster: Cluster,
    events: UnboundedReceiver<(Instant, Event)>,
    range: TimeoutRange,
    cap: Duration,
    writer: Client,
    observer: Client,
}

/// What became of a trial.
pub(super) enum Outcome {
    /// The leader was killed.
    Measured(Trial),
    /// It was not: it had lost its office by itself.
    Disturbed,
}

impl Stand {
    /// Starts the cluster; its files go to `directory`.
    pub(super) async fn start(
        raftd: &Path,
        nodes: u64,
        range: TimeoutRange,
        cap: Duration,
        directory: &Path,
    ) -> anyhow::Result<Stand> {
        let own = env::current_exe().context("cannot find the harness's own executable")?;
        let options = cluster::Options {
            supervisor: Some(own),
            heartbeat_ms: range.heartbeat_ms(),
            election_timeout_ms: [range.min, range.max],
            ..cluster::Options::new(raftd, nodes, directory)
        };
        let (recorder, events) = unbounded_channel();
        let cluster = Cluster::start(&options, Arc::new(recorder)).await?;
        let endpoints = || {
            let all = cluster.client_endpoints().into_iter();
            all.map(|(node, address)| Endpoint::of(node, address.to_string()))
        };
        let writer = Client::new(raftctl::Options {
            timeout: cap,
            // Long enough for any write to be committed, short enough not to wait for one that never will be.
            attempt_timeout: Some(Duration::from_millis(range.max * 4).min(cap)),
            ..raftctl::Options::new(endpoints())
        })?;
        let observer = Client::new(raftctl::Options {
            timeout: LOOK_TIMEOUT,
            retry: false,
            ..raftctl::Options::new(endpoints())
        })?;
        Ok(Stand { cluster, events, range, cap, writer, observer })
    }

    /// What a write takes from the client's point of view, with nothing broken: a round of messages with a disk write
    /// at the followers, which is what an election takes once it is called. Median and 99th percentile, ms.
    pub(super) async fn broadcast_ms(&self) -> anyhow::Result<(f64, f64)> {
        self.settle().await?;
        let mut times = Vec::with_capacity(BROADCASTS);
        for _ in 0..BROADCASTS {
            let start = Instant::now();
            self.writer.put(KEY, "").await.context("a write in peace failed")?;
            times.push(Some(ms(start.elapsed())));
        }
        let summary = Sample::of(times.into_iter(), self.cap).summary();
        match summary {
            Some([_, Figure::Is(p50), _, _, Figure::Is(p99), _]) => Ok((p50, p99)),
            Some(_) | None => anyhow::bail!("no write was answered"),
        }
    }

    /// Waits until all nodes run, follow one leader, and have applied everything. Who leads, in which term.
    pub(super) async fn settle(&self) -> Result<(NodeId, u64), TimedOut> {
        let deadline = SETTLE_DEADLINE.max(self.cap);
        wait_for("all nodes to follow one leader", deadline, async || {
            agreement(&self.observer.status_of_all().await)
        })
        .await
    }

    /// Kills the leader at a random point of its heartbeat interval, and sees how long it takes. Afterwards all nodes
    /// run again, but need not have found each other.
    pub(super) async fn trial(&mut self, rng: &mut StdRng) -> anyhow::Result<Outcome> {
        let before = self.settle().await?;
        let (leader, term) = before;
        // All followers hear of the leader at the same time, as at a heartbeat.
        self.writer.put(KEY, "").await.context("the write before the kill failed")?;
        let last_ok = Instant::now();
        let wait = rng.random_range(Duration::ZERO..self.range.heartbeat());
        sleep_until((last_ok + wait).into()).await;
        if self.cluster.leader_hint() != Some(before) {
            return Ok(Outcome::Disturbed);
        }
        while self.events.try_recv().is_ok() {}
        let killed = Instant::now();
        anyhow::ensure!(self.cluster.kill(leader).await?, "the leader was gone before its kill");
        let deadline = killed + self.cap;
        let (writer, events) = (&self.writer, &mut self.events);
        let (first_ok, seen) = tokio::join!(
            async {
                let written = timeout_at(deadline.into(), writer.put(KEY, "")).await;
                matches!(written, Ok(Ok(_))).then(Instant::now)
            },
            watch_election(events, term, deadline),
        );
        self.cluster.start_node(leader).await?;
        Ok(Outcome::Measured(Trial {
            killed_after_ms: ms(killed - last_ok),
            elected_ms: seen.elected.map(|at| ms(at.saturating_duration_since(killed))),
            gap_ms: first_ok.map(|at| ms(at - last_ok)),
            terms: seen.term - term,
            candidacies: seen.candidacies,
            pre_candidacies: seen.pre_candidacies,
        }))
    }
}

/// What the nodes' logs say of an election.
#[derive(Default)]
struct Seen {
    elected: Option<Instant>,
    term: u64,
    candidacies: u64,
    pre_candidacies: u64,
}

/// Until there is a leader of a later term than the last one's, or it takes too long.
async fn watch_election(
    events: &mut UnboundedReceiver<(Instant, Event)>,
    last_term: u64,
    deadline: Instant,
) -> Seen {
    let mut seen = Seen { term: last_term, ..Seen::default() };
    while let Ok(Some((at, event))) = timeout_at(deadline.into(), events.recv()).await {
        let Event::Role { role, term, .. } = event else { continue };
        seen.term = seen.term.max(term);
        match role.as_str() {
            "leader" if term > last_term => {
                seen.elected = Some(at);
                return seen;
            }
            "candidate" => seen.candidacies += 1,
            "pre-candidate" => seen.pre_candidacies += 1,
            _ => {}
        }
    }
    seen
}

/// Who leads in which term, if all say the same and nobody lacks anything; otherwise what they say.
fn agreement(nodes: &[NodeStatus]) -> Result<(NodeId, u64), String> {
    let mut statuses: Vec<&Status> = Vec::with_capacity(nodes.len());
    for node in nodes {
        match &node.status {
            Ok(status) => statuses.push(status),
            Err(error) => return Err(format!("{}: {error}", node.endpoint.addr)),
        }
    }
    let commit = statuses.iter().map(|status| status.commit).max().unwrap_or(0);
    let mut agreed = None;
    for status in statuses {
        let Status { node, term, applied, .. } = status;
        let Some(leader) = status.leader else { return Err(format!("n{node} knows no leader")) };
        if *applied < commit {
            return Err(format!("n{node} has applied {applied} of {commit}"));
        }
        let (before, in_term) = *agreed.get_or_insert((leader, *term));
        if (before, in_term) != (leader, *term) {
            return Err(format!("n{leader} of term {term} and n{before} of term {in_term} lead"));
        }
    }
    agreed.ok_or_else(|| "no node".to_owned())
}

pub(super) fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
