//! A line that says an operation from its call to its return; the fields are documented in [`super`].

use std::borrow::Cow;

use super::error::{Fault, excerpt};
use super::json::Json;
use super::{RawOperation, RawProcess, Seen, kind_named, whole};
use crate::datum::Datum;
use crate::history::Kind;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Process,
    F,
    Key,
    Value,
    Result,
    Call,
    Return,
    Outcome,
    LogIndex,
    Error,
    Node,
}

/// An operation that is being read.
struct Reading<'a, 'o> {
    operation: &'o mut RawOperation<'a>,
    seen: Seen,
    /// What `type` says, if it says anything.
    outcome: Option<Kind>,
    /// A field that is not known and has a number: perhaps a return by another name.
    stray: Option<(usize, Cow<'a, [u8]>)>,
}

/// The operation that the line says.
#[inline]
pub(super) fn operation(line: &str) -> Result<RawOperation<'_>, Fault> {
    let mut operation = RawOperation {
        process: RawProcess::Client(0),
        f: Cow::Borrowed(""),
        key: None,
        value: Datum::Null,
        result: None,
        outcome: Kind::Info,
        call: 0,
        ret: None,
        log_index: None,
        error: None,
        node: None,
    };
    read(line, &mut operation)?;
    Ok(operation)
}

fn read<'a>(line: &'a str, operation: &mut RawOperation<'a>) -> Result<(), Fault> {
    let mut json = Json::new(line);
    json.blanks();
    if !json.passes(b'{') {
        return Err(json.expected("an object, {\"process\":…,\"f\":…,\"call\":…,\"return\":…}"));
    }
    let mut reading = Reading { operation, seen: Seen::default(), outcome: None, stray: None };
    let mut first = true;
    loop {
        let name_at = json.at();
        let name = match json.plain_field(first) {
            Some(name) => Cow::Borrowed(name),
            None => match json.field(first)? {
                Some(Cow::Borrowed(name)) => Cow::Borrowed(name.as_bytes()),
                Some(Cow::Owned(name)) => Cow::Owned(name.into_bytes()),
                None => break,
            },
        };
        first = false;
        match field_named(&name) {
            Some(field) => {
                reading.field(field, &mut json).map_err(|fault| fault.of_field(&name))?;
            }
            None => {
                if let Datum::Int(_) = json.value(0)? {
                    reading.stray = Some((name_at, name));
                }
            }
        }
    }
    reading.finish(line.len())
}

impl Field {
    fn bit(self) -> u16 {
        match self {
            Field::Process => 1,
            Field::F => 1 << 1,
            Field::Key => 1 << 2,
            Field::Value => 1 << 3,
            Field::Result => 1 << 4,
            Field::Call => 1 << 5,
            Field::Return => 1 << 6,
            Field::Outcome => 1 << 7,
            Field::LogIndex => 1 << 8,
            Field::Error => 1 << 9,
            Field::Node => 1 << 10,
        }
    }
}

#[inline]
fn field_named(name: &[u8]) -> Option<Field> {
    known(name).or_else(|| {
        let letters = name.iter().filter(|byte| **byte != b'_');
        known(&letters.map(u8::to_ascii_lowercase).collect::<Vec<u8>>())
    })
}

#[inline]
fn known(name: &[u8]) -> Option<Field> {
    Some(match name {
        b"process" | b"client" | b"clientid" => Field::Process,
        b"f" | b"op" | b"operation" => Field::F,
        b"key" => Field::Key,
        b"value" | b"input" => Field::Value,
        b"result" | b"output" => Field::Result,
        b"call" | b"calltime" | b"start" | b"starttime" => Field::Call,
        b"return" | b"returntime" | b"ret" | b"end" | b"endtime" => Field::Return,
        b"type" | b"outcome" => Field::Outcome,
        b"log_index" | b"logindex" => Field::LogIndex,
        b"error" => Field::Error,
        b"node" => Field::Node,
        _ => return None,
    })
}

