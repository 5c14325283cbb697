//! Which fault when: a pure function of the seed.
//!
//! Lanes overlap: process faults, cuts, two of what happens on links that pass, and disk faults. Within a lane there is one
//! fault at a time.
//! Kinds come in shuffled rounds, so that each is met equally often, whatever the seed:
//!
//! ```text
//! process  ──────[ kill ]────[ pause ]────[ pause ]────[ kill ]───▶
//! network  ────[ring]──[halves]──[one-way]──[bridge]──[isolate…]──▶
//! flow     ─────[ hold ]──[ delay ]──[ half-open ]──[ rate ]──────▶
//! frames   ───[ reorder ]──[ drop ]──[ duplicate ]──[ reset ]─────▶
//!          clean
//! ```

use std::ops::RangeInclusive;
use std::time::Duration;

use history_checker::history::FaultPlan;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use super::kind::{Kind, Lane};
use super::moment::Moment;

/// What to plan for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Kinds of fault; the plan has each of them equally often, within its lane.
    pub kinds: Vec<Kind>,
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Cluster size.
    pub nodes: u64,
    /// From the start of the run to the end of the last fault. The first 1 to 1.5 s are free of faults.
    pub time_limit: Duration,
    /// Most nodes that may be down or paused at a time; [`minority`] by default.
    pub out_max: u64,
    /// Whether a majority must be left alone at every moment.
    pub quorum_safe: bool,
    /// Faults wait for one of these, each for another one; none: they wait for nothing.
    pub moments: Vec<Moment>,
    /// How long each network fault goes on; none: long enough for a deposed leader to notice.
    pub network_fault: Option<Duration>,
}

impl Options {
    /// Never takes a quorum away, as far as processes are concerned.
    pub fn new(kinds: Vec<Kind>, seed: u64, nodes: u64, time_limit: Duration) -> Options {
        let (out_max, moments) = (minority(nodes), Vec::new());
        let (quorum_safe, network_fault) = (false, None);
        Options { kinds, seed, nodes, time_limit, out_max, quorum_safe, moments, network_fault }
    }
}

/// The most nodes that can be out of order without stopping the cluster; but at least one, as nothing would be tested
/// otherwise.
pub fn minority(nodes: u64) -> u64 {
    (nodes.saturating_sub(1) / 2).max(1)
}

/// The faults of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Process faults in order of time; they do not overlap.
    pub process: Vec<Planned>,
    /// Network faults in order of time; they do not overlap.
    pub network: Vec<Planned>,
    /// Disk faults in order of time; they do not overlap.
    pub disk: Vec<Planned>,
    /// What operators do, in order of time; it does not overlap.
    pub cluster: Vec<Planned>,
    /// Faults of when things arrive, in order of time; they do not overlap.
    pub flow: Vec<Planned>,
    /// Faults of what arrives, in order of time; they do not overlap.
    pub frames: Vec<Planned>,
    /// Kinds that make no sense with so few nodes.
    pub left_out: Vec<Kind>,
    /// When the last fault must have ended.
    pub end: Duration,
    /// Most nodes that may be down or paused at a time.
    pub out_max: u64,
    /// Whether a majority must be left alone at every moment: what would not leave one is skipped.
    pub quorum_safe: bool,
}

/// A fault that is to be. Its targets are chosen when it starts, from `seed` and what the cluster is like by then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its kind.
    pub kind: Kind,
    /// When it starts, after the start of the run.
    pub start: Duration,
    /// How long it lasts.
    pub duration: Duration,
    /// Which node it wants.
    pub aim: Aim,
    /// Process faults: how many nodes it hits.
    pub count: u64,
    /// Decides what is left to chance when it starts.
    pub seed: u64,
    /// What it waits for once its time has come; targets are chosen after that.
    pub moment: Option<Moment>,
}

/// Which node a fault wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// The leader, if there is one.
    Leader,
    /// Any.
    Any,
}

/// How long faults of a lane last and how far apart they are, milliseconds.
struct Pace {
    on: RangeInclusive<u64>,
    off: RangeInclusive<u64>,
}

/// Long enough for a new leader, a few elections' worth of progress without the old one, and its return.
const PROCESS: Pace = Pace { on: 1000..=1500, off: 500..=900 };

/// Long enough for a deposed leader to notice; short enough for three rounds of seven kinds in half a minute.
const NETWORK: Pace = Pace { on: 600..=800, off: 300..=450 };

