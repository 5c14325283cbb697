//! Faults: which, when, against whom, and the proof that they bit.
//!
//! [`schedule`] plans kinds and times from a seed alone; targets are chosen when a fault starts, from the plan's seed and
//! what the cluster is like by then. A fault that cannot be (nobody leads, say) is skipped with the reason; one that did
//! not bite is held a little longer. Either is tried again as long as there is time, so that a run's coverage is no
//! matter of luck.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use history_checker::history::Fault;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

pub use self::course::Course;
pub use self::disk_kind::DiskFault;
pub use self::kind::{Kind, Lane, UnknownKind};
pub use self::link_fault::LinkFault;
pub use self::moment::{Moment, UnknownMoment};

use self::attack::{Attack, Scope};
use self::moment::{Cue, Deed};
use self::schedule::{Planned, Schedule};
use crate::cluster::{Cluster, Error, Event, NodeId, Recorder, Status, View};

mod attack;
mod client_block;
mod clock;
mod course;
mod disk;
mod disk_kind;
mod disk_peers;
mod kill;
mod kind;
mod link_fault;
mod members;
mod moment;
mod partition;
mod pause;
mod quorum;
pub mod schedule;
mod terminate;
mod wires;
mod words;

/// Between two faults of a lane there is at least so much time, even if the first took longer than planned.
const GAP_MIN: Duration = Duration::from_millis(200);

/// How often a fault is tried until it bites.
const ATTEMPTS_MAX: u32 = 4;

/// How long a fault waits for a leader to choose its targets by.
const LEADER_PATIENCE: Duration = Duration::from_secs(1);

/// How often it is looked at whether a fault bites that has not by its planned end.
const BITE_EVERY: Duration = Duration::from_millis(20);

/// Inflicts faults on a cluster.
pub struct Nemesis {
    cluster: Arc<Cluster>,
    recorder: Arc<dyn Recorder>,
    /// Faults that have begun and not ended: what [`Nemesis::heal_all`] must undo if [`Nemesis::run`] was cancelled.
    active: Mutex<BTreeMap<u64, Active>>,
    /// What is being done so that a moment comes: each with its end, as it will be recorded.
    deeds: Mutex<BTreeMap<u64, (Kind, Fault)>>,
    /// Nodes whose disks were damaged.
    damaged: Mutex<BTreeSet<NodeId>>,
    next: AtomicU64,
    /// Whether some nodes may be no members, or have no vote.
    has_changed_members: AtomicBool,
}

/// A fault that has begun.
#[derive(Clone)]
struct Active {
    kind: Kind,
    attack: Attack,
}

impl Nemesis {
    /// Does nothing yet.
    pub fn new(cluster: Arc<Cluster>, recorder: Arc<dyn Recorder>) -> Nemesis {
        Nemesis {
            cluster,
            recorder,
            active: Mutex::default(),
            deeds: Mutex::default(),
            damaged: Mutex::default(),
            next: AtomicU64::new(1),
            has_changed_members: AtomicBool::new(false),
        }
    }

    /// Inflicts the faults of a schedule; its times count from now. Returns when all have ended, or soon after `stop`
    /// becomes true or its sender is gone. May be cancelled; then, [`Nemesis::heal_all`] ends what has begun.
    pub async fn run(&self, schedule: &Schedule, stop: watch::Receiver<bool>) {
        for kind in &schedule.left_out {
            let needs = format!("it takes {} nodes", kind.nodes_min());
            self.record_skipped(*kind, self.number(), &needs);
        }
        let origin = Instant::now();
        let lane = |planned| Box::pin(self.run_lane(planned, schedule, origin, stop.clone()));
        tokio::join!(
            lane(&schedule.process),
            lane(&schedule.network),
            lane(&schedule.flow),
            lane(&schedule.frames),
            lane(&schedule.disk),
            lane(&schedule.cluster),
        );
    }

    /// Ends all faults and makes everything work again, whatever state it is in. May be called again and again; tries
    /// everything before it reports what did not work.
    pub async fn heal_all(&self) -> Result<(), Error> {
        let active: Vec<u64> = self.active().keys().copied().collect();
        for fault in active {
            self.end(fault).await;
        }
        let deeds: Vec<u64> = self.deeds().keys().copied().collect();
        for deed in deeds {
            self.end_deed(deed, 0);
        }
        self.cluster.restore().await?;
        if self.has_changed_members.load(Ordering::Relaxed)
            && let Err(why) = members::reunite(&self.cluster, &AtomicU64::new(0)).await
        {
            // The wait for recovery will say what that led to.
            tracing::warn!(why, "not all nodes have their votes back");
        }
        Ok(())
    }

    /// The faults that go on now, in words.
    pub fn active_faults(&self) -> Vec<String> {
        self.active().values().map(|active| active.attack.text.clone()).collect()
    }

