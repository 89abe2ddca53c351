//! Making a client secret: `POST /v1/sallyport/client_secrets`, and `POST /v1/realtime/client_secrets` as the SDKs call
//! it.
//!
//! Promises: only a long-lived key of a project makes one, and never one that is wider than itself; the secret is in the
//! one answer that makes it. The provider's own client secrets, which lead past the gate, are not handed out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use http::{HeaderValue, Response, header};
use keys::{Kind, SystemRandom};
use pricing::Nano;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use store::fits;
use wire::endpoint::{self, Endpoint, Meter, Opens};
use wire::refusal::{Reason, Refusal};

use super::{Binding, ClientSecret, UNCAPPED};
use crate::answer::Answer;
use crate::gate::Gate;
use crate::ids::rare_request_id;
use crate::prepare::Prepared;
use crate::resolve::Resolved;

/// What ids begin with.
const ID_PREFIX: &str = "cs_";
/// Shortest life, seconds, as in the API.
const SECONDS_MIN: i64 = 10;
/// Longest life, seconds, as in the API.
const SECONDS_MAX: i64 = 7_200;
/// Life where none is named, seconds, as in the API.
const SECONDS_DEFAULT: i64 = 600;
/// Longest origin or device name.
const NAME_BYTES_MAX: usize = 255;
/// Most models or endpoints that one names.
const LIST_MAX: usize = 64;
/// The API's own path.
const REALTIME: &str = "/v1/realtime/client_secrets";
/// The family whose paths a secret made there opens.
const REALTIME_ENDPOINTS: &str = "/v1/realtime*";

/// What a call may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    expires_after: Option<ExpiresAfter>,
    origin: Option<String>,
    device: Option<String>,
    models: Vec<String>,
    endpoints: Vec<String>,
    budget: Option<String>,
    max_calls: Option<u64>,
}

/// What a call to the API's own path may say: a session, and ours beside it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AskedRealtime {
    expires_after: Option<ExpiresAfter>,
    session: Option<Map<String, Value>>,
    sallyport: Asked,
}

#[derive(Debug, Deserialize)]
struct ExpiresAfter {
    #[serde(default)]
    anchor: Option<String>,
    #[serde(default)]
    seconds: Option<i64>,
}

fn invalid(param: &'static str, words: impl Into<String>) -> Refusal {
    Refusal::new(Reason::InvalidValue, words.into()).param(param)
}

