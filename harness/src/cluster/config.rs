//! The `cluster.toml` that each node gets.

use std::fmt::Write;

use super::proxy::Mesh;
use super::{NodeId, Options};

/// A node's own view of the cluster: it reaches each peer through the proxy of its own link to that peer, so no two
/// nodes have the same file. Client addresses are the client proxies', so leader hints lead through them, too.
pub(super) fn cluster_toml(options: &Options, node: NodeId, mesh: &Mesh) -> String {
    let mut text = format!(
        "# n{node}'s own: every address is a proxy's. Its real ports are in its log.\n\
         cluster = \"{}\"\nheartbeat_ms = {}\nelection_timeout_ms = {:?}\n",
        options.cluster, options.heartbeat_ms, options.election_timeout_ms,
    );
    if let Some(bytes) = options.snapshot_log_bytes {
        writeln!(text, "snapshot_log_bytes = {bytes}").expect("strings take everything");
    }
    for peer in 1..=options.nodes {
        let written = write!(
            text,
            "\n[[node]]\nid = {peer}\npeer = \"{}\"\nclient = \"{}\"\n",
            mesh.peer(node, peer).address(),
            mesh.client(peer).address(),
        );
        written.expect("strings take everything");
    }
    text
}
