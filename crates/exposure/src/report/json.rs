//! The report as JSON. Amounts are dollars as text, digit by digit, and beside them whole nano-dollars; times are Unix
//! seconds, as everywhere in the API, and beside them UTC.

use serde_json::{Map, Value, json as object};

use crate::difference::{AddressSince, Charge, Difference};
use crate::moment::utc;
use crate::profile::{Profile, Spent, Spread};
use crate::proposal::Proposal;

use super::{Evidence, Report, Upstream, dollars};

/// The whole report.
pub fn json(report: &Report) -> Value {
    let key = &report.incident.key;
    object!({
        "object": "sallyport.incident.report",
        "incident_id": report.incident.id,
        "status": if report.incident.closed_at.is_some() { "closed" } else { "open" },
        "reason": report.incident.reason,
        "source": report.incident.source,
        "opened_by": report.incident.opened_by,
        "key": {
            "id": key.id,
            "name": key.name,
            "kind": key.kind,
            "redacted_value": key.redacted,
            "created_at": key.created_at,
            "project_id": key.project.as_ref().map(|(id, _)| id),
            "project_name": key.project.as_ref().map(|(_, name)| name),
            "upstream_key_ids": report.upstream.key_ids(),
            "replacement_key_id": report.incident.replacement,
            "ending": report.incident.ending.word(),
        },
        "timeline": timeline(report),
        "sightings": report.incident.sightings.iter().map(|sighting| object!({
            "told_at": sighting.told_at, "by": sighting.by, "url": sighting.url, "source": sighting.source,
        })).collect::<Vec<_>>(),
        "evidence": json_evidence(&report.evidence),
        "upstream_usage": upstream(&report.upstream),
        "notes": report.incident.remarks.iter().map(|remark| object!({
            "at": remark.at, "by": remark.by, "text": remark.text,
        })).collect::<Vec<_>>(),
    })
}

/// What the key did, and the limit that follows.
pub fn json_evidence(evidence: &Evidence) -> Value {
    object!({
        "read_at": evidence.read_at,
        "baseline": profile(&evidence.profile),
        "since_exposure": difference(&evidence.difference),
        "proposed_limit": evidence.proposal.as_ref().map(proposal),
    })
}

fn timeline(report: &Report) -> Value {
    let mut timeline = Map::new();
    let moments = [
        ("exposed_since", Some(report.incident.since())),
        ("found_at", Some(report.incident.found_at)),
        ("ended_at", report.incident.ended_at),
        ("closed_at", report.incident.closed_at),
    ];
    for (name, at) in moments {
        timeline.insert(name.to_owned(), at.into());
        timeline.insert(format!("{name}_utc"), at.map(utc).into());
    }
    timeline.insert("is_exposure_assumed".to_owned(), report.incident.exposed_since.is_none().into());
    timeline.insert("reaction_seconds".to_owned(), report.incident.reaction_seconds().into());
    timeline.insert("exposed_seconds".to_owned(), report.incident.exposed_seconds().into());
    Value::Object(timeline)
}

/// An object of what was spent, and more members.
fn with_spent(spent: Spent, more: Value) -> Value {
    let mut all = object!({"calls": spent.calls, "cost": dollars(spent.cost), "cost_nano": spent.cost.0});
    if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
        all.extend(more);
    }
    all
}

fn spread(spread: &Spread) -> Value {
    let of = |spent| with_spent(spent, object!({}));
    object!({"count": spread.count, "median": of(spread.median), "high": of(spread.high), "most": of(spread.most)})
}

fn profile(profile: &Profile) -> Value {
    let models = profile.models.iter().map(|(model, spent)| with_spent(*spent, object!({"model": model})));
    with_spent(
        profile.total,
        object!({
            "from": profile.from,
            "until": profile.until,
            "active_hours": spread(&profile.hours),
            "active_days": spread(&profile.days),
            "models": models.collect::<Vec<_>>(),
            "calls_by_hour_of_day": profile.hours_of_day,
            "addresses": profile.addresses.iter().take(crate::difference::LISTED_MAX).map(ToString::to_string).collect::<Vec<_>>(),
            "addresses_count": profile.addresses.len(),
            "user_agents": profile.agents.iter().take(crate::difference::LISTED_MAX).collect::<Vec<_>>(),
        }),
    )
}

fn difference(difference: &Difference) -> Value {
    let models = difference
        .models
        .iter()
        .map(|(model, (spent, is_new))| with_spent(*spent, object!({"model": model, "is_new": is_new})));
    with_spent(
        difference.total,
        object!({
            "since": difference.since,
            "models": models.collect::<Vec<_>>(),
            "addresses": difference.addresses.iter().map(address).collect::<Vec<_>>(),
            "addresses_left_out": difference.addresses_left_out,
            "calls_elsewhere": difference.calls_elsewhere,
            "new_user_agents": difference.new_agents,
            "unusual_hours_of_day": difference.unusual_hours,
            "unexpected": with_spent(difference.unexpected, object!({
                "charges": difference.charges.iter().map(charge).collect::<Vec<_>>(),
                "charges_left_out": difference.charges_left_out,
            })),
        }),
    )
}

fn address(met: &AddressSince) -> Value {
    object!({
        "address": met.address.to_string(), "standing": met.acquaintance.word(), "calls": met.calls,
        "refused": met.refused, "first_at": met.first_at, "last_at": met.last_at, "user_agents": met.agents,
    })
}

fn charge(charge: &Charge) -> Value {
    let reasons: Vec<_> = charge.reasons.iter().map(|reason| reason.word()).collect();
    with_spent(
        charge.spent,
        object!({"hour": charge.hour, "hour_utc": utc(charge.hour), "model": charge.model, "reasons": reasons}),
    )
}

fn proposal(proposal: &Proposal) -> Value {
    object!({
        "day": dollars(proposal.day), "day_nano": proposal.day.0,
        "month": dollars(proposal.month), "month_nano": proposal.month.0,
        "arithmetic": proposal.words,
    })
}

fn upstream(upstream: &Upstream) -> Value {
    let usage = match upstream {
        Upstream::NotRead { why, .. } => return object!({"is_available": false, "why": why}),
        Upstream::Read(usage) => usage,
    };
    let counted = usage
        .counted
        .iter()
        .map(|row| object!({"at": row.at, "at_utc": utc(row.at), "model": row.model, "calls": row.calls}));
    let charged = usage.charged.iter().map(
        |row| object!({"day": row.day, "day_utc": utc(row.day), "cost": dollars(row.cost), "cost_nano": row.cost.0}),
    );
    let spent = Spent { calls: usage.calls(), cost: usage.cost() };
    with_spent(
        spent,
        object!({
            "is_available": true,
            "whose": usage.whose.words(),
            "is_whole": usage.is_whole,
            "usage": counted.collect::<Vec<_>>(),
            "costs_by_day": charged.collect::<Vec<_>>(),
        }),
    )
}
