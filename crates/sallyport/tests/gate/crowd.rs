//! Many clients at once: hundreds of connections on one thread, each with one call at a time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use testkit::Billing;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::books::{sum, total};
use crate::client::Answer;
use crate::world::World;

/// Longest wait for an answer before a test has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A thread for the crowd.
pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// Whether the heavy forms are wanted, which run for minutes.
pub(crate) fn is_heavy() -> bool {
    std::env::var("SALLYPORT_HEAVY").is_ok_and(|value| value == "1")
}

/// Where the gate listens now, and with which key one calls it.
#[derive(Clone)]
pub(crate) struct Door {
    address: watch::Receiver<SocketAddr>,
    bearer: Arc<str>,
}

impl Door {
    /// The gate of a world; the sender is told where it listens after a restart.
    pub(crate) fn of(world: &World) -> (watch::Sender<SocketAddr>, Door) {
        let (sender, address) = watch::channel(world.address);
        (sender, Door { address, bearer: format!("Bearer {}", world.project_key).into() })
    }
}

/// A client with a connection of its own.
pub(crate) struct Client {
    door: Door,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    pub(crate) fn new(door: &Door) -> Client {
        Client { door: door.clone(), connection: None }
    }

    async fn connection(&mut self) -> Option<&mut SendRequest<Full<Bytes>>> {
        if self.connection.as_ref().is_none_or(SendRequest::is_closed) {
            let address = *self.door.address.borrow_and_update();
            let stream = TcpStream::connect(address).await.ok()?;
            stream.set_nodelay(true).ok()?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
            tokio::spawn(connection);
            self.connection = Some(sender);
        }
        self.connection.as_mut()
    }

    /// One chat completion; `None` when the gate went away meanwhile. It is then back when this returns.
    pub(crate) async fn chat(&mut self, body: &Value) -> Option<Answer> {
        let answer = tokio::time::timeout(PATIENCE, self.try_chat(body)).await.expect("an answer in time");
        if answer.is_none() {
            self.connection = None;
            // Somewhere else, or here again after a moment.
            let _ = tokio::time::timeout(Duration::from_millis(200), self.door.address.changed()).await;
        }
        answer
    }

    async fn try_chat(&mut self, body: &Value) -> Option<Answer> {
        let bearer = Arc::clone(&self.door.bearer);
        let request = hyper::Request::post("/v1/chat/completions")
            .header("host", "gate.test")
            .header("authorization", &*bearer)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .expect("a request");
        let connection = self.connection().await?;
        connection.ready().await.ok()?;
        let (head, body) = connection.send_request(request).await.ok()?.into_parts();
        let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let body = body.collect().await.ok()?.to_bytes().to_vec();
        Some(Answer { status: head.status.as_u16(), headers, body, is_whole: true })
    }
}

/// A request to `gpt-4o`, whose output may be so many tokens, at its usual tier.
pub(crate) fn chat(output_tokens_max: u64) -> Value {
    json!({
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "Tell me of sally ports."}],
        "max_completion_tokens": output_tokens_max,
        "service_tier": "default",
    })
}

/// What everything that was billed costs, in nano-dollars.
pub(crate) fn cost(billing: &Billing) -> u128 {
    assert_eq!(billing.unlisted, 0, "every bill is looked at");
    total(&sum(&billing.billed))
}

/// A refusal for money is one that SDKs understand and do not try again.
pub(crate) fn expect_proper_refusal(answer: &Answer) {
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert_eq!(answer.error_code(), "project_spend_limit_exceeded");
    assert_eq!(answer.json()["error"]["type"], "insufficient_quota");
    assert_eq!((answer.header("x-should-retry"), answer.header("retry-after")), (Some("false"), None));
}

impl World {
    /// A metric of the gate.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.raw(b"GET /metrics HTTP/1.1\r\nHost: gate.test\r\n\r\n").text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_else(|| panic!("no metric {name} in:\n{text}"))
    }
}
