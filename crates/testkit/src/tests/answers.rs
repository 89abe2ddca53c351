//! What answers look like to a client: usage where it was asked for, caps honoured, fields echoed.

use serde_json::{Value, json};

use super::client::{plain, post, upstream};

fn words(events: &[Value]) -> String {
    events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect()
}

#[test]
fn a_stream_has_usage_where_it_was_asked_for_and_nowhere_else() {
    let upstream = upstream();
    let mut body = json!({"model": "m", "messages": [], "stream": true});
    let events = post(&upstream, "/v1/chat/completions", &Value::Null, &body).events();
    assert!(events.iter().all(|event| event.get("usage").is_none() && event["choices"][0].is_object()));
    body["stream_options"] = json!({"include_usage": true});
    let answer = post(&upstream, "/v1/chat/completions", &Value::Null, &body);
    let mut with_usage = answer.events();
    let last = with_usage.pop().expect("events");
    assert_eq!(last["choices"], json!([]));
    assert!(last["usage"].is_object() && answer.body.ends_with("data: [DONE]\n\n"));
    assert!(with_usage.iter().all(|event| event.get("usage") == Some(&Value::Null)));
    assert_eq!(words(&with_usage), words(&events));
}

#[test]
fn as_many_pieces_as_tokens_where_the_script_says_so() {
    let upstream = upstream();
    let script = json!({"completion_tokens": 130_000, "piece_per_token": true, "reasoning_tokens": 1_000});
    let body = json!({"model": "m", "messages": [], "stream": true});
    let events = post(&upstream, "/v1/chat/completions", &script, &body).events();
    assert_eq!(events.len(), 129_000 + 2);
}

#[test]
fn a_response_echoes_what_the_caller_sent_in_every_event_and_later() {
    let upstream = upstream();
    let sent = json!({
        "max_output_tokens": 500, "max_tool_calls": 3, "safety_identifier": "user-1", "prompt_cache_key": "key-1",
        "tools": [{"type": "web_search"}], "metadata": {"a": "b"}, "reasoning": {"effort": "low"},
        "instructions": "be brief", "truncation": "disabled", "previous_response_id": "resp_0",
    });
    let mut body = sent.clone();
    body.as_object_mut().expect("members").extend(
        json!({"model": "gpt-5", "input": "x", "stream": true, "service_tier": "auto"})
            .as_object()
            .expect("members")
            .clone(),
    );
    let events = post(&upstream, "/v1/responses", &json!({"service_tier": "flex"}), &body).events();
    let numbers: Vec<_> = events.iter().filter_map(|event| event["sequence_number"].as_u64()).collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
    let mut responses: Vec<Value> =
        events.iter().map(|event| event["response"].clone()).filter(Value::is_object).collect();
    assert_eq!(responses.len(), 3);
    let tiers: Vec<_> = responses.iter().map(|response| response["service_tier"].clone()).collect();
    assert_eq!(tiers, ["auto", "auto", "flex"], "asked for, then served");
    let id = responses[0]["id"].as_str().expect("an id").to_owned();
    let later = plain(&upstream, "GET", &format!("/v1/responses/{id}")).json();
    assert_eq!(later, responses[2]);
    responses.push(later);
    for response in responses {
        for (name, value) in sent.as_object().expect("members") {
            assert_eq!(&response[name], value, "{name}");
        }
    }
}

#[test]
fn what_the_caller_did_not_send_is_null_or_the_default() {
    let response = post(&upstream(), "/v1/responses", &Value::Null, &json!({"model": "m", "input": "x"})).json();
    for name in ["max_output_tokens", "max_tool_calls", "safety_identifier", "prompt_cache_key", "user"] {
        assert_eq!(response.get(name), Some(&Value::Null), "{name}");
    }
    let defaults = (&response["tools"], &response["tool_choice"], &response["service_tier"]);
    assert_eq!(defaults, (&json!([]), &json!("auto"), &json!("default")));
}

