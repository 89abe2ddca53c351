//! What a restricted key may do: scopes and endpoints from the row, models from the body.
//!
//! Promise: a key that is held to some models calls none that the request does not name, and a client secret opens no
//! more than the key that made it.

use store::KeyBounds;
use wire::endpoint::{Endpoint, Meter};
use wire::refusal::{Reason, Refusal};

use crate::authenticate::Caller;
use crate::prepare::Prepared;
use crate::record::client_text;
use crate::resolve::Resolved;

/// Holds a row against what its caller is restricted to.
///
/// # Errors
/// 401 with the scope or the endpoint that is missing.
pub(crate) fn check_endpoint(endpoint: &Endpoint, caller: &Caller) -> Result<(), Refusal> {
    let bounds = &caller.key.key.bounds;
    if !bounds.scopes.is_empty() && !endpoint.is_opened_by(bounds.scopes.iter().map(String::as_str)) {
        let scope = endpoint.scopes().into_iter().next().unwrap_or_default();
        let words = format!("You have insufficient permissions for this operation. Missing scopes: {scope}.");
        return Err(Refusal::new(Reason::MissingScope, words));
    }
    let is_open = bounds.takes_endpoint(endpoint.path)
        && caller.client.as_ref().is_none_or(|client| client.takes_endpoint(endpoint));
    if is_open {
        return Ok(());
    }
    let words = format!(
        "You have insufficient permissions for this operation: this key does not open {} {}.",
        endpoint.method.as_str(),
        endpoint.path
    );
    Err(Refusal::new(Reason::MissingScope, words))
}

/// Holds a request's model against what its caller is restricted to.
///
/// # Errors
/// 403 for another model, 400 where none is named.
pub(crate) fn check_model(resolved: &Resolved<'_>, prepared: &Prepared) -> Result<(), Refusal> {
    let caller = &resolved.caller;
    let bounds: &KeyBounds = &caller.key.key.bounds;
    let client = caller.client.as_ref().filter(|client| client.has_models());
    if bounds.models.is_empty() && client.is_none() {
        return Ok(());
    }
    if prepared.asked.as_ref().is_some_and(|asked| asked.may_use_other_models) {
        let words = "This key may use some models only, and a hosted tool of the request may use others (image_generation does). Leave it out.";
        return Err(Refusal::new(Reason::ModelNotAllowed, words).param("tools"));
    }
    let of_path = resolved.model_of_path();
    let Some(model) = prepared.model.as_deref().or(of_path.as_deref()) else {
        if resolved.row.endpoint.meter == Meter::Nothing {
            return Ok(());
        }
        let words = "This key may use some models only, and the request names none. Name one in 'model'.";
        return Err(Refusal::new(Reason::ModelNotAllowed, words).param("model"));
    };
    if bounds.takes_model(model) && client.is_none_or(|client| client.takes_model(model)) {
        return Ok(());
    }
    let shown = client_text(model.as_bytes());
    let words = match resolved.project() {
        Some(project) => format!("This key of project `{}` does not have access to model `{shown}`.", project.id),
        None => format!("This key does not have access to model `{shown}`."),
    };
    Err(Refusal::new(Reason::ModelNotAllowed, words).param("model"))
}
