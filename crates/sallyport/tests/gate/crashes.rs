//! The gate is killed while hundreds of clients spend: never over, and what nobody can spend any more is bounded by
//! what was held at the kills.

use std::time::Duration;

use serde_json::json;
use testkit::Script;
use tokio::task::JoinHandle;

use crate::books::{Chance, exact};
use crate::crowd::{Client, Door, chat, cost, expect_proper_refusal, is_heavy, runtime};
use crate::world::World;

/// Output that costs 3 cents with the prompt.
const OUTPUT_TOKENS: u64 = 2_940;
/// What such a request may cost at most, in nano-dollars.
const WORST: u128 = 30_000_000;
/// A dollar, in nano-dollars.
const DOLLAR: u128 = 1_000_000_000;

struct Form {
    clients: u64,
    kills: usize,
    dollars: u64,
    /// How long an answer takes.
    delay_ms: u64,
    /// How long the gate lives at least, and at most.
    life_ms: (u64, u64),
}

/// Clients spend all there is, whatever happens to the gate meanwhile.
fn spend_through_kills(form: &Form) {
    let seed = u64::from(std::process::id()) ^ crate::books::now();
    let mut chance = Chance(seed);
    let mut world = World::with("[money]\nhold_wait = 30\nstore_wait = 30\n");
    let project = json!({"kind": "project", "project_id": world.project_id});
    let limit = world.limit_of(project, "month", &format!("{}.00", form.dollars), json!({}));
    world.upstream.script(Script {
        times: u32::MAX,
        delay_head_ms: form.delay_ms,
        completion_tokens_range: Some((100, OUTPUT_TOKENS)),
        ..Script::default()
    });
    let (moved, door) = Door::of(&world);
    let runtime = runtime();
    let ask = |door: Door| async move {
        let mut client = Client::new(&door);
        loop {
            match client.chat(&chat(OUTPUT_TOKENS)).await {
                Some(answer) if answer.status == 200 => {}
                Some(answer) => return expect_proper_refusal(&answer),
                None => {}
            }
        }
    };
    let clients: Vec<_> = (0..form.clients).map(|_| runtime.spawn(ask(door.clone()))).collect();
    for _ in 0..form.kills {
        std::thread::sleep(Duration::from_millis(chance.within(form.life_ms.0, form.life_ms.1)));
        // In the middle of something, unless all is spent.
        while world.upstream.billing().open == 0 && !clients.iter().all(JoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(1));
        }
        world.restart("-KILL");
        moved.send_replace(world.address);
    }
    runtime.block_on(async {
        for client in clients {
            client.await.expect("no panic");
        }
    });
    let spent = cost(&world.upstream.wait_for_billing(|_| true));
    world.until("nothing is held", || world.figure(&limit, "held") == 0);
    let (limit_nano, settled) = (u128::from(form.dollars) * DOLLAR, world.figure(&limit, "settled"));
    let estimates: Vec<u128> = world
        .estimates()
        .iter()
        .filter(|estimate| estimate["kind"] == "crash")
        .map(|estimate| exact(estimate["amount"].as_str().expect("dollars")))
        .collect();
    let figures = format!("limit {limit_nano}, spent {spent}, settled {settled}, estimates {estimates:?}, seed {seed}");
    assert!(spent <= limit_nano && settled <= limit_nano, "over: {figures}");
    assert!(spent <= settled, "spent and not charged: {figures}");
    assert!(limit_nano - settled < WORST, "a whole request would have fitted still: {figures}");
    assert!(!estimates.is_empty(), "no kill met anything: {figures}");
    // Every client has a request under way at every moment.
    let held = (u128::from(form.clients) * WORST).min(limit_nano);
    // A step is what was in use, or what a second takes, whatever machine this is: as many answers as fit, at their worst.
    let second = held * 1_000 / u128::from(form.delay_ms);
    let step = second.max(held).max(2 * WORST).min(limit_nano / 8);
    assert!(estimates.iter().all(|amount| *amount <= held + step), "more than holds and a step: {figures}");
    assert!(settled - spent <= form.kills as u128 * (held + step), "unusable: {figures}");
    assert_eq!(world.metric("sallyport_settlement_above_hold_total"), 0);
    world.expect_no_defect();
    println!("{figures}");
}

#[test]
fn killed_three_times_the_gate_never_passes_a_budget() {
    spend_through_kills(&Form { clients: 60, kills: 3, dollars: 12, delay_ms: 100, life_ms: (100, 400) });
}

#[test]
fn killed_on_the_last_dollar_the_gate_never_passes_it() {
    spend_through_kills(&Form { clients: 60, kills: 2, dollars: 1, delay_ms: 50, life_ms: (20, 120) });
}

/// Five hundred clients and twenty kills, on a dollar and on hundreds of them.
#[test]
fn killed_twenty_times_the_gate_never_passes_a_budget() {
    if !is_heavy() {
        return;
    }
    spend_through_kills(&Form { clients: 500, kills: 20, dollars: 1, delay_ms: 50, life_ms: (20, 300) });
    spend_through_kills(&Form { clients: 500, kills: 20, dollars: 400, delay_ms: 300, life_ms: (100, 1_000) });
}
