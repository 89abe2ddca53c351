use serde_json::json;
use store::{Act, Actor, AuditEvent, AuditFilter, Owners, ProjectId, RecordedAct, Registry, conformance};

use super::*;

mod journal;
mod money;

async fn fresh() -> (tempfile::TempDir, Sqlite) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Sqlite::open(folder.path()).await.expect("opens");
    (folder, store)
}

macro_rules! conforms {
    ($($name:ident),+ $(,)?) => {$(
        #[tokio::test]
        async fn $name() {
            let (_folder, store) = fresh().await;
            conformance::$name(&store).await;
        }
    )+};
}

conforms!(
    acts_are_stored_and_the_directory_agrees,
    an_act_and_its_event_are_one,
    audit_events_are_filtered_and_paged,
    the_first_owner_stays,
    sealed_values_are_kept_once,
    what_is_under_the_master_key_is_rewrapped_as_one,
    a_notice_goes_once_to_each_channel,
    a_delivery_ends_delivered_or_dead,
    findings_are_counted_and_paged,
    a_finding_is_triaged_with_its_project,
    uses_are_added_and_never_go_back,
    an_incident_is_one_act,
    incidents_are_listed_and_closed,
    secrets_are_known_after_their_end,
);

#[tokio::test]
async fn a_folder_serves_one_process_and_opens_again() {
    let (folder, store) = fresh().await;
    assert!(store.is_new());
    let error = Sqlite::open(folder.path()).await.expect_err("in use");
    assert!(error.to_string().contains("stop it first"), "{error}");
    store.close().await;
    drop(store);
    let again = Sqlite::open(folder.path()).await.expect("opens again");
    assert!(!again.is_new());
}

#[tokio::test]
async fn files_are_for_their_owner_alone() {
    let (folder, store) = fresh().await;
    conformance::sealed_values_are_kept_once(&store).await;
    for entry in std::fs::read_dir(folder.path()).expect("a folder") {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
    }
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    let (folder, store) = fresh().await;
    sqlx::raw_sql("PRAGMA user_version = 999").execute(&store.writer).await.expect("set");
    store.close().await;
    drop(store);
    let error = Sqlite::open(folder.path()).await.expect_err("newer");
    assert!(matches!(error, OpenError::Newer { found: 999, .. }), "{error}");
}

#[tokio::test]
async fn a_broken_database_says_so() {
    let (_folder, store) = fresh().await;
    conformance::an_act_and_its_event_are_one(&store).await;
    sqlx::raw_sql("UPDATE api_key SET kind = 'nonsense'").execute(&store.writer).await.expect("set");
    assert!(matches!(store.load().await, Err(StoreError::Corrupt(_))));
}

/// A new project with its event; `name` says how large the write is.
fn creation(number: usize, name: String) -> RecordedAct {
    let project = store::Project {
        id: ProjectId::new(format!("proj_{number}")),
        name,
        created_at: 1,
        archived_at: None,
        is_default: false,
        synonyms: Vec::new(),
        external_key_id: None,
        residency: None,
        money: store::MoneySettings::default(),
        rates: store::ProjectRates::default(),
        key_policy: Default::default(),
        guards: Default::default(),
    };
    let event = AuditEvent {
        id: format!("audit_log-new-{number}"),
        kind: "project.created",
        effective_at: 1,
        actor: Actor::Local,
        project: Some(project.id.clone()),
        payload: json!({"id": project.id.as_str()}),
    };
    RecordedAct::new(Act::CreateProject(project), vec![event]).expect("recorded")
}

async fn projects(store: &Sqlite) -> usize {
    store.load().await.expect("readable").expect("there").projects.len()
}

#[tokio::test]
async fn a_full_disk_is_said_and_leaves_nothing_half_done() {
    let (_folder, store) = fresh().await;
    conformance::an_act_and_its_event_are_one(&store).await;
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&store.writer).await.expect("counted");
    let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
    sqlx::raw_sql(limit).execute(&store.writer).await.expect("set");
    let before = projects(&store).await;
    let error = store.commit(&creation(1, "x".repeat(100_000))).await.expect_err("no room");
    assert!(matches!(&error, StoreError::Unavailable(cause) if cause.contains("full")), "{error}");
    assert_eq!(projects(&store).await, before);
    sqlx::raw_sql("PRAGMA max_page_count = 1000000").execute(&store.writer).await.expect("set");
    store.commit(&creation(1, "x".repeat(100_000))).await.expect("goes on once there is room");
    assert_eq!(projects(&store).await, before + 1);
}

