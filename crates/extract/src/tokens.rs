//! Texts that come as token numbers.

use std::borrow::Cow;
use std::ops::Range;

use crate::text::{Extracted, Form, Medium, Origin, Text, Unscanned};

/// Text that the token arrays of one request may make, in bytes. A token of two digits may stand for 128 blanks, so
/// that a body would grow without this; ordinary tokens make less text than digits.
const DECODED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// An array of token numbers.
#[derive(Debug)]
pub(crate) struct TokenArray {
    at: Range<usize>,
    /// The numbers; `None` where one is no token.
    numbers: Option<Vec<u32>>,
}

impl TokenArray {
    /// Reads the array that stands at the beginning of `ahead`, which is not checked yet. `None` where its first element
    /// is no number, and others will come to speak.
    pub(crate) fn read(ahead: &str, offset: usize) -> Option<TokenArray> {
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
        let inside = ahead.as_bytes().get(1..)?;
        let first = inside.iter().find(|byte| !is_blank(byte))?;
        if !first.is_ascii_digit() && *first != b'-' {
            return None;
        }
        let end = inside.iter().position(|byte| *byte == b']')?;
        let at = offset..offset + end + 2;
        let number = |number: &str| number.trim_ascii().parse().ok();
        let numbers = ahead[1..=end].split(',').map(number).collect();
        Some(TokenArray { at, numbers })
    }
}

/// Adds the texts of token arrays to what was found.
pub(crate) fn decode(arrays: Vec<TokenArray>, model: &str, found: &mut Extracted<'_>) {
    let mut bytes_left = DECODED_BYTES_MAX;
    for TokenArray { at, numbers } in arrays {
        let text = numbers.and_then(|numbers| metering::tokens::decode(model, &numbers, bytes_left));
        match text {
            Some(text) => {
                bytes_left -= text.len().min(bytes_left);
                let (origin, text) = (Origin::Input, Cow::Owned(text));
                found.texts.push(Text {
                    channel: origin.channel(),
                    origin,
                    at,
                    form: Form::Tokens,
                    part: None,
                    text,
                    pieces: Vec::new(),
                });
            }
            None => found.unscanned.push(Unscanned { medium: Medium::Tokens, at, part: None }),
        }
    }
}
