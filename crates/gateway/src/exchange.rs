//! The way of a request, in order, in one function. Start reading here.
//!
//! The order matters. What is cheap refuses first. Nothing is looked up before the request can be read in one way
//! only (`accept`), and nothing about the gate's objects is told before the caller is known (`authenticate`; a signed
//! report has no caller, and a way of its own: `receive`). The body
//! is read after the row says what it may be (`resolve`), so that a wrong path costs no memory. Rates come before money
//! (`admit`, `hold`): a flood must not hold a cent. Texts are read between them (`inspect`): a flood must not keep the
//! guards busy, and what they refuse holds nothing. Money is held on the bytes as they will be sent: whatever changes
//! them later would have to hold anew. What will be written
//! down about new objects has its place before the upstream can make them (`own`): swapped, an object could exist that
//! nobody owns. Each step takes what only the step before can make.

use std::convert::Infallible;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Request, Response, header};
use http_body::Body;
use hyper::body::Incoming;
use wire::endpoint::{self, Meter};
use wire::refusal::Refusal;

use crate::accept::accept;
use crate::admit::admit;
use crate::answer::Answer;
use crate::authenticate::authenticate;
use crate::body::linger;
use crate::client_secrets::{self, ClientSecret};
use crate::forward::{Call, forward};
use crate::gate::Gate;
use crate::headers::{self, RETRY_AFTER_MS, SHOULD_RETRY};
use crate::hold::{Claim, Held, hold};
use crate::idempotency::Begin;
use crate::inspect::{ask, inspect};
use crate::prepare::{Prepared, prepare};
use crate::receive::receive;
use crate::record::Record;
use crate::resolve::{Destination, Resolved, resolve};
use crate::socket::ConnectionState;
use crate::worker::Worker;
use crate::{bounds, browser, control, health, local};

/// Handles one request. It always answers, and its record is written at the end of the answer.
pub(crate) async fn exchange(
    worker: Arc<Worker>,
    connection: Arc<ConnectionState>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let (head, body) = request.into_parts();
    let mut record = Record::begin(&worker, &connection, &head.method, head.version, &head.headers);
    let mut body = Some(body);
    let mut response = match way(&worker, &connection, head, &mut body, &mut record).await {
        Ok(response) => response,
        Err(refusal) => {
            record.refused(&refusal);
            if let Some(body) = body.filter(|body| !body.is_end_stream()) {
                tokio::spawn(linger(body, connection.begin_exchange()));
            }
            refusal_response(&refusal)
        }
    };
    let project = record.caller.as_ref().and_then(|key| key.key.project.as_ref()).map(|id| id.as_str());
    if let Some(origin) = &record.readable_by {
        browser::let_read(response.headers_mut(), origin);
    }
    headers::note(response.headers_mut(), record.rates.as_ref(), &record.notes);
    headers::sign_answer(response.headers_mut(), &record.request_id, &worker.gate.organization, project);
    record.answering(response.status().as_u16());
    Ok(response.map(|answer| answer.carry(record)))
}

