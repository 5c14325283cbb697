//! How a model's operations are written: names and values on one side, [`Action`] and [`Seen`] on the other.

use super::BadOperation;
use crate::datum::Datum;
use crate::history::intern::{Full, Intake};
use crate::ops::{Action, KeyOps, List, NOTHING, Seen, UNREAD, Word};

/// A model, as the reader sees it.
pub(crate) struct Spec {
    /// Its name in headers and on command lines.
    pub(crate) name: &'static str,
    /// The names of its operations.
    pub(crate) functions: &'static [&'static str],
    /// What an invocation asks for.
    pub(crate) call: fn(&mut Values<'_, '_>) -> Result<Action, Bad>,
    /// What an `ok` completion says.
    pub(crate) answer: fn(&mut Values<'_, '_>, Action) -> Result<Seen, Bad>,
    /// What `--initial` says that the object is at first.
    pub(crate) initial: fn(&mut Values<'_, '_>) -> Result<Seen, Bad>,
    /// The name of an operation.
    pub(crate) function: fn(&Action) -> &'static str,
}

/// A name and a value, and where to keep it.
pub(crate) struct Values<'v, 'b> {
    pub(crate) f: &'v str,
    pub(crate) value: &'v Datum<'v>,
    pub(crate) intake: Intake<'b>,
}

/// Why it cannot be an operation of the model.
#[derive(Debug)]
pub(crate) enum Bad {
    /// The model has no such operation.
    Function,
    /// The value must be this instead.
    Shape(&'static str),
    /// No room.
    Full(Full),
}

impl From<Full> for Bad {
    fn from(full: Full) -> Bad {
        Bad::Full(full)
    }
}

impl Values<'_, '_> {
    /// A value that is no list and no object; null is [`NOTHING`].
    pub(crate) fn scalar(&mut self) -> Result<Word, Bad> {
        self.scalar_of(self.value, "a string, a number, or null for no value")
    }

    /// A value that is no list, no object and not null.
    pub(crate) fn something(&mut self) -> Result<Word, Bad> {
        const EXPECTED: &str = "a string or a number";
        if self.value.is_null() {
            Err(Bad::Shape(EXPECTED))
        } else {
            self.scalar_of(self.value, EXPECTED)
        }
    }

    pub(crate) fn scalar_of(
        &mut self,
        value: &Datum<'_>,
        expected: &'static str,
    ) -> Result<Word, Bad> {
        match value {
            Datum::List(_) | Datum::Map(_) => Err(Bad::Shape(expected)),
            Datum::Null | Datum::Bool(_) | Datum::Int(_) | Datum::Text(_) | Datum::Other(_) => {
                Ok(self.intake.word(value)?)
            }
        }
    }

    /// `[expected, new]`.
    pub(crate) fn cas(&mut self) -> Result<Action, Bad> {
        const EXPECTED: &str = "[expected value or null, new value]";
        let Some([expect, new]) = self.value.as_list() else { return Err(Bad::Shape(EXPECTED)) };
        let expect = self.scalar_of(expect, EXPECTED)?;
        let new = self.scalar_of(new, EXPECTED)?;
        Ok(Action::Cas { expect, new })
    }

    /// A list of values that are no lists; null is the empty one.
    pub(crate) fn list(&mut self) -> Result<List, Bad> {
        const EXPECTED: &str = "a list of strings or numbers, or null for no value";
        let items = match self.value {
            Datum::Null => &[],
            Datum::List(items) => items.as_slice(),
            Datum::Bool(_) | Datum::Int(_) | Datum::Text(_) | Datum::Other(_) | Datum::Map(_) => {
                return Err(Bad::Shape(EXPECTED));
            }
        };
        let is_value =
            |item: &Datum<'_>| !matches!(item, Datum::Null | Datum::List(_) | Datum::Map(_));
        if !items.iter().all(is_value) {
            return Err(Bad::Shape(EXPECTED));
        }
        Ok(self.intake.values(items)?)
    }

    /// A number.
    pub(crate) fn number(&self) -> Result<i64, Bad> {
        self.value.as_int().ok_or(Bad::Shape("a 64-bit integer"))
    }

