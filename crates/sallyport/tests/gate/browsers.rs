//! Server-side only: long-lived keys are refused in browsers, and client secrets are what pages and devices get.

use serde_json::{Value, json};
use testkit::Script;

use crate::books::sum;
use crate::client::{Answer, request};
use crate::lives::findings;
use crate::world::World;

const APP: &str = "https://app.example";

fn chat() -> Value {
    json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 10})
}

fn with(world: &World, key: &str, method: &str, target: &str, more: &[(&str, &str)], body: &Value) -> Answer {
    let bearer = format!("Bearer {key}");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let headers = [&[("Authorization", bearer.as_str()), ("Content-Type", "application/json")], more].concat();
    world.raw(&request(method, target, &headers, body.as_bytes()))
}

fn mint(world: &World, body: &Value) -> Answer {
    world.post("/v1/sallyport/client_secrets", body)
}

fn secret(world: &World, body: &Value) -> String {
    let answer = mint(world, body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["value"].as_str().expect("a secret").to_owned()
}

fn chat_from(world: &World, key: &str, more: &[(&str, &str)]) -> Answer {
    with(world, key, "POST", "/v1/chat/completions", more, &chat())
}

fn preflight(world: &World, origin: &str) -> Answer {
    let headers = [
        ("Origin", origin),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,content-type,x-stainless-lang"),
    ];
    world.raw(&request("OPTIONS", "/v1/chat/completions", &headers, b""))
}

#[test]
fn a_long_lived_key_is_refused_with_browser_signs_and_only_with_them() {
    let world = World::new();
    let signs: [(&str, &str); 5] = [
        ("Origin", APP),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Dest", "empty"),
        ("Referer", "https://app.example/page"),
    ];
    for sign in signs {
        let answer = chat_from(&world, &world.project_key, &[sign]);
        assert_eq!((answer.status, answer.error_code().as_str()), (403, "key_used_in_browser"), "{sign:?}");
        assert!(answer.text().contains("/v1/sallyport/client_secrets"), "{}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    let admin = with(&world, &world.admin_key, "GET", "/v1/organization/projects", &[("Origin", APP)], &Value::Null);
    assert_eq!(admin.error_code(), "key_used_in_browser");
    assert!(world.upstream.requests().is_empty());
    // What Node's own fetch sends.
    let node = [("Sec-Fetch-Mode", "cors"), ("Accept-Language", "*"), ("User-Agent", "OpenAI/JS 7.57.0")];
    assert_eq!(chat_from(&world, &world.project_key, &node).status, 200);
    let found = findings(&world, "key.browser_use", 2);
    assert!(found.iter().any(|finding| finding["details"]["origin"] == APP), "{found:?}");
    assert!(found.iter().all(|finding| finding["severity"] == "high"));
}

#[test]
fn a_key_that_says_so_is_suspended_when_a_browser_has_it() {
    let world = World::new();
    let path = format!("/v1/organization/projects/{}/api_keys", world.project_id);
    let made = world
        .call(&world.admin_key, "POST", &path, &json!({"name": "k", "sallyport": {"browser_use": "suspend"}}))
        .json();
    let key = made["value"].as_str().expect("a secret");
    assert_eq!(chat_from(&world, key, &[("Origin", APP)]).error_code(), "key_used_in_browser");
    findings(&world, "key.browser_use", 1);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while chat_from(&world, key, &[]).status == 200 && std::time::Instant::now() < until {}
    let answer = chat_from(&world, key, &[]);
    assert_eq!(answer.error_code(), "api_key_suspended");
    assert!(answer.text().contains(APP), "{}", answer.text());
}

#[test]
fn a_client_secret_works_on_its_pages_and_nowhere_else() {
    let world = World::new();
    let refused = preflight(&world, APP);
    assert_eq!((refused.status, refused.error_code().as_str()), (403, "key_used_in_browser"));
    assert_eq!(refused.header("access-control-allow-origin"), None);
    let minted = mint(&world, &json!({"origin": APP, "expires_after": {"anchor": "created_at", "seconds": 60}})).json();
    let value = minted["value"].as_str().expect("a secret").to_owned();
    assert!(value.starts_with("sp-cs_") && minted["origin"] == APP, "{minted}");
    assert_eq!(minted["expires_at"].as_i64(), minted["created_at"].as_i64().map(|at| at + 60));
    let allowed = preflight(&world, APP);
    assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (204, Some(APP)));
    assert_eq!(allowed.header("access-control-allow-headers"), Some("authorization, content-type, x-stainless-lang"));
    assert_eq!(allowed.header("access-control-allow-credentials"), None);
    assert_eq!(preflight(&world, "https://evil.example").status, 403);
    let answer = chat_from(&world, &value, &[("Origin", APP)]);
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some(APP)), "{}", answer.text());
    assert_eq!(answer.header("vary"), Some("origin"));
    for elsewhere in [&[("Origin", "https://evil.example")][..], &[("Origin", "null")], &[]] {
        let answer = chat_from(&world, &value, elsewhere);
        assert_eq!((answer.status, answer.error_code().as_str()), (401, "client_secret_not_bound_here"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    // Errors that are the page's own can be read by it.
    let bad = with(&world, &value, "POST", "/v1/chat/completions", &[("Origin", APP)], &json!({"messages": 1}));
    assert_eq!(bad.header("access-control-allow-origin"), Some(APP));
    // The project's key stays refused there although the origin is known.
    let answer = chat_from(&world, &world.project_key, &[("Origin", APP)]);
    assert_eq!(
        (answer.error_code().as_str(), answer.header("access-control-allow-origin")),
        ("key_used_in_browser", None)
    );
    assert_eq!(findings(&world, "client_secret.used_elsewhere", 1)[0]["severity"], "high");
    // A line is written after its answer.
    let is_named = |line: &serde_json::Value| line["client_secret_id"] == minted["id"] && line["status"] == 200;
    world.until("the log names the secret by its id", || world.log_lines(3).iter().any(is_named));
}

#[test]
fn a_client_secret_is_never_wider_than_it_was_asked_for() {
    let world = World::new();
    let page = [("Origin", APP)];
    let narrow =
        secret(&world, &json!({"origin": APP, "models": ["gpt-4o-mini"], "endpoints": ["/v1/chat/completions"]}));
    assert_eq!(chat_from(&world, &narrow, &page).error_code(), "model_not_found");
    let mut mini = chat();
    mini["model"] = "gpt-4o-mini".into();
    assert_eq!(with(&world, &narrow, "POST", "/v1/chat/completions", &page, &mini).status, 200);
    let answer = with(&world, &narrow, "POST", "/v1/responses", &page, &json!({"model": "gpt-4o-mini", "input": "hi"}));
    assert_eq!(answer.error_code(), "missing_scope");
    let usual = secret(&world, &json!({"origin": APP}));
    for (method, target, body) in [
        ("GET", "/v1/files", Value::Null),
        ("POST", "/v1/batches", json!({})),
        ("GET", "/v1/organization/projects", Value::Null),
        ("POST", "/v1/sallyport/client_secrets", json!({"origin": APP})),
    ] {
        let answer = with(&world, &usual, method, target, &page, &body);
        assert!(answer.status == 401, "{method} {target}: {}", answer.text());
    }
    let twice = secret(&world, &json!({"origin": APP, "max_calls": 2}));
    let statuses: Vec<u16> = (0..3).map(|_| chat_from(&world, &twice, &page).status).collect();
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(chat_from(&world, &twice, &page).error_code(), "client_secret_limit_exceeded");
    let device = secret(&world, &json!({"device": "watch-7"}));
    assert_eq!(chat_from(&world, &device, &[("X-Sallyport-Device", "watch-7")]).status, 200);
    assert_eq!(chat_from(&world, &device, &[]).error_code(), "client_secret_not_bound_here");
    assert_eq!(chat_from(&world, &device, &[("X-Sallyport-Device", "watch-7"), ("Origin", APP)]).status, 401);
}

#[test]
fn a_client_secret_s_budget_holds_whatever_comes_at_once() {
    let world = World::new();
    // 10 output tokens of gpt-4o are 0.0001 dollars, and the prompt is some bytes more.
    let value = secret(&world, &json!({"origin": APP, "budget": "0.001"}));
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> =
            (0..40).map(|_| scope.spawn(|| chat_from(&world, &value, &[("Origin", APP)]).status)).collect();
        calls.into_iter().map(|call| call.join().expect("no panic")).collect()
    });
    let served = statuses.iter().filter(|status| **status == 200).count();
    assert!(served > 0 && served < 40 && statuses.iter().all(|status| matches!(status, 200 | 429)), "{statuses:?}");
    // Pico-dollars of the upstream's own books, in nano-dollars.
    let billed: u128 = sum(&world.upstream.billing().billed).values().sum();
    assert!(billed <= 1_000_000, "{billed}");
    let mut uncapped = chat();
    uncapped.as_object_mut().expect("an object").remove("max_completion_tokens");
    let answer = with(&world, &value, "POST", "/v1/chat/completions", &[("Origin", APP)], &uncapped);
    assert_eq!(answer.error_code(), "client_secret_limit_exceeded", "the model's maximum is not covered");
}

#[test]
fn a_client_secret_dies_with_the_secret_that_made_it() {
    let world = World::new();
    let made = world.key(&world.project_id, "server");
    let (id, key) = (made["id"].as_str().expect("an id"), made["value"].as_str().expect("a secret"));
    let minted = world.call(key, "POST", "/v1/sallyport/client_secrets", &json!({"origin": APP})).json();
    let value = minted["value"].as_str().expect("a secret");
    world.upstream.script(Script { stall_after: Some(900), ..Script::default() });
    let bearer = format!("Bearer {value}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json"), ("Origin", APP)];
    let body = json!({"model": "gpt-4o", "stream": true, "messages": []}).to_string();
    let mut stream = world.connect();
    stream.send(&request("POST", "/v1/chat/completions", &headers, body.as_bytes()));
    stream.until(b"\n\n").expect("an event");
    // An overlap keeps it, an end of the overlap ends it.
    let path = format!("/v1/sallyport/projects/{}/api_keys/{id}/rotate", world.project_id);
    world.call(&world.admin_key, "POST", &path, &json!({"overlap_seconds": 600}));
    assert_eq!(chat_from(&world, value, &[("Origin", APP)]).status, 200);
    world.call(&world.admin_key, "POST", &path, &json!({"overlap_seconds": 0}));
    stream.until(b"0\r\n\r\n").expect("the stream ends in order");
    assert_eq!(chat_from(&world, value, &[("Origin", APP)]).status, 401);
    // Its page is no stranger that tries keys, however often it asks.
    let strangers: Vec<u16> = (0..30).map(|_| chat_from(&world, value, &[("Origin", APP)]).status).collect();
    assert!(strangers.iter().all(|status| *status == 401), "{strangers:?}");
    assert_eq!(preflight(&world, APP).status, 403, "nothing live is bound to the origin any more");
}

