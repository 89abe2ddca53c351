//! The ports: small traits, named by purpose, implemented by backends.

use async_trait::async_trait;
use keys::Sealed;
use pricing::Nano;
use serde_json::Value;

use crate::alerts::{SpendAlert, Webhook};
use crate::findings::FindingTriage;
use crate::incidents::IncidentChange;
use crate::limits::SpendLimit;
use crate::money::PriceOverride;
use crate::records::{
    AuditEvent, Key, KeyId, ObjectOwner, Organization, Project, ProjectId, ServiceAccount, ServiceAccountId,
};
use crate::upstreams::{UpstreamAct, UpstreamRecords};

/// The store cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, is locked, full or read-only. Nothing was changed.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// Something with this id or digest is there already, or what the act is about, or belongs to, is not there any
    /// more. Nothing was changed.
    #[error("the store is in another state than the act was made for: {0}")]
    Conflict(String),
    /// An act came without the audit event that it is recorded as. Nothing was changed.
    #[error("no audit event `{kind}` for `{id}` came with the act")]
    Unrecorded {
        /// The type of the event that is missing.
        kind: &'static str,
        /// The object that it should be about.
        id: String,
    },
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
    /// A key as it is from now on: other limits or restrictions, a new secret, suspended, resumed.
    UpdateKey(Key),
    /// The organization as it is from now on: another key policy.
    UpdateOrganization(Organization),
    /// A limit as it is from now on, new or changed.
    PutLimit(SpendLimit),
    /// A limit goes.
    DeleteLimit(SpendLimit),
    /// An alert as it is from now on, new or changed.
    PutAlert(SpendAlert),
    /// An alert goes.
    DeleteAlert(SpendAlert),
    /// A new webhook.
    CreateWebhook(Webhook),
    /// A webhook goes.
    DeleteWebhook(String),
    /// The operator's prices of a model, in the place of those that were there.
    PutPrices(PriceOverride),
    /// The operator's prices of a model go.
    DeletePrices(String),
    /// A crash estimate, or the row of a request that ended without usage, is lowered to what is known now. A conflict
    /// where there is none that high.
    LowerEstimate {
        /// `estimate_…`, or the request's id.
        id: String,
        /// What is known now.
        to: Nano,
    },
    /// An incident begins, goes on or ends, with what is done about its key.
    PutIncident(Box<IncidentChange>),
    /// What is done about upstreams and their keys.
    Upstream(UpstreamAct),
    /// Somebody says what a finding is. A conflict where there is none any more.
    TriageFinding(Box<FindingTriage>),
}

impl Act {
    /// Which audit events, by type and object, an act must come with.
    pub fn events(&self) -> Vec<(&'static str, &str)> {
        match self {
            Act::Bootstrap { organization, project, keys } => {
                let first =
                    [("sallyport.bootstrapped", organization.id.as_str()), ("project.created", project.id.as_str())];
                first.into_iter().chain(keys.iter().map(created)).collect()
            }
            Act::CreateProject(project) => vec![("project.created", project.id.as_str())],
            Act::UpdateProject(project) if project.is_archived() => vec![("project.archived", project.id.as_str())],
            Act::UpdateProject(project) => vec![("project.updated", project.id.as_str())],
            Act::CreateServiceAccount(account, key) => {
                let account = ("service_account.created", account.id.as_str());
                std::iter::once(account).chain(key.iter().map(created)).collect()
            }
            Act::UpdateServiceAccount(account) => vec![("service_account.updated", account.id.as_str())],
            Act::DeleteServiceAccount(id) => vec![("service_account.deleted", id.as_str())],
            Act::CreateKey(key) => vec![created(key)],
            Act::DeleteKey(id) => vec![("api_key.deleted", id.as_str())],
            Act::UpdateKey(key) => vec![("api_key.updated", key.id.as_str())],
            Act::UpdateOrganization(organization) => vec![("organization.updated", organization.id.as_str())],
            Act::PutLimit(limit) => vec![("spend_limit.updated", limit.id.as_str())],
            Act::DeleteLimit(limit) => vec![("spend_limit.deleted", limit.id.as_str())],
            Act::PutAlert(alert) => vec![("spend_alert.updated", alert.id.as_str())],
            Act::DeleteAlert(alert) => vec![("spend_alert.deleted", alert.id.as_str())],
            Act::CreateWebhook(webhook) => vec![("webhook.created", webhook.id.as_str())],
            Act::DeleteWebhook(id) => vec![("webhook.deleted", id.as_str())],
            Act::PutPrices(prices) => vec![("prices.updated", prices.model.as_str())],
            Act::DeletePrices(model) => vec![("prices.deleted", model.as_str())],
            Act::LowerEstimate { id, .. } => vec![("estimate.lowered", id.as_str())],
            Act::PutIncident(change) => change.events(),
            Act::Upstream(act) => act.events(),
            Act::TriageFinding(said) => {
                let project = said.project.iter().map(|project| ("project.updated", project.id.as_str()));
                std::iter::once(("finding.triaged", said.finding.as_str())).chain(project).collect()
            }
        }
    }
}

