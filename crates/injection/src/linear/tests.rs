//! What the stage promises, with weights made up for the purpose.

use proptest::prelude::*;

use super::*;

/// Weights that like one word and nothing else.
fn liking(word: &str) -> Vec<u8> {
    struct Last(u32);
    impl Sink for Last {
        fn feature(&mut self, hash: u32) {
            self.0 = hash;
        }
    }
    let mut table = vec![0i8; TABLE_LEN];
    // The last three features of a lone word are the word, its pair and its far pair.
    let mut last = Last(0);
    features(word, &mut last);
    table[last.0 as usize % TABLE_LEN] = 127;
    write([1.0, 0.5, 0.0, 0.0, 1.0, 0.0, -1.0, 2.0], &table, &vec![0; TABLE_LEN])
}

#[test]
fn a_window_with_the_word_scores_highest() {
    let bytes = liking("zanzibar");
    let weights = Weights::parse(&bytes).unwrap();
    let text = format!("{} {} {}", "plain words here ".repeat(60), "zanzibar", "and plain words there ".repeat(60));
    let score = weights.score(&text, Channel::User);
    let best = score.windows.iter().max_by(|one, other| one.log_odds.total_cmp(&other.log_odds)).unwrap();
    assert!(text[best.range.clone()].contains("zanzibar"));
    assert!(score.log_odds < best.log_odds, "many windows are held against the best one");
    assert_eq!(weights.score("zanzibar", Channel::Untrusted).log_odds, 1.0, "another channel, another table and bias");
    assert!(weights.score("", Channel::User).windows.is_empty());
}

#[test]
fn letter_case_does_not_matter() {
    struct All(Vec<u32>);
    impl Sink for All {
        fn feature(&mut self, hash: u32) {
            self.0.push(hash);
        }
    }
    let of = |text: &str| {
        let mut all = All(Vec::new());
        features(text, &mut all);
        all.0
    };
    for (one, other) in [
        ("Ignore ALL", "ignore all"),
        ("ÜBER Größe", "über größe"),
        ("ВСЕ Ёлки", "все ёлки"),
        ("ΌΛΑ ΤΏΡΑ", "ΌΛΑ ΤΏΡΑ"),
        ("ŻÓŁĆ Łódź", "żółć łódź"),
    ] {
        assert_eq!(of(one), of(other), "{one}");
    }
    assert_ne!(of("ab"), of("ba"));
}

#[test]
fn what_is_no_file_of_weights_is_told() {
    let bytes = liking("x");
    assert_eq!(Weights::parse(b"something else").err(), Some(Error::Kind));
    assert!(matches!(Weights::parse(&bytes[..bytes.len() - 1]), Err(Error::Length { .. })));
    let mut broken = bytes.clone();
    broken[12..16].copy_from_slice(&f32::NAN.to_le_bytes());
    assert_eq!(Weights::parse(&broken).err(), Some(Error::Number));
    broken[8] = 9;
    assert_eq!(Weights::parse(&broken).err(), Some(Error::Kind));
}

proptest! {
    #[test]
    fn windows_cover_any_text_in_order(text in any::<String>(), times in 1usize..40) {
        let text = text.repeat(times);
        let bytes = liking("x");
        let weights = Weights::parse(&bytes).unwrap();
        let score = weights.score(&text, Channel::User);
        prop_assert!(score.log_odds.is_finite());
        prop_assert_eq!(score.windows.is_empty(), text.is_empty());
        let mut end = 0;
        for window in &score.windows {
            prop_assert!(text.get(window.range.clone()).is_some());
            prop_assert!(window.range.start <= end && window.range.end > end);
            prop_assert!(window.range.len() <= 2 * WINDOW_BYTES);
            end = window.range.end;
        }
        prop_assert_eq!(end, text.len());
    }
}
