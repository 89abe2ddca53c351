//! Incidents of exposed keys: opened with one call that ends the key, read, worked on, closed.
//!
//! The end of the key comes first and waits for nothing: what the key did is collected once it is over. An open incident's
//! report is made anew each time it is read, since usage of the last requests is written down after they end; a closed one's
//! stays as it was.

use exposure::incident::{Ending, Incident, REMARKS_MAX, Remark};
use exposure::report::{self, Report};
use serde_json::{Map, Value, json};
use store::{IncidentFilter, IncidentStep, Key, KeyId};
use wire::refusal::{Reason, Refusal};

use crate::evidence::final_report;
use crate::incident_input::{ending, words};
use crate::incident_steps::change;
use crate::input::{Fields, Sizes, invalid, list, query, unknown_cursor};
use crate::new::NewKey;
use crate::{Answer, Call, Console, amounts, unavailable};

/// Longest reason and longest note.
const WORDS_CHARS_MAX: usize = 2_000;
/// Longest name of who reported.
const SOURCE_CHARS_MAX: usize = 100;

const PAGES: Sizes = Sizes { min: 1, default: 20, max: 100 };

fn show(incident: &Incident) -> Value {
    let project = incident.key.project.as_ref();
    json!({
        "object": "sallyport.incident",
        "id": incident.id,
        "status": if incident.closed_at.is_some() { "closed" } else { "open" },
        "reason": incident.reason,
        "source": incident.source,
        "opened_by": incident.opened_by,
        "key": {
            "id": incident.key.id, "name": incident.key.name, "kind": incident.key.kind,
            "redacted_value": incident.key.redacted, "created_at": incident.key.created_at,
            "project_id": project.map(|(id, _)| id), "project_name": project.map(|(_, name)| name),
        },
        "exposed_since": incident.exposed_since,
        "found_at": incident.found_at,
        "ending": incident.ending.word(),
        "ended_at": incident.ended_at,
        "closed_at": incident.closed_at,
        "reaction_seconds": incident.reaction_seconds(),
        "exposed_seconds": incident.exposed_seconds(),
        "replacement_key_id": incident.replacement,
        "limit_ids": incident.limits,
        "sightings": incident.sightings.iter().map(|sighting| json!({
            "told_at": sighting.told_at, "by": sighting.by, "url": sighting.url, "source": sighting.source,
        })).collect::<Vec<_>>(),
        "notes": incident.remarks.iter().map(|remark| json!({
            "at": remark.at, "by": remark.by, "text": remark.text,
        })).collect::<Vec<_>>(),
    })
}

/// A replacement's secret, in the one answer that shows it.
fn show_secret(key: &NewKey) -> Value {
    json!({
        "id": key.record.id.as_str(), "name": key.record.name, "redacted_value": key.record.redacted,
        "created_at": key.record.created_at, "expires_at": key.record.expires_at, "value": key.secret.expose(),
    })
}

/// The path whose calls take their turn by themselves.
pub(crate) const UPDATE: &str = "/v1/sallyport/incidents/{incident_id}";

impl Console {
    pub(crate) async fn list_incidents(&self, call: &Call<'_>) -> Answer {
        let is_open = match query(call, "status")?.as_deref() {
            None => None,
            Some("open") => Some(true),
            Some("closed") => Some(false),
            Some(_) => return Err(invalid("status", "'status' must be open or closed.")),
        };
        let filter = IncidentFilter {
            is_open,
            key: query(call, "key_id")?.map(KeyId::new),
            after: query(call, "after")?,
            limit: u32::try_from(PAGES.of(call)?).unwrap_or(u32::MAX),
        };
        let page = self.exposure.incidents.incidents(&filter).await.map_err(|error| unavailable(&error))?;
        let (mut found, has_more) = page.ok_or_else(|| unknown_cursor("after"))?;
        for incident in &mut found {
            self.bring_up_to_date(incident).await?;
        }
        Ok(list(found.iter().map(show).collect(), has_more))
    }

    pub(crate) async fn retrieve_incident(&self, call: &Call<'_>) -> Answer {
        let incident = self.incident(call).await?;
        self.show_with_evidence(incident).await
    }

