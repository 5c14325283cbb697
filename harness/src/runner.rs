//! One run: starts a cluster, lets clients work and faults happen, heals, waits, reads everything once more.
//!
//! ```text
//! clean ──▶ faults ──▶ heal ──▶ recovered ──▶ final ──▶ end
//!  └──────── traffic ──────────────┘          │        └ what the nodes' own logs say
//!                                             └ reads of every key, by every node for those in use to the last
//! ```
//!
//! Nothing here judges: everything that happens goes to the history, and the verdict is made from that alone.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::env;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use history_checker::history::Header;
use raftctl::{Client, Consistency, Endpoint, NodeId, Status};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{interval, sleep};

use crate::client::{Access, Values};
use crate::cluster::wait::{TimedOut, wait_for};
use crate::cluster::{self, Builds, Cluster, Network, Recorder};
use crate::daemon;
use crate::journal::{FLUSH_EVERY, Journal, Phase};
use crate::nemesis::schedule::{self, Schedule};
use crate::nemesis::{Kind, Nemesis};
use crate::node_logs::{self, Commits};
use crate::progress::Progress;
use crate::scenario::{Scenario, consistency_name};
use crate::store::{self, RunDirectory};
use crate::terminal;
use crate::traffic::{Load, Traffic};
use crate::workload::Generator;

/// What the runner itself writes to try whether a node serves; no workload uses this key.
const CARETAKER_KEY: &str = "caretaker";

/// How often more faults are planned for kinds that have not bitten often enough when the time is up.
const ROUNDS_MORE_MAX: u64 = 3;

/// How often nodes are asked for their status, and how long each may take.
const POLL_EVERY: Duration = Duration::from_millis(25);
const POLL_TIMEOUT: Duration = Duration::from_millis(50);

/// How long such a round takes: a lead, and room for each kind.
const ROUND_MORE: Duration = Duration::from_millis(1500);
const ROUND_MORE_PER_KIND: Duration = Duration::from_secs(2);

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The workload, with the command line's changes.
    pub scenario: Scenario,
    /// Seed of every random choice.
    pub seed: u64,
    /// From the first operation to the end of the last fault, unless some have to be made up for.
    pub time_limit: Duration,
    /// The daemon, of one build or several.
    pub builds: Builds,
    /// What carries what the nodes say.
    pub network: Network,
    /// Whether to end at the first certain anomaly.
    pub fail_fast: bool,
    /// The faults of a run that was recorded, instead of new ones.
    pub replayed: Option<Schedule>,
    /// Circumstances, for the history's header.
    pub circumstances: BTreeMap<String, Value>,
}

impl Plan {
    fn header(&self) -> Header {
        let scenario = &self.scenario;
        Header {
            workload: scenario.name.clone(),
            model: scenario.model.name().to_owned(),
            seed: self.seed,
            nodes: scenario.nodes,
            consistency: Some(consistency_name(scenario.consistency).to_owned()),
            expected: Some(terminal::word(scenario.expected).to_owned()),
            initial: scenario.initial(),
            total: scenario.total(),
            failover_ms: scenario.failover.map(whole_milliseconds),
            minima: scenario.minima(self.time_limit),
            limits: scenario.limits(),
            run: self.circumstances.clone(),
            ..Header::default()
        }
    }
}

/// Runs `plan`; everything it leaves behind is in `directory`. `interrupted` turns true when the user wants it to end.
///
/// An error is the harness's own failure. Even then the history is there, as far as it came.
pub async fn run(
    plan: &Plan,
    directory: &RunDirectory,
    interrupted: &watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let journal =
        Arc::new(Journal::create(&directory.file(store::HISTORY), &plan.header(), start)?);
    let ran = run_cluster(plan, directory, &journal, interrupted).await;
    journal.flush().context("cannot write the history")?;
    ran
}

