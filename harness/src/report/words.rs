//! How figures, times and operations are put into words.

use std::fmt::{self, Write as _};

use history_checker::history::{Event, Kind};
use serde_json::Value;

/// Nanoseconds in a second.
pub(super) const SECOND: u64 = 1_000_000_000;

/// Nanoseconds in a millisecond.
pub(super) const MILLISECOND: u64 = 1_000_000;

/// The nearest float. Times and counts of a run are far below 2^53.
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "figures to look at, not to compute with"
)]
pub(super) fn float(n: u64) -> f64 {
    n as f64
}

/// [`float`] for lengths.
pub(super) fn float_len(n: usize) -> f64 {
    float(u64::try_from(n).unwrap_or(u64::MAX))
}

/// The nearest integer, 0 for anything below.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, which is what is wanted"
)]
pub(super) fn integer(x: f64) -> u64 {
    x.round() as u64
}

/// A length as a number.
pub(super) fn number(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// `12,345`.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 fault`, `12,345 faults`.
pub(super) fn plural(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// A figure with its unit, which is given in the plural: `2 processes killed`, `1 process killed`, `1 ms stopped`.
pub(crate) fn amount(n: u64, unit: &str) -> String {
    let (noun, rest) = unit.split_once(' ').map_or((unit, ""), |(noun, rest)| (noun, rest));
    let one = match noun.strip_suffix("es").filter(|stem| stem.ends_with("ss")) {
        Some(stem) => stem,
        None => noun.strip_suffix('s').filter(|stem| stem.len() > 1).unwrap_or(noun),
    };
    let noun = if n == 1 { one } else { noun };
    format!("{} {noun} {rest}", count(n)).trim_end().to_owned()
}

/// A point in time since the run began, as tables show it: `12.841`.
pub(super) fn at(ns: u64) -> String {
    let ms = (ns + MILLISECOND / 2) / MILLISECOND;
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// How long something took: `0.42 ms`, `240 ms`, `1.92 s`, `2 min 5 s`.
pub(super) fn span(ns: u64) -> String {
    if ns == 0 {
        "0 s".to_owned()
    } else if ns < 10 * MILLISECOND {
        format!("{:.2} ms", float(ns) / 1e6)
    } else if ns < SECOND {
        format!("{:.0} ms", float(ns) / 1e6)
    } else if ns < 100 * SECOND {
        format!("{:.2} s", float(ns) / 1e9)
    } else {
        let seconds = (ns + SECOND / 2) / SECOND;
        format!("{} min {} s", seconds / 60, seconds % 60)
    }
}

/// Milliseconds with as many digits as mean something: `0.42`, `4.2`, `1,920`.
pub(super) fn milliseconds(ms: f64) -> String {
    if ms < 10.0 {
        format!("{ms:.2}")
    } else if ms < 100.0 {
        format!("{ms:.1}")
    } else {
        count(integer(ms))
    }
}

/// Adds to a text.
pub(super) fn put(text: &mut String, words: fmt::Arguments<'_>) {
    text.write_fmt(words).expect("a string takes everything");
}

/// At most `max` characters, with control characters made visible: a value can be a megabyte of anything.
pub(super) fn clip(text: &str, max: usize) -> String {
    let mut clipped = String::with_capacity(text.len().min(max * 4));
    for (i, c) in text.chars().enumerate() {
        if i == max {
            clipped.push('…');
            break;
        }
        clipped.push(visible(c));
    }
    clipped
}

/// The picture of a control character, or a mark for one that would turn the text around.
fn visible(c: char) -> char {
    match c {
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('␦'),
        '\u{7f}' => '␡',
        '\u{80}'..='\u{9f}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' => '␦',
        _ => c,
    }
}

/// Longest key or value shown, characters.
const VALUE_CHARS_MAX: usize = 40;

/// How many of a list's last elements are shown.
const ELEMENTS_MAX: usize = 6;

/// An operation as a person would say it: `write x = "3-17"`, `read x → "2-9"`, `cas x "a" → "b"`.
pub(super) fn operation(invoke: &Event, completion: Option<&Event>) -> String {
    let key = clip(invoke.key.as_deref().unwrap_or(""), VALUE_CHARS_MAX);
    let answer = completion.filter(|event| event.kind == Kind::Ok).map(|event| value(&event.value));
    let said = match (invoke.f.as_str(), &invoke.value) {
        ("read", _) => match answer {
            Some(answer) => format!("read {key} → {answer}"),
            None => format!("read {key}"),
        },
        ("write", wanted) => format!("write {key} = {}", value(wanted)),
        ("cas", Value::Array(pair)) if pair.len() == 2 => {
            let [old, new] = [&pair[0], &pair[1]].map(value);
            format!("cas {key} {old} → {new}")
        }
        ("append", wanted) => format!("append {key} + {}", value(wanted)),
        ("incr", wanted) => match answer {
            Some(answer) => format!("incr {key} by {} → {answer}", value(wanted)),
            None => format!("incr {key} by {}", value(wanted)),
        },
        ("delete", _) => format!("delete {key}"),
        (f, Value::Null) => format!("{} {key}", clip(f, VALUE_CHARS_MAX)),
        (f, wanted) => format!("{} {key} {}", clip(f, VALUE_CHARS_MAX), value(wanted)),
    };
    said.trim_end().to_owned()
}

/// A value: quoted strings, `nothing` for null, the end of a long list.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => format!("\"{}\"", clip(text, VALUE_CHARS_MAX)),
        Value::Array(elements) => {
            let skipped = elements.len().saturating_sub(ELEMENTS_MAX);
            let shown: Vec<String> = elements[skipped..]
                .iter()
                .map(|element| match element {
                    Value::String(text) => clip(text, VALUE_CHARS_MAX / 2),
                    Value::Null
                    | Value::Bool(_)
                    | Value::Number(_)
                    | Value::Array(_)
                    | Value::Object(_) => clip(&element.to_string(), VALUE_CHARS_MAX / 2),
                })
                .collect();
            if skipped > 0 {
                format!("[{} more, {}]", count(number(skipped)), shown.join(", "))
            } else {
                format!("[{}]", shown.join(", "))
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            clip(&value.to_string(), VALUE_CHARS_MAX)
        }
    }
}

/// Several names as a person would list them: `n1`, `n1 and n2`, `n1, n2 and n3`.
pub(super) fn nodes(ids: &[u64]) -> String {
    let names: Vec<String> = ids.iter().take(9).map(|id| format!("n{id}")).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use history_checker::history::Process;
    use serde_json::json;

    fn event(kind: Kind, f: &str, value: Value) -> Event {
        Event {
            index: 0,
            time: 0,
            process: Process::Client(1),
            kind,
            f: f.to_owned(),
            key: Some("x".to_owned()),
            value,
            error: None,
            node: None,
            request: None,
            log_index: None,
            role: None,
            term: None,
        }
    }

    #[test]
    fn figures_of_any_size_are_grouped() {
        assert_eq!(
            [0, 999, 1000, 123_456, 1_234_567].map(count),
            ["0", "999", "1,000", "123,456", "1,234,567"]
        );
    }

    #[test]
    fn one_of_something_is_singular() {
        assert_eq!(amount(1, "processes killed"), "1 process killed");
        assert_eq!(amount(2, "processes killed"), "2 processes killed");
        assert_eq!(amount(1, "connections refused"), "1 connection refused");
        assert_eq!(amount(1, "ms stopped"), "1 ms stopped");
        assert_eq!(amount(7_000, ""), "7,000");
    }

    #[test]
    fn spans_choose_their_unit() {
        assert_eq!(
            [420_000, 240 * MILLISECOND, 1_920 * MILLISECOND, 125 * SECOND].map(span),
            ["0.42 ms", "240 ms", "1.92 s", "2 min 5 s"]
        );
        assert_eq!(at(12_840_999_999), "12.841");
    }

    #[test]
    fn control_characters_are_made_visible_and_long_texts_cut() {
        assert_eq!(clip("a\u{0}b\nc\u{202e}d", 10), "a␀b␊c␦d");
        assert_eq!(clip("abcdef", 3), "abc…");
    }

    #[test]
    fn operations_read_like_sentences() {
        let read = event(Kind::Invoke, "read", Value::Null);
        assert_eq!(operation(&read, None), "read x");
        assert_eq!(
            operation(&read, Some(&event(Kind::Ok, "read", json!("3-17")))),
            "read x → \"3-17\""
        );
        assert_eq!(
            operation(&read, Some(&event(Kind::Ok, "read", Value::Null))),
            "read x → nothing"
        );
        assert_eq!(operation(&read, Some(&event(Kind::Fail, "read", Value::Null))), "read x");
        assert_eq!(
            operation(&event(Kind::Invoke, "cas", json!([null, "b"])), None),
            "cas x nothing → \"b\""
        );
        assert_eq!(operation(&event(Kind::Invoke, "cas", json!("odd")), None), "cas x \"odd\"");
        assert_eq!(operation(&event(Kind::Invoke, "delete", Value::Null), None), "delete x");
        let tokens: Vec<String> = (0..9).map(|i| i.to_string()).collect();
        assert_eq!(value(&json!(tokens)), "[3 more, 3, 4, 5, 6, 7, 8]");
    }
}