    async fn run_lane(
        &self,
        planned: &[Planned],
        schedule: &Schedule,
        origin: Instant,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut queue: VecDeque<(Planned, u32)> =
            planned.iter().map(|planned| (planned.clone(), 1)).collect();
        let mut free = origin;
        while let Some((planned, attempt)) = queue.pop_front() {
            if until(free.max(origin + planned.start), &mut stop).await {
                return;
            }
            if Instant::now() + planned.duration > origin + schedule.end {
                continue;
            }
            let bit = self.inflict(&planned, schedule, &mut stop).await;
            if !bit && attempt < ATTEMPTS_MAX {
                let seed = planned.seed.wrapping_add(1);
                queue.push_front((Planned { seed, ..planned }, attempt + 1));
            }
            free = Instant::now() + GAP_MIN;
        }
    }

    /// One fault, from the moment that it waits for. Whether it bit.
    async fn inflict(
        &self,
        planned: &Planned,
        schedule: &Schedule,
        stop: &mut watch::Receiver<bool>,
    ) -> bool {
        let Some(moment) = planned.moment else {
            return self.inflict_now(planned, schedule, self.number(), stop).await;
        };
        if moment == Moment::MemberChange {
            self.has_changed_members.store(true, Ordering::Relaxed);
        }
        let (first, fault) = (self.number(), self.number());
        let came = tokio::select! {
            came = self.bring_about(moment, planned, first, fault) => came,
            () = stopped(stop) => {
                self.end_deed(first, 0);
                return false;
            }
        };
        if let Err(why) = came {
            self.record_skipped(planned.kind, fault, &why);
            return false;
        }
        let bit = self.inflict_now(planned, schedule, fault, stop).await;
        if moment == Moment::MemberChange {
            // Otherwise every such moment would cost a member.
            let changes = AtomicU64::new(0);
            tokio::select! {
                _ = members::reunite(&self.cluster, &changes) => {}
                () = stopped(stop) => {}
            }
        }
        bit
    }

    /// Waits for the moment of `fault`, and does what leads to it, which is a fault itself: `first`. An error if it did not
    /// come.
    async fn bring_about(
        &self,
        moment: Moment,
        planned: &Planned,
        first: u64,
        fault: u64,
    ) -> Result<(), String> {
        let missed = |why: String| format!("the moment {moment} did not come{why}");
        let mut rng = StdRng::seed_from_u64(planned.seed);
        let cue = Cue::choose(moment, &self.cluster, &mut rng);
        let cue = cue.ok_or_else(|| missed(": nobody leads".to_owned()))?;
        let Some(Deed { kind, nodes, text, unit }) = cue.deed(&self.cluster) else {
            let came =
                cue.bring_about(&self.cluster).await.map_err(|why| missed(format!(": {why}")));
            return came?.about.map(drop).ok_or_else(|| missed(String::new()));
        };
        let deed = Fault { fault: first, nodes, text, ..Fault::default() };
        let (phase, outcome) = ("start".to_owned(), "installed".to_owned());
        self.record(kind, Fault { phase, outcome, leads_to: Some(fault), ..deed.clone() });
        let (phase, unit) = ("stop".to_owned(), unit.to_owned());
        self.deeds().insert(first, (kind, Fault { phase, unit, ..deed }));
        let came = cue.bring_about(&self.cluster).await;
        self.end_deed(first, came.as_ref().map_or(0, |came| came.done));
        came.map_err(|why| missed(format!(": {why}")))?
            .about
            .map(drop)
            .ok_or_else(|| missed(String::new()))
    }

    /// What was done so that a moment comes is over, if it had begun.
    fn end_deed(&self, deed: u64, proof: u64) {
        let ended = self.deeds().remove(&deed);
        if let Some((kind, stop)) = ended {
            self.record(kind, Fault { proof, ..stop });
        }
    }

    /// One fault, from its start to its end. Whether it bit.
    async fn inflict_now(
        &self,
        planned: &Planned,
        schedule: &Schedule,
        fault: u64,
        stop: &mut watch::Receiver<bool>,
    ) -> bool {
        let leader = tokio::select! {
            leader = self.leader() => leader,
            () = stopped(stop) => return false,
        };
        if planned.kind.is_damage() {
            let recovered = tokio::select! {
                recovered = self.recovered() => recovered,
                () = stopped(stop) => return false,
            };
            if let Err(why) = recovered {
                self.record_skipped(planned.kind, fault, &why);
                return false;
            }
        }
        let out_max = schedule.out_max;
        let scope = Scope { view: &self.cluster.view().borrow().clone(), leader, out_max };
        let chosen = Attack::choose(planned, &scope);
        let bearable = chosen.and_then(|attack| {
            let is_bearable = !schedule.quorum_safe || self.leaves_quorum(&attack, scope.view);
            if is_bearable { Ok(attack) } else { Err("no majority would be left alone".to_owned()) }
        });
        // Nothing else happens between the choice and its entry among the active ones.
        let mut attack = match bearable {
            Ok(attack) => attack,
            Err(why) => {
                self.record_skipped(planned.kind, fault, &why);
                return false;
            }
        };
        if let Some(moment) = planned.moment {
            attack.text = format!("{} at {moment}", attack.text);
        }
        self.begin(fault, planned, attack).await;
        let end = Instant::now() + planned.duration;
        let active = self.active().get(&fault).cloned();
        let work = async {
            if let Some(active) = active {
                active.attack.work(&self.cluster).await;
            }
            // What has come to an end by itself is over when its time is.
            std::future::pending::<()>().await;
        };
        let stopped = tokio::select! {
            stopped = until(end, stop) => stopped,
            () = work => false,
        };
        if !stopped {
            self.await_bite(fault, end + planned.duration, stop).await;
        }
        self.end(fault).await > 0
    }

