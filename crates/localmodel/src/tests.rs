//! The whole model over its public face, on made-up weights: shapes, counts, limits, refusals, leaving.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use serde_json::{Value, json};

use crate::local::read;
use crate::tiny::{END, END_OF_TEXT, Tiny};
use crate::{Answer, Endpoint, EventStream, LoadError, LocalModel, LocalRefusal, MODEL_ID, MODEL_SHA256, Options};

async fn ask(model: &LocalModel, endpoint: Endpoint, body: &Value) -> Result<Value, LocalRefusal> {
    match model.answer(endpoint, body.to_string().into()).await? {
        Answer::Json(json) => Ok(serde_json::from_slice(&json).unwrap()),
        Answer::Events(_) => panic!("a stream that nobody asked for"),
    }
}

async fn open(model: &LocalModel, endpoint: Endpoint, body: &Value) -> Result<EventStream, LocalRefusal> {
    let mut body = body.clone();
    body["stream"] = json!(true);
    match model.answer(endpoint, body.to_string().into()).await? {
        Answer::Events(events) => Ok(events),
        Answer::Json(_) => panic!("no stream, which was asked for"),
    }
}

async fn next(events: &mut EventStream) -> Option<Bytes> {
    poll_fn(|context| Pin::new(&mut *events).poll_next(context)).await
}

/// Every event's data; checks that each item is whole events.
async fn drain(mut events: EventStream) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(item) = next(&mut events).await {
        let item = std::str::from_utf8(&item).unwrap();
        assert!(item.ends_with("\n\n"), "half an event: {item:?}");
        for event in item.trim_end().split("\n\n") {
            all.push(event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap().to_owned());
        }
    }
    all
}

/// A chat that never ends by itself, greedy unless it says otherwise.
fn chat(tokens: usize, more: Value) -> Value {
    let mut body = json!({
        "model": "gpt-4o", "messages": [{"role": "user", "content": "hello world"}], "max_tokens": tokens,
        "temperature": 0, "logit_bias": {END.to_string(): -100, END_OF_TEXT.to_string(): -100},
    });
    more.as_object().unwrap().iter().for_each(|(name, value)| body[name] = value.clone());
    body
}

fn content(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap()
}

#[tokio::test]
async fn a_chat_answer_has_every_field_and_exact_counts() {
    let model = Tiny::model(4);
    let answer = ask(&model, Endpoint::ChatCompletions, &chat(9, json!({}))).await.unwrap();
    assert_eq!((answer["object"].as_str(), answer["created"].as_u64()), (Some("chat.completion"), Some(1_700_000_000)));
    assert_eq!(answer["id"], "chatcmpl-00000000000000010000000000000002");
    assert_eq!(answer["model"], MODEL_ID, "whatever was asked for");
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["choices"][0]["message"]["role"], "assistant");
    let usage = &answer["usage"];
    assert_eq!(usage["completion_tokens"], 9);
    assert_eq!(usage["total_tokens"].as_u64().unwrap(), usage["prompt_tokens"].as_u64().unwrap() + 9);
    let shorter = json!({"messages": [{"role": "user", "content": "hello worl"}]});
    let shorter = ask(&model, Endpoint::ChatCompletions, &chat(9, shorter)).await.unwrap();
    // ` world` is one token, ` wor` and `l` are two.
    assert_eq!(shorter["usage"]["prompt_tokens"].as_u64(), Some(usage["prompt_tokens"].as_u64().unwrap() + 1));
}

