//! From the start of a secret onwards over what its pieces are kept apart by: string literals put together, arrays,
//! calls, template strings, mark-up, wrapped lines, the events of a recorded stream; and two alphabets that are read
//! from an anchor on: character codes and ROT13.
//!
//! Nothing here is a parser of a language. A bridge is crossed only where a candidate stops, and what comes out must
//! still be a secret.

use memchr::memmem;

/// Most bytes of text that are put together: the longest token that is found in pieces.
const TEXT_BYTES_MAX: usize = 512;
/// Most bytes from the start to the end of what is put together.
pub(crate) const REACH_BYTES_MAX: usize = 64 * 1024;
/// Most bytes between two literals that no operator connects.
const GAP_BYTES_MAX: usize = 80;
/// Most bytes between two events of a stream.
const EVENT_BYTES_MAX: usize = 4096;
/// How far back the opening quote of a literal is looked for.
const OPENING_BYTES_MAX: usize = 200;
/// Longest mark-up tag.
const TAG_BYTES_MAX: usize = 240;

/// What a walk came to.
#[derive(Debug)]
pub(crate) enum Walked {
    /// More bytes decide.
    Undecided,
    /// No bridge was there.
    Nothing,
    /// The pieces.
    Text(Pieces),
}

/// Text put together, with the place of each byte.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    pub(crate) bytes: Vec<u8>,
    /// Index of each byte's first and behind its last byte.
    pub(crate) places: Vec<(usize, usize)>,
    /// Pieces begin at these indices of `bytes`; true where only an operator connects two literals.
    pub(crate) seams: Vec<(usize, bool)>,
}

enum Bridge {
    Nothing,
    Undecided,
    /// Goes on there; true where the pieces belong together beyond doubt.
    To(usize, bool),
}

fn is_body(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Puts the pieces of a literal together. With `is_sober`, only over bridges beyond doubt.
pub(crate) fn pieces(bytes: &[u8], start: usize, is_sober: bool, is_ended: bool) -> Walked {
    let is_event = is_event_literal(bytes, start);
    let mut pieces = Pieces::default();
    let mut at = start;
    loop {
        while at < bytes.len() && is_body(bytes[at]) && pieces.bytes.len() < TEXT_BYTES_MAX {
            pieces.bytes.push(bytes[at]);
            pieces.places.push((at, at + 1));
            at += 1;
        }
        if pieces.bytes.len() >= TEXT_BYTES_MAX {
            break;
        }
        match (Reader { bytes }).bridge(at, is_event).unwrap_or(Bridge::Undecided) {
            Bridge::Undecided if !is_ended => return Walked::Undecided,
            Bridge::To(next, is_sure) if is_sure || !is_sober => {
                pieces.seams.push((pieces.bytes.len(), is_sure));
                at = next;
            }
            _ => break,
        }
    }
    if pieces.seams.is_empty() { Walked::Nothing } else { Walked::Text(pieces) }
}

/// Members whose values are the pieces of a streamed answer.
const EVENT_MEMBERS: [&[u8]; 9] = [
    b"\"content\"",
    b"\"delta\"",
    b"\"text\"",
    b"\"arguments\"",
    b"\"partial_json\"",
    b"\"reasoning_content\"",
    b"\"refusal\"",
    b"\"output_text\"",
    b"\"transcript\"",
];

fn is_event_literal(bytes: &[u8], start: usize) -> bool {
    let from = start.saturating_sub(OPENING_BYTES_MAX);
    let Some(quote) = memchr::memrchr(b'"', &bytes[from..start]) else { return false };
    let before = bytes[from.saturating_sub(40)..from + quote].trim_ascii_end();
    let Some(before) = before.strip_suffix(b":") else { return false };
    let before = before.trim_ascii_end();
    EVENT_MEMBERS.iter().any(|member| before.ends_with(member))
}

struct Reader<'a> {
    bytes: &'a [u8],
}

