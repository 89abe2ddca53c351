//! Exposed keys: GitHub's reports over HTTP, genuine, forged and sent again; an incident from its opening to its report.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testkit::{Options, Script, Upstream};

use crate::client::{Answer, request};
use crate::operation::command;
use crate::store_faults::{Meddler, database};
use crate::upstreams::{HOSTS, PATH as UPSTREAMS};
use crate::world::{UPSTREAM_KEY, World};

const PATH: &str = "/v1/sallyport/leaks/github";
const INCIDENTS: &str = "/v1/sallyport/incidents";

/// What GitHub publishes for tests.
const PUBLISHED_ID: &str = "bcb53661c06b4728e59d897fb6165d5c9cda0fd9cdf9d09ead458168deb7518c";
const PUBLISHED_PEM: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYAGMWO8XgCamYKMJS6jc/qgvSlAd\nAjPuDPRcXU22YxgBrz+zoN19MzuRyW87qEt9/AmtoNP5GrobzUvQSyJFVw==\n-----END PUBLIC KEY-----\n";
const PUBLISHED_BODY: &[u8] =
    br#"[{"source":"commit","token":"some_token","type":"some_type","url":"https://example.com/base-repo-url/"}]"#;
const PUBLISHED_SIGNATURE: &str =
    "MEQCIQDaMKqrGnE27S0kgMrEK0eYBmyG0LeZismAEz/BgZyt7AIfXt9fErtRS4XaeSt/AO1RtBY66YcAdjxji410VQV4xg==";

/// A key of our own in the place of GitHub's.
static SIGNER: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key"));

fn key_set() -> String {
    let head = STANDARD.decode("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgA=").expect("base64");
    let der = STANDARD.encode([head.as_slice(), SIGNER.public_key().as_ref()].concat());
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n");
    json!({"public_keys": [
        {"key_identifier": PUBLISHED_ID, "key": PUBLISHED_PEM, "is_current": true},
        {"key_identifier": "ours", "key": pem, "is_current": true},
    ]})
    .to_string()
}

/// A gate that takes reports, with its keys in a file.
fn world() -> (World, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("keys.json");
    std::fs::write(&file, key_set()).expect("written");
    (World::with(&format!("[leaks.github]\nkeys_file = {file:?}")), folder)
}

fn deliver(world: &World, id: &str, signature: &str, body: &[u8]) -> Answer {
    let headers = [
        ("Content-Type", "application/json"),
        ("Github-Public-Key-Identifier", id),
        ("Github-Public-Key-Signature", signature),
    ];
    world.raw(&request("POST", PATH, &headers, body))
}

fn sign(body: &[u8]) -> String {
    STANDARD.encode(SIGNER.sign(&SystemRandom::new(), body).expect("signed").as_ref())
}

fn report(world: &World, alerts: &Value) -> Answer {
    let body = alerts.to_string();
    deliver(world, "ours", &sign(body.as_bytes()), body.as_bytes())
}

fn alert(token: &str) -> Value {
    json!({"token": token, "type": "sallyport_key", "url": "https://github.com/acme/app/blob/1/.env", "source": "commit"})
}