    /// Whether a majority would be left alone by everything that goes on, and this, too.
    fn leaves_quorum(&self, attack: &Attack, view: &View) -> bool {
        let mut all = attack.burden();
        for active in self.active().values() {
            all.add(active.attack.burden());
        }
        let out = view.nodes.iter().filter(|(_, node)| node.status != Status::Up);
        all.out.extend(out.map(|(node, _)| *node));
        all.out.extend(self.damaged().iter().copied());
        let nodes: Vec<NodeId> = view.nodes.keys().copied().collect();
        all.leaves_quorum(&nodes)
    }

    /// Whether the cluster can bear that a disk is damaged.
    async fn recovered(&self) -> Result<(), String> {
        let damaged = self.damaged().clone();
        disk_peers::await_recovery(&self.cluster, &damaged).await?;
        self.damaged().clear();
        Ok(())
    }

    async fn leader(&self) -> Option<u64> {
        let probe = |view: &View| view.leader().ok_or("nobody leads");
        let found = self.cluster.wait_until("a leader", LEADER_PATIENCE, probe).await;
        found.ok().map(|(node, _)| node)
    }

    async fn begin(&self, fault: u64, planned: &Planned, mut attack: Attack) {
        let kind = planned.kind;
        let start = Fault {
            phase: "start".to_owned(),
            fault,
            nodes: attack.nodes.clone(),
            text: attack.text.clone(),
            outcome: "installed".to_owned(),
            plan: Some(planned.recorded()),
            ..Fault::default()
        };
        self.record(kind, start);
        if attack.changes_members() {
            self.has_changed_members.store(true, Ordering::Relaxed);
        }
        if kind.is_damage() {
            self.damaged().extend(&attack.nodes);
        }
        // Before anything is done, so that it is undone even if this is cancelled on the way.
        self.active().insert(fault, Active { kind, attack: attack.clone() });
        if let Err(error) = attack.install(&self.cluster).await {
            tracing::warn!(%kind, %error, "a fault was not installed as it should be");
        }
        self.active().insert(fault, Active { kind, attack });
    }

    /// Waits until a fault has proved that it bites, but no longer than `deadline`.
    async fn await_bite(&self, fault: u64, deadline: Instant, stop: &mut watch::Receiver<bool>) {
        loop {
            let active = self.active().get(&fault).cloned();
            let bites = match active {
                Some(active) => active.attack.bites(&self.cluster).await,
                None => true,
            };
            let now = Instant::now();
            if bites || now >= deadline || until(now + BITE_EVERY, stop).await {
                return;
            }
        }
    }

    /// Undoes a fault; returns its proof.
    async fn end(&self, fault: u64) -> u64 {
        let Some(Active { kind, attack }) = self.active().get(&fault).cloned() else {
            return 0;
        };
        let (proof, outcome) = attack.remove(&self.cluster).await;
        if let Err(error) = outcome {
            // The history has it if a node is to blame, and healing tries again and reports.
            tracing::warn!(%kind, %error, "a fault was not removed as it should be");
        }
        // Only now, so that it is undone even if this is cancelled on the way.
        self.active().remove(&fault);
        let stop = Fault {
            phase: "stop".to_owned(),
            fault,
            nodes: attack.nodes.clone(),
            text: attack.text.clone(),
            outcome: String::new(),
            proof,
            unit: attack.unit().to_owned(),
            plan: None,
            leads_to: None,
        };
        self.record(kind, stop);
        proof
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn active(&self) -> MutexGuard<'_, BTreeMap<u64, Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deeds(&self) -> MutexGuard<'_, BTreeMap<u64, (Kind, Fault)>> {
        self.deeds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn damaged(&self) -> MutexGuard<'_, BTreeSet<NodeId>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record_skipped(&self, kind: Kind, fault: u64, why: &str) {
        let skipped = Fault {
            phase: "start".to_owned(),
            fault,
            text: kind.name().to_owned(),
            outcome: format!("skipped: {why}"),
            ..Fault::default()
        };
        self.record(kind, skipped);
    }

    fn record(&self, kind: Kind, fault: Fault) {
        let at = std::time::Instant::now();
        self.recorder.record(at, Event::Fault { f: kind.name(), fault });
    }
}

/// Waits until `end`, but no longer than until `stop`. Whether it was stopped.
async fn until(end: Instant, stop: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        biased;
        () = stopped(stop) => true,
        () = sleep_until(end) => false,
    }
}

/// Waits until it is time to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // If the sender is gone, so is whoever wanted faults.
    drop(stop.wait_for(|stop| *stop).await);
}
