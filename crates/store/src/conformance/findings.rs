//! What findings and uses of keys mean.

use serde_json::json;

use super::{bootstrap, project, recorded};
use crate::findings::{Finding, FindingFilter, FindingTriage, Findings, KeyUse, KeyUses, LastUse, Severity, Triage};
use crate::ports::{Act, Registry, StoreError};
use crate::records::{KeyId, ProjectId};

const HOUR: i64 = 3_600;

fn finding(id: &str, kind: &str, at: i64) -> Finding {
    Finding {
        id: format!("finding_{id}"),
        kind: kind.into(),
        severity: Severity::High,
        first_at: at,
        last_at: at,
        count: 2,
        project: Some(ProjectId::new("proj_a")),
        key: Some(KeyId::new(format!("key_{id}"))),
        address: Some("10.0.0.1".into()),
        details: json!({"origin": "https://app.example"}),
        triage: None,
    }
}

/// The same finding is one with a count; lists come the last noticed first, filtered and paged.
pub async fn findings_are_counted_and_paged(store: &dyn Findings) {
    for (id, at) in [("a", 100), ("b", 200), ("c", 300)] {
        assert!(store.note(&finding(id, "key.browser_use", at)).await.expect("written"));
    }
    assert!(store.note(&finding("d", "key.decoy_used", 250)).await.expect("written"));
    let details = json!({"origin": "https://other.example"});
    let address = Some("10.0.0.2".into());
    let again = Finding { first_at: 90, details, address, ..finding("a", "key.browser_use", 400) };
    assert!(!store.note(&again).await.expect("written"), "it is known");
    let late = finding("a", "key.browser_use", 50);
    store.note(&late).await.expect("written");
    let list = async |filter: FindingFilter| store.findings(&filter).await.expect("readable");
    let ids = async |filter: FindingFilter| {
        let (found, has_more) = list(filter).await.expect("a page");
        (found.iter().map(|finding| finding.id.replace("finding_", "")).collect::<Vec<_>>().join(" "), has_more)
    };
    let all = || FindingFilter { limit: 10, ..FindingFilter::default() };
    assert_eq!(ids(all()).await, ("a c d b".into(), false));
    let (found, _) = list(all()).await.expect("a page");
    let counted = Finding { count: 6, first_at: 50, ..again };
    assert_eq!(found[0], counted);
    assert_eq!(store.finding(&counted.id).await.expect("readable"), Some(counted));
    assert_eq!(store.finding("finding_none").await.expect("readable"), None);
    assert_eq!(ids(FindingFilter { limit: 2, ..all() }).await, ("a c".into(), true));
    assert_eq!(ids(FindingFilter { after: Some("finding_c".into()), ..all() }).await, ("d b".into(), false));
    assert_eq!(list(FindingFilter { after: Some("finding_none".into()), ..all() }).await, None);
    assert_eq!(ids(FindingFilter { kind: Some("key.decoy_used".into()), ..all() }).await, ("d".into(), false));
    assert_eq!(ids(FindingFilter { key: Some(KeyId::new("key_b")), ..all() }).await, ("b".into(), false));
    assert_eq!(ids(FindingFilter { project: Some(ProjectId::new("proj_b")), ..all() }).await, (String::new(), false));
    assert_eq!(ids(FindingFilter { since: Some(300), ..all() }).await, ("a c".into(), false));
    assert_eq!(store.forget_findings(300).await.expect("written"), 2);
    assert_eq!(ids(all()).await, ("a c".into(), false));
}

/// What is said about a finding is an act, stays when the finding is noticed again, and changes its project with it.
pub async fn a_finding_is_triaged_with_its_project<S: Registry + Findings>(store: &S) {
    store.commit(&recorded(bootstrap(), 1, "project.created")).await.expect("committed");
    let noticed = finding("a", "injection.indirect", 100);
    store.note(&noticed).await.expect("written");
    let triage = Triage { is_right: false, reason: Some("a manual".into()), at: 200, by: "key_admin".into() };
    let said = |id: &str, name: &str| {
        let project = Some(crate::Project { name: name.into(), ..project("proj_a") });
        Act::TriageFinding(Box::new(FindingTriage { finding: id.into(), triage: triage.clone(), project }))
    };
    store.commit(&recorded(said(&noticed.id, "changed"), 2, "x")).await.expect("committed");
    store.note(&noticed).await.expect("written");
    let found = store.finding(&noticed.id).await.expect("readable").expect("there");
    assert_eq!((found.triage.as_ref(), found.count), (Some(&triage), 4));
    let name = async || store.load().await.expect("readable").expect("there").projects[0].name.clone();
    assert_eq!(name().await, "changed");
    let refused = store.commit(&recorded(said("finding_none", "never"), 3, "x")).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    assert_eq!(name().await, "changed");
}

