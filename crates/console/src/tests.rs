mod guards;
mod holds;
mod incidents;
mod key_life;
mod leaks;
mod limits;
mod prices;
mod rates;
mod reports;
mod rotation;
mod telling;
mod world;
mod writing;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::SeqCst};

use backends::sqlite::Sqlite;
use keys::{Kind, SystemRandom};
use ledger::Patience;
use serde_json::json;
use store::{AuditFilter, AuditPage, KeyId, Records};

use super::*;

use world::*;

#[tokio::test]
async fn a_project_lives_from_creation_to_archive() {
    let world = world().await;
    let made = world.ok("POST", "/projects", json!({"name": "Search", "residency": "EU_STORAGE_PROCESSING"})).await;
    let id = made["id"].as_str().expect("an id").to_owned();
    assert_eq!((made["object"].as_str(), made["status"].as_str()), (Some("organization.project"), Some("active")));
    let renamed = world
        .ok("POST", &format!("/projects/{id}"), json!({"name": "Finder", "sallyport": {"synonyms": ["proj_real"]}}))
        .await;
    assert_eq!((renamed["name"].as_str(), &renamed["sallyport"]["synonyms"]), (Some("Finder"), &json!(["proj_real"])));
    let key = world.ok("POST", &format!("/projects/{id}/api_keys"), json!({"name": "k"})).await;
    let secret = key["value"].as_str().expect("shown once").to_owned();
    let key_id = key["id"].as_str().expect("an id").to_owned();
    assert!(world.opens(&secret));
    let archived = world.ok("POST", &format!("/projects/{id}/archive"), Value::Null).await;
    assert_eq!(archived["status"], "archived");
    assert!(!world.opens(&secret), "an archived project's keys open nothing");
    for (method, path) in [("GET", "service_accounts"), ("POST", "service_accounts"), ("POST", "api_keys")] {
        let refusal = world.refused(method, &format!("/projects/{id}/{path}"), json!({"name": "x"})).await;
        assert_eq!(refusal.status(), 400, "{method} {path}: {refusal}");
    }
    let left = world.ok("GET", &format!("/projects/{id}/api_keys?owner_project_access=inactive"), Value::Null).await;
    assert_eq!((ids(&left), &left["data"][0]["owner_project_access"]), (vec![key_id.as_str()], &json!("inactive")));
    world.ok("DELETE", &format!("/projects/{id}/api_keys/{key_id}"), Value::Null).await;
    assert_eq!(ids(&world.ok("GET", "/projects", Value::Null).await), [world.project.as_str()]);
    assert_eq!(ids(&world.ok("GET", "/projects?include_archived=true", Value::Null).await).len(), 2);
    assert_eq!(world.refused("POST", &format!("/projects/{id}"), json!({"name": "x"})).await.status(), 400);
    assert_eq!(world.refused("POST", &format!("/projects/{}/archive", world.project), Value::Null).await.status(), 400);
}

#[tokio::test]
async fn a_key_is_shown_once_and_deleted_for_good() {
    let world = world().await;
    let path = format!("/projects/{}/api_keys", world.project);
    let made = world.ok("POST", &path, json!({"name": "ci", "expires_in_seconds": 60})).await;
    let (id, secret) = (made["id"].as_str().expect("an id"), made["value"].as_str().expect("a secret"));
    assert_eq!(made["object"], "organization.project.api_key");
    assert!(made["expires_at"].as_i64().is_some_and(|at| at > 1_700_000_059));
    let listed = world.ok("GET", &path, Value::Null).await;
    assert_eq!(listed["data"][1]["id"], id);
    assert!(!listed.to_string().contains(secret) && listed["data"][1].get("value").is_none());
    assert!(world.opens(secret));
    let gone = world.ok("DELETE", &format!("{path}/{id}"), Value::Null).await;
    assert_eq!(gone, json!({"object": "organization.project.api_key.deleted", "id": id, "deleted": true}));
    assert!(!world.opens(secret));
    assert_eq!(world.refused("GET", &format!("{path}/{id}"), Value::Null).await.status(), 404);
}

#[tokio::test]
async fn another_project_s_key_looks_as_if_it_did_not_exist() {
    let world = world().await;
    let other = world.ok("POST", "/projects", json!({"name": "Other"})).await;
    let other = other["id"].as_str().expect("an id");
    let key = world.ok("POST", &format!("/projects/{other}/api_keys"), json!({"name": "k"})).await;
    let wrong = format!("/projects/{}/api_keys/{}", world.project, key["id"].as_str().expect("an id"));
    for method in ["GET", "DELETE"] {
        assert_eq!(world.refused(method, &wrong, Value::Null).await.status(), 404);
    }
    assert!(world.opens(key["value"].as_str().expect("a secret")));
}

