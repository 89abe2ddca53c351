//! Limits of every scope and period: ours, because the API knows the organization's and a project's month only.
//!
//! Promise: when a call that changes a limit returns, the change is stored and in force; while it is under way, nothing
//! is granted that the limit after it would not allow.

use std::sync::Arc;

use ledger::Standing;
use serde_json::{Value, json};
use store::{Act, NearLimit, Period, Scope, SpendLimit};
use wire::refusal::{Reason, Refusal};

use crate::input::{Fields, Sizes, deleted, invalid, page_of, query};
use crate::terms::{TERMS, no_limit};
use crate::{Answer, Call, Console, Event, amounts, scopes, terms};

/// Most limits of a gate: an account each, of some 400 bytes.
pub(crate) const LIMITS_MAX: usize = 100_000;

/// Most standings in one answer: a limit for each end user may have as many accounts as there are end users.
const STANDINGS_MAX: usize = 1_000;

const PAGES: Sizes = Sizes { min: 1, default: 20, max: 100 };

/// A limit in answers.
pub(crate) fn show(limit: &SpendLimit) -> Value {
    let mut shown = json!({
        "object": "sallyport.limit",
        "id": limit.id,
        "scope": scopes::show(&limit.scope),
        "period": limit.period.word(),
        "currency": "USD",
        "threshold_amount": amounts::cents(limit.amount),
        "created_at": limit.created_at,
    });
    amounts::merge(&mut shown, amounts::object([("amount", limit.amount)]));
    if let Value::Object(terms) = terms::show(limit) {
        amounts::merge(&mut shown, terms);
    }
    shown
}

/// How a limit stands, in answers.
pub(crate) fn show_standing(standing: &Standing) -> Value {
    let mut shown = json!({
        "object": "sallyport.limit.standing",
        "scope": scopes::show(&standing.scope),
        "starts_at": standing.starts_at,
        "ends_at": Some(standing.ends_at).filter(|at| *at < i64::MAX),
        "is_enforcing": standing.is_enforcing,
    });
    amounts::merge(&mut shown, figures(standing));
    shown
}

/// The amounts of a standing.
pub(crate) fn figures(standing: &Standing) -> serde_json::Map<String, Value> {
    amounts::object([
        ("amount", standing.amount),
        ("settled", standing.settled),
        ("held", standing.held),
        ("left", standing.left),
    ])
}

impl Console {
    /// The limit with this id.
    fn limit(&self, call: &Call<'_>) -> Result<Arc<SpendLimit>, Refusal> {
        let id = call.param("limit_id");
        self.money.ledger.limits().into_iter().find(|limit| limit.id == id).ok_or_else(|| no_limit(id))
    }

    pub(crate) fn list_limits(&self, call: &Call<'_>) -> Answer {
        let (kind, project) = (query(call, "kind")?, query(call, "project_id")?);
        if kind.as_deref().is_some_and(|kind| Scope::read(kind, "/").is_none()) {
            return Err(invalid("kind", "'kind' must be organization, project, key, end_user, run or tag."));
        }
        let snapshot = self.snapshot();
        let mut limits = self.money.ledger.limits();
        limits.retain(|limit| {
            let of = || scopes::project_of(&snapshot, &limit.scope);
            kind.as_deref().is_none_or(|kind| limit.scope.kind() == kind)
                && project.as_deref().is_none_or(|project| of().is_some_and(|of| of.as_str() == project))
        });
        page_of(call, PAGES, &limits, |limit| &limit.id, |limit| show(limit))
    }

    pub(crate) fn retrieve_limit(&self, call: &Call<'_>) -> Answer {
        self.limit(call).map(|limit| show(&limit))
    }

    pub(crate) async fn create_limit(&self, call: &Call<'_>) -> Answer {
        let fields = Fields::of(call)?;
        fields.only(&[&["scope", "period", "amount", "threshold_amount", "currency"], &TERMS[..]].concat())?;
        currency(&fields)?;
        let scope = self.scope(&fields)?;
        let period = fields.required("period", fields.text("period")?)?;
        let period =
            Period::from_word(&period).ok_or_else(|| fields.wrong("period", "must be month, day, hour or total"))?;
        let amount = fields.required("amount", amounts::amount(&fields)?)?;
        let mut limit = SpendLimit { amount, ..self.new_limit(scope, period) };
        self.read_terms(&mut limit, &fields)?;
        self.put_limit(call, limit).await
    }

