//! Reading the audit log.

use serde_json::Value;
use store::{AuditCursor, AuditFilter};
use wire::refusal::Refusal;

use crate::input::{invalid, limit, list, query, query_all, query_flag, query_number, unknown_cursor};
use crate::{Answer, Call, Console, unavailable};

/// Most values of one filter: all event types that the API has fit.
const FILTER_VALUES_MAX: usize = 256;

impl Console {
    pub(crate) async fn list_audit_events(&self, call: &Call<'_>) -> Answer {
        let filter = filter(call)?;
        // Nobody here has an e-mail address, and no event belongs to a tenant above the organization.
        if !query_all(call, "actor_emails")?.is_empty() || query_flag(call, "tenant_only")? {
            return Ok(list(Vec::<Value>::new(), false));
        }
        let page = self.registry.audit_events(&filter).await.map_err(|error| unavailable(&error))?;
        let cursor = if matches!(filter.cursor, Some(AuditCursor::Before(_))) { "before" } else { "after" };
        let page = page.ok_or_else(|| unknown_cursor(cursor))?;
        Ok(list(page.events, page.has_more))
    }
}

fn filter(call: &Call<'_>) -> Result<AuditFilter, Refusal> {
    let after = |name| Ok::<_, Refusal>(query_number(call, name)?.map(|time: i64| time.saturating_add(1)));
    let from = query_number(call, "effective_at[gte]")?.into_iter().chain(after("effective_at[gt]")?).max();
    let until = query_number(call, "effective_at[lt]")?.into_iter().chain(after("effective_at[lte]")?).min();
    let cursor = match (query(call, "after")?, query(call, "before")?) {
        (Some(_), Some(_)) => return Err(invalid("before", "'after' and 'before' cannot be used together.")),
        (Some(after), None) => Some(AuditCursor::After(after)),
        (None, Some(before)) => Some(AuditCursor::Before(before)),
        (None, None) => None,
    };
    Ok(AuditFilter {
        from,
        until,
        kinds: values(call, "event_types")?,
        projects: values(call, "project_ids")?,
        actors: values(call, "actor_ids")?,
        resources: values(call, "resource_ids")?,
        cursor,
        limit: u32::try_from(limit(call)?).unwrap_or(u32::MAX),
    })
}

fn values(call: &Call<'_>, name: &'static str) -> Result<Vec<String>, Refusal> {
    let values = query_all(call, name)?;
    match values.len() {
        0..=FILTER_VALUES_MAX => Ok(values),
        _ => Err(invalid(name, format!("'{name}' has more than {FILTER_VALUES_MAX} values."))),
    }
}
