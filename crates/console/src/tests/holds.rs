//! Holds, estimates, and what a project says about money.

use pricing::Nano;

use super::limits::row;
use super::*;

#[tokio::test]
async fn holds_are_listed_with_age_and_reason() {
    let world = still_world().await;
    let ledger = &world.console.money.ledger;
    let mut held = Vec::new();
    for number in 0..5 {
        held.push(ledger.hold(row(&world, &format!("req_{number}")), Some(Nano::from_cents(3))).await.expect("held"));
    }
    world.clock.0.fetch_add(42, SeqCst);
    let list = world.ok("GET", "/v1/sallyport/holds", Value::Null).await;
    assert_eq!((list["count"].as_u64(), &list["held"], ids(&list).len()), (Some(5), &json!("0.15"), 5));
    let first = &list["data"][0];
    assert_eq!(
        (&first["age_seconds"], &first["doing"], &first["amount"]),
        (&json!(42), &json!("running"), &json!("0.03"))
    );
    // Pages go on where they were, also when what they ended with is over.
    let page = world.ok("GET", "/v1/sallyport/holds?limit=2", Value::Null).await;
    held.drain(..2).for_each(ledger::Hold::release);
    let next = format!("/v1/sallyport/holds?limit=2&page={}", page["next_page"].as_str().expect("more"));
    assert_eq!(ids(&world.ok("GET", &next, Value::Null).await), ["req_2", "req_3"]);
    assert_eq!(ids(&world.ok("GET", "/v1/sallyport/holds?project_id=proj_other", Value::Null).await).len(), 0);
    assert_eq!(world.refused("GET", "/v1/sallyport/holds?page=x", Value::Null).await.param.as_deref(), Some("page"));
    held.into_iter().for_each(ledger::Hold::release);
    assert_eq!(world.ok("GET", "/v1/sallyport/holds", Value::Null).await["count"], 0);
}

/// Waits until as many estimates are in the store.
async fn estimates(world: &World, count: usize) -> Value {
    loop {
        let list = world.ok("GET", "/v1/sallyport/estimates", Value::Null).await;
        if ids(&list).len() == count {
            return list;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_estimate_is_lowered_and_the_limit_knows_at_once() {
    let world = still_world().await;
    world.ok("POST", "/spend_limit", json!({"threshold_amount": 100, "currency": "USD", "interval": "month"})).await;
    let ledger = &world.console.money.ledger;
    ledger.hold(row(&world, "req_broken"), Some(Nano::from_cents(90))).await.expect("held").estimate(START);
    let list = estimates(&world, 1).await;
    let of = (&list["data"][0]["id"], &list["data"][0]["kind"], &list["data"][0]["amount"]);
    assert_eq!(of, (&json!("req_broken"), &json!("request"), &json!("0.90")));
    let path = "/v1/sallyport/estimates/req_broken";
    for (body, status) in [(json!({"amount": "0.91"}), 400), (json!({}), 400), (json!({"amount": 1}), 400)] {
        assert_eq!(world.refused("POST", path, body).await.status(), status);
    }
    assert_eq!(world.refused("POST", "/v1/sallyport/estimates/req_none", json!({"amount": "0"})).await.status(), 404);
    assert_eq!(world.refused("POST", "/v1/sallyport/estimates/estimate_9", json!({"amount": "0"})).await.status(), 404);
    assert_eq!(world.ok("POST", path, json!({"amount": "0.25"})).await["amount"], "0.25");
    let log = world.ok("GET", "/audit_logs", Value::Null).await;
    let newest = &log["data"][0];
    assert_eq!(
        (&newest["type"], &newest["estimate.lowered"]["id"]),
        (&json!("estimate.lowered"), &json!("req_broken"))
    );
    ledger.hold(row(&world, "req_next"), Some(Nano::from_cents(75))).await.expect("there is room now").release();
    assert_eq!(world.ok("GET", "/spend_limit", Value::Null).await["sallyport"]["settled"], "0.25");
    estimates(&world, 0).await;
}

#[tokio::test]
async fn what_a_dead_process_left_is_listed_and_lowered() {
    let world = still_world().await;
    let made = world
        .ok("POST", "/spend_limit", json!({"threshold_amount": 100, "currency": "USD", "interval": "month"}))
        .await;
    let money = &world.console.money;
    let key = ledger::AccountKey {
        limit: made["sallyport"]["id"].as_str().expect("an id").to_owned(),
        scope: store::Scope::Organization,
        window: store::Period::Month.window(START),
    };
    // Another process takes a lease and dies; a third one finds out. This one would be taken for dead as well.
    let dead = money.ledger_store.enter(START).await.expect("enters");
    let amount = Nano::from_cents(40);
    let target = ledger::LeaseTarget { account: key, amount, watermark: amount, in_use: amount };
    let batch = ledger::Batch { epoch: dead, now: START, rows: Vec::new(), targets: vec![target], formerly: None };
    money.ledger_store.write(&batch).await.expect("written");
    let live = money.ledger_store.enter(START).await.expect("enters");
    money.ledger_store.fence_others(live, START).await.expect("fenced");
    let list = world.ok("GET", "/v1/sallyport/estimates", Value::Null).await;
    let crash =
        list["data"].as_array().expect("a list").iter().find(|one| one["amount"] == "0.40").expect("it is shown");
    assert_eq!((&crash["kind"], &crash["scope"]["kind"]), (&json!("crash"), &json!("organization")));
    let path = format!("/v1/sallyport/estimates/{}", crash["id"].as_str().expect("an id"));
    assert_eq!(world.refused("POST", &path, json!({"amount": "0.41"})).await.status(), 400);
    world.ok("POST", &path, json!({"amount": "0.10"})).await;
    assert_eq!(world.refused("POST", &path, json!({"amount": "0.05"})).await.status(), 404, "a fact now");
}

#[tokio::test]
async fn a_project_says_what_it_does_about_money() {
    let world = still_world().await;
    let path = format!("/v1/sallyport/projects/{}/money", world.project);
    let before = world.ok("GET", &path, Value::Null).await;
    assert_eq!((&before["output_tokens_default"], &before["abandoned"]), (&Value::Null, &json!("read_on")));
    let body = json!({"output_tokens_default": 4_096, "abandoned": "cancel", "allowances": {"/v1/videos": "2.5"}});
    let after = world.ok("POST", &path, body).await;
    assert_eq!(after["allowances"], json!({"/v1/videos": "2.50"}));
    let after = world.ok("POST", &path, json!({"allowances": {"/v1/batches": "1"}})).await;
    assert_eq!(after["allowances"], json!({"/v1/videos": "2.50", "/v1/batches": "1.00"}));
    let after =
        world.ok("POST", &path, json!({"allowances": {"/v1/videos": null}, "output_tokens_default": null})).await;
    assert_eq!(
        (&after["allowances"], &after["output_tokens_default"]),
        (&json!({"/v1/batches": "1.00"}), &Value::Null)
    );
    assert_eq!(world.ok("GET", &path, Value::Null).await, after);
    for (body, param) in [
        (json!({"abandoned": "hope"}), "abandoned"),
        (json!({"output_tokens_default": 0}), "output_tokens_default"),
        (json!({"allowances": {"/v1/organization/projects": "1"}}), "allowances./v1/organization/projects"),
        (json!({"allowances": {"/v1/videos": 1}}), "allowances./v1/videos"),
        (json!({"alowances": {}}), "alowances"),
    ] {
        assert_eq!(world.refused("POST", &path, body).await.param.as_deref(), Some(param));
    }
}
