//! `sallyport hold …`

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::api::{Gate, encoded};

/// Arguments of `hold`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  sallyport hold list --project proj_…   what its running requests hold, the oldest first"
)]
pub(crate) struct Hold {
    #[command(flatten)]
    gate: Gate,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List what running requests hold, the oldest first.
    List {
        /// Of one project.
        #[arg(long, value_name = "PROJECT_ID")]
        project: Option<String>,
    },
}

impl Hold {
    pub(crate) fn run(&self) -> Result<()> {
        let Action::List { project } = &self.action;
        let filter = project.as_ref().map_or_else(String::new, |id| format!("&project_id={}", encoded(id)));
        let holds = self.gate.pages(&format!("/v1/sallyport/holds?limit=1000{filter}"))?;
        let columns = [
            ("REQUEST", "/id"),
            ("PROJECT", "/project_id"),
            ("KEY", "/api_key_id"),
            ("MODEL", "/model"),
            ("USD", "/amount"),
            ("SECONDS", "/age_seconds"),
            ("DOING", "/doing"),
        ];
        self.gate.print(&holds, &columns);
        Ok(())
    }
}
