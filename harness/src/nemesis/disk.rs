//! Faults of disks. Proof: what was lost of what nobody had synced, what was damaged, errors returned, time that syncs
//! took longer.
//!
//! Power may fail on any number of nodes: a correct node loses nothing that it promised. Damage is another matter: it
//! hits one node at a time, and the next one only when all have recovered (see [`super::disk_peers`]).

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

use super::attack::{Scope, aimed};
use super::disk_kind::DiskFault;
use super::schedule::Planned;
use super::words;
use crate::cluster::wait::wait_for;
use crate::cluster::{Cluster, Error, NodeId};
use crate::disk::{Blow, Harm, Operation, Survival, Trouble};

/// How long the power waits until somebody has something to lose.
const STAKE_PATIENCE: Duration = Duration::from_millis(300);

/// How long a node that is back may take to make something durable.
const RETURN_PATIENCE: Duration = Duration::from_secs(2);

/// How many fsyncs there are to be after a node is back: what it found on its disk lies well behind what it has added.
const SYNCS_AFTER_RETURN: u64 = 5;

/// How much longer a slow disk takes for an fsync, milliseconds.
const SLOWER_MS: [u64; 2] = [20, 200];

/// A fault of disks against chosen nodes.
#[derive(Clone, Debug)]
pub(super) struct Assault {
    fault: DiskFault,
    nodes: Vec<NodeId>,
    means: Means,
    /// What came of it, as far as it is known before the end.
    proof: u64,
}

#[derive(Clone, Debug)]
enum Means {
    /// The nodes are killed, and this is done to their disks.
    Strike { blow: Blow, seed: u64 },
    /// Operations go wrong.
    Trouble { trouble: Trouble, around: Around },
}

/// What else happens to a node whose disk is in trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Around {
    Nothing,
    /// It is killed and started again in the midst of it: it reads at its start only.
    Restart,
    /// Its power fails at the end: who went on although nothing became durable has nothing of it then.
    PowerLoss,
    /// The same, but it comes back before and goes on: on what it found, which need not be what the disk has (Rebello et
    /// al., ATC 2020).
    ReturnAndPowerLoss,
}

impl Assault {
    /// Chooses targets and means; says in words what it will be, or why it cannot be.
    pub(super) fn choose(
        fault: DiskFault,
        planned: &Planned,
        scope: &Scope<'_>,
        up: &[NodeId],
        rng: &mut StdRng,
    ) -> Result<(Assault, String), String> {
        let (means, text) = means(fault, rng);
        let nodes = targets(fault, planned, scope, up, rng)?;
        let text = format!("{text} {}", words::list(&nodes, scope.leader));
        Ok((Assault { fault, nodes, means, proof: 0 }, text))
    }

