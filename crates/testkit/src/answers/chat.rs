//! Chat completions.

use serde_json::{Value, json};

use super::hosted::Calls;
use super::schema::Content;
use super::usage::{self, Input, Output};
use super::{CREATED, Event, Reply, Request, around, event, piece, text};
use crate::Shared;
use crate::script::Script;
use crate::tokens;

/// Stands for a piece of text in a rendering.
const PIECE: &str = "@piece@";

/// What all chunks and answers of a call have in common.
#[derive(Clone)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) model: Value,
    pub(super) tier: String,
}

/// A whole completion around its choices.
pub(super) fn whole(head: &Head, choices: Vec<Value>, usage: Value) -> Value {
    json!({
        "id": head.id, "object": "chat.completion", "created": CREATED, "model": head.model, "choices": choices,
        "usage": usage, "service_tier": head.tier, "system_fingerprint": "fp_test",
    })
}

/// A choice that says something.
pub(super) fn choice(index: u64, message: &Value, finish: &str) -> Value {
    json!({"index": index, "message": message, "logprobs": null, "finish_reason": finish})
}

pub(super) fn message(text: &str) -> Value {
    json!({"role": "assistant", "content": text, "refusal": null, "annotations": []})
}

/// Makes the chunks of one stream.
pub(super) struct Chunks {
    pub(super) head: Head,
    pub(super) with_usage: bool,
}

