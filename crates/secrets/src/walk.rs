//! From the start of a secret onwards over what its pieces are kept apart by: string literals put together, arrays,
//! calls, template strings, mark-up, wrapped lines, the events of a recorded stream; and two alphabets that are read
//! from an anchor on: character codes and ROT13.
//!
//! Nothing here is a parser of a language. A bridge is crossed only where a candidate stops, and what comes out must
//! still be a secret.

use memchr::memmem;

use crate::bridge::{Bridge, GAP_BYTES_MAX, Reader, is_blank, is_body, is_event_literal};

/// Most bytes of text that are put together: the longest token that is found in pieces.
const TEXT_BYTES_MAX: usize = 512;
/// Most bytes from the start to the end of what is put together.
pub(crate) const REACH_BYTES_MAX: usize = 64 * 1024;

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

/// The end of a row of a dump, with the characters that it shows, and the address of the next.
fn dump_row(behind: &[u8]) -> Option<usize> {
    let blanks = behind.iter().take(GAP_BYTES_MAX).take_while(|byte| **byte == b' ').count();
    let text = &behind[blanks..behind.len().min(GAP_BYTES_MAX)];
    let end = memmem::find(text.strip_prefix(b"|")?, b"|\n")? + 3;
    let address = text[end..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let gap = text[end + address..].iter().take_while(|byte| **byte == b' ').count();
    (address >= 6 && gap > 0 && end + address + gap < text.len()).then_some(blanks + end + address + gap)
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
