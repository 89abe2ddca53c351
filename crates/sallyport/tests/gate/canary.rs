//! Promise 2, the long way round: a secret of every kind is planted, sent by every operation and every error path that
//! there is, wherever a client may put it; then everything that the gate wrote or said is searched.

use std::io::{Read, Write};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testkit::{Options, Script, Upstream};
use wire::endpoint::{Method, Opens, rows};

use crate::alerts::Receiver;
use crate::client::request;
use crate::world::{UPSTREAM_KEY, World};

const MASTER_KEY: [u8; 32] = *b"master key of the canary, 32 by.";
const SMTP_PASSWORD: &str = "smtp-password-of-the-canary-0123456789";

/// A secret, and what it is.
struct Planted {
    what: &'static str,
    secret: String,
}

impl Planted {
    /// Whether it is in these bytes, as it is or as encodings have it: the middle of it, which a masked one lacks.
    fn is_in(&self, bytes: &[u8]) -> bool {
        let middle = &self.secret.as_bytes()[12..34];
        let holds = |needle: &[u8]| memchr::memmem::find(bytes, needle).is_some();
        let wide: Vec<u8> = middle.iter().flat_map(|byte| [*byte, 0]).collect();
        // At each of the three places that it can have among groups of three.
        let encoded = (0..3).any(|at| holds(STANDARD.encode(&middle[at..at + 18]).as_bytes()));
        holds(middle) || holds(&wide) || encoded
    }
}

/// A gate with a secret of every kind.
fn plant() -> (World, Vec<Planted>, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let master = STANDARD.encode(MASTER_KEY);
    let upstream = Upstream::start(Options { key: Some(UPSTREAM_KEY.into()), ..Options::default() });
    let url = upstream.url();
    let config = format!(
        "[mail]\nurl = \"smtp://gate@127.0.0.1:1\"\nfrom = \"gate@example.com\"\n[[key_delivery]]\nname = \"file\"\nfile = {:?}\n",
        folder.path().join("delivered")
    );
    let environment = [
        ("SALLYPORT_UPSTREAM_KEY", UPSTREAM_KEY),
        ("SALLYPORT_UPSTREAM_URL", &url),
        ("SALLYPORT_MASTER_KEY", &master),
        ("SALLYPORT_SMTP_PASSWORD", SMTP_PASSWORD),
        ("SALLYPORT_LOG", "trace"),
    ];
    let world = World::start(upstream, &config, &environment);
    let mut planted = vec![
        Planted { what: "admin key", secret: world.admin_key.clone() },
        Planted { what: "project key", secret: world.project_key.clone() },
        Planted { what: "upstream key", secret: UPSTREAM_KEY.into() },
        Planted { what: "master key", secret: master },
        Planted { what: "master key, raw", secret: String::from_utf8_lossy(&MASTER_KEY).into_owned() + "...." },
        Planted { what: "SMTP password", secret: SMTP_PASSWORD.into() },
    ];
    let organization = |path: &str, body: &Value| world.call(&world.admin_key, "POST", path, body).json();
    let keys = format!("/v1/organization/projects/{}/api_keys", world.project_id);
    let value = |shown: &Value, name: &str| shown[name].as_str().unwrap_or_else(|| panic!("{shown}")).to_owned();
    let made = organization(&keys, &json!({"name": "rotated"}));
    let act = |act: &str, body: &Value| {
        let id = value(&made, "id");
        organization(&format!("/v1/sallyport/projects/{}/api_keys/{id}/{act}", world.project_id), body)
    };
    planted.push(Planted { what: "former secret", secret: value(&made, "value") });
    planted.push(Planted { what: "rotated secret", secret: value(&act("rotate", &json!({})), "value") });
    act("rotate", &json!({"deliver_to": "file", "overlap_seconds": 600}));
    let delivered = std::fs::read_to_string(folder.path().join("delivered")).expect("delivered");
    planted.push(Planted { what: "delivered secret", secret: delivered.trim().to_owned() });
    let decoy = organization(&keys, &json!({"name": "decoy", "sallyport": {"is_decoy": true}}));
    planted.push(Planted { what: "decoy", secret: value(&decoy, "value") });
    let gone = organization(&keys, &json!({"name": "gone"}));
    world.call(&world.admin_key, "DELETE", &format!("{keys}/{}", value(&gone, "id")), &Value::Null);
    planted.push(Planted { what: "revoked key", secret: value(&gone, "value") });
    let accounts = format!("/v1/organization/projects/{}/service_accounts", world.project_id);
    let account = organization(&accounts, &json!({"name": "robot"}));
    planted.push(Planted { what: "service account's key", secret: value(&account["api_key"], "value") });
    let reader = organization("/v1/organization/admin_api_keys", &json!({"name": "second"}));
    planted.push(Planted { what: "second admin key", secret: value(&reader, "value") });
    let client = world.post("/v1/sallyport/client_secrets", &json!({"device": "watch"})).json();
    planted.push(Planted { what: "client secret", secret: value(&client, "value") });
    let receiver = Receiver::start(&[500]);
    let webhook = organization("/v1/sallyport/webhooks", &json!({"name": "w", "url": receiver.url}));
    planted.push(Planted { what: "webhook secret", secret: value(&webhook, "secret") });
    (world, planted, folder)
}

