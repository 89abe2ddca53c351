//! What is asked for: the endpoint's row, whether this key opens it, and who answers.
//!
//! Promise: a path without a row goes nowhere; an admin key opens no data plane and a project key no control plane.
//! All of it is decided from the row, the snapshot in force and the request's head and model: no I/O but the look-up
//! of an object's owner where projects share an upstream account.

use std::sync::Arc;

use http::Method;
use keys::Kind;
use store::Project;
use wire::endpoint::{self, Endpoint, Keeps, Meter, NotFound, Opens, Params};
use wire::refusal::{Reason, Refusal};

use crate::accept::Accepted;
use crate::authenticate::Caller;
use crate::bounds;
use crate::gate::{EmbeddedModel, Gate, Local, ModelEndpoint};
use crate::local::unknown_model;
use crate::own;
use crate::prepare::Prepared;
use crate::upstreams::{Route, Ways};

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
    /// The project's upstreams; `None` where the embedded model is all there is.
    pub(crate) route: Option<Arc<Route>>,
}

/// Who answers.
pub(crate) enum Destination<'g> {
    /// The control plane.
    Control,
    /// The gate itself: it makes a client secret.
    ClientSecret,
    /// The gate itself: what its guards say about a text.
    Inspection,
    /// The gate itself: the embedded model's names.
    Models,
    /// The embedded model.
    Local(&'g dyn EmbeddedModel, ModelEndpoint),
    /// The upstream, by these ways.
    Upstream(Ways),
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
    let route = gate.upstreams.route(caller.project.as_ref().map(|project| &project.id).filter(|_| is_data));
    let is_shared = is_data && route.is_some() && gate.directory.snapshot().project_count() > 1;
    if is_data && route.is_none() && !is_model(endpoint) && local_endpoint(endpoint).is_none() {
        let words = "This gate has no upstream: its embedded model serves chat completions, responses and models only. Set SALLYPORT_UPSTREAM_KEY on the gate to reach the rest.";
        return Err(Refusal::new(Reason::NotServed, words));
    }
    if is_shared && endpoint.lists_account {
        let words = "Several projects of this gate share one upstream account, so stored objects cannot be listed: the list would show other projects' objects. Keep the ids that you created.";
        return Err(Refusal::new(Reason::SharedUpstream, words));
    }
    Ok(Resolved { row: Row { number: found.number, endpoint }, caller, params: found.params, is_shared, route })
}

fn opens(endpoint: &Endpoint, caller: &Caller) -> Result<(), Refusal> {
    let is_admin = caller.key.key.kind == Kind::Admin;
    match (endpoint.opens, is_admin) {
        (Opens::ProjectKey, false) | (Opens::AdminKey, true) | (Opens::AnyKey, _) => Ok(()),
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

    /// The model that the path names, where it can be changed by it: reading about one is open to all.
    pub(crate) fn model_of_path(&self) -> Option<String> {
        let endpoint = self.row.endpoint;
        if endpoint.family != "models" || endpoint.method == endpoint::Method::Get {
            return None;
        }
        self.decoded_params().ok()?.into_iter().find(|(name, _)| *name == "model").map(|(_, model)| model)
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
        if endpoint.opens == Opens::AnyKey {
            return Ok(Destination::Inspection);
        }
        if endpoint.makes_client_secret {
            return Ok(Destination::ClientSecret);
        }
        let route = self.route.as_ref();
        let upstream = |route: &Arc<Route>| Destination::Upstream(self.ways(route, prepared));
        let Some(local) = local_endpoint(endpoint) else {
            return Ok(route.map_or(Destination::Models, upstream));
        };
        let model = prepared.model.as_deref();
        // Names that the embedded model lends itself where there is no upstream mean the upstream's where there is one.
        let has_aliases = route.is_none() || gate.settings.upstream.is_some();
        let is_alias = |name: &str| has_aliases && gate.settings.local_aliases.contains(name);
        let is_local = |name: &str| name == gate.settings.local_model || is_alias(name);
        match (&gate.local, model) {
            (Local::Ready(engine), Some(name)) if is_local(name) => Ok(Destination::Local(&**engine, local)),
            (Local::Missing(words), Some(name)) if is_local(name) => {
                Err(Refusal::new(Reason::LocalModelUnavailable, words.clone()).param("model"))
            }
            (_, model) => match (route, model) {
                (Some(route), _) => Ok(upstream(route)),
                (None, Some(name)) => Err(unknown_model(gate, name)),
                (None, None) => {
                    Err(Refusal::new(Reason::InvalidValue, "You must provide a model parameter.").param("model"))
                }
            },
        }
    }

    /// Where the request may go. Objects stored upstream belong to an account: whatever makes one, names one, or asks
    /// for what only an account has, goes to the project's home.
    fn ways(&self, route: &Arc<Route>, prepared: &Prepared) -> Ways {
        let endpoint = self.row.endpoint;
        let is_of_an_account = || {
            let is_tuned = prepared.model.as_deref().is_some_and(|model| model.starts_with("ft:"));
            let is_billed_alone = !matches!(endpoint.meter, Meter::Nothing | Meter::Unbounded);
            let is_stored = self.makes_objects(prepared) || endpoint.owned_by.is_some() || endpoint.lists_account;
            !is_billed_alone || is_stored || is_tuned || prepared.may_refer
        };
        if route.is_plural() && is_of_an_account() {
            Ways::at_home(Arc::clone(route))
        } else {
            Ways::anywhere(Arc::clone(route))
        }
    }

    /// Whether references to stored objects are looked for in the body.
    pub(crate) fn looks_for_references(&self) -> bool {
        self.is_shared || self.route.as_ref().is_some_and(|route| route.is_plural())
    }
}
