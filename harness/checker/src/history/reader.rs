//! Reads a history line by line.

use std::io::{self, BufRead};

use super::operations::{Broken, Operation, Pairing};
use super::{Event, Header};

/// Why a history cannot be read: where, and what.
#[derive(Debug, thiserror::Error)]
#[error("{name}{}: {problem}", line.map_or(String::new(), |line| format!(", line {line}")))]
pub struct ReadError {
    /// The file.
    pub name: String,
    /// The line, from 1; none if the file could not be opened.
    pub line: Option<u64>,
    /// What is wrong.
    #[source]
    pub problem: Problem,
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file could not be opened or read.
    #[error("cannot be read: {0}")]
    Io(io::Error),
    /// There is nothing in it.
    #[error("is empty: the first line of a history is its header, {{\"history\":1,…}}")]
    Empty,
    /// The first line is no header.
    #[error("no header of a history ({{\"history\":1,\"workload\":…,\"model\":…}}): {0}")]
    Header(String),
    /// A line is no event.
    #[error("no event of a history: {0}")]
    Event(String),
    /// The line breaks a rule.
    #[error("{0}")]
    Rule(#[from] Broken),
}

impl ReadError {
    pub(super) fn open(name: &str, error: io::Error) -> ReadError {
        ReadError { name: name.to_owned(), line: None, problem: Problem::Io(error) }
    }
}

/// An iterator over the events of a history, which holds it to its rules on the way and pairs its operations.
///
/// After the first error it yields nothing more.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    name: String,
    header: Header,
    pairing: Pairing,
    line: Vec<u8>,
    line_number: u64,
    truncated_line: Option<u64>,
    done: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads the header. `name` is what errors call the input.
    pub fn new(mut input: R, name: &str) -> Result<Reader<R>, ReadError> {
        let error = |problem| ReadError { name: name.to_owned(), line: Some(1), problem };
        let mut line = Vec::new();
        input.read_until(b'\n', &mut line).map_err(|problem| error(Problem::Io(problem)))?;
        if line.trim_ascii().is_empty() {
            return Err(error(Problem::Empty));
        }
        let header: Header = serde_json::from_slice(&line)
            .map_err(|problem| error(Problem::Header(without_line(&problem))))?;
        let pairing = Pairing::new(&header).map_err(|rule| error(Problem::Rule(rule)))?;
        Ok(Reader {
            input,
            name: name.to_owned(),
            header,
            pairing,
            line,
            line_number: 1,
            truncated_line: None,
            done: false,
        })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// See [`super::History::truncated_line`]; known once all events are read.
    pub fn truncated_line(&self) -> Option<u64> {
        self.truncated_line
    }

    /// The header and the operations of the events read so far.
    pub fn finish(self) -> (Header, Vec<Operation>) {
        (self.header, self.pairing.into_operations())
    }

    fn read_event(&mut self) -> Result<Option<Event>, Problem> {
        self.line.clear();
        let length = self.input.read_until(b'\n', &mut self.line).map_err(Problem::Io)?;
        if length == 0 {
            return Ok(None);
        }
        self.line_number += 1;
        let event: Event = match serde_json::from_slice(self.line.trim_ascii_end()) {
            Ok(event) => event,
            // Each line is written with its end in one go: a line without one is the mark of a crash.
            Err(_) if !self.line.ends_with(b"\n") => {
                self.truncated_line = Some(self.line_number);
                return Ok(None);
            }
            Err(error) => return Err(Problem::Event(without_line(&error))),
        };
        self.pairing.add(&event)?;
        Ok(Some(event))
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let read = self.read_event();
        self.done = !matches!(read, Ok(Some(_)));
        read.transpose().map(|event| {
            event.map_err(|problem| ReadError {
                name: self.name.clone(),
                line: Some(self.line_number),
                problem,
            })
        })
    }
}

/// The parser counts lines in what it is given, which is one line.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let suffix = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&suffix) {
        Some(what) => format!("{what} (column {})", error.column()),
        None => text,
    }
}
