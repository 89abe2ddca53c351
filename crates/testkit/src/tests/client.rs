//! A client for tests: one call on one connection, with the script in a header.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::{Options, Upstream};

/// What a call got.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("JSON: {}", self.body))
    }

    /// The data of its events.
    pub(super) fn events(&self) -> Vec<Value> {
        let data = self.body.split('\n').filter_map(|line| line.strip_prefix("data: "));
        data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).expect("an event's JSON")).collect()
    }

    /// The usage that it reports: of the answer, or of the events that have one.
    pub(super) fn usage(&self) -> Value {
        let documents = if self.body.starts_with('{') { vec![self.json()] } else { self.events() };
        let usage = |document: &Value| match &document["response"] {
            Value::Object(_) => document["response"]["usage"].clone(),
            _ => document["usage"].clone(),
        };
        let mut all = documents.iter().map(usage).filter(Value::is_object);
        let found = all.next().unwrap_or(Value::Null);
        assert!(all.next().is_none(), "usage is reported once: {}", self.body);
        found
    }
}

pub(super) fn upstream() -> Upstream {
    Upstream::start(Options::default())
}

/// A request for a path, as bytes.
pub(super) fn request(method: &str, path: &str, script: &Value, (kind, body): (&str, &[u8])) -> Vec<u8> {
    let mut script = script.clone();
    if script.is_null() {
        script = json!({});
    }
    // The end of the connection ends the answer, so that nobody has to read HTTP here.
    script["http10"] = json!(true);
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nx-script: {script}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Opens a connection and sends a POST of JSON.
pub(super) fn begin(upstream: &Upstream, path: &str, script: &Value, body: &Value) -> TcpStream {
    let mut stream = TcpStream::connect(upstream.address()).expect("connects");
    let bytes = request("POST", path, script, ("application/json", body.to_string().as_bytes()));
    stream.write_all(&bytes).expect("writes");
    stream
}

/// Reads to the connection's end.
pub(super) fn end(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // A reset is an end like another.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, body: body.to_owned() }
}

/// A POST of JSON under a script.
pub(super) fn post(upstream: &Upstream, path: &str, script: &Value, body: &Value) -> Answer {
    end(begin(upstream, path, script, body))
}

/// A POST of a form under a script; a field with the name `file` or `image` is a file.
pub(super) fn form(upstream: &Upstream, path: &str, script: &Value, fields: &[(&str, &str)]) -> Answer {
    let mut body = String::new();
    for (name, value) in fields {
        let file = if ["file", "image"].contains(name) { "; filename=\"a.bin\"\r\ncontent-type: a/b" } else { "" };
        body.push_str(&format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n{value}\r\n"));
    }
    body.push_str("--b--\r\n");
    let mut stream = TcpStream::connect(upstream.address()).expect("connects");
    let kind = "multipart/form-data; boundary=b";
    stream.write_all(&request("POST", path, script, (kind, body.as_bytes()))).expect("writes");
    end(stream)
}

/// A call without a body and without a script.
pub(super) fn plain(upstream: &Upstream, method: &str, path: &str) -> Answer {
    let mut stream = TcpStream::connect(upstream.address()).expect("connects");
    stream.write_all(&request(method, path, &Value::Null, ("text/plain", b""))).expect("writes");
    // Answers about scripts and bills leave the connection open: this ends it behind them.
    stream.shutdown(std::net::Shutdown::Write).expect("shuts");
    end(stream)
}