/// Nothing where the bytes end before it is decided.
impl Reader<'_> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    fn skip(&self, mut at: usize, is_skipped: impl Fn(u8) -> bool) -> Option<usize> {
        while is_skipped(self.byte(at)?) {
            at += 1;
        }
        Some(at)
    }

    fn bridge(&self, at: usize, is_event: bool) -> Option<Bridge> {
        match self.byte(at)? {
            quote if is_quote(quote) && is_event => self.event(at + 1),
            quote if is_quote(quote) => self.quote(at + 1),
            b'$' if self.byte(at + 1)? == b'{' => {
                let quote = self.skip(at + 2, is_blank)?;
                Some(if is_quote(self.byte(quote)?) { Bridge::To(quote + 1, true) } else { Bridge::Nothing })
            }
            b'<' => self.tag(at),
            b'{' | b'%' => self.format(at),
            b'\r' | b'\n' => self.line(at),
            _ => Some(Bridge::Nothing),
        }
    }

    /// Behind a closing quote.
    fn quote(&self, at: usize) -> Option<Bridge> {
        if let Some(next) = self.operator(at)? {
            return Some(Bridge::To(next, true));
        }
        // In a shell a word goes on behind its quotes.
        if is_body(self.byte(at)?) {
            return Some(Bridge::To(at, false));
        }
        let mut end = at;
        while end < at + GAP_BYTES_MAX {
            if is_quote(self.byte(end)?) {
                return Some(Bridge::To(end + 1, false));
            }
            end += 1;
        }
        Some(Bridge::Nothing)
    }

    /// The start of the next literal, where an operator or nothing but blanks stands before it.
    fn operator(&self, at: usize) -> Option<Option<usize>> {
        let is_bracket = |byte| is_blank(byte) || byte == b')';
        let from = self.skip(at, is_bracket)?;
        let call = |name: &[u8]| self.bytes[from..].starts_with(name);
        let behind = match self.byte(from)? {
            b'}' => return Some(is_body(self.byte(from + 1)?).then_some(from + 1)),
            b'.' => match [&b".concat("[..], b".append(", b".push(", b".write(", b".add("]
                .into_iter()
                .find(|name| call(name))
            {
                Some(name) => from + name.len(),
                None if self.byte(from + 1)?.is_ascii_alphabetic() => {
                    // A call whose name is not all there yet.
                    return if self.bytes.len() < from + 8 { None } else { Some(None) };
                }
                None => self.skip(from, |byte| byte == b'.')?,
            },
            b'+' | b'&' | b'|' | b'<' | b'>' | b'~' | b'\\' => {
                self.skip(from, |byte| matches!(byte, b'+' | b'&' | b'|' | b'<' | b'>' | b'~' | b'\\' | b'='))?
            }
            _ => from,
        };
        let mut next = self.skip(behind, |byte| is_blank(byte) || matches!(byte, b'(' | b'_'))?;
        // A prefix of the literal: Python's f"", C's L"", C#'s $"".
        for _ in 0..2 {
            if matches!(self.byte(next)?, b'f' | b'F' | b'r' | b'R' | b'b' | b'B' | b'u' | b'U' | b'L' | b'$' | b'@') {
                next += 1;
            }
        }
        Some(is_quote(self.byte(next)?).then_some(next + 1))
    }

    /// The next event's piece.
    fn event(&self, at: usize) -> Option<Bridge> {
        let mut from = at;
        loop {
            let end = self.bytes.len().min(at + EVENT_BYTES_MAX);
            let Some(quote) = memchr::memchr(b'"', self.bytes.get(from..end)?).map(|quote| from + quote) else {
                return if end == at + EVENT_BYTES_MAX { Some(Bridge::Nothing) } else { None };
            };
            let rest = &self.bytes[quote..];
            let longest = EVENT_MEMBERS.iter().map(|member| member.len()).max().unwrap_or(0);
            if let Some(member) = EVENT_MEMBERS.iter().find(|member| rest.starts_with(member)) {
                let colon = self.skip(quote + member.len(), is_blank)?;
                if self.byte(colon)? == b':' {
                    let value = self.skip(colon + 1, is_blank)?;
                    if self.byte(value)? == b'"' {
                        return Some(Bridge::To(value + 1, false));
                    }
                }
            } else if rest.len() < longest && EVENT_MEMBERS.iter().any(|member| member.starts_with(rest)) {
                return None;
            }
            from = quote + 1;
        }
    }

    /// A place that a format fills: `'sk-{}'.format('…')`, `"sk-%s" % "…"`.
    fn format(&self, at: usize) -> Option<Bridge> {
        let end = match self.byte(at)? {
            b'%' if self.byte(at + 1)? == b's' => at + 2,
            b'{' => {
                let end = self.skip(at + 1, |byte| byte.is_ascii_alphanumeric() || byte == b'_')?;
                if self.byte(end)? != b'}' {
                    return Some(Bridge::Nothing);
                }
                end + 1
            }
            _ => return Some(Bridge::Nothing),
        };
        let mut quotes = 0;
        for next in end..end + GAP_BYTES_MAX {
            quotes += usize::from(is_quote(self.byte(next)?));
            match quotes {
                0 => return Some(Bridge::Nothing),
                2 => return Some(Bridge::To(next + 1, false)),
                _ => {}
            }
        }
        Some(Bridge::Nothing)
    }

    /// Mark-up in the middle of a word.
    fn tag(&self, at: usize) -> Option<Bridge> {
        let mut end = at;
        while self.byte(end)? == b'<' {
            let first = self.byte(end + 1)?;
            if !first.is_ascii_alphabetic() && first != b'/' {
                return Some(Bridge::Nothing);
            }
            let from = end + 2;
            end = from;
            while self.byte(end)? != b'>' {
                end += 1;
                if end - from > TAG_BYTES_MAX || matches!(self.byte(end)?, b'<') {
                    return Some(Bridge::Nothing);
                }
            }
            end += 1;
        }
        Some(if is_body(self.byte(end)?) { Bridge::To(end, false) } else { Bridge::Nothing })
    }

    /// A wrapped line, with what stands in front of quoted and commented lines; or the frame of an HTTP chunk.
    fn line(&self, at: usize) -> Option<Bridge> {
        if self.byte(at)? == b'\r' && self.byte(at + 1)? == b'\n' {
            let size = self.skip(at + 2, |byte| byte.is_ascii_hexdigit())?;
            if (1..=6).contains(&(size - at - 2)) && self.byte(size)? == b'\r' && self.byte(size + 1)? == b'\n' {
                return Some(Bridge::To(size + 2, false));
            }
        }
        let text = self.skip(at, |byte| is_blank(byte) || matches!(byte, b'#' | b'>' | b'*' | b'|' | b'/' | b'+'))?;
        let is_next_line = memmem::find_iter(&self.bytes[at..text], b"\n").count() <= 1 && text - at <= GAP_BYTES_MAX;
        Some(if is_next_line && is_body(self.byte(text)?) { Bridge::To(text, false) } else { Bridge::Nothing })
    }
}