    /// The nodes it is about.
    pub(super) fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// What its proof counts.
    pub(super) fn unit(&self) -> &'static str {
        self.fault.unit()
    }

    /// Does it.
    pub(super) async fn install(&mut self, cluster: &Cluster) -> Result<(), Error> {
        match self.means {
            Means::Strike { blow, seed } => self.strike(cluster, blow, seed).await,
            Means::Trouble { trouble, around } => self.trouble(cluster, trouble, around).await,
        }
    }

    /// Whether it has had an effect already, or never will.
    pub(super) fn bites(&self, cluster: &Cluster) -> bool {
        matches!(self.means, Means::Strike { .. }) || self.effect(cluster) > 0
    }

    /// Undoes it; returns the proof of its effect.
    pub(super) async fn remove(&self, cluster: &Cluster) -> (u64, Result<(), Error>) {
        let effect = self.effect(cluster);
        let struck = match self.means {
            Means::Trouble { around: Around::PowerLoss, .. } => self.lose_power(cluster).await,
            Means::Trouble { around: Around::ReturnAndPowerLoss, .. } => {
                let returned = self.let_return(cluster).await;
                returned.and(self.lose_power(cluster).await)
            }
            Means::Trouble { around: Around::Nothing | Around::Restart, .. }
            | Means::Strike { .. } => Ok(()),
        };
        for disk in self.nodes.iter().filter_map(|node| cluster.disk(*node)) {
            disk.relieve();
            disk.thaw();
        }
        (self.proof + effect, cluster.start_nodes(&self.nodes).await.and(struck))
    }

    async fn lose_power(&self, cluster: &Cluster) -> Result<(), Error> {
        let mut outcome = Ok(());
        for node in &self.nodes {
            let blow = Blow::LosePower(Survival::Nothing);
            outcome = outcome.and(cluster.strike(*node, blow, 0).await.map(drop));
        }
        outcome
    }

    /// The trouble is over; waits until the nodes have made something durable since.
    async fn let_return(&self, cluster: &Cluster) -> Result<(), Error> {
        let disks: Vec<_> = self.nodes.iter().filter_map(|node| cluster.disk(*node)).collect();
        for disk in &disks {
            disk.relieve();
        }
        cluster.start_nodes(&self.nodes).await?;
        let before: Vec<u64> = disks.iter().map(|disk| disk.syncs()).collect();
        let probe = async || {
            let mut pairs = disks.iter().zip(&before);
            let has_all = pairs.all(|(disk, before)| disk.syncs() >= before + SYNCS_AFTER_RETURN);
            if has_all { Ok(()) } else { Err("some are silent".to_owned()) }
        };
        // A node that is cut off writes nothing, and loses nothing.
        if let Err(error) = wait_for("the nodes to write again", RETURN_PATIENCE, probe).await {
            tracing::debug!(%error, "the power fails all the same");
        }
        Ok(())
    }

    async fn strike(&mut self, cluster: &Cluster, blow: Blow, seed: u64) -> Result<(), Error> {
        if matches!(blow, Blow::LosePower(_)) {
            self.await_stakes(cluster).await;
        }
        let mut outcome = Ok(());
        for (node, seed) in self.nodes.iter().zip(seed..) {
            match cluster.strike(*node, blow, seed).await {
                Ok(harm) => self.proof += proof(self.fault, &harm),
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    /// Nothing becomes durable on any of the nodes from one moment on: that is when the power fails. Waits until all of
    /// them have written something that they want to be durable.
    async fn await_stakes(&self, cluster: &Cluster) {
        let up = cluster.view().borrow().with_status(crate::cluster::Status::Up);
        let disks: Vec<_> = self.nodes.iter().filter_map(|node| cluster.disk(*node)).collect();
        let writing: Vec<_> = self
            .nodes
            .iter()
            .filter(|node| up.contains(node))
            .filter_map(|node| cluster.disk(*node))
            .collect();
        for disk in disks {
            disk.freeze();
        }
        let probe = async || {
            let missing = writing.iter().filter(|disk| !disk.is_at_stake()).count();
            if missing == 0 { Ok(()) } else { Err(format!("{missing} write nothing")) }
        };
        // Whoever has nothing to lose loses nothing.
        if let Err(error) = wait_for("every node to write", STAKE_PATIENCE, probe).await {
            tracing::debug!(%error, "the power fails all the same");
        }
    }

    async fn trouble(
        &self,
        cluster: &Cluster,
        trouble: Trouble,
        around: Around,
    ) -> Result<(), Error> {
        let restart = around == Around::Restart;
        if restart {
            for node in &self.nodes {
                cluster.kill(*node).await?;
            }
        }
        for disk in self.nodes.iter().filter_map(|node| cluster.disk(*node)) {
            disk.trouble(trouble);
        }
        if restart && let Err(error) = cluster.start_nodes(&self.nodes).await {
            tracing::debug!(%error, "a node does not start from a disk that fails, as it should be");
        }
        Ok(())
    }

    fn effect(&self, cluster: &Cluster) -> u64 {
        let effects = self.nodes.iter().filter_map(|node| cluster.disk(*node));
        effects
            .map(|disk| disk.effect())
            .map(|effect| match self.fault {
                DiskFault::IoError | DiskFault::DiskFull => effect.errors,
                DiskFault::SlowDisk | DiskFault::StuckDisk => effect.delay_ms,
                DiskFault::PowerLoss
                | DiskFault::PowerLossAll
                | DiskFault::TornWrite
                | DiskFault::LostPages
                | DiskFault::BitFlip
                | DiskFault::Truncate
                | DiskFault::Wipe => 0,
            })
            .sum()
    }
}

/// What a blow proves.
fn proof(fault: DiskFault, harm: &Harm) -> u64 {
    if fault.is_damage() {
        return harm.damage;
    }
    // If nothing of it is there, it was not torn.
    let is_whole = fault == DiskFault::TornWrite && harm.loss.kept_bytes == 0;
    if is_whole { 0 } else { harm.loss.lost_bytes + harm.loss.lost_names }
}

fn means(fault: DiskFault, rng: &mut StdRng) -> (Means, String) {
    let seed = rng.random();
    let strike = |blow, text: &str| (Means::Strike { blow, seed }, text.to_owned());
    let around = Around::Nothing;
    let trouble = |trouble, text: String| (Means::Trouble { trouble, around }, text);
    match fault {
        DiskFault::PowerLoss | DiskFault::PowerLossAll => {
            strike(Blow::LosePower(Survival::Nothing), "power loss of")
        }
        DiskFault::TornWrite => {
            strike(Blow::LosePower(Survival::Beginning), "power loss amid a write of")
        }
        DiskFault::LostPages => {
            strike(Blow::LosePower(Survival::SomePages), "power loss with some pages written of")
        }
        DiskFault::BitFlip => strike(Blow::FlipBits, "bits turn on"),
        DiskFault::Truncate => strike(Blow::Truncate, "a file is cut on"),
        DiskFault::Wipe => strike(Blow::Wipe, "wipe"),
        DiskFault::IoError => io_error(rng),
        DiskFault::DiskFull => trouble(Trouble::Full, "disk full on".to_owned()),
        DiskFault::SlowDisk => {
            let [least, most] = SLOWER_MS;
            let ms = rng.random_range(least..=most);
            let text = format!("fsync takes {ms} ms longer on");
            trouble(Trouble::SlowSync(Duration::from_millis(ms)), text)
        }
        DiskFault::StuckDisk => trouble(Trouble::StuckSync, "fsync does not return on".to_owned()),
    }
}

fn io_error(rng: &mut StdRng) -> (Means, String) {
    // Files are not made as often as they are read and written.
    let (operation, name) = match rng.random_range(0..7) {
        0 | 1 => (Operation::Read, "a read"),
        2 | 3 => (Operation::Write, "a write"),
        4 | 5 => (Operation::Sync, "an fsync"),
        _ => (Operation::Create, "the making of a file"),
    };
    let once = rng.random();
    let often = if once { "fails once" } else { "always fails" };
    let (around, then) = match operation {
        Operation::Read => (Around::Restart, ""),
        Operation::Sync if rng.random() => {
            (Around::ReturnAndPowerLoss, ", and the power once it is back,")
        }
        Operation::Sync => (Around::PowerLoss, ", and then the power,"),
        Operation::Write | Operation::Create => (Around::Nothing, ""),
    };
    let means = Means::Trouble { trouble: Trouble::Fail { operation, once }, around };
    (means, format!("{name} {often}{then} on"))
}

fn targets(
    fault: DiskFault,
    planned: &Planned,
    scope: &Scope<'_>,
    up: &[NodeId],
    rng: &mut StdRng,
) -> Result<Vec<NodeId>, String> {
    let all: Vec<NodeId> = scope.view.nodes.keys().copied().collect();
    let majority = all.len() / 2 + 1;
    let count = match fault {
        DiskFault::PowerLossAll => return Ok(all),
        DiskFault::BitFlip
        | DiskFault::Truncate
        | DiskFault::Wipe
        | DiskFault::IoError
        | DiskFault::StuckDisk => 1,
        DiskFault::PowerLoss
        | DiskFault::TornWrite
        | DiskFault::LostPages
        | DiskFault::DiskFull
        | DiskFault::SlowDisk => {
            if rng.random() {
                majority
            } else {
                1
            }
        }
    };
    aimed(planned, scope, up, count, rng)
}
