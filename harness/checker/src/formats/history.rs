//! A line of our own format.
//!
//! The lines that [`crate::history::Writer`] writes for clients, which are nearly all, are read by a scanner that knows
//! them. Whatever it does not expect, down to a fraction or a field it does not know, it leaves to `serde_json`, which
//! is what says what a line means.

use std::borrow::Cow;

use super::error::Fault;
use super::json::Json;
use super::{RawEvent, RawProcess, Record, Seen, kind_named};
use crate::datum::Datum;
use crate::history::{Event, Header, Process};

/// The first line.
pub(super) fn header(line: &[u8]) -> Result<Header, Fault> {
    serde_json::from_slice(line).map_err(|error| Fault::serde(&error))
}

/// Any other.
#[inline]
pub(super) fn event(line: &[u8]) -> Result<Record<'_>, Fault> {
    let line = line.trim_ascii_end();
    let mut event = RawEvent::BLANK;
    match std::str::from_utf8(line).ok().and_then(|line| scan(line, &mut event)) {
        Some(()) => Ok(Record::Event(event)),
        None => parsed(line),
    }
}

/// What `serde_json` says.
#[cold]
fn parsed(line: &[u8]) -> Result<Record<'static>, Fault> {
    let event: Event = serde_json::from_slice(line).map_err(|error| Fault::serde(&error))?;
    let Process::Client(client) = event.process else {
        return Ok(Record::Other(Box::new(event)));
    };
    Ok(Record::Event(RawEvent {
        process: RawProcess::Client(client),
        kind: event.kind,
        f: Cow::Owned(event.f),
        key: event.key.map(|key| Datum::Text(Cow::Owned(key))),
        value: Datum::from(&event.value),
        time: Some(event.time),
        index: Some(event.index),
        error: event.error.map(Cow::Owned),
        node: event.node,
        request: event.request.map(Cow::Owned),
        log_index: event.log_index,
        role: event.role.map(Cow::Owned),
        term: event.term,
    }))
}

/// Fields that every event has.
const INDEX: u16 = 1 << 0;
const TIME: u16 = 1 << 1;
const PROCESS: u16 = 1 << 2;
const KIND: u16 = 1 << 3;
const F: u16 = 1 << 4;
const ALL: u16 = INDEX | TIME | PROCESS | KIND | F;

/// Reads the fields that every event has, if they stand in the order in which they are written; otherwise none, and the
/// event may be half filled in.
#[inline]
fn begin<'a>(json: &mut Json<'a>, event: &mut RawEvent<'a>) -> Option<()> {
    json.passes_all(b"{\"index\":").then_some(())?;
    event.index = Some(json.small_number()?);
    json.passes_all(b",\"time\":").then_some(())?;
    event.time = Some(json.small_number()?);
    json.passes_all(b",\"process\":").then_some(())?;
    event.process = RawProcess::Client(json.small_number()?);
    json.passes_all(b",\"type\":").then_some(())?;
    event.kind = kind_named(json.plain_string()?.as_bytes())?;
    json.passes_all(b",\"f\":").then_some(())?;
    event.f = Cow::Borrowed(json.plain_string()?);
    Some(())
}

/// Reads what a client's line says; none if there is anything unusual in it.
fn scan<'a>(line: &'a str, event: &mut RawEvent<'a>) -> Option<()> {
    let mut json = Json::new(line);
    let mut seen = Seen::default();
    let mut first = false;
    if begin(&mut json, event).is_some() {
        seen = Seen(ALL);
    } else {
        json = Json::new(line);
        json.blanks();
        if !json.passes(b'{') {
            return None;
        }
        first = true;
    }
    loop {
        let name = match json.plain_field(first) {
            Some(name) => Cow::Borrowed(name),
            None => match json.field(first).ok()? {
                Some(Cow::Borrowed(name)) => Cow::Borrowed(name.as_bytes()),
                Some(Cow::Owned(name)) => Cow::Owned(name.into_bytes()),
                None => break,
            },
        };
        first = false;
        let bit = match &*name {
            b"index" => {
                event.index = Some(json.small_number()?);
                INDEX
            }
            b"time" => {
                event.time = Some(json.small_number()?);
                TIME
            }
            b"process" => {
                event.process = RawProcess::Client(json.small_number()?);
                PROCESS
            }
            b"type" => {
                event.kind = kind_named(json.string().ok()?.as_bytes())?;
                KIND
            }
            b"f" => {
                event.f = json.string().ok()?;
                F
            }
            other => scan_optional(other, &mut json, event)?,
        };
        if !seen.first(bit) {
            return None;
        }
    }
    seen.all(ALL).then_some(())
}

/// The same for a field that an event need not have.
#[inline]
fn scan_optional<'a>(name: &[u8], json: &mut Json<'a>, event: &mut RawEvent<'a>) -> Option<u16> {
    let bit = match name {
        b"key" => {
            event.key = text_or_null(json)?.map(Datum::Text);
            5
        }
        b"value" => {
            let value = json.value(0).ok()?;
            if !json.is_plain() && !usual(&value) {
                return None;
            }
            event.value = value;
            6
        }
        b"error" => {
            event.error = text_or_null(json)?;
            7
        }
        b"node" => {
            event.node = number_or_null(json)?;
            8
        }
        b"request" => {
            event.request = text_or_null(json)?;
            9
        }
        b"log_index" => {
            event.log_index = number_or_null(json)?;
            10
        }
        b"role" => {
            event.role = text_or_null(json)?;
            11
        }
        b"term" => {
            event.term = number_or_null(json)?;
            12
        }
        _ => return None,
    };
    Some(1 << bit)
}

/// A value that may be null.
type OrNull<T> = Option<T>;

#[inline]
fn text_or_null<'a>(json: &mut Json<'a>) -> Option<OrNull<Cow<'a, str>>> {
    match json.peek() {
        Some(b'"') => json.string().ok().map(Some),
        _ => json.value(0).ok().filter(Datum::is_null).map(|_| None),
    }
}

#[inline]
fn number_or_null(json: &mut Json<'_>) -> Option<OrNull<u64>> {
    match json.peek() {
        Some(b'0'..=b'9') => json.small_number().map(Some),
        _ => json.value(0).ok().filter(Datum::is_null).map(|_| None),
    }
}

/// Whether `serde_json` certainly understands a value as the scanner does: it rounds fractions and large numbers, and
/// sorts the fields of objects, of which it keeps the last of each name.
fn usual(value: &Datum<'_>) -> bool {
    match value {
        Datum::Null | Datum::Bool(_) | Datum::Int(_) | Datum::Text(_) => true,
        Datum::Other(_) => false,
        Datum::List(items) => items.iter().all(usual),
        Datum::Map(entries) => {
            entries.windows(2).all(|pair| match pair {
                [(before, _), (after, _)] => before.as_text() < after.as_text(),
                _ => true,
            }) && entries.iter().all(|(_, value)| usual(value))
        }
    }
}