/// A node that lost power is back within a second; one whose disk is stuck must be noticed by the others.
const DISK: Pace = Pace { on: 500..=900, off: 400..=600 };
/// Long enough for a new leader while frames are late or held, so that they come into a later term.
const LINKS: Pace = Pace { on: 800..=1000, off: 280..=350 };

const LANES: [Lane; 6] =
    [Lane::Process, Lane::Network, Lane::Disk, Lane::Flow, Lane::Frames, Lane::Cluster];

/// Faults are never made shorter than this share of their pace, percent; election timeouts must fit in.
const SQUEEZE_MIN: u64 = 50;

impl Planned {
    /// For the history.
    pub(super) fn recorded(&self) -> FaultPlan {
        FaultPlan {
            aim: self.aim.name().to_owned(),
            count: self.count,
            seed: self.seed,
            moment: self.moment.map(|moment| moment.name().to_owned()),
        }
    }
}

impl Aim {
    /// Its name in histories.
    pub fn name(self) -> &'static str {
        match self {
            Aim::Leader => "leader",
            Aim::Any => "any",
        }
    }

    /// The aim of that name.
    pub fn named(name: &str) -> Option<Aim> {
        [Aim::Leader, Aim::Any].into_iter().find(|aim| aim.name() == name)
    }
}

impl Schedule {
    /// These faults and no others; the last of them must have ended by `end`.
    pub fn of(faults: impl IntoIterator<Item = Planned>, end: Duration, nodes: u64) -> Schedule {
        let mut schedule = Schedule { end, out_max: minority(nodes), ..Schedule::default() };
        for planned in faults {
            schedule.lane(planned.kind.lane()).push(planned);
        }
        for lane in LANES {
            schedule.lane(lane).sort_by_key(|planned| planned.start);
        }
        schedule
    }

    fn lane(&mut self, lane: Lane) -> &mut Vec<Planned> {
        match lane {
            Lane::Process => &mut self.process,
            Lane::Network => &mut self.network,
            Lane::Disk => &mut self.disk,
            Lane::Cluster => &mut self.cluster,
            Lane::Flow => &mut self.flow,
            Lane::Frames => &mut self.frames,
        }
    }

    /// All faults, lane by lane.
    pub fn all(&self) -> impl Iterator<Item = &Planned> {
        let Schedule { process, network, flow, frames, disk, cluster, .. } = self;
        process.iter().chain(network).chain(flow).chain(frames).chain(disk).chain(cluster)
    }
}

impl Pace {
    /// An average fault and the pause after it, milliseconds.
    fn slot_ms(&self) -> u64 {
        (self.on.start() + self.on.end() + self.off.start() + self.off.end()) / 2
    }
}

/// Plans a run.
pub fn plan(options: &Options) -> Schedule {
    let (kinds, left_out): (Vec<Kind>, Vec<Kind>) =
        options.kinds.iter().partition(|kind| kind.nodes_min() <= options.nodes);
    let network = options
        .network_fault
        .map_or(NETWORK, |length| Pace { on: ms(length)..=ms(length), ..NETWORK });
    let lane = |lane, pace, stream| {
        let kinds: Vec<Kind> = kinds.iter().copied().filter(|kind| kind.lane() == lane).collect();
        let mut rng = StdRng::seed_from_u64(options.seed.wrapping_mul(4).wrapping_add(stream));
        plan_lane(options, &kinds, pace, &mut rng)
    };
    Schedule {
        process: lane(Lane::Process, &PROCESS, 0),
        network: lane(Lane::Network, &network, 1),
        // Far from the other lanes' streams of all seeds near this one.
        disk: lane(Lane::Disk, &DISK, 1 << 40),
        flow: lane(Lane::Flow, &LINKS, 2),
        frames: lane(Lane::Frames, &LINKS, 3),
        cluster: lane(Lane::Cluster, &PROCESS, 1 << 41),
        left_out,
        end: options.time_limit,
        out_max: options.out_max,
        quorum_safe: options.quorum_safe,
    }
}