#[test]
fn the_published_delivery_is_taken_and_nothing_like_it() {
    let (world, _folder) = world();
    let answer = deliver(&world, PUBLISHED_ID, PUBLISHED_SIGNATURE, PUBLISHED_BODY);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let labelled = answer.json();
    // SHA-256 of `some_token`, made with another program.
    let hash = "9a45520a1213f15016d2d768b5fb3d904492a44ee274b44d4de8803e00fb536a";
    assert_eq!(labelled, json!([{"token_hash": hash, "token_type": "some_type", "label": "false_positive"}]));
    // Again, and with an Authorization header that somebody on the way added.
    let headers = [
        ("Authorization", "Bearer whatever"),
        ("Github-Public-Key-Identifier", PUBLISHED_ID),
        ("Github-Public-Key-Signature", PUBLISHED_SIGNATURE),
    ];
    assert_eq!(world.raw(&request("POST", PATH, &headers, PUBLISHED_BODY)).json(), labelled);
    let refused = |what: &str, answer: Answer| {
        assert_eq!(
            (answer.status, answer.error_code().as_str()),
            (401, "invalid_signature"),
            "{what}: {}",
            answer.text()
        );
        assert!(!answer.text().contains("some_token"), "{what}");
    };
    refused("truncated", deliver(&world, PUBLISHED_ID, PUBLISHED_SIGNATURE, &PUBLISHED_BODY[..103]));
    refused("longer", deliver(&world, PUBLISHED_ID, PUBLISHED_SIGNATURE, &[PUBLISHED_BODY, b" "].concat()));
    refused("another key", deliver(&world, "ours", PUBLISHED_SIGNATURE, PUBLISHED_BODY));
    refused("unknown key", deliver(&world, "nobody's", PUBLISHED_SIGNATURE, PUBLISHED_BODY));
    refused("half a signature", deliver(&world, PUBLISHED_ID, &PUBLISHED_SIGNATURE[..48], PUBLISHED_BODY));
    refused("no base64", deliver(&world, PUBLISHED_ID, "-", PUBLISHED_BODY));
    refused("no headers", world.raw(&request("POST", PATH, &[], PUBLISHED_BODY)));
    let twice = [headers.as_slice(), &headers[2..]].concat();
    refused("a header twice", world.raw(&request("POST", PATH, &twice, PUBLISHED_BODY)));
    let mut flipped = STANDARD.decode(PUBLISHED_SIGNATURE).expect("base64");
    flipped[20] ^= 1;
    refused("a bit", deliver(&world, PUBLISHED_ID, &STANDARD.encode(flipped), PUBLISHED_BODY));
    // Signed, and no report.
    let answer = deliver(&world, "ours", &sign(b"{}"), b"{}");
    assert_eq!((answer.status, answer.error_code().as_str()), (400, "invalid_json"));
    assert_eq!(report(&world, &json!([])).json(), json!([]));
    let answer = world.call(&world.admin_key, "GET", PATH, &Value::Null);
    assert_eq!((answer.status, answer.error_code().as_str()), (405, "method_not_supported"));
    assert!(world.upstream.requests().is_empty());
}

#[test]
fn without_keys_no_report_is_taken() {
    let world = World::new();
    let answer = deliver(&world, PUBLISHED_ID, PUBLISHED_SIGNATURE, PUBLISHED_BODY);
    assert_eq!((answer.status, answer.error_code().as_str()), (501, "not_served"));
    assert!(answer.text().contains("leaks.github.keys_url"), "{}", answer.text());
    let missing = World::with("[leaks.github]\nkeys_file = \"/nonexistent/keys.json\"");
    let answer = deliver(&missing, PUBLISHED_ID, PUBLISHED_SIGNATURE, PUBLISHED_BODY);
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "signing_keys_unavailable"));
    assert_eq!(answer.header("x-should-retry"), Some("true"));
}

