//! Responses, and their compaction.

use serde_json::{Value, json};

use super::hosted::{self, Calls};
use super::schema::Content;
use super::usage::{self, Input, Output};
use super::{CREATED, Event, Reply, Request, event, piece, text};
use crate::Shared;
use crate::script::Script;
use crate::tokens;

/// Stands for a piece of text in a rendering.
const PIECE: &str = "@piece@";
/// Stands for an event's number in a rendering.
const NUMBER: &str = "\"@number@\"";

/// Members that an answer repeats as the caller sent them; null where the caller did not.
const ECHOED: [&str; 7] = [
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "previous_response_id",
    "prompt_cache_key",
    "safety_identifier",
    "user",
];
/// Members repeated where the caller sent them, and otherwise with these values or not at all.
const ECHOED_OR: [(&str, Option<&str>); 13] = [
    ("background", Some("false")),
    ("conversation", None),
    ("metadata", Some("{}")),
    ("parallel_tool_calls", Some("true")),
    ("prompt", None),
    ("prompt_cache_options", None),
    ("prompt_cache_retention", None),
    ("reasoning", Some(r#"{"effort":null,"summary":null}"#)),
    ("temperature", Some("1.0")),
    ("text", Some(r#"{"format":{"type":"text"}}"#)),
    ("tool_choice", Some(r#""auto""#)),
    ("tools", Some("[]")),
    ("top_p", Some("1.0")),
];

/// How a response ends.
enum End {
    Completed,
    Incomplete,
    Failed,
}

impl End {
    fn word(&self) -> &'static str {
        match self {
            End::Completed => "completed",
            End::Incomplete => "incomplete",
            End::Failed => "failed",
        }
    }
}

/// The id of the response that a request makes.
pub(super) fn id(request: &Request<'_>) -> String {
    request.id("resp_")
}

/// A response object before anything is said; its tier is still the one asked for.
fn begun(request: &Request<'_>, body: &Value) -> Value {
    let asked = if body["service_tier"].is_null() { json!("auto") } else { body["service_tier"].clone() };
    let mut response = json!({
        "id": id(request), "object": "response", "created_at": CREATED, "status": "in_progress", "error": null,
        "incomplete_details": null, "model": body["model"], "output": [], "service_tier": asked,
        "store": body["store"] != false, "truncation": "disabled", "usage": null,
    });
    for name in ECHOED {
        response[name] = body[name].clone();
    }
    for (name, default) in ECHOED_OR {
        match (&body[name], default) {
            (Value::Null, None) => {}
            (Value::Null, Some(default)) => response[name] = serde_json::from_str(default).unwrap_or(Value::Null),
            (sent, _) => response[name] = sent.clone(),
        }
    }
    response
}

/// `POST /v1/responses`
pub(super) fn create(request: &Request<'_>, script: &Script, shared: &Shared) -> Reply {
    let script = &usage::silent(script);
    let body = request.json();
    let schema = &body["text"]["format"]["schema"];
    let content = Content::new(&body, schema, body["text"]["format"]["type"] == "json_object");
    let tier = usage::tier(body["service_tier"].as_str().unwrap_or_default(), script);
    let calls = Calls::new(script, &body);
    let input = Input::new(script, tokens(&format!("{}{}", body["instructions"], body["input"])));
    let cap = body["max_output_tokens"].as_u64();
    let output = Output::new(request, script, (cap, 1), |pieces| content.tokens(pieces));
    let mut bill = usage::bill(request, body["model"].as_str().unwrap_or_default(), &tier, &input, &output);
    bill.input.extend(calls.units());

    let end = match output.is_cut {
        _ if script.fail_response => End::Failed,
        true => End::Incomplete,
        false => End::Completed,
    };
    let items = items(request, &calls, &content, &output);
    let begun = begun(request, &body);
    let mut whole = begun.clone();
    whole["status"] = json!(end.word());
    whole["service_tier"] = json!(tier);
    whole["output"] = json!(items);
    whole["usage"] = if script.no_usage { Value::Null } else { usage::of_response(script, &input, &output) };
    match end {
        End::Completed => {}
        End::Incomplete => whole["incomplete_details"] = json!({"reason": "max_output_tokens"}),
        End::Failed => whole["error"] = json!({"code": "server_error", "message": "The script says so."}),
    }
    if body["store"] != false {
        shared.state().objects.insert(&id(request), whole.clone());
    }
    if body["stream"] != true {
        return Reply::json(200, &whole).billed(bill);
    }
    let answer = Answer { begun, whole, items, end, output };
    answer.events(script.delay_reasoning_ms, matches!(content, Content::Words)).billed(bill)
}

/// The items of the output: reasoning, hosted calls, and what is said or called at last.
fn items(request: &Request<'_>, calls: &Calls, content: &Content, output: &Output) -> Vec<Value> {
    let mut items = Vec::new();
    if output.reasoning > 0 {
        items.push(json!({"type": "reasoning", "id": request.id("rs_"), "summary": [], "status": "completed"}));
    }
    items.extend(calls.items(request));
    let status = if output.is_cut { "incomplete" } else { "completed" };
    let said = match content {
        // The cap was reached in the middle of the reasoning.
        _ if output.visible == 0 && output.is_cut => return items,
        Content::Words => text(output.pieces_of(0, 1)),
        Content::Fixed(text) => text.clone(),
        Content::Call { name, arguments } => {
            items.push(json!({
                "type": "function_call", "id": request.id("fc_"), "call_id": request.id("call_"), "name": name,
                "arguments": arguments, "status": status,
            }));
            return items;
        }
    };
    items.push(json!({
        "type": "message", "id": request.id("msg_"), "status": status, "role": "assistant", "content": [part(&said)],
    }));
    items
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

/// An answer about to be streamed.
struct Answer {
    begun: Value,
    whole: Value,
    items: Vec<Value>,
    end: End,
    output: Output,
}

impl Answer {
    /// The whole sequence of events, each with its number and with what was generated by then.
    fn events(self, delay_reasoning_ms: u64, has_words: bool) -> Reply {
        let Answer { begun, whole, items, end, output } = self;
        let mut opening = vec![
            json!({"type": "response.created", "response": begun}),
            json!({"type": "response.in_progress", "response": begun}),
        ];
        let mut ending = Vec::new();
        let mut words = None;
        for (index, item) in items.iter().enumerate() {
            opening.push(json!({"type": "response.output_item.added", "output_index": index, "item": opened(item)}));
            let done = json!({"type": "response.output_item.done", "output_index": index, "item": item});
            match item["type"].as_str() {
                Some("message") => {
                    opening.push(place("response.content_part.added", item, index, json!({"part": part("")})));
                    if has_words {
                        words = Some(rendering(item, index));
                    } else {
                        let more = json!({"delta": item["content"][0]["text"], "logprobs": []});
                        ending.push(place("response.output_text.delta", item, index, more));
                    }
                    ending.extend(message_end(item, index));
                    ending.push(done);
                }
                Some("function_call") => {
                    ending.extend(call_end(item, index));
                    ending.push(done);
                }
                _ => {
                    opening.extend(hosted::progress(item, index));
                    opening.push(done);
                }
            }
        }
        ending.push(json!({"type": format!("response.{}", end.word()), "response": whole}));

        let pieces = if words.is_some() { output.pieces } else { 0 };
        let first = opening.len() as u64;
        let opening = numbered(opening, 0, output.reasoning).into_iter().enumerate().map(move |(at, event)| {
            // The third event is the first that shows anything of the model's work.
            Event { pause_ms: if at == 2 { delay_reasoning_ms } else { 0 }, ..event }
        });
        let words = words.unwrap_or_default();
        let said = (0..pieces).map(move |at| {
            let (before, middle, after) = &words;
            let data = format!("{before}{}{middle}{}{after}", piece(at), first + at);
            Event::new(format!("event: response.output_text.delta\ndata: {data}\n\n"), output.generated(at + 1))
        });
        let ending = numbered(ending, first + pieces, output.total());
        Reply::stream(Box::new(opening.chain(said).chain(ending)))
    }
}

/// An item before anything is in it.
fn opened(item: &Value) -> Value {
    let mut opened = item.clone();
    opened["status"] = json!("in_progress");
    match item["type"].as_str() {
        Some("message") => opened["content"] = json!([]),
        Some("function_call") => opened["arguments"] = json!(""),
        _ => {}
    }
    opened
}

/// Events with their numbers.
fn numbered(all: Vec<Value>, first: u64, generated: u64) -> Vec<Event> {
    let one = |(number, mut data): (u64, Value)| {
        data["sequence_number"] = json!(number);
        Event::new(event(data["type"].as_str(), &data), generated)
    };
    (first..).zip(all).map(one).collect()
}

/// An event about a place in a message.
fn place(kind: &str, item: &Value, index: usize, more: Value) -> Value {
    let mut data = json!({"type": kind, "item_id": item["id"], "output_index": index, "content_index": 0});
    if let (Value::Object(data), Value::Object(more)) = (&mut data, more) {
        data.extend(more);
    }
    data
}

/// A delta's data in three parts: piece and number go between them, so that thousands are made without making JSON.
fn rendering(item: &Value, index: usize) -> (String, String, String) {
    let more = json!({"delta": PIECE, "logprobs": [], "sequence_number": "@number@"});
    let data = place("response.output_text.delta", item, index, more).to_string();
    let (before, rest) = super::around(&data, PIECE);
    let (middle, after) = super::around(&rest, NUMBER);
    (before, middle, after)
}

fn message_end(item: &Value, index: usize) -> [Value; 2] {
    let part = &item["content"][0];
    [
        place("response.output_text.done", item, index, json!({"text": part["text"], "logprobs": []})),
        place("response.content_part.done", item, index, json!({"part": part})),
    ]
}

fn call_end(item: &Value, index: usize) -> [Value; 2] {
    let (id, name, arguments) = (&item["id"], &item["name"], &item["arguments"]);
    [
        json!({
            "type": "response.function_call_arguments.delta", "item_id": id, "output_index": index, "delta": arguments,
        }),
        json!({
            "type": "response.function_call_arguments.done", "item_id": id, "output_index": index, "name": name,
            "arguments": arguments,
        }),
    ]
}

/// `POST /v1/responses/compact`
pub(super) fn compact(request: &Request<'_>, script: &Script) -> Reply {
    let script = &usage::silent(script);
    let body = request.json();
    let input = Input::new(script, tokens(&format!("{}{}", body["instructions"], body["input"])));
    let output = Output::new(request, script, (None, 1), |pieces| tokens(&text(pieces)));
    let tier = usage::tier(body["service_tier"].as_str().unwrap_or_default(), script);
    let bill = usage::bill(request, body["model"].as_str().unwrap_or_default(), &tier, &input, &output);
    let item = json!({"type": "compaction", "id": request.id("cmp_"), "encrypted_content": "alpha"});
    let usage = if script.no_usage { Value::Null } else { usage::of_response(script, &input, &output) };
    let answer = json!({
        "id": id(request), "object": "response.compaction", "created_at": CREATED, "output": [item], "usage": usage,
    });
    Reply::json(200, &answer).billed(bill)
}
