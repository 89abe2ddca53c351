//! Requests to the upstream: bounded in every time, tried again only where nothing can happen twice.
//!
//! Promises: a request is tried again only when nothing of it was sent (no connection, or a kept one that was closed),
//! when the answer says that no work was done (the key was refused, a rate limit, 503), or when it is a GET that got no
//! answer; never after an answer's first byte went to the client. Another key or upstream is tried before the same one
//! is waited for; where none has an answer, the client gets the first one that came. Dropping the future cuts the
//! upstream request; a call that holds money is a task of its own, which a client that leaves does not drop.

use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, StatusCode, response};
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::time::Instant;
use wire::refusal::{Reason, Refusal};

use crate::body;
use crate::breaker::Fault;
use crate::headers::RETRY_AFTER_MS;
use crate::pool::{Failure, Lease};
use crate::sending::Sending;
use crate::upstreams::{Choice, TargetKey, Tried, Ways};
use crate::worker::Worker;

/// Waits before the second and the third attempt.
const RETRY_WAITS: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(250)];

/// Largest error body read to see whether the upstream refused the gate's key.
const KEY_REFUSAL_BYTES_MAX: u64 = 64 * 1024;

/// What goes out.
pub(crate) struct Outgoing<H> {
    pub(crate) method: Method,
    pub(crate) path_and_query: PathAndQuery,
    /// Makes the headers, for each attempt anew: attempts after the first are rare, copies for them would not be.
    pub(crate) headers: H,
    pub(crate) body: Sending,
}

/// An answer's body.
pub(crate) enum Came {
    /// As it comes.
    Flowing(Incoming),
    /// Read already, because it says why the key was refused.
    Read(Bytes),
}

/// An answer, and who gave it.
pub(crate) struct Sent {
    pub(crate) parts: response::Parts,
    pub(crate) body: Came,
    pub(crate) lease: Option<Lease>,
    pub(crate) by: Choice,
    /// Whether the upstream refused the gate's own key.
    pub(crate) is_key_refused: bool,
}

impl<H: Fn() -> HeaderMap> Outgoing<H> {
    fn request(&self, key: &TargetKey, body: Sending) -> Result<Request<Sending>, Refusal> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = key.address.uri(&self.path_and_query)?;
        *request.headers_mut() = key.signed((self.headers)());
        Ok(request)
    }
}

/// Sends a request and waits for the answer's head. `attempts` counts as it goes.
///
/// # Errors
/// Unreachable, timed out, broken; or the fault that a streamed body found in itself.
pub(crate) async fn send(
    ways: &Ways,
    worker: &Worker,
    mut outgoing: Outgoing<impl Fn() -> HeaderMap>,
    attempts: &mut u8,
) -> Result<Sent, Refusal> {
    let upstreams = &worker.gate.upstreams;
    let (clock, timeouts) = (upstreams.clock(), upstreams.timeouts());
    let (body, spare) = std::mem::replace(&mut outgoing.body, Sending::Whole(Bytes::new())).with_spare();
    let body_fault = body.fault();
    let mut tried = Tried::default();
    let mut first_answer: Option<Sent> = None;
    let mut waits = RETRY_WAITS.iter();
    let mut choice = ways.choose(&tried, clock).ok_or_else(no_key)?;
    let mut request = outgoing.request(choice.in_use.key(), body)?;
    let deadline = Instant::now() + timeouts.upstream_first_byte;
    loop {
        *attempts = attempts.saturating_add(1);
        let key = choice.in_use.key();
        key.used_at(worker.gate.clock.unix_seconds());
        let answer = tokio::time::timeout_at(deadline, key.pool(worker.number, timeouts).send(request)).await;
        let failed = |fault| key.breaker.failed(choice.admitted, fault, clock.now_ms());
        let failure = match answer {
            Ok(Ok((response, lease))) => {
                let sent = Sent::of(response, lease, choice, worker).await;
                sent.note(clock.now_ms());
                let next = match &spare {
                    Some(spare) if sent.did_no_work() => {
                        tried.add(sent.by.in_use.key());
                        ways.choose(&tried, clock).map(|next| (next, spare.clone()))
                    }
                    _ => None,
                };
                // An answer that says what was done is the one to pass on, whatever came before it.
                let Some((next, body)) = next else {
                    return Ok(if sent.did_no_work() { first_answer.unwrap_or(sent) } else { sent });
                };
                first_answer.get_or_insert(sent);
                worker.gate.metrics.upstream_failovers.inc();
                request = outgoing.request(next.in_use.key(), Sending::Whole(body))?;
                choice = next;
                continue;
            }
            Ok(Err(failure)) => failure,
            Err(_) => {
                failed(Fault::Failure);
                return Err(timed_out(timeouts.upstream_first_byte));
            }
        };
        if let Some(refusal) = body_fault.as_ref().and_then(|fault| fault.get()) {
            return Err(refusal.clone());
        }
        failed(Fault::Failure);
        let refusal = words_of(&failure);
        let body = match (failure, &spare) {
            (Failure::Connect(_, unsent), _) => unsent.into_body(),
            (Failure::Broken(_), Some(spare)) if outgoing.method == Method::GET => Sending::Whole(spare.clone()),
            (Failure::Broken(_), _) => return Err(refusal),
        };
        // Another key would not reach it either.
        tried.add_target(&choice.target);
        if let Some(next) = ways.choose(&tried, clock) {
            worker.gate.metrics.upstream_failovers.inc();
            choice = next;
        } else if let Some(answer) = first_answer {
            return Ok(answer);
        } else {
            let Some(wait) = waits.next() else { return Err(refusal) };
            worker.gate.metrics.upstream_retries.inc();
            tokio::time::sleep(*wait).await;
        }
        request = outgoing.request(choice.in_use.key(), body)?;
    }
}

