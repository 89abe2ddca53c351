//! Calls of the gate's data plane.
//!
//! Promises: an answer is bounded in size and time; a call that the gate or the upstream had no room for is tried again,
//! a few times.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use keys::Secret;
use serde_json::Value;

use crate::api::{Client, client};

/// Bytes of the longest answer that is read.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Time for one call: a local model on a busy machine takes its time.
const CALL_TIME_MAX: Duration = Duration::from_secs(180);
/// Waits before a call is made again.
const WAITS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(15)];

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The model's words, and whether the gate noticed something.
    Words { text: String, noticed: bool },
    /// The gate's refusal of the content, before or after the model spoke.
    Blocked,
    /// Neither.
    Failed(String),
}

/// A gate and a project's key.
pub(super) struct Target {
    uri: http::Uri,
    key: Secret,
    client: Client,
}

impl Target {
    pub(super) fn new(url: &str, key: Secret) -> Result<Target> {
        let root = url.trim_end_matches('/').trim_end_matches("/v1");
        let uri = format!("{root}/v1/chat/completions");
        Ok(Target { uri: uri.parse().with_context(|| format!("`{url}` is not a URL"))?, key, client: client() })
    }

    /// Asks, and waits where there was no room.
    pub(super) async fn ask(&self, body: &Value) -> Answer {
        let mut waits = WAITS.iter();
        loop {
            let answer = tokio::time::timeout(CALL_TIME_MAX, self.once(body)).await;
            let (is_busy, answer) = match answer {
                Err(_) => return Answer::Failed(format!("no answer within {} s", CALL_TIME_MAX.as_secs())),
                Ok(Err(error)) => return Answer::Failed(format!("{error:#}")),
                Ok(Ok(answer)) => answer,
            };
            match waits.next() {
                Some(wait) if is_busy => tokio::time::sleep(*wait).await,
                _ => return answer,
            }
        }
    }

    /// An answer, and whether it is worth asking again later.
    async fn once(&self, body: &Value) -> Result<(bool, Answer)> {
        let request = Request::post(self.uri.clone())
            .header(header::AUTHORIZATION, format!("Bearer {}", self.key.expose()))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(Bytes::from(body.to_string())))?;
        let response =
            self.client.request(request).await.with_context(|| format!("no gate answers at {}", self.uri))?;
        let status = response.status();
        let verdict = response.headers().get("x-sallyport-verdict");
        let noticed = verdict.is_some_and(|verdict| !verdict.as_bytes().starts_with(b"pass"));
        // A limit that is spent stays so for long, and the gate says it.
        let is_final = response.headers().get("x-should-retry").is_some_and(|retry| retry.as_bytes() == b"false");
        let is_busy = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) && !is_final;
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("the answer broke off or is too long: {error}"))?.to_bytes();
        let json: Value = serde_json::from_slice(&body).with_context(|| format!("status {status} without JSON"))?;
        Ok((is_busy, read(status, &json, noticed)))
    }
}

/// What an answer says.
pub(super) fn read(status: StatusCode, json: &Value, noticed: bool) -> Answer {
    if !status.is_success() {
        let field = |name: &str| json["error"][name].as_str().unwrap_or_default();
        return match field("code") {
            "content_filter" => Answer::Blocked,
            _ => Answer::Failed(format!("{status}: {}", field("message"))),
        };
    }
    let choice = &json["choices"][0];
    if choice["finish_reason"] == "content_filter" {
        return Answer::Blocked;
    }
    let message = &choice["message"];
    match message["content"].as_str().or(message["refusal"].as_str()) {
        // A model that thinks first may have spent all its tokens on that: it has resisted nothing.
        Some("") if choice["finish_reason"] == "length" => {
            Answer::Failed("cut off before its first word: raise --answer-tokens".into())
        }
        Some(text) => Answer::Words { text: text.to_owned(), noticed },
        None => Answer::Failed("an answer without words".into()),
    }
}
