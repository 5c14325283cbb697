//! Reads histories: all of one, in any format; or ours event by event.

use std::borrow::Cow;
use std::io::{BufRead, Read};

use super::builder::{Builder, Extra, Said, Whole};
use super::operations::Broken;
use super::{Event, FORMAT, Fault, Header, History, Kind, Process, ReadOptions};
use crate::datum::Datum;
use crate::formats::{
    Filled, Format, Problem, RawEvent, RawOperation, RawProcess, ReadError, Record, Records, Slot,
    TextList,
};
use crate::model::{BadOperation, Model};

/// Takes what is read, keeps the operations and what else happened.
#[derive(Debug)]
pub(super) struct Intake {
    rules: Rules,
    header: Header,
    format: Format,
    builder: Builder,
    others: Vec<Event>,
}

/// What every event of our own format must keep to, whoever's it is.
#[derive(Debug, Default)]
struct Rules {
    index_next: u64,
    time: u64,
}

impl Rules {
    fn keep(&mut self, index: u64, time: u64) -> Result<(), Broken> {
        if index != self.index_next {
            return Err(Broken::Index { found: index, expected: self.index_next });
        }
        if time < self.time {
            return Err(Broken::Time { time, previous: self.time });
        }
        self.index_next += 1;
        self.time = time;
        Ok(())
    }
}

impl Intake {
    /// For our own format.
    pub(super) fn new(header: Header, options: &ReadOptions) -> Result<Intake, Broken> {
        if header.history != FORMAT {
            return Err(Broken::Format { found: header.history });
        }
        let named = Model::named(&header.model)
            .ok_or_else(|| Broken::Model { model: header.model.clone() })?;
        let initial = options.initial.clone().or_else(|| header.initial.clone());
        let options = ReadOptions { initial, ..options.clone() };
        let builder = Builder::new(options.model.unwrap_or(named), &options, true);
        Ok(Intake {
            rules: Rules::default(),
            header,
            format: Format::History,
            builder,
            others: Vec::new(),
        })
    }

    /// For histories from elsewhere. Their clients may go on after an unknown outcome.
    fn foreign(format: Format, model: Model, options: &ReadOptions) -> Intake {
        let header = Header {
            history: FORMAT,
            model: model.name().to_owned(),
            initial: options.initial.clone(),
            ..Header::default()
        };
        let builder = Builder::new(model, options, false);
        Intake { rules: Rules::default(), header, format, builder, others: Vec::new() }
    }

    /// An event of our own format.
    pub(super) fn add(&mut self, event: Event) -> Result<(), Broken> {
        self.rules.keep(event.index, event.time)?;
        if let Some(said) = said(&event, &Datum::from(&event.value)) {
            return self.builder.add(&said).map(drop);
        }
        self.other(event)
    }

    fn record(&mut self, record: Record<'_>) -> Result<(), Broken> {
        match record {
            // There is one, and it has been read before the first event.
            Record::Header(_) => Ok(()),
            Record::Event(event) => self.event(&event, None),
            Record::Other(event) => {
                self.rules.keep(event.index, event.time)?;
                self.other(*event)
            }
            Record::Operation(operation) => self.operation(&operation),
        }
    }

    /// An event in its slot.
    fn slot(&mut self, slot: &mut Slot<'_>) -> Result<(), Broken> {
        if !self.builder.model().reads_lists() {
            slot.resolve();
        }
        self.event(&slot.event, slot.list.as_ref())
    }

    fn event(&mut self, event: &RawEvent<'_>, list: Option<&TextList<'_>>) -> Result<(), Broken> {
        if self.format == Format::History {
            let index = event.index.unwrap_or(self.rules.index_next);
            self.rules.keep(index, event.time.unwrap_or(self.rules.time))?;
        }
        // In Jepsen's formats: the nemesis. What it did is told in as many ways as there are of it.
        let RawProcess::Client(client) = event.process else {
            return self.builder.pass().map(drop);
        };
        let key = event.key.as_ref().map(key_name);
        let said = Said {
            client,
            kind: event.kind,
            f: &event.f,
            key: key.as_ref().map(|(is_text, name)| (*is_text, name.as_ref())),
            value: &event.value,
            list,
            time: event.time,
            log_index: event.log_index,
            extra: Extra {
                error: event.error.as_deref(),
                node: event.node,
                request: event.request.as_deref(),
                role: event.role.as_deref(),
                term: event.term,
            },
        };
        self.builder.add(&said).map(drop)
    }

