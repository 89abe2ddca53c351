//! Usage and costs, summed by minute, hour and day as rows come in, so that reports do not grow with the rows.

use async_trait::async_trait;
use pricing::{Nano, Quantities, Tier};

use crate::ports::StoreError;
use crate::records::{KeyId, ProjectId};
use crate::usage::{UsageKind, UsageRow};

/// Width of a report's buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Width {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day (UTC).
    Day,
}

impl Width {
    /// All.
    pub const ALL: [Width; 3] = [Width::Minute, Width::Hour, Width::Day];

    /// The word in the API.
    pub const fn word(self) -> &'static str {
        match self {
            Width::Minute => "1m",
            Width::Hour => "1h",
            Width::Day => "1d",
        }
    }

    /// The width with this name.
    pub fn from_word(word: &str) -> Option<Width> {
        Width::ALL.into_iter().find(|width| width.word() == word)
    }

    /// Seconds.
    pub const fn seconds(self) -> i64 {
        match self {
            Width::Minute => 60,
            Width::Hour => 3_600,
            Width::Day => 86_400,
        }
    }
}

/// What rows of a report are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Grouping {
    /// Project.
    Project,
    /// Key.
    Key,
    /// Model.
    Model,
    /// Tier: `batch` and `service_tier` of the API.
    Tier,
    /// Endpoint: `source` of the image report.
    Endpoint,
    /// Line of the bill; costs only.
    Item,
}

/// Which rows a report counts. An empty list leaves nothing out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReportFilter {
    /// These projects.
    pub projects: Vec<ProjectId>,
    /// These keys.
    pub keys: Vec<KeyId>,
    /// These models.
    pub models: Vec<String>,
    /// These tiers.
    pub tiers: Vec<Tier>,
    /// Usage reports of these kinds.
    pub kinds: Vec<UsageKind>,
}

/// A report: buckets of a width from a time until before another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportQuery {
    /// From, Unix seconds; a bucket's beginning.
    pub starts_at: i64,
    /// Until before, Unix seconds.
    pub ends_at: i64,
    /// Width of a bucket.
    pub width: Width,
    /// What is counted.
    pub filter: ReportFilter,
    /// What is told apart.
    pub group_by: Vec<Grouping>,
}

/// What one group used in one bucket. Members that the query does not group by are `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageSum {
    /// When the bucket begins.
    pub starts_at: i64,
    /// Project.
    pub project: Option<ProjectId>,
    /// Key.
    pub key: Option<KeyId>,
    /// Model.
    pub model: Option<String>,
    /// Tier.
    pub tier: Option<Tier>,
    /// Endpoint's path template.
    pub endpoint: Option<String>,
    /// Requests.
    pub requests: u64,
    /// Images made.
    pub images: u64,
    /// What they cost.
    pub cost: Nano,
    /// Units used. Images that were billed by the image are in `images` alone.
    pub quantities: Quantities,
}

/// What one group cost in one bucket. Members that the query does not group by are `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CostSum {
    /// When the bucket begins.
    pub starts_at: i64,
    /// Project.
    pub project: Option<ProjectId>,
    /// Key.
    pub key: Option<KeyId>,
    /// Line of the bill.
    pub item: Option<String>,
    /// How many units; only where the query groups by line.
    pub quantity: Option<u64>,
    /// What it cost.
    pub amount: Nano,
}

/// Reads what was used and spent.
#[async_trait]
pub trait Reports: Send + Sync {
    /// Usage, in the order of buckets; buckets without usage are left out.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn usage(&self, query: &ReportQuery) -> Result<Vec<UsageSum>, StoreError>;

    /// Costs, in the order of buckets; likewise. Crash estimates are not rows, and not in here. By line they are summed
    /// by hour and day only: hardly two bills of a series share a minute, and the sums would be as many as the rows.
    ///
    /// # Errors
    /// When they cannot be read, or are asked for by line and minute.
    async fn costs(&self, query: &ReportQuery) -> Result<Vec<CostSum>, StoreError>;

    /// Rows that are estimated, the newest first, before the row with this id.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn estimated_rows(&self, before: Option<&str>, at_most: u32) -> Result<Vec<UsageRow>, StoreError>;

    /// The row of a request: at any time if it was estimated, for some time after it was written otherwise.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn row(&self, id: &str) -> Result<Option<UsageRow>, StoreError>;

    /// Lowers an estimated row to what is known now, and with it every sum and account that it is in; whether there was
    /// an estimated row that high.
    ///
    /// # Errors
    /// When nothing can be written.
    async fn lower_row(&self, id: &str, to: Nano) -> Result<bool, StoreError>;
}
