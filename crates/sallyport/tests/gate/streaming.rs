//! Events pass one by one, whole and at once; every end is an end that SDKs understand.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{Encoding, Script};

use crate::client::{Connection, request};
use crate::world::{UPSTREAM_KEY, World};

fn chat() -> Value {
    json!({"model": "gpt-4o", "stream": true, "messages": [{"role": "user", "content": "hi"}]})
}

fn responses() -> Value {
    json!({"model": "gpt-4o", "stream": true, "input": "hi", "store": false})
}

#[test]
fn any_split_of_the_upstream_s_bytes_reaches_the_client_unchanged() {
    let world = World::new();
    for target in ["/v1/chat/completions", "/v1/responses"] {
        let mut body = if target.ends_with("responses") { responses() } else { chat() };
        if target.ends_with("completions") {
            body["stream_options"] = json!({"include_usage": true});
        }
        for chunk_bytes in [1, 2, 3, 7, 64, 100_000] {
            for (crlf, comments) in [(false, false), (true, false), (true, true)] {
                world.upstream.clear();
                world.upstream.script(Script { chunk_bytes, crlf, comments, ..Script::default() });
                let answer = world.post(target, &body);
                let recorded =
                    world.upstream.wait_for(|all| all.first().is_some_and(|recorded| recorded.is_answered)).remove(0);
                assert_eq!((answer.status, answer.is_whole), (200, true));
                assert_eq!(answer.body, recorded.sent_body, "{target} {chunk_bytes} {crlf} {comments}");
                assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")));
            }
        }
    }
}

/// What the gate asks for beyond the request, so that it knows what was used, does not show.
#[test]
fn a_stream_without_usage_looks_as_if_nobody_had_asked_for_it() {
    let world = World::new();
    let direct = |body: &Value| {
        let mut connection = Connection::open(world.upstream.address());
        let bearer = format!("Bearer {UPSTREAM_KEY}");
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        connection.send(&request("POST", "/v1/chat/completions", &headers, body.to_string().as_bytes()));
        connection.answer().expect("an answer").text()
    };
    // Ids count requests.
    let without_ids = |text: &str| {
        let number = |text: &str| text.split("chatcmpl-").nth(1).map(|rest| rest[..24].to_owned()).unwrap_or_default();
        text.replace(&number(text), "N")
    };
    for options in [json!(null), json!({"include_usage": false}), json!({"include_obfuscation": true})] {
        let mut body = chat();
        if !options.is_null() {
            body["stream_options"] = options;
        }
        for chunk_bytes in [1, 50, 100_000] {
            world.upstream.clear();
            let script = Script { chunk_bytes, ..Script::default() };
            world.upstream.script(script.clone());
            let through = world.post("/v1/chat/completions", &body);
            assert_eq!((through.status, through.is_whole), (200, true));
            let sent = world.upstream.requests()[0].body_text.clone();
            assert!(sent.contains("\"include_usage\":true"), "{sent}");
            world.upstream.script(script);
            assert_eq!(without_ids(&through.text()), without_ids(&direct(&body)));
        }
    }
}

#[test]
fn an_event_of_a_megabyte_passes() {
    let world = World::new();
    world.upstream.script(Script { big_event_bytes: 1 << 20, chunk_bytes: 5_000, ..Script::default() });
    let answer = world.post("/v1/chat/completions", &chat());
    assert!(answer.is_whole && answer.body.len() > 1 << 20 && answer.text().ends_with("data: [DONE]\n\n"));
}

#[test]
fn a_whole_event_is_not_held_back() {
    let world = World::new();
    // The upstream stops in the middle of its fourth event and stays silent.
    world.upstream.script(Script { stall_after: Some(900), ..Script::default() });
    let mut connection = world.connect();
    let bearer = format!("Bearer {}", world.project_key);
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let begun = Instant::now();
    connection.send(&request("POST", "/v1/chat/completions", &headers, chat().to_string().as_bytes()));
    assert_eq!(connection.head().expect("a head").status, 200);
    for _ in 0..3 {
        assert!(connection.until(b"}\n\n").is_some());
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "three whole events came although the fourth never ends");
}

#[test]
fn a_client_that_leaves_cancels_the_upstream_where_the_project_says_so() {
    let world = World::new();
    let path = format!("/v1/sallyport/projects/{}/money", world.project_id);
    assert_eq!(world.call(&world.admin_key, "POST", &path, &json!({"abandoned": "cancel"})).status, 200);
    for script in [
        Script { stall_after: Some(900), ..Script::default() },
        Script { delay_head_ms: 60_000, ..Script::default() },
        Script { delay_chunk_ms: 30, ..Script::default() },
    ] {
        world.upstream.clear();
        let waits_for_head = script.delay_head_ms > 0;
        world.upstream.script(script);
        let mut connection = world.connect();
        let bearer = format!("Bearer {}", world.project_key);
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        connection.send(&request("POST", "/v1/chat/completions", &headers, chat().to_string().as_bytes()));
        if waits_for_head {
            world.upstream.wait_for(|all| all.len() == 1);
        } else {
            connection.until(b"\n\n").expect("an event");
        }
        drop(connection);
        if !waits_for_head {
            world.upstream.wait_for(|all| all.iter().any(|recorded| recorded.client_left));
        }
        let ended = world.log_lines(1).into_iter().any(|line| line["ended"] == "client_left");
        assert!(ended || waits_for_head);
    }
}

