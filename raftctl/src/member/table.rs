//! Members in words, in a table, and as JSON.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use raftctl::{Member, NodeId, NodeStatus, Status};
use serde::Serialize;

/// One member, with `--output json`.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    id: NodeId,
    /// `voter`, `learner`, `incoming`, `outgoing`, or `voter` in both halves of a joint change.
    member: &'static str,
    leads: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    /// The log is known to equal the leader's up to here.
    #[serde(skip_serializing_if = "Option::is_none")]
    matched: Option<u64>,
    /// Entries that it lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<u64>,
    /// How the leader serves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    silent_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caught_up: Option<bool>,
    /// What it says itself: `full`, `new` or `lost`; absent if it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    standing: Option<String>,
    /// It gets its vote back once it has caught up.
    returning: bool,
}

/// The members, one row each.
pub(super) fn json(status: &Status, all: &[NodeStatus]) -> Vec<Row> {
    let answers = all.iter().filter_map(|node| node.status.as_ref().ok());
    let standing: BTreeMap<NodeId, &str> =
        answers.map(|status| (status.node, status.standing.as_str())).collect();
    let row = |member: &Member| {
        let Member { id, peer, client, returning, .. } = member.clone();
        let follower = status.followers.iter().find(|follower| follower.id == id);
        // Only a leader knows how far the others are, and itself lacks nothing.
        let is_asked = id == status.node;
        Row {
            id,
            member: kind(status, id),
            leads: status.leader == Some(id),
            peer,
            client,
            matched: follower.map(|follower| follower.matched).or(is_asked.then_some(status.last)),
            lag: follower
                .map(|follower| status.last.saturating_sub(follower.matched))
                .or(is_asked.then_some(0)),
            mode: follower.map(|follower| match follower.sent_bytes {
                Some(bytes) => format!("{} ({bytes} bytes sent)", follower.mode),
                None => follower.mode.clone(),
            }),
            silent_ms: follower.map(|follower| follower.silent_ms),
            caught_up: follower.map(|follower| follower.caught_up).or(is_asked.then_some(true)),
            standing: standing.get(&id).map(|&standing| standing.to_owned()),
            returning,
        }
    };
    status.members.iter().map(row).collect()
}

/// What a member is.
fn kind(status: &Status, id: NodeId) -> &'static str {
    let (incoming, outgoing) = (status.voters.contains(&id), status.outgoing.contains(&id));
    match (incoming, outgoing) {
        (true, false) if !status.outgoing.is_empty() => "incoming",
        (true, _) => "voter",
        (false, true) => "outgoing",
        (false, false) => "learner",
    }
}

const HEADER: [&str; 9] =
    ["ID", "MEMBER", "PEER", "CLIENT", "MATCHED", "LAG", "MODE", "CAUGHT UP", "STANDING"];

/// A table, and what it cannot say.
pub(super) fn text(status: &Status, all: &[NodeStatus]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(HEADER);
    let rows = json(status, all);
    for row in &rows {
        let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let words = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let mode = if row.leads { "leads".to_owned() } else { words(&row.mode) };
        let caught_up = row.caught_up.map_or("-", |yes| if yes { "yes" } else { "no" });
        let standing = match (&row.standing, row.returning) {
            (None, _) => "no answer".to_owned(),
            (Some(standing), true) => format!("{standing}, returning"),
            (Some(standing), false) => standing.clone(),
        };
        table.add_row([
            row.id.to_string(),
            row.member.to_owned(),
            words(&row.peer),
            words(&row.client),
            number(row.matched),
            number(row.lag),
            mode,
            caught_up.to_owned(),
            standing,
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for right in [4, 5] {
        if let Some(column) = table.column_mut(right) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = table.trim_fmt();
    if !status.outgoing.is_empty() {
        text += "\n(A change is under way: the outgoing and the incoming voters must both agree.)";
    }
    if status.role != "leader" {
        text += "\n(As this node knows them, which does not lead: only a leader knows how far the others are.)";
    }
    text
}

/// `voters 1, 2, 3; learner 4`.
pub(super) fn who(status: &Status) -> String {
    let list = |ids: &[NodeId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut words = vec![format!("voters {}", list(&status.voters))];
    if !status.outgoing.is_empty() {
        words.push(format!("outgoing {}", list(&status.outgoing)));
    }
    if !status.learners.is_empty() {
        words.push(format!("learners {}", list(&status.learners)));
    }
    words.join("; ")
}

#[cfg(test)]
mod tests {
    use raftctl::Endpoint;
    use raftd::api::Follower;

    use super::*;

    fn member(id: u64) -> Member {
        Member { id, client: Some(format!("h:720{id}")), ..Member::default() }
    }

    fn leader() -> Status {
        Status {
            node: 1,
            role: "leader".to_owned(),
            leader: Some(1),
            last: 90,
            voters: vec![1, 2],
            learners: vec![4],
            members: [1, 2, 4].map(member).to_vec(),
            followers: vec![Follower {
                id: 4,
                matched: 17,
                mode: "probe".to_owned(),
                ..Follower::default()
            }],
            standing: "full".to_owned(),
            ..Status::default()
        }
    }

    #[test]
    fn members_are_told_by_what_they_are() {
        let mut status = leader();
        assert_eq!([1, 2, 4].map(|id| kind(&status, id)), ["voter", "voter", "learner"]);
        status.outgoing = vec![2, 3];
        assert_eq!([1, 2, 3].map(|id| kind(&status, id)), ["incoming", "voter", "outgoing"]);
        assert_eq!(who(&status), "voters 1, 2; outgoing 2, 3; learners 4");
    }

    #[test]
    fn table_has_a_line_a_member_with_what_the_leader_knows() {
        let status = leader();
        let answer =
            NodeStatus { endpoint: Endpoint::of(1, "h:7201"), status: Ok(Box::new(leader())) };
        let text = text(&status, &[answer]);
        let lines: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["1", "voter", "-", "h:7201", "90", "0", "leads", "yes", "full"]);
        assert_eq!(
            lines[3],
            ["4", "learner", "-", "h:7204", "17", "73", "probe", "no", "no", "answer"]
        );
        assert_eq!(lines.len(), 4);
    }
}
