//! Reading the audit log.

use store::AuditFilter;
use wire::refusal::Refusal;

use crate::input::{limit, list, query, query_all, query_number};
use crate::{Answer, Call, Console, unavailable};

impl Console {
    pub(crate) async fn list_audit_events(&self, call: &Call<'_>) -> Answer {
        let limit = limit(call)?;
        let filter = filter(call, limit)?;
        let mut events = self.registry.audit_events(&filter).await.map_err(|error| unavailable(&error))?;
        let has_more = events.len() > limit;
        events.truncate(limit);
        Ok(list(events, has_more))
    }
}

fn filter(call: &Call<'_>, limit: usize) -> Result<AuditFilter, Refusal> {
    let after = |name| Ok::<_, Refusal>(query_number(call, name)?.map(|time: i64| time.saturating_add(1)));
    let from = query_number(call, "effective_at[gte]")?.into_iter().chain(after("effective_at[gt]")?).max();
    let until = query_number(call, "effective_at[lt]")?.into_iter().chain(after("effective_at[lte]")?).min();
    Ok(AuditFilter {
        from,
        until,
        kinds: query_all(call, "event_types")?,
        projects: query_all(call, "project_ids")?,
        actors: query_all(call, "actor_ids")?,
        after: query(call, "after")?,
        before: query(call, "before")?,
        // One more than shown, to know whether there is more.
        limit: u32::try_from(limit + 1).unwrap_or(u32::MAX),
    })
}
