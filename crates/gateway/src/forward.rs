//! To the upstream and back: headers, the request, what its answer needs on the way.
//!
//! Promises: bytes that nothing had to change are passed as they came; what the upstream says about its account stays
//! here; the answer of a row that makes objects reaches the client only after their owner is written down.

use std::sync::Arc;

use bytes::Bytes;
use http::response::Parts;
use http::uri::PathAndQuery;
use http::{Response, StatusCode, header, request};
use hyper::body::Incoming;
use serde::Deserialize;
use wire::refusal::{Reason, Refusal};
use wire::sse::Boundary;

use crate::answer::{Answer, Cut, revoked};
use crate::body;
use crate::decode::{Decoder, Encoding};
use crate::gate::Gate;
use crate::headers::{self, UPSTREAM_REQUEST_ID};
use crate::own::Place;
use crate::pace::{Gathered, Idle};
use crate::passage::{Events, Passage, State, held_our_key};
use crate::pool::Lease;
use crate::prepare::Prepared;
use crate::record::{Record, client_text};
use crate::resolve::Resolved;
use crate::upstream::{Client, Outgoing};
use crate::withhold::Withhold;
use crate::worker::Worker;

/// Largest error body read to see whether the upstream refused the gate's key.
const KEY_REFUSAL_BYTES_MAX: u64 = 64 * 1024;

/// Sends a prepared request to the upstream and makes the client's answer of what comes back.
///
/// # Errors
/// When there is no answer to pass on.
pub(crate) async fn forward(
    worker: &Worker,
    resolved: &Resolved<'_>,
    prepared: Prepared,
    head: &request::Parts,
    record: &mut Record,
) -> Result<Response<Answer>, Refusal> {
    let gate = &worker.gate;
    let client = worker.client.as_ref().ok_or_else(|| {
        Refusal::new(Reason::Internal, "The gate lost its upstream. Ask its operator.")
            .cause("no client in this worker")
    })?;
    let endpoint = resolved.row.endpoint;
    let place = match (resolved.makes_objects(&prepared), resolved.project()) {
        (true, Some(project)) => Some(gate.owners.place(&project.id, endpoint.family)?),
        _ => None,
    };
    let reads_answer = endpoint.is_metered() || place.is_some();
    let (key, decoded) = (presented_key(&head.headers), prepared.decoded);
    let headers = || {
        let mut headers = headers::upstream_request(&head.headers, key, reads_answer);
        if decoded {
            headers.remove(header::CONTENT_ENCODING);
        }
        headers
    };
    let path_and_query = head.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let outgoing = Outgoing { method: head.method.clone(), path_and_query, headers, body: prepared.body };
    let cut = &resolved.caller.key.revocation;
    let (response, lease) = tokio::select! {
        biased;
        response = client.send(outgoing, &gate.metrics, &mut record.attempts) => response?,
        () = cut.revoked() => return Err(revoked()),
    };
    // The request's bytes are with the upstream: their memory is free again.
    drop(prepared.share);
    let (mut parts, body) = response.into_parts();
    let until_close = is_delimited_by_close(&parts);
    record.upstream_status = Some(parts.status.as_u16());
    let upstream_id = headers::clean_answer(&mut parts.headers, client.secret());
    if let Some(id) = &upstream_id {
        record.upstream_request_id = Some(client_text(id.as_bytes()));
        parts.headers.insert(UPSTREAM_REQUEST_ID, id.clone());
    }
    let back = Back { gate, client, resolved, place, reads_answer, until_close, lease };
    back.answer(parts, body, record).await
}

/// An upstream's answer on its way back.
struct Back<'a, 'r> {
    gate: &'a Arc<Gate>,
    client: &'a Client,
    resolved: &'a Resolved<'r>,
    place: Option<Place>,
    reads_answer: bool,
    until_close: bool,
    lease: Option<Lease>,
}

impl Back<'_, '_> {
    async fn answer(
        mut self,
        mut parts: Parts,
        body: Incoming,
        record: &mut Record,
    ) -> Result<Response<Answer>, Refusal> {
        if parts.status == StatusCode::UNAUTHORIZED {
            return Box::pin(self.unauthorized(parts, body)).await;
        }
        let is_events = content_type_is(&parts, "text/event-stream");
        record.streamed = is_events;
        let place = self.place.take().filter(|_| parts.status.is_success());
        let mut passage = self.passage(&mut parts, body)?;
        match place {
            Some(place) if is_events => {
                self.add_events(&mut passage, Some(place));
                Ok(Response::from_parts(parts, Answer::passage(passage)))
            }
            Some(place) => Box::pin(self.record_then_answer(parts, passage, place)).await,
            None => {
                if is_events {
                    self.add_events(&mut passage, None);
                } else {
                    passage.begin().await?;
                }
                Ok(Response::from_parts(parts, Answer::passage(passage)))
            }
        }
    }

