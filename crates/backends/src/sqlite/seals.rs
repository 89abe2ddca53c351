//! Sealed values.

use async_trait::async_trait;
use keys::Sealed;
use sqlx::{Row, SqliteConnection};
use store::{AuditEvent, Seals, StoreError, Webhook};

use super::registry::{column, one, text};
use super::{Sqlite, audit, refused};

#[async_trait]
impl Seals for Sqlite {
    async fn sealed(&self, name: &str) -> Result<Option<Sealed>, StoreError> {
        let query = sqlx::query("SELECT master_key_id, bytes FROM sealed WHERE name = ?").bind(name);
        let Some(row) = query.fetch_optional(&self.readers).await.map_err(refused)? else { return Ok(None) };
        let master_key_id = row.try_get("master_key_id").map_err(refused)?;
        Ok(Some(Sealed { master_key_id, bytes: row.try_get("bytes").map_err(refused)? }))
    }

    async fn keep(&self, name: &str, sealed: &Sealed) -> Result<(), StoreError> {
        let query = sqlx::query("INSERT INTO sealed (name, master_key_id, bytes) VALUES (?, ?, ?)");
        let query = query.bind(name).bind(&sealed.master_key_id).bind(&sealed.bytes);
        query.execute(&self.writer).await.map_err(refused)?;
        Ok(())
    }

    async fn under_master_key(&self) -> Result<Vec<(String, Sealed)>, StoreError> {
        let mut read = self.readers.begin().await.map_err(refused)?;
        all(&mut read).await
    }

    async fn rewrap(&self, values: &[(String, Sealed)], event: &AuditEvent) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(refused)?;
        let mut names: Vec<_> = values.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let there = all(&mut transaction).await?;
        if !there.iter().map(|(name, _)| name.as_str()).eq(names) {
            return Err(StoreError::Conflict("something was sealed meanwhile".into()));
        }
        for (name, sealed) in values {
            let query = match name.strip_prefix(WEBHOOK_PREFIX) {
                Some(id) => sqlx::query("UPDATE webhook SET master_key_id = ?, secret = ? WHERE id = ?")
                    .bind(&sealed.master_key_id)
                    .bind(&sealed.bytes)
                    .bind(id),
                None => sqlx::query("UPDATE sealed SET master_key_id = ?, bytes = ? WHERE name = ?")
                    .bind(&sealed.master_key_id)
                    .bind(&sealed.bytes)
                    .bind(name),
            };
            one(query.execute(&mut *transaction).await)?;
        }
        audit::insert(&mut transaction, event).await?;
        transaction.commit().await.map_err(refused)
    }
}

/// What the names of webhooks' secrets begin with; nothing else is sealed under such a name.
const WEBHOOK_PREFIX: &str = "webhook/";

/// Everything under the master key, in the order of names.
async fn all(connection: &mut SqliteConnection) -> Result<Vec<(String, Sealed)>, StoreError> {
    let mut found = Vec::new();
    for row in sqlx::query("SELECT * FROM sealed").fetch_all(&mut *connection).await.map_err(refused)? {
        let sealed = Sealed { master_key_id: text(&row, "master_key_id")?, bytes: column(&row, "bytes")? };
        found.push((text(&row, "name")?, sealed));
    }
    for row in sqlx::query("SELECT * FROM webhook").fetch_all(&mut *connection).await.map_err(refused)? {
        let sealed = Sealed { master_key_id: text(&row, "master_key_id")?, bytes: column(&row, "secret")? };
        found.push((Webhook::seal_name(&text(&row, "id")?), sealed));
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(found)
}
