//! The scan itself: targets in, findings out, over a fixed number of threads.

use std::fs::File;
use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use secrets::{Class, Config, Engine, Severity};

use crate::baseline::BaselineError;
use crate::git;
use crate::hit::Hit;
use crate::reading::{Name, Reading};
use crate::tree::{self, Excluded};

/// Files that wait for a thread; small objects of a history wait with their contents, 4 MiB each at most.
const QUEUE: usize = 32;
/// Findings that are reported.
const HITS_MAX: usize = 200_000;
/// Warnings that are kept.
const WARNINGS_MAX: usize = 1_000;

/// What is scanned.
#[derive(Debug, Clone)]
pub enum Target {
    /// The standard input, under the name `-`.
    Stdin,
    /// A file, or a tree of them.
    Path(PathBuf),
    /// All objects of the git repository here: every commit, branch, tag, stash and what nothing refers to any more.
    History(PathBuf),
    /// What the next commit of the git repository here would add.
    Staged(PathBuf),
}

/// How it is scanned.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The shape of this installation's keys.
    pub shape: keys::Shape,
    /// Patterns of paths that are left out.
    pub exclude: Vec<String>,
    /// Threads that read; 0 is one for each processor.
    pub threads: usize,
}

/// How far a scan is; read by who draws it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Files, members of archives and objects.
    pub files: AtomicU64,
    /// Bytes, unpacked.
    pub bytes: AtomicU64,
    /// Findings.
    pub findings: AtomicU64,
}

/// What a scan came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// In the order of files and places.
    pub hits: Vec<Hit>,
    /// Findings that the baseline knows.
    pub known: usize,
    /// What could not be read, and why; the first thousand.
    pub warnings: Vec<String>,
    /// All of them.
    pub warning_count: u64,
    /// Files, members of archives and objects.
    pub files: u64,
    /// Bytes, unpacked.
    pub bytes: u64,
}

/// Which findings make a scan fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailOn {
    /// Any.
    Any,
    /// Secrets, not signs.
    Secret,
    /// Severity medium and high.
    Medium,
    /// Severity high.
    High,
    /// None.
    Never,
}

impl FailOn {
    /// Whether this one does.
    pub fn fails(self, hit: &Hit) -> bool {
        match self {
            FailOn::Any => true,
            FailOn::Secret => hit.rule.class == Class::Secret,
            FailOn::Medium => hit.rule.severity >= Severity::Medium,
            FailOn::High => hit.rule.severity >= Severity::High,
            FailOn::Never => false,
        }
    }
}

/// Why nothing could be scanned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is there.
    #[error("cannot scan {0}")]
    Missing(String, #[source] std::io::Error),
    /// A pattern.
    #[error("`{0}` is no pattern of paths: {1}")]
    Pattern(String, String),
    /// Git is not there.
    #[error("git is needed to read a history, and cannot be run; if it is missing: apt-get install git")]
    NoGit(#[source] std::io::Error),
    /// Git says no.
    #[error("git cannot read {0}: {1}")]
    Git(String, String),
    /// The baseline.
    #[error(transparent)]
    Baseline(#[from] BaselineError),
}

pub(crate) enum Work {
    File(PathBuf, Name),
    Object(Name, Vec<u8>),
}

/// What all threads share.
pub(crate) struct Scanner<'a> {
    engine: &'a Engine,
    progress: &'a Progress,
    hits: Mutex<Vec<Hit>>,
    warnings: Mutex<(Vec<String>, u64)>,
}

/// Scans all targets.
///
/// # Errors
/// A target is not there, a pattern is none, or git is needed and cannot be run. What cannot be read within a target is
/// a warning.
pub fn run(targets: &[Target], options: &Options, progress: &Progress) -> Result<Outcome, Error> {
    let engine = Engine::new(Config { shape: options.shape.clone(), finds_reversed: true });
    let scanner = Scanner { engine: &engine, progress, hits: Mutex::default(), warnings: Mutex::default() };
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let (send, receive) = sync_channel(QUEUE);
    let receive = Mutex::new(receive);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| scanner.work_off(&receive));
        }
        // The queue is dropped with this call, which ends the threads.
        targets.iter().try_for_each(|target| scanner.feed(target, options, &send)).inspect(|()| drop(send))
    })?;
    Ok(scanner.outcome())
}

/// Reads bytes as a file of that name would be read.
#[doc(hidden)]
pub fn read_bytes(engine: &Engine, file: &str, bytes: &[u8]) -> Vec<Hit> {
    let progress = Progress::default();
    let scanner = Scanner { engine, progress: &progress, hits: Mutex::default(), warnings: Mutex::default() };
    let name = Name::of(file.to_owned(), file.to_owned());
    scanner.read_file(&name, Cursor::new(bytes), bytes.len() as u64);
    scanner.outcome().hits
}

