//! Several upstreams and keys: choosing, fail-over, live change, sources, the vault.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{Options, Script, Upstream};

use crate::client::request;
use crate::crowd::chat;
use crate::operation::command;
use crate::world::{UPSTREAM_KEY, World};

/// Upstreams of these tests are on this machine, without TLS.
pub(crate) const HOSTS: &str = "upstream_hosts = [\"http://127.0.0.1\"]\n";

pub(crate) const PATH: &str = "/v1/sallyport/upstreams";

pub(crate) fn world() -> World {
    World::with(&format!("[vault]\n{HOSTS}"))
}

pub(crate) fn second(key: &str) -> Upstream {
    Upstream::start(Options { key: Some(key.into()), ..Options::default() })
}

impl World {
    /// A new upstream at an address; its id.
    pub(crate) fn add_upstream(&self, name: &str, url: &str) -> String {
        let made = self.admin("POST", PATH, &json!({"name": name, "url": url}));
        made["id"].as_str().expect("an id").to_owned()
    }

    /// A key of an upstream by its value; its id.
    pub(crate) fn add_key(&self, upstream: &str, value: &str) -> String {
        let path = format!("{PATH}/{upstream}/keys");
        let made = self.admin("POST", &path, &json!({"name": "key", "value": value}));
        assert!(!made.to_string().contains(value), "not even once");
        made["id"].as_str().expect("an id").to_owned()
    }

    /// A project's upstreams from now on.
    pub(crate) fn choose(&self, strategy: &str, upstreams: &Value) {
        let path = format!("/v1/sallyport/projects/{}/upstreams", self.project_id);
        self.admin("POST", &path, &json!({"strategy": strategy, "upstreams": upstreams}));
    }

    /// A key as it is listed.
    pub(crate) fn upstream_key(&self, upstream: &str, key: &str) -> Value {
        self.admin("GET", &format!("{PATH}/{upstream}/keys/{key}"), &Value::Null)
    }

    fn status_of_chat(&self) -> u16 {
        self.post("/v1/chat/completions", &chat(20)).status
    }
}

fn count(upstream: &Upstream) -> usize {
    upstream.requests().len()
}

