//! Limits around an incident: the one that follows from the key's ordinary use, and those that a replacement takes over.

use exposure::incident::Incident;
use exposure::proposal::Proposal;
use pricing::Nano;
use serde_json::{Value, json};
use store::{IncidentStep, KeyId, Period, ProjectId, Scope, SpendLimit};
use wire::refusal::{Reason, Refusal};

use crate::incident_steps::change;
use crate::input::Fields;
use crate::{Answer, Call, Console, limits};

impl Console {
    /// Sets the proposed limit: on the replacement, else on the key while it is there, else on its project.
    pub(crate) async fn limit_by_incident(&self, call: &Call<'_>) -> Answer {
        let incident = self.open_one(call).await?;
        let fields = Fields::of(call)?;
        fields.only(&["period"])?;
        let periods = match fields.text("period")?.as_deref() {
            None => vec![Period::Day, Period::Month],
            Some("day") => vec![Period::Day],
            Some("month") => vec![Period::Month],
            Some(_) => return Err(fields.wrong("period", "must be day or month; without it both are set")),
        };
        let scope = self.limited_by(&incident)?;
        let report = self.report_of(incident.clone()).await?;
        let proposal = report.evidence.proposal.ok_or_else(|| {
            let words =
                "No limit follows: nothing was spent before the exposure. Set one by POST /v1/sallyport/limits.";
            Refusal::new(Reason::Conflict, words)
        })?;
        let mut set = Vec::new();
        for period in periods {
            set.push(self.limit_at_most(call, &scope, period, amount(&proposal, period)).await?);
        }
        let mut change = change(IncidentStep::Update, incident);
        for limit in &set {
            let id = limit["id"].as_str().unwrap_or_default();
            if !change.incident.limits.iter().any(|known| known == id) {
                change.incident.limits.push(id.to_owned());
            }
        }
        let limits = change.incident.limits.clone();
        self.put_incident(call.actor(), change, Vec::new()).await?;
        Ok(json!({"object": "list", "data": set, "limit_ids": limits, "has_more": false}))
    }

    /// Whose spending the proposal limits.
    fn limited_by(&self, incident: &Incident) -> Result<Scope, Refusal> {
        let snapshot = self.snapshot();
        let ids = incident.replacement.iter().chain([&incident.key.id]);
        let mut live = ids.map(|id| KeyId::new(id.clone())).filter(|id| snapshot.key_by_id(id).is_some());
        let project = incident.key.project.as_ref().map(|(id, _)| ProjectId::new(id.clone()));
        match (live.next(), project) {
            (_, None) => {
                Err(Refusal::new(Reason::Conflict, "An admin key spends nothing, so there is nothing to limit."))
            }
            (Some(key), Some(_)) => Ok(Scope::Key(key)),
            (None, Some(project)) => Ok(Scope::Project(project)),
        }
    }

    /// Sets a limit; one that is there and tighter stays as it is.
    async fn limit_at_most(&self, call: &Call<'_>, scope: &Scope, period: Period, amount: Nano) -> Answer {
        let limits = self.money.ledger.limits();
        let same = limits.iter().find(|limit| limit.scope == *scope && limit.period == period && !limit.is_shadow);
        match same {
            Some(limit) if limit.amount <= amount => Ok(limits::show(limit)),
            Some(limit) => self.put_limit(call, SpendLimit { amount, ..SpendLimit::clone(limit) }).await,
            None => self.put_limit(call, SpendLimit { amount, ..self.new_limit(scope.clone(), period) }).await,
        }
    }

    /// Holds a key to the limits that another has of its own. What the other has spent is the other's.
    pub(crate) async fn limit_alike(&self, call: &Call<'_>, old: &KeyId, new: &KeyId) -> Result<(), Refusal> {
        let of_old = Scope::Key(old.clone());
        for limit in self.money.ledger.limits().iter().filter(|limit| limit.scope == of_old) {
            let alike = SpendLimit {
                id: self.new_id(SpendLimit::ID_PREFIX),
                scope: Scope::Key(new.clone()),
                raise: None,
                created_at: self.now(),
                ..SpendLimit::clone(limit)
            };
            self.put_limit(call, alike).await.map(|_: Value| ())?;
        }
        Ok(())
    }
}

fn amount(proposal: &Proposal, period: Period) -> Nano {
    if period == Period::Day { proposal.day } else { proposal.month }
}