fn created(key: &Key) -> (&'static str, &str) {
    ("api_key.created", key.id.as_str())
}

/// An act with the audit events that it is recorded as. There is no other way to hand an act to a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedAct {
    act: Act,
    events: Vec<AuditEvent>,
}

impl RecordedAct {
    /// Joins an act and its events; more events than [`Act::events`] asks for are welcome.
    ///
    /// # Errors
    /// [`StoreError::Unrecorded`] when one is missing.
    pub fn new(act: Act, events: Vec<AuditEvent>) -> Result<RecordedAct, StoreError> {
        let is_there = |(kind, id): &(&'static str, &str)| {
            events.iter().any(|event| event.kind == *kind && event.payload["id"].as_str() == Some(*id))
        };
        let missing = act.events().into_iter().find(|event| !is_there(event)).map(|(kind, id)| (kind, id.to_owned()));
        match missing {
            None => Ok(RecordedAct { act, events }),
            Some((kind, id)) => Err(StoreError::Unrecorded { kind, id }),
        }
    }

    /// What is done.
    pub fn act(&self) -> &Act {
        &self.act
    }

    /// What it is recorded as, in the order of the log.
    pub fn events(&self) -> &[AuditEvent] {
        &self.events
    }
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
    /// All spending limits.
    pub limits: Vec<SpendLimit>,
    /// All spend alerts.
    pub alerts: Vec<SpendAlert>,
    /// All webhooks.
    pub webhooks: Vec<Webhook>,
    /// The operator's prices.
    pub prices: Vec<PriceOverride>,
    /// Upstreams, their keys and policies.
    pub upstreams: UpstreamRecords,
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
    /// About these objects; empty: all.
    pub resources: Vec<String>,
    /// Which page.
    pub cursor: Option<AuditCursor>,
    /// At most so many.
    pub limit: u32,
}

/// Where a page of audit events lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditCursor {
    /// Next to the event with this id, on the older side.
    After(String),
    /// Next to the event with this id, on the newer side.
    Before(String),
}

/// A page of audit events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPage {
    /// Events in the API's shape, newest first.
    pub events: Vec<Value>,
    /// Whether more lie in the direction that the cursor points in.
    pub has_more: bool,
}

/// Projects and keys, and the log of who changed them.
#[async_trait]
pub trait Registry: Send + Sync {
    /// Does an act and writes its events, in one transaction that is durable when this returns.
    ///
    /// # Errors
    /// Then neither was done.
    async fn commit(&self, recorded: &RecordedAct) -> Result<(), StoreError>;

    /// Everything; `None` before the first start.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn load(&self) -> Result<Option<Records>, StoreError>;

    /// A page of audit events; `None` when the cursor names no event.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn audit_events(&self, filter: &AuditFilter) -> Result<Option<AuditPage>, StoreError>;
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

    /// What the caller sent where the gate set something else, for an object whose answers echo it.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn sent(&self, object_id: &str) -> Result<Option<String>, StoreError>;
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

    /// Everything that is sealed under the master key, wherever it is, by the name that it is sealed under.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn under_master_key(&self) -> Result<Vec<(String, Sealed)>, StoreError>;

    /// Puts values in the place of those of the same names, all or none, with an audit event. A conflict when they are
    /// not all that is under the master key, or one of them is not there any more.
    ///
    /// # Errors
    /// Then nothing was changed.
    async fn rewrap(&self, values: &[(String, Sealed)], event: &AuditEvent) -> Result<(), StoreError>;
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
