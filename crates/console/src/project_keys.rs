//! Keys of a project.

use std::sync::Arc;

use keys::Kind;
use serde_json::{Value, json};
use store::{Act, Key, KeyEntry, KeyId, Page, Project, ServiceAccountId, Snapshot, Span};
use wire::refusal::Refusal;

use crate::input::{Fields, deleted, invalid, page, query};
use crate::new::KeyFor;
use crate::{Answer, Call, Console, Event, no_such};

/// A key in the API's shape. People have no accounts here yet: a project's own keys belong to the organization.
fn show(snapshot: &Snapshot, project: &Project, key: &Key) -> Value {
    let owner = match key.service_account.as_ref().and_then(|id| snapshot.service_account(id)) {
        Some(account) => json!({"type": "service_account", "service_account": {
            "id": account.id.as_str(), "object": "organization.project.service_account",
            "name": account.name, "role": account.role, "created_at": account.created_at,
        }}),
        None => json!({"type": "user", "user": {
            "id": snapshot.organization.id.as_str(), "object": "organization.project.user",
            "name": snapshot.organization.name, "email": "", "role": "owner", "created_at": snapshot.organization.created_at,
        }}),
    };
    json!({
        "object": "organization.project.api_key",
        "id": key.id.as_str(),
        "name": key.name,
        "redacted_value": key.redacted,
        "created_at": key.created_at,
        "last_used_at": null,
        "expires_at": key.expires_at,
        "owner": owner,
        "owner_project_access": if project.is_archived() { "inactive" } else { "active" },
    })
}

impl Console {
    pub(crate) fn list_project_keys(&self, call: &Call<'_>) -> Answer {
        let project = self.project(call)?;
        let access = if project.is_archived() { "inactive" } else { "active" };
        let is_meant = match query(call, "owner_project_access")?.as_deref() {
            None => access == "active",
            Some("any") => true,
            Some(wanted @ ("active" | "inactive")) => wanted == access,
            Some(_) => {
                return Err(invalid("owner_project_access", "'owner_project_access' must be active, inactive or any."));
            }
        };
        let snapshot = self.snapshot();
        // All keys of a project share its state: a filter meets all of them or none.
        let keys = |span: Span<'_>| match is_meant {
            true => self.directory.keys_of(Some(&project.id), span),
            false => Some(Page { items: Vec::new(), has_more: false }),
        };
        page(call, false, keys, |entry| show(&snapshot, &project, &entry.key))
    }

    pub(crate) fn retrieve_project_key(&self, call: &Call<'_>) -> Answer {
        let project = self.project(call)?;
        let entry = self.project_key(call, &project)?;
        Ok(show(&self.snapshot(), &project, &entry.key))
    }

    /// Our extension: the API itself has no operation that makes a project key.
    pub(crate) async fn create_project_key(&self, call: &Call<'_>) -> Answer {
        let project = self.active_project(call)?;
        let fields = Fields::of(call)?;
        fields.refuse_restrictions()?;
        let name = fields.name()?;
        let key = self.new_key(&KeyFor {
            kind: Kind::Project,
            name: &name,
            project: Some(&project.id),
            service_account: None,
            created_by: Some(&call.caller.key.id),
            expires_at: fields.expires_at(self.clock.unix_seconds())?,
        });
        self.commit(call.actor(), Act::CreateKey(key.record.clone()), vec![key_created(&key.record)]).await?;
        let mut shown = show(&self.snapshot(), &project, &key.record);
        shown["value"] = key.secret.expose().into();
        Ok(shown)
    }

    /// Also for keys of service accounts, which the API itself does not delete here, and in archived projects: nothing
    /// may stand between a leaked key and its end.
    pub(crate) async fn delete_project_key(&self, call: &Call<'_>) -> Answer {
        let project = self.project(call)?;
        let entry = self.project_key(call, &project)?;
        self.commit(call.actor(), Act::DeleteKey(entry.key.id.clone()), vec![key_deleted(&entry.key)]).await?;
        Ok(deleted("organization.project.api_key.deleted", entry.key.id.as_str()))
    }

    /// The key in the path, if it is this project's: another's looks as if it did not exist.
    fn project_key(&self, call: &Call<'_>, project: &Project) -> Result<Arc<KeyEntry>, Refusal> {
        let id = call.param("api_key_id");
        let entry = self.snapshot().key_by_id(&KeyId::new(id)).cloned();
        entry.filter(|entry| entry.key.project.as_ref() == Some(&project.id)).ok_or_else(|| no_such("API key", id))
    }
}

/// The audit event of a new key.
pub(crate) fn key_created(key: &Key) -> Event {
    let account = key.service_account.as_ref().map(ServiceAccountId::as_str);
    let data = json!({
        "name": key.name, "kind": key.kind.word(), "service_account_id": account, "scopes": [], "expires_at": key.expires_at,
    });
    Event {
        kind: "api_key.created",
        project: key.project.clone(),
        payload: json!({"id": key.id.as_str(), "data": data}),
    }
}

/// The audit event of a deleted key.
pub(crate) fn key_deleted(key: &Key) -> Event {
    let payload = json!({"id": key.id.as_str(), "data": {"name": key.name, "kind": key.kind.word()}});
    Event { kind: "api_key.deleted", project: key.project.clone(), payload }
}