#[tokio::test]
async fn a_service_account_takes_its_keys_with_it() {
    let world = world().await;
    let path = format!("/projects/{}/service_accounts", world.project);
    let made = world.ok("POST", &path, json!({"name": "robot"})).await;
    let account = format!("{path}/{}", made["id"].as_str().expect("an id"));
    let first = made["api_key"]["value"].as_str().expect("a secret").to_owned();
    let second = world.ok("POST", &format!("{account}/api_keys"), json!({"name": "second"})).await;
    let second = second["value"].as_str().expect("a secret").to_owned();
    assert!(first.starts_with("sp-svc_") && world.opens(&first) && world.opens(&second));
    let keys = world.ok("GET", &format!("/projects/{}/api_keys", world.project), Value::Null).await;
    assert_eq!(keys["data"][1]["owner"]["service_account"]["name"], "robot");
    assert_eq!(world.ok("POST", &account, json!({"name": "android", "role": "owner"})).await["role"], "owner");
    assert_eq!(world.ok("GET", &account, Value::Null).await["name"], "android");
    let bare = world.ok("POST", &path, json!({"name": "bare", "create_service_account_only": true})).await;
    assert_eq!((bare["role"].as_str(), &bare["api_key"]), (Some("none"), &Value::Null));
    world.ok("DELETE", &account, Value::Null).await;
    assert!(!world.opens(&first) && !world.opens(&second));
    assert_eq!(world.refused("GET", &account, Value::Null).await.status(), 404);
}

#[tokio::test]
async fn the_last_admin_key_stays() {
    let world = world().await;
    let own = format!("/admin_api_keys/{}", world.caller.key.id);
    let short = world.ok("POST", "/admin_api_keys", json!({"name": "short", "expires_in_seconds": 5})).await;
    let refusal = world.refused("DELETE", &own, Value::Null).await;
    assert!(refusal.message.contains("sallyport admin recover"), "{refusal}");
    let second = world.ok("POST", "/admin_api_keys", json!({"name": "second"})).await;
    assert!(second["value"].as_str().is_some_and(|value| value.starts_with("sp-admin_")));
    assert_eq!(world.ok("GET", "/admin_api_keys?order=desc", Value::Null).await["data"][0]["id"], second["id"]);
    world.ok("DELETE", &own, Value::Null).await;
    assert!(!world.opens(&world.secrets[0]));
    assert_eq!(world.refused("GET", &own, Value::Null).await.status(), 404);
    let project_key =
        world.console.snapshot().keys().find(|entry| entry.key.kind == Kind::Project).map(|entry| entry.key.id.clone());
    let project_key = project_key.unwrap_or(KeyId::new("none"));
    assert_eq!(world.refused("GET", &format!("/admin_api_keys/{project_key}"), Value::Null).await.status(), 404);
    assert!(world.ok("GET", &format!("/admin_api_keys/{}", short["id"].as_str().expect("an id")), Value::Null).await["expires_at"].is_i64());
}

#[tokio::test]
async fn lists_are_paged() {
    let world = world().await;
    for number in 0..5 {
        world.ok("POST", "/projects", json!({"name": format!("P{number}")})).await;
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = world.ok("GET", &format!("/projects?limit=2{after}"), Value::Null).await;
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        assert_eq!(
            (page["first_id"].as_str(), page["last_id"].as_str()),
            (ids(&page).first().copied(), ids(&page).last().copied())
        );
        if page["has_more"] == false {
            break;
        }
        after = format!("&after={}", page["last_id"].as_str().expect("an id"));
    }
    assert_eq!(seen.len(), 6);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 6);
    let mut ids_left = seen.clone();
    let (mut shown, mut after) = (0, String::new());
    while !ids_left.is_empty() {
        // A list that archives as it goes sees every project once, though its cursor is no longer in the list.
        let page = world.ok("GET", &format!("/projects?limit=2{after}"), Value::Null).await;
        for id in ids(&page) {
            shown += 1;
            ids_left.retain(|left| left != id);
            if id != world.project {
                world.ok("POST", &format!("/projects/{id}/archive"), Value::Null).await;
            }
        }
        after = format!("&after={}", page["last_id"].as_str().expect("an id"));
    }
    assert_eq!(shown, 6);
    for bad in ["limit=0", "limit=101", "limit=x", "after=nobody", "limit=1&limit=2", "include_archived=maybe"] {
        assert_eq!(world.refused("GET", &format!("/projects?{bad}"), Value::Null).await.status(), 400, "{bad}");
    }
}

