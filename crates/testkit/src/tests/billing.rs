//! The bill is what was used: whatever is reported, however the answer ends, whoever sees it.

use std::io::Read;
use std::net::TcpStream;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::client::{begin, plain, post, upstream};
use crate::{Billed, Options, Upstream, tokens};

const CHAT: &str = "/v1/chat/completions";
const LEGACY: &str = "/v1/completions";
const RESPONSES: &str = "/v1/responses";

/// The only bill so far.
pub(super) fn only(upstream: &Upstream) -> Billed {
    let mut billing = upstream.wait_for_billing(|billing| billing.requests == 1);
    upstream.clear_billing();
    billing.billed.remove(0)
}

pub(super) fn billed(bill: &Billed, unit: &str) -> u64 {
    bill.quantities.get(unit).copied().unwrap_or(0)
}

fn output(bill: &Billed) -> u64 {
    billed(bill, "text_output") + billed(bill, "audio_output") + billed(bill, "image_output")
}

/// A body of the family, with its own words for the same things.
fn body(path: &str, stream: bool, cap: Option<u64>, n: u64) -> Value {
    let mut body = json!({"model": "m", "stream": stream});
    let cap_name = match path {
        CHAT => {
            body["messages"] = json!([{"role": "user", "content": "one \"two\" three"}]);
            body["stream_options"] = json!({"include_usage": true});
            body["n"] = json!(n);
            "max_completion_tokens"
        }
        LEGACY => {
            body["prompt"] = json!("one two three");
            body["stream_options"] = json!({"include_usage": true});
            body["n"] = json!(n);
            "max_tokens"
        }
        _ => {
            body["input"] = json!("one two three");
            "max_output_tokens"
        }
    };
    if let Some(cap) = cap {
        body[cap_name] = json!(cap);
    }
    body
}

/// Quantities by the usage that an answer reports, as a client would work them out.
fn by_usage(usage: &Value) -> Vec<(&'static str, u64)> {
    let number = |path: &str| usage.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let either = |chat: &str, response: &str| number(chat).max(number(response));
    let detail =
        |name: &str| either(&format!("/prompt_tokens_details/{name}"), &format!("/input_tokens_details/{name}"));
    let (cached, writes) = (detail("cached_tokens"), detail("cache_write_tokens"));
    let (image, audio) = (detail("image_tokens"), detail("audio_tokens"));
    let audio_out = number("/completion_tokens_details/audio_tokens");
    let input = either("/prompt_tokens", "/input_tokens");
    vec![
        ("text_input", input - cached - writes - image - audio),
        ("text_cached_input", cached),
        ("text_cache_write_30m", detail("cache_write_tokens_details/ttl_30m")),
        ("text_cache_write_12h", detail("cache_write_tokens_details/ttl_12h")),
        ("image_input", image),
        ("audio_input", audio),
        ("text_output", either("/completion_tokens", "/output_tokens") - audio_out),
        ("audio_output", audio_out),
    ]
}

prop_compose! {
    fn inputs()(
        prompt in proptest::option::of(0_u64..2_000), hidden in 0_u64..500, parts in prop::array::uniform5(0_u64..300),
    ) -> Value {
        let [image, audio, cached, write, write_12h] = parts;
        json!({
            "prompt_tokens": prompt, "hidden_input_tokens": hidden, "input_image_tokens": image,
            "input_audio_tokens": audio, "cached_tokens": cached, "cache_write_tokens": write,
            "cache_write_12h_tokens": write_12h,
        })
    }
}

