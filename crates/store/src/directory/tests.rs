use keys::{Kind, Pepper};

use super::sharded::SHARDS;
use super::*;
use crate::records::OrganizationId;

fn key(number: usize, project: &str) -> Key {
    Key {
        id: KeyId::new(format!("key_{number}")),
        kind: Kind::Project,
        project: Some(ProjectId::new(project)),
        service_account: None,
        name: "a key".into(),
        digest: Pepper::new(&[1; 32]).digest(&number.to_string()),
        redacted: "sp-proj_****".into(),
        created_at: 1,
        secret_created_at: 1,
        created_by: None,
        expires_at: None,
        former: None,
        rates: rates::Limits::NONE,
        bounds: Default::default(),
        browser_use: Default::default(),
        suspension: None,
        rotation: None,
        undelivered: None,
        is_decoy: false,
    }
}

fn project(id: &str) -> Project {
    Project {
        id: ProjectId::new(id),
        name: "a project".into(),
        created_at: 1,
        archived_at: None,
        is_default: false,
        synonyms: Vec::new(),
        external_key_id: None,
        residency: None,
        money: crate::money::MoneySettings::default(),
        rates: crate::money::ProjectRates::default(),
        key_policy: Default::default(),
        guards: Default::default(),
    }
}

fn directory(keys: usize) -> Directory {
    let organization = Organization {
        id: OrganizationId::new("org-1"),
        name: "o".into(),
        created_at: 1,
        key_policy: Default::default(),
    };
    let keys = (0..keys).map(|number| key(number, "proj_1")).collect();
    Directory::new(Records {
        organization,
        projects: vec![project("proj_1")],
        service_accounts: Vec::new(),
        keys,
        limits: Vec::new(),
        alerts: Vec::new(),
        webhooks: Vec::new(),
        prices: Vec::new(),
        upstreams: Default::default(),
    })
}

#[test]
fn every_key_of_many_is_found_and_a_change_copies_one_shard() {
    let directory = directory(20_000);
    let before = Arc::clone(&directory.snapshot());
    assert!((0..20_000).all(|number| before.key(&key(number, "proj_1").digest).is_some()));
    directory.apply(&Act::DeleteKey(KeyId::new("key_7")));
    let after = Arc::clone(&directory.snapshot());
    assert!(after.key(&key(7, "proj_1").digest).is_none() && before.key(&key(7, "proj_1").digest).is_some());
    let same = before.keys.shards.iter().zip(&after.keys.shards).filter(|(one, two)| Arc::ptr_eq(one, two)).count();
    assert_eq!(same, SHARDS - 1);
}

#[tokio::test]
async fn who_waits_is_woken_and_who_comes_late_does_not_wait() {
    let directory = Arc::new(directory(1));
    let entry = Arc::clone(directory.snapshot().key_by_id(&KeyId::new("key_0")).expect("there"));
    let waiting = tokio::spawn({
        let entry = Arc::clone(&entry);
        async move { entry.revocation.revoked().await }
    });
    tokio::task::yield_now().await;
    assert!(!entry.revocation.is_revoked());
    directory.apply(&Act::DeleteKey(KeyId::new("key_0")));
    waiting.await.expect("woken");
    entry.revocation.revoked().await;
}

#[test]
fn archiving_trips_the_project_s_keys_and_no_other() {
    let directory = directory(2);
    directory.apply(&Act::CreateProject(project("proj_2")));
    directory.apply(&Act::CreateKey(key(9, "proj_2")));
    let entry = |id: &str| Arc::clone(directory.snapshot().key_by_id(&KeyId::new(id)).expect("there"));
    let (archived, other) = (entry("key_9"), entry("key_0"));
    directory.apply(&Act::UpdateProject(Project { archived_at: Some(2), ..project("proj_2") }));
    assert_eq!((archived.revocation.is_revoked(), other.revocation.is_revoked()), (true, false));
    // Who comes later is told of the archive, not of a revocation: as after a restart.
    assert!(!entry("key_9").revocation.is_revoked());
    assert!(directory.snapshot().project(&ProjectId::new("proj_2")).is_some_and(|project| project.is_archived()));
    assert_eq!(directory.snapshot().project_count(), 2);
}

fn all() -> Span<'static> {
    Span { after: None, limit: usize::MAX, is_newest_first: false }
}

fn ids(page: Option<Page<KeyEntry>>) -> (Vec<String>, bool) {
    let page = page.expect("a page");
    (page.items.iter().map(|entry| entry.key.id.to_string()).collect(), page.has_more)
}