/// The end of a row of a dump, with the characters that it shows, and the address of the next.
fn dump_row(behind: &[u8]) -> Option<usize> {
    let blanks = behind.iter().take(GAP_BYTES_MAX).take_while(|byte| **byte == b' ').count();
    let text = &behind[blanks..behind.len().min(GAP_BYTES_MAX)];
    let end = memmem::find(text.strip_prefix(b"|")?, b"|\n")? + 3;
    let address = text[end..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let gap = text[end + address..].iter().take_while(|byte| **byte == b' ').count();
    (address >= 6 && gap > 0 && end + address + gap < text.len()).then_some(blanks + end + address + gap)
}

/// Whether a literal that ends here goes on in the next one, and where: over an operator or a comma. Nothing where the
/// bytes end before it is decided.
pub(crate) fn next_literal(rest: &[u8]) -> Option<Option<usize>> {
    if !is_quote(*rest.first()?) {
        return Some(None);
    }
    let reader = Reader { bytes: rest };
    let comma = reader.skip(1, is_blank)?;
    match reader.byte(comma)? {
        b',' => {
            let next = reader.skip(comma + 1, is_blank)?;
            Some(is_quote(reader.byte(next)?).then_some(next + 1))
        }
        _ => reader.operator(1),
    }
}

/// A row of character codes: `115, 107, 45`, `0x73,0x6b`, `73 6b 2d`, `73:6b:2d`.
pub(crate) fn numbers(bytes: &[u8], start: usize, is_ended: bool) -> Walked {
    let is_prefixed = |at: usize| bytes.get(at..at + 2).is_some_and(|two| two.eq_ignore_ascii_case(b"0x"));
    // Three decimal digits come first where the codes are decimal: those of lower-case letters.
    let is_decimal = !is_prefixed(start) && bytes.get(start + 2).is_some_and(u8::is_ascii_digit);
    let radix = if is_decimal { 10 } else { 16 };
    let mut pieces = Pieces::default();
    let mut at = start;
    while pieces.bytes.len() < TEXT_BYTES_MAX {
        let from = at + if is_prefixed(at) { 2 } else { 0 };
        let digits = bytes[from.min(bytes.len())..].iter().take(4);
        let count = digits.take_while(|byte| char::from(**byte).is_digit(radix)).count();
        if from + count >= bytes.len() && !is_ended {
            return Walked::Undecided;
        }
        let code = std::str::from_utf8(&bytes[from.min(bytes.len())..(from + count).min(bytes.len())]).unwrap_or("");
        let Some(byte) = u8::from_str_radix(code, radix).ok().filter(u8::is_ascii) else { break };
        pieces.bytes.push(byte);
        pieces.places.push((at, from + count));
        let behind = &bytes[from + count..];
        if let Some(row) = dump_row(behind) {
            at = from + count + row;
            continue;
        }
        let blanks = behind
            .iter()
            .take(GAP_BYTES_MAX)
            .take_while(|byte| is_blank(**byte) || matches!(byte, b',' | b':'))
            .count();
        if blanks == behind.len() && blanks < GAP_BYTES_MAX && !is_ended {
            return Walked::Undecided;
        }
        let is_in_dump = behind.get(blanks) == Some(&b'|');
        if is_in_dump && behind.len() < GAP_BYTES_MAX && !is_ended {
            return Walked::Undecided;
        }
        if blanks == 0 || is_in_dump {
            break;
        }
        at = from + count + blanks;
    }
    Walked::Text(pieces)
}

/// Most bytes before the marker of a reversed key.
pub(crate) const REVERSED_BYTES_MAX: usize = 100;

/// A key written backwards, around the marker that `at` begins: its end is the start of the key.
pub(crate) fn reversed(bytes: &[u8], at: usize, is_ended: bool) -> Walked {
    let ahead = bytes[at..].iter().take(2 * REVERSED_BYTES_MAX).take_while(|byte| is_body(**byte)).count();
    if at + ahead == bytes.len() && ahead < 2 * REVERSED_BYTES_MAX && !is_ended {
        return Walked::Undecided;
    }
    let Some(start) = memmem::rfind(&bytes[at..at + ahead], b"-ks") else { return Walked::Nothing };
    let behind = bytes[..at].iter().rev().take(REVERSED_BYTES_MAX).take_while(|byte| is_body(**byte)).count();
    let mut pieces = Pieces::default();
    for index in (at - behind..at + start + 3).rev() {
        pieces.bytes.push(bytes[index]);
        pieces.places.push((index, index + 1));
    }
    Walked::Text(pieces)
}

/// Letters turned by thirteen.
pub(crate) fn rot13(bytes: &[u8], start: usize, is_ended: bool) -> Walked {
    let mut pieces = Pieces::default();
    for (at, byte) in bytes.iter().enumerate().skip(start).take(TEXT_BYTES_MAX) {
        if !is_body(*byte) {
            return Walked::Text(pieces);
        }
        pieces.bytes.push(match byte {
            b'A'..=b'Z' => (byte - b'A' + 13) % 26 + b'A',
            b'a'..=b'z' => (byte - b'a' + 13) % 26 + b'a',
            other => *other,
        });
        pieces.places.push((at, at + 1));
    }
    if is_ended || pieces.bytes.len() >= TEXT_BYTES_MAX { Walked::Text(pieces) } else { Walked::Undecided }
}
