//! Keys: digests, never secrets.

use ::keys::{Digest, Kind};
use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite as Driver, SqliteConnection};
use store::{FORMER_SECRETS_MAX, FormerSecret, Key, KeyId, ProjectId, ServiceAccountId, StoreError};

use super::refused;
use super::registry::{Done, column, one, parse, text};
use super::settings::{self, written};

/// Stores a new key.
pub(super) async fn insert(connection: &mut SqliteConnection, key: &Key) -> Done {
    let query = sqlx::query(
        "INSERT INTO api_key (id, kind, project_id, service_account_id, created_at, created_by, is_decoy, name, digest, \
         redacted) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    );
    let query = query.bind(key.id.as_str()).bind(key.kind.word()).bind(key.project.as_ref().map(ProjectId::as_str));
    let query = query.bind(key.service_account.as_ref().map(ServiceAccountId::as_str)).bind(key.created_at);
    let query = query.bind(key.created_by.as_ref().map(KeyId::as_str)).bind(key.is_decoy);
    let query = query.bind(&key.name).bind(&key.digest.as_bytes()[..]).bind(&key.redacted);
    one(query.execute(&mut *connection).await)?;
    update(connection, key).await
}

/// What may change of a key; whose it is stays.
pub(super) async fn update(connection: &mut SqliteConnection, key: &Key) -> Done {
    let query = sqlx::query(
        "UPDATE api_key SET name = ?, digest = ?, redacted = ?, secret_created_at = ?, expires_at = ?, former_digest = ?, \
         former_redacted = ?, former_expires_at = ?, rates = ?, bounds = ?, browser_use = ?, suspension = ?, rotation = ?, undelivered = ? \
         WHERE id = ?",
    );
    let query = query.bind(&key.name).bind(&key.digest.as_bytes()[..]).bind(&key.redacted);
    let query = query.bind(key.secret_created_at).bind(key.expires_at);
    let former = key.former.as_ref();
    let query = query.bind(former.map(|former| &former.digest.as_bytes()[..]));
    let query = query.bind(former.map(|former| &former.redacted)).bind(former.map(|former| former.expires_at));
    let query = query.bind(settings::limits_text(&key.rates)?).bind(written(&key.bounds)?);
    let query = query.bind(written(&key.browser_use)?).bind(optional(&key.suspension)?).bind(optional(&key.rotation)?);
    let query = query.bind(optional(&key.undelivered)?);
    one(query.bind(key.id.as_str()).execute(connection).await)
}

/// The columns of a key, which a secret that is gone has too.
const COLUMNS: &str = "id, kind, project_id, service_account_id, name, digest, redacted, created_at, secret_created_at, \
                       created_by, expires_at, former_digest, former_redacted, former_expires_at, rates, bounds, \
                       browser_use, suspension, rotation, undelivered, is_decoy";

/// Whose secrets go.
#[derive(Clone, Copy)]
pub(super) enum Gone<'a> {
    /// All of a key.
    OfKey(&'a KeyId),
    /// All of a service account's keys.
    OfServiceAccount(&'a ServiceAccountId),
    /// Those that the key has and this record of it has not.
    Replaced(&'a Key),
}

/// Remembers secrets that are about to go, and forgets the oldest over the bound.
pub(super) async fn remember(connection: &mut SqliteConnection, gone: Gone<'_>, now: i64) -> Done {
    for secret in ["digest", "former_digest"] {
        let mut query = QueryBuilder::<Driver>::new("INSERT OR IGNORE INTO former_secret (ended_at, secret, ");
        query.push(COLUMNS).push(") SELECT ").push_bind(now).push(", ").push(secret).push(", ").push(COLUMNS);
        query.push(" FROM api_key WHERE ").push(secret).push(" IS NOT NULL AND ");
        match gone {
            Gone::OfKey(id) => query.push("id = ").push_bind(id.as_str()),
            Gone::OfServiceAccount(id) => query.push("service_account_id = ").push_bind(id.as_str()),
            Gone::Replaced(key) => {
                query.push("id = ").push_bind(key.id.as_str());
                for (digest, _) in key.secrets() {
                    query.push(" AND ").push(secret).push(" <> ").push_bind(digest.as_bytes().to_vec());
                }
                &mut query
            }
        };
        query.build().execute(&mut *connection).await.map_err(refused)?;
    }
    let query =
        sqlx::query("DELETE FROM former_secret WHERE sequence <= (SELECT max(sequence) FROM former_secret) - ?");
    query.bind(FORMER_SECRETS_MAX).execute(connection).await.map_err(refused)?;
    Ok(())
}

/// Deletes a key; its secrets are remembered.
pub(super) async fn delete(connection: &mut SqliteConnection, id: &KeyId, now: i64) -> Done {
    remember(connection, Gone::OfKey(id), now).await?;
    one(sqlx::query("DELETE FROM api_key WHERE id = ?").bind(id.as_str()).execute(connection).await)
}

/// All keys.
pub(super) async fn load(connection: &mut SqliteConnection) -> Result<Vec<Key>, StoreError> {
    let rows = sqlx::query("SELECT * FROM api_key").fetch_all(connection).await.map_err(refused)?;
    rows.iter().map(key).collect()
}

fn optional(value: &Option<impl Serialize>) -> Result<Option<String>, StoreError> {
    value.as_ref().map(written).transpose()
}

/// Reads a row with the columns of a key.
pub(super) fn key(row: &SqliteRow) -> Result<Key, StoreError> {
    let words = |name| column::<Option<String>>(row, name);
    let word = text(row, "kind")?;
    let created_at = column(row, "created_at")?;
    Ok(Key {
        id: KeyId::new(text(row, "id")?),
        kind: Kind::from_word(&word).ok_or_else(|| StoreError::Corrupt(format!("key kind `{word}`")))?,
        project: words("project_id")?.map(ProjectId::new),
        service_account: words("service_account_id")?.map(ServiceAccountId::new),
        name: text(row, "name")?,
        digest: digest(column(row, "digest")?)?,
        redacted: text(row, "redacted")?,
        created_at,
        secret_created_at: column::<Option<i64>>(row, "secret_created_at")?.unwrap_or(created_at),
        created_by: words("created_by")?.map(KeyId::new),
        expires_at: column(row, "expires_at")?,
        former: former(row)?,
        rates: settings::limits(&text(row, "rates")?)?,
        bounds: parse(&text(row, "bounds")?)?,
        browser_use: parse(&text(row, "browser_use")?)?,
        suspension: words("suspension")?.as_deref().map(parse).transpose()?,
        rotation: words("rotation")?.as_deref().map(parse).transpose()?,
        undelivered: words("undelivered")?.as_deref().map(parse).transpose()?,
        is_decoy: column(row, "is_decoy")?,
    })
}

fn former(row: &SqliteRow) -> Result<Option<FormerSecret>, StoreError> {
    let Some(bytes) = column::<Option<Vec<u8>>>(row, "former_digest")? else { return Ok(None) };
    let (redacted, expires_at) = (text(row, "former_redacted")?, column(row, "former_expires_at")?);
    Ok(Some(FormerSecret { digest: digest(bytes)?, redacted, expires_at }))
}

fn digest(bytes: Vec<u8>) -> Result<Digest, StoreError> {
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| StoreError::Corrupt("a digest is not 32 bytes".into()))?;
    Ok(Digest::from(bytes))
}
