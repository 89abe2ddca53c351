//! Escapes of single characters: HTML entities, percent signs, backslashes, quoted-printable.

use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr3, memmem};

use crate::changes::Change;
use crate::map::{Rewrite, Rewritten};
use crate::unicode::char_at;

/// Bytes of the longest entity, `&` and `;` included.
const ENTITY_BYTES_MAX: usize = 12;
/// Encoded bytes in a row that are read as one piece of UTF-8.
const PIECE_BYTES_MAX: usize = 4;
/// Octal escapes in a row, and quoted-printable letters in a row, from which they are text.
const IN_A_ROW: usize = 3;

const NAMED: [(&str, &str); 22] = [
    ("amp", "&"),
    ("lt", "<"),
    ("gt", ">"),
    ("quot", "\""),
    ("apos", "'"),
    ("nbsp", " "),
    ("ensp", " "),
    ("emsp", " "),
    ("thinsp", " "),
    ("Tab", "\t"),
    ("NewLine", "\n"),
    ("shy", ""),
    ("zwnj", ""),
    ("zwj", ""),
    ("ZeroWidthSpace", ""),
    ("period", "."),
    ("comma", ","),
    ("colon", ":"),
    ("excl", "!"),
    ("lpar", "("),
    ("rpar", ")"),
    ("lowbar", "_"),
];

/// Undoes the escapes.
pub(crate) fn rewrite(text: &str) -> Option<Rewritten> {
    let mut out = Rewrite::of(text);
    let bytes = text.as_bytes();
    let printable = is_quoted_printable(text);
    let lines = memmem::find(bytes, b":\\").is_none();
    let mut at = 0;
    // Quoted-printable text is rare, and the other escapes in it are looked for once it is plain, in the next round.
    let next = |at: usize| match printable {
        true => memchr(b'=', &bytes[at..]),
        false => memchr3(b'&', b'%', b'\\', &bytes[at..]),
    };
    while let Some(start) = next(at).map(|offset| at + offset) {
        at = match bytes[start] {
            b'&' => entity(&mut out, text, start),
            b'%' => encoded(&mut out, text, start, Style::Percent),
            b'=' => quoted_printable(&mut out, text, start),
            _ => backslash(&mut out, text, start, lines),
        };
    }
    out.finish()
}

fn is_hidden(symbol: char) -> bool {
    symbol.is_ascii_alphanumeric() || !symbol.is_ascii()
}

fn put(out: &mut Rewrite<'_>, text: &str, range: Range<usize>, symbol: char, hidden: Change) {
    let is_gap = symbol.is_whitespace() && parts_words(text, range.clone());
    let change = if is_hidden(symbol) || is_gap { hidden } else { Change::Punctuation };
    out.replace(range, symbol.encode_utf8(&mut [0; 4]), change);
}

/// Whether nothing but an escape, or several, stands between two words: the raw form has no gap there.
fn parts_words(text: &str, escape: Range<usize>) -> bool {
    text[..escape.start].chars().next_back().is_some_and(char::is_alphanumeric)
        && char_at(text, escape.end)
            .is_some_and(|next| next.is_alphanumeric() || matches!(next, '&' | '%' | '=' | '\\'))
}

fn allowed(code: u32) -> Option<char> {
    char::from_u32(code).filter(|symbol| !symbol.is_control() || matches!(symbol, '\t' | '\n' | '\r'))
}

fn entity(out: &mut Rewrite<'_>, text: &str, at: usize) -> usize {
    let bytes = text.as_bytes();
    let window = &bytes[at + 1..bytes.len().min(at + ENTITY_BYTES_MAX + 5)];
    if window.first() == Some(&b'#') {
        let hex = matches!(window.get(1), Some(b'x' | b'X'));
        let digits = &window[1 + usize::from(hex)..];
        let len = digits
            .iter()
            .take(8)
            .take_while(|byte| if hex { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() })
            .count();
        let code = std::str::from_utf8(&digits[..len])
            .ok()
            .and_then(|digits| u32::from_str_radix(digits, if hex { 16 } else { 10 }).ok());
        let Some(symbol) = code.and_then(allowed) else { return at + 1 };
        // The semicolon may be missing, as browsers allow.
        let end = at + 2 + usize::from(hex) + len;
        let end = end + usize::from(bytes.get(end) == Some(&b';'));
        put(out, text, at..end, symbol, Change::Entities);
        return end;
    }
    let len = window.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    if window.get(len) != Some(&b';') {
        return at + 1;
    }
    let end = at + len + 2;
    match NAMED.iter().find(|(name, _)| name.as_bytes() == &window[..len]) {
        Some((_, "")) => out.replace(at..end, "", Change::Entities),
        Some((_, plain)) => {
            let is_gap = plain.chars().all(char::is_whitespace) && parts_words(text, at..end);
            out.replace(at..end, plain, if is_gap { Change::Entities } else { Change::Punctuation });
        }
        None => return at + 1,
    }
    end
}

/// How a byte is written in two hexadecimal digits.
#[derive(Clone, Copy)]
enum Style {
    Percent,
    Equals,
    Backslash,
}

impl Style {
    const fn mark(self) -> &'static [u8] {
        match self {
            Style::Percent => b"%",
            Style::Equals => b"=",
            Style::Backslash => b"\\x",
        }
    }

    const fn change(self) -> Change {
        match self {
            Style::Percent => Change::Percent,
            Style::Equals => Change::QuotedPrintable,
            Style::Backslash => Change::Escapes,
        }
    }
}

