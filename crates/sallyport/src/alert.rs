//! `sallyport alert …`

use anyhow::Result;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use crate::api::{Gate, cents, encoded};

const EXAMPLES: &str = "\
Examples:
  sallyport alert add 400 --email finance@example.com            the organization's month reaches 400 dollars
  sallyport alert add 40 --project proj_… --email a@example.com  a project's month reaches 40 dollars
  sallyport alert test --email a@example.com                     does mail arrive?";

/// Arguments of `alert`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Alert {
    #[command(flatten)]
    gate: Gate,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List alerts.
    List {
        /// A project's; without it, all.
        #[arg(long, value_name = "PROJECT_ID")]
        project: Option<String>,
    },
    /// Add an alert on a month's spending. Webhooks are told of it, too.
    Add {
        /// Dollars at which it fires.
        amount: String,
        /// A project's spending; without it, the organization's.
        #[arg(long, value_name = "PROJECT_ID")]
        project: Option<String>,
        /// Whom to write to.
        #[arg(long = "email", value_name = "ADDRESS")]
        recipients: Vec<String>,
        /// What the mail's subject begins with.
        #[arg(long, value_name = "TEXT")]
        subject_prefix: Option<String>,
    },
    /// Remove an alert.
    Remove {
        /// The alert's id.
        alert: String,
        /// A project's; without it, the organization's.
        #[arg(long, value_name = "PROJECT_ID")]
        project: Option<String>,
    },
    /// Send a notice that says that it is a test.
    Test {
        /// To this address.
        #[arg(long, value_name = "ADDRESS", conflicts_with = "webhook", required_unless_present = "webhook")]
        email: Option<String>,
        /// To this webhook.
        #[arg(long, value_name = "WEBHOOK_ID")]
        webhook: Option<String>,
    },
    /// List notices on their way, or with --state dead those that were given up.
    Notices {
        /// pending, delivered or dead.
        #[arg(long)]
        state: Option<String>,
    },
    /// Take up a notice again that was given up.
    Retry {
        /// The delivery's id, as `alert notices` lists it.
        delivery: i64,
    },
}

/// Where the alerts of a project, or of the organization, are.
fn path(project: Option<&String>) -> String {
    match project {
        Some(project) => format!("/projects/{}/spend_alerts", encoded(project)),
        None => "/spend_alerts".to_owned(),
    }
}

impl Alert {
    pub(crate) fn run(&self) -> Result<()> {
        let gate = &self.gate;
        match &self.action {
            Action::List { project } => {
                let columns = [
                    ("ID", "/id"),
                    ("PROJECT", "/project_id"),
                    ("CENTS", "/threshold_amount"),
                    ("INTERVAL", "/interval"),
                    ("RECIPIENTS", "/notification_channel/recipients"),
                ];
                let mut alerts = Vec::new();
                if project.is_none() {
                    alerts = gate.list(&path(None))?;
                }
                let projects = match project {
                    Some(project) => vec![json!({"id": project})],
                    None => gate.list("/projects")?,
                };
                for id in projects.iter().filter_map(|project| project["id"].as_str()) {
                    for mut alert in gate.list(&path(Some(&id.to_owned())))? {
                        alert["project_id"] = id.into();
                        alerts.push(alert);
                    }
                }
                gate.print(&alerts, &columns);
            }
            Action::Add { amount, project, recipients, subject_prefix } => {
                let body = json!({
                    "threshold_amount": cents(amount)?,
                    "currency": "USD",
                    "interval": "month",
                    "notification_channel": {
                        "type": "email", "recipients": recipients, "subject_prefix": subject_prefix,
                    },
                });
                let made = gate.call(Method::POST, &path(project.as_ref()), Some(&body))?;
                gate.tell(
                    &made,
                    &format!("{}\nfires once a month, at {amount} dollars", made["id"].as_str().unwrap_or_default()),
                );
            }
            Action::Remove { alert, project } => {
                let path = format!("{}/{}", path(project.as_ref()), encoded(alert));
                let gone = gate.call(Method::DELETE, &path, None)?;
                gate.tell(&gone, &format!("{alert} is removed"));
            }
            Action::Test { email, webhook } => {
                let body = json!({"email": email, "webhook_id": webhook});
                let sent = gate.call(Method::POST, "/v1/sallyport/notices/test", Some(&body))?;
                let id = sent["id"].as_str().unwrap_or_default();
                gate.tell(&sent, &format!("{id} is on its way. What became of it: sallyport alert notices"));
            }
            Action::Notices { state } => {
                let filter = state.as_ref().map_or_else(String::new, |state| format!("?state={}", encoded(state)));
                let columns = [
                    ("ID", "/id"),
                    ("NOTICE", "/notice/id"),
                    ("TYPE", "/notice/type"),
                    ("CHANNEL", "/channel/type"),
                    ("STATE", "/state"),
                    ("ATTEMPTS", "/attempts"),
                    ("LAST ERROR", "/last_error"),
                ];
                gate.print(&gate.list(&format!("/v1/sallyport/notices{filter}"))?, &columns);
            }
            Action::Retry { delivery } => {
                let retried = gate.call(Method::POST, &format!("/v1/sallyport/notices/{delivery}/retry"), None)?;
                gate.tell(&retried, &format!("{delivery} is tried again now"));
            }
        }
        Ok(())
    }
}