#[test]
fn a_key_is_in_force_at_once_and_shown_nowhere() {
    let world = world();
    let other = second("sk-second-0123456789abcdefghijklmnop-value");
    let id = world.add_upstream("Second", &other.url());
    world.choose("failover", &json!([{"id": id}]));
    let answer = world.post("/v1/chat/completions", &chat(20));
    assert_eq!((answer.status, answer.error_code().as_str()), (502, "upstream_unreachable"));
    assert!(answer.text().contains("sallyport upstream list"), "{}", answer.text());
    let key = world.add_key(&id, "sk-second-0123456789abcdefghijklmnop-value");
    assert_eq!(world.status_of_chat(), 200);
    assert_eq!((count(&other), count(&world.upstream)), (1, 0));
    let shown = world.upstream_key(&id, &key);
    assert_eq!(
        (&shown["redacted_value"], &shown["health"], &shown["in_flight"]),
        (&json!("sk-****alue"), &json!("healthy"), &json!(0))
    );
    assert!(shown["last_used_at"].is_i64());
    let path = format!("{PATH}/{id}/keys/{key}");
    world.admin("POST", &path, &json!({"status": "disabled"}));
    assert_eq!(world.status_of_chat(), 502);
    world.admin("POST", &path, &json!({"status": "enabled"}));
    assert_eq!(world.status_of_chat(), 200);
    world.admin("POST", &format!("{PATH}/{id}"), &json!({"status": "disabled"}));
    assert_eq!(world.status_of_chat(), 502);
    world.admin("POST", &format!("{PATH}/{id}"), &json!({"status": "enabled"}));
    world.admin("DELETE", &path, &Value::Null);
    assert_eq!(world.status_of_chat(), 502);
    let refused = world.call(&world.admin_key, "DELETE", &format!("{PATH}/{id}"), &Value::Null);
    assert_eq!(refused.status, 400, "a project uses it");
    world.admin("DELETE", &format!("/v1/sallyport/projects/{}/upstreams", world.project_id), &Value::Null);
    assert_eq!((world.status_of_chat(), count(&world.upstream)), (200, 1), "the default again");
    world.admin("DELETE", &format!("{PATH}/{id}"), &Value::Null);
    let events = world.admin("GET", "/v1/organization/audit_logs?limit=100", &Value::Null);
    let kinds: Vec<&str> =
        events["data"].as_array().expect("a list").iter().filter_map(|event| event["type"].as_str()).collect();
    for kind in [
        "upstream.created",
        "upstream.updated",
        "upstream.deleted",
        "upstream_key.created",
        "upstream_key.updated",
        "upstream_key.deleted",
        "upstream_policy.updated",
        "upstream_policy.deleted",
    ] {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
}

#[test]
fn what_was_set_is_in_force_after_a_restart() {
    let mut world = world();
    let other = second("sk-second-0123456789abcdefghijklmnop-value");
    let id = world.add_upstream("Second", &other.url());
    world.add_key(&id, "sk-second-0123456789abcdefghijklmnop-value");
    world.choose("failover", &json!([{"id": id}, {"id": "default"}]));
    world.restart("-KILL");
    assert_eq!((world.status_of_chat(), count(&other), count(&world.upstream)), (200, 1, 0));
}

#[test]
fn an_admin_key_sends_nothing_to_a_place_of_its_choosing() {
    let world = World::with("[vault]\nupstream_hosts = [\"*.openai.azure.com\"]");
    for url in [
        "http://169.254.169.254/latest",
        "https://evil.example/v1",
        "http://ours.openai.azure.com/v1",
        "file:///etc/passwd",
        "https://user:pw@ours.openai.azure.com/v1",
    ] {
        let answer = world.call(&world.admin_key, "POST", PATH, &json!({"name": "X", "url": url}));
        assert_eq!(
            (answer.status, answer.json()["error"]["param"].as_str()),
            (400, Some("url")),
            "{url}: {}",
            answer.text()
        );
    }
    let id = world.add_upstream("Azure", "https://ours.openai.azure.com/v1/");
    world.add_upstream("As configured", &world.upstream.url());
    let changed =
        world.call(&world.admin_key, "POST", &format!("{PATH}/{id}"), &json!({"url": "https://evil.openai.azure.com"}));
    assert!(changed.status == 400 && changed.text().contains("given for it"), "{}", changed.text());
    for (body, word) in [
        (json!({"name": "k", "source": "production"}), "[vault.sources]"),
        (json!({"name": "k", "command": ["id"]}), "Unknown parameter"),
        (json!({"name": "k", "file": "/etc/passwd"}), "Unknown parameter"),
        (json!({"name": "k", "value": world.project_key}), "not of an upstream"),
        (json!({"name": "k", "value": "two words"}), "no blanks"),
        (json!({"name": "k"}), "Missing required parameter: 'value'"),
        (json!({"name": "k", "value": "sk-1", "source": "x"}), "together"),
    ] {
        let answer = world.call(&world.admin_key, "POST", &format!("{PATH}/{id}/keys"), &body);
        assert!(answer.status == 400 && answer.text().contains(word), "{word}: {}", answer.text());
    }
    for (path, method) in [
        (format!("{PATH}/default"), "POST"),
        (format!("{PATH}/default/keys"), "POST"),
        (format!("{PATH}/default"), "DELETE"),
    ] {
        let answer = world.call(&world.admin_key, method, &path, &json!({"name": "x", "value": "sk-1"}));
        assert!(answer.status == 400, "{method} {path}: {}", answer.text());
    }
}

/// What the first upstream does, and whether the second is asked then.
#[test]
fn another_upstream_is_asked_only_where_nothing_happened() {
    let dead = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        format!("http://{}/v1", listener.local_addr().expect("bound"))
    };
    let refused = json!({"error": {"message": "Incorrect API key", "type": "invalid_request_error", "param": null, "code": "invalid_api_key"}});
    let scope = json!({"error": {"message": "Missing scopes", "type": "invalid_request_error", "param": null, "code": "missing_scope"}});
    let script = || Script { path: Some("/v1/chat".into()), ..Script::default() };
    let cases: Vec<(&str, Option<Script>, bool, u16)> = vec![
        ("no connection", None, true, 200),
        ("its key is refused", Some(Script { status: Some(401), body: Some(refused), ..script() }), true, 200),
        ("a rate limit", Some(Script { status: Some(429), ..script() }), true, 200),
        ("overloaded", Some(Script { status: Some(503), ..script() }), true, 200),
        ("a 401 about something else", Some(Script { status: Some(401), body: Some(scope), ..script() }), false, 401),
        ("a bad request", Some(Script { status: Some(400), ..script() }), false, 400),
        ("an error that may have worked", Some(Script { status: Some(500), ..script() }), false, 500),
        ("a bad gateway", Some(Script { status: Some(502), ..script() }), false, 502),
        ("a gateway's timeout", Some(Script { status: Some(504), ..script() }), false, 504),
        ("a connection lost after the request", Some(Script { disconnect: true, ..script() }), false, 502),
        ("something that is not HTTP", Some(Script { garbage: true, ..script() }), false, 502),
    ];
    for (name, script, goes_on, status) in cases {
        let world = world();
        let other = second("sk-second");
        let first = if script.is_none() { world.add_upstream("First", &dead) } else { "default".to_owned() };
        if script.is_none() {
            world.add_key(&first, "sk-dead");
        }
        let id = world.add_upstream("Second", &other.url());
        world.add_key(&id, "sk-second");
        world.choose("failover", &json!([{"id": first}, {"id": id}]));
        script.into_iter().for_each(|script| world.upstream.script(script));
        for stream in [false, true] {
            // Only the first request meets the script; a stream goes the same way.
            let mut body = chat(20);
            body["stream"] = stream.into();
            let answer = world.post("/v1/chat/completions", &body);
            assert_eq!(answer.status, if stream { 200 } else { status }, "{name}: {}", answer.text());
            if !stream {
                assert_eq!(count(&other), usize::from(goes_on), "{name}");
            }
        }
        let (status, ready) = {
            let answer = world.raw(&request("GET", "/readyz", &[], b""));
            (answer.status, answer.json()["status"].clone())
        };
        assert_eq!((status, ready), (200, json!("ready")), "{name}: one of two makes nobody less ready");
        assert_eq!(world.metric("sallyport_upstream_failovers_total") > 0, goes_on, "{name}");
    }
}

