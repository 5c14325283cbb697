//! The `cluster.toml` that each node gets.

use std::fmt::Write;

use super::netns::Net;
use super::proxy::Mesh;
use super::{Network, NodeId, Options};

/// A node's own view of the cluster: it reaches each peer through the proxy of its own link to that peer, so no two
/// nodes have the same file. Client addresses are the client proxies', so leader hints lead through them, too. Where
/// there are no proxies, all have the same one.
pub(super) fn cluster_toml(options: &Options, node: NodeId, mesh: &Mesh) -> String {
    let about = match options.network {
        Network::Proxy => "every address is a proxy's. Its real ports are in its log.",
        Network::Netns => "each address is in a network namespace of its own.",
    };
    let mut text = format!(
        "# n{node}'s own: {about}\n\
         cluster = \"{}\"\nheartbeat_ms = {}\nelection_timeout_ms = {:?}\n",
        options.cluster, options.heartbeat_ms, options.election_timeout_ms,
    );
    if let Some(bytes) = options.snapshot_log_bytes {
        writeln!(text, "snapshot_log_bytes = {bytes}").expect("strings take everything");
    }
    if let Some(percent) = options.lease_drift_percent {
        writeln!(text, "lease_drift_percent = {percent}").expect("strings take everything");
    }
    for peer in 1..=options.nodes {
        let (at, client) = match options.network {
            Network::Proxy => (mesh.peer(node, peer).address(), mesh.client(peer).address()),
            Network::Netns => Net::addresses(peer),
        };
        let written =
            write!(text, "\n[[node]]\nid = {peer}\npeer = \"{at}\"\nclient = \"{client}\"\n");
        written.expect("strings take everything");
    }
    text
}
