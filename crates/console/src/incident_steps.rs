//! Steps of an incident: the end of a key, a key in its place, who is told. Each is stored with its audit events in one
//! transaction, and in force before the call returns.

use exposure::incident::{Ending, Incident, KeyFacts};
use serde_json::{Value, json};
use store::{
    Act, Actor, Channel, Finding, IncidentChange, IncidentStep, Key, KeyEnd, KeyId, Notice, ProjectId, Severity,
    Suspension,
};
use wire::refusal::{Reason, Refusal};

use crate::key_life::updated;
use crate::new::{KeyFor, NewKey};
use crate::project_keys::{key_created, key_deleted};
use crate::{Console, Event};

/// Kind of the finding and of the notice that an exposed key makes.
pub(crate) const EXPOSED: &str = "key.exposed";

/// A change of an incident that does nothing else yet.
pub(crate) fn change(step: IncidentStep, incident: Incident) -> IncidentChange {
    IncidentChange { step, incident, end: None, replacement: None, finding: None, notice: None, report: None }
}

impl Console {
    /// What an incident says of a key.
    pub(crate) fn facts(&self, key: &Key) -> KeyFacts {
        let snapshot = self.snapshot();
        let name = |id: &ProjectId| snapshot.project(id).map_or_else(String::new, |project| project.name.clone());
        KeyFacts {
            id: key.id.to_string(),
            name: key.name.clone(),
            kind: key.kind.word().to_owned(),
            redacted: key.redacted.clone(),
            created_at: key.created_at,
            project: key.project.as_ref().map(|id| (id.to_string(), name(id))),
        }
    }

    /// Ends a key with an incident, one way or the other.
    pub(crate) fn end_key(&self, change: &mut IncidentChange, key: &Key, ending: Ending) {
        let now = self.now();
        change.incident.ending = ending;
        change.incident.ended_at = Some(now).filter(|_| ending != Ending::LeftInForce);
        change.end = match ending {
            Ending::Revoked => Some(KeyEnd::Revoke(key.id.clone())),
            Ending::Suspended => {
                let suspension = Some(Suspension { at: now, reason: format!("exposed: {}", change.incident.id) });
                Some(KeyEnd::Suspend(Box::new(Key { suspension, ..key.clone() })))
            }
            Ending::GoneBefore | Ending::LeftInForce => None,
        };
    }

    /// A key like another: whose it is, what it may do, how long it lives; with a secret of its own.
    ///
    /// # Errors
    /// When its project or service account is not there any more.
    pub(crate) fn key_like(&self, old: &Key, created_by: Option<&KeyId>) -> Result<NewKey, Refusal> {
        let (snapshot, now) = (self.snapshot(), self.now());
        let gone = |what: &str| {
            let words = format!("No replacement can be made: the key's {what}. Make a key of another one.");
            Refusal::new(Reason::Conflict, words)
        };
        if let Some(project) = &old.project
            && snapshot.project(project).is_none_or(|project| project.is_archived())
        {
            return Err(gone("project is archived"));
        }
        if let Some(account) = &old.service_account
            && snapshot.service_account(account).is_none()
        {
            return Err(gone("service account was deleted"));
        }
        if old.is_decoy {
            return Err(Refusal::new(Reason::Conflict, "A decoy has nothing to be replaced with. Make another."));
        }
        let project = old.project.as_ref().and_then(|id| snapshot.project(id));
        let life = old.expires_at.map(|expires_at| expires_at.saturating_sub(old.secret_created_at).max(1));
        let life = life.into_iter().chain(self.lifetime_seconds_max(project.map(|project| &**project))).min();
        let mut key = self.new_key(&KeyFor {
            kind: old.kind,
            name: &old.name,
            project: old.project.as_ref(),
            service_account: old.service_account.as_ref(),
            created_by,
            expires_at: life.map(|seconds| now.saturating_add(seconds)),
        });
        let plan = old.rotation.clone().map(|plan| store::RotationPlan {
            next_at: now.saturating_add(plan.every_seconds),
            last_error: None,
            ..plan
        });
        key.record = Key {
            rates: old.rates,
            bounds: old.bounds.clone(),
            browser_use: old.browser_use,
            rotation: plan,
            ..key.record
        };
        Ok(key)
    }

