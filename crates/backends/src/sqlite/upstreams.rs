//! Upstreams, their keys, policies and rotations.

use keys::Enclosed;
use serde_json::json;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use store::{
    Administration, Material, ProjectId, Rotation, RotationState, RotationStep, StoreError, Upstream, UpstreamAct,
    UpstreamKey, UpstreamKeyState, UpstreamPolicy, UpstreamRecords,
};

use super::refused;
use super::registry::{Done, column, one, parse, text};
use super::usage::known_word;

/// The columns of a secret: its source, or what is sealed.
#[derive(Default)]
struct Columns<'a> {
    source: Option<&'a str>,
    redacted: Option<&'a str>,
    data_key_id: Option<&'a str>,
    version: Option<u32>,
    bytes: Option<&'a [u8]>,
}

impl<'a> From<&'a Material> for Columns<'a> {
    fn from(material: &'a Material) -> Columns<'a> {
        match material {
            Material::Source(name) => Columns { source: Some(name), ..Columns::default() },
            Material::Sealed { sealed, redacted } => Columns {
                source: None,
                redacted: Some(redacted),
                data_key_id: Some(&sealed.data_key_id),
                version: Some(sealed.version),
                bytes: Some(&sealed.bytes),
            },
        }
    }
}

/// Carries out an act.
pub(super) async fn perform(connection: &mut SqliteConnection, act: &UpstreamAct) -> Done {
    match act {
        UpstreamAct::Create(upstream) => create(connection, upstream).await,
        UpstreamAct::Update(upstream) => update(connection, upstream).await,
        // Its keys and rotations go with it: the tables say so.
        UpstreamAct::Delete(id) => {
            one(sqlx::query("DELETE FROM upstream WHERE id = ?").bind(id).execute(connection).await)
        }
        UpstreamAct::CreateKey(key) => create_key(connection, key).await,
        UpstreamAct::UpdateKey(key) => update_key(connection, key).await,
        UpstreamAct::DeleteKey(id) => delete_key(connection, id).await,
        UpstreamAct::PutPolicy(policy) => {
            let query = sqlx::query(
                "INSERT INTO upstream_policy (project_id, is_weighted, members) VALUES (?, ?, ?) \
                 ON CONFLICT DO UPDATE SET is_weighted = excluded.is_weighted, members = excluded.members",
            );
            let query = query.bind(policy.project.as_str()).bind(policy.is_weighted);
            one(query.bind(json!(policy.members).to_string()).execute(connection).await)
        }
        UpstreamAct::DeletePolicy(project) => {
            let query = sqlx::query("DELETE FROM upstream_policy WHERE project_id = ?");
            one(query.bind(project.as_str()).execute(connection).await)
        }
        UpstreamAct::Rotate(step) => {
            let RotationStep { rotation, created, updated, deleted, forgotten } = &**step;
            if let Some(key) = created {
                create_key(connection, key).await?;
            }
            for key in updated {
                update_key(connection, key).await?;
            }
            if let Some(id) = deleted {
                delete_key(connection, id).await?;
            }
            if let Some(id) = forgotten {
                let query = sqlx::query("DELETE FROM upstream_rotation WHERE id = ?").bind(id);
                one(query.execute(&mut *connection).await)?;
            }
            put_rotation(connection, rotation).await
        }
    }
}

