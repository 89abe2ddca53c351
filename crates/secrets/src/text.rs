//! Text as a reader of it would take it: escapes of JSON and programming languages, percent encoding, HTML entities,
//! UTF-16, quoted-printable, characters that nobody sees, and look-alikes of ASCII characters.
//!
//! One token at a time, from left to right, with a bounded look ahead, so that a stream cut anywhere reads the same.

/// Longest token in bytes. What looks like the start of a longer one is plain text.
pub(crate) const TOKEN_BYTES_MAX: usize = 32;

/// What stands at a place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// So many bytes that mean themselves.
    Plain(usize),
    /// More bytes decide.
    Undecided,
    /// So many bytes that mean something else.
    Decoded(usize, Short),
}

/// At most four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Short([u8; 4], usize);

impl Short {
    const EMPTY: Short = Short([0; 4], 0);

    fn byte(byte: u8) -> Short {
        Short([byte, 0, 0, 0], 1)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0[..self.1]
    }
}

/// Bytes at which a token may begin.
pub(crate) static TRIGGERS: [bool; 256] = {
    let mut table = [false; 256];
    let triggers = b"\\%&=\x00\x1b\xc2\xcd\xd8\xe1\xe2\xe3\xef\xf0\xf3";
    let mut at = 0;
    while at < triggers.len() {
        table[triggers[at] as usize] = true;
        at += 1;
    }
    table
};

/// Reads the token at `at`.
pub(crate) fn token(bytes: &[u8], at: usize, is_ended: bool) -> Token {
    let rest = &bytes[at..];
    let before = at.checked_sub(1).map(|before| bytes[before]);
    let token = match rest[0] {
        b'\\' => backslash(rest, before),
        b'%' => percent(rest),
        b'&' => entity(rest),
        b'=' => quoted_printable(rest, before),
        0 => wide(bytes, at),
        0x1b => colour(rest),
        _ => unicode(rest),
    };
    match token {
        Token::Undecided if is_ended || rest.len() >= TOKEN_BYTES_MAX => Token::Plain(1),
        token => token,
    }
}

fn code_point(code: u32) -> Short {
    if let Some(folded) = folded(code) {
        return folded;
    }
    let mut bytes = [0; 4];
    // Half a surrogate pair is no character, and no part of a key.
    let length = char::from_u32(code).unwrap_or('\u{fffd}').encode_utf8(&mut bytes).len();
    Short(bytes, length)
}

/// Characters that are not seen vanish; those that look like ASCII become it.
fn folded(code: u32) -> Option<Short> {
    let ascii = |code: u32| u8::try_from(code).map(Short::byte).ok();
    match code {
        0x00ad | 0x034f | 0x061c | 0x115f | 0x1160 | 0x17b4 | 0x17b5 | 0x180b..=0x180f => Some(Short::EMPTY),
        0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0x3164 => Some(Short::EMPTY),
        0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xe0000..=0xe001f | 0xe007f | 0xe0100..=0xe01ef => Some(Short::EMPTY),
        // The tag block: ASCII that is not shown.
        0xe0020..=0xe007e => ascii(code - 0xe0000),
        0x2010..=0x2015 | 0x2212 | 0xfe58 | 0xfe63 => Some(Short::byte(b'-')),
        // Full width.
        0xff01..=0xff5e => ascii(code - 0xfee0),
        // Mathematical letters and digits, in alphabets of 52 and 10.
        0x1d400..=0x1d6a3 => {
            let letter = (code - 0x1d400) % 52;
            ascii(if letter < 26 { 0x41 + letter } else { 0x61 + letter - 26 })
        }
        0x1d7ce..=0x1d7ff => ascii(0x30 + (code - 0x1d7ce) % 10),
        _ => None,
    }
}

fn digits(bytes: &[u8], radix: u32) -> Option<u32> {
    bytes.iter().try_fold(0_u32, |value, byte| {
        let digit = char::from(*byte).to_digit(radix)?;
        value.checked_mul(radix)?.checked_add(digit)
    })
}

