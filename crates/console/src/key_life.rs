//! How a key's life goes on: changed, rotated, suspended, resumed.
//!
//! Promises: at most two secrets of a key are valid; until a new secret has reached its delivery the one before is in force
//! as it was, also when the delivery fails or the process dies; a new secret is in the one answer that makes it, or goes to the delivery that the operator named, never both;
//! while a delivery is under way other calls that write go on.

use std::sync::Arc;

use keys::Secret;
use serde_json::{Value, json};
use store::{Act, Actor, FormerSecret, Key, KeyEntry, KeyId, Suspension, Undelivered};
use wire::refusal::{Reason, Refusal};

use crate::input::Fields;
use crate::key_terms::{OVERLAP_SECONDS_DEFAULT, overlap};
use crate::{Answer, Call, Console, Event, no_such};

/// Paths of rotations by hand.
pub(crate) const ROTATIONS: [&str; 2] = [
    "/v1/sallyport/projects/{project_id}/api_keys/{api_key_id}/rotate",
    "/v1/sallyport/admin_api_keys/{key_id}/rotate",
];
/// Wait before a failed scheduled rotation is tried again, seconds.
const RETRY_SECONDS: i64 = 900;

/// A rotation's terms.
pub(crate) struct Rotation {
    pub(crate) overlap_seconds: i64,
    /// When the new secret ends; `None`: it lives as long as the one before was meant to.
    pub(crate) expires_at: Option<i64>,
    pub(crate) deliver_to: Option<String>,
}

/// What goes to a delivery.
#[derive(Debug)]
pub struct NewSecret {
    /// The key.
    pub key_id: String,
    /// Its name.
    pub key_name: String,
    /// Its project.
    pub project_id: Option<String>,
    /// The secret.
    pub secret: Secret,
    /// When it ends.
    pub expires_at: Option<i64>,
}

/// Where new secrets go by themselves: files, commands and manifests that the operator's configuration names.
#[async_trait::async_trait]
pub trait Deliveries: Send + Sync {
    /// Their names.
    fn names(&self) -> Vec<String>;

    /// Takes a secret there, within a bounded time.
    ///
    /// # Errors
    /// Why it did not arrive. No secret is in the words.
    async fn deliver(&self, to: &str, secret: &NewSecret) -> Result<(), String>;
}

impl Console {
    /// The key that a call's path names.
    pub(crate) fn key_of(&self, call: &Call<'_>) -> Result<Arc<KeyEntry>, Refusal> {
        let is_admin = call.endpoint.path.contains("admin_api_keys");
        if is_admin {
            return self.admin_key(call);
        }
        let project = self.project(call)?;
        self.project_key(call, &project)
    }

    /// The key as its own kind of answer.
    pub(crate) fn show_key(&self, id: &KeyId) -> Answer {
        let snapshot = self.snapshot();
        let entry = snapshot.key_by_id(id).ok_or_else(|| no_such("API key", id.as_str()))?;
        match entry.key.project.as_ref().and_then(|id| snapshot.project(id)) {
            Some(project) => Ok(self.show_project_key(&snapshot, project, entry)),
            None => Ok(self.show_admin_key(&snapshot.organization, entry)),
        }
    }

    /// Stores a key as it is from now on.
    pub(crate) async fn put_key(&self, actor: Actor, key: Key, events: Vec<Event>) -> Result<(), Refusal> {
        self.commit(actor, Act::UpdateKey(key), events).await
    }

