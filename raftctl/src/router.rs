//! The nodes: which to ask first, and whom to ask next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use raftd::api;
use rand::rngs::SmallRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};

use crate::NodeId;
use crate::endpoint::Endpoint;

/// Most addresses, so that false hints cannot pile up.
const ENDPOINTS_MAX: usize = 64;

/// First and longest pause between rounds. Short at first: an election is over in a few of these.
const PAUSE_MIN: Duration = Duration::from_millis(4);
const PAUSE_MAX: Duration = Duration::from_millis(128);

/// All nodes known, and the one that last proved useful.
#[derive(Debug)]
pub(crate) struct Router {
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    endpoints: Vec<Arc<Endpoint>>,
    /// The node to begin with: it led, is said to lead, or at least answers.
    preferred: Option<Arc<Endpoint>>,
    rng: SmallRng,
}

impl Router {
    pub(crate) fn new(endpoints: Vec<Arc<Endpoint>>, rng: SmallRng) -> Router {
        Router { table: Mutex::new(Table { endpoints, preferred: None, rng }) }
    }

    /// All nodes known.
    pub(crate) fn all(&self) -> Vec<Arc<Endpoint>> {
        self.table().endpoints.clone()
    }

    /// The preferred node, else any.
    pub(crate) fn first(&self) -> Option<Arc<Endpoint>> {
        let preferred = self.table().preferred.clone();
        preferred.or_else(|| self.other(&[]))
    }

    /// The node with this id.
    pub(crate) fn node(&self, node: NodeId) -> Option<Arc<Endpoint>> {
        self.table().endpoints.iter().find(|endpoint| endpoint.node() == Some(node)).cloned()
    }

    /// Any node that was not asked yet.
    pub(crate) fn other(&self, asked: &[Arc<Endpoint>]) -> Option<Arc<Endpoint>> {
        let Table { endpoints, rng, .. } = &mut *self.table();
        endpoints.iter().filter(|endpoint| !contains(asked, endpoint)).choose(rng).cloned()
    }

    /// The leader that a node named, unless it was asked already: two nodes that point to each other make no loop.
    pub(crate) fn hinted(
        &self,
        error: &api::Error,
        asked: &[Arc<Endpoint>],
    ) -> Option<Arc<Endpoint>> {
        self.table().leader(error).filter(|endpoint| !contains(asked, endpoint))
    }

    /// Takes down members that a node names.
    pub(crate) fn learn(&self, members: &[api::Member]) {
        let mut table = self.table();
        for member in members {
            if let Some(addr) = &member.client
                && !table
                    .endpoints
                    .iter()
                    .any(|endpoint| endpoint.node() == Some(member.id) || endpoint.addr() == addr)
            {
                table.add(Endpoint::learnt(addr.clone(), Some(member.id)));
            }
        }
    }

    /// Begin with this node from now on.
    pub(crate) fn prefer(&self, endpoint: &Arc<Endpoint>) {
        self.table().preferred = Some(Arc::clone(endpoint));
    }

    /// Begin with this node if there is none to begin with.
    pub(crate) fn prefer_for_now(&self, endpoint: &Arc<Endpoint>) {
        self.table().preferred.get_or_insert_with(|| Arc::clone(endpoint));
    }

    /// Do not begin with this node any more.
    pub(crate) fn forget(&self, endpoint: &Arc<Endpoint>) {
        let mut table = self.table();
        if table.preferred.as_ref().is_some_and(|preferred| Arc::ptr_eq(preferred, endpoint)) {
            table.preferred = None;
        }
    }

    /// How long to wait before the round after this many; random, so that clients do not come back together.
    pub(crate) fn pause(&self, rounds: u32) -> Duration {
        let longest = PAUSE_MIN.saturating_mul(2_u32.saturating_pow(rounds)).min(PAUSE_MAX);
        self.table().rng.random_range(longest / 2..=longest)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The endpoint of the leader named: ours if the id or the address is known, else a new one. An address that was
    /// learnt gives way to a newer one: the member may have moved.
    fn leader(&mut self, error: &api::Error) -> Option<Arc<Endpoint>> {
        let is_named = |endpoint: &&Arc<Endpoint>| match (endpoint.node(), error.leader) {
            (Some(node), Some(leader)) => node == leader,
            (None, _) | (_, None) => error.leader_client.as_deref() == Some(endpoint.addr()),
        };
        let addr = error.leader_client.as_ref();
        if let Some(place) = self.endpoints.iter().position(|endpoint| is_named(&endpoint)) {
            let endpoint = &mut self.endpoints[place];
            if let Some(addr) = addr.filter(|addr| endpoint.is_learnt() && *addr != endpoint.addr())
            {
                *endpoint = Endpoint::learnt(addr.clone(), error.leader);
            }
            return Some(Arc::clone(endpoint));
        }
        self.add(Endpoint::learnt(addr?.clone(), error.leader))
    }

    fn add(&mut self, endpoint: Arc<Endpoint>) -> Option<Arc<Endpoint>> {
        if self.endpoints.len() >= ENDPOINTS_MAX {
            return None;
        }
        self.endpoints.push(Arc::clone(&endpoint));
        Some(endpoint)
    }
}

pub(crate) fn contains(endpoints: &[Arc<Endpoint>], endpoint: &Arc<Endpoint>) -> bool {
    endpoints.iter().any(|other| Arc::ptr_eq(other, endpoint))
}

/// A generator seeded by the operating system.
pub(crate) fn random() -> SmallRng {
    SmallRng::from_os_rng()
}

#[cfg(test)]
mod tests {
    use raftd::api::Code;

