//! How often what happens in a random schedule.

use rand::Rng as _;
use rand::rngs::SmallRng;

use super::super::cluster::Cluster;

/// How likely things are in one schedule: no two seeds dwell on the same.
#[derive(Debug)]
pub(super) struct Weights {
    actions: [(Action, u32); 14],
    /// A follower that is woken waits no more and campaigns.
    pub(super) campaign: f64,
    pub(super) lose: f64,
    pub(super) duplicate: f64,
    /// Messages are held up for long, until everybody has moved on.
    pub(super) hold: f64,
    /// The oldest message is next, rather than any.
    pub(super) in_order: f64,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Deliver,
    Batch,
    Release,
    Sync,
    Wake,
    Propose,
    Read,
    Crash,
    Restart,
    Cut,
    Heal,
    Save,
    Operate,
    Wipe,
}

impl Weights {
    /// The weights of one schedule.
    pub(super) fn draw(rng: &mut SmallRng) -> Weights {
        let mut up_to = |max: u32| rng.random_range(0..=max);
        let actions = [
            (Action::Deliver, 100 + up_to(200)),
            (Action::Batch, up_to(10)),
            (Action::Release, up_to(4)),
            (Action::Sync, 20 + up_to(100)),
            (Action::Wake, 5 + up_to(30)),
            (Action::Propose, 5 + up_to(40)),
            (Action::Read, 2 + up_to(20)),
            (Action::Crash, up_to(5)),
            (Action::Restart, 2 + up_to(10)),
            (Action::Cut, up_to(5)),
            (Action::Heal, 1 + up_to(8)),
            (Action::Save, 5 + up_to(30)),
            (Action::Operate, up_to(10)),
            (Action::Wipe, up_to(2)),
        ];
        Weights {
            actions,
            campaign: rng.random_range(0.02..0.5),
            lose: if rng.random_bool(0.5) { 0.0 } else { rng.random_range(0.0..0.3) },
            duplicate: if rng.random_bool(0.5) { 0.0 } else { rng.random_range(0.0..0.2) },
            hold: if rng.random_bool(0.5) { 0.0 } else { rng.random_range(0.0..0.1) },
            in_order: if rng.random_bool(0.3) { 1.0 } else { rng.random_range(0.0..1.0) },
        }
    }

    /// An action that can do something now.
    pub(super) fn next(&self, rng: &mut SmallRng, cluster: &Cluster) -> Action {
        let weight_of = |&(action, weight): &(Action, u32)| {
            let idle = match action {
                Action::Deliver => cluster.network.is_empty(),
                Action::Sync => !cluster.ids().any(|id| cluster.member(id).disk.is_dirty()),
                Action::Save => !cluster.ids().any(|id| cluster.member(id).disk.has_job()),
                Action::Batch
                | Action::Release
                | Action::Operate
                | Action::Wipe
                | Action::Wake
                | Action::Propose
                | Action::Read
                | Action::Crash
                | Action::Restart
                | Action::Cut
                | Action::Heal => false,
            };
            if idle { 0 } else { weight }
        };
        let mut at = rng.random_range(0..self.actions.iter().map(weight_of).sum());
        for entry in &self.actions {
            let weight = weight_of(entry);
            if at < weight {
                return entry.0;
            }
            at -= weight;
        }
        unreachable!("`at` lies below the sum of weights")
    }
}
