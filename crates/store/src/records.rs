//! The records. Times are Unix seconds, as in the API.

use std::fmt;
use std::sync::Arc;

use keys::{Digest, Kind};
use rates::Limits;
use serde_json::Value;

use crate::guards::GuardSettings;
use crate::key_life::{BrowserUse, FormerSecret, KeyBounds, KeyPolicy, RotationPlan, Suspension, Undelivered};
use crate::money::{MoneySettings, ProjectRates};

// Ids are shared words: a request's row takes copies of some, and a copy costs no memory.
macro_rules! id {
    ($name:ident, $prefix:literal, $what:literal) => {
        #[doc = $what]
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// What ids of this kind begin with.
            pub const PREFIX: &'static str = $prefix;

            /// Takes an id as it is written.
            pub fn new(id: impl Into<String>) -> $name {
                $name(id.into().into())
            }

            /// The id as it is written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(OrganizationId, "org-", "Id of an organization.");
id!(ProjectId, "proj_", "Id of a project.");
id!(KeyId, "key_", "Id of a key; not the key.");
id!(ServiceAccountId, "svc_acct_", "Id of a service account.");

/// The organization that runs the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// Id.
    pub id: OrganizationId,
    /// Name.
    pub name: String,
    /// When it was made.
    pub created_at: i64,
    /// What the keys of all its projects are held to, and its admin keys.
    pub key_policy: KeyPolicy,
}

/// A project: keys, limits and objects belong to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Id.
    pub id: ProjectId,
    /// Name.
    pub name: String,
    /// When it was made.
    pub created_at: i64,
    /// When it was archived; archived projects stay so.
    pub archived_at: Option<i64>,
    /// The one made at the first start, which cannot be archived.
    pub is_default: bool,
    /// Real `org-…` and `proj_…` ids that clients of this project may send in their headers.
    pub synonyms: Vec<String>,
    /// `external_key_id` of the API, kept as given.
    pub external_key_id: Option<String>,
    /// `residency` of the API, kept as given.
    pub residency: Option<String>,
    /// What it says about money beside its limits.
    pub money: MoneySettings,
    /// Its rate limits.
    pub rates: ProjectRates,
    /// What its keys are held to, beside the organization's.
    pub key_policy: KeyPolicy,
    /// What its guards do with the texts of its requests.
    pub guards: GuardSettings,
}

impl Project {
    /// Whether the project is archived.
    pub fn is_archived(&self) -> bool {
        self.archived_at.is_some()
    }
}

/// A service account of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Id.
    pub id: ServiceAccountId,
    /// Its project.
    pub project: ProjectId,
    /// Name.
    pub name: String,
    /// `owner`, `member` or `none`.
    pub role: String,
    /// When it was made.
    pub created_at: i64,
}

/// A key, without its secrets: the one in force and, for a time after a rotation, the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Id.
    pub id: KeyId,
    /// What it opens.
    pub kind: Kind,
    /// Its project; admin keys have none.
    pub project: Option<ProjectId>,
    /// Its service account, for keys of one.
    pub service_account: Option<ServiceAccountId>,
    /// Name.
    pub name: String,
    /// What it is looked up by: the digest of the secret in force.
    pub digest: Digest,
    /// What lists show.
    pub redacted: String,
    /// When it was made.
    pub created_at: i64,
    /// When the secret in force was made.
    pub secret_created_at: i64,
    /// The key that made it; `None` at the first start and offline.
    pub created_by: Option<KeyId>,
    /// When the secret in force stops working.
    pub expires_at: Option<i64>,
    /// The secret before.
    pub former: Option<FormerSecret>,
    /// Its rate limits.
    pub rates: Limits,
    /// What it is restricted to.
    pub bounds: KeyBounds,
    /// What happens when it is used from a browser.
    pub browser_use: BrowserUse,
    /// Present while it is suspended.
    pub suspension: Option<Suspension>,
    /// How it is rotated by itself.
    pub rotation: Option<RotationPlan>,
    /// Present while its new secret is on its way.
    pub undelivered: Option<Undelivered>,
    /// It looks real and opens nothing: whoever uses it found it where he should not have looked.
    pub is_decoy: bool,
}

impl Key {
    /// The key as it was before a secret that nobody has; itself where there is none.
    pub fn without_undelivered(&self) -> Key {
        let (Some(before), Some(former)) = (&self.undelivered, &self.former) else { return self.clone() };
        Key {
            digest: former.digest,
            redacted: former.redacted.clone(),
            expires_at: before.former_expires_at,
            secret_created_at: before.former_created_at,
            former: None,
            undelivered: None,
            ..self.clone()
        }
    }

    /// The digests that it is found by, each with the time at which that ends.
    pub fn secrets(&self) -> impl Iterator<Item = (Digest, Option<i64>)> {
        let former = self.former.as_ref().map(|former| (former.digest, Some(former.expires_at)));
        std::iter::once((self.digest, self.expires_at)).chain(former)
    }
}

/// Who did an administrative act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// An admin key, from an address.
    Key {
        /// The key.
        id: KeyId,
        /// Where the call came from.
        address: String,
        /// `User-Agent` of the call.
        user_agent: Option<String>,
    },
    /// Somebody outside whose signed report the gate acts on.
    Reporter {
        /// Who, in a word: `github_secret_scanning`.
        name: &'static str,
        /// Where the report came from.
        address: String,
    },
    /// The gate itself, or its command line on the same machine.
    Local,
}

/// One entry of the audit log, in the API's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// Id, `audit_log-…`.
    pub id: String,
    /// Type, `project.created`.
    pub kind: &'static str,
    /// When.
    pub effective_at: i64,
    /// Who.
    pub actor: Actor,
    /// The project concerned.
    pub project: Option<ProjectId>,
    /// What was done, under the key named like the type. No secrets.
    pub payload: Value,
}

/// Which project made an object that is stored upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectOwner {
    /// The object's id.
    pub object_id: String,
    /// Its owner.
    pub project: ProjectId,
    /// The endpoint family that made it.
    pub family: String,
    /// Members that the gate set in the request and that answers echo, with what the caller sent: a JSON object. Later
    /// answers show that.
    pub sent: Option<String>,
}
