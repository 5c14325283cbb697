//! Faults that go on by themselves: not a state that the cluster is put into, but something that is done to it again and
//! again until the time is up. Proof: how often it was done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;

use super::attack::{Scope, victims};
use super::kind::Lane;
use super::partition::front;
use super::quorum::Burden;
use super::schedule::{Aim, Planned};
use super::wires::{Blocked, Wire};
use super::{clock, members, moment, words};
use crate::cluster::proxy::Mode;
use crate::cluster::{Cluster, Error, NodeId};

/// For how long a starved node is stopped, and for how long it runs in between, milliseconds.
const STARVED_MS: std::ops::RangeInclusive<u64> = 20..=90;
const FED_MS: std::ops::RangeInclusive<u64> = 3..=15;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Course {
    /// One node after the other is ended and started.
    RollingRestart,
    /// One node after the other is replaced by one of another build, or of its own again.
    Upgrade,
    /// One node is killed and started again and again.
    RestartStorm,
    /// One node gets little of the processor.
    Starve,
    /// Whoever becomes leader is killed at that moment.
    KillNewLeader,
    /// A node is killed when it has just begun or said something.
    KillAtMoment,
    /// A node's time passes faster or slower than the others'.
    ClockRate,
    /// A node's clock is set forward and back.
    ClockStep,
    /// A node's clock jumps to and fro.
    ClockStrobe,
    /// Leaders hand over.
    Transfer,
    /// Nodes write snapshots.
    Snapshot,
    /// Members leave and come back.
    SwapMember,
    /// A follower is cut off until the log does not reach back to what it has.
    CutUntilSnapshot,
}

impl Course {
    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Course::RollingRestart => "rolling-restart",
            Course::Upgrade => "upgrade",
            Course::RestartStorm => "restart-storm",
            Course::Starve => "starve",
            Course::KillNewLeader => "kill-new-leader",
            Course::KillAtMoment => "kill-at-moment",
            Course::ClockRate => "clock-rate",
            Course::ClockStep => "clock-step",
            Course::ClockStrobe => "clock-strobe",
            Course::Transfer => "transfer",
            Course::Snapshot => "snapshot",
            Course::SwapMember => "swap-member",
            Course::CutUntilSnapshot => "cut-until-snapshot",
        }
    }

    pub(super) fn describe(self) -> &'static str {
        match self {
            Course::RollingRestart => "SIGTERM and restart, one node after the other",
            Course::Upgrade => {
                "nodes go over to the build of --upgrade-to, one by one, and then back"
            }
            Course::RestartStorm => "one node is killed and started again and again",
            Course::Starve => "one node gets little CPU time: SIGSTOP and SIGCONT in quick turns",
            Course::KillNewLeader => {
                "the leader is killed, and then whoever becomes leader, at once"
            }
            Course::KillAtMoment => {
                "kills amid a snapshot or a change of members, at a leader's first ack, at the nth message"
            }
            Course::ClockRate => {
                "a node's clock runs fast or slow; with leases, within what they allow for"
            }
            Course::ClockStep => {
                "a node's clock is set seconds forward and back; with leases, only its time of day"
            }
            Course::ClockStrobe => {
                "a node's clock jumps to and fro every few ms; with leases, only its time of day"
            }
            Course::Transfer => "leadership is handed over again and again",
            Course::Snapshot => "all nodes are told to write snapshots again and again",
            Course::SwapMember => "members leave, come back as learners, and get their votes back",
            Course::CutUntilSnapshot => {
                "a follower is cut off until it needs a snapshot, and gets one"
            }
        }
    }

    pub(super) fn lane(self) -> Lane {
        match self {
            Course::RollingRestart
            | Course::Upgrade
            | Course::RestartStorm
            | Course::Starve
            | Course::KillNewLeader
            | Course::KillAtMoment
            | Course::ClockRate
            | Course::ClockStep
            | Course::ClockStrobe => Lane::Process,
            Course::Transfer | Course::Snapshot | Course::SwapMember | Course::CutUntilSnapshot => {
                Lane::Cluster
            }
        }
    }

    pub(super) fn nodes_min(self) -> u64 {
        match self {
            Course::RollingRestart
            | Course::Upgrade
            | Course::RestartStorm
            | Course::Starve
            | Course::ClockRate
            | Course::ClockStep
            | Course::ClockStrobe
            | Course::Snapshot => 1,
            Course::Transfer => 2,
            Course::KillNewLeader
            | Course::KillAtMoment
            | Course::SwapMember
            | Course::CutUntilSnapshot => 3,
        }
    }

    pub(super) fn unit(self) -> &'static str {
        match self {
            Course::RollingRestart => "processes restarted",
            Course::Upgrade => "processes of the other build",
            Course::RestartStorm => "processes killed",
            Course::Starve => "ms stopped",
            Course::KillNewLeader => "new leaders killed",
            Course::KillAtMoment => "processes killed at a moment",
            Course::ClockRate | Course::ClockStep | Course::ClockStrobe => "ms ahead or behind",
            Course::Transfer => "transfers",
            Course::Snapshot => "snapshots written",
            Course::SwapMember => "changes of members",
            Course::CutUntilSnapshot => "snapshots installed",
        }
    }
}

