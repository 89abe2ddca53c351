use backends::sqlite::Sqlite;
use keys::SystemRandom;
use store::SystemClock;

use super::*;

async fn gate(folder: &Path) -> (Sqlite, MasterSource, OrganizationId) {
    let store = Sqlite::open(folder).await.expect("opens");
    let source = MasterSource::File(folder.join(MASTER_KEY_FILE));
    (store, source, OrganizationId::new("org-a"))
}

/// Opens everything, as a start does; ids of the master key and the data key.
async fn start(folder: &Path) -> Result<(String, String)> {
    let (store, source, organization) = gate(folder).await;
    let master = source.open(&store, &SystemRandom).await?;
    pepper(&store, &master, &SystemRandom).await?;
    let data_key = data_key(&store, &organization, &master, &SystemRandom).await?;
    status(&source, &store, &SystemRandom).await?;
    store.close().await;
    Ok((master.id().to_owned(), data_key.id().to_owned()))
}

async fn rewrapped(folder: &Path) -> (String, String) {
    let (store, source, _) = gate(folder).await;
    let ids = rewrap(&source, &NextKey::File, &store, (&SystemClock, &SystemRandom)).await.expect("rewrapped");
    store.close().await;
    ids
}

#[tokio::test]
async fn a_rewrap_changes_the_master_key_and_nothing_under_the_data_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let (master, data_key) = start(folder.path()).await.expect("first start");
    let (old, new) = rewrapped(folder.path()).await;
    assert!(old == master && new != master);
    assert_eq!(start(folder.path()).await.expect("starts"), (new, data_key));
    assert!(!folder.path().join(NEXT_FILE).exists());
    let former = MasterKey::from_present_file(&folder.path().join(FORMER_FILE)).expect("kept for backups");
    assert_eq!(former.id(), old);
}

/// A rewrap is three steps: the new key's file, the transaction, the files' change. It can end after each.
#[tokio::test]
async fn an_interrupted_rewrap_opens_with_the_old_key_or_the_new_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let (master, data_key) = start(folder.path()).await.expect("first start");
    let file = |name: &str| folder.path().join(name);
    // After the new key's file: the old one is the database's.
    let next = MasterKey::from_file(&file(NEXT_FILE), &SystemRandom).expect("made");
    assert_eq!(start(folder.path()).await.expect("starts"), (master.clone(), data_key.clone()));
    assert!(file(NEXT_FILE).exists(), "it is taken up again");
    let before = std::fs::read(file(MASTER_KEY_FILE)).expect("there");
    let (old, new) = rewrapped(folder.path()).await;
    assert_eq!((old, new.as_str()), (master, next.id()));
    // After the transaction: as if the files had not been changed.
    std::fs::rename(file(MASTER_KEY_FILE), file(NEXT_FILE)).expect("ours");
    std::fs::rename(file(FORMER_FILE), file(MASTER_KEY_FILE)).expect("ours");
    assert_eq!(std::fs::read(file(MASTER_KEY_FILE)).expect("there"), before);
    assert_eq!(start(folder.path()).await.expect("starts"), (new.clone(), data_key.clone()));
    // Between the change's own two steps.
    std::fs::copy(file(MASTER_KEY_FILE), file(NEXT_FILE)).expect("ours");
    std::fs::remove_file(file(MASTER_KEY_FILE)).expect("ours");
    assert_eq!(start(folder.path()).await.expect("starts"), (new, data_key));
}

#[tokio::test]
async fn another_master_key_is_refused_and_none_is_made_in_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let (master, _) = start(folder.path()).await.expect("first start");
    std::fs::remove_file(folder.path().join(MASTER_KEY_FILE)).expect("ours");
    assert!(start(folder.path()).await.is_err());
    assert!(!folder.path().join(MASTER_KEY_FILE).exists());
    let (store, _, _) = gate(folder.path()).await;
    let other = MasterSource::Environment(Secret::new("ab".repeat(32)));
    let error = other.open(&store, &SystemRandom).await.expect_err("another one").to_string();
    assert!(error.contains(&master) && error.contains("SALLYPORT_MASTER_KEY"), "{error}");
}

#[tokio::test]
async fn a_command_gives_the_master_key_and_the_next_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let words = |digits: &str| vec!["printf".to_owned(), digits.repeat(32)];
    let store = Sqlite::open(folder.path()).await.expect("opens");
    let source = MasterSource::Command(words("ab"));
    let master = source.open(&store, &SystemRandom).await.expect("printed");
    pepper(&store, &master, &SystemRandom).await.expect("made");
    let next = NextKey::Command(words("cd"));
    let (old, new) = rewrap(&source, &next, &store, (&SystemClock, &SystemRandom)).await.expect("rewrapped");
    assert_eq!(old, master.id());
    assert!(source.open(&store, &SystemRandom).await.is_err(), "the old one opens nothing");
    let source = MasterSource::Command(words("cd"));
    assert_eq!(source.open(&store, &SystemRandom).await.expect("the new one").id(), new);
    let again = rewrap(&source, &next, &store, (&SystemClock, &SystemRandom)).await.expect_err("the same");
    assert!(again.to_string().contains("the one in use"), "{again}");
    let bad = MasterSource::Command(vec!["printf".to_owned(), "not-a-master-key-but-secret".to_owned()]);
    let error = format!("{:#}", bad.open(&store, &SystemRandom).await.expect_err("no key"));
    assert!(error.contains("master_key_command") && !error.contains("but-secret"), "{error}");
}
