//! `sallyport finding …`

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::json;

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
        /// Of one project.
        #[arg(long, value_name = "PROJECT_ID")]
        project: Option<String>,
    },
    /// Show one finding.
    Show {
        /// The finding's id.
        finding: String,
    },
    /// Say whether a finding is what it was taken for. A text that is wrongly taken for an attack is let through from then on.
    Triage {
        /// The finding's id.
        finding: String,
        /// right or wrong.
        verdict: Verdict,
        /// Why.
        #[arg(long)]
        reason: Option<String>,
        /// File with the text, which the gate has not kept: it then goes to evaluation.jsonl in the gate's data folder.
        #[arg(long, value_name = "FILE")]
        text_file: Option<PathBuf>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Verdict {
    Right,
    Wrong,
}

impl Finding {
    pub(crate) fn run(&self) -> Result<()> {
        let at = |finding: &str| format!("/v1/sallyport/findings/{}", encoded(finding));
        match &self.action {
            Action::List { key, kind, project } => self.list(key, kind, project),
            Action::Show { finding } => {
                self.gate.show(&self.gate.call(Method::GET, &at(finding), None)?);
                Ok(())
            }
            Action::Triage { finding, verdict, reason, text_file } => {
                let word = match verdict {
                    Verdict::Right => "right",
                    Verdict::Wrong => "wrong",
                };
                let mut body = json!({"triage": word, "reason": reason});
                if let Some(path) = text_file {
                    let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
                    body["text"] = text.into();
                }
                let said = self.gate.call(Method::POST, &at(finding), Some(&body))?;
                self.gate.tell(&said, &format!("{finding} is {word}"));
                Ok(())
            }
        }
    }

    fn list(&self, key: &Option<String>, kind: &Option<String>, project: &Option<String>) -> Result<()> {
        let filter = |name: &str, value: &Option<String>| {
            value.as_ref().map_or_else(String::new, |value| format!("&{name}={}", encoded(value)))
        };
        let path = format!(
            "/v1/sallyport/findings?{}{}{}",
            filter("key_id", key),
            filter("type", kind),
            filter("project_id", project)
        );
        let found = self.gate.list(&path)?;
        let columns = [
            ("LAST", "/last_at"),
            ("TYPE", "/type"),
            ("SEVERITY", "/severity"),
            ("COUNT", "/count"),
            ("KEY", "/key_id"),
            ("ADDRESS", "/address"),
            ("ORIGIN", "/details/origin"),
            ("PLACE", "/details/place"),
            ("SCORE", "/details/score"),
            ("TRIAGE", "/triage/verdict"),
            ("ID", "/id"),
        ];
        self.gate.print(&found, &columns);
        Ok(())
    }
}
