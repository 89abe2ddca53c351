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
use store::{Abandoned, KeyEntry};
use wire::endpoint::Endpoint;
use wire::refusal::{Reason, Refusal};
use wire::sse::Boundary;

use crate::answer::{Answer, Cut, revoked};
use crate::body::{self, Share};
use crate::decode::{Decoder, Encoding};
use crate::gate::Gate;
use crate::headers::{self, UPSTREAM_REQUEST_ID};
use crate::hold::Held;
use crate::idempotency::Keeping;
use crate::inspect::{Awaited, in_time};
use crate::own::Place;
use crate::pace::{Gathered, Idle};
use crate::passage::{Events, Passage, State, held_our_key};
use crate::pool::Lease;
use crate::record::{Record, client_text};
use crate::resolve::Resolved;
use crate::sending::Sending;
use crate::settle::{Settling, Undo};
use crate::upstream::{self, Came, Outgoing, Sent};
use crate::upstreams::{Choice, InUse, Ways};
use crate::withhold::Withhold;
use crate::worker::Worker;

/// A call on its way to the upstream: everything that it needs, owned, so that it can go on when its client has left.
pub(crate) struct Call {
    worker: Arc<Worker>,
    ways: Ways,
    endpoint: &'static Endpoint,
    key: Arc<KeyEntry>,
    place: Option<Place>,
    body: Sending,
    share: Share,
    decoded: bool,
    settling: Option<Box<Settling>>,
    keeping: Option<Box<Keeping>>,
    awaited: Option<Awaited>,
}

/// What the record learns from a call.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    attempts: u8,
    upstream_status: Option<u16>,
    upstream_request_id: Option<String>,
    upstream_key_id: Option<Arc<str>>,
    streamed: bool,
}

impl Record {
    fn learn_of_call(&mut self, facts: Facts) {
        self.attempts = facts.attempts;
        self.upstream_status = facts.upstream_status;
        self.upstream_request_id = facts.upstream_request_id;
        self.upstream_key_id = facts.upstream_key_id;
        self.streamed = facts.streamed;
    }
}

/// What a call brought.
type Brought = Result<Response<Answer>, Refusal>;

impl Call {
    /// Makes a call of what the stages before have found out.
    ///
    /// # Errors
    /// 503 when the owner of what the call makes could not be written down.
    pub(crate) fn new(
        worker: &Arc<Worker>,
        resolved: Resolved<'_>,
        held: Held,
        ways: Ways,
    ) -> Result<Box<Call>, Refusal> {
        let Held { prepared, settling, keeping, awaited } = held;
        let endpoint = resolved.row.endpoint;
        let place = match (resolved.makes_objects(&prepared), resolved.project()) {
            (true, Some(project)) => match worker.gate.owners.place(&project.id, endpoint.family) {
                Ok(place) => Some(place.sent(settling.as_ref().map(|settling| &settling.undo))),
                Err(refusal) => {
                    settling.into_iter().for_each(Settling::release);
                    return Err(refusal);
                }
            },
            _ => None,
        };
        Ok(Box::new(Call {
            worker: Arc::clone(worker),
            ways,
            endpoint,
            key: resolved.caller.key,
            place,
            body: prepared.body,
            share: prepared.share,
            decoded: prepared.decoded,
            settling,
            keeping,
            awaited,
        }))
    }
}

/// Sends a call to the upstream and makes the client's answer of what comes back.
///
/// A call that holds money runs as a task of its own: a client that leaves before the answer's head does not end it, and
/// the answer that then comes is read on like any other that was abandoned.
///
/// # Errors
/// When there is no answer to pass on.
pub(crate) async fn forward(mut call: Box<Call>, head: request::Parts, record: &mut Record) -> Brought {
    if let Some(awaited) = call.awaited.take() {
        return Box::pin(hold_back(call, head, awaited, record)).await;
    }
    let (brought, facts) = bring(call, head).await?;
    record.learn_of_call(facts);
    brought
}

