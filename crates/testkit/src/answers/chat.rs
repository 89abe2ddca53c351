//! Chat completions, and the legacy completions.

use serde_json::{Value, json};

use super::{CREATED, Reply, Request, event, piece_count, pieces};
use crate::script::Script;
use crate::tokens;

/// Usage of a chat completion.
fn usage(prompt: u64, completion: u64) -> Value {
    json!({
        "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    })
}

/// A whole completion with this text.
pub(super) fn whole(id: &str, model: &str, text: &str, prompt: u64, completion: u64) -> Value {
    let message = json!({"role": "assistant", "content": text, "refusal": null, "annotations": []});
    let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": "stop"});
    json!({
        "id": id, "object": "chat.completion", "created": CREATED, "model": model, "choices": [choice],
        "usage": usage(prompt, completion), "service_tier": "default", "system_fingerprint": "fp_test",
    })
}

fn chunk(id: &str, model: &str, choices: &Value) -> Value {
    json!({
        "id": id, "object": "chat.completion.chunk", "created": CREATED, "model": model, "service_tier": "default",
        "system_fingerprint": "fp_test", "choices": choices,
    })
}

/// The events of a stream with this text; `usage_at_end` where the caller asked for it.
pub(super) fn stream(id: &str, model: &str, pieces: &[String], usage_at_end: Option<Value>) -> Vec<String> {
    let delta =
        |delta: Value, reason: Value| json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason}]);
    let mut chunks =
        vec![chunk(id, model, &delta(json!({"role": "assistant", "content": "", "refusal": null}), Value::Null))];
    chunks.extend(pieces.iter().map(|piece| chunk(id, model, &delta(json!({"content": piece}), Value::Null))));
    chunks.push(chunk(id, model, &delta(json!({}), json!("stop"))));
    if let Some(usage) = usage_at_end {
        chunks.iter_mut().for_each(|chunk| chunk["usage"] = Value::Null);
        let mut last = chunk(id, model, &json!([]));
        last["usage"] = usage;
        chunks.push(last);
    }
    chunks.iter().map(|chunk| event(None, chunk)).chain(["data: [DONE]\n\n".to_owned()]).collect()
}

/// The text that answers a request: the smallest instance of its schema, or words.
fn texts(body: &Value, script: &Script) -> Vec<String> {
    let schema = &body["response_format"]["json_schema"]["schema"];
    if schema.is_object() {
        return vec![instance(schema, schema).to_string()];
    }
    if body["response_format"]["type"] == "json_object" {
        return vec!["{}".to_owned()];
    }
    pieces(piece_count(body, script))
}

/// The smallest instance of a JSON schema, as far as structured outputs use them.
pub(super) fn instance(schema: &Value, root: &Value) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#')).cloned().unwrap_or(Value::Null);
        return instance(&target, root);
    }
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    if let Some(value) = schema.get("const") {
        return value.clone();
    }
    if let Some(first) = schema["anyOf"].as_array().and_then(|schemas| schemas.first()) {
        return instance(first, root);
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or("object");
    match kind {
        "object" => {
            let members = schema["properties"].as_object().into_iter().flatten();
            members
                .map(|(name, schema)| (name.clone(), instance(schema, root)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        }
        "array" => json!([instance(&schema["items"], root)]),
        "string" => json!("alpha"),
        "integer" | "number" => json!(7),
        "boolean" => json!(true),
        _ => Value::Null,
    }
}

/// The tool call that a request insists on, or that its only tool suggests.
pub(super) fn tool_call(body: &Value) -> Option<(String, String)> {
    let tools = body["tools"].as_array()?;
    let wanted = body["tool_choice"]["function"]["name"].as_str().or_else(|| body["tool_choice"]["name"].as_str());
    if wanted.is_none() && body["tool_choice"] != "required" {
        return None;
    }
    let function = |tool: &Value| if tool["function"].is_object() { tool["function"].clone() } else { tool.clone() };
    let tool = tools.iter().map(function).find(|tool| wanted.is_none_or(|name| tool["name"] == name))?;
    let arguments = instance(&tool["parameters"], &tool["parameters"]).to_string();
    Some((tool["name"].as_str().unwrap_or_default().to_owned(), arguments))
}

/// `POST /v1/chat/completions`
pub(super) fn completion(request: &Request<'_>, script: &Script) -> Reply {
    let body = request.json();
    let Some(model) = body["model"].as_str() else {
        let words = "you must provide a model parameter";
        return Reply::error(400, "invalid_request_error", None, words);
    };
    let id = request.id("chatcmpl-");
    let prompt = tokens(&body["messages"].to_string());
    let call = tool_call(&body);
    let texts = if call.is_some() { Vec::new() } else { texts(&body, script) };
    let count = body["n"].as_u64().unwrap_or(1);
    let completion = count * call.as_ref().map_or_else(|| tokens(&texts.concat()), |(_, arguments)| tokens(arguments));
    let calls = call.map(|(name, arguments)| {
        json!([{"index": 0, "id": request.id("call_"), "type": "function", "function": {"name": name, "arguments": arguments}}])
    });
    if body["stream"] == true {
        let wants_usage = body["stream_options"]["include_usage"] == true && !script.no_usage;
        let usage_at_end = wants_usage.then(|| usage(prompt, completion));
        let mut events = stream(&id, model, &texts, usage_at_end);
        if let Some(calls) = calls {
            let delta = json!([{"index": 0, "delta": {"tool_calls": calls}, "logprobs": null, "finish_reason": null}]);
            events.insert(1, event(None, &chunk(&id, model, &delta)));
            events.iter_mut().for_each(|event| {
                *event = event.replace("\"finish_reason\":\"stop\"", "\"finish_reason\":\"tool_calls\"")
            });
        }
        return Reply::events(events);
    }
    let mut answer = whole(&id, model, &texts.concat(), prompt, completion);
    if let Some(calls) = calls {
        answer["choices"][0]["message"]["content"] = Value::Null;
        answer["choices"][0]["message"]["tool_calls"] = calls;
        answer["choices"][0]["finish_reason"] = json!("tool_calls");
    }
    let first = answer["choices"][0].clone();
    answer["choices"] = (0..count).map(|index| json!({"index": index, "message": first["message"], "logprobs": null, "finish_reason": first["finish_reason"]})).collect();
    if script.no_usage {
        answer["usage"] = Value::Null;
    }
    Reply::json(200, &answer)
}

/// `POST /v1/completions`
pub(super) fn legacy(request: &Request<'_>, script: &Script) -> Reply {
    let body = request.json();
    let texts = pieces(piece_count(&body, script));
    let (prompt, completion) = (tokens(&body["prompt"].to_string()), tokens(&texts.concat()));
    let usage = json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion});
    let one = |text: &str, reason: Value, usage: &Value| {
        json!({
            "id": request.id("cmpl-"), "object": "text_completion", "created": CREATED, "model": body["model"],
            "choices": [{"index": 0, "text": text, "logprobs": null, "finish_reason": reason}], "usage": usage,
        })
    };
    if body["stream"] == true {
        let events = texts.iter().map(|text| event(None, &one(text, Value::Null, &Value::Null)));
        return Reply::events(events.chain(["data: [DONE]\n\n".to_owned()]).collect());
    }
    Reply::json(200, &one(&texts.concat(), json!("stop"), &usage))
}
