//! `raftctl status`: every node's view of itself; and `raftctl snapshot`, which each node takes for itself.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use raftctl::{Client, Endpoint, Error, ErrorKind, NodeSnapshot, NodeStatus, Op, Options, Status};
use raftd::api::Receiving;
use serde::Serialize;

use crate::args::Connect;
use crate::connect::{client, runtime};
use crate::output::{Exit, Output};

/// What is printed of a node with `--output json`.
#[derive(Debug, Serialize)]
struct Report<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<u64>,
    address: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure<'a>>,
}

#[derive(Debug, Serialize)]
struct Failure<'a> {
    code: &'a str,
    message: String,
}

pub(crate) fn run(connect: &Connect, output: &Output) -> anyhow::Result<Exit> {
    // One attempt a node: a node that cannot answer now is what the command is to show.
    let client = client(Options { retry: false, ..connect.options()? })?;
    let nodes = runtime()?.block_on(ask(&client, connect.node));
    if output.is_json() {
        output.json(&nodes.iter().map(report).collect::<Vec<_>>());
    } else {
        output.line(&table(&nodes));
        for remark in remarks(&nodes) {
            output.line(&remark);
        }
    }
    let is_answered = nodes.iter().any(|node| node.status.is_ok());
    Ok(if is_answered { Exit::Done } else { Exit::Failed })
}

async fn ask(client: &Client, node: Option<u64>) -> Vec<NodeStatus> {
    match node {
        None => client.status_of_all().await,
        Some(node) => {
            let status = client.status().await;
            let addr = client.addr_of(node).unwrap_or_default();
            vec![NodeStatus { endpoint: Endpoint { node: Some(node), addr }, status }]
        }
    }
}

/// What is printed of a node's snapshot with `--output json`.
#[derive(Debug, Serialize)]
struct SnapshotReport<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<u64>,
    address: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure<'a>>,
}

/// `raftctl snapshot`: by every node, or by the one that `--node` names.
pub(crate) fn snapshot(connect: &Connect, output: &Output) -> anyhow::Result<Exit> {
    let client = client(Options { retry: false, ..connect.options()? })?;
    let taken = runtime()?.block_on(async {
        let Some(node) = connect.node else { return client.snapshot_all().await };
        let index = client.call(Op::Snapshot).await;
        let addr = client.addr_of(node).unwrap_or_default();
        let index = index.map(|answer| answer.index.unwrap_or_default());
        vec![NodeSnapshot { endpoint: Endpoint { node: Some(node), addr }, index }]
    });
    let mut reports = Vec::with_capacity(taken.len());
    let mut exit = Exit::Done;
    for NodeSnapshot { endpoint, index } in &taken {
        match index {
            Ok(index) if !output.is_json() => {
                output.line(&format!("node {}: snapshot up to index {index}", name(endpoint)));
            }
            Ok(_) => {}
            Err(error) => {
                output.error(&format!("node {}: {}", name(endpoint), reason(error)));
                // One of unknown outcome outweighs those that certainly failed.
                if exit != Exit::Unknown {
                    exit = if error.is_definite() { Exit::Failed } else { Exit::Unknown };
                }
            }
        }
        reports.push(SnapshotReport {
            node: endpoint.node,
            address: &endpoint.addr,
            index: index.as_ref().ok().copied(),
            error: index
                .as_ref()
                .err()
                .map(|error| Failure { code: error.code(), message: reason(error) }),
        });
    }
    if output.is_json() {
        output.json(&reports);
    }
    Ok(exit)
}

fn report(node: &NodeStatus) -> Report<'_> {
    let error = node.status.as_ref().err();
    Report {
        node: node.endpoint.node,
        address: &node.endpoint.addr,
        status: node.status.as_deref().ok(),
        error: error.map(|error| Failure { code: error.code(), message: reason(error) }),
    }
}

const HEADER: [&str; 14] = [
    "NODE", "ROLE", "TERM", "VOTE", "LEADER", "COMMIT", "APPLIED", "LOG", "SNAPSHOT", "VOTERS",
    "KEYS", "STATE", "WAITING", "FSYNC",
];

