//! Values as histories write them, whatever the format: JSON or EDN, borrowed from the line where that is possible.

use std::borrow::Cow;
use std::fmt;

/// A value in a history.
///
/// EDN keywords and symbols are texts: `:x` in a Jepsen history and `"x"` in `--initial` are the same key.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Datum<'a> {
    /// `null`, `nil`.
    #[default]
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A number without a fraction that fits 64 bits.
    Int(i64),
    /// A string; in EDN also a keyword or a symbol.
    Text(Cow<'a, str>),
    /// A scalar that is none of these (a fraction, a large number, a tagged value), as it is written.
    Other(Cow<'a, str>),
    /// An array; in EDN also a list or a set.
    List(Vec<Datum<'a>>),
    /// An object, in the order in which it is written.
    Map(Vec<(Datum<'a>, Datum<'a>)>),
}

impl<'a> Datum<'a> {
    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        if let Datum::Text(text) = self { Some(text) } else { None }
    }

    /// The number, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        if let Datum::Int(number) = self { Some(*number) } else { None }
    }

    /// The elements, if it is a list.
    pub fn as_list(&self) -> Option<&[Datum<'a>]> {
        if let Datum::List(list) = self { Some(list) } else { None }
    }

    /// The value of a map's entry with this text as its key.
    pub fn get(&self, name: &str) -> Option<&Datum<'a>> {
        let Datum::Map(entries) = self else { return None };
        entries.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value)
    }

    /// The same, without borrowing from the line.
    pub fn into_owned(self) -> Datum<'static> {
        match self {
            Datum::Null => Datum::Null,
            Datum::Bool(truth) => Datum::Bool(truth),
            Datum::Int(number) => Datum::Int(number),
            Datum::Text(text) => Datum::Text(Cow::Owned(text.into_owned())),
            Datum::Other(text) => Datum::Other(Cow::Owned(text.into_owned())),
            Datum::List(list) => Datum::List(list.into_iter().map(Datum::into_owned).collect()),
            Datum::Map(map) => Datum::Map(
                map.into_iter()
                    .map(|(key, value)| (key.into_owned(), value.into_owned()))
                    .collect(),
            ),
        }
    }
}

/// As JSON, except for what is [`Datum::Other`].
impl fmt::Display for Datum<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Datum::Null => f.write_str("null"),
            Datum::Bool(truth) => write!(f, "{truth}"),
            Datum::Int(number) => write!(f, "{number}"),
            Datum::Text(text) => f.write_str(&serde_json::to_string(text).map_err(|_| fmt::Error)?),
            Datum::Other(text) => f.write_str(text),
            Datum::List(list) => {
                f.write_str("[")?;
                for (number, item) in list.iter().enumerate() {
                    write!(f, "{}{item}", if number > 0 { "," } else { "" })?;
                }
                f.write_str("]")
            }
            Datum::Map(map) => {
                f.write_str("{")?;
                for (number, (key, value)) in map.iter().enumerate() {
                    write!(f, "{}{key}:{value}", if number > 0 { "," } else { "" })?;
                }
                f.write_str("}")
            }
        }
    }
}

impl From<&serde_json::Value> for Datum<'static> {
    fn from(value: &serde_json::Value) -> Datum<'static> {
        use serde_json::Value;
        match value {
            Value::Null => Datum::Null,
            Value::Bool(truth) => Datum::Bool(*truth),
            Value::Number(number) => match number.as_i64() {
                Some(number) => Datum::Int(number),
                None => Datum::Other(Cow::Owned(number.to_string())),
            },
            Value::String(text) => Datum::Text(Cow::Owned(text.clone())),
            Value::Array(list) => Datum::List(list.iter().map(Datum::from).collect()),
            Value::Object(map) => Datum::Map(
                map.iter()
                    .map(|(key, value)| (Datum::Text(Cow::Owned(key.clone())), Datum::from(value)))
                    .collect(),
            ),
        }
    }
}
