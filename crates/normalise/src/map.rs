//! Rewriting a text span by span, and the way back from the new text to the old.
//!
//! What is not replaced is copied, so a map holds only the replaced spans. Spans that follow each other and were made
//! alike (one byte from three, say) are one run: a text in fullwidth letters needs one run, not one a letter.

use std::ops::Range;

use crate::changes::{Change, Changes};

/// Bytes of the new text and the bytes of the old from which they were made.
#[derive(Debug, Clone, Copy)]
struct Run {
    new: u32,
    old: u32,
    new_len: u32,
    old_len: u32,
    /// So many new bytes come from so many old ones, again and again; zero where only the whole run can be told.
    step: (u8, u8),
    change: Change,
    backwards: bool,
}

impl Run {
    fn new_end(&self) -> usize {
        (self.new + self.new_len) as usize
    }

    fn old_end(&self) -> usize {
        (self.old + self.old_len) as usize
    }

    fn old_start(&self, at: usize) -> usize {
        let (new, old) = (usize::from(self.step.0), usize::from(self.step.1));
        if self.backwards || new == 0 {
            return self.old as usize;
        }
        (self.old as usize + (at - self.new as usize) / new * old).min(self.old_end())
    }

    fn old_stop(&self, at: usize) -> usize {
        let (new, old) = (usize::from(self.step.0), usize::from(self.step.1));
        if self.backwards || new == 0 || at >= self.new_end() {
            return self.old_end();
        }
        (self.old as usize + (at - self.new as usize).div_ceil(new) * old).min(self.old_end())
    }
}

/// The way back from one text to the one it was made from.
#[derive(Debug, Default)]
pub(crate) struct Map {
    runs: Vec<Run>,
}

impl Map {
    fn before(&self, at: usize) -> Option<&Run> {
        let next = self.runs.partition_point(|run| run.new as usize <= at);
        next.checked_sub(1).map(|index| &self.runs[index])
    }

    /// The bytes of the old text from which these were made.
    pub(crate) fn origin(&self, range: Range<usize>) -> Range<usize> {
        let first = self.before(range.start);
        let start = match first {
            None => range.start,
            Some(run) if range.start < run.new_end() => run.old_start(range.start),
            Some(run) => run.old_end() + (range.start - run.new_end()),
        };
        if range.is_empty() {
            return start..start;
        }
        let last = self.before(range.end - 1);
        if let (Some(run), Some(same)) = (first, last)
            && run.backwards
            && run.new == same.new
            && range.end <= run.new_end()
        {
            let end = run.old_end();
            return end - (range.end - run.new as usize)..end - (range.start - run.new as usize);
        }
        let stop = match last {
            None => range.end,
            Some(run) if range.end <= run.new_end() => run.old_stop(range.end),
            Some(run) => run.old_end() + (range.end - run.new_end()),
        };
        start..stop.max(start)
    }

    /// What was done to these bytes of the new text.
    pub(crate) fn changes(&self, range: Range<usize>) -> Changes {
        let mut changes = Changes::none();
        let from = self.runs.partition_point(|run| run.new_end() < range.start);
        for run in self.runs[from..].iter().take_while(|run| (run.new as usize) < range.end) {
            changes.insert(run.change);
        }
        changes
    }
}

/// A text being rewritten, from its start to its end. Nothing is copied until something is replaced.
#[derive(Debug)]
pub(crate) struct Rewrite<'a> {
    old: &'a str,
    new: String,
    copied: usize,
    map: Map,
    changes: Changes,
}

impl<'a> Rewrite<'a> {
    pub(crate) fn of(old: &'a str) -> Rewrite<'a> {
        Rewrite { old, new: String::new(), copied: 0, map: Map::default(), changes: Changes::none() }
    }

    /// Puts `with` in the place of `range`, which follows all that was replaced before.
    pub(crate) fn replace(&mut self, range: Range<usize>, with: &str, change: Change) {
        let step = match (u8::try_from(with.len()), u8::try_from(range.len())) {
            (Ok(new), Ok(old)) => (new, old),
            _ => (0, 0),
        };
        self.put(range, with, step, change, false);
    }

    /// As [`Self::replace`], where `step.0` new bytes come from `step.1` old ones all along.
    pub(crate) fn replace_by_step(&mut self, range: Range<usize>, with: &str, step: (u8, u8), change: Change) {
        self.put(range, with, step, change, false);
    }

    /// Puts the ASCII bytes of `range` in the opposite order.
    pub(crate) fn reverse(&mut self, range: Range<usize>) {
        let turned: String = self.old[range.clone()].chars().rev().collect();
        self.put(range, &turned, (1, 1), Change::Reversed, true);
    }

    fn put(&mut self, range: Range<usize>, with: &str, step: (u8, u8), change: Change, backwards: bool) {
        debug_assert!(self.copied <= range.start && with.len() <= 2 * range.len(), "in order, and within the bound");
        if self.new.capacity() == 0 {
            self.new.reserve(self.old.len());
        }
        self.new.push_str(&self.old[self.copied..range.start]);
        self.copied = range.end;
        self.changes.insert(change);
        // A text is at most `u32::MAX` bytes long: see `TEXT_BYTES_MAX`.
        let (new, old) = (self.new.len() as u32, range.start as u32);
        let (new_len, old_len) = (with.len() as u32, range.len() as u32);
        self.new.push_str(with);
        if let Some(last) = self.map.runs.last_mut()
            && last.step == step
            && step != (0, 0)
            && last.change == change
            && !(last.backwards || backwards)
            && last.new + last.new_len == new
            && last.old + last.old_len == old
            && last.old_len % u32::from(step.1.max(1)) == 0
            && last.new_len % u32::from(step.0.max(1)) == 0
        {
            last.new_len += new_len;
            last.old_len += old_len;
            return;
        }
        self.map.runs.push(Run { new, old, new_len, old_len, step, change, backwards });
    }

    /// Where the next replacement may begin.
    pub(crate) fn position(&self) -> usize {
        self.copied
    }

    /// The new text with its map, if anything was replaced.
    pub(crate) fn finish(mut self) -> Option<Rewritten> {
        if self.changes.is_empty() {
            return None;
        }
        self.new.push_str(&self.old[self.copied..]);
        Some(Rewritten { text: self.new, map: self.map, changes: self.changes })
    }
}

/// What a pass made of a text.
#[derive(Debug)]
pub(crate) struct Rewritten {
    pub(crate) text: String,
    pub(crate) map: Map,
    pub(crate) changes: Changes,
}
