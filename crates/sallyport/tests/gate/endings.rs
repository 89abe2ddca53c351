//! The end of every hold is what the upstream billed, or all of it: clients that leave, answers that break off, upstreams
//! that refuse, stall or bill too much, a gate that is told to stop.

use serde_json::{Value, json};
use testkit::Script;

use crate::books::{Lines, refused, sum, total};
use crate::client::Connection;
use crate::holding::{chat, number, streamed};
use crate::world::World;

/// What a client that leaves does, and when.
struct Leaving {
    what: &'static str,
    target: &'static str,
    body: Value,
    script: Script,
    /// Reads as much of the answer as it wants.
    reads: fn(&mut Connection),
}

fn leavings() -> Vec<Leaving> {
    let slow = Script { delay_chunk_ms: 60, completion_tokens: Some(60), ..Script::default() };
    vec![
        Leaving {
            what: "after the first token",
            target: "/v1/chat/completions",
            body: streamed("gpt-4o"),
            script: slow.clone(),
            reads: |connection| drop(connection.until(b"alpha").expect("a token")),
        },
        Leaving {
            what: "during hidden reasoning",
            target: "/v1/responses",
            body: json!({"model": "gpt-5", "input": "Think.", "stream": true, "store": false}),
            script: Script { delay_reasoning_ms: 800, reasoning_tokens: 3_000, ..Script::default() },
            reads: |connection| drop(connection.until(b"response.in_progress").expect("an event")),
        },
        Leaving {
            what: "between the last token and the usage",
            target: "/v1/chat/completions",
            body: streamed("gpt-4o-mini"),
            script: Script { delay_chunk_ms: 250, pieces: Some(2), ..Script::default() },
            reads: |connection| drop(connection.until(b"\"finish_reason\":\"stop\"").expect("the end")),
        },
        Leaving {
            what: "before the head",
            target: "/v1/chat/completions",
            body: chat("gpt-5"),
            script: Script { delay_head_ms: 800, completion_tokens: Some(2_000), ..Script::default() },
            reads: |_| {},
        },
        Leaving {
            what: "before the head of a response, whose caps are taken out again",
            target: "/v1/responses",
            body: json!({"model": "gpt-5", "input": "Think.", "store": false}),
            script: Script { delay_head_ms: 800, completion_tokens: Some(2_000), ..Script::default() },
            reads: |_| {},
        },
        Leaving {
            what: "in the middle of a body",
            target: "/v1/embeddings",
            body: json!({"model": "text-embedding-3-large", "input": ["x", "y", "z"]}),
            script: Script { chunk_bytes: 40, delay_chunk_ms: 30, ..Script::default() },
            reads: |connection| drop(connection.until(b"\"data\"").expect("some of it")),
        },
    ]
}

fn leave(world: &World, leaving: &Leaving) -> Value {
    world.upstream.script(leaving.script.clone());
    let mut connection = world.begin(leaving.target, &leaving.body, &[]);
    world.upstream.wait_for(|all| all.len() == 1);
    (leaving.reads)(&mut connection);
    let hold = world.holds().first().cloned().unwrap_or_else(|| panic!("{}: nothing is held", leaving.what));
    drop(connection);
    hold
}

#[test]
fn a_client_that_leaves_is_charged_what_the_upstream_bills() {
    let world = World::new();
    let limit = world.limit(&world.project_id, 100_000);
    for leaving in leavings() {
        world.upstream.clear();
        let hold = leave(&world, &leaving);
        assert_eq!(hold["doing"], "running", "{}: {hold}", leaving.what);
        if leaving.what == "after the first token" {
            world.until("it is read on", || world.holds().first().is_some_and(|hold| hold["doing"] == "reading_on"));
        }
        let billed = world.upstream.wait_for_billing(|billing| billing.requests > 0);
        assert!(billed.billed.iter().all(|billed| billed.complete), "{}: the upstream was cut", leaving.what);
        world.expect_charged(&world.project_id, &sum(&billed.billed));
    }
    assert_eq!(world.estimates(), Vec::<Value>::new());
    assert_eq!(world.figure(&limit, "held"), 0);
    world.expect_no_defect();
}

