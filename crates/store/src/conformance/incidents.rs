//! What incidents, and the secrets of keys that are gone, mean.

use exposure::incident::{Ending, Incident, KeyFacts, Sighting};
use keys::Pepper;
use serde_json::json;

use super::{bootstrap, full_key, key, recorded};
use crate::alerts::{Channel, Notice, Outbox};
use crate::findings::{Finding, FindingFilter, Findings, Severity};
use crate::incidents::{FinalReport, IncidentChange, IncidentFilter, IncidentStep, Incidents, KeyEnd};
use crate::key_life::Suspension;
use crate::ports::{Act, Registry, StoreError};
use crate::records::{Key, KeyId, ServiceAccountId};

fn incident(id: &str, key: &str) -> Incident {
    Incident {
        id: format!("incident_{id}"),
        closed_at: None,
        reason: "it was in a repository".into(),
        source: "github".into(),
        opened_by: "github_secret_scanning".into(),
        key: KeyFacts {
            id: key.into(),
            name: "ci".into(),
            kind: "proj".into(),
            redacted: "sp-proj_****abcd".into(),
            created_at: 5,
            project: Some(("proj_a".into(), "A".into())),
        },
        exposed_since: Some(100),
        found_at: 200,
        ending: Ending::Revoked,
        ended_at: Some(201),
        replacement: Some("key_second".into()),
        limits: vec!["limit_1".into()],
        sightings: vec![Sighting {
            told_at: 200,
            by: "github".into(),
            url: Some("https://x.example".into()),
            source: None,
        }],
        remarks: Vec::new(),
    }
}

fn change(step: IncidentStep, incident: Incident) -> IncidentChange {
    IncidentChange { step, incident, end: None, replacement: None, finding: None, notice: None, report: None }
}

/// A whole incident: the key's end, its replacement, the finding and the notice.
fn whole() -> IncidentChange {
    let finding = Finding {
        id: "finding_1".into(),
        kind: "key.exposed".into(),
        severity: Severity::Critical,
        first_at: 200,
        last_at: 200,
        count: 1,
        project: None,
        key: Some(KeyId::new("key_first")),
        address: None,
        details: json!({}),
        triage: None,
    };
    let notice = Notice { id: "notice_1".into(), kind: "key.exposed".into(), created_at: 200, payload: json!({}) };
    let channel = Channel::Email { recipients: vec!["a@example.com".into()], subject_prefix: None };
    IncidentChange {
        end: Some(KeyEnd::Revoke(KeyId::new("key_first"))),
        replacement: Some(key("key_second", Some("proj_a"), None)),
        finding: Some(finding),
        notice: Some((notice, vec![channel])),
        ..change(IncidentStep::Open, incident("a", "key_first"))
    }
}

/// Incidents that end keys one way and the other, and put one in a place, as acts.
pub(super) fn acts() -> Vec<Act> {
    let third = || key("key_third", Some("proj_a"), None);
    let revoking =
        IncidentChange { end: Some(KeyEnd::Revoke(KeyId::new("key_second"))), replacement: Some(third()), ..whole() };
    let suspension = Some(Suspension { at: 7, reason: "incident_b".into() });
    let suspending = IncidentChange {
        end: Some(KeyEnd::Suspend(Box::new(Key { suspension, ..third() }))),
        ..change(IncidentStep::Open, incident("b", "key_third"))
    };
    [revoking, suspending].map(|change| Act::PutIncident(Box::new(change))).into()
}

async fn commit(store: &dyn Registry, number: i64, act: Act) -> Result<(), StoreError> {
    store.commit(&recorded(act, number, "project.updated")).await
}

async fn put(store: &dyn Registry, number: i64, change: IncidentChange) -> Result<(), StoreError> {
    commit(store, number, Act::PutIncident(Box::new(change))).await
}

async fn has_key(store: &dyn Registry, id: &str) -> bool {
    store.load().await.expect("readable").expect("there").keys.iter().any(|key| key.id.as_str() == id)
}

/// Incident, end, replacement, finding and notice are written together or not at all.
pub async fn an_incident_is_one_act<S: Registry + Incidents + Findings + Outbox>(store: &S) {
    commit(store, 1, bootstrap()).await.expect("written");
    // Its replacement is there already, so nothing of it is done.
    let clash = IncidentChange { replacement: Some(key("key_admin", None, None)), ..whole() };
    assert!(matches!(put(store, 2, clash).await, Err(StoreError::Conflict(_))));
    assert!(has_key(store, "key_first").await && store.incident("incident_a").await.expect("readable").is_none());
    assert_eq!(store.former_key(&KeyId::new("key_first")).await.expect("readable"), None);
    let findings = async || {
        let filter = FindingFilter { limit: 10, ..FindingFilter::default() };
        store.findings(&filter).await.expect("readable").expect("a page").0.len()
    };
    assert_eq!((findings().await, store.due(500, 10).await.expect("readable").len()), (0, 0));
    put(store, 3, whole()).await.expect("written");
    assert!(!has_key(store, "key_first").await && has_key(store, "key_second").await);
    assert_eq!(store.incident("incident_a").await.expect("readable"), Some(incident("a", "key_first")));
    assert_eq!((findings().await, store.due(500, 10).await.expect("readable").len()), (1, 1));
    let suspended = Key {
        suspension: Some(Suspension { at: 300, reason: "incident_b".into() }),
        ..key("key_second", Some("proj_a"), None)
    };
    let end = Some(KeyEnd::Suspend(Box::new(suspended.clone())));
    let second = IncidentChange { end, ..change(IncidentStep::Open, incident("b", "key_second")) };
    put(store, 4, second.clone()).await.expect("written");
    let keys = store.load().await.expect("readable").expect("there").keys;
    assert!(keys.contains(&suspended));
    assert!(matches!(put(store, 5, second).await, Err(StoreError::Conflict(_))), "it is open already");
    let unknown = change(IncidentStep::Update, incident("none", "key_second"));
    assert!(matches!(put(store, 6, unknown).await, Err(StoreError::Conflict(_))));
}

