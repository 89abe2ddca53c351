//! Hundreds of clients and one small budget: never over, hardly anything left, and clear words for the others.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::Script;

use crate::crowd::{Client, Door, chat, cost, expect_proper_refusal, is_heavy, runtime};
use crate::world::World;

/// Output that costs 3 cents with the prompt: 2.94 for it, and less than 0.06 for the bound of the prompt.
const OUTPUT_TOKENS: u64 = 2_940;
/// What such a request may cost at most, in nano-dollars.
const WORST: u128 = 30_000_000;
/// A dollar, in nano-dollars.
const DOLLAR: u128 = 1_000_000_000;

/// Clients ask one request after the other until they are refused.
fn spend(clients: usize, dollars: u64, delay_ms: u64) {
    // Long enough for the slowest machine: nobody is refused because others are slow.
    let world = World::with("[money]\nhold_wait = 30\nstore_wait = 30\n");
    let project = json!({"kind": "project", "project_id": world.project_id});
    let limit = world.limit_of(project, "month", &format!("{dollars}.00"), json!({}));
    world.upstream.script(Script {
        times: u32::MAX,
        delay_head_ms: delay_ms,
        completion_tokens_range: Some((100, OUTPUT_TOKENS)),
        ..Script::default()
    });
    let (_, door) = Door::of(&world);
    let answered = runtime().block_on(async {
        let ask = |door: Door| async move {
            let mut client = Client::new(&door);
            let mut answered = 0;
            loop {
                let answer = client.chat(&chat(OUTPUT_TOKENS)).await.expect("the gate stays");
                if answer.status != 200 {
                    expect_proper_refusal(&answer);
                    return answered;
                }
                answered += 1;
            }
        };
        let clients: Vec<_> = (0..clients).map(|_| tokio::spawn(ask(door.clone()))).collect();
        let mut answered = 0;
        for client in clients {
            answered += client.await.expect("no panic");
        }
        answered
    });
    let billing = world.upstream.wait_for_billing(|billing| billing.requests == answered);
    let (spent, limit_nano) = (cost(&billing), u128::from(dollars) * DOLLAR);
    assert!(spent <= limit_nano, "{spent} of {limit_nano} nano-dollars");
    assert!(spent + WORST > limit_nano, "a whole request would have fitted still: {spent} of {limit_nano}");
    assert!(spent * 100 >= limit_nano * 95, "{spent} of {limit_nano} nano-dollars");
    world.until("all is settled", || world.figure(&limit, "settled") == spent && world.figure(&limit, "held") == 0);
    assert_eq!(world.metric("sallyport_spend_refusals_total"), clients as u64);
    assert_eq!(world.metric("sallyport_settlement_above_hold_total"), 0);
    assert_eq!((world.metric("sallyport_open_holds"), world.metric("sallyport_estimated_ends_total")), (0, 0));
    world.expect_no_defect();
}

#[test]
fn five_hundred_clients_never_pass_a_dollar_and_leave_hardly_anything_of_it() {
    spend(500, 1, 50);
}

/// The same for minutes, with bigger budgets and faster answers.
#[test]
fn for_minutes_no_budget_is_passed() {
    if !is_heavy() {
        return;
    }
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(120) {
        spend(500, 1, 0);
        spend(500, 100, 10);
        spend(40, 5, 0);
    }
}
