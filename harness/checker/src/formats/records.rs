//! The stream of records.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::detect::{detect, foreign, without_mark};
use super::error::{Fault, Problem, ReadError, shown};
use super::independent::{self, Detector};
use super::input::Input;
use super::jepsen::{self, Parsed};
use super::lists::Lists;
use super::stream::{self, Place, Stop, Stream};
use super::{
    Filled, Format, Independent, LINE_BYTES_MAX, LOOK_AHEAD_BYTES, Record, Slot, history, log,
    operations,
};

/// How to read; [`Records::new`] is the shorter way if nothing but the format may be given.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// The format, if it is not to be found out.
    pub format: Option<Format>,
    /// Whether values in Jepsen's formats are pairs of a key and a value.
    pub independent: Independent,
    /// Bytes of the longest line that is read.
    pub line_bytes_max: usize,
}

impl Default for Reading {
    fn default() -> Reading {
        Reading {
            format: None,
            independent: Independent::default(),
            line_bytes_max: LINE_BYTES_MAX,
        }
    }
}

/// The records of a history, one after another.
///
/// ```text
/// let mut records = Records::open(path, Reading::default())?;
/// while let Some(record) = records.next()? {
///     …
/// }
/// if let Some(line) = records.truncated_line() { … }
/// ```
///
/// After the first error there are no more.
#[derive(Debug)]
pub struct Records<R> {
    input: Input<R>,
    name: String,
    /// Of the file, as far as that is known.
    bytes: usize,
    format: Format,
    independent: bool,
    line: u64,
    column: u64,
    truncated_line: Option<u64>,
    /// Of EDN.
    stream: Stream,
    /// Of our own format.
    lists: Lists,
    any: bool,
    done: bool,
}

impl Records<File> {
    /// Reads a file.
    pub fn open(path: &Path, reading: Reading) -> Result<Records<File>, ReadError> {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => {
                let bytes = file.metadata().map_or(0, |metadata| metadata.len());
                let records = Records::with(file, &name, reading)?;
                Ok(Records { bytes: usize::try_from(bytes).unwrap_or(0), ..records })
            }
            Err(error) => {
                Err(ReadError { name, line: None, column: None, problem: Problem::Io(error) })
            }
        }
    }
}

impl<R: Read> Records<R> {
    /// Reads from anything; `name` is what errors call it. Without a format it finds out which it is.
    pub fn new(input: R, name: &str, format: Option<Format>) -> Result<Records<R>, ReadError> {
        Records::with(input, name, Reading { format, ..Reading::default() })
    }

    /// The same with everything that can be chosen.
    pub fn with(input: R, name: &str, reading: Reading) -> Result<Records<R>, ReadError> {
        let mut records = Records {
            input: Input::new(input, reading.line_bytes_max),
            name: name.to_owned(),
            bytes: 0,
            format: reading.format.unwrap_or(Format::History),
            independent: reading.independent == Independent::Yes,
            line: 0,
            column: 1,
            truncated_line: None,
            stream: Stream::new(),
            lists: Lists::default(),
            any: false,
            done: false,
        };
        records.begin(&reading).map_err(|problem| records.about_file(problem))?;
        Ok(records)
    }

    /// How long the file is; 0 if that is not known.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The format, given or found out.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether the values of clients are taken apart into key and value.
    pub fn independent(&self) -> bool {
        self.independent
    }

    /// The line, from 1, on which the last record began.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The column, from 1, at which it began.
    pub fn column(&self) -> u64 {
        self.column
    }

    /// The line that a crash cut off in the middle, or that a vector without end breaks off on. What was cut off is left
    /// out. Known once all records are read.
    pub fn truncated_line(&self) -> Option<u64> {
        self.truncated_line
    }

