//! What the upstream answers: by path, deterministic, with usage by [`crate::tokens`].

mod chat;
mod media;
mod objects;
mod responses;

use std::sync::LazyLock;

use serde_json::{Value, json};

pub(crate) use objects::Objects;

use crate::Shared;
use crate::connection::json_of;
use crate::script::Script;

/// When everything was made.
pub(crate) const CREATED: u64 = 1_760_000_000;

/// Words that answers are made of.
const WORDS: [&str; 8] = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"];

/// Pieces of text in an answer, where neither the request nor a script says otherwise.
const PIECES: usize = 8;

/// A request.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a [(String, String)],
    pub(crate) body: &'a [u8],
    pub(crate) number: u64,
}

impl Request<'_> {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        json_of(self.body)
    }

    /// The id of whatever this request makes.
    pub(crate) fn id(&self, prefix: &str) -> String {
        format!("{prefix}{:024x}", self.number + 1)
    }
}

/// An answer's body.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// At once, with a length.
    Whole(Vec<u8>),
    /// Server-sent events.
    Events(Vec<Vec<u8>>),
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
}

impl Reply {
    pub(crate) fn json(status: u16, value: &Value) -> Reply {
        Reply::bytes(status, "application/json", value.to_string().into_bytes())
    }

    pub(crate) fn bytes(status: u16, content_type: &str, bytes: Vec<u8>) -> Reply {
        Reply { status, headers: vec![("content-type".into(), content_type.into())], body: Body::Whole(bytes) }
    }

    pub(crate) fn events(events: Vec<String>) -> Reply {
        let headers = vec![("content-type".into(), "text/event-stream; charset=utf-8".into())];
        Reply { status: 200, headers, body: Body::Events(events.into_iter().map(String::into_bytes).collect()) }
    }

    pub(crate) fn error(status: u16, kind: &str, code: Option<&str>, message: &str) -> Reply {
        Reply::json(status, &json!({"error": {"message": message, "type": kind, "param": null, "code": code}}))
    }
}

/// One event with JSON data.
pub(crate) fn event(name: Option<&str>, data: &Value) -> String {
    name.map_or_else(|| format!("data: {data}\n\n"), |name| format!("event: {name}\ndata: {data}\n\n"))
}

