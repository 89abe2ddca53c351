//! Reading the provider's Administration API with an admin key: usage and costs for reports of incidents.
//!
//! Promises: one connection a call, closed after it, so that none keeps an admin key in its buffers; every call and answer is
//! bounded; redirects are not followed; words of an error have the provider's status, never its text, which may show a
//! part of a key.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use keys::Secret;

use crate::settings::Upstream;

/// Longest wait for a whole answer.
const CALL_TIME_MAX: Duration = Duration::from_secs(15);
/// Largest answer: a page of 168 hours by model has some 400 kB.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a path (with its query) below an upstream's base address answers to an admin key. `upstream.key` is not sent.
///
/// # Errors
/// Why it does not, to follow "the provider was asked, and".
pub async fn read_provider(upstream: &Upstream, admin_key: &Secret, path: &str) -> Result<Bytes, String> {
    let reading = tokio::time::timeout(CALL_TIME_MAX, read(upstream, admin_key, path)).await;
    reading.unwrap_or_else(|_| Err(format!("it gave no whole answer within {} seconds", CALL_TIME_MAX.as_secs())))
}

async fn read(upstream: &Upstream, admin_key: &Secret, path: &str) -> Result<Bytes, String> {
    let unusable = || "the admin key or the address cannot be used in a request".to_owned();
    let mut bearer = HeaderValue::from_str(&format!("Bearer {}", admin_key.expose())).map_err(|_| unusable())?;
    bearer.set_sensitive(true);
    let request = Request::get(format!("{}://{}{}{path}", upstream.scheme, upstream.authority, upstream.base_path))
        .header(header::AUTHORIZATION, bearer)
        .body(Empty::<Bytes>::new())
        .map_err(|_| unusable())?;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    let tls = HttpsConnectorBuilder::new().with_tls_config(upstream.tls.clone());
    let connector = tls.https_or_http().enable_http1().wrap_connector(tcp);
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
    let answer = client.request(request).await.map_err(|_| "it cannot be reached".to_owned())?;
    let status = answer.status();
    if !status.is_success() {
        return Err(format!("it answered {status}"));
    }
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    body.map(|body| body.to_bytes()).map_err(|_| "its answer broke off, or is too large".to_owned())
}
