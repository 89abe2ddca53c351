//! Chat completions: the request's meaning, and the answer's shape, whole or in chunks.
//!
//! Promises: every field that the API document and the official SDKs require; `model` and the counts tell the truth:
//! `completion_tokens` counts every generated token, the one that ended a choice among them.
//!
//! Left out: tools are read past (the model calls none), formats and sound are refused.

use serde_json::{Map, Value, json};

use crate::answer::{Identity, Render};
use crate::fields::{Fields, content, message};
use crate::refusal::LocalRefusal;
use crate::sequence::{Finish, Generation, Likelihood, Progress, TokenLogprob};
use crate::template::Message;
use crate::{MODEL_ID, MODEL_SHA256};

/// Most choices for one request.
const CHOICES_MAX: usize = 4;
/// Most stop strings, as in the API.
const STOPS_MAX: usize = 4;
/// Longest stop string in bytes: what is held back of a stream is bounded by it.
const STOP_BYTES_MAX: usize = 1024;
/// Most alternatives for a token, as in the API.
const TOP_LOGPROBS_MAX: usize = 20;
/// Most biased tokens.
const BIASES_MAX: usize = 1024;
/// Kinds of content parts that are text.
const TEXT_PARTS: [&str; 1] = ["text"];

/// A request that can be generated.
#[derive(Debug)]
pub(crate) struct ChatRequest {
    pub(crate) generation: Generation,
    pub(crate) stream: bool,
    include_usage: bool,
}

impl ChatRequest {
    /// Reads a body. `seed` is used if it names none; `vocabulary` bounds the ids of `logit_bias`.
    ///
    /// # Errors
    /// 400 with the field that is wrong or not supported.
    pub(crate) fn read(body: &Map<String, Value>, seed: u64, vocabulary: usize) -> Result<ChatRequest, LocalRefusal> {
        let fields = Fields::body(body);
        refuse_unsupported(fields)?;
        let stream = fields.flag("stream")?;
        let mut sampling = fields.sampling()?;
        sampling.presence_penalty = fields.number("presence_penalty", -2.0, 2.0)?.unwrap_or(0.0) as f32;
        sampling.frequency_penalty = fields.number("frequency_penalty", -2.0, 2.0)?.unwrap_or(0.0) as f32;
        sampling.bias = bias(fields, vocabulary)?;
        let max_tokens = fields.count("max_tokens", 1, usize::MAX)?;
        let generation = Generation {
            messages: messages(fields)?,
            messages_param: "messages",
            sampling,
            seed: fields.integer("seed")?.map_or(seed, |seed| seed as u64),
            max_tokens: fields.count("max_completion_tokens", 1, usize::MAX)?.or(max_tokens),
            stops: stops(fields)?,
            choices: fields.count("n", 1, CHOICES_MAX)?.unwrap_or(1),
            logprobs: logprobs(fields)?,
        };
        Ok(ChatRequest { generation, stream, include_usage: include_usage(fields, stream)? })
    }

    /// What to generate, and the shape of the answer.
    pub(crate) fn split(self, identity: Identity) -> (Generation, ChatAnswer) {
        let answer = ChatAnswer {
            identity,
            include_usage: self.include_usage,
            logprobs: self.generation.logprobs.is_some(),
            prompt_tokens: 0,
            begun: 0,
            whole: Vec::new(),
        };
        (self.generation, answer)
    }
}

fn refuse_unsupported(fields: Fields<'_, '_>) -> Result<(), LocalRefusal> {
    fields.refuse_forced_tools()?;
    fields.refuse_formats("response_format")?;
    if fields.value("function_call").is_some_and(|call| call != "auto" && call != "none") {
        return Err(LocalRefusal::unsupported("function_call", "it calls no functions"));
    }
    if fields.array("modalities")?.is_some_and(|kinds| kinds.iter().any(|kind| kind != "text")) {
        return Err(LocalRefusal::unsupported("modalities", "it makes text only"));
    }
    Ok(())
}

