//! Request targets: paths and queries that can be read in one way only.
//!
//! Promises: no dot segments, no empty segments, no encoded slash or backslash, no control characters, in any
//! encoding: whatever a proxy, a router and an upstream could resolve differently is refused, not normalised.

use std::borrow::Cow;
use std::fmt;

/// Longest path. The API's longest template with its longest ids stays under 1,000.
pub const PATH_BYTES_MAX: usize = 8 * 1024;

/// Why a path was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetError {
    /// Over [`PATH_BYTES_MAX`].
    TooLong,
    /// Does not begin with a slash.
    Relative,
    /// `//`
    EmptySegment,
    /// `.` or `..`, in any encoding.
    DotSegment,
    /// `/` or `\` in a segment, encoded or, for the backslash, bare.
    EncodedSlash,
    /// A control character, a byte outside ASCII, what ends a path (`?`, `#`), or bytes that encode no text.
    Character,
    /// `%` without two hexadecimal digits.
    Percent,
}

impl TargetError {
    /// Whether the path is refused for its length.
    pub fn is_too_long(self) -> bool {
        self == TargetError::TooLong
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TargetError::TooLong => "it is too long",
            TargetError::Relative => "it does not begin with a slash",
            TargetError::EmptySegment => "it has an empty segment ('//')",
            TargetError::DotSegment => "it has a '.' or '..' segment",
            TargetError::EncodedSlash => "it has a backslash or an encoded slash",
            TargetError::Character => "it has a character that no path can hold",
            TargetError::Percent => "it has a '%' that is not followed by two hexadecimal digits",
        })
    }
}

impl std::error::Error for TargetError {}

/// A path that was checked.
#[derive(Debug, Clone, Copy)]
pub struct Path<'a> {
    raw: &'a str,
}

impl<'a> Path<'a> {
    /// Checks a path, without its query.
    ///
    /// # Errors
    /// The first thing about it that two readers could take differently.
    pub fn parse(raw: &'a str) -> Result<Path<'a>, TargetError> {
        if raw.len() > PATH_BYTES_MAX {
            return Err(TargetError::TooLong);
        }
        let inside = raw.strip_prefix('/').ok_or(TargetError::Relative)?;
        let bytes = inside.as_bytes();
        let mut start = 0;
        for at in 0..=bytes.len() {
            match bytes.get(at) {
                None | Some(b'/') => {
                    segment(&bytes[start..at], at == bytes.len())?;
                    start = at + 1;
                }
                Some(b'\\') => return Err(TargetError::EncodedSlash),
                Some(0..=0x20 | b'?' | b'#' | 0x7f..) => return Err(TargetError::Character),
                Some(_) => {}
            }
        }
        Ok(Path { raw })
    }

    /// The path as it came.
    pub fn as_str(self) -> &'a str {
        self.raw
    }
}

/// Checks one segment. Only the last may be empty: a trailing slash.
fn segment(raw: &[u8], is_last: bool) -> Result<(), TargetError> {
    if raw.is_empty() {
        return if is_last { Ok(()) } else { Err(TargetError::EmptySegment) };
    }
    if !raw.contains(&b'%') {
        return if matches!(raw, b"." | b"..") { Err(TargetError::DotSegment) } else { Ok(()) };
    }
    let decoded = percent_decode(raw).ok_or(TargetError::Percent)?;
    // Overlong encodings are dots and slashes to careless readers, and not UTF-8 to careful ones.
    if std::str::from_utf8(&decoded).is_err() {
        return Err(TargetError::Character);
    }
    // Twice encoded is refused as well: some readers decode twice.
    let twice = percent_decode(&decoded);
    for bytes in [Some(decoded), twice].into_iter().flatten() {
        if bytes.iter().any(|byte| matches!(byte, b'/' | b'\\')) {
            return Err(TargetError::EncodedSlash);
        }
        if matches!(&bytes[..], b"." | b"..") {
            return Err(TargetError::DotSegment);
        }
        if bytes.iter().any(u8::is_ascii_control) {
            return Err(TargetError::Character);
        }
    }
    Ok(())
}

/// Decodes `%XX`; `None` when a `%` is not followed by two digits.
fn percent_decode(raw: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter();
    while let Some(byte) = bytes.next() {
        if *byte == b'%' {
            let high = char::from(*bytes.next()?).to_digit(16)?;
            let low = char::from(*bytes.next()?).to_digit(16)?;
            decoded.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            decoded.push(*byte);
        }
    }
    Some(decoded)
}

/// Text that is not UTF-8 after percent-decoding, or not decodable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not valid percent-encoded UTF-8")]
pub struct NotText;

/// A segment's text.
///
/// # Errors
/// When it is not percent-encoded UTF-8.
pub fn decode(raw: &str) -> Result<Cow<'_, str>, NotText> {
    if !raw.contains('%') {
        return Ok(Cow::Borrowed(raw));
    }
    let bytes = percent_decode(raw.as_bytes()).ok_or(NotText)?;
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| NotText)
}

/// Why a query's value cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The name stands more than once.
    #[error("the query parameter '{0}' stands more than once")]
    Duplicate(String),
    /// Name or value cannot be decoded.
    #[error("the query is not valid percent-encoded UTF-8")]
    NotText,
}

