//! Texts of findings that somebody has judged, in the data folder: what `sallyport inspect --eval` reads, and what the
//! next training of this installation can use.
//!
//! Promises: nothing goes there but what an administrator gave with a triage; its owner alone can read it; it is bounded.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use console::Evaluation;
use store::TextHash;

/// Name in the data folder.
const FILE: &str = "evaluation.jsonl";
/// Largest file: some hundred thousand texts. Above it nothing is added until it is moved away.
const BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The file.
pub(crate) struct EvaluationFile {
    path: PathBuf,
    /// One line after the other.
    writing: Mutex<()>,
}

impl EvaluationFile {
    /// The file of a data folder. It is made when the first line comes.
    pub(crate) fn new(data: &Path) -> EvaluationFile {
        EvaluationFile { path: data.join(FILE), writing: Mutex::new(()) }
    }

    fn write(&self, line: &str) -> std::io::Result<()> {
        let mut file: File = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
        if file.metadata()?.len() + line.len() as u64 >= BYTES_MAX {
            let words = format!("{} is full: move it away", self.path.display());
            return Err(std::io::Error::other(words));
        }
        file.write_all(format!("{line}\n").as_bytes())?;
        file.sync_data()
    }
}

impl Evaluation for EvaluationFile {
    fn hash(&self, text: &str) -> TextHash {
        let mut hash = TextHash([0; 32]);
        hash.0.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        hash
    }

    fn append(&self, line: &str) -> Result<(), String> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(line).map_err(|error| error.to_string())
    }
}