async fn run_cluster(
    plan: &Plan,
    directory: &RunDirectory,
    journal: &Arc<Journal>,
    interrupted: &watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let options = cluster::Options {
        supervisor: Some(env::current_exe().context("cannot find the harness's own executable")?),
        snapshot_log_bytes: plan.scenario.snapshot_log_bytes,
        lease_drift_percent: plan.scenario.lease_drift_percent,
        disks: plan.scenario.needs_disks(),
        network: plan.network,
        builds: plan.builds.clone(),
        ..cluster::Options::new(&plan.builds.all, plan.scenario.nodes, &directory.path)
    };
    let recorder: Arc<dyn Recorder> = Arc::<Journal>::clone(journal);
    let cluster = tokio::select! {
        biased;
        () = interruption(interrupted) => {
            journal.phase(Phase::Interrupted);
            return Ok(());
        }
        cluster = Cluster::start(&options, Arc::clone(&recorder)) => Arc::new(cluster?),
    };
    let nemesis = Nemesis::new(Arc::clone(&cluster), recorder);
    let bench =
        Bench { plan, cluster: Arc::clone(&cluster), journal: Arc::clone(journal), nemesis };
    let outcome = tokio::select! {
        biased;
        () = interruption(interrupted) => {
            // The clients are gone with the future that ran them; what they were at stays open in the history.
            journal.phase(Phase::Interrupted);
            bench.nemesis.heal_all().await.map(|()| None).context("the cluster could not be healed")
        }
        failed = mind(journal, plan) => Err(failed),
        outcome = bench.run() => outcome,
    };
    let ended = cluster.shutdown().await.context("the cluster could not be shut down");
    if let (Ok(Some(commits)), Ok(_)) = (&outcome, &ended) {
        read_logs(&cluster, commits.clone(), journal).await?;
    }
    let outcome = outcome.map(drop);
    if outcome.is_ok() && !*interrupted.borrow() {
        journal.phase(Phase::End);
    }
    outcome.and(ended.map(drop))
}

/// Takes down what the nodes, which are stopped, have committed.
async fn read_logs(
    cluster: &Cluster,
    commits: Commits,
    journal: &Arc<Journal>,
) -> anyhow::Result<()> {
    let data = |(node, _): (NodeId, SocketAddr)| (node, cluster.node_dir(node).join("data"));
    let directories = cluster.client_endpoints().into_iter().map(data).collect();
    let journal = Arc::clone(journal);
    let reading = spawn_blocking(move || {
        node_logs::read(&daemon::raftctl(), &directories, &commits, &journal);
    });
    reading.await.context("the nodes' logs could not be read")
}

/// Returns when the user wants the run to end.
async fn interruption(interrupted: &watch::Receiver<bool>) {
    if interrupted.clone().wait_for(|interrupted| *interrupted).await.is_err() {
        // Nobody is there who could interrupt.
        pending::<()>().await;
    }
}

/// Keeps the file and the screen up to date. Returns only if the history cannot be written.
async fn mind(journal: &Journal, plan: &Plan) -> anyhow::Error {
    let mut progress = Progress::new(&plan.scenario.name, plan.time_limit);
    let mut ticks = interval(FLUSH_EVERY);
    let start = Instant::now();
    loop {
        ticks.tick().await;
        if let Err(error) = journal.flush() {
            return anyhow::Error::new(error).context("cannot write the history");
        }
        progress.update(start.elapsed(), &journal.live());
    }
}

fn whole_milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A cluster under test.
struct Bench<'a> {
    plan: &'a Plan,
    cluster: Arc<Cluster>,
    journal: Arc<Journal>,
    nemesis: Nemesis,
}

