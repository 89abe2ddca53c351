//! Hands a call to the control plane, on the process's own runtime: administration may wait for the disk, a worker
//! may not.

use std::pin::Pin;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use wire::refusal::{Reason, Refusal};

use crate::answer::Answer;
use crate::gate::{ControlAnswer, ControlCall, Gate};
use crate::prepare::Prepared;
use crate::record::Record;
use crate::resolve::Resolved;

/// Serves a control-plane call.
///
/// # Errors
/// What the control plane refuses.
pub(crate) async fn serve(
    gate: &Arc<Gate>,
    resolved: &Resolved<'_>,
    prepared: Prepared,
    head: &Parts,
    record: &Record,
) -> Result<Response<Answer>, Refusal> {
    let call = ControlCall {
        endpoint: resolved.row.endpoint,
        params: resolved.decoded_params()?,
        query: head.uri.query().unwrap_or_default().to_owned(),
        body: prepared.whole,
        caller: Arc::clone(&resolved.caller.key),
        address: record.address(),
        user_agent: head.headers.get(header::USER_AGENT).map(|value| crate::record::client_text(value.as_bytes())),
        request_id: record.request_id.clone(),
    };
    answer(gate, gate.control.serve(call)).await
}

/// Runs a call and makes an answer of what it comes to.
pub(crate) async fn answer(
    gate: &Arc<Gate>,
    serving: Pin<Box<dyn Future<Output = ControlAnswer> + Send>>,
) -> Result<Response<Answer>, Refusal> {
    // A client that leaves must not cut a write in half: the task runs to its end.
    let served = gate.runtime.spawn(serving).await;
    let (status, json) = served.map_err(|error| {
        Refusal::new(Reason::Internal, "The administrative call failed inside the gate. Ask its operator.").cause(error)
    })??;
    let mut response = Response::new(Answer::whole(json));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Answers that create keys hold secrets: no cache may keep them.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
