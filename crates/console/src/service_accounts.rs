//! Service accounts of a project, and their keys. An archived project has none, as the API has it: each call is
//! refused.

use std::sync::Arc;

use keys::Kind;
use serde_json::{Value, json};
use store::{Act, Project, ServiceAccount, ServiceAccountId};
use wire::refusal::Refusal;

use crate::input::{Fields, deleted, invalid, page};
use crate::new::{KeyFor, NewKey};
use crate::project_keys::{key_created, key_deleted};
use crate::{Answer, Call, Console, Event, no_such};

fn show(account: &ServiceAccount) -> Value {
    json!({
        "object": "organization.project.service_account",
        "id": account.id.as_str(),
        "name": account.name,
        "role": account.role,
        "created_at": account.created_at,
    })
}

fn show_key(key: &NewKey) -> Value {
    json!({
        "object": "organization.project.service_account.api_key",
        "id": key.record.id.as_str(),
        "name": key.record.name,
        "created_at": key.record.created_at,
        "expires_at": key.record.expires_at,
        "value": key.secret.expose(),
    })
}

fn event(kind: &'static str, account: &ServiceAccount) -> Event {
    let data = json!({"name": account.name, "role": account.role});
    Event { kind, project: Some(account.project.clone()), payload: json!({"id": account.id.as_str(), "data": data}) }
}

impl Console {
    fn service_account(&self, call: &Call<'_>, project: &Project) -> Result<Arc<ServiceAccount>, Refusal> {
        let id = call.param("service_account_id");
        let account = self.snapshot().service_account(&ServiceAccountId::new(id)).cloned();
        account.filter(|account| account.project == project.id).ok_or_else(|| no_such("service account", id))
    }

    pub(crate) fn list_service_accounts(&self, call: &Call<'_>) -> Answer {
        let project = self.active_project(call)?;
        page(call, false, |span| self.directory.service_accounts_of(&project.id, span), |account| show(account))
    }

    pub(crate) fn retrieve_service_account(&self, call: &Call<'_>) -> Answer {
        let project = self.active_project(call)?;
        self.service_account(call, &project).map(|account| show(&account))
    }

    pub(crate) async fn create_service_account(&self, call: &Call<'_>) -> Answer {
        let project = self.active_project(call)?;
        let fields = Fields::of(call)?;
        let is_only = fields.bool("create_service_account_only")?.unwrap_or(false);
        let account = ServiceAccount {
            id: ServiceAccountId::new(self.new_id(ServiceAccountId::PREFIX)),
            project: project.id.clone(),
            name: fields.name()?,
            role: if is_only { "none" } else { "member" }.to_owned(),
            created_at: self.clock.unix_seconds(),
        };
        let mut key = match is_only {
            true => None,
            false => Some(self.account_key(call, &account, "Secret Key", self.end_of_life(Some(&project), &fields)?)),
        };
        key.iter_mut().try_for_each(|key| self.read_key_terms(&mut key.record, &fields, false))?;
        let act = Act::CreateServiceAccount(account.clone(), key.as_ref().map(|key| key.record.clone()));
        let mut events = vec![event("service_account.created", &account)];
        events.extend(key.as_ref().map(|key| key_created(&key.record)));
        self.commit(call.actor(), act, events).await?;
        let mut shown = show(&account);
        shown["api_key"] = key.as_ref().map_or(Value::Null, show_key);
        Ok(shown)
    }

    pub(crate) async fn update_service_account(&self, call: &Call<'_>) -> Answer {
        let project = self.active_project(call)?;
        let fields = Fields::of(call)?;
        let mut account = ServiceAccount::clone(&*self.service_account(call, &project)?);
        if fields.value("name").is_some() {
            account.name = fields.name()?;
        }
        match fields.text("role")?.as_deref() {
            None => {}
            Some(role @ ("owner" | "member" | "none")) => role.clone_into(&mut account.role),
            Some(_) => return Err(invalid("role", "'role' must be owner, member or none.")),
        }
        let act = Act::UpdateServiceAccount(account.clone());
        self.commit(call.actor(), act, vec![event("service_account.updated", &account)]).await?;
        Ok(show(&account))
    }

    pub(crate) async fn delete_service_account(&self, call: &Call<'_>) -> Answer {
        let project = self.active_project(call)?;
        let account = self.service_account(call, &project)?;
        let act = Act::DeleteServiceAccount(account.id.clone());
        let keys = self.directory.keys_of_service_account(&account.id);
        let mut events: Vec<_> = keys.iter().map(|entry| key_deleted(&entry.key)).collect();
        events.push(event("service_account.deleted", &account));
        self.commit(call.actor(), act, events).await?;
        Ok(deleted("organization.project.service_account.deleted", account.id.as_str()))
    }

    pub(crate) async fn create_service_account_key(&self, call: &Call<'_>) -> Answer {
        let project = self.active_project(call)?;
        let account = self.service_account(call, &project)?;
        let fields = Fields::of(call)?;
        let name = fields.text("name")?.unwrap_or_else(|| "Secret Key".to_owned());
        let key = self.account_key(call, &account, &name, self.end_of_life(Some(&project), &fields)?);
        Ok(show_key(&self.create_key(call, key, &fields).await?))
    }

    fn account_key(&self, call: &Call<'_>, account: &ServiceAccount, name: &str, expires_at: Option<i64>) -> NewKey {
        self.new_key(&KeyFor {
            kind: Kind::ServiceAccount,
            name,
            project: Some(&account.project),
            service_account: Some(&account.id),
            created_by: Some(&call.caller.key.id),
            expires_at,
        })
    }
}
