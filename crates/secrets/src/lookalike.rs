//! What looks like a secret and is none: placeholders, sequences, repetitions, words.
//!
//! Real secrets are drawn at random, so each test here asks for something that random characters practically never do;
//! the chance that a real one is taken for a placeholder is said beside each.

use crate::rule::{Matched, Passed};

/// The common check: the text is not a placeholder.
pub(crate) fn is_random(matched: &Matched<'_>) -> Option<Passed> {
    (!is_placeholder(body(matched.text))).then_some(Passed { bytes: matched.text.len(), certainty: 1 })
}

/// What follows the fixed prefix of a token: its words (`ghp_`, `sk-ant-`) are no sign of a placeholder.
fn body(text: &[u8]) -> &[u8] {
    // A prefix ends at a separator within the first quarter, at most 12 bytes in.
    let reach = (text.len() / 4).min(12);
    match text[..reach].iter().rposition(|byte| matches!(byte, b'_' | b'-' | b'.' | b':' | b'=')) {
        Some(at) => &text[at + 1..],
        None => text,
    }
}

/// Whether a text is a placeholder.
pub(crate) fn is_placeholder(text: &[u8]) -> bool {
    text.is_empty() || has_word(text) || is_repetitive(text) || is_sequence(text) || is_prose(text)
}

/// Words of five letters and more; in 150 random base64 characters one turns up by chance once in 100,000 keys.
const WORDS: [&str; 27] = [
    "example",
    "placeholder",
    "redacted",
    "changeme",
    "change_me",
    "change-me",
    "dummy",
    "sample",
    "your_",
    "your-",
    "yourkey",
    "yourapi",
    "yoursecret",
    "yourtoken",
    "insert",
    "replace",
    "secret_key",
    "api_key",
    "api-key",
    "apikey",
    "notareal",
    "not-a-real",
    "not_a_real",
    "deadbeef",
    "qwerty",
    "asdfgh",
    "lorem",
];

/// Short words, which count only between separators.
const SHORT_WORDS: [&str; 8] = ["fake", "test", "demo", "mock", "todo", "here", "foo", "bar"];

fn has_word(text: &[u8]) -> bool {
    let lower = text.to_ascii_lowercase();
    if WORDS.iter().any(|word| memchr::memmem::find(&lower, word.as_bytes()).is_some()) {
        return true;
    }
    // Two, so that one that chance put between two separators of a real key does no harm.
    let is_short = |piece: &&[u8]| SHORT_WORDS.iter().any(|word| word.as_bytes() == *piece);
    lower.split(|byte| matches!(byte, b'-' | b'_' | b'.')).filter(is_short).count() >= 2
}

/// Few different characters, one of them many times in a row, or the same piece over and over. Six equal characters in
/// a row: once in ten million random keys.
fn is_repetitive(text: &[u8]) -> bool {
    let mut seen = [false; 256];
    text.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    let different = seen.iter().filter(|seen| **seen).count();
    // Random hexadecimal digits show nearly all sixteen within a secret's length.
    if text.len() >= 12 && different < 7.min(text.len() / 3 + 1) {
        return true;
    }
    let in_a_row = text.chunk_by(|one, next| one == next).map(<[u8]>::len).max().unwrap_or(0);
    if in_a_row >= 6 {
        return true;
    }
    (1..=text.len() / 3).any(|period| {
        let same = text.iter().zip(&text[period..]).filter(|(one, other)| one == other).count();
        same * 10 >= (text.len() - period) * 9
    })
}

/// `abcdef…`, `123456…`, `zyx…`: a third of the neighbours are neighbours in the alphabet; 5 % are by chance.
fn is_sequence(text: &[u8]) -> bool {
    let steps = |by: i16| {
        text.windows(2)
            .filter(|pair| {
                pair[0].is_ascii_alphanumeric()
                    && i16::from(pair[1].to_ascii_lowercase()) - i16::from(pair[0].to_ascii_lowercase()) == by
            })
            .count()
    };
    text.len() >= 8 && [1, -1].into_iter().any(|by| steps(by) * 5 >= (text.len() - 1) * 2)
}

/// The commonest pairs of letters in English: half of a text's pairs, 6 % of random ones.
const PAIRS: &[u8] =
    b"thheinerreonatndestioresteofedisitalarsttonsngseahasouioleveomedehirirocinesearacelichllbemasiomurnctr";

/// Words instead of random letters, such as `this-is-not-a-key`.
fn is_prose(text: &[u8]) -> bool {
    let is_pair = |pair: &[u8]| pair.iter().all(u8::is_ascii_alphabetic);
    let pairs: Vec<[u8; 2]> = text
        .windows(2)
        .filter(|pair| is_pair(pair))
        .map(|pair| [pair[0].to_ascii_lowercase(), pair[1].to_ascii_lowercase()])
        .collect();
    let common = pairs.iter().filter(|pair| PAIRS.chunks_exact(2).any(|known| known == pair.as_slice())).count();
    common >= 7 && common * 5 >= pairs.len() * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_seen() {
        for text in [
            "xxxxxxxxxxxxxxxxxxxx",
            "abcdefghijklmnopqrstuvwxyz0123456789",
            "1234567890123456789012345678",
            "abc123abc123abc123abc123",
            "this-is-not-a-real-token-at-all",
            "your-api-token-goes-right-here",
            "AKIAIOSFODNN7EXAMPLE",
            "0000000000000000aaaaaaaa",
            "fake-1a2B3c4D5e-test-9Zy8Xw7V",
        ] {
            assert!(is_placeholder(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn random_text_practically_never_is_one() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut wrong = 0;
        for alphabet in ["0123456789abcdef", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "abcdefghijklmnopqrstuvwxyz0123456789"]
        {
            let alphabet = alphabet.as_bytes();
            for _ in 0..20_000 {
                let text: Vec<u8> = (0..32).map(|_| alphabet[random.usize(..alphabet.len())]).collect();
                wrong += usize::from(is_placeholder(&text));
            }
        }
        assert!(wrong <= 6, "{wrong} of 60000");
    }
}
