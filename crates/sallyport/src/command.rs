//! Runs a program that the configuration names, for the secret that it prints.
//!
//! Promises: no shell; what it prints is bounded in size and time, and is wiped; an error has its exit code and what it
//! wrote to standard error, never what it printed; it sees none of the gate's own secrets in its environment.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use keys::Secret;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use zeroize::Zeroizing;

/// Most bytes that a program may print.
pub(crate) const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of its standard error that an error shows.
const ERROR_BYTES_MAX: usize = 1_024;

/// Why a program gave no secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// No program is named.
    #[error("the list is empty: name a program and its arguments")]
    Empty,
    /// It cannot be started, or read.
    #[error("`{program}` cannot be run")]
    Start {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It took too long.
    #[error("`{program}` did not end within {seconds} seconds, and was killed")]
    Late {
        /// The program.
        program: String,
        /// How long it had.
        seconds: u64,
    },
    /// It failed.
    #[error("`{program}` failed ({status}): {stderr}")]
    Failed {
        /// The program.
        program: String,
        /// Its exit status.
        status: ExitStatus,
        /// The beginning of its standard error.
        stderr: String,
    },
    /// What it printed is no secret.
    #[error("`{program}` printed nothing, more than {OUTPUT_BYTES_MAX} bytes, or no text")]
    Output {
        /// The program.
        program: String,
    },
}

/// Takes the gate's own variables from a program's environment.
pub(crate) fn without_our_secrets(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SALLYPORT_")) {
        command.env_remove(name);
    }
}

/// Runs a program and gives what it printed, without blanks around it.
///
/// # Errors
/// What [`CommandError`] lists.
pub(crate) async fn run(words: &[String], time_max: Duration) -> Result<Secret, CommandError> {
    let (program, arguments) = words.split_first().ok_or(CommandError::Empty)?;
    let program = program.clone();
    let failed = |source| CommandError::Start { program: program.clone(), source };
    let mut command = Command::new(&program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    without_our_secrets(&mut command);
    let mut child = command.spawn().map_err(failed)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let work = async {
        let (printed, said) = tokio::join!(read(stdout, OUTPUT_BYTES_MAX), read(stderr, ERROR_BYTES_MAX));
        Ok::<_, std::io::Error>((printed?, said?, child.wait().await?))
    };
    let ended = tokio::time::timeout(time_max, work).await;
    let late = |_| CommandError::Late { program: program.clone(), seconds: time_max.as_secs() };
    let ((printed, is_all), (said, _), status) = ended.map_err(late)?.map_err(failed)?;
    if !status.success() {
        let stderr = String::from_utf8_lossy(&said).trim().escape_debug().collect();
        return Err(CommandError::Failed { program, status, stderr });
    }
    let text = std::str::from_utf8(&printed).map(str::trim).unwrap_or_default();
    if text.is_empty() || !is_all {
        return Err(CommandError::Output { program });
    }
    Ok(Secret::new(text))
}

/// Reads a pipe to its end and keeps its beginning; whether that is all.
async fn read(pipe: Option<impl AsyncRead + Unpin>, bytes_max: usize) -> std::io::Result<(Zeroizing<Vec<u8>>, bool)> {
    // Made as large as it may become: a buffer that grows leaves copies behind.
    let mut kept = Zeroizing::new(Vec::with_capacity(bytes_max));
    let mut rest = Zeroizing::new([0; 4_096]);
    let Some(mut pipe) = pipe else { return Ok((kept, true)) };
    let mut is_all = true;
    loop {
        let count = pipe.read(&mut rest[..]).await?;
        if count == 0 {
            return Ok((kept, is_all));
        }
        let fits = count.min(bytes_max - kept.len());
        kept.extend_from_slice(&rest[..fits]);
        is_all &= fits == count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str) -> Result<Secret, CommandError> {
        let words = ["sh", "-c", script].map(str::to_owned);
        run(&words, Duration::from_secs(20)).await
    }

    #[tokio::test]
    async fn what_a_program_prints_is_the_secret() {
        assert_eq!(shell("printf '  sk-from-a-vault\\n'").await.expect("prints").expose(), "sk-from-a-vault");
        let words = ["echo".to_owned(), "$HOME; `id`".to_owned()];
        let printed = run(&words, Duration::from_secs(20)).await.expect("prints");
        assert_eq!(printed.expose(), "$HOME; `id`", "no shell");
    }

    #[tokio::test]
    async fn an_error_has_the_exit_code_and_no_output() {
        let error = shell("echo sk-half-a-secret; echo 'no\nsuch key' >&2; exit 3").await.expect_err("fails");
        let words = error.to_string();
        assert!(words.contains("exit status: 3") && words.contains("no\\nsuch key"), "{words}");
        assert!(!format!("{words}{error:?}").contains("sk-half"));
        let error = run(&["/nonexistent".to_owned()], Duration::from_secs(1)).await.expect_err("no program");
        assert!(matches!(error, CommandError::Start { .. }));
        assert!(matches!(run(&[], Duration::from_secs(1)).await, Err(CommandError::Empty)));
    }

    #[tokio::test]
    async fn output_is_bounded_in_size_and_time() {
        assert!(matches!(shell("head -c 70000 /dev/zero | tr '\\0' x").await, Err(CommandError::Output { .. })));
        assert!(matches!(shell("true").await, Err(CommandError::Output { .. })));
        assert!(matches!(shell("printf '\\377\\376'").await, Err(CommandError::Output { .. })));
        let words = ["sleep", "600"].map(str::to_owned);
        let error = run(&words, Duration::from_millis(50)).await.expect_err("late");
        assert!(matches!(error, CommandError::Late { .. }), "{error}");
    }
}
