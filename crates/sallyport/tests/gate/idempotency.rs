//! `Idempotency-Key`: one call upstream, one charge, the same answer again.

use serde_json::{Value, json};
use testkit::Script;

use crate::books::sum;
use crate::client::{Answer, request};
use crate::world::World;

const CHAT: &str = "/v1/chat/completions";

fn body(stream: bool) -> Value {
    json!({"model": "gpt-4o-mini", "stream": stream, "messages": [{"role": "user", "content": "Hi."}]})
}

fn call(world: &World, target: &str, body: &Value, key: &str) -> Answer {
    world.post_with(target, body, &[("Idempotency-Key", key)])
}

/// One bill, and what is charged is that bill.
fn expect_one_charge(world: &World) {
    let billing = world.upstream.wait_for_billing(|billing| billing.requests == 1);
    world.expect_charged(&world.project_id, &sum(&billing.billed));
    assert_eq!(world.upstream.requests().len(), 1);
}

#[test]
fn the_same_answer_comes_again_whole_and_streamed() {
    let response = json!({"model": "gpt-5", "input": "Hi.", "store": false});
    let mut stream = response.clone();
    stream["stream"] = json!(true);
    let cases = [
        (CHAT, body(false)),
        (CHAT, body(true)),
        ("/v1/responses", response),
        ("/v1/responses", stream),
        ("/v1/embeddings", json!({"model": "text-embedding-3-small", "input": "x"})),
    ];
    for (target, body) in cases {
        let world = World::new();
        world.limit(&world.project_id, 10_000);
        let first = call(&world, target, &body, "abc");
        assert_eq!((first.status, first.header("x-sallyport-idempotent-replay")), (200, None));
        for _ in 0..3 {
            let again = call(&world, target, &body, "abc");
            assert_eq!((again.status, again.header("x-sallyport-idempotent-replay")), (200, Some("true")));
            assert_eq!(again.body, first.body, "{target}");
            assert_eq!(again.header("content-type"), first.header("content-type"));
        }
        expect_one_charge(&world);
        // Without the key, and with another, it is another call.
        assert_eq!(world.post(target, &body).header("x-sallyport-idempotent-replay"), None);
        assert_eq!(call(&world, target, &body, "other").header("x-sallyport-idempotent-replay"), None);
        assert_eq!(world.upstream.requests().len(), 3);
    }
}

#[test]
fn a_call_that_runs_is_not_made_twice() {
    let world = World::new();
    for stream in [false, true] {
        world.upstream.clear();
        let key = format!("running-{stream}");
        let script = if stream {
            Script { delay_chunk_ms: 100, ..Script::default() }
        } else {
            Script { delay_head_ms: 1_200, ..Script::default() }
        };
        world.upstream.script(script);
        let mut running = world.begin(CHAT, &body(stream), &[("Idempotency-Key", &key)]);
        world.upstream.wait_for(|all| all.len() == 1);
        let busy = call(&world, CHAT, &body(stream), &key);
        assert_eq!((busy.status, busy.error_code().as_str()), (409, "idempotency_key_in_use"), "{}", busy.text());
        assert_eq!(busy.header("retry-after-ms"), Some("1000"));
        let other = call(&world, CHAT, &json!({"model": "gpt-4o", "messages": []}), &key);
        assert_eq!((other.status, other.error_code().as_str()), (400, "idempotency_key_mismatch"));
        assert_eq!(other.json()["error"]["param"], "Idempotency-Key");
        let first = running.answer().expect("an answer");
        let again = call(&world, CHAT, &body(stream), &key);
        assert_eq!((again.status, again.body), (200, first.body));
        // Also when the answer is known another body is another request; so is another path.
        assert_eq!(call(&world, CHAT, &json!({"model": "gpt-4o", "messages": []}), &key).status, 400);
        assert_eq!(call(&world, "/v1/moderations", &body(stream), &key).status, 400);
        assert_eq!(world.upstream.requests().len(), 1);
    }
    let long = call(&world, CHAT, &body(false), &"k".repeat(256));
    assert_eq!((long.status, long.error_code().as_str()), (400, "invalid_headers"));
}

