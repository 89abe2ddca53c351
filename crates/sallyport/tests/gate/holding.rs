//! Money is held before it is spent: what a request may cost at most, by what it says and what it is known to mean.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::Script;

use crate::books::{nano, pico, refused, sum, total};
use crate::client::request;
use crate::world::World;

pub(crate) fn chat(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "Count to three."}]})
}

pub(crate) fn streamed(model: &str) -> Value {
    json!({"model": model, "stream": true, "messages": [{"role": "user", "content": "Count to three."}]})
}

/// The number behind a word of a message.
fn number_behind(words: &str, before: &str) -> u64 {
    let rest = words.split(before).nth(1).unwrap_or_else(|| panic!("no `{before}` in: {words}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number behind `{before}` in: {words}"))
}

pub(crate) fn number(value: &Value) -> u128 {
    value.as_u64().unwrap_or_else(|| panic!("{value}")).into()
}

#[test]
fn no_cap_on_a_large_model_is_refused_with_what_would_fit_and_that_fits() {
    let world = World::new();
    world.limit(&world.project_id, 100);
    for (target, cap, mut body) in [
        ("/v1/chat/completions", "max_completion_tokens", chat("gpt-5")),
        ("/v1/responses", "max_output_tokens", json!({"model": "gpt-5.4", "input": "Count.", "store": false})),
        (
            "/v1/completions",
            "max_tokens",
            json!({"model": "gpt-3.5-turbo-instruct",
            "prompt": "Count.", "best_of": 20, "n": 20, "max_tokens": 100_000}),
        ),
    ] {
        world.upstream.clear();
        let words = refused(&world.post(target, &body), "project_spend_limit_exceeded");
        assert!(words.contains(&world.project_id) && words.contains("limit $1.00, spent $0.00"), "{words}");
        let fits = number_behind(&words, &format!("{cap} up to "));
        assert_eq!(world.upstream.requests().len(), 0, "what is refused goes nowhere");
        // On the last cent: a token more is refused, what was promised to fit does.
        // Some tokens of slack, where the words were for a body without the member.
        body[cap] = json!(fits + 60);
        refused(&world.post(target, &body), "project_spend_limit_exceeded");
        body[cap] = json!(fits);
        let answer = world.post(target, &body);
        assert_eq!(answer.status, 200, "{cap} {fits}: {}", answer.text());
        world.upstream.wait_for_billing(|billing| billing.requests > 0);
        world.until("the hold is gone", || world.holds().is_empty());
    }
    world.expect_charged(&world.project_id, &sum(&world.upstream.billing().billed));
    world.expect_no_defect();
}

#[test]
fn caps_are_put_in_and_do_not_show() {
    let world = World::new();
    world.limit(&world.project_id, 1_000_000);
    world.price_file_searches();
    let tools = json!([{"type": "web_search"}, {"type": "code_interpreter", "container": {"type": "auto"}}]);
    let response = json!({"model": "gpt-5", "input": "Count.", "tools": tools});
    let with = |body: &Value, member: &str, value: Value| {
        let mut body = body.clone();
        body[member] = value;
        body
    };
    // A chat completion does not echo its cap.
    assert_eq!(world.post("/v1/chat/completions", &chat("gpt-5")).status, 200);
    let sent = world.upstream.requests()[0].body_text.clone();
    let mut expected = chat("gpt-5").to_string();
    expected.truncate(expected.len() - 1);
    assert_eq!(sent, format!("{expected},\"max_completion_tokens\":128000}}"), "the cap stands behind the rest");
    // A response does: as the caller sent it, in the answer, in every event, and when it is read again.
    for (body, cap, calls) in [
        (response.clone(), Value::Null, Value::Null),
        (with(&response, "max_output_tokens", json!(500)), json!(500), Value::Null),
        (with(&response, "max_tool_calls", json!(2)), Value::Null, json!(2)),
    ] {
        world.upstream.clear();
        let expect = |shown: &Value, of: &str| {
            assert_eq!((&shown["max_output_tokens"], &shown["max_tool_calls"]), (&cap, &calls), "{of}: {shown}");
        };
        let whole = world.post("/v1/responses", &body);
        assert_eq!(whole.status, 200, "{}", whole.text());
        expect(&whole.json(), "the answer");
        let stream = world.post("/v1/responses", &with(&body, "stream", json!(true)));
        let mut responses = 0;
        for event in stream.text().split("\n\n").filter_map(|event| event.split("data: ").nth(1)) {
            let data: Value = serde_json::from_str(event).expect("JSON");
            if data["response"].is_object() {
                responses += 1;
                expect(&data["response"], "an event");
            }
        }
        assert!(responses >= 3);
        let sent: Value = serde_json::from_str(&world.upstream.requests()[0].body_text).expect("JSON");
        assert!(sent["max_output_tokens"].is_u64() && sent["max_tool_calls"].is_u64(), "{sent}");
        let id = whole.json()["id"].as_str().expect("an id").to_owned();
        let again = world.call(&world.project_key, "GET", &format!("/v1/responses/{id}"), &Value::Null);
        expect(&again.json(), "a later reading");
    }
    world.expect_no_defect();
}