    /// As JSON in any case; the Markdown stands in it as text.
    pub(crate) async fn report_incident(&self, call: &Call<'_>) -> Answer {
        let is_markdown = match query(call, "format")?.as_deref() {
            None | Some("json") => false,
            Some("markdown") => true,
            Some(_) => return Err(invalid("format", "'format' must be json or markdown.")),
        };
        let incident = self.incident(call).await?;
        let id = incident.id.clone();
        let report = match self.exposure.incidents.final_report(&id).await.map_err(|error| unavailable(&error))? {
            Some(report) => report,
            None => final_report(&self.whole_report(incident).await?),
        };
        Ok(match is_markdown {
            false => report.json,
            true => json!({
                "object": "sallyport.incident.report", "incident_id": id, "format": "markdown",
                "content": report.markdown,
            }),
        })
    }

    /// One call: ends the key, cuts its streams, opens the incident, mints the replacement; then collects what it did.
    pub(crate) async fn open_incident(&self, call: &Call<'_>) -> Answer {
        let fields = Fields::of(call)?;
        fields.only(&["key_id", "key", "exposed_since", "reason", "source", "replace", "revoke", "suspend"])?;
        let id = self.key_in_question(&fields).await?;
        let reason = fields.required("reason", words(&fields, "reason", WORDS_CHARS_MAX)?)?;
        let source = words(&fields, "source", SOURCE_CHARS_MAX)?.unwrap_or_else(|| "api".to_owned());
        let ending = ending(&fields)?.unwrap_or(Ending::Revoked);
        let (key, ended_at) = self.key_or_former(&id).await?;
        let exposed_since = self.exposed_since(&fields, &key)?.flatten();
        if let Some(open) = self.incident_of(&id).await?.filter(|incident| incident.closed_at.is_none()) {
            let words =
                format!("'{}' is open for this key: add to that one (it can end the key too), or close it.", open.id);
            return Err(Refusal::new(Reason::Conflict, words).param("key_id"));
        }
        let now = self.now();
        let incident = Incident {
            id: self.new_id(Incident::ID_PREFIX),
            closed_at: None,
            reason,
            source,
            opened_by: call.caller.key.id.to_string(),
            key: self.facts(&key),
            exposed_since,
            found_at: now,
            ending: Ending::GoneBefore,
            ended_at,
            replacement: None,
            limits: Vec::new(),
            sightings: Vec::new(),
            remarks: Vec::new(),
        };
        let mut change = change(IncidentStep::Open, incident);
        let replacement = match fields.bool("replace")?.unwrap_or(false) {
            true => Some(self.key_in_place_of(call, &key)?),
            false => None,
        };
        if ended_at.is_none() {
            if key.project.is_none() && ending != Ending::LeftInForce && replacement.is_none() {
                self.refuse_last_admin_key(&key)?;
            }
            self.end_key(&mut change, &key, ending);
        }
        if let Some(key) = &replacement {
            change.incident.replacement = Some(key.record.id.to_string());
            change.replacement = Some(key.record.clone());
        }
        self.announce(&mut change, None);
        let incident = change.incident.clone();
        self.put_incident(call.actor(), change, Vec::new()).await?;
        self.answer_with(call, incident, &key.id, replacement.as_ref()).await
    }

