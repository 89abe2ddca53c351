//! What the ports mean, as a suite that every backend runs on an empty store of its own.
//!
//! Each function panics with words when the backend breaks the promise in its name.

mod findings;
mod incidents;
mod money;
mod outbox;
mod reports;
mod upstreams;

pub use findings::{
    a_finding_is_triaged_with_its_project, findings_are_counted_and_paged, uses_are_added_and_never_go_back,
};
pub use incidents::{an_incident_is_one_act, incidents_are_listed_and_closed, secrets_are_known_after_their_end};
pub use outbox::{
    a_delivery_ends_delivered_or_dead, a_late_alert_fires_with_its_act, a_notice_goes_once_to_each_channel,
    alerts_fire_once_a_month,
};
pub use reports::{
    Rows, an_estimated_row_is_lowered_once, costs_of_rows, reports_agree, reports_are_the_sums_of_the_rows,
    rows_read_back, usage_of_rows,
};
pub use upstreams::what_is_under_the_master_key_is_rewrapped_as_one;

use std::collections::BTreeMap;

use keys::{Kind, Pepper, Sealed};
use rates::Limits;
use serde_json::json;
use wire::channel::Channel;

use crate::guards::{
    AllowedText, ChannelGuard, GuardMode, GuardSettings, OnFailure, OnUnread, Spotlight, TextHash, Threshold,
};
use crate::key_life::{BrowserUse, FormerSecret, KeyBounds, KeyPolicy, RotationPlan, Suspension, Undelivered};
use crate::limits::SpendLimit;
use crate::money::{MoneySettings, ProjectRates};
use crate::ports::{Act, AuditCursor, AuditFilter, AuditPage, Owners, RecordedAct, Registry, Seals, StoreError};
use crate::records::{
    Actor, AuditEvent, Key, KeyId, ObjectOwner, Organization, OrganizationId, Project, ProjectId, ServiceAccount,
    ServiceAccountId,
};

fn project(id: &str) -> Project {
    Project {
        id: ProjectId::new(id),
        name: format!("Project {id} äöü"),
        created_at: 1_700_000_000,
        archived_at: None,
        is_default: false,
        synonyms: vec!["proj_real".into(), "org-real".into()],
        external_key_id: None,
        residency: Some("EU_STORAGE_PROCESSING".into()),
        money: MoneySettings::default(),
        rates: ProjectRates::default(),
        key_policy: KeyPolicy { lifetime_seconds_max: Some(86_400), stale_after_days: Some(30) },
        guards: GuardSettings {
            user: ChannelGuard { mode: GuardMode::Block, threshold: Threshold::Score(998_700) },
            spotlight: Spotlight::Datamark,
            parallel: true,
            on_failure: OnFailure::Open,
            on_unread: OnUnread::Closed,
            allow: [None, Some(Channel::User)].map(|channel| AllowedText { channel, hash: TextHash([7; 32]) }).into(),
            ..GuardSettings::default()
        },
    }
}

fn key(id: &str, project: Option<&str>, account: Option<&str>) -> Key {
    Key {
        id: KeyId::new(id),
        kind: if project.is_none() { Kind::Admin } else { Kind::Project },
        project: project.map(ProjectId::new),
        service_account: account.map(ServiceAccountId::new),
        name: format!("Key {id}"),
        digest: Pepper::new(&[3; 32]).digest(id),
        redacted: "sp-proj_****abcd".into(),
        created_at: 1_700_000_001,
        secret_created_at: 1_700_000_002,
        created_by: Some(KeyId::new("key_maker")),
        expires_at: Some(1_800_000_000),
        former: None,
        rates: Limits::NONE,
        bounds: KeyBounds::default(),
        browser_use: BrowserUse::Refuse,
        suspension: None,
        rotation: None,
        undelivered: None,
        is_decoy: false,
    }
}

fn account(id: &str) -> ServiceAccount {
    ServiceAccount {
        id: ServiceAccountId::new(id),
        project: ProjectId::new("proj_a"),
        name: "robot".into(),
        role: "member".into(),
        created_at: 1_700_000_002,
    }
}

fn event(number: i64, kind: &'static str) -> AuditEvent {
    let key = Actor::Key { id: KeyId::new("key_admin"), address: "10.0.0.1".into(), user_agent: Some("sdk".into()) };
    AuditEvent {
        id: format!("audit_log-{number}"),
        kind,
        effective_at: 1_700_000_000 + number,
        actor: if number % 2 == 0 { key } else { Actor::Local },
        project: Some(ProjectId::new("proj_a")),
        payload: json!({"id": format!("object-{number}")}),
    }
}

