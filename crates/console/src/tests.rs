use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use backends::sqlite::Sqlite;
use keys::{Kind, SystemRandom};
use serde_json::json;
use store::KeyId;

use super::*;

struct Fixed(AtomicI64);

impl Clock for Fixed {
    fn unix_seconds(&self) -> i64 {
        self.0.fetch_add(1, SeqCst)
    }
}

struct World {
    console: Console,
    caller: Arc<KeyEntry>,
    project: String,
    secrets: Vec<String>,
    folder: tempfile::TempDir,
}

async fn world() -> World {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(Sqlite::open(folder.path()).await.expect("opens"));
    let clock = Arc::new(Fixed(AtomicI64::new(1_700_000_000)));
    let (pepper, shape) = (Pepper::new(&[9; 32]), Shape::default());
    let (records, started) = Console::start(&*store, &pepper, &shape, &*clock, &SystemRandom).await.expect("starts");
    let directory = Arc::new(Directory::new(records));
    let digest = pepper.digest(started.admin_key.expose());
    let caller = Arc::clone(directory.snapshot().key(&digest).expect("the admin key"));
    let secrets = vec![started.admin_key.expose().to_owned(), started.project_key.expose().to_owned()];
    let console = Console::new(store, directory, pepper, shape, clock, Arc::new(SystemRandom));
    World { console, caller, project: started.project.to_string(), secrets, folder }
}

impl World {
    /// Calls `METHOD /v1/organization/…?query` with a body.
    async fn call(&self, method: &str, target: &str, body: Value) -> Answer {
        let path = format!("/v1/organization{target}");
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        let found = wire::endpoint::find(method, path).unwrap_or_else(|error| panic!("{method} {path}: {error:?}"));
        let params: Vec<_> = found.params.iter().map(|(name, value)| (name, value.to_owned())).collect();
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let call = Call {
            endpoint: found.endpoint,
            params: &params,
            query,
            body: &body,
            caller: &self.caller,
            address: "192.0.2.1".into(),
            user_agent: Some("test".into()),
        };
        self.console.serve(&call).await
    }

    async fn ok(&self, method: &str, target: &str, body: Value) -> Value {
        self.call(method, target, body).await.unwrap_or_else(|refusal| panic!("{method} {target}: {refusal}"))
    }

    async fn refused(&self, method: &str, target: &str, body: Value) -> Refusal {
        self.call(method, target, body).await.expect_err(target)
    }

    fn opens(&self, secret: &str) -> bool {
        let digest = self.console.pepper.digest(secret);
        self.console.snapshot().key(&digest).is_some_and(|entry| !entry.revocation.is_revoked())
    }
}

fn ids(list: &Value) -> Vec<&str> {
    list["data"].as_array().expect("a list").iter().map(|item| item["id"].as_str().expect("an id")).collect()
}

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
    assert!(world.opens(&secret));
    let archived = world.ok("POST", &format!("/projects/{id}/archive"), Value::Null).await;
    assert_eq!(archived["status"], "archived");
    assert!(!world.opens(&secret), "an archived project's keys are cut");
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
    for bad in ["limit=0", "limit=101", "limit=x", "after=nobody", "limit=1&limit=2", "include_archived=maybe"] {
        assert_eq!(world.refused("GET", &format!("/projects?{bad}"), Value::Null).await.status(), 400, "{bad}");
    }
}

#[tokio::test]
async fn wrong_fields_are_named() {
    let world = world().await;
    let keys = format!("/projects/{}/api_keys", world.project);
    for (path, body, param) in [
        ("/projects", json!({}), "name"),
        ("/projects", json!({"name": 5}), "name"),
        ("/projects", json!({"name": " "}), "name"),
        ("/projects", json!({"name": "x".repeat(256)}), "name"),
        ("/projects", json!({"name": "x", "residency": "MARS"}), "residency"),
        ("/projects", json!({"name": "x", "sallyport": {"synonyms": ["nonsense"]}}), "sallyport.synonyms"),
        (&keys, json!({"name": "x", "expires_in_seconds": 0}), "expires_in_seconds"),
        (&keys, json!({"name": "x", "scopes": ["model.read"]}), "scopes"),
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
            "service_account.created",
            "api_key.created",
            "api_key.created",
            "api_key.created",
            "project.created"
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
}
