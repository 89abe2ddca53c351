//! Audit events: written with their act, read by page.

use serde_json::{Value, json};
use sqlx::{QueryBuilder, Sqlite as Driver, SqliteConnection, SqlitePool};
use store::{Actor, AuditCursor, AuditEvent, AuditFilter, AuditPage, ProjectId, StoreError};

use super::refused;
use super::registry::{Done, one, parse, text};

/// Writes an event as the API shows it: the payload stands under the key named like the type.
pub(super) async fn insert(connection: &mut SqliteConnection, event: &AuditEvent) -> Done {
    let (actor_id, actor) = match &event.actor {
        Actor::Key { id, address, user_agent } => {
            let session = json!({"ip_address": address, "user_agent": user_agent});
            (
                Some(id.as_str()),
                json!({"type": "api_key", "api_key": {"id": id.as_str(), "type": "user"}, "session": session}),
            )
        }
        Actor::Reporter { name, address } => {
            let session = json!({"user": {"id": name, "email": ""}, "ip_address": address});
            (Some(*name), json!({"type": "session", "session": session}))
        }
        Actor::Local => (None, json!({"type": "session", "session": {"user": null, "ip_address": null}})),
    };
    let mut body = json!({"id": event.id, "type": event.kind, "effective_at": event.effective_at, "actor": actor});
    body[event.kind] = event.payload.clone();
    if let Some(project) = &event.project {
        // Its name as it is once the act is done.
        let query = sqlx::query_scalar::<_, String>("SELECT name FROM project WHERE id = ?").bind(project.as_str());
        let name = query.fetch_optional(&mut *connection).await.map_err(refused)?;
        body["project"] = json!({"id": project.as_str(), "name": name});
    }
    let query = sqlx::query(
        "INSERT INTO audit_event (id, kind, effective_at, actor_id, project_id, resource_id, body) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    );
    let query = query.bind(&event.id).bind(event.kind).bind(event.effective_at).bind(actor_id);
    let query = query.bind(event.project.as_ref().map(ProjectId::as_str)).bind(event.payload["id"].as_str());
    one(query.bind(body.to_string()).execute(connection).await)
}

/// Reads a page. `None` when its cursor names no event.
pub(super) async fn page(readers: &SqlitePool, filter: &AuditFilter) -> Result<Option<AuditPage>, StoreError> {
    let mut query = QueryBuilder::<Driver>::new("SELECT body FROM audit_event WHERE 1");
    if let Some(from) = filter.from {
        query.push(" AND effective_at >= ").push_bind(from);
    }
    // SQLite takes the index for a range with two ends only; without it, asking again and again for the last minutes
    // would read the whole log each time. A range that begins at the beginning is read from the newest event down.
    if let Some(until) = filter.until.or(filter.from.map(|_| i64::MAX)) {
        query.push(" AND effective_at < ").push_bind(until);
    }
    for (column, values) in [
        ("kind", &filter.kinds),
        ("project_id", &filter.projects),
        ("actor_id", &filter.actors),
        ("resource_id", &filter.resources),
    ] {
        if !values.is_empty() {
            query.push(" AND ").push(column).push(" IN (");
            let mut list = query.separated(", ");
            values.iter().for_each(|value| {
                list.push_bind(value.clone());
            });
            query.push(")");
        }
    }
    let is_before = matches!(filter.cursor, Some(AuditCursor::Before(_)));
    if let Some(AuditCursor::After(id) | AuditCursor::Before(id)) = &filter.cursor {
        let sequence = sqlx::query_scalar::<_, i64>("SELECT sequence FROM audit_event WHERE id = ?").bind(id);
        let Some(sequence) = sequence.fetch_optional(readers).await.map_err(refused)? else { return Ok(None) };
        query.push(if is_before { " AND sequence > " } else { " AND sequence < " }).push_bind(sequence);
    }
    // The page before an event is the one next to it: it is read away from the event, and then turned round.
    query.push(if is_before { " ORDER BY sequence" } else { " ORDER BY sequence DESC" });
    // One more than asked for, to know whether there are more.
    query.push(" LIMIT ").push_bind(i64::from(filter.limit) + 1);
    let rows = query.build().fetch_all(readers).await.map_err(refused)?;
    let mut events = rows.iter().map(|row| parse(&text(row, "body")?)).collect::<Result<Vec<Value>, _>>()?;
    let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let has_more = events.len() > limit;
    events.truncate(limit);
    if is_before {
        events.reverse();
    }
    Ok(Some(AuditPage { events, has_more }))
}
