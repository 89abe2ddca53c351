//! Findings: what the gate noticed and a person should look at, and from where keys are used.
//!
//! Promises that every store keeps: findings with the same id are one, counted, and say of it what was so the last time; a use never goes back in time, in
//! whatever order it is added.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ports::StoreError;
use crate::records::{KeyId, Project, ProjectId};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Low,
    /// Something is set up wrongly.
    Medium,
    /// A secret may be in the wrong hands.
    High,
    /// A secret is in the wrong hands.
    Critical,
}

impl Severity {
    /// All, the least first.
    pub const ALL: [Severity; 4] = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

    /// The word in columns and the API.
    pub const fn word(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }

    /// The severity with this name.
    pub fn from_word(word: &str) -> Option<Severity> {
        Severity::ALL.into_iter().find(|severity| severity.word() == word)
    }
}

/// Something that was noticed, once or many times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Id, `finding_…`. The same thing in the same hour has the same id, so that a flood is one finding with a count.
    pub id: String,
    /// Type, `key.browser_use`.
    pub kind: String,
    /// How bad.
    pub severity: Severity,
    /// When it was first noticed.
    pub first_at: i64,
    /// When it was last noticed.
    pub last_at: i64,
    /// How often.
    pub count: u64,
    /// The project concerned.
    pub project: Option<ProjectId>,
    /// The key concerned.
    pub key: Option<KeyId>,
    /// Where it came from.
    pub address: Option<String>,
    /// More of it, as it was the last time. No secrets, no content.
    pub details: Value,
    /// What somebody said about it.
    pub triage: Option<Triage>,
}

/// What somebody said about a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Triage {
    /// Whether it is what it was taken for.
    pub is_right: bool,
    /// Why.
    pub reason: Option<String>,
    /// When.
    pub at: i64,
    /// Id of the admin key.
    pub by: String,
}

/// Somebody says what a finding is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindingTriage {
    /// The finding's id.
    pub finding: String,
    /// What is said.
    pub triage: Triage,
    /// Its project as it is from now on, where that changes what its guards let through.
    pub project: Option<Project>,
}

impl Finding {
    /// What ids begin with.
    pub const ID_PREFIX: &'static str = "finding_";
}

/// Which findings, the last noticed first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FindingFilter {
    /// Of this type.
    pub kind: Option<String>,
    /// Concerning this project.
    pub project: Option<ProjectId>,
    /// Concerning this key.
    pub key: Option<KeyId>,
    /// Noticed at this time or later.
    pub since: Option<i64>,
    /// Behind the finding with this id.
    pub after: Option<String>,
    /// At most so many.
    pub limit: u32,
}

/// Where findings are kept.
#[async_trait]
pub trait Findings: Send + Sync {
    /// Adds a finding, or its count to the one with its id; whether it is a new one.
    ///
    /// # Errors
    /// When nothing can be written.
    async fn note(&self, finding: &Finding) -> Result<bool, StoreError>;

    /// A page of findings, and whether more follow; `None` when `after` names none.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn findings(&self, filter: &FindingFilter) -> Result<Option<(Vec<Finding>, bool)>, StoreError>;

    /// One finding.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn finding(&self, id: &str) -> Result<Option<Finding>, StoreError>;

    /// Forgets findings that were last noticed before `time`; how many.
    ///
    /// # Errors
    /// When nothing can be written.
    async fn forget_findings(&self, time: i64) -> Result<u64, StoreError>;
}

/// What a key did from one address in one hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// The key.
    pub key: KeyId,
    /// When the hour began, Unix seconds.
    pub hour: i64,
    /// The address; [`KeyUse::ELSEWHERE`] for those over the bound of addresses, and for those of client secrets, whose
    /// users are anywhere.
    pub address: String,
    /// Requests that came.
    pub calls: u64,
    /// Those of them that were answered with an error.
    pub refused: u64,
    /// The first of them.
    pub first_at: i64,
    /// The last of them.
    pub last_at: i64,
    /// `User-Agent` of the last.
    pub user_agent: Option<String>,
    /// Model of the last that named one.
    pub model: Option<String>,
}

impl KeyUse {
    /// Stands for all addresses over the bound.
    pub const ELSEWHERE: &'static str = "elsewhere";
    /// Addresses of a key that are told apart in an hour.
    pub const ADDRESSES_MAX: u32 = 256;
}

/// When a key was last used, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastUse {
    /// When.
    pub at: i64,
    /// From where.
    pub address: String,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// The last model that was named.
    pub model: Option<String>,
}

/// Where uses of keys are kept.
#[async_trait]
pub trait KeyUses: Send + Sync {
    /// Adds uses to what is there of the same key, hour and address, and moves last uses forward.
    ///
    /// # Errors
    /// Then none was added.
    async fn add_uses(&self, uses: &[KeyUse]) -> Result<(), StoreError>;

    /// The last use of every key that has one.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn last_uses(&self) -> Result<Vec<(KeyId, LastUse)>, StoreError>;

    /// What a key did, by hour and address, from `since` on, the earliest first.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn uses_of(&self, key: &KeyId, since: i64) -> Result<Vec<KeyUse>, StoreError>;

    /// Forgets hours that began before `time`; how many rows.
    ///
    /// # Errors
    /// When nothing can be written.
    async fn forget_uses(&self, time: i64) -> Result<u64, StoreError>;
}