#[test]
fn pages_of_a_list_join_though_what_was_shown_is_deleted() {
    let directory = directory(0);
    for number in 0..25 {
        directory.apply(&Act::CreateKey(Key { created_at: 100 - number / 3, ..key(number as usize, "proj_1") }));
    }
    let project = ProjectId::new("proj_1");
    let expected = ids(directory.keys_of(Some(&project), all())).0;
    let (mut seen, mut after) = (Vec::new(), None::<String>);
    loop {
        let span = Span { after: after.as_deref(), limit: 4, is_newest_first: false };
        let (page, has_more) = ids(directory.keys_of(Some(&project), span));
        page.iter().for_each(|id| directory.apply(&Act::DeleteKey(KeyId::new(id.clone()))));
        after = page.last().cloned();
        seen.extend(page);
        if !has_more {
            break;
        }
    }
    assert_eq!((seen.len(), &seen), (25, &expected));
    assert!(ids(directory.keys_of(Some(&project), all())).0.is_empty());
}

#[test]
fn a_list_has_its_own_objects_in_both_directions() {
    let directory = directory(5);
    directory.apply(&Act::CreateKey(key(7, "proj_2")));
    directory.apply(&Act::CreateKey(Key { project: None, kind: Kind::Admin, ..key(8, "proj_1") }));
    let project = ProjectId::new("proj_1");
    let newest = Span { after: Some("key_3"), limit: 2, is_newest_first: true };
    assert_eq!(ids(directory.keys_of(Some(&project), newest)), (vec!["key_2".into(), "key_1".into()], true));
    assert_eq!(ids(directory.keys_of(None, all())), (vec!["key_8".into()], false));
    let exact = Span { limit: 5, ..all() };
    assert!(!directory.keys_of(Some(&project), exact).expect("a page").has_more);
    for stranger in ["key_7", "key_8", "nobody"] {
        assert!(directory.keys_of(Some(&project), Span { after: Some(stranger), ..all() }).is_none(), "{stranger}");
    }
}

#[test]
fn archived_projects_and_released_synonyms_leave_their_lists() {
    let directory = directory(0);
    let with = |synonyms: &[&str]| Project {
        synonyms: synonyms.iter().map(|id| (*id).to_owned()).collect(),
        ..project("proj_2")
    };
    directory.apply(&Act::CreateProject(with(&["proj_real", "org-real"])));
    assert_eq!(directory.claimed_by("proj_real"), Some(ProjectId::new("proj_2")));
    assert_eq!(directory.claimed_by("org-real"), None, "an organization's id may be many projects' synonym");
    directory.apply(&Act::UpdateProject(with(&[])));
    assert_eq!(directory.claimed_by("proj_real"), None);
    directory.apply(&Act::UpdateProject(with(&["proj_real"])));
    directory.apply(&Act::UpdateProject(Project { archived_at: Some(9), ..with(&["proj_real"]) }));
    assert_eq!(directory.claimed_by("proj_real"), None, "an archived project lets go");
    let count = |with_archived| directory.projects(with_archived, all()).expect("a page").items.len();
    assert_eq!((count(false), count(true)), (1, 2));
    // A list that archives as it goes can go on behind what it archived.
    assert!(directory.projects(false, Span { after: Some("proj_2"), ..all() }).is_some());
}

#[test]
fn a_deleted_service_account_takes_its_keys_and_no_other() {
    let directory = directory(1);
    let account = |id: &str| ServiceAccount {
        id: ServiceAccountId::new(id),
        project: ProjectId::new("proj_1"),
        name: "robot".into(),
        role: "member".into(),
        created_at: 1,
    };
    let of = |number, id: &str| Key { service_account: Some(ServiceAccountId::new(id)), ..key(number, "proj_1") };
    directory.apply(&Act::CreateServiceAccount(account("svc_acct_1"), Some(of(10, "svc_acct_1"))));
    directory.apply(&Act::CreateServiceAccount(account("svc_acct_2"), Some(of(11, "svc_acct_2"))));
    directory.apply(&Act::CreateKey(of(12, "svc_acct_1")));
    let doomed = directory.keys_of_service_account(&ServiceAccountId::new("svc_acct_1"));
    assert_eq!(doomed.len(), 2);
    directory.apply(&Act::DeleteServiceAccount(ServiceAccountId::new("svc_acct_1")));
    assert!(doomed.iter().all(|entry| entry.revocation.is_revoked()));
    let left = ids(directory.keys_of(Some(&ProjectId::new("proj_1")), all())).0;
    assert_eq!(left, ["key_0", "key_11"]);
    let accounts = directory.service_accounts_of(&ProjectId::new("proj_1"), all()).expect("a page").items;
    assert_eq!(accounts.len(), 1);
}