async fn create(connection: &mut SqliteConnection, upstream: &Upstream) -> Done {
    let query = sqlx::query(
        "INSERT INTO upstream (id, name, url, organization, project, is_enabled, rotate_every_days, created_at, \
         admin_project, admin_source, admin_redacted, admin_data_key_id, admin_version, admin_bytes) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    );
    let query = query.bind(&upstream.id).bind(&upstream.name).bind(&upstream.url).bind(&upstream.organization);
    let query = query.bind(&upstream.project).bind(upstream.is_enabled).bind(upstream.rotate_every_days);
    let query = query.bind(upstream.created_at);
    let administration = upstream.administration.as_ref();
    let admin = administration.map(|administration| Columns::from(&administration.key)).unwrap_or_default();
    let query = query.bind(administration.map(|administration| &administration.project));
    let query = query.bind(admin.source).bind(admin.redacted).bind(admin.data_key_id);
    one(query.bind(admin.version).bind(admin.bytes).execute(connection).await)
}

/// What may change of an upstream; its address stays.
async fn update(connection: &mut SqliteConnection, upstream: &Upstream) -> Done {
    let query = sqlx::query(
        "UPDATE upstream SET name = ?, organization = ?, project = ?, is_enabled = ?, rotate_every_days = ?, \
         admin_project = ?, admin_source = ?, admin_redacted = ?, admin_data_key_id = ?, admin_version = ?, \
         admin_bytes = ? WHERE id = ? AND url = ?",
    );
    let query = query.bind(&upstream.name).bind(&upstream.organization).bind(&upstream.project);
    let query = query.bind(upstream.is_enabled).bind(upstream.rotate_every_days);
    let administration = upstream.administration.as_ref();
    let admin = administration.map(|administration| Columns::from(&administration.key)).unwrap_or_default();
    let query = query.bind(administration.map(|administration| &administration.project));
    let query = query.bind(admin.source).bind(admin.redacted).bind(admin.data_key_id);
    let query = query.bind(admin.version).bind(admin.bytes);
    one(query.bind(&upstream.id).bind(&upstream.url).execute(connection).await)
}

async fn create_key(connection: &mut SqliteConnection, key: &UpstreamKey) -> Done {
    let query = sqlx::query(
        "INSERT INTO upstream_key (id, upstream_id, name, state, source, redacted, data_key_id, version, bytes, \
         service_account, upstream_key_id, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    );
    let secret = Columns::from(&key.material);
    let query = query.bind(&key.id).bind(&key.upstream).bind(&key.name).bind(key.state.word());
    let query = query.bind(secret.source).bind(secret.redacted).bind(secret.data_key_id).bind(secret.version);
    let query = query.bind(secret.bytes).bind(&key.service_account).bind(&key.upstream_key_id);
    one(query.bind(key.created_at).execute(connection).await)
}

/// What may change of a key; whose it is stays.
async fn update_key(connection: &mut SqliteConnection, key: &UpstreamKey) -> Done {
    let query = sqlx::query(
        "UPDATE upstream_key SET name = ?, state = ?, source = ?, redacted = ?, data_key_id = ?, version = ?, bytes = ?, \
         service_account = ?, upstream_key_id = ? WHERE id = ? AND upstream_id = ?",
    );
    let secret = Columns::from(&key.material);
    let query = query.bind(&key.name).bind(key.state.word()).bind(secret.source).bind(secret.redacted);
    let query = query.bind(secret.data_key_id).bind(secret.version).bind(secret.bytes).bind(&key.service_account);
    one(query.bind(&key.upstream_key_id).bind(&key.id).bind(&key.upstream).execute(connection).await)
}

async fn delete_key(connection: &mut SqliteConnection, id: &str) -> Done {
    one(sqlx::query("DELETE FROM upstream_key WHERE id = ?").bind(id).execute(connection).await)
}

async fn put_rotation(connection: &mut SqliteConnection, rotation: &Rotation) -> Done {
    let query = sqlx::query(
        "INSERT INTO upstream_rotation (id, upstream_id, state, old_key, new_key, account_name, started_at, changed_at, \
         message) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET state = excluded.state, \
         new_key = excluded.new_key, changed_at = excluded.changed_at, message = excluded.message",
    );
    let query = query.bind(&rotation.id).bind(&rotation.upstream).bind(rotation.state.word()).bind(&rotation.old_key);
    let query = query.bind(&rotation.new_key).bind(&rotation.account_name).bind(rotation.started_at);
    one(query.bind(rotation.changed_at).bind(&rotation.message).execute(connection).await)
}

/// Reads all of it.
pub(super) async fn load(connection: &mut SqliteConnection) -> Result<UpstreamRecords, StoreError> {
    let mut records = UpstreamRecords::default();
    for row in sqlx::query("SELECT * FROM upstream").fetch_all(&mut *connection).await.map_err(refused)? {
        let upstream = upstream(&row)?;
        records.upstreams.insert(upstream.id.clone(), upstream);
    }
    for row in sqlx::query("SELECT * FROM upstream_key").fetch_all(&mut *connection).await.map_err(refused)? {
        let key = key(&row)?;
        records.keys.insert(key.id.clone(), key);
    }
    for row in sqlx::query("SELECT * FROM upstream_policy").fetch_all(&mut *connection).await.map_err(refused)? {
        let project = ProjectId::new(text(&row, "project_id")?);
        let (is_weighted, members) = (column(&row, "is_weighted")?, parse(&text(&row, "members")?)?);
        records.policies.insert(project.clone(), UpstreamPolicy { project, is_weighted, members });
    }
    for row in sqlx::query("SELECT * FROM upstream_rotation").fetch_all(&mut *connection).await.map_err(refused)? {
        let rotation = rotation(&row)?;
        records.rotations.insert(rotation.id.clone(), rotation);
    }
    Ok(records)
}

/// A secret in columns whose names begin so.
fn material(row: &SqliteRow, prefix: &str) -> Result<Material, StoreError> {
    let name = |column: &str| format!("{prefix}{column}");
    if let Some(source) = column::<Option<String>>(row, &name("source"))? {
        return Ok(Material::Source(source));
    }
    let sealed = Enclosed {
        data_key_id: text(row, &name("data_key_id"))?,
        version: column(row, &name("version"))?,
        bytes: column(row, &name("bytes"))?,
    };
    Ok(Material::Sealed { sealed, redacted: text(row, &name("redacted"))? })
}

fn upstream(row: &SqliteRow) -> Result<Upstream, StoreError> {
    let administration = match column::<Option<String>>(row, "admin_project")? {
        Some(project) => Some(Administration { project, key: material(row, "admin_")? }),
        None => None,
    };
    Ok(Upstream {
        id: text(row, "id")?,
        name: text(row, "name")?,
        url: text(row, "url")?,
        organization: column(row, "organization")?,
        project: column(row, "project")?,
        is_enabled: column(row, "is_enabled")?,
        administration,
        rotate_every_days: column(row, "rotate_every_days")?,
        created_at: column(row, "created_at")?,
    })
}

fn key(row: &SqliteRow) -> Result<UpstreamKey, StoreError> {
    Ok(UpstreamKey {
        id: text(row, "id")?,
        upstream: text(row, "upstream_id")?,
        name: text(row, "name")?,
        material: material(row, "")?,
        state: known_word("state of an upstream key", &text(row, "state")?, UpstreamKeyState::from_word)?,
        service_account: column(row, "service_account")?,
        upstream_key_id: column(row, "upstream_key_id")?,
        created_at: column(row, "created_at")?,
    })
}

fn rotation(row: &SqliteRow) -> Result<Rotation, StoreError> {
    Ok(Rotation {
        id: text(row, "id")?,
        upstream: text(row, "upstream_id")?,
        state: known_word("state of a rotation", &text(row, "state")?, RotationState::from_word)?,
        old_key: text(row, "old_key")?,
        new_key: column(row, "new_key")?,
        account_name: text(row, "account_name")?,
        started_at: column(row, "started_at")?,
        changed_at: column(row, "changed_at")?,
        message: column(row, "message")?,
    })
}
