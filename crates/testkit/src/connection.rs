//! HTTP/1.1 by hand: reading requests rightly, writing answers as wrongly as scripted.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::Shared;
use crate::answers::{self, Body, Reply, Request};
use crate::record::{BODY_BYTES_MAX, RECORDS_MAX, Recorded};
use crate::script::{Encoding, Script};

/// Largest head read.
const HEAD_BYTES_MAX: usize = 256 * 1024;

/// A listener that shares its port with its siblings.
pub(crate) fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// Serves a listener on the current thread until it is stopped.
pub(crate) fn run(listener: TcpListener, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async move {
        let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        let shared = Arc::clone(&shared);
                        tokio::spawn(async move {
                            let _ = stream.set_nodelay(true);
                            // A broken connection is the test's business, not ours.
                            let _ = Connection { stream, buffer: Vec::with_capacity(8192), shared }.serve().await;
                        });
                    }
                }
                _ = stopped.wait_for(|stop| *stop) => return,
            }
        }
    });
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    shared: Arc<Shared>,
}

impl Connection {
    async fn serve(mut self) -> io::Result<()> {
        loop {
            let Some(head) = self.head().await? else { return Ok(()) };
            if self.is_fast(&head) && self.fast(&head).await? {
                continue;
            }
            let whole = self.body(&head).await;
            if !self.exchange(head, whole).await? {
                return Ok(());
            }
        }
    }

    /// Reads a request's head; `None` at the connection's end.
    async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(head) = Head::parse(&self.buffer)? {
                return Ok(Some(head));
            }
            if self.buffer.len() > HEAD_BYTES_MAX || self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Whether a load test's short cut may be taken: nothing is recorded, nothing is scripted.
    fn is_fast(&self, head: &Head) -> bool {
        !self.shared.record
            && head.target == "/v1/chat/completions"
            && head.length.is_some()
            && head.header("x-script").is_none()
            && self.shared.state().scripts.is_empty()
    }

