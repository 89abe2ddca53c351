//! Calls that write at the same time, and a store that fails.

use tokio::task::JoinSet;

use super::*;

/// What the store holds and what is in force, to be compared.
pub(super) async fn both(world: &World) -> (Records, Records) {
    let snapshot = world.console.snapshot();
    let mut held = Records {
        organization: snapshot.organization.clone(),
        projects: snapshot.projects().map(|project| (**project).clone()).collect(),
        service_accounts: snapshot.service_accounts().map(|account| (**account).clone()).collect(),
        keys: snapshot.keys().map(|entry| entry.key.clone()).collect(),
        limits: Vec::new(),
        alerts: snapshot.alerts.values().cloned().collect(),
        webhooks: snapshot.webhooks.values().cloned().collect(),
        prices: snapshot.prices.values().cloned().collect(),
        upstreams: (*snapshot.upstreams).clone(),
    };
    let mut loaded = world.console.registry.load().await.expect("readable").expect("there");
    for records in [&mut held, &mut loaded] {
        records.projects.sort_by(|one, two| one.id.cmp(&two.id));
        records.service_accounts.sort_by(|one, two| one.id.cmp(&two.id));
        records.keys.sort_by(|one, two| one.id.cmp(&two.id));
    }
    (held, loaded)
}

#[tokio::test]
async fn a_rename_never_undoes_an_archive() {
    let world = world().await;
    for number in 0..20 {
        let made = world.ok("POST", "/projects", json!({"name": "P"})).await;
        let path = format!("/projects/{}", made["id"].as_str().expect("an id"));
        let archive_path = format!("{path}/archive");
        let archive = world.call("POST", &archive_path, Value::Null);
        let rename = world.call("POST", &path, json!({"name": "Q"}));
        let archived = if number % 2 == 0 { tokio::join!(archive, rename).0 } else { tokio::join!(rename, archive).1 };
        assert_eq!(archived.expect("archived")["status"], "archived");
        assert_eq!(world.ok("GET", &path, Value::Null).await["status"], "archived");
    }
    let (held, loaded) = both(&world).await;
    assert_eq!(held, loaded);
}

#[tokio::test]
async fn the_last_two_admin_keys_cannot_delete_each_other() {
    let world = world().await;
    let second = world.ok("POST", "/admin_api_keys", json!({"name": "second"})).await;
    let digest = world.console.pepper.digest(second["value"].as_str().expect("a secret"));
    let other = Arc::clone(world.console.snapshot().key(&digest).expect("in force"));
    let (own, others) =
        (format!("/admin_api_keys/{}", world.caller.key.id), format!("/admin_api_keys/{}", other.key.id));
    let deletions = (world.call("DELETE", &own, Value::Null), world.call_as(&other, "DELETE", &others, Value::Null));
    let (first, second) = tokio::join!(deletions.0, deletions.1);
    assert!(first.is_ok() && second.is_err_and(|refusal| refusal.message.contains("last admin key")));
    assert_eq!(world.console.snapshot().keys().filter(|entry| entry.key.kind == Kind::Admin).count(), 1);
}

