//! `sallyport vault …`, on the data folder of a gate that is stopped.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use backends::sqlite::Sqlite;
use clap::{Args, Subcommand};
use keys::SystemRandom;
use store::{Registry, SystemClock};

use super::{MasterSource, NextKey, data_key, rewrap, status};
use crate::config::Config;
use crate::output::say;
use crate::serve::secret;

/// Arguments of `vault`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Vault {
    /// Configuration file of the gate (TOML).
    #[arg(long, env = "SALLYPORT_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Data folder of the gate [default: ./sallyport-data].
    #[arg(long, env = "SALLYPORT_DATA", value_name = "DIR", global = true)]
    data: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

const HELP: &str = "\
The master key comes from SALLYPORT_MASTER_KEY, from vault.master_key_command in the configuration,
or from the file master.key in the data folder. Where it is no file, `rewrap` takes the new one from
SALLYPORT_NEW_MASTER_KEY or vault.new_master_key_command; start the gate with it afterwards.";

#[derive(Debug, Subcommand)]
enum Action {
    /// What the master key seals, and whether all of it opens. Stop the gate first.
    Status,
    /// Wrap everything that is under the master key for a new one. Stop the gate first.
    ///
    /// Upstream keys are sealed under a data key and are not touched. Interrupted at any point, the database opens with
    /// the old key or the new one. Backups that were made before open with the old key only.
    Rewrap,
}

impl Vault {
    pub(crate) fn run(&self) -> Result<()> {
        crate::harden::harden()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.act())
    }

    async fn act(&self) -> Result<()> {
        let mut config = self.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
        config.data = self.data.clone().or(config.data);
        let data = config.data_folder();
        ensure!(data.is_dir(), "{} is not a folder: name the gate's data folder with --data", data.display());
        let source = MasterSource::find(&config.vault, &data, secret("SALLYPORT_MASTER_KEY"))?;
        let store = Sqlite::open(&data).await?;
        let Some(records) = store.load().await? else {
            anyhow::bail!("{} holds no gate yet: start it once with `sallyport serve`", data.display());
        };
        match self.action {
            Action::Status => {
                let status = status(&source, &store, &SystemRandom).await?;
                let master = source.open(&store, &SystemRandom).await?;
                let data_key = data_key(&store, &records.organization.id, &master, &SystemRandom).await?;
                say!("master key     {} from {}", status.master_key_id, status.source);
                say!("data key       {}", data_key.id());
                say!("under it       {}", status.sealed.join(", "));
                let keys = records.upstreams.keys.len();
                say!("upstream keys  {keys}, of {} upstreams", records.upstreams.upstreams.len());
            }
            Action::Rewrap => {
                let next = NextKey::find(&config.vault, &source, secret("SALLYPORT_NEW_MASTER_KEY"))?;
                let (old, new) = rewrap(&source, &next, &store, (&SystemClock, &SystemRandom)).await?;
                say!("{new}\nEverything that was under master key {old} is under {new} now.");
                match next {
                    NextKey::File => say!(
                        "The new key is in master.key; the old one is in master.key.former: backups made before need it. Move it away."
                    ),
                    NextKey::Environment(_) => say!("Start the gate with SALLYPORT_MASTER_KEY set to the new key."),
                    NextKey::Command(_) => {
                        say!("Make vault.new_master_key_command the vault.master_key_command now.")
                    }
                }
            }
        }
        // Folds the log in, so that nothing is left in it that the old key opens.
        store.close().await;
        Ok(())
    }
}
