//! The README's transcript is run as it stands, so that it cannot rot.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A command of the transcript, and what the README says that it prints.
struct Step {
    command: String,
    expected: Vec<String>,
}

/// The steps of the first `console` block: `$ ` starts a command; lines up to the `END` of a here-document belong to it.
fn transcript(readme: &str) -> Vec<Step> {
    let block = readme.split("```console\n").nth(1).expect("README.md has a console block");
    let block = block.split("```").next().expect("a block ends");
    let mut steps: Vec<Step> = Vec::new();
    let mut in_document = false;
    for line in block.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            in_document = command.contains("<<'END'");
            steps.push(Step { command: command.to_owned(), expected: Vec::new() });
        } else {
            let step = steps.last_mut().expect("the transcript begins with a command");
            if in_document {
                in_document = line != "END";
                step.command.extend(["\n", line]);
            } else {
                step.expected.push(line.to_owned());
            }
        }
    }
    steps
}

/// Whether a printed line is the documented one; `…` stands for anything.
fn line_matches(documented: &str, printed: &str) -> bool {
    let mut parts = documented.split('…');
    let Some(rest) = printed.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut rest = rest;
    let mut last = "";
    let mut open = false;
    for part in parts {
        open = true;
        last = part;
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    if open { last.is_empty() || printed.ends_with(last) } else { rest.is_empty() }
}

/// Whether all printed lines are documented; a documented line `…` alone stands for any number of lines.
fn output_matches(documented: &[String], printed: &[&str]) -> bool {
    match documented {
        [] => printed.is_empty(),
        [any, rest @ ..] if any.trim() == "…" => {
            (0..=printed.len()).any(|skip| output_matches(rest, &printed[skip..]))
        }
        [line, rest @ ..] => printed.split_first().is_some_and(|(first, others)| {
            line_matches(line, first) && output_matches(rest, others)
        }),
    }
}

fn binaries() -> PathBuf {
    let harness = Path::new(env!("CARGO_BIN_EXE_harness"));
    let folder = harness.parent().expect("binaries are in a folder").to_owned();
    for name in ["raftd", "raftctl"] {
        assert!(folder.join(name).exists(), "{name} is not built: run `cargo test --workspace`");
    }
    folder
}

#[test]
fn readme_transcript_does_what_it_says() {
    let readme = include_str!("../../../README.md");
    let steps = transcript(readme);
    // A loopback address of this test's own, so that its fixed ports are nobody else's.
    let pid = std::process::id();
    let address = format!("127.{}.{}.{}", 64 + (pid >> 16) % 128, (pid >> 8) & 255, 1 + pid % 254);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut script = String::from("set -m; trap 'kill -9 $(jobs -p) 2>/dev/null' EXIT\n");
    for step in &steps {
        let command = step.command.replace("127.0.0.1", &address);
        script.extend([command.as_str(), "\nprintf '\\n==end==%s\\n' $?\n"]);
    }
    let path = format!("{}:{}", binaries().display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("bash")
        .arg("-c")
        .arg(&script)
        .current_dir(folder.path())
        .env("PATH", path)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("bash runs");
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    let mut outputs = printed.split("\n==end==");
    for step in &steps {
        let text = outputs.next().unwrap_or_default();
        // What is left of the marker before: the exit status.
        let text = text.split_once('\n').map_or(text, |(status, rest)| {
            if status.chars().all(|c| c.is_ascii_digit()) { rest } else { text }
        });
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            output_matches(&step.expected, &lines),
            "`{}` printed\n{text}\nbut README.md says\n{}\nall of it:\n{printed}",
            step.command,
            step.expected.join("\n"),
        );
    }
}

#[test]
fn line_with_ellipsis_matches_anything_there() {
    assert!(line_matches("ok (index …)", "ok (index 17)"));
    assert!(line_matches("hello", "hello"));
    assert!(!line_matches("hello", "hello world"));
    assert!(!line_matches("ok (index …)", "error"));
    assert!(line_matches("a … b … c", "a 1 b 2 c"));
    assert!(!line_matches("a … b … c", "a 1 b 2 d"));
    let doc = |lines: &[&str]| lines.iter().map(|&l| l.to_owned()).collect::<Vec<_>>();
    assert!(output_matches(&doc(&["…", "end"]), &["x", "y", "end"]));
    assert!(!output_matches(&doc(&["…", "end"]), &["x", "y"]));
}
