//! A key's life: what it is restricted to, rotation, suspension, policies, what is noticed.

use store::{Findings as _, Key, KeyUse, KeyUses as _, Severity};

use super::*;

fn keys(world: &World) -> String {
    format!("/projects/{}/api_keys", world.project)
}

fn ours(world: &World, id: &str, act: &str) -> String {
    format!("/v1/sallyport/projects/{}/api_keys/{id}/{act}", world.project)
}

fn id(shown: &Value) -> String {
    shown["id"].as_str().expect("an id").to_owned()
}

/// The entry that a secret opens.
fn entry(world: &World, secret: &Value) -> Option<Arc<KeyEntry>> {
    let digest = world.console.pepper.digest(secret.as_str().expect("a secret"));
    world.console.snapshot().key(&digest).cloned()
}

#[tokio::test]
async fn a_key_is_made_with_all_that_restricts_it() {
    let world = still_world().await;
    let body = json!({
        "name": "ci", "scopes": ["model.request", "model.read"], "expires_in_seconds": 3_600,
        "sallyport": {
            "models": ["gpt-4o*"], "endpoints": ["/v1/chat/completions"], "ip_allowlist": ["10.0.0.7/8", "2001:db8::1"],
            "client_secret_origins": ["https://app.example"], "browser_use": "suspend",
            "rate_limit": {"max_requests_per_1_minute": 5, "concurrency": 2},
            "budget": {"amount": "5.00", "period": "day"},
        },
    });
    let made = world.ok("POST", &keys(&world), body).await;
    let key = entry(&world, &made["value"]).expect("in force").key.clone();
    assert_eq!(
        key.bounds.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.0.0.0/8", "2001:db8::1/128"]
    );
    assert_eq!((key.rates.requests_per_minute, key.rates.concurrency), (Some(5), Some(2)));
    let shown = world.ok("GET", &format!("{}/{}", keys(&world), id(&made)), Value::Null).await;
    assert_eq!(shown["scopes"], json!(["model.read", "model.request"]));
    assert_eq!(shown["expires_at"], START + 3_600);
    assert_eq!(shown["sallyport"]["models"], json!(["gpt-4o*"]));
    assert_eq!(shown["sallyport"]["browser_use"], "suspend");
    assert_eq!(shown["sallyport"]["limits"][0]["amount"], "5.00");
    assert_eq!(shown["sallyport"]["limits"][0]["scope"]["key_id"], id(&made));
    assert!(shown.get("value").is_none() && !shown.to_string().contains(made["value"].as_str().expect("a secret")));
    // An update that names one thing leaves the others; an empty list takes a restriction away.
    let path = format!("{}/{}", keys(&world), id(&made));
    let changed = world.ok("POST", &path, json!({"scopes": [], "sallyport": {"models": null}})).await;
    assert_eq!((&changed["scopes"], &changed["sallyport"]["models"]), (&json!([]), &json!([])));
    assert_eq!(changed["sallyport"]["endpoints"], json!(["/v1/chat/completions"]));
    assert_eq!(changed["expires_at"], START + 3_600);
}

#[tokio::test]
async fn what_cannot_be_held_is_refused_and_makes_no_key() {
    let world = still_world().await;
    let before = world.console.snapshot().keys().count();
    for (body, param) in [
        (json!({"scopes": ["model.reqest"]}), "scopes"),
        (json!({"scopes": ["api.management.read"]}), "scopes"),
        (json!({"scopes": "model.request"}), "scopes"),
        (json!({"models": ["gpt-4o"]}), "models"),
        (json!({"sallyport": {"model": ["gpt-4o"]}}), "sallyport.model"),
        (json!({"sallyport": {"models": [1]}}), "sallyport.models"),
        (json!({"sallyport": {"endpoints": ["/v1/chat/completion"]}}), "sallyport.endpoints"),
        (json!({"sallyport": {"endpoints": ["/v1/organization/projects"]}}), "sallyport.endpoints"),
        (json!({"sallyport": {"ip_allowlist": ["10.0.0"]}}), "sallyport.ip_allowlist"),
        (json!({"sallyport": {"browser_use": "allow"}}), "sallyport.browser_use"),
        (json!({"sallyport": {"budget": {"amount": "-1"}}}), "sallyport.budget.amount"),
        (json!({"sallyport": {"budget": {"amount": "1", "period": "week"}}}), "sallyport.budget.period"),
        (json!({"sallyport": {"rate_limit": {"requests": 1}}}), "sallyport.rate_limit.requests"),
        (
            json!({"sallyport": {"rotation": {"every_seconds": 60, "deliver_to": "billing"}}}),
            "sallyport.rotation.every_seconds",
        ),
        (
            json!({"sallyport": {"rotation": {"every_seconds": 3_600, "overlap_seconds": 7_200, "deliver_to": "billing"}}}),
            "sallyport.rotation.overlap_seconds",
        ),
        (
            json!({"sallyport": {"rotation": {"every_seconds": 3_600, "deliver_to": "/etc/passwd"}}}),
            "sallyport.rotation.deliver_to",
        ),
        (json!({"expires_in_seconds": 0}), "expires_in_seconds"),
    ] {
        let mut whole = json!({"name": "k"});
        crate::amounts::merge(&mut whole, body.as_object().expect("an object").clone());
        let refusal = world.call("POST", &keys(&world), whole).await.expect_err(&body.to_string());
        assert_eq!((refusal.status(), refusal.param.as_deref()), (400, Some(param)), "{body}: {}", refusal.message);
    }
    assert_eq!(world.console.snapshot().keys().count(), before);
    assert!(world.console.money.ledger.limits().is_empty(), "no limit of a key that never was");
}