    fn operation(&mut self, operation: &RawOperation<'_>) -> Result<(), Broken> {
        let client = match &operation.process {
            RawProcess::Client(number) => *number,
            RawProcess::Named(name) => {
                return Err(Broken::Client { name: name.clone().into_owned() });
            }
        };
        let key = operation.key.as_ref().map(key_name);
        self.builder.add_whole(&Whole {
            client,
            f: &operation.f,
            key: key.as_ref().map(|(is_text, name)| (*is_text, name.as_ref())),
            value: &operation.value,
            result: operation.result.as_ref(),
            outcome: operation.outcome,
            call: operation.call,
            ret: operation.ret,
            log_index: operation.log_index,
            extra: Extra {
                error: operation.error.as_deref(),
                node: operation.node,
                ..Extra::default()
            },
        })
    }

    fn other(&mut self, event: Event) -> Result<(), Broken> {
        if let Process::Named(name) = &event.process {
            named(name, &event)?;
        }
        self.builder.pass()?;
        self.others.push(event);
        Ok(())
    }

    pub(super) fn finish(self, truncated_line: Option<u64>) -> Result<History, Broken> {
        let Intake { mut header, format, builder, others, .. } = self;
        builder.model().name().clone_into(&mut header.model);
        Ok(History { header, format, others, built: builder.finish()?, truncated_line })
    }
}

/// What a client says with an event of our own format; none if it is nobody's.
pub(crate) fn said<'a>(event: &'a Event, value: &'a Datum<'a>) -> Option<Said<'a>> {
    let Process::Client(client) = event.process else { return None };
    Some(Said {
        client,
        kind: event.kind,
        f: &event.f,
        key: event.key.as_deref().map(|key| (true, key)),
        value,
        list: None,
        time: Some(event.time),
        log_index: event.log_index,
        extra: Extra {
            error: event.error.as_deref(),
            node: event.node,
            request: event.request.as_deref(),
            role: event.role.as_deref(),
            term: event.term,
        },
    })
}

/// A key's name, and whether it is a text: `1` and `"1"` are two keys.
fn key_name<'k>(key: &'k Datum<'_>) -> (bool, Cow<'k, str>) {
    match key {
        Datum::Text(text) => (true, Cow::Borrowed(text.as_ref())),
        other => (false, Cow::Owned(other.to_string())),
    }
}

fn named(name: &str, event: &Event) -> Result<(), Broken> {
    if event.kind != Kind::Info {
        return Err(Broken::NotInfo { process: name.to_owned() });
    }
    if name == "nemesis" {
        serde_json::from_value::<Fault>(event.value.clone())
            .map_err(|error| Broken::Fault { problem: error.to_string() })?;
    }
    Ok(())
}

/// A file has no more operations than one for so many bytes, unless it is a terse one.
const OPERATION_BYTES_MIN: usize = 180;

/// Reads all of a history. `model` is asked for if neither the options nor the file name one.
pub(super) fn read<R: Read>(
    mut records: Records<R>,
    name: &str,
    options: &ReadOptions,
    model: impl FnOnce() -> Result<Model, ReadError>,
) -> Result<History, ReadError> {
    let broken = |line, rule: Broken| ReadError {
        name: name.to_owned(),
        line: Some(line),
        column: None,
        problem: rule.into(),
    };
    let format = records.format();
    let mut intake = if format == Format::History {
        match records.next()? {
            Some(Record::Header(header)) => {
                Intake::new(header, options).map_err(|rule| broken(1, rule))?
            }
            Some(_) | None => return Err(broken(1, Broken::Format { found: 0 })),
        }
    } else {
        let model = options.model.map_or_else(model, Ok)?;
        Intake::foreign(format, model, options)
    };
    intake.builder.expect(records.bytes() / OPERATION_BYTES_MIN);
    loop {
        // The record borrows from the line, so its number is not at hand while it is looked at.
        let taken = {
            let mut slot = Slot::blank();
            match records.fill(&mut slot)? {
                None => break,
                Some(Filled::Slot) => intake.slot(&mut slot),
                Some(Filled::Other(record)) => intake.record(record),
            }
        };
        taken.map_err(|rule| broken(records.line(), rule))?;
    }
    let truncated = records.truncated_line();
    intake.finish(truncated).map_err(|rule| broken(records.line(), rule))
}