/// The calls of a hosted tool are held at their cap, and settled at what was called.
#[test]
fn hosted_tools_are_held_at_their_cap() {
    let world = World::new();
    let limit = world.limit(&world.project_id, 10_000);
    let mut body = json!({"model": "gpt-4o-mini", "input": "Count.", "store": false, "max_output_tokens": 100,
        "tools": [{"type": "web_search"}]});
    let mut held = Vec::new();
    for calls in [json!(1), json!(4), json!(null)] {
        body["max_tool_calls"] = calls;
        world.upstream.script(Script {
            delay_head_ms: 700,
            hosted_tool_calls: [("web_search_call".to_owned(), 9)].into(),
            ..Script::default()
        });
        let mut connection = world.begin("/v1/responses", &body, &[]);
        world.until("it holds", || world.figure(&limit, "held") > 0);
        held.push(world.figure(&limit, "held"));
        assert_eq!(connection.answer().expect("an answer").status, 200);
        world.until("it is settled", || world.holds().is_empty());
    }
    assert!(held[0] < held[1] && held[1] < held[2], "{held:?}");
    // A search and the model's whole input again, each.
    let each = nano(pico("gpt-4o-mini", "priority", "text_input"), 128_000) + 25_000_000;
    assert_eq!(held[1] - held[0], 3 * each);
    let billing = world.upstream.wait_for_billing(|billing| billing.requests == 3);
    let searches: Vec<u64> = billing.billed.iter().map(|billed| billed.quantities["web_search_medium"]).collect();
    assert_eq!(searches, [1, 4, 8], "a cap was put in where there was none");
    world.expect_charged(&world.project_id, &sum(&billing.billed));
    world.expect_no_defect();
    // What a file search costs is not listed.
    body["tools"] = json!([{"type": "file_search", "vector_store_ids": ["vs_1"]}]);
    let words = refused(&world.post("/v1/responses", &body), "unbounded_under_spend_limit");
    assert!(words.contains("file_search") && words.contains("price"), "{words}");
}

#[test]
fn a_prompt_over_the_long_context_step_is_held_and_charged_at_its_prices() {
    let world = World::new();
    let limit = world.limit(&world.project_id, 10_000);
    let text = "x ".repeat(300_500);
    for (tokens, is_long) in [(272_000, false), (272_001, true), (300_000, true)] {
        world.upstream.clear_billing();
        let before = world.figure(&limit, "settled");
        let script = Script { prompt_tokens: Some(tokens), completion_tokens: Some(700), ..Script::default() };
        world.upstream.script(Script { delay_head_ms: 700, ..script });
        let body = json!({"model": "gpt-5.4", "service_tier": "default", "max_completion_tokens": 1000,
            "messages": [{"role": "user", "content": text}]});
        let mut connection = world.begin("/v1/chat/completions", &body, &[]);
        world.until("it holds", || world.figure(&limit, "held") > 0);
        let held = world.figure(&limit, "held");
        assert_eq!(connection.answer().expect("an answer").status, 200);
        let billed = world.upstream.wait_for_billing(|billing| billing.requests == 1).billed.remove(0);
        let cost = total(&sum([&billed]));
        let (input, output) = if is_long { (5_000_000, 22_500_000) } else { (2_500_000, 15_000_000) };
        assert_eq!(cost, nano(input, tokens.into()) + nano(output, 700));
        assert!(held >= cost && held >= nano(5_000_000, 300_000), "{held} {cost}");
        world.until("it is settled", || world.figure(&limit, "settled") == before + cost);
    }
    world.expect_no_defect();
}