impl<'a> Reading<'a, '_> {
    #[inline]
    fn field(&mut self, field: Field, json: &mut Json<'a>) -> Result<(), Fault> {
        let at = json.at();
        let operation = &mut *self.operation;
        match field {
            Field::Process => operation.process = process(json)?,
            Field::F => operation.f = json.string()?,
            // No key and a null one are the same: there is one object.
            Field::Key => operation.key = Some(json.value(0)?).filter(|key| !key.is_null()),
            Field::Value => operation.value = json.value(0)?,
            Field::Result => operation.result = Some(json.value(0)?),
            Field::Call => operation.call = time(json)?,
            Field::Return => operation.ret = or_null(json, time)?,
            Field::Outcome => self.outcome = or_null(json, outcome)?,
            Field::LogIndex => operation.log_index = or_null(json, number)?,
            Field::Error => operation.error = or_null(json, error)?,
            Field::Node => operation.node = or_null(json, number)?,
        }
        if self.seen.first(field.bit()) {
            return Ok(());
        }
        Err(Fault::meaning(at, "is said a second time, perhaps by another name"))
    }

    /// Sees that nothing is missing.
    #[inline]
    fn finish(&mut self, end: usize) -> Result<(), Fault> {
        for (field, what) in NEEDED {
            if !self.seen.all(field.bit()) {
                return Err(Fault::meaning(end, what));
            }
        }
        let RawOperation { call, ret, .. } = *self.operation;
        if let Some(ret) = ret.filter(|ret| *ret < call) {
            let what = format!("it returns at {ret}, before it is called at {call}");
            return Err(Fault::meaning(end, what));
        }
        self.operation.outcome = match (self.outcome, ret) {
            (Some(Kind::Ok), None) => {
                let what = "\"return\" is missing, though \"type\" is \"ok\"; if it never returned, it is \"info\"";
                return Err(Fault::meaning(end, what));
            }
            (Some(outcome), _) => outcome,
            (None, Some(_)) => Kind::Ok,
            (None, None) => Kind::Info,
        };
        if let (false, Some((at, name))) = (self.seen.all(Field::Return.bit()), &self.stray) {
            let name = String::from_utf8_lossy(name);
            let what = format!(
                "\"return\" is missing; if {name:?} is not that, say \"return\":null for what never returned"
            );
            return Err(Fault::meaning(*at, what));
        }
        Ok(())
    }
}

/// The fields that every operation has.
const NEEDED: [(Field, &str); 3] = [
    (Field::Process, "\"process\" is missing, the client's number or name"),
    (Field::F, "\"f\" is missing: what is done, such as \"read\""),
    (Field::Call, "\"call\" is missing, the time of its invocation"),
];

fn process<'a>(json: &mut Json<'a>) -> Result<RawProcess<'a>, Fault> {
    if json.peek() == Some(b'"') {
        return Ok(RawProcess::Named(json.string()?));
    }
    number(json).map(RawProcess::Client)
}

fn or_null<'a, T>(
    json: &mut Json<'a>,
    read: impl Fn(&mut Json<'a>) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    if json.peek() == Some(b'n') {
        return json.value(0).map(|_| None);
    }
    read(json).map(Some)
}

fn number(json: &mut Json<'_>) -> Result<u64, Fault> {
    unsigned(json, "must be a whole number, 0 or more")
}

fn time(json: &mut Json<'_>) -> Result<u64, Fault> {
    unsigned(
        json,
        "must be a whole number, 0 or more, such as nanoseconds since some moment that is the same for all",
    )
}

#[inline]
fn unsigned(json: &mut Json<'_>, must: &str) -> Result<u64, Fault> {
    if let Some(number) = json.small_number() {
        return Ok(number);
    }
    let at = json.at();
    let value = json.value(0)?;
    whole(&value)
        .ok_or_else(|| Fault::meaning(at, format!("{must}, not {}", excerpt(&value.to_string()))))
}

fn outcome(json: &mut Json<'_>) -> Result<Kind, Fault> {
    let at = json.at();
    let value = json.value(0)?;
    let kind = value.as_text().and_then(|text| kind_named(text.as_bytes()));
    kind.filter(|kind| *kind != Kind::Invoke).ok_or_else(|| {
        let found = excerpt(&value.to_string());
        Fault::meaning(at, format!("must be \"ok\", \"fail\" or \"info\", not {found}"))
    })
}

/// A text, or of anything else how it is written.
fn error<'a>(json: &mut Json<'a>) -> Result<Cow<'a, str>, Fault> {
    let value = json.value(0)?;
    if let Datum::Text(text) | Datum::Other(text) = value {
        return Ok(text);
    }
    Ok(Cow::Owned(value.to_string()))
}