/// A course against chosen nodes.
#[derive(Clone, Debug)]
pub(super) struct Running {
    course: Course,
    nodes: Vec<NodeId>,
    seed: u64,
    /// Shared by all copies.
    done: Arc<AtomicU64>,
    /// What keeps a follower off.
    blocked: Option<Blocked>,
    /// Snapshots that it had installed before.
    installed: u64,
}

impl Running {
    /// Chooses nodes; says in words what it will be, or why it cannot be.
    pub(super) fn choose(
        course: Course,
        planned: &Planned,
        scope: &Scope<'_>,
        up: &[NodeId],
        rng: &mut StdRng,
    ) -> Result<(Running, String), String> {
        let one = Planned { count: 1, ..planned.clone() };
        let mut nodes = match course {
            Course::RestartStorm
            | Course::Starve
            | Course::ClockRate
            | Course::ClockStep
            | Course::ClockStrobe => victims(&one, scope, up, rng)?,
            Course::SwapMember => {
                let first = scope.leader.filter(|_| planned.aim == Aim::Leader);
                front(up, first, usize::try_from(planned.count).unwrap_or(1), rng)
            }
            Course::CutUntilSnapshot => {
                let followers: Vec<NodeId> =
                    up.iter().copied().filter(|node| Some(*node) != scope.leader).collect();
                front(&followers, None, 1, rng)
            }
            Course::KillNewLeader => scope.leader.into_iter().collect(),
            Course::RollingRestart
            | Course::Upgrade
            | Course::KillAtMoment
            | Course::Transfer
            | Course::Snapshot => up.to_vec(),
        };
        if nodes.is_empty() {
            return Err(format!("there is no node for it: {}", scope.view));
        }
        if matches!(course, Course::RollingRestart | Course::Upgrade) {
            nodes.shuffle(rng);
        }
        let named = words::list(&nodes, scope.leader);
        let text = match course {
            Course::RollingRestart => format!("restart one by one {named}"),
            Course::Upgrade => format!("change builds one by one: {named}"),
            Course::RestartStorm => format!("kill and start {named} again and again"),
            Course::Starve => format!("little CPU time for {named}"),
            Course::KillNewLeader => format!("kill {named} and whoever leads next"),
            Course::KillAtMoment => "kill at the moment".to_owned(),
            Course::ClockRate => format!("another clock rate for {named}"),
            Course::ClockStep => format!("set the clock of {named} forward and back"),
            Course::ClockStrobe => format!("the clock of {named} jumps to and fro"),
            Course::Transfer => "hand leadership over".to_owned(),
            Course::Snapshot => "have all nodes write snapshots".to_owned(),
            Course::SwapMember if nodes.len() > 1 => format!("{named} leave and come back"),
            Course::SwapMember => format!("{named} leaves and comes back"),
            Course::CutUntilSnapshot => format!("cut {named} off until it needs a snapshot"),
        };
        let seed = rng.random();
        let running =
            Running { course, nodes, seed, done: Arc::default(), blocked: None, installed: 0 };
        Ok((running, text))
    }

