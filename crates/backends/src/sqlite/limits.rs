//! Spending limits, as records. What is counted under them is in [`super::accounts`].

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use store::{Period, Raise, Scope, SpendLimit, StoreError};

use super::figures::{amount, count, nano, unsigned};
use super::registry::{Done, column, one, text};
use super::usage::known_word;
use super::{refused, settings};

/// Stores a limit, new or changed.
pub(super) async fn put(connection: &mut SqliteConnection, limit: &SpendLimit) -> Done {
    let query = sqlx::query(
        "INSERT INTO spend_limit (id, scope_kind, scope_id, period, amount, calls_max, is_shadow, near_limit, \
         raise_amount, raise_until, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET \
         scope_kind = excluded.scope_kind, scope_id = excluded.scope_id, period = excluded.period, \
         amount = excluded.amount, calls_max = excluded.calls_max, is_shadow = excluded.is_shadow, \
         near_limit = excluded.near_limit, raise_amount = excluded.raise_amount, raise_until = excluded.raise_until, \
         created_at = excluded.created_at",
    );
    let query = query.bind(&limit.id).bind(limit.scope.kind()).bind(limit.scope.id()).bind(limit.period.word());
    let query = query.bind(amount(limit.amount)).bind(limit.calls_max.map(count)).bind(limit.is_shadow);
    let query = query.bind(settings::near_limit_text(&limit.near_limit)?);
    let query = query.bind(limit.raise.map(|raise| amount(raise.amount))).bind(limit.raise.map(|raise| raise.until));
    one(query.bind(limit.created_at).execute(connection).await)
}

/// Deletes a limit. Its accounts, leases and estimates go with it: the tables say so.
pub(super) async fn delete(connection: &mut SqliteConnection, id: &str) -> Done {
    one(sqlx::query("DELETE FROM spend_limit WHERE id = ?").bind(id).execute(connection).await)
}

/// All limits.
pub(super) async fn load(connection: &mut SqliteConnection) -> Result<Vec<SpendLimit>, StoreError> {
    let query = sqlx::query("SELECT * FROM spend_limit ORDER BY id");
    query.fetch_all(connection).await.map_err(refused)?.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<SpendLimit, StoreError> {
    let (kind, id) = (text(row, "scope_kind")?, text(row, "scope_id")?);
    let raise = column::<Option<i64>>(row, "raise_amount")?.zip(column(row, "raise_until")?);
    Ok(SpendLimit {
        id: text(row, "id")?,
        scope: known_word("scope", &kind, |kind| Scope::read(kind, &id))?,
        period: known_word("period", &text(row, "period")?, Period::from_word)?,
        amount: nano(column(row, "amount")?),
        calls_max: column::<Option<i64>>(row, "calls_max")?.map(unsigned),
        is_shadow: column(row, "is_shadow")?,
        near_limit: settings::near_limit(&text(row, "near_limit")?)?,
        raise: raise.map(|(amount, until)| Raise { amount: nano(amount), until }),
        created_at: column(row, "created_at")?,
    })
}
