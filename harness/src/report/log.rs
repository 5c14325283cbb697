//! What a node's log said around a moment of the run.
//!
//! Logs tell wall-clock time, histories tell time since the run began. The two are brought together by events that
//! stand in both: a node's changes of role, which the harness read in that very log.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::Serialize;
use serde_json::{Map, Value};

use super::run::Run;
use super::words::{MILLISECOND, at, clip, count, number, put};

/// How far the extract reaches, nanoseconds.
const RADIUS: i128 = 500_000_000;

/// Most lines shown, the nearest ones.
const LINES_MAX: usize = 80;

/// Most bytes of a log that are read.
const BYTES_MAX: u64 = 256 << 20;

/// Longest line shown, characters.
const LINE_CHARS_MAX: usize = 400;

/// Fields of a structured line that are not repeated after its text: `event` is the text, `node` is in the heading.
const TOLD_ELSEWHERE: [&str; 8] =
    ["message", "event", "timestamp", "time", "ts", "level", "target", "node"];

/// Part of a node's log.
#[derive(Debug, Serialize)]
pub(super) struct Extract {
    pub(super) node: u64,
    lines: Vec<Entry>,
    /// Lines in the span of time that are not shown.
    omitted: String,
    /// How times were brought together.
    aligned: String,
}

/// A line of it.
#[derive(Debug, Serialize)]
struct Entry {
    /// Seconds since the run began.
    at: String,
    /// Milliseconds since the moment, with sign.
    offset: String,
    level: String,
    text: String,
    /// Whether the moment lies before this line and after the one before.
    first_after: bool,
}

/// A parsed line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parsed {
    /// Nanoseconds since 1970.
    wall: i128,
    level: String,
    text: String,
    role: Option<(String, u64)>,
}

/// The extract of a node's log around a moment, if there is one.
pub(super) fn extract(
    dir: &Path,
    run: &Run,
    started: Option<i128>,
    id: u64,
    moment: u64,
) -> Option<Extract> {
    let lines = read(&dir.join("nodes").join(id.to_string()).join("stderr"))?;
    let (origin, aligned) = match (origin(run, id, &lines), started) {
        (Some(origin), _) => {
            (origin, "aligned by the node's changes of role, to within some milliseconds")
        }
        (None, Some(started)) => (started, "aligned by the run's start"),
        (None, None) => return None,
    };
    let moment_wall = origin + i128::from(moment);
    let mut near: Vec<(i128, &Parsed)> = lines
        .iter()
        .map(|line| (line.wall - moment_wall, line))
        .filter(|(offset, _)| offset.abs() <= RADIUS)
        .collect();
    if near.is_empty() {
        return None;
    }
    near.sort_by_key(|(offset, _)| offset.abs());
    let omitted = near.len().saturating_sub(LINES_MAX);
    near.truncate(LINES_MAX);
    near.sort_by_key(|(offset, _)| *offset);
    let after = near.iter().position(|(offset, _)| *offset >= 0);
    let entries = near.iter().enumerate().map(|(place, (offset, line))| Entry {
        at: u64::try_from(line.wall - origin).map_or_else(|_| "before".to_owned(), at),
        offset: format!("{:+} ms", offset / i128::from(MILLISECOND)),
        level: clip(&line.level, 8),
        text: clip(&line.text, LINE_CHARS_MAX),
        first_after: after == Some(place),
    });
    Some(Extract {
        node: id,
        lines: entries.collect(),
        omitted: if omitted > 0 { count(number(omitted)) } else { String::new() },
        aligned: aligned.to_owned(),
    })
}

/// The lines that tell a time.
fn read(path: &Path) -> Option<Vec<Parsed>> {
    let mut reader = BufReader::new(File::open(path).ok()?.take(BYTES_MAX));
    let mut lines = Vec::new();
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        if reader.read_until(b'\n', &mut buffer).ok()? == 0 {
            return Some(lines);
        }
        lines.extend(parse(&String::from_utf8_lossy(&buffer)));
    }
}

