//! HTTP/1.1 by hand: reading requests rightly, writing answers as wrongly as scripted.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::Shared;
use crate::answers::{self, Body, Events, Reply, Request};
use crate::billing::Bill;
use crate::encode::{encoded, name_of};
use crate::head::Head;
use crate::record::{BODY_BYTES_MAX, RECORDS_MAX, Recorded};
use crate::script::Script;

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
        let sent = head.header("authorization").unwrap_or_default().trim_start_matches("Bearer ");
        !self.shared.record
            && head.target == "/v1/chat/completions"
            && head.length.is_some()
            && head.header("x-script").is_none()
            && head.header("expect").is_none()
            && {
                let state = self.shared.state();
                state.scripts.is_empty() && state.knows(sent)
            }
    }

    /// Answers a chat completion from prepared bytes; `false` where it must go the long way.
    async fn fast(&mut self, head: &Head) -> io::Result<bool> {
        let end = head.bytes + head.length.unwrap_or(0);
        while self.buffer.len() < end {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let Some(prepared) = answers::fast(&self.buffer[head.bytes..end], &self.shared) else { return Ok(false) };
        self.buffer.drain(..end);
        self.stream.write_all(&prepared.answer).await?;
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

    /// Records a request, answers it and closes its bill; whether the connection goes on.
    async fn exchange(&mut self, head: Head, (body, is_whole): (Vec<u8>, bool)) -> io::Result<bool> {
        let path = head.target.split('?').next().unwrap_or_default().to_owned();
        if path.starts_with("/_") {
            let reply = self.control(&head.method, &head.target, &body);
            return self.write(reply, &Script::default(), &mut Progress::default()).await;
        }
        let (number, script) = self.note(&head, &path, &body, is_whole);
        if !is_whole {
            return Ok(false);
        }
        let (reply, bill) = {
            let request = Request { method: &head.method, path: &path, headers: &head.headers, body: &body, number };
            if script.disconnect || script.garbage {
                (None, answers::bill_of(&request, &script, &self.shared).filter(|_| script.bill_failure))
            } else {
                let mut reply = answers::answer(&request, &script, &self.shared);
                let bill = reply.bill.take();
                (Some(reply), bill)
            }
        };
        if bill.is_some() {
            self.shared.state().books.begin();
        }
        let mut progress = Progress { number: Some(number), ..Progress::default() };
        let result = self.deliver(reply, &script, &mut progress).await;
        self.close(bill, &script, progress, result.is_err());
        result
    }

    /// Waits as scripted, then writes an answer, or none; whether the connection goes on.
    async fn deliver(&mut self, reply: Option<Reply>, script: &Script, progress: &mut Progress) -> io::Result<bool> {
        let Some(reply) = reply else {
            // A call that is answered by nothing was worked on to its end.
            progress.generated = u64::MAX;
            sleep(script.delay_head_ms).await;
            if script.garbage && !script.disconnect {
                self.stream.write_all(b"\x00\xff\xfenot http at all\r\n\r\n").await?;
            }
            return Ok(false);
        };
        if matches!(reply.body, Body::Whole(_)) {
            // It was generated before its first byte, and costs as much whether or not anybody takes it.
            progress.generated = u64::MAX;
        }
        sleep(script.delay_head_ms).await;
        self.write(reply, script, progress).await
    }

    /// Writes down how it ended, and what it cost: of the output what was generated by then, and what the model still
    /// ran on.
    fn close(&self, bill: Option<Bill>, script: &Script, progress: Progress, client_left: bool) {
        let Some(number) = progress.number else { return };
        let mut state = self.shared.state();
        // What was generated whole is kept whole, whoever left.
        if !progress.is_complete && progress.generated < u64::MAX {
            state.objects.cancel(&answers::response_id(number));
        }
        if let Some(bill) = bill {
            let generated = match progress.is_complete {
                true => u64::MAX,
                false => progress.generated.saturating_add(script.run_on_tokens),
            };
            state.books.end(bill.close(number, generated, progress.is_complete));
        }
        if let Some(recorded) = state.recorded(number) {
            recorded.is_answered = progress.is_complete;
            recorded.client_left = client_left;
            if !progress.sent.is_empty() {
                recorded.sent_body = progress.sent;
            }
        }
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

    /// Scripts, records and bills over HTTP.
    fn control(&self, method: &str, target: &str, body: &[u8]) -> Reply {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let done = || Reply::json(200, &json!({"ok": true}));
        let mut state = self.shared.state();
        match (method, path) {
            ("POST", "/_script") => match serde_json::from_slice(body) {
                Ok(script) => {
                    state.scripts.push(script);
                    done()
                }
                Err(error) => Reply::json(400, &json!({"error": {"message": error.to_string()}})),
            },
            ("GET", "/_record") => Reply::json(200, &json!(state.recorded)),
            ("DELETE", "/_record") => {
                state.forget_records();
                done()
            }
            ("GET", "/_billing") => {
                let with_list = !query.split('&').any(|pair| pair == "list=0");
                Reply::json(200, &json!(state.books.read(&self.shared.fast.counted(), with_list)))
            }
            ("DELETE", "/_billing") => {
                state.books.clear();
                self.shared.fast.clear();
                done()
            }
            _ => {
                let words = "POST /_script, GET or DELETE /_record, GET or DELETE /_billing";
                Reply::json(404, &json!({"error": {"message": words}}))
            }
        }
    }

    /// Writes an answer as the script wants it; whether the connection goes on.
    async fn write(&mut self, reply: Reply, script: &Script, progress: &mut Progress) -> io::Result<bool> {
        let body = encoded(reply.body, script);
        let mut headers = reply.headers;
        let until_close = script.until_close || script.http10;
        let chunked = matches!(body, Body::Events(_)) && !until_close;
        if let Some(encoding) = script.encoding {
            headers.push(("content-encoding".into(), name_of(encoding).into()));
        }
        match (&body, until_close) {
            (_, true) => headers.push(("connection".into(), "close".into())),
            (Body::Events(_), false) => headers.push(("transfer-encoding".into(), "chunked".into())),
            (Body::Whole(bytes), false) => headers.push(("content-length".into(), bytes.len().to_string())),
        }
        if script.huge_headers_bytes > 0 {
            headers.push(("x-huge".into(), "h".repeat(script.huge_headers_bytes)));
        }
        let head = head_of(reply.status, &headers, script);
        self.sent(progress.number, reply.status, headers, &body);
        let is_complete = match body {
            Body::Whole(bytes) => self.whole(head, &bytes, script).await?,
            Body::Events(events) => self.events(head, events, script, chunked, progress).await?,
        };
        progress.is_complete = is_complete;
        Ok(is_complete && !until_close)
    }

    /// Records what is about to be sent; the events of a stream follow when they were.
    fn sent(&self, number: Option<u64>, status: u16, headers: Vec<(String, String)>, body: &Body) {
        let Some(number) = number else { return };
        let mut state = self.shared.state();
        if let Some(recorded) = state.recorded(number) {
            recorded.status = status;
            recorded.sent_headers = headers;
            if let Body::Whole(bytes) = body {
                recorded.sent_body = bytes.clone();
            }
        }
    }

    /// Writes head and body; `false` when the script broke it off, an error when the client left.
    async fn whole(&mut self, mut head: Vec<u8>, body: &[u8], script: &Script) -> io::Result<bool> {
        if script.delay_chunk_ms > 0 || script.chunk_bytes > 0 {
            self.stream.write_all(&head).await?;
            head.clear();
        }
        let mut written = 0;
        let is_whole = self.pieces(head, body, script, false, &mut written).await?;
        if is_whole { Ok(true) } else { self.broken_off(script).await }
    }

    /// Writes head and events; `false` when the script broke it off, an error when the client left.
    ///
    /// `progress` says how much was generated when the last event was begun: whoever leaves during it pays for it.
    async fn events(
        &mut self,
        head: Vec<u8>,
        events: Events,
        script: &Script,
        chunked: bool,
        progress: &mut Progress,
    ) -> io::Result<bool> {
        self.stream.write_all(&head).await?;
        let mut written = 0;
        for event in events {
            if event.pause_ms > 0 {
                self.wait(Duration::from_millis(event.pause_ms)).await?;
            }
            self.still_there()?;
            progress.generated = progress.generated.max(event.generated);
            if self.shared.record && progress.sent.len() < BODY_BYTES_MAX {
                progress.sent.extend_from_slice(&event.bytes);
            }
            let is_whole = self.pieces(Vec::new(), &event.bytes, script, chunked, &mut written).await?;
            if !is_whole || script.break_after_tokens().is_some_and(|tokens| event.generated >= tokens) {
                return self.broken_off(script).await;
            }
        }
        if chunked {
            self.stream.write_all(b"0\r\n\r\n").await?;
        }
        Ok(true)
    }

    /// Writes a part of a body, in pieces as scripted, the first behind `buffer`; `false` when the script breaks it off.
    async fn pieces(
        &mut self,
        mut buffer: Vec<u8>,
        part: &[u8],
        script: &Script,
        chunked: bool,
        written: &mut usize,
    ) -> io::Result<bool> {
        let step = if script.chunk_bytes == 0 { part.len().max(1) } else { script.chunk_bytes };
        for piece in part.chunks(step) {
            if script.delay_chunk_ms > 0 {
                self.wait(Duration::from_millis(script.delay_chunk_ms)).await?;
            }
            let stop = [script.cut_after, script.reset_after, script.stall_after].into_iter().flatten().min();
            let room = stop.map_or(piece.len(), |stop| stop.saturating_sub(*written).min(piece.len()));
            if chunked && room > 0 {
                buffer.extend_from_slice(format!("{room:x}\r\n").as_bytes());
            }
            buffer.extend_from_slice(&piece[..room]);
            if chunked && room > 0 {
                buffer.extend_from_slice(b"\r\n");
            }
            self.stream.write_all(&buffer).await?;
            buffer.clear();
            *written += room;
            if stop.is_some_and(|stop| *written >= stop) {
                return Ok(false);
            }
        }
        self.stream.write_all(&buffer).await?;
        Ok(true)
    }

    async fn broken_off(&mut self, script: &Script) -> io::Result<bool> {
        if script.stall_after.is_some() || script.stall_after_tokens.is_some() {
            // Until the client leaves: a test that waits longer has failed anyway.
            self.wait(Duration::from_secs(3600)).await?;
        }
        if script.reset_after.is_some() || script.reset_after_tokens.is_some() {
            SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
        }
        Ok(false)
    }

    /// An error when the client is known to have left, without waiting for it.
    fn still_there(&mut self) -> io::Result<()> {
        match self.stream.try_read_buf(&mut self.buffer) {
            Ok(0) => Err(io::ErrorKind::ConnectionAborted.into()),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
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

/// Waits; not at all for no time, of which the timer would make a millisecond.
async fn sleep(time_ms: u64) {
    if time_ms > 0 {
        tokio::time::sleep(Duration::from_millis(time_ms)).await;
    }
}

/// How far an answer came.
#[derive(Default)]
struct Progress {
    /// Number of the request; none for what controls the upstream.
    number: Option<u64>,
    /// Tokens of output generated so far.
    generated: u64,
    /// Events sent so far, where they are recorded.
    sent: Vec<u8>,
    /// Whether it was written to its end.
    is_complete: bool,
}

fn head_of(status: u16, headers: &[(String, String)], script: &Script) -> Vec<u8> {
    let mut head = String::new();
    if script.informational {
        head.push_str("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n");
    }
    let version = if script.http10 { "HTTP/1.0" } else { "HTTP/1.1" };
    head.push_str(&format!("{version} {status} Scripted\r\n"));
    headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    head.push_str("\r\n");
    head.into_bytes()
}