/// Makes the call while the guards read, and gives its answer only to a request that they let through. One that is
/// refused meanwhile is left like one whose client left: what it cost is charged, its answer is nobody's.
async fn hold_back(mut call: Box<Call>, head: request::Parts, mut awaited: Awaited, record: &mut Record) -> Brought {
    // An answer that may be refused is not kept for who asks again.
    let keeping = call.keeping.take_if(|_| awaited.may_refuse());
    let patience = awaited.patience();
    // A hold that grows rests on seeing what is written as it comes: nothing may be written while nobody reads.
    let grows = call.settling.as_ref().is_some_and(|settling| settling.growth.is_some());
    let brought = if grows || awaited.is_there() {
        // Nothing is called for what is refused already.
        if let Err(refusal) = record.rule(&in_time(awaited.verdict(), patience).await) {
            call.settling.into_iter().for_each(Settling::release);
            return Err(refusal);
        }
        bring(call, head).await
    } else {
        let mut bringing = std::pin::pin!(bring(call, head));
        let mut judging = std::pin::pin!(awaited.verdict());
        tokio::select! {
            biased;
            brought = &mut bringing => {
                record.rule(&in_time(judging, patience).await)?;
                brought
            }
            verdict = &mut judging => {
                record.rule(&verdict)?;
                bringing.await
            }
        }
    };
    let (brought, facts) = brought?;
    record.learn_of_call(facts);
    Ok(keep(brought?, keeping))
}

/// Makes the call; what it brought, and what became known of it.
async fn bring(call: Box<Call>, head: request::Parts) -> Result<(Brought, Facts), Refusal> {
    let is_detached = call.settling.as_ref().is_some_and(|settling| settling.abandoned == Abandoned::ReadOn);
    if !is_detached {
        return Ok(call.run(head).await);
    }
    let detached = call.worker.gate.begin_detached();
    let task = tokio::spawn(async move {
        let brought = call.run(head).await;
        drop(detached);
        brought
    });
    task.await.map_err(|error| {
        Refusal::new(Reason::Internal, "The call to the upstream failed inside the gate. Retry.").cause(error)
    })
}

impl Call {
    async fn run(mut self: Box<Self>, head: request::Parts) -> (Brought, Facts) {
        let mut facts = Facts::default();
        let (settling, keeping) = (self.settling.take(), self.keeping.take());
        let brought = self.send(head, settling, &mut facts).await;
        (brought.map(|response| keep(response, keeping)), facts)
    }

    async fn send(
        self: Box<Self>,
        head: request::Parts,
        mut settling: Option<Box<Settling>>,
        facts: &mut Facts,
    ) -> Brought {
        let worker = self.worker;
        let gate = &worker.gate;
        let reads_answer = settling.is_some() || self.endpoint.is_metered() || self.place.is_some();
        let key = presented_key(&head.headers);
        let headers = || {
            let mut headers = headers::upstream_request(&head.headers, key, reads_answer);
            if self.decoded {
                headers.remove(header::CONTENT_ENCODING);
            }
            headers
        };
        let path_and_query = head.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        let outgoing = Outgoing { method: head.method.clone(), path_and_query, headers, body: self.body };
        let cut = &self.key.revocation;
        let sent = tokio::select! {
            biased;
            sent = upstream::send(&self.ways, &worker, outgoing, &mut facts.attempts) => sent,
            () = cut.revoked() => Err(revoked()),
        };
        // The request's bytes are with the upstream: their memory is free again.
        drop(self.share);
        let Sent { mut parts, body, lease, by, is_key_refused } = match sent {
            Ok(sent) => sent,
            Err(refusal) => {
                match (settling, refusal.reason) {
                    // Nothing reached the upstream.
                    (Some(settling), Reason::UpstreamUnreachable) => settling.release(),
                    (settling, _) => settling.into_iter().for_each(Settling::estimate),
                }
                return Err(refusal);
            }
        };
        // The hold covers whichever it is.
        settling.iter_mut().for_each(|settling| settling.region.clone_from(&by.target.region));
        if !parts.status.is_success() {
            let end = if may_have_billed(parts.status) { Settling::estimate } else { Settling::release };
            settling.take().into_iter().for_each(end);
        }
        let until_close = is_delimited_by_close(&parts);
        // The version is the upstream connection's own: an answer in HTTP/1.0 would end the client's connection, which
        // could not tell its end from a loss.
        parts.version = http::Version::HTTP_11;
        facts.upstream_status = Some(parts.status.as_u16());
        let upstream_id = headers::clean_answer(&mut parts.headers, by.in_use.key().secret());
        if let Some(id) = &upstream_id {
            facts.upstream_request_id = Some(client_text(id.as_bytes()));
            parts.headers.insert(UPSTREAM_REQUEST_ID, id.clone());
        }
        facts.upstream_key_id = Some(Arc::clone(&by.in_use.key().id));
        let (endpoint, place) = (self.endpoint, self.place);
        let body = match body {
            Came::Read(bytes) => return unauthorized(parts, bytes, &by, is_key_refused),
            Came::Flowing(body) => body,
        };
        let in_use = Some(by.in_use);
        let back = Back { gate, in_use, endpoint, key: &self.key, place, settling, reads_answer, until_close, lease };
        back.answer(parts, body, facts).await
    }
}