fn table(nodes: &[NodeStatus]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(HEADER);
    for node in nodes {
        match &node.status {
            Ok(status) => table.add_row(row(status)),
            Err(_) => table.add_row([name(&node.endpoint), "unreachable".to_owned()]),
        };
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for right in [2, 5, 6, 8, 10] {
        if let Some(column) = table.column_mut(right) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

fn row(status: &Status) -> [String; 14] {
    let or_none = |node: Option<u64>| node.map_or_else(|| "-".to_owned(), |node| node.to_string());
    let waiting = (status.proposals_waiting, status.reads_waiting, status.writes_waiting);
    let (p50, p99) = (milliseconds(status.sync_us_p50), milliseconds(status.sync_us_p99));
    [
        status.node.to_string(),
        role(status),
        status.term.to_string(),
        or_none(status.vote),
        or_none(status.leader),
        status.commit.to_string(),
        status.applied.to_string(),
        format!("{}..{}", status.first, status.last),
        or_none(status.snapshot.map(|snapshot| snapshot.index)),
        voters(status),
        status.keys.to_string(),
        status.state_hash.clone(),
        format!("{} {} {}", waiting.0, waiting.1, waiting.2),
        format!("{p50} {p99}"),
    ]
}

/// What it is in its term; as far as it has a vote.
fn role(status: &Status) -> String {
    let has_vote = status.voters.contains(&status.node) || status.outgoing.contains(&status.node);
    if has_vote || status.role != "follower" {
        status.role.clone()
    } else if status.learners.contains(&status.node) {
        "learner".to_owned()
    } else {
        "no member".to_owned()
    }
}

/// `1,2,3`; amid a joint change `1,2,3>2,3,4`; with learners `1,2,3+4`.
fn voters(status: &Status) -> String {
    let list = |ids: &[u64]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let mut text = list(&status.voters);
    if !status.outgoing.is_empty() {
        text = format!("{}>{text}", list(&status.outgoing));
    }
    if !status.learners.is_empty() {
        text = format!("{text}+{}", list(&status.learners));
    }
    if text.is_empty() { "-".to_owned() } else { text }
}

/// Microseconds as milliseconds, with as many digits as mean something.
fn milliseconds(us: u64) -> String {
    let (whole, rest) = (us / 1_000, us % 1_000);
    if whole >= 10 { format!("{whole}ms") } else { format!("{whole}.{:02}ms", rest / 10) }
}

/// Why a node did not answer; it is the only one that was asked.
pub(crate) fn reason(error: &Error) -> String {
    match error.kind.as_ref() {
        ErrorKind::Unreachable { tried } => tried.join("; "),
        ErrorKind::Refused { .. }
        | ErrorKind::UnknownCode { .. }
        | ErrorKind::ConnectionLost { .. }
        | ErrorKind::Timeout { .. }
        | ErrorKind::NoSuchNode { .. }
        | ErrorKind::Invalid { .. } => error.to_string(),
    }
}

fn name(endpoint: &Endpoint) -> String {
    endpoint.node.map_or_else(|| endpoint.addr.clone(), |node| node.to_string())
}

/// What the table cannot say.
fn remarks(nodes: &[NodeStatus]) -> Vec<String> {
    let mut remarks = Vec::new();
    if nodes.iter().any(|node| node.status.is_ok()) {
        remarks.push(
            "(WAITING: proposals, reads, disk writes. FSYNC: median and 99th percentile.)"
                .to_owned(),
        );
    }
    for node in nodes {
        match &node.status {
            Err(error) => {
                remarks.push(format!("node {}: {}", name(&node.endpoint), reason(error)));
            }
            Ok(status) => remarks.extend(concerns(status)),
        }
    }
    remarks.extend(divergence(nodes));
    remarks
}

/// What a node's line cannot say, and an operator should know.
fn concerns(status: &Status) -> Vec<String> {
    let mut concerns = Vec::new();
    if status.disk_full {
        concerns.push("its disk is full; it refuses writes".to_owned());
    }
    match status.standing.as_str() {
        "new" => {
            let waiting_for: Vec<String> =
                status.waiting_for.iter().map(ToString::to_string).collect();
            concerns.push(format!(
                "its data directory is new; it takes no part until it has heard from {}",
                waiting_for.join(", ")
            ));
        }
        "lost" => concerns.push(
            "it does not know what it promised before: it has no vote until a leader has taken note of its new \
             data directory and it has caught up"
                .to_owned(),
        ),
        _ => {}
    }
    if let Some(Receiving { bytes, total }) = status.receiving {
        concerns.push(format!("it is receiving a snapshot, {bytes} of {total} bytes so far"));
    }
    if let Some(to) = status.transferring {
        concerns.push(format!("it is handing over to node {to}"));
    }
    concerns.into_iter().map(|concern| format!("node {}: {concern}", status.node)).collect()
}

/// Two nodes that have applied the same entries and have different states: what Raft is there to prevent.
fn divergence(nodes: &[NodeStatus]) -> Option<String> {
    let mut seen: BTreeMap<u64, &Status> = BTreeMap::new();
    for status in nodes.iter().filter_map(|node| node.status.as_ref().ok()) {
        let other = seen.entry(status.applied).or_insert(status);
        if other.state_hash != status.state_hash {
            return Some(format!(
                "WARNING: nodes {} and {} differ in their state at index {}",
                other.node, status.node, status.applied
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64, applied: u64, hash: &str) -> NodeStatus {
        let status = Status {
            node: id,
            role: "follower".to_owned(),
            applied,
            state_hash: hash.to_owned(),
            voters: vec![1, 2],
            sync_us_p50: 187,
            sync_us_p99: 12_345,
            ..Status::default()
        };
        NodeStatus { endpoint: Endpoint::of(id, "a:1"), status: Ok(Box::new(status)) }
    }

    #[test]
    fn states_that_differ_at_one_index_are_noticed() {
        assert_eq!(divergence(&[node(1, 7, "aa"), node(2, 8, "bb"), node(3, 7, "aa")]), None);
        let warning = divergence(&[node(1, 7, "aa"), node(2, 8, "bb"), node(3, 7, "cc")]).unwrap();
        assert!(warning.contains("nodes 1 and 3 differ"), "{warning}");
    }

    #[test]
    fn voters_are_told_with_what_is_changing() {
        let status = |incoming: &[u64], outgoing: &[u64], learners: &[u64]| {
            let [incoming, outgoing, learners] =
                [incoming, outgoing, learners].map(<[u64]>::to_vec);
            voters(&Status { voters: incoming, outgoing, learners, ..Status::default() })
        };
        assert_eq!(status(&[1, 2, 3], &[], &[]), "1,2,3");
        assert_eq!(status(&[2, 3, 4], &[1, 2], &[7]), "1,2>2,3,4+7");
        assert_eq!(status(&[], &[], &[]), "-");
    }

    #[test]
    fn what_an_operator_should_know_is_said() {
        let status = Status {
            node: 3,
            standing: "new".to_owned(),
            waiting_for: vec![1, 2],
            receiving: Some(Receiving { bytes: 5, total: 9 }),
            ..Status::default()
        };
        let text = concerns(&status).join("\n");
        assert!(text.contains("node 3: its data directory is new"), "{text}");
        assert!(text.contains("heard from 1, 2") && text.contains("5 of 9 bytes"), "{text}");
        assert_eq!(concerns(&Status { standing: "full".to_owned(), ..status.clone() }).len(), 1);
    }

    #[test]
    fn table_has_a_line_a_node_and_no_trailing_blanks() {
        let text = table(&[node(1, 7, "00ff"), node(2, 7, "00ff")]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].starts_with("1 ") && lines[1].contains("0.18ms 12ms"), "{text}");
        assert!(lines.iter().all(|line| *line == line.trim_end()), "{text}");
    }
}
