//! Incidents: the key's end, what it did, the key and the limit in its place, the report that stays.

use pricing::Nano;
use store::{KeyUse, KeyUses, UsageRow};

use super::limits::row;
use super::reports::write;
use super::*;

const DAY: i64 = 86_400;
const HOUR: i64 = 3_600;
const PATH: &str = "/v1/sallyport/incidents";
/// When the key of these tests was exposed: ten days after it was made, at ten minutes and twenty seconds past an hour.
const SINCE: i64 = START - START % HOUR + 10 * DAY + 620;

async fn key(world: &World, name: &str) -> (KeyId, String) {
    let made = world.ok("POST", &format!("/projects/{}/api_keys", world.project), json!({"name": name})).await;
    (KeyId::new(made["id"].as_str().expect("an id")), made["value"].as_str().expect("a secret").to_owned())
}

/// What a key used: ten cents on each of nine days; ten minutes before the exposure, within the same hour; and since.
async fn spend(world: &World, key: &KeyId) {
    let used = |number: i64, at: i64, model: &str, cents: u64| {
        let amount = Nano::from_cents(cents);
        let row = row(world, &format!("req_{number}"));
        let line = store::CostLine { item: format!("{model}, text_input"), quantity: 1, amount };
        UsageRow { key: key.clone(), began_at: at, model: model.into(), cost: amount, lines: vec![line], ..row }
    };
    let mut rows: Vec<UsageRow> = (1..10).map(|day| used(day, START + day * DAY, "gpt-4o-mini", 10)).collect();
    rows.push(used(20, SINCE - 600, "gpt-4o-mini", 1));
    rows.push(used(21, SINCE + 100, "gpt-4o", 700));
    rows.push(used(22, SINCE + 5 * HOUR, "gpt-4o", 42));
    // Somebody else's is nobody's business here.
    rows.push(UsageRow { key: KeyId::new("key_other"), ..used(23, SINCE + 100, "gpt-4o", 9_999) });
    write(world, rows).await;
    let came = |at: i64, address: &str| KeyUse {
        key: key.clone(),
        hour: at - at % HOUR,
        address: address.into(),
        calls: 2,
        refused: 0,
        first_at: at,
        last_at: at,
        user_agent: Some("sdk".into()),
        model: None,
    };
    let uses = [came(START + DAY, "10.0.0.1"), came(SINCE + 100, "203.0.113.9"), came(SINCE + 200, KeyUse::ELSEWHERE)];
    world.store.store.add_uses(&uses).await.expect("written");
}

async fn spent_world() -> (World, KeyId, String) {
    let world = still_world().await;
    let (id, secret) = key(&world, "ci").await;
    spend(&world, &id).await;
    world.clock.0.store(SINCE + 6 * HOUR, SeqCst);
    (world, id, secret)
}

#[tokio::test]
async fn one_call_ends_the_key_and_tells_what_it_did() {
    let (world, id, secret) = spent_world().await;
    let body = json!({"key_id": id.as_str(), "reason": "It was on a slide.", "exposed_since": SINCE, "replace": true});
    let incident = world.ok("POST", PATH, body).await;
    assert!(!world.opens(&secret));
    assert_eq!((&incident["ending"], &incident["reaction_seconds"]), (&json!("revoked"), &json!(0)));
    assert_eq!(incident["exposed_seconds"], 6 * HOUR);
    let (baseline, since) = (&incident["evidence"]["baseline"], &incident["evidence"]["since_exposure"]);
    assert_eq!((&baseline["calls"], &baseline["cost"]), (&json!(10), &json!("0.91")), "minutes part the hour");
    assert_eq!((&since["calls"], &since["cost"]), (&json!(2), &json!("7.42")));
    assert_eq!(since["unexpected"]["cost"], "7.42");
    assert_eq!(since["unexpected"]["charges"][0]["reasons"], json!(["new_model", "new_address"]));
    assert_eq!((&since["addresses"][0]["standing"], &since["calls_elsewhere"]), (&json!("new"), &json!(2)));
    assert_eq!(incident["evidence"]["proposed_limit"]["day"], "1.00");
    assert_eq!(incident["upstream_usage"]["is_available"], false);
    let replacement = incident["replacement"]["value"].as_str().expect("a secret");
    assert!(world.opens(replacement) && replacement != secret);
    assert_eq!(incident["replacement_key_id"], incident["replacement"]["id"]);
    let path = format!("{PATH}/{}", incident["id"].as_str().expect("an id"));
    let again = world.ok("GET", &path, Value::Null).await;
    assert!(again.get("replacement").is_none() && !again.to_string().contains(replacement), "shown once");
    assert_eq!(again["evidence"], incident["evidence"]);
    let notices = world.ok("GET", "/v1/sallyport/notices", Value::Null).await;
    assert_eq!(notices["data"][0]["notice"]["data"]["incident_id"], incident["id"]);
    let log = world.ok("GET", "/audit_logs", Value::Null).await;
    let kinds: Vec<_> = log["data"].as_array().expect("a list").iter().take(3).map(|event| &event["type"]).collect();
    assert_eq!(kinds, ["incident.opened", "api_key.created", "api_key.deleted"]);
    let refusal = world.refused("POST", PATH, json!({"key_id": id.as_str(), "reason": "again"})).await;
    assert_eq!(refusal.code(), Some("conflict"));
}

