//! Keys: digests, never secrets.

use ::keys::{Digest, Kind};
use serde::Serialize;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use store::{FormerSecret, Key, KeyId, ProjectId, ServiceAccountId, StoreError};

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
         former_redacted = ?, former_expires_at = ?, rates = ?, bounds = ?, browser_use = ?, suspension = ?, rotation = ? \
         WHERE id = ?",
    );
    let query = query.bind(&key.name).bind(&key.digest.as_bytes()[..]).bind(&key.redacted);
    let query = query.bind(key.secret_created_at).bind(key.expires_at);
    let former = key.former.as_ref();
    let query = query.bind(former.map(|former| &former.digest.as_bytes()[..]));
    let query = query.bind(former.map(|former| &former.redacted)).bind(former.map(|former| former.expires_at));
    let query = query.bind(settings::limits_text(&key.rates)?).bind(written(&key.bounds)?);
    let query = query.bind(written(&key.browser_use)?).bind(optional(&key.suspension)?).bind(optional(&key.rotation)?);
    one(query.bind(key.id.as_str()).execute(connection).await)
}

/// All keys.
pub(super) async fn load(connection: &mut SqliteConnection) -> Result<Vec<Key>, StoreError> {
    let rows = sqlx::query("SELECT * FROM api_key").fetch_all(connection).await.map_err(refused)?;
    rows.iter().map(key).collect()
}

fn optional(value: &Option<impl Serialize>) -> Result<Option<String>, StoreError> {
    value.as_ref().map(written).transpose()
}

fn key(row: &SqliteRow) -> Result<Key, StoreError> {
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
