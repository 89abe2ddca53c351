//! Incidents: exposed keys, and what was done about them.
//!
//! Promises that every store keeps: an incident, the end of its key, the key in its place, the finding and the notice of it
//! are written in one transaction with their audit events; the secrets of keys that are gone are still known by their
//! digests, so that a late report of one is told from a stranger's.

use async_trait::async_trait;
use exposure::incident::Incident;
use keys::Digest;
use serde_json::Value;

use crate::alerts::{Channel, Notice};
use crate::findings::Finding;
use crate::ports::StoreError;
use crate::records::{Key, KeyId};

/// Most secrets that are known after their end, the newest: some 300 bytes each.
pub const FORMER_SECRETS_MAX: i64 = 100_000;

/// What becomes of an incident with a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncidentStep {
    /// It is new.
    Open,
    /// More is known, or was done.
    Update,
    /// It is over.
    Close,
}

impl IncidentStep {
    /// The type of the audit event.
    pub const fn event(self) -> &'static str {
        match self {
            IncidentStep::Open => "incident.opened",
            IncidentStep::Update => "incident.updated",
            IncidentStep::Close => "incident.closed",
        }
    }
}

/// What ends a key with an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyEnd {
    /// It goes.
    Revoke(KeyId),
    /// It stays and is refused: the record with its suspension.
    Suspend(Box<Key>),
}

/// A report as it was when its incident was closed: later, what it was made of may be gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalReport {
    /// For machines.
    pub json: Value,
    /// For people.
    pub markdown: String,
}

/// An incident as it is from now on, and what is done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentChange {
    /// What becomes of it.
    pub step: IncidentStep,
    /// The incident.
    pub incident: Incident,
    /// The end of its key.
    pub end: Option<KeyEnd>,
    /// The key in its place.
    pub replacement: Option<Key>,
    /// What the list of findings says.
    pub finding: Option<Finding>,
    /// What people are told, and where.
    pub notice: Option<(Notice, Vec<Channel>)>,
    /// The report that stays.
    pub report: Option<FinalReport>,
}

impl IncidentChange {
    /// Which audit events it must come with.
    pub fn events(&self) -> Vec<(&'static str, &str)> {
        let end = self.end.as_ref().map(|end| match end {
            KeyEnd::Revoke(id) => ("api_key.deleted", id.as_str()),
            KeyEnd::Suspend(key) => ("api_key.updated", key.id.as_str()),
        });
        let replacement = self.replacement.as_ref().map(|key| ("api_key.created", key.id.as_str()));
        [Some((self.step.event(), self.incident.id.as_str())), end, replacement].into_iter().flatten().collect()
    }
}

/// Which incidents, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IncidentFilter {
    /// Open ones, or closed ones.
    pub is_open: Option<bool>,
    /// Of this key.
    pub key: Option<KeyId>,
    /// Behind the incident with this id.
    pub after: Option<String>,
    /// At most so many.
    pub limit: u32,
}

/// A page of incidents, and whether more follow.
pub type IncidentPage = (Vec<Incident>, bool);

/// Reads incidents, and the keys that are gone. They are written by acts.
#[async_trait]
pub trait Incidents: Send + Sync {
    /// The incident with this id.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn incident(&self, id: &str) -> Result<Option<Incident>, StoreError>;

    /// A page of incidents; `None` when `after` names none.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn incidents(&self, filter: &IncidentFilter) -> Result<Option<IncidentPage>, StoreError>;

    /// The report of a closed incident.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn final_report(&self, id: &str) -> Result<Option<FinalReport>, StoreError>;

    /// A key that is gone, as it was at its end, and when that was.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn former_key(&self, id: &KeyId) -> Result<Option<(Key, i64)>, StoreError>;

    /// The key that a secret belonged to which is in force no more, and when that ended.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn former_secret(&self, digest: &Digest) -> Result<Option<(KeyId, i64)>, StoreError>;
}
