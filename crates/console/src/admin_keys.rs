//! Administration keys.

use std::sync::Arc;

use keys::Kind;
use serde_json::{Value, json};
use store::{Act, Key, KeyEntry, KeyId, LastUse, Organization, Span};
use wire::refusal::{Reason, Refusal};

use crate::input::{Fields, deleted, invalid, page, query};
use crate::new::KeyFor;
use crate::project_keys::key_deleted;
use crate::{Answer, Call, Console, key_terms, no_such};

fn show(organization: &Organization, entry: &KeyEntry, used: Option<&LastUse>) -> Value {
    let key = &entry.key;
    json!({
        "object": "organization.admin_api_key",
        "id": key.id.as_str(),
        "name": key.name,
        "redacted_value": key.redacted,
        "created_at": key.created_at,
        "last_used_at": key_terms::last_used_at(entry, used),
        "expires_at": key.expires_at,
        "scopes": key.bounds.scopes,
        "owner": {
            "type": "user", "object": "organization.user", "id": organization.id.as_str(), "name": organization.name,
            "created_at": organization.created_at, "role": "owner",
        },
        "sallyport": key_terms::show(entry, used),
    })
}

impl Console {
    /// A key in answers.
    pub(crate) fn show_admin_key(&self, organization: &Organization, entry: &KeyEntry) -> Value {
        show(organization, entry, self.keeping.last_use(&entry.key.id).as_ref())
    }

    pub(crate) fn admin_key(&self, call: &Call<'_>) -> Result<Arc<KeyEntry>, Refusal> {
        let id = call.param("key_id");
        let entry = self.snapshot().key_by_id(&KeyId::new(id)).cloned();
        entry.filter(|entry| entry.key.kind == Kind::Admin).ok_or_else(|| no_such("admin API key", id))
    }

    pub(crate) fn list_admin_keys(&self, call: &Call<'_>) -> Answer {
        let snapshot = self.snapshot();
        let is_newest_first = match query(call, "order")?.as_deref() {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(_) => return Err(invalid("order", "'order' must be asc or desc.")),
        };
        page(
            call,
            is_newest_first,
            |span| self.directory.keys_of(None, span),
            |entry| self.show_admin_key(&snapshot.organization, entry),
        )
    }

    pub(crate) fn retrieve_admin_key(&self, call: &Call<'_>) -> Answer {
        let entry = self.admin_key(call)?;
        Ok(self.show_admin_key(&self.snapshot().organization, &entry))
    }

    pub(crate) async fn create_admin_key(&self, call: &Call<'_>) -> Answer {
        let fields = Fields::of(call)?;
        let name = fields.name()?;
        let key = self.new_key(&KeyFor {
            kind: Kind::Admin,
            name: &name,
            project: None,
            service_account: None,
            created_by: Some(&call.caller.key.id),
            expires_at: self.end_of_life(None, &fields)?,
        });
        let key = self.create_key(call, key, &fields).await?;
        let mut shown = self.show_key(&key.record.id)?;
        shown["value"] = key.secret.expose().into();
        Ok(shown)
    }

    /// Refuses to let the last admin key go that lasts: one without an end, or, where the key policy gives every key one,
    /// with a day left.
    pub(crate) fn refuse_last_admin_key(&self, key: &Key) -> Result<(), Refusal> {
        let all = Span { after: None, limit: usize::MAX, is_newest_first: false };
        let admin_keys = self.directory.keys_of(None, all).map_or(Vec::new(), |page| page.items);
        let tomorrow = self.now().saturating_add(86_400);
        let has_policy = self.lifetime_seconds_max(None).is_some();
        let lasts = |other: &Key| other.expires_at.is_none_or(|end| has_policy && end > tomorrow);
        let is_whole = |other: &Key| other.suspension.is_none() && other.bounds.is_open();
        let is_left = |other: &Key| other.id != key.id && is_whole(other) && lasts(other);
        if admin_keys.iter().any(|other| is_left(&other.key)) {
            return Ok(());
        }
        let words = "This is the last admin key that does not expire; without one nobody can administer the gate. Make \
                     another first. (If all are lost: `sallyport admin recover --data DIR`, with the gate stopped.)";
        Err(Refusal::new(Reason::Conflict, words).param("key_id"))
    }

    pub(crate) async fn delete_admin_key(&self, call: &Call<'_>) -> Answer {
        let entry = self.admin_key(call)?;
        self.refuse_last_admin_key(&entry.key)?;
        self.commit(call.actor(), Act::DeleteKey(entry.key.id.clone()), vec![key_deleted(&entry.key)]).await?;
        Ok(deleted("organization.admin_api_key.deleted", entry.key.id.as_str()))
    }
}
