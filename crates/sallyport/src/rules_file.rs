//! The operator's rules of the detector: a file that is read again whenever it changes.
//!
//! Promises: a file that cannot be used is an error at the start and a warning later, and the rules before it stay in
//! force; a change is in force within two seconds.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gateway::Gate;
use injection::Detector;
use injection::rules::RuleSet;

/// How often the file is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Largest file.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The file.
pub(crate) struct RulesFile {
    path: PathBuf,
}

impl RulesFile {
    pub(crate) fn new(path: PathBuf) -> RulesFile {
        RulesFile { path }
    }

    /// The detector with these rules.
    ///
    /// # Errors
    /// When the file cannot be read, or a rule in it fails its own examples.
    pub(crate) fn detector(&self) -> Result<Detector> {
        self.with(&self.text()?)
    }

    fn text(&self) -> Result<String> {
        let name = || format!("guards.rules_file: {}", self.path.display());
        let length = std::fs::metadata(&self.path).with_context(name)?.len();
        ensure!(length <= BYTES_MAX, "{}: more than {BYTES_MAX} bytes", name());
        std::fs::read_to_string(&self.path).with_context(name)
    }

    fn with(&self, text: &str) -> Result<Detector> {
        let rules = RuleSet::parse(text).with_context(|| format!("guards.rules_file: {}", self.path.display()))?;
        Ok(Detector::embedded().with_rules(rules))
    }

    /// Puts the rules in force that come later.
    pub(crate) async fn follow(self, gate: Arc<Gate>) {
        let file = Arc::new(self);
        let mut known = file.text().unwrap_or_default();
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let (reading, before) = (Arc::clone(&file), known.clone());
            // Compiling rules and trying their examples takes a while.
            let read = tokio::task::spawn_blocking(move || {
                let text = reading.text()?;
                let detector = if text == before { None } else { Some(reading.with(&text)) };
                Ok::<_, anyhow::Error>((text, detector))
            });
            match read.await {
                Ok(Ok((text, Some(Ok(detector))))) => {
                    known = text;
                    gate.put_detector(Arc::new(detector));
                    tracing::info!("the detector's rules have changed: they are in force");
                }
                Ok(Ok((text, Some(Err(error))))) => {
                    // Said once for each change of the file.
                    known = text;
                    tracing::warn!("the rules before stay in force: {error:#}");
                }
                // A file that is gone for a moment is being replaced.
                Ok(Ok((_, None)) | Err(_)) | Err(_) => {}
            }
        }
    }
}
