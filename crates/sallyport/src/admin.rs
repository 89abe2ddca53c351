//! `sallyport admin …`

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use backends::sqlite::Sqlite;
use clap::{Args, Subcommand};
use console::Console;
use http::Method;
use keys::SystemRandom;
use serde_json::json;
use store::{Registry, SystemClock};

use crate::api::Gate;
use crate::config::Config;
use crate::output::say;
use crate::serve::secret;
use crate::vault::{self, MasterSource};

/// Arguments of `admin`.
#[derive(Debug, Args)]
pub(crate) struct Admin {
    #[command(flatten)]
    gate: Gate,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List admin keys.
    List,
    /// Make an admin key. Its secret is printed once.
    Create {
        /// The key's name.
        name: String,
    },
    /// Revoke an admin key.
    Revoke {
        /// The key's id (key_…), not the key.
        key: String,
    },
    /// Make a new admin key when all are lost. Works on the data folder; stop the gate first.
    Recover {
        /// Data folder of the gate.
        #[arg(long, env = "SALLYPORT_DATA", default_value = "sallyport-data", value_name = "DIR")]
        data: PathBuf,
        /// Configuration file of the gate, where it names the command that gives the master key.
        #[arg(long, env = "SALLYPORT_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
        /// What the gate's keys begin with, where it is configured (key_prefix).
        #[arg(long, default_value = "sp-", value_name = "PREFIX")]
        key_prefix: String,
    },
}

impl Admin {
    pub(crate) fn run(&self) -> Result<()> {
        let gate = &self.gate;
        match &self.action {
            Action::List => {
                let columns = [
                    ("ID", "/id"),
                    ("NAME", "/name"),
                    ("KEY", "/redacted_value"),
                    ("CREATED", "/created_at"),
                    ("EXPIRES", "/expires_at"),
                ];
                gate.print(&gate.list("/admin_api_keys")?, &columns);
            }
            Action::Create { name } => {
                let made = gate.call(Method::POST, "/admin_api_keys", Some(&json!({"name": name})))?;
                gate.tell_key(&made);
            }
            Action::Revoke { key } => {
                let gone = gate.call(Method::DELETE, &format!("/admin_api_keys/{key}"), None)?;
                gate.tell(&gone, &format!("{key} is revoked"));
            }
            Action::Recover { data, config, key_prefix } => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let config = config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
                runtime.block_on(recover(data, &config, key_prefix))?;
            }
        }
        Ok(())
    }
}

async fn recover(data: &Path, config: &Config, key_prefix: &str) -> Result<()> {
    anyhow::ensure!(data.is_dir(), "{} is not a folder: name the gate's data folder with --data", data.display());
    let shape = keys::Shape::new(key_prefix).context("--key-prefix must be 1 to 16 letters, digits, `-` or `_`")?;
    let store = Sqlite::open(data).await?;
    anyhow::ensure!(
        store.load().await?.is_some(),
        "{} holds no gate yet: start it once with `sallyport serve`",
        data.display()
    );
    let master = MasterSource::find(&config.vault, data, secret("SALLYPORT_MASTER_KEY"))?;
    let master = master.open(&store, &SystemRandom).await?;
    let pepper = vault::pepper(&store, &master, &SystemRandom).await?;
    let key = Console::recover(&store, &pepper, &shape, &SystemClock, &SystemRandom).await?;
    store.close().await;
    say!(
        "{}\nThis admin key is not shown again. Start the gate, and revoke the lost ones: sallyport admin list",
        key.expose()
    );
    Ok(())
}