#[test]
fn a_client_that_left_finds_the_answer_when_it_comes_back() {
    for (stream, script) in [
        (true, Script { delay_chunk_ms: 80, ..Script::default() }),
        (false, Script { delay_head_ms: 900, ..Script::default() }),
        (false, Script { delay_chunk_ms: 100, chunk_bytes: 60, ..Script::default() }),
    ] {
        let world = World::new();
        world.upstream.script(script);
        let mut running = world.begin(CHAT, &body(stream), &[("Idempotency-Key", "left")]);
        world.upstream.wait_for(|all| all.len() == 1);
        if stream {
            running.until(b"alpha").expect("a token");
        }
        drop(running);
        let busy = call(&world, CHAT, &body(stream), "left");
        assert_eq!(busy.status, 409, "{}", busy.text());
        expect_one_charge(&world);
        world.until("its answer is kept", || call(&world, CHAT, &body(stream), "left").status == 200);
        let again = call(&world, CHAT, &body(stream), "left");
        assert_eq!(again.header("x-sallyport-idempotent-replay"), Some("true"));
        let text = again.text();
        assert!(if stream { text.ends_with("data: [DONE]\n\n") } else { again.json()["usage"].is_object() }, "{text}");
        // What the gate asked for beyond the request does not show here either.
        assert!(!stream || !text.contains("\"usage\""), "{text}");
        expect_one_charge(&world);
    }
}

#[test]
fn what_failed_may_be_tried_again_with_the_same_key() {
    let world = World::new();
    let limit = world.limit(&world.project_id, 100);
    let failures = [
        Script { status: Some(500), times: 9, ..Script::default() },
        Script { cut_after: Some(60), times: 9, ..Script::default() },
    ];
    for script in failures {
        world.upstream.clear();
        world.upstream.script(script);
        let mut failed = world.begin(CHAT, &body(false), &[("Idempotency-Key", "failed")]);
        assert!(failed.answer().is_none_or(|answer| answer.status != 200 || !answer.is_whole));
        world.until("it ends", || world.holds().is_empty());
    }
    // A refusal of the gate is no answer either.
    world.admin("POST", &format!("/v1/sallyport/limits/{limit}"), &json!({"amount": "0.0000001"}));
    assert_eq!(call(&world, CHAT, &body(false), "failed").status, 429);
    world.admin("POST", &format!("/v1/sallyport/limits/{limit}"), &json!({"amount": "10.00"}));
    world.upstream.clear();
    let first = call(&world, CHAT, &body(false), "failed");
    assert_eq!((first.status, first.header("x-sallyport-idempotent-replay")), (200, None), "{}", first.text());
    assert_eq!(call(&world, CHAT, &body(false), "failed").body, first.body);
}

#[test]
fn keys_are_a_project_s_own_and_forms_are_compared_by_what_they_hold() {
    let world = World::new();
    let (_, other) = world.project("other");
    let first = call(&world, CHAT, &body(false), "shared");
    let bearer = format!("Bearer {other}");
    let headers =
        [("Authorization", bearer.as_str()), ("Content-Type", "application/json"), ("Idempotency-Key", "shared")];
    let theirs = world.raw(&request("POST", CHAT, &headers, body(false).to_string().as_bytes()));
    assert_eq!((theirs.status, theirs.header("x-sallyport-idempotent-replay")), (200, None));
    assert_ne!(theirs.json()["id"], first.json()["id"]);
    // SDKs choose a new boundary for each attempt.
    let bearer = format!("Bearer {}", world.project_key);
    let upload = |boundary: &str, prompt: &str| {
        let part = |name: &str, data: &str| {
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{data}\r\n")
        };
        let body = format!("{}{}--{boundary}--\r\n", part("model", "gpt-image-1"), part("prompt", prompt));
        let kind = format!("multipart/form-data; boundary={boundary}");
        let headers =
            [("Authorization", bearer.as_str()), ("Content-Type", kind.as_str()), ("Idempotency-Key", "form")];
        world.raw(&request("POST", "/v1/images/edits", &headers, body.as_bytes()))
    };
    let first = upload("aaaaaaaa", "A cat.");
    assert_eq!(first.status, 200, "{}", first.text());
    let again = upload("bbbbbbbbbbbb", "A cat.");
    assert_eq!((again.status, again.header("x-sallyport-idempotent-replay")), (200, Some("true")), "{}", again.text());
    assert_eq!(upload("cccc", "A dog.").status, 400);
}
