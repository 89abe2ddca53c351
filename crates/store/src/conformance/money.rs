//! Records about money, and one of each act upon them.

use std::collections::BTreeMap;

use keys::Sealed;
use pricing::Nano;
use rates::Limits;

use super::{key, project};
use crate::alerts::{SpendAlert, Webhook};
use crate::limits::{NearLimit, Period, Raise, Scope, SpendLimit};
use crate::money::{ALL_MODELS, Abandoned, MoneySettings, PriceOverride, ProjectRates};
use crate::ports::Act;
use crate::records::{Key, KeyId, Project, ProjectId};

pub(super) fn alert(id: &str, threshold: u64) -> SpendAlert {
    SpendAlert {
        id: id.into(),
        project: None,
        threshold: Nano(threshold),
        recipients: vec!["owner@example.com".into()],
        subject_prefix: Some("[team ä]".into()),
        created_at: 1_700_000_003,
    }
}

pub(super) fn webhook(id: &str) -> Webhook {
    Webhook {
        id: id.into(),
        name: "pager".into(),
        url: "https://pager.example/hook".into(),
        secret: Sealed { master_key_id: "mk_1".into(), bytes: vec![0, 255, 1] },
        created_at: 1_700_000_004,
    }
}

fn limit(id: &str, scope: Scope, near_limit: NearLimit) -> SpendLimit {
    SpendLimit {
        id: id.into(),
        scope,
        period: Period::Month,
        amount: Nano::from_cents(150_000),
        calls_max: None,
        is_shadow: false,
        near_limit,
        raise: None,
        created_at: 1_700_000_005,
    }
}

fn limits(requests: u64) -> Limits {
    Limits { requests_per_minute: Some(requests), concurrency: Some(7), ..Limits::NONE }
}

fn prices(toml: &str) -> PriceOverride {
    PriceOverride { model: "our-model".into(), toml: toml.into() }
}

/// One of each act about money, in an order that can be carried out after `proj_a` and `key_admin` were made.
pub(super) fn acts() -> Vec<Act> {
    let proj_a = ProjectId::new("proj_a");
    let money = MoneySettings {
        output_tokens_default: Some(4_096),
        abandoned: Abandoned::Cancel,
        allowances: BTreeMap::from([("/v1/videos".into(), Nano(5_000_000_001))]),
    };
    let rates = ProjectRates {
        by_model: BTreeMap::from([(ALL_MODELS.to_owned(), limits(500)), ("gpt-5.4".into(), limits(50))]),
        end_user: limits(5),
    };
    let user =
        limit("limit_user", Scope::EndUser(proj_a.clone(), String::new()), NearLimit::Clamp { output_tokens_min: 16 });
    let changed = SpendLimit {
        period: Period::Day,
        amount: Nano(3),
        calls_max: Some(9),
        is_shadow: true,
        raise: Some(Raise { amount: Nano(9), until: 1_800_000_000 }),
        near_limit: NearLimit::Alias { model: "gpt-5.4-nano".into() },
        ..user.clone()
    };
    let all = limit("limit_all", Scope::Organization, NearLimit::Grow { margin_tokens: 200 });
    let project_alert = SpendAlert { project: Some(proj_a.clone()), ..alert("alert_a", 10) };
    vec![
        Act::UpdateProject(Project { is_default: true, money, rates, ..project("proj_a") }),
        Act::CreateKey(Key { rates: limits(3), ..key("key_paced", Some("proj_a"), None) }),
        Act::UpdateKey(Key {
            rates: limits(4),
            name: "other".into(),
            expires_at: None,
            ..key("key_paced", Some("proj_a"), None)
        }),
        Act::PutLimit(all.clone()),
        Act::PutLimit(user),
        Act::PutLimit(changed),
        Act::PutLimit(limit("limit_key", Scope::Key(KeyId::new("key_paced")), NearLimit::Reject)),
        Act::DeleteLimit(all),
        Act::PutAlert(project_alert.clone()),
        Act::PutAlert(alert("alert_b", 20)),
        Act::PutAlert(SpendAlert {
            threshold: Nano(11),
            recipients: Vec::new(),
            subject_prefix: None,
            ..project_alert.clone()
        }),
        Act::DeleteAlert(alert("alert_b", 20)),
        Act::CreateWebhook(webhook("webhook_1")),
        Act::CreateWebhook(webhook("webhook_2")),
        Act::DeleteWebhook("webhook_1".into()),
        Act::PutPrices(prices("a = 1")),
        Act::PutPrices(prices("a = 2")),
        Act::PutPrices(PriceOverride { model: "other".into(), ..prices("b = 1") }),
        Act::DeletePrices("our-model".into()),
    ]
}

/// Acts about money that meet another state than they were made for.
pub(super) fn impossible_acts() -> Vec<Act> {
    vec![
        Act::UpdateKey(key("key_none", Some("proj_a"), None)),
        Act::DeleteLimit(limit("limit_none", Scope::Organization, NearLimit::Reject)),
        Act::DeleteAlert(alert("alert_none", 1)),
        Act::PutAlert(SpendAlert { project: Some(ProjectId::new("proj_none")), ..alert("alert_lost", 1) }),
        Act::DeleteWebhook("webhook_none".into()),
        Act::DeletePrices("model-none".into()),
        Act::LowerEstimate { id: "req_none".into(), to: Nano::ZERO },
        Act::LowerEstimate { id: "estimate_none".into(), to: Nano::ZERO },
    ]
}
