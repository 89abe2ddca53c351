//! The embedded model behind the same API: chat completions, responses, and the list of models that it makes up.

use std::sync::Arc;

use http::{HeaderValue, Response, header};
use localmodel::{Endpoint as LocalEndpoint, LocalModel, LocalRefusal};
use serde_json::json;
use wire::refusal::{Reason, Refusal};

use crate::answer::{Answer, Cut, revoked};
use crate::gate::{Gate, Local};
use crate::prepare::Prepared;
use crate::record::Record;
use crate::resolve::Resolved;

/// `created` of the embedded model in lists: SmolLM2's publication, 2024-11-01 UTC.
const MODEL_CREATED: u64 = 1_730_419_200;

/// Lets the embedded model answer.
///
/// # Errors
/// What the model refuses: a full queue, parameters that it does not take, a prompt that does not fit.
pub(crate) async fn answer(
    model: &LocalModel,
    endpoint: LocalEndpoint,
    resolved: &Resolved<'_>,
    prepared: Prepared,
    record: &mut Record,
) -> Result<Response<Answer>, Refusal> {
    let revocation = &resolved.caller.key.revocation;
    let answered = tokio::select! {
        biased;
        answered = model.answer(endpoint, prepared.whole) => answered.map_err(refusal)?,
        () = revocation.revoked() => return Err(revoked()),
    };
    let (kind, body) = match answered {
        localmodel::Answer::Json(json) => ("application/json", Answer::whole(json)),
        localmodel::Answer::Events(events) => {
            record.streamed = true;
            ("text/event-stream; charset=utf-8", Answer::local(events, Cut::new(Arc::clone(revocation))))
        }
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

/// Puts the model's refusal into the gate's table.
fn refusal(local: LocalRefusal) -> Refusal {
    let reason = match (local.status, local.code) {
        (429, _) => Reason::LocalModelBusy,
        (503, _) => Reason::LocalModelUnavailable,
        (500.., _) => Reason::Internal,
        (_, Some("context_length_exceeded")) => Reason::ContextLengthExceeded,
        (_, Some("unsupported_parameter")) => Reason::UnsupportedParameter,
        _ => Reason::InvalidValue,
    };
    let mut refusal = Refusal::new(reason, local.message);
    refusal.code = local.code;
    refusal.param = local.param.map(Into::into);
    refusal.retry_after_ms = local.retry_after_ms;
    refusal
}

/// `GET /v1/models` and `GET /v1/models/{model}` where the embedded model is all there is.
///
/// # Errors
/// 404 for a model that is neither the embedded one nor an alias of it.
pub(crate) fn models(gate: &Gate, resolved: &Resolved<'_>) -> Result<Response<Answer>, Refusal> {
    let object = |id: &str| json!({"id": id, "object": "model", "created": MODEL_CREATED, "owned_by": "sallyport"});
    let own = localmodel::MODEL_ID;
    let json = match resolved.decoded_params()?.into_iter().next() {
        None => {
            let names = std::iter::once(own).chain(gate.settings.local_aliases.keys().map(String::as_str));
            json!({"object": "list", "data": names.map(object).collect::<Vec<_>>()})
        }
        // The answer tells the truth about an alias: it is the embedded model.
        Some((_, name)) if name == own || gate.settings.local_aliases.contains_key(&name) => object(own),
        Some((_, name)) => return Err(unknown_model(gate, &name)),
    };
    let mut response = Response::new(Answer::whole(json.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The refusal for a model that this gate cannot reach.
pub(crate) fn unknown_model(gate: &Gate, name: &str) -> Refusal {
    let shown = crate::record::client_text(name.as_bytes());
    let public = match &gate.local {
        Local::Off => format!("The model '{shown}' does not exist here, and this gate has no upstream. Ask its operator."),
        Local::Ready(_) | Local::Missing(_) => format!(
            "The model '{shown}' does not exist here. This gate runs its embedded demo model '{}' (GET /v1/models lists \
             its names); set SALLYPORT_UPSTREAM_KEY on the gate to reach OpenAI's models.",
            localmodel::MODEL_ID
        ),
    };
    Refusal::new(Reason::UnknownModel, public).param("model")
}
