//! Alerts, webhooks and the outbox.

use store::{Channel, Webhook};

use super::*;

fn alert(cents: u64) -> Value {
    json!({
        "threshold_amount": cents, "currency": "USD", "interval": "month",
        "notification_channel": {"type": "email", "recipients": ["finance@example.com"], "subject_prefix": "Spend"},
    })
}

#[tokio::test]
async fn alerts_live_in_the_api_s_shape() {
    let world = world().await;
    let of_project = format!("/projects/{}/spend_alerts", world.project);
    for (path, kind) in [("/spend_alerts", "organization"), (&*of_project, "project")] {
        let mut made = Vec::new();
        for cents in [500, 1_000, 1_500] {
            let one = world.ok("POST", path, alert(cents)).await;
            assert_eq!(
                (&one["object"], &one["threshold_amount"]),
                (&json!(format!("{kind}.spend_alert")), &json!(cents))
            );
            assert_eq!(one["notification_channel"], alert(cents)["notification_channel"]);
            made.push(one["id"].as_str().expect("an id").to_owned());
        }
        let list = world.ok("GET", path, Value::Null).await;
        assert_eq!((ids(&list), &list["has_more"]), (made.iter().map(String::as_str).collect(), &json!(false)));
        let page = world.ok("GET", &format!("{path}?order=desc&limit=2"), Value::Null).await;
        assert_eq!((ids(&page), &page["has_more"]), (vec![&*made[2], &*made[1]], &json!(true)));
        let page = world.ok("GET", &format!("{path}?before={}&limit=1", made[2]), Value::Null).await;
        assert_eq!((ids(&page), &page["has_more"]), (vec![&*made[1]], &json!(true)));
        let page = world.ok("GET", &format!("{path}?limit=0"), Value::Null).await;
        assert_eq!((ids(&page).len(), &page["has_more"]), (0, &json!(true)));
        let one = format!("{path}/{}", made[0]);
        assert_eq!(world.ok("POST", &one, alert(700)).await["threshold_amount"], 700);
        assert_eq!(world.ok("GET", &one, Value::Null).await["threshold_amount"], 700);
        let gone = world.ok("DELETE", &one, Value::Null).await;
        assert_eq!(gone, json!({"object": format!("{kind}.spend_alert.deleted"), "id": made[0], "deleted": true}));
        assert_eq!(world.refused("GET", &one, Value::Null).await.status(), 404);
        // Another owner's alert looks as if it did not exist.
        let other = if kind == "project" { "/spend_alerts" } else { &*of_project };
        assert_eq!(world.refused("DELETE", &format!("{other}/{}", made[1]), Value::Null).await.status(), 404);
    }
    assert_eq!(world.console.registry.load().await.expect("readable").expect("there").alerts.len(), 4);
}

#[tokio::test]
async fn wrong_alerts_are_refused_by_name() {
    let world = still_world().await;
    let with = |pointer: &str, value: Value| {
        let mut body = alert(100);
        *body.pointer_mut(pointer).expect("a field") = value;
        body
    };
    let channel = "notification_channel";
    for (body, param) in [
        (with("/threshold_amount", Value::Null), "threshold_amount".to_owned()),
        (with("/threshold_amount", json!(-1)), "threshold_amount".to_owned()),
        (with("/threshold_amount", json!(1.5)), "threshold_amount".to_owned()),
        (with("/currency", json!("EUR")), "currency".to_owned()),
        (with("/interval", json!("week")), "interval".to_owned()),
        (with("/notification_channel", json!("mail")), channel.to_owned()),
        (with("/notification_channel/type", json!("pigeon")), format!("{channel}.type")),
        (with("/notification_channel/recipients", json!("a@b")), format!("{channel}.recipients")),
        (with("/notification_channel/recipients", json!(["nobody"])), format!("{channel}.recipients")),
        (with("/notification_channel/recipients", json!(["a@b\r\nBcc: c@d"])), format!("{channel}.recipients")),
        (with("/notification_channel/subject_prefix", json!("a\r\nBcc: c@d")), format!("{channel}.subject_prefix")),
    ] {
        let refusal = world.refused("POST", "/spend_alerts", body.clone()).await;
        assert_eq!(refusal.param.as_deref(), Some(&*param), "{body}: {refusal}");
    }
    assert_eq!(world.refused("GET", "/spend_alerts?order=up", Value::Null).await.param.as_deref(), Some("order"));
    assert!(world.console.snapshot().alerts.is_empty());
}

