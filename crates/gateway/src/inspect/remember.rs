//! What is remembered of a text that was judged, so that it is not read again in every later turn.
//!
//! Promises: what was found is remembered with its kind and place, and never the text; a remembered score is held
//! against the threshold in force, which may be another than when it was noted; what does not tell enough for that is
//! read again.
//!
//! What a rule alone found is not noted: a rule is sure at one threshold and not at a higher one, where the transformer
//! would have to be asked, and looking again costs microseconds. Of what it found with the transformer its name is not kept.

use extract::Note;
use injection::Kind;

use super::reading::{Found, KINDS, Reading, hash};

/// What was judged before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Known {
    /// The highest of all.
    score: f32,
    /// The best finding, which has that score: what is told of a text.
    found: Option<Mark>,
    /// How many windows were read of a text of which parts were left to the cheap stages; 0 where none were left.
    pub(super) windows: usize,
}

/// A finding without its score.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Mark {
    kind: Kind,
    /// In scalar values.
    start: u32,
    end: u32,
}

/// Bits of a note's first half: below are the score's, then the kind's (0: nothing found), then the windows'.
const KIND_AT: u32 = 32;
const WINDOWS_AT: u32 = 40;
/// More are noted as so many.
const WINDOWS_MAX: usize = (1 << (64 - WINDOWS_AT)) - 1;

impl Known {
    /// What the cheap stages say of a text that they find harmless.
    pub(super) fn glanced(score: f32) -> Known {
        Known { score, found: None, windows: 0 }
    }

    /// What came out of reading so many windows.
    pub(super) fn read(reading: &Reading, windows: usize) -> Known {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let mark = |found: &Found| Mark { kind: found.kind, start: place(found.start), end: place(found.end) };
        let windows = if reading.partly { windows.max(1) } else { 0 };
        Known { score: reading.score, found: reading.found.first().map(mark), windows }
    }

    /// What it comes to at a threshold; `None` where the text has to be read again to know.
    pub(super) fn reading(&self, text: &str, threshold: f32) -> Option<Reading> {
        let reading = Reading { score: self.score, partly: self.windows > 0, ..Reading::default() };
        if self.score < threshold {
            return Some(reading);
        }
        let Mark { kind, start, end } = self.found?;
        let found = Found { kind, score: self.score, start: start as usize, end: end as usize, rule: None };
        Some(Reading { found: vec![found], hash: Some(hash(text)), ..reading })
    }

    pub(super) fn note(&self) -> Note {
        let windows = self.windows.min(WINDOWS_MAX) as u64;
        let place = self.found.map_or(0, |mark| u64::from(mark.start) << 32 | u64::from(mark.end));
        let kind = self.found.map_or(0, |mark| mark.kind as u64 + 1);
        [u64::from(self.score.to_bits()) | kind << KIND_AT | windows << WINDOWS_AT, place]
    }

    pub(super) fn of(note: Note) -> Known {
        let [first, place] = note;
        let number = (first >> KIND_AT) as u8;
        let kind = number.checked_sub(1).and_then(|at| KINDS.get(usize::from(at)).copied());
        Known {
            score: f32::from_bits(first as u32),
            found: kind.map(|kind| Mark { kind, start: (place >> 32) as u32, end: place as u32 }),
            windows: (first >> WINDOWS_AT) as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(kind: Kind, score: f32) -> Reading {
        let found = Found { kind, score, start: 3, end: 9, rule: None };
        Reading { score, found: vec![found], partly: false, hash: Some(hash("a text")) }
    }

    #[test]
    fn a_remembered_verdict_is_held_against_the_threshold_in_force() {
        let known = Known::read(&found(Kind::Jailbreak, 0.8), 1);
        assert_eq!(known.reading("a text", 0.8), Some(found(Kind::Jailbreak, 0.8)));
        assert_eq!(known.reading("a text", 0.2), Some(found(Kind::Jailbreak, 0.8)), "the best finding stays the best");
        assert_eq!(known.reading("a text", 0.9).map(|reading| reading.found), Some(Vec::new()));
        let harmless = Known::read(&Reading { score: 0.4, ..Reading::default() }, 1);
        assert!(harmless.reading("a text", 0.5).is_some_and(|reading| reading.found.is_empty()));
        assert_eq!(harmless.reading("a text", 0.3), None, "where it stands is not known");
        assert_eq!(Known::glanced(0.1).reading("a text", 0.05), None);
    }

    #[test]
    fn what_was_read_in_part_is_known_as_such() {
        let partly = Reading { partly: true, ..found(Kind::Direct, 0.8) };
        let known = Known::read(&partly, 12);
        assert_eq!((known.windows, known.reading("a text", 0.5)), (12, Some(partly)));
        assert_eq!(Known::read(&found(Kind::Direct, 0.8), 12).windows, 0);
    }

    proptest! {
        #[test]
        fn a_note_holds_all_of_it(
            score in 0.0..=1.0_f32, windows in 0..=WINDOWS_MAX, start: u32, end: u32,
            kind in prop::option::of(prop::sample::select(&KINDS[..])),
        ) {
            let known = Known { score, found: kind.map(|kind| Mark { kind, start, end }), windows };
            prop_assert_eq!(Known::of(known.note()), known);
        }
    }
}
