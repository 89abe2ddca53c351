//! What it takes the transformer to read a text, known before it reads.

use std::ops::Range;

use normalise::{Normalised, normalise};

use super::{Detector, MARGIN_BYTES, Pending};
use crate::Extent;
use crate::windows::{STRIDE, WIDTH, windows};

impl Detector {
    /// What it takes to read a text, both forms where both are read: by that a [`crate::Budget`] is shared among texts. More
    /// than `most` windows are not counted.
    pub fn extent(&self, pending: &Pending<'_>, most: usize) -> Extent {
        let plain = self.extent_of_parts(&normalise(pending.text()), most);
        self.extent_of(pending.text(), most).and(plain, most)
    }

    /// The same for what the plain form says otherwise.
    pub(super) fn extent_of_parts(&self, plain: &Normalised<'_>, most: usize) -> Extent {
        let parts = plain.material(MARGIN_BYTES).into_iter().map(|part| self.extent_of(&plain.text[part], most));
        parts.fold(Extent::default(), |all, part| all.and(part, most))
    }

    /// Whether so many windows are enough for all of these parts of a text. What is beyond them is not cut into pieces.
    pub(super) fn suffice(&self, allowed: usize, text: &str, parts: &[Range<usize>]) -> bool {
        let less = |left: usize, part: &Range<usize>| {
            left.checked_sub(self.extent_of(&text[part.clone()], left.saturating_add(1)).windows)
        };
        parts.iter().try_fold(allowed, less).is_some()
    }

    fn extent_of(&self, text: &str, most: usize) -> Extent {
        let mut pieces = Vec::new();
        let limit = WIDTH.saturating_add(most.saturating_mul(STRIDE));
        self.stages.model.vocabulary.tokenise(text, limit, &mut pieces);
        Extent { windows: windows(pieces.len()).len().min(most), pieces: pieces.len().min(WIDTH) + 2 }
    }
}

impl Extent {
    /// Both together.
    fn and(self, other: Extent, most: usize) -> Extent {
        Extent { windows: (self.windows + other.windows).min(most), pieces: self.pieces.max(other.pieces) }
    }
}
