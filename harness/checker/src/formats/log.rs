//! A line of a Jepsen log: process, type, function and value, between blanks.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem;

use super::edn::Edn;
use super::error::Fault;
use super::jepsen::{self, Parsed, worded};
use super::{RawEvent, RawProcess, kind_named};
use crate::datum::Datum;
use crate::history::Kind;

/// Where the fields of a line stand that is an event.
#[derive(Clone, Debug)]
pub(super) struct Head {
    process: Range<usize>,
    kind: Kind,
    f: Range<usize>,
    value: usize,
}

/// The logger's name, after which an event stands.
const LOGGER: &[u8] = b"jepsen.util";

impl Head {
    /// None if the line is no event: most of a log are not.
    pub(super) fn find(line: &[u8]) -> Option<Head> {
        let (process, mut at) = process_word(line)?;
        let kind = word(line, &mut at)?;
        let kind = kind_named(line.get(kind)?.strip_prefix(b":")?)?;
        let f = word(line, &mut at)?;
        line.get(f.clone())?.strip_prefix(b":")?;
        Some(Head { process, kind, f, value: at })
    }
}

/// Whether a line that is no event may be the beginning of one.
pub(super) fn may_begin(line: &[u8]) -> bool {
    process_word(line).is_some_and(|(_, mut at)| match word(line, &mut at) {
        Some(kind) => line.get(kind).is_some_and(|kind| kind.starts_with(b":")),
        None => true,
    })
}

/// The process that a line is about, and where it ends.
fn process_word(line: &[u8]) -> Option<(Range<usize>, usize)> {
    let mut at = 0;
    if let Some(logger) = memmem::find(line, LOGGER) {
        let after = logger + LOGGER.len();
        let rest = line.get(after..)?;
        let separators = rest.iter().take_while(|byte| b" \t-:".contains(byte)).count();
        // The last colon may be that of a name: ` - :nemesis`.
        let named = separators > 1 && rest.get(separators - 1) == Some(&b':');
        at = after + separators - usize::from(named);
    }
    let process = word(line, &mut at)?;
    let name = line.get(process.clone())?;
    let is_process = name.iter().all(u8::is_ascii_digit) || name.first() == Some(&b':');
    is_process.then_some((process, at))
}

/// The next word, which is passed.
fn word(line: &[u8], at: &mut usize) -> Option<Range<usize>> {
    let blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
    let rest = line.get(*at..)?;
    let start = *at + rest.iter().take_while(blank).count();
    let rest = line.get(start..)?;
    let length = rest.iter().take_while(|byte| !blank(byte) && **byte != b'\r').count();
    *at = start + length;
    (length > 0).then_some(start..*at)
}

/// The event of such a line.
///
/// What stands after the function is the value, and after that perhaps an error. Completions that did not succeed often
/// have the error only; it is one if it is a keyword (`:timed-out`), or no single value at all.
pub(super) fn event<'a>(line: &'a str, head: &Head) -> Result<Parsed<'a>, Fault> {
    let field = |range: &Range<usize>| line.get(range.clone()).unwrap_or_default();
    let rest = line.get(head.value..).unwrap_or_default();
    let value_at = head.value + rest.len() - rest.trim_start().len();
    let (tail, process) = (rest.trim(), process(field(&head.process)));
    let lenient = matches!(head.kind, Kind::Info | Kind::Fail)
        || matches!(process, Some(RawProcess::Named(_)));
    let read = match value_and_error(tail) {
        Err(_) if lenient => (Datum::Null, false, Some(Cow::Borrowed(tail))),
        Ok((Datum::Text(error), ..)) if lenient && tail.starts_with(':') => {
            (Datum::Null, false, Some(error))
        }
        Err(fault) => {
            let at = value_at + fault.at();
            return Err(fault.moved_to(at));
        }
        Ok(read) => read,
    };
    let (value, tagged, error) = read;
    let process = process.ok_or_else(|| {
        Fault::meaning(head.process.start, "expected a process: a number of at most 64 bits")
    })?;
    let f = Cow::Borrowed(field(&head.f).trim_start_matches(':'));
    let event = RawEvent { process, kind: head.kind, f, value, error, ..RawEvent::blank() };
    Ok(Parsed { event, tagged, value_at })
}

/// Whether a line without an end may be whole for all that: what ends with a bracket or a quote is, and nil, but of
/// `:read 4` nobody knows whether it was `:read 42`.
pub(super) fn surely_whole(line: &[u8], head: &Head) -> bool {
    let value = line.get(head.value..).unwrap_or_default().trim_ascii();
    matches!(head.kind, Kind::Info)
        || value == b"nil"
        || matches!(value.last(), Some(b']' | b')' | b'}' | b'"'))
}

type Read<'a> = (Datum<'a>, bool, Option<Cow<'a, str>>);

fn value_and_error(tail: &str) -> Result<Read<'_>, Fault> {
    let mut edn = Edn::new(tail);
    if tail.is_empty() {
        return Ok((Datum::Null, false, None));
    }
    let (value, tagged) = jepsen::value(&mut edn)?;
    edn.filler(1)?;
    let error_at = edn.at();
    if edn.peek().is_none() {
        return Ok((value, tagged, None));
    }
    let error = edn.value(1)?;
    let error = worded(error, edn.since(error_at));
    edn.filler(1)?;
    if edn.peek().is_some() {
        return Err(edn.expected("the end of the line after the value and the error"));
    }
    Ok((value, tagged, Some(error)))
}

fn process(word: &str) -> Option<RawProcess<'_>> {
    match word.strip_prefix(':') {
        Some(name) => Some(RawProcess::Named(Cow::Borrowed(name))),
        None => word.parse().ok().map(RawProcess::Client),
    }
}
