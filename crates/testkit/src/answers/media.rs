//! Embeddings, moderations, images, audio.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{CREATED, Reply, Request, event};
use crate::tokens;

/// Numbers of an embedding: few, because nobody looks at them.
const DIMENSIONS: usize = 8;

/// A picture of one pixel.
const PNG: &[u8] =
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89";

/// Bytes that depend on a path, for answers that are no text.
pub(super) fn bytes(seed: &str, count: usize) -> Vec<u8> {
    let mut state = seed.bytes().fold(0x9e37_79b9_u32, |state, byte| state.rotate_left(5) ^ u32::from(byte));
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(count)
    .collect()
}

/// `POST /v1/embeddings`
pub(super) fn embeddings(request: &Request<'_>) -> Reply {
    let body = request.json();
    let inputs = match &body["input"] {
        Value::Array(items) if !items.first().is_some_and(Value::is_number) => items.clone(),
        one => vec![one.clone()],
    };
    let vector: Vec<f32> = (0_u8..).take(DIMENSIONS).map(|at| f32::from(at) / 8.0).collect();
    let shown = if body["encoding_format"] == "base64" {
        let raw: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
        json!(STANDARD.encode(raw))
    } else {
        json!(vector)
    };
    let data: Vec<Value> =
        (0..inputs.len()).map(|index| json!({"object": "embedding", "index": index, "embedding": shown})).collect();
    let used: u64 = inputs.iter().map(|input| tokens(&input.to_string())).sum();
    let usage = json!({"prompt_tokens": used, "total_tokens": used});
    Reply::json(200, &json!({"object": "list", "data": data, "model": body["model"], "usage": usage}))
}

/// `POST /v1/moderations`
pub(super) fn moderations(request: &Request<'_>) -> Reply {
    let body = request.json();
    let names = [
        "harassment",
        "harassment/threatening",
        "hate",
        "hate/threatening",
        "illicit",
        "illicit/violent",
        "self-harm",
        "self-harm/instructions",
        "self-harm/intent",
        "sexual",
        "sexual/minors",
        "violence",
        "violence/graphic",
    ];
    let all =
        |value: Value| names.iter().map(|name| ((*name).to_owned(), value.clone())).collect::<serde_json::Map<_, _>>();
    let result = json!({
        "flagged": false, "categories": all(json!(false)), "category_scores": all(json!(0.001)),
        "category_applied_input_types": all(json!(["text"])),
    });
    Reply::json(
        200,
        &json!({"id": request.id("modr-"), "model": body["model"].as_str().unwrap_or("omni-moderation-latest"), "results": [result]}),
    )
}

/// `POST /v1/images/…`
pub(super) fn images(request: &Request<'_>) -> Reply {
    let body = request.json();
    let is_stream =
        body["stream"] == true || memchr::memmem::find(request.body, b"name=\"stream\"\r\n\r\ntrue").is_some();
    let usage = json!({
        "input_tokens": 50, "output_tokens": 272, "total_tokens": 322,
        "input_tokens_details": {"text_tokens": 50, "image_tokens": 0},
    });
    let picture = STANDARD.encode(PNG);
    if is_stream {
        let base = if request.path.ends_with("edits") { "image_edit" } else { "image_generation" };
        let made = |kind: &str, extra: Value| {
            let mut data = json!({
                "type": format!("{base}.{kind}"), "b64_json": picture, "created_at": CREATED, "size": "1024x1024",
                "quality": "low", "background": "opaque", "output_format": "png",
            });
            if let (Value::Object(data), Value::Object(extra)) = (&mut data, extra) {
                data.extend(extra);
            }
            event(data["type"].as_str(), &data)
        };
        return Reply::events(vec![
            made("partial_image", json!({"partial_image_index": 0})),
            made("completed", json!({"usage": usage})),
        ]);
    }
    let data: Vec<Value> = (0..body["n"].as_u64().unwrap_or(1)).map(|_| json!({"b64_json": picture})).collect();
    Reply::json(
        200,
        &json!({"created": CREATED, "data": data, "usage": usage, "output_format": "png", "quality": "low", "size": "1024x1024"}),
    )
}

/// `POST /v1/audio/speech`
pub(super) fn speech(request: &Request<'_>) -> Reply {
    let body = request.json();
    if body["stream_format"] == "sse" {
        let delta = json!({"type": "speech.audio.delta", "audio": STANDARD.encode(bytes("speech", 300))});
        let used = tokens(&body["input"].to_string());
        let done = json!({"type": "speech.audio.done", "usage": {"input_tokens": used, "output_tokens": 40, "total_tokens": used + 40}});
        return Reply::events(vec![event(None, &delta), event(None, &done)]);
    }
    Reply::bytes(200, "audio/mpeg", bytes("speech", 5_000))
}

/// `POST /v1/audio/transcriptions` and `/translations`
pub(super) fn transcription(request: &Request<'_>) -> Reply {
    let has = |text: &str| memchr::memmem::find(request.body, text.as_bytes()).is_some();
    let text = "alpha bravo charlie";
    let usage = json!({
        "type": "tokens", "input_tokens": 14, "output_tokens": 3, "total_tokens": 17,
        "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
    });
    if has("name=\"stream\"\r\n\r\ntrue") {
        let delta = json!({"type": "transcript.text.delta", "delta": text});
        let done = json!({"type": "transcript.text.done", "text": text, "usage": usage});
        return Reply::events(vec![event(None, &delta), event(None, &done)]);
    }
    if has("name=\"response_format\"\r\n\r\ntext") {
        return Reply::bytes(200, "text/plain; charset=utf-8", format!("{text}\n").into_bytes());
    }
    Reply::json(200, &json!({"text": text, "usage": usage}))
}
