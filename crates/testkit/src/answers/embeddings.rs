//! Embeddings, billed by their input; and moderations, which are free.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::usage::{self, Input};
use super::{Reply, Request, legacy};
use crate::billing::Bill;
use crate::script::Script;

/// Numbers of an embedding: few, because nobody looks at them.
const DIMENSIONS: usize = 8;

/// Categories of a moderation.
const CATEGORIES: [&str; 13] = [
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

/// `POST /v1/embeddings`
pub(super) fn embed(request: &Request<'_>, script: &Script) -> Reply {
    let body = request.json();
    let inputs = legacy::inputs(&body["input"]);
    let vector: Vec<f32> = (0_u8..).take(DIMENSIONS).map(|at| f32::from(at) / 8.0).collect();
    let shown = if body["encoding_format"] == "base64" {
        let raw: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
        json!(STANDARD.encode(raw))
    } else {
        json!(vector)
    };
    let data: Vec<Value> =
        (0..inputs.len()).map(|index| json!({"object": "embedding", "index": index, "embedding": shown})).collect();
    let input = Input::new(&usage::sums_only(script), inputs.iter().map(|(_, tokens)| tokens).sum());
    let bill = Bill {
        path: request.path.to_owned(),
        model: body["model"].as_str().unwrap_or_default().to_owned(),
        tier: "default".to_owned(),
        input: input.quantities(),
        ..Bill::default()
    };
    let reported = script.reported(input.total);
    let usage = json!({"prompt_tokens": reported, "total_tokens": reported});
    let usage = if script.no_usage { Value::Null } else { usage };
    let answer = json!({"object": "list", "data": data, "model": body["model"], "usage": usage});
    Reply::json(200, &answer).billed(bill)
}

/// `POST /v1/moderations`
pub(super) fn moderate(request: &Request<'_>) -> Reply {
    let body = request.json();
    let all = |value: Value| {
        CATEGORIES.iter().map(|name| ((*name).to_owned(), value.clone())).collect::<serde_json::Map<_, _>>()
    };
    let result = json!({
        "flagged": false, "categories": all(json!(false)), "category_scores": all(json!(0.001)),
        "category_applied_input_types": all(json!(["text"])),
    });
    let model = body["model"].as_str().unwrap_or("omni-moderation-latest");
    Reply::json(200, &json!({"id": request.id("modr-"), "model": model, "results": [result]}))
}
