//! What is asked for: the endpoint's row, whether this key opens it, and who answers.
//!
//! Promise: a path without a row goes nowhere; an admin key opens no data plane and a project key no control plane.
//! All of it is decided from the row, the snapshot in force and the request's head and model: no I/O but the look-up
//! of an object's owner where projects share an upstream account.

use std::sync::Arc;

use http::Method;
use keys::Kind;
use store::Project;
use wire::endpoint::{self, Endpoint, Keeps, NotFound, Opens, Params};
use wire::refusal::{Reason, Refusal};

use crate::accept::Accepted;
use crate::authenticate::Caller;
use crate::bounds;
use crate::gate::{EmbeddedModel, Gate, Local, ModelEndpoint};
use crate::local::unknown_model;
use crate::own;
use crate::prepare::Prepared;

/// A row of the endpoint table and its number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) number: usize,
    pub(crate) endpoint: &'static Endpoint,
}

/// A request whose row is known and open to its caller. Only [`resolve`] makes one.
pub(crate) struct Resolved<'r> {
    pub(crate) row: Row,
    pub(crate) caller: Caller,
    params: Params<'r>,
    /// Whether several projects share the upstream account that this request goes to.
    pub(crate) is_shared: bool,
}

/// Who answers.
pub(crate) enum Destination<'g> {
    /// The control plane.
    Control,
    /// The gate itself: it makes a client secret.
    ClientSecret,
    /// The gate itself: the embedded model's names.
    Models,
    /// The embedded model.
    Local(&'g dyn EmbeddedModel, ModelEndpoint),
    /// The upstream.
    Upstream,
}

/// Finds the row and holds the caller's key against it.
///
/// # Errors
/// 404 and 405 without a row, 401 for the wrong kind of key, 501 for surfaces that are not served, 403 for lists of a
/// shared account.
pub(crate) fn resolve<'r>(gate: &Gate, accepted: &Accepted<'r>, caller: Caller) -> Result<Resolved<'r>, Refusal> {
    let head = accepted.head();
    let found = endpoint::find(head.method.as_str(), accepted.path())
        .map_err(|error| no_row(&error, &head.method, accepted.path()))?;
    let endpoint = found.endpoint;
    opens(endpoint, &caller)?;
    bounds::check_endpoint(endpoint, &caller)?;
    refuse_detours(endpoint)?;
    if endpoint.websocket {
        let words = "WebSocket surfaces are not served by this gate yet. Use the HTTP endpoints.";
        return Err(Refusal::new(Reason::NotServed, words));
    }
    let makes_client_secret = endpoint.makes_client_secret;
    if makes_client_secret && caller.client.is_some() {
        let words = "A client secret makes no other. Make it on your server, with a project key.";
        return Err(Refusal::new(Reason::WrongKeyKind, words));
    }
    let is_data = endpoint.opens == Opens::ProjectKey && !makes_client_secret;
    let is_shared = is_data && gate.settings.upstream.is_some() && gate.directory.snapshot().project_count() > 1;
    if is_data && gate.settings.upstream.is_none() && !is_model(endpoint) && local_endpoint(endpoint).is_none() {
        let words = "This gate has no upstream: its embedded model serves chat completions, responses and models only. Set SALLYPORT_UPSTREAM_KEY on the gate to reach the rest.";
        return Err(Refusal::new(Reason::NotServed, words));
    }
    if is_shared && endpoint.lists_account {
        let words = "Several projects of this gate share one upstream account, so stored objects cannot be listed: the list would show other projects' objects. Keep the ids that you created.";
        return Err(Refusal::new(Reason::SharedUpstream, words));
    }
    Ok(Resolved { row: Row { number: found.number, endpoint }, caller, params: found.params, is_shared })
}

fn opens(endpoint: &Endpoint, caller: &Caller) -> Result<(), Refusal> {
    let is_admin = caller.key.key.kind == Kind::Admin;
    match (endpoint.opens, is_admin) {
        (Opens::ProjectKey, false) | (Opens::AdminKey, true) => Ok(()),
        (Opens::ProjectKey, true) => Err(Refusal::new(
            Reason::WrongKeyKind,
            "You have insufficient permissions for this operation: an admin key opens the administration paths only. Use a project key.",
        )),
        // Such rows are taken out of the way before anybody is asked for a key.
        (Opens::Signature, _) => Err(Refusal::new(
            Reason::WrongKeyKind,
            "No key opens this operation: it takes signed reports. Send it as its page says.",
        )),
        (Opens::AdminKey, false) => Err(Refusal::new(
            Reason::WrongKeyKind,
            "You have insufficient permissions for this operation: administration needs an admin key (OPENAI_ADMIN_KEY in the official SDK).",
        )),
    }
}

/// Refuses what would hand out the provider's own client secrets, or lead media past the gate: what goes that way is
/// neither counted nor looked at, nor can it be cut.
fn refuse_detours(endpoint: &Endpoint) -> Result<(), Refusal> {
    if !endpoint.leads_past_the_gate {
        return Ok(());
    }
    let words = "This operation hands out a secret of the provider's, or opens media that pass the gate by, where no limit holds. Use the HTTP endpoints, and /v1/sallyport/client_secrets for browsers and devices.";
    Err(Refusal::new(Reason::NotServed, words))
}