fn messages(fields: Fields<'_, '_>) -> Result<Vec<Message>, LocalRefusal> {
    let Some(list) = fields.array("messages")? else {
        let message = "Missing required parameter: 'messages'.";
        return Err(LocalRefusal::request("missing_required_parameter", "messages", message));
    };
    if list.is_empty() {
        return Err(LocalRefusal::wrong_value("messages", "at least one message"));
    }
    let read = |(index, value): (usize, &Value)| {
        let path = format!("messages[{index}]");
        let fields = Fields::object(value, &path)?;
        let role = fields.text("role")?.ok_or_else(|| LocalRefusal::wrong_type(&fields.param("role"), "a string"))?;
        let text = match fields.value("content") {
            Some(value) => content(value, &fields.param("content"), &TEXT_PARTS)?,
            // An answer that only called tools has no content.
            None if role == "assistant" => String::new(),
            None => {
                return Err(LocalRefusal::wrong_type(
                    &fields.param("content"),
                    "a string or an array of content parts",
                ));
            }
        };
        message(role, text, &fields.param("role"))
    };
    list.iter().enumerate().map(read).collect()
}

fn stops(fields: Fields<'_, '_>) -> Result<Vec<String>, LocalRefusal> {
    let wrong_type = || LocalRefusal::wrong_type("stop", "a string or an array of strings");
    let stops: Vec<String> = match fields.value("stop") {
        None => Vec::new(),
        Some(Value::String(stop)) => vec![stop.clone()],
        Some(Value::Array(stops)) => {
            stops.iter().map(|stop| stop.as_str().map(Into::into).ok_or_else(wrong_type)).collect::<Result<_, _>>()?
        }
        Some(_) => return Err(wrong_type()),
    };
    if stops.len() > STOPS_MAX || stops.iter().any(|stop| stop.is_empty() || stop.len() > STOP_BYTES_MAX) {
        let wanted = format!("at most {STOPS_MAX} strings of 1 to {STOP_BYTES_MAX} bytes");
        return Err(LocalRefusal::wrong_value("stop", &wanted));
    }
    Ok(stops)
}

fn bias(fields: Fields<'_, '_>, vocabulary: usize) -> Result<Vec<(u32, f32)>, LocalRefusal> {
    let Some(map) = fields.map("logit_bias")? else { return Ok(Vec::new()) };
    let wanted = || {
        let wanted = format!("at most {BIASES_MAX} token ids below {vocabulary}, each with a number from -100 to 100");
        LocalRefusal::wrong_value("logit_bias", &wanted)
    };
    if map.len() > BIASES_MAX {
        return Err(wanted());
    }
    let read = |(id, bias): (&String, &Value)| {
        let bias = bias.as_f64().ok_or_else(|| LocalRefusal::wrong_type("logit_bias", "numbers"))?;
        let id = id.parse().ok().filter(|id| (*id as usize) < vocabulary && (-100.0..=100.0).contains(&bias));
        Ok((id.ok_or_else(wanted)?, bias as f32))
    };
    map.iter().map(read).collect()
}

fn logprobs(fields: Fields<'_, '_>) -> Result<Option<usize>, LocalRefusal> {
    let wanted = fields.flag("logprobs")?;
    let top = fields.count("top_logprobs", 0, TOP_LOGPROBS_MAX)?;
    if top.is_some_and(|top| top > 0) && !wanted {
        return Err(LocalRefusal::wrong_value("top_logprobs", "`logprobs` to be true beside it"));
    }
    Ok(wanted.then(|| top.unwrap_or(0)))
}

fn include_usage(fields: Fields<'_, '_>, stream: bool) -> Result<bool, LocalRefusal> {
    let Some(options) = fields.value("stream_options") else { return Ok(false) };
    if !stream {
        return Err(LocalRefusal::wrong_value("stream_options", "`stream` to be true beside it"));
    }
    Fields::object(options, "stream_options")?.flag("include_usage")
}

/// The answer to one request, growing.
pub(crate) struct ChatAnswer {
    identity: Identity,
    include_usage: bool,
    logprobs: bool,
    prompt_tokens: usize,
    /// Choices whose first chunk was sent.
    begun: usize,
    /// The choices so far, for an answer that is sent whole.
    whole: Vec<Whole>,
}

#[derive(Default)]
struct Whole {
    text: String,
    logprobs: Vec<Value>,
    finish: &'static str,
}

impl ChatAnswer {
    /// The fields of every answer and every chunk.
    fn frame(&self, object: &str, choices: Value) -> Value {
        json!({
            "id": format!("chatcmpl-{}", self.identity.id),
            "object": object,
            "created": self.identity.created,
            "model": MODEL_ID,
            "service_tier": "default",
            "system_fingerprint": format!("fp_{}", &MODEL_SHA256[..10]),
            "choices": choices,
        })
    }

