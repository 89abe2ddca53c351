//! OpenAI's `spend_limit`: the hard limit of a month, of the organization and of each project, in cents.
//!
//! What it does not know stands under `sallyport`: the exact figures, what happens near the limit, a raise for a time.
//! A call without that leaves the terms as they are, so that a Terraform run does not undo a policy that it cannot name.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use store::{Period, Scope, SpendLimit};
use wire::refusal::{Reason, Refusal};

use crate::input::{Fields, deleted};
use crate::limits::{currency, figures};
use crate::terms::TERMS;
use crate::{Answer, Call, Console, amounts, terms};

impl Console {
    /// Whose limit the path means.
    fn spend_limit_scope(&self, call: &Call<'_>) -> Result<Scope, Refusal> {
        match call.param("project_id") {
            "" => Ok(Scope::Organization),
            _ => Ok(Scope::Project(self.project(call)?.id.clone())),
        }
    }

    /// The limit that the object shows: the one in force; one in shadow where there is no other.
    fn spend_limit(&self, scope: &Scope) -> Option<Arc<SpendLimit>> {
        let limits = self.money.ledger.limits().into_iter();
        limits
            .filter(|limit| limit.scope == *scope && limit.period == Period::Month)
            .min_by_key(|limit| limit.is_shadow)
    }

    fn found_spend_limit(&self, scope: &Scope) -> Result<Arc<SpendLimit>, Refusal> {
        self.spend_limit(scope).ok_or_else(|| {
            let words = match scope {
                Scope::Project(project) => format!("Project '{project}' has no spend limit."),
                _ => "The organization has no spend limit.".to_owned(),
            };
            Refusal::new(Reason::ObjectNotFound, words)
        })
    }

    async fn show_spend_limit(&self, limit: &SpendLimit) -> Value {
        let standing = self.money.ledger.standings(&limit.id).await.into_iter().next();
        let is_enforcing = standing.as_ref().is_some_and(|standing| standing.is_enforcing) && !limit.is_shadow;
        let mut ours = match terms::show(limit) {
            Value::Object(terms) => terms,
            _ => Map::new(),
        };
        ours.insert("id".to_owned(), limit.id.as_str().into());
        match &standing {
            Some(standing) => {
                ours.extend(figures(standing));
                ours.insert("starts_at".to_owned(), standing.starts_at.into());
                ours.insert("ends_at".to_owned(), standing.ends_at.into());
            }
            None => ours.extend(amounts::object([("amount", limit.amount)])),
        }
        json!({
            "object": format!("{}.spend_limit", limit.scope.kind()),
            "threshold_amount": amounts::cents(limit.amount),
            "currency": "USD",
            "interval": "month",
            "enforcement": {"status": if is_enforcing { "enforcing" } else { "inactive" }},
            "sallyport": ours,
        })
    }

    pub(crate) async fn retrieve_spend_limit(&self, call: &Call<'_>) -> Answer {
        let scope = self.spend_limit_scope(call)?;
        Ok(self.show_spend_limit(&*self.found_spend_limit(&scope)?).await)
    }

    pub(crate) async fn put_spend_limit(&self, call: &Call<'_>) -> Answer {
        let scope = match call.param("project_id") {
            "" => Scope::Organization,
            _ => Scope::Project(self.active_project(call)?.id.clone()),
        };
        let fields = Fields::of(call)?;
        let amount = fields.required("threshold_amount", fields.cents("threshold_amount", 1)?)?;
        fields.required("currency", fields.value("currency"))?;
        currency(&fields)?;
        monthly(&fields)?;
        let ours = fields.object("sallyport")?.unwrap_or_else(Fields::none);
        ours.only(&TERMS)?;
        let before = self.spend_limit(&scope);
        let mut limit = match before {
            Some(limit) => SpendLimit { amount, ..SpendLimit::clone(&limit) },
            None => SpendLimit { amount, ..self.new_limit(scope, Period::Month) },
        };
        // Whoever sets a limit means a hard one, unless they say otherwise.
        limit.is_shadow = false;
        self.read_terms(&mut limit, &ours)?;
        self.put_limit(call, limit.clone()).await?;
        Ok(self.show_spend_limit(&limit).await)
    }

    pub(crate) async fn delete_spend_limit(&self, call: &Call<'_>) -> Answer {
        let limit = self.found_spend_limit(&self.spend_limit_scope(call)?)?;
        self.remove_limit(call, &limit).await?;
        let object = format!("{}.spend_limit.deleted", limit.scope.kind());
        Ok(deleted(&object, &limit.id))
    }
}

/// `interval`, which must be named.
pub(crate) fn monthly(fields: &Fields) -> Result<(), Refusal> {
    match fields.required("interval", fields.text("interval")?)?.as_str() {
        "month" => Ok(()),
        _ => Err(fields.wrong("interval", "must be month; other periods are under /v1/sallyport/limits")),
    }
}
