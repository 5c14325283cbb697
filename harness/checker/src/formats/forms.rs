//! Where the forms of a text of EDN begin and end, without a look at what they mean: a file of any size is read form by
//! form.

use super::DEPTH_MAX;
use super::error::{Fault, shown};

/// What stands at the beginning of some bytes.
#[derive(Debug)]
pub(super) enum Found {
    /// Something that says nothing: blanks, a comment, a discarded form.
    Filler(usize),
    /// A form of that many bytes.
    Form(usize),
    /// A bracket that closes what was opened before.
    Closing(u8),
    /// The beginning of something that goes on beyond these bytes.
    Partial,
    /// Nothing is left.
    Nothing,
}

/// Whether a byte separates forms.
#[inline]
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b',' | b'\t'..=b'\r')
}

/// Whether a byte ends a symbol, a keyword, a number, a tag.
#[inline]
pub(super) fn ends_token(byte: u8) -> bool {
    TOKEN_ENDS[usize::from(byte)]
}

/// By their codes, for the lints are right that a byte is not to be cast.
const TOKEN_ENDS: [bool; 256] = {
    let mut ends = [false; 256];
    ends[0] = true;
    // Tab, line feed, vertical tab, form feed, carriage return.
    ends[0x09] = true;
    ends[0x0a] = true;
    ends[0x0b] = true;
    ends[0x0c] = true;
    ends[0x0d] = true;
    // Blank, quote, round brackets, comma, semicolon.
    ends[0x20] = true;
    ends[0x22] = true;
    ends[0x28] = true;
    ends[0x29] = true;
    ends[0x2c] = true;
    ends[0x3b] = true;
    // Square brackets around the backslash, braces.
    ends[0x5b] = true;
    ends[0x5c] = true;
    ends[0x5d] = true;
    ends[0x7b] = true;
    ends[0x7d] = true;
    ends
};

/// What the bytes begin with; `whole` says that there is nothing beyond them.
pub(super) fn first(bytes: &[u8], whole: bool) -> Result<Found, Fault> {
    let Some(byte) = bytes.first() else { return Ok(Found::Nothing) };
    match byte {
        byte if is_blank(*byte) => {
            Ok(Found::Filler(bytes.iter().take_while(|byte| is_blank(**byte)).count()))
        }
        b';' => Ok(match memchr::memchr(b'\n', bytes) {
            Some(end) => Found::Filler(end + 1),
            None if whole => Found::Filler(bytes.len()),
            None => Found::Partial,
        }),
        byte @ (b')' | b']' | b'}') => Ok(Found::Closing(*byte)),
        _ => {
            let discards = bytes.starts_with(b"#_");
            Ok(match extent(bytes, whole)? {
                Some(length) if discards => Found::Filler(length),
                Some(length) => Found::Form(length),
                None => Found::Partial,
            })
        }
    }
}

/// The length of the form that the bytes begin with; none if it goes on beyond them.
fn extent(bytes: &[u8], whole: bool) -> Result<Option<usize>, Fault> {
    let mut brackets = Brackets { closing: [0; DEPTH_MAX], depth: 0 };
    // A tag and a discard want one more form than there would be without them.
    let mut wanted = usize::from(!bytes.starts_with(b"#_"));
    let mut at = 0;
    while let Some(byte) = bytes.get(at).copied() {
        let rest = bytes.get(at..).unwrap_or_default();
        let (length, ends_form) = match byte {
            byte if is_blank(byte) => (Some(1), false),
            b'(' | b'[' | b'{' => {
                brackets.open(byte, at)?;
                (Some(1), false)
            }
            b')' | b']' | b'}' => {
                brackets.close(byte, at)?;
                (Some(1), true)
            }
            b';' => (memchr::memchr(b'\n', rest), false),
            b'"' => (string_length(rest), true),
            b'#' if rest.get(1) == Some(&b'{') => (Some(1), false),
            b'#' if rest.get(1) == Some(&b'_') => {
                wanted += usize::from(brackets.depth == 0);
                (Some(2), false)
            }
            b'#' if rest.get(1) != Some(&b'#') => (token_length(rest, whole), false),
            _ => (token_length(rest, whole), true),
        };
        let Some(length) = length else { return Ok(None) };
        at += length;
        if ends_form && brackets.depth == 0 {
            wanted = wanted.saturating_sub(1);
            if wanted == 0 {
                return Ok(Some(at));
            }
        }
    }
    Ok(None)
}

/// The brackets that are open.
struct Brackets {
    /// What closes each of them.
    closing: [u8; DEPTH_MAX],
    depth: usize,
}

impl Brackets {
    fn open(&mut self, bracket: u8, at: usize) -> Result<(), Fault> {
        let closing = match bracket {
            b'(' => b')',
            b'[' => b']',
            _ => b'}',
        };
        let Some(top) = self.closing.get_mut(self.depth) else {
            let what = format!("values nest deeper than {DEPTH_MAX} levels");
            return Err(Fault::meaning(at, what));
        };
        *top = closing;
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self, bracket: u8, at: usize) -> Result<(), Fault> {
        let top = self.depth.checked_sub(1);
        let expected = top.and_then(|top| self.closing.get(top)).copied();
        if let (Some(top), true) = (top, expected == Some(bracket)) {
            self.depth = top;
            return Ok(());
        }
        let expected = expected.map_or("a value".to_owned(), |closing| shown(Some(closing)));
        Err(Fault::meaning(at, format!("expected {expected}, found {}", shown(Some(bracket)))))
    }
}

/// Of a string, with its quotes.
fn string_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Of anything that is no string and has no brackets; a backslash begins a character, whatever that is.
pub(super) fn token_length(bytes: &[u8], whole: bool) -> Option<usize> {
    let start = if bytes.first() == Some(&b'\\') { 2 } else { 1 };
    let rest = bytes.get(start..)?;
    match rest.iter().position(|byte| ends_token(*byte)) {
        Some(length) => Some(start + length),
        None if whole => Some(bytes.len()),
        None => None,
    }
}
