//! Findings that are known: their fingerprints, never their secrets.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::hit::Hit;

/// A baseline file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    version: u32,
    findings: Vec<Known>,
}

/// Kind, file and line are for people: only the fingerprint counts.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    fingerprint: String,
    kind: String,
    file: String,
    line: u64,
}

/// Why a baseline cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// The file.
    #[error("cannot read the baseline {0}")]
    Read(String, #[source] std::io::Error),
    /// Its contents.
    #[error("{0} is no baseline of this version: make it anew with --write-baseline")]
    Malformed(String, #[source] serde_json::Error),
}

const VERSION: u32 = 1;

impl Baseline {
    /// All of these are known.
    pub fn of(hits: &[Hit]) -> Baseline {
        let known = |hit: &Hit| Known {
            fingerprint: hit.fingerprint.clone(),
            kind: hit.rule.kind.to_owned(),
            file: hit.file.clone(),
            line: hit.line,
        };
        Baseline { version: VERSION, findings: hits.iter().map(known).collect() }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is no baseline.
    pub fn read(path: &Path) -> Result<Baseline, BaselineError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| BaselineError::Read(shown.clone(), error))?;
        serde_json::from_str(&text).map_err(|error| BaselineError::Malformed(shown, error))
    }

    /// The file's text.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("strings and numbers make JSON") + "\n"
    }

    /// Drops the findings that are known. Gives their number.
    pub fn drop_known(&self, hits: &mut Vec<Hit>) -> usize {
        let known: BTreeSet<&str> = self.findings.iter().map(|known| known.fingerprint.as_str()).collect();
        let before = hits.len();
        hits.retain(|hit| !known.contains(hit.fingerprint.as_str()));
        before - hits.len()
    }
}