#[test]
fn an_upstream_that_dies_ends_a_stream_with_an_error_event() {
    let world = World::new();
    for script in [
        Script { cut_after: Some(900), ..Script::default() },
        Script { reset_after: Some(900), ..Script::default() },
        Script { cut_after: Some(900), until_close: true, ..Script::default() },
    ] {
        world.upstream.script(script.clone());
        let answer = world.post("/v1/chat/completions", &chat());
        let text = answer.text();
        let last = text.trim_end().rsplit("\n\n").next().expect("an event");
        let error: Value = serde_json::from_str(last.strip_prefix("data: ").expect("data")).expect("whole JSON");
        assert_eq!(error["error"]["code"], "upstream_broken", "{script:?}: {text}");
        assert!(answer.is_whole, "the client's stream itself is in order");
        let events = text.trim_end().split("\n\n").filter(|event| !event.is_empty());
        assert!(events.clone().count() >= 3);
        for event in events {
            assert!(
                serde_json::from_str::<Value>(event.strip_prefix("data: ").expect("data")).is_ok(),
                "half an event: {event}"
            );
        }
        world.upstream.script(script);
        let text = world.post("/v1/responses", &responses()).text();
        let last = text.trim_end().rsplit("\n\n").next().expect("an event").to_owned();
        let data = last.strip_prefix("event: error\ndata: ").unwrap_or_else(|| panic!("{last}"));
        let error: Value = serde_json::from_str(data).expect("whole JSON");
        assert_eq!((error["type"].as_str(), error["code"].as_str()), (Some("error"), Some("upstream_broken")));
        assert!(error["sequence_number"].as_u64().is_some_and(|number| number > 0));
    }
}

#[test]
fn an_upstream_that_dies_breaks_what_is_not_a_stream() {
    let world = World::new();
    world.upstream.script(Script { cut_after: Some(100), ..Script::default() });
    let mut connection = world.connect();
    let bearer = format!("Bearer {}", world.project_key);
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let body = json!({"model": "gpt-4o", "messages": []}).to_string();
    connection.send(&request("POST", "/v1/chat/completions", &headers, body.as_bytes()));
    // Whether the head was still written is a matter of microseconds.
    let answer = connection.answer();
    assert!(answer.as_ref().is_none_or(|answer| !answer.is_whole), "a part must not look like the whole: {answer:?}");
}

#[test]
fn an_endless_event_meets_its_limit() {
    let world = World::with("[limits]\nevent_bytes_max = 100000");
    world.upstream.script(Script { big_event_bytes: 1 << 20, ..Script::default() });
    let text = world.post("/v1/chat/completions", &chat()).text();
    assert!(text.contains("limits.event_bytes_max") && text.len() < 100_000, "{}", &text[..text.len().min(3_000)]);
}

#[test]
fn a_silent_upstream_ends_a_stream_in_time() {
    let world = World::with("[timeouts]\nupstream_idle = 0.5\nupstream_first_byte = 1.0");
    world.upstream.script(Script { stall_after: Some(900), ..Script::default() });
    assert!(world.post("/v1/chat/completions", &chat()).text().contains("upstream_timeout"));
    world.upstream.script(Script { delay_head_ms: 60_000, ..Script::default() });
    let answer = world.post("/v1/chat/completions", &chat());
    assert_eq!((answer.status, answer.error_code().as_str()), (504, "upstream_timeout"));
}

#[test]
fn encoded_answers_are_decoded_within_a_bound_or_refused() {
    let world = World::with("[limits]\ndecoded_answer_bytes_max = 1000000");
    let plain =
        world.post("/v1/chat/completions", &json!({"model": "gpt-4o", "messages": []})).json()["choices"].clone();
    for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Br] {
        world.upstream.script(Script { encoding: Some(encoding), ..Script::default() });
        let answer = world.post("/v1/chat/completions", &json!({"model": "gpt-4o", "messages": []}));
        assert_eq!((answer.header("content-encoding"), &answer.json()["choices"]), (None, &plain), "{encoding:?}");
        world.upstream.script(Script { encoding: Some(encoding), chunk_bytes: 5, ..Script::default() });
        assert!(world.post("/v1/chat/completions", &chat()).text().ends_with("data: [DONE]\n\n"), "{encoding:?}");
        world.upstream.script(Script { encoding: Some(encoding), bomb_bytes: 50_000_000, ..Script::default() });
        let answer = world.post("/v1/chat/completions", &json!({"model": "gpt-4o", "messages": []}));
        assert_eq!((answer.status, answer.error_code().as_str()), (502, "upstream_broken"), "{encoding:?}");
    }
    world.upstream.script(Script { encoding: Some(Encoding::Unknown), ..Script::default() });
    let answer = world.post("/v1/chat/completions", &json!({"model": "gpt-4o", "messages": []}));
    assert_eq!((answer.status, answer.error_code().as_str()), (502, "upstream_broken"));
}