#[tokio::test]
async fn a_stream_says_the_same_as_the_whole_answer() {
    let model = Tiny::model(4);
    let body = chat(60, json!({"temperature": 1.3, "top_p": 0.9, "seed": 7, "n": 3}));
    let whole = ask(&model, Endpoint::ChatCompletions, &body).await.unwrap();
    let mut streamed = body.clone();
    streamed["stream_options"] = json!({"include_usage": true});
    let events = drain(open(&model, Endpoint::ChatCompletions, &streamed).await.unwrap()).await;
    assert_eq!(events.last().unwrap(), "[DONE]");
    let chunks: Vec<Value> =
        events[..events.len() - 1].iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    let (mut texts, mut ends, mut roles) = (BTreeMap::<u64, String>::new(), Vec::new(), 0);
    for chunk in &chunks[..chunks.len() - 1] {
        assert_eq!(
            (&chunk["object"], &chunk["model"], &chunk["usage"]),
            (&json!("chat.completion.chunk"), &json!(MODEL_ID), &Value::Null)
        );
        let choice = &chunk["choices"][0];
        roles += usize::from(choice["delta"]["role"] == "assistant");
        texts
            .entry(choice["index"].as_u64().unwrap())
            .or_default()
            .push_str(choice["delta"]["content"].as_str().unwrap_or(""));
        ends.extend(choice["finish_reason"].as_str().map(str::to_owned));
    }
    assert_eq!((roles, ends.len()), (3, 3));
    let last = chunks.last().unwrap();
    assert_eq!((&last["choices"], &last["usage"]), (&json!([]), &whole["usage"]));
    assert_eq!(whole["usage"]["completion_tokens"], 180);
    let whole: Vec<&str> = (0..3).map(|at| whole["choices"][at]["message"]["content"].as_str().unwrap()).collect();
    assert_eq!(texts.into_values().collect::<Vec<_>>(), whole);
    assert!(whole[0] != whole[1] && whole[1] != whole[2], "choices differ");
}

#[tokio::test]
async fn company_and_order_do_not_change_an_answer() {
    let model = Tiny::model(8);
    let bodies: Vec<Value> = (0..4).map(|at| chat(40 + at, json!({"temperature": 1, "seed": at}))).collect();
    let mut alone = Vec::new();
    for body in &bodies {
        alone.push(ask(&model, Endpoint::ChatCompletions, body).await.unwrap());
    }
    let ask = |at: usize| ask(&model, Endpoint::ChatCompletions, &bodies[at]);
    let together = tokio::join!(ask(0), ask(1), ask(2), ask(3));
    for (alone, together) in alone.iter().zip([together.0, together.1, together.2, together.3]) {
        assert_eq!(content(alone), content(&together.unwrap()));
    }
}

#[tokio::test]
async fn stop_strings_end_the_answer_unseen() {
    let model = Tiny::model(4);
    let long = ask(&model, Endpoint::ChatCompletions, &chat(80, json!({"temperature": 1, "seed": 3}))).await.unwrap();
    let text = content(&long).to_owned();
    // The made-up model babbles bytes; three letters of ASCII in a row are text in any case.
    let ascii = |at: &usize| text.as_bytes()[*at..][..3].iter().all(u8::is_ascii_graphic);
    let at = (4..text.len() - 3).find(ascii).expect("some ASCII");
    let stop = &text[at..at + 3];
    let body = chat(80, json!({"temperature": 1, "seed": 3, "stop": ["never there", stop]}));
    let cut = ask(&model, Endpoint::ChatCompletions, &body).await.unwrap();
    assert_eq!(content(&cut), &text[..text.find(stop).unwrap()]);
    assert_eq!(cut["choices"][0]["finish_reason"], "stop");
    assert!(cut["usage"]["completion_tokens"].as_u64() < Some(80));
}

#[tokio::test]
async fn the_models_own_end_is_counted_and_not_shown() {
    let model = Tiny::model(4);
    for end in [END, END_OF_TEXT] {
        let body = chat(80, json!({"logit_bias": {end.to_string(): 100}}));
        let answer = ask(&model, Endpoint::ChatCompletions, &body).await.unwrap();
        assert_eq!((content(&answer), answer["choices"][0]["finish_reason"].as_str()), ("", Some("stop")));
        assert_eq!(answer["usage"]["completion_tokens"], 1);
    }
}

#[tokio::test]
async fn an_answer_ends_with_the_context() {
    let model = Tiny::model(4);
    let mut body = chat(1, json!({}));
    body.as_object_mut().unwrap().remove("max_tokens");
    let answer = ask(&model, Endpoint::ChatCompletions, &body).await.unwrap();
    assert_eq!(answer["usage"]["total_tokens"], 256);
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    for count in [170, 300, 50_000] {
        let body = json!({"messages": [{"role": "user", "content": "1".repeat(count)}]});
        let refusal = ask(&model, Endpoint::ChatCompletions, &body).await.unwrap_err();
        assert_eq!((refusal.status, refusal.code), (400, Some("context_length_exceeded")));
        assert_eq!(refusal.param.as_deref(), Some("messages"));
        let stream = open(&model, Endpoint::Responses, &json!({"input": "1".repeat(count)})).await;
        assert_eq!(stream.unwrap_err().param.as_deref(), Some("input"), "before any event");
    }
}