#[test]
fn a_stream_that_broke_is_not_begun_again_elsewhere() {
    let world = world();
    let other = second("sk-second");
    let id = world.add_upstream("Second", &other.url());
    world.add_key(&id, "sk-second");
    world.choose("failover", &json!([{"id": "default"}, {"id": id}]));
    for script in
        [Script { cut_after: Some(300), ..Script::default() }, Script { reset_after: Some(300), ..Script::default() }]
    {
        world.upstream.script(script);
        let mut body = chat(20);
        body["stream"] = true.into();
        let answer = world.post("/v1/chat/completions", &body);
        assert!(answer.status == 200 && answer.text().contains("upstream_broken"), "{}", answer.text());
    }
    assert_eq!(count(&other), 0);
}

#[test]
fn when_nobody_works_the_first_answer_is_passed_on() {
    let world = world();
    let other = second("sk-second");
    let id = world.add_upstream("Second", &other.url());
    world.add_key(&id, "sk-second");
    world.choose("failover", &json!([{"id": "default"}, {"id": id}]));
    let limited = json!({"error": {"message": "Rate limit of the first", "type": "requests", "param": null, "code": "rate_limit_exceeded"}});
    world.upstream.script(Script { status: Some(429), body: Some(limited), times: 9, ..Script::default() });
    other.script(Script { status: Some(503), times: 9, ..Script::default() });
    let answer = world.post("/v1/chat/completions", &chat(20));
    assert!(answer.status == 429 && answer.text().contains("of the first"), "{}", answer.text());
    let answer = world.post("/v1/chat/completions", &chat(20));
    assert!(answer.status == 429 || answer.status == 503, "the last resort is tried though all are left alone");
}

