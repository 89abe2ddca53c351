//! Promise 2 for the vault: upstream keys, admin keys of the upstream and the master key leave by no path that upstreams
//! and rotations have added.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use testkit::{Options, Script, Upstream};

use crate::client::{Answer, request};
use crate::crowd::chat;
use crate::operation::command;
use crate::upstreams::{HOSTS, PATH};
use crate::world::{UPSTREAM_KEY, World};

/// Secrets whose middles are like nothing else, so that a part of one is found too.
const FIRST: &str = "sk-svcacct-Qm7Zp4Xw9Ld2Kv8Tn5Rb3Yc6Hf1Gj0Ns-first";
const BROKEN: &str = "sk-proj-Wc5Vr8Mt2Xz9Pk4Jd7Hb1Ln6Qs3Fg0Ty-that-the-upstream-refuses";
const SOURCED: &str = "sk-proj-Ze3Ru6Bi1Oa8Sd5Gh2Kl9Xc4Vn7Mq0Wp-from-a-file";
const ADMIN: &str = "sk-admin-Nh4Gt7Fr1Ed8Sw5Aq2Zx9Cv6Bm3Kl0Jp-of-the-upstream";
/// 32 bytes in hexadecimal.
const MASTER: &str = "9f1c4be27a80d3655e1f92ab37c80d4461e5b97f203a8c1dd6f04b82c7395ae1";

const ACCOUNTS: &str = "/v1/organization/projects/proj_real/service_accounts";

/// What must be found nowhere: middles of texts, and the master key's bytes.
fn needles() -> Vec<(String, Vec<u8>)> {
    let middle = |secret: &str| (secret.to_owned(), secret.as_bytes()[12..36].to_vec());
    let mut needles: Vec<_> = [FIRST, BROKEN, SOURCED, ADMIN, MASTER, UPSTREAM_KEY].map(middle).to_vec();
    let bytes = (0..64).step_by(2).map(|at| u8::from_str_radix(&MASTER[at..at + 2], 16).expect("hexadecimal"));
    needles.push(("the master key's bytes".to_owned(), bytes.collect::<Vec<u8>>()[8..24].to_vec()));
    needles
}

fn expect_none(place: &str, bytes: &[u8]) {
    for (secret, needle) in needles() {
        let is_found = bytes.windows(needle.len()).any(|window| window == needle);
        assert!(!is_found, "{secret} in {place}: {}", String::from_utf8_lossy(bytes));
    }
}

/// Looks through everything that an answer shows.
fn looked_through(what: &str, answer: &Answer) {
    expect_none(what, format!("{:?}{}", answer.headers, answer.text()).as_bytes());
}