fn organization(key_policy: KeyPolicy) -> Organization {
    Organization { id: OrganizationId::new("org-a"), name: "A".into(), created_at: 1_700_000_000, key_policy }
}

/// A key with everything that a key can have.
fn full_key(id: &str) -> Key {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let former_digest = Pepper::new(&[3; 32]).digest(&format!("former {id}"));
    Key {
        former: Some(FormerSecret {
            digest: former_digest,
            redacted: "sp-proj_****wxyz".into(),
            expires_at: 1_700_000_900,
        }),
        bounds: KeyBounds {
            scopes: words(&["model.request"]),
            models: words(&["gpt-4o*"]),
            endpoints: words(&["/v1/chat/completions"]),
            addresses: vec!["10.0.0.0/8".parse().expect("a network"), "2001:db8::1/128".parse().expect("a network")],
            client_secret_origins: words(&["https://app.example"]),
        },
        browser_use: BrowserUse::Suspend,
        suspension: Some(Suspension { at: 1_700_000_500, reason: "on a slide".into() }),
        rotation: Some(RotationPlan {
            every_seconds: 86_400,
            overlap_seconds: 3_600,
            next_at: 1_700_086_400,
            deliver_to: "billing".into(),
            last_error: Some("the disk was full".into()),
        }),
        undelivered: Some(Undelivered { former_expires_at: Some(1_700_000_800), former_created_at: 1_700_000_100 }),
        is_decoy: true,
        ..key(id, Some("proj_a"), None)
    }
}

fn bootstrap() -> Act {
    Act::Bootstrap {
        organization: organization(KeyPolicy::default()),
        project: Project { is_default: true, ..project("proj_a") },
        keys: vec![key("key_admin", None, None), key("key_first", Some("proj_a"), None)],
    }
}

/// One of each act, in an order that can be carried out.
fn acts() -> Vec<Act> {
    let mut acts = vec![
        bootstrap(),
        Act::CreateProject(project("proj_b")),
        Act::UpdateProject(Project {
            name: "renamed".into(),
            archived_at: Some(5),
            synonyms: Vec::new(),
            ..project("proj_b")
        }),
        Act::CreateServiceAccount(account("svc_acct_1"), Some(key("key_robot", Some("proj_a"), Some("svc_acct_1")))),
        Act::CreateServiceAccount(account("svc_acct_2"), None),
        Act::UpdateServiceAccount(ServiceAccount { name: "android".into(), ..account("svc_acct_2") }),
        Act::CreateKey(key("key_second", Some("proj_a"), None)),
        Act::DeleteKey(KeyId::new("key_first")),
        Act::CreateKey(full_key("key_full")),
        Act::UpdateKey(Key { is_decoy: true, ..key("key_full", Some("proj_a"), None) }),
        Act::UpdateKey(full_key("key_full")),
        Act::UpdateKey(Key {
            digest: Pepper::new(&[3; 32]).digest("rotated"),
            redacted: "sp-proj_****efgh".into(),
            ..full_key("key_full")
        }),
        Act::UpdateOrganization(organization(KeyPolicy { lifetime_seconds_max: Some(1), stale_after_days: None })),
        Act::DeleteServiceAccount(ServiceAccountId::new("svc_acct_1")),
    ];
    acts.extend(incidents::acts());
    acts.extend(money::acts());
    acts.extend(upstreams::acts());
    acts
}

/// Limits as acts leave them: they are the ledger's, and not in the directory.
fn apply_to_limits(limits: &mut BTreeMap<String, SpendLimit>, act: &Act) {
    match act {
        Act::PutLimit(limit) => drop(limits.insert(limit.id.clone(), limit.clone())),
        Act::DeleteLimit(limit) => drop(limits.remove(&limit.id)),
        _ => {}
    }
}

/// An act with one event numbered `number`, and the events that it must come with beside it.
fn recorded(act: Act, number: i64, kind: &'static str) -> RecordedAct {
    let required = act.events().into_iter().zip(1..).map(|((kind, id), part)| AuditEvent {
        id: format!("audit_log-{number}.{part}"),
        payload: json!({"id": id}),
        ..event(1_000 + number, kind)
    });
    let events = required.chain([event(number, kind)]).collect();
    RecordedAct::new(act, events).expect("its events are there")
}

async fn all_events(store: &dyn Registry) -> AuditPage {
    let filter = AuditFilter { limit: 1_000, ..AuditFilter::default() };
    store.audit_events(&filter).await.expect("readable").expect("no cursor")
}

