//! What keeps the pieces of one text apart, and is crossed: operators and calls between literals, commas, other code, a
//! shell's quotes, template strings, formats, mark-up, the end of a wrapped line, the frame of an HTTP chunk, the next
//! event of a stream.

use memchr::memmem;

/// Most bytes between two literals that no operator connects.
pub(crate) const GAP_BYTES_MAX: usize = 80;
/// Most bytes between two events of a stream.
const EVENT_BYTES_MAX: usize = 4096;
/// How far back the opening quote of a literal is looked for.
const OPENING_BYTES_MAX: usize = 200;
/// Longest mark-up tag.
const TAG_BYTES_MAX: usize = 240;

/// What stands where a piece ends.
pub(crate) enum Bridge {
    Nothing,
    Undecided,
    /// Goes on there; true where the pieces belong together beyond doubt.
    To(usize, bool),
}

pub(crate) fn is_body(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

pub(crate) fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
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

pub(crate) fn is_event_literal(bytes: &[u8], start: usize) -> bool {
    let from = start.saturating_sub(OPENING_BYTES_MAX);
    let Some(quote) = memchr::memrchr(b'"', &bytes[from..start]) else { return false };
    let before = bytes[from.saturating_sub(40)..from + quote].trim_ascii_end();
    let Some(before) = before.strip_suffix(b":") else { return false };
    let before = before.trim_ascii_end();
    EVENT_MEMBERS.iter().any(|member| before.ends_with(member))
}

/// Reads what may be a bridge.
pub(crate) struct Reader<'a> {
    pub(crate) bytes: &'a [u8],
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

    /// The bridge at a place.
    pub(crate) fn bridge(&self, at: usize, is_event: bool) -> Option<Bridge> {
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
        // The next event of a stream of plain text.
        let event = self.skip(at, is_blank)?;
        if self.bytes[event..].starts_with(b"data:") {
            let text = self.skip(event + 5, |byte| byte == b' ')?;
            return Some(if is_body(self.byte(text)?) { Bridge::To(text, false) } else { Bridge::Nothing });
        } else if b"data:".starts_with(&self.bytes[event..]) {
            return None;
        }
        let text = self.skip(at, |byte| is_blank(byte) || matches!(byte, b'#' | b'>' | b'*' | b'|' | b'/' | b'+'))?;
        let is_next_line = memmem::find_iter(&self.bytes[at..text], b"\n").count() <= 1 && text - at <= GAP_BYTES_MAX;
        Some(if is_next_line && is_body(self.byte(text)?) { Bridge::To(text, false) } else { Bridge::Nothing })
    }
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