    /// OpenAI's update: `expires_in_seconds`, `scopes`, `name`; ours beside them.
    pub(crate) async fn update_key(&self, call: &Call<'_>) -> Answer {
        let fields = Fields::of(call)?;
        let entry = self.key_of(call)?;
        if entry.has_expired(self.now()) {
            let words = "This key has expired and cannot be changed. Rotate it, or make another.";
            return Err(Refusal::new(Reason::Conflict, words));
        }
        let named = ["name", "scopes", "expires_in_seconds", "sallyport"];
        if let Some(name) = named.into_iter().find(|name| fields.has(name) && fields.value(name).is_none()) {
            return Err(fields.wrong(name, "must not be null: leave it out to keep what is there"));
        }
        if !named.into_iter().any(|name| fields.has(name)) {
            let words = format!("Name at least one of {}.", named.join(", "));
            return Err(Refusal::new(Reason::InvalidValue, words).param("scopes"));
        }
        let mut key = entry.key.clone();
        if fields.value("name").is_some() {
            key.name = fields.name()?;
        }
        self.read_key_terms(&mut key, &fields, false)?;
        if fields.has("expires_in_seconds") {
            let snapshot = self.snapshot();
            let project = key.project.as_ref().and_then(|id| snapshot.project(id));
            let made_at = key.secret_created_at;
            key.expires_at = self.end_of_life_from(made_at, project.map(|project| &**project), &fields)?;
            if key.project.is_none() && key.expires_at.is_some() {
                self.refuse_last_admin_key(&key)?;
            }
            // No secret outlives its key's end.
            let end = key.expires_at.unwrap_or(i64::MAX);
            key.former.iter_mut().for_each(|former| former.expires_at = former.expires_at.min(end));
        }
        let changes = json!({
            "name": key.name, "expires_at": key.expires_at, "scopes": key.bounds.scopes,
            "sallyport": fields.value("sallyport"),
        });
        let event = updated(&key, changes);
        let id = key.id.clone();
        self.put_key(call.actor(), key, vec![event]).await?;
        self.show_key(&id)
    }

    /// Suspends a key: refused and cut until it is resumed.
    pub(crate) async fn suspend_key(&self, call: &Call<'_>) -> Answer {
        let fields = Fields::of(call)?;
        fields.only(&["reason"])?;
        let reason = fields.text("reason")?.unwrap_or_else(|| "by an administrator".to_owned());
        let entry = self.key_of(call)?;
        if entry.key.id == call.caller.key.id {
            let words = "A key cannot suspend itself: nobody might be left to resume it. Use another admin key.";
            return Err(Refusal::new(Reason::Conflict, words));
        }
        if entry.key.project.is_none() {
            self.refuse_last_admin_key(&entry.key)?;
        }
        self.suspend(call.actor(), &entry.key, reason).await?;
        self.show_key(&entry.key.id)
    }

    /// Suspends a key that is not suspended.
    pub(crate) async fn suspend(&self, actor: Actor, key: &Key, reason: String) -> Result<(), Refusal> {
        if key.suspension.is_some() {
            return Ok(());
        }
        let changed = Key { suspension: Some(Suspension { at: self.now(), reason: reason.clone() }), ..key.clone() };
        let event = updated(&changed, json!({"suspended": reason}));
        let told = json!({"reason": reason});
        self.put_key(actor, changed, vec![event]).await?;
        self.tell("api_key.suspended", key, told).await;
        Ok(())
    }

    /// Resumes a key.
    pub(crate) async fn resume_key(&self, call: &Call<'_>) -> Answer {
        let entry = self.key_of(call)?;
        if entry.key.suspension.is_some() {
            let key = Key { suspension: None, ..entry.key.clone() };
            let event = updated(&key, json!({"suspended": null}));
            self.put_key(call.actor(), key, vec![event]).await?;
        }
        self.show_key(&entry.key.id)
    }

    /// Rotates a key by hand.
    pub(crate) async fn rotate_key(&self, call: &Call<'_>) -> Answer {
        let fields = Fields::of(call)?;
        fields.only(&["overlap_seconds", "expires_in_seconds", "deliver_to"])?;
        let key = self.key_of(call)?.key.clone();
        if key.is_decoy {
            return Err(Refusal::new(Reason::Conflict, "A decoy has nothing to rotate. Make another."));
        }
        let snapshot = self.snapshot();
        let project = key.project.as_ref().and_then(|id| snapshot.project(id));
        let expires_at = match fields.has("expires_in_seconds") {
            true => self.end_of_life(project.map(|project| &**project), &fields)?,
            false => None,
        };
        let deliver_to = fields.text("deliver_to")?;
        deliver_to.iter().try_for_each(|name| self.known_delivery(&fields, name))?;
        let overlap_seconds = overlap(&fields)?.unwrap_or(OVERLAP_SECONDS_DEFAULT);
        let rotation = Rotation { overlap_seconds, expires_at, deliver_to };
        let secret = self.rotate(Some(call.caller), call.actor(), &key.id, &rotation).await?;
        let mut shown = self.show_key(&key.id)?;
        if let Some(secret) = secret {
            shown["value"] = secret.expose().into();
        }
        Ok(shown)
    }

