//! What a key may do and from where: read from a call, and shown.
//!
//! `scopes` and `expires_in_seconds` are the API's own; what it lacks stands under `sallyport`. Promise: a restriction
//! that cannot be held is refused, and so is a misspelt one: a key that is wider than its maker believes is worse than
//! none.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde_json::{Value, json};
use store::{BrowserUse, Key, KeyEntry, KeyPolicy, LastUse, OVERLAP_SECONDS_MAX, Project, RotationPlan, fits};
use wire::endpoint::{self, Opens};
use wire::refusal::Refusal;

use crate::input::{Fields, invalid};
use crate::{Console, rate_limits};

/// What may stand under `sallyport` of a key that is changed.
const TERMS: [&str; 7] =
    ["models", "endpoints", "ip_allowlist", "client_secret_origins", "browser_use", "rate_limit", "rotation"];
/// What may stand there beside it when a key is made.
const TERMS_OF_NEW: [&str; 2] = ["budget", "is_decoy"];
/// Most words of one restriction.
const WORDS_MAX: usize = 256;
/// Shortest and longest time between two scheduled rotations: an hour, and a year.
const EVERY_SECONDS_MIN: u64 = 3_600;
const EVERY_SECONDS_MAX: u64 = 366 * 86_400;
/// How long a former secret stays valid where a plan does not say: a day.
pub(crate) const OVERLAP_SECONDS_DEFAULT: i64 = 86_400;

/// What lists show of a key beside the API's own fields.
pub(crate) fn show(entry: &KeyEntry, used: Option<&LastUse>) -> Value {
    let key = &entry.key;
    let former =
        key.former.as_ref().map(|former| // One without an end waits for the new secret to arrive.
        json!({"redacted_value": former.redacted, "expires_at": Some(former.expires_at).filter(|at| *at < i64::MAX)}));
    let suspension =
        key.suspension.as_ref().map(|suspension| json!({"at": suspension.at, "reason": suspension.reason}));
    let rotation = key.rotation.as_ref().map(|plan| {
        json!({
            "every_seconds": plan.every_seconds, "overlap_seconds": plan.overlap_seconds, "next_at": plan.next_at,
            "deliver_to": plan.deliver_to, "last_error": plan.last_error,
        })
    });
    let used = used.map(
        |used| json!({"at": used.at, "address": used.address, "user_agent": used.user_agent, "model": used.model}),
    );
    json!({
        "kind": key.kind.word(),
        "secret_created_at": key.secret_created_at,
        "former_secret": former,
        "last_used": used,
        "models": key.bounds.models,
        "endpoints": key.bounds.endpoints,
        "ip_allowlist": key.bounds.addresses.iter().map(IpNet::to_string).collect::<Vec<_>>(),
        "client_secret_origins": key.bounds.client_secret_origins,
        "browser_use": key.browser_use.word(),
        "rate_limit": rate_limits::figures(&key.rates),
        "suspended": suspension,
        "rotation": rotation,
        "is_decoy": key.is_decoy,
    })
}

/// The API's `last_used_at`.
pub(crate) fn last_used_at(entry: &KeyEntry, used: Option<&LastUse>) -> Option<i64> {
    used.map(|used| used.at).max(entry.used_at())
}

impl Fields {
    /// A list of words, where it is there; null and an empty one take a restriction away.
    fn words(&self, name: &str) -> Result<Option<BTreeSet<String>>, Refusal> {
        let wrong = || self.wrong(name, &format!("must be a list of at most {WORDS_MAX} strings"));
        match self.value(name) {
            None => Ok(self.has(name).then(BTreeSet::new)),
            Some(Value::Array(list)) if list.len() <= WORDS_MAX => {
                let word =
                    |value: &Value| value.as_str().filter(|word| (1..=255).contains(&word.len())).map(str::to_owned);
                list.iter().map(|value| word(value).ok_or_else(wrong)).collect::<Result<_, _>>().map(Some)
            }
            Some(_) => Err(wrong()),
        }
    }
}