/// What was committed is loaded again, field by field, and the directory agrees with a fresh load after every act.
pub async fn acts_are_stored_and_the_directory_agrees(store: &dyn Registry) {
    assert!(store.load().await.expect("readable").is_none(), "an empty store has no records");
    let (mut directory, mut written, mut limits) = (None, 0, BTreeMap::new());
    for (number, act) in (0..).zip(acts()) {
        let recorded = recorded(act.clone(), number, "project.updated");
        store.commit(&recorded).await.unwrap_or_else(|error| panic!("{act:?}: {error}"));
        written += recorded.events().len();
        let mut loaded = store.load().await.expect("readable").expect("there");
        let directory = directory.get_or_insert_with(|| crate::Directory::new(loaded.clone()));
        if number > 0 {
            directory.apply(&act);
        }
        apply_to_limits(&mut limits, &act);
        let snapshot = directory.snapshot();
        let mut held = crate::Records {
            organization: snapshot.organization.clone(),
            projects: snapshot.projects().map(|project| Project::clone(project)).collect(),
            service_accounts: snapshot.service_accounts().map(|account| ServiceAccount::clone(account)).collect(),
            keys: snapshot.keys().map(|entry| entry.key.clone()).collect(),
            limits: limits.values().cloned().collect(),
            alerts: snapshot.alerts.values().cloned().collect(),
            webhooks: snapshot.webhooks.values().cloned().collect(),
            prices: snapshot.prices.values().cloned().collect(),
            upstreams: (*snapshot.upstreams).clone(),
        };
        for records in [&mut loaded, &mut held] {
            records.projects.sort_by(|one, two| one.id.cmp(&two.id));
            records.service_accounts.sort_by(|one, two| one.id.cmp(&two.id));
            records.keys.sort_by(|one, two| one.id.cmp(&two.id));
            records.limits.sort_by(|one, two| one.id.cmp(&two.id));
            records.alerts.sort_by(|one, two| one.id.cmp(&two.id));
            records.webhooks.sort_by(|one, two| one.id.cmp(&two.id));
            records.prices.sort_by(|one, two| one.model.cmp(&two.model));
        }
        assert_eq!(loaded, held, "after {act:?}");
    }
    assert_eq!(all_events(store).await.events.len(), written, "every event of every act");
}

/// An act whose event cannot be written is not done, and the other way round.
pub async fn an_act_and_its_event_are_one(store: &dyn Registry) {
    store.commit(&recorded(bootstrap(), 1, "project.created")).await.expect("committed");
    let (before, written) = (store.load().await.expect("readable"), all_events(store).await);
    // The last event's id is taken: the act must not be there either.
    let mut events = recorded(Act::CreateProject(project("proj_c")), 2, "project.created").events().to_vec();
    events.push(event(1, "project.created"));
    let twice = RecordedAct::new(Act::CreateProject(project("proj_c")), events).expect("recorded");
    // The act cannot be done: its event must not be there either.
    let taken = recorded(Act::CreateProject(project("proj_a")), 3, "project.created");
    // Its project or service account is not there, or it is not there itself.
    let orphan = recorded(Act::CreateKey(key("key_orphan", Some("proj_none"), None)), 4, "project.created");
    let lost = recorded(Act::CreateKey(key("key_lost", Some("proj_a"), Some("svc_acct_none"))), 5, "project.created");
    let gone = recorded(Act::DeleteKey(KeyId::new("key_none")), 6, "project.created");
    let others = money::impossible_acts().into_iter().chain(upstreams::impossible_acts());
    let money = (7..).zip(others).map(|(number, act)| recorded(act, number, "project.created"));
    for refused in [twice, taken, orphan, lost, gone].into_iter().chain(money) {
        let result = store.commit(&refused).await;
        assert!(matches!(result, Err(StoreError::Conflict(_))), "{:?}: {result:?}", refused.act());
        assert_eq!(store.load().await.expect("readable"), before);
        assert_eq!(all_events(store).await, written);
    }
}

