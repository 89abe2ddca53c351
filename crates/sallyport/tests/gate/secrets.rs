//! Promise 2: no secret leaves, whatever path is taken.

use serde_json::{Value, json};
use testkit::Script;

use crate::client::request;
use crate::world::{UPSTREAM_KEY, World};

/// Searches bytes for the middle of a secret: a masked one is not found.
fn holds(bytes: &[u8], secret: &str) -> bool {
    let middle = &secret.as_bytes()[12..36];
    bytes.windows(middle.len()).any(|window| window == middle)
}

#[test]
fn an_upstream_that_echoes_the_gate_s_key_is_silenced() {
    let world = World::new();
    for stream in [false, true] {
        for chunk_bytes in [0, 1, 7] {
            world.upstream.script(Script { echo_key: true, chunk_bytes, ..Script::default() });
            let answer =
                world.post("/v1/chat/completions", &json!({"model": "gpt-4o", "stream": stream, "messages": []}));
            let shown = format!("{:?} {}", answer.headers, answer.text());
            assert!(!holds(shown.as_bytes(), UPSTREAM_KEY), "{shown}");
            assert!(answer.header("x-echo").is_none());
            assert!(!answer.is_whole || shown.contains("upstream_secret_withheld"), "{shown}");
        }
    }
    world.upstream.script(Script { echo_key: true, ..Script::default() });
    let answer = world.post("/v1/responses", &json!({"model": "gpt-4o", "input": "x"}));
    assert!(answer.status == 502 && !holds(&answer.body, UPSTREAM_KEY));
}

#[test]
fn planted_secrets_are_in_no_file_log_metric_or_record() {
    let world = World::new();
    let (_, other) = world.project("Other");
    let secrets = [world.admin_key.clone(), world.project_key.clone(), other, UPSTREAM_KEY.to_owned()];
    for key in &secrets {
        let bearer = format!("Bearer {key}");
        let headers = [
            ("Authorization", bearer.as_str()),
            ("X-Copy", key.as_str()),
            ("X-Api-Key", key.as_str()),
            ("Content-Type", "application/json"),
        ];
        for (method, path) in [
            ("GET", "/v1/models"),
            ("POST", "/v1/chat/completions"),
            ("POST", "/v1/files"),
            ("GET", "/v1/organization/projects"),
            ("GET", "/v1/nothing"),
            ("GET", "/metrics"),
        ] {
            let body = if method == "POST" { json!({"model": key, "messages": []}).to_string() } else { String::new() };
            for script in [
                Script::default(),
                Script { status: Some(500), ..Script::default() },
                Script { garbage: true, ..Script::default() },
            ] {
                world.upstream.script(script);
                let body = body.replace(key.as_str(), "gpt-4o");
                let answer = world.raw(&request(method, path, &headers, body.as_bytes()));
                let shown = format!("{:?}{}", answer.headers, answer.text());
                assert!(secrets.iter().all(|secret| !holds(shown.as_bytes(), secret)), "{method} {path}: {shown}");
            }
        }
    }
    for recorded in world.upstream.requests() {
        let shown = format!("{:?}{}{}", recorded.headers, recorded.target, recorded.body_text);
        assert!(
            secrets[..3].iter().all(|secret| !holds(shown.as_bytes(), secret)),
            "a client's key went upstream: {shown}"
        );
    }
    world.log_lines(30);
    let metrics = world.raw(&request("GET", "/metrics", &[], b"")).body;
    let mut places = vec![("metrics".to_owned(), metrics)];
    for file in ["stdout", "data/sallyport.db", "data/sallyport.db-wal", "data/sallyport.db-shm", "data/master.key"] {
        places.push((file.to_owned(), std::fs::read(world.folder.path().join(file)).unwrap_or_default()));
    }
    for (place, bytes) in places {
        assert!(secrets.iter().all(|secret| !holds(&bytes, secret)), "{place}");
    }
    let said = world.diagnostics();
    assert!(secrets.iter().all(|secret| !holds(said.as_bytes(), secret)), "{said}");
}

#[test]
fn the_process_leaves_no_core_and_its_files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", world.process_id()))
        .expect("readable as root, or by nobody");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    for file in ["boot.json", "data/sallyport.db", "data/master.key", "data/sallyport.lock"] {
        let mode = std::fs::metadata(world.folder.path().join(file)).expect(file).permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file}");
    }
    let value: Value =
        serde_json::from_str(&std::fs::read_to_string(world.folder.path().join("boot.json")).expect("there"))
            .expect("JSON");
    let mut names: Vec<&String> = value.as_object().expect("an object").keys().collect();
    names.sort();
    assert_eq!(names, ["admin_key", "project_id", "project_key", "url"]);
}
