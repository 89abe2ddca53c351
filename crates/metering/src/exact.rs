//! How many tokens the text of a request is, where it pays to count instead of bounding by bytes.
//!
//! Promise: never less than the model reads. Strings that become text are counted in the model's vocabulary, each by
//! itself; all else in the body stays at its bytes.

use wire::json::{self, Kind, Member, Visit, Visitor};

use crate::request::Asked;
use crate::{image, tokens};

/// Members whose strings are text.
const TEXTS: [&str; 8] = ["content", "text", "input", "instructions", "prompt", "arguments", "output", "description"];

/// Tokens that a string may come to more than it does alone, where it is joined to its neighbours.
const SEAM_TOKENS: u64 = 2;

/// Longest request worth counting: some 30 ms.
pub const COUNTED_BYTES_MAX: u64 = 1024 * 1024;

/// Tokens of a body's text for a model, to be used in place of [`Asked::text_bytes`].
pub fn text_tokens(model: &str, body: &[u8], asked: &Asked) -> u64 {
    let mut counting = Counting { model, saved: 0 };
    if !tokens::is_exact(model) || json::scan(body, &mut counting).is_err() {
        return asked.text_bytes;
    }
    asked.text_bytes.saturating_sub(counting.saved)
}

struct Counting<'m> {
    model: &'m str,
    /// Bytes that turned out to be no tokens.
    saved: u64,
}

impl<'a> Visitor<'a> for Counting<'_> {
    fn enter(&mut self, member: Member<'a>) -> Visit {
        if member.kind == Kind::String && TEXTS.contains(&&*member.key) {
            let mut strings = serde_json::Deserializer::from_str(member.ahead).into_iter::<String>();
            if let Some(Ok(text)) = strings.next()
                && image::data_url(&text).is_none()
            {
                let bytes = (strings.byte_offset() as u64).saturating_sub(2);
                self.saved += bytes.saturating_sub(tokens::count(self.model, &text).saturating_add(SEAM_TOKENS));
            }
        }
        Visit::Into
    }

    fn top_level_value(&mut self, _text: &'a str) {}
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use wire::endpoint::Meter;

    use super::*;
    use crate::request::JsonReader;

    fn asked(body: &str) -> Asked {
        let mut reader = JsonReader::new(Meter::Chat);
        json::scan(body.as_bytes(), &mut reader).expect("valid JSON");
        reader.finish(body.len())
    }

    #[test]
    fn prose_is_a_quarter_of_its_bytes() {
        let text = "The quick brown fox jumps over the lazy dog. ".repeat(40);
        let body = json!({"messages": [{"role": "user", "content": text}]}).to_string();
        let tokens = text_tokens("gpt-4o", body.as_bytes(), &asked(&body));
        let counted = tokens::count("gpt-4o", &text);
        assert!(tokens >= counted && tokens < counted + 80, "{tokens} for {counted}");
        assert_eq!(text_tokens("unknown", body.as_bytes(), &asked(&body)), body.len() as u64);
    }

    proptest! {
        #[test]
        fn never_less_than_the_texts_themselves(texts in proptest::collection::vec(".{0,60}", 1..5)) {
            let messages: Vec<_> = texts.iter().map(|text| json!({"role": "user", "content": text})).collect();
            let body = json!({"messages": messages}).to_string();
            let exact: u64 = texts.iter().map(|text| tokens::count("gpt-4o", text)).sum();
            prop_assert!(text_tokens("gpt-4o", body.as_bytes(), &asked(&body)) >= exact);
        }
    }
}