#[test]
fn a_cancelled_answer_keeps_its_full_hold_until_a_fact_lowers_it() {
    let world = World::new();
    let limit = world.limit(&world.project_id, 100_000);
    world.money(&world.project_id, &json!({"abandoned": "cancel"}));
    let mut held = 0;
    for leaving in leavings() {
        world.upstream.clear();
        let hold = leave(&world, &leaving);
        held += number(&hold["amount_nano"]);
        world.until("the hold ends", || world.holds().is_empty());
        world.until("it is charged", || total(&world.charged(&world.project_id)) == held);
        let estimate = world.estimates().remove(0);
        assert_eq!(
            (&estimate["id"], &estimate["amount_nano"]),
            (&hold["id"], &hold["amount_nano"]),
            "{}",
            leaving.what
        );
        assert_eq!(estimate["kind"], "request");
        assert_eq!(world.figure(&limit, "settled"), held);
    }
    let lines = world.charged(&world.project_id);
    assert!(lines.keys().all(|item| item.ends_with(", estimated")), "{lines:?}");
    // The upstream's bill is known later: the estimate is lowered to it, and never raised.
    let estimate = world.estimates().remove(0);
    let (id, amount) = (estimate["id"].as_str().expect("an id"), number(&estimate["amount_nano"]));
    let path = format!("/v1/sallyport/estimates/{id}");
    let above = world.call(&world.admin_key, "POST", &path, &json!({"amount": "99.00"}));
    assert_eq!((above.status, above.error_code().as_str()), (400, "invalid_value"));
    world.admin("POST", &path, &json!({"amount": "0.000000001"}));
    held = held - amount + 1;
    world.until("it is lowered", || world.figure(&limit, "settled") == held);
    assert_eq!(total(&world.charged(&world.project_id)), held);
    world.expect_no_defect();
}

#[test]
fn an_answer_without_usage_or_without_end_keeps_its_full_hold() {
    let world = World::with("[timeouts]\nupstream_idle = 0.4");
    let limit = world.limit(&world.project_id, 100_000);
    let image = json!({"model": "gpt-image-1.5", "prompt": "A cat.", "size": "1024x1024", "quality": "low"});
    let response = json!({"model": "gpt-5", "input": "x", "stream": true, "store": false});
    let embed = json!({"model": "text-embedding-3-small", "input": "x"});
    let none = || Script { no_usage: true, ..Script::default() };
    let cut = |tokens| Script { cut_after_tokens: Some(tokens), ..Script::default() };
    let cases: Vec<(&str, Value, Script)> = vec![
        ("/v1/chat/completions", streamed("gpt-4o"), none()),
        ("/v1/chat/completions", chat("gpt-4o"), none()),
        ("/v1/completions", json!({"model": "davinci-002", "prompt": "x", "stream": true}), none()),
        ("/v1/responses", response.clone(), none()),
        ("/v1/embeddings", embed, none()),
        ("/v1/images/generations", image.clone(), none()),
        ("/v1/chat/completions", streamed("gpt-4o"), cut(3)),
        ("/v1/chat/completions", streamed("gpt-4o"), Script { run_on_tokens: 900, ..cut(3) }),
        ("/v1/chat/completions", streamed("gpt-5"), Script { reset_after_tokens: Some(2), ..Script::default() }),
        ("/v1/responses", response.clone(), Script { stall_after_tokens: Some(4), ..Script::default() }),
        ("/v1/responses", response, Script { cut_after: Some(400), ..Script::default() }),
        ("/v1/chat/completions", chat("gpt-4o"), Script { cut_after: Some(100), ..Script::default() }),
        ("/v1/chat/completions", chat("gpt-4o"), Script { disconnect: true, bill_failure: true, ..Script::default() }),
        ("/v1/chat/completions", chat("gpt-4o"), Script { garbage: true, bill_failure: true, ..Script::default() }),
    ];
    for (estimated, (target, body, script)) in (1..).zip(cases) {
        world.upstream.clear_billing();
        let before = world.figure(&limit, "settled");
        world.upstream.script(script.clone());
        let mut connection = world.begin(target, &body, &[]);
        drop(connection.answer());
        world.until("it ends", || world.holds().is_empty());
        world.until(&format!("{target} is charged: {script:?}"), || world.figure(&limit, "settled") > before);
        let charged = world.figure(&limit, "settled") - before;
        world.until("it is written down", || world.estimates().len() == estimated);
        let estimate = world.estimates().remove(0);
        assert_eq!(number(&estimate["amount_nano"]), charged, "{target} {script:?} {estimate}");
        let billing = world.upstream.wait_for_billing(|_| true);
        let cost = total(&sum(&billing.billed));
        assert!(charged >= cost, "{target} {script:?}: charged {charged}, billed {cost}");
    }
    world.expect_no_defect();
}

