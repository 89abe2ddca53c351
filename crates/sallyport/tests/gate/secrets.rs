//! Promise 2: no secret leaves, whatever path is taken.

use serde_json::{Value, json};
use testkit::Script;

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
