//! What the transformer reads of a text: windows of pieces that overlap by half, best first when not all may be read.
//!
//! Promises: every piece lies in a window; a payload of up to [`STRIDE`] pieces lies whole in one; a text that fits
//! is read as it is, without padding.

use std::ops::Range;

/// Pieces of a window, without the two that open and close it.
pub(crate) const WIDTH: usize = 126;
/// Pieces from one window's start to the next.
pub(crate) const STRIDE: usize = WIDTH / 2;

/// The windows of a text of that many pieces, in the text's order; the last one ends with the text.
pub(crate) fn windows(pieces: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    let count = if pieces <= WIDTH { usize::from(pieces > 0) } else { (pieces - WIDTH).div_ceil(STRIDE) + 1 };
    (0..count).map(move |at| {
        let start = (at * STRIDE).min(pieces.saturating_sub(WIDTH));
        start..(start + WIDTH).min(pieces)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_piece_and_every_short_payload_lies_in_a_window(pieces in 1usize..3000, at in 0usize..3000, size in 1usize..=STRIDE) {
            let all: Vec<_> = windows(pieces).collect();
            prop_assert!(all.iter().all(|window| window.len() == pieces.min(WIDTH)));
            prop_assert!(all.windows(2).all(|pair| pair[1].start > pair[0].start && pair[1].start <= pair[0].end));
            prop_assert_eq!((all[0].start, all[all.len() - 1].end), (0, pieces));
            let payload = at.min(pieces - 1)..(at.min(pieces - 1) + size).min(pieces);
            prop_assert!(all.iter().any(|window| window.start <= payload.start && payload.end <= window.end));
        }
    }

    #[test]
    fn nothing_has_no_window() {
        assert_eq!(windows(0).len(), 0);
    }
}
