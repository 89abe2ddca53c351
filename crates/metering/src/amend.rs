//! Changes of single outermost members: caps that go into a request, and their traces that come out of the answer.
//!
//! Promises: what is not named stays as it is to the byte, order and spelling included; a body that is no object stays
//! untouched.

use std::ops::Range;

use wire::json::{Kind, TopLevel};

use crate::last_member;

/// A new value of an outermost member, as JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The member.
    pub key: &'static str,
    /// Its value from now on.
    pub value: String,
}

impl Edit {
    /// Sets a member to a number.
    pub fn number(key: &'static str, value: u64) -> Edit {
        Edit { key, value: value.to_string() }
    }

    /// Sets a member to a string.
    pub fn text(key: &'static str, value: &str) -> Edit {
        Edit { key, value: serde_json::Value::from(value).to_string() }
    }
}

/// Where a part of a text lies in it.
fn range(whole: &str, part: &str) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    let end = start + part.len();
    (end <= whole.len()).then_some(start..end)
}

/// The body with `stream_options.include_usage` behind its last member. For a body that is known to be an object with
/// members, and not to have that one.
pub fn append_usage(body: &[u8]) -> Option<Vec<u8>> {
    const USAGE: &[u8] = br#","stream_options":{"include_usage":true}}"#;
    let (b'}', front) = body.trim_ascii_end().split_last()? else { return None };
    let mut bytes = Vec::with_capacity(front.len() + USAGE.len());
    bytes.extend_from_slice(front);
    bytes.extend_from_slice(USAGE);
    Some(bytes)
}

/// The body with the members set; members that are not there are added behind the last. `asks_for_usage` sets
/// `stream_options.include_usage`, whatever else is in there.
pub fn set(body: &[u8], edits: &[Edit], asks_for_usage: bool) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok()?;
    let members = TopLevel::read(body).ok()?;
    let usage =
        asks_for_usage.then(|| Edit { key: "stream_options", value: with_usage(members.member("stream_options")) });
    let end = text.trim_end().strip_suffix('}').filter(|_| text.trim_start().starts_with('{'))?.len();
    let mut changes: Vec<(Range<usize>, String)> = Vec::with_capacity(edits.len());
    let mut is_empty = members.is_empty();
    for edit in edits.iter().chain(&usage) {
        match members.member(edit.key) {
            Some((_, value)) => changes.push((range(text, value)?, edit.value.clone())),
            None => {
                let comma = if is_empty { "" } else { "," };
                changes.push((end..end, format!("{comma}\"{}\":{}", edit.key, edit.value)));
                is_empty = false;
            }
        }
    }
    Some(spliced(text, changes))
}

/// The value of `stream_options` with usage asked for.
fn with_usage(stream_options: Option<(Kind, &str)>) -> String {
    const USAGE: &str = r#"{"include_usage":true}"#;
    let Some((Kind::Object, text)) = stream_options else { return USAGE.to_owned() };
    let edit = Edit { key: "include_usage", value: "true".to_owned() };
    set(text.as_bytes(), &[edit], false)
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_else(|| USAGE.to_owned())
}

/// The outermost members of a document with some put back to what the caller sent. `None` where none of them is there.
pub fn put_back(document: &[u8], edits: &[Edit]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(document).ok()?;
    let members = TopLevel::read(document).ok()?;
    let changes: Vec<_> =
        edits.iter().filter_map(|edit| Some((range(text, members.member(edit.key)?.1)?, edit.value.clone()))).collect();
    if changes.is_empty() { None } else { Some(spliced(text, changes)) }
}

/// As [`put_back`], for the members of the outermost member `inside`.
pub fn put_back_inside(document: &[u8], inside: &str, edits: &[Edit]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(document).ok()?;
    let members = TopLevel::read(document).ok()?;
    let (Kind::Object, object) = members.member(inside)? else { return None };
    let changed = String::from_utf8(put_back(object.as_bytes(), edits)?).ok()?;
    Some(spliced(text, vec![(range(text, object)?, changed)]))
}

/// The document without an outermost member whose value is `null`. `None` where there is none.
pub fn without_null(document: &[u8], key: &str) -> Option<Vec<u8>> {
    if let Some(place) = last_member::null(document, key) {
        return Some([&document[..place.start], &document[place.end..]].concat());
    }
    let text = std::str::from_utf8(document).ok()?;
    let members = TopLevel::read(document).ok()?;
    let (Kind::Null, value) = members.member(key)? else { return None };
    let value = range(text, value)?;
    // The key in front: a quote, its text, a quote, blanks and a colon. Keys with escapes are not ours.
    let before = text[..value.start].trim_end().strip_suffix(':')?.trim_end();
    let start = before.strip_suffix(&format!("\"{key}\""))?.len();
    let front = text[..start].trim_end();
    if let Some(front) = front.strip_suffix(',') {
        return Some(spliced(text, vec![(front.len()..value.end, String::new())]));
    }
    let behind = &text[value.end..];
    let comma = behind.len() - behind.trim_start().strip_prefix(',').map_or(behind.len(), str::len);
    Some(spliced(text, vec![(start..value.end + comma, String::new())]))
}