/// The pairs of a query, decoded; `+` is a blank.
pub fn pairs(query: &str) -> impl Iterator<Item = Result<(Cow<'_, str>, Cow<'_, str>), QueryError>> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((form_decode(name)?, form_decode(value)?))
    })
}

fn form_decode(raw: &str) -> Result<Cow<'_, str>, QueryError> {
    if !raw.contains('+') {
        return decode(raw).map_err(|_| QueryError::NotText);
    }
    let text = decode(&raw.replace('+', " ")).map_err(|_| QueryError::NotText)?.into_owned();
    Ok(Cow::Owned(text))
}

/// The value of a parameter that may stand once.
///
/// # Errors
/// When it stands twice, or the query cannot be decoded.
pub fn unique<'q>(query: &'q str, name: &str) -> Result<Option<Cow<'q, str>>, QueryError> {
    let mut found = None;
    for pair in pairs(query) {
        let (key, value) = pair?;
        if key == name && found.replace(value).is_some() {
            return Err(QueryError::Duplicate(name.to_owned()));
        }
    }
    Ok(found)
}

/// All values of a parameter that may repeat, written `name=` or `name[]=`.
///
/// # Errors
/// When the query cannot be decoded.
pub fn all<'q>(query: &'q str, name: &str) -> Result<Vec<Cow<'q, str>>, QueryError> {
    let mut values = Vec::new();
    for pair in pairs(query) {
        let (key, value) = pair?;
        if key.strip_suffix("[]").unwrap_or(&key) == name {
            values.push(value);
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tricks_are_refused() {
        use TargetError::{Character, DotSegment, EmptySegment, EncodedSlash, Percent, Relative};
        for (path, error) in [
            ("", Relative),
            ("v1/models", Relative),
            ("//v1/models", EmptySegment),
            ("/v1//models", EmptySegment),
            ("/v1/./models", DotSegment),
            ("/v1/../admin", DotSegment),
            ("/v1/..", DotSegment),
            ("/v1/%2e%2E/admin", DotSegment),
            ("/v1/.%2e/admin", DotSegment),
            ("/v1/%252e%252e/admin", DotSegment),
            ("/v1/files/a%2fb", EncodedSlash),
            ("/v1/files/a%2Fb", EncodedSlash),
            ("/v1/files/a%5Cb", EncodedSlash),
            ("/v1/files/a%252fb", EncodedSlash),
            ("/v1/files/a\\b", EncodedSlash),
            ("/v1/files/%00", Character),
            ("/v1/files/%0a", Character),
            ("/v1/files/ä", Character),
            ("/v1/files#x", Character),
            ("/v1/files?limit=1", Character),
            ("http://host/v1/models", Relative),
            ("*", Relative),
            ("/v1/files/%7f", Character),
            ("/v1/files/%2500", Character),
            ("/v1/%c0%ae%c0%ae/admin", Character),
            ("/v1/files/a%c0%afb", Character),
            ("/v1/files/%ff", Character),
            ("/v1/files/%", Percent),
            ("/v1/files/%zz", Percent),
        ] {
            assert_eq!(Path::parse(path).map(Path::as_str), Err(error), "{path}");
        }
        assert_eq!(Path::parse(&format!("/{}", "a".repeat(PATH_BYTES_MAX))).map(|_| ()), Err(TargetError::TooLong));
    }

    #[test]
    fn plain_paths_pass() {
        for path in [
            "/",
            "/v1/models",
            "/v1/models/",
            "/v1/models/ft:gpt-4o:org::id",
            "/v1/files/file-a.b..c",
            "/v1/x%20y",
            "/v1/x%C3%A4",
        ] {
            assert_eq!(Path::parse(path).map(Path::as_str), Ok(path));
        }
    }

    #[test]
    fn queries_are_read_once() {
        assert_eq!(unique("limit=20&after=a%2Bb+c", "after").expect("once").as_deref(), Some("a+b c"));
        assert_eq!(unique("limit=20&li%6dit=30", "limit"), Err(QueryError::Duplicate("limit".into())));
        assert_eq!(unique("a=1", "b"), Ok(None));
        assert_eq!(unique("a[]=1&a[]=2", "a"), Ok(None), "another name");
        assert_eq!(unique("a[]=1&a%5b%5d=2", "a[]"), Err(QueryError::Duplicate("a[]".into())));
        assert_eq!(unique("&&a&", "a").expect("once").as_deref(), Some(""));
        assert_eq!(unique("a=%ff", "a"), Err(QueryError::NotText));
        assert_eq!(all("p[]=1&p%5B%5D=2&p=3", "p").expect("text"), ["1", "2", "3"]);
    }

    proptest! {
        #[test]
        fn nothing_that_passes_holds_a_dot_segment_or_a_slash_after_decoding(path in "/[a-z./%25fFcCeE\\\\]{0,24}") {
            if let Ok(path) = Path::parse(&path) {
                let inside = &path.as_str()[1..];
                for segment in inside.split('/') {
                    let text = decode(segment).map(Cow::into_owned).unwrap_or_default();
                    prop_assert!(text != "." && text != ".." && !text.contains(['/', '\\']));
                }
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,64}") {
            let _ = Path::parse(&text);
            let _ = unique(&text, "a");
        }
    }
}
