//! The drawing as SVG, for reports: by itself or inside a page, in light and in dark.

use std::fmt::Arguments;

use super::{Bar, END, Kind, Layout, Row};
use crate::check::explain::facts::Facts;
use crate::check::explain::reduce::Core;
use crate::check::explain::sentences::explain;
use crate::check::text;

const WIDTH: usize = 960;
/// Room for the clients' names.
const GUTTER: usize = 110;
const ROW: usize = 44;
const BAR: usize = 14;
const AXIS: usize = 34;
/// What a character of a label takes, roughly.
const CHAR: usize = 7;

/// Colours come from the page's variables if it has them.
const STYLE: &str = "\
.core-timeline{font:12px ui-monospace,Menlo,Consolas,monospace;color:inherit;max-width:100%;height:auto}\
.core-timeline text{fill:currentColor}\
.core-timeline .client{font-weight:600}\
.core-timeline .rule{stroke:currentColor;stroke-opacity:.18}\
.core-timeline .time{opacity:.7;font-size:11px}\
.core-timeline .bar{stroke:currentColor;stroke-opacity:.55;fill:var(--ok-fill,#6db6fe)}\
.core-timeline .open .bar{fill:var(--info-fill,#ffaa26);stroke-dasharray:4 3}\
.core-timeline .blocked .bar{fill:var(--invalid,#d5453b);stroke-width:2}\
.core-timeline .blocked text{font-weight:600}\
.core-timeline .context .bar{fill:currentColor;fill-opacity:.18;stroke-dasharray:2 2}";

/// Draws a core as an SVG element that needs nothing else.
pub fn timeline_svg(core: &Core, facts: &dyn Facts) -> String {
    let layout = Layout::of(core, facts);
    let explanation = explain(core, facts);
    let note = if layout.left_out > 0 { AXIS / 2 } else { 0 };
    let height = layout.rows.len() * ROW + AXIS + note;
    let title = escape(&format!("Timeline: {}", explanation.anomaly.name()));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"core-timeline\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\" aria-label=\"{title}\"><title>{title}</title>\
         <desc>{}</desc><style>{STYLE}</style>",
        escape(&explanation.sentences)
    );
    axis(&mut svg, &layout);
    for (number, row) in layout.rows.iter().enumerate() {
        draw_row(&mut svg, row, number * ROW);
    }
    if layout.left_out > 0 {
        let y = height - 4;
        write_to(
            &mut svg,
            format_args!(
                "<text class=\"time\" x=\"{GUTTER}\" y=\"{y}\">{} more operations are not drawn</text>",
                layout.left_out
            ),
        );
    }
    svg.push_str("</svg>");
    svg
}

fn write_to(svg: &mut String, arguments: Arguments<'_>) {
    svg.push_str(&arguments.to_string());
}

fn x(place: usize) -> usize {
    GUTTER + place * (WIDTH - GUTTER - 8) / END
}

/// Lines for all events, and times as far as there is room.
fn axis(svg: &mut String, layout: &Layout) {
    let bottom = layout.rows.len() * ROW;
    let mut free_from = 0;
    for &(place, time) in &layout.ticks {
        let x = x(place);
        write_to(
            svg,
            format_args!(
                "<line class=\"rule\" x1=\"{x}\" x2=\"{x}\" y1=\"0\" y2=\"{}\"/>",
                bottom + 4
            ),
        );
        let Some(time) = time else { continue };
        let label = text::at(time);
        let width = label.len() * CHAR;
        let start = x.min(WIDTH - width);
        if start >= free_from {
            free_from = start + width + CHAR;
            let y = bottom + 18;
            write_to(
                svg,
                format_args!("<text class=\"time\" x=\"{start}\" y=\"{y}\">{label}</text>"),
            );
        }
    }
}

fn draw_row(svg: &mut String, row: &Row, top: usize) {
    let baseline = top + 34;
    write_to(
        svg,
        format_args!(
            "<text class=\"client\" x=\"0\" y=\"{baseline}\">{}</text>",
            escape(&row.client)
        ),
    );
    for (number, bar) in row.bars.iter().enumerate() {
        let next = row.bars.get(number + 1).map_or(WIDTH, |next| x(next.start));
        draw_bar(svg, bar, top, next);
    }
}

fn draw_bar(svg: &mut String, bar: &Bar, top: usize, next: usize) {
    let class = match bar.kind {
        Kind::Certain => "op",
        Kind::Open => "op open",
        Kind::Blocked => "op blocked",
        Kind::Context => "op context",
    };
    let start = x(bar.start);
    let end = bar.end.map_or(WIDTH, x).max(start + 4);
    let width = end - start;
    let y = top + 22;
    let note = if bar.kind == Kind::Blocked { " (fits nowhere)" } else { "" };
    // As much of the label as there is room for before the next one; the rest is in the title.
    let room = next.saturating_sub(start) / CHAR;
    let mut label = format!("{}{note}", bar.label);
    let mut place = start;
    if next == WIDTH && label.chars().count() > room {
        place = WIDTH.saturating_sub(label.chars().count() * CHAR).max(GUTTER).min(start);
    } else if label.chars().count() > room {
        label = label.chars().take(room.saturating_sub(1)).chain(['…']).collect();
    }
    write_to(
        svg,
        format_args!(
            "<g class=\"{class}\"><title>{}</title><text x=\"{place}\" y=\"{}\">{}</text>\
             <rect class=\"bar\" x=\"{start}\" y=\"{y}\" width=\"{width}\" height=\"{BAR}\" rx=\"2\"/></g>",
            escape(&bar.title),
            top + 16,
            escape(&label)
        ),
    );
}

/// For text and attributes. What XML cannot hold at all is left out.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => {}
            c if c.is_control() && c != '\n' && c != '\t' => {}
            c => escaped.push(c),
        }
    }
    escaped
}