/// Has an answer kept for who asks again.
pub(crate) fn keep(response: Response<Answer>, keeping: Option<Box<Keeping>>) -> Response<Answer> {
    let Some(mut keeping) = keeping else { return response };
    keeping.head(response.status(), response.headers());
    response.map(|answer| answer.keep(keeping))
}

/// An upstream's answer on its way back.
struct Back<'a> {
    gate: &'a Arc<Gate>,
    in_use: Option<InUse>,
    endpoint: &'static Endpoint,
    key: &'a Arc<KeyEntry>,
    place: Option<Place>,
    settling: Option<Box<Settling>>,
    reads_answer: bool,
    until_close: bool,
    lease: Option<Lease>,
}

impl Back<'_> {
    async fn answer(mut self, mut parts: Parts, body: Incoming, facts: &mut Facts) -> Brought {
        let is_events = content_type_is(&parts, "text/event-stream");
        facts.streamed = is_events;
        let place = self.place.take().filter(|_| parts.status.is_success());
        let undo = self.settling.as_ref().filter(|settling| settling.changes_answers()).map(|s| s.undo.clone());
        let mut passage = self.passage(&mut parts, body)?;
        if is_events {
            self.add_events(&mut passage, place);
            return Ok(Response::from_parts(parts, Answer::passage(passage)));
        }
        if place.is_some() || undo.is_some() {
            return Box::pin(self.whole_answer(parts, passage, place, undo)).await;
        }
        let mut answer = Answer::passage(passage);
        answer.begin().await?;
        Ok(Response::from_parts(parts, answer))
    }

    /// The body's way through the gate, without what events need.
    fn passage(&mut self, parts: &mut Parts, body: Incoming) -> Result<Passage, Refusal> {
        let decoder = if self.reads_answer { self.decoder(parts)? } else { None };
        if decoder.is_some() || content_type_is(parts, "text/event-stream") {
            // The length is another one, or may become it by an error event.
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        let in_use = self.in_use.take();
        let withhold = in_use.as_ref().and_then(|in_use| in_use.key().finder()).map(Withhold::new);
        Ok(Passage {
            body: Some(body),
            lease: self.lease.take(),
            _in_use: in_use,
            decoder,
            withhold,
            events: None,
            cut: Cut::new(Arc::clone(self.key)),
            idle: Idle::new(self.gate.settings.timeouts.upstream_idle),
            settling: self.settling.take(),
            has_failed: false,
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
        let endpoint = self.endpoint;
        passage.events = Some(Events {
            boundary: Boundary::new(self.gate.settings.limits.event_bytes_max),
            ids: place.map(|place| place.watch_events(endpoint)),
            error_event: endpoint.error_event,
            last: Bytes::new(),
            gathered: Gathered::default(),
            must_end_with: if self.until_close { last_events(endpoint.family) } else { &[] },
        });
    }

    /// Reads a JSON answer whole: because its client may use the new object's id at once, or because something that the
    /// gate added must come out of it.
    async fn whole_answer(
        self,
        mut parts: Parts,
        passage: Passage,
        place: Option<Place>,
        undo: Option<Undo>,
    ) -> Brought {
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
        if let Some(place) = place {
            place.record_answer(self.endpoint, &bytes);
        }
        let bytes = undo.and_then(|undo| undo.answer(&bytes)).map_or(bytes, Bytes::from);
        if parts.headers.contains_key(header::CONTENT_LENGTH) {
            parts.headers.insert(header::CONTENT_LENGTH, bytes.len().into());
        }
        Ok(Response::from_parts(parts, Answer::whole(bytes)))
    }
}

/// A 401 of the upstream: if it is about the gate's key, the client must not take it for its own, and must not read the
/// masked key in it.
fn unauthorized(mut parts: Parts, bytes: Bytes, by: &Choice, is_key_refused: bool) -> Brought {
    let key = by.in_use.key();
    if is_key_refused {
        tracing::error!(
            upstream = &*by.target.id,
            key = &*key.id,
            "the upstream refused the gate's own key: check it (default: upstream.key, SALLYPORT_UPSTREAM_KEY)"
        );
        let public =
            "The upstream refused the gate's own key. Your key is fine: ask the gate's operator to check upstream.key.";
        return Err(Refusal::new(Reason::UpstreamKeyRefused, public));
    }
    if key.finder().is_some_and(|finder| finder.find(&bytes).is_some()) {
        return Err(held_our_key());
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(parts, Answer::whole(bytes)))
}

/// Whether an error may come from somebody in between, who gave up while the upstream works on and bills: gateways'
/// timeouts, and Cloudflare's (520 to 524), which stands in front of OpenAI's API.
fn may_have_billed(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 502 | 504 | 520..=524)
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
