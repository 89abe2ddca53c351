//! The embedded model behind the same API: chat completions, responses, and the list of models that it makes up.

use std::sync::Arc;

use http::{HeaderValue, Response, header};
use serde_json::json;
use wire::refusal::{Reason, Refusal};

use crate::answer::{Answer, Cut, revoked};
use crate::forward::keep;
use crate::gate::{EmbeddedModel, Gate, Local, ModelAnswer, ModelEndpoint};
use crate::hold::Held;
use crate::record::Record;
use crate::resolve::Resolved;
use crate::settle::Settling;

/// `created` of the embedded model in lists: SmolLM2's publication, 2024-11-01 UTC.
const MODEL_CREATED: u64 = 1_730_419_200;

/// Lets the embedded model answer.
///
/// # Errors
/// What the model refuses: a full queue, parameters that it does not take, a prompt that does not fit.
pub(crate) async fn answer(
    model: &dyn EmbeddedModel,
    endpoint: ModelEndpoint,
    resolved: &Resolved<'_>,
    held: Held,
    record: &mut Record,
) -> Result<Response<Answer>, Refusal> {
    if let Some(awaited) = held.awaited
        && let Err(refusal) = record.rule(&awaited.verdict().await)
    {
        held.settling.into_iter().for_each(Settling::release);
        return Err(refusal);
    }
    let revocation = &resolved.caller.key.revocation;
    let answered = tokio::select! {
        biased;
        answered = model.answer(endpoint, held.prepared.whole) => answered,
        () = revocation.revoked() => Err(revoked()),
    };
    let (settling, keeping) = (held.settling, held.keeping);
    let answered = match answered {
        Ok(answered) => answered,
        Err(refusal) => {
            settling.into_iter().for_each(Settling::release);
            return Err(refusal);
        }
    };
    let (kind, body) = match answered {
        ModelAnswer::Json(json) => {
            let json = match settling {
                Some(settling) => settling.whole(json),
                None => json,
            };
            ("application/json", Answer::whole(json))
        }
        ModelAnswer::Events(events) => {
            record.streamed = true;
            let cut = Cut::new(Arc::clone(&resolved.caller.key));
            ("text/event-stream; charset=utf-8", Answer::local(events, cut, settling))
        }
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(keep(response, keeping))
}

/// `GET /v1/models` and `GET /v1/models/{model}` where the embedded model is all there is.
///
/// # Errors
/// 404 for a model that is neither the embedded one nor an alias of it.
pub(crate) fn models(gate: &Gate, resolved: &Resolved<'_>) -> Result<Response<Answer>, Refusal> {
    let object = |id: &str| json!({"id": id, "object": "model", "created": MODEL_CREATED, "owned_by": "sallyport"});
    let own = gate.settings.local_model;
    let json = match resolved.decoded_params()?.into_iter().next() {
        None => {
            let names = std::iter::once(own).chain(gate.settings.local_aliases.iter().map(String::as_str));
            json!({"object": "list", "data": names.map(object).collect::<Vec<_>>()})
        }
        // The answer tells the truth about an alias: it is the embedded model.
        Some((_, name)) if name == own || gate.settings.local_aliases.contains(&name) => object(own),
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
        Local::Off => {
            format!("The model '{shown}' does not exist here, and this gate has no upstream. Ask its operator.")
        }
        Local::Ready(_) | Local::Missing(_) => format!(
            "The model '{shown}' does not exist here. This gate runs its embedded demo model '{}' (GET /v1/models lists \
             its names); set SALLYPORT_UPSTREAM_KEY on the gate to reach OpenAI's models.",
            gate.settings.local_model
        ),
    };
    Refusal::new(Reason::UnknownModel, public).param("model")
}