#[test]
fn a_reported_key_ends_and_its_stream_is_cut() {
    let (world, _folder) = world();
    let made = world.key(&world.project_id, "leaky");
    let secret = made["value"].as_str().expect("a secret").to_owned();
    world.upstream.script(Script { stall_after: Some(900), ..Script::default() });
    let bearer = format!("Bearer {secret}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let chat = json!({"model": "gpt-4o", "stream": true, "messages": []}).to_string();
    let mut streaming = world.connect();
    streaming.send(&request("POST", "/v1/chat/completions", &headers, chat.as_bytes()));
    streaming.until(b"\n\n").expect("an event");
    let alerts = json!([alert("ghp_not_ours"), alert(&secret), alert(&world.project_key.replace('_', "-"))]);
    let answer = report(&world, &alerts);
    let labels: Vec<Value> = answer.json().as_array().expect("a list").iter().map(|one| one["label"].clone()).collect();
    assert_eq!(labels, ["false_positive", "true_positive", "false_positive"]);
    let rest = streaming.until(b"0\r\n\r\n").expect("the stream ends in order");
    assert!(String::from_utf8_lossy(&rest).contains("was revoked while the answer was running"));
    let refused = world.call(&secret, "GET", "/v1/models", &Value::Null);
    assert_eq!((refused.status, refused.error_code().as_str()), (401, "invalid_api_key"));
    assert_eq!(world.call(&world.project_key, "GET", "/v1/models", &Value::Null).status, 200, "other keys go on");
    let incidents = || world.call(&world.admin_key, "GET", INCIDENTS, &Value::Null).json();
    let before = incidents();
    assert_eq!(before["data"].as_array().map(Vec::len), Some(1));
    assert_eq!((&before["data"][0]["source"], &before["data"][0]["ending"]), (&json!("github"), &json!("revoked")));
    assert_eq!(report(&world, &alerts).json(), answer.json());
    assert_eq!(incidents(), before, "sent again, it changes nothing");
    let findings = world.call(&world.admin_key, "GET", "/v1/sallyport/findings?type=key.exposed", &Value::Null).json();
    assert_eq!(findings["data"][0]["key_id"], made["id"]);
    for said in [world.diagnostics(), findings.to_string(), before.to_string(), answer.text()] {
        assert!(!said.contains(&secret), "{said}");
    }
}

#[test]
fn a_database_that_is_locked_has_the_report_sent_again() {
    let (world, _folder) = world();
    let alerts = json!([alert("ghp_not_ours"), alert(&world.project_key)]);
    let lock = Meddler::new(&database(&world), "db.execute('BEGIN EXCLUSIVE')", "db.execute('ROLLBACK')");
    let answer = report(&world, &alerts);
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "store_unavailable"));
    assert_eq!(world.call(&world.project_key, "GET", "/v1/models", &Value::Null).status, 200, "nothing is half done");
    drop(lock);
    let labelled = report(&world, &alerts).json();
    assert_eq!((&labelled[0]["label"], &labelled[1]["label"]), (&json!("false_positive"), &json!("true_positive")));
    assert_eq!(world.call(&world.project_key, "GET", "/v1/models", &Value::Null).status, 401);
    let incidents = world.call(&world.admin_key, "GET", INCIDENTS, &Value::Null).json();
    assert_eq!(incidents["data"].as_array().map(Vec::len), Some(1));
}

#[test]
fn reports_are_bounded_in_size_and_number() {
    let (world, _folder) = world();
    let large = vec![b' '; 4 * 1024 * 1024 + 1];
    let answer = deliver(&world, "ours", "x", &large);
    assert_eq!((answer.status, answer.error_code().as_str()), (413, "request_too_large"));
    let limited = (0..70).map(|_| deliver(&world, "ours", "x", b"[]")).find(|answer| answer.status != 401);
    let limited = limited.expect("seventy in a minute are too many");
    assert_eq!((limited.status, limited.error_code().as_str()), (429, "rate_limit_exceeded"));
    assert!(limited.header("retry-after-ms").is_some());
    assert_eq!(world.call(&world.project_key, "GET", "/v1/models", &Value::Null).status, 200, "callers are not slowed");
}

