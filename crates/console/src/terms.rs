//! What a limit says beside whose and how much: what happens near it, a raise for a time, a cap on calls, shadow mode.

use serde_json::{Value, json};
use store::{NearLimit, Raise, SpendLimit};
use wire::refusal::Refusal;

use crate::amounts;
use crate::input::Fields;
use crate::{Console, no_such};

/// Names of the terms, for whoever refuses others.
pub(crate) const TERMS: [&str; 4] = ["near_limit", "raise", "calls_max", "is_shadow"];

/// Longest raise: a year. One without an end is a higher limit, and should be set as such.
const RAISE_SECONDS_MAX: i64 = 366 * 86_400;
/// Most tokens in a policy; beyond any model's output.
const TOKENS_MAX: u64 = 100_000_000;
/// Most calls of a cap.
const CALLS_MAX: u64 = 1_000_000_000_000;
/// Least output that is worth an answer, where a clamp does not say.
const OUTPUT_TOKENS_MIN_DEFAULT: u64 = 256;

/// Terms as they are shown.
pub(crate) fn show(limit: &SpendLimit) -> Value {
    let near_limit = match &limit.near_limit {
        NearLimit::Reject => json!({"type": "reject"}),
        NearLimit::Clamp { output_tokens_min } => json!({"type": "clamp", "output_tokens_min": output_tokens_min}),
        NearLimit::Grow { margin_tokens } => json!({"type": "grow", "margin_tokens": margin_tokens}),
        NearLimit::Alias { model } => json!({"type": "alias", "model": model}),
    };
    let raise = limit.raise.map(|raise| {
        let mut shown = amounts::object([("amount", raise.amount)]);
        shown.insert("threshold_amount".to_owned(), amounts::cents(raise.amount).into());
        shown.insert("until".to_owned(), raise.until.into());
        shown
    });
    json!({
        "near_limit": near_limit, "raise": raise, "calls_max": limit.calls_max, "is_shadow": limit.is_shadow,
    })
}

impl Console {
    /// Takes over the terms that a call names; null takes one away. The limit's amount is the new one already.
    pub(crate) fn read_terms(&self, limit: &mut SpendLimit, fields: &Fields) -> Result<(), Refusal> {
        if fields.has("near_limit") {
            limit.near_limit = self.near_limit(fields)?;
        }
        if let Some(is_shadow) = fields.bool("is_shadow")? {
            limit.is_shadow = is_shadow;
        }
        if fields.has("calls_max") {
            limit.calls_max = fields.count("calls_max", 0, CALLS_MAX)?;
        }
        let now = self.now();
        if fields.has("raise") {
            limit.raise = raise(limit, fields, now)?;
        } else {
            // One that is over, or no raise any more, is only in the way of whoever reads it.
            limit.raise = limit.raise.filter(|raise| raise.until > now && raise.amount > limit.amount);
        }
        Ok(())
    }

    fn near_limit(&self, fields: &Fields) -> Result<NearLimit, Refusal> {
        let Some(policy) = fields.object("near_limit")? else { return Ok(NearLimit::Reject) };
        let kind = policy.required("type", policy.text("type")?)?;
        match kind.as_str() {
            "reject" => policy.only(&["type"]).map(|()| NearLimit::Reject),
            "clamp" => {
                policy.only(&["type", "output_tokens_min"])?;
                let given = policy.count("output_tokens_min", 1, TOKENS_MAX)?;
                Ok(NearLimit::Clamp { output_tokens_min: given.unwrap_or(OUTPUT_TOKENS_MIN_DEFAULT) })
            }
            "grow" => {
                policy.only(&["type", "margin_tokens"])?;
                // No default: how far an upstream runs on after a cut is the operator's to answer for.
                let given = policy.count("margin_tokens", 0, TOKENS_MAX)?;
                Ok(NearLimit::Grow { margin_tokens: policy.required("margin_tokens", given)? })
            }
            "alias" => {
                policy.only(&["type", "model"])?;
                let model = policy.required("model", policy.text("model")?)?;
                if self.money.prices.table().find(&model).is_none() {
                    let words = "has no price here: name a priced model, or price it first (sallyport price set)";
                    return Err(policy.wrong("model", words));
                }
                Ok(NearLimit::Alias { model })
            }
            _ => Err(policy.wrong("type", "must be reject, clamp, grow or alias")),
        }
    }
}

fn raise(limit: &SpendLimit, fields: &Fields, now: i64) -> Result<Option<Raise>, Refusal> {
    let Some(given) = fields.object("raise")? else { return Ok(None) };
    given.only(&["amount", "threshold_amount", "until"])?;
    let amount = given.required("amount", amounts::amount(&given)?)?;
    if amount <= limit.amount {
        return Err(given.wrong("amount", &format!("must be above the limit's own amount of {}", limit.amount)));
    }
    let until = given.required("until", given.value("until"))?;
    match until.as_i64() {
        Some(until) if until > now && until <= now.saturating_add(RAISE_SECONDS_MAX) => {
            Ok(Some(Raise { amount, until }))
        }
        _ => Err(given.wrong("until", "must be a time in Unix seconds, later than now and within a year")),
    }
}

/// 404 for a limit.
pub(crate) fn no_limit(id: &str) -> Refusal {
    no_such("spend limit", id)
}