#[tokio::test]
async fn a_replacement_may_do_what_its_key_might() {
    let world = still_world().await;
    let (id, _) = key(&world, "ci").await;
    let rates = json!({"max_requests_per_1_minute": 7});
    world.ok("POST", &format!("/v1/sallyport/projects/{}/api_keys/{id}/rate_limit", world.project), rates).await;
    let limit = json!({"scope": {"kind": "key", "key_id": id.as_str()}, "period": "month", "amount": "5.00"});
    world.ok("POST", "/v1/sallyport/limits", limit).await;
    let before = world.console.snapshot().key_by_id(&id).expect("in force").key.clone();
    let incident = world.ok("POST", PATH, json!({"key_id": id.as_str(), "reason": "r"})).await;
    assert_eq!(incident["replacement_key_id"], Value::Null);
    let path = format!("{PATH}/{}/replacement", incident["id"].as_str().expect("an id"));
    let replaced = world.ok("POST", &path, Value::Null).await;
    let new = KeyId::new(replaced["replacement_key_id"].as_str().expect("an id"));
    let after = world.console.snapshot().key_by_id(&new).expect("in force").key.clone();
    let alike = store::Key {
        id: new.clone(),
        digest: after.digest,
        redacted: after.redacted.clone(),
        created_by: after.created_by.clone(),
        ..before
    };
    assert_eq!(after, alike);
    let limits = world.ok("GET", "/v1/sallyport/limits?kind=key", Value::Null).await;
    let amounts: Vec<_> = limits["data"].as_array().expect("a list").iter().collect();
    assert!(amounts.iter().any(|limit| limit["scope"]["key_id"] == new.as_str() && limit["amount"] == "5.00"));
    assert_eq!(world.refused("POST", &path, Value::Null).await.code(), Some("conflict"), "one takes its place");
}

