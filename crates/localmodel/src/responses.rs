//! Responses: the request's meaning, and the answer's shape, whole or as events.
//!
//! Promises: the full sequence of events with running numbers, and every field that the API document and the official
//! SDKs require; nothing is kept, so `store` is answered as false and whatever needs kept state is refused.

use serde_json::{Map, Value, json};

use crate::MODEL_ID;
use crate::answer::{Identity, Render};
use crate::fields::{Fields, content, message};
use crate::refusal::LocalRefusal;
use crate::sequence::{Finish, Generation, Progress};
use crate::template::Message;

/// Kinds of content parts that are text.
const TEXT_PARTS: [&str; 3] = ["input_text", "output_text", "text"];

/// A request that can be generated.
#[derive(Debug)]
pub(crate) struct ResponsesRequest {
    pub(crate) generation: Generation,
    pub(crate) stream: bool,
    /// What the answer repeats of the request.
    echo: Map<String, Value>,
}

impl ResponsesRequest {
    /// Reads a body. Responses have no `seed`, so `seed` is always used.
    ///
    /// # Errors
    /// 400 with the field that is wrong or not supported.
    pub(crate) fn read(body: &Map<String, Value>, seed: u64) -> Result<ResponsesRequest, LocalRefusal> {
        let fields = Fields::body(body);
        refuse_unsupported(fields)?;
        let sampling = fields.sampling()?;
        let max_tokens = fields.count("max_output_tokens", 1, usize::MAX)?;
        let instructions = fields.text("instructions")?;
        let metadata = fields.map("metadata")?.cloned().unwrap_or_default();
        let Value::Object(echo) = json!({
            "instructions": instructions,
            "max_output_tokens": max_tokens,
            "metadata": metadata,
            "temperature": fields.value("temperature").cloned().unwrap_or(json!(1.0)),
            "top_p": fields.value("top_p").cloned().unwrap_or(json!(1.0)),
            "tool_choice": fields.value("tool_choice").cloned().unwrap_or(json!("auto")),
            "parallel_tool_calls": fields.value("parallel_tool_calls").cloned().unwrap_or(json!(true)),
        }) else {
            unreachable!("an object was written")
        };
        let generation = Generation {
            messages: messages(fields, instructions)?,
            messages_param: "input",
            sampling,
            seed,
            max_tokens,
            stops: Vec::new(),
            choices: 1,
            logprobs: None,
        };
        Ok(ResponsesRequest { generation, stream: fields.flag("stream")?, echo })
    }

    /// What to generate, and the shape of the answer.
    pub(crate) fn split(self, identity: Identity) -> (Generation, ResponsesAnswer) {
        let answer = ResponsesAnswer {
            identity,
            echo: self.echo,
            input_tokens: 0,
            text: String::new(),
            finish: Finish::Stop,
            number: 0,
        };
        (self.generation, answer)
    }
}

fn refuse_unsupported(fields: Fields<'_, '_>) -> Result<(), LocalRefusal> {
    for name in ["previous_response_id", "conversation"] {
        if fields.value(name).is_some() {
            return Err(LocalRefusal::unsupported(name, "it keeps nothing between requests; send the whole input"));
        }
    }
    if fields.value("prompt").is_some() {
        return Err(LocalRefusal::unsupported("prompt", "it has no stored prompts"));
    }
    if fields.flag("background")? {
        return Err(LocalRefusal::unsupported("background", "it keeps nothing to come back for; use `stream`"));
    }
    fields.flag("store")?;
    fields.flag("parallel_tool_calls")?;
    fields.refuse_forced_tools()?;
    if let Some(text) = fields.value("text") {
        Fields::object(text, "text")?.refuse_formats("format")?;
    }
    let logprobs = |kind: &Value| kind == "message.output_text.logprobs";
    if fields.array("include")?.is_some_and(|kinds| kinds.iter().any(logprobs)) {
        return Err(LocalRefusal::unsupported("include", "log probabilities are given by chat completions only"));
    }
    if fields.count("top_logprobs", 0, 20)?.is_some_and(|top| top > 0) {
        return Err(LocalRefusal::unsupported("top_logprobs", "log probabilities are given by chat completions only"));
    }
    Ok(())
}

fn messages(fields: Fields<'_, '_>, instructions: Option<&str>) -> Result<Vec<Message>, LocalRefusal> {
    let mut messages: Vec<Message> =
        instructions.map(|text| Message { role: "system", content: text.into() }).into_iter().collect();
    match fields.value("input") {
        None => {
            let message = "Missing required parameter: 'input'.";
            return Err(LocalRefusal::request("missing_required_parameter", "input", message));
        }
        Some(Value::String(text)) => messages.push(Message { role: "user", content: text.clone() }),
        Some(Value::Array(items)) if items.is_empty() => {
            return Err(LocalRefusal::wrong_value("input", "at least one item"));
        }
        Some(Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                messages.push(item_message(item, &format!("input[{index}]"))?);
            }
        }
        Some(_) => return Err(LocalRefusal::wrong_type("input", "a string or an array of items")),
    }
    Ok(messages)
}

fn item_message(item: &Value, path: &str) -> Result<Message, LocalRefusal> {
    let fields = Fields::object(item, path)?;
    if fields.text("type")?.is_some_and(|kind| kind != "message") {
        let wanted = "`message`: the embedded demo model reads messages only";
        return Err(LocalRefusal::wrong_value(&fields.param("type"), wanted));
    }
    let role = fields.text("role")?.ok_or_else(|| LocalRefusal::wrong_type(&fields.param("role"), "a string"))?;
    let param = fields.param("content");
    let value = fields.value("content").ok_or_else(|| LocalRefusal::wrong_type(&param, "a string or an array"))?;
    message(role, content(value, &param, &TEXT_PARTS)?, &fields.param("role"))
}

