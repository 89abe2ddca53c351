//! Secrets by reference: files, environment variables and programs that the configuration names, and that the API only
//! refers to by name.
//!
//! Promises: a file is read again when it changes, a program is run again every so often; what cannot be read any more
//! leaves the last value in force and says so; no error holds what was read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use keys::Secret;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::command;

/// How often files are looked at.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Most bytes of a file.
const FILE_BYTES_MAX: usize = 64 * 1024;

/// Where a secret comes from, as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SourceConfig {
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A program and its arguments.
    Command(Vec<String>),
}

/// Why a source has no value, or only an old one.
#[derive(Debug, thiserror::Error)]
enum SourceError {
    #[error("the file {} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the file {} can be read by all, or changed by others: run `chmod 600 {}`", .0.display(), .0.display())]
    Mode(PathBuf),
    #[error("the environment variable {0} is not set")]
    Unset(String),
    #[error("{0}")]
    Command(#[from] command::CommandError),
    #[error("it holds no key: one line of visible ASCII is wanted")]
    NoKey,
}

/// What tells that a file is another one than before.
type Stamp = (u64, u64, i64, i64, i64, i64, u64);

/// One source, and what is known of it.
struct Source {
    config: SourceConfig,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    value: Option<Secret>,
    problem: Option<String>,
    stamp: Option<Stamp>,
}

/// All sources, by name.
pub(crate) struct Sources {
    sources: BTreeMap<String, Source>,
    command_time_max: Duration,
}

impl Sources {
    /// Sources that are not read yet.
    pub(crate) fn new(configs: &BTreeMap<String, SourceConfig>, command_time_max: Duration) -> Sources {
        let source = |config: &SourceConfig| Source { config: config.clone(), known: Mutex::default() };
        let sources = configs.iter().map(|(name, config)| (name.clone(), source(config))).collect();
        Sources { sources, command_time_max }
    }

    /// Their names.
    pub(crate) fn names(&self) -> Vec<String> {
        self.sources.keys().cloned().collect()
    }

    /// The value in force.
    ///
    /// # Errors
    /// In words, why there is none.
    pub(crate) fn value(&self, name: &str) -> Result<Secret, String> {
        let Some(source) = self.sources.get(name) else {
            return Err(format!("the configuration has no source `{name}` in [vault.sources]"));
        };
        let known = source.known.lock().unwrap_or_else(PoisonError::into_inner);
        let words = || known.problem.clone().unwrap_or_else(|| "it was not read yet".to_owned());
        known.value.clone().ok_or_else(|| format!("source `{name}`: {}", words()))
    }

    /// Reads what may have changed; whether any value did. Programs are run only when asked for.
    pub(crate) async fn read(&self, with_commands: bool) -> bool {
        let mut is_changed = false;
        for (name, source) in &self.sources {
            let is_due = match &source.config {
                SourceConfig::File(path) => source.has_changed(path),
                SourceConfig::Environment(_) => source.is_unread(),
                SourceConfig::Command(_) => with_commands,
            };
            if is_due {
                is_changed |= source.take(name, source.config.read(self.command_time_max).await);
            }
        }
        is_changed
    }
}

impl SourceConfig {
    async fn read(&self, command_time_max: Duration) -> Result<Secret, SourceError> {
        let secret = match self {
            SourceConfig::File(path) => read_file(path)?,
            SourceConfig::Environment(name) => {
                Secret::new(Zeroizing::new(std::env::var(name).map_err(|_| SourceError::Unset(name.clone()))?).trim())
            }
            SourceConfig::Command(words) => command::run(words, command_time_max).await?,
        };
        let is_key = !secret.expose().is_empty() && secret.expose().bytes().all(|byte| byte.is_ascii_graphic());
        if is_key { Ok(secret) } else { Err(SourceError::NoKey) }
    }
}

impl Source {
    fn is_unread(&self) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).value.is_none()
    }

    fn has_changed(&self, path: &Path) -> bool {
        let stamp = stamp(path);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_other = known.stamp != stamp || (known.value.is_none() && known.problem.is_none());
        known.stamp = stamp;
        is_other
    }

    /// Takes what was read; whether it is another value.
    fn take(&self, name: &str, read: Result<Secret, SourceError>) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(value) => {
                known.problem = None;
                let is_other = known.value.as_ref() != Some(&value);
                known.value = Some(value);
                is_other
            }
            Err(error) => {
                let words = error.to_string();
                if known.problem.as_ref() != Some(&words) {
                    let has_value = known.value.is_some();
                    tracing::error!(source = name, error = %words, has_value, "a source of an upstream key cannot be read");
                }
                known.problem = Some(words);
                false
            }
        }
    }
}

