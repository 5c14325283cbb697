//! Runs of the command, and what is expected of them.

use std::fmt::Write as _;
use std::process::{Command, Output};

use serde_json::Value;

use crate::fake::FakeNode;

/// The command, deaf to the environment.
pub(crate) fn raftctl(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raftctl"));
    command.args(args).env_remove("RAFTCTL_CONFIG");
    command
}

/// The command, with these nodes as its endpoints.
pub(crate) fn raftctl_at(nodes: &[&FakeNode], args: &[&str]) -> Command {
    let addrs: Vec<String> = nodes.iter().map(|node| node.addr()).collect();
    let addrs = addrs.join(",");
    raftctl(&[&["--endpoints", &addrs], args].concat())
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn run(command: &mut Command) -> Run {
    Run::of(command.output().unwrap())
}

impl Run {
    pub(crate) fn of(output: Output) -> Run {
        let run = Run {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!run.stderr.contains("panicked"), "{}", run.text());
        run
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Run {
        assert_eq!(self.code, Some(code), "{}", self.text());
        self
    }

    /// It printed exactly this.
    #[track_caller]
    pub(crate) fn prints(self, stdout: &str) -> Run {
        assert_eq!(self.stdout, stdout, "{}", self.text());
        self
    }

    /// Standard error holds all of these.
    #[track_caller]
    pub(crate) fn complains(self, parts: &[&str]) -> Run {
        for part in parts {
            assert!(self.stderr.contains(part), "no {part:?} in: {}", self.text());
        }
        self
    }

    /// What it printed, as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{}", self.text());
        serde_json::from_str(&self.stdout).unwrap()
    }

    fn text(&self) -> String {
        let mut text = format!("exit code {:?}\n", self.code);
        write!(text, "stdout: {}\nstderr: {}", self.stdout, self.stderr).unwrap();
        text
    }
}