impl Sent {
    async fn of(response: Response<Incoming>, lease: Option<Lease>, by: Choice, worker: &Worker) -> Sent {
        let (parts, body) = response.into_parts();
        if parts.status != StatusCode::UNAUTHORIZED {
            return Sent { parts, body: Came::Flowing(body), lease, by, is_key_refused: false };
        }
        let mut share = worker.gate.bodies.share();
        let timeouts = &worker.gate.settings.timeouts;
        let read = Box::pin(body::read(body, None, KEY_REFUSAL_BYTES_MAX, timeouts, &mut share)).await;
        let bytes = read.unwrap_or_default();
        let is_key_refused = bytes.is_empty() || is_about_our_key(&bytes);
        Sent { parts, body: Came::Read(bytes), lease: None, by, is_key_refused }
    }

    /// What the answer says about the key, and the upstream behind it.
    fn fault(&self) -> Option<Fault> {
        match self.parts.status.as_u16() {
            401 if self.is_key_refused => Some(Fault::Refused),
            429 => Some(Fault::Limited { retry_after_ms: retry_after_ms(&self.parts.headers) }),
            503 => Some(Fault::Overloaded),
            500 | 502 | 504 | 520..=524 => Some(Fault::Failure),
            _ => None,
        }
    }

    /// Whether the answer says that nothing was done, so that the same may be asked elsewhere.
    fn did_no_work(&self) -> bool {
        matches!(self.fault(), Some(Fault::Refused | Fault::Limited { .. } | Fault::Overloaded))
    }

    fn note(&self, now_ms: u64) {
        let breaker = &self.by.in_use.key().breaker;
        match self.fault() {
            Some(fault) => breaker.failed(self.by.admitted, fault, now_ms),
            None => breaker.succeeded(self.by.admitted),
        }
    }
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorCode,
}

#[derive(Deserialize)]
struct ErrorCode {
    code: Option<String>,
}

/// Whether a 401 is about the gate's key, and not about what the request asks for.
fn is_about_our_key(body: &[u8]) -> bool {
    serde_json::from_slice::<ErrorBody>(body)
        .is_ok_and(|body| body.error.code.as_deref().is_none_or(|code| code == "invalid_api_key"))
}

/// How long a rate limit lasts, as the upstream says.
fn retry_after_ms(headers: &HeaderMap) -> Option<u64> {
    let number = |name| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    number(RETRY_AFTER_MS).or_else(|| number(http::header::RETRY_AFTER).map(|seconds| seconds.saturating_mul(1_000)))
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

pub(crate) fn internal(error: &dyn std::error::Error) -> Refusal {
    Refusal::new(Reason::Internal, "The gate could not build the upstream request. Ask its operator.")
        .cause(chain(error))
}

fn no_key() -> Refusal {
    let public = "No upstream key is in force for this project. Ask the gate's operator to check its upstreams (sallyport upstream list).";
    Refusal::new(Reason::UpstreamUnreachable, public).cause("no upstream key takes requests")
}

fn timed_out(limit: Duration) -> Refusal {
    let seconds = limit.as_secs();
    Refusal::new(Reason::UpstreamTimeout, format!("The upstream did not begin to answer within {seconds} seconds."))
}

fn words_of(failure: &Failure) -> Refusal {
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
