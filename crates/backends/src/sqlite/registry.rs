//! Projects, service accounts and keys; every act.

use async_trait::async_trait;
use ledger::Estimate;
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite as Driver, SqliteConnection};
use store::{
    Act, AuditFilter, AuditPage, Organization, OrganizationId, PriceOverride, Project, ProjectId, RecordedAct, Records,
    Registry, ServiceAccount, ServiceAccountId, StoreError,
};

use super::series::Known;
use super::{
    Sqlite, alerts, audit, findings, incidents, keys, limits, outbox, refused, settings, settling, upstreams, usage,
};

pub(super) type Done = Result<(), StoreError>;

#[async_trait]
impl Registry for Sqlite {
    async fn commit(&self, recorded: &RecordedAct) -> Done {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(refused)?;
        let now = recorded.events().iter().map(|event| event.effective_at).max().unwrap_or_default();
        perform(&mut transaction, recorded.act(), now).await?;
        for event in recorded.events() {
            audit::insert(&mut transaction, event).await?;
        }
        transaction.commit().await.map_err(refused)
    }

    async fn load(&self) -> Result<Option<Records>, StoreError> {
        // One transaction: a snapshot of all tables at the same moment.
        let mut read = self.readers.begin().await.map_err(refused)?;
        let organization =
            sqlx::query("SELECT * FROM organization").fetch_optional(&mut *read).await.map_err(refused)?;
        let Some(organization) = organization else { return Ok(None) };
        let projects = sqlx::query("SELECT * FROM project").fetch_all(&mut *read).await.map_err(refused)?;
        let accounts = sqlx::query("SELECT * FROM service_account").fetch_all(&mut *read).await.map_err(refused)?;
        Ok(Some(Records {
            organization: Organization {
                id: OrganizationId::new(text(&organization, "id")?),
                name: text(&organization, "name")?,
                created_at: column(&organization, "created_at")?,
                key_policy: parse(&text(&organization, "key_policy")?)?,
            },
            projects: projects.iter().map(project).collect::<Result<_, _>>()?,
            service_accounts: accounts.iter().map(service_account).collect::<Result<_, _>>()?,
            keys: keys::load(&mut read).await?,
            limits: limits::load(&mut read).await?,
            alerts: alerts::load(&mut read).await?,
            webhooks: outbox::load_webhooks(&mut read).await?,
            prices: load_prices(&mut read).await?,
            upstreams: upstreams::load(&mut read).await?,
        }))
    }

    async fn audit_events(&self, filter: &AuditFilter) -> Result<Option<AuditPage>, StoreError> {
        audit::page(&self.readers, filter).await
    }
}

/// Carries out an act, at the time of its events. A variant without its statements does not compile.
async fn perform(connection: &mut SqliteConnection, act: &Act, now: i64) -> Done {
    match act {
        Act::Bootstrap { organization, project, keys } => {
            sqlx::query("INSERT INTO organization (id, name, created_at, key_policy) VALUES (?, ?, ?, ?)")
                .bind(organization.id.as_str())
                .bind(&organization.name)
                .bind(organization.created_at)
                .bind(settings::written(&organization.key_policy)?)
                .execute(&mut *connection)
                .await
                .map_err(refused)?;
            insert_project(connection, project).await?;
            for key in keys {
                keys::insert(connection, key).await?;
            }
            Ok(())
        }
        Act::CreateProject(project) => insert_project(connection, project).await,
        Act::UpdateProject(project) => update_project(connection, project).await,
        Act::CreateServiceAccount(account, key) => {
            insert_service_account(connection, account).await?;
            match key {
                Some(key) => keys::insert(connection, key).await,
                None => Ok(()),
            }
        }
        Act::UpdateServiceAccount(account) => {
            let query = sqlx::query("UPDATE service_account SET name = ?, role = ? WHERE id = ?");
            one(query.bind(&account.name).bind(&account.role).bind(account.id.as_str()).execute(connection).await)
        }
        // Its keys go with it: the table says so.
        Act::DeleteServiceAccount(id) => {
            keys::remember(connection, keys::Gone::OfServiceAccount(id), now).await?;
            one(sqlx::query("DELETE FROM service_account WHERE id = ?").bind(id.as_str()).execute(connection).await)
        }
        Act::CreateKey(key) => keys::insert(connection, key).await,
        Act::DeleteKey(id) => keys::delete(connection, id, now).await,
        Act::UpdateKey(key) => {
            keys::remember(connection, keys::Gone::Replaced(key), now).await?;
            keys::update(connection, key).await
        }
        Act::PutIncident(change) => incidents::put(connection, change, now).await,
        Act::UpdateOrganization(organization) => {
            let query = sqlx::query("UPDATE organization SET name = ?, key_policy = ? WHERE id = ?");
            let query = query.bind(&organization.name).bind(settings::written(&organization.key_policy)?);
            one(query.bind(organization.id.as_str()).execute(connection).await)
        }
        Act::PutLimit(limit) => limits::put(connection, limit).await,
        Act::DeleteLimit(limit) => limits::delete(connection, &limit.id).await,
        Act::PutAlert(alert) => alerts::put(connection, alert, now).await,
        Act::DeleteAlert(alert) => alerts::delete(connection, &alert.id).await,
        Act::CreateWebhook(webhook) => outbox::create_webhook(connection, webhook).await,
        Act::DeleteWebhook(id) => outbox::delete_webhook(connection, id).await,
        Act::PutPrices(prices) => {
            let query = sqlx::query(
                "INSERT INTO price_override (model, toml) VALUES (?, ?) ON CONFLICT DO UPDATE SET toml = excluded.toml",
            );
            one(query.bind(&prices.model).bind(&prices.toml).execute(connection).await)
        }
        Act::LowerEstimate { id, to } => {
            let is_crash = id.starts_with(Estimate::ID_PREFIX);
            let is_lowered = match is_crash {
                true => settling::lower_estimate(connection, id, *to).await?,
                false => usage::lower(connection, &mut Known::default(), id, *to).await?,
            };
            let gone = || StoreError::Conflict("there is no estimate that high".into());
            is_lowered.then_some(()).ok_or_else(gone)
        }
        Act::DeletePrices(model) => {
            one(sqlx::query("DELETE FROM price_override WHERE model = ?").bind(model).execute(connection).await)
        }
        Act::Upstream(act) => upstreams::perform(connection, act).await,
        Act::TriageFinding(said) => {
            findings::triage(connection, &said.finding, &said.triage).await?;
            match &said.project {
                Some(project) => update_project(connection, project).await,
                None => Ok(()),
            }
        }
    }
}

