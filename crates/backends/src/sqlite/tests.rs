use store::{Registry, conformance};

use super::*;

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
