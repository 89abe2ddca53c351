//! What the gate noticed.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite as Driver, SqliteConnection};
use store::{Finding, FindingFilter, Findings, KeyId, ProjectId, Severity, StoreError, Triage};

use super::registry::{Done, column, one, parse, text};
use super::settings::written;
use super::usage::known_word;
use super::{Sqlite, refused};

fn finding(row: &SqliteRow) -> Result<Finding, StoreError> {
    let count: i64 = column(row, "count")?;
    Ok(Finding {
        id: text(row, "id")?,
        kind: text(row, "kind")?,
        severity: known_word("severity", &text(row, "severity")?, Severity::from_word)?,
        first_at: column(row, "first_at")?,
        last_at: column(row, "last_at")?,
        count: u64::try_from(count).unwrap_or_default(),
        project: column::<Option<String>>(row, "project_id")?.map(ProjectId::new),
        key: column::<Option<String>>(row, "key_id")?.map(KeyId::new),
        address: column(row, "address")?,
        details: parse(&text(row, "details")?)?,
        triage: column::<Option<String>>(row, "triage")?.map(|text| parse(&text)).transpose()?,
    })
}

/// Writes down what somebody said about a finding.
pub(super) async fn triage(connection: &mut SqliteConnection, id: &str, triage: &Triage) -> Done {
    let query = sqlx::query("UPDATE finding SET triage = ? WHERE id = ?").bind(written(triage)?).bind(id);
    one(query.execute(connection).await)
}

/// Adds a finding, or its count to the one with its id; whether it is a new one.
pub(super) async fn put(connection: &mut SqliteConnection, finding: &Finding) -> Result<bool, StoreError> {
    let count = i64::try_from(finding.count).unwrap_or(i64::MAX);
    let query = sqlx::query(
        "UPDATE finding SET count = count + ?1, first_at = min(first_at, ?2), last_at = max(last_at, ?3), \
         details = iif(?3 >= last_at, ?4, details), key_id = iif(?3 >= last_at, ?5, key_id), \
         address = iif(?3 >= last_at, ?6, address) WHERE id = ?7",
    );
    let query = query.bind(count).bind(finding.first_at).bind(finding.last_at).bind(finding.details.to_string());
    let query = query.bind(finding.key.as_ref().map(KeyId::as_str)).bind(&finding.address).bind(&finding.id);
    let is_new = query.execute(&mut *connection).await.map_err(refused)?.rows_affected() == 0;
    if is_new {
        let query = sqlx::query(
            "INSERT INTO finding (id, kind, severity, first_at, last_at, count, project_id, key_id, address, details) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        );
        let query = query.bind(&finding.id).bind(&finding.kind).bind(finding.severity.word());
        let query = query.bind(finding.first_at).bind(finding.last_at).bind(count);
        let query = query.bind(finding.project.as_ref().map(ProjectId::as_str));
        let query = query.bind(finding.key.as_ref().map(KeyId::as_str)).bind(&finding.address);
        query.bind(finding.details.to_string()).execute(connection).await.map_err(refused)?;
    }
    Ok(is_new)
}

#[async_trait]
impl Findings for Sqlite {
    async fn note(&self, finding: &Finding) -> Result<bool, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(refused)?;
        let is_new = put(&mut transaction, finding).await?;
        transaction.commit().await.map_err(refused)?;
        Ok(is_new)
    }

    async fn findings(&self, filter: &FindingFilter) -> Result<Option<(Vec<Finding>, bool)>, StoreError> {
        let mut query = QueryBuilder::<Driver>::new("SELECT * FROM finding WHERE TRUE");
        if let Some(after) = &filter.after {
            let place = sqlx::query_scalar::<_, i64>("SELECT last_at FROM finding WHERE id = ?").bind(after);
            let Some(last_at) = place.fetch_optional(&self.readers).await.map_err(refused)? else { return Ok(None) };
            query.push(" AND (last_at, id) < (").push_bind(last_at).push(", ").push_bind(after.clone()).push(")");
        }
        if let Some(kind) = &filter.kind {
            query.push(" AND kind = ").push_bind(kind.clone());
        }
        if let Some(project) = &filter.project {
            query.push(" AND project_id = ").push_bind(project.as_str().to_owned());
        }
        if let Some(key) = &filter.key {
            query.push(" AND key_id = ").push_bind(key.as_str().to_owned());
        }
        if let Some(since) = filter.since {
            query.push(" AND last_at >= ").push_bind(since);
        }
        query.push(" ORDER BY last_at DESC, id DESC LIMIT ").push_bind(i64::from(filter.limit) + 1);
        let rows = query.build().fetch_all(&self.readers).await.map_err(refused)?;
        let at_most = usize::try_from(filter.limit).unwrap_or(usize::MAX);
        let found: Vec<Finding> = rows.iter().take(at_most).map(finding).collect::<Result<_, _>>()?;
        Ok(Some((found, rows.len() > at_most)))
    }

    async fn finding(&self, id: &str) -> Result<Option<Finding>, StoreError> {
        let query = sqlx::query("SELECT * FROM finding WHERE id = ?").bind(id);
        query.fetch_optional(&self.readers).await.map_err(refused)?.as_ref().map(finding).transpose()
    }

    async fn forget_findings(&self, time: i64) -> Result<u64, StoreError> {
        let query = sqlx::query("DELETE FROM finding WHERE last_at < ?").bind(time);
        Ok(query.execute(&self.writer).await.map_err(refused)?.rows_affected())
    }
}
