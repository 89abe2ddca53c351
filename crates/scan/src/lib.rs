//! Looks for secrets in trees of files, archives and git histories, and reports them without repeating them.
//!
//! Promises:
//! - nothing that is looked at can hang, crash or fill the memory: special files, links, archive bombs, broken archives
//!   and unreadable files are a warning each, and every bound is a named constant;
//! - a file is read once, in windows, whatever its size;
//! - no report, excerpt, baseline or warning has a secret in it;
//! - git is asked with everything switched off that a repository could have it run.
//!
//! Left out: drawing progress, the command line (both are the binary's), and asking issuers whether a key is alive.
//!
//! Start reading at [`run`].

mod archive;
mod baseline;
mod client;
mod git;
mod hit;
mod pdf;
mod reading;
mod report;
mod run;
mod tree;

pub use baseline::{Baseline, BaselineError};
pub use hit::Hit;
pub use report::{json, sarif, summary, text};
pub use run::{Error, FailOn, Options, Outcome, Progress, Target, run};

/// Reads an archive from memory as a file of that name would be read: for fuzzing.
#[doc(hidden)]
pub use run::read_bytes;
