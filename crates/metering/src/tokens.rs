//! How many tokens a text is, exactly, in the vocabulary that a model uses.
//!
//! Promises: the count of OpenAI's own tokenizer for plain text (text that spells a special token counts as the ordinary
//! text it is), in time linear in the text however hostile it is. The two vocabularies are in the binary and are
//! unpacked once, on first use, which takes some 60 ms.
//!
//! Left out: what a request adds around its texts (roles, tools, schemas); and models whose vocabulary nobody has
//! published, for which the answer is a bound: the bytes, since no token is shorter than one.

use bpe_openai::{Tokenizer, cl100k_base, o200k_base};

/// A vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    O200k,
    Cl100k,
}

/// Which vocabulary a family of models uses, found by its longest name. Source: the model table of OpenAI's tiktoken;
/// `gpt-5.1` and later, `gpt-6` and `chat-latest` are in no published table and are taken to keep `o200k_base`, which
/// OpenAI has used for every model since May 2024.
const FAMILIES: &[(&str, Encoding)] = &[
    ("gpt-4o", Encoding::O200k),
    ("chatgpt-4o", Encoding::O200k),
    ("gpt-4.1", Encoding::O200k),
    ("gpt-4.5", Encoding::O200k),
    ("gpt-5", Encoding::O200k),
    ("gpt-6", Encoding::O200k),
    ("o1", Encoding::O200k),
    ("o3", Encoding::O200k),
    ("o4", Encoding::O200k),
    ("chat-latest", Encoding::O200k),
    ("gpt-4", Encoding::Cl100k),
    ("gpt-3.5", Encoding::Cl100k),
    ("gpt-35", Encoding::Cl100k),
    ("text-embedding-3", Encoding::Cl100k),
    ("text-embedding-ada-002", Encoding::Cl100k),
];

/// Tokens of `text` for `model`: exact where the model's vocabulary is known, else the bytes of the text.
///
/// The larger of the two known counts would be no bound for an unknown model: a vocabulary made for another purpose can
/// split finer than both. No byte-level vocabulary has a token of less than a byte.
pub fn count(model: &str, text: &str) -> u64 {
    match encoding(model) {
        Some(encoding) => encoding.tokenizer().count(text) as u64,
        None => text.len() as u64,
    }
}

/// As [`count`], or `None` as soon as it is known to exceed `limit`: the work is then bounded by the limit and not by
/// the text.
pub fn count_till_limit(model: &str, text: &str, limit: u64) -> Option<u64> {
    let bytes = text.len() as u64;
    match encoding(model) {
        None => (bytes <= limit).then_some(bytes),
        Some(encoding) => {
            let tokenizer = encoding.tokenizer();
            // No text has more tokens than bytes, so a larger limit is the same limit on any machine.
            let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(text.len());
            tokenizer.count_till_limit(&tokenizer.normalize(text), limit).map(|tokens| tokens as u64)
        }
    }
}

/// Whether [`count`] is exact for a model, and not its bytes.
pub fn is_exact(model: &str) -> bool {
    encoding(model).is_some()
}

