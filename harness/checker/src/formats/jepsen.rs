//! An event of Jepsen: a map of EDN.

use std::borrow::Cow;

use super::edn::Edn;
use super::error::{Fault, excerpt};
use super::{RawEvent, RawProcess, Seen, kind_named, whole};
use crate::datum::Datum;
use crate::history::Kind;

/// An event and what only its text tells.
#[derive(Debug)]
pub(super) struct Parsed<'a> {
    pub(super) event: RawEvent<'a>,
    /// Whether its value is marked as a pair of key and value.
    pub(super) tagged: bool,
    /// Where its value stands.
    pub(super) value_at: usize,
}

/// Fields that every event has.
const PROCESS: u16 = 1 << 0;
const KIND: u16 = 1 << 1;
const F: u16 = 1 << 2;

/// The event that a form says.
#[inline]
pub(super) fn event(form: &str) -> Result<Parsed<'_>, Fault> {
    let mut parsed = Parsed { event: RawEvent::blank(), tagged: false, value_at: 0 };
    parsed.read(form)?;
    Ok(parsed)
}

impl<'a> Parsed<'a> {
    fn read(&mut self, form: &'a str) -> Result<(), Fault> {
        let mut edn = Edn::new(form);
        while edn.peek() == Some(b'#') {
            edn.tag()?;
            edn.filler(0)?;
        }
        if !edn.passes(b'{') {
            return Err(edn.expected("a map, {:process 0, :type :invoke, …}"));
        }
        let mut seen = Seen::default();
        loop {
            edn.filler(1)?;
            if edn.passes(b'}') {
                return self.finish(seen, form.len());
            }
            let name_at = edn.at();
            let name = edn.value(1)?;
            edn.filler(1)?;
            let name = name.as_text().unwrap_or_default();
            let bit = self.field(name, &mut edn)?;
            if bit > 0 && !seen.first(bit) {
                return Err(Fault::meaning(name_at, format!(":{name} stands in the map twice")));
            }
        }
    }

    /// Reads a field, and says which it is.
    fn field(&mut self, name: &str, edn: &mut Edn<'a>) -> Result<u16, Fault> {
        let at = edn.at();
        let event = &mut self.event;
        Ok(match name {
            "process" => {
                event.process = process(edn)?;
                PROCESS
            }
            "type" => {
                event.kind = kind(edn)?;
                KIND
            }
            "f" => {
                event.f = text(edn)?;
                F
            }
            "value" => {
                self.value_at = at;
                (event.value, self.tagged) = value(edn)?;
                1 << 3
            }
            "time" => {
                event.time = whole(&edn.value(1)?);
                1 << 4
            }
            "index" => {
                event.index = whole(&edn.value(1)?);
                1 << 5
            }
            "error" => {
                let error = edn.value(1)?;
                event.error = (!error.is_null()).then(|| worded(error, edn.since(at)));
                1 << 6
            }
            "key" => {
                event.key = Some(edn.value(1)?).filter(|key| !key.is_null());
                1 << 7
            }
            "node" => {
                event.node = node(&edn.value(1)?);
                1 << 8
            }
            "log-index" | "log_index" => {
                event.log_index = whole(&edn.value(1)?);
                1 << 9
            }
            _ => {
                edn.value(1)?;
                0
            }
        })
    }

    /// Sees that nothing is missing.
    fn finish(&self, seen: Seen, end: usize) -> Result<(), Fault> {
        let client = matches!(self.event.process, RawProcess::Client(_));
        for (bit, needed, what) in [
            (PROCESS, true, ":process is missing: who did it"),
            (KIND, true, ":type is missing, :invoke, :ok, :fail or :info"),
            (F, client, ":f is missing: what is done, such as :read"),
        ] {
            if needed && !seen.all(bit) {
                return Err(Fault::meaning(end, what));
            }
        }
        Ok(())
    }
}

/// Any value; and whether it is tagged as a pair of key and value, which is then what it is.
pub(super) fn value<'a>(edn: &mut Edn<'a>) -> Result<(Datum<'a>, bool), Fault> {
    if edn.peek() == Some(b'#') {
        let mut inside = Edn::at_the_same_place(edn);
        if inside.tag().is_ok_and(|tag| tag.to_ascii_lowercase().contains("tuple")) {
            inside.filler(1)?;
            if inside.peek() == Some(b'[') {
                let pair = inside.value(1)?;
                if pair.as_list().is_some_and(|pair| pair.len() == 2) {
                    *edn = inside;
                    return Ok((pair, true));
                }
            }
        }
    }
    Ok((edn.value(1)?, false))
}

fn process<'a>(edn: &mut Edn<'a>) -> Result<RawProcess<'a>, Fault> {
    let at = edn.at();
    let value = edn.value(1)?;
    if let Datum::Text(name) = value {
        return Ok(RawProcess::Named(name));
    }
    whole(&value).map(RawProcess::Client).ok_or_else(|| {
        let found = excerpt(edn.since(at));
        Fault::meaning(at, format!(":process must be a number or a name, not {found}"))
    })
}

fn kind(edn: &mut Edn<'_>) -> Result<Kind, Fault> {
    let at = edn.at();
    let value = edn.value(1)?;
    value.as_text().and_then(|name| kind_named(name.as_bytes())).ok_or_else(|| {
        let found = excerpt(edn.since(at));
        Fault::meaning(at, format!(":type must be :invoke, :ok, :fail or :info, not {found}"))
    })
}

fn text<'a>(edn: &mut Edn<'a>) -> Result<Cow<'a, str>, Fault> {
    let at = edn.at();
    let value = edn.value(1)?;
    Ok(worded(value, edn.since(at)))
}

/// A text, or of anything else how it is written.
pub(super) fn worded<'a>(value: Datum<'a>, written: &'a str) -> Cow<'a, str> {
    if let Datum::Text(text) = value { text } else { Cow::Borrowed(written) }
}

/// A node's number; Jepsen's nodes are mostly called `n1`, `n2`, ….
fn node(value: &Datum<'_>) -> Option<u64> {
    match value.as_text() {
        Some(name) => name.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().ok(),
        None => whole(value),
    }
}
