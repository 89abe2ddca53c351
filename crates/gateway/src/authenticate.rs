//! Who is calling: header → key → project.
//!
//! Promises: a key's shape and checksum are tested before anything is looked up; the look-up is by HMAC, the final
//! comparison in constant time; revoked, expired and archived are refused from the snapshot in force, without I/O; an
//! error shows a key masked or not at all.

use std::sync::Arc;

use http::HeaderMap;
use store::{KeyEntry, Project, Snapshot};
use wire::refusal::{Reason, Refusal, masked_key};

use crate::gate::Gate;
use crate::headers::single;

/// Somebody whose key is in force. Only [`authenticate`] makes one.
pub(crate) struct Caller {
    /// The key.
    pub(crate) key: Arc<KeyEntry>,
    /// Its project; admin keys have none.
    pub(crate) project: Option<Arc<Project>>,
}

/// Authenticates a request.
///
/// # Errors
/// 401 for a missing, malformed, unknown, revoked or expired key, for an archived project, and for organization or
/// project headers that do not fit the key.
pub(crate) fn authenticate(gate: &Gate, headers: &HeaderMap) -> Result<Caller, Refusal> {
    let presented = bearer(headers)?;
    gate.shape.parse(presented).map_err(|_| {
        let public = format!(
            "Incorrect API key provided: {}. It is not a Sallyport key: those begin with '{}'. Ask the gate's operator for one.",
            masked_key(presented),
            gate.shape.prefix(),
        );
        Refusal::new(Reason::MalformedKey, public)
    })?;
    let digest = gate.pepper.digest(presented);
    let snapshot = gate.directory.snapshot();
    let key = snapshot.key(&digest).ok_or_else(|| {
        let public = format!(
            "Incorrect API key provided: {}. This gate has no such key, or it was deleted. Ask the gate's operator for a new one.",
            masked_key(presented),
        );
        Refusal::new(Reason::UnknownKey, public)
    })?;
    if key.has_expired(gate.clock.unix_seconds()) {
        return Err(Refusal::new(
            Reason::RevokedKey,
            "This API key has expired. Ask the gate's operator for a new one.",
        ));
    }
    if key.revocation.is_revoked() {
        return Err(Refusal::new(
            Reason::RevokedKey,
            "This API key was revoked. Ask the gate's operator for a new one.",
        ));
    }
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
    Ok(Caller { key: Arc::clone(key), project })
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
