//! Files of JSON lines: requests of a batch, examples to train on, data to evaluate with.
//!
//! Promises: the texts of a batch's requests have the channels that they have in requests of their own; the messages of
//! examples have those of chat; what no table knows is untrusted, as is all of a line that is no JSON, and lines are
//! independent of each other. Nothing depends on how the bytes were split. Only where the form's purpose says that a file
//! is one it is read so: any other that looks like one is a document, and read as it stands.

use std::sync::Arc;

use wire::endpoint::find;
use wire::json::{TopLevel, scan};

use crate::file::Reading;
use crate::stretch::Stretches;
use crate::table::Table;
use crate::text::{Extracted, Origin};
use crate::walk::Walk;

/// Longest line that is read as JSON. Requests with pictures have a few megabytes; longer lines are read as text.
pub const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A file of JSON lines in pieces.
#[derive(Debug)]
pub(crate) struct Lines {
    part: Arc<str>,
    number: usize,
    kept: Vec<u8>,
    /// A line that is too long, as text.
    long: Option<Stretches>,
    /// What follows a first line that is no JSON: then it is a file of another kind.
    other: Option<Stretches>,
}

impl Lines {
    /// Whether a file may be one, by its first bytes.
    pub(crate) fn may_be(head: &[u8]) -> bool {
        head.trim_ascii_start().first() == Some(&b'{')
    }

    pub(crate) fn new(part: Arc<str>) -> Lines {
        Lines { part, number: 1, kept: Vec::new(), long: None, other: None }
    }

    /// More of it.
    pub(crate) fn push(&mut self, mut data: &[u8], found: &mut Extracted<'static>) {
        while !data.is_empty() {
            if let Some(other) = &mut self.other {
                return other.push(data, &mut found.texts);
            }
            let end = memchr::memchr(b'\n', data);
            let piece = data.split_off(..end.map_or(data.len(), |end| end + 1)).unwrap_or_default();
            self.push_piece(piece, found);
            if end.is_some() {
                self.end_line(found);
            }
        }
    }

    /// The end of it.
    pub(crate) fn end(mut self, found: &mut Extracted<'static>) {
        self.end_line(found);
        if let Some(other) = self.other {
            other.end(&mut found.texts);
        }
    }

    fn push_piece(&mut self, piece: &[u8], found: &mut Extracted<'static>) {
        if self.long.is_none() && self.kept.len() + piece.len() > LINE_BYTES_MAX {
            let kept = std::mem::take(&mut self.kept);
            let mut long = Stretches::new(self.name(), Origin::File, 0, Reading::Narrow);
            long.push(&kept, &mut found.texts);
            self.long = Some(long);
        }
        match &mut self.long {
            Some(long) => long.push(piece, &mut found.texts),
            None => self.kept.extend_from_slice(piece),
        }
    }

    fn end_line(&mut self, found: &mut Extracted<'static>) {
        if let Some(long) = self.long.take() {
            long.end(&mut found.texts);
        } else if !self.kept.trim_ascii().is_empty() && !self.read(found) {
            let is_first = self.number == 1;
            let name = if is_first { Arc::clone(&self.part) } else { self.name() };
            let mut text = Stretches::new(name, Origin::File, 0, Reading::Narrow);
            text.push(&self.kept, &mut found.texts);
            if is_first {
                self.other = Some(text);
            } else {
                text.end(&mut found.texts);
            }
        }
        self.kept.clear();
        self.number += 1;
    }

    /// Reads a line as JSON, and says whether it is an object of that kind.
    fn read(&self, found: &mut Extracted<'static>) -> bool {
        let line = self.kept.trim_ascii();
        let Ok(members) = TopLevel::read(line) else { return false };
        let mut walk = walk(&members, line.len());
        if scan(line, &mut walk).is_err() {
            return false;
        }
        found.absorb(walk.finish(), &self.name());
        true
    }

    /// `file:17`
    fn name(&self) -> Arc<str> {
        format!("{}:{}", self.part, self.number).into()
    }
}

/// A walk through a line of this kind.
fn walk<'l>(members: &TopLevel<'_>, line_bytes: usize) -> Walk<'l> {
    let table = Table::shared();
    match members.string("url") {
        Some(url) if members.member("body").is_some() => {
            let row = find("POST", &url).ok().map(|found| found.endpoint);
            Walk::batch(table.batch_line(row), line_bytes)
        }
        _ => Walk::new(table.example_line(), line_bytes),
    }
}
