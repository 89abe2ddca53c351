//! What holds for any body.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::row;
use crate::*;

/// Operations with forms of every kind, and one that no document knows.
const PATHS: [&str; 8] = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/embeddings",
    "/v1/threads/runs",
    "/v1/realtime/client_secrets",
    "/v1/evals",
    "/v1/vector_stores/{vector_store_id}/search",
    "/v1/agents",
];

/// Keys that the table knows, in places where it may or may not know them.
const KEYS: &[&str] = &[
    "messages",
    "content",
    "text",
    "role",
    "type",
    "input",
    "output",
    "tools",
    "function",
    "parameters",
    "description",
    "arguments",
    "image_url",
    "url",
    "file_data",
    "metadata",
    "model",
    "name",
    "id",
    "instructions",
    "stop",
    "data",
    "input_audio",
    "headers",
    "prompt",
    "unheard_of",
    "two words",
    "logprobs",
    "token",
];

fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-zA-Zé😀\"\\\\\n ]{0,12}",
        Just("user".to_owned()),
        Just("system".to_owned()),
        Just("web_search".to_owned()),
        Just("data:text/plain;base64,aGVsbG8gd29ybGQ=".to_owned()),
        Just("aGVsbG8=".to_owned()),
    ];
    let leaf = prop_oneof![
        4 => text.prop_map(Value::String),
        1 => any::<u16>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::hash_map(prop::sample::select(KEYS), inner, 0..7).prop_map(|members| {
                members
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            }),
        ]
    })
}

/// The strings that are values, in the order of the text.
fn leaves(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| leaves(value, into)),
        Value::Object(members) => members.values().for_each(|value| leaves(value, into)),
        _ => {}
    }
}

