//! Where a key ends that something is glued to.

use super::*;

#[test]
fn the_length_ends_a_key() {
    let engine = engine();
    let mut rng = fastrand::Rng::with_seed(6);
    for key in openai_keys(&mut rng) {
        for (before, behind) in [
            ("", ""),
            ("x", "y"),
            ("\"", "\","),
            ("'", "\\n"),
            ("Bearer ", "\\\""),
            ("=", "more_text-1"),
            ("a-", "-b"),
            ("", "\n"),
        ] {
            let text = format!("{before}{key}{behind}");
            let findings = engine.scan(text.as_bytes());
            assert_eq!(secrets(&findings), [key.as_str()], "{text}");
            let start = before.len() as u64;
            assert_eq!(findings[0].span, start..start + key.len() as u64);
            assert!(!findings[0].redacted().contains(&key[key.len() - 5..]), "{}", findings[0].redacted());
        }
    }
}

#[test]
fn two_keys_glued_are_two() {
    let engine = engine();
    let mut rng = fastrand::Rng::with_seed(7);
    let keys = openai_keys(&mut rng);
    for pair in keys.windows(2) {
        assert_eq!(secrets(&engine.scan(pair.concat().as_bytes())), [pair[0].as_str(), pair[1].as_str()]);
    }
}

#[test]
fn an_unknown_length_is_found() {
    let engine = engine();
    let mut rng = fastrand::Rng::with_seed(8);
    for (before, behind) in [(16, 16), (17, 40), (40, 17), (90, 90), (33, 120)] {
        let key = format!("sk-new-{}T3BlbkFJ{}", random(&mut rng, URL, before), random(&mut rng, URL, behind));
        let findings = engine.scan(key.as_bytes());
        assert_eq!(findings.len(), 1, "{key}");
        assert_eq!(findings[0].span.start, 0);
    }
}