/// Audit events come newest first, filtered and paged.
pub async fn audit_events_are_filtered_and_paged(store: &dyn Registry) {
    store.commit(&recorded(bootstrap(), 0, "project.created")).await.expect("committed");
    for number in 1..10 {
        let kind = if number % 3 == 0 { "api_key.created" } else { "project.updated" };
        let act = Act::UpdateProject(Project { name: number.to_string(), ..project("proj_a") });
        store.commit(&recorded(act, number, kind)).await.expect("committed");
    }
    // Those events alone that the suite numbered itself.
    let none = || AuditFilter { until: Some(1_700_000_100), limit: 100, ..AuditFilter::default() };
    let page = async |filter: AuditFilter| -> Option<(String, bool)> {
        let page = store.audit_events(&filter).await.expect("readable")?;
        let id = |event: &serde_json::Value| event["id"].as_str().unwrap_or_default().replace("audit_log-", "");
        Some((page.events.iter().map(id).collect::<Vec<_>>().join(" "), page.has_more))
    };
    let ids = async |filter| page(filter).await.expect("a page").0;
    let after = |id: &str| Some(AuditCursor::After(format!("audit_log-{id}")));
    let before = |id: &str| Some(AuditCursor::Before(format!("audit_log-{id}")));
    let some = |ids: &str, has_more| Some((ids.to_owned(), has_more));
    assert_eq!(page(none()).await, some("9 8 7 6 5 4 3 2 1 0", false));
    assert_eq!(page(AuditFilter { limit: 10, ..none() }).await, some("9 8 7 6 5 4 3 2 1 0", false));
    assert_eq!(page(AuditFilter { limit: 2, cursor: after("8"), ..none() }).await, some("7 6", true));
    assert_eq!(page(AuditFilter { limit: 2, cursor: after("2"), ..none() }).await, some("1 0", false));
    // The page before an event is the one next to it, not the newest.
    assert_eq!(page(AuditFilter { limit: 2, cursor: before("4"), ..none() }).await, some("6 5", true));
    assert_eq!(page(AuditFilter { limit: 2, cursor: before("7"), ..none() }).await, some("9 8", false));
    assert_eq!(page(AuditFilter { cursor: after("nobody"), ..none() }).await, None);
    assert_eq!(ids(AuditFilter { kinds: vec!["api_key.created".into()], ..none() }).await, "9 6 3");
    assert_eq!(ids(AuditFilter { from: Some(1_700_000_003), until: Some(1_700_000_005), ..none() }).await, "4 3");
    assert_eq!(ids(AuditFilter { actors: vec!["key_admin".into()], ..none() }).await, "8 6 4 2 0");
    assert_eq!(ids(AuditFilter { resources: vec!["object-7".into(), "object-3".into()], ..none() }).await, "7 3");
    assert_eq!(ids(AuditFilter { projects: vec!["proj_b".into()], ..none() }).await, "");
    let newest = &all_events(store).await.events[0];
    assert_eq!(newest["type"], "api_key.created");
    assert_eq!(newest["api_key.created"]["id"], "object-9");
    assert_eq!(newest["project"], json!({"id": "proj_a", "name": "9"}));
}

/// Who was first owns an object; unknown ids have no owner.
pub async fn the_first_owner_stays(store: &dyn Owners) {
    let owner = |id: &str, project: &str| ObjectOwner {
        sent: Some(format!("sent by {id}")).filter(|_| id.ends_with('1')),
        object_id: id.into(),
        project: ProjectId::new(project),
        family: "files".into(),
    };
    assert_eq!(store.record(&[owner("file-1", "proj_a"), owner("file-2", "proj_a")]).await.expect("written"), 0);
    assert_eq!(store.record(&[owner("file-1", "proj_b"), owner("file-3", "proj_b")]).await.expect("written"), 1);
    assert_eq!(store.record(&[owner("file-1", "proj_a")]).await.expect("written"), 0, "its owner again is no conflict");
    let owners = ["file-1", "file-2", "file-3", "file-4"].map(|id| store.owner_of(id));
    let mut found = Vec::new();
    for owner in owners {
        found.push(owner.await.expect("readable").map(|id| id.to_string()));
    }
    assert_eq!(found, [Some("proj_a".into()), Some("proj_a".into()), Some("proj_b".into()), None]);
    assert_eq!(store.sent("file-1").await.expect("readable").as_deref(), Some("sent by file-1"));
    assert_eq!(store.sent("file-2").await.expect("readable"), None);
    assert_eq!(store.sent("file-4").await.expect("readable"), None);
}

/// A sealed value is kept once and read back as it was.
pub async fn sealed_values_are_kept_once(store: &dyn Seals) {
    let sealed = Sealed { master_key_id: "mk_1".into(), bytes: vec![0, 1, 2, 255] };
    assert!(store.sealed("pepper").await.expect("readable").is_none());
    store.keep("pepper", &sealed).await.expect("written");
    assert_eq!(store.sealed("pepper").await.expect("readable"), Some(sealed.clone()));
    assert!(matches!(store.keep("pepper", &sealed).await, Err(StoreError::Conflict(_))));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_act_without_its_event_is_refused() {
        for act in acts() {
            let events = recorded(act.clone(), 1, "project.updated").events().to_vec();
            for missing in 0..act.events().len() {
                let mut events = events.clone();
                events.remove(missing);
                let result = RecordedAct::new(act.clone(), events);
                assert!(matches!(result, Err(StoreError::Unrecorded { .. })), "{result:?}");
            }
        }
    }
}