#[tokio::test]
async fn a_key_that_cannot_be_stored_leaves_no_budget() {
    let world = still_world().await;
    world.store.is_down.store(true, SeqCst);
    let body = json!({"name": "k", "sallyport": {"budget": {"amount": "1"}}});
    assert_eq!(world.call("POST", &keys(&world), body).await.expect_err("down").reason, Reason::StoreUnavailable);
    assert!(world.console.money.ledger.limits().is_empty());
}

#[tokio::test]
async fn a_rotation_leaves_two_secrets_for_as_long_as_it_says() {
    let world = still_world().await;
    let made = world.ok("POST", &keys(&world), json!({"name": "k", "expires_in_seconds": 1_000_000})).await;
    let running = entry(&world, &made["value"]).expect("in force");
    world.clock.0.fetch_add(500_000, SeqCst);
    let second = world.ok("POST", &ours(&world, &id(&made), "rotate"), json!({"overlap_seconds": 3_600})).await;
    assert_eq!(id(&second), id(&made));
    let now = START + 500_000;
    assert_eq!(second["expires_at"], now + 1_000_000, "it lives as long as the one before was meant to");
    assert_eq!(second["sallyport"]["former_secret"]["expires_at"], now + 3_600);
    assert_eq!(second["sallyport"]["former_secret"]["redacted_value"], made["redacted_value"]);
    assert!(!running.revocation.is_revoked() && entry(&world, &made["value"]).is_some());
    // At most two: the third puts the first out of force at once.
    let third = world.ok("POST", &ours(&world, &id(&made), "rotate"), json!({})).await;
    assert!(running.revocation.is_revoked() && entry(&world, &made["value"]).is_none());
    assert!(entry(&world, &second["value"]).is_some() && entry(&world, &third["value"]).is_some());
    assert_eq!(third["sallyport"]["former_secret"]["expires_at"], now + 86_400);
    // Without overlap there is one.
    let fourth = world.ok("POST", &ours(&world, &id(&made), "rotate"), json!({"overlap_seconds": 0})).await;
    assert_eq!(fourth["sallyport"]["former_secret"], Value::Null);
    assert!(entry(&world, &third["value"]).is_none() && entry(&world, &second["value"]).is_none());
    for bad in [
        json!({"overlap_seconds": 604_801}),
        json!({"overlap_seconds": -1}),
        json!({"deliver_to": "x"}),
        json!({"x": 1}),
    ] {
        assert_eq!(world.call("POST", &ours(&world, &id(&made), "rotate"), bad).await.expect_err("bad").status(), 400);
    }
    assert!(entry(&world, &fourth["value"]).is_some());
}

