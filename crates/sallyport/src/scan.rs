//! `sallyport scan …`

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ::scan::{self, Baseline, FailOn, Options, Outcome, Progress, Target};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

const DETAILS: &str = "\
Secrets are never repeated: reports show the kind's prefix, stars and the last four characters. In JSON, `span` is
[start, end] in bytes of the file from 0, or of the member of an archive as it is unpacked; `file` of a member is
`outer!inner`; `commit` is there for what only the history has.

Exit code: 0 nothing found, 1 something found, 2 the scan could not be made.
What stands on a line with the comment sallyport:allow, gitleaks:allow or pragma: allowlist secret is left out, and so
is what --exclude or a .sallyportignore file at the top of the tree names.

Examples:
  sallyport scan .                              everything below, .env and ignored files too
  sallyport scan . --git                        and the whole history, stashes and unreachable objects too
  sallyport scan --staged                       what the next commit would add (for a hook)
  sallyport scan app.apk dist --format sarif    for code scanning
  sallyport scan . --write-baseline known.json; sallyport scan . --baseline known.json
More: docs/scan.md";

/// How often progress is drawn.
const DRAWN_EVERY: Duration = Duration::from_millis(100);

/// Arguments of `scan`.
#[derive(Debug, Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Scan {
    /// Files and folders; `-` is the standard input.
    #[arg(value_name = "PATH", required_unless_present = "staged")]
    paths: Vec<PathBuf>,
    /// Read the git history of each folder too: all refs, stashes, reflogs, objects that nothing refers to.
    #[arg(long)]
    git: bool,
    /// Read what the next commit would add, in the repository of the working directory.
    #[arg(long, conflicts_with_all = ["git", "paths"])]
    staged: bool,
    /// How findings are written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Leave out what matches: names, or paths below PATH, with * and **. May be given again.
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Leave out the findings that this file knows.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write a file that knows all that is found now (fingerprints, no secrets), and end with 0.
    #[arg(long, value_name = "FILE")]
    write_baseline: Option<PathBuf>,
    /// What makes the exit code 1.
    #[arg(long, value_enum, default_value_t = Fail::Any)]
    fail_on: Fail,
    /// The prefix of your gate's keys, if it is not the usual one.
    #[arg(long, value_name = "PREFIX", default_value = "sp-")]
    key_prefix: String,
    /// Threads that read; one for each processor if not given.
    #[arg(long, value_name = "COUNT", default_value_t = 0, hide_default_value = true)]
    threads: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// A list of objects.
    Json,
    /// SARIF 2.1.0.
    Sarif,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Fail {
    /// Any finding.
    Any,
    /// Secrets, not signs of one.
    Secret,
    /// Severity medium or high.
    Medium,
    /// Severity high.
    High,
    /// Nothing.
    Never,
}

impl From<Fail> for FailOn {
    fn from(fail: Fail) -> FailOn {
        match fail {
            Fail::Any => FailOn::Any,
            Fail::Secret => FailOn::Secret,
            Fail::Medium => FailOn::Medium,
            Fail::High => FailOn::High,
            Fail::Never => FailOn::Never,
        }
    }
}

impl Scan {
    /// The exit code of a scan says what was found, so that an error needs another.
    pub(crate) fn run(self) -> ExitCode {
        match self.scan() {
            Ok(code) => code,
            Err(error) => {
                eprintln!("sallyport: {error:#}");
                ExitCode::from(2)
            }
        }
    }

    fn scan(self) -> Result<ExitCode> {
        let shape = keys::Shape::new(&self.key_prefix)
            .with_context(|| format!("--key-prefix `{}`: use 1 to 16 of letters, digits, - and _", self.key_prefix))?;
        let baseline = self.baseline.as_deref().map(Baseline::read).transpose()?;
        let options = Options { shape, exclude: self.exclude.clone(), threads: self.threads };
        let start = Instant::now();
        let mut outcome = watched(&self.targets(), &options)?;
        if let Some(baseline) = baseline {
            outcome.known = baseline.drop_known(&mut outcome.hits);
        }
        let report = match self.format {
            Format::Text => scan::text(&outcome.hits),
            Format::Json => scan::json(&outcome.hits),
            Format::Sarif => scan::sarif(&outcome.hits, env!("CARGO_PKG_VERSION")),
        };
        match std::io::stdout().write_all(report.as_bytes()) {
            // Whoever reads has read enough; what was found still counts.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written.context("cannot write the report to the standard output")?,
        }
        outcome.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
        eprintln!("{}", scan::summary(&outcome, start.elapsed().as_secs_f64()));
        if let Some(path) = &self.write_baseline {
            std::fs::write(path, Baseline::of(&outcome.hits).to_json())
                .with_context(|| format!("cannot write the baseline {}", path.display()))?;
            return Ok(ExitCode::SUCCESS);
        }
        let fail_on = FailOn::from(self.fail_on);
        Ok(ExitCode::from(u8::from(outcome.hits.iter().any(|hit| fail_on.fails(hit)))))
    }

    fn targets(&self) -> Vec<Target> {
        if self.staged {
            return vec![Target::Staged(PathBuf::from("."))];
        }
        let path = |path: &PathBuf| match path.as_os_str() == "-" {
            true => Target::Stdin,
            false => Target::Path(path.clone()),
        };
        let histories = self.paths.iter().filter(|path| self.git && path.as_os_str() != "-");
        self.paths.iter().map(path).chain(histories.map(|path| Target::History(path.clone()))).collect()
    }
}

/// Scans, and draws how far it is if somebody looks.
fn watched(targets: &[Target], options: &Options) -> Result<Outcome, scan::Error> {
    let progress = Progress::default();
    if !std::io::stderr().is_terminal() {
        return scan::run(targets, options, &progress);
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let load = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
                let (files, megabytes) = (load(&progress.files), load(&progress.bytes) / 1_000_000);
                bar.set_message(format!("{files} files, {megabytes} MB, {} findings", load(&progress.findings)));
                bar.tick();
                std::thread::park_timeout(DRAWN_EVERY);
            }
            bar.finish_and_clear();
        });
        let outcome = scan::run(targets, options, &progress);
        is_over.store(true, Ordering::Relaxed);
        outcome
    })
}