/// Exactly one row was changed, or the act met another state than it was made for.
pub(super) fn one(result: Result<sqlx::sqlite::SqliteQueryResult, sqlx::Error>) -> Done {
    match result.map_err(refused)?.rows_affected() {
        1 => Ok(()),
        _ => Err(StoreError::Conflict("it is not there any more".into())),
    }
}

async fn insert_project(connection: &mut SqliteConnection, project: &Project) -> Done {
    let query = sqlx::query(
        "INSERT INTO project (id, name, created_at, archived_at, is_default, synonyms, external_key_id, residency, money, \
         rates, key_policy, guards) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    );
    let query = query.bind(project.id.as_str()).bind(&project.name).bind(project.created_at).bind(project.archived_at);
    let query = query.bind(project.is_default).bind(json!(project.synonyms).to_string());
    let query = query.bind(&project.external_key_id).bind(&project.residency);
    let query = query.bind(settings::money_text(&project.money)?);
    let query = query.bind(settings::project_rates_text(&project.rates)?);
    let query = query.bind(settings::written(&project.key_policy)?);
    one(query.bind(settings::written(&project.guards)?).execute(connection).await)
}

async fn update_project(connection: &mut SqliteConnection, project: &Project) -> Done {
    let query = sqlx::query(
        "UPDATE project SET name = ?, archived_at = ?, synonyms = ?, external_key_id = ?, residency = ?, money = ?, \
         rates = ?, key_policy = ?, guards = ? WHERE id = ?",
    );
    let query = query.bind(&project.name).bind(project.archived_at).bind(json!(project.synonyms).to_string());
    let query = query.bind(&project.external_key_id).bind(&project.residency);
    let query = query.bind(settings::money_text(&project.money)?).bind(settings::project_rates_text(&project.rates)?);
    let query = query.bind(settings::written(&project.key_policy)?).bind(settings::written(&project.guards)?);
    one(query.bind(project.id.as_str()).execute(connection).await)
}

async fn insert_service_account(connection: &mut SqliteConnection, account: &ServiceAccount) -> Done {
    let query =
        sqlx::query("INSERT INTO service_account (id, project_id, name, role, created_at) VALUES (?, ?, ?, ?, ?)");
    let query = query.bind(account.id.as_str()).bind(account.project.as_str()).bind(&account.name);
    one(query.bind(&account.role).bind(account.created_at).execute(connection).await)
}

async fn load_prices(connection: &mut SqliteConnection) -> Result<Vec<PriceOverride>, StoreError> {
    let rows = sqlx::query("SELECT * FROM price_override ORDER BY model").fetch_all(connection).await;
    let prices = |row: &SqliteRow| Ok(PriceOverride { model: text(row, "model")?, toml: text(row, "toml")? });
    rows.map_err(refused)?.iter().map(prices).collect()
}

pub(super) fn column<'r, T: sqlx::Decode<'r, Driver> + sqlx::Type<Driver>>(
    row: &'r SqliteRow,
    name: &str,
) -> Result<T, StoreError> {
    row.try_get(name).map_err(refused)
}

pub(super) fn text(row: &SqliteRow, name: &str) -> Result<String, StoreError> {
    column(row, name)
}

pub(super) fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn project(row: &SqliteRow) -> Result<Project, StoreError> {
    Ok(Project {
        id: ProjectId::new(text(row, "id")?),
        name: text(row, "name")?,
        created_at: column(row, "created_at")?,
        archived_at: column(row, "archived_at")?,
        is_default: column(row, "is_default")?,
        synonyms: parse(&text(row, "synonyms")?)?,
        external_key_id: column(row, "external_key_id")?,
        residency: column(row, "residency")?,
        money: settings::money(&text(row, "money")?)?,
        rates: settings::project_rates(&text(row, "rates")?)?,
        key_policy: parse(&text(row, "key_policy")?)?,
        guards: parse(&text(row, "guards")?)?,
    })
}

fn service_account(row: &SqliteRow) -> Result<ServiceAccount, StoreError> {
    Ok(ServiceAccount {
        id: ServiceAccountId::new(text(row, "id")?),
        project: ProjectId::new(text(row, "project_id")?),
        name: text(row, "name")?,
        role: text(row, "role")?,
        created_at: column(row, "created_at")?,
    })
}