#[test]
fn a_price_that_changes_in_the_middle_is_the_next_request_s() {
    let world = World::new();
    let limit = world.limit(&world.project_id, 1_000);
    world.upstream.script(Script { delay_chunk_ms: 80, completion_tokens: Some(800), ..Script::default() });
    let mut connection = world.begin("/v1/chat/completions", &streamed("gpt-4o-mini"), &[]);
    connection.until(b"alpha").expect("it runs");
    let dearer = json!({"usd_per_1m_tokens": {"text_input": "1000.00", "text_output": "2000.00"}});
    world.admin("POST", "/v1/sallyport/prices/gpt-4o-mini", &dearer);
    connection.until(b"[DONE]").expect("the end");
    let billed = world.upstream.wait_for_billing(|billing| billing.requests == 1).billed;
    let mut expected = sum(&billed);
    world.expect_charged(&world.project_id, &expected);
    let mut capped = chat("gpt-4o-mini");
    capped["max_completion_tokens"] = json!(50);
    assert_eq!(world.post("/v1/chat/completions", &capped).status, 200);
    let after = world.upstream.wait_for_billing(|billing| billing.requests == 2).billed.remove(1);
    for (unit, price) in [("text_input", 1_000_000_000), ("text_output", 2_000_000_000)] {
        *expected.entry(format!("gpt-4o-mini, {unit}")).or_default() += nano(price, after.quantities[unit].into());
    }
    world.expect_charged(&world.project_id, &expected);
    world.admin("DELETE", "/v1/sallyport/prices/gpt-4o-mini", &Value::Null);
    assert_eq!(world.post("/v1/chat/completions", &chat("gpt-4o-mini")).status, 200);
    let again = world.upstream.wait_for_billing(|billing| billing.requests == 3).billed.remove(2);
    sum([&again]).into_iter().for_each(|(item, amount)| *expected.entry(item).or_default() += amount);
    world.expect_charged(&world.project_id, &expected);
    assert_eq!(world.figure(&limit, "settled"), total(&expected));
}

#[test]
fn a_model_without_a_price_passes_only_where_nothing_limits() {
    let world = World::new();
    let body = chat("gpt-9-unheard-of");
    assert_eq!(world.post("/v1/chat/completions", &body).status, 200);
    world
        .until("it is counted", || world.usage("completions", &world.project_id).get("num_model_requests") == Some(&1));
    assert_eq!(total(&world.charged_at_rest(&world.project_id)), 0);
    let limit = world.limit(&world.project_id, 1_000);
    let words = refused(&world.post("/v1/chat/completions", &body), "unbounded_under_spend_limit");
    assert!(words.contains("gpt-9-unheard-of") && words.contains("sallyport price set"), "{words}");
    let nameless = json!({"prompt": "A cat."});
    let words = refused(&world.post("/v1/images/generations", &nameless), "unbounded_under_spend_limit");
    assert!(words.contains("send `model`"), "{words}");
    // A price without a maximum of output is no bound either: the words say what to set.
    let price = json!({"usd_per_1m_tokens": {"text_input": "1.00", "text_output": "10.00"}});
    world.admin("POST", "/v1/sallyport/prices/gpt-9-unheard-of", &price);
    let words = refused(&world.post("/v1/chat/completions", &body), "unbounded_under_spend_limit");
    assert!(words.contains("max_completion_tokens"), "{words}");
    let mut capped = body;
    capped["max_completion_tokens"] = json!(50);
    assert_eq!(world.post("/v1/chat/completions", &capped).status, 200);
    let billed = world.upstream.wait_for_billing(|billing| billing.requests == 2).billed.remove(1);
    let cost = nano(1_000_000, billed.quantities["text_input"].into())
        + nano(10_000_000, billed.quantities["text_output"].into());
    world.until("it is charged", || world.figure(&limit, "settled") == cost);
    world.expect_no_defect();
}

