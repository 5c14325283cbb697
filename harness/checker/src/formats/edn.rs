//! Values of EDN, and what Clojure prints that goes a little beyond it.

use std::borrow::Cow;

use super::DEPTH_MAX;
use super::error::{Fault, excerpt, shown};
use super::forms::{is_blank, token_length};
use crate::datum::Datum;

/// A place in a text of EDN.
#[derive(Debug)]
pub(super) struct Edn<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Edn<'a> {
    pub(super) fn new(text: &'a str) -> Edn<'a> {
        Edn { text, at: 0 }
    }

    /// To look ahead with.
    pub(super) fn at_the_same_place(edn: &Edn<'a>) -> Edn<'a> {
        Edn { text: edn.text, at: edn.at }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The text from there to here.
    pub(super) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    pub(super) fn expected(&self, what: &str) -> Fault {
        let found = shown(self.peek());
        Fault::syntax(self.at, format!("expected {what}, found {found}"))
    }

    pub(super) fn passes(&mut self, byte: u8) -> bool {
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    /// Passes blanks, comments and discarded forms.
    pub(super) fn filler(&mut self, depth: usize) -> Result<(), Fault> {
        loop {
            match self.rest() {
                [byte, ..] if is_blank(*byte) => self.at += 1,
                [b';', ..] => {
                    let rest = self.rest();
                    self.at += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                }
                [b'#', b'_', ..] => {
                    self.at += 2;
                    self.filler(self.deeper(depth)?)?;
                    self.value(self.deeper(depth)?)?;
                }
                _ => return Ok(()),
            }
        }
    }

    fn deeper(&self, depth: usize) -> Result<usize, Fault> {
        if depth < DEPTH_MAX {
            return Ok(depth + 1);
        }
        Err(Fault::meaning(self.at, format!("values nest deeper than {DEPTH_MAX} levels")))
    }

    /// Any value, `depth` levels down. Filler before it has been passed.
    pub(super) fn value(&mut self, depth: usize) -> Result<Datum<'a>, Fault> {
        let start = self.at;
        match self.rest() {
            [b'"', ..] => self.string().map(Datum::Text),
            [b'\\', ..] => self.character(),
            [b'(', ..] => self.list(b')', depth),
            [b'[', ..] => self.list(b']', depth),
            [b'{', ..] => self.map(depth),
            [b'#', b'{', ..] => {
                self.at += 1;
                self.list(b'}', depth)
            }
            [b'#', b'#', ..] => {
                self.token();
                Ok(Datum::Other(Cow::Borrowed(self.since(start))))
            }
            [b'#', ..] => {
                self.tag()?;
                let depth = self.deeper(depth)?;
                self.filler(depth)?;
                self.value(depth)?;
                Ok(Datum::Other(Cow::Borrowed(self.since(start))))
            }
            [b':', ..] => {
                let name = self.token().get(1..).unwrap_or_default();
                if name.is_empty() {
                    return Err(Fault::syntax(start, "a colon that names nothing"));
                }
                Ok(Datum::Text(Cow::Borrowed(name)))
            }
            [b'0'..=b'9', ..] | [b'+' | b'-', b'0'..=b'9', ..] => {
                let token = self.token();
                number(token).ok_or_else(|| {
                    Fault::syntax(start, format!("expected a number, found {}", excerpt(token)))
                })
            }
            [byte, ..] if begins_symbol(*byte) => Ok(match self.token() {
                "nil" => Datum::Null,
                "true" => Datum::Bool(true),
                "false" => Datum::Bool(false),
                symbol => Datum::Text(Cow::Borrowed(symbol)),
            }),
            _ => Err(self.expected("a value")),
        }
    }

    /// Passes a keyword, a symbol, a number, a tag.
    pub(super) fn token(&mut self) -> &'a str {
        let start = self.at;
        self.at += token_length(self.rest(), true).unwrap_or(0);
        self.since(start)
    }

    /// Passes a tag's name, and says it without the `#`.
    pub(super) fn tag(&mut self) -> Result<&'a str, Fault> {
        let start = self.at;
        let name = self.token().get(1..).unwrap_or_default();
        if name.bytes().next().is_some_and(|byte| begins_symbol(byte) || byte == b':') {
            return Ok(name);
        }
        Err(Fault::syntax(start, "expected a tag, such as #inst, after `#`"))
    }

    fn list(&mut self, closing: u8, depth: usize) -> Result<Datum<'a>, Fault> {
        let depth = self.deeper(depth)?;
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.filler(depth)?;
            if self.passes(closing) {
                return Ok(Datum::List(items));
            }
            items.push(self.value(depth)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Datum<'a>, Fault> {
        let depth = self.deeper(depth)?;
        self.at += 1;
        let mut entries = Vec::new();
        loop {
            self.filler(depth)?;
            if self.passes(b'}') {
                return Ok(Datum::Map(entries));
            }
            let key = self.value(depth)?;
            self.filler(depth)?;
            entries.push((key, self.value(depth)?));
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        let start = self.at + 1;
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        let length = memchr::memchr2(b'"', b'\\', rest)
            .ok_or_else(|| Fault::syntax(self.text.len(), "a string without end"))?;
        if rest.get(length) == Some(&b'"') {
            self.at = start + length + 1;
            return Ok(Cow::Borrowed(self.text.get(start..start + length).unwrap_or_default()));
        }
        self.string_with_escapes().map(Cow::Owned)
    }

    #[cold]
    fn string_with_escapes(&mut self) -> Result<String, Fault> {
        let mut text = String::new();
        self.at += 1;
        loop {
            let plain = memchr::memchr2(b'"', b'\\', self.rest())
                .ok_or_else(|| Fault::syntax(self.text.len(), "a string without end"))?;
            let start = self.at;
            self.at += plain;
            text.push_str(self.since(start));
            if self.passes(b'"') {
                return Ok(text);
            }
            text.push(self.escape()?);
        }
    }

    /// What a backslash in a string, and what follows it, stand for.
    fn escape(&mut self) -> Result<char, Fault> {
        let start = self.at;
        let named = self.rest().get(1).copied();
        self.at += 2;
        Ok(match named {
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'n') => '\n',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(byte @ (b'\\' | b'"' | b'\'')) => char::from(byte),
            Some(b'u') => return self.unicode(start),
            Some(b'0'..=b'7') => {
                let digits =
                    self.rest().iter().take(2).take_while(|byte| matches!(byte, b'0'..=b'7'));
                let digits = digits.count();
                self.at += digits;
                let octal = u32::from_str_radix(self.since(start + 1), 8).ok();
                octal.and_then(char::from_u32).ok_or_else(|| Fault::syntax(start, "a bad octal"))?
            }
            _ => {
                let known = r#"a string has \t \r \n \b \f \\ \" \u0041, and no other escapes"#;
                return Err(Fault::syntax(start, known));
            }
        })
    }

    /// Four hexadecimal digits; what is beyond them is written as two such escapes.
    fn unicode(&mut self, start: usize) -> Result<char, Fault> {
        let bad = || Fault::syntax(start, "expected four hexadecimal digits of a character");
        let unit = |edn: &mut Edn<'_>| {
            let digits = edn.text.get(edn.at..edn.at + 4)?;
            edn.at += 4;
            let digits =
                Some(digits).filter(|digits| digits.bytes().all(|d| d.is_ascii_hexdigit()));
            u16::from_str_radix(digits?, 16).ok()
        };
        let mut units = vec![unit(self).ok_or_else(bad)?];
        if matches!(units.first(), Some(0xd800..0xdc00)) && self.rest().starts_with(b"\\u") {
            self.at += 2;
            units.push(unit(self).ok_or_else(bad)?);
        }
        let character = char::decode_utf16(units).next();
        character
            .and_then(Result::ok)
            .ok_or_else(|| Fault::syntax(start, "half of a surrogate pair, which is no character"))
    }

    fn character(&mut self) -> Result<Datum<'a>, Fault> {
        let start = self.at;
        // The byte after the backslash may be the first of several.
        let rest = self.text.get(start + 1..).unwrap_or_default();
        let Some(first) = rest.chars().next() else {
            return Err(Fault::syntax(start, "a backslash that begins nothing"));
        };
        self.at += 1 + first.len_utf8();
        let tail = self.rest();
        self.at +=
            tail.iter().position(|byte| super::forms::ends_token(*byte)).unwrap_or(tail.len());
        let name = self.since(start + 1);
        Ok(Datum::Text(Cow::Borrowed(match name {
            "newline" => "\n",
            "space" => " ",
            "tab" => "\t",
            "return" => "\r",
            "backspace" => "\u{8}",
            "formfeed" => "\u{c}",
            name if name.len() == first.len_utf8() => name,
            name if name.len() == 5 && name.starts_with('u') => {
                let mut digits = Edn { text: name, at: 1 };
                let character = digits.unicode(0).map_err(|fault| fault.moved_to(start))?;
                return Ok(Datum::Text(Cow::Owned(character.to_string())));
            }
            name => {
                let what = format!("expected a character, found \\{}", excerpt(name));
                return Err(Fault::syntax(start, what));
            }
        })))
    }
}

