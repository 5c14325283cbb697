//! JSON, read where it stands: texts without escapes are borrowed, and nothing is built that nobody asks for.

use std::borrow::Cow;

use super::DEPTH_MAX;
use super::error::{Fault, shown};
use crate::datum::Datum;

/// A place in a text of JSON.
#[derive(Debug)]
pub(super) struct Json<'a> {
    text: &'a str,
    at: usize,
    /// See [`Json::is_plain`].
    plain: bool,
}

impl<'a> Json<'a> {
    pub(super) fn new(text: &'a str) -> Json<'a> {
        Json { text, at: 0, plain: true }
    }

    /// Whether all values so far were scalars and lists of such, and no number a fraction or a large one.
    pub(super) fn is_plain(&self) -> bool {
        self.plain
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// What is not read yet.
    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Passes so many bytes, which were read in another way.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    pub(super) fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
    }

    /// Whether this byte is next; if so, it is passed.
    #[inline]
    pub(super) fn passes(&mut self, byte: u8) -> bool {
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.passes(byte) {
            return Ok(());
        }
        Err(self.expected(&format!("`{}`", char::from(byte))))
    }

    pub(super) fn expected(&self, what: &str) -> Fault {
        let found = shown(self.peek());
        Fault::syntax(self.at, format!("expected {what}, found {found}"))
    }

    /// The next field's name, and its value as the next thing to read; none after the last, which must end the text.
    pub(super) fn field(&mut self, first: bool) -> Result<Option<Cow<'a, str>>, Fault> {
        self.blanks();
        if self.passes(b'}') {
            self.blanks();
            return if self.peek().is_none() {
                Ok(None)
            } else {
                Err(self.expected("nothing after the object"))
            };
        }
        if !first {
            if !self.passes(b',') {
                return Err(self.expected("`,` or `}`"));
            }
            self.blanks();
        }
        let name = self.string()?;
        self.blanks();
        self.expect(b':')?;
        self.blanks();
        Ok(Some(name))
    }

