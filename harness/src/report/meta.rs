//! What the runner wrote beside the checkers' results: when, by which command, with which versions. All of it is
//! optional: a report of a bare history is a report too.

use std::path::Path;

use serde_json::Value;

use super::log::rfc3339;
use super::run::Run;
use super::words::clip;

/// Data about the run itself.
#[derive(Debug, Default)]
pub(super) struct Meta {
    /// As people read it.
    pub(super) started: Option<String>,
    /// Nanoseconds since 1970.
    pub(super) started_wall: Option<i128>,
    /// The command that was given.
    pub(super) command: Option<String>,
    /// A command that does the same again.
    pub(super) reproduce: String,
    /// What the workload is to show.
    pub(super) hypothesis: Option<String>,
    /// Number of clients at work at the same time.
    pub(super) clients: Option<u64>,
    /// Name and version.
    pub(super) versions: Vec<(String, String)>,
}

/// Longest text taken over.
const CHARS_MAX: usize = 500;

/// Gathers it from `results.json`, else from the history's header.
pub(super) fn meta(rest: &Value, run: &Run) -> Meta {
    let find = |names: &[&str]| {
        let in_results = names.iter().find_map(|name| rest.get(name));
        let in_run = || names.iter().find_map(|name| rest.get("run")?.get(name));
        let in_header = || names.iter().find_map(|name| run.header.run.get(*name));
        in_results.or_else(in_run).or_else(in_header).filter(|value| !value.is_null())
    };
    let started = find(&["started", "start", "date"]).and_then(Value::as_str);
    let command = find(&["command_line", "command", "args"]).and_then(command);
    let reproduce = find(&["reproduce"]).and_then(self::command);
    let versions = find(&["versions", "version"]).map(versions).unwrap_or_default();
    Meta {
        started: started.map(|text| readable(&clip(text, 40))),
        started_wall: started.and_then(rfc3339),
        hypothesis: find(&["hypothesis"]).and_then(Value::as_str).map(|text| clip(text, CHARS_MAX)),
        clients: find(&["clients"]).and_then(Value::as_u64),
        reproduce: reproduce.unwrap_or_else(|| rerun(run)),
        command,
        versions,
    }
}

/// `2025-11-20T17:42:11.120Z` without what nobody reads.
fn readable(time: &str) -> String {
    match time.split_once('T') {
        Some((date, clock)) if rfc3339(time).is_some() => {
            let clock = clock.trim_end_matches('Z');
            format!("{date} {} UTC", clock.split('.').next().unwrap_or(clock))
        }
        _ => time.to_owned(),
    }
}

/// A command line, from a text or a list of words.
fn command(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(clip(text, CHARS_MAX)),
        Value::Array(words) => {
            let words: Vec<String> = words.iter().filter_map(Value::as_str).map(quoted).collect();
            Some(clip(&words.join(" "), 2 * CHARS_MAX))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

/// A word as a shell takes it.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The command that repeats a run, from what the history's header says.
fn rerun(run: &Run) -> String {
    let header = &run.header;
    format!(
        "harness run {} --nodes {} --seed {}",
        quoted(&clip(&header.workload, 200)),
        header.nodes,
        header.seed
    )
}

/// The command that judges a run's history again.
pub(super) fn recheck(history: &Path) -> String {
    format!("harness check {}", quoted(&history.display().to_string()))
}

fn versions(value: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| {
        clip(value.as_str().map_or_else(|| value.to_string(), str::to_owned).as_str(), 80)
    };
    match value {
        Value::Object(versions) => versions
            .iter()
            .take(12)
            .map(|(name, version)| (clip(name, 40), text(version)))
            .collect(),
        Value::Null => Vec::new(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            vec![("harness".to_owned(), text(value))]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_are_quoted_as_a_shell_needs() {
        assert_eq!(["a-b", "", "a b", "it's"].map(quoted), ["a-b", "''", "'a b'", r"'it'\''s'"]);
    }

    #[test]
    fn command_is_taken_as_text_or_words_and_else_made_up() {
        let run = Run::default();
        let of = |value| meta(&json!({ "command_line": value }), &run).command;
        assert_eq!(of(json!("harness run x")).as_deref(), Some("harness run x"));
        assert_eq!(
            of(json!(["harness", "run", "my file"])).as_deref(),
            Some("harness run 'my file'")
        );
        assert_eq!(of(json!(7)), None);
        assert_eq!(meta(&json!({}), &run).reproduce, "harness run '' --nodes 0 --seed 0");
    }

    #[test]
    fn start_is_made_readable() {
        let meta = meta(&json!({ "started": "2025-11-20T17:42:11.120Z" }), &Run::default());
        assert_eq!(meta.started.as_deref(), Some("2025-11-20 17:42:11 UTC"));
        assert!(meta.started_wall.is_some());
    }
}
