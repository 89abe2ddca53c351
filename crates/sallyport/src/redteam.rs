//! `sallyport redteam …`

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::serve::secret;

mod report;
mod send;
mod set;
mod signs;

use report::{Ending, Tried};
use send::Target;
use set::{Set, Try};

const DETAILS: &str = "\
Sends attacks of 20 techniques, and harmless texts beside them, through a running gate to the project's model, with the
project's key in SALLYPORT_PROJECT_KEY. Each attack carries a mark that is drawn anew; whether it got through is decided
by the mark in the model's answer, not by opinion.

  blocked        the gate refused the attack, or cut the answer off
  resisted       the model answered without the mark
  got through    the answer has the mark
  over-blocked   the gate refused a harmless text

The calls cost what the model costs, and count against the project's limits: their number is told first, and --dry-run
tells it alone.

Exit code: 0; 1 for what --fail-on names; 2 if the work could not be done.

Examples:
  SALLYPORT_PROJECT_KEY=sp-proj_… sallyport redteam --model gpt-4o-mini
  sallyport redteam --dry-run
  sallyport redteam --technique markup --technique 'tool output' --fail-on through --json
More: docs/redteam.md";

/// Most calls at once.
const CONCURRENCY_MAX: usize = 64;

/// Arguments of `redteam`.
#[derive(Debug, Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Redteam {
    /// Address of the running gate.
    #[arg(long, env = "SALLYPORT_URL", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    url: String,
    /// The model that is asked.
    #[arg(long, default_value = "gpt-4o-mini", value_name = "MODEL")]
    model: String,
    /// Only this technique; may be given again.
    #[arg(long, value_name = "NAME")]
    technique: Vec<String>,
    /// Attacks of your own instead of the built-in ones (docs/redteam.md has the form).
    #[arg(long, value_name = "FILE")]
    set: Option<PathBuf>,
    /// Tokens that an answer may have.
    #[arg(long, default_value_t = 160, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    answer_tokens: u32,
    /// Calls at once.
    #[arg(long, default_value_t = 4, value_name = "COUNT")]
    concurrency: usize,
    /// Seed of the marks, to send the same once more; drawn if not given.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Say how many calls it would be, and make none.
    #[arg(long)]
    dry_run: bool,
    /// What makes the exit code 1.
    #[arg(long, value_enum, default_value_t = Fail::Never)]
    fail_on: Fail,
    /// Print JSON, with every attempt and answer.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Fail {
    /// An attack that got through.
    Through,
    /// A harmless text that was blocked.
    OverBlocked,
    /// Either.
    Any,
    /// Nothing.
    Never,
}

impl Fail {
    fn fails(self, tried: &Tried) -> bool {
        match tried.ending {
            Ending::Through => matches!(self, Fail::Through | Fail::Any),
            Ending::Blocked => tried.attempt.is_control() && matches!(self, Fail::OverBlocked | Fail::Any),
            Ending::Answered | Ending::Failed(_) => false,
        }
    }
}

impl Redteam {
    /// The exit code says what was found, so that an error needs another.
    pub(crate) fn run(self) -> ExitCode {
        match self.attack() {
            Ok(code) => code,
            Err(error) => {
                eprintln!("sallyport: {error:#}");
                ExitCode::from(2)
            }
        }
    }

    fn attack(self) -> Result<ExitCode> {
        anyhow::ensure!((1..=CONCURRENCY_MAX).contains(&self.concurrency), "--concurrency: 1 to {CONCURRENCY_MAX}");
        let set = match &self.set {
            None => Set::built_in(),
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
                Set::parse(&text).with_context(|| format!("{} is not a set of attacks", path.display()))?
            }
        };
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..));
        let tries = set.tries(seed, &self.technique)?;
        let letters: usize = tries.iter().map(|one| one.body(&self.model, self.answer_tokens).to_string().len()).sum();
        let calls = tries.len();
        // A token is about four bytes of English; the request's JSON counts too, so that this is rather too much.
        let tokens = letters / 4;
        eprintln!(
            "{calls} calls to {} at {}: about {tokens} tokens in, at most {} out (seed {seed})",
            self.model,
            self.url,
            calls as u64 * u64::from(self.answer_tokens)
        );
        if self.dry_run {
            return Ok(ExitCode::SUCCESS);
        }
        let key =
            secret("SALLYPORT_PROJECT_KEY").context("SALLYPORT_PROJECT_KEY is not set: export a project's key")?;
        let target = Target::new(&self.url, key)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let tried = runtime.block_on(self.send(target, tries))?;
        let out = if self.json { format!("{:#}\n", report::json(&tried, seed)) } else { report::text(&tried) };
        // Whoever reads may have read enough; what got through still counts.
        let _ = std::io::stdout().write_all(out.as_bytes());
        Ok(ExitCode::from(u8::from(tried.iter().any(|tried| self.fail_on.fails(tried)))))
    }

    /// Makes the calls, some at once; results in the order of the set.
    async fn send(&self, target: Target, tries: Vec<Try>) -> Result<Vec<Tried>> {
        let (target, places) = (Arc::new(target), Arc::new(Semaphore::new(self.concurrency)));
        let mut running = JoinSet::new();
        for (index, attempt) in tries.into_iter().enumerate() {
            let (target, places) = (Arc::clone(&target), Arc::clone(&places));
            let body = attempt.body(&self.model, self.answer_tokens);
            running.spawn(async move {
                let place = places.acquire_owned().await;
                let answer = target.ask(&body).await;
                drop(place);
                (index, Tried::new(attempt, answer))
            });
        }
        let mut tried: Vec<(usize, Tried)> = running.join_all().await;
        tried.sort_by_key(|(index, _)| *index);
        let tried: Vec<Tried> = tried.into_iter().map(|(_, tried)| tried).collect();
        // Not one call was answered: this is no result, but a wrong address, key or model.
        let first = tried.first().map(|tried| &tried.ending);
        if let Some(Ending::Failed(why)) = first
            && tried.iter().all(|tried| matches!(tried.ending, Ending::Failed(_)))
        {
            anyhow::bail!("no call was answered: {why}");
        }
        Ok(tried)
    }
}

#[cfg(test)]
mod tests;
