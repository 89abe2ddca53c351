//! Streams that hold a part and grow: a small budget is used to its last cent, an upstream that runs on after a cut is
//! covered by the margin, and one that runs on further is alarmed by name.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::Script;

use crate::books::Chance;
use crate::client::Answer;
use crate::crowd::{Client, Door, chat, cost, expect_proper_refusal, is_heavy, runtime};
use crate::world::World;

/// Tokens that the upstream still makes after a cut.
const RUN_ON_TOKENS: u64 = 64;
/// Tokens that the operator allows for that, and for what is on its way to the gate meanwhile.
const MARGIN_TOKENS: u64 = 128;

/// A streaming request.
fn stream(output_tokens_max: u64) -> Value {
    let mut body = chat(output_tokens_max);
    body["stream"] = json!(true);
    body
}

/// The data of a stream's events.
fn events(answer: &Answer) -> Vec<String> {
    answer.text().split("\n\n").filter_map(|event| Some(event.strip_prefix("data: ")?.to_owned())).collect()
}

/// Why a stream ended; it must have ended as the API's do.
fn finish_of(answer: &Answer) -> String {
    let events = events(answer);
    let [.., last, done] = &events[..] else { panic!("no stream: {}", answer.text()) };
    assert_eq!(done, "[DONE]", "{last}");
    let last: Value = serde_json::from_str(last).expect("JSON");
    assert!(last.get("usage").is_none(), "nobody asked for usage: {last}");
    assert_eq!(last["object"], "chat.completion.chunk");
    last["choices"][0]["finish_reason"].as_str().unwrap_or_else(|| panic!("{last}")).to_owned()
}

