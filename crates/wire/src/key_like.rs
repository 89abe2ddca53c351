//! Words that look like a key: what clients choose (model names, request ids, agents) is written down, and now and then
//! somebody puts a key there.
//!
//! Promise: a key of this gate, whatever its prefix, or one of the provider's, is found in any text, whole or in the
//! middle of other words. This is the cheap test for short texts of every request; it is not the scanner.

use std::borrow::Cow;
use std::ops::Range;

/// Shortest text that can hold a key: shorter ones are not looked at.
const TEXT_BYTES_MIN: usize = 23;
/// Letters and digits behind the underscore of this gate's keys; fewer are some other word.
const OURS_BYTES_MIN: usize = 40;
/// Words in front of that underscore.
const KINDS: [&str; 4] = ["proj_", "svc_", "admin_", "cs_"];
/// What the provider's keys begin with, and how much follows at least.
const PROVIDER: &str = "sk-";
const PROVIDER_BYTES_MIN: usize = 20;
/// Characters of a key that stay.
const SHOWN: usize = 8;

/// Where the first thing stands that looks like a key.
fn find(text: &str) -> Option<Range<usize>> {
    if text.len() < TEXT_BYTES_MIN {
        return None;
    }
    let bytes = text.as_bytes();
    let run = |from: usize, is_part: fn(&u8) -> bool| bytes[from..].iter().take_while(|byte| is_part(byte)).count();
    // What does not qualify is short, so that all of it is linear.
    let ours = |kind: &&str| {
        text.match_indices(*kind).find_map(|(at, _)| {
            let from = at + kind.len();
            let length = run(from, u8::is_ascii_alphanumeric);
            // The prefix in front of the kind belongs to it.
            let is_prefix = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            let start = at - bytes[..at].iter().rev().take_while(|byte| is_prefix(byte)).take(16).count();
            (length >= OURS_BYTES_MIN).then_some(start..from + length)
        })
    };
    let provider = text.match_indices(PROVIDER).find_map(|(at, _)| {
        let length = run(at + PROVIDER.len(), |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        (length >= PROVIDER_BYTES_MIN).then_some(at..at + PROVIDER.len() + length)
    });
    KINDS.iter().filter_map(ours).chain(provider).min_by_key(|range| range.start)
}

/// Whether the text holds something that looks like a key.
pub fn holds_key(text: &str) -> bool {
    find(text).is_some()
}

/// The text with everything masked that looks like a key.
pub fn without_keys(text: &str) -> Cow<'_, str> {
    let Some(first) = find(text) else { return Cow::Borrowed(text) };
    // As many times as there are keys: for texts that are cut before.
    let mut masked = String::with_capacity(text.len());
    let (mut rest, mut next) = (text, Some(first));
    while let Some(found) = next {
        masked.push_str(&rest[..found.start]);
        masked.push_str(&rest[found.start..found.end.min(found.start + SHOWN)]);
        masked.push_str("****");
        rest = &rest[found.end..];
        next = find(rest);
    }
    masked.push_str(rest);
    Cow::Owned(masked)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OURS: &str = "sp-proj_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklm";

    #[test]
    fn keys_are_masked_wherever_they_stand() {
        for (text, masked) in [
            (OURS.to_owned(), "sp-proj_****"),
            (format!("Bearer {OURS}"), "Bearer sp-proj_****"),
            (format!("/v1/{OURS}/x"), "/v1/sp-proj_****/x"),
            (format!("my-co_{}", OURS.trim_start_matches("sp-")), "my-co_pr****"),
            (format!("{OURS} {OURS}"), "sp-proj_**** sp-proj_****"),
            ("key=sk-proj-abcdefghijklmnopqrstu;".to_owned(), "key=sk-proj-****;"),
        ] {
            assert_eq!(without_keys(&text), masked, "{text}");
            assert!(holds_key(&text));
        }
    }

    #[test]
    fn usual_words_stay() {
        for text in [
            "gpt-4o-mini-2024-07-18",
            "ft:gpt-4o-mini-2024-07-18:my-org:custom-suffix:9abcdef012345",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "9f1c2d3e-4b5a-6978-8796-a5b4c3d2e1f0",
            "proj_abcdefghijklmnopqrstuvwx",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
            "task-desk-sk-short",
        ] {
            assert!(!holds_key(text), "{text}");
            assert_eq!(without_keys(text), text);
        }
    }

    proptest! {
        #[test]
        fn a_key_is_never_left_in(before in "\\PC{0,30}", after in "\\PC{0,30}") {
            let masked = without_keys(&format!("{before}{OURS}{after}")).into_owned();
            prop_assert!(!masked.contains(&OURS[12..40]), "{}", masked);
        }
    }
}
