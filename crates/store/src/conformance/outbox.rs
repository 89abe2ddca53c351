//! What the outbox means, and when alerts reach it.

use pricing::Nano;
use serde_json::json;

use super::money::{alert, webhook};
use super::reports::{Rows, row};
use super::{bootstrap, recorded};
use crate::alerts::{Channel, Delivery, DeliveryState, Notice, Outbox, SpendAlert};
use crate::ports::{Act, Registry};
use crate::records::ProjectId;
use crate::triggered::SpendAlertTriggered;
use crate::usage::UsageRow;

/// 2026-11-01T00:00:00Z.
const NOVEMBER: i64 = 1_793_491_200;
/// 2026-12-01T00:00:00Z.
const DECEMBER: i64 = 1_796_083_200;
/// 2027-01-01T00:00:00Z.
const JANUARY: i64 = 1_798_761_600;

fn notice(id: &str, created_at: i64) -> Notice {
    Notice { id: id.into(), kind: "test.sent".into(), created_at, payload: json!({"text": "ä", "number": 1}) }
}

fn mail() -> Channel {
    Channel::Email { recipients: vec!["a@example.com".into(), "b@example.com".into()], subject_prefix: None }
}

fn hook(id: &str) -> Channel {
    Channel::Webhook { id: id.into() }
}

async fn due(store: &dyn Outbox, now: i64) -> Vec<Delivery> {
    store.due(now, 100).await.expect("readable")
}

fn ids(deliveries: &[Delivery]) -> Vec<(&str, &Channel)> {
    deliveries.iter().map(|delivery| (delivery.notice.id.as_str(), &delivery.channel)).collect()
}

/// A notice is put in once, with a delivery for each channel; what is due comes oldest first, and no more than asked.
pub async fn a_notice_goes_once_to_each_channel(store: &dyn Outbox) {
    let (first, second) = (notice("notice_1", 100), notice("notice_2", 200));
    store.enqueue(&second, &[hook("webhook_1")]).await.expect("written");
    store.enqueue(&first, &[mail(), hook("webhook_1")]).await.expect("written");
    store.enqueue(&first, &[mail(), hook("webhook_2")]).await.expect("a second time changes nothing");
    assert_eq!(ids(&due(store, 99).await), []);
    assert_eq!(ids(&due(store, 199).await), [("notice_1", &mail()), ("notice_1", &hook("webhook_1"))]);
    let all = due(store, 200).await;
    assert_eq!(ids(&all)[2], ("notice_2", &hook("webhook_1")));
    assert_eq!(store.due(200, 2).await.expect("readable"), all[..2]);
    let delivery = &all[0];
    assert_eq!((&delivery.notice, delivery.state, delivery.attempts), (&first, DeliveryState::Pending, 0));
    assert_eq!(delivery.last_error, None);
}

/// A delivery is tried until it arrives or is given up; what is dead is listed, and can be taken up again.
pub async fn a_delivery_ends_delivered_or_dead(store: &dyn Outbox) {
    store.enqueue(&notice("notice_1", 100), &[hook("webhook_1"), hook("webhook_2")]).await.expect("written");
    let found = due(store, 100).await;
    let (one, other) = (found[0].id, found[1].id);
    store.failed(one, "no answer", Some(160)).await.expect("written");
    store.delivered(other).await.expect("written");
    assert_eq!(ids(&due(store, 159).await), []);
    let again = due(store, 160).await;
    assert_eq!((again[0].id, again[0].attempts, again[0].next_at), (one, 1, 160));
    assert_eq!(again[0].last_error.as_deref(), Some("no answer"));
    assert!(!store.revive(one, 170).await.expect("written"), "it is pending");
    store.failed(one, "refused", None).await.expect("written");
    assert_eq!(due(store, i64::MAX).await, []);
    // A late word of an attempt that failed does not undo one that arrived.
    store.failed(other, "late", Some(1)).await.expect("written");
    let listed = async |state, before| {
        let listed = store.deliveries(state, before, 10).await.expect("readable");
        listed.iter().map(|delivery| delivery.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, None).await, [other, one], "the newest first");
    assert_eq!(listed(None, Some(other)).await, [one]);
    assert_eq!(listed(Some(DeliveryState::Dead), None).await, [one]);
    assert_eq!(listed(Some(DeliveryState::Delivered), None).await, [other]);
    assert_eq!(store.deliveries(None, None, 1).await.expect("readable").len(), 1);
    let dead = &store.deliveries(Some(DeliveryState::Dead), None, 10).await.expect("readable")[0];
    assert_eq!((dead.attempts, dead.last_error.as_deref()), (2, Some("refused")));
    assert!(store.revive(one, 500).await.expect("written"));
    let revived = due(store, 500).await;
    assert_eq!((revived[0].id, revived[0].attempts), (one, 0), "from its first attempt");
    assert_eq!(due(store, 499).await, []);
    assert!(!store.revive(999_999, 1).await.expect("written"), "nobody");
}

async fn put(store: &dyn Registry, number: i64, alert: SpendAlert) {
    store.commit(&recorded(Act::PutAlert(alert), number, "project.updated")).await.expect("committed");
}

async fn spend(rows: &dyn Rows, id: &str, cost: u64, began_at: i64) {
    rows.write(&[UsageRow { project: ProjectId::new("proj_a"), ..row(id, cost, began_at) }]).await;
}