/// Answers a request as the script says.
pub(crate) fn answer(request: &Request<'_>, script: &Script, shared: &Shared) -> Reply {
    let mut reply = match refused(request, shared) {
        Some(reply) => reply,
        None => scripted(script).unwrap_or_else(|| route(request, script, shared)),
    };
    reply.headers.extend(script.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    reply.headers.extend(usual_headers(request));
    if script.echo_key {
        let key = request.header("authorization").unwrap_or_default().to_owned();
        reply.headers.push(("x-echo".into(), key.clone()));
        let echo = event(None, &json!({"choices": [], "echo": key}));
        match &mut reply.body {
            Body::Events(events) => events.insert(events.len() / 2, echo.into_bytes()),
            Body::Whole(bytes) => *bytes = json!({"echo": key}).to_string().into_bytes(),
        }
    }
    if let Body::Events(events) = &mut reply.body {
        deform(events, script);
    }
    reply
}

/// The real service's headers, cookies included.
fn usual_headers(request: &Request<'_>) -> Vec<(String, String)> {
    let pairs = [
        ("x-request-id", format!("req_upstream{:020}", request.number)),
        ("openai-organization", "upstream-organization".into()),
        ("openai-project", "proj_upstream".into()),
        ("openai-processing-ms", "12".into()),
        ("openai-version", "2020-10-01".into()),
        ("x-ratelimit-limit-requests", "10000".into()),
        ("x-ratelimit-remaining-requests", "9999".into()),
        ("x-ratelimit-reset-requests", "6ms".into()),
        ("set-cookie", "__cf_bm=upstream; path=/; HttpOnly".into()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// 401 for a wrong key, in the service's words.
fn refused(request: &Request<'_>, shared: &Shared) -> Option<Reply> {
    let key = shared.key.as_ref()?;
    let sent = request.header("authorization").unwrap_or_default().trim_start_matches("Bearer ");
    if sent == key {
        return None;
    }
    let masked: String = sent.chars().take(8).chain("****".chars()).chain(sent.chars().rev().take(4)).collect();
    let words =
        format!("Incorrect API key provided: {masked}. You can find your API key at https://platform.openai.com.");
    Some(Reply::error(401, "invalid_request_error", Some("invalid_api_key"), &words))
}

fn scripted(script: &Script) -> Option<Reply> {
    let status = script.status;
    match &script.body {
        Some(Value::String(text)) => {
            Some(Reply::bytes(status.unwrap_or(200), "application/json", text.clone().into_bytes()))
        }
        Some(value) => Some(Reply::json(status.unwrap_or(200), value)),
        None => status
            .map(|status| Reply::error(status, "scripted_error", Some("scripted"), &format!("Scripted {status}."))),
    }
}

fn route(request: &Request<'_>, script: &Script, shared: &Shared) -> Reply {
    match (request.method, request.path.trim_start_matches("/v1")) {
        ("POST", "/chat/completions") => chat::completion(request, script),
        ("POST", "/completions") => chat::legacy(request, script),
        ("POST", "/responses") => responses::create(request, script, shared),
        ("POST", "/embeddings") => media::embeddings(request),
        ("POST", "/moderations") => media::moderations(request),
        ("POST", "/images/generations" | "/images/edits" | "/images/variations") => media::images(request),
        ("POST", "/audio/speech") => media::speech(request),
        ("POST", "/audio/transcriptions" | "/audio/translations") => media::transcription(request),
        _ => objects::serve(request, shared),
    }
}

/// Text of so many pieces, and the pieces.
pub(crate) fn pieces(count: usize) -> Vec<String> {
    (0..count).map(|at| if at == 0 { WORDS[0].to_owned() } else { format!(" {}", WORDS[at % WORDS.len()]) }).collect()
}

/// How many pieces of text an answer has: by script, else by the request's cap, else [`PIECES`].
pub(crate) fn piece_count(body: &Value, script: &Script) -> usize {
    let caps = ["max_tokens", "max_completion_tokens", "max_output_tokens"];
    let cap = caps.iter().find_map(|name| body[*name].as_u64()).and_then(|cap| usize::try_from(cap).ok());
    script.pieces.unwrap_or_else(|| cap.map_or(PIECES, |cap| cap.min(PIECES)))
}

/// What a stream suffers by its script: comments, other line ends, a huge event, no last word.
fn deform(events: &mut Vec<Vec<u8>>, script: &Script) {
    if script.no_done {
        events.retain(|event| event != b"data: [DONE]\n\n");
    }
    if script.big_event_bytes > 0 {
        let big = format!(": {}\n\n", "x".repeat(script.big_event_bytes));
        events.insert(events.len() / 2, big.into_bytes());
    }
    for event in events {
        if script.comments {
            event.splice(0..0, b": keep-alive\n\n".iter().copied());
        }
        if script.crlf {
            *event = String::from_utf8_lossy(event).replace('\n', "\r\n").into_bytes();
        }
    }
}

/// A prepared chat completion for load tests.
pub(crate) static FAST_JSON: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let body = chat::whole("chatcmpl-load", "gpt-4o-mini", &pieces(PIECES).concat(), 250, 8).to_string();
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_load\r\nopenai-version: 2020-10-01\r\n";
    format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
});

/// A prepared stream for load tests: 20 events in one write.
pub(crate) static FAST_STREAM: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: req_load\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut answer = head.to_owned();
    for event in chat::stream("chatcmpl-load", "gpt-4o-mini", &pieces(17), None) {
        answer.push_str(&format!("{:x}\r\n{event}\r\n", event.len()));
    }
    answer.push_str("0\r\n\r\n");
    answer.into_bytes()
});
