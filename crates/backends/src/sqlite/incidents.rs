//! Incidents of exposed keys, and the keys that are gone.

use ::keys::Digest;
use async_trait::async_trait;
use exposure::incident::Incident;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite as Driver, SqliteConnection};
use store::{
    FinalReport, IncidentChange, IncidentFilter, IncidentPage, IncidentStep, Incidents, Key, KeyEnd, KeyId, StoreError,
};

use super::registry::{Done, column, one, parse, text};
use super::settings::written;
use super::{Sqlite, findings, keys, outbox, refused};

/// Writes an incident, and does what is done with it.
pub(super) async fn put(connection: &mut SqliteConnection, change: &IncidentChange, now: i64) -> Done {
    match &change.end {
        Some(KeyEnd::Revoke(id)) => keys::delete(connection, id, now).await?,
        Some(KeyEnd::Suspend(key)) => keys::update(connection, key).await?,
        None => {}
    }
    if let Some(key) = &change.replacement {
        keys::insert(connection, key).await?;
    }
    write(connection, change).await?;
    if let Some(finding) = &change.finding {
        findings::put(connection, finding).await?;
    }
    if let Some((notice, channels)) = &change.notice {
        outbox::put(connection, notice, channels).await?;
    }
    Ok(())
}

async fn write(connection: &mut SqliteConnection, change: &IncidentChange) -> Done {
    let incident = &change.incident;
    let body = written(incident)?;
    if change.step == IncidentStep::Open {
        let query = sqlx::query("INSERT INTO incident (id, key_id, found_at, closed_at, body) VALUES (?, ?, ?, ?, ?)");
        let query = query.bind(&incident.id).bind(&incident.key.id).bind(incident.found_at);
        return one(query.bind(incident.closed_at).bind(body).execute(connection).await);
    }
    let (json, markdown) = change.report.as_ref().map(|report| (report.json.to_string(), &report.markdown)).unzip();
    let query = sqlx::query(
        "UPDATE incident SET closed_at = ?, body = ?, report = coalesce(?, report), \
         report_markdown = coalesce(?, report_markdown) WHERE id = ?",
    );
    let query = query.bind(incident.closed_at).bind(body).bind(json).bind(markdown);
    one(query.bind(&incident.id).execute(connection).await)
}

fn incident(row: &SqliteRow) -> Result<Incident, StoreError> {
    parse(&text(row, "body")?)
}

#[async_trait]
impl Incidents for Sqlite {
    async fn incident(&self, id: &str) -> Result<Option<Incident>, StoreError> {
        let query = sqlx::query("SELECT body FROM incident WHERE id = ?").bind(id);
        query.fetch_optional(&self.readers).await.map_err(refused)?.as_ref().map(incident).transpose()
    }

    async fn incidents(&self, filter: &IncidentFilter) -> Result<Option<IncidentPage>, StoreError> {
        let mut query = QueryBuilder::<Driver>::new("SELECT body FROM incident WHERE 1");
        if let Some(after) = &filter.after {
            let place = sqlx::query_scalar::<_, i64>("SELECT sequence FROM incident WHERE id = ?").bind(after);
            let Some(sequence) = place.fetch_optional(&self.readers).await.map_err(refused)? else { return Ok(None) };
            query.push(" AND sequence < ").push_bind(sequence);
        }
        match filter.is_open {
            Some(true) => drop(query.push(" AND closed_at IS NULL")),
            Some(false) => drop(query.push(" AND closed_at IS NOT NULL")),
            None => {}
        }
        if let Some(key) = &filter.key {
            query.push(" AND key_id = ").push_bind(key.as_str());
        }
        // One more than asked for, to know whether there are more.
        query.push(" ORDER BY sequence DESC LIMIT ").push_bind(i64::from(filter.limit) + 1);
        let rows = query.build().fetch_all(&self.readers).await.map_err(refused)?;
        let at_most = usize::try_from(filter.limit).unwrap_or(usize::MAX);
        let found = rows.iter().take(at_most).map(incident).collect::<Result<_, _>>()?;
        Ok(Some((found, rows.len() > at_most)))
    }

    async fn final_report(&self, id: &str) -> Result<Option<FinalReport>, StoreError> {
        let query = sqlx::query("SELECT report, report_markdown FROM incident WHERE id = ? AND report IS NOT NULL");
        let Some(row) = query.bind(id).fetch_optional(&self.readers).await.map_err(refused)? else { return Ok(None) };
        Ok(Some(FinalReport { json: parse(&text(&row, "report")?)?, markdown: text(&row, "report_markdown")? }))
    }

    async fn former_key(&self, id: &KeyId) -> Result<Option<(Key, i64)>, StoreError> {
        let query = sqlx::query("SELECT * FROM former_secret WHERE id = ? ORDER BY sequence DESC LIMIT 1");
        let row = query.bind(id.as_str()).fetch_optional(&self.readers).await.map_err(refused)?;
        row.map(|row| Ok((keys::key(&row)?, column(&row, "ended_at")?))).transpose()
    }

    async fn former_secret(&self, digest: &Digest) -> Result<Option<(KeyId, i64)>, StoreError> {
        let query = sqlx::query("SELECT id, ended_at FROM former_secret WHERE secret = ?").bind(&digest.as_bytes()[..]);
        let row = query.fetch_optional(&self.readers).await.map_err(refused)?;
        row.map(|row| Ok((KeyId::new(text(&row, "id")?), column(&row, "ended_at")?))).transpose()
    }
}