impl Bench<'_> {
    /// All stages, one after the other. How far each node has committed in the end, if the run came so far.
    async fn run(&self) -> anyhow::Result<Option<Commits>> {
        let scenario = &self.plan.scenario;
        let access = self.access();
        self.journal.phase(Phase::Clean);
        let generator = Generator::new(scenario, self.plan.seed);
        let journal = Arc::clone(&self.journal);
        let load = Load {
            clients: scenario.clients,
            readers: scenario.readers(),
            rate: scenario.rate,
            shared_sessions: scenario.shared_sessions,
        };
        let mut traffic = Traffic::start(access.clone(), journal, generator, load)?;
        let is_decided = tokio::select! {
            biased;
            () = self.anomaly() => true,
            quiet = async { tokio::join!(self.break_things(), self.quiet(&mut traffic)).1 } => {
                quiet?;
                false
            }
            failed = self.poll_status(&access) => return Err(failed),
        };
        self.journal.phase(Phase::Heal);
        if is_decided {
            // Nothing that comes after could change the verdict, and a broken cluster may never recover.
            traffic.stop().await?;
            if let Err(error) = self.nemesis.heal_all().await {
                terminal::note(format!("the cluster did not recover: {error:#}"));
            }
            return Ok(None);
        }
        // That a node does not come up again is the cluster's failure, not the harness's.
        let recovered = match self.nemesis.heal_all().await {
            Ok(()) => self.recovered(&access).await?.map_err(|timed_out| timed_out.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match &recovered {
            Ok(()) => self.journal.phase(Phase::Recovered),
            Err(why) => {
                terminal::note(format!("the cluster did not recover: {why}"));
                self.journal.not_recovered(why);
            }
        }
        traffic.stop().await?;
        if recovered.is_ok() {
            self.journal.phase(Phase::Final);
            traffic.final_reads().await?;
        }
        let commits = node_logs::last_states(&access.caretaker(None)?, &self.journal).await;
        Ok(Some(commits))
    }

    /// Inflicts the faults, and returns when the time is up.
    async fn break_things(&self) {
        let Plan { scenario, time_limit, .. } = self.plan;
        let schedule = match &self.plan.replayed {
            Some(schedule) => schedule.clone(),
            None => self.schedule(scenario.faults.clone(), 0, *time_limit),
        };
        let first = schedule.all().map(|planned| planned.start).min();
        let first_begins = async {
            if let Some(first) = first {
                sleep(first).await;
                self.journal.phase(Phase::Faults);
            }
        };
        tokio::join!(first_begins, self.inflict(&schedule), sleep(*time_limit));
        if self.plan.replayed.is_some() {
            return;
        }
        // Where everything takes longer than planned there was no time for some: coverage is no matter of luck.
        for round in 1..=ROUNDS_MORE_MAX {
            let missing = self.missing();
            if missing.is_empty() {
                break;
            }
            let limit =
                ROUND_MORE + ROUND_MORE_PER_KIND * u32::try_from(missing.len()).unwrap_or(1);
            self.inflict(&self.schedule(missing, round, limit)).await;
        }
    }

    /// Asks all nodes again and again who leads, if that is what the workload is about. Returns only if it cannot.
    async fn poll_status(&self, access: &Access) -> anyhow::Error {
        if !self.plan.scenario.poll_status {
            return pending().await;
        }
        let access = Access { timeout: POLL_TIMEOUT, ..access.clone() };
        let onlooker = match access.caretaker(None) {
            Ok(onlooker) => onlooker,
            Err(error) => return error.into(),
        };
        let mut last = BTreeMap::new();
        let mut ticks = interval(POLL_EVERY);
        loop {
            ticks.tick().await;
            let all = onlooker.status_of_all().await;
            // One that does not answer says nothing.
            for Status { node, role, term, leader, .. } in
                all.into_iter().filter_map(|node| node.status.ok()).map(|status| *status)
            {
                let said = (role.clone(), term, leader);
                if last.insert(node, said.clone()).as_ref() != Some(&said) {
                    let event = cluster::Event::Role { is_asked: true, node, role, term, leader };
                    self.journal.record(Instant::now(), event);
                }
            }
        }
    }

    /// Lets the clients stop while there are still faults to come, if that is what the workload is about.
    async fn quiet(&self, traffic: &mut Traffic) -> anyhow::Result<()> {
        if self.plan.scenario.idle {
            sleep(self.plan.time_limit * 3 / 4).await;
            traffic.stop().await?;
        }
        Ok(())
    }

    /// The kinds of fault that have not bitten as often as they are to.
    fn missing(&self) -> Vec<Kind> {
        let minima = self.plan.scenario.minima(self.plan.time_limit).faults;
        let bites = self.journal.live().bites;
        let missing = |kind: &Kind| {
            let bitten = bites.get(kind.name()).copied().unwrap_or(0);
            bitten < minima.get(kind.name()).copied().unwrap_or(0)
        };
        self.plan.scenario.faults().filter(missing).collect()
    }

    fn schedule(&self, kinds: Vec<Kind>, round: u64, limit: Duration) -> Schedule {
        let Plan { scenario, seed, .. } = self.plan;
        let options = schedule::Options::new(kinds, seed ^ round, scenario.nodes, limit);
        let (quorum_safe, moments) = (scenario.quorum_safe, scenario.at.clone());
        let network_fault = scenario.network_fault;
        schedule::plan(&schedule::Options { quorum_safe, moments, network_fault, ..options })
    }

    async fn inflict(&self, schedule: &Schedule) {
        let keep_on = watch::Sender::new(false);
        self.nemesis.run(schedule, keep_on.subscribe()).await;
    }

    /// Returns when an anomaly is certain, if one is enough.
    async fn anomaly(&self) {
        let mut ticks = interval(FLUSH_EVERY);
        while !(self.plan.fail_fast && self.journal.live().anomalies > 0) {
            ticks.tick().await;
        }
    }

    /// Waits until all nodes agree who leads and have caught up, and each of them gets a write done and serves a read.
    async fn recovered(&self, access: &Access) -> anyhow::Result<Result<(), TimedOut>> {
        let all = access.caretaker(None)?;
        let each = access
            .endpoints
            .iter()
            .map(|endpoint| access.caretaker(endpoint.node))
            .collect::<Result<Vec<_>, _>>()?;
        let goal = Cell::new(None);
        let deadline = self.plan.scenario.recovery;
        let outcome = wait_for("every node to serve again", deadline, async || {
            caught_up(&all, &goal).await?;
            for client in &each {
                let serves = async {
                    client.put(CARETAKER_KEY, "recovered").await?;
                    client.get(CARETAKER_KEY, Consistency::Linearizable).await
                };
                serves.await.map_err(|error: raftctl::Error| error.to_string())?;
            }
            Ok::<(), String>(())
        });
        Ok(outcome.await)
    }

    fn access(&self) -> Access {
        let endpoints = self.cluster.client_endpoints();
        Access {
            endpoints: endpoints
                .into_iter()
                .map(|(node, address)| Endpoint::of(node, address.to_string()))
                .collect(),
            timeout: self.plan.scenario.op_timeout,
            attempt_timeout: self.plan.scenario.attempt_timeout,
            consistency: self.plan.scenario.consistency,
            values: Values::of(&self.plan.scenario),
        }
    }
}

/// Whether all nodes agree on the leader and have applied what was committed when first seen: `goal`, which is set once.
async fn caught_up(client: &Client, goal: &Cell<Option<u64>>) -> Result<(), String> {
    let mut statuses = Vec::new();
    for node in client.status_of_all().await {
        statuses.push(node.status.map_err(|error| format!("{}: {error}", node.endpoint.addr))?);
    }
    let views = || {
        let view = |status: &Status| {
            let leader =
                status.leader.map_or_else(|| "none".to_owned(), |leader| format!("n{leader}"));
            format!(
                "n{} has leader {leader}, term {}, applied {}",
                status.node, status.term, status.applied
            )
        };
        statuses.iter().map(|status| view(status)).collect::<Vec<_>>().join("; ")
    };
    let same =
        |a: &Status, b: &Status| a.leader.is_some() && a.leader == b.leader && a.term == b.term;
    if !statuses.windows(2).all(|pair| same(&pair[0], &pair[1])) {
        return Err(views());
    }
    let leader = statuses.iter().find(|status| status.leader == Some(status.node));
    if let Some(unfinished) = leader.and_then(|leader| unfinished(leader)) {
        return Err(unfinished);
    }
    let committed = statuses.iter().map(|status| status.commit).max().unwrap_or(0);
    let due = goal.get().unwrap_or(committed);
    goal.set(Some(due));
    if statuses.iter().all(|status| status.applied >= due) {
        Ok(())
    } else {
        Err(format!("{} of {due}", views()))
    }
}

/// What a leader has begun with its members and still has to end, without being told.
fn unfinished(leader: &Status) -> Option<String> {
    let node = leader.node;
    if !leader.outgoing.is_empty() {
        let outgoing = &leader.outgoing;
        return Some(format!("n{node} has not ended the change of voters from {outgoing:?}"));
    }
    let member = leader.members.iter().find(|member| member.returning)?;
    Some(format!("n{} has not got its vote back from n{node}", member.id))
}

#[cfg(test)]
mod tests {
    use raftctl::Member;

    use super::*;

    #[test]
    fn changes_that_are_left_half_done_are_no_recovery() {
        let member = |id, returning| Member { id, returning, ..Member::default() };
        let mut leader = Status {
            node: 2,
            members: vec![member(1, false), member(3, false)],
            ..Status::default()
        };
        assert_eq!(unfinished(&leader), None);
        leader.members.push(member(4, true));
        let returning = unfinished(&leader).unwrap();
        assert_eq!(returning, "n4 has not got its vote back from n2");
        leader.outgoing = vec![1, 3];
        let joint = unfinished(&leader).unwrap();
        assert_eq!(joint, "n2 has not ended the change of voters from [1, 3]");
    }
}
