//! The vault: where the master key comes from, what it seals (the pepper, the data key, webhooks' secrets), and how all
//! of that is wrapped anew for another master key.
//!
//! Promises: a rewrap is one transaction, and touches nothing that the data key seals; whenever it is interrupted, the
//! database opens with the old master key or with the new one, and the key's file is whichever of the two it is by the
//! time of the next start.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use keys::{DataKey, MasterKey, Pepper, Random, Sealed, Secret};
use serde_json::json;
use store::{Actor, AuditEvent, Clock, OrganizationId, Seals};
use zeroize::Zeroizing;

mod subcommand;

pub(crate) use subcommand::Vault;

use crate::command;
use crate::config::VaultConfig;

/// Name of the master key's file in the data folder.
const MASTER_KEY_FILE: &str = "master.key";
/// Name of the next master key's file, while a rewrap is under way.
const NEXT_FILE: &str = "master.key.next";
/// Name of the file that keeps the former master key, for backups that were made under it.
const FORMER_FILE: &str = "master.key.former";
/// Name that the pepper is sealed under. Whichever key seals it is the database's.
const PEPPER: &str = "pepper";
/// How long the command that gives the master key may take.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(30);

/// Where the master key comes from.
#[derive(Debug)]
pub(crate) enum MasterSource {
    /// `SALLYPORT_MASTER_KEY`.
    Environment(Secret),
    /// A program that the configuration names.
    Command(Vec<String>),
    /// Its file in the data folder.
    File(PathBuf),
}

impl MasterSource {
    /// The source that environment and configuration name.
    ///
    /// # Errors
    /// When they name two.
    pub(crate) fn find(config: &VaultConfig, data: &Path, environment: Option<Secret>) -> Result<MasterSource> {
        match (environment, &config.master_key_command) {
            (Some(_), Some(_)) => {
                bail!("vault.master_key_command: SALLYPORT_MASTER_KEY is set as well; give one of them")
            }
            (Some(key), None) => Ok(MasterSource::Environment(key)),
            (None, Some(words)) => Ok(MasterSource::Command(words.clone())),
            (None, None) => Ok(MasterSource::File(data.join(MASTER_KEY_FILE))),
        }
    }

    /// In words.
    fn words(&self) -> String {
        match self {
            MasterSource::Environment(_) => "SALLYPORT_MASTER_KEY".to_owned(),
            MasterSource::Command(words) => {
                format!("vault.master_key_command ({})", words.first().map_or("", String::as_str))
            }
            MasterSource::File(path) => path.display().to_string(),
        }
    }

    /// Reads it. Its file is made only for a database that is new as well: another key would open nothing.
    async fn read(&self, is_new: bool, random: &dyn Random) -> Result<MasterKey> {
        match self {
            MasterSource::Environment(text) => Ok(MasterKey::from_text(text.expose())?),
            MasterSource::Command(words) => from_command(words, "vault.master_key_command").await,
            MasterSource::File(path) if is_new => Ok(MasterKey::from_file(path, random)?),
            MasterSource::File(path) => Ok(MasterKey::from_present_file(path)?),
        }
    }

    /// The master key, made where its file is wanted and the database is new. Finishes a rewrap that was interrupted
    /// after its transaction.
    ///
    /// # Errors
    /// When there is none, or it is not the database's.
    pub(crate) async fn open(&self, store: &dyn Seals, random: &dyn Random) -> Result<MasterKey> {
        let sealed = store.sealed(PEPPER).await?;
        if let (MasterSource::File(path), Some(sealed)) = (self, &sealed) {
            finish(path, &sealed.master_key_id)?;
        }
        let key = self.read(sealed.is_none(), random).await?;
        if let Some(sealed) = sealed.filter(|sealed| sealed.master_key_id != key.id()) {
            bail!(
                "the database was sealed with master key {}, {} is {}: give the right one",
                sealed.master_key_id,
                self.words(),
                key.id()
            );
        }
        Ok(key)
    }
}

async fn from_command(words: &[String], setting: &str) -> Result<MasterKey> {
    let text = command::run(words, COMMAND_TIME_MAX).await.context(setting.to_owned())?;
    // The error's own words are about another place.
    MasterKey::from_text(text.expose()).ok().with_context(|| {
        format!("{setting}: what it prints must be 32 bytes in base64 (44 characters) or hexadecimal (64)")
    })
}

/// Puts the next master key in its file's place, where the database was rewrapped for it already.
fn finish(path: &Path, master_key_id: &str) -> Result<()> {
    let next = path.with_file_name(NEXT_FILE);
    if !next.exists() || MasterKey::from_present_file(&next)?.id() != master_key_id {
        return Ok(());
    }
    let failed = || format!("cannot put {} in the place of {}", next.display(), path.display());
    let former = path.with_file_name(FORMER_FILE);
    if path.exists() {
        let _ = std::fs::remove_file(&former);
        std::fs::hard_link(path, &former).with_context(failed)?;
    }
    std::fs::rename(&next, path).with_context(failed)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(failed)
}

/// The pepper, made where there is none.
pub(crate) async fn pepper(store: &dyn Seals, master: &MasterKey, random: &dyn Random) -> Result<Pepper> {
    if let Some(sealed) = store.sealed(PEPPER).await? {
        let plain = master.open(PEPPER, &sealed).context(
            "the database's pepper was changed, or sealed by another version: restore it, or start on a new data folder",
        )?;
        let bytes: &[u8; Pepper::BYTES] = plain[..].try_into().context("the sealed pepper has a wrong length")?;
        return Ok(Pepper::new(bytes));
    }
    let mut bytes = Zeroizing::new([0; Pepper::BYTES]);
    random.fill(&mut *bytes);
    store.keep(PEPPER, &master.seal(PEPPER, &*bytes, random)).await?;
    Ok(Pepper::new(&bytes))
}