fn begins_symbol(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte >= 0x80 || b".*+!-_?$%&=<>/|'".contains(&byte)
}

/// A number; only what is a 64-bit integer is one to us.
fn number(token: &str) -> Option<Datum<'_>> {
    let written = || Some(Datum::Other(Cow::Borrowed(token)));
    let unsigned = token.strip_prefix(['+', '-']).unwrap_or(token);
    if let Some(hexadecimal) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        return (!hexadecimal.is_empty() && hexadecimal.bytes().all(|d| d.is_ascii_hexdigit()))
            .then(written)?;
    }
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, tail) = unsigned.split_at_checked(digits)?;
    if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) {
        return None;
    }
    match tail {
        "" | "N" => {
            let plain = token.strip_suffix('N').unwrap_or(token);
            match plain.parse() {
                Ok(number) => Some(Datum::Int(number)),
                // The same number, with the suffix or without it, is the same text.
                Err(_) => {
                    Some(Datum::Other(Cow::Borrowed(plain.strip_prefix('+').unwrap_or(plain))))
                }
            }
        }
        "M" => written(),
        tail => {
            let ratio = tail.strip_prefix('/').is_some_and(|denominator| {
                !denominator.is_empty() && denominator.bytes().all(|digit| digit.is_ascii_digit())
            });
            (ratio || is_fraction(tail)).then(written)?
        }
    }
}

/// Whether this is what may follow the whole part of a fraction: `.5`, `.`, `e-3`, `.5e3M`.
fn is_fraction(tail: &str) -> bool {
    let tail = tail.strip_suffix('M').unwrap_or(tail);
    let (fraction, exponent) = match tail.split_once(['e', 'E']) {
        Some((fraction, exponent)) => (fraction, Some(exponent)),
        None => (tail, None),
    };
    let all_digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    let fraction_good = fraction.is_empty() || fraction.strip_prefix('.').is_some_and(all_digits);
    fraction_good
        && exponent.is_none_or(|exponent| {
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            !digits.is_empty() && all_digits(digits)
        })
}
