//! The Administration API, as far as rotating keys takes it: service accounts with their keys, expiry of keys.
//!
//! As the API document says: a service account is made with its key, whose value is in that one answer; a service
//! account's key cannot be deleted by itself; a deleted account's key is refused with 401 from then on, and so is one
//! that has expired.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{CREATED, Reply, Request};
use crate::Shared;

const PREFIX: &str = "/v1/organization/projects/";

/// What is administered.
#[derive(Debug, Default)]
pub(crate) struct Administration {
    /// The key that calls must carry; without one there is no such API.
    pub(crate) admin_key: Option<String>,
    accounts: BTreeMap<String, Account>,
    made: u64,
}

/// A service account.
#[derive(Debug, Clone)]
struct Account {
    project: String,
    name: String,
    key_id: String,
    key: String,
    expires: Option<Instant>,
}

impl Administration {
    /// Makes an account with this key; the ids of both.
    pub(crate) fn add(&mut self, project: &str, name: &str, key: String) -> (String, String) {
        self.made += 1;
        let (id, key_id) = (format!("svc_acct_{:06}", self.made), format!("key_{:06}", self.made));
        let (project, name) = (project.to_owned(), name.to_owned());
        self.accounts.insert(id.clone(), Account { project, name, key_id: key_id.clone(), key, expires: None });
        (id, key_id)
    }

    /// Whether a key is one of an account, and has not expired.
    pub(crate) fn knows(&self, key: &str) -> bool {
        let is_alive = |account: &Account| account.expires.is_none_or(|at| Instant::now() < at);
        self.accounts.values().any(|account| account.key == key && is_alive(account))
    }

    /// Names of the accounts, in the order in which they were made.
    pub(crate) fn names(&self) -> Vec<String> {
        self.accounts.values().map(|account| account.name.clone()).collect()
    }

    /// For how long keys of a name live, in seconds, where they expire.
    pub(crate) fn expires_in(&self, name: &str) -> Option<u64> {
        let account = self.accounts.values().find(|account| account.name == name)?;
        account.expires.map(|at| at.saturating_duration_since(Instant::now()).as_secs())
    }
}

/// Whether a path is of this API.
pub(super) fn concerns(path: &str) -> bool {
    path.starts_with("/v1/organization/")
}

fn show(id: &str, account: &Account) -> Value {
    json!({
        "object": "organization.project.service_account", "id": id, "name": account.name, "role": "member",
        "created_at": CREATED,
    })
}

fn show_key(account: &Account) -> Value {
    json!({
        "object": "organization.project.api_key", "id": account.key_id, "name": account.name,
        "redacted_value": "sk-svcacct-****", "created_at": CREATED, "last_used_at": null,
        "owner": {"type": "service_account"}, "owner_project_access": "active",
    })
}

/// Serves a call.
pub(super) fn serve(request: &Request<'_>, shared: &Shared) -> Reply {
    let mut state = shared.state();
    let administration = &mut state.administration;
    let path = request.path.strip_prefix(PREFIX).unwrap_or_default();
    let segments: Vec<&str> = path.split('/').collect();
    let gone = || Reply::error(404, "invalid_request_error", None, "No such object.");
    match (request.method, segments.as_slice()) {
        ("GET", [project, "service_accounts"]) => {
            let of_project = administration.accounts.iter().filter(|(_, account)| account.project == *project);
            let data: Vec<Value> = of_project.map(|(id, account)| show(id, account)).collect();
            let id = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
            let (first, last) = (id(data.first()), id(data.last()));
            let list = json!({"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": false});
            Reply::json(200, &list)
        }
        ("POST", [project, "service_accounts"]) => {
            let name = request.json()["name"].as_str().unwrap_or_default().to_owned();
            let key = format!("sk-svcacct-{:040}-{:06}", request.number, administration.made + 1);
            let (id, key_id) = administration.add(project, &name, key.clone());
            let mut made = show(&id, &administration.accounts[&id]);
            made["api_key"] = json!({
                "object": "organization.project.service_account.api_key", "id": key_id, "name": name, "value": key,
                "created_at": CREATED,
            });
            Reply::json(200, &made)
        }
        ("DELETE", [project, "service_accounts", id]) => {
            let is_there = administration.accounts.get(*id).is_some_and(|account| account.project == *project);
            if !is_there {
                return gone();
            }
            administration.accounts.remove(*id);
            Reply::json(
                200,
                &json!({"object": "organization.project.service_account.deleted", "id": id, "deleted": true}),
            )
        }
        ("POST", [_, "api_keys", id]) => {
            let Some(account) = administration.accounts.values_mut().find(|account| account.key_id == *id) else {
                return gone();
            };
            if let Some(seconds) = request.json()["expires_in_seconds"].as_u64() {
                account.expires = Some(Instant::now() + Duration::from_secs(seconds));
            }
            Reply::json(200, &show_key(account))
        }
        ("DELETE", [_, "api_keys", id]) => {
            match administration.accounts.values().any(|account| account.key_id == *id) {
                true => {
                    let words = "API keys of service accounts cannot be deleted. Delete the service account.";
                    Reply::error(400, "invalid_request_error", Some("service_account_key"), words)
                }
                false => gone(),
            }
        }
        _ => gone(),
    }
}
