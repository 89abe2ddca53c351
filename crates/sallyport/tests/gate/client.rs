//! A client that shows every byte: HTTP/1.1 by hand, one connection a request unless told otherwise.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longest wait for bytes before a test has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// Without chunking.
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its end by its own framing.
    pub(crate) is_whole: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// `error.code`, after checking that the answer is an error in the API's shape.
    pub(crate) fn error_code(&self) -> String {
        let error = &self.json()["error"];
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{}", self.text());
        assert!(
            error["type"].is_string() && error.get("param").is_some() && error.get("code").is_some(),
            "{}",
            self.text()
        );
        assert!(self.header("x-request-id").is_some_and(|id| id.starts_with("req_")), "{:?}", self.headers);
        error["code"].as_str().unwrap_or("null").to_owned()
    }
}

/// A connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Connection {
        let stream = TcpStream::connect(address).expect("the gate listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Connection { stream, buffer: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        // The gate may answer and close before it has read everything: that is its right.
        let _ = self.stream.write_all(bytes);
    }

    fn more(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                true
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                panic!("the gate was silent for {PATIENCE:?}; so far: {}", String::from_utf8_lossy(&self.buffer))
            }
            Err(_) => false,
        }
    }

    /// Reads until `needle` came; what came up to its end.
    pub(crate) fn until(&mut self, needle: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = find(&self.buffer, needle) {
                return Some(self.buffer.drain(..at + needle.len()).collect());
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// Reads everything up to the connection's end.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.buffer)
    }

    /// Reads an answer's head.
    pub(crate) fn head(&mut self) -> Option<Answer> {
        let head = String::from_utf8(self.until(b"\r\n\r\n")?).expect("a text head");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let pair = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
        let headers = lines.filter_map(pair).collect();
        Some(Answer { status: status.unwrap_or_else(|| panic!("{head}")), headers, body: Vec::new(), is_whole: false })
    }

    /// Reads one whole answer.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        let mut answer = self.head()?;
        if answer.status == 100 {
            answer = self.head()?;
        }
        if answer.header("transfer-encoding").is_some() {
            loop {
                let Some(size) = self.until(b"\r\n") else { return Some(answer) };
                let size = usize::from_str_radix(String::from_utf8_lossy(&size).trim(), 16).expect("a chunk size");
                let Some(chunk) = self.take(size + 2) else { return Some(answer) };
                answer.body.extend_from_slice(&chunk[..size]);
                if size == 0 {
                    answer.is_whole = true;
                    return Some(answer);
                }
            }
        }
        let length: usize = answer.header("content-length").map_or(0, |length| length.parse().expect("a length"));
        match self.take(length) {
            Some(body) => (answer.body, answer.is_whole) = (body, true),
            None => answer.body = std::mem::take(&mut self.buffer),
        }
        Some(answer)
    }

    fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.more() {
                return None;
            }
        }
        Some(self.buffer.drain(..count).collect())
    }
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// A request's bytes.
pub(crate) fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: gate.test\r\n");
    headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
    let has_length = headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding"));
    if !has_length && (!body.is_empty() || method == "POST") {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    [text.as_bytes(), body].concat()
}