impl Console {
    /// Takes over what a call says about a key that is made (`is_new`) or changed.
    pub(crate) fn read_key_terms(&self, key: &mut Key, fields: &Fields, is_new: bool) -> Result<(), Refusal> {
        for name in ["ip_allowlist", "models", "endpoints", "budget", "rate_limit", "permissions"] {
            if fields.value(name).is_some() {
                let words =
                    format!("'{name}' is no field here: restrictions that the API lacks stand under 'sallyport'.");
                return Err(invalid(name, words));
            }
        }
        let opens = if key.project.is_none() { Opens::AdminKey } else { Opens::ProjectKey };
        if let Some(scopes) = fields.words("scopes")? {
            key.bounds.scopes = checked_scopes(scopes, opens)?;
        }
        let Some(ours) = fields.object("sallyport")? else { return Ok(()) };
        ours.only(&[&TERMS[..], if is_new { &TERMS_OF_NEW } else { &[] }].concat())?;
        if let Some(models) = ours.words("models")? {
            key.bounds.models = models;
        }
        if let Some(endpoints) = ours.words("endpoints")? {
            let is_known =
                |pattern: &&String| endpoint::rows().any(|row| row.opens == opens && fits(pattern, row.path));
            if let Some(unknown) = endpoints.iter().find(|pattern| !is_known(pattern)) {
                let words = format!(
                    "'{unknown}' is no path that this key could open. Paths look like /v1/files/{{file_id}}, or end in *."
                );
                return Err(invalid(ours.at("endpoints"), words));
            }
            key.bounds.endpoints = endpoints;
        }
        if let Some(addresses) = ours.words("ip_allowlist")? {
            key.bounds.addresses = addresses.iter().map(|text| network(&ours, text)).collect::<Result<_, _>>()?;
        }
        if let Some(origins) = ours.words("client_secret_origins")? {
            key.bounds.client_secret_origins = origins;
        }
        match ours.text("browser_use")?.as_deref() {
            None => {}
            Some("refuse") => key.browser_use = BrowserUse::Refuse,
            Some("suspend") => key.browser_use = BrowserUse::Suspend,
            Some(_) => return Err(ours.wrong("browser_use", "must be refuse or suspend")),
        }
        if let Some(rates) = ours.object("rate_limit")? {
            rate_limits::read_flat(&mut key.rates, &rates)?;
        }
        if ours.has("rotation") {
            key.rotation = self.rotation_plan(key, &ours)?;
        }
        key.is_decoy |= ours.bool("is_decoy")?.unwrap_or(false);
        if key.is_decoy && key.rotation.is_some() {
            return Err(ours.wrong("rotation", "is for keys that open something: a decoy must not be delivered"));
        }
        if key.is_decoy && key.project.is_none() {
            return Err(
                ours.wrong("is_decoy", "is for project keys: an admin key that opens nothing misleads its owner")
            );
        }
        Ok(())
    }

    fn rotation_plan(&self, key: &Key, ours: &Fields) -> Result<Option<RotationPlan>, Refusal> {
        let Some(plan) = ours.object("rotation")? else { return Ok(None) };
        plan.only(&["every_seconds", "overlap_seconds", "deliver_to"])?;
        let every = plan.count("every_seconds", EVERY_SECONDS_MIN, EVERY_SECONDS_MAX)?;
        let every_seconds = plan.required("every_seconds", every)?.try_into().unwrap_or(i64::MAX);
        let overlap_seconds = overlap(&plan)?.unwrap_or(OVERLAP_SECONDS_DEFAULT.min(every_seconds));
        if overlap_seconds > every_seconds {
            return Err(
                plan.wrong("overlap_seconds", "must not be longer than 'every_seconds': a key has two secrets at most")
            );
        }
        let deliver_to = plan.required("deliver_to", plan.text("deliver_to")?)?;
        self.known_delivery(&plan, &deliver_to)?;
        let next_at = key.secret_created_at.saturating_add(every_seconds).max(self.now());
        let last_error = None;
        Ok(Some(RotationPlan { every_seconds, overlap_seconds, next_at, deliver_to, last_error }))
    }