#[tokio::test]
async fn a_webhook_s_secret_is_shown_once_and_opens_under_the_master_key() {
    let world = still_world().await;
    let body = json!({"name": "Pager", "url": "https://example.com/hook"});
    let made = world.ok("POST", "/v1/sallyport/webhooks", body).await;
    let (id, secret) = (made["id"].as_str().expect("an id"), made["secret"].as_str().expect("a secret"));
    assert!(secret.starts_with("whsec_"));
    let list = world.ok("GET", "/v1/sallyport/webhooks", Value::Null).await;
    assert_eq!((ids(&list), list.to_string().contains(secret)), (vec![id], false));
    assert!(!world.ok("GET", "/audit_logs", Value::Null).await.to_string().contains(secret));
    let stored = world.console.registry.load().await.expect("readable").expect("there").webhooks;
    let opened = world.console.money.master_key.open(&Webhook::seal_name(id), &stored[0].secret).expect("opens");
    assert_eq!(&opened[..], secret.as_bytes());
    for (body, param) in [
        (json!({"url": "https://example.com"}), "name"),
        (json!({"name": "x"}), "url"),
        (json!({"name": "x", "url": "ftp://example.com"}), "url"),
        (json!({"name": "x", "url": "https://user:word@example.com"}), "url"),
        (json!({"name": "x", "url": 5}), "url"),
        (json!({"name": "x", "url": "https://example.com", "secret": "mine"}), "secret"),
    ] {
        assert_eq!(world.refused("POST", "/v1/sallyport/webhooks", body).await.param.as_deref(), Some(param));
    }
    world.ok("DELETE", &format!("/v1/sallyport/webhooks/{id}"), Value::Null).await;
    assert_eq!(world.refused("DELETE", &format!("/v1/sallyport/webhooks/{id}"), Value::Null).await.status(), 404);
}

#[tokio::test]
async fn a_test_notice_goes_out_and_a_dead_one_is_taken_up_again() {
    let world = still_world().await;
    let body = json!({"name": "Pager", "url": "https://example.com/hook"});
    let hook = world.ok("POST", "/v1/sallyport/webhooks", body).await;
    let outbox = &world.console.money.outbox;
    let by_hook = world.ok("POST", "/v1/sallyport/notices/test", json!({"webhook_id": hook["id"]})).await;
    world.ok("POST", "/v1/sallyport/notices/test", json!({"email": "a@example.com"})).await;
    assert_eq!(world.woken.load(SeqCst), 2);
    let due = outbox.due(START, 10).await.expect("readable");
    assert_eq!(due.len(), 2);
    assert!(matches!(&due[0].channel, Channel::Webhook { id } if *id == hook["id"]));
    assert_eq!(due[0].notice.id, by_hook["id"]);
    outbox.failed(due[0].id, "connection refused", None).await.expect("noted");
    outbox.delivered(due[1].id).await.expect("noted");
    let dead = world.ok("GET", "/v1/sallyport/notices?state=dead", Value::Null).await;
    assert_eq!(
        (dead["data"].as_array().expect("a list").len(), &dead["data"][0]["last_error"]),
        (1, &json!("connection refused"))
    );
    let retry = |id: i64| format!("/v1/sallyport/notices/{id}/retry");
    assert_eq!(world.refused("POST", &retry(due[1].id), Value::Null).await.status(), 404, "it arrived");
    world.ok("POST", &retry(due[0].id), Value::Null).await;
    assert_eq!((outbox.due(START, 10).await.expect("readable").len(), world.woken.load(SeqCst)), (1, 3));
    let all = world.ok("GET", "/v1/sallyport/notices?limit=1", Value::Null).await;
    let next = format!("/v1/sallyport/notices?limit=1&after={}", all["last_id"].as_str().expect("an id"));
    assert_eq!(world.ok("GET", &next, Value::Null).await["data"][0]["id"], due[0].id);
    for (body, param) in [
        (json!({}), "webhook_id"),
        (json!({"webhook_id": "webhook_none"}), "webhook_id"),
        (json!({"webhook_id": hook["id"], "email": "a@b"}), "webhook_id"),
        (json!({"email": "nobody"}), "email"),
    ] {
        assert_eq!(world.refused("POST", "/v1/sallyport/notices/test", body).await.param.as_deref(), Some(param));
    }
    assert_eq!(
        world.refused("GET", "/v1/sallyport/notices?state=lost", Value::Null).await.param.as_deref(),
        Some("state")
    );
    assert_eq!(world.refused("POST", "/v1/sallyport/notices/x/retry", Value::Null).await.status(), 404);
}
