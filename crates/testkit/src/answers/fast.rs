//! The short cut of load tests: plain chat completions from prepared bytes.
//!
//! A request takes it if its answer depends on nothing but the model, the prompt's size and how it wants to be answered.
//! Such answers are prepared once and counted; their bills are the prepared one, so many times.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

use super::chat::{self, Chunks, Head};
use super::usage::{self, Input, Output};
use super::{PIECES, Request, text};
use crate::billing::Billed;
use crate::script::Script;
use crate::{Shared, tokens};

/// Pieces of a stream: 20 events with its first, its last and its end.
const STREAM_PIECES: usize = 17;
/// Most answers prepared; further requests go the long way.
const PREPARED_MAX: usize = 64;

/// The members of a request that takes the short cut; one with any other goes the long way.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain<'b> {
    model: &'b str,
    messages: Compact,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    stream_options: StreamOptions,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    store: Option<bool>,
    service_tier: Option<&'b str>,
    #[serde(rename = "temperature")]
    _temperature: Option<IgnoredAny>,
    #[serde(rename = "top_p")]
    _top_p: Option<IgnoredAny>,
    #[serde(rename = "user")]
    _user: Option<IgnoredAny>,
    #[serde(rename = "safety_identifier")]
    _safety_identifier: Option<IgnoredAny>,
    #[serde(rename = "prompt_cache_key")]
    _prompt_cache_key: Option<IgnoredAny>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StreamOptions {
    include_usage: bool,
    #[serde(rename = "include_obfuscation")]
    _include_obfuscation: Option<IgnoredAny>,
}

/// What an answer depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shape<'m> {
    model: &'m str,
    prompt: u64,
    is_stream: bool,
    with_usage: bool,
}

/// An answer, its bill, and how often it was given.
pub(crate) struct Prepared {
    model: String,
    prompt: u64,
    is_stream: bool,
    with_usage: bool,
    /// Head and body.
    pub(crate) answer: Vec<u8>,
    billed: Billed,
    times: AtomicU64,
}

impl Prepared {
    fn shape(&self) -> Shape<'_> {
        let Prepared { model, prompt, is_stream, with_usage, .. } = self;
        Shape { model, prompt: *prompt, is_stream: *is_stream, with_usage: *with_usage }
    }

    fn new(shape: &Shape<'_>) -> Prepared {
        let request = Request { method: "POST", path: "/v1/chat/completions", headers: &[], body: &[], number: 0 };
        let pieces = if shape.is_stream { STREAM_PIECES } else { PIECES };
        let script = Script { prompt_tokens: Some(shape.prompt), ..Script::default() };
        let generated = Script { completion_tokens: Some(tokens(&text(pieces))), pieces: Some(pieces), ..script };
        let input = Input::new(&generated, 0);
        let output = Output::new(&request, &generated, (None, 1), |_| 0);
        let usage = usage::of_chat(&generated, &input, &output);
        let head = Head { id: "chatcmpl-load".to_owned(), model: json!(shape.model), tier: "default".to_owned() };
        let bill = usage::bill(&request, shape.model, "default", &input, &output);
        let answer = if shape.is_stream {
            stream(Chunks { head, with_usage: shape.with_usage }, output, &usage)
        } else {
            whole(&head, pieces, usage)
        };
        let Shape { model, prompt, is_stream, with_usage } = shape.clone();
        let (model, billed) = (model.to_owned(), bill.close(0, u64::MAX, true));
        Prepared { model, prompt, is_stream, with_usage, answer, billed, times: AtomicU64::new(0) }
    }
}

fn whole(head: &Head, pieces: usize, usage: Value) -> Vec<u8> {
    let body = chat::whole(head, vec![chat::choice(0, &chat::message(&text(pieces)), "stop")], usage).to_string();
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_load\r\nopenai-version: 2020-10-01\r\n";
    format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn stream(chunks: Chunks, output: Output, usage: &Value) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: req_load\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut answer = head.as_bytes().to_vec();
    let mut add = |event: &[u8]| {
        answer.extend_from_slice(format!("{:x}\r\n", event.len()).as_bytes());
        answer.extend_from_slice(event);
        answer.extend_from_slice(b"\r\n");
    };
    add(chunks.opening(0).as_bytes());
    chat::words(&chunks, 1, output).for_each(|event| add(&event.bytes));
    add(chunks.delta(0, &json!({}), &json!("stop")).as_bytes());
    chunks.closing(usage).iter().for_each(|event| add(event.as_bytes()));
    answer.extend_from_slice(b"0\r\n\r\n");
    answer
}

