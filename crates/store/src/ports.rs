//! The ports: small traits, named by purpose, implemented by backends.

use async_trait::async_trait;
use keys::Sealed;
use serde_json::Value;

use crate::records::{
    AuditEvent, Key, KeyId, ObjectOwner, Organization, Project, ProjectId, ServiceAccount, ServiceAccountId,
};

/// The store cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, is locked, full or read-only. Nothing was changed.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// Something with this id, digest or name is there already. Nothing was changed.
    #[error("already there: {0}")]
    Conflict(String),
    /// What is stored cannot be read: a defect, or another hand.
    #[error("the store holds something unreadable: {0}")]
    Corrupt(String),
}

/// Every administrative write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// The first start: organization, default project, first keys.
    Bootstrap {
        /// The organization.
        organization: Organization,
        /// The default project.
        project: Project,
        /// Its first key and the first admin key.
        keys: Vec<Key>,
    },
    /// A new project.
    CreateProject(Project),
    /// A project as it is from now on: renamed, other synonyms, archived.
    UpdateProject(Project),
    /// A new service account, mostly with its first key.
    CreateServiceAccount(ServiceAccount, Option<Key>),
    /// A service account as it is from now on.
    UpdateServiceAccount(ServiceAccount),
    /// A service account goes, and its keys with it.
    DeleteServiceAccount(ServiceAccountId),
    /// A new key.
    CreateKey(Key),
    /// A key goes.
    DeleteKey(KeyId),
}

/// All that the directory is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    /// The organization.
    pub organization: Organization,
    /// All projects, archived ones included.
    pub projects: Vec<Project>,
    /// All service accounts.
    pub service_accounts: Vec<ServiceAccount>,
    /// All keys.
    pub keys: Vec<Key>,
}

/// Which audit events, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Not before this time.
    pub from: Option<i64>,
    /// Before this time.
    pub until: Option<i64>,
    /// Of these types; empty: all.
    pub kinds: Vec<String>,
    /// Concerning these projects; empty: all.
    pub projects: Vec<String>,
    /// By these actors (key ids); empty: all.
    pub actors: Vec<String>,
    /// Older than the event with this id.
    pub after: Option<String>,
    /// Newer than the event with this id.
    pub before: Option<String>,
    /// At most so many.
    pub limit: u32,
}

/// Projects and keys, and the log of who changed them.
#[async_trait]
pub trait Registry: Send + Sync {
    /// Does an act and writes its events, in one transaction that is durable when this returns.
    ///
    /// # Errors
    /// Then neither was done.
    async fn commit(&self, act: &Act, events: &[AuditEvent]) -> Result<(), StoreError>;

    /// Everything; `None` before the first start.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn load(&self) -> Result<Option<Records>, StoreError>;

    /// Audit events in the API's shape, newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn audit_events(&self, filter: &AuditFilter) -> Result<Vec<Value>, StoreError>;
}

/// Owners of objects stored upstream.
#[async_trait]
pub trait Owners: Send + Sync {
    /// Writes down owners, durably. Who was first stays the owner; how many ids another project owned is returned.
    ///
    /// # Errors
    /// Then none was written.
    async fn record(&self, owners: &[ObjectOwner]) -> Result<u64, StoreError>;

    /// The owner of an object.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn owner_of(&self, object_id: &str) -> Result<Option<ProjectId>, StoreError>;
}

/// Sealed values, by name.
#[async_trait]
pub trait Seals: Send + Sync {
    /// The value of this name.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn sealed(&self, name: &str) -> Result<Option<Sealed>, StoreError>;

    /// Keeps a value under a new name.
    ///
    /// # Errors
    /// When the name is taken or nothing can be written.
    async fn keep(&self, name: &str, sealed: &Sealed) -> Result<(), StoreError>;
}

/// The time of day; passed in, so that tests can set it.
pub trait Clock: Send + Sync {
    /// Unix seconds.
    fn unix_seconds(&self) -> i64;
}

/// The system's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix_seconds(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }
}
