//! Bytes with parts taken out and put in, in their order. Nothing is copied where nothing changes.

use std::ops::Range;

/// Bytes on their way through.
pub(super) struct Rewritten<'b> {
    source: &'b [u8],
    /// How much of the source is done with.
    done: usize,
    bytes: Vec<u8>,
}

impl<'b> Rewritten<'b> {
    pub(super) fn of(source: &'b [u8]) -> Rewritten<'b> {
        Rewritten { source, done: 0, bytes: Vec::new() }
    }

    /// Takes a part out; it lies behind what was done before.
    pub(super) fn cut(&mut self, range: Range<usize>) {
        self.keep_to(range.start);
        self.done = range.end;
    }

    /// Keeps what comes up to a place.
    pub(super) fn keep_to(&mut self, end: usize) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(self.source.len());
        }
        let kept = self.source.get(self.done..end).unwrap_or_default();
        self.bytes.extend_from_slice(kept);
        self.done = self.done.max(end);
    }

    /// Puts bytes in.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// What it is now; `None` where nothing was changed.
    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        if self.done == 0 {
            return None;
        }
        self.keep_to(self.source.len());
        Some(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_go_and_come_in_their_order() {
        let mut rewritten = Rewritten::of(b"0123456789");
        rewritten.cut(2..4);
        rewritten.cut(5..6);
        rewritten.put(b"xy");
        rewritten.keep_to(8);
        rewritten.cut(8..10);
        assert_eq!(rewritten.finish().as_deref(), Some(&b"014xy67"[..]));
        assert_eq!(Rewritten::of(b"0123").finish(), None);
        let mut all = Rewritten::of(b"0123");
        all.cut(0..4);
        assert_eq!(all.finish().as_deref(), Some(&b""[..]));
    }
}
