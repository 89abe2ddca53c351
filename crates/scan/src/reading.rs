//! One file, or one member of an archive, read to its end: the engine's stream, and as much of the last bytes as lines,
//! excerpts and allow comments need.

use std::io::Read;

use secrets::{Class, Engine, Finding, HELD_BACK_BYTES_MAX, Stream};

use crate::client;
use crate::hit::{Excerpt, Hit, fingerprint, secret_digest};

/// Bytes that are read at a time.
pub(crate) const READ_BYTES: usize = 64 * 1024;
/// Bytes on either side of a finding in which a comment that allows it is looked for.
const AROUND_BYTES: usize = 2048;
/// Bytes of the file that stay in memory: whatever a finding that has just become certain looks back at.
const KEPT_BYTES: usize = HELD_BACK_BYTES_MAX + 2 * AROUND_BYTES;
/// Findings of one file that are reported; a file of nothing but keys is told once.
const HITS_PER_FILE_MAX: usize = 10_000;

/// Comments that allow what stands on their line.
const ALLOWED: [&[u8]; 4] = [b"sallyport:allow", b"gitleaks:allow", b"pragma: allowlist secret", b"trufflehog:ignore"];
/// The comment that allows what stands on the next line.
const NEXT_ALLOWED: &[u8] = b"pragma: allowlist nextline secret";

/// The name of what is read.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    /// As it is shown.
    pub(crate) file: String,
    /// Below the scanned folder: what a fingerprint is made of.
    pub(crate) path: String,
    pub(crate) commit: Option<String>,
    /// See [`Hit::age`].
    pub(crate) age: u32,
}

impl Name {
    pub(crate) fn of(file: String, path: String) -> Name {
        Name { file, path, commit: None, age: 0 }
    }
}

impl Name {
    /// A member of this archive.
    pub(crate) fn member(&self, inner: &str) -> Name {
        // Names come from archives: no control character reaches a terminal.
        let inner: String = inner.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        Name {
            file: format!("{}!{inner}", self.file),
            path: format!("{}!{inner}", self.path),
            commit: self.commit.clone(),
            age: self.age,
        }
    }
}

pub(crate) struct Reading<'a> {
    name: &'a Name,
    stream: Stream,
    window: Vec<u8>,
    /// Place of the window's first byte.
    base: u64,
    lines_before: u64,
    /// Characters of the line that begins before the window.
    column_before: u64,
    waiting: Vec<Finding>,
    hits: Vec<Hit>,
}

impl<'a> Reading<'a> {
    pub(crate) fn new(engine: &Engine, name: &'a Name) -> Reading<'a> {
        Reading {
            name,
            stream: engine.stream(),
            window: Vec::new(),
            base: 0,
            lines_before: 0,
            column_before: 0,
            waiting: Vec::new(),
            hits: Vec::new(),
        }
    }

    /// Reads to the end. Gives what was found up to an error too.
    pub(crate) fn read(mut self, from: &mut dyn Read, mut count: impl FnMut(usize)) -> (Vec<Hit>, std::io::Result<()>) {
        let mut buffer = vec![0; READ_BYTES];
        let end = loop {
            match from.read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(bytes) => {
                    count(bytes);
                    self.push(&buffer[..bytes]);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        (self.finish(), end)
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.window.extend_from_slice(bytes);
        self.waiting.extend(self.stream.push(bytes));
        let end = self.base + self.window.len() as u64;
        let ready = self.waiting.iter().take_while(|finding| finding.span.end + AROUND_BYTES as u64 <= end).count();
        let ready: Vec<Finding> = self.waiting.drain(..ready).collect();
        ready.into_iter().for_each(|finding| self.report(finding));
        if self.window.len() > 2 * KEPT_BYTES {
            self.forget(self.window.len() - KEPT_BYTES);
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Hit> {
        self.waiting.extend(self.stream.finish());
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_iter().for_each(|finding| self.report(finding));
        self.hits
    }

    fn forget(&mut self, count: usize) {
        let (lines, column) = self.position(count);
        (self.lines_before, self.column_before) = (lines, column);
        self.window.drain(..count);
        self.base += count as u64;
    }

    /// Lines before an index of the window, and characters of its line before it.
    fn position(&self, index: usize) -> (u64, u64) {
        let before = &self.window[..index];
        let lines = memchr::memchr_iter(b'\n', before).count() as u64;
        let line = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        let characters = before[line..].iter().filter(|byte| **byte & 0xc0 != 0x80).count() as u64;
        (self.lines_before + lines, if lines == 0 { self.column_before + characters } else { characters })
    }

    fn report(&mut self, finding: Finding) {
        let index = |place: u64| usize::try_from(place.saturating_sub(self.base)).unwrap_or(0).min(self.window.len());
        let (start, end) = (index(finding.span.start), index(finding.span.end));
        let before = &self.window[start.saturating_sub(AROUND_BYTES)..start];
        let behind = &self.window[end..self.window.len().min(end + AROUND_BYTES)];
        let is_wanted = match finding.rule.class {
            Class::Secret => true,
            Class::Sign => !client::is_prose(&self.name.path),
            Class::DirectCall => client::is_client(&self.name.path),
        };
        if !is_wanted || is_allowed(before, &self.window[start..end], behind) || self.hits.len() >= HITS_PER_FILE_MAX {
            return;
        }
        let (lines, column) = self.position(start);
        self.hits.push(Hit {
            file: self.name.file.clone(),
            commit: self.name.commit.clone(),
            line: lines + 1,
            column: column + 1,
            redacted: finding.redacted(),
            encodings: finding.encodings.iter().map(|encoding| encoding.word()).collect(),
            excerpt: Excerpt::new(before, behind),
            fingerprint: fingerprint(&self.name.path, &finding),
            secret: secret_digest(&finding),
            age: self.name.age,
            span: finding.span,
            rule: finding.rule,
        });
    }
}

/// Whether a comment on the lines of a finding, or the one on the line before, allows it.
fn is_allowed(before: &[u8], within: &[u8], behind: &[u8]) -> bool {
    let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
    let line_end = memchr::memchr(b'\n', behind).unwrap_or(behind.len());
    let has = |text: &[u8], word: &[u8]| memchr::memmem::find(text, word).is_some();
    let line_before = &before[..line_start.saturating_sub(1)];
    let line_before = &line_before[memchr::memrchr(b'\n', line_before).map_or(0, |at| at + 1)..];
    [&before[line_start..], within, &behind[..line_end]]
        .into_iter()
        .any(|part| ALLOWED.iter().any(|word| has(part, word)))
        || has(line_before, NEXT_ALLOWED)
}
