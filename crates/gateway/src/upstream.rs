//! Requests to the upstream: bounded in every time, tried again only where nothing can happen twice.
//!
//! Promises: a request is tried again only when nothing of it was sent (no connection, or a kept one that was closed),
//! or when it is a GET that got no answer; never after the answer's head came. Dropping the future cuts the
//! upstream request; a call that holds money is a task of its own, which a client that leaves does not drop.

use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use hyper::body::Incoming;
use memchr::memmem::Finder;
use wire::refusal::{Reason, Refusal};

use crate::headers::{ORGANIZATION, PROJECT};
use crate::metrics::Metrics;
use crate::pool::{Failure, Lease, Pool};
use crate::sending::Sending;
use crate::settings::{Timeouts, Upstream};

/// Waits before the second and the third attempt.
const RETRY_WAITS: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(250)];

/// One worker's way to the upstream.
pub(crate) struct Client {
    pool: Pool,
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
        let secret_header = |text: &str| {
            let mut value = HeaderValue::from_str(text).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        let plain = |text: &Option<String>| text.as_deref().and_then(|text| HeaderValue::from_str(text).ok());
        Client {
            pool: Pool::new(upstream, timeouts),
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
        if self.base_path == "/v1" {
            return Ok(Uri::from(ours.clone()));
        }
        let rest = ours.as_str().strip_prefix("/v1").unwrap_or(ours.as_str());
        format!("{}{rest}", self.base_path).parse().map_err(|error| internal(&error))
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
    ) -> Result<(Response<Incoming>, Option<Lease>), Refusal> {
        let uri = self.uri(&outgoing.path_and_query)?;
        let (body, spare) = outgoing.body.with_spare();
        let fault = body.fault();
        let made = |body| {
            let mut request = Request::new(body);
            *request.method_mut() = outgoing.method.clone();
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = self.signed((outgoing.headers)());
            request
        };
        let mut request = made(body);
        let mut waits = RETRY_WAITS.iter();
        let deadline = tokio::time::Instant::now() + self.first_byte;
        loop {
            *attempts = attempts.saturating_add(1);
            let sent = tokio::time::timeout_at(deadline, self.pool.send(request)).await;
            let failure = match sent {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) => failure,
                Err(_) => return Err(timed_out(self.first_byte)),
            };
            if let Some(refusal) = fault.as_ref().and_then(|fault| fault.get()) {
                return Err(refusal.clone());
            }
            let refusal = failed(&failure);
            let again = match (failure, spare.clone()) {
                (Failure::Connect(_, unsent), _) => Some(*unsent),
                (Failure::Broken(_), Some(spare)) if outgoing.method == Method::GET => {
                    Some(made(Sending::Whole(spare)))
                }
                (Failure::Broken(_), _) => None,
            };
            let (Some(again), Some(wait)) = (again, waits.next()) else { return Err(refusal) };
            metrics.upstream_retries.inc();
            tokio::time::sleep(*wait).await;
            request = again;
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

fn failed(failure: &Failure) -> Refusal {
    match failure {
        Failure::Connect(error, _) => {
            let public = "The gate cannot reach its upstream. Retry; if it persists, ask the gate's operator to check upstream.url.";
            Refusal::new(Reason::UpstreamUnreachable, public).cause(chain(&**error))
        }
        Failure::Broken(error) => {
            let public =
                "The upstream closed the connection or sent something that is not HTTP before it answered. Retry.";
            Refusal::new(Reason::UpstreamBroken, public).cause(chain(error))
        }
    }
}
