//! Connections to the upstream: pooled per worker, HTTP/1.1 or HTTP/2, bounded in every time, retried only where
//! nothing can happen twice.
//!
//! Promises: a request is tried again only when no connection could be made, when the pooled connection turned out to
//! be closed before the request was written (the pool's own doing), or when it is a GET that got no answer; never
//! after the answer's head came. The client's leaving drops the future and with it the upstream request.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use memchr::memmem::Finder;
use tower_service::Service;
use wire::refusal::{Reason, Refusal};

use crate::headers::{ORGANIZATION, PROJECT};
use crate::metrics::Metrics;
use crate::sending::Sending;
use crate::settings::{Timeouts, Upstream};

/// Waits before the second and the third attempt.
const RETRY_WAITS: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(250)];

/// Idle connections kept per worker.
const POOL_IDLE_MAX: usize = 256;

/// One worker's way to the upstream.
pub(crate) struct Client {
    inner: legacy::Client<Patient, Sending>,
    scheme: Scheme,
    authority: Authority,
    base_path: String,
    authorization: Option<HeaderValue>,
    organization: Option<HeaderValue>,
    project: Option<HeaderValue>,
    secret: Option<keys::Secret>,
    finder: Option<Finder<'static>>,
    first_byte: Duration,
}

/// What goes out.
pub(crate) struct Outgoing<H> {
    pub(crate) method: Method,
    pub(crate) path_and_query: PathAndQuery,
    /// Makes the headers, for each attempt anew: attempts after the first are rare, copies for them would not be.
    pub(crate) headers: H,
    pub(crate) body: Sending,
}

impl Client {
    /// A client with its own pool. Call it inside the worker's runtime.
    pub(crate) fn new(upstream: &Upstream, timeouts: &Timeouts) -> Client {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(Duration::from_secs(60)));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(upstream.tls.clone())
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(http);
        let inner = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(timeouts.upstream_pool_idle)
            .pool_max_idle_per_host(POOL_IDLE_MAX)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .build(Patient { inner: https, limit: timeouts.upstream_connect });
        let secret_header = |text: &str| {
            let mut value = HeaderValue::from_str(text).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        let plain = |text: &Option<String>| text.as_deref().and_then(|text| HeaderValue::from_str(text).ok());
        Client {
            inner,
            scheme: upstream.scheme.clone(),
            authority: upstream.authority.clone(),
            base_path: upstream.base_path.clone(),
            authorization: upstream.key.as_ref().and_then(|key| secret_header(&format!("Bearer {}", key.expose()))),
            organization: plain(&upstream.organization),
            project: plain(&upstream.project),
            finder: upstream.key.as_ref().map(|key| Finder::new(key.expose().as_bytes()).into_owned()),
            secret: upstream.key.clone(),
            first_byte: timeouts.upstream_first_byte,
        }
    }

    /// The upstream key, to be watched for.
    pub(crate) fn secret(&self) -> Option<&str> {
        self.secret.as_ref().map(keys::Secret::expose)
    }

    /// A prepared search for the upstream key.
    pub(crate) fn finder(&self) -> Option<Finder<'static>> {
        self.finder.clone()
    }

    /// Our path under the upstream's base path: `/v1` is replaced by it, the rest is untouched to the byte.
    fn uri(&self, ours: &PathAndQuery) -> Result<Uri, Refusal> {
        let path_and_query = if self.base_path == "/v1" {
            ours.clone()
        } else {
            let rest = ours.as_str().strip_prefix("/v1").unwrap_or(ours.as_str());
            format!("{}{rest}", self.base_path).parse().map_err(|error| internal(&error))?
        };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path_and_query);
        Uri::from_parts(parts).map_err(|error| internal(&error))
    }

    /// Sends a request and waits for the answer's head. `attempts` counts as it goes.
    ///
    /// # Errors
    /// Unreachable, timed out, broken; or the fault that a streamed body found in itself.
    pub(crate) async fn send(
        &self,
        outgoing: Outgoing<impl Fn() -> HeaderMap>,
        metrics: &Metrics,
        attempts: &mut u8,
    ) -> Result<Response<Incoming>, Refusal> {
        let uri = self.uri(&outgoing.path_and_query)?;
        let (mut body, spare) = outgoing.body.with_spare();
        let fault = body.fault();
        let mut waits = RETRY_WAITS.iter();
        let deadline = tokio::time::Instant::now() + self.first_byte;
        loop {
            *attempts = attempts.saturating_add(1);
            let mut request = Request::new(body);
            *request.method_mut() = outgoing.method.clone();
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = self.signed((outgoing.headers)());
            let result = tokio::time::timeout_at(deadline, self.inner.request(request)).await;
            let error = match result {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => error,
                Err(_) => return Err(timed_out(self.first_byte)),
            };
            if let Some(refusal) = fault.as_ref().and_then(|fault| fault.get()) {
                return Err(refusal.clone());
            }
            let again = error.is_connect() || outgoing.method == Method::GET;
            match (again, waits.next(), spare.clone()) {
                (true, Some(wait), Some(spare)) => {
                    metrics.upstream_retries.inc();
                    tokio::time::sleep(*wait).await;
                    body = Sending::Whole(spare);
                }
                _ => return Err(failed(&error)),
            }
        }
    }

    /// Headers with the gate's own key and account.
    fn signed(&self, mut headers: HeaderMap) -> HeaderMap {
        for (name, value) in
            [(header::AUTHORIZATION, &self.authorization), (ORGANIZATION, &self.organization), (PROJECT, &self.project)]
        {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
        headers
    }
}

/// The whole chain of an error's causes, for the log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words.push_str(": ");
        words.push_str(&cause.to_string());
        source = cause.source();
    }
    words
}

fn internal(error: &dyn std::error::Error) -> Refusal {
    Refusal::new(Reason::Internal, "The gate could not build the upstream request. Ask its operator.")
        .cause(chain(error))
}

fn timed_out(limit: Duration) -> Refusal {
    let seconds = limit.as_secs();
    Refusal::new(Reason::UpstreamTimeout, format!("The upstream did not begin to answer within {seconds} seconds."))
}

fn failed(error: &legacy::Error) -> Refusal {
    let words = chain(error);
    if error.is_connect() {
        let public =
            "The gate cannot reach its upstream. Retry; if it persists, ask the gate's operator to check upstream.url.";
        Refusal::new(Reason::UpstreamUnreachable, public).cause(words)
    } else {
        let public = "The upstream closed the connection or sent something that is not HTTP before it answered. Retry.";
        Refusal::new(Reason::UpstreamBroken, public).cause(words)
    }
}

/// A connector with a limit on all of connecting, name look-up and TLS included.
#[derive(Clone)]
struct Patient {
    inner: HttpsConnector<HttpConnector>,
    limit: Duration,
}

type Connected = <HttpsConnector<HttpConnector> as Service<Uri>>::Response;
type ConnectError = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for Patient {
    type Response = Connected;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Connected, ConnectError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.inner.call(uri);
        let limit = self.limit;
        Box::pin(async move {
            tokio::time::timeout(limit, connecting)
                .await
                .map_err(|_| format!("no connection within {} seconds", limit.as_secs()))?
        })
    }
}
