//! GitHub's reports of keys that it found in the open.
//!
//! Promises: only a verified report is acted on; once a report is answered with success, none of the keys in it is in
//! force; a report that comes again changes nothing; a store that fails is answered with 503, what was done stays done, and
//! the report sent again does the rest. A reported secret that is in force no more, because its key is gone or was rotated,
//! is a true positive all the same, for as long as it is remembered.

use exposure::github::{ALERTS_MAX, Alert, Label, Labelled, MalformedAlerts, Verified, answer, token_hash};
use exposure::incident::{Ending, Incident, SIGHTINGS_MAX, Sighting};
use keys::Digest;
use store::{Actor, IncidentFilter, IncidentStep, Key, KeyId};
use wire::refusal::{Reason, Refusal};

use crate::incident_steps::{change, key_leaked};
use crate::{Console, unavailable};

/// Who reports, in audit events and incidents.
const REPORTER: &str = "github_secret_scanning";
/// The source of such incidents.
const SOURCE: &str = "github";

impl Console {
    /// Acts on a verified report from an address; the answer is the protocol's.
    ///
    /// # Errors
    /// 400 for a body that is no report, 503 when the store fails: then the report should come again.
    pub async fn receive_github(&self, verified: Verified<'_>, address: &str) -> Result<String, Refusal> {
        let alerts = verified.alerts().map_err(|error| malformed(&error))?;
        let (mut labelled, mut failed) = (Vec::with_capacity(alerts.len()), None);
        for alert in &alerts {
            match self.label(alert, address).await {
                Ok(label) => {
                    let token_hash = token_hash(&alert.token);
                    labelled.push(Labelled { token_hash, kind: alert.kind.clone(), label });
                }
                // The other keys of the report must not wait for this one.
                Err(refusal) => failed = Some(refusal),
            }
        }
        match failed {
            None => Ok(answer(&labelled).to_string()),
            Some(refusal) => Err(refusal),
        }
    }

    async fn label(&self, alert: &Alert, address: &str) -> Result<Label, Refusal> {
        // Shape and checksum: a stranger's token costs no look-up.
        if self.shape.parse(alert.token.expose()).is_err() {
            return Ok(Label::FalsePositive);
        }
        let digest = self.pepper.digest(alert.token.expose());
        let _one_at_a_time = self.writing.lock().await;
        match self.exposed(&digest).await? {
            None => Ok(Label::FalsePositive),
            Some(exposed) => self.act_on(alert, exposed, address).await.map(|()| Label::TruePositive),
        }
    }

    /// Whose secret it is, or was.
    async fn exposed(&self, digest: &Digest) -> Result<Option<Exposed>, Refusal> {
        if let Some(entry) = self.snapshot().key(digest) {
            // The time of a secret that was rotated out ends by itself; the key has another by then.
            let is_over = entry.digest != entry.key.digest && entry.has_expired(self.now());
            return Ok(Some(Exposed { key: entry.key.clone(), ended_at: entry.expires_at.filter(|_| is_over) }));
        }
        let incidents = &self.exposure.incidents;
        let former = incidents.former_secret(digest).await.map_err(|error| unavailable(&error))?;
        let Some((id, ended_at)) = former else { return Ok(None) };
        let key = match self.snapshot().key_by_id(&id) {
            Some(entry) => Some(entry.key.clone()),
            None => incidents.former_key(&id).await.map_err(|error| unavailable(&error))?.map(|(key, _)| key),
        };
        Ok(key.map(|key| Exposed { key, ended_at: Some(ended_at) }))
    }

    /// Ends a key that is in force, and writes down where it was found, unless that is known.
    async fn act_on(&self, alert: &Alert, exposed: Exposed, address: &str) -> Result<(), Refusal> {
        // A decoy is there to be found, and opens nothing; it alarms by itself when somebody tries it.
        if exposed.key.is_decoy {
            return Ok(());
        }
        // Also one that is suspended: it must not be resumed any more.
        let is_live = exposed.ended_at.is_none();
        let sighting = Sighting {
            told_at: self.now(),
            by: SOURCE.to_owned(),
            url: alert.url.clone(),
            source: alert.source.clone(),
        };
        let known = self.incident_of(&exposed.key.id).await?;
        let mut change = match known {
            // A closed incident does not cover what happens now.
            Some(incident) if incident.closed_at.is_none() || !is_live => {
                let is_news = !incident.has_seen(&sighting) && incident.sightings.len() < SIGHTINGS_MAX;
                if !is_news && !is_live {
                    return Ok(());
                }
                change(IncidentStep::Update, incident)
            }
            _ => change(IncidentStep::Open, self.leak(&exposed, &sighting)),
        };
        if !change.incident.has_seen(&sighting) && change.incident.sightings.len() < SIGHTINGS_MAX {
            change.incident.sightings.push(sighting);
        }
        if is_live {
            self.end_key(&mut change, &exposed.key, Ending::Revoked);
        }
        if is_live || change.step == IncidentStep::Open {
            self.announce(&mut change, Some(address));
        }
        let leaked = key_leaked(&change.incident);
        let actor = Actor::Reporter { name: REPORTER, address: address.to_owned() };
        self.put_incident(actor, change, vec![leaked]).await
    }

    /// The last incident of a key.
    pub(crate) async fn incident_of(&self, key: &KeyId) -> Result<Option<Incident>, Refusal> {
        let filter = IncidentFilter { key: Some(key.clone()), limit: 1, ..IncidentFilter::default() };
        let page = self.exposure.incidents.incidents(&filter).await.map_err(|error| unavailable(&error))?;
        Ok(page.and_then(|(found, _)| found.into_iter().next()))
    }

    /// An incident of a key that GitHub found; whoever makes one of a key that is in force ends the key with it.
    fn leak(&self, exposed: &Exposed, sighting: &Sighting) -> Incident {
        Incident {
            id: self.new_id(Incident::ID_PREFIX),
            closed_at: None,
            reason: "GitHub secret scanning found the key.".to_owned(),
            source: SOURCE.to_owned(),
            opened_by: REPORTER.to_owned(),
            key: self.facts(&exposed.key),
            exposed_since: None,
            found_at: sighting.told_at,
            ending: Ending::GoneBefore,
            ended_at: exposed.ended_at,
            replacement: None,
            limits: Vec::new(),
            sightings: Vec::new(),
            remarks: Vec::new(),
        }
    }
}

/// A key whose secret was found.
struct Exposed {
    key: Key,
    /// When that secret went out of force.
    ended_at: Option<i64>,
}

fn malformed(error: &MalformedAlerts) -> Refusal {
    let reason = match error {
        MalformedAlerts::Shape { .. } => Reason::InvalidJson,
        MalformedAlerts::TooMany => Reason::BodyTooLarge,
    };
    Refusal::new(reason, format!("This is no report of at most {ALERTS_MAX} alerts: {error}."))
}
