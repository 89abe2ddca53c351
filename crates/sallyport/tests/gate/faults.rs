//! The upstream at its worst: errors, retries, unreachable.

use serde_json::{Value, json};
use testkit::{Options, Script, Upstream};

use crate::world::{UPSTREAM_KEY, World};

fn chat() -> Value {
    json!({"model": "gpt-4o", "messages": []})
}

#[test]
fn errors_of_the_upstream_pass_as_they_are() {
    let world = World::new();
    for status in [400, 403, 404, 409, 422, 429, 500, 503] {
        let body = json!({"error": {"message": "m", "type": "t", "param": "p", "code": "c", "more": 1}});
        let headers = [("retry-after-ms".to_owned(), "7".to_owned()), ("x-should-retry".to_owned(), "true".to_owned())];
        world.upstream.script(Script {
            status: Some(status),
            body: Some(body.clone()),
            headers: headers.into(),
            ..Script::default()
        });
        let answer = world.post("/v1/chat/completions", &chat());
        assert_eq!((answer.status, answer.json()), (status, body));
        assert_eq!((answer.header("retry-after-ms"), answer.header("x-should-retry")), (Some("7"), Some("true")));
    }
}

#[test]
fn what_is_not_an_answer_becomes_one() {
    let world = World::new();
    for script in [
        Script { disconnect: true, ..Script::default() },
        Script { garbage: true, ..Script::default() },
        Script { huge_headers_bytes: 2_000_000, ..Script::default() },
    ] {
        world.upstream.clear();
        world.upstream.script(script.clone());
        let answer = world.post("/v1/chat/completions", &chat());
        assert_eq!((answer.status, answer.error_code().as_str()), (502, "upstream_broken"), "{script:?}");
        assert_eq!(world.upstream.requests().len(), 1, "a POST that went out is never sent twice: {script:?}");
    }
    world.upstream.script(Script { informational: true, ..Script::default() });
    assert_eq!(world.post("/v1/chat/completions", &chat()).status, 200);
}

#[test]
fn a_get_without_an_answer_is_tried_again() {
    let world = World::new();
    world.upstream.script(Script { disconnect: true, times: 2, ..Script::default() });
    let answer = world.call(&world.project_key, "GET", "/v1/models", &Value::Null);
    assert_eq!((answer.status, world.upstream.requests().len()), (200, 3));
}

#[test]
fn an_upstream_that_is_not_there_is_a_clear_502() {
    let gone = Upstream::start(Options::default());
    let url = gone.url();
    drop(gone);
    std::thread::sleep(std::time::Duration::from_millis(100));
    let spare = Upstream::start(Options::default());
    let world = World::start(spare, "", &[("SALLYPORT_UPSTREAM_KEY", UPSTREAM_KEY), ("SALLYPORT_UPSTREAM_URL", &url)]);
    let answer = world.post("/v1/chat/completions", &chat());
    assert_eq!((answer.status, answer.error_code().as_str()), (502, "upstream_unreachable"));
    assert!(!answer.text().contains("127.0.0.1"), "the upstream's address is the operator's business");
    assert!(world.log_lines(1)[0]["cause"].as_str().is_some_and(|cause| cause.contains("refused")));
}

#[test]
fn a_base_path_of_the_upstream_takes_the_place_of_ours() {
    let upstream = Upstream::start(Options { key: Some(UPSTREAM_KEY.into()), ..Options::default() });
    let url = format!("{}/", upstream.url().replace("/v1", "/some/base"));
    let world =
        World::start(upstream, "", &[("SALLYPORT_UPSTREAM_KEY", UPSTREAM_KEY), ("SALLYPORT_UPSTREAM_URL", &url)]);
    world.call(&world.project_key, "GET", "/v1/models?a=%20", &Value::Null);
    assert_eq!(world.upstream.requests()[0].target, "/some/base/models?a=%20");
}

#[test]
fn the_gate_s_own_key_refused_is_not_the_caller_s_fault() {
    let upstream =
        Upstream::start(Options { key: Some("sk-another-key-than-the-gate-has".into()), ..Options::default() });
    let url = upstream.url();
    let world =
        World::start(upstream, "", &[("SALLYPORT_UPSTREAM_KEY", UPSTREAM_KEY), ("SALLYPORT_UPSTREAM_URL", &url)]);
    let answer = world.post("/v1/chat/completions", &chat());
    assert_eq!((answer.status, answer.error_code().as_str()), (401, "upstream_key_refused"));
    assert!(!answer.text().contains(&UPSTREAM_KEY[..8]), "not even masked");
    assert!(world.diagnostics().contains("SALLYPORT_UPSTREAM_KEY"));
}
