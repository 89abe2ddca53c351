//! Notices over HTTP, signed, in the shape of OpenAI's events.
//!
//! Promises: one request an attempt, to the address that the operator named and nowhere else; every time is bounded;
//! of the answer only the status is used. The body is the same at every attempt, the timestamp and with it the
//! signature are the attempt's own.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use keys::Secret;
use serde_json::json;
use store::Notice;

use crate::failure::SendError;
use crate::signature::SigningKey;

/// How long connecting may take, without TLS.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an attempt may take until the answer's head is there. Standard Webhooks: 15 to 30 seconds.
const ATTEMPT: Duration = Duration::from_secs(15);
/// How long the answer's body is read, so that the receiver can end its writing in peace.
const DRAIN: Duration = Duration::from_secs(2);
/// How much of it.
const DRAIN_BYTES_MAX: usize = 4_096;
/// How long an answer's head may be.
const HEAD_BYTES_MAX: usize = 64 * 1_024;

/// Where a webhook's notices go.
pub struct Target {
    /// Address, `https:` or `http:`. It is never printed: some carry a token.
    pub url: String,
    /// The signing secret, opened.
    pub secret: Secret,
}

/// Why an address cannot be a webhook's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// It is no URL.
    #[error("it is not a URL")]
    NoUrl,
    /// Another scheme.
    #[error("it does not begin with `https://` or `http://`")]
    Scheme,
    /// With a user name.
    #[error("it carries a user name or a password, which would not be sent")]
    User,
}

/// The address of a webhook, if it can be one.
///
/// # Errors
/// Says what is wrong with it.
pub fn checked_url(url: &str) -> Result<Uri, UrlFault> {
    let uri: Uri = url.parse().map_err(|_| UrlFault::NoUrl)?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(UrlFault::Scheme);
    }
    let authority = uri.authority().filter(|authority| !authority.host().is_empty()).ok_or(UrlFault::NoUrl)?;
    if authority.as_str().contains('@') {
        return Err(UrlFault::User);
    }
    Ok(uri)
}

/// Finds webhooks by id.
type Targets = dyn Fn(&str) -> Option<Target> + Send + Sync;

/// Sends notices to webhooks.
pub struct Webhooks {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    targets: Box<Targets>,
}

impl Webhooks {
    /// A sender that finds a webhook's address and secret with `targets`, anew for each attempt: what was changed is
    /// used at once.
    pub fn new(
        mut tls: rustls::ClientConfig,
        targets: impl Fn(&str) -> Option<Target> + Send + Sync + 'static,
    ) -> Webhooks {
        // The connector chooses the protocols itself.
        tls.alpn_protocols.clear();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT));
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        // Notices are rare: a kept connection would be a stale one. A retry within the client would be an attempt that
        // nobody counts.
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .retry_canceled_requests(false)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .build(connector);
        Webhooks { client, targets: Box::new(targets) }
    }

    /// One attempt. `now` is in Unix seconds.
    pub(crate) async fn send(&self, id: &str, notice: &Notice, now: i64) -> Result<(), SendError> {
        let target = (self.targets)(id).ok_or_else(|| SendError::UnknownWebhook(id.to_owned()))?;
        let request = request(&target, notice, now)?;
        let answer = tokio::time::timeout(ATTEMPT, self.client.request(request))
            .await
            .map_err(|_| SendError::TimedOut(ATTEMPT.as_secs()))?
            .map_err(|error| SendError::Unreachable(Box::new(error)))?;
        let status = answer.status();
        drain(answer).await;
        match status {
            status if status.is_success() => Ok(()),
            status if status.is_redirection() => Err(SendError::Redirect(status.as_u16())),
            status => Err(SendError::Status(status.as_u16())),
        }
    }
}

/// The signed request.
fn request(target: &Target, notice: &Notice, now: i64) -> Result<Request<Full<Bytes>>, SendError> {
    let uri = checked_url(&target.url).map_err(SendError::Url)?;
    let key = SigningKey::read(&target.secret).map_err(SendError::Secret)?;
    let body = body(notice);
    let signature = key.sign(&notice.id, now, &body);
    Request::post(uri)
        .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header(header::USER_AGENT, concat!("sallyport/", env!("CARGO_PKG_VERSION")))
        .header("webhook-id", &notice.id)
        .header("webhook-timestamp", now)
        .header("webhook-signature", signature)
        .body(Full::from(body))
        .map_err(|error| SendError::Unwritable(Box::new(error)))
}

/// The event, as OpenAI shapes its own.
fn body(notice: &Notice) -> Vec<u8> {
    json!({
        "id": notice.id,
        "object": "event",
        "type": notice.kind,
        "created_at": notice.created_at,
        "data": notice.payload,
    })
    .to_string()
    .into_bytes()
}

/// Reads a little of the answer's body and drops it; what becomes of it changes nothing.
async fn drain(answer: Response<Incoming>) {
    let mut body = answer.into_body();
    let reading = async {
        let mut read_bytes = 0;
        while read_bytes < DRAIN_BYTES_MAX
            && let Some(Ok(frame)) = body.frame().await
        {
            read_bytes += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    // Without a pool the connection closes with the body, read to its end or not.
    drop(tokio::time::timeout(DRAIN, reading).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_http_without_users() {
        for good in ["https://example.com/hook?token=1", "http://127.0.0.1:8080", "http://[::1]:80/x"] {
            assert!(checked_url(good).is_ok(), "{good}");
        }
        for (bad, fault) in [
            ("", UrlFault::NoUrl),
            ("not a url", UrlFault::NoUrl),
            ("/hook", UrlFault::Scheme),
            ("example.com", UrlFault::Scheme),
            ("ftp://example.com/", UrlFault::Scheme),
            ("file:///etc/passwd", UrlFault::NoUrl),
            ("https://user:password@example.com/", UrlFault::User),
        ] {
            assert_eq!(checked_url(bad), Err(fault), "{bad}");
        }
    }
}
