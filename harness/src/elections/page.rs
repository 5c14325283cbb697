//! The figures in files: `results.json` for machines, `report.html` for people.

use std::env;

use anyhow::Context;
use minijinja::{Environment, context};
use serde_json::{Value, json};

use super::figures::{self, Figure, Sample};
use super::table::{COLUMNS, remarks, rows};
use super::{Measured, Series};

/// Everything, for machines.
pub(super) fn results(measured: &Measured) -> anyhow::Result<Vec<u8>> {
    let args = &measured.args;
    let left_out: Vec<Value> = measured
        .left_out
        .iter()
        .map(|(range, why)| json!({ "range": range.to_string(), "why": why }))
        .collect();
    let all = json!({
        "experiment": "elections",
        "seed": measured.seed,
        "nodes": args.nodes,
        "electable": measured.electable(),
        "pre_vote": true,
        "cap_ms": args.cap.as_millis(),
        "trials_wanted": args.trials,
        "interrupted": measured.interrupted,
        "command_line": env::args().collect::<Vec<_>>(),
        "raftd": measured.version,
        "ranges": measured.series.iter().map(|series| range(measured, series)).collect::<Vec<_>>(),
        "left_out": left_out,
    });
    let mut bytes = serde_json::to_vec_pretty(&all).context("cannot write results.json")?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn range(measured: &Measured, series: &Series) -> Value {
    let terms: Value = figures::terms(&series.trials)
        .into_iter()
        .map(|(terms, trials)| (terms.to_string(), json!(trials)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let (p50, p99) = series.broadcast_ms;
    json!({
        "range": series.range.to_string(),
        "trials": series.trials.len(),
        "new_leader_ms": summary(&series.elected(&measured.args)),
        "client_gap_ms": summary(&series.gaps(&measured.args)),
        "published_ms": series.range.published().map(|published| published.downtime_ms),
        "rule_of_thumb_ms": series.range.rule_of_thumb_ms(measured.electable(), p50),
        "write_in_peace_ms": { "p50": p50, "p99": p99 },
        "terms": terms,
        "disturbed": series.disturbed,
        "ended": series.ended,
    })
}

/// `{"min":…,"capped":…}`; a figure beyond the cap is null.
fn summary(sample: &Sample) -> Value {
    let mut object = serde_json::Map::new();
    for (name, figure) in ["min", "p50", "mean", "p90", "p99", "max"]
        .into_iter()
        .zip(sample.summary().into_iter().flatten())
    {
        let value = match figure {
            Figure::Is(ms) => json!((ms * 1e3).round() / 1e3),
            Figure::Over(_) => Value::Null,
        };
        object.insert(name.to_owned(), value);
    }
    object.insert("capped".to_owned(), json!(sample.capped()));
    object.into()
}

/// The page. Everything in it is ours, but escaped all the same.
pub(super) fn html(measured: &Measured, chart: &str) -> anyhow::Result<String> {
    let rows: Vec<Value> = rows(measured)
        .into_iter()
        .map(|row| {
            let range = row.range.map(|range| range.to_string());
            json!({ "range": range, "what": row.what, "figures": row.figures })
        })
        .collect();
    let mut environment = Environment::new();
    environment.add_template("elections.html", include_str!("elections.html"))?;
    let page = environment.get_template("elections.html")?.render(context! {
        columns => COLUMNS,
        rows,
        remarks => remarks(measured),
        chart,
        version => measured.version,
        seed => measured.seed,
        reproduce => super::reproduce(measured),
    })?;
    Ok(page)
}