#[test]
fn a_limited_upstream_is_left_alone_for_as_long_as_it_says() {
    let world = world();
    let other = second("sk-second");
    let id = world.add_upstream("Second", &other.url());
    let key = world.add_key(&id, "sk-second");
    world.choose("failover", &json!([{"id": id}, {"id": "default"}]));
    other.script(Script {
        status: Some(429),
        headers: [("retry-after".to_owned(), "3".to_owned())].into(),
        ..Script::default()
    });
    let begun = Instant::now();
    for _ in 0..5 {
        assert_eq!(world.status_of_chat(), 200);
    }
    if begun.elapsed() < Duration::from_secs(3) {
        assert_eq!((count(&other), count(&world.upstream)), (1, 5));
        let shown = world.upstream_key(&id, &key);
        assert!(shown["health"] == "failing" && shown["retry_in_ms"].as_u64().is_some_and(|ms| ms <= 3_000), "{shown}");
        assert_eq!(world.metric("sallyport_upstream_keys_open"), 1);
    }
    world.until("it is tried again and is well", || {
        assert_eq!(world.status_of_chat(), 200);
        world.upstream_key(&id, &key)["health"] == "healthy"
    });
    assert!(begun.elapsed() >= Duration::from_secs(3));
}

#[test]
fn stored_objects_stay_at_the_project_s_home() {
    let world = world();
    let other = second("sk-second");
    let id = world.add_upstream("Second", &other.url());
    world.add_key(&id, "sk-second");
    world.choose("failover", &json!([{"id": "default"}, {"id": id}]));
    let at_second = |path: &str, body: &Value| {
        let before = count(&other);
        world.upstream.script(Script { status: Some(503), ..Script::default() });
        let answer = world.post(path, body);
        let went = count(&other) > before;
        assert_eq!(answer.status, if went { 200 } else { 503 }, "{path} {body}: {}", answer.text());
        // What was not met is forgotten, and so is what was learnt of the breaker.
        world.upstream.clear();
        std::thread::sleep(Duration::from_millis(50));
        went
    };
    let response = |more: Value| {
        let mut body = json!({"model": "gpt-4o", "input": "x", "service_tier": "default", "max_output_tokens": 20});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        body
    };
    let mut stored = chat(20);
    stored["store"] = true.into();
    let mut with_file = chat(20);
    with_file["messages"] = json!([{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]);
    let mut tuned = chat(20);
    tuned["model"] = json!("ft:gpt-4o:ours::1");
    for (path, body, roams) in [
        ("/v1/chat/completions", chat(20), true),
        ("/v1/embeddings", json!({"model": "text-embedding-3-small", "input": "x"}), true),
        ("/v1/responses", response(json!({"store": false})), true),
        ("/v1/chat/completions", stored, false),
        ("/v1/chat/completions", with_file, false),
        ("/v1/chat/completions", tuned, false),
        ("/v1/responses", response(json!({})), false),
        ("/v1/responses", response(json!({"store": false, "previous_response_id": "resp_1"})), false),
        ("/v1/conversations", json!({}), false),
        ("/v1/vector_stores", json!({"name": "x"}), false),
    ] {
        assert_eq!(at_second(path, &body), roams, "{path} {body}");
    }
}

#[test]
fn weights_share_the_requests() {
    let world = world();
    let other = second("sk-second");
    let id = world.add_upstream("Second", &other.url());
    world.add_key(&id, "sk-second");
    world.choose("weighted", &json!([{"id": "default", "weight": 3}, {"id": id, "weight": 1}]));
    for _ in 0..40 {
        assert_eq!(world.status_of_chat(), 200);
    }
    assert!((8..=12).contains(&count(&other)), "{}", count(&other));
    assert_eq!(count(&other) + count(&world.upstream), 40);
}

fn write(path: &Path, text: &str, mode: u32) {
    let unfinished = path.with_extension("new");
    std::fs::write(&unfinished, text).expect("written");
    std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(mode)).expect("ours");
    std::fs::rename(&unfinished, path).expect("in place");
}