/// The text with parts replaced; they do not overlap.
fn spliced(text: &str, mut changes: Vec<(Range<usize>, String)>) -> Vec<u8> {
    // Stable: additions at the same place keep their order.
    changes.sort_by_key(|(range, _)| range.start);
    let added: usize = changes.iter().map(|(_, new)| new.len()).sum();
    let mut bytes = Vec::with_capacity(text.len() + added);
    let mut at = 0;
    for (range, new) in changes {
        bytes.extend_from_slice(&text.as_bytes()[at..range.start]);
        bytes.extend_from_slice(new.as_bytes());
        at = range.end;
    }
    bytes.extend_from_slice(&text.as_bytes()[at..]);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    fn text(bytes: Option<Vec<u8>>) -> String {
        String::from_utf8(bytes.expect("a change")).expect("text")
    }

    #[test]
    fn members_are_set_and_added_and_the_rest_stays() {
        let body = br#"{ "a":1.0e0 , "max_tokens" : null,"b":"}" }"#;
        let edits = [Edit::number("max_tokens", 7), Edit::text("model", "x\"y")];
        assert_eq!(text(set(body, &edits, false)), r#"{ "a":1.0e0 , "max_tokens" : 7,"b":"}" ,"model":"x\"y"}"#);
        assert_eq!(text(set(b"{}", &edits, false)), r#"{"max_tokens":7,"model":"x\"y"}"#);
        assert_eq!(set(b"[1]", &edits, false), None);
    }

    #[test]
    fn usage_is_asked_for_beside_what_is_there() {
        assert_eq!(with_usage(None), r#"{"include_usage":true}"#);
        assert_eq!(with_usage(Some((Kind::Null, "null"))), r#"{"include_usage":true}"#);
        let options = r#"{"include_obfuscation":false,"include_usage":false}"#;
        assert_eq!(with_usage(Some((Kind::Object, options))), r#"{"include_obfuscation":false,"include_usage":true}"#);
    }

    #[test]
    fn usage_goes_behind_the_last_member() {
        let appended = text(append_usage(b" {\"a\":{} } \n"));
        assert_eq!(appended, r#" {"a":{} ,"stream_options":{"include_usage":true}}"#);
        assert_eq!(append_usage(b"[1]"), None);
    }

    #[test]
    fn a_null_goes_with_its_comma() {
        let gone = |document: &str| text(without_null(document.as_bytes(), "usage"));
        assert_eq!(gone(r#"{"a":1,"usage":null}"#), r#"{"a":1}"#);
        assert_eq!(gone(r#"{"a":1, "usage" : null , "b":2}"#), r#"{"a":1 , "b":2}"#);
        assert_eq!(gone(r#"{"usage": null,"b":2}"#), r#"{"b":2}"#);
        assert_eq!(gone(r#"{"usage":null}"#), "{}");
        assert_eq!(without_null(br#"{"a":{"usage":null},"b":"\"usage\":null"}"#, "usage"), None);
        assert_eq!(without_null(br#"{"usage":{"a":1}}"#, "usage"), None);
    }

    #[test]
    fn echoes_are_put_back_inside() {
        let event = r#"{"type":"response.created","response":{"id":"r","max_output_tokens":99,"text":"x"}}"#;
        let edits = [Edit { key: "max_output_tokens", value: "null".into() }];
        let back = text(put_back_inside(event.as_bytes(), "response", &edits));
        assert_eq!(back, event.replace("99", "null"));
        assert_eq!(put_back_inside(br#"{"response":{"id":"r"}}"#, "response", &edits), None);
    }

    proptest! {
        #[test]
        fn set_is_what_a_parser_would_do(keys in proptest::collection::hash_set("[a-d]{1,2}", 0..5), pretty: bool) {
            let map: Map<String, Value> = keys.into_iter().map(|key| (key.clone(), json!({"k": key}))).collect();
            let value = Value::Object(map);
            let written = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) };
            let edits = [Edit::number("a", 5), Edit::number("zz", 6), Edit::number("b", 7)];
            let got: Value = serde_json::from_slice(&set(&written.expect("JSON"), &edits, false).expect("an object")).expect("JSON");
            let mut wanted = value;
            for (key, number) in [("a", 5), ("zz", 6), ("b", 7)] {
                wanted[key] = json!(number);
            }
            prop_assert_eq!(got, wanted);
        }
    }
}
