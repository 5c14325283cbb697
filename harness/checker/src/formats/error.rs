//! Why a history cannot be read: where, and what was expected there.

use std::borrow::Cow;
use std::io;

use crate::history::Broken;

/// Why a history cannot be read: where, and what.
#[derive(Debug, thiserror::Error)]
#[error(
    "{name}{}: {problem}{}",
    line.map_or(String::new(), |line| format!(", line {line}")),
    column.map_or(String::new(), |column| format!(" (column {column})"))
)]
pub struct ReadError {
    /// The file.
    pub name: String,
    /// The line, from 1; none if it is about the file.
    pub line: Option<u64>,
    /// The column, from 1; none if it is about the line.
    pub column: Option<u64>,
    /// What is wrong.
    #[source]
    pub problem: Problem,
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file could not be opened or read.
    #[error("cannot be read: {0}")]
    Io(io::Error),
    /// There is nothing in it, though our own format has a header at least.
    #[error("is empty: the first line of a history is its header, {{\"history\":1,…}}")]
    Empty,
    /// There is not one operation in it.
    #[error("{0}")]
    NoOperation(&'static str),
    /// The first line is no header.
    #[error("no header of a history ({{\"history\":1,\"workload\":…,\"model\":…}}): {0}")]
    Header(String),
    /// A line is no event of our own format.
    #[error("no event of a history: {0}")]
    Event(String),
    /// A line is no operation.
    #[error("no operation: {0}")]
    Operation(String),
    /// No event of a Jepsen history.
    #[error("no event of a Jepsen history: {0}")]
    Edn(String),
    /// A line of a log looks like an event, but is none.
    #[error("no event of a Jepsen log: {0}")]
    Log(String),
    /// A line, or a map of EDN, without end.
    #[error("{what} is longer than {bytes_max} bytes, the most that is read at once")]
    TooLong {
        /// A line, or what else.
        what: &'static str,
        /// The limit.
        bytes_max: usize,
    },
    /// The line, as far as it is understood, breaks a rule.
    #[error("{0}")]
    Rule(Box<Broken>),
    /// It is none of the formats.
    #[error(
        "{0}. A history begins with one of:\n  \
         history     {{\"history\":1,\"workload\":…,\"model\":…}} and then an event a line\n  \
         operations  {{\"process\":0,\"f\":\"write\",\"value\":1,\"call\":10,\"return\":20}}, an operation a line\n  \
         edn         [{{:process 0, :type :invoke, :f :read, :value nil}} …], with or without the brackets\n  \
         log         INFO  jepsen.util - 0 :invoke :read nil\n\
         Say which it is with --format history|operations|edn|log"
    )]
    Unrecognised(&'static str),
}

impl From<Broken> for Problem {
    fn from(rule: Broken) -> Problem {
        Problem::Rule(Box::new(rule))
    }
}

/// What is wrong within one line, or one map of EDN. Boxed, for what may return it mostly returns something else.
#[derive(Debug)]
pub(super) struct Fault(Box<Wrong>);

#[derive(Debug)]
struct Wrong {
    at: usize,
    syntax: bool,
    what: Cow<'static, str>,
}

impl Fault {
    /// A breach of the syntax, such as a crash leaves that cuts a line off.
    pub(super) fn syntax(at: usize, what: impl Into<Cow<'static, str>>) -> Fault {
        Fault(Box::new(Wrong { at, syntax: true, what: what.into() }))
    }

    /// The syntax is good, but not what the fields say.
    pub(super) fn meaning(at: usize, what: impl Into<Cow<'static, str>>) -> Fault {
        Fault(Box::new(Wrong { at, syntax: false, what: what.into() }))
    }

    /// What the parser of JSON says. It counts lines in what it is given, which is one line.
    pub(super) fn serde(error: &serde_json::Error) -> Fault {
        let text = error.to_string();
        let suffix = format!(" at line {} column {}", error.line(), error.column());
        let what = text.strip_suffix(&suffix).unwrap_or(&text).to_owned();
        // Its columns are those of the last byte read.
        let (at, syntax) = (error.column().saturating_sub(1), !error.is_data());
        Fault(Box::new(Wrong { at, syntax, what: what.into() }))
    }

    /// The byte that is wrong, counted from the beginning of what was read.
    pub(super) fn at(&self) -> usize {
        self.0.at
    }

    /// Whether it is the syntax.
    pub(super) fn is_syntax(&self) -> bool {
        self.0.syntax
    }

    /// What is wrong, or what was expected.
    pub(super) fn what(&self) -> &str {
        &self.0.what
    }

    /// The same at another byte.
    pub(super) fn moved_to(mut self, at: usize) -> Fault {
        self.0.at = at;
        self
    }

    /// The same with the name of the field, if it is the field that is wrong.
    pub(super) fn of_field(mut self, name: &[u8]) -> Fault {
        if !self.0.syntax {
            let name = String::from_utf8_lossy(name);
            self.0.what = format!("{name:?} {}", self.0.what).into();
        }
        self
    }
}

/// A byte as an error shows it.
pub(super) fn shown(byte: Option<u8>) -> String {
    match byte {
        None => "the end".to_owned(),
        Some(byte @ 0x21..=0x7e) => format!("`{}`", char::from(byte)),
        Some(b' ') => "a blank".to_owned(),
        Some(b'\t') => "a tab".to_owned(),
        Some(b'\n') => "the end of the line".to_owned(),
        Some(byte) => format!("byte 0x{byte:02x}"),
    }
}

/// A piece of the input as an error shows it.
pub(super) fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    if text.chars().nth(CHARS_MAX).is_none() {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(CHARS_MAX).collect();
    short.push('…');
    short
}