/// As many clients stream until nothing fits any more.
fn spend(clients: usize, dollars: &str, output_tokens_max: u64, pace_ms: u64) {
    let world = World::with("[money]\nhold_wait = 0.3\nstore_wait = 30\n");
    let project = json!({"kind": "project", "project_id": world.project_id});
    let grow = json!({"near_limit": {"type": "grow", "margin_tokens": MARGIN_TOKENS}});
    let limit = world.limit_of(project, "month", dollars, grow);
    world.upstream.script(Script {
        times: u32::MAX,
        completion_tokens_range: Some((output_tokens_max / 10, output_tokens_max)),
        piece_per_token: true,
        delay_chunk_ms: pace_ms,
        run_on_tokens: RUN_ON_TOKENS,
        ..Script::default()
    });
    let (_, door) = Door::of(&world);
    let cut = runtime().block_on(async {
        let ask = |door: Door| async move {
            let (mut client, mut cut) = (Client::new(&door), 0);
            loop {
                let answer = client.chat(&stream(output_tokens_max)).await.expect("the gate stays");
                if answer.status == 200 {
                    cut += usize::from(finish_of(&answer) == "length");
                    continue;
                }
                expect_proper_refusal(&answer);
                // What others hold may come back.
                if answer.text().contains("held by running requests $0.00.") {
                    return cut;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let clients: Vec<_> = (0..clients).map(|_| tokio::spawn(ask(door.clone()))).collect();
        let mut cut = 0;
        for client in clients {
            cut += client.await.expect("no panic");
        }
        cut
    });
    let billing = world.upstream.wait_for_billing(|_| true);
    world.until("nothing is held", || world.figure(&limit, "held") == 0);
    let (spent, settled, amount) = (cost(&billing), world.figure(&limit, "settled"), world.figure(&limit, "amount"));
    let figures = format!("limit {amount}, spent {spent}, settled {settled}, {cut} cut of {}", billing.requests);
    assert!(spent <= settled && settled <= amount, "over: {figures}");
    assert!(settled * 100 >= amount * 99, "less than 99 %: {figures}");
    let incomplete = billing.billed.iter().filter(|billed| !billed.complete).count();
    // One that is cut near its end may have been sent to its end by then.
    assert!(incomplete <= cut && cut < 2 * incomplete, "{incomplete} were not read to their end: {figures}");
    assert_eq!(world.metric("sallyport_settlement_above_hold_total"), 0);
    world.expect_no_defect();
    println!("{figures}");
}

#[test]
fn streams_of_unequal_length_use_ten_worst_cases_to_the_last_per_cent() {
    // Three cents each at most: 2,940 tokens, and the prompt.
    spend(128, "0.30", 2_940, 3);
}

/// The same for minutes, at several paces and sizes.
#[test]
fn for_minutes_growing_streams_stay_within_their_budget() {
    if !is_heavy() {
        return;
    }
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(120) {
        spend(128, "0.30", 2_940, 3);
        spend(400, "1.20", 2_940, 10);
        spend(12, "0.60", 5_900, 2);
    }
}

/// Letters that no vocabulary has long words of: hardly two to a token.
fn noise(chars: usize) -> String {
    let mut chance = Chance(7);
    (0..chars).map(|_| char::from(chance.of(b"qxzjkvwpbghdfmy0123456789"))).collect()
}

#[test]
fn an_upstream_that_is_seen_beyond_the_margin_is_charged_and_alarmed() {
    let world = World::with("[money]\nhold_wait = 0.1\n");
    let grow = json!({"near_limit": {"type": "grow", "margin_tokens": 64}});
    let project = json!({"kind": "project", "project_id": world.project_id});
    let limit = world.limit_of(project, "month", "0.02", grow);
    // One event with far more tokens than were held for: nothing could have been held in time.
    let text = noise(3_000);
    let mut body = stream(4_000);
    body["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "said", "schema": {
        "type": "object", "properties": {"said": {"const": text}},
    }}});
    let answer = world.post("/v1/chat/completions", &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(finish_of(&answer), "length");
    assert!(answer.text().contains(&text), "what has come is handed over");
    let billing = world.upstream.wait_for_billing(|billing| billing.requests == 1);
    world.until("nothing is held", || world.holds().is_empty());
    world.until("it is charged", || world.figure(&limit, "settled") > 0);
    let settled = world.figure(&limit, "settled");
    assert!(settled >= cost(&billing), "{settled} for {billing:?}");
    assert_eq!(world.metric("sallyport_settlement_above_hold_total"), 1);
    assert!(world.diagnostics().contains("settlement_above_hold"), "{}", world.diagnostics());
    world.until("it is written down", || !world.estimates().is_empty());
    let estimate = &world.estimates()[0];
    assert_eq!((estimate["kind"].as_str(), estimate["model"].as_str()), (Some("request"), Some("gpt-4o")));
}

#[test]
fn an_upstream_that_bills_more_than_it_shows_is_charged_alarmed_and_stops_new_holds() {
    let world = World::with("[money]\nhold_wait = 0.1\n");
    let grow = json!({"near_limit": {"type": "grow", "margin_tokens": 64}});
    let project = json!({"kind": "project", "project_id": world.project_id});
    let limit = world.limit_of(project, "month", "0.02", grow);
    // Ten words, and a bill for thousands.
    world.upstream.script(Script { completion_tokens: Some(2_900), pieces: Some(10), ..Script::default() });
    let answer = world.post("/v1/chat/completions", &stream(2_940));
    assert_eq!((answer.status, finish_of(&answer).as_str()), (200, "stop"));
    let spent = cost(&world.upstream.wait_for_billing(|billing| billing.requests == 1));
    world.until("all of it is charged", || world.figure(&limit, "settled") == spent);
    assert!(spent > world.figure(&limit, "amount"));
    assert_eq!(world.metric("sallyport_settlement_above_hold_total"), 1);
    assert!(world.diagnostics().contains("settlement_above_hold"), "{}", world.diagnostics());
    expect_proper_refusal(&world.post("/v1/chat/completions", &stream(1)));
}