    /// The next record; none after the last.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator's items could not borrow from the line"
    )]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        let mut slot = Slot::blank();
        Ok(match self.fill(&mut slot)? {
            None => None,
            Some(Filled::Other(record)) => Some(record),
            Some(Filled::Slot) => {
                slot.resolve();
                Some(Record::Event(slot.event))
            }
        })
    }

    /// The same for whoever has a blank slot for an event, and use for a list that is not taken apart.
    pub(crate) fn fill<'a>(
        &'a mut self,
        slot: &mut Slot<'a>,
    ) -> Result<Option<Filled<'a>>, ReadError> {
        // Unless a record is found, there are no more after this.
        if std::mem::replace(&mut self.done, true) {
            return Ok(None);
        }
        let record = match self.format {
            Format::History => return self.next_of_history(slot),
            Format::Operations => self.next_operation(),
            Format::JepsenEdn => self.next_of_edn(),
            Format::JepsenLog => self.next_of_log(),
        };
        Ok(record?.map(Filled::Other))
    }

    /// Finds out what is not given.
    fn begin(&mut self, reading: &Reading) -> Result<(), Problem> {
        while self.input.unread().len() < 3 && !self.input.exhausted() {
            self.input.fill()?;
        }
        let format = match reading.format {
            Some(format) => Some(format),
            None => self.detect()?,
        };
        let unread = self.input.unread();
        let mark = unread.len() - without_mark(unread).len();
        let Some(format) = format else {
            if unread.get(mark..).unwrap_or_default().trim_ascii().is_empty() {
                return Err(Problem::NoOperation("is empty: there is no history in it"));
            }
            let what = foreign(unread).unwrap_or("is no history in a format that is known");
            return Err(Problem::Unrecognised(what));
        };
        self.format = format;
        self.input.consume(mark);
        let jepsen = matches!(format, Format::JepsenEdn | Format::JepsenLog);
        if jepsen && reading.independent == Independent::Auto {
            self.independent = self.detect_pairs()?;
        }
        Ok(())
    }

    /// Reads ahead until it is clear what it is.
    fn detect(&mut self) -> Result<Option<Format>, Problem> {
        loop {
            let unread = self.input.unread();
            let enough = self.input.exhausted() || unread.len() >= LOOK_AHEAD_BYTES;
            // What a line is shows when it is whole.
            let lines = memchr::memrchr(b'\n', unread).map(|end| end + 1);
            let beginning = if enough { Some(unread) } else { unread.get(..lines.unwrap_or(0)) };
            let format = beginning.and_then(detect);
            if enough || format.is_some() {
                return Ok(format);
            }
            self.input.fill()?;
        }
    }

    /// Reads ahead until it is clear whether clients' values are pairs.
    fn detect_pairs(&mut self) -> Result<bool, Problem> {
        loop {
            let unread = self.input.unread();
            let enough = self.input.exhausted() || unread.len() >= LOOK_AHEAD_BYTES;
            let mut detector = Detector::default();
            let certain = if self.format == Format::JepsenEdn {
                pairs_in_edn(unread, self.input.exhausted(), &mut detector)
            } else {
                pairs_in_log(unread, &mut detector)
            };
            if let Some(pairs) = certain {
                return Ok(pairs);
            }
            if enough {
                return Ok(detector.answer());
            }
            let before = unread.len();
            while !self.input.exhausted() && self.input.unread().len() < before * 2 {
                self.input.fill()?;
            }
        }
    }

    fn next_of_history<'a>(
        &'a mut self,
        slot: &mut Slot<'a>,
    ) -> Result<Option<Filled<'a>>, ReadError> {
        if !self.next_line()? {
            return if self.any { Ok(None) } else { Err(self.about_line(Problem::Empty)) };
        }
        let line = self.input.line();
        let first = !std::mem::replace(&mut self.any, true);
        if first && line.trim_ascii().is_empty() {
            return Err(self.about_line(Problem::Empty));
        }
        let (read, problem): (_, fn(String) -> Problem) = if first {
            let header = history::header(line).map(Record::Header);
            (header.map(Filled::Other), Problem::Header)
        } else {
            (history::event(line, &mut self.lists, slot), Problem::Event)
        };
        match read {
            Ok(record) => {
                self.done = false;
                Ok(Some(record))
            }
            Err(fault) if fault.is_syntax() && !self.input.line_ended() && !first => {
                self.truncated_line = Some(self.line);
                Ok(None)
            }
            Err(fault) => Err(self.about_byte(line, &fault, problem)),
        }
    }

    fn next_operation(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        loop {
            if !self.next_line()? {
                let empty = Problem::NoOperation("is empty: there is no operation in it");
                return if self.any { Ok(None) } else { Err(self.about_file(empty)) };
            }
            if !self.input.line().trim_ascii().is_empty() {
                break;
            }
        }
        let line = self.input.line();
        let first = !std::mem::replace(&mut self.any, true);
        match text(line).and_then(operations::operation) {
            Ok(operation) => {
                self.done = false;
                Ok(Some(Record::Operation(operation)))
            }
            Err(fault) if fault.is_syntax() && !self.input.line_ended() && !first => {
                self.truncated_line = Some(self.line);
                Ok(None)
            }
            Err(fault) => Err(self.about_byte(line, &fault, Problem::Operation)),
        }
    }

    fn next_of_log(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        let head = loop {
            if !self.next_line()? {
                let none =
                    "has no line of a Jepsen log, such as: INFO  jepsen.util - 0 :invoke :read nil";
                let none = Problem::NoOperation(none);
                return if self.any { Ok(None) } else { Err(self.about_file(none)) };
            }
            let line = self.input.line();
            if let Some(head) = log::Head::find(line) {
                break head;
            }
            if !self.input.line_ended() && log::may_begin(line) {
                self.truncated_line = Some(self.line);
            }
        };
        self.any = true;
        let (line, ended) = (self.input.line(), self.input.line_ended());
        if !ended && !log::surely_whole(line, &head) {
            self.truncated_line = Some(self.line);
            return Ok(None);
        }
        let parsed = text(line).and_then(|line| log::event(line, &head));
        match parsed.and_then(|parsed| event_record(parsed, self.independent)) {
            Ok(record) => {
                self.done = false;
                Ok(Some(record))
            }
            Err(fault) if fault.is_syntax() && !ended => {
                self.truncated_line = Some(self.line);
                Ok(None)
            }
            Err(fault) => Err(self.about_byte(line, &fault, Problem::Log)),
        }
    }

    fn next_of_edn(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        let found = self.stream.next(&mut self.input);
        if let Ok(Some(place)) = &found {
            (self.line, self.column) = (place.line, place.column);
        } else {
            (self.line, self.column) = (self.stream.place.line, self.stream.place.column);
        }
        match found {
            Ok(Some(_)) => {}
            Ok(None) => {
                self.truncated_line = self.stream.truncated().then_some(self.line);
                return Ok(None);
            }
            Err(Stop::Problem(problem @ Problem::TooLong { .. })) => {
                return Err(self.about_line(problem));
            }
            Err(Stop::Problem(problem)) => return Err(self.about_file(problem)),
            Err(Stop::Fault(fault)) => {
                return Err(self.about_byte(self.input.unread(), &fault, Problem::Edn));
            }
        }
        let form = self.input.line();
        let parsed = text(form).and_then(jepsen::event);
        match parsed.and_then(|parsed| event_record(parsed, self.independent)) {
            Ok(record) => {
                self.done = false;
                Ok(Some(record))
            }
            Err(fault) => Err(self.about_byte(form, &fault, Problem::Edn)),
        }
    }

    fn next_line(&mut self) -> Result<bool, ReadError> {
        self.line += 1;
        self.input.next_line().map_err(|problem| self.about_line(problem))
    }

    fn about_file(&self, problem: Problem) -> ReadError {
        ReadError { name: self.name.clone(), line: None, column: None, problem }
    }

    fn about_line(&self, problem: Problem) -> ReadError {
        ReadError { name: self.name.clone(), line: Some(self.line), column: None, problem }
    }

    /// An error at a byte of the line, or of the form, that was read last.
    fn about_byte(
        &self,
        bytes: &[u8],
        fault: &Fault,
        problem: impl Fn(String) -> Problem,
    ) -> ReadError {
        let before = bytes.get(..fault.at().min(bytes.len())).unwrap_or_default();
        let place = Place { line: self.line, column: self.column }.after(before);
        ReadError {
            name: self.name.clone(),
            line: Some(place.line),
            column: Some(place.column),
            problem: problem(fault.what().to_owned()),
        }
    }
}

