//! Rotation of upstream keys through the upstream's Administration API: under load, failing, and killed at every step.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use serde_json::{Value, json};
use testkit::{Options, Script, Upstream};

use crate::crowd::chat;
use crate::operation::command;
use crate::upstreams::{HOSTS, PATH};
use crate::world::{UPSTREAM_KEY, World};

const ADMIN_KEY: &str = "sk-admin-0123456789abcdefghijklmnopqrstuvwxyz-of-the-upstream";
const FIRST_KEY: &str = "sk-svcacct-first-0123456789abcdefghijklmnopqrstuvwxyz-secret";
const PROJECT: &str = "proj_upstream";
const ACCOUNTS: &str = "/v1/organization/projects/proj_upstream/service_accounts";

/// A gate whose only upstream is strict about its keys and can be administered; the upstream's id and its key's.
struct Managed {
    world: World,
    id: String,
    key: String,
}

fn managed() -> Managed {
    let upstream = Upstream::start(Options { key: Some("nobody".into()), ..Options::default() });
    upstream.administer(ADMIN_KEY);
    let (account, key_id) = upstream.add_service_account(PROJECT, "first", FIRST_KEY);
    let url = upstream.url();
    let environment = [("SALLYPORT_UPSTREAM_KEY", UPSTREAM_KEY), ("SALLYPORT_UPSTREAM_URL", url.as_str())];
    let world = World::start(upstream, &format!("[vault]\n{HOSTS}"), &environment);
    let id = world.add_upstream("Managed", &url);
    let body = json!({"name": "first", "value": FIRST_KEY, "service_account_id": account, "key_id": key_id});
    let key = world.admin("POST", &format!("{PATH}/{id}/keys"), &body)["id"].as_str().expect("an id").to_owned();
    let administration = json!({"administration": {"project_id": PROJECT, "key": ADMIN_KEY}});
    let shown = world.admin("POST", &format!("{PATH}/{id}"), &administration);
    assert!(shown["administration"]["redacted_value"] == "sk-admin-****ream" && !shown.to_string().contains(ADMIN_KEY));
    world.choose("failover", &json!([{"id": id}]));
    Managed { world, id, key }
}

impl Managed {
    fn rotate(&self) -> Value {
        self.world.admin("POST", &format!("{PATH}/{}/rotate", self.id), &json!({}))
    }

    fn last(&self) -> Value {
        let list = self.world.admin("GET", &format!("{PATH}/{}/rotations", self.id), &Value::Null);
        list["data"][0].clone()
    }

    fn until(&self, status: &str) -> Value {
        self.world.until(&format!("the rotation is {status}"), || self.last()["status"] == status);
        self.last()
    }

    fn keys(&self) -> Vec<(String, String)> {
        let list = self.world.admin("GET", &format!("{PATH}/{}/keys", self.id), &Value::Null);
        let text = |key: &Value, name: &str| key[name].as_str().unwrap_or_default().to_owned();
        list["data"].as_array().expect("a list").iter().map(|key| (text(key, "id"), text(key, "status"))).collect()
    }

