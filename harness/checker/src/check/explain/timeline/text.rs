//! The drawing in text, for terminals: ASCII only.

use super::{END, Kind, Layout, Row};
use crate::check::explain::facts::Facts;
use crate::check::explain::reduce::Core;

/// Columns for the clients' names, at most.
const NAME_COLUMNS_MAX: usize = 14;

/// Narrower drawings than this say nothing.
const COLUMNS_MIN: usize = 40;

/// Draws a core with one row for each client, no wider than so many columns (40 at least).
///
/// ```text
/// client 3   |-- write "4-2" --|
/// client 7                          |== read "3-17" ==|  <- fits nowhere
///            1.000 s      1.010 s   2.930 s     2.932 s
/// ```
pub fn timeline(core: &Core, facts: &dyn Facts, columns: usize) -> String {
    let layout = Layout::of(core, facts);
    let names = layout.rows.iter().map(|row| row.client.len()).max().unwrap_or(0);
    let names = names.min(NAME_COLUMNS_MAX);
    let width = columns.max(COLUMNS_MIN) - names - 2;
    let mut drawing = Drawing { lines: Vec::new(), names, width };
    for row in &layout.rows {
        drawing.row(row);
    }
    drawing.axis(&layout);
    let mut notes = Vec::new();
    let has = |kind| layout.rows.iter().flat_map(|row| &row.bars).any(|bar| bar.kind == kind);
    if has(Kind::Blocked) {
        notes.push("==: fits nowhere".to_owned());
    }
    if has(Kind::Open) {
        notes.push(">: outcome unknown".to_owned());
    }
    if has(Kind::Context) {
        notes.push("..: not needed for the contradiction".to_owned());
    }
    if layout.left_out > 0 {
        notes.push(format!("{} more operations are not drawn", layout.left_out));
    }
    if !notes.is_empty() {
        drawing.write("", &[(0, notes.join("; "))]);
    }
    drawing.lines.join("\n") + "\n"
}

struct Drawing {
    lines: Vec<String>,
    names: usize,
    width: usize,
}

impl Drawing {
    fn column(&self, place: usize) -> usize {
        place * (self.width - 1) / END
    }

    /// A line with texts at columns, which are in order and leave room for each other; it is cut at the width.
    fn write(&mut self, name: &str, texts: &[(usize, String)]) {
        let name: String = name.chars().take(self.names).collect();
        let mut line = format!("{name:names$}  ", names = self.names);
        for (column, text) in texts {
            let end = self.names + 2 + column;
            while line.len() < end {
                line.push(' ');
            }
            line.push_str(text);
        }
        line.truncate(self.names + 2 + self.width);
        self.lines.push(line.trim_end().to_owned());
    }

    fn row(&mut self, row: &Row) {
        let mut bars: Vec<(usize, String)> = Vec::new();
        // Labels that do not fit into their bars have lines of their own.
        let mut below: Vec<Vec<(usize, String)>> = Vec::new();
        for bar in &row.bars {
            let start = self.column(bar.start);
            let end = bar.end.map_or(self.width - 1, |end| self.column(end)).max(start + 1);
            let inner = end - start - 1;
            let label = ascii(&bar.label);
            let fill = match bar.kind {
                Kind::Blocked => '=',
                Kind::Certain | Kind::Open => '-',
                Kind::Context => '.',
            };
            let fill_of = |n: usize| fill.to_string().repeat(n);
            let close = if bar.end.is_some() { '|' } else { '>' };
            let text = if label.len() + 4 <= inner {
                let left = (inner - label.len() - 2) / 2;
                let right = inner - label.len() - 2 - left;
                format!("|{} {label} {}{close}", fill_of(left), fill_of(right))
            } else {
                self.label(&mut below, start, &label);
                format!("|{}{close}", fill_of(inner))
            };
            bars.push((start, text));
        }
        self.write(&row.client, &bars);
        for labels in &below {
            self.write("", labels);
        }
    }

    /// Puts a label below its bar, on the first line that has room.
    fn label(&self, below: &mut Vec<Vec<(usize, String)>>, start: usize, label: &str) {
        let label: String = label.chars().take(self.width).collect();
        let start = start.min(self.width - label.len());
        let free = |labels: &&mut Vec<(usize, String)>| {
            labels.last().is_none_or(|(column, text)| column + text.len() + 2 <= start)
        };
        match below.iter_mut().find(free) {
            Some(labels) => labels.push((start, label)),
            None => below.push(vec![(start, label)]),
        }
    }

    /// When things happened, as far as there is room.
    fn axis(&mut self, layout: &Layout) {
        let mut labels: Vec<(usize, String)> = Vec::new();
        let mut marks = Vec::new();
        for &(place, time) in &layout.ticks {
            let Some(time) = time else { continue };
            let text = crate::check::text::at(time);
            let column = self.column(place).min(self.width.saturating_sub(text.len()));
            if labels.last().is_none_or(|(last, text)| last + text.len() + 2 <= column) {
                marks.push((self.column(place), "'".to_owned()));
                labels.push((column, text));
            }
        }
        if labels.is_empty() {
            self.write("", &[(0, "in order of time -->".to_owned())]);
        } else {
            self.write("", &marks);
            self.write("", &labels);
        }
    }
}

/// Without characters that a terminal may not have or may obey.
fn ascii(text: &str) -> String {
    text.replace('…', "...")
        .chars()
        .map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' })
        .collect()
}