/// Bytes of every operation, and of what is no operation, with a secret in every place where a client may put one.
fn requests(key: &str) -> Vec<Vec<u8>> {
    let bearer = format!("Bearer {key}");
    let basic = format!("Basic {}", STANDARD.encode(format!("user:{key}")));
    let body = json!({"model": key, "name": key, "messages": [], "input": key, "metadata": {"k": key}}).to_string();
    let mut all = Vec::new();
    let plain: [(&str, &str); 2] = [("Authorization", &bearer), ("Content-Type", "application/json")];
    for row in rows() {
        let segment = |part: &str| if part.starts_with('{') { "id-1".to_owned() } else { part.to_owned() };
        let path: String = row.path.split('/').map(segment).collect::<Vec<_>>().join("/");
        let is_post = row.method == Method::Post;
        // The deletion of the very keys that are planted is tried elsewhere.
        if row.opens == Opens::AdminKey && (path.ends_with("/archive") || row.method == Method::Delete) {
            continue;
        }
        all.push(request(row.method.as_str(), &path, &plain, if is_post { body.as_bytes() } else { b"" }));
    }
    let everywhere = [
        ("Authorization", bearer.as_str()),
        ("X-Api-Key", key),
        ("X-Client-Request-Id", key),
        ("User-Agent", key),
        ("Idempotency-Key", key),
        ("OpenAI-Organization", key),
        ("OpenAI-Project", key),
        ("X-Sallyport-Run", key),
        ("X-Sallyport-Tag", key),
        ("X-Sallyport-Device", key),
        ("Origin", key),
        ("Referer", key),
        ("Cookie", key),
        ("Content-Type", "application/json"),
    ];
    for name in 1..everywhere.len() - 1 {
        let headers = [everywhere[0], everywhere[name], everywhere[13]];
        all.push(request("POST", "/v1/chat/completions", &headers, br#"{"model": "gpt-4o", "messages": []}"#));
    }
    all.push(request("POST", "/v1/chat/completions", &everywhere, body.as_bytes()));
    let path = format!("/v1/{key}");
    let query = format!("/v1/models?api_key={key}&key={key}");
    let object = format!("/v1/files/{key}");
    for target in [path.as_str(), &query, &object, &format!("/v1/models/{key}"), &format!("/{key}?{key}")] {
        all.push(request("GET", target, &plain, b""));
        all.push(request("GET", target, &[], b""));
    }
    let method = key.replace('_', "-");
    all.push(request(&method[..24], "/v1/models", &plain, b""));
    all.push(request("GET", "/v1/models", &[("Authorization", &basic)], b""));
    all.push(request("GET", "/v1/models", &[("Authorization", key)], b""));
    all.push(request("GET", "/v1/models", &[("Authorization", &bearer), ("Authorization", &bearer)], b""));
    let preflight =
        [("Origin", key), ("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", key)];
    all.push(request("OPTIONS", "/v1/chat/completions", &preflight, b""));
    let broken = format!("{{\"model\": \"{key}\", \"{key}\": 1, \"{key}\": 2");
    all.push(request("POST", "/v1/chat/completions", &plain, broken.as_bytes()));
    let twice = format!("{{\"{key}\": 1, \"{key}\": 2}}");
    all.push(request("POST", "/v1/responses", &plain, twice.as_bytes()));
    let odd = [("Authorization", bearer.as_str()), ("Content-Type", key)];
    all.push(request("POST", "/v1/responses", &odd, b"{}"));
    let encoded = [("Authorization", bearer.as_str()), ("Content-Type", "application/json"), ("Content-Encoding", key)];
    all.push(request("POST", "/v1/responses", &encoded, b"{}"));
    let form = format!("--b\r\nContent-Disposition: form-data; name=\"{key}\"; filename=\"{key}\"\r\n\r\n{key}\r\n--b");
    let multipart = [("Authorization", bearer.as_str()), ("Content-Type", "multipart/form-data; boundary=b")];
    all.push(request("POST", "/v1/files", &multipart, form.as_bytes()));
    all.push(request("POST", "/v1/audio/transcriptions", &multipart, form.as_bytes()));
    all.push(format!("{key}\r\n\r\n").into_bytes());
    all.push(format!("GET / HTTP/1.1\r\n{key}\r\n\r\n").into_bytes());
    all
}

/// Everything that comes back, whatever it is.
fn exchange(world: &World, bytes: &[u8]) -> Vec<u8> {
    let mut stream = std::net::TcpStream::connect(world.address).expect("the gate listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let mut bytes = bytes.to_vec();
    if let Some(at) = memchr::memmem::find(&bytes, b"HTTP/1.1\r\n") {
        let at = at + b"HTTP/1.1\r\n".len();
        bytes.splice(at..at, b"Connection: close\r\n".iter().copied());
    }
    // A refusal may close the connection while the rest is still being written.
    let _ = stream.write_all(&bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn no_secret_is_in_anything_that_the_gate_says_or_writes() {
    let (mut world, planted, folder) = plant();
    let mut said = 0;
    let scripts = [
        Script::default(),
        Script { status: Some(500), ..Script::default() },
        Script { status: Some(401), ..Script::default() },
        Script { garbage: true, ..Script::default() },
        Script { echo_key: true, ..Script::default() },
    ];
    let presented =
        ["admin key", "project key", "rotated secret", "decoy", "revoked key", "client secret", "upstream key"];
    for (number, key) in planted.iter().filter(|planted| presented.contains(&planted.what)).enumerate() {
        for (at, bytes) in requests(&key.secret).into_iter().enumerate() {
            world.upstream.script(scripts[(number + at) % scripts.len()].clone());
            let answer = exchange(&world, &bytes);
            said += answer.len();
            // An upstream may repeat what its caller told it: that is its answer, which passes as it is.
            let is_upstream_s = memchr::memmem::find(&answer, b"x-sallyport-upstream-request-id").is_some();
            for secret in planted.iter().filter(|secret| !is_upstream_s || secret.what != key.what) {
                assert!(
                    !secret.is_in(&answer),
                    "{} in an answer to {}:\n{}",
                    secret.what,
                    key.what,
                    String::from_utf8_lossy(&answer)
                );
            }
            for recorded in world.upstream.requests() {
                let headers = format!("{:?}", recorded.headers);
                let ours = planted.iter().filter(|secret| secret.what != "upstream key");
                ours.for_each(|secret| {
                    assert!(!secret.is_in(headers.as_bytes()), "{} went upstream: {headers}", secret.what)
                });
            }
            world.upstream.clear();
        }
    }
    assert!(said > 100_000, "{said} bytes of answers");
    let metrics = world.raw(&request("GET", "/metrics", &[], b"")).body;
    let audit = world.call(&world.admin_key, "GET", "/v1/organization/audit_logs?limit=100", &Value::Null).body;
    let findings = world.call(&world.admin_key, "GET", "/v1/sallyport/findings?limit=100", &Value::Null).body;
    let notices = world.call(&world.admin_key, "GET", "/v1/sallyport/notices?limit=100", &Value::Null).body;
    let mut places = vec![
        ("metrics".into(), metrics),
        ("audit log".into(), audit),
        ("findings".into(), findings),
        ("notices".into(), notices),
    ];
    // What is flushed at a stop is searched, too; the WAL as a kill leaves it.
    places.extend(files(&world));
    world.stop("-TERM");
    places.extend(files(&world));
    assert!(places.iter().any(|(place, bytes)| place.ends_with("sallyport.db") && bytes.len() > 10_000));
    assert!(places.iter().any(|(place, bytes)| place.ends_with("sallyport.db-wal") && bytes.len() > 10_000));
    assert!(places.iter().any(|(place, bytes)| place.ends_with("stdout") && bytes.len() > 10_000));
    for (place, bytes) in places {
        for secret in &planted {
            assert!(!secret.is_in(&bytes), "{} in {place}", secret.what);
        }
    }
    drop(folder);
}

/// Every file of the gate's, but the one that holds the first secrets by the operator's wish.
fn files(world: &World) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![world.folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                _ if path.ends_with("boot.json") => {}
                _ => found.push((path.display().to_string(), std::fs::read(&path).unwrap_or_default())),
            }
        }
    }
    found
}

/// The test above can fail: what it searches with finds secrets.
#[test]
fn a_secret_is_found_in_every_shape() {
    let planted = Planted { what: "x", secret: "sp-proj_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklm".into() };
    let wide: Vec<u8> = planted.secret.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for pad in ["", "x", "xy"] {
        assert!(planted.is_in(STANDARD.encode(format!("{pad}{}", planted.secret)).as_bytes()), "{pad}");
    }
    assert!(planted.is_in(planted.secret.as_bytes()) && planted.is_in(&wide));
    assert!(!planted.is_in(b"sp-proj_****jklm"));
}
