//! Decisions: questions with answers that have probabilities. Billed at a tier of their own.

use serde_json::{Value, json};

use super::usage::{self, Input, Output};
use super::{Reply, Request};
use crate::script::Script;
use crate::tokens;

/// `POST /v1/decisions`
pub(super) fn decide(request: &Request<'_>, script: &Script) -> Reply {
    let script = &usage::silent(script);
    let body = request.json();
    let input = Input::new(script, tokens(&format!("{}{}", body["input"], body["questions"])));
    // Nothing is generated that would be billed, unless a script says so.
    let output = Output::new(request, script, (None, 1), |_| 0);
    let bill = usage::bill(request, body["model"].as_str().unwrap_or_default(), "decisions", &input, &output);
    let usage = if script.no_usage { Value::Null } else { usage::of_response(script, &input, &output) };
    let answers: Vec<Value> = body["questions"].as_array().into_iter().flatten().map(answer).collect();
    Reply::json(200, &json!({"answers": answers, "model": body["model"], "usage": usage})).billed(bill)
}

fn answer(question: &Value) -> Value {
    let name = &question["name"];
    match question["type"].as_str() {
        Some("choice") => json!({
            "type": "choice", "name": name, "choice": true, "confidence": 1,
            "probabilities": [{"value": true, "probability": 1}],
        }),
        Some("score") => json!({
            "type": "score", "name": name, "score": 1, "confidence": 1,
            "probabilities": [{"label": "alpha", "value": 1, "probability": 1}],
        }),
        _ => json!({"type": "predicate", "name": name, "probability": 0.5}),
    }
}
