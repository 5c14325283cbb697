//! Rules about the source tree that no compiler checks: what may use what, and what does not stay in.

use std::fs;
use std::path::{Path, PathBuf};

/// Longest source file, lines.
const LINES_MAX: usize = 700;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A source file, and its path from the root.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Whether it is the tests of a module, in a file or folder of their own.
    fn is_test(&self) -> bool {
        self.path.contains("/src/")
            && (self.path.ends_with("/tests.rs") || self.path.contains("/tests/"))
    }

    /// Lines with their numbers, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = self.text.lines().map(|line| line.split("//").next().unwrap_or_default());
        (1..).zip(code)
    }
}

/// All Rust sources below these folders, in order.
fn sources(folders: &[&str]) -> Vec<Source> {
    let mut sources = Vec::new();
    for folder in folders {
        collect(&root().join(folder), &mut sources);
    }
    assert!(!sources.is_empty(), "no sources in {folders:?}");
    sources
}

fn collect(path: &Path, sources: &mut Vec<Source>) {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for entry in &entries {
            collect(entry, sources);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        sources.push(Source { path: name, text: fs::read_to_string(path).unwrap() });
    }
}

/// The names in a section of a crate's manifest.
fn manifest_keys(folder: &str, section: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    let section = manifest.get(section).and_then(toml::Value::as_table);
    section.map_or_else(Vec::new, |section| section.keys().cloned().collect())
}

/// Whether code names this path: not in a text, and not merely as the end of a longer name.
fn names(code: &str, path: &str) -> bool {
    code.match_indices(path).any(|(at, _)| {
        let before = &code[..at];
        let is_in_text = before.matches('"').count() % 2 == 1;
        let is_longer = before.ends_with(|last: char| last.is_alphanumeric() || last == '_');
        !is_in_text && !is_longer
    })
}

/// No source below the folders may name any of the paths. Tests may: they are not what the rule protects.
fn check_absence(folders: &[&str], paths: &[&str], reason: &str) {
    let mut found = Vec::new();
    for source in sources(folders).iter().filter(|source| !source.is_test()) {
        for (number, code) in source.code() {
            if let Some(path) = paths.iter().find(|path| names(code, path)) {
                found.push(format!("{}:{number}: {path}", source.path));
            }
        }
    }
    assert!(found.is_empty(), "{reason}:\n{}", found.join("\n"));
}

#[test]
fn core_depends_on_serde_alone() {
    assert_eq!(manifest_keys("raftd/core", "dependencies"), ["serde"]);
    let outside = [
        "std::fs",
        "std::net",
        "std::thread",
        "std::env",
        "std::process",
        "Instant::now",
        "SystemTime",
    ];
    check_absence(&["raftd/core/src"], &outside, "the core has no clock and does no I/O");
}

#[test]
fn daemon_parts_depend_downwards_only() {
    let above = ["crate::net", "crate::server", "crate::status", "raft_core::node::Node"];
    check_absence(
        &["raftd/src/storage", "raftd/src/codec.rs"],
        &above,
        "files know nothing of sockets and of the loop",
    );
    let above = ["crate::server", "crate::storage", "crate::status", "raft_core::node"];
    check_absence(&["raftd/src/net"], &above, "sockets know nothing of disks and of the loop");
    let above = ["crate::net", "crate::server", "crate::storage", "crate::status", "crate::codec"];
    check_absence(
        &["raftd/src/api.rs", "raftd/src/config.rs"],
        &above,
        "what others share stands alone",
    );
}

#[test]
fn clock_is_read_in_the_loop_its_own_clock_and_the_writer_only() {
    for source in sources(&["raftd/src"]) {
        let reads_clock = source.code().any(|(_, code)| names(code, "Instant::now"));
        let readers =
            ["raftd/src/server.rs", "raftd/src/server/clock.rs", "raftd/src/storage/writer.rs"];
        let may = readers.contains(&source.path.as_str());
        assert!(
            may || !reads_clock,
            "{} reads the clock; time is told by the event loop",
            source.path
        );
    }
}

#[test]
fn client_uses_what_is_shared_and_not_the_daemon_itself() {
    let daemon = ["raftd::server", "raftd::net", "raftd::status"];
    check_absence(
        &["raftctl/src"],
        &daemon,
        "raftctl shares types and files with raftd, not its workings",
    );
}

#[test]
fn bench_looks_at_the_daemon_from_outside() {
    for section in ["dependencies", "dev-dependencies"] {
        let dependencies = manifest_keys("harness", section);
        assert!(
            !dependencies.iter().any(|name| name == "raftd"),
            "the bench gets raftd as a binary, by its path"
        );
    }
    let reason = "the bench gets raftd as a binary, by its path; the simulator alone runs the core";
    check_absence(&["harness/src", "harness/tests"], &["raftd::"], reason);
    for source in sources(&["harness/src", "harness/tests"]) {
        let is_simulator = source.path.starts_with("harness/src/sim");
        let inside = source.code().find(|(_, code)| names(code, "raft_core::"));
        assert!(is_simulator || inside.is_none(), "{}: {reason}", source.path);
    }
}

#[test]
fn checker_knows_histories_alone() {
    let bench = ["harness", "raftctl", "raftd", "raft-core", "tokio", "nix", "rand"];
    let dependencies = manifest_keys("harness/checker", "dependencies");
    let found = dependencies.iter().find(|name| bench.contains(&name.as_str()));
    assert_eq!(found, None, "the checker knows no clusters, clients and faults");
    let outside = ["std::net", "std::process", "Instant::now", "SystemTime::now"];
    let reason = "the verdict is a function of the history alone";
    // Deadlines for the search are the one thing it may look at a clock for, in one place.
    let sources = sources(&["harness/checker/src"]);
    for source in sources.iter().filter(|source| !source.path.ends_with("/deadline.rs")) {
        for (number, code) in source.code() {
            let found = outside.iter().find(|path| names(code, path));
            assert_eq!(found, None, "{}:{number}: {reason}", source.path);
        }
    }
}

#[test]
fn nothing_unfinished_is_left_in() {
    let unfinished = ["todo!", "dbg!", "unimplemented!", "FIXME", "XXX", "#[ignore"];
    for source in sources(&["raftd", "raftctl", "harness"]) {
        if source.path.ends_with("tests/it/tidy.rs") {
            continue;
        }
        for (number, line) in (1..).zip(source.text.lines()) {
            let found = unfinished.iter().find(|word| line.contains(*word));
            assert_eq!(found, None, "{}:{number}: finish it, or open an issue", source.path);
        }
    }
}

#[test]
fn no_source_is_too_long_to_read() {
    for source in sources(&["raftd", "raftctl", "harness"]) {
        let lines = source.text.lines().count();
        assert!(
            lines <= LINES_MAX,
            "{} has {lines} lines; split it by duty (at most {LINES_MAX})",
            source.path
        );
    }
}
