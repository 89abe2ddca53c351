//! Running it: health, metrics, log, drain, restart, the command line, trusted proxies, TLS.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::Script;

use crate::client::request;
use crate::world::World;

#[test]
fn health_and_metrics_need_no_key() {
    let world = World::new();
    world.post("/v1/chat/completions", &json!({"model": "gpt-4o", "messages": []}));
    let get = |path: &str| world.raw(&request("GET", path, &[], b""));
    assert_eq!(get("/healthz").json()["status"], "ok");
    assert_eq!(get("/readyz").json(), json!({"status": "ready", "models": "upstream"}));
    let metrics = get("/metrics").text();
    assert!(
        metrics
            .contains("sallyport_requests_total{endpoint=\"/v1/chat/completions\",method=\"POST\",status=\"2xx\"} 1"),
        "{metrics}"
    );
}

#[test]
fn one_line_a_request_says_what_happened() {
    let world = World::new();
    let bearer = format!("Bearer {}", world.project_key);
    let headers =
        [("Authorization", bearer.as_str()), ("Content-Type", "application/json"), ("X-Client-Request-Id", "mine\"1")];
    let answer =
        world.raw(&request("POST", "/v1/chat/completions", &headers, b"{\"model\":\"gpt-4o\",\"messages\":[]}"));
    world.raw(&request("GET", "/v1/nothing", &headers[..1], b""));
    let lines = world.log_lines(2);
    let line = lines.iter().find(|line| line["endpoint"] == "/v1/chat/completions").expect("a line");
    assert_eq!((&line["status"], &line["model"], &line["ended"]), (&json!(200), &json!("gpt-4o"), &json!("complete")));
    assert_eq!(
        (line["request_id"].as_str(), line["client_request_id"].as_str()),
        (answer.header("x-request-id"), Some("mine\"1"))
    );
    assert_eq!(
        (line["project_id"].as_str(), line["address"].as_str()),
        (Some(world.project_id.as_str()), Some("127.0.0.1"))
    );
    assert!(line["upstream_request_id"].as_str().is_some_and(|id| id.starts_with("req_upstream")));
    assert!(lines.iter().any(|line| line["status"] == 404 && line["code"] == "unknown_url"));
}

#[test]
fn a_stop_lets_running_streams_finish() {
    let mut world = World::new();
    world.upstream.script(Script { delay_chunk_ms: 100, ..Script::default() });
    let bearer = format!("Bearer {}", world.project_key);
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let body = json!({"model": "gpt-4o", "stream": true, "messages": []}).to_string();
    let mut connection = world.connect();
    connection.send(&request("POST", "/v1/chat/completions", &headers, body.as_bytes()));
    assert_eq!(connection.head().expect("a head").status, 200);
    world.signal("-TERM");
    assert!(connection.until(b"data: [DONE]\n\n").is_some(), "the stream ran to its end");
    world.stop("-TERM");
}