    /// Answers a chat completion from prepared bytes.
    async fn fast(&mut self, head: &Head) -> io::Result<bool> {
        let end = head.bytes + head.length.unwrap_or(0);
        while self.buffer.len() < end {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let body = &self.buffer[head.bytes..end];
        let streams =
            memchr::memmem::find(body, b"\"stream\":true").or_else(|| memchr::memmem::find(body, b"\"stream\": true"));
        let answer = if streams.is_some() { &*answers::FAST_STREAM } else { &*answers::FAST_JSON };
        self.buffer.drain(..end);
        self.stream.write_all(answer).await?;
        Ok(true)
    }

    /// Reads a request's body; whether it came whole.
    async fn body(&mut self, head: &Head) -> (Vec<u8>, bool) {
        self.buffer.drain(..head.bytes);
        if head.header("expect").is_some() {
            let _ = self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await;
        }
        let mut body = Vec::new();
        let whole = if head.is_chunked {
            self.chunks(&mut body).await
        } else {
            self.take(head.length.unwrap_or(0), &mut body).await
        };
        (body, whole.is_ok())
    }

    async fn take(&mut self, mut count: usize, into: &mut Vec<u8>) -> io::Result<()> {
        while count > 0 {
            if self.buffer.is_empty() && self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let part = count.min(self.buffer.len());
            into.extend_from_slice(&self.buffer[..part]);
            self.buffer.drain(..part);
            count -= part;
        }
        Ok(())
    }

    async fn chunks(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                self.take(1, &mut line).await?;
            }
            let text = String::from_utf8_lossy(&line);
            let size = usize::from_str_radix(text.trim().split(';').next().unwrap_or_default(), 16)
                .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            self.take(size, into).await?;
            self.take(2, &mut Vec::new()).await?;
            if size == 0 {
                return Ok(());
            }
        }
    }

    /// Records a request and answers it; whether the connection goes on.
    async fn exchange(&mut self, head: Head, (body, is_whole): (Vec<u8>, bool)) -> io::Result<bool> {
        let path = head.target.split('?').next().unwrap_or_default().to_owned();
        if path.starts_with("/_") {
            let reply = self.control(&head.method, &path, &body);
            return self.write(&reply, &Script::default(), None).await;
        }
        let (number, script) = self.note(&head, &path, &body, is_whole);
        if !is_whole {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(script.delay_head_ms)).await;
        if script.disconnect {
            return Ok(false);
        }
        if script.garbage {
            self.stream.write_all(b"\x00\xff\xfenot http at all\r\n\r\n").await?;
            return Ok(false);
        }
        let reply = {
            let request = Request { method: &head.method, path: &path, headers: &head.headers, body: &body, number };
            answers::answer(&request, &script, &self.shared)
        };
        self.write(&reply, &script, Some(number)).await
    }

    /// Records the request and takes the script that is meant for it.
    fn note(&self, head: &Head, path: &str, body: &[u8], is_whole: bool) -> (u64, Script) {
        let own = head.header("x-script").map(|text| serde_json::from_str(text).expect("x-script holds a script"));
        let mut state = self.shared.state();
        let number = state.requests;
        state.requests += 1;
        let script = own.unwrap_or_else(|| {
            let Some(at) = state.scripts.iter().position(|script| script.matches(&head.method, path)) else {
                return Script::default();
            };
            let script = state.scripts[at].clone();
            if script.times <= 1 {
                state.scripts.remove(at);
            } else {
                state.scripts[at].times -= 1;
            }
            script
        });
        if self.shared.record && state.recorded.len() < RECORDS_MAX {
            let kept = &body[..body.len().min(BODY_BYTES_MAX)];
            state.recorded.push(Recorded {
                number,
                method: head.method.clone(),
                target: head.target.clone(),
                headers: head.headers.clone(),
                body: kept.to_vec(),
                body_text: String::from_utf8_lossy(kept).into_owned(),
                is_whole,
                ..Recorded::default()
            });
        }
        (number, script)
    }

    /// Scripts and records over HTTP.
    fn control(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        let mut state = self.shared.state();
        match (method, path) {
            ("POST", "/_script") => match serde_json::from_slice(body) {
                Ok(script) => {
                    state.scripts.push(script);
                    Reply::json(200, &json!({"ok": true}))
                }
                Err(error) => Reply::json(400, &json!({"error": {"message": error.to_string()}})),
            },
            ("GET", "/_record") => Reply::json(200, &json!(state.recorded)),
            ("DELETE", "/_record") => {
                state.recorded.clear();
                state.scripts.clear();
                Reply::json(200, &json!({"ok": true}))
            }
            _ => Reply::json(404, &json!({"error": {"message": "POST /_script, GET /_record, DELETE /_record"}})),
        }
    }

    /// Writes an answer as the script wants it; whether the connection goes on.
    async fn write(&mut self, reply: &Reply, script: &Script, number: Option<u64>) -> io::Result<bool> {
        let (body, is_stream) = encoded(&reply.body, script);
        let mut headers = reply.headers.clone();
        let until_close = script.until_close || script.http10;
        let chunked = is_stream && !until_close;
        if let Some(encoding) = script.encoding {
            let name = match encoding {
                Encoding::Gzip => "gzip",
                Encoding::Deflate => "deflate",
                Encoding::Br => "br",
                Encoding::Unknown => "x-nobody-knows",
            };
            headers.push(("content-encoding".into(), name.into()));
        }
        let length: usize = body.iter().map(Vec::len).sum();
        match (chunked, until_close) {
            (true, _) => headers.push(("transfer-encoding".into(), "chunked".into())),
            (false, true) => headers.push(("connection".into(), "close".into())),
            (false, false) => headers.push(("content-length".into(), length.to_string())),
        }
        if script.huge_headers_bytes > 0 {
            headers.push(("x-huge".into(), "h".repeat(script.huge_headers_bytes)));
        }
        self.sent(number, reply.status, &headers, &body);
        let mut head = String::new();
        if script.informational {
            head.push_str("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n");
        }
        let version = if script.http10 { "HTTP/1.0" } else { "HTTP/1.1" };
        head.push_str(&format!("{version} {} Scripted\r\n", reply.status));
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        head.push_str("\r\n");
        let result = self.pieces(head.into_bytes(), &body, script, chunked).await;
        let goes_on = matches!(result, Ok(true)) && !until_close;
        if let Some(number) = number {
            let mut state = self.shared.state();
            if let Some(recorded) = state.recorded.iter_mut().find(|recorded| recorded.number == number) {
                recorded.is_answered = matches!(result, Ok(true));
                recorded.client_left = result.is_err();
            }
        }
        Ok(goes_on)
    }

    fn sent(&self, number: Option<u64>, status: u16, headers: &[(String, String)], body: &[Vec<u8>]) {
        let Some(number) = number else { return };
        let mut state = self.shared.state();
        if let Some(recorded) = state.recorded.iter_mut().find(|recorded| recorded.number == number) {
            recorded.status = status;
            recorded.sent_headers = headers.to_vec();
            recorded.sent_body = body.concat();
        }
    }

    /// Writes head and body; `false` when the script broke it off, an error when the client left.
    async fn pieces(&mut self, head: Vec<u8>, body: &[Vec<u8>], script: &Script, chunked: bool) -> io::Result<bool> {
        let is_plain = script.delay_chunk_ms == 0 && script.chunk_bytes == 0 && body.len() <= 1;
        let mut buffer = head;
        if !is_plain {
            self.stream.write_all(&buffer).await?;
            buffer.clear();
        }
        let mut written = 0;
        for part in body {
            let step = if script.chunk_bytes == 0 { part.len().max(1) } else { script.chunk_bytes };
            for piece in part.chunks(step) {
                if script.delay_chunk_ms > 0 {
                    self.wait(Duration::from_millis(script.delay_chunk_ms)).await?;
                }
                let stop = [script.cut_after, script.reset_after, script.stall_after].into_iter().flatten().min();
                let room = stop.map_or(piece.len(), |stop| stop.saturating_sub(written).min(piece.len()));
                if chunked && room > 0 {
                    buffer.extend_from_slice(format!("{room:x}\r\n").as_bytes());
                }
                buffer.extend_from_slice(&piece[..room]);
                if chunked && room > 0 {
                    buffer.extend_from_slice(b"\r\n");
                }
                self.stream.write_all(&buffer).await?;
                buffer.clear();
                written += room;
                if stop.is_some_and(|stop| written >= stop) {
                    return self.broken_off(script).await;
                }
            }
        }
        if chunked {
            buffer.extend_from_slice(b"0\r\n\r\n");
        }
        self.stream.write_all(&buffer).await?;
        Ok(true)
    }

    async fn broken_off(&mut self, script: &Script) -> io::Result<bool> {
        if script.stall_after.is_some() {
            // Until the client leaves: a test that waits longer has failed anyway.
            self.wait(Duration::from_secs(3600)).await?;
        }
        if script.reset_after.is_some() {
            SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
        }
        Ok(false)
    }

    /// Waits, and notices when the client leaves meanwhile.
    async fn wait(&mut self, time: Duration) -> io::Result<()> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            read = self.stream.read_buf(&mut self.buffer) => match read? {
                0 => Err(io::ErrorKind::ConnectionAborted.into()),
                _ => Ok(()),
            },
        }
    }
}

