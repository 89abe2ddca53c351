//! `sallyport project …`

use anyhow::Result;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use crate::api::Gate;

/// Arguments of `project`.
#[derive(Debug, Args)]
pub(crate) struct Project {
    #[command(flatten)]
    gate: Gate,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List projects.
    List {
        /// Archived ones, too.
        #[arg(long)]
        archived: bool,
    },
    /// Make a project.
    Create {
        /// Its name.
        name: String,
        /// Real org-… and proj_… ids that its clients may have in their environment.
        #[arg(long = "synonym", value_name = "ID")]
        synonyms: Vec<String>,
    },
    /// Give a project another name.
    Rename {
        /// The project's id.
        project: String,
        /// Its new name.
        name: String,
    },
    /// Say which real org-… and proj_… ids its clients may send; none clears the list.
    Synonyms {
        /// The project's id.
        project: String,
        /// The ids.
        ids: Vec<String>,
    },
    /// Archive a project for good: its keys stop working at once.
    Archive {
        /// The project's id.
        project: String,
    },
}

impl Project {
    pub(crate) fn run(&self) -> Result<()> {
        let gate = &self.gate;
        match &self.action {
            Action::List { archived } => {
                let projects = gate.list(&format!("/projects?include_archived={archived}"))?;
                gate.print(
                    &projects,
                    &[("ID", "/id"), ("NAME", "/name"), ("STATUS", "/status"), ("CREATED", "/created_at")],
                );
            }
            Action::Create { name, synonyms } => {
                let body = json!({"name": name, "sallyport": {"synonyms": synonyms}});
                let made = gate.call(Method::POST, "/projects", Some(&body))?;
                let id = made["id"].as_str().unwrap_or_default();
                gate.tell(&made, &format!("{id}\nNext: sallyport key create {id} NAME"));
            }
            Action::Rename { project, name } => {
                let changed = gate.call(Method::POST, &format!("/projects/{project}"), Some(&json!({"name": name})))?;
                gate.tell(&changed, &format!("{project} is now called {name}"));
            }
            Action::Synonyms { project, ids } => {
                let body = json!({"sallyport": {"synonyms": ids}});
                let changed = gate.call(Method::POST, &format!("/projects/{project}"), Some(&body))?;
                gate.tell(&changed, &format!("{project} has {} synonyms", ids.len()));
            }
            Action::Archive { project } => {
                let archived = gate.call(Method::POST, &format!("/projects/{project}/archive"), None)?;
                gate.tell(&archived, &format!("{project} is archived; its keys are refused from now on"));
            }
        }
        Ok(())
    }
}
