//! Where the parts of one message meet: a model reads them as one text, so an order may begin in one part and end in the
//! next.
//!
//! Promises: whatever stands within [`SEAM_BYTES`] on both sides of a seam is in one text with it; parts that are shorter
//! go in whole, so that words that are parts of their own make one text; all seams of a message together are no longer
//! than the message and its line breaks.

use std::borrow::Cow;
use std::ops::Range;

use crate::text::{Form, Piece, Text};

/// What a seam has of the part before it and of the one behind it, in bytes: with both, a window of the transformer.
pub const SEAM_BYTES: usize = 240;

/// The texts around the seams of neighbouring parts.
pub(crate) fn seams<'b>(parts: &[&Text<'b>]) -> Vec<Text<'b>> {
    let mut seams = Vec::new();
    let [first, rest @ ..] = parts else { return seams };
    let mut seam = Seam::from_tail(first);
    for (at, part) in rest.iter().enumerate() {
        let is_last = at + 1 == rest.len();
        let is_short = part.text.len() <= if is_last { SEAM_BYTES } else { 2 * SEAM_BYTES };
        if is_short {
            seam.push(part, 0..part.text.len());
        } else {
            seam.push(part, 0..part.text.floor_char_boundary(SEAM_BYTES));
            seams.push(std::mem::replace(&mut seam, Seam::from_tail(part)).into_text(first));
        }
    }
    if seam.pieces.len() > 1 {
        seams.push(seam.into_text(first));
    }
    seams
}

impl Text<'_> {
    /// A seam without some of its parts, the others joined; any other text as it is. `None` if only one part is left.
    pub fn without(self, is_left_out: impl Fn(&Piece) -> bool) -> Option<Self> {
        if !self.pieces.iter().any(&is_left_out) {
            return Some(self);
        }
        let mut seam = Seam::default();
        let (mut rest, mut at) = (&*self.text, 0);
        for piece in &self.pieces {
            let (_, own) = split_at_char(rest, piece.range.start - at);
            let (own, behind) = split_at_char(own, piece.range.len());
            (rest, at) = (behind, piece.range.end);
            if !is_left_out(piece) {
                seam.add(piece.at, piece.before, own);
            }
        }
        (seam.pieces.len() > 1).then(|| seam.into_text(&self))
    }
}

/// What stands before so many scalar values, and the others.
fn split_at_char(text: &str, chars: usize) -> (&str, &str) {
    text.split_at(text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at))
}

/// A seam, or several that touch, as it grows.
#[derive(Default)]
struct Seam {
    text: String,
    chars: usize,
    pieces: Vec<Piece>,
}

impl Seam {
    /// Begins with the end of a part.
    fn from_tail(part: &Text<'_>) -> Seam {
        let mut seam = Seam::default();
        let start = part.text.ceil_char_boundary(part.text.len().saturating_sub(SEAM_BYTES));
        seam.push(part, start..part.text.len());
        seam
    }

    fn push(&mut self, part: &Text<'_>, range: Range<usize>) {
        self.add(part.at.start, part.text[..range.start].chars().count(), &part.text[range]);
    }

    /// Adds some of the part that begins at `at`, with so many scalar values before it.
    fn add(&mut self, at: usize, before: usize, more: &str) {
        // Nobody says what the service puts between parts. Words must not grow together, nor lines fall apart.
        let is_apart = self.text.ends_with(char::is_whitespace) || more.starts_with(char::is_whitespace);
        if !self.text.is_empty() && !is_apart {
            self.text.push('\n');
            self.chars += 1;
        }
        let range = self.chars..self.chars + more.chars().count();
        self.chars = range.end;
        self.pieces.push(Piece { at, range, before });
        self.text.push_str(more);
    }

    fn into_text<'b>(self, like: &Text<'_>) -> Text<'b> {
        let at = |piece: Option<&Piece>| piece.map_or(like.at.start, |piece| piece.at);
        let ends = at(self.pieces.first())..at(self.pieces.last());
        Text {
            channel: like.channel,
            origin: like.origin,
            at: ends,
            form: Form::Seam,
            part: None,
            text: Cow::Owned(self.text),
            pieces: self.pieces,
        }
    }
}
