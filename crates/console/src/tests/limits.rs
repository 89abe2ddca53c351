//! Limits through both doors: OpenAI's spend limit, and ours of every scope.

use pricing::Nano;
use store::{Certainty, CostLine, Period, Scope, UsageKind, UsageRow};

use super::*;

/// A row as a request of the default project begins it.
pub(super) fn row(world: &World, id: &str) -> UsageRow {
    UsageRow {
        id: id.to_owned(),
        began_at: world.clock.0.load(SeqCst),
        settled_at: world.clock.0.load(SeqCst),
        project: ProjectId::new(&*world.project),
        key: KeyId::new("key_1"),
        end_user: None,
        run: None,
        tag: None,
        kind: UsageKind::Completions,
        endpoint: "/v1/chat/completions",
        model: "gpt-4o".to_owned(),
        tier: pricing::Tier::Standard,
        images: 0,
        quantities: pricing::Quantities::default(),
        cost: Nano::ZERO,
        lines: Vec::new(),
        certainty: Certainty::Settled,
    }
}

/// Settles a row for an amount.
pub(super) async fn spend(world: &World, row: UsageRow, cents: u64) {
    let amount = Nano::from_cents(cents);
    let hold = world.console.money.ledger.hold(row.clone(), Some(amount)).await.expect("held");
    let lines = vec![CostLine { item: format!("{}, text_output", row.model), quantity: cents, amount }];
    hold.settle(UsageRow { cost: amount, lines, ..row });
}

const OURS: &str = "/v1/sallyport/limits";

fn limit_body(cents: u64) -> Value {
    json!({"threshold_amount": cents, "currency": "USD", "interval": "month"})
}

#[tokio::test]
async fn a_spend_limit_lives_in_the_api_s_shape() {
    let world = still_world().await;
    let of_project = format!("/projects/{}/spend_limit", world.project);
    for (path, kind) in [("/spend_limit", "organization"), (&*of_project, "project")] {
        assert_eq!(world.refused("GET", path, Value::Null).await.status(), 404);
        assert_eq!(world.refused("DELETE", path, Value::Null).await.status(), 404);
        let made = world.ok("POST", path, limit_body(10_000)).await;
        assert_eq!(made["object"], format!("{kind}.spend_limit"));
        let shape = (&made["threshold_amount"], &made["currency"], &made["interval"], &made["enforcement"]);
        assert_eq!(shape, (&json!(10_000), &json!("USD"), &json!("month"), &json!({"status": "inactive"})));
        assert_eq!(
            (&made["sallyport"]["left"], &made["sallyport"]["left_nano"]),
            (&json!("100.00"), &json!(100_000_000_000_u64))
        );
        // Without ours a replacement keeps the terms that the API cannot name.
        let clamp = json!({"type": "clamp", "output_tokens_min": 64});
        let mut body = limit_body(20_000);
        body["sallyport"] = json!({"near_limit": clamp, "raise": {"amount": "500.5", "until": START + 60}});
        let changed = world.ok("POST", path, body).await;
        assert_eq!(changed["sallyport"]["id"], made["sallyport"]["id"]);
        assert_eq!(
            (&changed["sallyport"]["raise"]["amount"], &changed["threshold_amount"]),
            (&json!("500.50"), &json!(20_000))
        );
        assert_eq!(changed["sallyport"]["amount"], "500.50", "the raise is in force");
        let changed = world.ok("POST", path, limit_body(30_000)).await;
        assert_eq!(
            (&changed["sallyport"]["near_limit"], &changed["sallyport"]["raise"]["until"]),
            (&clamp, &json!(START + 60))
        );
        let changed = world.ok("POST", path, limit_body(60_000)).await;
        assert_eq!(changed["sallyport"]["raise"], Value::Null, "below the limit it raises nothing");
        assert_eq!(world.ok("GET", path, Value::Null).await, changed);
        let gone = world.ok("DELETE", path, Value::Null).await;
        assert_eq!((&gone["object"], &gone["deleted"]), (&json!(format!("{kind}.spend_limit.deleted")), &json!(true)));
        assert_eq!(world.refused("GET", path, Value::Null).await.status(), 404);
    }
    assert!(world.console.money.ledger.limits().is_empty());
    assert!(world.console.registry.load().await.expect("readable").expect("there").limits.is_empty());
}