#[tokio::test]
async fn a_delivered_secret_is_in_no_answer_and_a_failed_delivery_changes_nothing() {
    let world = still_world().await;
    world.ok("POST", "/v1/sallyport/webhooks", json!({"name": "w", "url": "https://hooks.example/x"})).await;
    let made = world.ok("POST", &keys(&world), json!({"name": "k"})).await;
    let path = ours(&world, &id(&made), "rotate");
    let shown = world.ok("POST", &path, json!({"deliver_to": "billing", "overlap_seconds": 60})).await;
    let (to, secret) = world.deliveries.delivered.lock().expect("unpoisoned")[0].clone();
    assert_eq!((to.as_str(), shown.get("value")), ("billing", None));
    assert!(entry(&world, &json!(secret)).is_some() && entry(&world, &made["value"]).is_some());
    world.deliveries.is_full.store(true, SeqCst);
    let refusal = world.call("POST", &path, json!({"deliver_to": "search"})).await.expect_err("full");
    assert!(refusal.message.contains("the shelf is full") && refusal.message.contains("stays in force"));
    let now = world.ok("GET", &format!("{}/{}", keys(&world), id(&made)), Value::Null).await;
    assert_eq!(now["redacted_value"], shown["redacted_value"]);
    assert_eq!(now["sallyport"]["former_secret"]["redacted_value"], made["redacted_value"]);
    assert!(entry(&world, &json!(secret)).is_some_and(|entry| !entry.revocation.is_revoked()));
    let notices = world.ok("GET", "/v1/sallyport/notices", Value::Null).await;
    let kinds: Vec<&str> =
        notices["data"].as_array().expect("a list").iter().filter_map(|d| d["notice"]["type"].as_str()).collect();
    assert_eq!(kinds, ["api_key.rotation_failed", "api_key.rotated"]);
    for secret in [secret.as_str(), made["value"].as_str().expect("a secret")] {
        assert!(!notices.to_string().contains(secret));
    }
}

#[tokio::test]
async fn planned_rotations_fall_due_and_one_that_failed_is_tried_again() {
    let world = still_world().await;
    let plan = json!({"every_seconds": 86_400, "overlap_seconds": 3_600, "deliver_to": "billing"});
    let made = world.ok("POST", &keys(&world), json!({"name": "k", "sallyport": {"rotation": plan}})).await;
    let delivered = || world.deliveries.delivered.lock().expect("unpoisoned").len();
    world.console.keep_keys().await;
    assert_eq!(delivered(), 0, "not due yet");
    world.clock.0.fetch_add(86_400, SeqCst);
    world.deliveries.is_full.store(true, SeqCst);
    world.console.keep_keys().await;
    let show = async || world.ok("GET", &format!("{}/{}", keys(&world), id(&made)), Value::Null).await;
    let shown = show().await;
    assert_eq!(shown["sallyport"]["rotation"]["last_error"], "the shelf is full");
    assert_eq!(shown["redacted_value"], made["redacted_value"], "the secret before stays");
    world.deliveries.is_full.store(false, SeqCst);
    world.console.keep_keys().await;
    assert_eq!(delivered(), 0, "it waits before it tries again");
    world.clock.0.fetch_add(900, SeqCst);
    world.console.keep_keys().await;
    assert_eq!(delivered(), 1);
    let shown = show().await;
    assert_eq!(shown["sallyport"]["rotation"]["last_error"], Value::Null);
    assert_eq!(shown["sallyport"]["rotation"]["next_at"], START + 86_400 + 900 + 86_400);
    assert_eq!(shown["sallyport"]["former_secret"]["expires_at"], START + 86_400 + 900 + 3_600);
}

#[tokio::test]
async fn a_secret_that_a_crash_kept_from_its_delivery_is_replaced_and_the_one_before_stays() {
    let world = still_world().await;
    let plan = json!({"every_seconds": 86_400, "overlap_seconds": 3_600, "deliver_to": "billing"});
    let made = world.ok("POST", &keys(&world), json!({"name": "k", "sallyport": {"rotation": plan}})).await;
    let before = entry(&world, &made["value"]).expect("in force").key.clone();
    // What the store holds when the process dies between commit and delivery.
    let lose = async |before: &Key| {
        let former =
            store::FormerSecret { digest: before.digest, redacted: before.redacted.clone(), expires_at: i64::MAX };
        let undelivered = store::Undelivered { former_expires_at: None, former_created_at: before.secret_created_at };
        let digest = world.console.pepper.digest("lost");
        let lost = Key { digest, former: Some(former), undelivered: Some(undelivered), ..before.clone() };
        let event = crate::key_life::updated(&lost, json!({}));
        world.console.put_key(Actor::Local, lost, vec![event]).await.expect("stored");
        world.console.keep_keys().await;
        assert!(world.console.snapshot().key(&digest).is_none(), "nobody has it");
    };
    lose(&before).await;
    let (_, secret) = world.deliveries.delivered.lock().expect("unpoisoned")[0].clone();
    let key = entry(&world, &json!(secret)).expect("in force").key.clone();
    assert_eq!(key.former.expect("the one before").digest, before.digest);
    // Without a plan it is taken back.
    let plain = world.ok("POST", &keys(&world), json!({"name": "k"})).await;
    let before = entry(&world, &plain["value"]).expect("in force").key.clone();
    lose(&before).await;
    assert_eq!(entry(&world, &plain["value"]).expect("in force").key, before);
}