/// A mounted secret is a link that is set anew: what it leads to is looked at.
fn stamp(path: &Path) -> Option<Stamp> {
    let data = std::fs::metadata(path).ok()?;
    // The time of change, too: whoever mends its mode does not touch what is in it.
    let times = (data.mtime(), data.mtime_nsec(), data.ctime(), data.ctime_nsec());
    Some((data.dev(), data.ino(), times.0, times.1, times.2, times.3, data.size()))
}

fn read_file(path: &Path) -> Result<Secret, SourceError> {
    let unreadable = |source| SourceError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    // Readable for a group may be: that is how secrets are mounted for a process that is not root.
    if file.metadata().map_err(unreadable)?.permissions().mode() & 0o027 != 0 {
        return Err(SourceError::Mode(path.to_owned()));
    }
    // Made as large as it may become: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES_MAX));
    file.take(FILE_BYTES_MAX as u64).read_to_string(&mut text).map_err(unreadable)?;
    Ok(Secret::new(text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(config: SourceConfig) -> Sources {
        Sources::new(&BTreeMap::from([("one".to_owned(), config)]), Duration::from_secs(20))
    }

    fn write(path: &Path, text: &str, mode: u32) {
        let unfinished = path.with_extension("new");
        std::fs::write(&unfinished, text).expect("written");
        std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(mode)).expect("ours");
        std::fs::rename(&unfinished, path).expect("in place");
    }

    #[tokio::test]
    async fn a_file_is_read_again_when_it_changes_and_its_last_good_value_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        let sources = sources(SourceConfig::File(path.clone()));
        assert!(!sources.read(true).await);
        assert!(sources.value("one").expect_err("not there").contains("cannot be read"));
        write(&path, "sk-first\n", 0o440);
        assert!(sources.read(false).await);
        assert_eq!(sources.value("one").expect("read").expose(), "sk-first");
        assert!(!sources.read(false).await, "nothing changed");
        write(&path, "sk-second", 0o600);
        assert!(sources.read(false).await);
        for (text, mode) in [("sk-third", 0o644), ("two words", 0o600), ("", 0o600)] {
            write(&path, text, mode);
            assert!(!sources.read(false).await, "{text}");
            assert_eq!(sources.value("one").expect("the last one").expose(), "sk-second");
        }
        std::fs::remove_file(&path).expect("ours");
        assert!(!sources.read(false).await);
        assert_eq!(sources.value("one").expect("the last one").expose(), "sk-second");
        assert!(sources.value("two").expect_err("unknown").contains("[vault.sources]"));
    }

    #[tokio::test]
    async fn a_program_is_run_when_it_is_asked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("count");
        let script = format!("echo x >> {0}; echo sk-$(wc -l < {0} | tr -d ' ')", path.display());
        let sources = sources(SourceConfig::Command(["sh", "-c", &script].map(str::to_owned).to_vec()));
        assert!(sources.read(true).await);
        assert!(!sources.read(false).await);
        assert_eq!(sources.value("one").expect("run").expose(), "sk-1");
        assert!(sources.read(true).await);
        assert_eq!(sources.value("one").expect("run again").expose(), "sk-2");
    }
}
