//! Who is calling: header → key → project.
//!
//! Promises: a key's shape and checksum are tested before anything is looked up; the look-up is by HMAC, the final
//! comparison in constant time; revoked, expired, suspended and archived are refused from the snapshot in force, without
//! I/O; a long-lived key that comes from a browser, or from an address that it does not take, is refused and reported;
//! a decoy is answered like a key that nobody knows; an error shows a key masked or not at all.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use keys::{Digest, Kind};
use store::{KeyEntry, Project, Snapshot};
use wire::refusal::{Reason, Refusal, masked_key};

use crate::alarms::AlarmKind;
use crate::browser::{self, Sign};
use crate::client_secrets::{Binding, ClientSecret};
use crate::gate::Gate;
use crate::headers::single;
use crate::record::{Record, client_text};
use crate::unknown_keys::Verdict;

/// Somebody whose key is in force. Only [`authenticate`] makes one.
pub(crate) struct Caller {
    /// The key; of a client secret, the one that made it.
    pub(crate) key: Arc<KeyEntry>,
    /// Its project; admin keys have none.
    pub(crate) project: Option<Arc<Project>>,
    /// The client secret, where it is one that calls.
    pub(crate) client: Option<Arc<ClientSecret>>,
}

/// Authenticates a request.
///
/// # Errors
/// 401 for a missing, malformed, unknown, revoked, expired or suspended key, for an address, origin or device that it is
/// not for, for an archived project, and for organization or project headers that do not fit the key; 403 for a
/// long-lived key from a browser; 429 for an address that has sent many unknown keys, and sends another.
pub(crate) fn authenticate(gate: &Gate, headers: &HeaderMap, record: &mut Record) -> Result<Caller, Refusal> {
    let presented = bearer(headers)?;
    let kind = gate.shape.parse(presented).map_err(|_| {
        let words = format!(
            "Incorrect API key provided: {}. It is not a Sallyport key: those begin with '{}' and end in a checksum, so that a slip is seen. Ask the gate's operator for one.",
            masked_key(presented),
            gate.shape.prefix(),
        );
        no_key(gate, record, Reason::MalformedKey, words)
    })?;
    let digest = gate.pepper.digest(presented);
    let snapshot = gate.directory.snapshot();
    let now = gate.clock.unix_seconds();
    let (key, client) = match find(gate, &snapshot, kind, &digest) {
        Some(found) => found,
        // Its page may have been open for long, or the gate was restarted: nobody is trying keys.
        None if kind == Kind::ClientSecret => {
            let words = "This client secret is not in force any more. Ask your server for a new one.";
            return Err(Refusal::new(Reason::RevokedKey, words));
        }
        None => return Err(unknown(gate, record, presented)),
    };
    if let Some(client) = &client
        && let Binding::Origin(origin) = &client.binding
        && browser::origin(headers)?.as_deref() == Some(origin)
    {
        // Also where it has expired: its page may read that.
        record.readable_by = headers.get("origin").cloned();
    }
    if key.key.is_decoy {
        record.alarm(AlarmKind::DecoyUsed, Some(&key.key), None);
        return Err(unknown(gate, record, presented));
    }
    in_force(&key, client.as_deref(), now)?;
    key.note_use(now);
    // From here on it is a key of ours, whatever else is wrong.
    record.caller = Some(Arc::clone(&key));
    check_place(headers, record, &key, client.as_ref())?;
    let project = match &key.key.project {
        Some(id) => Some(Arc::clone(snapshot.project(id).ok_or_else(|| {
            Refusal::new(Reason::Internal, "This key's project is missing. Ask the gate's operator.")
                .cause("no project")
        })?)),
        None => None,
    };
    if let Some(project) = &project
        && project.is_archived()
    {
        let public = format!("Project '{}' is archived. Its keys open nothing any more.", project.id.as_str());
        return Err(Refusal::new(Reason::ProjectArchived, public));
    }
    fits(headers, &snapshot, project.as_deref())?;
    Ok(Caller { key, project, client })
}

/// What a key's digest stands for: a key, or a client secret and the key that made it.
fn find(
    gate: &Gate,
    snapshot: &Snapshot,
    kind: Kind,
    digest: &Digest,
) -> Option<(Arc<KeyEntry>, Option<Arc<ClientSecret>>)> {
    if kind != Kind::ClientSecret {
        return Some((Arc::clone(snapshot.key(digest)?), None));
    }
    let client = gate.client_secrets.find(digest)?;
    // By the very secret that made it: what that one lost, this one has lost.
    let key = snapshot.key(&client.maker.digest).filter(|_| !client.maker.revocation.is_revoked())?;
    Some((Arc::clone(key), Some(client)))
}

/// Refuses what is not in force any more.
fn in_force(key: &KeyEntry, client: Option<&ClientSecret>, now: i64) -> Result<(), Refusal> {
    let refuse = |reason, words: &'static str| Err(Refusal::new(reason, words));
    if client.is_some_and(|client| client.expires_at <= now) {
        return refuse(Reason::RevokedKey, "This client secret has expired. Ask your server for a new one.");
    }
    if let Some(suspension) = &key.key.suspension {
        let words = format!("This API key is suspended: {}. Ask the gate's operator to resume it.", suspension.reason);
        return Err(Refusal::new(Reason::SuspendedKey, words));
    }
    if key.has_expired(now) {
        return refuse(Reason::RevokedKey, "This API key has expired. Ask the gate's operator for a new one.");
    }
    if key.revocation.is_revoked() {
        return refuse(Reason::RevokedKey, "This API key was revoked. Ask the gate's operator for a new one.");
    }
    Ok(())
}