#[tokio::test]
async fn a_delivery_without_overlap_leaves_no_gap_and_no_second_one_comes_between() {
    let world = still_world().await;
    let made = world.ok("POST", &keys(&world), json!({"name": "k"})).await;
    let running = entry(&world, &made["value"]).expect("in force");
    let path = ours(&world, &id(&made), "rotate");
    world.deliveries.is_full.store(true, SeqCst);
    let body = json!({"overlap_seconds": 0, "deliver_to": "billing"});
    world.call("POST", &path, body.clone()).await.expect_err("full");
    assert!(!running.revocation.is_revoked(), "what runs on the secret before was not cut for nothing");
    world.deliveries.is_full.store(false, SeqCst);
    let under_way = world.console.keeping.begin_rotation(&running.key.id).expect("none is");
    let refusal = world.call("POST", &path, json!({})).await.expect_err("one is under way");
    assert_eq!(refusal.reason, Reason::Conflict);
    drop(under_way);
    world.ok("POST", &path, body).await;
    assert!(running.revocation.is_revoked() && entry(&world, &made["value"]).is_none());
}

#[tokio::test]
async fn a_policy_is_not_outlived_by_asking_often() {
    let world = still_world().await;
    world.ok("POST", "/v1/sallyport/key_policy", json!({"lifetime_seconds_max": 1_000})).await;
    let made = world.ok("POST", &keys(&world), json!({"name": "k"})).await;
    let path = format!("{}/{}", keys(&world), id(&made));
    world.clock.0.fetch_add(600, SeqCst);
    let refusal = world.call("POST", &path, json!({"expires_in_seconds": 401})).await.expect_err("too long");
    assert!(refusal.message.contains("at most 400"), "{}", refusal.message);
    let changed = world.ok("POST", &path, json!({"expires_in_seconds": 400})).await;
    assert_eq!(changed["expires_at"], START + 1_000);
}

#[tokio::test]
async fn suspended_keys_are_cut_and_resumed_ones_are_whole() {
    let world = still_world().await;
    let made = world.ok("POST", &keys(&world), json!({"name": "k"})).await;
    let running = entry(&world, &made["value"]).expect("in force");
    let shown = world.ok("POST", &ours(&world, &id(&made), "suspend"), json!({"reason": "on a slide"})).await;
    assert_eq!(shown["sallyport"]["suspended"], json!({"at": START, "reason": "on a slide"}));
    assert!(running.revocation.is_revoked());
    let again = world.ok("POST", &ours(&world, &id(&made), "suspend"), json!({"reason": "twice"})).await;
    assert_eq!(again["sallyport"]["suspended"]["reason"], "on a slide", "the first word stands");
    let shown = world.ok("POST", &ours(&world, &id(&made), "resume"), Value::Null).await;
    assert_eq!(shown["sallyport"]["suspended"], Value::Null);
    assert!(entry(&world, &made["value"]).is_some_and(|entry| !entry.revocation.is_revoked()));
    let own = format!("/v1/sallyport/admin_api_keys/{}/suspend", world.caller.key.id);
    assert_eq!(world.call("POST", &own, Value::Null).await.expect_err("itself").reason, Reason::Conflict);
}

#[tokio::test]
async fn policies_bound_lives_and_give_one_to_keys_without() {
    let world = still_world().await;
    let policy = format!("/v1/sallyport/projects/{}/key_policy", world.project);
    world.ok("POST", "/v1/sallyport/key_policy", json!({"lifetime_seconds_max": 10_000})).await;
    let made = world.ok("POST", &keys(&world), json!({"name": "k"})).await;
    assert_eq!(made["expires_at"], START + 10_000);
    world.ok("POST", &policy, json!({"lifetime_seconds_max": 500})).await;
    let tight = world.ok("POST", &keys(&world), json!({"name": "k", "expires_in_seconds": 400})).await;
    assert_eq!(tight["expires_at"], START + 400);
    let refusal = world.call("POST", &keys(&world), json!({"name": "k", "expires_in_seconds": 501})).await;
    assert!(refusal.expect_err("too long").message.contains("at most 500"));
    let account =
        world.ok("POST", &format!("/projects/{}/service_accounts", world.project), json!({"name": "bot"})).await;
    assert_eq!(account["api_key"]["expires_at"], START + 500);
    let rotated = world.ok("POST", &ours(&world, &id(&made), "rotate"), json!({})).await;
    assert_eq!(rotated["expires_at"], START + 500, "a rotation obeys, too");
    let admin = world.ok("POST", "/admin_api_keys", json!({"name": "second"})).await;
    assert_eq!(admin["expires_at"], START + 10_000);
    // Keys that were there before are named.
    let stale = world.ok("GET", "/v1/sallyport/stale_keys?days=30", Value::Null).await;
    let first = stale["data"].as_array().expect("a list").iter().find(|key| key["name"] == "First project key");
    assert_eq!(first.expect("listed")["reasons"], json!(["over_lifetime_max"]));
}