    /// Gives a key a new secret. It is returned where it goes nowhere else. Waits for its turn to write by itself.
    ///
    /// # Errors
    /// Then the secret before is in force as it was.
    pub(crate) async fn rotate(
        &self,
        caller: Option<&Arc<KeyEntry>>,
        actor: Actor,
        id: &KeyId,
        rotation: &Rotation,
    ) -> Result<Option<Secret>, Refusal> {
        let (before, after, secret, under_way) = {
            let _one_at_a_time = self.writing.lock().await;
            if caller.is_some_and(|caller| caller.revocation.is_revoked()) {
                // While it waited for its turn.
                return Err(Refusal::new(Reason::RevokedKey, "This API key was revoked. Nothing was changed."));
            }
            let under_way = self.keeping.begin_rotation(id).ok_or_else(|| {
                let words = "A new secret of this key is on its way to its delivery. Wait until it has arrived.";
                Refusal::new(Reason::Conflict, words)
            })?;
            let snapshot = self.snapshot();
            let entry = snapshot.key_by_id(id).ok_or_else(|| no_such("API key", id.as_str()))?;
            // A secret that a crash kept from its delivery is nobody's.
            let before = entry.key.without_undelivered();
            let (after, secret) = self.rotated(&before, rotation);
            let changes = json!({"rotated": {
                "redacted_value": after.redacted, "overlap_seconds": rotation.overlap_seconds,
                "deliver_to": rotation.deliver_to,
            }});
            self.put_key(actor.clone(), after.clone(), vec![updated(&after, changes)]).await?;
            (before, after, secret, under_way)
        };
        let Some(to) = &rotation.deliver_to else {
            self.tell("api_key.rotated", &after, told(&before, &after, rotation)).await;
            return Ok(Some(secret));
        };
        let delivered = self.keeping.deliveries.deliver(to, &new_secret(&after, secret)).await;
        let ended = self.end_delivery(actor, &before, &after, rotation, delivered.clone()).await;
        drop(under_way);
        match (delivered, ended?) {
            (Ok(()), Some(after)) => {
                self.tell("api_key.rotated", &after, told(&before, &after, rotation)).await;
                Ok(None)
            }
            (Ok(()), None) => {
                let words = "The key was deleted while its new secret was delivered: that secret opens nothing.";
                Err(Refusal::new(Reason::Conflict, words))
            }
            (Err(why), _) => {
                let failed = json!({"deliver_to": to, "error": why});
                self.tell("api_key.rotation_failed", &before, failed).await;
                let words = format!(
                    "The new secret could not be delivered to '{to}': {why}. The secret before stays in force."
                );
                Err(Refusal::new(Reason::Conflict, words))
            }
        }
    }

    /// The key with a new secret. Until that is delivered, the one before is in force as it was.
    fn rotated(&self, before: &Key, rotation: &Rotation) -> (Key, Secret) {
        let now = self.now();
        let secret = self.shape.mint(before.kind, &*self.random);
        let is_delivered = rotation.deliver_to.is_some();
        let overlap_seconds = if is_delivered { i64::MAX } else { rotation.overlap_seconds };
        let life = before.expires_at.map(|end| end.saturating_sub(before.secret_created_at));
        let snapshot = self.snapshot();
        let project = before.project.as_ref().and_then(|id| snapshot.project(id));
        let life = life.into_iter().chain(self.lifetime_seconds_max(project.map(|project| &**project))).min();
        let mut plan = before.rotation.clone();
        if let Some(plan) = &mut plan {
            plan.next_at = now.saturating_add(plan.every_seconds);
        }
        let after = Key {
            digest: self.pepper.digest(secret.expose()),
            redacted: keys::redacted(&secret),
            secret_created_at: now,
            expires_at: rotation.expires_at.or(life.map(|life| now.saturating_add(life))),
            former: former(before, now, overlap_seconds),
            rotation: plan,
            undelivered: is_delivered.then_some(Undelivered {
                former_expires_at: before.expires_at,
                former_created_at: before.secret_created_at,
            }),
            ..before.clone()
        };
        (after, secret)
    }

