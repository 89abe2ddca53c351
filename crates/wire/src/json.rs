//! A strict reader of JSON bodies that builds no tree: it checks every byte, and shows a visitor the members.
//!
//! Promises: what it accepts, every conforming parser reads the same way. Beyond RFC 8259 it refuses what parsers are
//! known to differ on: duplicate keys at any depth (compared after unescaping), lone surrogates, a byte order mark,
//! nesting deeper than [`DEPTH_MAX`], numbers longer than [`NUMBER_CHARS_MAX`]; and more than [`TOP_LEVEL_MAX`] outermost
//! members, so that whoever collects those has all of them. Time is linear in the body, also for objects with a million
//! keys; memory is a few times the body at worst, for one made of keys only.
//!
//! Left out: values. Whoever needs one takes its span and parses that.

mod fault;
mod top_level;
mod visit;

use std::borrow::Cow;
use std::collections::HashSet;

pub use fault::{Fault, JsonError};
pub use top_level::TopLevel;
pub use visit::{Element, Kind, Literal, Member, Visit, Visitor};

/// Deepest nesting accepted: as deep as serde_json reads, so that what passes here can be read behind the gate's door,
/// too. Tool schemas reach about 10.
pub const DEPTH_MAX: usize = 127;

/// Longest number accepted. Parsers differ on what overflows; nothing in the API needs more than 20 digits.
pub const NUMBER_CHARS_MAX: usize = 256;

/// Most members of the outermost object. No request of the API has a third as many.
pub const TOP_LEVEL_MAX: usize = 256;

/// Objects up to this many members compare keys one by one, larger ones by a set with a random hash.
const LINEAR_KEYS_MAX: usize = 12;

/// Longest part of a key shown in an error.
const SHOWN_KEY_CHARS_MAX: usize = 64;

/// Checks a document and shows its members.
///
/// # Errors
/// The first fault, with its place.
pub fn scan<'a>(body: &'a [u8], visitor: &mut impl Visitor<'a>) -> Result<(), JsonError> {
    let text = std::str::from_utf8(body).map_err(|error| located(body, error.valid_up_to(), Fault::Utf8))?;
    let mut scanner = Scanner { text, bytes: body, at: 0, keys: Vec::new(), top_level: 0 };
    let result = scanner.document(visitor);
    result.map_err(|fault| located(body, scanner.at, fault))
}

fn located(body: &[u8], offset: usize, fault: Fault) -> JsonError {
    let before = &body[..offset.min(body.len())];
    let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
    let line = memchr::memchr_iter(b'\n', before).count() + 1;
    let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
    JsonError { fault, offset, line, column }
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// Keys of all open objects, the innermost last; unescaped once, as each is compared many times.
    keys: Vec<Cow<'a, str>>,
    /// How many members the outermost object has so far.
    top_level: usize,
}

type Checked<T = ()> = Result<T, Fault>;

impl<'a> Scanner<'a> {
    fn document(&mut self, visitor: &mut impl Visitor<'a>) -> Checked {
        self.blanks();
        self.value(0, Some(visitor))?;
        self.blanks();
        if self.at < self.bytes.len() { Err(Fault::Trailing) } else { Ok(()) }
    }

    fn blanks(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Checked<u8> {
        self.bytes.get(self.at).copied().ok_or(Fault::Ends)
    }

    /// What the value at this place is, by its first byte.
    fn kind(&self) -> Checked<Kind> {
        Ok(match self.peek()? {
            b'"' => Kind::String,
            b'{' => Kind::Object,
            b'[' => {
                let inside =
                    self.bytes[self.at + 1..].iter().find(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'));
                if inside == Some(&b']') { Kind::EmptyArray } else { Kind::Array }
            }
            b't' | b'f' => Kind::Bool,
            b'n' => Kind::Null,
            b'-' | b'0'..=b'9' => Kind::Number,
            _ => return Err(Fault::Expected("a value")),
        })
    }

    fn value<V: Visitor<'a>>(&mut self, depth: usize, visitor: Option<&mut V>) -> Checked {
        match self.peek()? {
            b'"' => {
                let literal = self.string()?;
                if let Some(visitor) = visitor {
                    visitor.string(literal);
                }
                Ok(())
            }
            b'{' => self.object(depth + 1, visitor),
            b'[' => self.array(depth + 1, visitor),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(Fault::Expected("a value")),
        }
    }

    fn word(&mut self, word: &'static str) -> Checked {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(Fault::Expected("true, false or null"))
        }
    }