#[tokio::test]
async fn the_stale_report_knows_who_was_used() {
    let world = still_world().await;
    let used = world.ok("POST", &keys(&world), json!({"name": "used"})).await;
    world.ok("POST", &keys(&world), json!({"name": "unused"})).await;
    world.clock.0.fetch_add(100 * 86_400, SeqCst);
    let now = START + 100 * 86_400;
    world.console.keeping.take_over(vec![KeyUse {
        key: KeyId::new(id(&used)),
        hour: now - now % 3_600,
        address: "10.0.0.1".into(),
        calls: 1,
        refused: 0,
        first_at: now,
        last_at: now,
        user_agent: Some("sdk".into()),
        model: Some("gpt-4o".into()),
    }]);
    let stale = world.ok("GET", "/v1/sallyport/stale_keys", Value::Null).await;
    let names: Vec<&str> =
        stale["data"].as_array().expect("a list").iter().filter_map(|key| key["name"].as_str()).collect();
    assert!(names.contains(&"unused") && !names.contains(&"used"), "{names:?}");
    let shown = world.ok("GET", &format!("{}/{}", keys(&world), id(&used)), Value::Null).await;
    assert_eq!(shown["last_used_at"], now);
    assert_eq!(shown["sallyport"]["last_used"]["model"], "gpt-4o");
    world.console.keeping.write_uses().await.expect("written");
    assert_eq!(world.store.store.last_uses().await.expect("readable").len(), 1);
}

fn noticed(key: &Value, at: i64) -> Noticed {
    Noticed {
        kind: "key.browser_use",
        severity: Severity::High,
        at,
        project: None,
        key: Some(KeyId::new(id(key))),
        address: "192.0.2.1".into(),
        user_agent: Some("Mozilla/5.0".into()),
        origin: Some("https://app.example".into()),
        is_browser_use: true,
        count: 1,
        text: None,
    }
}

#[tokio::test]
async fn what_is_noticed_is_one_finding_an_hour_told_once_and_suspends_who_says_so() {
    let world = still_world().await;
    world.ok("POST", "/v1/sallyport/webhooks", json!({"name": "w", "url": "https://hooks.example/x"})).await;
    let plain = world.ok("POST", &keys(&world), json!({"name": "plain"})).await;
    let strict =
        world.ok("POST", &keys(&world), json!({"name": "strict", "sallyport": {"browser_use": "suspend"}})).await;
    for _ in 0..5 {
        world.console.take_in(&noticed(&plain, START)).await.expect("taken in");
    }
    world.console.take_in(&noticed(&plain, START + 3_600)).await.expect("taken in");
    let found = world.ok("GET", &format!("/v1/sallyport/findings?key_id={}", id(&plain)), Value::Null).await;
    let counts: Vec<i64> =
        found["data"].as_array().expect("a list").iter().filter_map(|f| f["count"].as_i64()).collect();
    assert_eq!(counts, [1, 5], "the last noticed first");
    assert_eq!(found["data"][0]["details"]["origin"], "https://app.example");
    let notices = world.ok("GET", "/v1/sallyport/notices", Value::Null).await;
    assert_eq!(notices["data"].as_array().expect("a list").len(), 2);
    assert!(entry(&world, &plain["value"]).is_some_and(|entry| entry.key.suspension.is_none()));
    world.console.take_in(&noticed(&strict, START)).await.expect("taken in");
    let suspension = entry(&world, &strict["value"]).expect("there").key.suspension.clone().expect("suspended");
    assert!(suspension.reason.contains("https://app.example"), "{}", suspension.reason);
    assert_eq!(
        world
            .store
            .store
            .findings(&store::FindingFilter { limit: 10, ..Default::default() })
            .await
            .expect("readable")
            .expect("a page")
            .0
            .len(),
        3
    );
}

