//! The last member of a document's outermost object, found from the end.
//!
//! Most answers are long and end with what they used, so what stands before is not read. Promise: what is found is a
//! member of the outermost object. Proof: between it and the document's end stand only scalars and the one brace that
//! closes the object that it is in. What cannot be proved so is not found here, and whoever asked reads the whole.

use std::ops::Range;

/// Where the key and the value of the last member named `key` begin. Its quotes are real ones, because inside a string
/// they would be escaped.
pub(crate) fn last(document: &[u8], key: &str) -> Option<(usize, usize)> {
    let mut end = document.len();
    // From quote to quote: most of what is looked for stands behind the last few.
    while let Some(closing) = memchr::memrchr(b'"', &document[..end]) {
        end = closing;
        let is_key = document[..closing].ends_with(key.as_bytes())
            && closing.checked_sub(key.len() + 1).is_some_and(|opening| document[opening] == b'"');
        if !is_key {
            continue;
        }
        let colon = skip_blanks(document, closing + 1);
        if document.get(colon) == Some(&b':') {
            return Some((closing - key.len() - 1, skip_blanks(document, colon + 1)));
        }
    }
    None
}

/// Whether the value that ends at `end` is a member of the outermost object.
pub(crate) fn is_outermost(document: &[u8], end: usize) -> bool {
    let rest = document.get(end..).unwrap_or_default().trim_ascii_end();
    let Some((b'}', rest)) = rest.split_last() else { return false };
    !rest.iter().any(|byte| matches!(byte, b'{' | b'}' | b'[' | b']'))
}

/// The place of a member whose value is `null`, with the comma that goes with it.
pub(crate) fn null(document: &[u8], key: &str) -> Option<Range<usize>> {
    let (at, value) = last(document, key)?;
    let end = value + 4;
    if document.get(value..end) != Some(b"null") || !is_outermost(document, end) {
        return None;
    }
    let front = document[..at].trim_ascii_end();
    match front.last() {
        Some(b',') => Some(front.len() - 1..end),
        // The first member takes the comma behind it along; it is rare enough to be read as a whole.
        _ => None,
    }
}

fn skip_blanks(document: &[u8], from: usize) -> usize {
    let rest = document.get(from..).unwrap_or_default();
    from + (rest.len() - rest.trim_ascii_start().len())
}