/// The stages of the design, as far as they are built.
async fn way(
    worker: &Arc<Worker>,
    connection: &ConnectionState,
    head: Parts,
    body: &mut Option<Incoming>,
    record: &mut Record,
) -> Result<Response<Answer>, Refusal> {
    let gate = &worker.gate;
    let accepted = accept(&head, connection)?;
    if let Some(answer) = health::answer(gate, &head.method, accepted.path())? {
        return Ok(answer);
    }
    if let Some(found) = endpoint::find_signed(head.method.as_str(), accepted.path()) {
        return Box::pin(receive(gate, found, &head, body, record)).await;
    }
    if let Some(answer) = browser::preflight(gate, &head, record)? {
        return Ok(answer);
    }
    let caller = authenticate(gate, &head.headers, record)?;
    connection.authenticated(&caller.key.revocation);
    let resolved = resolve(gate, &accepted, caller)?;
    record.row = Some(resolved.row);
    if resolved.is_shared {
        Box::pin(resolved.check_ownership(gate)).await?;
    }
    let prepared = prepare(gate, &resolved, &head.headers, body).await?;
    record.learn(&prepared);
    if resolved.is_shared {
        Box::pin(resolved.check_model(gate, &prepared)).await?;
    }
    bounds::check_model(&resolved, &prepared)?;
    let destination = resolved.destination(gate, &prepared)?;
    // Boxed where the way is rare: a request's future holds room for every branch, and is moved once.
    if let Destination::Control = destination {
        return Box::pin(control::serve(gate, &resolved, prepared, &head, record)).await;
    }
    if let Destination::ClientSecret = destination {
        // It counts as a request of its maker's.
        record.admission = admit(gate, &resolved, &prepared, record)?;
        return client_secrets::mint(gate, &resolved, &prepared);
    }
    if let Destination::Inspection = destination {
        record.admission = admit(gate, &resolved, &prepared, record)?;
        return Box::pin(ask(gate, &resolved, prepared)).await;
    }
    let keeping = match again(gate, &resolved, &prepared, &head)? {
        Begin::Again(response) => return Ok(*response),
        Begin::First(keeping) => Some(keeping),
        Begin::Plain => None,
    };
    let call = ClientCall::take(&resolved)?;
    let mut admission = admit(gate, &resolved, &prepared, record)?;
    let is_upstream = matches!(destination, Destination::Upstream(..));
    let cleared = match inspect(gate, &resolved, prepared, is_upstream, body, record).await {
        Ok(cleared) => cleared,
        Err(refusal) => {
            // What is refused uses no tokens.
            admission.iter_mut().for_each(|admission| admission.correct(gate.money.now_ns(), 0));
            return Err(refusal);
        }
    };
    let is_local = matches!(destination, Destination::Local(..));
    let ways = match &destination {
        Destination::Upstream(ways) => Some(ways),
        _ => None,
    };
    let claim = Claim { gate, resolved: &resolved, headers: &head.headers, is_local, ways };
    let held = Held { keeping, ..hold(claim, cleared, admission, record).await? };
    call.make();
    match destination {
        Destination::Control | Destination::ClientSecret | Destination::Inspection | Destination::Models => {
            local::models(gate, &resolved)
        }
        Destination::Local(model, endpoint) => Box::pin(local::answer(model, endpoint, &resolved, held, record)).await,
        Destination::Upstream(ways) => {
            let call = Call::new(worker, resolved, held, ways)?;
            forward(call, head, record).await
        }
    }
}

/// A call of a client secret's, given back if it is refused before it is made.
struct ClientCall(Option<Arc<ClientSecret>>);

impl ClientCall {
    fn take(resolved: &Resolved<'_>) -> Result<ClientCall, Refusal> {
        let client = resolved.caller.client.clone();
        client.iter().try_for_each(|client| client.take_call())?;
        Ok(ClientCall(client))
    }

    fn make(mut self) {
        self.0 = None;
    }
}

impl Drop for ClientCall {
    fn drop(&mut self) {
        self.0.iter().for_each(|client| client.give_back_call());
    }
}

/// Whether a metered call was made before, by its `Idempotency-Key`.
fn again(gate: &Gate, resolved: &Resolved<'_>, prepared: &Prepared, head: &Parts) -> Result<Begin, Refusal> {
    match resolved.project() {
        Some(project) if resolved.row.endpoint.meter != Meter::Nothing => {
            let target = head.uri.path_and_query().map_or("", |target| target.as_str());
            // A client secret's answers are its own: another page could guess the key of somebody else's.
            let whose = resolved.caller.client.as_ref().map_or(project.id.as_str(), |client| &client.id);
            gate.idempotent.begin(&head.headers, whose, target, &prepared.whole)
        }
        _ => Ok(Begin::Plain),
    }
}

/// A refusal as an answer.
pub(crate) fn refusal_response(refusal: &Refusal) -> Response<Answer> {
    let mut response = Response::new(Answer::whole(refusal.body()));
    *response.status_mut() =
        http::StatusCode::from_u16(refusal.status()).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(should_retry) = refusal.reason.row().should_retry {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static(if should_retry { "true" } else { "false" }));
    }
    if let Some(wait_ms) = refusal.retry_after_ms {
        headers.insert(RETRY_AFTER_MS, HeaderValue::from(wait_ms));
        headers.insert(header::RETRY_AFTER, HeaderValue::from(wait_ms.div_ceil(1_000)));
    }
    response
}
