//! What waits to be told, and the webhooks that are told.

use async_trait::async_trait;
use keys::Sealed;
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite as Driver, SqliteConnection};
use store::{Channel, Delivery, DeliveryState, Notice, Outbox, StoreError, Webhook};

use super::registry::{Done, column, one, parse, text};
use super::usage::known_word;
use super::{Sqlite, refused};

/// The words of channels in their column.
const EMAIL: &str = "email";
const WEBHOOK: &str = "webhook";

/// Reads deliveries with their notices.
const SELECT: &str = "SELECT delivery.*, notice.kind, notice.created_at, notice.payload FROM delivery \
                      JOIN notice ON notice.id = delivery.notice_id";

/// Puts a notice in, with its deliveries; nothing where it was put in before.
pub(super) async fn put(connection: &mut SqliteConnection, notice: &Notice, channels: &[Channel]) -> Done {
    let query =
        sqlx::query("INSERT INTO notice (id, kind, created_at, payload) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING");
    let query = query.bind(&notice.id).bind(&notice.kind).bind(notice.created_at).bind(notice.payload.to_string());
    if query.execute(&mut *connection).await.map_err(refused)?.rows_affected() == 0 {
        return Ok(());
    }
    for channel in channels {
        let (word, webhook, recipients, prefix) = match channel {
            Channel::Email { recipients, subject_prefix } => {
                (EMAIL, None, Some(json!(recipients).to_string()), subject_prefix.as_ref())
            }
            Channel::Webhook { id } => (WEBHOOK, Some(id), None, None),
        };
        let query = sqlx::query(
            "INSERT INTO delivery (notice_id, channel, webhook_id, recipients, subject_prefix, state, attempts, next_at) \
             VALUES (?, ?, ?, ?, ?, ?, 0, ?)",
        );
        let query = query.bind(&notice.id).bind(word).bind(webhook).bind(recipients).bind(prefix);
        let query = query.bind(DeliveryState::Pending.word()).bind(notice.created_at);
        query.execute(&mut *connection).await.map_err(refused)?;
    }
    Ok(())
}

fn delivery(row: &SqliteRow) -> Result<Delivery, StoreError> {
    let channel = match text(row, "channel")?.as_str() {
        EMAIL => Channel::Email {
            recipients: parse(&text(row, "recipients")?)?,
            subject_prefix: column(row, "subject_prefix")?,
        },
        WEBHOOK => Channel::Webhook { id: text(row, "webhook_id")? },
        other => return Err(StoreError::Corrupt(format!("channel `{other}`"))),
    };
    Ok(Delivery {
        id: column(row, "id")?,
        notice: Notice {
            id: text(row, "notice_id")?,
            kind: text(row, "kind")?,
            created_at: column(row, "created_at")?,
            payload: parse(&text(row, "payload")?)?,
        },
        channel,
        state: known_word("state of a delivery", &text(row, "state")?, DeliveryState::from_word)?,
        attempts: column(row, "attempts")?,
        next_at: column(row, "next_at")?,
        last_error: column(row, "last_error")?,
    })
}

#[async_trait]
impl Outbox for Sqlite {
    async fn enqueue(&self, notice: &Notice, channels: &[Channel]) -> Done {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(refused)?;
        put(&mut transaction, notice, channels).await?;
        transaction.commit().await.map_err(refused)
    }

    async fn due(&self, now: i64, at_most: u32) -> Result<Vec<Delivery>, StoreError> {
        let mut query = QueryBuilder::<Driver>::new(SELECT);
        query.push(" WHERE delivery.state = 'pending' AND delivery.next_at <= ").push_bind(now);
        query.push(" ORDER BY delivery.next_at, delivery.id LIMIT ").push_bind(i64::from(at_most));
        query.build().fetch_all(&self.readers).await.map_err(refused)?.iter().map(delivery).collect()
    }