    use super::*;

    fn router(nodes: &[(&str, Option<NodeId>)]) -> Router {
        let endpoints =
            nodes.iter().map(|(addr, node)| Endpoint::new((*addr).to_owned(), *node)).collect();
        Router::new(endpoints, SmallRng::seed_from_u64(1))
    }

    fn hint(leader: Option<NodeId>, leader_client: Option<&str>) -> api::Error {
        let leader_client = leader_client.map(str::to_owned);
        api::Error { leader, leader_client, ..api::Error::new(Code::NotLeader, "") }
    }

    fn addr(endpoint: Option<Arc<Endpoint>>) -> Option<String> {
        endpoint.map(|endpoint| endpoint.addr().to_owned())
    }

    #[test]
    fn others_are_asked_once_each() {
        let router = router(&[("a", None), ("b", None), ("c", None)]);
        let mut asked = Vec::new();
        while let Some(next) = router.other(&asked) {
            asked.push(next);
        }
        assert_eq!(asked.len(), 3);
    }

    #[test]
    fn preferred_node_comes_first_until_forgotten() {
        let router = router(&[("a", Some(1)), ("b", Some(2))]);
        let (a, b) = (router.node(1).unwrap(), router.node(2).unwrap());
        router.prefer(&b);
        router.prefer_for_now(&a);
        assert_eq!(addr(router.first()).as_deref(), Some("b"));
        router.forget(&a);
        assert_eq!(addr(router.first()).as_deref(), Some("b"));
        router.forget(&b);
        router.prefer_for_now(&a);
        assert_eq!(addr(router.first()).as_deref(), Some("a"));
    }

    #[test]
    fn hint_prefers_our_own_address_of_the_node() {
        let router = router(&[("a", Some(1)), ("b", Some(2)), ("c", None)]);
        let go = |leader, client| addr(router.hinted(&hint(leader, client), &[]));
        assert_eq!(go(Some(2), Some("elsewhere")).as_deref(), Some("b"));
        assert_eq!(go(Some(7), Some("c")).as_deref(), Some("c"));
        assert_eq!(go(None, Some("a")).as_deref(), Some("a"));
        assert_eq!(go(None, None), None);
        assert_eq!(go(Some(9), None), None);
        assert_eq!(router.all().len(), 3);
        assert_eq!(go(Some(9), Some("d")).as_deref(), Some("d"));
        assert_eq!(router.all().len(), 4);
    }

    #[test]
    fn learnt_address_gives_way_to_a_newer_one_and_a_given_one_does_not() {
        let router = router(&[("a", Some(1))]);
        let go = |leader, client| addr(router.hinted(&hint(Some(leader), Some(client)), &[]));
        assert_eq!(go(1, "elsewhere").as_deref(), Some("a"));
        assert_eq!(go(4, "d").as_deref(), Some("d"));
        assert_eq!(go(4, "e").as_deref(), Some("e"));
        assert_eq!(router.all().len(), 2);
    }

    #[test]
    fn members_are_learnt_once() {
        let router = router(&[("a", Some(1))]);
        let member = |id, client: Option<&str>| api::Member {
            id,
            client: client.map(str::to_owned),
            ..api::Member::default()
        };
        let members = [member(1, Some("elsewhere")), member(2, None), member(3, Some("c"))];
        router.learn(&members);
        router.learn(&members);
        let all: Vec<_> = router.all().iter().map(|endpoint| endpoint.addr().to_owned()).collect();
        assert_eq!(all, ["a", "c"]);
    }

    #[test]
    fn hint_to_a_node_already_asked_is_no_hint() {
        let router = router(&[("a", Some(1)), ("b", Some(2))]);
        let asked = [router.node(2).unwrap()];
        assert_eq!(addr(router.hinted(&hint(Some(2), None), &asked)), None);
    }

    #[test]
    fn hints_do_not_pile_up() {
        let router = router(&[("a", None)]);
        for n in 2..1_000 {
            router.hinted(&hint(Some(n), Some(&format!("x{n}"))), &[]);
        }
        assert_eq!(router.all().len(), ENDPOINTS_MAX);
    }

    #[test]
    fn pauses_grow_and_stay_bounded() {
        let router = router(&[("a", None)]);
        for round in 0..40 {
            let pause = router.pause(round);
            assert!(pause >= PAUSE_MIN / 2 && pause <= PAUSE_MAX, "{pause:?}");
        }
        assert!(router.pause(20) >= PAUSE_MAX / 2);
    }
}