    fn works(&self) {
        let answer = self.world.post("/v1/chat/completions", &chat(20));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// One key in force, one service account upstream, and they are each other's.
    fn is_tidy(&self) {
        let keys = self.keys();
        assert!(keys.len() == 1 && keys[0].1 == "enabled", "{keys:?}");
        let accounts = self.world.upstream.service_accounts();
        assert_eq!(accounts.len(), 1, "no account is left over: {accounts:?}");
        self.works();
    }

    /// The keys that calls carried, in order, each once in a row.
    fn keys_sent(&self) -> Vec<String> {
        let requests = self.world.upstream.requests();
        let chats = requests.iter().filter(|request| request.target.starts_with("/v1/chat"));
        let mut keys: Vec<String> =
            chats.filter_map(|request| request.header("authorization").map(str::to_owned)).collect();
        keys.dedup();
        keys
    }
}

#[test]
fn a_rotation_goes_through_its_steps_and_says_so() {
    let managed = managed();
    managed.works();
    let begun = managed.rotate();
    assert_eq!((&begun["status"], &begun["old_key_id"]), (&json!("creating"), &json!(managed.key)));
    let done = managed.until("completed");
    assert_eq!(done["message"], Value::Null);
    managed.is_tidy();
    assert_ne!(managed.keys()[0].0, managed.key);
    assert_eq!(managed.keys_sent().len(), 2);
    let events = managed.world.admin("GET", "/v1/organization/audit_logs?limit=100", &Value::Null);
    let all = events["data"].as_array().expect("a list");
    let kinds: Vec<&str> = all
        .iter()
        .rev()
        .filter_map(|event| event["type"].as_str())
        .filter(|kind| kind.starts_with("upstream_key.rotation."))
        .map(|kind| &kind["upstream_key.rotation.".len()..])
        .collect();
    assert_eq!(kinds, ["started", "key_created", "key_in_force", "old_key_expires", "old_key_drained", "completed"]);
    assert!(!events.to_string().contains("sk-svcacct-0"), "no event holds a key");
    // Once more, with what the first one left, from the command line.
    let (ok, said) = command(&managed.world, &["upstream", "rotate", &managed.id]);
    assert!(ok && said.starts_with("rotation_"), "{said}");
    managed.world.until("the second is done", || {
        managed.last()["status"] == "completed"
            && managed.keys_sent().len() == 2
            && managed.keys().len() == 1
            && managed.last()["id"] != done["id"]
    });
    managed.is_tidy();
    let (_, listed) = command(&managed.world, &["upstream", "rotations", &managed.id]);
    assert_eq!(listed.matches("completed").count(), 2, "{listed}");
}

/// Many clients, streams among them, while keys go and come: not one request fails.
#[test]
fn a_rotation_under_load_fails_no_request() {
    let managed = Arc::new(managed());
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..16)
        .map(|number| {
            let (managed, stop, answered) = (Arc::clone(&managed), Arc::clone(&stop), Arc::clone(&answered));
            std::thread::spawn(move || {
                while !stop.load(SeqCst) {
                    let mut body = chat(20);
                    body["stream"] = (number % 2 == 0).into();
                    // Some streams outlast a whole rotation but for its end.
                    let script = if number % 8 == 0 { r#"{"delay_chunk_ms": 60}"# } else { "{}" };
                    let answer = managed.world.post_with("/v1/chat/completions", &body, &[("x-script", script)]);
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    assert!(answer.is_whole && !answer.text().contains("\"error\""), "{}", answer.text());
                    answered.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    for _ in 0..3 {
        let before = answered.load(SeqCst);
        managed.world.until("requests flow", || answered.load(SeqCst) > before + 20);
        let begun = managed.rotate();
        managed.world.until("a rotation under load is done", || {
            let last = managed.last();
            last["id"] == begun["id"] && last["status"] == "completed"
        });
    }
    stop.store(true, SeqCst);
    for client in clients {
        client.join().expect("no request failed");
    }
    managed.is_tidy();
    // Strictly: the upstream refused nobody.
    let requests = managed.world.upstream.requests();
    assert!(requests.iter().all(|request| request.status != 401), "a key was used that the upstream does not know");
}

#[test]
fn the_old_key_finishes_its_streams_and_expires_by_itself() {
    let managed = managed();
    managed.world.upstream.script(Script { path: Some("/v1/chat".into()), delay_chunk_ms: 250, ..Script::default() });
    let mut body = chat(20);
    body["stream"] = true.into();
    let mut stream = managed.world.begin("/v1/chat/completions", &body, &[]);
    assert_eq!(stream.head().expect("a head").status, 200);
    managed.rotate();
    managed.until("draining");
    assert_eq!(managed.keys().iter().map(|key| key.1.as_str()).collect::<Vec<_>>(), ["draining", "enabled"]);
    managed.works();
    assert_eq!(managed.keys_sent().len(), 2, "new requests go with the new key");
    let seconds = managed.world.upstream.expires_in("first").expect("it was given an expiry");
    assert!((1_200..=6_000).contains(&seconds), "{seconds}");
    let refused =
        managed.world.call(&managed.world.admin_key, "DELETE", &format!("{PATH}/{}", managed.id), &Value::Null);
    assert!(refused.status == 400 && refused.text().contains("under way"), "{}", refused.text());
    assert!(stream.until(b"data: [DONE]\n\n").is_some(), "the stream ran to its end");
    managed.until("completed");
    managed.is_tidy();
}

/// Where the upstream refuses or breaks off, the old key stays in force, nothing is left over, and it says why.
#[test]
fn a_rotation_that_fails_leaves_the_old_key_in_force() {
    let refusal = |status: u16| Script {
        status: Some(status),
        method: Some("POST".into()),
        path: Some(ACCOUNTS.into()),
        ..Script::default()
    };
    let managed = managed();
    managed.world.upstream.script(refusal(403));
    managed.rotate();
    let failed = managed.until("failed");
    assert!(failed["message"].as_str().is_some_and(|words| words.contains("403")), "{failed}");
    assert_eq!(managed.keys(), [(managed.key.clone(), "enabled".to_owned())]);
    managed.is_tidy();
    // What passes is tried again.
    for script in [
        refusal(500),
        Script { disconnect: true, ..refusal(0) },
        Script { garbage: true, ..refusal(0) },
        // The account was made, and its key was lost with the answer.
        Script { status: None, cut_after: Some(20), ..refusal(0) },
        Script { body: Some(json!({"id": "svc_acct_x", "api_key": null})), ..refusal(200) },
    ] {
        let script = Script { status: script.status.filter(|status| *status > 0), ..script };
        managed.world.upstream.script(script);
        let begun = managed.rotate();
        managed
            .world
            .until("it got through", || managed.last()["id"] == begun["id"] && managed.last()["status"] == "completed");
        managed.is_tidy();
    }
    assert!(managed.world.diagnostics().contains("403"), "and the log says so");
}

#[test]
fn what_goes_wrong_later_is_tried_again_and_shown() {
    let managed = managed();
    // The upstream has no expiry, and will not delete at first.
    managed.world.upstream.script(Script {
        status: Some(404),
        method: Some("POST".into()),
        path: Some("/v1/organization/projects/proj_upstream/api_keys".into()),
        ..Script::default()
    });
    managed.world.upstream.script(Script {
        status: Some(403),
        method: Some("DELETE".into()),
        path: Some(ACCOUNTS.into()),
        times: 2,
        ..Script::default()
    });
    managed.rotate();
    managed.world.until("the failure shows", || {
        managed.last()["last_error"].as_str().is_some_and(|words| words.contains("403"))
    });
    assert_eq!(managed.last()["status"], "deleting");
    managed.works();
    managed.until("completed");
    managed.is_tidy();
}

/// Killed at each step, while the upstream works on it or right after, the rotation goes on after the restart.
#[test]
fn a_gate_that_is_killed_at_any_step_goes_on_where_it_was() {
    let slow = |method: &str, path: &str| Script {
        method: Some(method.into()),
        path: Some(path.into()),
        delay_head_ms: 1_500,
        ..Script::default()
    };
    let keys = "/v1/organization/projects/proj_upstream/api_keys";
    // The call that is under way when the gate dies: it was done upstream, and its answer is lost.
    for (name, script, state) in [
        ("looking for leftovers", slow("GET", ACCOUNTS), "creating"),
        ("creating", slow("POST", ACCOUNTS), "creating"),
        ("verifying", slow("GET", "/v1/models"), "verifying"),
        ("expiring", slow("POST", keys), "expiring"),
        ("deleting", slow("DELETE", ACCOUNTS), "deleting"),
    ] {
        let mut managed = managed();
        let (method, path) = (script.method.clone().expect("set"), script.path.clone().expect("set"));
        managed.world.upstream.script(script);
        managed.rotate();
        managed.world.upstream.wait_for(|requests| {
            requests.iter().any(|request| request.method == method && request.target.starts_with(&path))
        });
        assert_eq!(managed.last()["status"], state, "{name}");
        managed.works();
        managed.world.restart("-KILL");
        managed.works();
        managed.until("completed");
        managed.is_tidy();
    }
    // And while the old key drains: its streams die with the process.
    let mut managed = managed();
    managed.world.upstream.script(Script {
        path: Some("/v1/chat".into()),
        stall_after: Some(300),
        ..Script::default()
    });
    let mut body = chat(20);
    body["stream"] = true.into();
    let mut stream = managed.world.begin("/v1/chat/completions", &body, &[]);
    assert_eq!(stream.head().expect("a head").status, 200);
    managed.rotate();
    managed.until("draining");
    managed.world.restart("-KILL");
    managed.until("completed");
    managed.is_tidy();
}

#[test]
fn a_key_is_rotated_by_schedule_when_it_is_old_enough() {
    let managed = managed();
    let path = format!("{PATH}/{}", managed.id);
    let refused = managed.world.call(&managed.world.admin_key, "POST", &path, &json!({"rotate_every_days": 0}));
    assert_eq!(refused.status, 400);
    let shown = managed.world.admin("POST", &path, &json!({"rotate_every_days": 30}));
    assert_eq!((&shown["rotate_every_days"], &shown["rotation"]), (&json!(30), &Value::Null), "it is young");
    let other = managed.world.add_upstream("Unmanaged", &managed.world.upstream.url());
    for body in [json!({"rotate_every_days": 30}), json!({"administration": {"project_id": "a/b", "key": "sk-1"}})] {
        let refused = managed.world.call(&managed.world.admin_key, "POST", &format!("{PATH}/{other}"), &body);
        assert_eq!(refused.status, 400, "{}", refused.text());
    }
    let refused = managed.world.call(&managed.world.admin_key, "POST", &format!("{PATH}/{other}/rotate"), &json!({}));
    assert!(refused.status == 400 && refused.text().contains("administration"), "{}", refused.text());
}