#[test]
fn what_nobody_can_bound_needs_an_allowance() {
    let world = World::new();
    let limit = world.limit(&world.project_id, 1_000);
    let calls = [
        (
            "/v1/batches",
            "/v1/batches",
            json!({"input_file_id": "file-1", "endpoint": "/v1/responses", "completion_window": "24h"}),
        ),
        ("/v1/fine_tuning/jobs", "/v1/fine_tuning/jobs", json!({"model": "gpt-4o", "training_file": "file-1"})),
        ("/v1/videos", "/v1/videos", json!({"model": "sora-2", "prompt": "A cat."})),
        ("/v1/evals/eval_1/runs", "/v1/evals/{eval_id}/runs", json!({"data_source": {}})),
        ("/v1/responses", "/v1/responses", json!({"model": "gpt-5", "input": "x", "background": true})),
        ("/v1/audio/speech", "/v1/audio/speech", json!({"model": "gpt-4o-mini-tts", "input": "x", "voice": "alloy"})),
    ];
    for (target, _, body) in &calls {
        let words = refused(&world.post(target, body), "unbounded_under_spend_limit");
        assert!(words.contains("allowances") && words.contains(&world.project_id), "{target}: {words}");
    }
    assert_eq!(world.upstream.requests().len(), 0, "nothing of it went upstream");
    let mut charged = 0;
    for (target, template, body) in &calls {
        let none = world.call(
            &world.admin_key,
            "POST",
            &format!("/v1/sallyport/projects/{}/money", world.project_id),
            &json!({"allowances": {"/v1/nothing": "1.00"}}),
        );
        assert_eq!(none.status, 400);
        world.money(&world.project_id, &json!({"allowances": {*template: "0.35"}}));
        // What runs in the background has used nothing yet when it is answered.
        world.upstream.script(Script { no_usage: true, ..Script::default() });
        let answer = world.post(target, body);
        world.upstream.clear();
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        charged += 350_000_000;
        world.until(target, || world.holds().is_empty() && world.figure(&limit, "settled") == charged);
        world.money(&world.project_id, &json!({"allowances": {*template: null}}));
        refused(&world.post(target, body), "unbounded_under_spend_limit");
    }
    for path in ["/v1/realtime?model=gpt-realtime", "/v1/responses", "/v1/live"] {
        let bearer = format!("Bearer {}", world.project_key);
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let answer = world.raw(&request("GET", path, &headers, b""));
        assert_eq!((answer.status, answer.header("x-should-retry")), (501, Some("false")), "{path}: {}", answer.text());
    }
    let lines = world.charged(&world.project_id);
    assert!(lines.keys().all(|item| item.ends_with(", estimated") && !item.starts_with(',')), "{lines:?}");
    // An allowance is held like any other worst case.
    world.money(&world.project_id, &json!({"allowances": {"/v1/videos": "50.00"}}));
    refused(&world.post("/v1/videos", &calls[2].2), "project_spend_limit_exceeded");
}

/// The conversation before is held at what it was, where that is known, and at all that the model reads otherwise.
#[test]
fn a_conversation_goes_on_at_what_was_settled() {
    let world = World::new();
    let limit = world.limit(&world.project_id, 100);
    let mut body = json!({"model": "gpt-5.4", "input": "Remember the number 7.", "max_output_tokens": 300});
    let first = world.post("/v1/responses", &body).json();
    let used = first["usage"]["total_tokens"].as_u64().expect("usage");
    let id = first["id"].as_str().expect("an id").to_owned();
    body["previous_response_id"] = json!("resp_00000000000000000000ffff");
    let words = refused(&world.post("/v1/responses", &body), "project_spend_limit_exceeded");
    assert!(words.contains("input alone does not fit"), "{words}");
    body["previous_response_id"] = json!(id);
    let script = Script { hidden_input_tokens: used, delay_head_ms: 700, ..Script::default() };
    world.upstream.script(script);
    let mut connection = world.begin("/v1/responses", &body, &[]);
    world.until("it holds", || world.figure(&limit, "held") > 0);
    let held = world.figure(&limit, "held");
    assert!(held < 20_000_000, "{held}");
    let second = connection.answer().expect("an answer").json();
    assert!(second["usage"]["input_tokens"].as_u64().expect("usage") > used);
    // And on: the second carries both.
    body["previous_response_id"] = second["id"].clone();
    let used = second["usage"]["total_tokens"].as_u64().expect("usage");
    world.upstream.script(Script { hidden_input_tokens: used, ..Script::default() });
    assert_eq!(world.post("/v1/responses", &body).status, 200);
    // Whatever else is hidden is not known because the conversation is.
    let file = json!({"type": "input_file", "file_id": "file-1"});
    for hidden in [json!([{"role": "user", "content": [file]}]), json!([{"type": "item_reference", "id": "msg_1"}])] {
        let mut more = body.clone();
        more["input"] = hidden;
        let words = refused(&world.post("/v1/responses", &more), "project_spend_limit_exceeded");
        assert!(words.contains("input alone does not fit"), "{words}");
    }
    let billed = world.upstream.wait_for_billing(|billing| billing.requests == 3).billed;
    world.expect_charged(&world.project_id, &sum(&billed));
    world.expect_no_defect();
}