fn plan_lane(options: &Options, kinds: &[Kind], pace: &Pace, rng: &mut StdRng) -> Vec<Planned> {
    let limit = ms(options.time_limit);
    let clean = rng.random_range(1000..=1500).min(limit / 4);
    let mut planned: Vec<Planned> = Vec::new();
    if kinds.is_empty() {
        return planned;
    }
    // In a short run, shorter faults, so that each kind is met once.
    let round = u64::try_from(kinds.len()).unwrap_or(u64::MAX).saturating_mul(pace.slot_ms());
    let squeeze = ((limit - clean) * 95 / round).clamp(SQUEEZE_MIN, 100);
    let mut at = clean;
    let mut bag: Vec<Kind> = Vec::new();
    loop {
        let kind = bag.pop().unwrap_or_else(|| {
            bag = kinds.to_vec();
            bag.shuffle(rng);
            bag.pop().unwrap_or(kinds[0])
        });
        let on = rng.random_range(pace.on.clone()) * squeeze / 100;
        let off = rng.random_range(pace.off.clone()) * squeeze / 100;
        if at + on > limit {
            return planned;
        }
        let met = planned.iter().filter(|other| other.kind == kind).count();
        planned.push(Planned {
            kind,
            start: Duration::from_millis(at),
            duration: Duration::from_millis(on),
            // Leaders are what matters most: they get the first fault of a kind, and then every other.
            aim: if met % 2 == 0 { Aim::Leader } else { Aim::Any },
            count: count(options.out_max, rng),
            seed: rng.random(),
            moment: options.moments.choose(rng).copied(),
        });
        at += on + off;
    }
}