    fn chunk(&self, choices: Value, usage: Option<Value>, out: &mut String) {
        let mut frame = self.frame("chat.completion.chunk", choices);
        if self.include_usage {
            frame["usage"] = usage.unwrap_or(Value::Null);
        }
        out.push_str(&format!("data: {frame}\n\n"));
    }

    fn delta(&self, choice: usize, delta: Value, logprobs: Value, finish: Option<Finish>, out: &mut String) {
        let choice = json!({
            "index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": finish.map(finish_reason),
        });
        self.chunk(json!([choice]), None, out);
    }

    /// The chunk that opens a choice, once.
    fn begin(&mut self, choice: usize, out: &mut String) {
        while self.begun <= choice {
            let delta = json!({"role": "assistant", "content": "", "refusal": null});
            self.delta(self.begun, delta, Value::Null, None, out);
            self.begun += 1;
        }
    }

    fn usage(&self, completion_tokens: usize) -> Value {
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": self.prompt_tokens + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
            },
        })
    }

    fn logprobs(&self, entries: Vec<Value>) -> Value {
        if self.logprobs { json!({"content": entries, "refusal": null}) } else { Value::Null }
    }
}

impl Render for ChatAnswer {
    fn events(&mut self, progress: Progress, out: &mut String) {
        match progress {
            Progress::Refused(_) => {}
            Progress::Started { prompt_tokens } => {
                self.prompt_tokens = prompt_tokens;
                self.begin(0, out);
            }
            Progress::Text { choice, text, logprobs } => {
                self.begin(choice, out);
                let logprobs = self.logprobs(logprobs.iter().map(logprob).collect());
                self.delta(choice, json!({"content": text}), logprobs, None, out);
            }
            Progress::Ended { choice, finish } => {
                self.begin(choice, out);
                self.delta(choice, json!({}), Value::Null, Some(finish), out);
            }
            Progress::Done { completion_tokens } => {
                if self.include_usage {
                    self.chunk(json!([]), Some(self.usage(completion_tokens)), out);
                }
                out.push_str("data: [DONE]\n\n");
            }
        }
    }

    fn broken(&mut self, refusal: &LocalRefusal, out: &mut String) {
        let error = json!({"message": refusal.message, "type": refusal.kind, "param": null, "code": refusal.code});
        out.push_str(&format!("data: {}\n\n", json!({"error": error})));
    }

    fn collect(&mut self, progress: Progress) -> Option<Value> {
        match progress {
            Progress::Refused(_) => {}
            Progress::Started { prompt_tokens } => self.prompt_tokens = prompt_tokens,
            Progress::Text { choice, text, logprobs } => {
                self.whole.resize_with(self.whole.len().max(choice + 1), Whole::default);
                self.whole[choice].text.push_str(&text);
                self.whole[choice].logprobs.extend(logprobs.iter().map(logprob));
            }
            Progress::Ended { choice, finish } => {
                self.whole.resize_with(self.whole.len().max(choice + 1), Whole::default);
                self.whole[choice].finish = finish_reason(finish);
            }
            Progress::Done { completion_tokens } => {
                let whole = std::mem::take(&mut self.whole);
                let choices = whole.into_iter().enumerate().map(|(index, whole)| {
                    json!({
                        "index": index,
                        "message": {"role": "assistant", "content": whole.text, "refusal": null, "annotations": []},
                        "logprobs": self.logprobs(whole.logprobs),
                        "finish_reason": whole.finish,
                    })
                });
                let mut frame = self.frame("chat.completion", choices.collect());
                frame["usage"] = self.usage(completion_tokens);
                return Some(frame);
            }
        }
        None
    }
}

fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
    }
}

fn logprob(entry: &TokenLogprob) -> Value {
    let one = |likelihood: &Likelihood| {
        json!({
            "token": String::from_utf8_lossy(&likelihood.bytes),
            "logprob": likelihood.logprob,
            "bytes": likelihood.bytes,
        })
    };
    let mut value = one(&entry.chosen);
    value["top_logprobs"] = entry.top.iter().map(one).collect();
    value
}