#[tokio::test]
async fn a_read_only_database_is_said() {
    let (_folder, store) = fresh().await;
    conformance::an_act_and_its_event_are_one(&store).await;
    sqlx::raw_sql("PRAGMA query_only = ON").execute(&store.writer).await.expect("set");
    let error = store.commit(&creation(1, "x".into())).await.expect_err("read-only");
    assert!(matches!(&error, StoreError::Unavailable(cause) if cause.contains("readonly")), "{error}");
    let owner =
        store::ObjectOwner { object_id: "f".into(), project: ProjectId::new("p"), family: "files".into(), sent: None };
    assert!(matches!(store.record(&[owner]).await, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn another_program_s_lock_is_said_and_passes() {
    let (folder, store) = fresh().await;
    conformance::an_act_and_its_event_are_one(&store).await;
    sqlx::raw_sql("PRAGMA busy_timeout = 20").execute(&store.writer).await.expect("set");
    let options = SqliteConnectOptions::new().filename(folder.path().join(DATABASE_FILE));
    let mut other = sqlx::SqliteConnection::connect_with(&options).await.expect("opens");
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.expect("locked");
    let error = store.commit(&creation(1, "x".into())).await.expect_err("locked");
    assert!(matches!(&error, StoreError::Unavailable(cause) if cause.contains("locked")), "{error}");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.expect("unlocked");
    store.commit(&creation(1, "x".into())).await.expect("goes on");
}

#[tokio::test]
async fn commits_at_the_same_time_are_all_done() {
    let (_folder, store) = fresh().await;
    conformance::an_act_and_its_event_are_one(&store).await;
    let store = std::sync::Arc::new(store);
    let before = projects(&store).await;
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let store = std::sync::Arc::clone(&store);
            tokio::spawn(async move { store.commit(&creation(number, "x".into())).await })
        })
        .collect();
    for task in tasks {
        task.await.expect("ran").expect("committed");
    }
    assert_eq!(projects(&store).await, before + 20);
}

#[tokio::test]
async fn an_older_database_is_brought_up_to_date() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = SqliteConnectOptions::new().filename(folder.path().join(DATABASE_FILE)).create_if_missing(true);
    let mut old = sqlx::SqliteConnection::connect_with(&options).await.expect("opens");
    sqlx::raw_sql(MIGRATIONS[0]).execute(&mut old).await.expect("the first schema");
    let body = json!({"id": "audit_log-1", "type": "project.created", "project.created": {"id": "proj_old"}});
    sqlx::query(
        "INSERT INTO audit_event (id, kind, effective_at, body) VALUES ('audit_log-1', 'project.created', 1, ?)",
    )
    .bind(body.to_string())
    .execute(&mut old)
    .await
    .expect("an event");
    sqlx::raw_sql("INSERT INTO object_owner VALUES ('file-old', 'proj_old', 'files'); PRAGMA user_version = 1")
        .execute(&mut old)
        .await
        .expect("an owner");
    old.close().await.expect("closed");
    let store = Sqlite::open(folder.path()).await.expect("opens");
    let filter = AuditFilter { resources: vec!["proj_old".into()], limit: 10, ..AuditFilter::default() };
    let found = store.audit_events(&filter).await.expect("readable").expect("no cursor");
    assert_eq!(found.events, [body]);
    assert_eq!(store.owner_of("file-old").await.expect("readable"), Some(ProjectId::new("proj_old")));
}

#[tokio::test]
async fn filters_use_indices() {
    let (_folder, store) = fresh().await;
    for column in ["kind", "project_id", "actor_id", "resource_id"] {
        let sql = format!(
            "EXPLAIN QUERY PLAN SELECT body FROM audit_event WHERE {column} IN ('x') AND sequence < 9 ORDER BY sequence \
             DESC LIMIT 21"
        );
        let plan = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&store.readers).await.expect("a plan");
        let plan: String = plan.iter().map(|row| sqlx::Row::get::<String, _>(row, "detail")).collect();
        assert!(plan.contains("USING INDEX audit_event_") && !plan.contains("TEMP B-TREE"), "{column}: {plan}");
    }
    let sql = "EXPLAIN QUERY PLAN SELECT body FROM audit_event WHERE 1 AND effective_at >= 1 AND effective_at < 9 \
               ORDER BY sequence DESC LIMIT 21";
    let plan = sqlx::query(sql).fetch_one(&store.readers).await.expect("a plan");
    assert!(sqlx::Row::get::<String, _>(&plan, "detail").contains("USING INDEX audit_event_time"));
}
