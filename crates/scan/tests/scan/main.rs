//! The scanner on trees, archives, histories and hostile files, and a corpus that scores it.

#![allow(clippy::unwrap_used, clippy::type_complexity)]

mod archives;
mod corpus;
mod history;
mod hostile;
mod make;
mod reports;

use std::path::Path;

use scan::{Hit, Options, Outcome, Progress, Target};

fn scanned(targets: &[Target]) -> Outcome {
    scan::run(targets, &Options::default(), &Progress::default()).unwrap()
}

fn tree(path: &Path) -> Outcome {
    scanned(&[Target::Path(path.to_path_buf())])
}

/// File names below a folder.
fn files<'a>(hits: &'a [Hit], below: &Path) -> Vec<&'a str> {
    let prefix = format!("{}/", below.display());
    hits.iter().map(|hit| hit.file.strip_prefix(&prefix).unwrap_or(&hit.file)).collect()
}