#[tokio::test]
async fn keys_end_as_it_was_asked_for() {
    let world = still_world().await;
    let open = async |id: &KeyId, more: Value| {
        let mut body = json!({"key_id": id.as_str(), "reason": "r"});
        amounts::merge(&mut body, more.as_object().cloned().unwrap_or_default());
        world.call("POST", PATH, body).await
    };
    let (suspended, secret) = key(&world, "suspended").await;
    let revocation = Arc::clone(&world.console.snapshot().key_by_id(&suspended).expect("in force").revocation);
    assert_eq!(open(&suspended, json!({"suspend": true})).await.expect("opened")["ending"], "suspended");
    let entry = Arc::clone(world.console.snapshot().key_by_id(&suspended).expect("still there"));
    assert!(entry.key.suspension.is_some() && revocation.is_revoked(), "its streams are cut: {secret}");
    let (left, secret) = key(&world, "left").await;
    let incident = open(&left, json!({"revoke": false})).await.expect("opened");
    assert!(world.opens(&secret) && incident["ending"] == "left_in_force" && incident["ended_at"].is_null());
    // Ended later, with the incident or by itself.
    let path = format!("{PATH}/{}", incident["id"].as_str().expect("an id"));
    let ended = world.ok("POST", &path, json!({"revoke": true, "note": "replaced everywhere"})).await;
    assert!(!world.opens(&secret) && ended["ending"] == "revoked" && ended["ended_at"] == START);
    let (by_itself, _) = key(&world, "by itself").await;
    let incident = open(&by_itself, json!({"revoke": false})).await.expect("opened");
    world.ok("DELETE", &format!("/projects/{}/api_keys/{by_itself}", world.project), Value::Null).await;
    let path = format!("{PATH}/{}", incident["id"].as_str().expect("an id"));
    assert_eq!(world.ok("GET", &path, Value::Null).await["ending"], "revoked");
    let (gone, _) = key(&world, "gone").await;
    world.ok("DELETE", &format!("/projects/{}/api_keys/{gone}", world.project), Value::Null).await;
    let incident = open(&gone, json!({"replace": true})).await.expect("opened");
    assert_eq!((&incident["ending"], &incident["ended_at"]), (&json!("gone_before"), &json!(START)));
    assert!(world.opens(incident["replacement"]["value"].as_str().expect("a secret")));
    for (more, status) in [
        (json!({"revoke": true, "suspend": true}), 400),
        (json!({"exposed_since": START + 1}), 400),
        (json!({"exposed_since": "yesterday"}), 400),
        (json!({"reason": " "}), 400),
        (json!({"reason": "x".repeat(2_001)}), 400),
        (json!({"key_id": "key_never"}), 404),
        (json!({"since": 5}), 400),
    ] {
        let (fresh, secret) = key(&world, "fresh").await;
        assert_eq!(open(&fresh, more.clone()).await.expect_err("refused").status(), status, "{more}");
        assert!(world.opens(&secret), "{more}");
    }
    let admin = open(&world.caller.key.id, json!({})).await.expect_err("the last one");
    assert!(admin.message.contains("last admin key") && world.opens(&world.secrets[0]));
}

#[tokio::test]
async fn the_leaked_key_itself_is_enough_and_is_kept_nowhere() {
    let world = still_world().await;
    for is_gone in [false, true] {
        let (id, secret) = key(&world, "ci").await;
        if is_gone {
            world.ok("DELETE", &format!("/projects/{}/api_keys/{id}", world.project), Value::Null).await;
        }
        let incident = world.ok("POST", PATH, json!({"key": secret, "reason": "in a gist"})).await;
        assert_eq!(incident["key"]["id"], id.as_str());
        assert!(!world.opens(&secret) && !incident.to_string().contains(&secret));
        let stranger = Shape::default().mint(Kind::Project, &SystemRandom);
        let unknown = json!({"key": stranger.expose(), "reason": "r"});
        let refusal = world.refused("POST", PATH, unknown).await;
        assert!(refusal.status() == 404 && !refusal.message.contains(stranger.expose()));
        let path = format!("{PATH}/{}", incident["id"].as_str().expect("an id"));
        let note = json!({"note": format!("The key (`{secret}`) was in a gist.")});
        assert_eq!(world.refused("POST", &path, note).await.status(), 400, "words are kept and sent");
    }
    for wrong in [json!({"key": "x", "key_id": "y"}), json!({}), json!({"key": 5}), json!({"key_id": world.secrets[1]})]
    {
        let mut body = json!({"reason": "r"});
        amounts::merge(&mut body, wrong.as_object().cloned().unwrap_or_default());
        let refusal = world.refused("POST", PATH, body).await;
        assert!(refusal.status() == 400 && !refusal.message.contains(&world.secrets[1]), "{refusal}");
    }
}

#[tokio::test]
async fn a_store_that_fails_leaves_key_and_incident_as_they_were() {
    let world = still_world().await;
    let (id, secret) = key(&world, "ci").await;
    world.store.is_down.store(true, SeqCst);
    let refusal = world.refused("POST", PATH, json!({"key_id": id.as_str(), "reason": "r", "replace": true})).await;
    assert_eq!(refusal.status(), 503);
    world.store.is_down.store(false, SeqCst);
    assert!(world.opens(&secret));
    assert!(ids(&world.ok("GET", PATH, Value::Null).await).is_empty());
}

