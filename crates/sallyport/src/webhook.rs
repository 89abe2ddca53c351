//! `sallyport webhook …`

use anyhow::Result;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use crate::api::{Gate, encoded};

const PATH: &str = "/v1/sallyport/webhooks";

/// Arguments of `webhook`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  sallyport webhook add Pager https://example.com/hook   the signing secret is shown once"
)]
pub(crate) struct Webhook {
    #[command(flatten)]
    gate: Gate,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List webhooks.
    List,
    /// Add a webhook. Its signing secret (Standard Webhooks) is printed once.
    Add {
        /// Its name.
        name: String,
        /// Where notices are posted to.
        #[arg(value_name = "URL")]
        address: String,
    },
    /// Remove a webhook.
    Remove {
        /// The webhook's id.
        webhook: String,
    },
}

impl Webhook {
    pub(crate) fn run(&self) -> Result<()> {
        let gate = &self.gate;
        match &self.action {
            Action::List => {
                gate.print(
                    &gate.list(PATH)?,
                    &[("ID", "/id"), ("NAME", "/name"), ("URL", "/url"), ("CREATED", "/created_at")],
                );
            }
            Action::Add { name, address } => {
                let made = gate.call(Method::POST, PATH, Some(&json!({"name": name, "url": address})))?;
                let (id, secret) =
                    (made["id"].as_str().unwrap_or_default(), made["secret"].as_str().unwrap_or_default());
                let words =
                    format!("{secret}\nThis secret is not shown again. Try it: sallyport alert test --webhook {id}");
                gate.tell(&made, &words);
            }
            Action::Remove { webhook } => {
                let gone = gate.call(Method::DELETE, &format!("{PATH}/{}", encoded(webhook)), None)?;
                gate.tell(&gone, &format!("{webhook} is removed"));
            }
        }
        Ok(())
    }
}