    pub(crate) async fn update_limit(&self, call: &Call<'_>) -> Answer {
        let mut limit = SpendLimit::clone(&*self.limit(call)?);
        let fields = Fields::of(call)?;
        // Whose and how long make it another limit.
        fields.only(&[&["amount", "threshold_amount", "currency"], &TERMS[..]].concat())?;
        currency(&fields)?;
        limit.amount = amounts::amount(&fields)?.unwrap_or(limit.amount);
        self.read_terms(&mut limit, &fields)?;
        self.put_limit(call, limit).await
    }

    pub(crate) async fn delete_limit(&self, call: &Call<'_>) -> Answer {
        let limit = self.limit(call)?;
        self.remove_limit(call, &limit).await?;
        Ok(deleted("sallyport.limit.deleted", &limit.id))
    }

    pub(crate) async fn list_standings(&self, call: &Call<'_>) -> Answer {
        let limit = self.limit(call)?;
        let mut standings = self.money.ledger.standings(&limit.id).await;
        // Those who spent most first: they are whom somebody looks for.
        standings.sort_by(|one, other| (other.settled, &one.scope).cmp(&(one.settled, &other.scope)));
        let has_more = standings.len() > STANDINGS_MAX;
        standings.truncate(STANDINGS_MAX);
        let data: Vec<Value> = standings.iter().map(show_standing).collect();
        Ok(json!({"object": "list", "limit_id": limit.id, "data": data, "has_more": has_more}))
    }

    /// A limit of nothing yet.
    pub(crate) fn new_limit(&self, scope: Scope, period: Period) -> SpendLimit {
        SpendLimit {
            id: self.new_id(SpendLimit::ID_PREFIX),
            scope,
            period,
            amount: pricing::Nano::ZERO,
            calls_max: None,
            is_shadow: false,
            near_limit: NearLimit::Reject,
            raise: None,
            created_at: self.now(),
        }
    }

    /// Stores a limit, new or changed, and puts it in force.
    pub(crate) async fn put_limit(&self, call: &Call<'_>, limit: SpendLimit) -> Answer {
        let others = self.money.ledger.limits();
        let is_same = |other: &SpendLimit| {
            (&other.scope, other.period, other.is_shadow) == (&limit.scope, limit.period, limit.is_shadow)
        };
        // One in shadow beside one in force is how a tighter limit is tried.
        if let Some(other) = others.iter().find(|other| other.id != limit.id && is_same(other)) {
            let words = format!("'{}' is a limit of the same scope and period: change that one.", other.id);
            return Err(Refusal::new(Reason::Conflict, words).param("scope"));
        }
        if others.len() >= LIMITS_MAX && !others.iter().any(|other| other.id == limit.id) {
            let words = format!("There are {LIMITS_MAX} limits already: delete some, or limit each end user at once.");
            return Err(Refusal::new(Reason::Conflict, words));
        }
        let shown = show(&limit);
        let event = Event {
            kind: "spend_limit.updated",
            project: scopes::project_of(&self.snapshot(), &limit.scope),
            payload: json!({"id": limit.id, "changes_requested": shown}),
        };
        // Frozen before it is stored: in between, nothing is granted that only the old limit allows.
        let changing = self.money.ledger.begin_change(&limit.id).await;
        self.commit(call.actor(), Act::PutLimit(limit.clone()), vec![event]).await?;
        changing.put(limit).await;
        Ok(shown)
    }

    /// Takes a limit away.
    pub(crate) async fn remove_limit(&self, call: &Call<'_>, limit: &SpendLimit) -> Result<(), Refusal> {
        let event = Event {
            kind: "spend_limit.deleted",
            project: scopes::project_of(&self.snapshot(), &limit.scope),
            payload: json!({"id": limit.id, "data": show(limit)}),
        };
        let changing = self.money.ledger.begin_change(&limit.id).await;
        self.commit(call.actor(), Act::DeleteLimit(limit.clone()), vec![event]).await?;
        changing.remove(&limit.id).await;
        Ok(())
    }

    /// Lets the ledger ask the store again how these limits stand: something outside it has changed what is settled.
    pub(crate) async fn refresh_limits(&self, is_concerned: impl Fn(&SpendLimit) -> bool) {
        for limit in self.money.ledger.limits() {
            if is_concerned(&limit) {
                self.money.ledger.begin_change(&limit.id).await.put(SpendLimit::clone(&limit)).await;
            }
        }
    }
}

/// `currency`, where it is named.
pub(crate) fn currency(fields: &Fields) -> Result<(), Refusal> {
    match fields.text("currency")?.as_deref() {
        None | Some("USD") => Ok(()),
        Some(_) => Err(fields.wrong("currency", "must be USD")),
    }
}
