//! Streams that hold a part and grow: a small budget is used to its last cent, an upstream that runs on after a cut is
//! covered by the margin, and one that runs on further is alarmed by name.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{Billed, Script};

use crate::books::{priced, total};
use crate::client::Answer;
use crate::crowd::{Client, Door, chat, cost, expect_proper_refusal, is_heavy, runtime};
use crate::world::World;

/// A dollar, in nano-dollars.
const DOLLAR: u128 = 1_000_000_000;
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

/// As many clients stream until nothing fits any more: how many streams were cut.
fn spend(clients: usize, dollars: &str, output_tokens_max: u64, pace_ms: u64) -> usize {
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
    assert!(cut > 0 && cut == incomplete, "{incomplete} were not read to their end: {figures}");
    assert_eq!(world.metric("sallyport_settlement_above_hold_total"), 0);
    world.expect_no_defect();
    println!("{figures}");
    cut
}

#[test]
fn streams_of_unequal_length_use_ten_worst_cases_to_the_last_per_cent() {
    // Three cents each at most: 2,970 tokens, and the prompt.
    spend(128, "0.30", 2_970, 3);
}
