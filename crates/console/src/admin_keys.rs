//! Administration keys.

use std::sync::Arc;

use keys::Kind;
use serde_json::{Value, json};
use store::{Act, Key, KeyEntry, KeyId, Organization};
use wire::refusal::{Reason, Refusal};

use crate::input::{Fields, deleted, invalid, page, query};
use crate::new::KeyFor;
use crate::project_keys::{key_created, key_deleted};
use crate::{Answer, Call, Console, no_such};

fn show(organization: &Organization, key: &Key) -> Value {
    json!({
        "object": "organization.admin_api_key",
        "id": key.id.as_str(),
        "name": key.name,
        "redacted_value": key.redacted,
        "created_at": key.created_at,
        "last_used_at": null,
        "expires_at": key.expires_at,
        "owner": {
            "type": "user", "object": "organization.user", "id": organization.id.as_str(), "name": organization.name,
            "created_at": organization.created_at, "role": "owner",
        },
    })
}

impl Console {
    fn admin_key(&self, call: &Call<'_>) -> Result<Arc<KeyEntry>, Refusal> {
        let id = call.param("key_id");
        let entry = self.snapshot().key_by_id(&KeyId::new(id)).cloned();
        entry.filter(|entry| entry.key.kind == Kind::Admin).ok_or_else(|| no_such("admin API key", id))
    }

    pub(crate) fn list_admin_keys(&self, call: &Call<'_>) -> Answer {
        let snapshot = self.snapshot();
        let mut keys: Vec<_> = snapshot.keys().filter(|entry| entry.key.kind == Kind::Admin).collect();
        keys.sort_by(|one, two| (one.key.created_at, &one.key.id).cmp(&(two.key.created_at, &two.key.id)));
        match query(call, "order")?.as_deref() {
            None | Some("asc") => {}
            Some("desc") => keys.reverse(),
            Some(_) => return Err(invalid("order", "'order' must be asc or desc.")),
        }
        page(call, &keys, |entry| entry.key.id.as_str(), |entry| show(&snapshot.organization, &entry.key))
    }

    pub(crate) fn retrieve_admin_key(&self, call: &Call<'_>) -> Answer {
        let entry = self.admin_key(call)?;
        Ok(show(&self.snapshot().organization, &entry.key))
    }

    pub(crate) async fn create_admin_key(&self, call: &Call<'_>) -> Answer {
        let fields = Fields::of(call)?;
        fields.refuse_restrictions()?;
        let name = fields.name()?;
        let key = self.new_key(&KeyFor {
            kind: Kind::Admin,
            name: &name,
            project: None,
            service_account: None,
            created_by: Some(&call.caller.key.id),
            expires_at: fields.expires_at(self.clock.unix_seconds())?,
        });
        self.commit(call.actor(), Act::CreateKey(key.record.clone()), key_created(&key.record)).await?;
        let mut shown = show(&self.snapshot().organization, &key.record);
        shown["value"] = key.secret.expose().into();
        Ok(shown)
    }

    pub(crate) async fn delete_admin_key(&self, call: &Call<'_>) -> Answer {
        let entry = self.admin_key(call)?;
        let snapshot = self.snapshot();
        let lasts = |other: &&Arc<KeyEntry>| {
            other.key.kind == Kind::Admin && other.key.id != entry.key.id && other.key.expires_at.is_none()
        };
        if snapshot.keys().filter(lasts).count() == 0 {
            let words = "This is the last admin key that does not expire; without one nobody can administer the gate. Make \
                         another first. (If all are lost: `sallyport admin recover --data DIR`, with the gate stopped.)";
            return Err(Refusal::new(Reason::Conflict, words).param("key_id"));
        }
        self.commit(call.actor(), Act::DeleteKey(entry.key.id.clone()), key_deleted(&entry.key)).await?;
        Ok(deleted("organization.admin_api_key.deleted", entry.key.id.as_str()))
    }
}
