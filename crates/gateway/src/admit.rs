//! May this request come in now: rate and concurrency limits of its model, project, key and end user.
//!
//! Promises: all limits or none take it in; a place under a concurrency limit is held until the answer's end, since the
//! [`Admission`] rides there; tokens are estimated here and corrected when they are known; keys that nobody knows were
//! refused before and cost nothing here.

use rates::{Admission, Limited, Meter as RateMeter, Scope, Subject, Want};
use store::ALL_MODELS;
use wire::endpoint::Meter;
use wire::refusal::{Reason, Refusal};

use crate::gate::Gate;
use crate::prepare::Prepared;
use crate::record::Record;
use crate::resolve::Resolved;

/// Admits a request. What its headers must tell goes into the record, also of one that is refused.
///
/// # Errors
/// 429 with the time to come back.
pub(crate) fn admit(
    gate: &Gate,
    resolved: &Resolved<'_>,
    prepared: &Prepared,
    record: &mut Record,
) -> Result<Option<Admission>, Refusal> {
    let Some(project) = resolved.project() else { return Ok(None) };
    let key = &resolved.caller.key.key;
    if project.rates.by_model.is_empty() && project.rates.end_user.is_none() && key.rates.is_none() {
        return Ok(None);
    }
    let id = project.id.as_str();
    let model = prepared.model.as_deref();
    let table = gate.money.prices.table();
    // A snapshot without limits of its own counts under its family's, whether or not it has prices of its own.
    let limited_as = model.and_then(|model| {
        let listed = table.find(model).map(|prices| prices.name.as_str());
        let family = pricing::family(listed.unwrap_or(model));
        let names = [Some(model), listed, family].into_iter().flatten();
        names.filter_map(|name| project.rates.by_model.get_key_value(name)).next()
    });
    let user = prepared.asked.as_ref().and_then(|asked| asked.end_user.as_deref());
    let none = &rates::Limits::NONE;
    let meter = resolved.row.endpoint.meter;
    // Reading a list of models is no request to one, and no end user's.
    let of_models = |limits| if meter == Meter::Nothing { none } else { limits };
    let subjects = [
        match limited_as {
            Some((name, limits)) => Subject { scope: Scope::Model { project: id, model: name }, limits },
            None => Subject { scope: Scope::Model { project: id, model: "" }, limits: none },
        },
        Subject {
            scope: Scope::Project { project: id },
            limits: of_models(project.rates.by_model.get(ALL_MODELS).unwrap_or(none)),
        },
        Subject { scope: Scope::Key { key: key.id.as_str() }, limits: &key.rates },
        Subject {
            scope: Scope::EndUser { project: id, user: user.unwrap_or_default() },
            limits: of_models(&project.rates.end_user),
        },
    ];
    let want = want(meter, prepared, model.unwrap_or_default());
    match gate.money.rates.admit(gate.money.now_ns(), &subjects, &want) {
        Ok(admission) => {
            record.rates = Some(*admission.gauges());
            Ok(Some(admission))
        }
        Err(limited) => {
            record.rates = Some(*limited.gauges);
            Err(refusal(&limited))
        }
    }
}

/// What a request wants beside being one.
fn want(meter: Meter, prepared: &Prepared, model: &str) -> Want {
    let Some(asked) = &prepared.asked else { return Want::default() };
    Want {
        tokens: asked.tokens_estimated(model),
        images: if meter == Meter::Images { asked.choices.given().unwrap_or(1) } else { 0 },
        audio_bytes: if meter == Meter::Transcriptions { prepared.whole.len() as u64 } else { 0 },
        batch_tokens: 0,
    }
}

fn refusal(limited: &Limited) -> Refusal {
    let reason = match (limited.retry_after_ms(), limited.which) {
        (None, _) => Reason::OverRateLimit,
        (Some(_), RateMeter::TokensPerMinute | RateMeter::BatchTokensPerDay) => Reason::TokensLimited,
        (Some(_), _) => Reason::RequestsLimited,
    };
    let refusal = Refusal::new(reason, limited.to_string());
    match limited.retry_after_ms() {
        Some(wait_ms) => refusal.retry_after_ms(wait_ms),
        None => refusal,
    }
}
