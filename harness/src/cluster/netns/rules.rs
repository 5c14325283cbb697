//! Bans as rules of nftables. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Net, address};
use crate::cluster::NodeId;

/// The table: all packets pass one chain, in which the rules are. Making it again empties it.
pub(super) const TABLE: &str = "\
add table ip harness
delete table ip harness
table ip harness {
  chain faults { }
  chain forward { type filter hook forward priority 0; jump faults; }
  chain input { type filter hook input priority 0; jump faults; }
  chain output { type filter hook output priority 0; jump faults; }
}
";

/// Packets that do not get through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Whose; nobody's in particular.
    pub from: Option<NodeId>,
    /// To whom.
    pub to: NodeId,
    /// To which of its ports; to all, and answers, too.
    pub port: Option<Port>,
    /// What happens to them.
    pub fate: Fate,
}

/// A port of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// For the other nodes.
    Peer,
    /// For clients.
    Client,
}

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It vanishes.
    Drop,
    /// It vanishes and its sender is told that there is no such connection.
    Reset,
    /// It vanishes so many times of a hundred.
    Lose(u32),
}

/// All bans.
#[derive(Debug, Default)]
pub(super) struct Rules {
    last: u64,
    active: BTreeMap<u64, Vec<Ban>>,
}

impl Rules {
    pub(super) fn add(&mut self, bans: Vec<Ban>) -> u64 {
        self.last += 1;
        self.active.insert(self.last, bans);
        self.last
    }

    /// Whether there were such bans.
    pub(super) fn remove(&mut self, number: u64) -> bool {
        self.active.remove(&number).is_some()
    }

    pub(super) fn clear(&mut self) {
        self.active.clear();
    }

    /// Puts these rules into the place of all others, in one step. Counters stay.
    pub(super) fn script(&self) -> String {
        let mut script = "flush chain ip harness faults\n".to_owned();
        for (number, bans) in &self.active {
            let mut line = |text: String| {
                writeln!(script, "{text}").expect("strings take everything");
            };
            line(format!("add counter ip harness {}", counter(*number)));
            for ban in bans {
                line(format!("add rule ip harness faults {}", ban.rule(*number)));
            }
        }
        script
    }
}

impl Ban {
    fn rule(&self, number: u64) -> String {
        let from =
            self.from.map_or_else(String::new, |from| format!("ip saddr {} ", address(from)));
        let (peer, client) = Net::addresses(self.to);
        let port = match self.port {
            None => String::new(),
            Some(Port::Peer) => format!("tcp dport {} ", peer.port()),
            Some(Port::Client) => format!("tcp dport {} ", client.port()),
        };
        let (chance, fate) = match self.fate {
            Fate::Drop => (String::new(), "drop"),
            // Only packets of TCP can be answered so.
            Fate::Reset => ("meta l4proto tcp ".to_owned(), "reject with tcp reset"),
            Fate::Lose(percent) => (format!("numgen random mod 100 < {percent} "), "drop"),
        };
        let (to, counter) = (peer.ip(), counter(number));
        format!("{from}ip daddr {to} {port}{chance}counter name {counter} {fate}")
    }
}

fn counter(number: u64) -> String {
    format!("fault{number}")
}

/// The packets that some bans have stopped, from what `nft -j list counters` prints.
pub(super) fn packets(listing: &str, number: u64) -> u64 {
    let listing: serde_json::Value = serde_json::from_str(listing).unwrap_or_default();
    let counters = listing["nftables"].as_array().map(Vec::as_slice).unwrap_or_default();
    let name = counter(number);
    let found = counters.iter().find(|entry| entry["counter"]["name"] == name.as_str());
    found.and_then(|entry| entry["counter"]["packets"].as_u64()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_whose_packets_to_whom_and_what_becomes_of_them() {
        let mut rules = Rules::default();
        let ban = |from, port, fate| Ban { from, to: 2, port, fate };
        rules.add(vec![ban(Some(1), None, Fate::Drop), ban(None, Some(Port::Client), Fate::Reset)]);
        let gone = rules.add(vec![ban(Some(3), None, Fate::Drop)]);
        rules.add(vec![ban(Some(1), Some(Port::Peer), Fate::Lose(30))]);
        assert!(rules.remove(gone) && !rules.remove(gone));
        let expected = "\
flush chain ip harness faults
add counter ip harness fault1
add rule ip harness faults ip saddr 127.77.1.1 ip daddr 127.77.2.1 counter name fault1 drop
add rule ip harness faults ip daddr 127.77.2.1 tcp dport 7200 meta l4proto tcp counter name fault1 reject with tcp reset
add counter ip harness fault3
add rule ip harness faults ip saddr 127.77.1.1 ip daddr 127.77.2.1 tcp dport 7100 numgen random mod 100 < 30 counter name fault3 drop
";
        assert_eq!(rules.script(), expected);
    }

    #[test]
    fn packets_are_those_of_the_own_counter() {
        let listing = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
            {"counter": {"family": "ip", "name": "fault1", "table": "harness", "packets": 2, "bytes": 112}},
            {"counter": {"family": "ip", "name": "fault12", "table": "harness", "packets": 7, "bytes": 9}}]}"#;
        assert_eq!([1, 12, 3].map(|number| packets(listing, number)), [2, 7, 0]);
        assert_eq!(packets("", 1), 0);
    }
}