#[test]
fn a_stop_does_not_wait_longer_than_the_drain() {
    let mut world = World::with("[timeouts]\ndrain = 0.5");
    world.upstream.script(Script { stall_after: Some(900), ..Script::default() });
    let bearer = format!("Bearer {}", world.project_key);
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let body = json!({"model": "gpt-4o", "stream": true, "messages": []}).to_string();
    let mut connection = world.connect();
    connection.send(&request("POST", "/v1/chat/completions", &headers, body.as_bytes()));
    connection.until(b"\n\n").expect("an event");
    let begun = Instant::now();
    world.stop("-TERM");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_second_start_makes_no_new_keys() {
    let mut world = World::new();
    world.restart("-TERM");
    let said = world.diagnostics();
    assert!(said.contains("boot.json") && said.contains("admin recover"), "{said}");
    assert!(
        !said.contains("sp-proj_") && !said.contains("sp-admin_"),
        "named a file, the keys are not printed: {said}"
    );
    assert_eq!(world.call(&world.project_key, "GET", "/v1/models", &Value::Null).status, 200);
}

#[test]
fn without_a_file_the_first_start_prints_keys_and_what_to_do_with_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let errors = folder.path().join("stderr");
    let mut child = Command::new(env!("CARGO_BIN_EXE_sallyport"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.path().join("data"))
        .env_clear()
        .stdout(std::process::Stdio::null())
        .stderr(std::fs::File::create(&errors).expect("a file"))
        .spawn()
        .expect("starts");
    let deadline = Instant::now() + Duration::from_secs(30);
    let said = loop {
        let said = std::fs::read_to_string(&errors).expect("readable");
        if said.contains("message.content)") {
            break said;
        }
        assert!(Instant::now() < deadline, "{said}");
        std::thread::sleep(Duration::from_millis(10));
    };
    child.kill().expect("ends");
    child.wait().expect("ended");
    for words in [
        "admin key    sp-admin_",
        "project key  sp-proj_",
        "curl http://127.0.0.1:",
        "from openai import OpenAI",
        "make model",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

/// Runs the binary's command line against the gate.
pub(crate) fn command(world: &World, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sallyport"))
        .args(arguments)
        .env_clear()
        .env("SALLYPORT_URL", format!("http://{}", world.address))
        .env("SALLYPORT_ADMIN_KEY", &world.admin_key)
        .output()
        .expect("runs");
    (
        output.status.success(),
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
    )
}

#[test]
fn the_command_line_administers_a_running_gate() {
    let world = World::new();
    let (ok, said) = command(&world, &["project", "create", "Search"]);
    let id = said.lines().next().expect("an id").to_owned();
    assert!(ok && id.starts_with("proj_"), "{said}");
    let (_, said) = command(&world, &["key", "create", &id, "ci"]);
    let secret = said.lines().next().expect("a secret").to_owned();
    assert_eq!(world.call(&secret, "GET", "/v1/models", &Value::Null).status, 200);
    let (_, listed) = command(&world, &["key", "list", &id, "--json"]);
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let key_id = listed[0]["id"].as_str().expect("an id");
    assert!(command(&world, &["key", "revoke", &id, key_id]).1.contains("is revoked"));
    assert_eq!(world.call(&secret, "GET", "/v1/models", &Value::Null).status, 401);
    assert!(command(&world, &["project", "list"]).1.contains("Search"));
    let (_, said) = command(&world, &["service-account", "create", &id, "robot"]);
    assert!(said.starts_with("sp-svc_"), "{said}");
    let (_, accounts) = command(&world, &["service-account", "list", &id, "--json"]);
    let accounts: Value = serde_json::from_str(&accounts).expect("JSON");
    let account = accounts[0]["id"].as_str().expect("an id");
    let (_, second) = command(&world, &["service-account", "key", &id, account, "second"]);
    let second = second.lines().next().expect("a secret").to_owned();
    assert_eq!(world.call(&second, "GET", "/v1/models", &Value::Null).status, 200);
    assert!(command(&world, &["service-account", "delete", &id, account]).0);
    assert_eq!(world.call(&second, "GET", "/v1/models", &Value::Null).status, 401);
    assert!(command(&world, &["project", "archive", &id]).0);
    assert!(!command(&world, &["project", "list"]).1.contains("Search"));
    let (ok, said) = command(&world, &["key", "list", "proj_none"]);
    assert!(!ok && said.contains("No project found"), "{said}");
    let (_, help) = command(&world, &["--help"]);
    assert!(help.contains("First steps") && help.contains("sallyport key create"));
}

#[test]
fn a_lost_admin_key_is_recovered_offline() {
    let mut world = World::new();
    let data = world.folder.path().join("data").display().to_string();
    let (ok, said) = command(&world, &["admin", "recover", "--data", &data]);
    assert!(!ok && said.contains("stop it first"), "{said}");
    world.stop("-TERM");
    let (ok, said) = command(&world, &["admin", "recover", "--data", &data]);
    assert!(ok, "{said}");
    let key = said.lines().next().expect("a key").to_owned();
    let mut world = world;
    let (_, nothing) = command(&world, &["admin", "recover", "--data", "/nonexistent"]);
    assert!(nothing.contains("--data"), "{nothing}");
    world.resume();
    let events = world.call(&key, "GET", "/v1/organization/audit_logs", &Value::Null);
    assert_eq!(events.json()["data"][0]["api_key.created"]["data"]["recovered"], true);
}

#[test]
fn only_trusted_proxies_are_believed() {
    let claim = [("X-Forwarded-For", "203.0.113.9")];
    let world = World::new();
    world.raw(&request("GET", "/healthz", &claim, b""));
    assert_eq!(world.log_lines(1)[0]["address"], "127.0.0.1");
    let world = World::with("trusted_proxies = [\"127.0.0.0/8\"]\nproxy_protocol = true");
    let mut connection = world.connect();
    connection.send(b"PROXY TCP4 198.51.100.7 127.0.0.1 5555 80\r\n");
    connection.send(&request("GET", "/healthz", &claim, b""));
    assert_eq!(connection.answer().expect("an answer").status, 200);
    assert_eq!(world.log_lines(1)[0]["address"], "198.51.100.7");
    let mut connection = world.connect();
    connection.send(b"PROXY TCP4 127.0.0.1 127.0.0.1 5555 80\r\n");
    connection.send(&request("GET", "/healthz", &claim, b""));
    connection.answer().expect("an answer");
    assert_eq!(world.log_lines(2)[1]["address"], "203.0.113.9");
    let mut without = world.connect();
    without.send(&request("GET", "/healthz", &[], b""));
    assert!(without.rest().is_empty(), "a trusted proxy must begin with its header");
}

#[test]
fn a_wrong_configuration_names_the_field() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.toml");
    std::fs::write(&path, "[timeouts]\nbody_idle = \"soon\"").expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_sallyport"))
        .args(["serve", "--config"])
        .arg(&path)
        .env_clear()
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("body_idle"), "{said}");
    let mut postgres = Command::new(env!("CARGO_BIN_EXE_sallyport"));
    postgres.arg("serve").env_clear().env("SALLYPORT_DATABASE_URL", "postgres://x").current_dir(folder.path());
    let output = postgres.output().expect("runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("SQLite only"), "what is not there is not pretended: {said}");
}