#[tokio::test]
async fn wrong_fields_are_named() {
    let world = world().await;
    let keys = format!("/projects/{}/api_keys", world.project);
    let accounts = format!("/projects/{}/service_accounts", world.project);
    for (path, body, param) in [
        ("/projects", json!({}), "name"),
        ("/projects", json!({"name": 5}), "name"),
        ("/projects", json!({"name": " "}), "name"),
        ("/projects", json!({"name": "x".repeat(256)}), "name"),
        ("/projects", json!({"name": "x", "residency": "MARS"}), "residency"),
        ("/projects", json!({"name": "x", "sallyport": {"synonyms": ["nonsense"]}}), "sallyport.synonyms"),
        ("/projects", json!({"name": "x", "sallyport": {"synonyms": ["proj_"]}}), "sallyport.synonyms"),
        ("/projects", json!({"name": "x", "sallyport": {"synonyms": ["org-a b"]}}), "sallyport.synonyms"),
        ("/projects", json!({"name": "x", "sallyport": ["proj_a"]}), "sallyport"),
        (&accounts, json!({"name": "x", "scopes": ["model.reads"]}), "scopes"),
        (&keys, json!({"name": "x", "expires_in_seconds": 0}), "expires_in_seconds"),
        (&keys, json!({"name": "x", "ip_allowlist": ["10.0.0.1"]}), "ip_allowlist"),
    ] {
        let refusal = world.refused("POST", path, body).await;
        assert_eq!((refusal.status(), refusal.param.as_deref()), (400, Some(param)), "{refusal}");
    }
    assert_eq!(world.refused("POST", "/projects", json!([1])).await.status(), 400);
    assert_eq!(world.refused("GET", "/projects/proj_none", Value::Null).await.status(), 404);
    assert_eq!(world.refused("GET", "/users", Value::Null).await.status(), 501);
}

#[tokio::test]
async fn every_write_leaves_an_event_and_no_secret_anywhere() {
    let mut world = world().await;
    let key = world.ok("POST", &format!("/projects/{}/api_keys", world.project), json!({"name": "k"})).await;
    let account =
        world.ok("POST", &format!("/projects/{}/service_accounts", world.project), json!({"name": "robot"})).await;
    let admin = world.ok("POST", "/admin_api_keys", json!({"name": "second"})).await;
    for made in [&key["value"], &account["api_key"]["value"], &admin["value"]] {
        world.secrets.push(made.as_str().expect("a secret").to_owned());
    }
    let log = world.ok("GET", "/audit_logs", Value::Null).await;
    let kinds: Vec<&str> =
        log["data"].as_array().expect("events").iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(
        kinds,
        [
            "api_key.created",
            "api_key.created",
            "service_account.created",
            "api_key.created",
            "api_key.created",
            "api_key.created",
            "project.created",
            "sallyport.bootstrapped",
        ]
    );
    assert_eq!(log["data"][0]["actor"]["api_key"]["id"], world.caller.key.id.as_str());
    assert_eq!(log["data"][0]["actor"]["session"]["ip_address"], "192.0.2.1");
    let filtered = world.ok("GET", "/audit_logs?event_types[]=service_account.created&limit=1", Value::Null).await;
    assert_eq!((ids(&filtered).len(), &filtered["has_more"]), (1, &json!(false)));
    for entry in std::fs::read_dir(world.folder.path()).expect("a folder") {
        let path = entry.expect("an entry").path();
        let bytes = std::fs::read(&path).expect("readable");
        for secret in &world.secrets {
            let middle = &secret.as_bytes()[10..40];
            assert!(!bytes.windows(middle.len()).any(|window| window == middle), "{}", path.display());
        }
    }
    let shown = format!("{log} {:?} {:?}", world.caller, world.console.snapshot());
    assert!(world.secrets.iter().all(|secret| !shown.contains(&secret[10..40])));
}

