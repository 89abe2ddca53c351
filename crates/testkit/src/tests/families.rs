//! What each family is billed, by numbers worked out by hand.

use serde_json::{Value, json};

use super::billing::only;
use super::client::{form, post, upstream};
use crate::{Billed, Images};

/// Asserts that a bill is for this model at this tier, and for these quantities only.
#[track_caller]
fn assert_bill(bill: &Billed, model: &str, tier: &str, quantities: &[(&'static str, u64)]) {
    let expected = quantities.iter().copied().collect();
    assert_eq!((bill.model.as_str(), bill.tier.as_str(), &bill.quantities), (model, tier, &expected));
}

#[test]
fn chat_and_its_modalities() {
    let upstream = upstream();
    let script = json!({
        "prompt_tokens": 1_000, "hidden_input_tokens": 24, "input_image_tokens": 300, "input_audio_tokens": 200,
        "cached_tokens": 100, "cache_write_tokens": 50, "cache_write_12h_tokens": 20, "completion_tokens": 400,
        "reasoning_tokens": 250, "audio_tokens": 60, "accepted_prediction_tokens": 10, "hosted_tool_calls": {"web_search_call": 2},
        "ignore_cap": true,
    });
    let body = json!({
        "model": "gpt-4o-search-preview", "messages": [], "n": 2, "web_search_options": {"search_context_size": "high"},
    });
    let answer = post(&upstream, "/v1/chat/completions", &script, &body);
    let text = 1_024 - 300 - 200 - 100 - 50 - 20;
    let expected = [
        ("text_input", text),
        ("text_cached_input", 100),
        ("text_cache_write_30m", 50),
        ("text_cache_write_12h", 20),
        ("image_input", 300),
        ("audio_input", 200),
        ("text_output", 340),
        ("audio_output", 60),
        ("web_search_high", 2),
    ];
    assert_bill(&only(&upstream), "gpt-4o-search-preview", "default", &expected);
    let usage = answer.usage();
    let details = &usage["prompt_tokens_details"];
    assert_eq!((&usage["total_tokens"], &details["text_tokens"]), (&json!(1_424), &json!(524)));
    assert_eq!(details["cache_write_tokens_details"], json!({"ttl_30m": 50, "ttl_12h": 20}));
    assert_eq!(usage["completion_tokens_details"]["accepted_prediction_tokens"], 10);
}

#[test]
fn a_chat_completion_that_may_search_searches_once() {
    let upstream = upstream();
    let body = |model: &str| json!({"model": model, "messages": []});
    let path = "/v1/chat/completions";
    for script in [json!({}), json!({"hosted_tool_calls": {"web_search_call": 5}})] {
        post(&upstream, path, &script, &body("gpt-4o-search-preview"));
        assert_eq!(only(&upstream).quantities.get("web_search_medium"), Some(&1));
        post(&upstream, path, &script, &body("gpt-4o"));
        assert_eq!(only(&upstream).quantities.get("web_search_medium"), None);
    }
}

#[test]
fn legacy_completions_bill_every_draft() {
    let upstream = upstream();
    let body = json!({"model": "d", "prompt": ["aaaaaa", [1, 2, 3]], "n": 2, "best_of": 5, "max_tokens": 7});
    let answer = post(&upstream, "/v1/completions", &json!({"pieces": 50}), &body);
    // A prompt of 6 letters in quotes and one of 3 tokens; two prompts, five drafts each, seven tokens a draft.
    assert_bill(&only(&upstream), "d", "default", &[("text_input", 5), ("text_output", 70)]);
    let choices = answer.json()["choices"].as_array().expect("choices").clone();
    assert_eq!(choices.len(), 4);
    assert!(choices.iter().all(|choice| choice["finish_reason"] == "length"));
}

#[test]
fn responses_and_their_hosted_tools() {
    let upstream = upstream();
    let wanted = json!({"web_search_call": 3, "file_search_call": 2, "code_interpreter_call": 2});
    let tools = json!([
        {"type": "web_search", "search_context_size": "low"}, {"type": "file_search"},
        {"type": "code_interpreter", "container": {"type": "auto"}},
    ]);
    let named = json!([{"type": "code_interpreter", "container": "cntr_1"}]);
    let usual = [("text_input", 100), ("text_output", 30)];
    for (max_tool_calls, tools, ignore_cap, calls) in [
        (None, &tools, false, vec![("web_search_low", 3), ("file_search", 2), ("container_session", 2)]),
        // In the order of their names: sessions, files, the web.
        (Some(3), &tools, false, vec![("container_session", 2), ("file_search", 1)]),
        (Some(3), &tools, true, vec![("web_search_low", 3), ("file_search", 2), ("container_session", 2)]),
        (None, &named, false, vec![("container_session", 1)]),
        (None, &json!([]), false, vec![]),
    ] {
        for stream in [false, true] {
            let script = json!({
                "prompt_tokens": 100, "completion_tokens": 30, "reasoning_tokens": 10, "hosted_tool_calls": wanted,
                "ignore_cap": ignore_cap,
            });
            let mut body = json!({"model": "gpt-5", "input": "x", "tools": tools, "stream": stream});
            body["max_tool_calls"] = json!(max_tool_calls);
            let answer = post(&upstream, "/v1/responses", &script, &body);
            let bill = only(&upstream);
            assert_bill(&bill, "gpt-5", "default", &[&usual[..], &calls[..]].concat());
            let whole = if stream { answer.events().pop().expect("events")["response"].clone() } else { answer.json() };
            let items = whole["output"].as_array().expect("items");
            let searches = items.iter().filter(|item| item["type"] == "web_search_call").count() as u64;
            assert_eq!(searches, bill.quantities.get("web_search_low").copied().unwrap_or(0));
            let containers: std::collections::BTreeSet<_> =
                items.iter().filter_map(|item| item["container_id"].as_str()).collect();
            assert_eq!(containers.len() as u64, bill.quantities.get("container_session").copied().unwrap_or(0));
        }
    }
}

#[test]
fn compactions_decisions_embeddings_and_what_is_free() {
    let upstream = upstream();
    let script = json!({"prompt_tokens": 80, "cached_tokens": 30, "completion_tokens": 12});
    let compact = post(&upstream, "/v1/responses/compact", &script, &json!({"model": "gpt-5", "input": "x"}));
    let expected = [("text_input", 50), ("text_cached_input", 30), ("text_output", 12)];
    assert_bill(&only(&upstream), "gpt-5", "default", &expected);
    assert_eq!(compact.usage()["total_tokens"], 92);

    let script = json!({"prompt_tokens": 80, "cached_tokens": 30});
    let body = json!({"model": "gpt-6-luna", "input": "x", "questions": [{"type": "predicate", "text": "?"}]});
    let decision = post(&upstream, "/v1/decisions", &script, &body);
    assert_bill(&only(&upstream), "gpt-6-luna", "decisions", &[("text_input", 50), ("text_cached_input", 30)]);
    assert_eq!(
        (&decision.usage()["total_tokens"], &decision.json()["answers"][0]["type"]),
        (&json!(80), &json!("predicate"))
    );

    // Two texts of 4 and 7 letters, in quotes; then tokens, then arrays of tokens.
    for (input, tokens, vectors) in
        [(json!(["abcd", "abcdefg"]), 2 + 3, 2), (json!([1, 2, 3]), 3, 1), (json!([[1, 2], [3]]), 3, 2)]
    {
        let answer = post(&upstream, "/v1/embeddings", &Value::Null, &json!({"model": "e", "input": input}));
        assert_bill(&only(&upstream), "e", "default", &[("text_input", tokens)]);
        assert_eq!(answer.usage(), json!({"prompt_tokens": tokens, "total_tokens": tokens}));
        assert_eq!(answer.json()["data"].as_array().map(Vec::len), Some(vectors));
    }

    post(&upstream, "/v1/moderations", &Value::Null, &json!({"input": "x"}));
    post(&upstream, "/v1/conversations", &Value::Null, &json!({}));
    assert_eq!(upstream.wait_for_billing(|_| true).requests, 0);
}

#[test]
fn images_by_tokens() {
    let upstream = upstream();
    let generations = "/v1/images/generations";
    let body = json!({"model": "gpt-image-1", "prompt": "12345678", "n": 3, "size": "1024x1536", "quality": "medium"});
    let answer = post(&upstream, generations, &Value::Null, &body);
    let expected = [("text_input", 2), ("image_output", 3 * 1_584)];
    assert_bill(&only(&upstream), "gpt-image-1", "default", &expected);
    assert_eq!(
        (&answer.usage()["total_tokens"], answer.json()["data"].as_array().map(Vec::len)),
        (&json!(4_754), Some(3))
    );

    // What the request leaves open, the script says; how many, the request limits.
    let script = json!({
        "images": 5, "image_quality": "high", "image_size": "1536x1024", "prompt_tokens": 90, "input_image_tokens": 40,
        "reasoning_tokens": 6, "lie_usage": 100,
    });
    let body = json!({"model": "gpt-image-1.5", "prompt": "x", "n": 2, "size": "auto"});
    let answer = post(&upstream, generations, &script, &body);
    let expected = [("text_input", 50), ("image_input", 40), ("image_output", 2 * 6_208), ("text_output", 6)];
    assert_bill(&only(&upstream), "gpt-image-1.5", "default", &expected);
    assert_eq!(answer.usage()["output_tokens"], 2 * 6_208 + 6 + 100);
    let script = json!({"images": 5, "ignore_cap": true, "tokens_per_image": 10});
    post(&upstream, generations, &script, &body);
    assert_bill(&only(&upstream), "gpt-image-1.5", "default", &[("text_input", 1), ("image_output", 50)]);

    let fields = [("model", "gpt-image-1"), ("prompt", "x"), ("image", "png"), ("n", "2")];
    let answer = form(&upstream, "/v1/images/edits", &Value::Null, &fields);
    let expected = [("text_input", 1), ("image_input", 49), ("image_output", 544)];
    assert_bill(&only(&upstream), "gpt-image-1", "default", &expected);
    assert_eq!(answer.usage()["input_tokens_details"], json!({"text_tokens": 1, "image_tokens": 49}));
}

#[test]
fn a_stream_of_partial_images() {
    let upstream = upstream();
    let body = json!({"model": "gpt-image-1", "prompt": "x", "stream": true, "partial_images": 3, "quality": "low"});
    let answer = post(&upstream, "/v1/images/generations", &Value::Null, &body);
    assert_bill(&only(&upstream), "gpt-image-1", "default", &[("text_input", 1), ("image_output", 272 + 300)]);
    let kinds: Vec<_> = answer.events().iter().map(|event| event["type"].clone()).collect();
    assert_eq!(kinds.len(), 4);
    assert_eq!(
        (kinds[0].as_str(), kinds[3].as_str()),
        (Some("image_generation.partial_image"), Some("image_generation.completed"))
    );
    assert_eq!(answer.usage()["output_tokens"], 572);

    post(&upstream, "/v1/images/generations", &json!({"cut_after_tokens": 200, "run_on_tokens": 9}), &body);
    let cut = only(&upstream);
    // The second of three partial images is out after half of the tokens.
    assert_bill(&cut, "gpt-image-1", "default", &[("text_input", 1), ("image_output", 286 + 9)]);
    assert!(!cut.complete);
}

#[test]
fn historical_images_by_the_piece() {
    let upstream = upstream();
    let images = |quality: &str, size: &str, count| vec![Images { quality: quality.into(), size: size.into(), count }];
    let body = json!({"model": "dall-e-3", "prompt": "x", "quality": "hd", "size": "1024x1792"});
    let answer = post(&upstream, "/v1/images/generations", &Value::Null, &body);
    let bill = only(&upstream);
    assert_bill(&bill, "dall-e-3", "default", &[]);
    assert_eq!(bill.images, images("hd", "1024x1792", 1));
    assert!(answer.usage().is_null());
    form(&upstream, "/v1/images/variations", &Value::Null, &[("image", "png"), ("n", "4"), ("size", "256x256")]);
    let bill = only(&upstream);
    assert_eq!((bill.model.as_str(), bill.images), ("dall-e-2", images("standard", "256x256", 4)));
}

#[test]
fn speech_by_characters_and_by_tokens() {
    let upstream = upstream();
    let speech = "/v1/audio/speech";
    post(&upstream, speech, &Value::Null, &json!({"model": "tts-1-hd", "input": "äöü😀 x", "voice": "alloy"}));
    assert_bill(&only(&upstream), "tts-1-hd", "default", &[("characters", 6)]);

    let body = |sse: bool| {
        let format = if sse { "sse" } else { "audio" };
        json!({"model": "gpt-4o-mini-tts", "input": "12345678", "instructions": "1234", "stream_format": format})
    };
    for (script, sse, audio) in [
        (json!({}), false, 40),
        (json!({}), true, 40),
        (json!({"audio_tokens": 77}), true, 77),
        (json!({"completion_tokens": 90, "pieces": 4}), true, 90),
    ] {
        let answer = post(&upstream, speech, &script, &body(sse));
        assert_bill(&only(&upstream), "gpt-4o-mini-tts", "default", &[("text_input", 3), ("audio_output", audio)]);
        if sse {
            let usage = json!({"input_tokens": 3, "output_tokens": audio, "total_tokens": audio + 3});
            assert_eq!(answer.usage(), usage);
        }
    }
    post(&upstream, speech, &json!({"completion_tokens": 90, "pieces": 9, "cut_after_tokens": 35}), &body(true));
    assert_bill(&only(&upstream), "gpt-4o-mini-tts", "default", &[("text_input", 3), ("audio_output", 40)]);
    assert_eq!(
        post(&upstream, speech, &Value::Null, &json!({"model": "tts-1", "input": "x", "stream_format": "sse"})).status,
        400
    );
    assert_eq!(upstream.wait_for_billing(|_| true).requests, 0);
}

#[test]
fn transcriptions_by_tokens_and_by_seconds() {
    let upstream = upstream();
    let path = "/v1/audio/transcriptions";
    let fields = |model, more: &[(&'static str, &'static str)]| {
        [&[("model", model), ("file", "sound"), ("prompt", "12345678")], more].concat()
    };
    // 8.47 seconds: 85 tokens of audio, 2 of the prompt, 3 words; or 9 seconds.
    let by_tokens = [("text_input", 2), ("audio_input", 85), ("text_output", 3)];
    let by_seconds = [("audio_ms", 9_000)];
    for stream in [false, true] {
        let more: &[_] = if stream { &[("stream", "true")] } else { &[] };
        for (model, shape, is_seconds) in [
            ("gpt-4o-transcribe", Value::Null, false),
            ("gpt-transcribe", Value::Null, true),
            ("gpt-4o-transcribe", json!("duration"), true),
            ("whisper-1", Value::Null, true),
            ("whisper-1", json!("tokens"), false),
        ] {
            let script = json!({"audio_ms": 8_470, "usage_shape": shape});
            let answer = form(&upstream, path, &script, &fields(model, more));
            let expected = if is_seconds { &by_seconds[..] } else { &by_tokens[..] };
            assert_bill(&only(&upstream), model, "default", expected);
            let usage = answer.usage();
            let expected = if is_seconds { json!(9) } else { json!(90) };
            assert_eq!(usage[if is_seconds { "seconds" } else { "total_tokens" }], expected, "{model} {stream}");
            assert_eq!(answer.body.starts_with('{'), !stream || model == "whisper-1");
        }
    }
    // A text says nothing of what it cost.
    let more = [("response_format", "text")];
    assert_eq!(form(&upstream, path, &Value::Null, &fields("gpt-4o-transcribe", &more)).body, "alpha bravo charlie\n");
    only(&upstream);
    let more = [("response_format", "verbose_json")];
    let answer = form(&upstream, "/v1/audio/translations", &json!({"audio_ms": 1_500}), &fields("whisper-1", &more));
    assert_bill(&only(&upstream), "whisper-1", "default", &[("audio_ms", 2_000)]);
    assert_eq!(answer.json()["duration"], 1.5);
    // A stream that breaks: two of six words are out.
    let script = json!({"audio_ms": 1_000, "pieces": 6, "cut_after_tokens": 2, "run_on_tokens": 1});
    form(&upstream, path, &script, &fields("gpt-4o-transcribe", &[("stream", "true")]));
    let expected = [("text_input", 2), ("audio_input", 10), ("text_output", 3)];
    assert_bill(&only(&upstream), "gpt-4o-transcribe", "default", &expected);
}

#[test]
fn videos_by_the_second() {
    let upstream = upstream();
    post(&upstream, "/v1/videos", &Value::Null, &json!({"model": "sora-2", "prompt": "x", "seconds": "8"}));
    assert_bill(&only(&upstream), "sora-2", "default", &[("video_ms", 8_000)]);
}
