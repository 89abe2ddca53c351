//! `sallyport estimate …`

use anyhow::Result;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use crate::api::{Gate, encoded};

const PATH: &str = "/v1/sallyport/estimates";

/// Arguments of `estimate`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sallyport estimate lower req_… 0.0123   the provider's bill says so")]
pub(crate) struct Estimate {
    #[command(flatten)]
    gate: Gate,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List estimates: of crashes first, then of requests, the newest first.
    List,
    /// Lower an estimate to what is known now.
    Lower {
        /// The estimate's id, or the request's.
        estimate: String,
        /// Dollars.
        amount: String,
    },
}

impl Estimate {
    pub(crate) fn run(&self) -> Result<()> {
        let gate = &self.gate;
        match &self.action {
            Action::List => {
                let columns = [
                    ("ID", "/id"),
                    ("KIND", "/kind"),
                    ("USD", "/amount"),
                    ("LIMIT", "/limit_id"),
                    ("PROJECT", "/project_id"),
                    ("MODEL", "/model"),
                    ("SINCE", "/created_at"),
                ];
                gate.print(&gate.list(PATH)?, &columns);
            }
            Action::Lower { estimate, amount } => {
                let body = json!({"amount": amount});
                let lowered = gate.call(Method::POST, &format!("{PATH}/{}", encoded(estimate)), Some(&body))?;
                gate.tell(&lowered, &format!("{estimate} is {amount} dollars from now on"));
            }
        }
        Ok(())
    }
}