#[test]
fn a_source_that_changes_on_disk_is_in_force_without_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("openai");
    write(&path, "sk-before", 0o644);
    let sources = format!(
        "[vault]\n{HOSTS}[vault.sources]\nproduction = {{ file = \"{0}\" }}\nprinted = {{ command = [\"cat\", \"{0}\"] }}\nvariable = {{ environment = \"SALLYPORT_UPSTREAM_KEY\" }}",
        path.display()
    );
    let world = World::with(&sources);
    let other = second("sk-before");
    let id = world.add_upstream("Second", &other.url());
    let made = world.admin("POST", &format!("{PATH}/{id}/keys"), &json!({"name": "k", "source": "production"}));
    let key = made["id"].as_str().expect("an id");
    assert!(
        made["health"] == "unavailable" && made["problem"].as_str().is_some_and(|words| words.contains("chmod 600")),
        "{made}"
    );
    world.choose("failover", &json!([{"id": id}]));
    assert_eq!(world.status_of_chat(), 502);
    write(&path, "sk-before\n", 0o440);
    world.until("the file's mode is right", || world.upstream_key(&id, key)["health"] == "healthy");
    assert_eq!(world.status_of_chat(), 200);
    other.set_keys(&["sk-after"]);
    let refused = world.post("/v1/chat/completions", &chat(20));
    assert_eq!(refused.error_code(), "upstream_key_refused");
    write(&path, "sk-after", 0o600);
    world.until("the file's new key is in force", || world.status_of_chat() == 200);
    let printed = world.admin("POST", &format!("{PATH}/{id}/keys"), &json!({"name": "p", "source": "printed"}));
    assert_eq!(printed["health"], "healthy");
    let variable = world.admin("POST", &format!("{PATH}/{id}/keys"), &json!({"name": "v", "source": "variable"}));
    assert_eq!((&variable["health"], &variable["redacted_value"]), (&json!("healthy"), &Value::Null));
    assert!(!world.diagnostics().contains("sk-after"));
}