    /// Writes down how a delivery ended: the overlap begins, or the secrets before are in force again. `None`: the key is
    /// gone.
    async fn end_delivery(
        &self,
        actor: Actor,
        before: &Key,
        after: &Key,
        rotation: &Rotation,
        delivered: Result<(), String>,
    ) -> Result<Option<Key>, Refusal> {
        let _one_at_a_time = self.writing.lock().await;
        let snapshot = self.snapshot();
        let Some(entry) = snapshot.key_by_id(&after.id).filter(|entry| entry.digest == after.digest) else {
            return Ok(None);
        };
        let now = self.now();
        let mut key = entry.key.clone();
        match &delivered {
            Ok(()) => {
                key.former = former(before, now, rotation.overlap_seconds);
                key.undelivered = None;
            }
            Err(_) => {
                key = key.without_undelivered();
                key.former = before.former.clone().filter(|former| former.expires_at > now);
            }
        }
        if let Some(plan) = &mut key.rotation {
            plan.last_error = delivered.clone().err();
            if delivered.is_err() {
                plan.next_at = now.saturating_add(RETRY_SECONDS);
            }
        }
        let event = updated(&key, json!({"delivered": delivered.is_ok(), "error": delivered.err()}));
        self.put_key(actor, key.clone(), vec![event]).await?;
        Ok(Some(key))
    }

    /// Takes back a secret that a crash kept from its delivery, where no plan makes another.
    pub(crate) async fn take_back(&self, id: &KeyId) -> Result<(), Refusal> {
        let _one_at_a_time = self.writing.lock().await;
        let snapshot = self.snapshot();
        let Some(entry) = snapshot.key_by_id(id).filter(|entry| entry.key.undelivered.is_some()) else { return Ok(()) };
        let key = entry.key.without_undelivered();
        let why = "the gate ended before the new secret was delivered";
        let event = updated(&key, json!({"delivered": false, "error": why}));
        self.put_key(Actor::Local, key.clone(), vec![event]).await?;
        self.tell("api_key.rotation_failed", &key, json!({"error": why})).await;
        Ok(())
    }
}

/// The secret before, for as long as it is still valid.
fn former(before: &Key, now: i64, overlap_seconds: i64) -> Option<FormerSecret> {
    let end = now.saturating_add(overlap_seconds);
    let expires_at = before.expires_at.map_or(end, |own| own.min(end));
    let former = FormerSecret { digest: before.digest, redacted: before.redacted.clone(), expires_at };
    (expires_at > now).then_some(former)
}

/// What webhooks hear of a rotation.
fn told(before: &Key, after: &Key, rotation: &Rotation) -> Value {
    json!({
        "redacted_value": after.redacted, "expires_at": after.expires_at, "deliver_to": rotation.deliver_to,
        "former_redacted_value": before.redacted,
        "former_expires_at": after.former.as_ref().map(|former| former.expires_at),
    })
}

fn new_secret(key: &Key, secret: Secret) -> NewSecret {
    NewSecret {
        key_id: key.id.to_string(),
        key_name: key.name.clone(),
        project_id: key.project.as_ref().map(ToString::to_string),
        secret,
        expires_at: key.expires_at,
    }
}

/// The audit event of a changed key.
pub(crate) fn updated(key: &Key, changes: Value) -> Event {
    let payload = json!({"id": key.id.as_str(), "changes_requested": changes});
    Event { kind: "api_key.updated", project: key.project.clone(), payload }
}
