//! What a benchmark prints.

use std::collections::BTreeMap;
use std::fmt;

use comfy_table::{CellAlignment, Table, presets};
use hdrhistogram::Histogram;
use raftctl::{NodeId, Status};
use serde::Serialize;

use super::BenchArgs;
use super::load::Outcome;
use super::snapshot::Snapshot;

/// All figures; printed as it is with `--output json`.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    mix: String,
    clients: u32,
    connections: u32,
    key_bytes: u32,
    value_bytes: u32,
    keys: u32,
    seed: u64,
    /// The nodes that were asked.
    targets: Vec<NodeId>,
    seconds: f64,
    pub(super) operations: u64,
    operations_per_second: f64,
    latency_ms: Latency,
    /// By error code.
    errors: BTreeMap<String, u64>,
    /// All nodes together; absent if a node did not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes_cpu_us_per_operation: Option<f64>,
    client_cpu_us_per_operation: f64,
    nodes: Vec<NodeCost>,
}

#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

/// What the load cost one node.
#[derive(Debug, Serialize)]
struct NodeCost {
    node: NodeId,
    role: String,
    cpu_us_per_operation: f64,
    syncs_per_second: f64,
    records_per_sync: f64,
    log_bytes_per_operation: f64,
}

impl Report {
    pub(super) fn new(
        args: &BenchArgs,
        targets: &[NodeId],
        outcome: &Outcome,
        before: &Snapshot,
        after: &Snapshot,
    ) -> Report {
        let seconds = args.duration.as_secs_f64();
        let operations = outcome.latency_ns.len();
        // The nodes' figures are those between the two moments at which they were asked.
        let span = Span {
            operations: float(after.ended.saturating_sub(before.ended)),
            seconds: (after.at - before.at).as_secs_f64(),
        };
        let nodes: Vec<NodeCost> = after
            .nodes
            .iter()
            .filter_map(|(node, after)| Some(span.cost(before.nodes.get(node)?, after)))
            .collect();
        let is_complete = nodes.len() == after.nodes.len() && !nodes.is_empty();
        let cpu_us = nodes.iter().map(|node| node.cpu_us_per_operation).sum();
        let own_cpu_us = (after.cpu.saturating_sub(before.cpu)).as_secs_f64() * 1e6;
        Report {
            mix: args.mix.to_string(),
            clients: args.clients,
            connections: args.connections.min(args.clients),
            key_bytes: args.key_bytes,
            value_bytes: args.value_bytes,
            keys: args.keys,
            seed: args.seed,
            targets: targets.to_vec(),
            seconds,
            operations,
            operations_per_second: float(operations) / seconds,
            latency_ms: Latency::of(&outcome.latency_ns),
            errors: outcome.errors.clone(),
            nodes_cpu_us_per_operation: is_complete.then_some(cpu_us),
            client_cpu_us_per_operation: ratio(own_cpu_us, span.operations),
            nodes,
        }
    }
}

impl Latency {
    fn of(latency_ns: &Histogram<u64>) -> Latency {
        let quantile = |q| float(latency_ns.value_at_quantile(q)) / 1e6;
        let max = float(latency_ns.max()) / 1e6;
        Latency { p50: quantile(0.5), p90: quantile(0.9), p99: quantile(0.99), max }
    }
}

/// What happened between two snapshots.
struct Span {
    operations: f64,
    seconds: f64,
}

impl Span {
    fn cost(&self, before: &Status, after: &Status) -> NodeCost {
        // A node that was started in between counts from zero.
        let before = if after.uptime_us < before.uptime_us { &Status::default() } else { before };
        let grown = |field: fn(&Status) -> u64| float(field(after).saturating_sub(field(before)));
        let syncs = grown(|status| status.syncs);
        NodeCost {
            node: after.node,
            role: after.role.clone(),
            cpu_us_per_operation: ratio(grown(|status| status.cpu_us), self.operations),
            syncs_per_second: ratio(syncs, self.seconds),
            records_per_sync: ratio(grown(|status| status.records), syncs),
            log_bytes_per_operation: ratio(grown(|status| status.bytes_written), self.operations),
        }
    }
}

fn plural(is_plural: bool) -> &'static str {
    if is_plural { "s" } else { "" }
}

/// 0 of nothing.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "figures for people: 53 bits are plenty"
)]
fn float(n: u64) -> f64 {
    n as f64
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let targets: Vec<String> = self.targets.iter().map(ToString::to_string).collect();
        writeln!(
            f,
            "{} of {} B, {} client{} on {} connection{} to node{} {}, {} s",
            self.mix,
            self.value_bytes,
            self.clients,
            plural(self.clients != 1),
            self.connections,
            plural(self.connections != 1),
            plural(targets.len() != 1),
            targets.join(","),
            self.seconds
        )?;
        let (rate, count) = (self.operations_per_second, self.operations);
        writeln!(f, "throughput  {rate:.0} operations/s ({count} in all)")?;
        let Latency { p50, p90, p99, max } = self.latency_ms;
        writeln!(
            f,
            "latency     p50 {p50:.2} ms, p90 {p90:.2} ms, p99 {p99:.2} ms, max {max:.2} ms"
        )?;
        let errors: Vec<String> =
            self.errors.iter().map(|(code, count)| format!("{code} {count}")).collect();
        let errors = if errors.is_empty() { "none".to_owned() } else { errors.join(", ") };
        writeln!(f, "errors      {errors}")?;
        let own = self.client_cpu_us_per_operation;
        let nodes = self
            .nodes_cpu_us_per_operation
            .map_or_else(|| "not known".to_owned(), |us| format!("{us:.1} µs"));
        writeln!(f, "CPU         {nodes} an operation for all nodes, {own:.1} µs for this client")?;
        if self.nodes.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n{}", self.table())
    }
}

impl Report {
    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header([
            "NODE",
            "ROLE",
            "CPU µs/OP",
            "FSYNCS/s",
            "RECORDS/FSYNC",
            "LOG BYTES/OP",
        ]);
        for node in &self.nodes {
            table.add_row([
                node.node.to_string(),
                node.role.clone(),
                format!("{:.1}", node.cpu_us_per_operation),
                format!("{:.0}", node.syncs_per_second),
                format!("{:.1}", node.records_per_sync),
                format!("{:.0}", node.log_bytes_per_operation),
            ]);
        }
        for (position, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if position >= 2 {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.trim_fmt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(uptime_us: u64, cpu_us: u64, syncs: u64, records: u64, bytes: u64) -> Status {
        let bytes_written = bytes;
        Status { node: 1, uptime_us, cpu_us, syncs, records, bytes_written, ..Status::default() }
    }

    #[test]
    fn cost_is_what_the_node_used_in_between() {
        let span = Span { operations: 100.0, seconds: 2.0 };
        let cost = span.cost(&status(5, 1_000, 10, 100, 4_000), &status(9, 2_500, 20, 180, 24_000));
        let figures = [
            cost.cpu_us_per_operation,
            cost.syncs_per_second,
            cost.records_per_sync,
            cost.log_bytes_per_operation,
        ];
        assert_eq!(figures.map(|figure| figure.to_string()), ["15", "5", "8", "200"]);
    }

    #[test]
    fn cost_of_a_node_started_in_between_counts_from_zero() {
        let span = Span { operations: 100.0, seconds: 2.0 };
        let cost = span.cost(&status(9, 9_999, 99, 999, 9_999), &status(5, 100, 4, 8, 100));
        assert_eq!(cost.records_per_sync.to_string(), "2");
    }
}
