//! Ours: `/v1/sallyport/upstreams/{upstream_id}/keys`, the keys that requests to an upstream carry.
//!
//! | operation | what it does |
//! |---|---|
//! | `GET …/keys` | redacted, with health, requests under way and last use |
//! | `POST …/keys` | `name` and `value` (given once, sealed, never shown again) or `source` (a name in `[vault.sources]`) |
//! | `POST …/keys/{id}` | `name`; `status` `enabled` or `disabled`: at once, requests under way finish |
//! | `DELETE …/keys/{id}` | out of the vault at once, requests under way finish |
//!
//! With `service_account_id` and `key_id`, the upstream's own ids, a rotation can delete the key upstream; a key that a
//! rotation made has them.

use serde_json::{Value, json};
use store::{Act, Upstream, UpstreamAct, UpstreamKey, UpstreamKeyState};
use wire::refusal::{Reason, Refusal};

use crate::input::{Fields, deleted, page_of};
use crate::upstreams::{PAGES, Standing, show_material};
use crate::{Answer, Call, Console, Event, no_such};

/// Most keys of an upstream, in any state. Each request looks at all that are enabled.
const KEYS_MAX: usize = 8;

/// Puts how a key stands on what is shown of it.
pub(crate) fn add_standing(shown: &mut Value, standing: Result<Standing, String>) {
    let (health, problem) = match &standing {
        Ok(standing) if standing.is_healthy => ("healthy", None),
        Ok(_) => ("failing", None),
        Err(problem) => ("unavailable", Some(problem.clone())),
    };
    let standing = standing.ok();
    shown["health"] = health.into();
    shown["problem"] = problem.into();
    shown["retry_in_ms"] = standing.as_ref().and_then(|standing| standing.open_ms).into();
    shown["in_flight"] = standing.as_ref().map_or(0, |standing| standing.in_flight).into();
    shown["last_used_at"] = standing.and_then(|standing| standing.last_used_at).into();
}

/// What happened to a key, for the audit log.
pub(crate) fn event(kind: &'static str, key: &UpstreamKey) -> Event {
    let mut data = show_material(&key.material);
    data["name"] = key.name.as_str().into();
    data["status"] = key.state.word().into();
    data["upstream_id"] = key.upstream.as_str().into();
    Event { kind, project: None, payload: json!({"id": key.id, "data": data}) }
}

/// An id of the upstream's, where it is given.
fn upstream_id(fields: &Fields, name: &str) -> Result<Option<String>, Refusal> {
    let id = fields.text(name)?;
    let is_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match &id {
        Some(text) if text.is_empty() || !text.bytes().all(is_id) => {
            Err(fields.wrong(name, "must be an id of the upstream's"))
        }
        _ => Ok(id),
    }
}

impl Console {
    fn show_key_of_upstream(&self, key: &UpstreamKey) -> Result<Value, Refusal> {
        let mut shown = show_material(&key.material);
        shown["object"] = "sallyport.upstream.key".into();
        shown["id"] = key.id.as_str().into();
        shown["upstream_id"] = key.upstream.as_str().into();
        shown["name"] = key.name.as_str().into();
        shown["status"] = key.state.word().into();
        shown["service_account_id"] = key.service_account.clone().into();
        shown["key_id"] = key.upstream_key_id.clone().into();
        shown["created_at"] = key.created_at.into();
        add_standing(&mut shown, self.vault()?.in_force.standing(&key.upstream, &key.id));
        Ok(shown)
    }

    /// The key in the path.
    fn upstream_key(&self, call: &Call<'_>, upstream: &Upstream) -> Result<UpstreamKey, Refusal> {
        let id = call.param("upstream_key_id");
        let key = self.snapshot().upstreams.keys.get(id).filter(|key| key.upstream == upstream.id).cloned();
        key.ok_or_else(|| no_such("upstream key", id))
    }

    pub(crate) fn list_upstream_keys(&self, call: &Call<'_>) -> Answer {
        let upstream = self.upstream(call.param("upstream_id"))?;
        let snapshot = self.snapshot();
        let keys = snapshot.upstreams.keys_of(&upstream.id);
        let shown: Vec<Value> = keys.into_iter().map(|key| self.show_key_of_upstream(key)).collect::<Result<_, _>>()?;
        page_of(call, PAGES, &shown, |shown| shown["id"].as_str().unwrap_or_default(), Value::clone)
    }