/// A number that one reader takes for four and another for none is no bound.
#[test]
fn numbers_that_are_not_whole_are_no_bound() {
    let world = World::new();
    let with = |mut body: Value, member: &str, text: &str| {
        body[member] = json!(text);
        let body =
            body.to_string().replace(&format!("{}:{}", json!(member), json!(text)), &format!("\"{member}\":{text}"));
        let bearer = format!("Bearer {}", world.project_key);
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let target = if body.contains("\"input\"") { "/v1/responses" } else { "/v1/chat/completions" };
        let target = if body.contains("\"prompt\"") { "/v1/completions" } else { target };
        world.raw(&request("POST", target, &headers, body.as_bytes()))
    };
    let mut cases = Vec::new();
    for text in ["4.0", "4e0", "0.4e1", "\"4\"", "[4]"] {
        cases.push((chat("gpt-4o"), "n", text));
        cases.push((json!({"model": "davinci-002", "prompt": "x", "max_tokens": 9}), "best_of", text));
        cases.push((
            json!({"model": "gpt-5", "input": "x", "tools": [{"type": "web_search"}]}),
            "max_tool_calls",
            text,
        ));
    }
    for (body, member, text) in &cases {
        assert_eq!(
            with(body.clone(), member, text).status,
            200,
            "{member} {text}: without a limit it is the upstream's"
        );
    }
    world.limit(&world.project_id, 100_000);
    for (body, member, text) in cases {
        let words = refused(&with(body, member, text), "unbounded_under_spend_limit");
        assert!(words.contains(&format!("`{member}`")), "{words}");
    }
}

/// A cap that the endpoint does not know caps nothing, and none is put where there can be none.
#[test]
fn caps_of_other_endpoints_are_no_caps() {
    let world = World::new();
    world.limit(&world.project_id, 100_000);
    let mut response = json!({"model": "gpt-5", "input": "Think.", "store": false});
    let mut completion = chat("gpt-5");
    for (member, body) in [("max_tokens", &mut response), ("max_output_tokens", &mut completion)] {
        body[member] = json!(5);
    }
    let compaction = json!({"model": "gpt-5", "input": "Think.", "max_output_tokens": 5});
    let cases = [
        ("/v1/responses", response, Some("max_output_tokens")),
        ("/v1/chat/completions", completion, Some("max_completion_tokens")),
        ("/v1/responses/compact", compaction.clone(), None),
    ];
    for (target, body, cap) in cases {
        world.upstream.script(Script { completion_tokens: Some(9_000), pieces: Some(2), ..Script::default() });
        assert_eq!(world.post(target, &body).status, 200);
        let sent = world.upstream.requests().pop().expect("a request").body_text;
        match cap {
            Some(cap) => assert!(sent.contains(&format!("\"{cap}\":128000")), "{sent}"),
            None => assert_eq!(sent, compaction.to_string(), "it is the caller's"),
        }
    }
    let billed = world.upstream.wait_for_billing(|billing| billing.requests == 3).billed;
    assert!(billed.iter().all(|billed| billed.quantities["text_output"] == 9_000));
    world.expect_charged(&world.project_id, &sum(&billed));
    world.expect_no_defect();
    // Pictures and sound, at what the published rules make of them.
    let png = |width: u32, height: u32| {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        bytes.extend([width.to_be_bytes(), height.to_be_bytes()].concat());
        bytes.extend(b"\x08\x06\0\0\0\0\0\0\0");
        format!("data:image/png;base64,{}", base64(&bytes))
    };
    for (model, url, detail, tokens) in [
        ("gpt-4o", png(1024, 1024), "high", 765),
        ("gpt-4o", png(2048, 4096), "high", 1105),
        ("gpt-4o", png(4096, 8192), "low", 85),
        ("gpt-4o-mini", png(1024, 1024), "high", 25_501),
        ("gpt-4o-mini", "https://example.com/a.png".to_owned(), "low", 2_833),
    ] {
        world.upstream.clear_billing();
        let part = json!({"type": "image_url", "image_url": {"url": url, "detail": detail}});
        let body =
            json!({"model": model, "max_completion_tokens": 20, "messages": [{"role": "user", "content": [part]}]});
        let script = Script { prompt_tokens: Some(tokens + 10), input_image_tokens: tokens, ..Script::default() };
        world.upstream.script(script);
        assert_eq!(world.post("/v1/chat/completions", &body).status, 200, "{body}");
        world.upstream.wait_for_billing(|billing| billing.requests == 1);
        world.until("it is settled", || world.holds().is_empty());
        world.expect_no_defect();
    }
}