/// Mostly one node, sometimes as many as may be.
fn count(out_max: u64, rng: &mut StdRng) -> u64 {
    if rng.random_ratio(1, 4) { rng.random_range(1..=out_max.max(1)) } else { 1 }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::nemesis::{Course, LinkFault};

    fn plan_all(seed: u64, nodes: u64, seconds: u64) -> Schedule {
        plan(&Options::new(Kind::ALL.to_vec(), seed, nodes, Duration::from_secs(seconds)))
    }

    fn count_kinds(schedule: &Schedule) -> BTreeMap<Kind, u64> {
        let mut counts = BTreeMap::new();
        for planned in schedule.all() {
            *counts.entry(planned.kind).or_default() += 1;
        }
        counts
    }

    /// What most workloads use.
    fn usual() -> Vec<Kind> {
        let rare = [
            Kind::PartialMesh,
            Kind::Thirds,
            Kind::OneWayLink,
            Kind::LoseLink,
            Kind::KeepOne,
            Kind::BlockPeer,
        ];
        let is_usual = |kind: &Kind| match kind.lane() {
            Lane::Process => matches!(kind, Kind::Kill | Kind::Pause),
            Lane::Disk | Lane::Cluster => false,
            Lane::Network | Lane::Flow | Lane::Frames => !rare.contains(kind),
        };
        Kind::ALL.into_iter().filter(is_usual).collect()
    }

    /// Each kind is planned so often, whatever the seed, and there is room to repeat some.
    fn check_coverage(kinds: &[Kind], seconds: u64, times: u64) {
        for seed in 0..1000 {
            let limit = Duration::from_secs(seconds);
            let counts = count_kinds(&plan(&Options::new(kinds.to_vec(), seed, 5, limit)));
            assert_eq!(counts.len(), kinds.len(), "seed {seed}: {counts:?}");
            assert!(counts.values().all(|count| *count >= times), "seed {seed}: {counts:?}");
        }
    }

    #[test]
    fn half_a_minute_has_each_kind_three_times_of_all_nearly_twice() {
        check_coverage(&usual(), 30, 3);
        check_coverage(&Kind::ALL, 58, 2);
    }

    #[test]
    fn twenty_seconds_have_each_kind_twice_of_all_nearly_once() {
        check_coverage(&usual(), 20, 2);
        check_coverage(&Kind::ALL, 29, 1);
    }

    #[test]
    fn six_seconds_have_each_kind_once() {
        check_coverage(&usual(), 6, 1);
    }

    #[test]
    fn faults_of_a_lane_do_not_overlap_and_end_in_time() {
        for seed in 0..1000 {
            let schedule = plan_all(seed, 5, 1 + seed % 60);
            let Schedule { process, network, flow, frames, disk, cluster, .. } = &schedule;
            for lane in [process, network, flow, frames, disk, cluster] {
                for pair in lane.windows(2) {
                    assert!(pair[0].start + pair[0].duration < pair[1].start, "seed {seed}");
                }
                if let Some(last) = lane.last() {
                    assert!(last.start + last.duration <= schedule.end, "seed {seed}");
                }
            }
        }
    }

    #[test]
    fn first_fault_comes_after_clean_traffic() {
        for seed in 0..1000 {
            let schedule = plan_all(seed, 5, 30);
            let lanes = [&schedule.process, &schedule.network, &schedule.disk];
            let first = lanes.map(|lane| lane[0].start).into_iter().min().unwrap();
            assert!((1000..=1500).contains(&ms(first)), "seed {seed}: {first:?}");
        }
    }

    #[test]
    fn lanes_overlap() {
        let schedule = plan_all(1, 5, 30);
        let overlap = |a: &Planned, b: &Planned| {
            a.start < b.start + b.duration && b.start < a.start + a.duration
        };
        assert!(schedule.process.iter().any(|a| schedule.network.iter().any(|b| overlap(a, b))));
    }

    #[test]
    fn same_seed_gives_the_same_plan_and_another_seed_another() {
        assert_eq!(plan_all(7, 5, 30), plan_all(7, 5, 30));
        assert_ne!(plan_all(7, 5, 30), plan_all(8, 5, 30));
    }

    #[test]
    fn faults_wait_for_each_moment_and_without_any_the_plan_is_the_same() {
        let options = Options::new(vec![Kind::Kill, Kind::Halves], 7, 5, Duration::from_mins(1));
        let calm = plan(&options);
        assert!(calm.all().all(|planned| planned.moment.is_none()));
        let eager = plan(&Options { moments: Moment::ALL.to_vec(), ..options });
        let met: std::collections::BTreeSet<_> =
            eager.all().filter_map(|planned| planned.moment).collect();
        assert_eq!(met.len(), Moment::ALL.len());
        assert_eq!(Moment::ALL.map(|moment| moment.name().parse()), Moment::ALL.map(Ok));
    }

    #[test]
    fn leaders_get_at_least_every_other_process_fault() {
        for seed in 0..1000 {
            let schedule = plan_all(seed, 5, 30);
            let at_leader =
                schedule.process.iter().filter(|planned| planned.aim == Aim::Leader).count();
            assert!(at_leader * 2 >= schedule.process.len(), "seed {seed}");
        }
    }

    #[test]
    fn no_more_than_a_minority_is_taken_out() {
        for (nodes, most) in [(1, 1), (2, 1), (3, 1), (4, 1), (5, 2), (9, 4)] {
            let counts = (0..100)
                .flat_map(|seed| plan_all(seed, nodes, 30).process)
                .map(|planned| planned.count);
            assert_eq!(counts.max(), Some(most), "{nodes} nodes");
        }
    }

    #[test]
    fn kinds_that_need_more_nodes_are_left_out() {
        let schedule = plan_all(1, 1, 30);
        let planned: Vec<Kind> = count_kinds(&schedule).into_keys().collect();
        let link = [LinkFault::Delay, LinkFault::Rate, LinkFault::HalfOpen, LinkFault::Reset];
        let mut possible =
            vec![Kind::Kill, Kind::Pause, Kind::Terminate, Kind::KillAll, Kind::BlockClient];
        let alone = [
            Course::RollingRestart,
            Course::Upgrade,
            Course::RestartStorm,
            Course::Starve,
            Course::ClockRate,
            Course::ClockStep,
            Course::ClockStrobe,
            Course::Snapshot,
        ];
        possible.extend(alone.map(Kind::Course));
        possible.extend(link.map(Kind::Link));
        let is_lost = |kind: &Kind| kind.lane() == Lane::Disk && !kind.is_damage();
        possible.extend(Kind::ALL.into_iter().filter(is_lost));
        possible.sort_unstable();
        assert_eq!(planned, possible);
        let left_out: Vec<Kind> =
            Kind::ALL.into_iter().filter(|kind| !possible.contains(kind)).collect();
        assert_eq!(schedule.left_out, left_out);
        assert_eq!(plan_all(1, 3, 30).left_out, [Kind::KeepOne]);
        assert_eq!(plan_all(1, 4, 30).left_out, []);
    }

    #[test]
    fn no_kinds_give_an_empty_plan() {
        let schedule = plan(&Options::new(Vec::new(), 1, 5, Duration::from_secs(30)));
        assert_eq!((schedule.process, schedule.network), (Vec::new(), Vec::new()));
        assert_eq!(schedule.disk, Vec::new());
    }
}
