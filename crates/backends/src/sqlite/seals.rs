//! Sealed values.

use async_trait::async_trait;
use keys::Sealed;
use sqlx::Row;
use store::{Seals, StoreError};

use super::{Sqlite, refused};

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
}