fn no_row(error: &NotFound, method: &Method, path: &str) -> Refusal {
    let shown = crate::record::client_text(path.as_bytes());
    match error {
        NotFound::Path => {
            let words = format!(
                "Unknown request URL: {method} {shown}. Check the path: the base URL ends in /v1, and the API's paths follow it."
            );
            Refusal::new(Reason::UnknownEndpoint, words)
        }
        NotFound::Method { allowed } => {
            let allowed: Vec<&str> = allowed.iter().map(|method| method.as_str()).collect();
            let words = format!("Not allowed to {method} on {shown}. This path answers {}.", allowed.join(", "));
            Refusal::new(Reason::MethodNotAllowed, words)
        }
    }
}

/// The embedded model's endpoint for this row.
fn local_endpoint(endpoint: &Endpoint) -> Option<ModelEndpoint> {
    match (endpoint.method, endpoint.path) {
        (endpoint::Method::Post, "/v1/chat/completions") => Some(ModelEndpoint::ChatCompletions),
        (endpoint::Method::Post, "/v1/responses") => Some(ModelEndpoint::Responses),
        _ => None,
    }
}

fn is_model(endpoint: &Endpoint) -> bool {
    endpoint.family == "models" && endpoint.method == endpoint::Method::Get
}

impl Resolved<'_> {
    /// The caller's project; data-plane rows always have one.
    pub(crate) fn project(&self) -> Option<&Arc<Project>> {
        self.caller.project.as_ref()
    }

    /// Path parameters, percent-decoded.
    ///
    /// # Errors
    /// 400 when one is not UTF-8 after decoding.
    pub(crate) fn decoded_params(&self) -> Result<Vec<(&'static str, String)>, Refusal> {
        let decode = |(name, raw): (&'static str, &str)| {
            let text = wire::target::decode(raw).map_err(|_| {
                Refusal::new(Reason::InvalidTarget, format!("The '{name}' in the path is not valid UTF-8.")).param(name)
            })?;
            Ok((name, text.into_owned()))
        };
        self.params.iter().map(decode).collect()
    }

    /// Refuses a path id that is another project's or unknown. Asked only where projects share the upstream account.
    ///
    /// # Errors
    /// 404, or 503 when the store cannot say.
    pub(crate) async fn check_ownership(&self, gate: &Gate) -> Result<(), Refusal> {
        let (Some(project), Some(name)) = (self.project(), self.row.endpoint.owned_by) else {
            return Ok(());
        };
        let params = self.decoded_params()?;
        let Some((_, id)) = params.into_iter().find(|(param, _)| *param == name) else { return Ok(()) };
        // The provider's own models are everybody's; fine-tuned ones, and deleting any, are not.
        if is_model(self.row.endpoint) && !id.starts_with("ft:") {
            return Ok(());
        }
        own::check(gate, &id, project).await
    }

    /// Refuses a fine-tuned model that is another project's or unknown. Asked only where projects share the account.
    ///
    /// # Errors
    /// 404, or 503 when the store cannot say.
    pub(crate) async fn check_model(&self, gate: &Gate, prepared: &Prepared) -> Result<(), Refusal> {
        match (self.project(), prepared.model.as_deref()) {
            (Some(project), Some(model)) if model.starts_with("ft:") => own::check(gate, model, project).await,
            _ => Ok(()),
        }
    }

    /// Whether the answer will name objects whose owner must be written down.
    pub(crate) fn makes_objects(&self, prepared: &Prepared) -> bool {
        match self.row.endpoint.keeps {
            Keeps::Nothing => false,
            Keeps::Always => true,
            Keeps::UnlessStoreFalse => prepared.store != Some(false),
            Keeps::IfStoreTrue => prepared.store == Some(true),
        }
    }

    /// Decides who answers.
    ///
    /// # Errors
    /// 404 for a model that nobody here has, 503 when the embedded model is wanted and not there.
    pub(crate) fn destination<'g>(&self, gate: &'g Gate, prepared: &Prepared) -> Result<Destination<'g>, Refusal> {
        let endpoint = self.row.endpoint;
        if endpoint.opens == Opens::AdminKey {
            return Ok(Destination::Control);
        }
        if endpoint.makes_client_secret {
            return Ok(Destination::ClientSecret);
        }
        let has_upstream = gate.settings.upstream.is_some();
        let Some(local) = local_endpoint(endpoint) else {
            return Ok(if has_upstream { Destination::Upstream } else { Destination::Models });
        };
        let model = prepared.model.as_deref();
        let is_local = |name: &str| name == gate.settings.local_model || gate.settings.local_aliases.contains(name);
        match (&gate.local, model) {
            (Local::Ready(engine), Some(name)) if is_local(name) => Ok(Destination::Local(&**engine, local)),
            (Local::Missing(words), Some(name)) if is_local(name) => {
                Err(Refusal::new(Reason::LocalModelUnavailable, words.clone()).param("model"))
            }
            _ if has_upstream => Ok(Destination::Upstream),
            (_, Some(name)) => Err(unknown_model(gate, name)),
            (_, None) => Err(Refusal::new(Reason::InvalidValue, "You must provide a model parameter.").param("model")),
        }
    }
}
