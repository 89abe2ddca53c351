//! What is reported of a finding: everything but the secret.

use std::ops::Range;

use aws_lc_rs::digest::{Context, SHA256};
use secrets::{Finding, Rule};

/// A finding in a file.
#[derive(Debug, Clone)]
pub struct Hit {
    /// The file as it was named; a member of an archive is `outer!inner`.
    pub file: String,
    /// The commit that brought it, for what is found in a history.
    pub commit: Option<String>,
    /// Line of the first byte, from 1.
    pub line: u64,
    /// Character in that line, from 1.
    pub column: u64,
    /// Bytes of the file, or of the member as it is unpacked, from 0.
    pub span: Range<u64>,
    /// What it is.
    pub rule: &'static Rule,
    /// The secret with stars.
    pub redacted: String,
    /// How it was hidden, from the outside in.
    pub encodings: Vec<&'static str>,
    /// The line around it, with stars.
    pub excerpt: Excerpt,
    /// Digest of kind, path and secret: the same in the next run, even if lines move.
    pub fingerprint: String,
    /// Digest of the secret alone, to know it again in another file of the same scan. It leaves the process never.
    pub(crate) secret: [u8; 32],
    /// Age of the commit among those of the scan: the oldest has the least.
    pub(crate) age: u32,
}

/// A part of a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Excerpt {
    /// What stands before it.
    pub before: String,
    /// What stands behind it.
    pub behind: String,
}

/// Most characters of an excerpt on either side.
const EXCERPT_CHARS_MAX: usize = 48;
/// Longest word of an excerpt that is shown: a secret that was not recognised, or not yet, is longer.
const SHOWN_WORD_CHARS_MAX: usize = 11;

impl Excerpt {
    /// Of the bytes before and behind a finding, what is on the same line and no secret.
    pub(crate) fn new(before: &[u8], behind: &[u8]) -> Excerpt {
        let before = &before[memchr::memrchr2(b'\n', b'\r', before).map_or(0, |at| at + 1)..];
        let behind = &behind[..memchr::memchr2(b'\n', b'\r', behind).unwrap_or(behind.len())];
        let (before, behind) = (shown(before), shown(behind));
        let skipped = before.chars().count().saturating_sub(EXCERPT_CHARS_MAX);
        Excerpt {
            before: before.chars().skip(skipped).collect::<String>().trim_start().to_owned(),
            behind: behind.chars().take(EXCERPT_CHARS_MAX).collect::<String>().trim_end().to_owned(),
        }
    }
}

/// A text without control characters, and without words that could be secrets.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::new();
    let is_word =
        |character: char| character.is_alphanumeric() || matches!(character, '_' | '-' | '+' | '/' | '=' | '%' | '\\');
    let mut rest = &*text;
    while let Some(first) = rest.chars().next() {
        let end = match is_word(first) {
            true => rest.find(|character| !is_word(character)).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        let (word, behind) = rest.split_at(end);
        match word.chars().count() > SHOWN_WORD_CHARS_MAX && !is_name(word) {
            true => out.push('…'),
            false if first.is_control() || first == char::REPLACEMENT_CHARACTER => out.push(' '),
            false => out.push_str(word),
        }
        rest = behind;
        // A password in an address.
        if first == ':' && !rest.starts_with('/') && rest.find('@').is_some_and(|at| !rest[..at].contains(' ')) {
            out.push('…');
            rest = &rest[rest.find('@').unwrap_or(0)..];
        }
    }
    out
}

/// Names of variables and fields: words of one case, kept apart, without digits.
fn is_name(word: &str) -> bool {
    let is_one_case = |part: &str| {
        part.chars().all(|c| c.is_ascii_lowercase())
            || part.chars().all(|c| c.is_ascii_uppercase())
            || part.len() <= 16 && part.chars().all(|c| c.is_ascii_alphabetic())
    };
    word.split(['_', '-', '=', '/']).all(|part| part.len() <= SHOWN_WORD_CHARS_MAX + 5 && is_one_case(part))
}

/// The digest of a secret alone.
pub(crate) fn secret_digest(finding: &Finding) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(aws_lc_rs::digest::digest(&SHA256, finding.secret.expose().as_bytes()).as_ref());
    bytes
}

/// The digest by which a baseline knows a finding: of kind, path and secret. A secret that could be guessed is left out
/// of it; its redacted form and its place take its part.
pub(crate) fn fingerprint(file: &str, finding: &Finding) -> String {
    let secret = finding.secret.expose();
    let redacted = finding.redacted();
    let known = if finding.rule.is_guessable { redacted.as_str() } else { secret };
    let mut context = Context::new(&SHA256);
    for part in ["sallyport scan 1", finding.rule.kind, file, known] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    context.finish().as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_shows_no_long_word() {
        let excerpt = Excerpt::new(
            b"old\nconst apiKey = other(\"Zx8Wv6Ut4Sr2Qp0On9Ml\", \"",
            b"\", postgres://a:hunter2@h, AKIAQ3EGRCV5XWN2TY4K);\nnext",
        );
        assert_eq!(excerpt.before, "const apiKey = other(\"…\", \"");
        assert_eq!(excerpt.behind, "\", postgres://a:…@h, …);");
    }
}