#[test]
fn an_upstream_that_says_no_charges_nothing() {
    let world = World::new();
    let limit = world.limit(&world.project_id, 1_000);
    for status in [400, 404, 429, 500, 503] {
        for body in [chat("gpt-4o"), streamed("gpt-4o")] {
            // SDKs may be retried by the gate: every attempt is refused.
            world.upstream.script(Script { status: Some(status), times: 5, ..Script::default() });
            assert_eq!(world.post("/v1/chat/completions", &body).status, status);
            world.upstream.clear();
            world.until("it is released", || world.holds().is_empty() && world.figure(&limit, "held") == 0);
        }
    }
    assert_eq!(world.charged_at_rest(&world.project_id), Lines::new());
    assert_eq!(world.figure(&limit, "settled"), 0);
    assert_eq!(world.upstream.billing().requests, 0);
}

/// What is read on has caps of time and money of its own.
#[test]
fn an_abandoned_answer_is_read_on_within_its_caps() {
    for config in ["[money]\nread_on_usd_max = \"0.01\"", "[timeouts]\nread_on = 0.3"] {
        let world = World::with(config);
        world.limit(&world.project_id, 10_000);
        world.upstream.script(Script { stall_after_tokens: Some(2), ..Script::default() });
        let mut connection = world.begin("/v1/chat/completions", &streamed("gpt-4o"), &[]);
        connection.until(b"alpha").expect("a token");
        let held = number(&world.holds()[0]["amount_nano"]);
        assert!(held > 10_000_000);
        drop(connection);
        world.upstream.wait_for(|all| all[0].client_left);
        world.until(config, || world.holds().is_empty() && total(&world.charged(&world.project_id)) == held);
        assert_eq!(world.estimates().len(), 1);
    }
}

/// Usage above the hold breaks the promise: it is written down all the same, alarmed by name, and the limit refuses.
#[test]
fn an_upstream_that_bills_more_than_it_may_is_charged_and_alarmed() {
    let world = World::with("[money]\nhold_wait = 0.1");
    let limit = world.limit(&world.project_id, 1);
    world.upstream.script(Script {
        ignore_cap: true,
        completion_tokens: Some(1_000_000),
        pieces: Some(2),
        ..Script::default()
    });
    let mut body = chat("gpt-4o-mini");
    body["max_completion_tokens"] = json!(50);
    assert_eq!(world.post("/v1/chat/completions", &body).status, 200);
    let billed = world.upstream.wait_for_billing(|billing| billing.requests == 1).billed;
    world.expect_charged(&world.project_id, &sum(&billed));
    assert!(world.diagnostics().contains("settlement_above_hold"));
    assert_eq!((world.figure(&limit, "settled"), world.figure(&limit, "left")), (total(&sum(&billed)), 0));
    let words = refused(&world.post("/v1/chat/completions", &body), "project_spend_limit_exceeded");
    assert!(words.contains("limit $0.01, spent $0.6"), "{words}");
}

/// A gate that is told to stop lets answers end, writes down what they cost, and charges in full what it must cut.
#[test]
fn a_stop_loses_no_charge() {
    let mut world = World::with("[timeouts]\ndrain = 1.5");
    let limit = world.limit(&world.project_id, 100_000);
    world.upstream.script(Script { delay_chunk_ms: 50, ..Script::default() });
    let mut ends = world.begin("/v1/chat/completions", &streamed("gpt-4o"), &[]);
    ends.until(b"alpha").expect("a token");
    world.upstream.script(Script { stall_after_tokens: Some(2), ..Script::default() });
    let mut stays = world.begin("/v1/chat/completions", &streamed("gpt-5"), &[]);
    stays.until(b"alpha").expect("a token");
    let holds = world.holds();
    let held = holds.iter().find(|hold| hold["model"] == "gpt-5").expect("it is held");
    world.stop("-TERM");
    assert!(String::from_utf8_lossy(&ends.rest()).contains("[DONE]"));
    drop(stays);
    world.resume();
    let billed = world.upstream.wait_for_billing(|billing| billing.requests == 2).billed;
    let ended = billed.iter().find(|billed| billed.complete).expect("one came to its end");
    let mut expected = sum([ended]);
    expected.insert("gpt-5, estimated".to_owned(), number(&held["amount_nano"]));
    world.expect_charged(&world.project_id, &expected);
    assert_eq!(world.figure(&limit, "settled"), total(&expected));
    assert_eq!(world.estimates().len(), 1);
    world.expect_no_defect();
}