/// When the run began, nanoseconds since 1970: the median of what the node's changes of role say.
fn origin(run: &Run, id: u64, lines: &[Parsed]) -> Option<i128> {
    let mut in_log: BTreeMap<(&str, u64), Vec<i128>> = BTreeMap::new();
    for line in lines {
        if let Some((role, term)) = &line.role {
            in_log.entry((role, *term)).or_default().push(line.wall);
        }
    }
    let mut in_history: BTreeMap<(&str, u64), Vec<i128>> = BTreeMap::new();
    for role in &run.nodes.get(&id)?.roles {
        in_history.entry((&role.name, role.term)).or_default().push(i128::from(role.time));
    }
    // A change that does not stand in both equally often cannot be told from its repetitions.
    let pairs = in_history.iter().filter_map(|(change, times)| {
        let walls = in_log.get(change)?;
        (walls.len() == times.len())
            .then(|| walls.iter().zip(times).map(|(wall, time)| wall - time))
    });
    let mut origins: Vec<i128> = pairs.flatten().collect();
    origins.sort_unstable();
    origins.get(origins.len() / 2).copied()
}

/// A line of structured (JSON) or plain logging.
fn parse(line: &str) -> Option<Parsed> {
    let line = line.trim();
    if let Ok(Value::Object(object)) = serde_json::from_str(line) {
        return parse_object(&object);
    }
    let (time, rest) = line.split_once(char::is_whitespace)?;
    let wall = rfc3339(time)?;
    let rest = rest.trim_start();
    let (first, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let is_level = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"].contains(&first);
    let (level, text) = if is_level { (first, after) } else { ("", rest) };
    Some(Parsed { wall, level: level.to_owned(), text: text.trim().to_owned(), role: None })
}

fn parse_object(object: &Map<String, Value>) -> Option<Parsed> {
    let time = ["timestamp", "time", "ts"].into_iter().find_map(|name| object.get(name))?;
    let wall = match time {
        Value::String(text) => rfc3339(text)?,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            return None;
        }
    };
    let fields = object.get("fields").and_then(Value::as_object).unwrap_or(object);
    let text_of =
        |name: &str| fields.get(name).or_else(|| object.get(name)).and_then(Value::as_str);
    let mut text = text_of("message").or(text_of("event")).unwrap_or_default().to_owned();
    for (name, value) in fields {
        if !TOLD_ELSEWHERE.contains(&name.as_str()) {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            put(&mut text, format_args!(" {name}={value}"));
        }
    }
    let term = fields.get("term").and_then(Value::as_u64);
    Some(Parsed {
        wall,
        level: text_of("level").unwrap_or_default().to_owned(),
        text: text.trim().to_owned(),
        role: text_of("role").zip(term).map(|(role, term)| (role.to_owned(), term)),
    })
}

/// Nanoseconds since 1970 of a time in UTC as RFC 3339 writes it.
pub(super) fn rfc3339(text: &str) -> Option<i128> {
    let time = humantime::parse_rfc3339_weak(text).ok()?;
    i128::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::run::{Node, Role};

    #[test]
    fn structured_and_plain_lines_are_read() {
        let json = r#"{"timestamp":"1970-01-01T00:00:01.5Z","level":"INFO","event":"role","node":2,"role":"leader","term":4,"target":"raftd"}"#;
        let parsed = parse(json).unwrap();
        assert_eq!(parsed.wall, 1_500_000_000);
        assert_eq!(parsed.text, "role role=leader term=4");
        assert_eq!(parsed.role, Some(("leader".to_owned(), 4)));
        let plain = parse("1970-01-01T00:00:02Z  WARN disk is slow").unwrap();
        assert_eq!(
            (plain.wall, plain.level.as_str(), plain.text.as_str()),
            (2_000_000_000, "WARN", "disk is slow")
        );
        assert_eq!(parse("thread 'main' panicked"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn origin_is_found_from_changes_of_role_despite_repetitions() {
        let line = |wall, role: &str, term| Parsed {
            wall,
            level: String::new(),
            text: String::new(),
            role: Some((role.to_owned(), term)),
        };
        let role = |time, role: &str, term| Role { time, name: role.to_owned(), term };
        let mut run = Run::default();
        let roles = vec![role(12, "leader", 2), role(31, "follower", 3), role(55, "follower", 3)];
        run.nodes.insert(1, Node { roles, ..Node::default() });
        let lines = [line(1_010, "leader", 2), line(1_030, "follower", 3)];
        assert_eq!(origin(&run, 1, &lines), Some(998), "the repeated change must not count");
        assert_eq!(origin(&run, 2, &lines), None);
    }
}