    async fn delivered(&self, delivery: i64) -> Done {
        let query = sqlx::query(
            "UPDATE delivery SET state = 'delivered', attempts = attempts + 1 WHERE id = ? AND state <> 'delivered'",
        );
        query.bind(delivery).execute(&self.writer).await.map_err(refused)?;
        Ok(())
    }

    async fn failed(&self, delivery: i64, error: &str, next_at: Option<i64>) -> Done {
        // What arrived stays so, whatever another attempt came to.
        let query = sqlx::query(
            "UPDATE delivery SET state = iif(?1 IS NULL, 'dead', state), next_at = coalesce(?1, next_at), \
             attempts = attempts + 1, last_error = ?2 WHERE id = ?3 AND state = 'pending'",
        );
        query.bind(next_at).bind(error).bind(delivery).execute(&self.writer).await.map_err(refused)?;
        Ok(())
    }

    async fn deliveries(
        &self,
        state: Option<DeliveryState>,
        before: Option<i64>,
        at_most: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let mut query = QueryBuilder::<Driver>::new(SELECT);
        query.push(" WHERE delivery.id < ").push_bind(before.unwrap_or(i64::MAX));
        if let Some(state) = state {
            query.push(" AND delivery.state = ").push_bind(state.word());
        }
        query.push(" ORDER BY delivery.id DESC LIMIT ").push_bind(i64::from(at_most));
        query.build().fetch_all(&self.readers).await.map_err(refused)?.iter().map(delivery).collect()
    }

    async fn revive(&self, delivery: i64, now: i64) -> Result<bool, StoreError> {
        let query = sqlx::query(
            "UPDATE delivery SET state = 'pending', attempts = 0, next_at = ? WHERE id = ? AND state = 'dead'",
        );
        let result = query.bind(now).bind(delivery).execute(&self.writer).await.map_err(refused)?;
        Ok(result.rows_affected() == 1)
    }
}

/// Stores a new webhook.
pub(super) async fn create_webhook(connection: &mut SqliteConnection, webhook: &Webhook) -> Done {
    let query =
        sqlx::query("INSERT INTO webhook (id, name, url, master_key_id, secret, created_at) VALUES (?, ?, ?, ?, ?, ?)");
    let query = query.bind(&webhook.id).bind(&webhook.name).bind(&webhook.url).bind(&webhook.secret.master_key_id);
    one(query.bind(&webhook.secret.bytes).bind(webhook.created_at).execute(connection).await)
}

/// Deletes a webhook. What was on its way there has nowhere to go: it is listed as dead.
pub(super) async fn delete_webhook(connection: &mut SqliteConnection, id: &str) -> Done {
    let query = sqlx::query(
        "UPDATE delivery SET state = 'dead', last_error = 'the webhook was deleted' \
         WHERE state = 'pending' AND webhook_id = ?",
    );
    query.bind(id).execute(&mut *connection).await.map_err(refused)?;
    one(sqlx::query("DELETE FROM webhook WHERE id = ?").bind(id).execute(connection).await)
}

/// Ids of all webhooks.
pub(super) async fn webhook_ids(connection: &mut SqliteConnection) -> Result<Vec<String>, StoreError> {
    sqlx::query_scalar("SELECT id FROM webhook ORDER BY id").fetch_all(connection).await.map_err(refused)
}

/// All webhooks.
pub(super) async fn load_webhooks(connection: &mut SqliteConnection) -> Result<Vec<Webhook>, StoreError> {
    let rows = sqlx::query("SELECT * FROM webhook ORDER BY id").fetch_all(connection).await.map_err(refused)?;
    let webhook = |row: &SqliteRow| {
        Ok(Webhook {
            id: text(row, "id")?,
            name: text(row, "name")?,
            url: text(row, "url")?,
            secret: Sealed { master_key_id: text(row, "master_key_id")?, bytes: column(row, "secret")? },
            created_at: column(row, "created_at")?,
        })
    };
    rows.iter().map(webhook).collect()
}