/// A server of key sets: what it answers with, and the heads of the requests that it got.
struct Keys {
    url: String,
    answer: Arc<Mutex<String>>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Keys {
    fn start(answer: String) -> Keys {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/meta/public_keys/secret_scanning", listener.local_addr().expect("an address"));
        let (answer, heads) = (Arc::new(Mutex::new(answer)), Arc::<Mutex<Vec<String>>>::default());
        let shared = (Arc::clone(&answer), Arc::clone(&heads));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
                    head.push(byte[0]);
                }
                shared.1.lock().expect("unpoisoned").push(String::from_utf8_lossy(&head).into_owned());
                let _ = stream.write_all(shared.0.lock().expect("unpoisoned").as_bytes());
            }
        });
        Keys { url, answer, heads }
    }

    fn set(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\netag: \"one\"\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    }

    fn heads(&self, at_least: usize) -> Vec<String> {
        for _ in 0..500 {
            let heads = self.heads.lock().expect("unpoisoned").clone();
            if heads.len() >= at_least {
                return heads;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the keys were asked for less than {at_least} times");
    }
}

#[test]
fn keys_are_read_from_an_address_and_asked_for_again_when_one_is_unknown() {
    let keys = Keys::start(Keys::set(&key_set()));
    let world = World::with(&format!("[leaks.github]\nkeys_url = {:?}", keys.url));
    keys.heads(1);
    assert_eq!(deliver(&world, PUBLISHED_ID, PUBLISHED_SIGNATURE, PUBLISHED_BODY).status, 200);
    *keys.answer.lock().expect("unpoisoned") = "HTTP/1.1 304 Not Modified\r\nconnection: close\r\n\r\n".to_owned();
    for _ in 0..5 {
        assert_eq!(deliver(&world, "newer", PUBLISHED_SIGNATURE, PUBLISHED_BODY).status, 401);
    }
    let heads = keys.heads(2);
    assert_eq!(heads.len(), 2, "unknown keys cause one refresh a minute");
    assert!(heads[0].starts_with("GET /meta/public_keys/secret_scanning ") && !heads[0].contains("if-none-match"));
    assert!(heads[1].contains("if-none-match: \"one\""), "{}", heads[1]);
    assert_eq!(deliver(&world, PUBLISHED_ID, PUBLISHED_SIGNATURE, PUBLISHED_BODY).status, 200, "they stay in force");
}

#[test]
fn a_report_whose_key_cannot_be_looked_for_has_to_come_again() {
    let keys = Keys::start(Keys::set(&key_set()));
    let world = World::with(&format!("[leaks.github]\nkeys_url = {:?}", keys.url));
    keys.heads(1);
    assert_eq!(deliver(&world, PUBLISHED_ID, PUBLISHED_SIGNATURE, PUBLISHED_BODY).status, 200);
    *keys.answer.lock().expect("unpoisoned") =
        "HTTP/1.1 500 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned();
    for _ in 0..2 {
        let answer = deliver(&world, "newer", PUBLISHED_SIGNATURE, PUBLISHED_BODY);
        assert_eq!((answer.status, answer.error_code().as_str()), (503, "signing_keys_unavailable"));
    }
    assert_eq!(
        deliver(&world, PUBLISHED_ID, PUBLISHED_SIGNATURE, PUBLISHED_BODY).status,
        200,
        "known ones stay in force"
    );
}

#[test]
fn redirects_are_not_followed() {
    let other = Keys::start(Keys::set(&key_set()));
    let redirect =
        format!("HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", other.url);
    let keys = Keys::start(redirect);
    let world = World::with(&format!("[leaks.github]\nkeys_url = {:?}", keys.url));
    keys.heads(1);
    let answer = deliver(&world, PUBLISHED_ID, PUBLISHED_SIGNATURE, PUBLISHED_BODY);
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "signing_keys_unavailable"));
    assert!(other.heads.lock().expect("unpoisoned").is_empty());
    assert!(world.diagnostics().contains("redirects"), "{}", world.diagnostics());
}

/// What the incident shows once all that the key did is written down.
fn settled(world: &World, path: &str, calls: u64) -> Value {
    for _ in 0..250 {
        let incident = world.call(&world.admin_key, "GET", path, &Value::Null).json();
        if incident["evidence"]["since_exposure"]["calls"] == calls {
            return incident;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{}", world.call(&world.admin_key, "GET", path, &Value::Null).text());
}

#[test]
fn an_incident_from_the_command_line_to_the_report() {
    let world = World::new();
    let made = world.key(&world.project_id, "ci");
    let (id, secret) = (made["id"].as_str().expect("an id"), made["value"].as_str().expect("a secret").to_owned());
    let body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]});
    for _ in 0..3 {
        assert_eq!(world.call(&secret, "POST", "/v1/chat/completions", &body).status, 200);
    }
    let folder = world.folder.path().join("incident");
    let out = folder.to_str().expect("text");
    let open = ["incident", "open", id, "--reason", "in a public repository", "--replace", "--out", out];
    let (ok, said) = command(&world, &open);
    assert!(ok, "{said}");
    let incident = said.lines().next().expect("an id").to_owned();
    assert!(
        incident.starts_with("incident_") && said.contains("revoked") && said.contains("replacement.key"),
        "{said}"
    );
    assert_eq!(world.call(&secret, "GET", "/v1/models", &Value::Null).status, 401);
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect(name);
    let replacement = read("replacement.key").trim().to_owned();
    assert_eq!(world.call(&replacement, "GET", "/v1/models", &Value::Null).status, 200);
    let mode = std::fs::metadata(folder.join("replacement.key")).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert!(read("report.md").contains("in a public repository") && read("report.json").contains(&incident));
    let (ok, again) = command(&world, &open);
    assert!(!ok && again.contains("name another folder"), "{again}");
    let path = format!("{INCIDENTS}/{incident}");
    let shown = settled(&world, &path, 3);
    assert_eq!(shown["evidence"]["since_exposure"]["models"][0]["model"], "gpt-4o");
    assert_eq!(shown["evidence"]["since_exposure"]["unexpected"]["charges"][0]["reasons"], json!(["no_baseline"]));
    assert!(command(&world, &["incident", "list", "--open"]).1.contains(&incident));
    assert!(command(&world, &["incident", "show", &incident]).1.contains("3 calls"));
    assert!(command(&world, &["incident", "note", &incident, "Rolled out."]).0);
    let (ok, said) = command(&world, &["incident", "limit", &incident]);
    assert!(!ok && said.contains("nothing was spent before"), "{said}");
    assert!(command(&world, &["incident", "close", &incident, "--note", "Done."]).1.contains("is closed"));
    let (_, report) = command(&world, &["incident", "report", &incident]);
    assert!(report.starts_with("# Exposed key: incident incident_") && report.contains("Rolled out."), "{report}");
    let (_, report) = command(&world, &["incident", "report", &incident, "--format", "json"]);
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!((&report["status"], &report["evidence"]["since_exposure"]["calls"]), (&json!("closed"), &json!(3)));
    let log = world.call(&world.admin_key, "GET", "/v1/organization/audit_logs", &Value::Null).json();
    let kinds: Vec<&str> =
        log["data"].as_array().expect("a list").iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(
        kinds[..5],
        ["incident.closed", "incident.updated", "incident.opened", "api_key.created", "api_key.deleted"]
    );
    for said in [world.diagnostics(), shown.to_string(), report.to_string(), log.to_string()] {
        assert!(!said.contains(&secret) && !said.contains(&replacement));
    }
    let gone = ["incident", "open", id, "--reason", "again", "--since", "1h"];
    assert!(command(&world, &gone).1.contains("gone_before"), "an incident can be opened for a key that is gone");
}