/// Everything prepared so far.
#[derive(Default)]
pub(crate) struct Fast {
    prepared: RwLock<Vec<Arc<Prepared>>>,
}

impl Fast {
    fn find(&self, shape: &Shape<'_>) -> Option<Arc<Prepared>> {
        let prepared = self.prepared.read().unwrap_or_else(PoisonError::into_inner);
        prepared.iter().find(|known| known.shape() == *shape).cloned()
    }

    fn prepare(&self, shape: &Shape<'_>) -> Option<Arc<Prepared>> {
        let mut prepared = self.prepared.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = prepared.iter().find(|known| known.shape() == *shape) {
            return Some(Arc::clone(known));
        }
        if prepared.len() == PREPARED_MAX {
            return None;
        }
        let new = Arc::new(Prepared::new(shape));
        prepared.push(Arc::clone(&new));
        Some(new)
    }

    /// What the answers given were billed, and how often.
    pub(crate) fn counted(&self) -> Vec<(Billed, u64)> {
        let prepared = self.prepared.read().unwrap_or_else(PoisonError::into_inner);
        prepared.iter().map(|known| (known.billed.clone(), known.times.load(Ordering::Relaxed))).collect()
    }

    /// Forgets how often.
    pub(crate) fn clear(&self) {
        let prepared = self.prepared.read().unwrap_or_else(PoisonError::into_inner);
        prepared.iter().for_each(|known| known.times.store(0, Ordering::Relaxed));
    }
}

/// The prepared answer to a chat completion, already counted; `None` where it must go the long way.
pub(crate) fn fast(body: &[u8], shared: &Shared) -> Option<Arc<Prepared>> {
    let plain: Plain<'_> = serde_json::from_slice(body).ok()?;
    let pieces = if plain.stream { STREAM_PIECES } else { PIECES };
    // Both at once are an error.
    if plain.max_tokens.is_some() && plain.max_completion_tokens.is_some() {
        return None;
    }
    let cap = plain.max_tokens.or(plain.max_completion_tokens);
    let is_usual = plain.store != Some(true) && matches!(plain.service_tier, None | Some("auto" | "default"));
    if !is_usual || cap.is_some_and(|cap| cap < tokens(&text(pieces))) {
        return None;
    }
    let shape = Shape {
        model: plain.model,
        prompt: plain.messages.0.div_ceil(4).max(1),
        is_stream: plain.stream,
        with_usage: plain.stream && plain.stream_options.include_usage,
    };
    let prepared = shared.fast.find(&shape).or_else(|| shared.fast.prepare(&shape))?;
    prepared.times.fetch_add(1, Ordering::Relaxed);
    Some(prepared)
}

/// Bytes of a JSON value as [`Value`] would write it, without making one.
struct Compact(u64);

impl<'de> Deserialize<'de> for Compact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Compact, D::Error> {
        deserializer.deserialize_any(Measure)
    }
}

struct Measure;

impl<'de> Visitor<'de> for Measure {
    type Value = Compact;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Compact, E> {
        Ok(Compact(if value { 4 } else { 5 }))
    }

    fn visit_unit<E>(self) -> Result<Compact, E> {
        Ok(Compact(4))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Compact, E> {
        Ok(Compact(value.to_string().len() as u64))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Compact, E> {
        Ok(Compact(value.to_string().len() as u64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Compact, E> {
        Ok(Compact(json!(value).to_string().len() as u64))
    }

    fn visit_str<E>(self, value: &str) -> Result<Compact, E> {
        let escaped = |byte: u8| match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 1,
            0..0x20 => 5,
            _ => 0,
        };
        Ok(Compact(value.len() as u64 + 2 + value.bytes().map(escaped).sum::<u64>()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Compact, A::Error> {
        let mut bytes = 2;
        let mut separator = 0;
        while let Some(Compact(item)) = items.next_element()? {
            bytes += item + separator;
            separator = 1;
        }
        Ok(Compact(bytes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Compact, A::Error> {
        let mut bytes = 2;
        let mut separator = 0;
        while let Some((Compact(name), Compact(value))) = members.next_entry()? {
            bytes += name + 1 + value + separator;
            separator = 1;
        }
        Ok(Compact(bytes))
    }
}