/// Incidents are listed the newest first, filtered and paged; a closed one keeps its report.
pub async fn incidents_are_listed_and_closed<S: Registry + Incidents>(store: &S) {
    commit(store, 1, bootstrap()).await.expect("written");
    for (number, (id, key)) in (2..).zip([("a", "key_x"), ("b", "key_y"), ("c", "key_x")]) {
        put(store, number, change(IncidentStep::Open, incident(id, key))).await.expect("written");
    }
    let report = FinalReport { json: json!({"object": "report"}), markdown: "# Report".into() };
    let closed = Incident { closed_at: Some(900), reason: "else".into(), ..incident("b", "key_y") };
    assert_eq!(store.final_report("incident_b").await.expect("readable"), None);
    let closing = IncidentChange { report: Some(report.clone()), ..change(IncidentStep::Close, closed.clone()) };
    put(store, 9, closing).await.expect("written");
    assert_eq!(store.incident("incident_b").await.expect("readable"), Some(closed.clone()));
    put(store, 10, change(IncidentStep::Update, closed)).await.expect("written");
    assert_eq!(store.final_report("incident_b").await.expect("readable"), Some(report));
    let ids = async |filter: IncidentFilter| {
        let page = store.incidents(&filter).await.expect("readable");
        page.map(|(found, has_more)| {
            (found.iter().map(|one| one.id.replace("incident_", "")).collect::<Vec<_>>().join(" "), has_more)
        })
    };
    let all = || IncidentFilter { limit: 10, ..IncidentFilter::default() };
    assert_eq!(ids(all()).await, Some(("c b a".into(), false)));
    assert_eq!(ids(IncidentFilter { limit: 2, ..all() }).await, Some(("c b".into(), true)));
    assert_eq!(ids(IncidentFilter { after: Some("incident_b".into()), ..all() }).await, Some(("a".into(), false)));
    assert_eq!(ids(IncidentFilter { after: Some("incident_z".into()), ..all() }).await, None);
    assert_eq!(ids(IncidentFilter { is_open: Some(true), ..all() }).await, Some(("c a".into(), false)));
    assert_eq!(ids(IncidentFilter { is_open: Some(false), ..all() }).await, Some(("b".into(), false)));
    assert_eq!(ids(IncidentFilter { key: Some(KeyId::new("key_x")), ..all() }).await, Some(("c a".into(), false)));
}

/// A secret that is in force no more is known by its digest, however it ended, and so is the key that it belonged to.
pub async fn secrets_are_known_after_their_end<S: Registry + Incidents>(store: &S) {
    let digest = |text: &str| Pepper::new(&[3; 32]).digest(text);
    let whose = async |text: &str| {
        let found = store.former_secret(&digest(text)).await.expect("readable");
        found.map(|(id, ended_at)| {
            assert!(ended_at >= 3);
            id.to_string()
        })
    };
    commit(store, 1, bootstrap()).await.expect("written");
    commit(store, 2, Act::CreateKey(full_key("key_full"))).await.expect("written");
    assert_eq!((whose("key_full").await, whose("former key_full").await), (None, None), "both are in force");
    // A rotation: the secret in force becomes the former one, which goes.
    let mut rotated = Key { digest: digest("rotated"), ..full_key("key_full") };
    rotated.former.as_mut().expect("a former secret").digest = digest("key_full");
    commit(store, 3, Act::UpdateKey(rotated.clone())).await.expect("written");
    assert_eq!((whose("former key_full").await.as_deref(), whose("key_full").await), (Some("key_full"), None));
    assert_eq!(whose("rotated").await, None);
    commit(store, 4, Act::DeleteKey(KeyId::new("key_full"))).await.expect("written");
    for text in ["rotated", "key_full", "former key_full"] {
        assert_eq!(whose(text).await.as_deref(), Some("key_full"), "{text}");
    }
    let (gone, ended_at) = store.former_key(&KeyId::new("key_full")).await.expect("readable").expect("known");
    assert!(gone == Key { is_decoy: true, ..rotated } && ended_at >= 4, "{gone:?}");
    // A service account's keys go with it.
    let robot = key("key_robot", Some("proj_a"), Some("svc_acct_1"));
    commit(store, 5, Act::CreateServiceAccount(super::account("svc_acct_1"), Some(robot.clone())))
        .await
        .expect("written");
    commit(store, 6, Act::DeleteServiceAccount(ServiceAccountId::new("svc_acct_1"))).await.expect("written");
    assert_eq!(whose("key_robot").await.as_deref(), Some("key_robot"));
    assert_eq!(store.former_key(&robot.id).await.expect("readable").expect("known").0, robot);
    assert_eq!(whose("never made").await, None);
    assert_eq!(store.former_key(&KeyId::new("key_never")).await.expect("readable"), None);
}
