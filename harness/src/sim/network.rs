//! The links between nodes: each direction of each pair has its own fate.

use std::collections::BTreeMap;

use raft_core::message::Envelope;
use raft_core::types::NodeId;

use super::plan::Weather;
use super::rng::{Micros, Rng};

/// From, to.
pub(super) type Link = (NodeId, NodeId);

/// What becomes of a frame.
#[derive(Debug)]
pub(super) enum Fate {
    /// It is lost: the link is cut.
    Cut,
    /// It is lost by chance.
    Lost,
    /// It waits until the link is released.
    Held,
    /// It arrives, perhaps twice.
    Arrives { at: Micros, again: Option<Micros>, late: bool },
}

/// All links.
#[derive(Debug)]
pub(super) struct Network {
    seed: u64,
    /// How it is when nothing special is the matter.
    usual: Weather,
    /// The weather of the storms that rage, by item number.
    storms: BTreeMap<u64, Weather>,
    links: BTreeMap<Link, State>,
    is_healed: bool,
    /// See [`Network::late_until`].
    late_until: Micros,
}

#[derive(Debug)]
struct State {
    rng: Rng,
    /// How many faults cut it.
    cuts: u32,
    /// How many faults hold it.
    holds: u32,
    held: Vec<Envelope>,
    /// When the last frame arrives, for links that keep the order.
    last_arrival: Micros,
}

impl Network {
    pub(super) fn new(seed: u64, usual: Weather) -> Network {
        let (storms, links) = (BTreeMap::new(), BTreeMap::new());
        Network { seed, usual, storms, links, is_healed: false, late_until: 0 }
    }

    fn link(&mut self, link: Link) -> &mut State {
        let seed = self.seed;
        self.links.entry(link).or_insert_with(|| State {
            rng: Rng::stream(seed, &[2, link.0, link.1]),
            cuts: 0,
            holds: 0,
            held: Vec::new(),
            last_arrival: 0,
        })
    }

    /// A frame is to be sent now.
    pub(super) fn send(&mut self, now: Micros, envelope: &Envelope) -> Fate {
        let weather = self.storms.last_key_value().map_or(self.usual, |(_, weather)| *weather);
        let state = self.link((envelope.from, envelope.to));
        if state.cuts > 0 {
            return Fate::Cut;
        }
        if state.holds > 0 {
            state.held.push(envelope.clone());
            return Fate::Held;
        }
        if state.rng.chance(weather.loss) {
            return Fate::Lost;
        }
        if state.rng.chance(weather.held) {
            let at = now + state.rng.between(500_000, 6_000_000);
            self.note_arrival(at);
            return Fate::Arrives { at, again: None, late: true };
        }
        let [shortest, longest] = weather.delay;
        let mut at = now + state.rng.between(shortest, longest);
        let again = state.rng.chance(weather.duplicates);
        let again = again.then(|| now + state.rng.between(shortest, 3 * longest));
        if !weather.reorders {
            at = at.max(state.last_arrival);
            state.last_arrival = at;
        }
        self.note_arrival(again.map_or(at, |again| again.max(at)));
        Fate::Arrives { at, again, late: false }
    }

    /// What is sent after the healing is not waited for: there is always something on its way.
    fn note_arrival(&mut self, at: Micros) {
        if !self.is_healed {
            self.late_until = self.late_until.max(at);
        }
    }

    /// When the last of the frames has arrived that were sent before the healing.
    pub(super) fn late_until(&self) -> Micros {
        self.late_until
    }

    /// Whether a frame that is about to arrive finds its link cut.
    pub(super) fn is_cut(&self, link: Link) -> bool {
        self.links.get(&link).is_some_and(|state| state.cuts > 0)
    }

    pub(super) fn cut(&mut self, links: &[Link]) {
        for &link in links {
            self.link(link).cuts += 1;
        }
    }

    pub(super) fn repair(&mut self, links: &[Link]) {
        for &link in links {
            self.link(link).cuts -= 1;
        }
    }

    pub(super) fn hold(&mut self, links: &[Link]) {
        for &link in links {
            self.link(link).holds += 1;
        }
    }

    /// Ends a hold; gives back what was held on links that nothing else holds.
    pub(super) fn release(&mut self, links: &[Link]) -> Vec<Envelope> {
        let mut released = Vec::new();
        for &link in links {
            let state = self.link(link);
            state.holds -= 1;
            if state.holds == 0 {
                released.append(&mut state.held);
            }
        }
        released
    }

    pub(super) fn storm(&mut self, item: u64, weather: Weather) {
        self.storms.insert(item, weather);
    }

    pub(super) fn calm(&mut self, item: u64) {
        self.storms.remove(&item);
    }

    /// From now on everything arrives, and soon.
    pub(super) fn heal(&mut self) {
        self.is_healed = true;
        self.usual = Weather::FAIR;
        self.storms.clear();
    }
}