/// A code of exactly so many hexadecimal digits at an index.
fn fixed(rest: &[u8], at: usize, count: usize) -> Token {
    let there = &rest[at.min(rest.len())..rest.len().min(at + count)];
    match digits(there, 16) {
        None => Token::Plain(1),
        Some(_) if there.len() < count => Token::Undecided,
        Some(code) => Token::Decoded(at + count, code_point(code)),
    }
}

/// A code in braces, of hexadecimal digits: `{73}`.
fn braced(rest: &[u8], at: usize) -> Token {
    let inner = &rest[at + 1..];
    match inner.iter().position(|byte| !byte.is_ascii_hexdigit()) {
        None if inner.len() > 8 => Token::Plain(1),
        None => Token::Undecided,
        Some(end) if end > 0 && end <= 8 && inner[end] == b'}' => match digits(&inner[..end], 16) {
            Some(code) => Token::Decoded(at + end + 2, code_point(code)),
            None => Token::Plain(1),
        },
        Some(_) => Token::Plain(1),
    }
}

fn backslash(rest: &[u8], before: Option<u8>) -> Token {
    let Some(&escape) = rest.get(1) else { return Token::Undecided };
    match escape {
        b'x' | b'u' if rest.get(2) == Some(&b'{') => braced(rest, 2),
        b'x' if rest.len() == 2 => Token::Undecided,
        b'x' => fixed(rest, 2, 2),
        b'u' => {
            // Java allows any number of u.
            let codes = rest[1..].iter().position(|byte| *byte != b'u').map(|count| count + 1);
            codes.map_or(Token::Undecided, |at| fixed(rest, at, 4))
        }
        b'U' => fixed(rest, 2, 8),
        b'0' if rest[1..].starts_with(b"0000") => fixed(rest, 5, 2),
        b'0'..=b'7' => {
            let count = rest[1..].iter().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
            if count < 3 && rest.len() == 1 + count {
                return Token::Undecided;
            }
            let code = digits(&rest[1..1 + count], 8).unwrap_or(0);
            Token::Decoded(1 + count, Short::byte((code & 0xff) as u8))
        }
        b'\'' => rich_text(rest),
        b'n' | b'r' => Token::Decoded(2, Short::byte(b'\n')),
        b't' | b'b' | b'f' | b'v' | b'a' => Token::Decoded(2, Short::byte(b'\t')),
        b'\r' | b'\n' => continuation(rest),
        // Any other character means itself: `\/`, `\"`, `\-`, and in JavaScript `\s`.
        // In binary data a backslash is nothing.
        b' '..=b'~' if before.is_none_or(|before| before.is_ascii() && before != 0) => {
            Token::Decoded(2, Short::byte(escape))
        }
        _ => Token::Plain(1),
    }
}

/// A byte of a rich text document, `\'73`; or a quote.
fn rich_text(rest: &[u8]) -> Token {
    let code = &rest[2..rest.len().min(4)];
    match digits(code, 16).and_then(|code| u8::try_from(code).ok()) {
        Some(_) if code.len() < 2 => Token::Undecided,
        Some(byte) if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') => {
            Token::Decoded(4, Short::byte(byte))
        }
        _ => Token::Decoded(2, Short::byte(b'\'')),
    }
}

/// A backslash at the end of a line, with the next line's indentation.
fn continuation(rest: &[u8]) -> Token {
    let mut at = 1;
    if rest[at] == b'\r' {
        at += 1;
        match rest.get(at) {
            None => return Token::Undecided,
            Some(b'\n') => {}
            Some(_) => return Token::Decoded(2, Short::EMPTY),
        }
    }
    at += 1;
    let blanks = rest[at..].iter().take(TOKEN_BYTES_MAX - 4).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    match at + blanks == rest.len() && blanks < TOKEN_BYTES_MAX - 4 {
        true => Token::Undecided,
        false => Token::Decoded(at + blanks, Short::EMPTY),
    }
}

fn percent(rest: &[u8]) -> Token {
    match rest.get(1) {
        None => Token::Undecided,
        Some(b'u') => fixed(rest, 2, 4),
        Some(_) => match rest.get(1..3) {
            None if rest[1].is_ascii_hexdigit() => Token::Undecided,
            Some(pair) => match digits(pair, 16) {
                Some(byte) => Token::Decoded(3, Short::byte((byte & 0xff) as u8)),
                None => Token::Plain(1),
            },
            None => Token::Plain(1),
        },
    }
}