/// The name that an organization's data key is wrapped under.
fn data_key_name(organization: &OrganizationId) -> String {
    format!("data_key/{organization}")
}

/// The organization's data key, made where there is none.
pub(crate) async fn data_key(
    store: &dyn Seals,
    organization: &OrganizationId,
    master: &MasterKey,
    random: &dyn Random,
) -> Result<DataKey> {
    let name = data_key_name(organization);
    if let Some(wrapped) = store.sealed(&name).await? {
        return DataKey::unwrap(&name, &wrapped, master)
            .context("the database's data key was changed by another hand: restore it from a backup");
    }
    let (key, wrapped) = DataKey::create(&name, master, random);
    store.keep(&name, &wrapped).await?;
    Ok(key)
}

/// What the master key seals, and how it stands.
pub(crate) struct Status {
    /// Id of the master key that everything opens with.
    pub(crate) master_key_id: String,
    /// Where it comes from.
    pub(crate) source: String,
    /// Names of what is sealed under it.
    pub(crate) sealed: Vec<String>,
}

/// Opens everything that is under the master key, and says how it stands.
///
/// # Errors
/// When something does not open.
pub(crate) async fn status(source: &MasterSource, store: &dyn Seals, random: &dyn Random) -> Result<Status> {
    let master = source.open(store, random).await?;
    let mut sealed = Vec::new();
    for (name, value) in store.under_master_key().await? {
        master.open(&name, &value).with_context(|| format!("`{name}`"))?;
        sealed.push(name);
    }
    Ok(Status { master_key_id: master.id().to_owned(), source: source.words(), sealed })
}

/// Where the next master key comes from.
pub(crate) enum NextKey {
    /// Its file, made for it: the one in use is a file as well.
    File,
    /// `SALLYPORT_NEW_MASTER_KEY`.
    Environment(Secret),
    /// `vault.new_master_key_command`.
    Command(Vec<String>),
}

impl NextKey {
    /// The next key's source, by what the present one's is and what is given.
    ///
    /// # Errors
    /// When two are given, or none where the present one is no file.
    pub(crate) fn find(config: &VaultConfig, present: &MasterSource, environment: Option<Secret>) -> Result<NextKey> {
        match (environment, &config.new_master_key_command, present) {
            (Some(_), Some(_), _) => {
                bail!("vault.new_master_key_command: SALLYPORT_NEW_MASTER_KEY is set as well; give one of them")
            }
            (Some(key), None, _) => Ok(NextKey::Environment(key)),
            (None, Some(words), _) => Ok(NextKey::Command(words.clone())),
            (None, None, MasterSource::File(_)) => Ok(NextKey::File),
            (None, None, _) => bail!(
                "the master key comes from {}: give the new one in SALLYPORT_NEW_MASTER_KEY or by vault.new_master_key_command",
                present.words()
            ),
        }
    }
}

/// Wraps everything that is under the master key for another one. Returns the ids of both.
///
/// # Errors
/// Then the database is as it was, or, if only the key's file could not be replaced, the next start replaces it.
pub(crate) async fn rewrap(
    present: &MasterSource,
    next: &NextKey,
    store: &dyn Seals,
    (clock, random): (&dyn Clock, &dyn Random),
) -> Result<(String, String)> {
    let old = present.open(store, random).await?;
    let new = match (next, present) {
        // One that an interrupted rewrap left is as good as a new one.
        (NextKey::File, MasterSource::File(path)) => MasterKey::from_file(&path.with_file_name(NEXT_FILE), random)?,
        (NextKey::File, _) => bail!("the master key is not in a file"),
        (NextKey::Environment(text), _) => {
            MasterKey::from_text(text.expose()).ok().context("SALLYPORT_NEW_MASTER_KEY must be 32 bytes in base64 (44 characters) or hexadecimal (64); make one with `openssl rand -base64 32`")?
        }
        (NextKey::Command(words), _) => from_command(words, "vault.new_master_key_command").await?,
    };
    ensure!(old.id() != new.id(), "the new master key is the one in use ({})", old.id());
    let mut values: Vec<(String, Sealed)> = Vec::new();
    for (name, sealed) in store.under_master_key().await? {
        let again = old.rewrap(&name, &sealed, &new, random).with_context(|| format!("`{name}`"))?;
        values.push((name, again));
    }
    let event = AuditEvent {
        id: event_id(random),
        kind: "sallyport.vault.rewrapped",
        effective_at: clock.unix_seconds(),
        actor: Actor::Local,
        project: None,
        payload: json!({"id": new.id(), "data": {"former_master_key": old.id(), "values": values.len()}}),
    };
    store.rewrap(&values, &event).await?;
    if let (NextKey::File, MasterSource::File(path)) = (next, present) {
        finish(path, new.id())?;
    }
    Ok((old.id().to_owned(), new.id().to_owned()))
}

fn event_id(random: &dyn Random) -> String {
    let mut bytes = [0; 16];
    random.fill(&mut bytes);
    bytes.iter().fold("audit_log-".to_owned(), |id, byte| format!("{id}{byte:02x}"))
}

#[cfg(test)]
mod tests;