#[tokio::test]
async fn who_is_revoked_while_waiting_changes_nothing() {
    let world = world().await;
    let second = world.ok("POST", "/admin_api_keys", json!({"name": "second"})).await;
    let digest = world.console.pepper.digest(second["value"].as_str().expect("a secret"));
    let other = Arc::clone(world.console.snapshot().key(&digest).expect("in force"));
    let path = format!("/admin_api_keys/{}", other.key.id);
    let (deleted, refused) = tokio::join!(
        world.call("DELETE", &path, Value::Null),
        world.call_as(&other, "POST", "/admin_api_keys", json!({"name": "third"})),
    );
    deleted.expect("deleted");
    assert_eq!(refused.expect_err("revoked").status(), 401);
    assert_eq!(ids(&world.ok("GET", "/admin_api_keys", Value::Null).await).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_in_force_is_what_is_stored_after_a_storm() {
    let world = Arc::new(world().await);
    let accounts = format!("/projects/{}/service_accounts", world.project);
    let keys = format!("/projects/{}/api_keys", world.project);
    let mut storm = JoinSet::new();
    for number in 0..24 {
        let (world, accounts, keys) = (Arc::clone(&world), accounts.clone(), keys.clone());
        storm.spawn(async move {
            let account = world.ok("POST", &accounts, json!({"name": format!("robot {number}")})).await;
            let path = format!("{accounts}/{}", account["id"].as_str().expect("an id"));
            let key_path = format!("{path}/api_keys");
            let (made, deleted, renamed, other) = tokio::join!(
                world.call("POST", &key_path, json!({"name": "late"})),
                world.call("DELETE", &path, Value::Null),
                world.call("POST", &path, json!({"name": "late"})),
                world.call("POST", &keys, json!({"name": "other"})),
            );
            deleted.expect("deleted");
            assert!(renamed.is_ok() || renamed.is_err_and(|refusal| refusal.status() == 404));
            // Whether the key came before the deletion or after it: it opens nothing.
            let secrets = [made.ok().map(|key| key["value"].clone()), Some(account["api_key"]["value"].clone())];
            for secret in secrets.iter().flatten() {
                assert!(!world.opens(secret.as_str().expect("a secret")));
            }
            let other = other.expect("made");
            let other_path = format!("{keys}/{}", other["id"].as_str().expect("an id"));
            assert!(world.opens(other["value"].as_str().expect("a secret")));
            world.ok("DELETE", &other_path, Value::Null).await;
            assert!(!world.opens(other["value"].as_str().expect("a secret")), "revoked when the call returns");
        });
    }
    while let Some(done) = storm.join_next().await {
        done.expect("no refusal");
    }
    let (held, loaded) = both(&world).await;
    assert_eq!(held, loaded);
    assert_eq!((held.keys.len(), held.service_accounts.len()), (2, 0));
}

#[tokio::test]
async fn what_the_store_refuses_changes_nothing() {
    let world = world().await;
    let project = world.ok("POST", "/projects", json!({"name": "P"})).await;
    let project = format!("/projects/{}", project["id"].as_str().expect("an id"));
    let key = world.ok("POST", &format!("{project}/api_keys"), json!({"name": "k"})).await;
    let account = world.ok("POST", &format!("{project}/service_accounts"), json!({"name": "robot"})).await;
    let second = world.ok("POST", "/admin_api_keys", json!({"name": "second"})).await;
    let id = |made: &Value| made["id"].as_str().expect("an id").to_owned();
    let account_path = format!("{project}/service_accounts/{}", id(&account));
    let before = both(&world).await;
    let log = world.ok("GET", "/audit_logs", Value::Null).await;
    world.store.is_down.store(true, SeqCst);
    for (method, path) in [
        ("POST", "/projects".to_owned()),
        ("POST", project.clone()),
        ("POST", format!("{project}/archive")),
        ("POST", format!("{project}/api_keys")),
        ("DELETE", format!("{project}/api_keys/{}", id(&key))),
        ("POST", format!("{project}/service_accounts")),
        ("POST", account_path.clone()),
        ("POST", format!("{account_path}/api_keys")),
        ("DELETE", account_path.clone()),
        ("POST", "/admin_api_keys".to_owned()),
        ("DELETE", format!("/admin_api_keys/{}", id(&second))),
    ] {
        let refusal = world.refused(method, &path, json!({"name": "x"})).await;
        assert_eq!(refusal.status(), 503, "{method} {path}: {refusal}");
        assert_eq!(both(&world).await, before, "{method} {path}");
    }
    assert!(world.opens(key["value"].as_str().expect("a secret")));
    assert_eq!(world.ok("GET", "/audit_logs", Value::Null).await, log);
    world.store.is_down.store(false, SeqCst);
    world.ok("DELETE", &account_path, Value::Null).await;
}