#[test]
fn the_leaked_key_is_read_from_standard_input() {
    let world = World::new();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_sallyport"))
        .args(["incident", "open", "-", "--reason", "in a gist", "--json"])
        .env_clear()
        .env("SALLYPORT_URL", format!("http://{}", world.address))
        .env("SALLYPORT_ADMIN_KEY", &world.admin_key)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("starts");
    child.stdin.take().expect("piped").write_all(format!("{}\n", world.project_key).as_bytes()).expect("written");
    let output = child.wait_with_output().expect("ends");
    let incident: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&incident["ending"], &incident["key"]["project_id"]), (&json!("revoked"), &json!(world.project_id)));
    assert!(!incident.to_string().contains(&world.project_key));
    assert_eq!(world.call(&world.project_key, "GET", "/v1/models", &Value::Null).status, 401);
}

/// The provider's answers to one report: five calls on two pages, and a quarter of a dollar.
fn provider_says(world: &World) {
    let answers = |path: &str, body: Value| {
        let path = Some(format!("/v1/organization/{path}"));
        world.upstream.script(Script { path, body: Some(body), ..Script::default() });
    };
    let page = |results: Value, next: Value| {
        json!({"object": "page", "has_more": next.is_string(), "next_page": next,
               "data": [{"object": "bucket", "start_time": 1_790_000_000, "end_time": 1_790_003_600, "results": results}]})
    };
    let used = |calls: u64| json!([{"model": "gpt-4o", "num_model_requests": calls}]);
    answers("usage/completions", page(used(3), json!("page_2")));
    answers("usage/completions", page(used(2), Value::Null));
    for kind in ["embeddings", "moderations", "images", "audio_speeches", "audio_transcriptions"] {
        answers(&format!("usage/{kind}"), page(json!([]), Value::Null));
    }
    answers("costs", page(json!([{"amount": {"value": 0.25, "currency": "usd"}}]), Value::Null));
}

