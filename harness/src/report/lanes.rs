//! What each node was over time: one lane a node, with its role, and whatever kept it from working.

use serde::Serialize;

use super::run::{Fault, Node, Run};
use super::scale::Time;
use super::stage::kind_number;
use super::words::{at, clip, number, span};

/// Most pieces of all lanes together; the shortest are left out first.
const SEGMENTS_MAX: usize = 1_500;

/// A node's lane.
#[derive(Debug, Serialize)]
pub(super) struct Lane {
    pub(super) label: String,
    pub(super) segments: Vec<Segment>,
    /// Drawn over the segments: times at which the node was stopped or cut off.
    pub(super) overlays: Vec<Segment>,
}

/// A piece of a lane.
#[derive(Debug, Serialize)]
pub(super) struct Segment {
    pub(super) x: f64,
    pub(super) w: f64,
    /// CSS class.
    pub(super) class: &'static str,
    /// Number of the fault kind's colour, if it is a fault's.
    pub(super) kind: Option<usize>,
    /// What stands in it, if there is room.
    pub(super) label: String,
    /// What one reads when pointing at it.
    pub(super) title: String,
}

/// What a node is between two events.
#[derive(Clone, Debug)]
enum State {
    Up,
    Role { role: String, term: u64 },
    Down(String),
}

/// The lanes of some nodes in a span of time.
pub(super) fn lanes(run: &Run, time: Time, wanted: impl Fn(u64) -> bool) -> Vec<Lane> {
    let drawn = usize::try_from(super::run::NODES_MAX).unwrap_or(usize::MAX);
    let nodes = run.nodes.iter().filter(|(id, _)| wanted(**id)).take(drawn);
    let most = SEGMENTS_MAX / run.nodes.len().clamp(1, drawn);
    nodes.map(|(id, node)| lane(run, *id, node, time, most)).collect()
}

fn lane(run: &Run, id: u64, node: &Node, time: Time, most: usize) -> Lane {
    let changes = changes(node);
    let ends = changes.iter().skip(1).map(|(time, _)| *time).chain([run.end.max(time.end)]);
    let mut pieces: Vec<(u64, u64, &State)> = changes
        .iter()
        .zip(ends)
        .map(|((start, state), end)| (*start, end, state))
        .filter(|(start, end, _)| end > start && time.overlaps(*start, *end))
        .collect();
    keep_longest(&mut pieces, most, |(start, end, _)| end - start);
    let segments = pieces
        .into_iter()
        .map(|(start, end, state)| segment(id, start, end, state, time))
        .collect();
    let touching = |fault: &&Fault| {
        fault.skipped.is_none()
            && fault.nodes.contains(&id)
            && time.overlaps(fault.start, fault.stop.unwrap_or(run.end))
    };
    let overlays = run
        .faults
        .iter()
        .filter(touching)
        .take(most)
        .filter_map(|fault| overlay(fault, run.end, time))
        .collect();
    Lane { label: format!("n{id}"), segments, overlays }
}

/// A node's changes of state in order of time.
fn changes(node: &Node) -> Vec<(u64, State)> {
    let ups = node.starts.iter().map(|time| (*time, State::Up));
    let downs = node.exits.iter().map(|(time, exit)| (*time, State::Down(exit.how.clone())));
    let roles =
        node.roles.iter().map(|r| (r.time, State::Role { role: r.name.clone(), term: r.term }));
    let mut all: Vec<(u64, State)> = downs.chain(ups).chain(roles).collect();
    all.sort_by_key(|(time, _)| *time);
    all
}

/// Leaves out the shortest of too many, and keeps the order.
fn keep_longest<T>(pieces: &mut Vec<T>, most: usize, length: impl Fn(&T) -> u64) {
    if pieces.len() > most {
        let mut lengths: Vec<u64> = pieces.iter().map(&length).collect();
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        let least = lengths[most];
        pieces.retain(|piece| length(piece) > least);
    }
}

fn segment(id: u64, start: u64, end: u64, state: &State, time: Time) -> Segment {
    let (class, label, what) = match state {
        State::Up => ("up", String::new(), "is up".to_owned()),
        State::Down(how) => ("down", String::new(), format!("is down: {}", clip(how, 60))),
        State::Role { role, term } => match role.as_str() {
            "leader" => {
                let class = if term % 2 == 0 { "leader even" } else { "leader" };
                let label = match time.width(start, end) {
                    width if width > 6.5 => format!("term {term}"),
                    width if width > 2.0 => term.to_string(),
                    _ => String::new(),
                };
                (class, label, format!("leads term {term}"))
            }
            "follower" => ("follower", String::new(), format!("follows in term {term}")),
            "candidate" | "pre-candidate" => {
                ("candidate", String::new(), format!("is {role} in term {term}"))
            }
            other => ("up", String::new(), format!("is {} in term {term}", clip(other, 30))),
        },
    };
    let title = format!("n{id} {what}, {}–{} s ({})", at(start), at(end), span(end - start));
    Segment { x: time.x(start), w: time.width(start, end), class, kind: None, label, title }
}

/// How a fault shows in the lane of a node that it touches; a kill shows as the time the node is down.
fn overlay(fault: &Fault, end: u64, time: Time) -> Option<Segment> {
    let stop = fault.stop.unwrap_or(end);
    let class = match fault.kind.as_str() {
        "kill" => return None,
        "pause" => "paused",
        _ => "cut",
    };
    let title = format!(
        "{}, {}–{} s ({})",
        clip(&fault.text, 120),
        at(fault.start),
        at(stop),
        span(stop.saturating_sub(fault.start))
    );
    Some(Segment {
        x: time.x(fault.start),
        w: time.width(fault.start, stop),
        class,
        kind: Some(kind_number(&fault.kind)),
        label: String::new(),
        title,
    })
}

/// How often a node became leader.
pub(super) fn times_leader(run: &Run, id: u64) -> u64 {
    number(run.elections.iter().filter(|election| election.node == id).count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::run::Role;
    use history_checker::history::Exit;

    fn classes(lane: &Lane) -> Vec<(&'static str, f64, f64)> {
        lane.segments.iter().map(|segment| (segment.class, segment.x, segment.w)).collect()
    }

    #[test]
    fn lane_follows_roles_exits_and_starts() {
        let role = |time, role: &str, term| Role { time, name: role.to_owned(), term };
        let node = Node {
            starts: vec![0, 60],
            exits: vec![(50, Exit { expected: true, how: "signal 9".to_owned() })],
            roles: vec![role(10, "candidate", 3), role(20, "leader", 3), role(70, "follower", 4)],
            panics: Vec::new(),
        };
        let mut run = Run { end: 100, ..Run::default() };
        run.nodes.insert(1, node);
        let lanes = lanes(&run, Time::new(0, 100), |_| true);
        assert_eq!(
            classes(&lanes[0]),
            [
                ("up", 0.0, 10.0),
                ("candidate", 10.0, 10.0),
                ("leader", 20.0, 30.0),
                ("down", 50.0, 10.0),
                ("up", 60.0, 10.0),
                ("follower", 70.0, 30.0),
            ]
        );
    }

    #[test]
    fn too_many_pieces_lose_the_shortest() {
        let mut pieces: Vec<u64> = (1..=100).collect();
        keep_longest(&mut pieces, 10, |piece| *piece);
        assert_eq!(pieces, (91..=100).collect::<Vec<u64>>());
    }
}
