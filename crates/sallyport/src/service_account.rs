//! `sallyport service-account …`

use anyhow::Result;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use crate::api::Gate;

/// Arguments of `service-account`.
#[derive(Debug, Args)]
pub(crate) struct ServiceAccount {
    #[command(flatten)]
    gate: Gate,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List a project's service accounts.
    List {
        /// The project's id.
        project: String,
    },
    /// Make a service account with its first key. The secret is printed once.
    Create {
        /// The project's id.
        project: String,
        /// The account's name.
        name: String,
    },
    /// Make another key of a service account. The secret is printed once.
    Key {
        /// The project's id.
        project: String,
        /// The account's id.
        account: String,
        /// The key's name.
        name: String,
    },
    /// Delete a service account: its keys are refused from now on.
    Delete {
        /// The project's id.
        project: String,
        /// The account's id.
        account: String,
    },
}

impl ServiceAccount {
    pub(crate) fn run(&self) -> Result<()> {
        let gate = &self.gate;
        match &self.action {
            Action::List { project } => {
                let accounts = gate.list(&format!("/projects/{project}/service_accounts"))?;
                gate.print(
                    &accounts,
                    &[("ID", "/id"), ("NAME", "/name"), ("ROLE", "/role"), ("CREATED", "/created_at")],
                );
            }
            Action::Create { project, name } => {
                let path = format!("/projects/{project}/service_accounts");
                let made = gate.call(Method::POST, &path, Some(&json!({"name": name})))?;
                let (id, value) = (&made["id"], made["api_key"]["value"].as_str().unwrap_or_default());
                let id = id.as_str().unwrap_or_default();
                gate.tell(&made, &format!("{value}\nThis secret is not shown again. The account's id is {id}."));
            }
            Action::Key { project, account, name } => {
                let path = format!("/projects/{project}/service_accounts/{account}/api_keys");
                let made = gate.call(Method::POST, &path, Some(&json!({"name": name})))?;
                gate.tell_key(&made);
            }
            Action::Delete { project, account } => {
                let path = format!("/projects/{project}/service_accounts/{account}");
                let gone = gate.call(Method::DELETE, &path, None)?;
                gate.tell(&gone, &format!("{account} is deleted; its keys are refused from now on"));
            }
        }
        Ok(())
    }
}