/// Uses add up by key, hour and address; the last use of a key is the latest of all, whatever came last.
pub async fn uses_are_added_and_never_go_back(store: &dyn KeyUses) {
    let key = KeyId::new("key_a");
    let used = |hour: i64, address: &str, at: i64, agent: Option<&str>| KeyUse {
        key: key.clone(),
        hour: hour * HOUR,
        address: address.into(),
        calls: 3,
        refused: 1,
        first_at: at,
        last_at: at + 5,
        user_agent: agent.map(str::to_owned),
        model: agent.map(|_| "gpt-4o".to_owned()),
    };
    let first = used(1, "10.0.0.1", HOUR, Some("sdk"));
    store.add_uses(&[first.clone(), used(1, "10.0.0.2", HOUR + 9, None)]).await.expect("written");
    store.add_uses(&[used(2, "10.0.0.1", 2 * HOUR, Some("curl"))]).await.expect("written");
    // Late, of an hour that is there, without words of its own.
    store.add_uses(&[used(1, "10.0.0.1", HOUR + 1, None)]).await.expect("written");
    let other = KeyUse { key: KeyId::new("key_b"), ..used(2, "10.0.0.9", 2 * HOUR, None) };
    store.add_uses(std::slice::from_ref(&other)).await.expect("written");
    let uses = store.uses_of(&key, 0).await.expect("readable");
    assert_eq!(uses.len(), 3);
    assert_eq!(uses[0], KeyUse { calls: 6, refused: 2, last_at: HOUR + 6, ..first });
    assert_eq!(uses[1].address, "10.0.0.2");
    assert_eq!(uses[2].user_agent.as_deref(), Some("curl"));
    assert_eq!(store.uses_of(&key, 2 * HOUR).await.expect("readable").len(), 1);
    let mut last = store.last_uses().await.expect("readable");
    last.sort_by(|(one, _), (two, _)| one.cmp(two));
    let curl = LastUse {
        at: 2 * HOUR + 5,
        address: "10.0.0.1".into(),
        user_agent: Some("curl".into()),
        model: Some("gpt-4o".into()),
    };
    let of_other = LastUse { at: 2 * HOUR + 5, address: "10.0.0.9".into(), user_agent: None, model: None };
    assert_eq!(last, [(key.clone(), curl), (other.key, of_other)]);
    // A key that is used from everywhere has so many rows an hour, and one for all the rest.
    let many = KeyId::new("key_many");
    let from = |number: u32| KeyUse {
        key: many.clone(),
        ..used(0, &format!("10.1.{}.{}", number / 256, number % 256), 9, None)
    };
    let all: Vec<KeyUse> = (0..KeyUse::ADDRESSES_MAX + 10).map(from).collect();
    store.add_uses(&all).await.expect("written");
    store.add_uses(&[from(3)]).await.expect("written");
    let rows = store.uses_of(&many, 0).await.expect("readable");
    assert_eq!(rows.len(), KeyUse::ADDRESSES_MAX as usize + 1);
    let of = |address: &str| rows.iter().find(|row| row.address == address).map(|row| row.calls);
    assert_eq!((of(KeyUse::ELSEWHERE), of("10.1.0.3")), (Some(30), Some(6)));
    store.forget_uses(1).await.expect("written");
    assert_eq!(store.forget_uses(2 * HOUR).await.expect("written"), 2);
    assert_eq!(store.uses_of(&key, 0).await.expect("readable").len(), 1);
    assert_eq!(store.last_uses().await.expect("readable").len(), 3, "a last use is not forgotten with its hour");
}