#[tokio::test]
async fn a_limit_enforces_when_it_refuses() {
    let world = still_world().await;
    let path = format!("/projects/{}/spend_limit", world.project);
    world.ok("POST", &path, limit_body(100)).await;
    spend(&world, row(&world, "req_1"), 60).await;
    let refused = world.console.money.ledger.hold(row(&world, "req_2"), Some(Nano::from_cents(41))).await;
    assert!(matches!(refused, Err(ledger::Refused::Exceeded(_))), "{refused:?}");
    let shown = world.ok("GET", &path, Value::Null).await;
    assert_eq!(shown["enforcement"]["status"], "enforcing");
    assert_eq!((&shown["sallyport"]["settled"], &shown["sallyport"]["left"]), (&json!("0.60"), &json!("0.40")));
    // Raised: in force when the call returns.
    world.ok("POST", &path, limit_body(200)).await;
    world.console.money.ledger.hold(row(&world, "req_3"), Some(Nano::from_cents(140))).await.expect("held").release();
    // Lowered: likewise.
    world.ok("POST", &path, limit_body(60)).await;
    let refused = world.console.money.ledger.hold(row(&world, "req_4"), Some(Nano(1))).await;
    assert!(matches!(refused, Err(ledger::Refused::Exceeded(_))), "{refused:?}");
    assert_eq!(world.ok("GET", &path, Value::Null).await["enforcement"]["status"], "enforcing");
}