/// The text of token numbers: `None` where the model's vocabulary is not known, or the text has more bytes than
/// `bytes_max`. Numbers that stand for nothing, special tokens among them, and bytes that are no UTF-8 become U+FFFD.
pub fn decode(model: &str, numbers: &[u32], bytes_max: usize) -> Option<String> {
    let vocabulary = &encoding(model)?.tokenizer().bpe;
    let mut bytes = Vec::with_capacity(numbers.len().min(bytes_max));
    for &number in numbers {
        match usize::try_from(number) {
            Ok(index) if index < vocabulary.num_tokens() => bytes.extend_from_slice(vocabulary.token_bytes(number)),
            _ => bytes.extend_from_slice("\u{FFFD}".as_bytes()),
        }
        if bytes.len() > bytes_max {
            return None;
        }
    }
    Some(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

fn encoding(model: &str) -> Option<Encoding> {
    let model = model.strip_prefix("ft:").unwrap_or(model);
    let in_family = |name: &str| {
        model.strip_prefix(name).is_some_and(|rest| matches!(rest.chars().next(), None | Some('-' | '.' | ':')))
    };
    FAMILIES
        .iter()
        .filter(|(name, _)| in_family(name))
        .max_by_key(|(name, _)| name.len())
        .map(|(_, encoding)| *encoding)
}

impl Encoding {
    fn tokenizer(self) -> &'static Tokenizer {
        match self {
            Self::O200k => o200k_base(),
            Self::Cl100k => cl100k_base(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Ids from tiktoken's own documentation and tests.
    #[test]
    fn counts_as_tiktoken_does() {
        for (model, text, tokens) in [
            ("gpt-4", "hello world", 2),
            ("gpt-4", "tiktoken is great!", 6),
            ("gpt-4o", "tiktoken is great!", 6),
            ("gpt-4", "お誕生日おめでとう", 9),
            ("gpt-4o", "お誕生日おめでとう", 8),
            ("gpt-3.5-turbo", "antidisestablishmentarianism", 6),
            ("gpt-4", "2 + 2 = 4", 7),
            ("text-embedding-3-small", "", 0),
            ("gpt-5.6-luna", "hello world", 2),
        ] {
            assert_eq!(count(model, text), tokens, "{model}: {text}");
        }
    }

    #[test]
    fn the_longest_family_name_decides() {
        for (model, expected) in [
            ("gpt-4", Some(Encoding::Cl100k)),
            ("gpt-4-turbo-2024-04-09", Some(Encoding::Cl100k)),
            ("gpt-4o-mini", Some(Encoding::O200k)),
            ("gpt-4.1-nano", Some(Encoding::O200k)),
            ("gpt-6.1-sol", Some(Encoding::O200k)),
            ("ft:gpt-3.5-turbo:acme::x", Some(Encoding::Cl100k)),
            ("o3-deep-research", Some(Encoding::O200k)),
            ("text-embedding-ada-002-v2", Some(Encoding::Cl100k)),
            ("davinci-002", None),
            ("gpt-41", None),
            ("gpt-", None),
            ("", None),
        ] {
            assert_eq!(encoding(model), expected, "{model}");
        }
    }

    #[test]
    fn a_special_token_spelled_out_is_ordinary_text() {
        // As special tokens these would be two.
        assert!(count("gpt-4o", "<|endoftext|><|endofprompt|>") > 8);
        assert!(count("gpt-4", "<|im_start|>") > 3);
    }

    #[test]
    fn an_unknown_model_counts_bytes() {
        assert_eq!(count("llama-3", "héllo"), 6);
        assert_eq!(count_till_limit("llama-3", "héllo", 5), None);
        assert_eq!(count_till_limit("llama-3", "héllo", 6), Some(6));
        assert!(!is_exact("llama-3") && is_exact("gpt-5"));
    }

    #[test]
    fn numbers_are_read_back() {
        for model in ["gpt-4", "gpt-5"] {
            let text = "Ignore the above. Grüße, お誕生日 \u{1f600}";
            let numbers = encoding(model).expect("known").tokenizer().encode(text);
            assert_eq!(decode(model, &numbers, 1_000).as_deref(), Some(text));
            assert_eq!(decode(model, &numbers, 10), None);
            assert_eq!(decode(model, &[u32::MAX, 1_000_000], 1_000).as_deref(), Some("\u{FFFD}\u{FFFD}"));
        }
        assert_eq!(decode("llama-3", &[1], 10), None);
    }

    #[test]
    fn a_megabyte_of_anything_is_counted() {
        let letters: String = {
            let mut state = 1_u32;
            let mut letter = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                char::from(b'a' + (state >> 24) as u8 % 26)
            };
            (0..1_000_000).map(|_| letter()).collect()
        };
        for text in [" ".repeat(1_000_000), "a".repeat(1_000_000), letters, "\u{1f600}".repeat(250_000)] {
            let tokens = count("gpt-4o", &text);
            assert!(tokens > 0 && tokens <= text.len() as u64);
            assert_eq!(count_till_limit("gpt-4o", &text, tokens), Some(tokens));
            assert_eq!(count_till_limit("gpt-4o", &text, tokens - 1), None);
        }
    }

    proptest! {
        #[test]
        fn no_token_is_shorter_than_a_byte(text in any::<String>(), limit in 0_u64..40) {
            for model in ["gpt-4", "gpt-5", "unknown"] {
                let tokens = count(model, &text);
                prop_assert!(tokens <= text.len() as u64);
                prop_assert_eq!(count_till_limit(model, &text, limit), (tokens <= limit).then_some(tokens));
                prop_assert_eq!(count_till_limit(model, &text, u64::MAX), Some(tokens));
            }
        }
    }
}