/// Named entities of characters that keys and what stands around them are made of.
const ENTITIES: [(&[u8], u8); 26] = [
    (b"amp", b'&'),
    (b"lt", b'<'),
    (b"gt", b'>'),
    (b"quot", b'"'),
    (b"apos", b'\''),
    (b"hyphen", b'-'),
    (b"dash", b'-'),
    (b"minus", b'-'),
    (b"ndash", b'-'),
    (b"mdash", b'-'),
    (b"lowbar", b'_'),
    (b"UnderBar", b'_'),
    (b"period", b'.'),
    (b"colon", b':'),
    (b"sol", b'/'),
    (b"plus", b'+'),
    (b"equals", b'='),
    (b"comma", b','),
    (b"num", b'#'),
    (b"nbsp", b' '),
    (b"NewLine", b'\n'),
    (b"Tab", b'\t'),
    (b"shy", 0),
    (b"zwnj", 0),
    (b"zwj", 0),
    (b"ZeroWidthSpace", 0),
];

fn entity(rest: &[u8]) -> Token {
    let (from, radix) = match rest.get(1..3) {
        Some([b'#', b'x' | b'X']) => (3, 16),
        Some([b'#', _]) => (2, 10),
        Some(_) => return named_entity(rest),
        None if matches!(rest.get(1), None | Some(b'#')) || rest[1].is_ascii_alphabetic() => return Token::Undecided,
        None => return Token::Plain(1),
    };
    let count = rest[from..].iter().take_while(|byte| char::from(**byte).is_digit(radix)).count();
    if from + count == rest.len() {
        return Token::Undecided;
    }
    match digits(&rest[from..from + count], radix) {
        // Browsers do without the semicolon.
        Some(code) if count > 0 => {
            Token::Decoded(from + count + usize::from(rest[from + count] == b';'), code_point(code))
        }
        _ => Token::Plain(1),
    }
}

fn named_entity(rest: &[u8]) -> Token {
    match rest[1..].iter().position(|byte| !byte.is_ascii_alphabetic()) {
        None => Token::Undecided,
        Some(end) if rest[1 + end] == b';' => match ENTITIES.iter().find(|(name, _)| *name == &rest[1..=end]) {
            Some((_, 0)) => Token::Decoded(end + 2, Short::EMPTY),
            Some((_, byte)) => Token::Decoded(end + 2, Short::byte(*byte)),
            None => Token::Plain(1),
        },
        Some(_) => Token::Plain(1),
    }
}

/// A soft line break, and the codes that mail programs write where keys have `=`, `-`, `.` and `_`. Others are left
/// alone: `KEY=AB…` is no code.
fn quoted_printable(rest: &[u8], before: Option<u8>) -> Token {
    match (rest.get(1), rest.get(2)) {
        (None, _) => Token::Undecided,
        // Behind another `=` it is the end of base64.
        (Some(b'\n'), _) if before != Some(b'=') => Token::Decoded(2, Short::EMPTY),
        (Some(b'\r'), None) => Token::Undecided,
        (Some(b'\r'), Some(b'\n')) if before != Some(b'=') => Token::Decoded(3, Short::EMPTY),
        (Some(b'2' | b'3' | b'5'), None) => Token::Undecided,
        (Some(b'3'), Some(b'D')) => Token::Decoded(3, Short::byte(b'=')),
        (Some(b'2'), Some(b'D')) => Token::Decoded(3, Short::byte(b'-')),
        (Some(b'2'), Some(b'E')) => Token::Decoded(3, Short::byte(b'.')),
        (Some(b'5'), Some(b'F')) => Token::Decoded(3, Short::byte(b'_')),
        _ => Token::Plain(1),
    }
}