/// The body's parts, encoded when the script says so; whether they are a stream.
fn encoded(body: &Body, script: &Script) -> (Vec<Vec<u8>>, bool) {
    let (parts, is_stream) = match body {
        _ if script.bomb_bytes > 0 => (vec![vec![0; script.bomb_bytes]], false),
        Body::Whole(bytes) => (vec![bytes.clone()], false),
        Body::Events(events) => (events.clone(), true),
    };
    match script.encoding {
        None | Some(Encoding::Unknown) => (parts, is_stream),
        Some(encoding) => (vec![encode(encoding, &parts.concat())], is_stream),
    }
}

fn encode(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut output = Vec::new();
    let written = match encoding {
        Encoding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(&mut output, flate2::Compression::default());
            encoder.write_all(bytes).and_then(|()| encoder.finish().map(|_| ()))
        }
        Encoding::Deflate => {
            let mut encoder = flate2::write::ZlibEncoder::new(&mut output, flate2::Compression::default());
            encoder.write_all(bytes).and_then(|()| encoder.finish().map(|_| ()))
        }
        Encoding::Br => brotli::CompressorWriter::new(&mut output, 4096, 5, 20).write_all(bytes),
        Encoding::Unknown => Write::write_all(&mut output, bytes),
    };
    written.expect("memory takes every write");
    output
}

/// A request's head.
struct Head {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    bytes: usize,
    length: Option<usize>,
    is_chunked: bool,
}

impl Head {
    fn parse(buffer: &[u8]) -> io::Result<Option<Head>> {
        let mut headers = [httparse::EMPTY_HEADER; 256];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(buffer).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let httparse::Status::Complete(bytes) = parsed else { return Ok(None) };
        let pair = |header: &httparse::Header<'_>| {
            (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned())
        };
        let mut head = Head {
            method: request.method.unwrap_or_default().to_owned(),
            target: request.path.unwrap_or_default().to_owned(),
            headers: request.headers.iter().map(pair).collect(),
            bytes,
            length: None,
            is_chunked: false,
        };
        head.length = head.header("content-length").and_then(|value| value.parse().ok());
        head.is_chunked = head.header("transfer-encoding").is_some();
        Ok(Some(head))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// The JSON of a body, or null.
pub(crate) fn json_of(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or(Value::Null)
}