fn digest(secret: &str) -> keys::Digest {
    Pepper::new(&[1; 32]).digest(secret)
}

/// Key 0 after a rotation to the secret `to`, with the secret before valid until `until`.
fn rotated(before: &Key, to: &str, until: Option<i64>) -> Key {
    let former =
        until.map(|expires_at| crate::FormerSecret { digest: before.digest, redacted: String::new(), expires_at });
    Key { digest: digest(to), former, ..before.clone() }
}

#[test]
fn a_rotation_keeps_both_secrets_and_the_next_trips_the_oldest() {
    let directory = directory(1);
    let entry = |digest: &keys::Digest| directory.snapshot().key(digest).cloned();
    let first = key(0, "proj_1");
    let running = entry(&first.digest).expect("there");
    let second = rotated(&first, "second", Some(100));
    directory.apply(&Act::UpdateKey(second.clone()));
    assert!(!running.revocation.is_revoked(), "what runs on the former secret goes on");
    let former = entry(&first.digest).expect("both are valid");
    assert_eq!((former.expires_at, former.key.id.as_str()), (Some(100), "key_0"));
    assert!(Arc::ptr_eq(&former.revocation, &running.revocation), "and is cut with it");
    assert_eq!(directory.snapshot().key_by_id(&KeyId::new("key_0")).expect("there").digest, second.digest);
    assert_eq!(directory.snapshot().keys().count(), 1, "one key, however many secrets");
    let third = rotated(&second, "third", Some(200));
    directory.apply(&Act::UpdateKey(third));
    assert!(running.revocation.is_revoked() && entry(&first.digest).is_none(), "at most two secrets");
    assert!(entry(&second.digest).is_some_and(|entry| !entry.revocation.is_revoked()));
    directory.apply(&Act::DeleteKey(KeyId::new("key_0")));
    assert!(entry(&second.digest).is_none() && entry(&digest("third")).is_none());
}

#[test]
fn a_rotation_without_overlap_trips_at_once() {
    let directory = directory(1);
    let running = directory.snapshot().key(&key(0, "proj_1").digest).cloned().expect("there");
    directory.apply(&Act::UpdateKey(rotated(&key(0, "proj_1"), "second", None)));
    assert!(running.revocation.is_revoked() && directory.snapshot().key(&running.digest).is_none());
}

#[test]
fn a_suspension_trips_and_a_resumption_begins_anew() {
    let directory = directory(1);
    let entry = || directory.snapshot().key_by_id(&KeyId::new("key_0")).cloned().expect("there");
    let running = entry();
    let suspension = Some(crate::Suspension { at: 5, reason: "on a slide".into() });
    directory.apply(&Act::UpdateKey(Key { suspension, ..key(0, "proj_1") }));
    assert!(running.revocation.is_revoked() && entry().key.suspension.is_some());
    directory.apply(&Act::UpdateKey(key(0, "proj_1")));
    assert!(!entry().revocation.is_revoked() && entry().key.suspension.is_none());
    let limited = Key { name: "renamed".into(), ..key(0, "proj_1") };
    let running = entry();
    running.note_use(7);
    directory.apply(&Act::UpdateKey(limited));
    assert!(!running.revocation.is_revoked() && Arc::ptr_eq(&running.revocation, &entry().revocation));
    assert_eq!(entry().used_at(), Some(7), "a change of the record is no change of its use");
}

#[test]
fn secrets_expire_when_their_time_comes_and_not_when_it_was_moved() {
    let directory = directory(2);
    let entry = |id: &str| directory.snapshot().key_by_id(&KeyId::new(id)).cloned().expect("there");
    directory.apply(&Act::UpdateKey(Key { expires_at: Some(50), ..key(0, "proj_1") }));
    directory.apply(&Act::UpdateKey(Key { expires_at: Some(50), ..key(1, "proj_1") }));
    directory.apply(&Act::UpdateKey(Key { expires_at: Some(90), ..key(1, "proj_1") }));
    let (first, moved) = (entry("key_0"), entry("key_1"));
    assert_eq!(directory.expire(49), 0);
    assert_eq!(directory.expire(50), 1);
    assert!(first.revocation.is_revoked() && !moved.revocation.is_revoked());
    assert_eq!((directory.expire(50), directory.expire(89), directory.expire(200)), (0, 0, 1));
    // One that gets another time is in force again.
    directory.apply(&Act::UpdateKey(Key { expires_at: Some(500), ..key(0, "proj_1") }));
    assert!(!entry("key_0").revocation.is_revoked());
    assert_eq!(directory.expire(500), 1);
}