#[tokio::test]
async fn a_crowd_of_empty_messages_does_not_fit_either() {
    let model = Tiny::model(4);
    let body = json!({"messages": vec![json!({"role": "user", "content": ""}); 20_000]});
    let refusal = ask(&model, Endpoint::ChatCompletions, &body).await.unwrap_err();
    assert_eq!(refusal.code, Some("context_length_exceeded"));
    assert!(refusal.message.contains("at least 40000 tokens"), "{}", refusal.message);
}

#[tokio::test]
async fn log_probabilities_cover_the_text() {
    let model = Tiny::model(4);
    let body = chat(12, json!({"logprobs": true, "top_logprobs": 3}));
    let answer = ask(&model, Endpoint::ChatCompletions, &body).await.unwrap();
    let entries = answer["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!(entries.len(), 12);
    for entry in entries {
        assert_eq!(entry["top_logprobs"].as_array().unwrap().len(), 3);
        let (own, best) = (entry["logprob"].as_f64().unwrap(), entry["top_logprobs"][0]["logprob"].as_f64().unwrap());
        assert!(own <= best && best < 0.0 && own.exp() > 0.0);
    }
    let bytes: Vec<u8> = entries
        .iter()
        .flat_map(|entry| entry["bytes"].as_array().unwrap())
        .map(|byte| byte.as_u64().unwrap() as u8)
        .collect();
    assert_eq!(String::from_utf8_lossy(&bytes), content(&answer));
}

#[tokio::test]
async fn responses_stream_every_event_in_order() {
    let model = Tiny::model(4);
    let body = json!({"input": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": [{"type": "input_text", "text": "hello"}]}],
        "instructions": "sys", "max_output_tokens": 20, "metadata": {"a": "b"}, "store": true, "tools": [{"type": "web_search"}]});
    let events = drain(open(&model, Endpoint::Responses, &body).await.unwrap()).await;
    let events: Vec<Value> = events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    let kinds: Vec<&str> =
        events.iter().map(|event| event["type"].as_str().unwrap().strip_prefix("response.").unwrap()).collect();
    assert_eq!(kinds[..4], ["created", "in_progress", "output_item.added", "content_part.added"]);
    assert!(kinds[4..kinds.len() - 4].iter().all(|kind| *kind == "output_text.delta"));
    assert_eq!(kinds[kinds.len() - 4..kinds.len() - 1], ["output_text.done", "content_part.done", "output_item.done"]);
    assert!(events.iter().enumerate().all(|(at, event)| event["sequence_number"] == at));
    let last = &events.last().unwrap()["response"];
    let text = last["output"][0]["content"][0]["text"].as_str().unwrap();
    let joined: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
    assert_eq!(joined, text);
    assert_eq!(
        (&last["store"], &last["metadata"], &last["model"]),
        (&json!(false), &json!({"a": "b"}), &json!(MODEL_ID))
    );
    assert_eq!(
        last["usage"]["total_tokens"].as_u64().unwrap(),
        last["usage"]["input_tokens"].as_u64().unwrap() + last["usage"]["output_tokens"].as_u64().unwrap()
    );
    let complete = last["usage"]["output_tokens"].as_u64().unwrap() < 20;
    assert_eq!(last["status"], if complete { "completed" } else { "incomplete" });
    assert_eq!(last["incomplete_details"], if complete { Value::Null } else { json!({"reason": "max_output_tokens"}) });
    assert_eq!(*kinds.last().unwrap(), last["status"].as_str().unwrap());
    let whole = ask(&model, Endpoint::Responses, &body).await.unwrap();
    for field in [
        "id",
        "object",
        "created_at",
        "error",
        "incomplete_details",
        "instructions",
        "metadata",
        "model",
        "output",
        "parallel_tool_calls",
        "temperature",
        "tool_choice",
        "tools",
        "top_p",
        "usage",
        "status",
        "text",
        "reasoning",
        "truncation",
    ] {
        assert!(whole.get(field).is_some(), "{field} is missing");
    }
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let model = Tiny::model(4);
    let one = |more: Value| chat(3, more);
    let part = |part: Value| json!({"messages": [{"role": "user", "content": [part]}]});
    for (body, code, param) in [
        (json!({}), "missing_required_parameter", "messages"),
        (one(json!({"messages": "hi"})), "invalid_type", "messages"),
        (one(json!({"messages": []})), "invalid_value", "messages"),
        (one(json!({"messages": [3]})), "invalid_type", "messages[0]"),
        (one(json!({"messages": [{"content": "x"}]})), "invalid_type", "messages[0].role"),
        (one(json!({"messages": [{"role": "root", "content": "x"}]})), "invalid_value", "messages[0].role"),
        (one(json!({"messages": [{"role": "user"}]})), "invalid_type", "messages[0].content"),
        (
            one(part(json!({"type": "image_url", "image_url": {"url": "x"}}))),
            "invalid_value",
            "messages[0].content[0].type",
        ),
        (one(part(json!({"type": "input_audio"}))), "invalid_value", "messages[0].content[0].type"),
        (one(part(json!({"type": "text", "text": 1}))), "invalid_type", "messages[0].content[0].text"),
        (one(json!({"temperature": "hot"})), "invalid_type", "temperature"),
        (one(json!({"temperature": 2.1})), "invalid_value", "temperature"),
        (one(json!({"top_p": -0.1})), "invalid_value", "top_p"),
        (one(json!({"presence_penalty": 3})), "invalid_value", "presence_penalty"),
        (one(json!({"max_tokens": 0})), "invalid_value", "max_tokens"),
        (one(json!({"max_completion_tokens": 1.5})), "invalid_type", "max_completion_tokens"),
        (one(json!({"n": 5})), "invalid_value", "n"),
        (one(json!({"seed": "x"})), "invalid_type", "seed"),
        (one(json!({"stop": ["a", "b", "c", "d", "e"]})), "invalid_value", "stop"),
        (one(json!({"stop": ""})), "invalid_value", "stop"),
        (one(json!({"stop": [1]})), "invalid_type", "stop"),
        (one(json!({"logit_bias": {"272": 1}})), "invalid_value", "logit_bias"),
        (one(json!({"logit_bias": {"-1": 1}})), "invalid_value", "logit_bias"),
        (one(json!({"logit_bias": {"5": 101}})), "invalid_value", "logit_bias"),
        (one(json!({"top_logprobs": 2})), "invalid_value", "top_logprobs"),
        (one(json!({"logprobs": true, "top_logprobs": 21})), "invalid_value", "top_logprobs"),
        (one(json!({"stream": "yes"})), "invalid_type", "stream"),
        (one(json!({"stream_options": {"include_usage": true}})), "invalid_value", "stream_options"),
        (one(json!({"tools": [], "tool_choice": "required"})), "unsupported_parameter", "tool_choice"),
        (
            one(json!({"tool_choice": {"type": "function", "function": {"name": "f"}}})),
            "unsupported_parameter",
            "tool_choice",
        ),
        (one(json!({"response_format": {"type": "json_object"}})), "unsupported_parameter", "response_format"),
        (one(json!({"response_format": {"type": "json_schema"}})), "unsupported_parameter", "response_format"),
        (one(json!({"modalities": ["text", "audio"]})), "unsupported_parameter", "modalities"),
    ] {
        let refusal = ask(&model, Endpoint::ChatCompletions, &body).await.unwrap_err();
        assert_eq!((refusal.status, refusal.code, refusal.param.as_deref()), (400, Some(code), Some(param)), "{body}");
    }
    for (body, code, param) in [
        (json!({}), "missing_required_parameter", "input"),
        (json!({"input": 3}), "invalid_type", "input"),
        (json!({"input": [{"type": "function_call_output"}]}), "invalid_value", "input[0].type"),
        (
            json!({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}),
            "invalid_value",
            "input[0].content[0].type",
        ),
        (json!({"input": "x", "previous_response_id": "resp_1"}), "unsupported_parameter", "previous_response_id"),
        (json!({"input": "x", "conversation": "conv_1"}), "unsupported_parameter", "conversation"),
        (json!({"input": "x", "background": true}), "unsupported_parameter", "background"),
        (json!({"input": "x", "text": {"format": {"type": "json_schema"}}}), "unsupported_parameter", "text.format"),
        (json!({"input": "x", "tool_choice": "required"}), "unsupported_parameter", "tool_choice"),
        (json!({"input": "x", "include": ["message.output_text.logprobs"]}), "unsupported_parameter", "include"),
        (json!({"input": "x", "instructions": 1}), "invalid_type", "instructions"),
    ] {
        let refusal = ask(&model, Endpoint::Responses, &body).await.unwrap_err();
        assert_eq!((refusal.status, refusal.code, refusal.param.as_deref()), (400, Some(code), Some(param)), "{body}");
    }
    for body in ["", "[]", "{\"messages\": ", "\u{0}"] {
        assert_eq!(model.answer(Endpoint::ChatCompletions, body.into()).await.unwrap_err().status, 400);
    }
    let ignored = json!({"tools": [{"type": "function"}], "tool_choice": "auto", "response_format": {"type": "text"}, "user": "u",
        "made_up": 1, "stop": null, "stream_options": null});
    assert!(ask(&model, Endpoint::ChatCompletions, &chat(3, ignored)).await.is_ok());
}

#[tokio::test]
async fn a_full_queue_refuses_and_leaving_makes_room() {
    let model = Tiny::model(1);
    // Nothing but `a`, so that every token is a message.
    let body = chat(200, json!({"logit_bias": {"100": 100}}));
    let open = || open(&model, Endpoint::ChatCompletions, &body);
    // Nobody reads these: their channels fill, and they hold both slots.
    let (first, second) = (open().await.unwrap(), open().await.unwrap());
    let spawn = || {
        let (model, body) = (model.clone(), body.clone());
        tokio::spawn(async move { ask(&model, Endpoint::ChatCompletions, &body).await })
    };
    let waiting = spawn();
    tokio::task::yield_now().await;
    let refusal = open().await.unwrap_err();
    let (kind, code) = ("rate_limit_error", Some("local_model_queue_full"));
    assert_eq!((refusal.status, refusal.kind, refusal.code), (429, kind, code));
    assert!(refusal.retry_after_ms.is_some_and(|after| (500..=60_000).contains(&after)));
    // The one that waits leaves: its place is free at once.
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    let again = spawn();
    tokio::task::yield_now().await;
    assert_eq!(open().await.unwrap_err().status, 429);
    // One that runs leaves: the waiting one runs, though the other slot is stalled still.
    drop(first);
    let answer =
        tokio::time::timeout(Duration::from_secs(20), again).await.expect("a slot was freed").unwrap().unwrap();
    assert_eq!(answer["usage"]["total_tokens"], 256);
    // The stalled one lost nothing.
    assert_eq!(drain(second).await.last().unwrap(), "[DONE]");
}

#[tokio::test]
async fn a_model_that_is_gone_says_so() {
    let model = Tiny::model(4);
    let mut events = open(&model, Endpoint::ChatCompletions, &chat(200, json!({}))).await.unwrap();
    drop(model);
    let mut last = Bytes::new();
    while let Some(item) = next(&mut events).await {
        last = item;
    }
    // Either it was quick enough, or the stream ends with an error and not with silence.
    let last = std::str::from_utf8(&last).unwrap();
    assert!(last.contains("[DONE]") || last.contains("local_model_unavailable"), "{last}");
}

#[test]
fn files_that_are_not_the_model_are_refused_in_plain_words() {
    let tiny = Tiny::new();
    let load = |file: &[u8], expected| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, file).unwrap();
        read(&path, expected, 256).map(|_| ()).map_err(|error| error.to_string())
    };
    assert!(load(&tiny.file, tiny.checksum()).is_ok());
    assert!(load(&tiny.file, MODEL_SHA256).unwrap_err().contains("SHA-256"));
    assert!(load(b"hello", MODEL_SHA256).unwrap_err().contains("cannot be used"));
    let mut longer = tiny.file.clone();
    longer.push(0);
    assert!(load(&longer, tiny.checksum()).unwrap_err().contains("SHA-256"), "what is behind the tensors counts too");
    let missing = LocalModel::load(std::path::Path::new("does/not/exist"), Options::default()).unwrap_err();
    assert!(matches!(missing, LoadError::Read { .. }) && missing.to_string().contains("fetch_model.py"));
}

#[test]
fn damaged_files_never_panic() {
    let tiny = Tiny::new();
    let mut random = fastrand::Rng::with_seed(5);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for round in 0..300 {
        let mut file = tiny.file.clone();
        if round % 3 == 0 {
            file.truncate(random.usize(0..file.len()));
        } else {
            for _ in 0..3 {
                let at = random.usize(0..file.len().min(8_000));
                file[at] = random.u8(..);
            }
        }
        std::fs::write(&path, &file).unwrap();
        assert!(read(&path, tiny.checksum(), 256).is_err() || file == tiny.file);
    }
}
