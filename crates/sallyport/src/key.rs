//! `sallyport key …`

use anyhow::Result;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use crate::api::Gate;

/// Arguments of `key`.
#[derive(Debug, Args)]
pub(crate) struct Key {
    #[command(flatten)]
    gate: Gate,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List a project's keys.
    List {
        /// The project's id.
        project: String,
    },
    /// Make a key. Its secret is printed once.
    Create {
        /// The project's id.
        project: String,
        /// The key's name.
        name: String,
        /// Seconds until it stops working; without it, never.
        #[arg(long, value_name = "SECONDS")]
        expires_in_seconds: Option<u32>,
    },
    /// Revoke a key: refused from now on, its open streams are cut.
    Revoke {
        /// The project's id.
        project: String,
        /// The key's id (key_…), not the key.
        key: String,
    },
}

impl Key {
    pub(crate) fn run(&self) -> Result<()> {
        let gate = &self.gate;
        match &self.action {
            Action::List { project } => {
                let keys = gate.list(&format!("/projects/{project}/api_keys?owner_project_access=any"))?;
                let columns = [
                    ("ID", "/id"),
                    ("NAME", "/name"),
                    ("KEY", "/redacted_value"),
                    ("OWNER", "/owner/type"),
                    ("CREATED", "/created_at"),
                    ("EXPIRES", "/expires_at"),
                ];
                gate.print(&keys, &columns);
            }
            Action::Create { project, name, expires_in_seconds } => {
                let body = json!({"name": name, "expires_in_seconds": expires_in_seconds});
                let made = gate.call(Method::POST, &format!("/projects/{project}/api_keys"), Some(&body))?;
                gate.tell_key(&made);
            }
            Action::Revoke { project, key } => {
                let gone = gate.call(Method::DELETE, &format!("/projects/{project}/api_keys/{key}"), None)?;
                gate.tell(&gone, &format!("{key} is revoked"));
            }
        }
        Ok(())
    }
}