    /// Notes, a better idea of since when, the end of a key that was left in force, the end of the incident.
    ///
    /// Waits for its turn by itself: a provider that is slow to answer must not keep anybody from revoking a key.
    pub(crate) async fn update_incident(&self, call: &Call<'_>) -> Answer {
        let fields = Fields::of(call)?;
        fields.only(&["note", "exposed_since", "revoke", "suspend", "close"])?;
        let is_over = fields.bool("close")?.unwrap_or(false);
        let upstream = match is_over {
            true => Some(self.upstream_asked(&self.open_one(call).await?).await),
            false => None,
        };
        let _one_at_a_time = self.writing.lock().await;
        if call.caller.revocation.is_revoked() {
            return Err(Refusal::new(Reason::RevokedKey, "This API key was revoked. Nothing was changed."));
        }
        let incident = self.open_one(call).await?;
        let (key, ended_at) = self.key_or_former(&KeyId::new(incident.key.id.clone())).await?;
        let mut change = change(if is_over { IncidentStep::Close } else { IncidentStep::Update }, incident);
        if let Some(since) = self.exposed_since(&fields, &key)? {
            change.incident.exposed_since = since;
        }
        if let Some(ending) = ending(&fields)?.filter(|ending| *ending != Ending::LeftInForce && ended_at.is_none()) {
            if key.project.is_none() && change.incident.replacement.is_none() {
                self.refuse_last_admin_key(&key)?;
            }
            self.end_key(&mut change, &key, ending);
        }
        if let Some(text) = words(&fields, "note", WORDS_CHARS_MAX)? {
            if change.incident.remarks.len() >= REMARKS_MAX {
                return Err(fields.wrong("note", &format!("is one too many: {REMARKS_MAX} are kept")));
            }
            change.incident.remarks.push(Remark { at: self.now(), by: call.caller.key.id.to_string(), text });
        }
        if is_over {
            change.incident.closed_at = Some(self.now());
            let report = self.report_of(change.incident.clone()).await?;
            let upstream = upstream.unwrap_or(report.upstream.clone());
            change.report = Some(final_report(&Report { upstream, ..report }));
        }
        let incident = change.incident.clone();
        self.put_incident(call.actor(), change, Vec::new()).await?;
        self.show_with_evidence(incident).await
    }

    /// A key like another, for whoever calls.
    fn key_in_place_of(&self, call: &Call<'_>, key: &Key) -> Result<NewKey, Refusal> {
        if key.project.is_none() {
            call.refuse_if_restricted()?;
        }
        self.key_like(key, Some(&call.caller.key.id))
    }

    /// Mints the key in the place of the exposed one, where that was not done at once.
    pub(crate) async fn replace_by_incident(&self, call: &Call<'_>) -> Answer {
        let incident = self.open_one(call).await?;
        Fields::of(call)?.only(&[])?;
        if let Some(replacement) = &incident.replacement {
            let words =
                format!("'{replacement}' has taken the key's place already. If its secret was lost, rotate it.");
            return Err(Refusal::new(Reason::Conflict, words));
        }
        let (old, _) = self.key_or_former(&KeyId::new(incident.key.id.clone())).await?;
        let key = self.key_in_place_of(call, &old)?;
        let mut change = change(IncidentStep::Update, incident);
        change.incident.replacement = Some(key.record.id.to_string());
        change.replacement = Some(key.record.clone());
        let incident = change.incident.clone();
        self.put_incident(call.actor(), change, Vec::new()).await?;
        self.answer_with(call, incident, &old.id, Some(&key)).await
    }

    /// An incident as it stands, with the replacement's secret where there is a new one. The replacement is held to the
    /// limits of the key in whose place it is before anybody has its secret.
    async fn answer_with(
        &self,
        call: &Call<'_>,
        incident: Incident,
        old: &KeyId,
        replacement: Option<&NewKey>,
    ) -> Answer {
        if let Some(key) = replacement {
            self.limit_alike(call, old, &key.record.id).await?;
        }
        // The key is over whether or not it can be told what it did: the answer that shows a secret once must not be lost.
        let mut shown = match self.show_with_evidence(incident.clone()).await {
            Ok(shown) => shown,
            Err(refusal) => {
                let mut shown = show(&incident);
                let evidence = json!({"evidence": null, "evidence_error": refusal.message});
                amounts::merge(&mut shown, evidence.as_object().cloned().unwrap_or_default());
                shown
            }
        };
        if let Some(key) = replacement {
            shown["replacement"] = show_secret(key);
        }
        Ok(shown)
    }

    async fn show_with_evidence(&self, incident: Incident) -> Answer {
        let mut shown = show(&incident);
        let id = incident.id.clone();
        let closed = self.exposure.incidents.final_report(&id).await.map_err(|error| unavailable(&error))?;
        let mut report = match closed {
            Some(report) => report.json,
            None => report::json(&self.report_of(incident).await?),
        };
        let parts = ["evidence", "upstream_usage"].map(|part| (part.to_owned(), report[part].take()));
        amounts::merge(&mut shown, Map::from_iter(parts));
        Ok(shown)
    }
}
