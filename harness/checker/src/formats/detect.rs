//! Which format it is, from its beginning.

use memchr::memmem;

use super::{Format, log};

/// The format of what begins like this; none if that is none of them, or too little to say.
///
/// It takes the first line that says something: comments of EDN and, before lines of a Jepsen log, all others are
/// passed over.
pub fn detect(beginning: &[u8]) -> Option<Format> {
    let text = without_mark(beginning).trim_ascii_start();
    match text.first()? {
        b'{' => of_map(text).or_else(|| of_log(text)),
        b';' => {
            let comment = memchr::memchr(b'\n', text)?;
            detect(text.get(comment..)?)
        }
        b'[' | b'(' | b'#' if edn(text) => Some(Format::JepsenEdn),
        _ => of_log(text),
    }
}

/// The text after a mark of the byte order, which some programs put before it.
pub(super) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// Why it is nothing that is read, if it is something well known.
pub(super) fn foreign(beginning: &[u8]) -> Option<&'static str> {
    let text = without_mark(beginning).trim_ascii_start();
    let after_bracket = text.strip_prefix(b"[").map(<[u8]>::trim_ascii_start);
    if text.starts_with(b"\x1f\x8b") || text.starts_with(b"\x28\xb5\x2f\xfd") {
        Some("it is compressed: unpack it first")
    } else if text.starts_with(b"PK\x03\x04") {
        Some("it is a zip archive: unpack it first")
    } else if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
        Some("it is UTF-16: convert it to UTF-8 first")
    } else if after_bracket
        .and_then(|rest| rest.strip_prefix(b"{"))
        .is_some_and(|rest| rest.trim_ascii_start().starts_with(b"\""))
    {
        Some("it is an array of JSON: put each element on a line of its own, as jq -c '.[]' does")
    } else {
        None
    }
}

fn of_map(text: &[u8]) -> Option<Format> {
    let inside = text.get(1..)?.trim_ascii_start();
    match inside.first()? {
        b'"' => {
            let line = text.get(..memchr::memchr(b'\n', text).unwrap_or(text.len()))?;
            let ours = has_field(line, b"\"history\"")
                || (has_field(line, b"\"time\"") && has_field(line, b"\"index\""));
            Some(if ours { Format::History } else { Format::Operations })
        }
        b':' | b',' | b';' | b'#' => Some(Format::JepsenEdn),
        _ => None,
    }
}

/// Whether the name, in its quotes, stands before a colon.
fn has_field(line: &[u8], name: &[u8]) -> bool {
    memmem::find_iter(line, name).any(|at| {
        let rest = line.get(at + name.len()..).unwrap_or_default();
        rest.trim_ascii_start().starts_with(b":")
    })
}

/// Whether a bracket or a `#` begins EDN: what follows is a map, a tag, a comment or the end.
fn edn(text: &[u8]) -> bool {
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == b',';
    let mut rest = text;
    if let Some(inside) = rest.strip_prefix(b"[").or_else(|| rest.strip_prefix(b"(")) {
        let blanks = inside.iter().take_while(|byte| blank(byte)).count();
        rest = inside.get(blanks..).unwrap_or_default();
        return match rest.first() {
            Some(b';' | b']' | b')' | b'#') => true,
            Some(b'{') => of_map(rest) == Some(Format::JepsenEdn),
            _ => false,
        };
    }
    matches!(rest, [b'#', next, ..] if next.is_ascii_alphabetic() || *next == b'_')
}

fn of_log(text: &[u8]) -> Option<Format> {
    text.split(|byte| *byte == b'\n')
        .any(|line| log::Head::find(line).is_some())
        .then_some(Format::JepsenLog)
}
