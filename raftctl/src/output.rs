//! Exit codes, and standard output.

use std::cell::Cell;
use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

use crate::args::Format;

/// How the command ends; documented in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// Certainly had no effect.
    Failed,
    /// Wrong usage.
    Usage,
    /// The outcome is unknown, or could not be printed.
    Unknown,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Unknown => 3,
        })
    }
}

/// Standard output. A reader that goes away (`raftctl … | head -1`) is no error.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    /// Something could not be printed, though there is someone to read it.
    is_lost: Cell<bool>,
}

impl Output {
    pub(crate) fn new(format: Format) -> Output {
        Output { format, is_lost: Cell::new(false) }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Prints a line.
    pub(crate) fn line(&self, text: &str) {
        self.print(format!("{text}\n").as_bytes());
    }

    /// Prints a JSON value on a line.
    pub(crate) fn json(&self, value: &impl Serialize) {
        match serde_json::to_string(value) {
            Ok(text) => self.line(&text),
            Err(error) => self.lose(&error),
        }
    }

    /// Reports an error, and what to do about it, on standard error; the JSON form is the caller's to print.
    pub(crate) fn error(&self, text: &str) {
        if !self.is_json() {
            eprintln!("error: {text}");
        }
    }

    /// How to end, if the command ended like this: not well, if nobody could learn of it.
    pub(crate) fn finish(&self, exit: Exit) -> Exit {
        if self.is_lost.get() { Exit::Unknown } else { exit }
    }

    fn print(&self, bytes: &[u8]) {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => self.lose(&error),
            Ok(()) | Err(_) => {}
        }
    }

    fn lose(&self, error: &dyn std::error::Error) {
        eprintln!("error: cannot print the answer: {error}");
        self.is_lost.set(true);
    }
}
