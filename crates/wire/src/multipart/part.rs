//! A part's headers, and the parameters of header values.
//!
//! Promise: a block that passes means the same to a reader that knows backslash escapes and to one that does not, to
//! one that trims header names and to one that does not, and to one that decodes transfer encodings.

use super::{MultipartError, Part};

/// Reads a part's header block.
pub(super) fn part(block: &[u8]) -> Result<Part, MultipartError> {
    let text = std::str::from_utf8(block).map_err(|_| MultipartError::PartHeaders)?;
    let mut part = Part::default();
    let mut has_disposition = false;
    for line in text.split("\r\n") {
        let (name, value) = header(line)?;
        let value = blanks_off(value);
        if name.eq_ignore_ascii_case("content-disposition") {
            if std::mem::replace(&mut has_disposition, true) {
                return Err(MultipartError::PartHeaders);
            }
            (part.name, part.file_name) = disposition(value)?;
        } else if name.eq_ignore_ascii_case("content-type") {
            if value.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/")) {
                return Err(MultipartError::PartHeaders);
            }
            if part.content_type.replace(value.to_owned()).is_some() {
                return Err(MultipartError::PartHeaders);
            }
        } else if name.eq_ignore_ascii_case("content-transfer-encoding") {
            // Some readers decode (Go: quoted-printable), most do not; these three leave the content as it is.
            if !["7bit", "8bit", "binary"].iter().any(|plain| value.eq_ignore_ascii_case(plain)) {
                return Err(MultipartError::PartHeaders);
            }
        }
    }
    if has_disposition { Ok(part) } else { Err(MultipartError::PartHeaders) }
}

/// Splits a header line. Its name is a token right up to the colon, so neither folding nor a blank that some trim can
/// hide a header; its value holds no control character, so no bare line end either.
fn header(line: &str) -> Result<(&str, &str), MultipartError> {
    let (name, value) = line.split_once(':').ok_or(MultipartError::PartHeaders)?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_good = !name.is_empty()
        && name.bytes().all(is_token)
        && value.bytes().all(|byte| byte == b'\t' || !byte.is_ascii_control());
    if is_good { Ok((name, value)) } else { Err(MultipartError::PartHeaders) }
}

/// Reads `form-data; name="…"; filename="…"`.
fn disposition(value: &str) -> Result<(String, Option<String>), MultipartError> {
    let (kind, mut rest) = value.split_once(';').ok_or(MultipartError::PartHeaders)?;
    if !blanks_off(kind).eq_ignore_ascii_case("form-data") {
        return Err(MultipartError::PartHeaders);
    }
    let (mut name, mut file_name) = (None, None);
    while !blanks_off(rest).is_empty() {
        let (key, after) = rest.split_once('=').ok_or(MultipartError::PartHeaders)?;
        let value = parameter(after)?;
        rest = value.rest;
        let slot = match blanks_off(key).to_ascii_lowercase().as_str() {
            // A backslash in a name is an escape to some readers and a character to others.
            "name" if !value.has_backslash => &mut name,
            "filename" => &mut file_name,
            // RFC 7578, 4.2: not to be sent; who sends it beside `filename` lets readers disagree. Some clients send it
            // alone for names outside ASCII.
            "filename*" if file_name.is_none() => &mut file_name,
            _ => return Err(MultipartError::PartHeaders),
        };
        if slot.replace(value.text).is_some() {
            return Err(MultipartError::PartHeaders);
        }
    }
    Ok((name.ok_or(MultipartError::PartHeaders)?, file_name))
}

/// Takes blanks off both ends: those of HTTP only, as a reader need not know the others of Unicode.
pub(super) fn blanks_off(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// A parameter's value.
pub(super) struct Value<'t> {
    /// The value, without quotes and escapes.
    pub(super) text: String,
    /// Whether a backslash stood in it.
    pub(super) has_backslash: bool,
    /// What follows its semicolon.
    pub(super) rest: &'t str,
}

/// Reads a parameter's value, quoted or not.
pub(super) fn parameter(text: &str) -> Result<Value<'_>, MultipartError> {
    let text = blanks_off(text);
    let Some(inside) = text.strip_prefix('"') else {
        let (value, rest) = text.split_once(';').unwrap_or((text, ""));
        let value = blanks_off(value);
        // What ends an unquoted value for some readers does not stand in one.
        let is_good = !value.is_empty() && !value.contains([' ', '\t', '"', '\\', ',', '(', ')', '<', '>']);
        let value = Value { text: value.to_owned(), has_backslash: false, rest };
        return if is_good { Ok(value) } else { Err(MultipartError::PartHeaders) };
    };
    let (mut value, mut has_backslash, mut has_escaped_quote) = (String::new(), false, false);
    let mut chars = inside.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => {
                let rest = blanks_off(&inside[at + 1..]);
                // A reader without escapes ended the value at the escaped quote: no semicolon may come, in the value
                // or behind it, with which a parameter would begin or hide for that reader.
                if has_escaped_quote && (value.contains(';') || !rest.is_empty()) {
                    return Err(MultipartError::PartHeaders);
                }
                let rest = if rest.is_empty() { Some(rest) } else { rest.strip_prefix(';') };
                return Ok(Value { text: value, has_backslash, rest: rest.ok_or(MultipartError::PartHeaders)? });
            }
            // Browsers, Node and Python write %22 for a quote; Go, curl and old clients a backslash. One in front of
            // anything else is part of a Windows path.
            '\\' => {
                has_backslash = true;
                let escaped = inside[at + 1..].chars().next().filter(|next| matches!(next, '"' | '\\'));
                has_escaped_quote |= escaped == Some('"');
                value.push(escaped.unwrap_or(char));
                if escaped.is_some() {
                    chars.next();
                }
            }
            char => value.push(char),
        }
    }
    Err(MultipartError::PartHeaders)
}