#[test]
fn a_response_that_meets_its_cap_is_incomplete() {
    let upstream = upstream();
    for stream in [false, true] {
        let body = json!({"model": "m", "input": "x", "max_output_tokens": 20, "stream": stream});
        for (reasoning, has_message) in [(5, true), (20, false)] {
            let script = json!({"completion_tokens": 100, "reasoning_tokens": reasoning, "piece_per_token": true});
            let answer = post(&upstream, "/v1/responses", &script, &body);
            let whole = match stream {
                true => {
                    let last = answer.events().pop().expect("events");
                    assert_eq!(last["type"], "response.incomplete");
                    last["response"].clone()
                }
                false => answer.json(),
            };
            assert_eq!(whole["status"], "incomplete");
            assert_eq!(whole["incomplete_details"]["reason"], "max_output_tokens");
            assert_eq!(whole["usage"]["output_tokens"], 20);
            let items = whole["output"].as_array().expect("items");
            assert_eq!(items.iter().any(|item| item["type"] == "message"), has_message);
        }
    }
}

#[test]
fn a_failed_response_says_so_and_has_usage() {
    let body = json!({"model": "m", "input": "x", "stream": true});
    let last = post(&upstream(), "/v1/responses", &json!({"fail_response": true}), &body).events().pop();
    let last = last.expect("events");
    assert_eq!((&last["type"], &last["response"]["status"]), (&json!("response.failed"), &json!("failed")));
    assert!(last["response"]["error"]["code"].is_string() && last["response"]["usage"].is_object());
}

#[test]
fn a_response_that_was_cut_does_not_tell_its_usage_later() {
    let upstream = upstream();
    let script = json!({"completion_tokens": 100, "piece_per_token": true, "cut_after_tokens": 10});
    let body = json!({"model": "m", "input": "x", "stream": true});
    let events = post(&upstream, "/v1/responses", &script, &body).events();
    upstream.wait_for_billing(|billing| billing.requests == 1);
    let id = events[0]["response"]["id"].as_str().expect("an id").to_owned();
    let later = plain(&upstream, "GET", &format!("/v1/responses/{id}")).json();
    assert_eq!((&later["status"], &later["usage"]), (&json!("cancelled"), &Value::Null));
}

#[test]
fn texts_tool_calls_and_hosted_calls_stream_as_they_are_answered_whole() {
    let upstream = upstream();
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let function = json!({"type": "function", "name": "f", "parameters": schema});
    for (script, more) in [
        (json!({}), json!({})),
        (json!({"pieces": 0}), json!({})),
        (json!({}), json!({"text": {"format": {"type": "json_schema", "name": "n", "schema": schema}}})),
        (json!({"reasoning_tokens": 9}), json!({"tools": [function], "tool_choice": "required"})),
        (json!({"hosted_tool_calls": {"web_search_call": 2}}), json!({"tools": [{"type": "web_search"}]})),
    ] {
        let mut body = json!({"model": "m", "input": "x"});
        body.as_object_mut().expect("members").extend(more.as_object().expect("members").clone());
        let whole = post(&upstream, "/v1/responses", &script, &body).json();
        body["stream"] = json!(true);
        let events = post(&upstream, "/v1/responses", &script, &body).events();
        let of = |kind: &str, member: &str| {
            let mine = events.iter().filter(|event| event["type"] == kind);
            mine.map(|event| event[member].clone()).collect::<Vec<_>>()
        };
        let done = of("response.output_item.done", "item");
        assert_eq!(json!(done), events.last().expect("events")["response"]["output"]);
        assert_eq!(
            of("response.output_item.added", "output_index"),
            (0..done.len()).map(|at| json!(at)).collect::<Vec<_>>()
        );
        let text = |item: &Value| item["content"][0]["text"].as_str().unwrap_or_default().to_owned();
        let last = whole["output"].as_array().and_then(|items| items.last()).expect("an item");
        let deltas: String = of("response.output_text.delta", "delta")
            .iter()
            .filter_map(|delta| delta.as_str().map(str::to_owned))
            .collect();
        assert_eq!(deltas, text(last));
        let arguments = of("response.function_call_arguments.delta", "delta");
        assert_eq!(arguments.first(), last.get("arguments"));
    }
}
