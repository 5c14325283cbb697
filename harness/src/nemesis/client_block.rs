//! Clients do not get through to a node: they are refused, or nobody answers. Proof: connections and requests blocked.

use rand::Rng;
use rand::rngs::StdRng;

use super::words::named;
use crate::cluster::NodeId;
use crate::cluster::proxy::{Mode, Traffic};

pub(super) const UNIT: &str = "connections and requests blocked";

/// In which way, and in words.
pub(super) fn choose(node: NodeId, leader: Option<NodeId>, rng: &mut StdRng) -> (Mode, String) {
    let name = named(node, leader);
    if rng.random() {
        (Mode::Refuse, format!("clients of {name} are refused"))
    } else {
        (Mode::Cut, format!("clients of {name} get no answer"))
    }
}

/// How much was blocked.
pub(super) fn proof(traffic: &[Traffic]) -> u64 {
    traffic.iter().map(|link| link.refused + link.reset + link.lines_dropped).sum()
}