    /// A number, or null.
    pub(crate) fn number_or_null(&self) -> Result<Option<i64>, Bad> {
        if self.value.is_null() {
            return Ok(None);
        }
        self.value.as_int().map(Some).ok_or(Bad::Shape("a 64-bit integer, or null"))
    }

    /// Steps of a transaction: `[["r", "x", null], ["w", "y", 2]]`, also `read` and `write`.
    pub(crate) fn transaction(&mut self) -> Result<List, Bad> {
        const EXPECTED: &str = "a list of [\"r\" or \"w\", register, value]";
        let Some(steps) = self.value.as_list() else { return Err(Bad::Shape(EXPECTED)) };
        let mut items = Vec::with_capacity(3 * steps.len());
        for step in steps {
            let Some([kind, register, value]) = step.as_list() else {
                return Err(Bad::Shape(EXPECTED));
            };
            let writes = match kind.as_text() {
                Some("w" | "write") => true,
                Some("r" | "read") => false,
                Some(_) | None => return Err(Bad::Shape(EXPECTED)),
            };
            let register = self.scalar_of(register, EXPECTED)?;
            let word = self.scalar_of(value, EXPECTED)?;
            items.extend([Word::from(writes), register, word]);
        }
        Ok(self.intake.list(&items)?)
    }

    /// The steps of a transaction whose reads are not known to have seen anything.
    pub(crate) fn transaction_asked(&mut self) -> Result<List, Bad> {
        let list = self.transaction()?;
        let key = &mut self.intake.keys[crate::ops::index(self.intake.number)];
        forget_reads(key, list);
        Ok(list)
    }

    /// Registers and their values: `{"x": 0, "y": 0}`.
    pub(crate) fn registers(&mut self) -> Result<List, Bad> {
        const EXPECTED: &str = "an object with a value for each register, like {\"x\":0,\"y\":0}";
        let entries = match self.value {
            Datum::Null => &[],
            Datum::Map(entries) => entries.as_slice(),
            Datum::Bool(_) | Datum::Int(_) | Datum::Text(_) | Datum::Other(_) | Datum::List(_) => {
                return Err(Bad::Shape(EXPECTED));
            }
        };
        let mut items = Vec::with_capacity(3 * entries.len());
        for (register, value) in entries {
            let register = self.scalar_of(register, EXPECTED)?;
            let value = self.scalar_of(value, EXPECTED)?;
            items.extend([1, register, value]);
        }
        Ok(self.intake.list(&items)?)
    }
}

fn forget_reads(key: &mut KeyOps, list: List) {
    let start = crate::ops::index(list.start);
    let items = &mut key.items[start..start + crate::ops::index(list.len)];
    for step in items.chunks_exact_mut(3).filter(|step| step[0] == 0) {
        step[2] = UNREAD;
    }
}

/// No operation of any model but these.
pub(crate) fn no_operation(_: &Action) -> &'static str {
    "?"
}

/// What an operation learns that learns nothing.
#[expect(clippy::unnecessary_wraps, reason = "as other models' answers")]
pub(crate) fn nothing_learnt(_: &mut Values<'_, '_>, _: Action) -> Result<Seen, Bad> {
    Ok(Seen::Unknown)
}

/// An initial list.
pub(crate) fn initial_list(values: &mut Values<'_, '_>) -> Result<Seen, Bad> {
    values.list().map(Seen::List)
}

/// An initial value.
pub(crate) fn initial_word(values: &mut Values<'_, '_>) -> Result<Seen, Bad> {
    let word = values.scalar()?;
    Ok(if word == NOTHING { Seen::Unknown } else { Seen::Word(word) })
}

impl BadOperation {
    pub(crate) fn of(bad: &Bad, model: super::Model, f: &str, value: &Datum<'_>) -> BadOperation {
        match bad {
            Bad::Function => BadOperation::Unknown { model, f: f.to_owned() },
            Bad::Shape(expected) => BadOperation::Shape {
                f: f.to_owned(),
                expected,
                found: value.to_string().chars().take(60).collect(),
            },
            Bad::Full(full) => BadOperation::Full(*full),
        }
    }
}