    /// What the list of findings says of an exposed key, and what people are told. Of a key, its id and what lists show.
    pub(crate) fn announce(&self, change: &mut IncidentChange, address: Option<&str>) {
        let incident = &change.incident;
        let key = KeyId::new(incident.key.id.clone());
        let project = incident.key.project.as_ref().map(|(id, _)| ProjectId::new(id.clone()));
        let sighting = incident.sightings.last();
        let details = json!({
            "incident_id": incident.id,
            "key_id": incident.key.id,
            "key_name": incident.key.name,
            "redacted_value": incident.key.redacted,
            "project_id": project.as_ref().map(ProjectId::as_str),
            "project_name": incident.key.project.as_ref().map(|(_, name)| name),
            "reason": incident.reason,
            "reported_by": incident.source,
            "url": sighting.and_then(|sighting| sighting.url.as_ref()),
            "found_in": sighting.and_then(|sighting| sighting.source.as_ref()),
            "ending": incident.ending.word(),
        });
        let is_over = incident.ending == Ending::GoneBefore;
        let now = self.now();
        change.finding = Some(Finding {
            id: self.new_id(Finding::ID_PREFIX),
            kind: EXPOSED.to_owned(),
            severity: if is_over { Severity::Medium } else { Severity::Critical },
            first_at: now,
            last_at: now,
            count: 1,
            project,
            key: Some(key),
            address: address.map(str::to_owned),
            details: details.clone(),
            triage: None,
        });
        let webhooks =
            self.snapshot().webhooks.keys().map(|id| Channel::Webhook { id: id.clone() }).collect::<Vec<_>>();
        let mail = Some(self.exposure.recipients.clone()).filter(|recipients| !recipients.is_empty());
        let mail = mail.map(|recipients| Channel::Email { recipients, subject_prefix: None });
        let notice =
            Notice { id: self.new_id(Notice::ID_PREFIX), kind: EXPOSED.to_owned(), created_at: now, payload: details };
        let channels: Vec<Channel> = webhooks.into_iter().chain(mail).collect();
        change.notice = Some((notice, channels)).filter(|(_, channels)| !channels.is_empty());
    }

    /// Does what a change says, with the audit events of all its parts and `more`.
    pub(crate) async fn put_incident(
        &self,
        actor: Actor,
        change: IncidentChange,
        more: Vec<Event>,
    ) -> Result<(), Refusal> {
        let incident = &change.incident;
        let project = incident.key.project.as_ref().map(|(id, _)| ProjectId::new(id.clone()));
        let mut events = more;
        events.extend(self.end_event(&change));
        events.extend(change.replacement.as_ref().map(key_created));
        events.push(Event {
            kind: change.step.event(),
            project,
            payload: json!({"id": incident.id, "data": data(&change)}),
        });
        let tells = change.notice.is_some();
        self.commit(actor, Act::PutIncident(Box::new(change)), events).await?;
        if tells {
            (self.money.wake_notifier)();
        }
        Ok(())
    }

    fn end_event(&self, change: &IncidentChange) -> Option<Event> {
        match change.end.as_ref()? {
            KeyEnd::Revoke(id) => self.snapshot().key_by_id(id).map(|entry| key_deleted(&entry.key)),
            KeyEnd::Suspend(key) => {
                let reason = key.suspension.as_ref().map(|suspension| suspension.reason.clone());
                Some(updated(key, json!({"suspended": reason})))
            }
        }
    }
}

/// What an audit event says of an incident.
fn data(change: &IncidentChange) -> Value {
    let incident = &change.incident;
    json!({
        "key_id": incident.key.id,
        "reason": incident.reason,
        "source": incident.source,
        "exposed_since": incident.exposed_since,
        "ending": incident.ending.word(),
        "replacement_key_id": incident.replacement,
        "limit_ids": incident.limits,
        "sightings_count": incident.sightings.len(),
        "notes_count": incident.remarks.len(),
    })
}

/// The audit event of a key that somebody outside found in the open.
pub(crate) fn key_leaked(incident: &Incident) -> Event {
    let sighting = incident.sightings.last();
    let payload = json!({"id": incident.key.id, "data": {
        "incident_id": incident.id,
        "reported_by": incident.source,
        "url": sighting.and_then(|sighting| sighting.url.as_ref()),
        "found_in": sighting.and_then(|sighting| sighting.source.as_ref()),
    }});
    let project = incident.key.project.as_ref().map(|(id, _)| ProjectId::new(id.clone()));
    Event { kind: "key.leaked", project, payload }
}
