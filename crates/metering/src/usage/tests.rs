//! Usage in every shape, read whole, from the end, and among events that have none.

use serde_json::{Value, json};

use super::*;

fn read(meter: Meter, answer: &Value) -> Used {
    of_answer(meter, answer.to_string().as_bytes(), Unit::WebSearchMedium)
}

fn units(used: &Used) -> Vec<(Unit, u64)> {
    used.quantities.some().collect()
}

#[test]
fn chat_takes_each_part_out_of_its_sum_once() {
    let used = read(
        Meter::Chat,
        &json!({"service_tier": "priority", "usage": {
            "prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150,
            "prompt_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 15, "audio_tokens": 10,
                "cache_write_tokens_details": {"ttl_30m": 10, "ttl_12h": 5}},
            "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 5}}}),
    );
    assert_eq!(used.tier, Some(Tier::Priority));
    assert_eq!(
        units(&used),
        [
            (Unit::TextInput, 55),
            (Unit::TextCachedInput, 20),
            (Unit::TextCacheWrite30m, 10),
            (Unit::TextCacheWrite12h, 5),
            (Unit::TextOutput, 45),
            (Unit::AudioInput, 10),
            (Unit::AudioOutput, 5),
        ]
    );
    assert!(used.has_usage && used.tokens == 150);
}

#[test]
fn a_response_counts_its_hosted_calls() {
    let used = read(
        Meter::Responses,
        &json!({"type": "response.completed", "response": {"id": "resp_1", "service_tier": "default",
            "output": [
                {"type": "web_search_call", "action": {"type": "search", "query": "x"}},
                {"type": "web_search_call", "action": {"type": "open_page"}},
                {"type": "web_search_call"},
                {"type": "file_search_call"},
                {"type": "code_interpreter_call", "container_id": "a"},
                {"type": "code_interpreter_call", "container_id": "a"},
                {"type": "message", "content": []}],
            "usage": {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10,
                "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 1}}}}),
    );
    assert_eq!(used.response_id.as_deref(), Some("resp_1"));
    assert_eq!(
        units(&used),
        [
            (Unit::TextInput, 7),
            (Unit::TextOutput, 3),
            (Unit::WebSearchMedium, 2),
            (Unit::FileSearch, 1),
            (Unit::ContainerSession, 1)
        ]
    );
}

/// A short answer comes in one go, its beginning with its end.
#[test]
fn usage_is_found_among_events_that_have_none_yet() {
    let reader = UsageReader::new(Meter::Responses, Unit::WebSearchMedium);
    let begun = r#"data: {"type":"response.created","response":{"id":"r","usage" : null}}"#;
    let ended = r#"data: {"type":"response.completed","response":{"id":"r","usage":{"input_tokens":1}}}"#;
    assert!(!reader.concerns(begun.as_bytes()) && reader.concerns(ended.as_bytes()));
    assert!(reader.concerns(format!("{begun}\n\n{ended}\n\n").as_bytes()));
    assert!(!reader.concerns(br#"data: {"type":"x","delta":"\"response\" \"usage\":{}"}"#));
}

#[test]
fn images_transcriptions_and_embeddings_have_their_own_shapes() {
    let image = json!({"data": [{}, {}], "quality": "low", "size": "1024x1024", "usage": {"input_tokens": 5,
        "output_tokens": 9, "total_tokens": 14, "input_tokens_details": {"text_tokens": 2, "image_tokens": 3}}});
    let used = read(Meter::Images, &image);
    assert_eq!(units(&used), [(Unit::TextInput, 2), (Unit::ImageInput, 3), (Unit::ImageOutput, 9)]);
    assert_eq!((used.images, used.image_quality.as_deref()), (2, Some("low")));

    let minutes = json!({"text": "x", "usage": {"type": "duration", "seconds": 12.0005}});
    assert_eq!(units(&read(Meter::Transcriptions, &minutes)), [(Unit::AudioMilliseconds, 12_001)]);
    let tokens = json!({"usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 4, "total_tokens": 18,
        "input_token_details": {"text_tokens": 4, "audio_tokens": 10}}});
    assert_eq!(
        units(&read(Meter::Transcriptions, &tokens)),
        [(Unit::TextInput, 4), (Unit::TextOutput, 4), (Unit::AudioInput, 10)]
    );
    let embedded = json!({"data": [{}], "usage": {"prompt_tokens": 8, "total_tokens": 8}});
    assert_eq!(units(&read(Meter::Embeddings, &embedded)), [(Unit::TextInput, 8)]);
}

#[test]
fn both_families_of_names_at_once_are_read() {
    let usage = json!({"prompt_tokens": 9, "input_tokens": 9, "completion_tokens": 2, "output_tokens": 2,
        "input_tokens_details": {"cached_tokens": 4}});
    let used = read(Meter::Chat, &json!({"usage": usage}));
    assert_eq!(units(&used), [(Unit::TextInput, 5), (Unit::TextCachedInput, 4), (Unit::TextOutput, 2)]);
}

#[test]
fn what_cannot_be_read_is_no_usage() {
    for answer in [
        json!({}),
        json!({"usage": null}),
        json!({"usage": {"prompt_tokens": -1}}),
        json!({"usage": {"prompt_tokens": "5"}}),
        json!({"usage": {"prompt_tokens": 1.5}}),
        json!([1]),
    ] {
        assert!(!read(Meter::Chat, &answer).has_usage, "{answer}");
    }
}

/// Read from the end, an answer says what it says as a whole, or is read as a whole.
#[test]
fn the_end_alone_says_the_same() {
    let usage = json!({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}});
    let fake = json!({"prompt_tokens": 1, "completion_tokens": 1});
    for text in [
        format!(r#"{{"choices":[{{"x":"\"usage\":{{"}}],"usage":{usage},"service_tier":"flex","y":null}}"#),
        format!(r#"{{"service_tier":"flex","usage" : {usage} }}"#),
        // Another object's usage, or one that is not the last word, makes the whole be read.
        format!(r#"{{"usage":{usage},"service_tier":"flex","choices":[{{"usage":{fake}}}]}}"#),
        format!(r#"{{"usage":{usage},"z":{{"usage":{fake}}},"service_tier":"flex"}}"#),
        format!(r#"{{"usage":{usage},"service_tier":"flex","fingerprint":"{{"}}"#),
    ] {
        let mut whole = UsageReader::new(Meter::Chat, Unit::WebSearchMedium);
        whole.read(text.as_bytes());
        let used = of_answer(Meter::Chat, text.as_bytes(), Unit::WebSearchMedium);
        assert_eq!((used.tokens, used.tier), (11, Some(Tier::Flex)), "{text}");
        assert_eq!((&used.quantities, used.tier), (&whole.used().quantities, whole.used().tier), "{text}");
    }
}

#[test]
fn parts_over_their_sum_take_no_more_than_it() {
    let used = read(
        Meter::Chat,
        &json!({"usage": {"prompt_tokens": 10, "completion_tokens": 1,
        "prompt_tokens_details": {"cached_tokens": 99, "audio_tokens": 4}}}),
    );
    assert_eq!(used.quantities.input_tokens(), 10);
}