/// The bytes as text.
fn text(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let found = shown(bytes.get(at).copied());
        Fault::syntax(at, format!("expected a text in UTF-8, found {found}"))
    })
}

fn event_record(mut parsed: Parsed<'_>, independent: bool) -> Result<Record<'_>, Fault> {
    if independent {
        independent::split(&mut parsed.event, parsed.value_at)?;
    }
    Ok(Record::Event(parsed.event))
}

/// Whether the values of a file of EDN are pairs, as far as it has been read ahead; none if that is not certain.
fn pairs_in_edn(bytes: &[u8], whole: bool, detector: &mut Detector) -> Option<bool> {
    for form in stream::forms_of(bytes, whole) {
        // What is wrong with it is said when it is read.
        let Ok(parsed) = text(form).and_then(jepsen::event) else { return Some(false) };
        if let Some(pairs) = detector.see(&parsed.event, parsed.tagged) {
            return Some(pairs);
        }
    }
    None
}

/// The same for a log.
fn pairs_in_log(bytes: &[u8], detector: &mut Detector) -> Option<bool> {
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(head) = log::Head::find(line) else { continue };
        if !line.ends_with(b"\n") {
            return None;
        }
        let Ok(parsed) = text(line).and_then(|line| log::event(line, &head)) else {
            return Some(false);
        };
        if let Some(pairs) = detector.see(&parsed.event, parsed.tagged) {
            return Some(pairs);
        }
    }
    None
}