#[test]
fn no_path_of_the_vault_tells_a_secret() {
    let upstream = Upstream::start(Options { key: Some(SOURCED.into()), ..Options::default() });
    upstream.administer(ADMIN);
    let (account, key_id) = upstream.add_service_account("proj_real", "first", FIRST);
    let url = upstream.url();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    std::fs::write(&file, SOURCED).expect("written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("ours");
    let config = format!(
        "[vault]\n{HOSTS}[vault.sources]\nfile = {{ file = \"{}\" }}\nfails = {{ command = [\"sh\", \"-c\", \"echo {BROKEN}; echo no >&2; exit 7\"] }}\nlong = {{ command = [\"sh\", \"-c\", \"echo {BROKEN} and more\"] }}",
        file.display()
    );
    let environment = [
        ("SALLYPORT_UPSTREAM_KEY", UPSTREAM_KEY),
        ("SALLYPORT_UPSTREAM_URL", url.as_str()),
        ("SALLYPORT_MASTER_KEY", MASTER),
    ];
    let world = World::start(upstream, &config, &environment);
    let id = world.add_upstream("Managed", &url);
    let at = format!("{PATH}/{id}");
    let admin = |method: &str, path: &str, body: &Value| {
        let answer = world.call(&world.admin_key, method, path, body);
        looked_through(&format!("{method} {path}"), &answer);
        answer
    };
    // Keys of every kind, well given and badly.
    let first = json!({"name": "first", "value": FIRST, "service_account_id": account, "key_id": key_id});
    admin("POST", &format!("{at}/keys"), &first);
    for body in [
        json!({"name": "broken", "value": BROKEN}),
        json!({"name": "file", "source": "file"}),
        json!({"name": "fails", "source": "fails"}),
        json!({"name": "long", "source": "long"}),
        json!({"name": "both", "value": BROKEN, "source": "file"}),
        json!({"name": "odd", "value": format!("{BROKEN} {BROKEN}")}),
        json!({"name": "nested", "value": {"key": BROKEN}}),
        json!({"name": BROKEN.repeat(20), "value": "x"}),
        json!({"name": "unknown", "secret": BROKEN}),
        json!({"name": "no source", "source": "x"}),
    ] {
        admin("POST", &format!("{at}/keys"), &body);
    }
    for body in [
        json!({"administration": {"project_id": "proj_real", "key": ADMIN, "source": "file"}}),
        json!({"administration": {"project_id": "a b", "key": ADMIN}}),
        json!({"administration": {"project_id": "proj_real", "key": ADMIN, "more": 1}}),
        json!({"administration": ADMIN}),
        json!({"administration": {"project_id": "proj_real", "key": ADMIN}}),
    ] {
        admin("POST", &at, &body);
    }
    admin("POST", PATH, &json!({"name": "x", "url": format!("https://user:{BROKEN}@127.0.0.1/v1")}));
    // Requests with every key, over every failure, and an upstream that shows what it was sent.
    admin(
        "POST",
        &format!("/v1/sallyport/projects/{}/upstreams", world.project_id),
        &json!({"upstreams": [{"id": id}]}),
    );
    let echo = json!({"error": {"message": format!("Incorrect API key provided: {FIRST} {BROKEN}"), "type": BROKEN, "code": "invalid_api_key", "param": null}});
    for script in [
        Script { echo_key: true, ..Script::default() },
        Script { status: Some(401), body: Some(echo.clone()), times: 9, ..Script::default() },
        Script { status: Some(429), times: 9, ..Script::default() },
        Script { status: Some(503), echo_key: true, times: 9, ..Script::default() },
        Script { disconnect: true, ..Script::default() },
        Script { garbage: true, ..Script::default() },
        Script { cut_after: Some(100), echo_key: true, ..Script::default() },
    ] {
        for stream in [false, true] {
            world.upstream.script(script.clone());
            let mut body = chat(20);
            body["stream"] = stream.into();
            looked_through("a chat", &world.post("/v1/chat/completions", &body));
            world.upstream.clear();
        }
    }
    // Rotations that fail in every way, and one that does not.
    let echoed = |status: u16| Script {
        status: Some(status),
        body: Some(echo.clone()),
        path: Some(ACCOUNTS.into()),
        method: Some("POST".into()),
        ..Script::default()
    };
    for script in [
        echoed(401),
        echoed(403),
        Script {
            status: Some(200),
            body: Some(json!({"id": ADMIN, "api_key": {"id": "x y", "value": FIRST}})),
            times: 7,
            ..echoed(200)
        },
        Script { status: None, body: None, echo_key: true, ..echoed(200) },
    ] {
        world.upstream.script(script);
        let keys = admin("GET", &format!("{at}/keys"), &Value::Null).json();
        let key = keys["data"].as_array().expect("a list").iter().find(|key| key["service_account_id"].is_string());
        let key = key.expect("the one that can be rotated")["id"].clone();
        let begun = admin("POST", &format!("{at}/rotate"), &json!({"key_id": key})).json();
        world.until("the rotation is over or stands", || {
            let last = admin("GET", &format!("{at}/rotations"), &Value::Null).json()["data"][0].clone();
            last["id"] == begun["id"]
                && (last["status"] == "failed" || last["status"] == "completed" || last["last_error"].is_string())
        });
        world.until("the rotation is over", || {
            let last = admin("GET", &format!("{at}/rotations"), &Value::Null).json()["data"][0].clone();
            if last["status"] == "creating" {
                world.upstream.clear();
            }
            last["status"] == "failed" || last["status"] == "completed"
        });
    }
    for path in
        [at.as_str(), PATH, &format!("{at}/keys"), &format!("{at}/rotations"), "/v1/organization/audit_logs?limit=100"]
    {
        admin("GET", path, &Value::Null);
    }
    let (_, listed) = command(&world, &["upstream", "key", "list", &id, "--json"]);
    expect_none("the command line", listed.as_bytes());
    let data = world.folder.path().join("data").display().to_string();
    for arguments in [vec!["vault", "status", "--data", &data], vec!["vault", "rewrap", "--data", &data]] {
        expect_none("the command line", command(&world, &arguments).1.as_bytes());
    }
    // Everything that is left on disk, and what machines read.
    expect_none("metrics", &world.raw(&request("GET", "/metrics", &[], b"")).body);
    world.log_lines(30);
    expect_none("diagnostics", world.diagnostics().as_bytes());
    for file in ["stdout", "data/sallyport.db", "data/sallyport.db-wal", "data/sallyport.db-shm"] {
        expect_none(file, &std::fs::read(world.folder.path().join(file)).unwrap_or_default());
    }
    assert!(!world.folder.path().join("data/master.key").exists(), "the master key is where the operator keeps it");
}