    /// Whether some nodes may be no members, or have no vote, when it is over.
    pub(super) fn changes_members(&self) -> bool {
        matches!(self.course, Course::SwapMember | Course::KillAtMoment)
    }

    pub(super) fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    pub(super) fn unit(&self) -> &'static str {
        self.course.unit()
    }

    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    pub(super) fn burden(&self) -> Burden {
        let out = || self.nodes.iter().copied().collect();
        match self.course {
            Course::RestartStorm
            | Course::Starve
            | Course::ClockRate
            | Course::ClockStep
            | Course::ClockStrobe
            | Course::CutUntilSnapshot
            | Course::SwapMember => Burden { out: out(), ..Burden::default() },
            // One at a time, and it is not known which.
            Course::RollingRestart | Course::Upgrade => Burden { roaming: 1, ..Burden::default() },
            // While one is on its way back, the next is killed.
            Course::KillNewLeader | Course::KillAtMoment => {
                Burden { roaming: 2, ..Burden::default() }
            }
            Course::Transfer | Course::Snapshot => Burden::default(),
        }
    }

    pub(super) async fn install(&mut self, cluster: &Cluster) -> Result<(), Error> {
        if self.course == Course::CutUntilSnapshot {
            self.installed = members::snapshots_installed(cluster, self.nodes[0]).await;
            let victim = self.nodes[0];
            let others = cluster.nodes().filter(|node| *node != victim);
            let wires: Vec<Wire> = others
                .flat_map(|node| [Wire::Peer(node, victim), Wire::Peer(victim, node)])
                .collect();
            self.blocked = Some(Blocked::install(cluster, &wires, Mode::Cut).await?);
        }
        Ok(())
    }

    /// Does it until it is cancelled, or there is nothing more to do.
    pub(super) async fn work(&self, cluster: &Cluster) {
        let worked = match self.course {
            Course::RollingRestart => self.restart_all(cluster).await,
            Course::Upgrade => self.change_builds(cluster).await,
            Course::RestartStorm => self.storm(cluster).await,
            Course::Starve => self.starve(cluster).await,
            Course::KillNewLeader => self.kill_new_leaders(cluster).await,
            Course::KillAtMoment => moment::kill_at_moments(self, cluster, self.seed).await,
            Course::ClockRate => clock::run_apart(self, cluster, self.nodes[0], self.seed).await,
            Course::ClockStep | Course::ClockStrobe => {
                let is_strobe = self.course == Course::ClockStrobe;
                clock::set_often(cluster, self.nodes[0], self.seed, is_strobe).await
            }
            Course::Transfer => members::transfer(cluster, &self.done).await,
            Course::Snapshot => members::snapshot(cluster, &self.done).await,
            Course::SwapMember => members::swap(cluster, &self.nodes, &self.done).await,
            Course::CutUntilSnapshot => members::await_compaction(cluster, self.nodes[0]).await,
        };
        if let Err(why) = worked {
            tracing::debug!(course = self.course.name(), %why, "came to an early end");
        }
    }

    /// Makes up for whatever it left undone; returns the proof.
    pub(super) async fn remove(&self, cluster: &Cluster) -> (u64, Result<(), Error>) {
        let outcome = match self.course {
            Course::RollingRestart
            | Course::Upgrade
            | Course::RestartStorm
            | Course::KillNewLeader
            | Course::KillAtMoment => {
                let all: Vec<NodeId> = cluster.nodes().collect();
                let mine = if self.course == Course::RestartStorm { &self.nodes } else { &all };
                cluster.start_nodes(mine).await
            }
            Course::Starve => self.feed(cluster).await,
            Course::ClockRate => clock::set_right(cluster, self.nodes[0]).await,
            Course::ClockStep | Course::ClockStrobe => {
                return clock::prove_and_set_right(cluster, self.nodes[0]).await;
            }
            Course::CutUntilSnapshot => return self.let_back(cluster).await,
            Course::Transfer | Course::Snapshot | Course::SwapMember => Ok(()),
        };
        (self.done(), outcome)
    }

    /// So much is proven by now, and it counts only once.
    pub(super) fn proves(&self, much: u64) {
        self.done.store(much, Ordering::Relaxed);
    }

    pub(super) fn did(&self, many: u64) {
        self.done.fetch_add(many, Ordering::Relaxed);
    }

    async fn restart_all(&self, cluster: &Cluster) -> Result<(), String> {
        for &node in &self.nodes {
            let ended = cluster.terminate(node).await.map_err(|error| error.to_string())?;
            let started = cluster.start_node(node).await;
            if ended.is_some_and(|exit| exit.expected) && started.is_ok() {
                self.did(1);
            }
            // As an operator would: the next one only when this one takes part again.
            members::await_part(cluster, node).await?;
        }
        Ok(())
    }

    /// If all are upgraded already, it goes the other way. A next time goes on where this one is stopped: until then there
    /// are nodes of both builds.
    async fn change_builds(&self, cluster: &Cluster) -> Result<(), String> {
        let text = |error: Error| error.to_string();
        let is_upgraded = !cluster.nodes().all(|node| cluster.is_upgraded(node));
        for &node in &self.nodes {
            if cluster.is_upgraded(node) == is_upgraded {
                continue;
            }
            cluster.set_upgraded(node, is_upgraded).await.map_err(text)?;
            cluster.terminate(node).await.map_err(text)?;
            cluster.start_node(node).await.map_err(text)?;
            self.did(u64::from(cluster.runs_its_build(node)));
            members::await_part(cluster, node).await?;
        }
        Ok(())
    }

    async fn storm(&self, cluster: &Cluster) -> Result<(), String> {
        loop {
            for &node in &self.nodes {
                let killed = cluster.kill(node).await.map_err(|error| error.to_string())?;
                self.did(u64::from(killed));
                cluster.start_node(node).await.map_err(|error| error.to_string())?;
            }
        }
    }

    async fn starve(&self, cluster: &Cluster) -> Result<(), String> {
        let mut rng = StdRng::seed_from_u64(self.seed);
        loop {
            for &node in &self.nodes {
                cluster.pause(node).await.map_err(|error| error.to_string())?;
            }
            sleep(Duration::from_millis(rng.random_range(STARVED_MS))).await;
            self.feed(cluster).await.map_err(|error| error.to_string())?;
            sleep(Duration::from_millis(rng.random_range(FED_MS))).await;
        }
    }

    /// Lets them run; what they were stopped for counts.
    async fn feed(&self, cluster: &Cluster) -> Result<(), Error> {
        for &node in &self.nodes {
            let stopped = cluster.resume(node).await?;
            self.did(u64::try_from(stopped.as_millis()).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    async fn kill_new_leaders(&self, cluster: &Cluster) -> Result<(), String> {
        let mut victim = self.nodes[0];
        let mut term = 0;
        loop {
            if let Some((_, now)) = cluster.leader_hint() {
                term = now.max(term);
            }
            let killed = cluster.kill(victim).await.map_err(|error| error.to_string())?;
            if victim != self.nodes[0] || self.done() > 0 {
                self.did(u64::from(killed));
            }
            cluster.start_node(victim).await.map_err(|error| error.to_string())?;
            (victim, term) = members::await_successor(cluster, term).await?;
        }
    }

    /// Lets the follower back, and waits for what it needs.
    async fn let_back(&self, cluster: &Cluster) -> (u64, Result<(), Error>) {
        let lifted = match &self.blocked {
            Some(blocked) => blocked.remove(cluster).await,
            None => Ok(()),
        };
        let installed = members::await_snapshot(cluster, self.nodes[0], self.installed).await;
        (installed, lifted)
    }
}