prop_compose! {
    fn outputs()(
        completion in proptest::option::of(0_u64..120), range in proptest::option::of((0_u64..50, 50_u64..90)),
        pieces in proptest::option::of(0_usize..20), piece_per_token: bool, reasoning in 0_u64..40,
        audio in 0_u64..40, ignore_cap: bool,
    ) -> Value {
        json!({
            "completion_tokens": completion, "completion_tokens_range": range, "pieces": pieces,
            "piece_per_token": piece_per_token, "reasoning_tokens": reasoning, "audio_tokens": audio,
            "ignore_cap": ignore_cap,
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn bill_and_reported_usage_agree(
        path in prop::sample::select(vec![CHAT, LEGACY, RESPONSES]), stream: bool, inputs in inputs(),
        outputs in outputs(), cap in proptest::option::of(0_u64..100), n in 1_u64..4, lie in -3_i64..4,
    ) {
        static UPSTREAM: std::sync::LazyLock<Upstream> = std::sync::LazyLock::new(upstream);
        static ONE_BY_ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _turn = ONE_BY_ONE.lock();
        let mut script = inputs;
        script.as_object_mut().expect("members").extend(outputs.as_object().expect("members").clone());
        let n = if path == RESPONSES { 1 } else { n };
        let body = body(path, stream, cap, n);

        let honest = post(&UPSTREAM, path, &script, &body);
        let bill = only(&UPSTREAM);
        let usage = honest.usage();
        for (unit, quantity) in by_usage(&usage) {
            prop_assert_eq!(billed(&bill, unit), quantity, "{} in {:?} by {}", unit, bill, usage);
        }
        prop_assert!(bill.complete && bill.path == path && bill.model == "m" && bill.tier == "default");

        let allowed = match (cap, path) {
            _ if outputs["ignore_cap"] == true => u64::MAX,
            (None, LEGACY) => 16 * n,
            (None, _) => u64::MAX,
            (Some(cap), _) => cap * n,
        };
        prop_assert!(output(&bill) <= allowed, "{} of {}", output(&bill), allowed);
        if let Some(completion) = outputs["completion_tokens"].as_u64() {
            prop_assert_eq!(output(&bill), completion.min(allowed));
            let is_cut = ["\"length\"", "\"incomplete\""].iter().any(|word| honest.body.contains(word));
            prop_assert_eq!(is_cut, completion > allowed, "{}", honest.body);
        }

        // A lie changes what is reported and nothing else.
        if outputs["completion_tokens_range"].is_null() {
            script["lie_usage"] = json!(lie);
            let lying = post(&UPSTREAM, path, &script, &body).usage();
            let after = only(&UPSTREAM);
            prop_assert_eq!(&after.quantities, &bill.quantities);
            let of = |usage: &Value| usage["completion_tokens"].as_u64().or(usage["output_tokens"].as_u64());
            prop_assert_eq!(of(&lying), of(&usage).map(|honest| honest.saturating_add_signed(lie)));
        }
    }
}

#[test]
fn tokens_of_a_range_are_drawn_from_all_of_it() {
    let upstream = upstream();
    let drawn: std::collections::BTreeSet<u64> = (0..60)
        .map(|_| {
            post(&upstream, CHAT, &json!({"completion_tokens_range": [5, 9]}), &body(CHAT, false, None, 1));
            billed(&only(&upstream), "text_output")
        })
        .collect();
    assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [5, 6, 7, 8, 9]);
}

#[test]
fn a_broken_stream_costs_what_was_generated_and_what_ran_on() {
    let upstream = upstream();
    for path in [CHAT, LEGACY, RESPONSES] {
        for (fault, after, run_on, expected) in [
            ("cut_after_tokens", 130, 0, 130),
            ("cut_after_tokens", 130, 25, 155),
            ("reset_after_tokens", 101, 3, 104),
            ("cut_after_tokens", 130, 10_000, 200),
            // In the middle of the reasoning: what is hidden is billed all the same.
            ("cut_after_tokens", 1, 0, 100),
            ("cut_after_tokens", 200, 0, 200),
        ] {
            let script = json!({
                "prompt_tokens": 50, "completion_tokens": 200, "reasoning_tokens": 100, "piece_per_token": true,
                fault: after, "run_on_tokens": run_on,
            });
            let answer = post(&upstream, path, &script, &body(path, true, Some(200), 1));
            let bill = only(&upstream);
            // A legacy stream opens with a piece of text.
            let expected = if path == LEGACY { expected.max(101) } else { expected };
            let shown = format!("{path} {script}: {bill:?}");
            assert_eq!((billed(&bill, "text_input"), billed(&bill, "text_output")), (50, expected), "{shown}");
            assert!(!bill.complete && answer.usage().is_null(), "{shown}");
        }
    }
}

#[test]
fn a_stream_cut_in_the_middle_of_an_event_costs_that_event() {
    let upstream = upstream();
    let script = |cut: Option<usize>| json!({"completion_tokens": 40, "piece_per_token": true, "cut_after": cut});
    let whole = post(&upstream, CHAT, &script(None), &body(CHAT, true, None, 1)).body;
    only(&upstream);
    let ends: Vec<usize> = whole.match_indices("\n\n").map(|(at, _)| at + 2).collect();
    for token in [1, 17, 40] {
        // The first event is the opening; the one after so many more holds the token.
        post(&upstream, CHAT, &script(Some(ends[token] - 5)), &body(CHAT, true, None, 1));
        assert_eq!(billed(&only(&upstream), "text_output"), token as u64);
    }
}

/// Reads until something is seen so many times.
fn read_until(stream: &mut TcpStream, word: &str, times: usize) {
    let mut seen = String::new();
    let mut buffer = [0; 4096];
    while seen.matches(word).count() < times {
        let count = stream.read(&mut buffer).expect("reads");
        assert!(count > 0, "it ends before {word}: {seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
}

#[test]
fn a_client_that_leaves_pays_for_what_was_generated_and_what_ran_on() {
    let upstream = upstream();
    for (path, delta) in [(CHAT, "\"content\":\" "), (LEGACY, "\"text\":\" "), (RESPONSES, "\"delta\":\" ")] {
        let script = json!({
            "completion_tokens": 5_000, "piece_per_token": true, "reasoning_tokens": 30, "delay_chunk_ms": 5,
            "run_on_tokens": 11,
        });
        let mut stream = begin(&upstream, path, &script, &body(path, true, Some(5_000), 1));
        read_until(&mut stream, delta, 1);
        drop(stream);
        let bill = only(&upstream);
        let recorded =
            upstream.wait_for(|all| all.last().is_some_and(|last| last.client_left)).pop().expect("a record");
        // The first piece has no blank in front of it; each is one token.
        let sent = String::from_utf8(recorded.sent_body).expect("text").matches(delta).count() as u64 + 1;
        assert!(!bill.complete && sent < 1_000, "{sent}");
        assert_eq!(billed(&bill, "text_output"), 30 + sent + 11, "{path}");
    }
}

#[test]
fn a_client_that_leaves_during_the_hidden_reasoning_pays_for_it() {
    let upstream = upstream();
    for (path, first) in [(CHAT, "\"role\":\"assistant\""), (RESPONSES, "response.in_progress")] {
        let script = json!({
            "completion_tokens": 900, "reasoning_tokens": 500, "delay_reasoning_ms": 60_000, "run_on_tokens": 7,
        });
        let mut stream = begin(&upstream, path, &script, &body(path, true, None, 1));
        read_until(&mut stream, first, 1);
        assert_eq!((upstream.billing().open, upstream.billing().requests), (1, 0), "the call is under way");
        drop(stream);
        assert_eq!(billed(&only(&upstream), "text_output"), 507, "{path}");
    }
}

#[test]
fn a_client_that_leaves_a_stalled_stream_pays_for_what_came_before() {
    let upstream = upstream();
    let script = json!({"completion_tokens": 60, "piece_per_token": true, "stall_after_tokens": 40});
    let mut stream = begin(&upstream, CHAT, &script, &body(CHAT, true, None, 1));
    // The fortieth of eight words in turn.
    read_until(&mut stream, "\"content\":\" hotel\"", 5);
    drop(stream);
    assert_eq!(billed(&only(&upstream), "text_output"), 40);
}

#[test]
fn a_whole_answer_costs_as_much_whether_or_not_it_is_taken() {
    let upstream = upstream();
    let script = json!({"completion_tokens": 321, "cut_after": 5, "run_on_tokens": 1_000});
    for path in [CHAT, LEGACY, RESPONSES] {
        post(&upstream, path, &script, &body(path, false, Some(1_000), 1));
        let bill = only(&upstream);
        assert_eq!((billed(&bill, "text_output"), bill.complete), (321, false), "{path}");
    }
    let late = json!({"completion_tokens": 321, "delay_head_ms": 50});
    drop(begin(&upstream, CHAT, &late, &body(CHAT, false, None, 1)));
    assert_eq!(billed(&only(&upstream), "text_output"), 321);
}

#[test]
fn errors_and_silence_are_free_unless_the_script_says_otherwise() {
    let upstream = upstream();
    for (fault, bills) in [
        (json!({"status": 500}), false),
        (json!({"disconnect": true}), false),
        (json!({"garbage": true}), false),
        (json!({"status": 500, "bill_failure": true}), true),
        (json!({"disconnect": true, "bill_failure": true}), true),
        (json!({"garbage": true, "bill_failure": true}), true),
        // What looks like success was worked for.
        (json!({"body": {"odd": true}}), true),
        (json!({"no_usage": true}), true),
    ] {
        upstream.clear_billing();
        let mut script = fault.clone();
        script["completion_tokens"] = json!(9);
        post(&upstream, CHAT, &script, &body(CHAT, false, None, 1));
        let expected = if bills { 9 } else { 0 };
        let billing = upstream.wait_for_billing(|billing| billing.requests == u64::from(bills));
        assert_eq!(billing.total("text_output"), expected, "{fault}");
    }
}

#[test]
fn a_wrong_key_and_a_missing_model_cost_nothing() {
    let upstream = Upstream::start(Options { key: Some("sk-right".into()), ..Options::default() });
    assert_eq!(post(&upstream, CHAT, &Value::Null, &body(CHAT, false, None, 1)).status, 401);
    assert_eq!(post(&self::upstream(), CHAT, &Value::Null, &json!({"messages": []})).status, 400);
    assert_eq!((upstream.billing().requests, upstream.billing().open), (0, 0));
}

#[test]
fn tiers_and_models_are_summed_apart() {
    let upstream = upstream();
    for (asked, served, tier) in [
        (json!(null), json!(null), "default"),
        (json!("auto"), json!(null), "default"),
        (json!("flex"), json!(null), "flex"),
        (json!("fast"), json!(null), "priority"),
        (json!("auto"), json!("priority"), "priority"),
        (json!("flex"), json!("default"), "default"),
    ] {
        let mut body = body(CHAT, false, None, 1);
        body["service_tier"] = asked;
        let answer = post(&upstream, CHAT, &json!({"service_tier": served, "completion_tokens": 10}), &body);
        assert_eq!(answer.json()["service_tier"], tier);
    }
    let sums = upstream.wait_for_billing(|billing| billing.requests == 6).sums;
    let seen: Vec<_> =
        sums.iter().map(|sum| (sum.tier.as_str(), sum.requests, sum.quantities["text_output"])).collect();
    assert_eq!(seen, [("default", 3, 30), ("flex", 1, 10), ("priority", 2, 20)]);
}

#[test]
fn the_books_are_read_and_closed_over_http() {
    let upstream = upstream();
    post(&upstream, CHAT, &json!({"completion_tokens": 12}), &body(CHAT, false, None, 1));
    upstream.wait_for_billing(|billing| billing.requests == 1);
    let all = plain(&upstream, "GET", "/_billing").json();
    assert_eq!(all["billed"][0]["quantities"]["text_output"], 12);
    let sums = plain(&upstream, "GET", "/_billing?list=0").json();
    assert_eq!((&sums["billed"], &sums["sums"], &sums["open"]), (&json!([]), &all["sums"], &json!(0)));
    assert_eq!(plain(&upstream, "DELETE", "/_record").status, 200);
    assert_eq!(upstream.billing().requests, 1, "records and bills are forgotten apart");
    assert_eq!(plain(&upstream, "DELETE", "/_billing").status, 200);
    assert_eq!(upstream.billing(), crate::Billing::default());
}

#[test]
fn the_short_cut_of_load_tests_bills_what_it_reports() {
    let upstream = Upstream::start(Options { record: false, key: Some("sk".into()), ..Options::default() });
    let long_way = Upstream::start(Options::default());
    let send = |body: &str, key: &str, count: usize| {
        use std::io::Write;
        let request = format!(
            "POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(upstream.address()).expect("connects");
        stream.write_all(request.repeat(count).as_bytes()).expect("writes");
        stream.shutdown(std::net::Shutdown::Write).expect("shuts");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("reads");
        answer
    };
    let usage = |answer: &str| {
        let at = answer.rfind("\"usage\":{").expect("usage");
        let mut documents = serde_json::Deserializer::from_str(&answer[at + 8..]).into_iter::<Value>();
        documents.next().expect("a value").expect("JSON")
    };
    let messages = json!([
        {"role": "user", "content": "ünï \"quoted\" \\ \n\t\u{8}\u{1} and\u{7f}"}, {"a": [], "b": {}, "c": [1, -2, 1.5, 1e30, null, true, false]},
    ]);
    let body = |model: &str, stream: bool| {
        json!({
            "model": model, "messages": messages, "stream": stream, "stream_options": {"include_usage": true},
            "max_tokens": 64, "store": false, "service_tier": "default",
        })
    };
    let mut expected = std::collections::BTreeMap::<&str, (u64, u64, u64)>::new();
    for (model, stream, count) in [("a", false, 50), ("a", true, 7), ("b", true, 3)] {
        let answer = send(&serde_json::to_string_pretty(&body(model, stream)).expect("JSON"), "sk", count);
        assert!(answer.contains("req_load"), "it is the short cut");
        assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), count);
        let usage = usage(&answer);
        let input = usage["prompt_tokens"].as_u64().expect("tokens");
        assert_eq!(input, tokens(&messages.to_string()), "counted like the long way");
        let sums = expected.entry(model).or_default();
        sums.0 += count as u64;
        sums.1 += input * count as u64;
        sums.2 += usage["completion_tokens"].as_u64().expect("tokens") * count as u64;
        assert_eq!(post(&long_way, CHAT, &Value::Null, &body(model, false)).usage()["prompt_tokens"], input);
    }
    let sums = upstream.billing().sums;
    let seen: std::collections::BTreeMap<&str, (u64, u64, u64)> = sums
        .iter()
        .map(|sum| (sum.model.as_str(), (sum.requests, sum.quantities["text_input"], sum.quantities["text_output"])))
        .collect();
    assert_eq!(seen, expected);
    assert_eq!(upstream.billing().unlisted, 60);

    // What the prepared answer would get wrong goes the long way: a cap, a key, more choices, a tier.
    upstream.clear_billing();
    assert!(send(&body("a", false).to_string(), "wrong", 1).starts_with("HTTP/1.1 401"));
    for (name, value) in [("max_tokens", json!(5)), ("n", json!(2)), ("service_tier", json!("flex"))] {
        let mut body = body("a", false);
        body[name] = value;
        let answer = send(&body.to_string(), "sk", 1);
        assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("req_load"), "{answer}");
    }
    let capped = upstream.wait_for_billing(|billing| billing.requests == 3).billed.remove(0);
    assert_eq!(billed(&capped, "text_output"), 5);
}