/// An iterator over the events of a history as they stand in the file: their numbers and times are looked at here, and
/// not whether operations are paired, see [`History::read`].
///
/// After the first error it yields nothing more.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    name: String,
    header: Header,
    rules: Rules,
    line: Vec<u8>,
    line_number: u64,
    truncated_line: Option<u64>,
    done: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads the header. `name` is what errors call the input.
    pub fn new(mut input: R, name: &str) -> Result<Reader<R>, ReadError> {
        let error =
            |problem| ReadError { name: name.to_owned(), line: Some(1), column: None, problem };
        let mut line = Vec::new();
        input.read_until(b'\n', &mut line).map_err(|problem| error(Problem::Io(problem)))?;
        if line.trim_ascii().is_empty() {
            return Err(error(Problem::Empty));
        }
        let header: Header = serde_json::from_slice(&line)
            .map_err(|problem| error(Problem::Header(problem.to_string())))?;
        if header.history != FORMAT {
            return Err(error(Problem::from(Broken::Format { found: header.history })));
        }
        Ok(Reader {
            input,
            name: name.to_owned(),
            header,
            rules: Rules::default(),
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

    /// See [`History::truncated_line`]; known once all events are read.
    pub fn truncated_line(&self) -> Option<u64> {
        self.truncated_line
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
            Err(error) => return Err(Problem::Event(error.to_string())),
        };
        self.rules.keep(event.index, event.time)?;
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
                column: None,
                problem,
            })
        })
    }
}

/// Which model a history is of, as far as the names of its operations and what reads return tell.
#[derive(Debug, Default)]
pub(super) struct Guess {
    functions: Vec<String>,
    reads_lists: bool,
    reads_numbers: bool,
}

/// So many records are looked at.
const GUESSED_FROM_MAX: usize = 100_000;

impl Guess {
    /// Looks at the first records.
    pub(super) fn of<R: Read>(mut records: Records<R>) -> Result<Guess, ReadError> {
        let mut guess = Guess::default();
        for _ in 0..GUESSED_FROM_MAX {
            match records.next()? {
                Some(Record::Event(event)) if matches!(event.process, RawProcess::Client(_)) => {
                    guess.see(&event.f, &event.value);
                }
                Some(Record::Operation(operation)) => {
                    guess.see(&operation.f, operation.result.as_ref().unwrap_or(&operation.value));
                }
                Some(Record::Event(_) | Record::Header(_) | Record::Other(_)) => {}
                None => break,
            }
        }
        Ok(guess)
    }

    fn see(&mut self, f: &str, value: &Datum<'_>) {
        if !self.functions.iter().any(|known| known == f) {
            self.functions.push(f.to_owned());
        }
        if f == "read" {
            self.reads_lists |= matches!(value, Datum::List(_));
            self.reads_numbers |= matches!(value, Datum::Int(_));
        }
    }

    /// The first model that has all the operations; where several have, what reads return decides.
    pub(super) fn model(&self) -> Result<Model, Broken> {
        let fits =
            |model: &Model| self.functions.iter().all(|f| model.functions().contains(&f.as_str()));
        let likely = if self.reads_lists {
            [Model::Append, Model::Set]
        } else if self.reads_numbers && self.functions.iter().any(|f| f == "add") {
            [Model::Counter, Model::Counter]
        } else {
            [Model::Register, Model::CasRegister]
        };
        likely
            .into_iter()
            .chain(Model::ALL)
            .find(fits)
            .ok_or_else(|| Broken::NoModel { functions: self.functions.join(", ") })
    }
}

impl From<BadOperation> for Problem {
    fn from(bad: BadOperation) -> Problem {
        Broken::Operation(bad).into()
    }
}
