//! The objects that clients work on, as single-threaded programs would see them.
//!
//! A key starts without a value. What `f` means is in the tables of [`crate::history`].

pub(crate) mod object;

use std::fmt;

use serde_json::Value;

use crate::history::Event;

/// Which object each key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// `read`, `write`, `delete`.
    Register,
    /// A register with `cas`, which succeeds only on the value that it expects.
    CasRegister,
    /// `append` adds a token to a list, `read` returns the list; no value is the empty list.
    Append,
    /// `incr` adds to a number and may return the sum, `read` returns the number; no value is 0.
    Counter,
}

/// An operation that does not belong to the model, or whose value has another shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOperation {
    /// The model has no such operation.
    #[error("model {model} has no operation {f:?}, only {}", model.functions().join(", "))]
    Unknown {
        /// The model.
        model: Model,
        /// The operation.
        f: String,
    },
    /// The value is not of the shape that it must have.
    #[error("the value of {f} must be {expected}, not {found}")]
    Shape {
        /// The operation.
        f: String,
        /// What it must be.
        expected: &'static str,
        /// What it is, cut short.
        found: String,
    },
}

/// What a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call<'h> {
    Read,
    Write(&'h str),
    Cas { expect: Option<&'h str>, new: &'h str },
    Append(&'h str),
    Incr(i64),
    Delete,
}

/// What it learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer<'h> {
    /// Nothing but that it is done.
    Done,
    /// A register's value.
    Value(Option<&'h str>),
    /// A list's tokens: strings, all of them.
    List(&'h [Value]),
    /// A counter's number; after an increment it may be unknown.
    Number(Option<i64>),
}

impl Model {
    const ALL: [Model; 4] = [Model::Register, Model::CasRegister, Model::Append, Model::Counter];

    /// The model of that name.
    pub fn named(name: &str) -> Option<Model> {
        Model::ALL.into_iter().find(|model| model.name() == name)
    }

    /// Its name in headers.
    pub fn name(self) -> &'static str {
        match self {
            Model::Register => "register",
            Model::CasRegister => "cas-register",
            Model::Append => "append",
            Model::Counter => "counter",
        }
    }

    /// All names, for messages.
    pub fn names() -> String {
        Model::ALL.map(Model::name).join(", ")
    }

    fn functions(self) -> &'static [&'static str] {
        match self {
            Model::Register => &["read", "write", "delete"],
            Model::CasRegister => &["read", "write", "cas", "delete"],
            Model::Append => &["read", "append"],
            Model::Counter => &["read", "incr"],
        }
    }

    /// What an invocation asks for.
    pub(crate) fn call(self, event: &Event) -> Result<Call<'_>, BadOperation> {
        if !self.functions().contains(&event.f.as_str()) {
            return Err(BadOperation::Unknown { model: self, f: event.f.clone() });
        }
        match event.f.as_str() {
            "read" => Ok(Call::Read),
            "delete" => Ok(Call::Delete),
            "write" => text(event).map(Call::Write),
            "append" => text(event).map(Call::Append),
            "incr" => {
                event.value.as_i64().map(Call::Incr).ok_or_else(|| shape(event, "a 64-bit integer"))
            }
            _ => cas(event),
        }
    }

    /// What an `ok` completion of `call` says.
    pub(crate) fn answer<'h>(
        self,
        call: &Call<'_>,
        event: &'h Event,
    ) -> Result<Answer<'h>, BadOperation> {
        match call {
            Call::Write(_) | Call::Cas { .. } | Call::Append(_) | Call::Delete => Ok(Answer::Done),
            Call::Incr(_) => number(event),
            Call::Read => match self {
                Model::Register | Model::CasRegister => optional(&event.value)
                    .map(Answer::Value)
                    .map_err(|_| shape(event, "a string, or null for no value")),
                Model::Append => list(event),
                Model::Counter => number(event),
            },
        }
    }

    /// What a failed `call` learnt nevertheless: a cas that mismatched may say what it found, as a read would.
    pub(crate) fn answer_of_failure<'h>(call: &Call<'_>, event: &'h Event) -> Option<Answer<'h>> {
        if !matches!(call, Call::Cas { .. }) || event.error.as_deref() != Some("mismatch") {
            return None;
        }
        optional(event.value.get("actual")?).map(Answer::Value).ok()
    }
}

impl Call<'_> {
    /// Whether an `ok` completion repeats the invocation's value.
    pub(crate) fn repeats_value(&self) -> bool {
        matches!(self, Call::Write(_) | Call::Cas { .. } | Call::Append(_))
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn text(event: &Event) -> Result<&str, BadOperation> {
    event.value.as_str().ok_or_else(|| shape(event, "a string"))
}

fn cas(event: &Event) -> Result<Call<'_>, BadOperation> {
    if let Some([expect, Value::String(new)]) = event.value.as_array().map(Vec::as_slice)
        && let Ok(expect) = optional(expect)
    {
        return Ok(Call::Cas { expect, new });
    }
    Err(shape(event, "[expected string or null, new string]"))
}

fn list(event: &Event) -> Result<Answer<'_>, BadOperation> {
    match &event.value {
        Value::Null => Ok(Answer::List(&[])),
        Value::Array(tokens) if tokens.iter().all(Value::is_string) => Ok(Answer::List(tokens)),
        Value::Array(_)
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Object(_) => Err(shape(event, "a list of strings, or null for no value")),
    }
}

fn number(event: &Event) -> Result<Answer<'_>, BadOperation> {
    if event.value.is_null() {
        return Ok(Answer::Number(None));
    }
    event
        .value
        .as_i64()
        .map(|number| Answer::Number(Some(number)))
        .ok_or_else(|| shape(event, "a 64-bit integer, or null"))
}

/// Neither string nor null.
struct NotText;

fn optional(value: &Value) -> Result<Option<&str>, NotText> {
    if value.is_null() { Ok(None) } else { value.as_str().map(Some).ok_or(NotText) }
}

fn shape(event: &Event, expected: &'static str) -> BadOperation {
    let found: String = event.value.to_string().chars().take(60).collect();
    BadOperation::Shape { f: event.f.clone(), expected, found }
}