#[test]
fn what_a_key_does_not_open_its_client_secrets_do_not() {
    let world = World::new();
    let path = format!("/v1/organization/projects/{}/api_keys", world.project_id);
    let body = json!({"name": "k", "sallyport": {
        "models": ["gpt-4o*"], "endpoints": ["/v1/chat/completions", "/v1/sallyport/client_secrets"],
        "client_secret_origins": [APP],
    }});
    let made = world.call(&world.admin_key, "POST", &path, &body).json();
    let key = made["value"].as_str().expect("a secret");
    let ask = |body: Value| world.call(key, "POST", "/v1/sallyport/client_secrets", &body);
    for (body, param) in [
        (json!({"origin": "https://other.example"}), "origin"),
        (json!({"origin": APP, "models": ["gpt-5"]}), "models"),
        (json!({"origin": APP, "models": ["gpt*"]}), "models"),
        (json!({"origin": APP, "endpoints": ["/v1/responses"]}), "endpoints"),
        (json!({"origin": APP, "endpoints": ["/v1/chat*"]}), "endpoints"),
        (json!({"origin": "https://app.example/path"}), "origin"),
        (json!({"origin": "app.example"}), "origin"),
        (json!({"origin": APP, "device": "x"}), "origin"),
        (json!({}), "origin"),
        (json!({"origin": APP, "expires_after": {"seconds": 100_000}}), "expires_after.seconds"),
        (json!({"origin": APP, "budget": 1}), "body"),
        (json!({"origin": APP, "budget": "-1"}), "budget"),
        (json!({"origin": APP, "max_calls": 0}), "max_calls"),
        (json!({"origin": APP, "modles": []}), "body"),
    ] {
        let answer = ask(body.clone());
        assert_eq!(
            (answer.status, answer.json()["error"]["param"].as_str()),
            (400, Some(param)),
            "{body}: {}",
            answer.text()
        );
    }
    let good = ask(json!({"origin": APP, "models": ["gpt-4o-mini"]}));
    assert_eq!((good.status, good.header("cache-control")), (200, Some("no-store")), "{}", good.text());
    assert_eq!(good.json()["endpoints"], json!(["/v1/chat/completions"]));
}

#[test]
fn the_sdk_s_own_call_gets_a_secret_of_ours_and_nothing_leads_past_the_gate() {
    let world = World::new();
    let session = json!({"type": "realtime", "model": "gpt-realtime", "instructions": "be brief"});
    let body = json!({"session": session, "expires_after": {"anchor": "created_at", "seconds": 60}});
    let answer = world.post("/v1/realtime/client_secrets", &body).json();
    assert!(answer["value"].as_str().is_some_and(|value| value.starts_with("sp-cs_")), "{answer}");
    assert!(answer["expires_at"].is_i64() && answer["session"]["model"] == "gpt-realtime", "{answer}");
    for target in
        ["/v1/realtime/sessions", "/v1/realtime/transcription_sessions", "/v1/chatkit/sessions", "/v1/live/sessions"]
    {
        let answer = world.post(target, &json!({}));
        assert_eq!((answer.status, answer.error_code().as_str()), (501, "not_served"), "{target}");
    }
    assert!(world.upstream.requests().is_empty());
}