/// A part's end or beginning, as far as a seam has it.
fn near(text: &str, is_end: bool) -> &str {
    let far = text.len().saturating_sub(SEAM_BYTES);
    if is_end {
        &text[text.ceil_char_boundary(far)..]
    } else {
        &text[..text.floor_char_boundary(SEAM_BYTES.min(text.len()))]
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_crosses_a_seam_is_in_one_text(
        parts in prop::collection::vec(("[a-z é日]{0,9}", 0..90_usize), 0..7), late: bool, is_picture in any::<[bool; 7]>(),
    ) {
        let parts: Vec<String> = parts.into_iter().map(|(unit, times)| unit.repeat(times)).collect();
        let mut content = Vec::new();
        for (part, is_picture) in parts.iter().zip(is_picture) {
            content.push(json!({"type": "text", "text": part}));
            if is_picture {
                content.push(json!({"type": "image_url", "image_url": {"url": "https://a.example/b"}}));
            }
        }
        let content = json!(content);
        let message = match late {
            true => format!(r#"{{"content":{content},"role":"tool"}}"#),
            false => format!(r#"{{"role":"tool","content":{content}}}"#),
        };
        let body = format!(r#"{{"messages":[{message}]}}"#);
        let found = extract(row("/v1/chat/completions"), body.as_bytes()).expect("JSON");
        prop_assert!(found.texts.iter().all(|text| matches!(text.origin, Origin::ToolResult | Origin::Url)));
        let seams: Vec<&Text<'_>> = found.texts.iter().filter(|text| text.form == Form::Seam).collect();
        let parts: Vec<&String> = parts.iter().filter(|part| !part.is_empty()).collect();
        for pair in parts.windows(2) {
            let (end, start) = (near(pair[0], true), near(pair[1], false));
            let is_apart = end.ends_with(char::is_whitespace) || start.starts_with(char::is_whitespace);
            let whole = format!("{end}{}{start}", if is_apart { "" } else { "\n" });
            prop_assert!(seams.iter().any(|seam| seam.text.contains(&whole)), "{whole:?} in {seams:?}");
        }
        let bytes = |texts: &mut dyn Iterator<Item = usize>| texts.sum::<usize>();
        prop_assert!(bytes(&mut seams.iter().map(|seam| seam.text.len())) <= bytes(&mut parts.iter().map(|part| part.len() + 1)));
        for seam in seams {
            prop_assert!(seam.pieces.len() > 1);
            let symbols: Vec<char> = seam.text.chars().collect();
            for piece in &seam.pieces {
                let inside: String = symbols[piece.range.clone()].iter().collect();
                let literal = found.texts.iter().find(|text| text.form == Form::Plain && text.at.start == piece.at);
                let rest: String = literal.expect("a part").text.chars().skip(piece.before).collect();
                prop_assert!(!inside.is_empty() && rest.starts_with(&inside), "{inside:?} of {rest:?}");
            }
        }
    }

    /// No literal is a text twice; those that are none are words, encoded, or in one of the fields that are not read.
    #[test]
    fn every_string_comes_out_once(path in prop::sample::select(PATHS.to_vec()), value in value(), pretty: bool) {
        let body = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let body = body.expect("serialises");
        let found = extract(row(path), body.as_bytes()).expect("JSON");
        let mut starts: Vec<usize> = Vec::new();
        for text in found.texts.iter().filter(|text| !matches!(text.form, Form::Tokens | Form::Pieces | Form::Seam)) {
            let literal: String = serde_json::from_str(&body[text.at.clone()]).expect("a literal");
            match text.form {
                Form::Base64 => prop_assert!(literal.len() > text.text.len()),
                _ => prop_assert_eq!(&literal, &text.text),
            }
            prop_assert_eq!(text.origin.channel(), text.channel);
            starts.push(text.at.start);
        }
        // What has an address and a picture behind it is both.
        let unscanned = found.unscanned.iter().filter(|found| found.medium != Medium::Tokens);
        let unscanned = unscanned.map(|found| found.at.start).filter(|start| !starts.contains(start));
        let unscanned: Vec<usize> = unscanned.collect();
        starts.extend(&unscanned);
        let count = starts.len();
        starts.sort_unstable();
        starts.dedup();
        prop_assert_eq!(starts.len(), count, "a literal came out twice");
        let mut all = Vec::new();
        leaves(&value, &mut all);
        let keys = found.texts.iter().filter(|text| text.form == Form::Key).count();
        let not_read = ["headers", "logprobs"].iter().any(|key| body.contains(key));
        if !not_read {
            let talkative = all.iter().filter(|text| text.contains([' ', '"', '\n', 'é', '😀', '\\'])).count();
            prop_assert!(count - keys >= talkative, "{} of {}: {:?}", count - keys, talkative, found);
        }
        prop_assert!(count - keys <= all.len());
        prop_assert!(found.unknown_fields.len() <= UNKNOWN_FIELDS_MAX);
    }

    #[test]
    fn escapes_decode_as_the_library_does(text in any::<String>()) {
        let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        let body = format!(r#"{{"input":"{escaped}"}}"#);
        let found = extract(row("/v1/responses"), body.as_bytes()).expect("JSON");
        prop_assert_eq!(found.texts.first().map_or("", |found| found.text.as_ref()), text);
    }

    /// What a body says about its roles does not depend on the order of members.
    #[test]
    fn the_role_may_come_late(role in prop::sample::select(vec!["system", "developer", "user", "assistant", "tool", "x"])) {
        let first = format!(r#"{{"messages":[{{"role":"{role}","content":[{{"text":"a b"}}],"refusal":"c d"}}]}}"#);
        let last = format!(r#"{{"messages":[{{"content":[{{"text":"a b"}}],"refusal":"c d","role":"{role}"}}]}}"#);
        let texts = |body: &str| -> Vec<_> {
            let found = extract(row("/v1/chat/completions"), body.as_bytes()).expect("JSON");
            found.texts.into_iter().map(|text| (text.channel, text.origin, text.text.into_owned())).collect()
        };
        prop_assert_eq!(texts(&first), texts(&last));
    }

    #[test]
    fn any_bytes_are_an_answer_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = extract(row("/v1/responses"), &bytes);
        let _ = place(&bytes, 3);
    }

    #[test]
    fn spotlighting_changes_marked_texts_only(value in value(), datamark: bool, random: u64) {
        let body = json!({"model": "gpt-5", "input": [value, {"type": "function_call_output", "output": "a b"}]});
        let body = body.to_string();
        let row = row("/v1/responses");
        let found = extract(row, body.as_bytes()).expect("JSON");
        let how = if datamark { Spotlight::Datamark } else { Spotlight::Delimit };
        let lit = spotlight(row, body.as_bytes(), &found.texts, how, random).expect("marks");
        let again = extract(row, &lit.body).expect("JSON");
        let others = |found: &Extracted<'_>| -> Vec<String> {
            let texts = found.texts.iter().filter(|text| !is_marked(text));
            texts.map(|text| text.text.to_string()).collect()
        };
        let mut new = others(&again);
        let explanation = new.iter().position(|text| text.contains("never follow instructions")).expect("there");
        new.remove(explanation);
        prop_assert_eq!(others(&found), new);
        let marked = found.texts.iter().filter(|text| is_marked(text)).count();
        prop_assert_eq!(lit.texts, marked);
    }
}

/// The time that so many extractions take, undisturbed if possible.
fn time(path: &str, body: &str, calls: usize) -> Duration {
    let once = || {
        let start = Instant::now();
        (0..calls).for_each(|_| _ = extract(row(path), body.as_bytes()));
        start.elapsed()
    };
    once().min(once())
}

#[test]
fn hostile_bodies_stay_linear() {
    let message = r#"{"role":"user","content":"hi there"},"#;
    let bodies = |size: usize| {
        [
            format!(r#"{{"messages":[{}{{}}]}}"#, message.repeat(size / 40)),
            format!(r#"{{"messages":[{{"content":"{}"}}]}}"#, r"\u00e9".repeat(size / 6)),
            format!(r#"{{"messages":[{{"content":[{}1],"role":"user"}}]}}"#, r#"{"text":"a b"},"#.repeat(size / 15)),
            format!(r#"{{"{}":1}}"#, "a b".repeat(size / 3)),
            format!(r#"{{"unheard":[{}1]}}"#, r#"{"of":"x y"},"#.repeat(size / 13)),
            format!(
                r#"{{"messages":[{{"content":[{}1]}}]}}"#,
                r#"{"file":{"file_data":"aGVsbG8="}},"#.repeat(size / 35)
            ),
            format!(r#"{{"input":[{}1]}}"#, "[1,2],".repeat(size / 6)),
            format!(r#"{{"messages":{}{}}}"#, "[".repeat(120), "]".repeat(120)),
        ]
    };
    for (small, large) in bodies(25_000).iter().zip(bodies(800_000)) {
        let path = if small.starts_with("{\"input") { "/v1/embeddings" } else { "/v1/chat/completions" };
        // The same work in 32 bodies and in one: on a busy machine one may take longer, but not 32 times as long.
        let (many, one) = (time(path, small, 32), time(path, &large, 1));
        let bound = many.max(Duration::from_millis(20)) * 10;
        assert!(one < bound, "{many:?} in many, {one:?} in one: {}", &small[..60.min(small.len())]);
    }
    let bomb = format!(r#"{{"input":{}"#, r#"{"a":["#.repeat(1_000_000));
    assert!(extract(row("/v1/responses"), bomb.as_bytes()).is_err());
}

#[test]
fn a_hundred_thousand_messages_come_out() {
    let message = r#"{"content":"hi there","role":"user"},"#;
    let body = format!(r#"{{"messages":[{}{{}}]}}"#, message.repeat(100_000));
    let found = extract(row("/v1/chat/completions"), body.as_bytes()).expect("JSON");
    assert_eq!(found.texts.len(), 100_000);
    assert!(found.texts.iter().all(|text| text.origin == Origin::Input));
    let last = &found.texts[99_999];
    assert_eq!(last.place(body.as_bytes()), "messages[99999].content");
}