#[tokio::test]
async fn the_proposed_limit_is_set_with_one_call_and_never_loosens_one() {
    let (world, id, _) = spent_world().await;
    let body = json!({"key_id": id.as_str(), "reason": "r", "exposed_since": SINCE, "replace": true});
    let incident = world.ok("POST", PATH, body).await;
    let path = format!("{PATH}/{}", incident["id"].as_str().expect("an id"));
    let set = world.ok("POST", &format!("{path}/limit"), Value::Null).await;
    let amounts: Vec<_> = set["data"].as_array().expect("a list").iter().map(|limit| &limit["amount"]).collect();
    assert_eq!(amounts, ["1.00", "4.00"], "91 cents in ten days, a quarter on top");
    assert_eq!(set["data"][0]["scope"]["key_id"], incident["replacement_key_id"]);
    let limit = format!("/v1/sallyport/limits/{}", set["data"][0]["id"].as_str().expect("an id"));
    world.ok("POST", &limit, json!({"amount": "0.50"})).await;
    let again = world.ok("POST", &format!("{path}/limit"), json!({"period": "day"})).await;
    assert_eq!((again["data"].as_array().map(Vec::len), &again["data"][0]["amount"]), (Some(1), &json!("0.50")));
    assert_eq!(again["limit_ids"].as_array().map(Vec::len), Some(2));
    // A key without use has no ordinary use.
    let (unused, _) = key(&world, "unused").await;
    let incident = world.ok("POST", PATH, json!({"key_id": unused.as_str(), "reason": "r"})).await;
    let path = format!("{PATH}/{}/limit", incident["id"].as_str().expect("an id"));
    assert_eq!(world.refused("POST", &path, Value::Null).await.code(), Some("conflict"));
}

#[tokio::test]
async fn a_closed_incident_stays_as_it_was() {
    let (world, id, _) = spent_world().await;
    let incident = world.ok("POST", PATH, json!({"key_id": id.as_str(), "reason": "r"})).await;
    let path = format!("{PATH}/{}", incident["id"].as_str().expect("an id"));
    assert_eq!(incident["evidence"]["since_exposure"]["calls"], 12, "unknown since when: since it was made");
    let updated = world.ok("POST", &path, json!({"note": "Since the deployment.", "exposed_since": SINCE})).await;
    assert_eq!((&updated["evidence"]["since_exposure"]["calls"], &updated["status"]), (&json!(2), &json!("open")));
    let closed = world.ok("POST", &path, json!({"note": "Done.", "close": true})).await;
    let notes: Vec<_> = closed["notes"].as_array().expect("a list").iter().map(|note| &note["text"]).collect();
    assert_eq!((notes, &closed["status"]), (vec![&json!("Since the deployment."), &json!("Done.")], &json!("closed")));
    let report = world.ok("GET", &format!("{path}/report"), Value::Null).await;
    let markdown = world.ok("GET", &format!("{path}/report?format=markdown"), Value::Null).await;
    let text = markdown["content"].as_str().expect("a text");
    assert!(text.starts_with("# Exposed key: incident incident_") && text.contains("2 calls, $7.42"), "{text}");
    // What it was made of may go, or come late: the report stays.
    world.store.store.forget_uses(i64::MAX).await.expect("written");
    write(&world, vec![UsageRow { key: id.clone(), began_at: SINCE + 7, ..row(&world, "late") }]).await;
    assert_eq!(world.ok("GET", &format!("{path}/report"), Value::Null).await, report);
    assert_eq!(world.ok("GET", &path, Value::Null).await["evidence"], report["evidence"]);
    for (target, body) in [
        (path.clone(), json!({"note": "x"})),
        (format!("{path}/limit"), Value::Null),
        (format!("{path}/replacement"), Value::Null),
    ] {
        assert_eq!(world.refused("POST", &target, body).await.code(), Some("conflict"), "{target}");
    }
    assert_eq!(ids(&world.ok("GET", &format!("{PATH}?status=closed"), Value::Null).await).len(), 1);
    assert!(ids(&world.ok("GET", &format!("{PATH}?status=open"), Value::Null).await).is_empty());
    assert_eq!(world.refused("GET", &format!("{PATH}?status=odd"), Value::Null).await.status(), 400);
    assert_eq!(world.refused("GET", &format!("{path}/report?format=pdf"), Value::Null).await.status(), 400);
    assert_eq!(world.refused("GET", &format!("{PATH}/incident_x"), Value::Null).await.status(), 404);
}
