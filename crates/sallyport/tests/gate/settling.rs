//! Settled amounts equal what an independent reader makes of the upstream's own books: difference 0, for every endpoint
//! family and shape of answer, over many random requests; with limits on, no request costs more than was held for it.
//!
//! `SALLYPORT_HEAVY=1` makes thousands of requests of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testkit::{Billed, Billing, Script};

use crate::books::{Chance, sum, total};
use crate::cases::Maker;
use crate::client::request;
use crate::world::World;

/// How many requests.
fn rounds(usual: u64) -> u64 {
    if std::env::var("SALLYPORT_HEAVY").is_ok_and(|heavy| heavy == "1") { usual * 20 } else { usual }
}

/// Makes the calls of one maker, over one connection.
fn play(world: &World, maker: &mut Maker, count: u64) {
    let bearer = format!("Bearer {}", world.project_key);
    let mut connection = world.connect();
    let mut before = String::new();
    for _ in 0..count {
        let case = maker.case();
        let script = case.script.to_string();
        let headers =
            [("Authorization", bearer.as_str()), ("Content-Type", case.content_type), ("X-Script", script.as_str())];
        connection.send(&request("POST", case.target, &headers, &case.body));
        let answer =
            connection.answer().unwrap_or_else(|| panic!("no answer to {}: {} after {before}", case.target, script));
        before = format!("{script} {:?}", answer.headers);
        let sent = String::from_utf8_lossy(&case.body[..case.body.len().min(600)]).into_owned();
        assert_eq!(answer.status, 200, "{} {sent} {script}: {}", case.target, answer.text());
        assert!(answer.is_whole, "{} {sent} {script}", case.target);
    }
}

/// Compares the usage reports with the upstream's books.
fn expect_usage(world: &World, billing: &Billing, moderations: u64) {
    let report = |name: &str| world.usage(name, &world.project_id);
    let bills = |paths: &[&str]| -> Vec<&Billed> {
        billing.billed.iter().filter(|billed| paths.iter().any(|path| billed.path.starts_with(path))).collect()
    };
    let count = |bills: &[&Billed], is_one: &dyn Fn(&str) -> bool| -> u64 {
        bills.iter().flat_map(|billed| &billed.quantities).filter(|(unit, _)| is_one(unit)).map(|(_, n)| n).sum()
    };
    let is_input = |unit: &str| unit.ends_with("_input") || unit.starts_with("text_c");
    let is_output = |unit: &str| unit.ends_with("_output");
    let expect = |name: &str, figures: &[(&str, u64)]| {
        let got = report(name);
        for (figure, expected) in figures {
            assert_eq!(got.get(*figure).copied().unwrap_or(0), *expected, "{name} {figure}: {got:?}");
        }
    };
    let text = bills(&["/v1/chat", "/v1/responses", "/v1/completions"]);
    expect(
        "completions",
        &[
            ("input_tokens", count(&text, &is_input)),
            ("output_tokens", count(&text, &is_output)),
            ("input_cached_tokens", count(&text, &|unit| unit == "text_cached_input")),
            ("input_cache_write_tokens", count(&text, &|unit| unit.starts_with("text_cache_write"))),
            ("input_audio_tokens", count(&text, &|unit| unit == "audio_input")),
            ("output_audio_tokens", count(&text, &|unit| unit == "audio_output")),
            ("num_model_requests", text.len() as u64),
        ],
    );
    let decisions = bills(&["/v1/decisions"]);
    expect(
        "decisions",
        &[("input_tokens", count(&decisions, &is_input)), ("num_model_requests", decisions.len() as u64)],
    );
    let embeddings = bills(&["/v1/embeddings"]);
    expect(
        "embeddings",
        &[("input_tokens", count(&embeddings, &is_input)), ("num_model_requests", embeddings.len() as u64)],
    );
    expect("images", &[("num_model_requests", bills(&["/v1/images"]).len() as u64)]);
    let speeches = bills(&["/v1/audio/speech"]);
    expect(
        "audio_speeches",
        &[
            ("characters", count(&speeches, &|unit| unit == "characters")),
            ("num_model_requests", speeches.len() as u64),
        ],
    );
    let heard = bills(&["/v1/audio/trans"]);
    expect(
        "audio_transcriptions",
        &[("seconds", count(&heard, &|unit| unit == "audio_ms") / 1_000), ("num_model_requests", heard.len() as u64)],
    );
    expect("moderations", &[("num_model_requests", moderations)]);
    let all: Vec<&Billed> = billing.billed.iter().collect();
    expect("web_search_calls", &[("num_requests", count(&all, &|unit| unit.starts_with("web_search")))]);
    expect("file_search_calls", &[("num_requests", count(&all, &|unit| unit == "file_search"))]);
    expect("code_interpreter_sessions", &[("num_sessions", count(&all, &|unit| unit == "container_session"))]);
}

/// Runs the random calls and compares the books.
fn compare(world: &World, is_bounded: bool, seed: u64, count: u64) -> u128 {
    world.price_file_searches();
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let chance = Chance(seed + thread);
            scope.spawn(move || play(world, &mut Maker { chance, is_bounded }, count / 2));
        }
    });
    let recorded = world.upstream.requests();
    let moderations = recorded.iter().filter(|recorded| recorded.target == "/v1/moderations").count() as u64;
    let wanted = count / 2 * 2 - moderations;
    let billing = world.upstream.wait_for_billing(|billing| billing.requests == wanted);
    let expected = sum(&billing.billed);
    world.expect_charged(&world.project_id, &expected);
    expect_usage(world, &billing, moderations);
    assert_eq!(world.estimates(), Vec::<Value>::new(), "everything said what it used");
    // Every family came, whatever chance did.
    let mut families: BTreeMap<&str, u64> = BTreeMap::new();
    billing.billed.iter().for_each(|billed| *families.entry(&billed.path).or_default() += 1);
    assert!(families.len() >= 11, "{families:?}");
    world.expect_no_defect();
    total(&expected)
}

