//! The last member of a document's outermost object, found from the end.
//!
//! Most answers are long and end with what they used, so what stands before is not read. Promise: what is found is a
//! member of the outermost object. Proof: between it and the document's end stand only scalars and the one brace that
//! closes the object that it is in. What cannot be proved so is not found here, and whoever asked reads the whole.

use std::ops::Range;

/// Where the key and the value of a member named `key` begin, if it may be the last of its name: its quotes are real
/// ones, because inside a string they would be escaped.
pub(crate) fn last(document: &[u8], key: &str) -> Option<(usize, usize)> {
    let mut quoted = [0; 32];
    let quoted = quoted.get_mut(..key.len() + 2)?;
    (quoted[0], quoted[key.len() + 1]) = (b'"', b'"');
    quoted[1..=key.len()].copy_from_slice(key.as_bytes());
    let at = memchr::memmem::rfind(document, quoted)?;
    let colon = skip_blanks(document, at + quoted.len());
    if document.get(colon) != Some(&b':') {
        return None;
    }
    Some((at, skip_blanks(document, colon + 1)))
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
