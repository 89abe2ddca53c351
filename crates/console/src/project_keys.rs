//! Keys of a project.

use std::sync::Arc;

use keys::Kind;
use serde_json::{Value, json};
use store::{
    Act, Key, KeyEntry, KeyId, LastUse, Page, Period, Project, Scope, ServiceAccountId, Snapshot, Span, SpendLimit,
};
use wire::refusal::Refusal;

use crate::input::{Fields, deleted, invalid, page, query};
use crate::new::{KeyFor, NewKey};
use crate::{Answer, Call, Console, Event, amounts, key_terms, limits, no_such};

/// A key in the API's shape, ours beside it. People have no accounts here yet: a project's own keys belong to the
/// organization.
fn show(snapshot: &Snapshot, project: &Project, entry: &KeyEntry, used: Option<&LastUse>) -> Value {
    let key = &entry.key;
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
        "last_used_at": key_terms::last_used_at(entry, used),
        "expires_at": key.expires_at,
        "owner": owner,
        "owner_project_access": if project.is_archived() { "inactive" } else { "active" },
        "scopes": key.bounds.scopes,
        "sallyport": key_terms::show(entry, used),
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
        page(call, false, keys, |entry| self.show_project_key(&snapshot, &project, entry))
    }

    /// A key in answers.
    pub(crate) fn show_project_key(&self, snapshot: &Snapshot, project: &Project, entry: &KeyEntry) -> Value {
        show(snapshot, project, entry, self.keeping.last_use(&entry.key.id).as_ref())
    }

    pub(crate) fn retrieve_project_key(&self, call: &Call<'_>) -> Answer {
        let project = self.project(call)?;
        let entry = self.project_key(call, &project)?;
        let mut shown = self.show_project_key(&self.snapshot(), &project, &entry);
        let scope = Scope::Key(entry.key.id.clone());
        let limits = self.money.ledger.limits();
        shown["sallyport"]["limits"] =
            limits.iter().filter(|limit| limit.scope == scope).map(|limit| limits::show(limit)).collect();
        Ok(shown)
    }

    /// Our extension: the API itself has no operation that makes a project key.
    pub(crate) async fn create_project_key(&self, call: &Call<'_>) -> Answer {
        let project = self.active_project(call)?;
        let fields = Fields::of(call)?;
        let name = fields.name()?;
        let key = self.new_key(&KeyFor {
            kind: Kind::Project,
            name: &name,
            project: Some(&project.id),
            service_account: None,
            created_by: Some(&call.caller.key.id),
            expires_at: self.end_of_life(Some(&project), &fields)?,
        });
        let key = self.create_key(call, key, &fields).await?;
        let mut shown = self.show_key(&key.record.id)?;
        shown["value"] = key.secret.expose().into();
        Ok(shown)
    }

    /// Puts a new key in force, with what the call says about it. Its budget is in force before it is: no call of it can
    /// come between.
    pub(crate) async fn create_key(
        &self,
        call: &Call<'_>,
        mut key: NewKey,
        fields: &Fields,
    ) -> Result<NewKey, Refusal> {
        self.read_key_terms(&mut key.record, fields, true)?;
        let ours = fields.object("sallyport")?;
        let budget = ours.as_ref().map(|ours| ours.object("budget")).transpose()?.flatten();
        let limit = budget.map(|budget| self.budget(&key.record, &budget)).transpose()?;
        if let Some(limit) = &limit {
            self.put_limit(call, limit.clone()).await?;
        }
        let created =
            self.commit(call.actor(), Act::CreateKey(key.record.clone()), vec![key_created(&key.record)]).await;
        if let (Err(refusal), Some(limit)) = (&created, &limit) {
            // The limit of a key that never was does nothing but stand in lists.
            if let Err(second) = self.remove_limit(call, limit).await {
                tracing::warn!(limit_id = limit.id, error = ?second.cause, after = ?refusal.cause, "a limit of no key is left");
            }
        }
        created.map(|()| key)
    }

    /// `{amount, period}` of a new key, as a limit of its own.
    fn budget(&self, key: &Key, budget: &Fields) -> Result<SpendLimit, Refusal> {
        budget.only(&["amount", "threshold_amount", "period"])?;
        if key.project.is_none() {
            return Err(budget.wrong("amount", "is for keys that spend: admin keys do not"));
        }
        let amount = budget.required("amount", amounts::amount(budget)?)?;
        let period = match budget.text("period")? {
            None => Period::Month,
            Some(word) => {
                Period::from_word(&word).ok_or_else(|| budget.wrong("period", "must be month, day, hour or total"))?
            }
        };
        Ok(SpendLimit { amount, ..self.new_limit(Scope::Key(key.id.clone()), period) })
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
    pub(crate) fn project_key(&self, call: &Call<'_>, project: &Project) -> Result<Arc<KeyEntry>, Refusal> {
        let id = call.param("api_key_id");
        let entry = self.snapshot().key_by_id(&KeyId::new(id)).cloned();
        entry.filter(|entry| entry.key.project.as_ref() == Some(&project.id)).ok_or_else(|| no_such("API key", id))
    }
}

/// The audit event of a new key.
pub(crate) fn key_created(key: &Key) -> Event {
    let account = key.service_account.as_ref().map(ServiceAccountId::as_str);
    let data = json!({
        "name": key.name, "kind": key.kind.word(), "service_account_id": account, "scopes": key.bounds.scopes,
        "expires_at": key.expires_at, "bounds": key.bounds, "is_decoy": key.is_decoy,
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