#[test]
fn without_limits_every_nano_dollar_is_the_upstream_s() {
    compare(&World::new(), false, 1, rounds(260));
}

/// The same with money held for each: caps are put in and taken out, and no bound is too small.
#[test]
fn under_limits_every_nano_dollar_is_the_upstream_s() {
    let world = World::new();
    let limit = world.limit(&world.project_id, 100_000_000);
    let scopes = [json!({"kind": "organization"}), json!({"kind": "tag", "project_id": world.project_id})];
    let organization = world.limit_of(scopes[0].clone(), "day", "1000000.00", json!({}));
    // Nobody can say how long what such a model speaks will be.
    world.money(&world.project_id, &json!({"allowances": {"/v1/audio/speech": "1.00"}}));
    let spent = compare(&world, true, 100, rounds(260));
    for limit in [&limit, &organization] {
        assert_eq!((world.figure(limit, "settled"), world.figure(limit, "held")), (spent, 0));
        assert_eq!(world.figure(limit, "left"), world.figure(limit, "amount") - spent);
    }
}

/// A short answer comes in one go, a long one in crumbs; compressed, with other line ends, without a length.
#[test]
fn however_an_answer_comes_what_it_says_is_read() {
    let world = World::new();
    let manners = [
        json!({}),
        json!({"encoding": "gzip"}),
        json!({"encoding": "deflate"}),
        json!({"encoding": "br"}),
        json!({"crlf": true}),
        json!({"comments": true}),
        json!({"big_event_bytes": 30_000}),
        json!({"until_close": true}),
        json!({"http10": true}),
        json!({"informational": true}),
        json!({"no_done": true}),
    ];
    for mut script in manners {
        for (chunk_bytes, stream) in [(0, true), (1, true), (70, true), (100_000, true), (0, false), (9, false)] {
            script["chunk_bytes"] = json!(chunk_bytes);
            for (target, mut body) in [
                ("/v1/chat/completions", json!({"model": "gpt-4o", "messages": [], "stream": stream})),
                ("/v1/responses", json!({"model": "gpt-4o", "input": "x", "stream": stream})),
                ("/v1/completions", json!({"model": "davinci-002", "prompt": "x", "stream": stream})),
                ("/v1/images/generations", json!({"model": "gpt-image-1", "prompt": "x", "stream": stream})),
            ] {
                if chunk_bytes == 70 && target.contains("completions") {
                    body["stream_options"] = json!({"include_usage": true});
                }
                let answer = world.post_with(target, &body, &[("X-Script", &script.to_string())]);
                assert_eq!(answer.status, 200, "{target} {script}: {}", answer.text());
            }
        }
    }
    let billed = world.upstream.wait_for_billing(|billing| billing.requests == 11 * 6 * 4).billed;
    assert!(billed.iter().all(|billed| billed.complete));
    world.expect_charged(&world.project_id, &sum(&billed));
}

/// What stands at the beginning of an answer counts, however long it is: hosted calls, the tier, pictures.
#[test]
fn long_answers_are_read_from_their_beginning() {
    let world = World::new();
    let long = "x".repeat(1_500_000);
    let call = |kind: &str| json!({"type": kind, "id": "call_1", "status": "completed"});
    let text = json!({"type": "message", "content": [{"type": "output_text", "text": long}]});
    let answers = [
        (
            "/v1/chat/completions",
            json!({"model": "gpt-4o", "messages": []}),
            json!({"service_tier": "priority", "choices": [{"message": {"content": long}}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 20}}),
        ),
        (
            "/v1/responses",
            json!({"model": "gpt-5", "input": "x", "tools": [{"type": "web_search"}], "store": false}),
            json!({"id": "resp_1", "service_tier": "priority", "usage": {"input_tokens": 10, "output_tokens": 20},
                "output": [call("web_search_call"), call("web_search_call"), call("web_search_call"), text]}),
        ),
        (
            "/v1/images/generations",
            json!({"model": "dall-e-3", "prompt": "x", "n": 2, "quality": "hd", "size": "1024x1792"}),
            json!({"created": 1, "data": [{"b64_json": long}, {"revised_prompt": "x", "b64_json": long}]}),
        ),
    ];
    for (target, body, answer) in answers {
        world.upstream.script(Script {
            body: Some(answer.clone()),
            prompt_tokens: Some(10),
            completion_tokens: Some(20),
            service_tier: Some("priority".into()),
            hosted_tool_calls: [("web_search_call".to_owned(), 3)].into(),
            ..Script::default()
        });
        let given = world.post(target, &body);
        assert!(given.status == 200 && given.json() == answer, "{target}");
    }
    let billed = world.upstream.wait_for_billing(|billing| billing.requests == 3).billed;
    assert_eq!(billed[1].quantities["web_search_medium"], 3);
    world.expect_charged(&world.project_id, &sum(&billed));
    assert_eq!(world.usage("images", &world.project_id)["images"], 2);
}