/// The answer to one request, growing.
pub(crate) struct ResponsesAnswer {
    identity: Identity,
    echo: Map<String, Value>,
    input_tokens: usize,
    text: String,
    finish: Finish,
    /// The next event's `sequence_number`.
    number: u64,
}

impl ResponsesAnswer {
    fn item_id(&self) -> String {
        format!("msg_{}", self.identity.id)
    }

    fn part(&self) -> Value {
        json!({"type": "output_text", "text": self.text, "annotations": [], "logprobs": []})
    }

    fn status(&self) -> &'static str {
        match self.finish {
            Finish::Stop => "completed",
            Finish::Length => "incomplete",
        }
    }

    fn item(&self, status: &str, content: Value) -> Value {
        json!({"id": self.item_id(), "type": "message", "status": status, "role": "assistant", "content": content})
    }

    fn response(&self, status: &str, output: Value, usage: Value, error: Value) -> Value {
        let cut = status == "incomplete";
        let mut response = json!({
            "id": format!("resp_{}", self.identity.id),
            "object": "response",
            "created_at": self.identity.created,
            "status": status,
            "background": false,
            "error": error,
            "incomplete_details": if cut { json!({"reason": "max_output_tokens"}) } else { Value::Null },
            "max_tool_calls": null,
            "model": MODEL_ID,
            "output": output,
            "previous_response_id": null,
            "prompt_cache_key": null,
            "reasoning": {"effort": null, "summary": null},
            "safety_identifier": null,
            "service_tier": "default",
            "store": false,
            "text": {"format": {"type": "text"}, "verbosity": "medium"},
            "tools": [],
            "top_logprobs": 0,
            "truncation": "disabled",
            "usage": usage,
            "user": null,
        });
        for (name, value) in &self.echo {
            response[name] = value.clone();
        }
        response
    }

    fn done(&self, output_tokens: usize) -> Value {
        let usage = json!({
            "input_tokens": self.input_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": self.input_tokens + output_tokens,
        });
        let output = json!([self.item(self.status(), json!([self.part()]))]);
        self.response(self.status(), output, usage, Value::Null)
    }

    /// Writes an event: its type, its number, and `fields`.
    fn event(&mut self, kind: &str, mut fields: Value, out: &mut String) {
        fields["type"] = kind.into();
        fields["sequence_number"] = self.number.into();
        self.number += 1;
        out.push_str(&format!("event: {kind}\ndata: {fields}\n\n"));
    }

    /// Where an event belongs, with one more field.
    fn place(&self, name: &str, value: Value) -> Value {
        let mut place = json!({"item_id": self.item_id(), "output_index": 0, "content_index": 0});
        place[name] = value;
        place
    }

    fn begin(&mut self, out: &mut String) {
        let response = self.response("in_progress", json!([]), Value::Null, Value::Null);
        self.event("response.created", json!({"response": response.clone()}), out);
        self.event("response.in_progress", json!({"response": response}), out);
        let item = self.item("in_progress", json!([]));
        self.event("response.output_item.added", json!({"output_index": 0, "item": item}), out);
        let part = self.place("part", self.part());
        self.event("response.content_part.added", part, out);
    }

    fn end(&mut self, output_tokens: usize, out: &mut String) {
        let mut text = self.place("text", self.text.clone().into());
        text["logprobs"] = json!([]);
        self.event("response.output_text.done", text, out);
        let part = self.place("part", self.part());
        self.event("response.content_part.done", part, out);
        let item = self.item(self.status(), json!([self.part()]));
        self.event("response.output_item.done", json!({"output_index": 0, "item": item}), out);
        let kind = format!("response.{}", self.status());
        let response = self.done(output_tokens);
        self.event(&kind, json!({"response": response}), out);
    }
}

impl Render for ResponsesAnswer {
    fn events(&mut self, progress: Progress, out: &mut String) {
        match progress {
            Progress::Refused(_) => {}
            Progress::Started { prompt_tokens } => {
                self.input_tokens = prompt_tokens;
                self.begin(out);
            }
            Progress::Text { text, .. } => {
                self.text.push_str(&text);
                let mut delta = self.place("delta", text.into());
                delta["logprobs"] = json!([]);
                self.event("response.output_text.delta", delta, out);
            }
            Progress::Ended { finish, .. } => self.finish = finish,
            Progress::Done { completion_tokens } => self.end(completion_tokens, out),
        }
    }

    fn broken(&mut self, refusal: &LocalRefusal, out: &mut String) {
        let error = json!({"code": "server_error", "message": refusal.message});
        let response = self.response("failed", json!([]), Value::Null, error);
        self.event("response.failed", json!({"response": response}), out);
    }

    fn collect(&mut self, progress: Progress) -> Option<Value> {
        match progress {
            Progress::Refused(_) => {}
            Progress::Started { prompt_tokens } => self.input_tokens = prompt_tokens,
            Progress::Text { text, .. } => self.text.push_str(&text),
            Progress::Ended { finish, .. } => self.finish = finish,
            Progress::Done { completion_tokens } => return Some(self.done(completion_tokens)),
        }
        None
    }
}