/// Zero bytes between the characters of UTF-16 and UTF-32, in either byte order. One between two strings stays: only
/// where the neighbours are such pairs too is it taken away.
fn wide(bytes: &[u8], at: usize) -> Token {
    let rest = &bytes[at..];
    let zeros = rest.iter().take_while(|byte| **byte == 0).count();
    // The rest of a run of which the start is read already, or a run that is none between characters.
    if at > 0 && bytes[at - 1] == 0 || zeros > 3 {
        return Token::Plain(zeros);
    }
    if zeros == rest.len() || zeros != 2 && rest.len() < zeros + 2 {
        return Token::Undecided;
    }
    let is_pair_before = at >= 2 && bytes[at - 2] == 0 && bytes[at - 1] != 0;
    let is_pair_behind = rest.get(zeros + 1) == Some(&0);
    match zeros != 2 && (is_pair_before || is_pair_behind) {
        true => Token::Decoded(zeros, Short::EMPTY),
        false => Token::Plain(zeros),
    }
}

/// A terminal's colour sequence.
fn colour(rest: &[u8]) -> Token {
    match rest.get(1) {
        None => Token::Undecided,
        Some(b'[') => match rest[2..].iter().position(|byte| !matches!(byte, b'0'..=b'9' | b';' | b':' | b'?')) {
            None => Token::Undecided,
            Some(end) => Token::Decoded(end + 3, Short::EMPTY),
        },
        Some(_) => Token::Plain(1),
    }
}

fn unicode(rest: &[u8]) -> Token {
    let length = match rest[0] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Token::Plain(1),
    };
    let Some(encoded) = rest.get(..length) else {
        let is_character = rest[1..].iter().all(|byte| byte & 0xc0 == 0x80);
        return if is_character { Token::Undecided } else { Token::Plain(1) };
    };
    match std::str::from_utf8(encoded).ok().and_then(|text| text.chars().next()) {
        Some(character) => match folded(u32::from(character)) {
            Some(short) => Token::Decoded(length, short),
            None => Token::Plain(length),
        },
        None => Token::Plain(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let is_trigger = TRIGGERS[usize::from(text[at])];
            match if is_trigger { token(text, at, true) } else { Token::Plain(1) } {
                Token::Plain(count) => {
                    out.extend_from_slice(&text[at..at + count]);
                    at += count;
                }
                Token::Undecided => unreachable!("the text is ended"),
                Token::Decoded(count, short) => {
                    out.extend_from_slice(short.as_bytes());
                    at += count;
                }
            }
        }
        out
    }

    #[test]
    fn every_spelling_reads_the_same() {
        for text in [
            r"sk\u002dab".as_bytes(),
            br"\u0073\x6b\55\u{61}\U00000062",
            br"\uuu0073k-ab",
            br"\s\k\-ab",
            br"\000073\00006b-ab",
            br"\'73\'6b\'2dab",
            b"%73%6b-%61b",
            b"%u0073k-ab",
            b"&#115;&#x6B;&hyphen;&#97b",
            b"s\xe2\x80\x8bk\xc2\xad-a\xef\xbb\xbfb",
            b"s\0k\0-\0a\0b\0",
            b"\0s\0k\0-\0a\0b",
            b"\0\0\0s\0\0\0k\0\0\0-\0\0\0a\0\0\0b",
            b"sk=\r\n-a=\nb",
            b"sk=2Dab",
            b"sk-\\\n   ab",
            b"sk\x1b[31;1m-ab",
            "ｓｋ－ａｂ".as_bytes(),
            "sk\u{2011}ab".as_bytes(),
            "\u{1d42c}\u{1d424}-\u{1d41a}\u{1d41b}".as_bytes(),
            "\u{e0073}\u{e006b}\u{e002d}\u{e0061}\u{e0062}".as_bytes(),
        ] {
            // At the end of the bytes one zero is a zero.
            let decoded = String::from_utf8_lossy(&decoded(text)).replace('\0', "");
            assert_eq!(decoded, "sk-ab", "{}", text.escape_ascii());
        }
    }

    #[test]
    fn plain_text_stays() {
        for text in ["a=b&c=d;", "100% of", "&unknown;", "é – no", "KEY=ABCD", "x\\", "a\0b", "==\nab", "%zz", "&#;"]
        {
            let out = decoded(text.as_bytes());
            let out = String::from_utf8_lossy(&out);
            assert_eq!(out.replace('-', "–").replace('\\', ""), text.replace('-', "–").replace('\\', ""), "{text}");
        }
    }
}