/// Makes a client secret.
///
/// # Errors
/// 400 for what cannot be, 401 for a client secret as the caller, 403 for what the caller's own key does not open.
pub(crate) fn mint(gate: &Gate, resolved: &Resolved<'_>, prepared: &Prepared) -> Result<Response<Answer>, Refusal> {
    let is_realtime = resolved.row.endpoint.path == REALTIME;
    let body: &[u8] = if prepared.whole.is_empty() { b"{}" } else { &prepared.whole };
    let unread = |error: serde_json::Error| invalid("body", format!("The body cannot be read: {error}."));
    let (asked, session) = if is_realtime {
        let AskedRealtime { expires_after, session, sallyport } = serde_json::from_slice(body).map_err(unread)?;
        let asked = Asked { expires_after, ..sallyport };
        (asked.for_session(session.as_ref()), Some(session.unwrap_or_default()))
    } else {
        (serde_json::from_slice::<Asked>(body).map_err(unread)?, None)
    };
    let now = gate.clock.unix_seconds();
    let secret = asked.secret(resolved, session.is_some(), now)?;
    let value = gate.shape.mint(Kind::ClientSecret, &SystemRandom);
    let shown = match session {
        None => show(&secret, value.expose(), now),
        Some(session) => show_realtime(&secret, value.expose(), session),
    };
    gate.client_secrets.put(gate.pepper.digest(value.expose()), secret, now)?;
    let mut response = Response::new(Answer::whole(shown.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

impl Asked {
    /// What a call to the API's own path means: the session's model, on realtime paths.
    fn for_session(mut self, session: Option<&Map<String, Value>>) -> Asked {
        let model = |place: &str| {
            session.and_then(|session| Value::Object(session.clone()).pointer(place)?.as_str().map(str::to_owned))
        };
        if self.models.is_empty() {
            self.models.extend(["/model", "/audio/input/transcription/model"].iter().filter_map(|place| model(place)));
        }
        if self.endpoints.is_empty() {
            self.endpoints.push(REALTIME_ENDPOINTS.to_owned());
        }
        self
    }

    fn secret(self, resolved: &Resolved<'_>, may_be_unbound: bool, now: i64) -> Result<ClientSecret, Refusal> {
        let caller = &resolved.caller;
        let bounds = &caller.key.key.bounds;
        let binding = self.binding(may_be_unbound)?;
        if let Binding::Origin(origin) = &binding
            && !bounds.takes_origin(origin)
        {
            return Err(invalid("origin", format!("This key may not make client secrets for {origin}.")));
        }
        if self.models.len() > LIST_MAX || self.endpoints.len() > LIST_MAX {
            return Err(invalid("models", format!("At most {LIST_MAX} models and endpoints can be named.")));
        }
        if let Some(model) = self.models.iter().find(|model| !is_within(model, &bounds.models)) {
            return Err(invalid("models", format!("This key itself does not take the model '{model}'.")));
        }
        let budget = self.budget.as_deref().map(Nano::from_usd).transpose();
        let budget =
            budget.map_err(|error| invalid("budget", format!("'budget' is {error}: write dollars, \"0.50\".")))?;
        if self.max_calls == Some(0) || budget == Some(Nano::ZERO) {
            return Err(invalid("max_calls", "'max_calls' and 'budget' must be above zero."));
        }
        let life = seconds(self.expires_after.as_ref())?;
        // Never beyond its maker.
        let expires_at = caller.key.expires_at.map_or(now + life, |end| end.min(now + life));
        Ok(ClientSecret {
            id: format!("{ID_PREFIX}{}", rare_request_id().trim_start_matches("req_")),
            maker: Arc::clone(&caller.key),
            expires_at,
            binding,
            models: self.models.into_iter().collect(),
            endpoints: endpoints(self.endpoints, &bounds.endpoints)?,
            calls_left: AtomicU64::new(self.max_calls.unwrap_or(UNCAPPED)),
            budget_left: budget.map(|budget| AtomicU64::new(budget.0)),
        })
    }

    fn binding(&self, may_be_unbound: bool) -> Result<Binding, Refusal> {
        match (&self.origin, &self.device) {
            (Some(origin), None) => Ok(Binding::Origin(checked_origin(origin)?)),
            (None, Some(device)) => {
                let is_good =
                    (1..=NAME_BYTES_MAX).contains(&device.len()) && device.bytes().all(|byte| byte.is_ascii_graphic());
                let words = "'device' must be 1 to 255 visible ASCII characters.";
                if is_good { Ok(Binding::Device(device.clone())) } else { Err(invalid("device", words)) }
            }
            (None, None) if may_be_unbound => Ok(Binding::None),
            _ => Err(invalid(
                "origin",
                "Name one of 'origin' (\"https://app.example.com\", for pages) and 'device' (any name, for apps).",
            )),
        }
    }
}

fn seconds(asked: Option<&ExpiresAfter>) -> Result<i64, Refusal> {
    let Some(asked) = asked else { return Ok(SECONDS_DEFAULT) };
    if asked.anchor.as_deref().is_some_and(|anchor| anchor != "created_at") {
        return Err(invalid("expires_after.anchor", "'expires_after.anchor' must be created_at."));
    }
    let seconds = asked.seconds.unwrap_or(SECONDS_DEFAULT);
    if !(SECONDS_MIN..=SECONDS_MAX).contains(&seconds) {
        let words = format!("'expires_after.seconds' must be from {SECONDS_MIN} to {SECONDS_MAX}.");
        return Err(invalid("expires_after.seconds", words));
    }
    Ok(seconds)
}

/// A web origin as browsers send it: scheme, host, port where it is not the usual one.
fn checked_origin(origin: &str) -> Result<String, Refusal> {
    let words = "'origin' must be a web origin as browsers send it: \"https://app.example.com\", without a path.";
    let wrong = || invalid("origin", words);
    let url = url::Url::parse(origin).map_err(|_| wrong())?;
    let is_web = matches!(url.scheme(), "https" | "http") && origin.len() <= NAME_BYTES_MAX;
    let written = url.origin().ascii_serialization();
    // Its own spelling and no other, or what the browser sends would never be equal to it.
    if is_web && origin.trim_end_matches('/').eq_ignore_ascii_case(&written) { Ok(written) } else { Err(wrong()) }
}

/// Whether everything that `pattern` stands for is in one of `outer`; in nothing, everything is.
fn is_within(pattern: &str, outer: &BTreeSet<String>) -> bool {
    outer.is_empty()
        || outer.contains(pattern)
        || outer.iter().any(|outer| match pattern.strip_suffix('*') {
            Some(beginning) => outer.ends_with('*') && fits(outer, beginning),
            None => fits(outer, pattern),
        })
}

/// Paths that are opened: those that were named, or all that answer a prompt.
fn endpoints(named: Vec<String>, outer: &BTreeSet<String>) -> Result<BTreeSet<String>, Refusal> {
    if named.is_empty() {
        let paths = endpoint::rows().filter(|row| is_usual(row)).map(|row| row.path.to_owned());
        return Ok(paths.filter(|path| is_within(path, outer)).collect());
    }
    for pattern in &named {
        let is_meant = |row: &&Endpoint| row.opens == Opens::ProjectKey && fits(pattern, row.path);
        if pattern.len() > NAME_BYTES_MAX || !endpoint::rows().any(|row| is_meant(&row)) {
            return Err(invalid("endpoints", format!("'{pattern}' is no path of the API (\"/v1/responses\").")));
        }
        if !is_within(pattern, outer) {
            return Err(invalid("endpoints", format!("This key itself does not open '{pattern}'.")));
        }
    }
    Ok(named.into_iter().collect())
}

/// What a client secret opens that names no endpoints: calls of models whose cost has a bound.
fn is_usual(row: &Endpoint) -> bool {
    row.opens == Opens::ProjectKey
        && row.method == endpoint::Method::Post
        && !matches!(row.meter, Meter::Nothing | Meter::Unbounded)
}

fn show(secret: &ClientSecret, value: &str, now: i64) -> Value {
    let (origin, device) = match &secret.binding {
        Binding::Origin(origin) => (Some(origin), None),
        Binding::Device(device) => (None, Some(device)),
        Binding::None => (None, None),
    };
    let calls = Some(secret.calls_left.load(std::sync::atomic::Ordering::SeqCst)).filter(|calls| *calls != UNCAPPED);
    let budget = secret.budget_left.as_ref().map(|left| Nano(left.load(std::sync::atomic::Ordering::SeqCst)));
    json!({
        "object": "sallyport.client_secret", "id": secret.id, "value": value, "created_at": now,
        "expires_at": secret.expires_at, "origin": origin, "device": device, "models": secret.models,
        "endpoints": secret.endpoints, "max_calls": calls,
        "budget": budget.map(|budget| budget.to_string().trim_start_matches('$').to_owned()),
    })
}

/// As the API answers: the session as it was asked for, with an id.
fn show_realtime(secret: &ClientSecret, value: &str, mut session: Map<String, Value>) -> Value {
    session.entry("type").or_insert_with(|| "realtime".into());
    session.entry("object").or_insert_with(|| "realtime.session".into());
    session.insert("id".to_owned(), secret.id.replacen("cs_", "sess_", 1).into());
    json!({"value": value, "expires_at": secret.expires_at, "session": session})
}
