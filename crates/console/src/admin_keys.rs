//! Administration keys.

use std::sync::Arc;

use exposure::incident::Ending;
use keys::Kind;
use serde_json::{Value, json};
use store::{Act, Key, KeyEntry, KeyId, Organization, Span};
use wire::refusal::{Reason, Refusal};

use crate::input::{Fields, deleted, invalid, page, query};
use crate::new::{KeyFor, NewKey};
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
        let is_newest_first = match query(call, "order")?.as_deref() {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(_) => return Err(invalid("order", "'order' must be asc or desc.")),
        };
        page(
            call,
            is_newest_first,
            |span| self.directory.keys_of(None, span),
            |entry| show(&snapshot.organization, &entry.key),
        )
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
        self.commit(call.actor(), Act::CreateKey(key.record.clone()), vec![key_created(&key.record)]).await?;
        let mut shown = show(&self.snapshot().organization, &key.record);
        shown["value"] = key.secret.expose().into();
        Ok(shown)
    }

    pub(crate) async fn delete_admin_key(&self, call: &Call<'_>) -> Answer {
        let entry = self.admin_key(call)?;
        self.refuse_last_admin_key(&entry.key, Ending::Revoked, None)?;
        self.commit(call.actor(), Act::DeleteKey(entry.key.id.clone()), vec![key_deleted(&entry.key)]).await?;
        Ok(deleted("organization.admin_api_key.deleted", entry.key.id.as_str()))
    }

    /// Refuses to end the last admin key by which somebody can still come in later.
    pub(crate) fn refuse_last_admin_key(
        &self,
        key: &Key,
        ending: Ending,
        replacement: Option<&NewKey>,
    ) -> Result<(), Refusal> {
        let stays = |key: &Key| key.expires_at.is_none() && key.suspension.is_none();
        if key.kind != Kind::Admin || ending == Ending::LeftInForce || replacement.is_some_and(|key| stays(&key.record))
        {
            return Ok(());
        }
        let all = Span { after: None, limit: usize::MAX, is_newest_first: false };
        let admin_keys = self.directory.keys_of(None, all).map_or(Vec::new(), |page| page.items);
        if !admin_keys.iter().any(|other| other.key.id != key.id && stays(&other.key)) {
            let words = "This is the last admin key that does not expire; without one nobody can administer the gate. Make \
                         another first. (If all are lost: `sallyport admin recover --data DIR`, with the gate stopped.)";
            return Err(Refusal::new(Reason::Conflict, words).param("key_id"));
        }
        Ok(())
    }
}