fn byte_at(bytes: &[u8], at: usize, style: Style) -> Option<u8> {
    let digits = bytes.get(at..)?.strip_prefix(style.mark())?.get(..2)?;
    let digit = |byte: u8| (byte as char).to_digit(16);
    Some((digit(digits[0])? * 16 + digit(digits[1])?) as u8)
}

/// One character written as one to four encoded bytes.
fn encoded(out: &mut Rewrite<'_>, text: &str, at: usize, style: Style) -> usize {
    let bytes = text.as_bytes();
    let step = style.mark().len() + 2;
    let Some(first) = byte_at(bytes, at, style) else { return at + 1 };
    let len = match first {
        0..=0x7f => 1,
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return at + 1,
    };
    let mut piece = [0; PIECE_BYTES_MAX];
    for (index, slot) in piece[..len].iter_mut().enumerate() {
        let Some(byte) = byte_at(bytes, at + index * step, style) else { return at + 1 };
        *slot = byte;
    }
    let symbol = std::str::from_utf8(&piece[..len]).ok().and_then(|piece| piece.chars().next());
    let Some(symbol) = symbol.and_then(|symbol| allowed(symbol.into())) else { return at + 1 };
    put(out, text, at..at + len * step, symbol, style.change());
    at + len * step
}

/// Whether a text is quoted-printable: soft line breaks, an encoded `=`, or several letters encoded in a row.
fn is_quoted_printable(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (mut in_a_row, mut next, mut soft, mut codes) = (0, 0, 0, 0);
    for at in memchr_iter(b'=', bytes) {
        match byte_at(bytes, at, Style::Equals) {
            Some(byte) if byte == b'=' || byte == b' ' || byte.is_ascii_alphanumeric() || byte >= 0xc2 => {
                in_a_row = if at == next { in_a_row + 1 } else { 1 };
                next = at + 3;
                codes += 1 + usize::from(byte == b'=' || byte >= 0xc2);
                if in_a_row >= IN_A_ROW {
                    return true;
                }
            }
            _ => soft += usize::from(bytes[at + 1..].starts_with(b"\n") || bytes[at + 1..].starts_with(b"\r\n")),
        }
    }
    soft > 0 && codes > 0 || codes >= 6
}

fn quoted_printable(out: &mut Rewrite<'_>, text: &str, at: usize) -> usize {
    let rest = &text.as_bytes()[at + 1..];
    for end in ["\r\n", "\n"] {
        if rest.starts_with(end.as_bytes()) {
            out.replace(at..at + 1 + end.len(), "", Change::QuotedPrintable);
            return at + 1 + end.len();
        }
    }
    encoded(out, text, at, Style::Equals)
}

fn backslash(out: &mut Rewrite<'_>, text: &str, at: usize, lines: bool) -> usize {
    let bytes = text.as_bytes();
    match bytes.get(at + 1) {
        Some(b'x') => encoded(out, text, at, Style::Backslash),
        Some(b'u') => unicode_escape(out, text, at, 4),
        Some(b'U') => unicode_escape(out, text, at, 8),
        Some(b'0'..=b'3') => octal(out, text, at),
        // A backslash that is itself escaped says nothing about what follows it.
        Some(b'\\') => at + 2,
        Some(b'n' | b't' | b'r') if lines => {
            let change = if char_at(text, at + 2).is_some_and(char::is_alphabetic) {
                Change::Escapes
            } else {
                Change::Punctuation
            };
            out.replace(at..at + 2, if bytes[at + 1] == b't' { "\t" } else { "\n" }, change);
            at + 2
        }
        _ => at + 1,
    }
}

fn hex_at(text: &str, at: usize, len: usize) -> Option<u32> {
    let digits = text.get(at..at + len)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}

fn unicode_escape(out: &mut Rewrite<'_>, text: &str, at: usize, digits: usize) -> usize {
    let bytes = text.as_bytes();
    let (code, end) = if bytes.get(at + 2) == Some(&b'{') {
        let len = bytes[at + 3..].iter().take(7).take_while(|byte| byte.is_ascii_hexdigit()).count();
        if len == 0 || bytes.get(at + 3 + len) != Some(&b'}') {
            return at + 1;
        }
        (hex_at(text, at + 3, len), at + 4 + len)
    } else {
        (hex_at(text, at + 2, digits), at + 2 + digits)
    };
    let Some(code) = code else { return at + 1 };
    let (code, end) = match code {
        high @ 0xd800..=0xdbff if bytes[end..].starts_with(b"\\u") => match hex_at(text, end + 2, 4) {
            Some(low @ 0xdc00..=0xdfff) => (0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00), end + 6),
            _ => return at + 1,
        },
        code => (code, end),
    };
    let Some(symbol) = allowed(code) else { return at + 1 };
    put(out, text, at..end, symbol, Change::Escapes);
    end
}

/// Bytes in octal, `\151\147`, several in a row.
fn octal(out: &mut Rewrite<'_>, text: &str, at: usize) -> usize {
    let bytes = text.as_bytes();
    let mut decoded = Vec::new();
    let mut end = at;
    while let Some([b'\\', first @ b'0'..=b'3', second @ b'0'..=b'7', third @ b'0'..=b'7']) = bytes.get(end..end + 4) {
        decoded.push((first - b'0') << 6 | (second - b'0') << 3 | (third - b'0'));
        end += 4;
    }
    match String::from_utf8(decoded) {
        Ok(decoded) if decoded.len() >= IN_A_ROW && decoded.chars().all(|symbol| allowed(symbol.into()).is_some()) => {
            let mut from = at;
            for symbol in decoded.chars() {
                put(out, text, from..from + 4 * symbol.len_utf8(), symbol, Change::Escapes);
                from += 4 * symbol.len_utf8();
            }
            end
        }
        _ => end.max(at + 1),
    }
}