/// Base64, for small pictures.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = chunk.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let letter = LETTERS[(number >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// Lists of prompts are answered each.
#[test]
fn every_prompt_of_a_list_is_held_for() {
    let world = World::new();
    world.limit(&world.project_id, 100_000);
    let prompts: Vec<String> = (0..40).map(|number| format!("Prompt {number}")).collect();
    let body = json!({"model": "davinci-002", "prompt": prompts, "max_tokens": 500, "n": 2});
    world.upstream.script(Script { completion_tokens: Some(40 * 2 * 500), ..Script::default() });
    assert_eq!(world.post("/v1/completions", &body).status, 200);
    let input: Vec<String> = (0..10).map(|_| "word ".repeat(4_000)).collect();
    assert_eq!(world.post("/v1/embeddings", &json!({"model": "text-embedding-3-small", "input": input})).status, 200);
    let billed = world.upstream.wait_for_billing(|billing| billing.requests == 2).billed;
    assert_eq!(billed[0].quantities["text_output"], 40_000);
    world.expect_charged(&world.project_id, &sum(&billed));
    world.expect_no_defect();
}

/// As many at once as fit, and not one more: the holds, not the answers, decide.
#[test]
fn on_the_last_cent_only_what_fits_comes_in() {
    let world = World::with("[money]\nhold_wait = 0.0");
    let limit = world.limit(&world.project_id, 100);
    let mut body = chat("gpt-4o");
    body["service_tier"] = json!("default");
    // 0.30 dollars of output: three fit into a dollar, whatever little the input costs.
    body["max_completion_tokens"] = json!(30_000);
    world.upstream.script(Script {
        delay_head_ms: 1_500,
        times: 100,
        completion_tokens: Some(30_000),
        ..Script::default()
    });
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..12).map(|_| scope.spawn(|| world.post("/v1/chat/completions", &body))).collect();
        calls.into_iter().map(|call| call.join().expect("no panic").status).collect()
    });
    let passed = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!((passed, statuses.iter().filter(|status| **status == 429).count()), (3, 9), "{statuses:?}");
    let cost = total(&sum(&world.upstream.wait_for_billing(|billing| billing.requests == 3).billed));
    world.until("they are settled", || world.figure(&limit, "settled") == cost);
    assert!(cost <= 1_000_000_000);
}

/// Who waits is served by what others give back, within the time that is named.
#[test]
fn near_the_limit_a_request_waits_for_others_to_settle() {
    let world = World::with("[money]\nhold_wait = 10.0");
    let limit = world.limit(&world.project_id, 40);
    let mut body = chat("gpt-4o");
    body["service_tier"] = json!("default");
    body["max_completion_tokens"] = json!(30_000);
    world.upstream.script(Script { delay_head_ms: 1_500, completion_tokens: Some(10), ..Script::default() });
    let mut first = world.begin("/v1/chat/completions", &body, &[]);
    world.until("the first holds", || world.figure(&limit, "held") > 0);
    let begun = std::time::Instant::now();
    let mut second = world.begin("/v1/chat/completions", &body, &[]);
    world.until("the second waits", || world.holds().iter().any(|hold| hold["doing"] == "waiting"));
    // One that leaves while it waits is forgotten.
    let third = world.begin("/v1/chat/completions", &body, &[]);
    world.until("the third waits", || world.holds().len() == 3);
    drop(third);
    world.until("the third is gone", || world.holds().len() < 3);
    assert_eq!(first.answer().expect("an answer").status, 200);
    assert_eq!(second.answer().expect("an answer").status, 200);
    assert!(begun.elapsed() < Duration::from_secs(8), "it was woken, it did not try again later");
    world.until("the upstream has written its bill", || world.upstream.billing().billed.len() == 2);
    world.expect_charged(&world.project_id, &sum(&world.upstream.billing().billed));
}
