//! What the provider itself counts and charges for the time of an incident, where the gate can ask it.
//!
//! Read for reports alone: ending a key and showing an incident wait for nobody outside. What cannot be read is said with
//! its reason, and the report stands without it.

use async_trait::async_trait;
use exposure::incident::Incident;
use exposure::provider::{KINDS, Page, Unreadable, Whose, costs_path, read_costs, read_usage, usage_path};
use exposure::report::{ProviderUsage, Upstream};

use crate::Console;

/// Most pages that are read of each kind of usage, and of costs: two months by hour, a year by day.
const PAGES_MAX: usize = 12;

/// Why it is not in an answer that is not a report.
const READ_WITH_THE_REPORT: &str = "it is read with the report of the incident.";
/// Why it cannot be read.
const NO_ADMIN_KEY: &str = "this gate holds no admin key of the provider (sallyport upstream administer, or \
                            SALLYPORT_UPSTREAM_ADMIN_KEY), so the provider's own usage was not read. Look it up there for the times below, and attach it.";

/// The provider's side of a project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderSide {
    /// Whose usage concerns it, as far as the gate knows the provider's ids.
    pub whose: Whose,
    /// Whether the gate holds an admin key with which that can be read.
    pub can_be_read: bool,
}

/// The provider's Administration API, as far as reports of incidents read it: of the upstream that a project uses first.
#[async_trait]
pub trait ProviderReports: Send + Sync {
    /// The provider's side of a project of this gate.
    fn side(&self, project: Option<&str>) -> ProviderSide;

    /// What a path (with its query) below the provider's base address answers to the admin key.
    ///
    /// # Errors
    /// Why it does not, in words that follow "the provider was asked, and". No secrets.
    async fn get(&self, project: Option<&str>, path: &str) -> Result<Vec<u8>, String>;
}

impl Console {
    /// The provider's side of an incident, without asking.
    pub(crate) fn upstream_unasked(&self, incident: &Incident) -> Upstream {
        let side = self.exposure.provider.side(project(incident));
        let why = if side.can_be_read { READ_WITH_THE_REPORT } else { NO_ADMIN_KEY };
        Upstream::NotRead { key_ids: side.whose.key_ids, why: why.to_owned() }
    }

    /// The provider's side of an incident.
    pub(crate) async fn upstream_asked(&self, incident: &Incident) -> Upstream {
        let provider = &*self.exposure.provider;
        let ProviderSide { whose, can_be_read } = provider.side(project(incident));
        if !can_be_read {
            return self.upstream_unasked(incident);
        }
        let key_ids = whose.key_ids.clone();
        match read(provider, whose, incident, self.now()).await {
            Ok(usage) => Upstream::Read(usage),
            Err(why) => Upstream::NotRead { key_ids, why: format!("the provider was asked, and {why}.") },
        }
    }
}

fn project(incident: &Incident) -> Option<&str> {
    incident.key.project.as_ref().map(|(id, _)| id.as_str())
}

async fn read(
    provider: &dyn ProviderReports,
    whose: Whose,
    incident: &Incident,
    now: i64,
) -> Result<ProviderUsage, String> {
    let (from, until) = (incident.since(), now + 1);
    let mut usage = ProviderUsage { whose, counted: Vec::new(), charged: Vec::new(), is_whole: true };
    for kind in KINDS {
        let path = |page: Option<&str>| usage_path(kind, &usage.whose, from, until, page);
        let (rows, is_whole) = pages(provider, project(incident), path, read_usage).await?;
        usage.counted.extend(rows);
        usage.is_whole &= is_whole;
    }
    let path = |page: Option<&str>| costs_path(&usage.whose, from, until, page);
    let (rows, is_whole) = pages(provider, project(incident), path, read_costs).await?;
    usage.charged = rows;
    usage.is_whole &= is_whole;
    usage.counted.sort();
    Ok(usage)
}

/// Follows pages to their end, or to the bound; whether it was the end.
async fn pages<T>(
    provider: &dyn ProviderReports,
    project: Option<&str>,
    path: impl Fn(Option<&str>) -> String,
    read: impl Fn(&[u8]) -> Result<Page<T>, Unreadable>,
) -> Result<(Vec<T>, bool), String> {
    let (mut rows, mut next) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let answer = provider.get(project, &path(next.as_deref())).await?;
        let page = read(&answer).map_err(|_| "its answer could not be read".to_owned())?;
        rows.extend(page.rows);
        match page.next {
            Some(token) => next = Some(token),
            None => return Ok((rows, true)),
        }
    }
    Ok((rows, false))
}
