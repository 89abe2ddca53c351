//! A scripted receiver of webhooks: what it answers is said for each request in turn, the last answer for all others.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

/// What a receiver does with a request.
#[derive(Clone)]
pub(super) enum Answer {
    /// This status.
    Status(u16),
    /// This status, and where else to go.
    Elsewhere(u16, String),
    /// 204, once the semaphore gives a permit.
    Held(Arc<Semaphore>),
    /// Nothing ever. Time runs freely from the moment the request is there.
    Stall,
    /// 200 and a body that does not end.
    StallInBody,
    /// 200 and a body without end.
    Endless,
    /// The connection ends.
    HangUp,
    /// Something that is not HTTP.
    Garbage(&'static str),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Got {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Got {
    pub(super) fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let value = values.next().unwrap_or_else(|| panic!("{name} is missing in {}", self.head));
        assert!(values.next().is_none(), "{name} is there twice");
        value
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

#[derive(Default)]
struct State {
    answers: VecDeque<Answer>,
    got: Vec<Got>,
    at_once: usize,
    most_at_once: usize,
}

/// The receiver; it lives as long as the test's runtime.
pub(super) struct Receiver {
    address: String,
    state: Arc<Mutex<State>>,
    count: watch::Receiver<usize>,
}

impl Receiver {
    pub(super) async fn start(answers: impl Into<Vec<Answer>>) -> Receiver {
        Receiver::start_with(answers, None).await
    }

    pub(super) async fn start_with(answers: impl Into<Vec<Answer>>, tls: Option<TlsAcceptor>) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let state = Arc::new(Mutex::new(State { answers: VecDeque::from(answers.into()), ..State::default() }));
        let (counted, count) = watch::channel(0);
        let counted = Arc::new(counted);
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let (shared, counted, tls) = (Arc::clone(&shared), Arc::clone(&counted), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &shared, &counted).await,
                        // A client that does not trust us goes.
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &shared, &counted).await,
                            Err(_) => Some(()),
                        },
                    }
                });
            }
        });
        Receiver { address, state, count }
    }

    pub(super) fn url(&self, rest: &str) -> String {
        format!("http://{}{rest}", self.address)
    }

    pub(super) fn requests(&self) -> Vec<Got> {
        self.state.lock().expect("unpoisoned").got.clone()
    }

    pub(super) fn most_at_once(&self) -> usize {
        self.state.lock().expect("unpoisoned").most_at_once
    }

    /// Waits until this many requests came.
    pub(super) async fn wait_for(&mut self, requests: usize) {
        self.count.wait_for(|&count| count >= requests).await.expect("the receiver lives");
    }
}

/// One request of one connection; `None` when the client goes.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    state: &Mutex<State>,
    counted: &watch::Sender<usize>,
) -> Option<()> {
    let got = read(&mut stream).await?;
    let answer = {
        let mut state = state.lock().expect("unpoisoned");
        state.got.push(got);
        state.at_once += 1;
        state.most_at_once = state.most_at_once.max(state.at_once);
        if state.answers.len() > 1 { state.answers.pop_front() } else { state.answers.front().cloned() }
    };
    counted.send_modify(|count| *count += 1);
    let text = match answer? {
        Answer::Status(status) => format!("HTTP/1.1 {status} X\r\ncontent-length: 9\r\n\r\nsecretive"),
        Answer::Elsewhere(status, url) => {
            format!("HTTP/1.1 {status} X\r\nlocation: {url}\r\ncontent-length: 0\r\n\r\n")
        }
        Answer::Held(permits) => {
            permits.acquire().await.expect("open").forget();
            "HTTP/1.1 204 X\r\n\r\n".to_owned()
        }
        Answer::Stall => {
            tokio::time::pause();
            std::future::pending().await
        }
        Answer::StallInBody => {
            stream.write_all(b"HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\nx").await.ok()?;
            tokio::time::pause();
            std::future::pending().await
        }
        Answer::Endless => {
            stream.write_all(b"HTTP/1.1 200 X\r\n\r\n").await.ok()?;
            while stream.write_all(&[b'x'; 1_000]).await.is_ok() {}
            return None;
        }
        Answer::HangUp => return None,
        Answer::Garbage(text) => text.to_owned(),
    };
    state.lock().expect("unpoisoned").at_once -= 1;
    stream.write_all(text.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Got> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let mut got = Got { head: String::from_utf8(head).expect("text"), body: Vec::new() };
    got.body = vec![0; got.header("content-length").parse().expect("a length")];
    stream.read_exact(&mut got.body).await.ok()?;
    Some(got)
}
