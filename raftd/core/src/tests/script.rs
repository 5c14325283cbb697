//! Runs `testdata/*.txt`: commands, and exactly what they must print.
//!
//! A file is a sequence of blocks: commands, one a line; a line `----`; the output, up to an empty line. Lines that
//! start with `#` before the commands explain the step. [`super::commands`] lists the commands.
//!
//! `REWRITE=1 cargo test -p raft-core scripts` writes the output found into the files. Commit only a difference that
//! you can explain.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::commands::Stage;
use super::notation::list;

/// What differs in a file, ready to print.
struct Failure(String);

#[expect(clippy::disallowed_methods, reason = "what to run and to rewrite is said from outside")]
#[test]
fn scripts_print_what_they_say() {
    let only = std::env::var("SCRIPT").ok();
    let rewrite = std::env::var("REWRITE").is_ok();
    let mut failures = String::new();
    let mut count = 0;
    for path in script_files() {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if only.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        count += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        match run(&path, &text) {
            Ok(new_text) if rewrite && new_text != text => std::fs::write(&path, new_text).unwrap(),
            Ok(new_text) if new_text == text => {}
            Ok(new_text) => {
                let first = text.lines().zip(new_text.lines()).position(|(old, new)| old != new);
                let line = first.map_or(1, |at| at + 1);
                let diff = diff(&text, &new_text);
                report(&mut failures, &name, &Failure(format!("{}:{line}\n{diff}", shown(&path))));
            }
            Err(failure) => report(&mut failures, &name, &failure),
        }
    }
    assert!(count > 0, "no script is called {only:?}");
    assert!(failures.is_empty(), "\n{failures}");
}

#[test]
fn scripts_are_many_and_explain_themselves() {
    let paths = script_files();
    assert!(paths.len() >= 90, "only {} scripts", paths.len());
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# "), "{}: says what it shows", path.display());
    }
}

fn script_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    paths
}

fn report(failures: &mut String, name: &str, failure: &Failure) {
    writeln!(failures, "{}", failure.0).unwrap();
    writeln!(failures, "reproduce: SCRIPT={name} cargo test -p raft-core scripts").unwrap();
    writeln!(failures, "accept:    SCRIPT={name} REWRITE=1 cargo test -p raft-core scripts\n")
        .unwrap();
}

fn shown(path: &Path) -> String {
    path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(path).display().to_string()
}

/// The file as it would be if it were right.
fn run(path: &Path, text: &str) -> Result<String, Failure> {
    let mut stage = Stage::default();
    let mut new_text = String::new();
    let mut lines = text.lines().enumerate();
    let mut has_commands = false;
    let mut block = String::new();
    while let Some((number, line)) = lines.next() {
        if line != "----" {
            has_commands |= !line.is_empty() && !line.starts_with('#');
            if has_commands && !line.is_empty() {
                let output = catch_unwind(AssertUnwindSafe(|| stage.run(line)));
                let output = output.map_err(|panic| {
                    let said = panic.downcast_ref::<String>().map(String::as_str);
                    let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
                    let so_far = stage.output_so_far();
                    Failure(format!(
                        "{}:{}: {line}: panicked: {}\nafter:\n{so_far}",
                        shown(path),
                        number + 1,
                        said.unwrap_or("")
                    ))
                })?;
                block += &output;
            }
            writeln!(new_text, "{line}").unwrap();
            continue;
        }
        assert!(has_commands, "{}:{}: output without a command", shown(path), number + 1);
        writeln!(new_text, "----").unwrap();
        new_text += if block.is_empty() { "ok\n" } else { &block };
        block.clear();
        has_commands = false;
        let mut closed = false;
        for (_, old_output) in lines.by_ref() {
            if old_output.is_empty() {
                closed = true;
                break;
            }
        }
        if closed {
            new_text.push('\n');
        }
    }
    if has_commands {
        return Err(Failure(format!("{}: commands without ---- after them", shown(path))));
    }
    Ok(new_text)
}

/// Line by line, what is only in the old text (`-`) and only in the new one (`+`), with a little around.
fn diff(old: &str, new: &str) -> String {
    const AROUND: usize = 2;
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    // Length of the longest common subsequence of what follows from each pair of positions on.
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = if old[i] == new[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            lines.push(('-', old[i]));
            i += 1;
        } else {
            lines.push(('+', new[j]));
            j += 1;
        }
    }
    let changed: Vec<usize> = (0..lines.len()).filter(|&at| lines[at].0 != ' ').collect();
    let near = |at: usize| changed.iter().any(|&change| change.abs_diff(at) <= AROUND);
    let shown = (0..lines.len()).filter(|&at| near(at));
    list(shown.map(|at| format!("  {}{}", lines[at].0, lines[at].1)), "\n")
}
