//! Upstreams, and one of each act upon them; what the master key seals.

use keys::{Enclosed, Sealed};

use super::money::webhook;
use super::{bootstrap, event, recorded};
use crate::ports::{Act, Registry, Seals, StoreError};
use crate::records::ProjectId;
use crate::upstreams::{
    Administration, Material, Rotation, RotationState, RotationStep, Upstream, UpstreamAct, UpstreamKey,
    UpstreamKeyState, UpstreamPolicy,
};

fn sealed(version: u32) -> Material {
    let sealed = Enclosed { data_key_id: "dk_1".into(), version, bytes: vec![0, 255, 7] };
    Material::Sealed { sealed, redacted: "sk-…abcd".into() }
}

fn upstream(id: &str) -> Upstream {
    Upstream {
        id: id.into(),
        name: format!("Upstream {id} ä"),
        url: "https://eu.api.openai.com/v1".into(),
        organization: Some("org-real".into()),
        project: None,
        is_enabled: true,
        administration: None,
        rotate_every_days: None,
        created_at: 1_700_000_006,
    }
}

fn key(id: &str, upstream: &str) -> UpstreamKey {
    UpstreamKey {
        id: id.into(),
        upstream: upstream.into(),
        name: "first".into(),
        material: sealed(1),
        state: UpstreamKeyState::Enabled,
        service_account: None,
        upstream_key_id: Some("key_real".into()),
        created_at: 1_700_000_007,
    }
}

fn rotation(state: RotationState) -> Rotation {
    Rotation {
        id: "rotation_1".into(),
        upstream: "upstream_a".into(),
        state,
        old_key: "upkey_1".into(),
        new_key: (state != RotationState::Creating).then(|| "upkey_3".into()),
        account_name: "sallyport-rotation_1".into(),
        started_at: 1_700_000_008,
        changed_at: 1_700_000_009,
        message: state.is_over().then(|| "all is well".into()),
    }
}

/// One of each act about upstreams, in an order that can be carried out after `proj_a` was made.
pub(super) fn acts() -> Vec<Act> {
    let administration = Administration { project: "proj_real".into(), key: sealed(4) };
    let managed = Upstream {
        is_enabled: false,
        administration: Some(administration.clone()),
        rotate_every_days: Some(30),
        ..upstream("upstream_a")
    };
    let by_source = Administration { key: Material::Source("admin".into()), ..administration };
    let first = key("upkey_1", "upstream_a");
    let policy = UpstreamPolicy {
        project: ProjectId::new("proj_a"),
        is_weighted: true,
        members: vec![("upstream_a".into(), 3), (Upstream::DEFAULT.into(), 1)],
    };
    let draining = UpstreamKey { state: UpstreamKeyState::Draining, ..first.clone() };
    let third = UpstreamKey { state: UpstreamKeyState::Pending, ..key("upkey_3", "upstream_a") };
    let again = Rotation { id: "rotation_2".into(), ..rotation(RotationState::Creating) };
    let acts: Vec<UpstreamAct> = vec![
        UpstreamAct::Create(upstream("upstream_a")),
        UpstreamAct::Create(upstream("upstream_b")),
        UpstreamAct::Update(managed.clone()),
        UpstreamAct::Update(Upstream { administration: Some(by_source), ..managed }),
        UpstreamAct::CreateKey(first.clone()),
        UpstreamAct::CreateKey(UpstreamKey {
            material: Material::Source("env".into()),
            ..key("upkey_2", "upstream_b")
        }),
        UpstreamAct::CreateKey(key("upkey_4", "upstream_a")),
        UpstreamAct::UpdateKey(UpstreamKey {
            state: UpstreamKeyState::Disabled,
            name: "other".into(),
            material: sealed(2),
            service_account: Some("svc_acct_real".into()),
            ..first
        }),
        UpstreamAct::DeleteKey("upkey_4".into()),
        UpstreamAct::PutPolicy(policy.clone()),
        UpstreamAct::PutPolicy(UpstreamPolicy {
            is_weighted: false,
            members: vec![policy.members[1].clone()],
            ..policy
        }),
        RotationStep::only(rotation(RotationState::Creating)).into(),
        RotationStep { created: Some(third.clone()), ..RotationStep::only(rotation(RotationState::Verifying)) }.into(),
        RotationStep {
            updated: vec![draining, UpstreamKey { state: UpstreamKeyState::Enabled, ..third }],
            ..RotationStep::only(rotation(RotationState::Expiring))
        }
        .into(),
        RotationStep { deleted: Some("upkey_1".into()), ..RotationStep::only(rotation(RotationState::Completed)) }
            .into(),
        RotationStep { forgotten: Some("rotation_1".into()), ..RotationStep::only(again) }.into(),
        UpstreamAct::Delete("upstream_b".into()),
        UpstreamAct::DeletePolicy(ProjectId::new("proj_a")),
    ];
    acts.into_iter().map(Act::Upstream).collect()
}

/// Acts about upstreams that meet another state than they were made for.
pub(super) fn impossible_acts() -> Vec<Act> {
    let policy = UpstreamPolicy { project: ProjectId::new("proj_none"), is_weighted: false, members: Vec::new() };
    let acts: Vec<UpstreamAct> = vec![
        UpstreamAct::Update(upstream("upstream_none")),
        UpstreamAct::Delete("upstream_none".into()),
        UpstreamAct::CreateKey(key("upkey_lost", "upstream_none")),
        UpstreamAct::UpdateKey(key("upkey_none", "upstream_none")),
        UpstreamAct::DeleteKey("upkey_none".into()),
        UpstreamAct::PutPolicy(policy.clone()),
        UpstreamAct::DeletePolicy(policy.project),
        RotationStep::only(rotation(RotationState::Creating)).into(),
    ];
    acts.into_iter().map(Act::Upstream).collect()
}

/// All that is under the master key is rewrapped together or not at all; what came since stops it.
pub async fn what_is_under_the_master_key_is_rewrapped_as_one<S: Registry + Seals>(store: &S) {
    let under = |key: &str, byte: u8| Sealed { master_key_id: key.into(), bytes: vec![byte, 255] };
    store.commit(&recorded(bootstrap(), 1, "project.created")).await.expect("committed");
    store.keep("pepper", &under("mk_1", 1)).await.expect("kept");
    let hook = webhook("webhook_1");
    let name = crate::alerts::Webhook::seal_name(&hook.id);
    let hook_before = hook.secret.clone();
    store.commit(&recorded(Act::CreateWebhook(hook), 2, "project.created")).await.expect("committed");
    let before = store.under_master_key().await.expect("readable");
    let mut expected = vec![("pepper".to_owned(), under("mk_1", 1)), (name.clone(), hook_before)];
    expected.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(before, expected);
    let rewrapped: Vec<_> =
        before.iter().zip(7..).map(|((name, _), byte)| (name.clone(), under("mk_2", byte))).collect();
    let another = vec![rewrapped[0].clone(), ("nobody".to_owned(), under("mk_2", 1))];
    for bad in [&rewrapped[..1], &another] {
        let result = store.rewrap(bad, &event(3, "sallyport.vault.rewrapped")).await;
        assert!(matches!(result, Err(StoreError::Conflict(_))), "{result:?}");
        assert_eq!(store.under_master_key().await.expect("readable"), before, "nothing was changed");
    }
    store.rewrap(&rewrapped, &event(3, "sallyport.vault.rewrapped")).await.expect("rewrapped");
    assert_eq!(store.under_master_key().await.expect("readable"), rewrapped);
    assert_eq!(store.sealed("pepper").await.expect("readable").expect("there").master_key_id, "mk_2");
}