#[test]
fn a_report_has_what_the_provider_itself_says() {
    let admin_key = "sk-admin-0123456789abcdefghijklmnopqrstuvwxyz-provider";
    let upstream = Upstream::start(Options::default());
    let url = upstream.url();
    let environment = [
        ("SALLYPORT_UPSTREAM_KEY", UPSTREAM_KEY),
        ("SALLYPORT_UPSTREAM_URL", url.as_str()),
        ("SALLYPORT_UPSTREAM_ADMIN_KEY", admin_key),
    ];
    let world = World::start(upstream, "[upstream]\nkey_id = \"key_real\"", &environment);
    provider_says(&world);
    let made = world.key(&world.project_id, "ci");
    let open = json!({"key_id": made["id"], "reason": "r"});
    let incident = world.call(&world.admin_key, "POST", INCIDENTS, &open).json();
    assert_eq!(incident["upstream_usage"]["is_available"], false, "nobody outside is waited for");
    assert!(world.upstream.requests().is_empty());
    let path = format!("{INCIDENTS}/{}/report", incident["id"].as_str().expect("an id"));
    let report = world.call(&world.admin_key, "GET", &path, &Value::Null).json();
    let usage = &report["upstream_usage"];
    assert_eq!((&usage["is_available"], &usage["calls"], &usage["cost"]), (&json!(true), &json!(5), &json!("0.25")));
    assert_eq!(report["key"]["upstream_key_ids"], json!(["key_real"]));
    let asked = world.upstream.requests();
    assert_eq!(asked.len(), 8);
    for request in &asked {
        assert_eq!(request.header("authorization"), Some(format!("Bearer {admin_key}").as_str()));
        assert!(request.target.contains("api_key_ids%5B%5D=key_real"), "{}", request.target);
    }
    assert!(asked[1].target.contains("page=page_2"), "{}", asked[1].target);
    // What cannot be read is said, and costs the report nothing else.
    world.upstream.script(Script { status: Some(500), body: Some(json!("oops")), ..Script::default() });
    let failed = world.call(&world.admin_key, "GET", &path, &Value::Null).json();
    assert_eq!(failed["upstream_usage"]["is_available"], false);
    assert!(failed["upstream_usage"]["why"].as_str().is_some_and(|why| why.contains("answered 500")), "{failed}");
    assert_eq!(failed["key"], report["key"]);
    for said in [world.diagnostics(), report.to_string(), failed.to_string()] {
        assert!(!said.contains(admin_key));
    }
}

#[test]
fn the_provider_is_asked_with_the_admin_key_of_the_upstream_that_the_project_uses() {
    let admin_key = "sk-admin-0123456789abcdefghijklmnopqrstuvwxyz-of-the-vault";
    let upstream = Upstream::start(Options::default());
    let url = upstream.url();
    let environment = [("SALLYPORT_UPSTREAM_KEY", UPSTREAM_KEY), ("SALLYPORT_UPSTREAM_URL", url.as_str())];
    let world = World::start(upstream, &format!("[vault]\n{HOSTS}"), &environment);
    let id = world.add_upstream("Theirs", &url);
    let key =
        json!({"name": "first", "value": "sk-svcacct-0123456789abcdefghijklmnopqrstuvwxyz", "key_id": "key_vault"});
    world.admin("POST", &format!("{UPSTREAMS}/{id}/keys"), &key);
    let made = world.key(&world.project_id, "ci");
    let incident = world.admin("POST", INCIDENTS, &json!({"key_id": made["id"], "reason": "r"}));
    let path = format!("{INCIDENTS}/{}/report", incident["id"].as_str().expect("an id"));
    world.choose("failover", &json!([{"id": id}]));
    let without = world.admin("GET", &path, &Value::Null);
    assert_eq!(without["key"]["upstream_key_ids"], json!(["key_vault"]));
    assert!(without["upstream_usage"]["why"].as_str().is_some_and(|why| why.contains("no admin key")), "{without}");
    let administration = json!({"administration": {"project_id": "proj_theirs", "key": admin_key}});
    world.admin("POST", &format!("{UPSTREAMS}/{id}"), &administration);
    provider_says(&world);
    let asked_before = world.upstream.requests().len();
    let report = world.admin("GET", &path, &Value::Null);
    assert_eq!((&report["upstream_usage"]["calls"], &report["upstream_usage"]["cost"]), (&json!(5), &json!("0.25")));
    for request in &world.upstream.requests()[asked_before..] {
        assert_eq!(request.header("authorization"), Some(format!("Bearer {admin_key}").as_str()));
        assert!(request.target.contains("api_key_ids%5B%5D=key_vault"), "{}", request.target);
    }
    assert!(!report.to_string().contains(admin_key) && !world.diagnostics().contains(admin_key));
}
