//! What a key may do, from where, and how its life goes on: the parts of a key's record beside whose it is.
//!
//! A restriction that is not there does not restrict; one that is there holds also for what did not exist when it was
//! made. Checking them is the data path's; what may be written into them, the control plane's.

use std::collections::BTreeSet;

use ipnet::IpNet;
use keys::Digest;
use serde::{Deserialize, Serialize};

/// Longest time that two secrets of one key are valid side by side: 7 days.
pub const OVERLAP_SECONDS_MAX: i64 = 7 * 86_400;

/// What a key is restricted to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyBounds {
    /// Scopes of operations that it opens, `model.request`; empty: all that its kind opens.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub scopes: BTreeSet<String>,
    /// Models that it may name, exactly or with a `*` at the end; empty: all.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub models: BTreeSet<String>,
    /// Paths of operations as the API writes them (`/v1/files/{file_id}`), or with a `*` at the end; empty: all.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub endpoints: BTreeSet<String>,
    /// Addresses and networks that it may come from; empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpNet>,
    /// Web origins that client secrets made with it may be bound to; empty: all.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub client_secret_origins: BTreeSet<String>,
}

impl KeyBounds {
    /// Whether nothing is restricted.
    pub fn is_open(&self) -> bool {
        *self == KeyBounds::default()
    }

    /// Whether a model may be named.
    pub fn takes_model(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|pattern| fits(pattern, model))
    }

    /// Whether an operation's path may be called.
    pub fn takes_endpoint(&self, path: &str) -> bool {
        self.endpoints.is_empty() || self.endpoints.iter().any(|pattern| fits(pattern, path))
    }

    /// Whether the key may come from an address, which is in its canonical form.
    pub fn takes_address(&self, address: std::net::IpAddr) -> bool {
        self.addresses.is_empty() || self.addresses.iter().any(|net| net.contains(&address))
    }

    /// Whether a client secret may be bound to an origin.
    pub fn takes_origin(&self, origin: &str) -> bool {
        self.client_secret_origins.is_empty() || self.client_secret_origins.contains(origin)
    }
}

/// Whether `pattern`, which may end in `*`, stands for `name`.
pub fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    }
}

/// What happens to a long-lived key that arrives with browser signs, beside that it is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BrowserUse {
    /// Nothing more.
    #[default]
    Refuse,
    /// It is suspended: whoever has the page has the key.
    Suspend,
}

impl BrowserUse {
    /// The word in columns and the API.
    pub const fn word(self) -> &'static str {
        match self {
            BrowserUse::Refuse => "refuse",
            BrowserUse::Suspend => "suspend",
        }
    }
}

/// A key that is refused until it is resumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// Since when.
    pub at: i64,
    /// Why, in words.
    pub reason: String,
}

/// The secret that a key had before its last rotation, as long as it is still valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerSecret {
    /// What it is looked up by.
    pub digest: Digest,
    /// What lists show.
    pub redacted: String,
    /// When it stops working.
    pub expires_at: i64,
}

/// A new secret on its way to its delivery: nobody has it yet, and the secret before is in force as it was. What a crash
/// leaves so is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undelivered {
    /// When the secret before ends.
    pub former_expires_at: Option<i64>,
    /// When the secret before was made.
    pub former_created_at: i64,
}

/// When a key gets a new secret by itself, and where that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationPlan {
    /// Seconds between two rotations.
    pub every_seconds: i64,
    /// How long the former secret stays valid, at most [`OVERLAP_SECONDS_MAX`].
    pub overlap_seconds: i64,
    /// The next time.
    pub next_at: i64,
    /// The name of the delivery, in the operator's configuration, that takes the new secret.
    pub deliver_to: String,
    /// Why the last attempt failed; `None` after one that did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// What all keys of an organization or project are held to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyPolicy {
    /// Longest life of a secret, seconds; a key that is made without an end gets this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds_max: Option<i64>,
    /// After so many days without use a key counts as stale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_after_days: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_restricted_is_open_and_what_is_restricted_is_exact() {
        let open = KeyBounds::default();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let bounds = KeyBounds {
            models: words(&["gpt-4o", "gpt-5*"]),
            endpoints: words(&["/v1/chat/completions", "/v1/files*"]),
            addresses: vec!["10.1.0.0/16".parse().expect("a network"), "2001:db8::/32".parse().expect("a network")],
            client_secret_origins: words(&["https://app.example"]),
            ..KeyBounds::default()
        };
        for (model, fits) in [("gpt-4o", true), ("gpt-4o-mini", false), ("gpt-5-mini", true), ("", false)] {
            assert!(open.takes_model(model) && bounds.takes_model(model) == fits, "{model}");
        }
        for (path, fits) in [("/v1/chat/completions", true), ("/v1/files/{file_id}", true), ("/v1/responses", false)] {
            assert!(open.takes_endpoint(path) && bounds.takes_endpoint(path) == fits, "{path}");
        }
        for (address, fits) in [("10.1.2.3", true), ("10.2.0.1", false), ("2001:db8::1", true), ("::1", false)] {
            let address = address.parse().expect("an address");
            assert!(open.takes_address(address) && bounds.takes_address(address) == fits, "{address}");
        }
        assert!(bounds.takes_origin("https://app.example") && !bounds.takes_origin("https://app.example.evil"));
    }
}
