//! How things are called in sentences for people.

use std::time::Duration;

use crate::history::History;
use crate::ops::{KeyOps, NOTHING, Op, Word};

/// Longest value to be quoted in full, characters.
const QUOTE_CHARS_MAX: usize = 40;

/// A point in time: `12.841 s`.
pub(crate) fn at(time: u64) -> String {
    format!("{:.3} s", Duration::from_nanos(time).as_secs_f64())
}

/// A span of time, with about three digits: `1.92 s`, `240 ms`, `0.31 ms`.
pub(crate) fn span(nanoseconds: u64) -> String {
    let seconds = Duration::from_nanos(nanoseconds).as_secs_f64();
    let milliseconds = seconds * 1e3;
    if seconds >= 100.0 {
        format!("{seconds:.0} s")
    } else if seconds >= 1.0 {
        format!("{seconds:.2} s")
    } else if milliseconds >= 100.0 {
        format!("{milliseconds:.0} ms")
    } else if milliseconds >= 1.0 {
        format!("{milliseconds:.1} ms")
    } else {
        format!("{milliseconds:.2} ms")
    }
}

/// A span of time in milliseconds.
pub(crate) fn milliseconds(nanoseconds: u64) -> f64 {
    Duration::from_nanos(nanoseconds).as_secs_f64() * 1e3
}

/// `12,345`.
pub(crate) fn number(n: impl TryInto<u64>) -> String {
    let digits = n.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 read`, `2 reads`.
pub(crate) fn count(n: impl TryInto<u64>, noun: &str) -> String {
    let n = n.try_into().unwrap_or(u64::MAX);
    if n == 1 { format!("1 {noun}") } else { format!("{} {noun}s", number(n)) }
}

/// `a`, `a and b`, `a, b and c`; a long list is cut short.
pub(crate) fn list(items: &[String]) -> String {
    const SHOWN: usize = 6;
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] if items.len() <= SHOWN => format!("{} and {last}", most.join(", ")),
        _ => format!("{} and {} more", items[..SHOWN - 1].join(", "), items.len() - (SHOWN - 1)),
    }
}

/// `n2`.
pub(crate) fn node(id: u64) -> String {
    format!("n{id}")
}

/// A value in quotes, cut if it is long.
pub(crate) fn quote(text: &str) -> String {
    if text.chars().nth(QUOTE_CHARS_MAX).is_none() {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(QUOTE_CHARS_MAX).collect();
    format!("{start:?}… ({} bytes)", text.len())
}

/// With a capital.
pub(crate) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

/// Words for one key's operations.
#[derive(Clone, Copy)]
pub(crate) struct Words<'c> {
    pub(crate) history: &'c History,
    pub(crate) key: &'c KeyOps,
}

impl<'c> Words<'c> {
    /// The key's name.
    pub(crate) fn name(&self) -> &'c str {
        self.key.name.as_deref().unwrap_or("the value")
    }

    /// `client 7`.
    pub(crate) fn client(&self, op: &Op) -> String {
        format!("client {}", self.history.client(op))
    }

    /// When it was invoked, nanoseconds; without times, 0.
    pub(crate) fn called(&self, op: &Op) -> u64 {
        self.history.called(op).unwrap_or(0)
    }

    /// When it was completed, nanoseconds; of an open operation, when it was invoked.
    pub(crate) fn completed(&self, op: &Op) -> u64 {
        self.history.completed(op).unwrap_or_else(|| self.called(op))
    }

    /// A value, quoted, or `nothing`.
    pub(crate) fn value(&self, word: Word) -> String {
        match word {
            NOTHING => "nothing".to_owned(),
            _ if self.key.words.is_text(word) => quote(self.key.words.text(word)),
            _ => self.key.words.text(word).to_owned(),
        }
    }

    /// ` from n2`, or nothing if it is not known.
    pub(crate) fn answered_from(&self, op: &Op) -> String {
        self.history.node(op).map_or(String::new(), |id| format!(" from {}", node(id)))
    }

    /// Indexes of the events of these operations, in order of time, each once.
    pub(crate) fn events<'o>(&self, ops: impl IntoIterator<Item = &'o Op>) -> Vec<u64> {
        let mut events = Vec::new();
        for op in ops {
            let (call, completion) = self.history.events(op);
            events.push(call);
            events.extend(completion);
        }
        events.sort_unstable();
        events.dedup();
        events
    }
}
