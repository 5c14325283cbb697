//! The figures in a terminal.

use std::io::{self, Write};

use comfy_table::CellAlignment;

use super::Measured;
use super::figures::{self, Figure, Trial};
use super::published::{PUBLISHED_BROADCAST_MS, PUBLISHED_ELECTABLE, TimeoutRange};
use crate::terminal;

/// Elections of more terms than this are counted together.
const TERMS_NAMED_MAX: u64 = 3;

/// What the columns are.
pub(super) const COLUMNS: [&str; 9] =
    ["timeouts", "", "min", "p50", "mean", "p90", "p99", "max", "rule"];

/// A line of the table.
pub(super) struct Row {
    /// The range, in the first line of its group.
    pub(super) range: Option<TimeoutRange>,
    /// Of what.
    pub(super) what: &'static str,
    /// As in [`COLUMNS`].
    pub(super) figures: [String; 7],
}

/// Ours and the published ones, one group of lines a range.
pub(super) fn rows(measured: &Measured) -> Vec<Row> {
    let mut rows = Vec::new();
    let whole = |ms: f64| format!("{ms:.0}");
    for series in &measured.series {
        let Some(elected) = series.elected(&measured.args).summary() else { continue };
        let broadcast_ms = series.broadcast_ms.0;
        let rule = series.range.rule_of_thumb_ms(measured.electable(), broadcast_ms);
        let range = Some(series.range);
        rows.push(Row { range, what: "new leader", figures: line(elected.map(figure), rule) });
        if let Some(gap) = series.gaps(&measured.args).summary() {
            let [min, p50, mean, p90, p99, max] = gap.map(figure);
            let figures = [min, p50, mean, p90, p99, max, String::new()];
            rows.push(Row { range: None, what: "client gap", figures });
        }
        if let Some(published) = series.range.published() {
            let rule = series.range.rule_of_thumb_ms(PUBLISHED_ELECTABLE, PUBLISHED_BROADCAST_MS);
            let figures = line(published.downtime_ms.map(whole), rule);
            rows.push(Row { range: None, what: "published", figures });
        }
    }
    rows
}

fn line([min, p50, mean, p90, p99, max]: [String; 6], rule: f64) -> [String; 7] {
    [min, p50, mean, p90, p99, max, format!("{rule:.0}")]
}

/// Whole milliseconds.
pub(super) fn figure(figure: Figure) -> String {
    match figure {
        Figure::Is(ms) => format!("{ms:.0}"),
        Figure::Over(ms) => format!(">{ms:.0}"),
    }
}

/// What the table cannot say, one sentence each.
pub(super) fn remarks(measured: &Measured) -> Vec<String> {
    let (nodes, electable) = (measured.args.nodes, measured.electable());
    let mut remarks = vec![format!(
        "Milliseconds, {nodes} nodes. Here all {electable} survivors can win and nodes ask before they campaign \
         (pre-vote); in the published worst case 2 of 4 could, without pre-vote."
    )];
    remarks.push(
        "rule: 0.75 min + range/(electable+1) + a round of messages with a disk write (here: the median write in \
         peace; published: 15 ms). What the mean has beyond it are split votes."
            .to_owned(),
    );
    for series in &measured.series {
        let (p50, p99) = series.broadcast_ms;
        let mut facts = vec![
            format!("{}: {} trials", series.range, series.trials.len()),
            terms(&series.trials),
            format!("a write in peace takes {p50:.1} ms, 1 in 100 {p99:.1} ms"),
        ];
        let capped = series.elected(&measured.args).capped();
        if capped > 0 {
            let cap = humantime::format_duration(measured.args.cap);
            facts.push(format!("{capped} were without a leader for longer than {cap}"));
        }
        if series.disturbed > 0 {
            let disturbed = series.disturbed;
            facts.push(format!("{disturbed} leaders were gone before they were killed"));
        }
        facts.extend(series.ended.iter().map(|why| format!("no more: {why}")));
        remarks.push(facts.join("; ") + ".");
    }
    for (range, why) in &measured.left_out {
        remarks.push(format!("{range}: left out: {why}."));
    }
    if measured.interrupted {
        remarks.push("Interrupted: these are the trials so far.".to_owned());
    }
    remarks
}

/// How many trials took how many terms: `1 term 70, 2 terms 18, 3 terms 10, more 2 (at most 5)`.
fn terms(trials: &[Trial]) -> String {
    let all = figures::terms(trials);
    let most = all.last_key_value().map_or(0, |(&terms, _)| terms);
    let mut words = Vec::new();
    let mut more = 0;
    for (terms, trials) in all {
        match terms {
            1 => words.push(format!("1 term {trials}")),
            2..=TERMS_NAMED_MAX => words.push(format!("{terms} terms {trials}")),
            _ => more += trials,
        }
    }
    if more > 0 {
        words.push(format!("more {more} (at most {most})"));
    }
    words.join(", ")
}

/// All of it.
pub(super) fn print(out: &mut impl Write, measured: &Measured) -> io::Result<()> {
    let mut table = terminal::table();
    table.set_header(COLUMNS);
    for Row { range, what, figures } in rows(measured) {
        let range = range.map(|range| range.to_string()).unwrap_or_default();
        table.add_row([range, what.to_owned()].into_iter().chain(figures));
    }
    for place in 2..COLUMNS.len() {
        if let Some(column) = table.column_mut(place) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    writeln!(out, "{}\n", table.trim_fmt())?;
    for remark in remarks(measured) {
        let mut text = terminal::table();
        text.add_row([remark]);
        writeln!(out, "{}", text.trim_fmt())?;
    }
    Ok(())
}