#[tokio::test]
async fn ends_are_announced_once_a_step() {
    let world = still_world().await;
    world.ok("POST", "/v1/sallyport/webhooks", json!({"name": "w", "url": "https://hooks.example/x"})).await;
    let made = world.ok("POST", &keys(&world), json!({"name": "k", "expires_in_seconds": 10 * 86_400})).await;
    let told = async || {
        world.console.keep_keys().await;
        world.console.keep_keys().await;
        let notices = world.ok("GET", "/v1/sallyport/notices", Value::Null).await;
        notices["data"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|d| d["notice"]["type"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(told().await.is_empty());
    world.clock.0.fetch_add(4 * 86_400, SeqCst);
    assert_eq!(told().await, ["api_key.expiring"]);
    world.clock.0.fetch_add(5 * 86_400 + 3_600, SeqCst);
    assert_eq!(told().await, ["api_key.expiring", "api_key.expiring"]);
    world.clock.0.fetch_add(86_400, SeqCst);
    assert_eq!(told().await, ["api_key.expired", "api_key.expiring", "api_key.expiring"]);
    assert_eq!(made["expires_at"], START + 10 * 86_400);
}

#[tokio::test]
async fn a_decoy_is_a_key_that_opens_nothing() {
    let world = still_world().await;
    let made = world.ok("POST", &keys(&world), json!({"name": "in the wiki", "sallyport": {"is_decoy": true}})).await;
    assert!(entry(&world, &made["value"]).is_some_and(|entry| entry.key.is_decoy));
    assert_eq!(made["sallyport"]["is_decoy"], true);
    let refusal = world.call("POST", &ours(&world, &id(&made), "rotate"), json!({})).await.expect_err("a decoy");
    assert_eq!(refusal.reason, Reason::Conflict);
    let body = json!({"name": "k", "sallyport": {"is_decoy": true}});
    assert_eq!(world.call("POST", "/admin_api_keys", body).await.expect_err("an admin key").status(), 400);
}

#[tokio::test]
async fn a_restricted_admin_key_makes_itself_no_wider_one() {
    let world = still_world().await;
    let body = json!({"name": "half", "scopes": ["api.management.write"]});
    let half = world.ok("POST", "/admin_api_keys", body).await;
    let half = entry(&world, &half["value"]).expect("in force");
    let first = format!("/v1/sallyport/admin_api_keys/{}", world.caller.key.id);
    let incident = json!({"key_id": world.caller.key.id.as_str(), "reason": "r", "replace": true, "suspend": true});
    for (target, body) in [
        ("/admin_api_keys", json!({"name": "wide"})),
        (&format!("{first}/rotate"), json!({})),
        (&format!("{first}/suspend"), json!({})),
        ("/v1/sallyport/incidents", incident),
    ] {
        let refusal = world.call_as(&half, "POST", target, body).await.expect_err(target);
        assert_eq!(refusal.reason, Reason::MissingScope, "{target}: {}", refusal.message);
    }
    world.call_as(&half, "POST", &keys(&world), json!({"name": "k"})).await.expect("project keys are its business");
}

#[tokio::test]
async fn whoever_makes_up_origins_makes_no_flood_of_findings() {
    let world = still_world().await;
    world.ok("POST", "/v1/sallyport/webhooks", json!({"name": "w", "url": "https://hooks.example/x"})).await;
    let made_up = |number: u32| Noticed {
        kind: "browser.unknown_origin",
        severity: Severity::Low,
        key: None,
        address: format!("192.0.2.{}", number % 256),
        origin: Some(format!("https://{number}.example")),
        is_browser_use: false,
        ..noticed(&json!({"id": "key_x"}), START)
    };
    for number in 0..300 {
        world.console.take_in(&made_up(number)).await.expect("taken in");
    }
    let filter = store::FindingFilter { limit: 1_000, ..Default::default() };
    let found = world.store.store.findings(&filter).await.expect("readable").expect("a page").0;
    assert_eq!((found.len(), found.iter().map(|finding| finding.count).sum::<u64>()), (201, 300));
    let notices = world.ok("GET", "/v1/sallyport/notices", Value::Null).await;
    assert!(notices["data"].as_array().expect("a list").is_empty(), "nobody is woken");
    // The next hour is another.
    let later = Noticed { at: START + 3_600, ..made_up(301) };
    world.console.take_in(&later).await.expect("taken in");
    assert_eq!(world.store.store.findings(&filter).await.expect("readable").expect("a page").0.len(), 202);
}