    pub(crate) fn retrieve_upstream_key(&self, call: &Call<'_>) -> Answer {
        let upstream = self.upstream(call.param("upstream_id"))?;
        self.show_key_of_upstream(&self.upstream_key(call, &upstream)?)
    }

    pub(crate) async fn create_upstream_key(&self, call: &Call<'_>) -> Answer {
        let upstream = self.upstream(call.param("upstream_id"))?;
        let fields = Fields::of(call)?;
        fields.only(&["name", "value", "source", "service_account_id", "key_id"])?;
        if self.snapshot().upstreams.keys_of(&upstream.id).len() >= KEYS_MAX {
            let words = format!("This upstream has {KEYS_MAX} keys already: delete some.");
            return Err(Refusal::new(Reason::Conflict, words));
        }
        let id = self.new_id(UpstreamKey::ID_PREFIX);
        let place = UpstreamKey::place(&id, &upstream);
        let key = UpstreamKey {
            upstream: upstream.id.clone(),
            name: fields.name()?,
            material: self.material(&fields, "value", (UpstreamKey::TABLE, &place), None)?,
            state: UpstreamKeyState::Enabled,
            service_account: upstream_id(&fields, "service_account_id")?,
            upstream_key_id: upstream_id(&fields, "key_id")?,
            created_at: self.now(),
            id,
        };
        self.refuse_shared_account(&key)?;
        let created = event("upstream_key.created", &key);
        self.commit(call.actor(), Act::Upstream(UpstreamAct::CreateKey(key.clone())), vec![created]).await?;
        self.show_key_of_upstream(&key)
    }

    pub(crate) async fn update_upstream_key(&self, call: &Call<'_>) -> Answer {
        let upstream = self.upstream(call.param("upstream_id"))?;
        let mut key = self.upstream_key(call, &upstream)?;
        let fields = Fields::of(call)?;
        fields.only(&["name", "status", "service_account_id", "key_id"])?;
        self.refuse_during_rotation(&upstream.id)?;
        if fields.has("name") {
            key.name = fields.name()?;
        }
        match fields.text("status")?.as_deref() {
            None => {}
            Some("enabled") => key.state = UpstreamKeyState::Enabled,
            Some("disabled") => key.state = UpstreamKeyState::Disabled,
            Some(_) => return Err(fields.wrong("status", "must be enabled or disabled")),
        }
        if fields.has("service_account_id") {
            key.service_account = upstream_id(&fields, "service_account_id")?;
        }
        if fields.has("key_id") {
            key.upstream_key_id = upstream_id(&fields, "key_id")?;
        }
        self.refuse_shared_account(&key)?;
        let updated = event("upstream_key.updated", &key);
        self.commit(call.actor(), Act::Upstream(UpstreamAct::UpdateKey(key.clone())), vec![updated]).await?;
        self.show_key_of_upstream(&key)
    }

    /// A rotation deletes the service account of the key that goes, and every key of it with it: two keys must not share
    /// one.
    fn refuse_shared_account(&self, key: &UpstreamKey) -> Result<(), Refusal> {
        let snapshot = self.snapshot();
        let keys = snapshot.upstreams.keys_of(&key.upstream);
        let shares = |other: &&UpstreamKey| other.id != key.id && other.service_account == key.service_account;
        let other = keys.iter().map(|other| &**other).find(shares).filter(|_| key.service_account.is_some());
        match other {
            None => Ok(()),
            Some(other) => {
                let words = format!(
                    "'{}' is a key of this service account already. Its rotation would delete both: give each key one of its own.",
                    other.id
                );
                Err(Refusal::new(Reason::Conflict, words).param("service_account_id"))
            }
        }
    }

    pub(crate) async fn delete_upstream_key(&self, call: &Call<'_>) -> Answer {
        let upstream = self.upstream(call.param("upstream_id"))?;
        let key = self.upstream_key(call, &upstream)?;
        self.refuse_during_rotation(&upstream.id)?;
        let gone = event("upstream_key.deleted", &key);
        self.commit(call.actor(), Act::Upstream(UpstreamAct::DeleteKey(key.id.clone())), vec![gone]).await?;
        Ok(deleted("sallyport.upstream.key.deleted", &key.id))
    }
}
