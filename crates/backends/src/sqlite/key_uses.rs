//! From where keys are used.

use async_trait::async_trait;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use store::{KeyId, KeyUse, KeyUses, LastUse, StoreError};

use super::registry::{Done, column, text};
use super::{Sqlite, refused};

async fn add(connection: &mut SqliteConnection, used: &KeyUse) -> Done {
    let figure = |figure: u64| i64::try_from(figure).unwrap_or(i64::MAX);
    // The words are those of the later use, where it has any. New addresses over the bound are counted as one.
    let query = sqlx::query(
        "INSERT INTO key_use AS old (key_id, hour, address, calls, refused, first_at, last_at, user_agent, model) \
         SELECT ?1, ?2, iif(EXISTS (SELECT 1 FROM key_use WHERE key_id = ?1 AND hour = ?2 AND address = ?3) \
         OR (SELECT count(*) FROM key_use WHERE key_id = ?1 AND hour = ?2) < ?10, ?3, ?11), ?4, ?5, ?6, ?7, ?8, ?9 \
         WHERE TRUE ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, \
         refused = refused + excluded.refused, first_at = min(first_at, excluded.first_at), \
         last_at = max(last_at, excluded.last_at), \
         user_agent = iif(excluded.last_at >= old.last_at, coalesce(excluded.user_agent, old.user_agent), old.user_agent), \
         model = iif(excluded.last_at >= old.last_at, coalesce(excluded.model, old.model), old.model)",
    );
    let query = query.bind(used.key.as_str()).bind(used.hour).bind(&used.address);
    let query = query.bind(figure(used.calls)).bind(figure(used.refused)).bind(used.first_at).bind(used.last_at);
    let query = query.bind(&used.user_agent).bind(&used.model).bind(KeyUse::ADDRESSES_MAX).bind(KeyUse::ELSEWHERE);
    query.execute(&mut *connection).await.map_err(refused)?;
    let query = sqlx::query(
        "INSERT INTO key_last_use AS old (key_id, at, address, user_agent, model) VALUES (?, ?, ?, ?, ?) \
         ON CONFLICT DO UPDATE SET at = excluded.at, address = excluded.address, user_agent = excluded.user_agent, \
         model = coalesce(excluded.model, old.model) WHERE excluded.at >= old.at",
    );
    let query = query.bind(used.key.as_str()).bind(used.last_at).bind(&used.address);
    query.bind(&used.user_agent).bind(&used.model).execute(connection).await.map_err(refused)?;
    Ok(())
}

fn key_use(row: &SqliteRow) -> Result<KeyUse, StoreError> {
    let figure = |name| column::<i64>(row, name).map(|figure| u64::try_from(figure).unwrap_or_default());
    Ok(KeyUse {
        key: KeyId::new(text(row, "key_id")?),
        hour: column(row, "hour")?,
        address: text(row, "address")?,
        calls: figure("calls")?,
        refused: figure("refused")?,
        first_at: column(row, "first_at")?,
        last_at: column(row, "last_at")?,
        user_agent: column(row, "user_agent")?,
        model: column(row, "model")?,
    })
}

fn last_use(row: &SqliteRow) -> Result<(KeyId, LastUse), StoreError> {
    let used = LastUse {
        at: column(row, "at")?,
        address: text(row, "address")?,
        user_agent: column(row, "user_agent")?,
        model: column(row, "model")?,
    };
    Ok((KeyId::new(text(row, "key_id")?), used))
}

#[async_trait]
impl KeyUses for Sqlite {
    async fn add_uses(&self, uses: &[KeyUse]) -> Done {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(refused)?;
        for used in uses {
            add(&mut transaction, used).await?;
        }
        transaction.commit().await.map_err(refused)
    }

    async fn last_uses(&self) -> Result<Vec<(KeyId, LastUse)>, StoreError> {
        let rows = sqlx::query("SELECT * FROM key_last_use").fetch_all(&self.readers).await.map_err(refused)?;
        rows.iter().map(last_use).collect()
    }

    async fn uses_of(&self, key: &KeyId, since: i64) -> Result<Vec<KeyUse>, StoreError> {
        let query = sqlx::query("SELECT * FROM key_use WHERE key_id = ? AND hour >= ? ORDER BY hour, address");
        let rows = query.bind(key.as_str()).bind(since).fetch_all(&self.readers).await.map_err(refused)?;
        rows.iter().map(key_use).collect()
    }

    async fn forget_uses(&self, time: i64) -> Result<u64, StoreError> {
        let query = sqlx::query("DELETE FROM key_use WHERE hour < ?").bind(time);
        Ok(query.execute(&self.writer).await.map_err(refused)?.rows_affected())
    }
}
