//! What calls about incidents say, and which incident and key they mean.

use exposure::incident::{Ending, Incident};
use keys::Secret;
use store::{Key, KeyId};
use wire::key_like::holds_key;
use wire::refusal::{Reason, Refusal};

use crate::input::{Fields, invalid};
use crate::{Call, Console, no_such, unavailable};

impl Console {
    /// The incident in the path.
    pub(crate) async fn incident(&self, call: &Call<'_>) -> Result<Incident, Refusal> {
        let id = call.param("incident_id");
        let found = self.exposure.incidents.incident(id).await.map_err(|error| unavailable(&error))?;
        let mut incident = found.ok_or_else(|| no_such("incident", id))?;
        self.bring_up_to_date(&mut incident).await?;
        Ok(incident)
    }

    /// A key that was left, and was revoked since by itself, has ended too.
    pub(crate) async fn bring_up_to_date(&self, incident: &mut Incident) -> Result<(), Refusal> {
        let id = KeyId::new(incident.key.id.clone());
        let was_left = matches!(incident.ending, Ending::LeftInForce | Ending::Suspended);
        if incident.closed_at.is_some() || !was_left || self.snapshot().key_by_id(&id).is_some() {
            return Ok(());
        }
        let former = self.exposure.incidents.former_key(&id).await.map_err(|error| unavailable(&error))?;
        if let Some((_, ended_at)) = former {
            (incident.ending, incident.ended_at) = (Ending::Revoked, Some(ended_at));
        }
        Ok(())
    }

    /// The key that an incident is opened for: by its id, or by the leaked secret itself, which is often all that is known.
    pub(crate) async fn key_in_question(&self, fields: &Fields) -> Result<KeyId, Refusal> {
        // Read past the usual test of words: here a key is what is asked for.
        let secret =
            fields.value("key").map(|value| value.as_str().ok_or_else(|| fields.wrong("key", "must be a string")));
        let secret = match (fields.text("key_id")?, secret.transpose()?) {
            (Some(id), None) => return Ok(KeyId::new(id)),
            (None, Some(secret)) => Secret::new(secret),
            _ => {
                return Err(invalid(
                    "key_id",
                    "Name one of 'key_id' (the key's id) and 'key' (the leaked key itself).",
                ));
            }
        };
        let digest = self.pepper.digest(secret.expose());
        if let Some(entry) = self.snapshot().key(&digest) {
            return Ok(entry.key.id.clone());
        }
        let former = self.exposure.incidents.former_secret(&digest).await.map_err(|error| unavailable(&error))?;
        former.map(|(id, _)| id).ok_or_else(|| {
            Refusal::new(Reason::ObjectNotFound, "No API key of this gate has, or lately had, this secret.")
                .param("key")
        })
    }

    /// The incident in the path, if something can be done with it.
    pub(crate) async fn open_one(&self, call: &Call<'_>) -> Result<Incident, Refusal> {
        let incident = self.incident(call).await?;
        match incident.closed_at {
            None => Ok(incident),
            Some(_) => Err(Refusal::new(Reason::Conflict, "This incident is closed. Open another one for the key.")),
        }
    }

    /// A key, or one that is gone with the time of its end.
    pub(crate) async fn key_or_former(&self, id: &KeyId) -> Result<(Key, Option<i64>), Refusal> {
        if let Some(entry) = self.snapshot().key_by_id(id) {
            return Ok((entry.key.clone(), None));
        }
        let former = self.exposure.incidents.former_key(id).await.map_err(|error| unavailable(&error))?;
        former.map(|(key, ended_at)| (key, Some(ended_at))).ok_or_else(|| no_such("API key", id.as_str()))
    }

    /// `exposed_since`, where it stands: a time in the key's life, or null for one that nobody knows.
    pub(crate) fn exposed_since(&self, fields: &Fields, key: &Key) -> Result<Option<Option<i64>>, Refusal> {
        if !fields.has("exposed_since") {
            return Ok(None);
        }
        let Some(value) = fields.value("exposed_since") else { return Ok(Some(None)) };
        let wrong = || fields.wrong("exposed_since", "must be a time in Unix seconds that is not in the future");
        let since = value.as_i64().filter(|since| (0..=self.now()).contains(since)).ok_or_else(wrong)?;
        // Nobody can have had the key before it was made.
        Ok(Some(Some(since.max(key.created_at))))
    }
}

/// How the key is to end, where something is said about it.
pub(crate) fn ending(fields: &Fields) -> Result<Option<Ending>, Refusal> {
    match (fields.bool("revoke")?, fields.bool("suspend")?.unwrap_or(false)) {
        (Some(true), true) => Err(fields.wrong("suspend", "cannot be true together with 'revoke'")),
        (_, true) => Ok(Some(Ending::Suspended)),
        (Some(false), false) => Ok(Some(Ending::LeftInForce)),
        (Some(true), false) => Ok(Some(Ending::Revoked)),
        (None, false) => Ok(None),
    }
}

/// Words of some length, where they are there. They are kept, told and reported: a key must not be in them.
pub(crate) fn words(fields: &Fields, name: &str, chars_max: usize) -> Result<Option<String>, Refusal> {
    let Some(value) = fields.value(name) else { return Ok(None) };
    let text = value.as_str().ok_or_else(|| fields.wrong(name, "must be a string"))?;
    if holds_key(text) {
        return Err(fields.wrong(name, "holds what looks like a key: leave it out, these words are kept and sent"));
    }
    match text.chars().count() {
        _ if text.trim().is_empty() => Err(fields.wrong(name, "must not be empty")),
        count if count > chars_max => Err(fields.wrong(name, &format!("is longer than {chars_max} characters"))),
        _ => Ok(Some(text.to_owned())),
    }
}