impl Scanner<'_> {
    fn feed(&self, target: &Target, options: &Options, queue: &SyncSender<Work>) -> Result<(), Error> {
        match target {
            Target::Stdin => {
                let name = Name::of("-".into(), "-".into());
                // An unknown length may unpack to what is free.
                self.guarded(&name, || self.read_stream(&name, &mut std::io::stdin().lock(), 0));
                Ok(())
            }
            Target::Path(path) => self.feed_path(path, options, queue),
            Target::History(path) => git::feed_history(self, path, queue),
            Target::Staged(path) => git::feed_staged(self, path, queue),
        }
    }

    fn feed_path(&self, path: &Path, options: &Options, queue: &SyncSender<Work>) -> Result<(), Error> {
        let missing = |error| Error::Missing(path.display().to_string(), error);
        let metadata = std::fs::metadata(path).map_err(missing)?;
        let mut send = |path: PathBuf, below: PathBuf| {
            let name = Name::of(shown(&path), shown(&below));
            // The threads are there as long as the queue is.
            let _ = queue.send(Work::File(path, name));
        };
        if metadata.is_dir() {
            let excluded = Excluded::new(path, &options.exclude)?;
            tree::walk(self, path, &excluded, &mut send);
        } else if metadata.is_file() {
            // Patterns hold for files that are named one by one too, as a commit hook does.
            if !Excluded::new(Path::new("."), &options.exclude)?.has(path.strip_prefix("./").unwrap_or(path)) {
                send(path.to_path_buf(), path.strip_prefix("./").unwrap_or(path).to_path_buf());
            }
        } else {
            self.warn_path(
                path,
                format_args!("is no file (a pipe, a socket or a device): not read; use - for the standard input"),
            );
        }
        Ok(())
    }

    fn work_off(&self, queue: &Mutex<Receiver<Work>>) {
        loop {
            let work = locked(queue).recv();
            match work {
                Ok(Work::File(path, name)) => self.guarded(&name, || match File::open(&path) {
                    Ok(file) => {
                        let bytes = file.metadata().map_or(0, |metadata| metadata.len());
                        self.read_file(&name, file, bytes);
                    }
                    Err(error) => self.warn(&name, format_args!("cannot be read: {error}")),
                }),
                Ok(Work::Object(name, bytes)) => {
                    self.guarded(&name, || self.read_file(&name, Cursor::new(&bytes), bytes.len() as u64));
                }
                Err(_) => return,
            }
        }
    }

    /// A decoder of a hostile archive that gives up costs that file only.
    pub(crate) fn guarded(&self, name: &Name, read: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(read)).is_err() {
            self.warn(name, format_args!("broke its decoder: not read to its end"));
        }
    }

    /// Reads what is no archive.
    pub(crate) fn read_plain(&self, name: &Name, from: &mut dyn Read) {
        self.progress.files.fetch_add(1, Ordering::Relaxed);
        let count = |bytes: usize| {
            self.progress.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        };
        let (hits, end) = Reading::new(self.engine, name).read(from, count);
        self.progress.findings.fetch_add(hits.len() as u64, Ordering::Relaxed);
        if let Err(error) = end {
            self.warn(name, format_args!("{error}"));
        }
        let mut all = locked(&self.hits);
        if all.len() < HITS_MAX {
            all.extend(hits);
        }
    }

    pub(crate) fn warn(&self, name: &Name, reason: std::fmt::Arguments<'_>) {
        let mut warnings = locked(&self.warnings);
        warnings.1 += 1;
        if warnings.0.len() < WARNINGS_MAX {
            warnings.0.push(format!("{}: {reason}", name.file));
        }
    }

    pub(crate) fn warn_path(&self, path: &Path, reason: std::fmt::Arguments<'_>) {
        self.warn(&Name::of(shown(path), String::new()), reason);
    }

    fn outcome(self) -> Outcome {
        let hits = self.hits.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (mut warnings, warning_count) = self.warnings.into_inner().unwrap_or_else(PoisonError::into_inner);
        warnings.sort();
        Outcome {
            hits: git::merged(hits),
            known: 0,
            warnings,
            warning_count,
            files: self.progress.files.load(Ordering::Relaxed),
            bytes: self.progress.bytes.load(Ordering::Relaxed),
        }
    }
}

/// A path in a report: no control character reaches a terminal.
fn shown(path: &Path) -> String {
    let text = path.to_string_lossy();
    let text = text.strip_prefix("./").unwrap_or(&text);
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

/// What a thread left when it broke is whole: lists are only ever pushed to.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
