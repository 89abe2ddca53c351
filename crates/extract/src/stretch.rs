//! Long texts that come in pieces: handed on in stretches that overlap, so that nothing hides in a seam.
//!
//! Promises: the stretches do not depend on how the bytes were split; memory is two stretches; every byte is in one at
//! least, and whatever is shorter than the overlap is whole in one.

use std::borrow::Cow;
use std::sync::Arc;

use crate::file::{self, Reading};
use crate::text::{Form, Origin, Text};

/// Longest stretch, in bytes: some ten pages.
pub const STRETCH_BYTES: usize = 64 * 1024;

/// What a stretch repeats of the one before, in bytes: more than an instruction to a model needs, so that one of them
/// is whole in some stretch.
pub const OVERLAP_BYTES: usize = 2 * 1024;

/// A text in pieces.
#[derive(Debug)]
pub(crate) struct Stretches {
    part: Arc<str>,
    origin: Origin,
    reading: Reading,
    kept: Vec<u8>,
    /// Where in the part the kept bytes begin.
    start: usize,
}

impl Stretches {
    /// A text of this origin, and how it is read.
    pub(crate) fn new(part: Arc<str>, origin: Origin, start: usize, reading: Reading) -> Stretches {
        Stretches { part, origin, reading, kept: Vec::new(), start }
    }

    /// More of it. What is whole is added to `texts`.
    pub(crate) fn push(&mut self, mut data: &[u8], texts: &mut Vec<Text<'static>>) {
        while !data.is_empty() {
            let room = STRETCH_BYTES - self.kept.len();
            let piece = data.split_off(..room.min(data.len())).unwrap_or_default();
            self.kept.extend_from_slice(piece);
            if self.kept.len() == STRETCH_BYTES {
                // One byte stays, which tells whether a character ends in front of it.
                let end = self.cut(STRETCH_BYTES - 1);
                self.add(end, texts);
                let next = self.cut(end - OVERLAP_BYTES);
                self.kept.drain(..next);
                self.start += next;
            }
        }
    }

    /// The end of it.
    pub(crate) fn end(mut self, texts: &mut Vec<Text<'static>>) {
        if !self.kept.is_empty() {
            self.add(self.kept.len(), texts);
        }
    }

    /// The last place up to `end` where no character is cut.
    fn cut(&self, end: usize) -> usize {
        if matches!(self.reading, Reading::Wide { .. }) {
            // Counted from the beginning of the part.
            return end - (self.start + end) % 2;
        }
        let is_inside = |at: &usize| self.kept.get(*at).is_some_and(|byte| byte & 0xC0 == 0x80);
        // A character has four bytes at most; what looks longer is no UTF-8.
        (end.saturating_sub(3)..=end).rev().find(|at| !is_inside(at)).unwrap_or(end)
    }

    fn add(&mut self, end: usize, texts: &mut Vec<Text<'static>>) {
        let (origin, at) = (self.origin, self.start..self.start + end);
        let text = file::decoded(self.kept[..end].to_vec(), self.reading).text;
        if !text.is_empty() {
            let (part, text) = (Some(Arc::clone(&self.part)), Cow::Owned(text));
            texts.push(Text {
                channel: origin.channel(),
                origin,
                at,
                form: Form::Bytes,
                part,
                text,
                pieces: Vec::new(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stretches(bytes: &[u8], sizes: &[usize]) -> Vec<Text<'static>> {
        let mut texts = Vec::new();
        let mut reading = Stretches::new("file".into(), Origin::File, 0, Reading::Narrow);
        let mut rest = bytes;
        for size in sizes.iter().cycle().take(bytes.len() + 1) {
            let piece = rest.split_off(..(*size).min(rest.len())).expect("within");
            reading.push(piece, &mut texts);
        }
        reading.push(rest, &mut texts);
        reading.end(&mut texts);
        texts
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn pieces_do_not_matter_and_nothing_is_lost(
            unit in "[a-c é日😀]{1,7}", bytes in 0..200_000_usize, sizes in prop::collection::vec(1..90_000_usize, 1..4)
        ) {
            let text = unit.repeat(bytes / unit.len());
            let found = stretches(text.as_bytes(), &sizes);
            prop_assert_eq!(&found, &stretches(text.as_bytes(), &[usize::MAX]));
            let mut covered = 0;
            for stretch in &found {
                prop_assert_eq!(stretch.text.as_ref(), &text[stretch.at.clone()]);
                prop_assert!(stretch.text.len() <= STRETCH_BYTES);
                prop_assert!(stretch.at.start <= covered && stretch.at.end > covered);
                prop_assert!(covered == 0 || covered - stretch.at.start >= OVERLAP_BYTES);
                covered = stretch.at.end;
            }
            prop_assert_eq!(covered, text.len());
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300), repeat in 1..600_usize) {
            let bytes = bytes.repeat(repeat);
            let found = stretches(&bytes, &[usize::MAX]);
            prop_assert_eq!(found.last().map_or(0, |last| last.at.end), bytes.len());
        }
    }
}