    /// The same, if it is written as programs write it: without blanks, and without escapes in its name; otherwise none,
    /// and nothing is passed.
    #[inline]
    pub(super) fn plain_field(&mut self, first: bool) -> Option<&'a [u8]> {
        let bytes = self.text.as_bytes();
        let start = self.at + usize::from(!first) + 1;
        let rest = bytes.get(start..)?;
        if bytes.get(start - 1) != Some(&b'"') || (!first && bytes.get(self.at) != Some(&b',')) {
            return None;
        }
        let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
        let (name, [b'"', b':', ..]) = rest.split_at_checked(length)? else { return None };
        self.at = start + length + 2;
        Some(name)
    }

    /// A string.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        if self.peek() != Some(b'"') {
            return Err(self.expected("a string"));
        }
        let start = self.at + 1;
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        let Some(length) = plain_length(rest) else {
            return Err(Fault::syntax(self.text.len(), "a string without end"));
        };
        if rest.get(length) == Some(&b'"') {
            self.at = start + length + 1;
            return Ok(Cow::Borrowed(self.text.get(start..start + length).unwrap_or_default()));
        }
        self.string_with_escapes(start + length)
    }

    /// The same where something stands in it, at `special`, that does not mean itself.
    #[cold]
    fn string_with_escapes(&mut self, special: usize) -> Result<Cow<'a, str>, Fault> {
        let bytes = self.text.as_bytes();
        let mut end = special;
        loop {
            match bytes.get(end) {
                None => return Err(Fault::syntax(end, "a string without end")),
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(0..0x20) => {
                    let found = shown(bytes.get(end).copied());
                    return Err(Fault::syntax(end, format!("{found} in a string: escape it")));
                }
                Some(_) => end += 1,
            }
        }
        let quoted = self.text.get(self.at..=end).unwrap_or_default();
        let text: String = serde_json::from_str(quoted).map_err(|error| {
            let fault = Fault::serde(&error);
            let at = self.at + fault.at();
            fault.moved_to(at)
        })?;
        self.at = end + 1;
        Ok(Cow::Owned(text))
    }

    /// Whether this byte is next, and the last.
    #[inline]
    pub(super) fn ends_with(&self, byte: u8) -> bool {
        self.text.as_bytes().get(self.at..) == Some(&[byte])
    }

    /// Whether these bytes are next; if so, they are passed.
    #[inline]
    pub(super) fn passes_all<const N: usize>(&mut self, bytes: &[u8; N]) -> bool {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let next = rest.first_chunk::<N>() == Some(bytes);
        self.at += if next { N } else { 0 };
        next
    }

    /// A string without escapes; otherwise none, and nothing is passed.
    #[inline]
    pub(super) fn plain_string(&mut self) -> Option<&'a str> {
        let start = self.at + 1;
        let rest = self.text.as_bytes().get(start..)?;
        let length = plain_length(rest)?;
        if self.peek() != Some(b'"') || rest.get(length) != Some(&b'"') {
            return None;
        }
        self.at = start + length + 1;
        self.text.get(start..start + length)
    }

    /// A whole number that is not negative and has at most 18 digits; otherwise none, and nothing is passed.
    #[inline]
    pub(super) fn small_number(&mut self) -> Option<u64> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let (mut number, mut digits) = (0_u64, 0);
        // Eight at a time and without a branch for each, as how many there are is hard to foretell.
        while let Some(chunk) = rest.get(digits..)?.first_chunk() {
            let (more, count) = leading_digits(*chunk);
            if digits + count > DIGITS_SAFE {
                return None;
            }
            number = number * TENS[count] + more;
            digits += count;
            if count < chunk.len() {
                break;
            }
        }
        while let Some(byte @ b'0'..=b'9') = rest.get(digits) {
            if digits == DIGITS_SAFE {
                return None;
            }
            number = number * 10 + u64::from(byte - b'0');
            digits += 1;
        }
        let zero_leads = digits > 1 && rest.first() == Some(&b'0');
        if digits == 0 || zero_leads || matches!(rest.get(digits), Some(b'.' | b'e' | b'E')) {
            return None;
        }
        self.at += digits;
        Some(number)
    }

    /// Any value, `depth` levels down.
    pub(super) fn value(&mut self, depth: usize) -> Result<Datum<'a>, Fault> {
        match self.peek() {
            Some(b'"') => Ok(Datum::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'[' | b'{') if depth >= DEPTH_MAX => {
                Err(Fault::meaning(self.at, format!("values nest deeper than {DEPTH_MAX} levels")))
            }
            Some(b'[') => self.array(depth),
            Some(b'{') => self.object(depth),
            Some(b'n') => self.word("null", Datum::Null),
            Some(b't') => self.word("true", Datum::Bool(true)),
            Some(b'f') => self.word("false", Datum::Bool(false)),
            _ => Err(self.expected("a value")),
        }
    }

    fn word(&mut self, word: &str, means: Datum<'a>) -> Result<Datum<'a>, Fault> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return Err(self.expected(word));
        }
        self.at += word.len();
        Ok(means)
    }

    fn number(&mut self) -> Result<Datum<'a>, Fault> {
        if let Some(number) = self.small_number() {
            return Ok(i64::try_from(number).map_or(Datum::Null, Datum::Int));
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = number_length(rest.as_bytes()).map_err(|at| {
            let found = shown(rest.as_bytes().get(at).copied());
            Fault::syntax(self.at + at, format!("expected a digit, found {found}"))
        })?;
        let written = rest.get(..length).unwrap_or_default();
        self.at += length;
        // Minus nothing is no integer, but the fraction -0.0.
        Ok(match written.parse() {
            Ok(number) if written != "-0" => Datum::Int(number),
            _ => {
                self.plain = false;
                Datum::Other(Cow::Borrowed(written))
            }
        })
    }

    fn array(&mut self, depth: usize) -> Result<Datum<'a>, Fault> {
        self.at += 1;
        self.blanks();
        if self.passes(b']') {
            return Ok(Datum::List(Vec::new()));
        }
        // A read list has more than a few items; what lists nest in it seldom has.
        let mut items = Vec::with_capacity(if depth == 0 { 16 } else { 0 });
        loop {
            self.blanks();
            items.push(match self.plain_string() {
                Some(text) => Datum::Text(Cow::Borrowed(text)),
                None => self.value(depth + 1)?,
            });
            self.blanks();
            if self.passes(b']') {
                return Ok(Datum::List(items));
            }
            if !self.passes(b',') {
                return Err(self.expected("`,` or `]`"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Datum<'a>, Fault> {
        self.at += 1;
        self.plain = false;
        let mut entries = Vec::new();
        self.blanks();
        if self.passes(b'}') {
            return Ok(Datum::Map(entries));
        }
        loop {
            self.blanks();
            let name = self.string()?;
            self.blanks();
            self.expect(b':')?;
            self.blanks();
            entries.push((Datum::Text(name), self.value(depth + 1)?));
            self.blanks();
            if self.passes(b'}') {
                return Ok(Datum::Map(entries));
            }
            if !self.passes(b',') {
                return Err(self.expected("`,` or `}`"));
            }
        }
    }
}

/// So many digits fit 64 bits whatever they are.
const DIGITS_SAFE: usize = 18;

/// Powers of ten.
const TENS: [u64; 9] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The number that these bytes begin with, and how many digits it has.
#[inline]
fn leading_digits(bytes: [u8; 8]) -> (u64, usize) {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGHS: u64 = ONES << 7;
    let word = u64::from_le_bytes(bytes) ^ (ONES * u64::from(b'0'));
    // The high bit of each byte that is above nine.
    let others = ((word & !HIGHS) + ONES * 0x76) | word;
    let bits = (others & HIGHS).trailing_zeros() & !7;
    let count = usize::try_from(bits / 8).unwrap_or(0);
    if bits == 0 {
        return (0, 0);
    }
    // Zeros in front, then pairs of digits, then fours, then all eight: each step adds neighbours.
    let word = word << (u64::BITS - bits);
    let pairs = (word * 10 + (word >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    let number = (fours * 10_000 + (fours >> 32)) & 0xffff_ffff;
    (number, count)
}

/// How many bytes of a string mean themselves: up to a quote, a backslash or a control character.
///
/// Eight at a time, for that is the length of most names and values.
#[inline]
fn plain_length(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGHS: u64 = ONES << 7;
    // The lowest high bit that is set is that of the first byte that is zero; those above it may be wrong.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut length = 0;
    for chunk in bytes.as_chunks().0 {
        let word = u64::from_le_bytes(*chunk);
        let quotes = zeros(word ^ (ONES * 0x22));
        let backslashes = zeros(word ^ (ONES * 0x5c));
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let ends = quotes | backslashes | controls;
        if ends != 0 {
            return Some(length + usize::try_from(ends.trailing_zeros() / 8).unwrap_or(0));
        }
        length += chunk.len();
    }
    let rest = bytes.get(length..)?;
    let end = rest.iter().position(|byte| matches!(byte, 0x22 | 0x5c | 0..0x20))?;
    Some(length + end)
}

/// The length of the number that the text begins with, or where it breaks the grammar.
fn number_length(text: &[u8]) -> Result<usize, usize> {
    let digits = |from: usize| {
        let count = text.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
        if count > 0 { Ok(from + count) } else { Err(from) }
    };
    let start = usize::from(text.first() == Some(&b'-'));
    let mut end = if text.get(start) == Some(&b'0') { start + 1 } else { digits(start)? };
    if text.get(end).is_some_and(u8::is_ascii_digit) {
        return Err(start); // a zero leads
    }
    if text.get(end) == Some(&b'.') {
        end = digits(end + 1)?;
    }
    if let Some(b'e' | b'E') = text.get(end) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        end = digits(end + 1 + sign)?;
    }
    Ok(end)
}
