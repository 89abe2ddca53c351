//! What is stored, and through which ports: organizations, projects, keys, audit events, owners of
//! objects, limits, usage, what waits to be told.
//!
//! Promises: every administrative write is an [`Act`] and goes through [`Registry::commit`] together with its audit
//! events, both or neither, and without its events it is no [`RecordedAct`]; the data path reads none of it from a database, but from the [`Directory`]'s snapshot;
//! what a port means is the suite in [`conformance`], which every backend runs.
//!
//! To add an administrative write: a variant of [`Act`], its events in [`Act::events`], its line in
//! [`Directory::apply`], its statements in each backend, its case in the conformance suite. The compiler names all but
//! the last.

mod alerts;
pub mod conformance;
mod directory;
mod findings;
mod guards;
mod incidents;
mod key_life;
mod limits;
mod money;
mod ports;
mod records;
mod reports;
mod triggered;
mod upstreams;
mod usage;

pub use alerts::{Channel, Delivery, DeliveryState, Notice, Outbox, SpendAlert, Webhook};
pub use directory::{Directory, KeyEntry, Page, Revocation, Sharded, Snapshot, Span};
pub use findings::{Finding, FindingFilter, FindingTriage, Findings, KeyUse, KeyUses, LastUse, Severity, Triage};
pub use guards::{
    AllowedText, ChannelGuard, GuardMode, GuardSettings, OnFailure, OnUnread, Spotlight, TextHash, Threshold,
};
pub use incidents::{
    FORMER_SECRETS_MAX, FinalReport, IncidentChange, IncidentFilter, IncidentPage, IncidentStep, Incidents, KeyEnd,
};
pub use key_life::{
    BrowserUse, FormerSecret, KeyBounds, KeyPolicy, OVERLAP_SECONDS_MAX, RotationPlan, Suspension, Undelivered, fits,
};
pub use limits::{NearLimit, Period, Raise, Scope, SpendLimit, Window};
pub use money::{ALL_MODELS, Abandoned, MoneySettings, PriceOverride, ProjectRates};
pub use ports::{
    Act, AuditCursor, AuditFilter, AuditPage, Clock, Owners, RecordedAct, Records, Registry, Seals, StoreError,
    SystemClock,
};
pub use records::{
    Actor, AuditEvent, Key, KeyId, ObjectOwner, Organization, OrganizationId, Project, ProjectId, ServiceAccount,
    ServiceAccountId,
};
pub use reports::{CostSum, Grouping, ReportFilter, ReportQuery, Reports, UsageSum, Width};
pub use triggered::SpendAlertTriggered;
pub use upstreams::{
    Administration, Material, Rotation, RotationState, RotationStep, Upstream, UpstreamAct, UpstreamKey,
    UpstreamKeyState, UpstreamPolicy, UpstreamRecords,
};
pub use usage::{Certainty, CostLine, UsageKind, UsageRow};