/// An alert fires in the write that passes its threshold, once a month, to its recipients and to every webhook.
pub async fn alerts_fire_once_a_month(registry: &dyn Registry, outbox: &dyn Outbox, rows: &dyn Rows) {
    registry.commit(&recorded(bootstrap(), 0, "project.created")).await.expect("committed");
    registry
        .commit(&recorded(Act::CreateWebhook(webhook("webhook_1")), 1, "project.updated"))
        .await
        .expect("committed");
    let project = Some(ProjectId::new("proj_a"));
    put(registry, 2, SpendAlert { project: project.clone(), ..alert("alert_project", 10) }).await;
    put(registry, 3, SpendAlert { recipients: Vec::new(), ..alert("alert_all", 25) }).await;
    let pending = async || -> Vec<(String, bool)> {
        let mut found: Vec<_> = due(outbox, i64::MAX)
            .await
            .iter()
            .map(|one| (one.notice.id.clone(), matches!(one.channel, Channel::Webhook { .. })))
            .collect();
        found.sort();
        found
    };
    let fired = |alert: &str, month: &str, by_mail: bool| {
        let id = format!("notice_{alert}_{month}");
        [(!by_mail).then(|| (id.clone(), true)), by_mail.then(|| (id.clone(), false)), by_mail.then_some((id, true))]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
    };
    spend(rows, "req_1", 9, NOVEMBER).await;
    assert_eq!(pending().await, [], "below the threshold");
    spend(rows, "req_1", 9, NOVEMBER).await;
    assert_eq!(pending().await, [], "the same request is not spent twice");
    spend(rows, "req_2", 1, DECEMBER - 1).await;
    let mut expected = fired("alert_project", "202611", true);
    assert_eq!(pending().await, expected, "at the threshold");
    spend(rows, "req_3", 14, NOVEMBER + 5).await;
    assert_eq!(pending().await, expected, "once");
    spend(rows, "req_4", 100, DECEMBER).await;
    expected.extend(fired("alert_all", "202612", false));
    expected.extend(fired("alert_project", "202612", true));
    expected.sort();
    assert_eq!(pending().await, expected, "the next month counts anew");
    spend(rows, "req_5", 1, NOVEMBER + 9).await;
    expected.extend(fired("alert_all", "202611", false));
    expected.sort();
    assert_eq!(pending().await, expected, "a late row fires for the month that it began in");
    // Another project's spending is the organization's, and not this project's.
    rows.write(&[UsageRow { project: ProjectId::new("proj_b"), ..row("req_6", 1_000, JANUARY) }]).await;
    expected.extend(fired("alert_all", "202701", false));
    expected.sort();
    assert_eq!(pending().await, expected);
    let before = due(outbox, i64::MAX).await;
    let notice = &before.iter().find(|one| one.notice.id == "notice_alert_project_202611").expect("there").notice;
    let triggered = SpendAlertTriggered {
        alert_id: "alert_project".into(),
        project_id: Some(ProjectId::new("proj_a")),
        project_name: Some(super::project("proj_a").name),
        threshold: Nano(10),
        spent: Nano(10),
        window_start: NOVEMBER,
    };
    assert_eq!(SpendAlertTriggered::read(notice), Some(triggered));
}

/// An alert that is made or changed when its threshold is passed already fires with the act; one that has fired this
/// month does not fire again, whatever its threshold becomes.
pub async fn a_late_alert_fires_with_its_act(registry: &dyn Registry, outbox: &dyn Outbox, rows: &dyn Rows) {
    registry.commit(&recorded(bootstrap(), 0, "project.created")).await.expect("committed");
    // The suite's events happen in November 2023.
    let month = 1_700_000_000;
    spend(rows, "req_1", 50, month).await;
    let fired = async || due(outbox, i64::MAX).await.iter().map(|one| one.notice.id.clone()).collect::<Vec<_>>();
    put(registry, 1, alert("alert_high", 51)).await;
    assert!(fired().await.is_empty());
    put(registry, 2, alert("alert_low", 50)).await;
    assert_eq!(fired().await, ["notice_alert_low_202311"]);
    put(registry, 3, alert("alert_high", 20)).await;
    assert_eq!(fired().await.len(), 2, "its threshold came down");
    put(registry, 4, alert("alert_high", 100)).await;
    spend(rows, "req_2", 500, month).await;
    assert_eq!(fired().await.len(), 2, "once a month");
    // A webhook that goes leaves nothing on its way to it.
    registry
        .commit(&recorded(Act::CreateWebhook(webhook("webhook_1")), 5, "project.updated"))
        .await
        .expect("committed");
    put(registry, 6, SpendAlert { recipients: Vec::new(), ..alert("alert_hook", 1) }).await;
    assert_eq!(fired().await.len(), 3);
    registry.commit(&recorded(Act::DeleteWebhook("webhook_1".into()), 7, "project.updated")).await.expect("committed");
    assert_eq!(fired().await.len(), 2);
    assert_eq!(outbox.deliveries(Some(DeliveryState::Dead), None, 10).await.expect("readable").len(), 1);
    let alerts = registry.load().await.expect("readable").expect("there").alerts;
    assert_eq!(alerts.iter().find(|one| one.id == "alert_high").map(|one| one.threshold), Some(Nano(100)));
}
