//! `sallyport finding …`

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::api::{Gate, encoded};

/// Arguments of `finding`.
#[derive(Debug, Args)]
pub(crate) struct Finding {
    #[command(flatten)]
    gate: Gate,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List what the gate noticed, the latest first.
    List {
        /// About one key.
        #[arg(long, value_name = "KEY_ID")]
        key: Option<String>,
        /// Of one type, key.browser_use for instance.
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
    },
}

impl Finding {
    pub(crate) fn run(&self) -> Result<()> {
        let Action::List { key, kind } = &self.action;
        let filter = |name: &str, value: &Option<String>| {
            value.as_ref().map_or_else(String::new, |value| format!("&{name}={}", encoded(value)))
        };
        let path = format!("/v1/sallyport/findings?{}{}", filter("key_id", key), filter("type", kind));
        let found = self.gate.list(&path)?;
        let columns = [
            ("LAST", "/last_at"),
            ("TYPE", "/type"),
            ("SEVERITY", "/severity"),
            ("COUNT", "/count"),
            ("KEY", "/key_id"),
            ("ADDRESS", "/address"),
            ("ORIGIN", "/details/origin"),
            ("ID", "/id"),
        ];
        self.gate.print(&found, &columns);
        Ok(())
    }
}