    /// Refuses a delivery that the operator did not name.
    pub(crate) fn known_delivery(&self, fields: &Fields, name: &str) -> Result<(), Refusal> {
        let known = self.keeping.deliveries.names();
        if known.iter().any(|known| known == name) {
            return Ok(());
        }
        let words = match known.is_empty() {
            true => "names no delivery: the gate's configuration has none ([[key_delivery]])".to_owned(),
            false => format!("must be one of the configuration's deliveries: {}", known.join(", ")),
        };
        Err(fields.wrong("deliver_to", &words))
    }

    /// When a secret that is made now ends: as asked, within what the organization and the project allow; without a wish,
    /// at the latest that they allow.
    pub(crate) fn end_of_life(&self, project: Option<&Project>, fields: &Fields) -> Result<Option<i64>, Refusal> {
        self.end_of_life_from(self.now(), project, fields)
    }

    /// The same, of a secret that was made at `made_at`: it lives no longer for being asked often.
    pub(crate) fn end_of_life_from(
        &self,
        made_at: i64,
        project: Option<&Project>,
        fields: &Fields,
    ) -> Result<Option<i64>, Refusal> {
        let now = self.now();
        let Some(max) = self.lifetime_seconds_max(project) else { return fields.expires_at(now) };
        match fields.expires_at(now)? {
            None => Ok(Some(made_at.saturating_add(max))),
            Some(at) if at - made_at <= max => Ok(Some(at)),
            Some(_) => {
                let left = made_at.saturating_add(max).saturating_sub(now).max(0);
                let words = format!(
                    "'expires_in_seconds' must be at most {left}: the key policy allows a secret {max} seconds."
                );
                Err(invalid("expires_in_seconds", words))
            }
        }
    }

    /// The longest life of a secret of this project, or of an admin key.
    pub(crate) fn lifetime_seconds_max(&self, project: Option<&Project>) -> Option<i64> {
        let max = |policy: &KeyPolicy| policy.lifetime_seconds_max;
        let organization = max(&self.snapshot().organization.key_policy);
        organization.into_iter().chain(project.and_then(|project| max(&project.key_policy))).min()
    }
}

/// `overlap_seconds`, where it is named.
pub(crate) fn overlap(fields: &Fields) -> Result<Option<i64>, Refusal> {
    let max = u64::try_from(OVERLAP_SECONDS_MAX).unwrap_or_default();
    Ok(fields.count("overlap_seconds", 0, max)?.and_then(|seconds| i64::try_from(seconds).ok()))
}

fn checked_scopes(scopes: BTreeSet<String>, opens: Opens) -> Result<BTreeSet<String>, Refusal> {
    let known = endpoint::known_scopes(opens);
    match scopes.iter().find(|scope| !known.contains(scope)) {
        None => Ok(scopes),
        Some(unknown) => {
            let words = format!("'{unknown}' is no scope of such a key. There are {}.", known.join(", "));
            Err(invalid("scopes", words))
        }
    }
}

/// A network, or a single address. An IPv4 network that is written within IPv6 counts as IPv4.
fn network(fields: &Fields, text: &str) -> Result<IpNet, Refusal> {
    let single = || text.parse().ok().map(|address: std::net::IpAddr| IpNet::from(address.to_canonical()));
    let network = text.parse::<IpNet>().ok().or_else(single);
    let wrong = || {
        fields.wrong("ip_allowlist", "must be a list of addresses and networks, like \"10.0.0.0/8\" or \"2001:db8::1\"")
    };
    network.map(|network| network.trunc()).ok_or_else(wrong)
}
