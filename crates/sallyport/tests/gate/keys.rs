//! Promise 3 and the first cut of keys: who may come in, and how fast the door closes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::Script;

use crate::client::request;
use crate::world::World;

fn chat() -> Value {
    json!({"model": "gpt-4o", "stream": true, "messages": []})
}

#[test]
fn wrong_keys_are_refused_and_shown_masked() {
    let world = World::new();
    let mut flipped = world.project_key.clone();
    let last = flipped.pop().expect("a character");
    flipped.push(if last == '0' { '1' } else { '0' });
    let unknown = keys::Shape::default().mint(keys::Kind::Project, &keys::SystemRandom);
    for key in ["sk-proj-abcdefghijklmnopqrstuvwxyz0123456789", "x", &flipped, unknown.expose(), "sp-proj_", "ä"] {
        let answer = world.call(key, "GET", "/v1/models", &Value::Null);
        let code = answer.error_code();
        assert!(
            (answer.status, code.as_str()) == (401, "invalid_api_key") || code == "invalid_headers",
            "{key}: {}",
            answer.text()
        );
        assert!(key.len() < 20 || !answer.text().contains(&key[8..key.len() - 4]), "{}", answer.text());
    }
    let answer = world.raw(&request("GET", "/v1/models", &[], b""));
    assert_eq!((answer.status, answer.error_code().as_str()), (401, "null"));
    let answer = world.raw(&request("GET", "/v1/models", &[("Authorization", "Basic YTpi")], b""));
    assert_eq!(answer.status, 401);
    assert!(world.upstream.requests().is_empty());
}

#[test]
fn a_revoked_key_is_refused_within_a_second_and_its_streams_are_cut() {
    let world = World::new();
    let made = world.key(&world.project_id, "short life");
    let (id, secret) = (made["id"].as_str().expect("an id"), made["value"].as_str().expect("a secret").to_owned());
    world.upstream.script(Script { stall_after: Some(900), ..Script::default() });
    world.upstream.script(Script { delay_head_ms: 60_000, ..Script::default() });
    let bearer = format!("Bearer {secret}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let mut streaming = world.connect();
    streaming.send(&request("POST", "/v1/chat/completions", &headers, chat().to_string().as_bytes()));
    streaming.until(b"\n\n").expect("an event");
    let mut waiting = world.connect();
    waiting.send(&request("POST", "/v1/chat/completions", &headers, chat().to_string().as_bytes()));
    world.upstream.wait_for(|all| all.len() == 2);
    let path = format!("/v1/organization/projects/{}/api_keys/{id}", world.project_id);
    let begun = Instant::now();
    assert_eq!(world.call(&world.admin_key, "DELETE", &path, &Value::Null).json()["deleted"], true);
    let answer = world.call(&secret, "GET", "/v1/models", &Value::Null);
    assert_eq!((answer.status, answer.error_code().as_str()), (401, "invalid_api_key"));
    let rest = streaming.until(b"0\r\n\r\n").expect("the stream ends in order");
    assert!(String::from_utf8_lossy(&rest).contains("was revoked while the answer was running"));
    assert_eq!(waiting.answer().expect("an answer").status, 401);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(world.call(&world.project_key, "GET", "/v1/models", &Value::Null).status, 200, "other keys go on");
}

#[test]
fn archived_projects_and_expired_keys_are_refused() {
    let world = World::new();
    let (id, key) = world.project("Short");
    assert_eq!(world.call(&key, "GET", "/v1/models", &Value::Null).status, 200);
    world.call(&world.admin_key, "POST", &format!("/v1/organization/projects/{id}/archive"), &Value::Null);
    let answer = world.call(&key, "GET", "/v1/models", &Value::Null);
    assert_eq!(answer.status, 401, "{}", answer.text());
    let path = format!("/v1/organization/projects/{}/api_keys", world.project_id);
    let made = world.call(&world.admin_key, "POST", &path, &json!({"name": "k", "expires_in_seconds": 1})).json();
    let secret = made["value"].as_str().expect("a secret");
    std::thread::sleep(Duration::from_millis(2_100));
    let answer = world.call(secret, "GET", "/v1/models", &Value::Null);
    assert!(answer.status == 401 && answer.text().contains("expired"), "{}", answer.text());
}

#[test]
fn organization_and_project_headers_must_fit_unless_they_are_synonyms() {
    let world = World::new();
    let bearer = format!("Bearer {}", world.project_key);
    let with = |name: &str, value: &str| {
        world.raw(&request("GET", "/v1/models", &[("Authorization", &bearer), (name, value)], b""))
    };
    assert_eq!(with("OpenAI-Organization", "org-real").error_code(), "mismatched_organization");
    assert_eq!(with("OpenAI-Project", "proj_real").error_code(), "mismatched_project");
    assert_eq!(with("OpenAI-Project", &world.project_id).status, 200);
    assert_eq!(with("OpenAI-Project", "").status, 200);
    let body = json!({"sallyport": {"synonyms": ["org-real", "proj_real"]}});
    world.call(&world.admin_key, "POST", &format!("/v1/organization/projects/{}", world.project_id), &body);
    assert_eq!(
        (with("OpenAI-Organization", "org-real").status, with("OpenAI-Project", "proj_real").status),
        (200, 200)
    );
    assert!(world.upstream.requests().iter().all(|recorded| recorded.header("openai-project").is_none()));
}

#[test]
fn keys_survive_a_kill_and_a_revocation_too() {
    let mut world = World::new();
    let (kept, gone) = (world.key(&world.project_id, "kept"), world.key(&world.project_id, "gone"));
    let path =
        format!("/v1/organization/projects/{}/api_keys/{}", world.project_id, gone["id"].as_str().expect("an id"));
    world.call(&world.admin_key, "DELETE", &path, &Value::Null);
    world.restart("-KILL");
    let status =
        |key: &Value| world.call(key["value"].as_str().expect("a secret"), "GET", "/v1/models", &Value::Null).status;
    assert_eq!((status(&kept), status(&gone)), (200, 401));
    let events = world.call(&world.admin_key, "GET", "/v1/organization/audit_logs", &Value::Null).json();
    assert_eq!(events["data"][0]["type"], "api_key.deleted");
}
