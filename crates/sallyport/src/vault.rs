//! The pepper of key digests: random, made at the first start, kept in the database sealed under the master key.

use std::path::Path;

use anyhow::{Context, Result};
use keys::{MasterKey, Pepper, Random, Secret};
use store::Seals;
use zeroize::Zeroizing;

/// Name of the master key's file in the data folder.
const MASTER_KEY_FILE: &str = "master.key";
/// Name that the pepper is sealed under.
const PEPPER: &str = "pepper";

/// The master key: from the environment, or from its file in the data folder, made at the first start.
pub(crate) fn master_key(data: &Path, from_environment: Option<&Secret>, random: &dyn Random) -> Result<MasterKey> {
    match from_environment {
        Some(text) => Ok(MasterKey::from_text(text.expose())?),
        None => Ok(MasterKey::from_file(&data.join(MASTER_KEY_FILE), random)?),
    }
}

/// The pepper, made where there is none.
pub(crate) async fn pepper(store: &dyn Seals, master: &MasterKey, random: &dyn Random) -> Result<Pepper> {
    if let Some(sealed) = store.sealed(PEPPER).await? {
        let words = || {
            match sealed.master_key_id == master.id() {
            true => "the database's pepper was changed, or sealed by another version: restore it, or start on a new data folder"
                .to_owned(),
            false => format!("the database was sealed with master key {}, this one is {}", sealed.master_key_id, master.id()),
        }
        };
        let plain = master.open(PEPPER, &sealed).with_context(words)?;
        let bytes: &[u8; Pepper::BYTES] = plain[..].try_into().context("the sealed pepper has a wrong length")?;
        return Ok(Pepper::new(bytes));
    }
    let mut bytes = Zeroizing::new([0; Pepper::BYTES]);
    random.fill(&mut *bytes);
    store.keep(PEPPER, &master.seal(PEPPER, &*bytes, random)).await?;
    Ok(Pepper::new(&bytes))
}
