//! The events of a file of EDN, form by form: whether they stand in a vector or one after another.

use std::io::Read;

use memchr::memmem;

use super::error::{Fault, Problem, shown};
use super::forms::{self, Found};
use super::input::Input;

/// Where reading stands.
#[derive(Debug)]
pub(super) struct Stream {
    /// Line and column of what is unread.
    pub(super) place: Place,
    around: Around,
    any: bool,
    truncated: bool,
}

/// A line and a column, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

/// What stands around the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Around {
    /// Not known, for nothing is read.
    Unknown,
    /// Nothing: the maps stand one after another.
    Nothing,
    /// A vector, or a list, that ends with this.
    Until(u8),
    /// It has ended.
    Ended,
}

/// Why there is no next form.
#[derive(Debug)]
pub(super) enum Stop {
    /// It is about the file, or about the form that begins at the place.
    Problem(Problem),
    /// It is about a byte of what is unread.
    Fault(Fault),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Stop {
        Stop::Problem(problem)
    }
}

impl Place {
    /// The first one.
    pub(super) const START: Place = Place { line: 1, column: 1 };

    /// The place after these bytes.
    pub(super) fn after(self, bytes: &[u8]) -> Place {
        let end = memchr::memrchr(b'\n', bytes);
        let text = bytes.get(end.map_or(0, |at| at + 1)..).unwrap_or_default();
        // Bytes that continue a character are no column of their own.
        let columns = if text.is_ascii() {
            text.len()
        } else {
            text.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
        };
        let columns = u64::try_from(columns).unwrap_or(u64::MAX);
        if end.is_none() {
            return Place { column: self.column.saturating_add(columns), ..self };
        }
        let lines = memchr::memchr_iter(b'\n', bytes).count();
        let lines = u64::try_from(lines).unwrap_or(u64::MAX);
        Place { line: self.line.saturating_add(lines), column: columns.saturating_add(1) }
    }
}

impl Stream {
    pub(super) fn new() -> Stream {
        Stream { place: Place::START, around: Around::Unknown, any: false, truncated: false }
    }

    /// Whether the file broke off: in the middle of a form, or of the vector. Known at the end.
    pub(super) fn truncated(&self) -> bool {
        self.truncated
    }

    /// Takes the next form, which is then the input's line, and says where it begins; none after the last.
    pub(super) fn next<R: Read>(&mut self, input: &mut Input<R>) -> Result<Option<Place>, Stop> {
        loop {
            let whole = input.exhausted();
            if let (Around::Unknown, Some(byte)) = (self.around, input.unread().first()) {
                self.enter(*byte);
                if let Around::Until(_) = self.around {
                    self.pass(input, 1);
                    continue;
                }
            }
            match forms::first(input.unread(), whole).map_err(Stop::Fault)? {
                Found::Filler(bytes) => self.pass(input, bytes),
                Found::Partial if input.full() => return Err(too_long(input).into()),
                Found::Form(length) if length > input.bytes_max() => {
                    return Err(too_long(input).into());
                }
                Found::Nothing | Found::Partial if !whole => more(input)?,
                Found::Nothing => {
                    if self.around == Around::Unknown {
                        return Err(
                            Problem::NoOperation("is empty: there is no history in it").into()
                        );
                    }
                    self.truncated = matches!(self.around, Around::Until(_));
                    return Ok(None);
                }
                Found::Form(_) | Found::Partial | Found::Closing(_)
                    if self.around == Around::Ended =>
                {
                    let what = "expected nothing after the end of the history";
                    return Err(Stop::Fault(Fault::meaning(0, what)));
                }
                Found::Partial => {
                    self.cut_off(input.unread())?;
                    return Ok(None);
                }
                Found::Form(length) => {
                    self.found_form();
                    let place = self.place;
                    self.pass(input, length);
                    return Ok(Some(place));
                }
                Found::Closing(found) if self.around == Around::Until(found) => {
                    self.around = Around::Ended;
                    self.pass(input, 1);
                }
                Found::Closing(found) => {
                    let what = format!("expected a map, found {}", shown(Some(found)));
                    return Err(Stop::Fault(Fault::meaning(0, what)));
                }
            }
        }
    }

    /// Takes a look at the first byte that is not filler.
    fn enter(&mut self, byte: u8) {
        self.around = match byte {
            b'[' => Around::Until(b']'),
            b'(' => Around::Until(b')'),
            b';' | b'#' => return,
            byte if forms::is_blank(byte) => return,
            _ => Around::Nothing,
        };
    }

    fn found_form(&mut self) {
        self.any = true;
        if self.around == Around::Unknown {
            self.around = Around::Nothing;
        }
    }

    fn pass<R: Read>(&mut self, input: &mut Input<R>, bytes: usize) {
        input.take(bytes);
        self.place = self.place.after(input.line());
    }

    /// The last form has no end. If others seem to begin in it, it is damaged rather than cut off.
    fn cut_off(&mut self, form: &[u8]) -> Result<(), Stop> {
        let beginnings = memmem::find_iter(form, b":process").take(2).count();
        let alone = !self.any && !matches!(self.around, Around::Until(_));
        if beginnings > 1 || alone {
            let what = "what begins here has no end: a bracket or a quote is missing";
            return Err(Stop::Fault(Fault::meaning(0, what)));
        }
        self.truncated = true;
        Ok(())
    }
}

/// The events of what has been read ahead, up to the first that is not whole.
pub(super) fn forms_of(mut bytes: &[u8], whole: bool) -> impl Iterator<Item = &[u8]> {
    let mut stream = Stream::new();
    std::iter::from_fn(move || {
        loop {
            if let (Around::Unknown, Some(byte)) = (stream.around, bytes.first()) {
                stream.enter(*byte);
                if let Around::Until(_) = stream.around {
                    bytes = bytes.get(1..)?;
                }
            }
            match forms::first(bytes, whole) {
                Ok(Found::Filler(length)) => bytes = bytes.get(length..)?,
                Ok(Found::Form(length)) => {
                    stream.found_form();
                    let (form, rest) = bytes.split_at_checked(length)?;
                    bytes = rest;
                    return Some(form);
                }
                Ok(Found::Closing(_) | Found::Partial | Found::Nothing) | Err(_) => return None,
            }
        }
    })
}

fn too_long<R: Read>(input: &Input<R>) -> Problem {
    let bytes_max = input.bytes_max();
    Problem::TooLong { what: "a map of EDN, or what else begins here,", bytes_max }
}

/// Reads on, and if a long form has no end yet then so much that it is not looked at again too often.
fn more<R: Read>(input: &mut Input<R>) -> Result<(), Problem> {
    const OFTEN_BYTES: usize = 4096;
    let before = input.unread().len();
    loop {
        input.fill()?;
        if before < OFTEN_BYTES || input.exhausted() || input.unread().len() >= before * 2 {
            return Ok(());
        }
    }
}
