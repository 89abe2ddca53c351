//! Responses.

use serde_json::{Value, json};

use super::chat::{instance, tool_call};
use super::{CREATED, Reply, Request, event, piece_count, pieces};
use crate::Shared;
use crate::script::Script;
use crate::tokens;

/// A response object around its output.
fn response(id: &str, body: &Value, status: &str, output: Value, usage: Value) -> Value {
    json!({
        "id": id, "object": "response", "created_at": CREATED, "status": status, "background": false, "error": null,
        "incomplete_details": null, "instructions": body["instructions"], "max_output_tokens": body["max_output_tokens"],
        "model": body["model"], "output": output, "parallel_tool_calls": true,
        "previous_response_id": body["previous_response_id"], "reasoning": {"effort": null, "summary": null},
        "service_tier": "default", "store": body["store"] != false, "temperature": 1.0,
        "text": if body["text"].is_object() { body["text"].clone() } else { json!({"format": {"type": "text"}}) },
        "tool_choice": if body["tool_choice"].is_null() { json!("auto") } else { body["tool_choice"].clone() },
        "tools": if body["tools"].is_array() { body["tools"].clone() } else { json!([]) },
        "top_p": 1.0, "truncation": "disabled", "usage": usage, "user": null,
        "metadata": if body["metadata"].is_object() { body["metadata"].clone() } else { json!({}) },
    })
}

/// `POST /v1/responses`
pub(super) fn create(request: &Request<'_>, script: &Script, shared: &Shared) -> Reply {
    let body = request.json();
    let (id, item_id) = (request.id("resp_"), request.id("msg_"));
    let schema = &body["text"]["format"]["schema"];
    let texts = if schema.is_object() {
        vec![instance(schema, schema).to_string()]
    } else {
        pieces(piece_count(&body, script))
    };
    let text = texts.concat();
    let call = tool_call(&body);
    let item = match &call {
        Some((name, arguments)) => json!({
            "type": "function_call", "id": request.id("fc_"), "call_id": request.id("call_"), "name": name,
            "arguments": arguments, "status": "completed",
        }),
        None => json!({
            "type": "message", "id": item_id, "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}],
        }),
    };
    let (input, output) = (tokens(&format!("{}{}", body["instructions"], body["input"])), tokens(&item.to_string()));
    let usage = json!({
        "input_tokens": input, "output_tokens": output, "total_tokens": input + output,
        "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0},
    });
    let usage = if script.no_usage { Value::Null } else { usage };
    let whole = response(&id, &body, "completed", json!([item]), usage);
    if body["store"] != false {
        shared.state().objects.insert(&id, whole.clone());
    }
    if body["stream"] != true {
        return Reply::json(200, &whole);
    }
    let begun = response(&id, &body, "in_progress", json!([]), Value::Null);
    Reply::events(events(&begun, &whole, &item, &texts, call.is_some()))
}

/// The whole sequence of events, each with its number.
fn events(begun: &Value, whole: &Value, item: &Value, texts: &[String], is_call: bool) -> Vec<String> {
    let id = &item["id"];
    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []});
    let place = |kind: &str, extra: Value| {
        let mut data = json!({"type": kind, "item_id": id, "output_index": 0, "content_index": 0});
        if let (Value::Object(data), Value::Object(extra)) = (&mut data, extra) {
            data.extend(extra);
        }
        data
    };
    let mut opened = item.clone();
    opened["status"] = json!("in_progress");
    opened[if is_call { "arguments" } else { "content" }] = if is_call { json!("") } else { json!([]) };
    let mut all = vec![
        json!({"type": "response.created", "response": begun}),
        json!({"type": "response.in_progress", "response": begun}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": opened}),
    ];
    if is_call {
        let arguments = &item["arguments"];
        all.push(json!({"type": "response.function_call_arguments.delta", "item_id": id, "output_index": 0, "delta": arguments}));
        all.push(json!({"type": "response.function_call_arguments.done", "item_id": id, "output_index": 0, "name": item["name"], "arguments": arguments}));
    } else {
        all.push(place("response.content_part.added", json!({"part": part("")})));
        all.extend(
            texts.iter().map(|text| place("response.output_text.delta", json!({"delta": text, "logprobs": []}))),
        );
        all.push(place("response.output_text.done", json!({"text": texts.concat(), "logprobs": []})));
        all.push(place("response.content_part.done", json!({"part": part(&texts.concat())})));
    }
    all.push(json!({"type": "response.output_item.done", "output_index": 0, "item": item}));
    all.push(json!({"type": "response.completed", "response": whole}));
    for (number, data) in all.iter_mut().enumerate() {
        data["sequence_number"] = json!(number);
    }
    all.iter().map(|data| event(data["type"].as_str(), data)).collect()
}
