//! Encoded tokens: base64, base32, hexadecimal; decoded only where text comes out.
//!
//! The test is [`plausible`]: hashes, ids, keys and image data fail it at their first bytes. An encoding inside an
//! encoding is followed to [`DEPTH_MAX`]; each level is shorter than the one around it, so the work stays linear.

use crate::changes::Change;
use crate::english::plausible;
use crate::map::{Rewrite, Rewritten};

/// Encodings directly inside each other that are undone in one go.
pub(crate) const DEPTH_MAX: usize = 4;
/// The shortest token that is tried: twelve bytes in base64, eight in hexadecimal.
const TOKEN_BYTES_MIN: usize = 16;
/// The shortest line of a token that is wrapped over lines, and the indentation of the next that is looked over.
const LINE_BYTES_MIN: usize = 20;
const INDENT_BYTES_MAX: usize = 16;

/// Decodes the tokens of a text.
pub(crate) fn rewrite(text: &str) -> Option<Rewritten> {
    let mut out = Rewrite::of(text);
    let bytes = text.as_bytes();
    let (mut at, mut joined_until) = (0, 0);
    while let Some(start) = next_token(bytes, at) {
        let end = token_end(bytes, start);
        at = end;
        if end - start >= LINE_BYTES_MIN && start >= joined_until {
            let (joined, stop) = join_lines(bytes, start, end);
            if stop > end {
                if let Some(found) = decode(&joined, DEPTH_MAX) {
                    out.replace(start..stop, &found.text, found.change);
                    at = stop;
                    continue;
                }
                joined_until = stop;
            }
        }
        one(&mut out, text, start, end);
    }
    out.finish()
}

/// The characters of tokens.
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'+' | b'/' | b'-' | b'_');
        byte += 1;
    }
    table
};

fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Where the next token that is long enough begins, at `at` or later, `at` being no middle of one. Looks from the end of
/// what a token would fill, so that most bytes of ordinary text are never looked at.
fn next_token(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some(window) = bytes.get(at..at + TOKEN_BYTES_MIN) {
        match window.iter().rposition(|byte| !is_token(*byte)) {
            Some(gap) => at += gap + 1,
            None => return Some(at),
        }
    }
    None
}

/// The end of the token at `at`, padding included.
fn token_end(bytes: &[u8], at: usize) -> usize {
    let end = at + bytes[at..].iter().take_while(|byte| is_token(**byte)).count();
    end + bytes[end..].iter().take(6).take_while(|byte| **byte == b'=').count()
}

/// A token together with those of the next lines, as long as the lines are full.
fn join_lines(bytes: &[u8], start: usize, mut end: usize) -> (Vec<u8>, usize) {
    let full = end - start;
    let mut joined = bytes[start..end].to_vec();
    loop {
        let rest = &bytes[end..];
        let skip = usize::from(rest.starts_with(b"\r"));
        if rest.get(skip) != Some(&b'\n') {
            break;
        }
        let indent =
            rest[skip + 1..].iter().take(INDENT_BYTES_MAX).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let next = end + skip + 1 + indent;
        if !bytes.get(next).is_some_and(|byte| is_token(*byte)) {
            break;
        }
        let stop = token_end(bytes, next);
        if stop - next > full {
            break;
        }
        joined.extend_from_slice(&bytes[next..stop]);
        end = stop;
        if stop - next < full {
            break;
        }
    }
    (joined, end)
}

/// Tries a token, then the longest part of it between signs that may only be separators.
fn one(out: &mut Rewrite<'_>, text: &str, start: usize, end: usize) {
    let bytes = &text.as_bytes()[start..end];
    if let Some(found) = decode(bytes, DEPTH_MAX) {
        out.replace_by_step(start..end, &found.text, found.step, found.change);
        return;
    }
    let (mut from, mut longest) = (0, 0..0);
    for part in bytes.split(|byte| matches!(byte, b'+' | b'/' | b'-' | b'_')) {
        if part.len() > longest.len() {
            longest = from..from + part.len();
        }
        from += part.len() + 1;
    }
    if longest.len() >= TOKEN_BYTES_MIN
        && longest.len() < bytes.len()
        && let Some(found) = decode(&bytes[longest.clone()], DEPTH_MAX)
    {
        out.replace_by_step(start + longest.start..start + longest.end, &found.text, found.step, found.change);
    }
}

/// What a token says.
struct Found {
    text: String,
    change: Change,
    /// Decoded bytes and the encoded ones that they come from; zeros where only the whole can be told.
    step: (u8, u8),
}

fn decode(token: &[u8], depth: usize) -> Option<Found> {
    let unpadded = token.len() - token.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = &token[..unpadded];
    for (bits, step, change) in [(4, (1, 2), Change::Hex), (6, (3, 4), Change::Base64), (5, (5, 8), Change::Base32)] {
        let Some(bytes) = unpack(digits, bits) else { continue };
        if let Some((text, nested)) = read(bytes, depth) {
            return Some(Found { text, change, step: if nested { (0, 0) } else { step } });
        }
    }
    None
}

/// The bytes that digits of so many bits make up; `None` for a foreign digit, or when the beginning is no text.
fn unpack(digits: &[u8], bits: u32) -> Option<Vec<u8>> {
    let spare = digits.len() * bits as usize % 8;
    if spare >= bits as usize {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len().min(64));
    let (mut pending, mut held) = (0u32, 0);
    for &symbol in digits {
        pending = pending << bits | digit(symbol, bits)?;
        held += bits;
        if held >= 8 {
            held -= 8;
            let byte = (pending >> held) as u8;
            // Twelve bytes without a control character are where a hash or an image has given itself away.
            if byte < 0x20 && !matches!(byte, b'\n' | b'\r' | b'\t') {
                return None;
            }
            bytes.push(byte);
        }
    }
    Some(bytes)
}

fn digit(symbol: u8, bits: u32) -> Option<u32> {
    let value = match (bits, symbol) {
        (4, _) => return (symbol as char).to_digit(16),
        (5, b'A'..=b'Z') => symbol - b'A',
        (5, b'2'..=b'7') => symbol - b'2' + 26,
        (6, b'A'..=b'Z') => symbol - b'A',
        (6, b'a'..=b'z') => symbol - b'a' + 26,
        (6, b'0'..=b'9') => symbol - b'0' + 52,
        (6, b'+' | b'-') => 62,
        (6, b'/' | b'_') => 63,
        _ => return None,
    };
    Some(value.into())
}

/// Decoded bytes as text, and whether that was encoded again.
fn read(mut bytes: Vec<u8>, depth: usize) -> Option<(String, bool)> {
    if let Err(error) = std::str::from_utf8(&bytes) {
        // A token that was cut may end inside a character.
        if error.error_len().is_some() {
            return None;
        }
        bytes.truncate(error.valid_up_to());
    }
    let text = String::from_utf8(bytes).ok()?;
    let trimmed = text.trim_end();
    let token = trimmed.len() >= TOKEN_BYTES_MIN && token_end(trimmed.as_bytes(), 0) == trimmed.len();
    if token
        && let Some(depth) = depth.checked_sub(1)
        && let Some(inner) = decode(trimmed.as_bytes(), depth)
    {
        return Some((inner.text, true));
    }
    plausible(&text).then_some((text, false))
}