#[tokio::test]
async fn limits_of_every_scope_and_period() {
    let world = still_world().await;
    let project = &world.project;
    let key = world.ok("POST", &format!("/projects/{project}/api_keys"), json!({"name": "k"})).await;
    let mut made = Vec::new();
    for (scope, period) in [
        (json!({"kind": "organization"}), "day"),
        (json!({"kind": "project", "project_id": project}), "hour"),
        (json!({"kind": "key", "key_id": key["id"]}), "month"),
        (json!({"kind": "end_user", "project_id": project}), "day"),
        (json!({"kind": "end_user", "project_id": project, "name": "alice@example.com"}), "day"),
        (json!({"kind": "run", "project_id": project}), "total"),
        (json!({"kind": "tag", "project_id": project, "name": "nightly/1"}), "total"),
    ] {
        let body = json!({"scope": scope, "period": period, "amount": "12.345678901", "calls_max": 7});
        let limit = world.ok("POST", OURS, body.clone()).await;
        assert_eq!((&limit["amount"], &limit["amount_nano"]), (&json!("12.345678901"), &json!(12_345_678_901_u64)));
        assert_eq!((&limit["threshold_amount"], &limit["calls_max"]), (&json!(1_234), &json!(7)));
        assert_eq!(limit["scope"]["kind"], scope["kind"]);
        let refusal = world.refused("POST", OURS, body).await;
        assert!(refusal.message.contains(limit["id"].as_str().expect("an id")), "{refusal}");
        made.push(limit["id"].as_str().expect("an id").to_owned());
    }
    let hash = world.console.pepper.end_user(project, "alice@example.com");
    let stored = world.console.registry.load().await.expect("readable").expect("there").limits;
    assert!(!format!("{stored:?}").contains("alice"), "people's names are not stored");
    assert!(stored.iter().any(|limit| limit.scope == Scope::EndUser(ProjectId::new(&**project), hash.clone())));
    assert_eq!(ids(&world.ok("GET", &format!("{OURS}?limit=100"), Value::Null).await).len(), 7);
    assert_eq!(ids(&world.ok("GET", &format!("{OURS}?kind=end_user"), Value::Null).await).len(), 2);
    assert_eq!(ids(&world.ok("GET", &format!("{OURS}?project_id={project}"), Value::Null).await).len(), 6);
    let path = format!("{OURS}/{}", made[5]);
    let changed = world.ok("POST", &path, json!({"threshold_amount": 500, "calls_max": null, "is_shadow": true})).await;
    assert_eq!(
        (&changed["amount"], &changed["calls_max"], &changed["is_shadow"]),
        (&json!("5.00"), &Value::Null, &json!(true))
    );
    assert_eq!(world.ok("GET", &path, Value::Null).await, changed);
    // Two runs, each with an account of its own.
    for run in ["a", "b"] {
        let row = UsageRow { run: Some(run.to_owned()), end_user: Some("hash".to_owned()), ..row(&world, run) };
        spend(&world, row, if run == "a" { 1 } else { 2 }).await;
    }
    let standings = world.ok("GET", &format!("{path}/standings"), Value::Null).await;
    let of: Vec<_> = standings["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (&one["scope"]["name"], &one["settled"]))
        .collect();
    assert_eq!(of, [(&json!("b"), &json!("0.02")), (&json!("a"), &json!("0.01"))]);
    assert_eq!(standings["data"][0]["ends_at"], Value::Null);
    for id in &made {
        world.ok("DELETE", &format!("{OURS}/{id}"), Value::Null).await;
        assert_eq!(world.refused("GET", &format!("{OURS}/{id}"), Value::Null).await.status(), 404);
    }
    assert!(world.console.money.ledger.limits().is_empty());
}

#[tokio::test]
async fn a_shadow_stands_beside_the_limit_in_force() {
    let world = still_world().await;
    world.ok("POST", "/spend_limit", limit_body(1_000)).await;
    let body = json!({"scope": {"kind": "organization"}, "period": "month", "amount": "1", "is_shadow": true});
    let shadow = world.ok("POST", OURS, body).await;
    assert_eq!(world.ok("GET", "/spend_limit", Value::Null).await["threshold_amount"], 1_000);
    let refusal = world
        .refused("POST", &format!("{OURS}/{}", shadow["id"].as_str().expect("an id")), json!({"is_shadow": false}))
        .await;
    assert_eq!(refusal.code(), Some("conflict"), "{refusal}");
    spend(&world, row(&world, "req_1"), 500).await;
    world.ok("DELETE", "/spend_limit", Value::Null).await;
    let shown = world.ok("GET", "/spend_limit", Value::Null).await;
    assert_eq!((&shown["sallyport"]["is_shadow"], &shown["enforcement"]["status"]), (&json!(true), &json!("inactive")));
    let hard = world.ok("POST", "/spend_limit", limit_body(100)).await;
    assert_eq!(hard["enforcement"]["status"], "enforcing", "a limit that is set is hard, and five dollars are spent");
}

#[tokio::test]
async fn wrong_limits_are_refused_by_name() {
    let world = still_world().await;
    let admin = world.caller.key.id.as_str();
    let project = &*world.project;
    let with = |name: &str, value: Value| {
        let mut body = json!({"scope": {"kind": "project", "project_id": project}, "period": "day", "amount": "5"});
        body[name] = value;
        body
    };
    for (body, param) in [
        (with("scope", Value::Null), "scope"),
        (with("scope", json!({})), "scope.kind"),
        (with("scope", json!({"kind": "planet"})), "scope.kind"),
        (with("scope", json!({"kind": "project"})), "scope.project_id"),
        (with("scope", json!({"kind": "project", "project_id": "proj_none"})), "scope.project_id"),
        (with("scope", json!({"kind": "organization", "project_id": project})), "scope.project_id"),
        (with("scope", json!({"kind": "key", "key_id": admin})), "scope.key_id"),
        (with("scope", json!({"kind": "run", "project_id": project, "name": "a\nb"})), "scope.name"),
        (with("scope", json!({"kind": "run", "project_id": project, "nmae": "a"})), "scope.nmae"),
        (with("period", json!("week")), "period"),
        (with("period", Value::Null), "period"),
        (with("amount", Value::Null), "amount"),
        (with("amount", json!(5)), "amount"),
        (with("amount", json!(5.5)), "amount"),
        (with("amount", json!("-5")), "amount"),
        (with("amount", json!("0.0000000001")), "amount"),
        (with("amount", json!("99999999999")), "amount"),
        (with("threshold_amount", json!(501)), "threshold_amount"),
        (with("threshold_amount", json!(-1)), "threshold_amount"),
        (with("threshold_amount", json!(5.5)), "threshold_amount"),
        (with("currency", json!("EUR")), "currency"),
        (with("calls_max", json!("7")), "calls_max"),
        (with("is_shadow", json!(1)), "is_shadow"),
        (with("near_limt", json!({})), "near_limt"),
        (with("near_limit", json!("clamp")), "near_limit"),
        (with("near_limit", json!({})), "near_limit.type"),
        (with("near_limit", json!({"type": "hope"})), "near_limit.type"),
        (with("near_limit", json!({"type": "grow"})), "near_limit.margin_tokens"),
        (with("near_limit", json!({"type": "clamp", "output_tokens_min": 0})), "near_limit.output_tokens_min"),
        (with("near_limit", json!({"type": "alias", "model": "no-such-model"})), "near_limit.model"),
        (with("raise", json!({"amount": "6"})), "raise.until"),
        (with("raise", json!({"amount": "6", "until": START})), "raise.until"),
        (with("raise", json!({"amount": "6", "until": START + 400 * 86_400})), "raise.until"),
        (with("raise", json!({"amount": "5", "until": START + 60})), "raise.amount"),
    ] {
        let refusal = world.refused("POST", OURS, body.clone()).await;
        assert_eq!((refusal.param.as_deref(), refusal.status() / 100), (Some(param), 4), "{body}: {refusal}");
    }
    for (body, param) in [
        (json!({"currency": "USD", "interval": "month"}), "threshold_amount"),
        (json!({"threshold_amount": 0, "currency": "USD", "interval": "month"}), "threshold_amount"),
        (json!({"threshold_amount": 1, "interval": "month"}), "currency"),
        (json!({"threshold_amount": 1, "currency": "USD", "interval": "day"}), "interval"),
        (
            json!({"threshold_amount": 1, "currency": "USD", "interval": "month", "sallyport": {"amount": "1"}}),
            "sallyport.amount",
        ),
    ] {
        let refusal = world.refused("POST", "/spend_limit", body.clone()).await;
        assert_eq!(refusal.param.as_deref(), Some(param), "{body}: {refusal}");
    }
    assert!(world.console.money.ledger.limits().is_empty());
    assert_eq!(world.refused("GET", "/projects/proj_none/spend_limit", Value::Null).await.status(), 404);
    assert_eq!(world.refused("GET", &format!("{OURS}?kind=planet"), Value::Null).await.param.as_deref(), Some("kind"));
}

#[tokio::test]
async fn a_stopped_run_makes_no_call() {
    let world = still_world().await;
    let stop = format!("/v1/sallyport/runs/{}/agent-7/stop", world.project);
    let stopped = world.ok("POST", &stop, Value::Null).await;
    assert_eq!((&stopped["run"], &stopped["stopped"]), (&json!("agent-7"), &json!(true)));
    assert_eq!(world.ok("POST", &stop, Value::Null).await, stopped, "a second time changes nothing");
    let odd = format!("/v1/sallyport/runs/{}/agent%207/stop", world.project);
    assert_eq!(world.refused("POST", &odd, Value::Null).await.param.as_deref(), Some("run"), "no header could hold it");
    let of = |run: &str| UsageRow { run: Some(run.to_owned()), ..row(&world, run) };
    let ledger = &world.console.money.ledger;
    assert!(ledger.hold(of("agent-7"), Some(Nano::ZERO)).await.is_err(), "not even for free");
    ledger.hold(of("agent-8"), Some(Nano(1))).await.expect("another run").release();
    let limits = world.console.registry.load().await.expect("readable").expect("there").limits;
    assert_eq!((limits.len(), limits[0].period, limits[0].calls_max), (1, Period::Total, Some(0)));
    world.ok("DELETE", &format!("{OURS}/{}", stopped["limit_id"].as_str().expect("an id")), Value::Null).await;
    ledger.hold(of("agent-7"), Some(Nano(1))).await.expect("goes on").release();
}

#[tokio::test]
async fn what_the_store_refuses_leaves_limits_as_they_were() {
    let world = still_world().await;
    let made = world.ok("POST", "/spend_limit", limit_body(100)).await;
    let id = made["sallyport"]["id"].as_str().expect("an id");
    world.store.is_down.store(true, SeqCst);
    for (method, path, body) in [
        ("POST", "/spend_limit".to_owned(), limit_body(1)),
        ("DELETE", "/spend_limit".to_owned(), Value::Null),
        ("POST", format!("{OURS}/{id}"), json!({"amount": "0"})),
        ("DELETE", format!("{OURS}/{id}"), Value::Null),
    ] {
        assert_eq!(world.refused(method, &path, body).await.status(), 503, "{method} {path}");
        world
            .console
            .money
            .ledger
            .hold(row(&world, "req"), Some(Nano::from_cents(99)))
            .await
            .expect("as before")
            .release();
    }
    world.store.is_down.store(false, SeqCst);
    assert_eq!(world.ok("GET", "/spend_limit", Value::Null).await["threshold_amount"], 100);
}

#[tokio::test]
async fn every_row_of_ours_and_of_money_is_served() {
    let world = still_world().await;
    let mut seen = 0;
    for row in wire::endpoint::rows() {
        let parts =
            ["/v1/sallyport/", "/spend_limit", "/spend_alerts", "/rate_limits", "/organization/usage/", "/costs"];
        let is_admin = row.opens == wire::endpoint::Opens::AdminKey;
        if !is_admin || !parts.iter().any(|part| row.path.contains(part)) {
            continue;
        }
        seen += 1;
        let path = row.path.replace("{project_id}", &world.project);
        let path: Vec<&str> = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect();
        match world.call(row.method.as_str(), &path.join("/"), Value::Null).await {
            Ok(_) => {}
            Err(refusal) => assert!(refusal.status() < 500, "{} {}: {refusal}", row.method.as_str(), row.path),
        }
    }
    assert!(seen > 50, "{seen}");
}