impl Chunks {
    fn chunk(&self, choices: &Value) -> Value {
        let mut chunk = json!({
            "id": self.head.id, "object": "chat.completion.chunk", "created": CREATED, "model": self.head.model,
            "service_tier": self.head.tier, "system_fingerprint": "fp_test", "choices": choices,
        });
        if self.with_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    pub(super) fn delta(&self, index: u64, delta: &Value, finish: &Value) -> String {
        let choices = json!([{"index": index, "delta": delta, "logprobs": null, "finish_reason": finish}]);
        event(None, &self.chunk(&choices))
    }

    pub(super) fn opening(&self, index: u64) -> String {
        self.delta(index, &json!({"role": "assistant", "content": "", "refusal": null}), &Value::Null)
    }

    /// The last words: usage where it was asked for, and the end.
    pub(super) fn closing(&self, usage: &Value) -> Vec<String> {
        let mut last = self.chunk(&json!([]));
        last["usage"] = usage.clone();
        let last = self.with_usage.then(|| event(None, &last));
        last.into_iter().chain(["data: [DONE]\n\n".to_owned()]).collect()
    }
}

/// `POST /v1/chat/completions`
pub(super) fn completion(request: &Request<'_>, script: &Script, shared: &Shared) -> Reply {
    let body = request.json();
    let Some(model) = body["model"].as_str() else {
        let words = "you must provide a model parameter";
        return Reply::error(400, "invalid_request_error", None, words);
    };
    if body["max_tokens"].is_u64() && body["max_completion_tokens"].is_u64() {
        let words = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.";
        return Reply::error(400, "invalid_request_error", Some("invalid_parameter_combination"), words);
    }
    let head = Head {
        id: request.id("chatcmpl-"),
        model: json!(model),
        tier: usage::tier(body["service_tier"].as_str().unwrap_or_default(), script),
    };
    let choices = body["n"].as_u64().unwrap_or(1).max(1);
    let cap = ["max_tokens", "max_completion_tokens"].iter().filter_map(|name| body[*name].as_u64()).min();
    let format = &body["response_format"];
    let content = Content::new(&body, &format["json_schema"]["schema"], format["type"] == "json_object");
    let input = Input::new(script, tokens(&body["messages"].to_string()));
    let output = Output::new(request, script, (cap, choices), |pieces| choices * content.tokens(pieces));
    let mut bill = usage::bill(request, model, &head.tier, &input, &output);
    bill.input.extend(Calls::new(script, &body).units());
    let usage = usage::of_chat(script, &input, &output);
    if body["stream"] == true {
        let with_usage = body["stream_options"]["include_usage"] == true && !script.no_usage;
        let chunks = Chunks { head, with_usage };
        return streamed(request, script, chunks, (content, choices), output, &usage).billed(bill);
    }
    let finish = content.finish(&output);
    let said = (0..choices).map(|index| choice(index, &spoken(request, &content, &output, (index, choices)), finish));
    let usage = if script.no_usage { Value::Null } else { usage };
    let answer = whole(&head, said.collect(), usage);
    if body["store"] == true {
        let mut stored = answer.clone();
        stored["metadata"] = body["metadata"].clone();
        shared.state().objects.insert(&head.id, stored);
    }
    Reply::json(200, &answer).billed(bill)
}

fn calls(request: &Request<'_>, name: &str, arguments: &str) -> Value {
    json!([{"index": 0, "id": request.id("call_"), "type": "function", "function": {"name": name, "arguments": arguments}}])
}

/// The message of one choice.
fn spoken(request: &Request<'_>, content: &Content, output: &Output, (index, choices): (u64, u64)) -> Value {
    let mut spoken = match content {
        Content::Words => message(&text(output.pieces_of(index, choices))),
        Content::Fixed(text) => message(text),
        Content::Call { name, arguments } => {
            let mut message = message("");
            message["content"] = Value::Null;
            message["tool_calls"] = calls(request, name, arguments);
            message
        }
    };
    if output.audio > 0 {
        let audio =
            json!({"id": request.id("audio_"), "data": "", "expires_at": CREATED + 3600, "transcript": "alpha"});
        spoken["audio"] = audio;
    }
    spoken
}

/// The events of a stream: each knows how much was generated by then.
fn streamed(
    request: &Request<'_>,
    script: &Script,
    chunks: Chunks,
    (content, choices): (Content, u64),
    output: Output,
    usage: &Value,
) -> Reply {
    let finish = json!(content.finish(&output));
    let opening: Vec<Event> = (0..choices).map(|index| Event::new(chunks.opening(index), output.reasoning)).collect();
    let mut ending: Vec<String> = (0..choices).map(|index| chunks.delta(index, &json!({}), &finish)).collect();
    ending.extend(chunks.closing(usage));
    let ending = ending.into_iter().map(move |text| Event::new(text, output.total()));
    let mut said: Box<dyn Iterator<Item = Event> + Send> = match content {
        Content::Words => Box::new(words(&chunks, choices, output)),
        Content::Fixed(text) => {
            let delta = |index| chunks.delta(index, &json!({"content": text}), &Value::Null);
            let events: Vec<_> = (0..choices).map(|index| Event::new(delta(index), output.total())).collect();
            Box::new(events.into_iter())
        }
        Content::Call { name, arguments } => {
            let calls = calls(request, &name, &arguments);
            let delta = |index| chunks.delta(index, &json!({"tool_calls": calls}), &Value::Null);
            let events: Vec<_> = (0..choices).map(|index| Event::new(delta(index), output.total())).collect();
            Box::new(events.into_iter())
        }
    };
    if script.delay_reasoning_ms > 0 {
        said = Box::new(after(script.delay_reasoning_ms, said.chain(ending)));
        return Reply::stream(Box::new(opening.into_iter().chain(said)));
    }
    Reply::stream(Box::new(opening.into_iter().chain(said).chain(ending)))
}

/// The events, the first of them after a wait.
pub(super) fn after(pause_ms: u64, events: impl Iterator<Item = Event> + Send) -> impl Iterator<Item = Event> + Send {
    events.enumerate().map(move |(at, event)| Event { pause_ms: if at == 0 { pause_ms } else { 0 }, ..event })
}

/// Pieces of text; the choices take turns.
pub(super) fn words(chunks: &Chunks, choices: u64, output: Output) -> impl Iterator<Item = Event> + Send + use<> {
    let render = |index| around(&chunks.delta(index, &json!({"content": PIECE}), &Value::Null), PIECE);
    let renderings: Vec<(String, String)> = (0..choices).map(render).collect();
    (0..output.pieces).map(move |at| {
        let (before, after) = &renderings[usize::try_from(at % choices).unwrap_or(0)];
        Event::new(format!("{before}{}{after}", piece(at / choices)), output.generated(at + 1))
    })
}