    /// The body's way through the gate, without what events need.
    fn passage(&mut self, parts: &mut Parts, body: Incoming) -> Result<Passage, Refusal> {
        let decoder = if self.reads_answer { self.decoder(parts)? } else { None };
        if decoder.is_some() || content_type_is(parts, "text/event-stream") {
            // The length is another one, or may become it by an error event.
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        Ok(Passage {
            body,
            lease: self.lease.take(),
            decoder,
            withhold: self.client.finder().map(Withhold::new),
            events: None,
            cut: Cut::new(Arc::clone(&self.resolved.caller.key)),
            idle: Idle::new(self.gate.settings.timeouts.upstream_idle),
            ready: None,
            state: State::Flowing,
        })
    }

    fn decoder(&self, parts: &mut Parts) -> Result<Option<Decoder>, Refusal> {
        let Some(value) = parts.headers.remove(header::CONTENT_ENCODING) else { return Ok(None) };
        let encoding = value.to_str().ok().and_then(|value| Encoding::parse(value).ok()).ok_or_else(|| {
            let public = "The upstream compressed its answer in a way that the gate cannot read, although it asked for plain text.";
            Refusal::new(Reason::UpstreamBroken, public).cause(format!("content-encoding {value:?}"))
        })?;
        Ok(encoding.map(|encoding| Decoder::new(encoding, self.gate.settings.limits.decoded_answer_bytes_max)))
    }

    fn add_events(&self, passage: &mut Passage, place: Option<Place>) {
        let endpoint = self.resolved.row.endpoint;
        passage.events = Some(Events {
            boundary: Boundary::new(self.gate.settings.limits.event_bytes_max),
            ids: place.map(|place| place.watch_events(endpoint)),
            error_event: endpoint.error_event,
            last: Bytes::new(),
            gathered: Gathered::default(),
            must_end_with: if self.until_close { last_events(endpoint.family) } else { &[] },
        });
    }

    /// Reads a JSON answer whole, because its client may use the new object's id at once.
    async fn record_then_answer(
        self,
        mut parts: Parts,
        passage: Passage,
        place: Place,
    ) -> Result<Response<Answer>, Refusal> {
        let limits = &self.gate.settings.limits;
        let mut share = self.gate.bodies.share();
        let timeouts = &self.gate.settings.timeouts;
        let mut waits = timeouts.clone();
        (waits.body_idle, waits.body_total) = (timeouts.upstream_idle, timeouts.upstream_first_byte);
        let whole = body::read(Answer::passage(passage), None, limits.decoded_answer_bytes_max, &waits, &mut share);
        let bytes = whole.await.map_err(|refusal| match refusal.reason {
            Reason::Overloaded => refusal,
            _ => {
                let public = "The upstream's answer broke off, stalled, or is over the gate's limit. Retry.";
                Refusal::new(Reason::UpstreamBroken, public)
                    .cause(refusal.cause.unwrap_or(refusal.message.into_owned()))
            }
        })?;
        place.record_answer(self.resolved.row.endpoint, &bytes);
        if parts.headers.contains_key(header::CONTENT_LENGTH) {
            parts.headers.insert(header::CONTENT_LENGTH, bytes.len().into());
        }
        Ok(Response::from_parts(parts, Answer::whole(bytes)))
    }

    /// A 401 of the upstream: if it is about the gate's key, the client must not take it for its own, and must not
    /// read the masked key in it.
    async fn unauthorized(self, mut parts: Parts, body: Incoming) -> Result<Response<Answer>, Refusal> {
        let mut share = self.gate.bodies.share();
        let timeouts = &self.gate.settings.timeouts;
        let bytes = body::read(body, None, KEY_REFUSAL_BYTES_MAX, timeouts, &mut share).await.unwrap_or_default();
        let about_our_key = serde_json::from_slice::<ErrorBody>(&bytes)
            .is_ok_and(|body| body.error.code.as_deref() == Some("invalid_api_key") || body.error.code.is_none());
        if about_our_key || bytes.is_empty() {
            tracing::error!("the upstream refused the gate's own key: check upstream.key (SALLYPORT_UPSTREAM_KEY)");
            let public = "The upstream refused the gate's own key. Your key is fine: ask the gate's operator to check upstream.key.";
            return Err(Refusal::new(Reason::UpstreamKeyRefused, public));
        }
        if self.client.finder().is_some_and(|finder| finder.find(&bytes).is_some()) {
            return Err(held_our_key());
        }
        parts.headers.remove(header::CONTENT_LENGTH);
        Ok(Response::from_parts(parts, Answer::whole(bytes)))
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

/// The client's key as it was presented.
fn presented_key(headers: &http::HeaderMap) -> &str {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.split_once(' ')).map_or("", |(_, token)| token.trim())
}

/// HTTP/1 without a length and without chunks: the connection's close is the end, or a loss.
fn is_delimited_by_close(parts: &Parts) -> bool {
    parts.version < http::Version::HTTP_2
        && !parts.headers.contains_key(header::CONTENT_LENGTH)
        && !parts.headers.contains_key(header::TRANSFER_ENCODING)
}

/// What a stream of this family ends with when it is whole.
fn last_events(family: &str) -> &'static [&'static str] {
    match family {
        "chat" | "completions" => &["data: [DONE]", "data: {\"error\""],
        "responses" => {
            &["event: response.completed", "event: response.failed", "event: response.incomplete", "event: error"]
        }
        _ => &[],
    }
}

fn content_type_is(parts: &Parts, essence: &str) -> bool {
    let Some(value) = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    value.split(';').next().is_some_and(|value| value.trim().eq_ignore_ascii_case(essence))
}
