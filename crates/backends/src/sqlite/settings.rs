//! What is stored as JSON: settings that are read whole and never searched.

use std::collections::BTreeMap;

use pricing::Nano;
use rates::Limits;
use serde::{Deserialize, Serialize};
use store::{Abandoned, MoneySettings, NearLimit, ProjectRates, StoreError};

use super::registry::parse;

#[derive(Serialize, Deserialize)]
#[serde(remote = "Limits")]
struct LimitsShape {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    requests_per_minute: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tokens_per_minute: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    requests_per_day: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    images_per_minute: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audio_megabytes_per_minute: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch_tokens_per_day: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    concurrency: Option<u32>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(transparent)]
struct StoredLimits(#[serde(with = "LimitsShape")] Limits);

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct StoredRates {
    by_model: BTreeMap<String, StoredLimits>,
    end_user: StoredLimits,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct StoredMoney {
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens_default: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    abandoned: Option<String>,
    allowances: BTreeMap<String, u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "NearLimit", tag = "policy", rename_all = "snake_case")]
enum NearLimitShape {
    Reject,
    Clamp { output_tokens_min: u64 },
    Grow { margin_tokens: u64 },
    Alias { model: String },
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct StoredNearLimit(#[serde(with = "NearLimitShape")] NearLimit);

/// What is stored as it is.
pub(super) fn written(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// A project's settings about money, to be stored.
pub(super) fn money_text(money: &MoneySettings) -> Result<String, StoreError> {
    written(&StoredMoney {
        output_tokens_default: money.output_tokens_default,
        abandoned: Some(money.abandoned.word().to_owned()),
        allowances: money.allowances.iter().map(|(path, amount)| (path.clone(), amount.0)).collect(),
    })
}

/// A project's settings about money.
pub(super) fn money(text: &str) -> Result<MoneySettings, StoreError> {
    let stored: StoredMoney = parse(text)?;
    let abandoned = match stored.abandoned {
        None => Abandoned::default(),
        Some(word) => Abandoned::from_word(&word)
            .ok_or_else(|| StoreError::Corrupt(format!("policy for abandoned streams `{word}`")))?,
    };
    let allowances = stored.allowances.into_iter().map(|(path, amount)| (path, Nano(amount))).collect();
    Ok(MoneySettings { output_tokens_default: stored.output_tokens_default, abandoned, allowances })
}

/// A project's rate limits, to be stored.
pub(super) fn project_rates_text(rates: &ProjectRates) -> Result<String, StoreError> {
    let by_model = rates.by_model.iter().map(|(model, limits)| (model.clone(), StoredLimits(*limits))).collect();
    written(&StoredRates { by_model, end_user: StoredLimits(rates.end_user) })
}

/// A project's rate limits.
pub(super) fn project_rates(text: &str) -> Result<ProjectRates, StoreError> {
    let stored: StoredRates = parse(text)?;
    let by_model = stored.by_model.into_iter().map(|(model, limits)| (model, limits.0)).collect();
    Ok(ProjectRates { by_model, end_user: stored.end_user.0 })
}

/// A key's rate limits, to be stored.
pub(super) fn limits_text(limits: &Limits) -> Result<String, StoreError> {
    written(&StoredLimits(*limits))
}

/// A key's rate limits.
pub(super) fn limits(text: &str) -> Result<Limits, StoreError> {
    Ok(parse::<StoredLimits>(text)?.0)
}

/// What happens near a limit, to be stored.
pub(super) fn near_limit_text(near_limit: &NearLimit) -> Result<String, StoreError> {
    written(&StoredNearLimit(near_limit.clone()))
}

/// What happens near a limit.
pub(super) fn near_limit(text: &str) -> Result<NearLimit, StoreError> {
    Ok(parse::<StoredNearLimit>(text)?.0)
}