/// Refuses a key in a place that it is not for: another address, a browser, another origin or device.
fn check_place(
    headers: &HeaderMap,
    record: &mut Record,
    key: &Arc<KeyEntry>,
    client: Option<&Arc<ClientSecret>>,
) -> Result<(), Refusal> {
    // A client secret is used from where its user is, not from where its maker may come from.
    if client.is_none() && !key.key.bounds.takes_address(record.address()) {
        record.alarm(AlarmKind::AddressNotAllowed, Some(&key.key), None);
        let words = format!("Your IP address {} is not allowed to use this API key.", record.address());
        return Err(Refusal::new(Reason::AddressNotAllowed, words));
    }
    let Some(client) = client else {
        let Some(sign) = browser::sign(headers) else { return Ok(()) };
        let origin = headers.get("origin").map(|origin| client_text(origin.as_bytes()));
        record.alarm(AlarmKind::BrowserUse, Some(&key.key), origin);
        return Err(in_browser(sign));
    };
    if let Err(refusal) = client.check_binding(headers) {
        let origin = headers.get("origin").map(|origin| client_text(origin.as_bytes()));
        record.alarm(AlarmKind::ClientSecretElsewhere, Some(&key.key), origin);
        return Err(refusal);
    }
    record.client_secret = Some(Arc::clone(client));
    Ok(())
}

fn in_browser(sign: Sign) -> Refusal {
    let words = format!(
        "This API key came from a browser (the request has `{}`), where every visitor can read it: replace the key. Keys stay on your server, which makes a client secret for the page: POST /v1/sallyport/client_secrets with {{\"origin\": \"https://your.app\"}} and this key; the page uses its 'value' as apiKey.",
        sign.header(),
    );
    Refusal::new(Reason::BrowserKey, words)
}

/// The refusal of a key that the gate does not know; a decoy's too, word for word.
fn unknown(gate: &Gate, record: &Record, presented: &str) -> Refusal {
    let words = format!(
        "Incorrect API key provided: {}. This gate has no such key, or it was deleted. Ask the gate's operator for a new one.",
        masked_key(presented),
    );
    no_key(gate, record, Reason::UnknownKey, words)
}

/// Counts a key that is none against its address.
fn no_key(gate: &Gate, record: &Record, reason: Reason, words: String) -> Refusal {
    let address: IpAddr = record.address();
    match gate.unknown_keys.note(address, gate.clock.unix_seconds()) {
        Verdict::Few => Refusal::new(reason, words),
        Verdict::JustTooMany { retry_after_ms } => {
            record.alarm(AlarmKind::UnknownKeys, None, None);
            too_many(retry_after_ms)
        }
        Verdict::TooMany { retry_after_ms } => too_many(retry_after_ms),
    }
}

fn too_many(retry_after_ms: u64) -> Refusal {
    let words = "Too many unknown API keys came from your address. Check the key; a right one is served at once.";
    Refusal::new(Reason::TooManyUnknownKeys, words).retry_after_ms(retry_after_ms)
}

/// The token of `Authorization: Bearer TOKEN`.
fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let missing = || {
        Refusal::new(
            Reason::MissingKey,
            "You didn't provide an API key. Send it as 'Authorization: Bearer YOUR_KEY' (in an official SDK: api_key).",
        )
    };
    let value = single(headers, "authorization")?.ok_or_else(missing)?;
    let (scheme, token) = value.split_once(' ').ok_or_else(missing)?;
    let token = token.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() { Ok(token) } else { Err(missing()) }
}

/// Holds `OpenAI-Organization` and `OpenAI-Project` against the key. Real ids of the upstream that stand in a
/// client's environment fit when the project lists them as synonyms.
fn fits(headers: &HeaderMap, snapshot: &Snapshot, project: Option<&Project>) -> Result<(), Refusal> {
    let is_synonym =
        |named: &str| project.is_some_and(|project| project.synonyms.iter().any(|synonym| synonym == named));
    let stated = |name| single(headers, name).map(|value| value.map(str::trim).filter(|value| !value.is_empty()));
    if let Some(named) = stated("openai-organization")?
        && named != snapshot.organization.id.as_str()
        && !is_synonym(named)
    {
        let public = "The OpenAI-Organization header does not fit this API key. Remove it (unset OPENAI_ORG_ID), or have the id listed as a synonym of the project.";
        return Err(Refusal::new(Reason::MismatchedOrganization, public).param("OpenAI-Organization"));
    }
    if let Some(named) = stated("openai-project")?
        && project.is_none_or(|project| named != project.id.as_str())
        && !is_synonym(named)
    {
        let public = "The OpenAI-Project header does not fit this API key. Remove it (unset OPENAI_PROJECT_ID), or have the id listed as a synonym of the project.";
        return Err(Refusal::new(Reason::MismatchedProject, public).param("OpenAI-Project"));
    }
    Ok(())
}