#[test]
fn the_command_line_administers_upstreams() {
    let world = world();
    let other = second("sk-second");
    let run = |arguments: &[&str]| {
        let (ok, said) = command(&world, arguments);
        assert!(ok, "{arguments:?}: {said}");
        said
    };
    let first_line = |said: &str| said.lines().next().expect("a line").to_owned();
    let id = first_line(&run(&["upstream", "add", "Second", &other.url()]));
    let key = folder_with_key(&world, "sk-second");
    let said = std::process::Command::new("sh")
        .args(["-c", "\"$0\" upstream key add \"$1\" first < \"$2\"", env!("CARGO_BIN_EXE_sallyport"), &id])
        .arg(&key)
        .env("SALLYPORT_URL", format!("http://{}", world.address))
        .env("SALLYPORT_ADMIN_KEY", &world.admin_key)
        .output()
        .expect("runs");
    assert!(said.status.success(), "{said:?}");
    let key = first_line(&String::from_utf8_lossy(&said.stdout));
    let weighted = format!("{id}=3");
    run(&["upstream", "use", &world.project_id, &weighted, "default", "--weighted"]);
    assert!(run(&["upstream", "use", &world.project_id]).contains(&format!("{id}=3 default=1 (weighted)")));
    run(&["upstream", "use", &world.project_id, &id]);
    assert_eq!(world.status_of_chat(), 200);
    let listed = run(&["upstream", "key", "list", &id]);
    assert!(listed.contains(&key) && listed.contains("healthy") && !listed.contains("sk-second"), "{listed}");
    let listed = run(&["upstream", "list"]);
    assert!(listed.contains("default") && listed.contains("Second"), "{listed}");
    run(&["upstream", "key", "disable", &id, &key]);
    assert_eq!(world.status_of_chat(), 502);
    run(&["upstream", "key", "enable", &id, &key]);
    run(&["upstream", "use", &world.project_id, "--default"]);
    run(&["upstream", "key", "remove", &id, &key]);
    run(&["upstream", "remove", &id]);
}

fn folder_with_key(world: &World, key: &str) -> std::path::PathBuf {
    let path = world.folder.path().join("key.txt");
    write(&path, key, 0o600);
    path
}

#[test]
fn the_vault_is_rewrapped_while_the_gate_is_stopped() {
    let mut world = world();
    let other = second("sk-second");
    let id = world.add_upstream("Second", &other.url());
    world.add_key(&id, "sk-second");
    world.choose("failover", &json!([{"id": id}]));
    world.admin("POST", "/v1/sallyport/webhooks", &json!({"name": "hook", "url": "http://127.0.0.1:9/hook"}));
    let data = world.folder.path().join("data").display().to_string();
    let (ok, said) = command(&world, &["vault", "status", "--data", &data]);
    assert!(!ok && said.contains("stop it first"), "{said}");
    world.stop("-TERM");
    let (ok, before) = command(&world, &["vault", "status", "--data", &data]);
    assert!(
        ok && before.contains("1, of 1 upstreams") && before.contains("pepper") && before.contains("webhook/"),
        "{before}"
    );
    let (ok, said) = command(&world, &["vault", "rewrap", "--data", &data]);
    assert!(ok && said.contains("master.key.former"), "{said}");
    let (_, after) = command(&world, &["vault", "status", "--data", &data]);
    let line = |text: &str, start: &str| text.lines().find(|line| line.starts_with(start)).map(str::to_owned);
    assert_ne!(line(&before, "master key"), line(&after, "master key"));
    assert_eq!(line(&before, "data key"), line(&after, "data key"));
    let mode = std::fs::metadata(format!("{data}/master.key")).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    world.resume();
    assert_eq!(world.status_of_chat(), 200, "the client's key and the upstream's open as before");
    let events = world.admin("GET", "/v1/organization/audit_logs", &Value::Null);
    assert_eq!(events["data"][0]["type"], "sallyport.vault.rewrapped");
}

/// Killed at any moment of a rewrap, the gate starts.
#[test]
fn a_rewrap_that_is_killed_leaves_a_gate_that_starts() {
    let mut world = world();
    world.stop("-TERM");
    let data = world.folder.path().join("data");
    for pause_ms in [1, 3, 6, 10, 15, 20, 30, 45] {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_sallyport"))
            .args(["vault", "rewrap", "--data"])
            .arg(&data)
            .env_clear()
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("starts");
        std::thread::sleep(Duration::from_millis(pause_ms));
        child.kill().expect("killed");
        child.wait().expect("ended");
        let (ok, said) = command(&world, &["vault", "status", "--data", &data.display().to_string()]);
        assert!(ok, "after {pause_ms} ms: {said}");
    }
    world.resume();
    assert_eq!(world.status_of_chat(), 200);
    assert!(world.diagnostics().lines().all(|line| !line.contains(UPSTREAM_KEY)));
}
