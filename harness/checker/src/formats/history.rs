//! A line of our own format.
//!
//! The lines that [`crate::history::Writer`] writes for clients, which are nearly all, are read by a scanner that knows
//! them. Whatever it does not expect, down to a fraction or a field it does not know, it leaves to `serde_json`, which
//! is what says what a line means.

use std::borrow::Cow;

use super::error::Fault;
use super::json::Json;
use super::lists::Lists;
use super::{Filled, RawEvent, RawProcess, Record, Seen, Slot, kind_named};
use crate::datum::Datum;
use crate::history::{Event, Header, Kind, Process};

/// The first line.
pub(super) fn header(line: &[u8]) -> Result<Header, Fault> {
    serde_json::from_slice(line).map_err(|error| Fault::serde(&error))
}

/// Any other.
#[inline]
pub(super) fn event<'a>(
    line: &'a [u8],
    lists: &mut Lists,
    slot: &mut Slot<'a>,
) -> Result<Filled<'a>, Fault> {
    let line = line.trim_ascii_end();
    match std::str::from_utf8(line).ok().and_then(|line| scan(line, lists, slot)) {
        Some(()) => Ok(Filled::Slot),
        None => parsed(line).map(Filled::Other),
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

/// Fields that most have.
const KEY: u16 = 1 << 5;
const VALUE: u16 = 1 << 6;

/// Reads the fields that every event has, and key and value, if they stand in the order in which they are written;
/// tells which it has read. None: it is written in another way, and the slot may be half filled in.
#[inline]
fn begin<'a>(json: &mut Json<'a>, lists: &mut Lists, slot: &mut Slot<'a>) -> Option<Seen> {
    let event = &mut slot.event;
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
    let mut seen = ALL;
    if json.passes_all(b",\"key\":") {
        event.key = text_or_null(json)?.map(Datum::Text);
        seen |= KEY;
    }
    if json.passes_all(b",\"value\":") {
        read_value(json, lists, slot)?;
        seen |= VALUE;
    }
    Some(Seen(seen))
}

/// Reads what a client's line says; none if there is anything unusual in it.
fn scan<'a>(line: &'a str, lists: &mut Lists, slot: &mut Slot<'a>) -> Option<()> {
    let mut json = Json::new(line);
    let begun = begin(&mut json, lists, slot);
    let mut first = begun.is_none();
    let mut seen = begun.unwrap_or_default();
    if first {
        json = Json::new(line);
        *slot = Slot::blank();
        json.blanks();
        json.passes(b'{').then_some(())?;
    }
    while !json.ends_with(b'}') {
        let name = match json.plain_field(first) {
            Some(name) => Cow::Borrowed(name),
            None => match json.field(first).ok()? {
                Some(Cow::Borrowed(name)) => Cow::Borrowed(name.as_bytes()),
                Some(Cow::Owned(name)) => Cow::Owned(name.into_bytes()),
                None => break,
            },
        };
        first = false;
        let event = &mut slot.event;
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
            b"value" => {
                read_value(&mut json, lists, slot)?;
                VALUE
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
            return Some(KEY);
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

/// Reads an event's value.
#[inline]
fn read_value<'a>(json: &mut Json<'a>, lists: &mut Lists, slot: &mut Slot<'a>) -> Option<()> {
    let Slot { event, list } = slot;
    // Nothing else is long.
    if event.kind == Kind::Ok && event.f == "read" && json.peek() == Some(b'[') {
        let key = event.key.as_ref().and_then(Datum::as_text);
        *list = key.and_then(|key| lists.read(key, json));
        if list.is_some() {
            return Some(());
        }
    }
    event.value = json.value(0).ok()?;
    (json.is_plain() || usual(&event.value)).then_some(())
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