#[tokio::test]
async fn the_audit_log_is_filtered_and_paged() {
    let world = world().await;
    let path = format!("/projects/{}/api_keys", world.project);
    let key = world.ok("POST", &path, json!({"name": "k"})).await;
    let id = key["id"].as_str().expect("an id");
    world.ok("DELETE", &format!("{path}/{id}"), Value::Null).await;
    let events = async |query: String| world.ok("GET", &format!("/audit_logs?{query}"), Value::Null).await;
    let types = |page: &Value| -> Vec<String> {
        let events = page["data"].as_array().expect("events");
        events.iter().map(|event| event["type"].as_str().expect("a type").to_owned()).collect()
    };
    let about = events(format!("resource_ids[]={id}")).await;
    assert_eq!(types(&about), ["api_key.deleted", "api_key.created"]);
    assert_eq!(about["data"][0]["project"], json!({"id": world.project, "name": "Default project"}));
    assert_eq!(types(&events(format!("resource_ids={id}&event_types[]=api_key.deleted")).await), ["api_key.deleted"]);
    assert_eq!(events(format!("actor_ids[]={}", world.caller.key.id)).await["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(ids(&events("actor_emails[]=a@example.com".into()).await).len(), 0, "nobody has an address");
    assert_eq!(ids(&events("tenant_only=true".into()).await).len(), 0);
    let first = about["data"][1]["id"].as_str().expect("an id");
    let newer = events(format!("before={first}&limit=1")).await;
    assert_eq!((ids(&newer), &newer["has_more"]), (ids(&about)[..1].to_vec(), &json!(false)));
    let older = events(format!("after={first}&limit=1")).await;
    assert_eq!((types(&older), &older["has_more"]), (vec!["api_key.created".to_owned()], &json!(true)));
    let at = about["data"][0]["effective_at"].as_i64().expect("a time");
    assert_eq!(ids(&events(format!("effective_at[gte]={at}")).await).len(), 1);
    assert_eq!(ids(&events(format!("effective_at[gt]={at}")).await).len(), 0);
    assert!(!ids(&events(format!("effective_at[lt]={at}")).await).contains(&ids(&about)[0]));
    assert!(ids(&events(format!("effective_at[lte]={at}")).await).contains(&ids(&about)[0]));
    let many = vec!["event_types[]=x"; 257].join("&");
    for bad in ["after=nobody", "before=nobody", &format!("after={first}&before={first}"), "tenant_only=2", &many] {
        assert_eq!(world.refused("GET", &format!("/audit_logs?{bad}"), Value::Null).await.status(), 400, "{bad}");
    }
}

#[tokio::test]
async fn a_synonym_tells_projects_apart() {
    let world = world().await;
    let named = |ids: Value| json!({"name": "P", "sallyport": {"synonyms": ids}});
    let first = world.ok("POST", "/projects", named(json!(["proj_real", "org-real", "proj_real"]))).await;
    assert_eq!(first["sallyport"]["synonyms"], json!(["proj_real", "org-real"]));
    world.ok("POST", "/projects", named(json!(["org-real"]))).await;
    let refusal = world.refused("POST", "/projects", named(json!(["proj_real"]))).await;
    assert!(refusal.message.contains("another project"), "{refusal}");
    let refusal = world.refused("POST", "/projects", named(json!([world.project]))).await;
    assert!(refusal.message.contains("project of this gate"), "{refusal}");
    let path = format!("/projects/{}", first["id"].as_str().expect("an id"));
    world.ok("POST", &path, named(json!(["proj_real"]))).await;
    world.ok("POST", &path, named(json!([]))).await;
    world.ok("POST", "/projects", named(json!(["proj_real"]))).await;
}

#[tokio::test]
async fn a_recovered_key_opens_and_is_audited() {
    let world = world().await;
    let console = &world.console;
    let secret =
        Console::recover(&*console.registry, &console.pepper, &console.shape, &*console.clock, &SystemRandom).await;
    let digest = console.pepper.digest(secret.expect("recovered").expose());
    let records = console.registry.load().await.expect("readable").expect("there");
    assert!(Directory::new(records).snapshot().key(&digest).is_some());
    let log = world.ok("GET", "/audit_logs?limit=1", Value::Null).await;
    assert_eq!(log["data"][0]["api_key.created"]["data"]["recovered"], true);
    assert_eq!(log["data"][0]["actor"]["type"], "session");
    let recovered = world.ok("GET", "/audit_logs?event_types[]=sallyport.admin.recovered", Value::Null).await;
    assert_eq!(recovered["data"][0]["sallyport.admin.recovered"]["id"], log["data"][0]["api_key.created"]["id"]);
}