    fn number(&mut self) -> Checked {
        let start = self.at;
        if self.peek()? == b'-' {
            self.at += 1;
        }
        match self.peek()? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits()?,
            _ => return Err(Fault::Expected("a digit")),
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        if self.at - start > NUMBER_CHARS_MAX { Err(Fault::LongNumber) } else { Ok(()) }
    }

    fn digits(&mut self) -> Checked {
        if !self.peek()?.is_ascii_digit() {
            return Err(Fault::Expected("a digit"));
        }
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        Ok(())
    }

    fn array<V: Visitor<'a>>(&mut self, depth: usize, mut visitor: Option<&mut V>) -> Checked {
        if depth > DEPTH_MAX {
            return Err(Fault::TooDeep);
        }
        self.at += 1;
        self.blanks();
        if self.peek()? == b']' {
            self.at += 1;
            leave(visitor);
            return Ok(());
        }
        loop {
            self.blanks();
            if let Some(visitor) = visitor.as_deref_mut() {
                visitor.element(Element { kind: self.kind()?, ahead: &self.text[self.at..] });
            }
            self.value(depth, visitor.as_deref_mut())?;
            self.blanks();
            match self.peek()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    leave(visitor);
                    return Ok(());
                }
                _ => return Err(Fault::Expected("',' or ']'")),
            }
        }
    }

    fn object<V: Visitor<'a>>(&mut self, depth: usize, mut visitor: Option<&mut V>) -> Checked {
        if depth > DEPTH_MAX {
            return Err(Fault::TooDeep);
        }
        self.at += 1;
        self.blanks();
        if self.peek()? == b'}' {
            self.at += 1;
            leave(visitor);
            return Ok(());
        }
        let first_key = self.keys.len();
        let mut many = None;
        loop {
            self.blanks();
            if self.peek()? != b'"' {
                return Err(Fault::Expected("a key in double quotes"));
            }
            let key = self.string()?;
            self.remember(first_key, &mut many, key)?;
            self.blanks();
            if self.peek()? != b':' {
                return Err(Fault::Expected("':'"));
            }
            self.at += 1;
            self.blanks();
            let is_first = many.is_none() && self.keys.len() == first_key + 1;
            self.member(depth, is_first, key, visitor.as_deref_mut())?;
            self.blanks();
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    self.keys.truncate(first_key);
                    leave(visitor);
                    return Ok(());
                }
                _ => return Err(Fault::Expected("',' or '}'")),
            }
        }
    }

    fn member<V: Visitor<'a>>(
        &mut self,
        depth: usize,
        is_first: bool,
        key: Literal<'a>,
        visitor: Option<&mut V>,
    ) -> Checked {
        let Some(visitor) = visitor else { return self.value(depth, None::<&mut V>) };
        if depth == 1 {
            self.top_level += 1;
            if self.top_level > TOP_LEVEL_MAX {
                return Err(Fault::TooManyMembers);
            }
        }
        let kind = self.kind()?;
        let start = self.at;
        match visitor.enter(Member {
            depth,
            is_first,
            key: key.text(),
            key_literal: key,
            kind,
            ahead: &self.text[start..],
        }) {
            Visit::Into => self.value(depth, Some(&mut *visitor))?,
            Visit::Past => self.value(depth, None::<&mut V>)?,
        }
        if depth == 1 {
            visitor.top_level_value(&self.text[start..self.at]);
        }
        Ok(())
    }

    /// Notes a key of the object whose keys begin at `first`, or finds that it stands twice.
    fn remember(&mut self, first: usize, many: &mut Option<HashSet<Cow<'a, str>>>, key: Literal<'a>) -> Checked {
        let text = key.text();
        let is_new = match many {
            Some(set) => set.insert(text),
            None if self.keys.len() - first < LINEAR_KEYS_MAX => {
                let is_new = !self.keys[first..].contains(&text);
                self.keys.push(text);
                is_new
            }
            None => many.insert(self.keys.drain(first..).collect()).insert(text),
        };
        if is_new {
            return Ok(());
        }
        Err(Fault::DuplicateKey(key.text().chars().take(SHOWN_KEY_CHARS_MAX).collect()))
    }

    /// Reads a string.
    fn string(&mut self) -> Checked<Literal<'a>> {
        let at = self.at;
        self.at += 1;
        let start = self.at;
        let mut is_escaped = false;
        loop {
            self.at += plain_run(&self.bytes[self.at..]);
            match self.peek()? {
                b'"' => {
                    let raw = &self.text[start..self.at];
                    self.at += 1;
                    return Ok(Literal { at, raw, is_escaped });
                }
                b'\\' => {
                    is_escaped = true;
                    self.escape()?;
                }
                _ => return Err(Fault::Expected("no control character inside a string")),
            }
        }
    }

    fn escape(&mut self) -> Checked {
        self.at += 1;
        match self.peek()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                let unit = self.unit()?;
                if (0xDC00..0xE000).contains(&unit) {
                    return Err(Fault::LoneSurrogate);
                }
                if (0xD800..0xDC00).contains(&unit) {
                    if !self.bytes[self.at..].starts_with(b"\\u") {
                        return Err(Fault::LoneSurrogate);
                    }
                    self.at += 1;
                    if !(0xDC00..0xE000).contains(&self.unit()?) {
                        return Err(Fault::LoneSurrogate);
                    }
                }
            }
            _ => return Err(Fault::Expected("an escape of JSON")),
        }
        Ok(())
    }

    /// Four hexadecimal digits behind the `u` at this place.
    fn unit(&mut self) -> Checked<u32> {
        let digits = self.bytes.get(self.at + 1..self.at + 5).ok_or(Fault::Ends)?;
        let mut unit = 0;
        for digit in digits {
            let value = char::from(*digit).to_digit(16).ok_or(Fault::Expected("four hexadecimal digits"))?;
            unit = unit * 16 + value;
        }
        self.at += 5;
        Ok(unit)
    }
}

fn leave<'a, V: Visitor<'a>>(visitor: Option<&mut V>) {
    if let Some(visitor) = visitor {
        visitor.leave();
    }
}

/// How many bytes from here on are neither a quote, a backslash nor a control character; eight at a time.
fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let has_zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut count = 0;
    for chunk in bytes.as_chunks::<8>().0 {
        let word = u64::from_le_bytes(*chunk);
        let below_blank = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let quote = has_zero(word ^ (ONES * u64::from(b'"')));
        let backslash = has_zero(word ^ (ONES * u64::from(b'\\')));
        // A borrow can only raise a false mark above a true one, so the lowest mark is right.
        let marks = below_blank | quote | backslash;
        if marks != 0 {
            return count + (marks.trailing_zeros() / 8) as usize;
        }
        count += 8;
    }
    let rest = &bytes[count..];
    count + rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')).unwrap_or(rest.len())
}

/// The text of a string that [`scan`] accepted: `raw` is what stands between its quotes.
fn unescape(raw: &str) -> String {
    // The scanner has checked every escape, so the library cannot refuse it.
    serde_json::from_str(&format!("\"{raw}\"")).unwrap_or_else(|_| raw.to_owned())
}

#[cfg(test)]
mod tests;
