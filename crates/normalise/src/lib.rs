//! The plain form of a text: disguises taken off, and where each part of the plain form came from.
//!
//! Promises:
//! - A text without a disguise is given back borrowed, after one look of about a cycle or two a byte.
//! - Time is linear in the text: at most [`ROUNDS_MAX`] rounds of a fixed number of passes, each of which reads every byte
//!   a bounded number of times. The plain form is at most [`GROWTH_MAX`] times as long as the text (decoding shrinks; only
//!   a Latin letter folded to Cyrillic grows); the way back costs at most twenty bytes a changed character.
//! - An encoding is undone only where text comes out: hashes, ids, keys and images stay (see `tokens`).
//! - An honest word of one script stays as it is; so do accents, emoji, flags, joiners where a script needs them.
//! - [`Normalised::origin`] gives a range of the original on character boundaries; a part of a range has its origin
//!   within the origin of the whole.
//!
//! Left out on purpose: what needs a dictionary or a model (acrostics, transposition, phonetic respelling, other shifts
//! than thirteen), compressed data, and letter case: readers fold it.

mod changes;
mod cipher;
mod digits;
mod english;
mod escapes;
mod fold;
mod map;
mod markup;
mod signs;
mod split;
mod tokens;
mod unicode;
mod word;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::Range;

pub use changes::{Change, Changes};
use cipher::Cipher;
use map::{Map, Rewritten};
use signs::Signs;

/// Rounds of passes: how deep disguises of different kinds are followed into each other. Encodings directly inside each
/// other are undone four at a time within one round.
pub const ROUNDS_MAX: usize = 4;
/// The plain form is at most so many times as long as the text, in bytes.
pub const GROWTH_MAX: usize = 2;
/// A longer text is given back as it is: offsets are kept in 32 bits. No body that the gate takes comes near it.
pub const TEXT_BYTES_MAX: usize = u32::MAX as usize / GROWTH_MAX;

/// A longer text is read piece by piece, cut at line ends or blanks: a disguise costs its own piece the dear passes, not
/// the whole text, and what spans two pieces is found in each.
const PIECE_BYTES: usize = 2048;

/// A text without its disguises.
#[derive(Debug)]
pub struct Normalised<'a> {
    /// The plain form; borrowed from the original where nothing had to change.
    pub text: Cow<'a, str>,
    original: &'a str,
    changes: Changes,
    /// The pieces that were changed, in order. What lies between them was copied.
    pieces: Vec<Piece>,
}

/// A changed piece of a text.
#[derive(Debug)]
struct Piece {
    plain: Range<usize>,
    original: Range<usize>,
    changes: Changes,
    /// From the last rewriting to the first.
    maps: Vec<Map>,
}

impl Piece {
    fn origin(&self, plain: Range<usize>) -> Range<usize> {
        let mut range = plain.start - self.plain.start..plain.end - self.plain.start;
        for map in &self.maps {
            range = map.origin(range);
        }
        self.original.start + range.start..self.original.start + range.end
    }
}

impl Normalised<'_> {
    /// The bytes of the original from which these bytes of the plain form were made.
    ///
    /// Where letters were encoded in groups, the groups that the range touches. Positions past the end count as the end.
    pub fn origin(&self, plain: Range<usize>) -> Range<usize> {
        let end = plain.end.min(self.text.len());
        let start = plain.start.min(end);
        let first = match self.piece_before(start) {
            Some(piece) if start < piece.plain.end => piece.origin(start..end.min(piece.plain.end)).start,
            Some(piece) => piece.original.end + (start - piece.plain.end),
            None => start,
        };
        let last = match self.piece_before(end.saturating_sub(1)) {
            _ if start == end => first,
            Some(piece) if end <= piece.plain.end => piece.origin(start.max(piece.plain.start)..end).end,
            Some(piece) => piece.original.end + (end - piece.plain.end),
            None => end,
        };
        self.original.floor_char_boundary(first)..self.original.ceil_char_boundary(last.max(first))
    }

    /// The last changed piece that begins at or before a byte of the plain form.
    fn piece_before(&self, at: usize) -> Option<&Piece> {
        let next = self.pieces.partition_point(|piece| piece.plain.start <= at);
        next.checked_sub(1).map(|index| &self.pieces[index])
    }

    /// Which disguises were taken off.
    pub fn changes(&self) -> Changes {
        self.changes
    }

    /// Which of them hid these bytes of the plain form.
    pub fn changes_in(&self, plain: Range<usize>) -> Changes {
        let mut changes = Changes::none();
        let first = self.pieces.partition_point(|piece| piece.plain.end <= plain.start);
        for piece in self.pieces[first..].iter().take_while(|piece| piece.plain.start < plain.end) {
            let start = plain.start.max(piece.plain.start) - piece.plain.start;
            let mut range = start..plain.end.min(piece.plain.end) - piece.plain.start;
            for map in &piece.maps {
                changes.add(map.changes(range.clone()));
                range = map.origin(range);
            }
        }
        changes
    }

    /// The parts of the plain form that say something else than the original does, with up to `margin` bytes of what
    /// stands around them: in order, apart, on character boundaries. All else is read once for both forms.
    pub fn material(&self, margin: usize) -> Vec<Range<usize>> {
        self.parts(margin, |piece| piece.changes.is_material())
    }

    /// The same of all that was changed, if only in dress.
    pub fn changed(&self, margin: usize) -> Vec<Range<usize>> {
        self.parts(margin, |_| true)
    }

    fn parts(&self, margin: usize, counts: impl Fn(&Piece) -> bool) -> Vec<Range<usize>> {
        let mut parts: Vec<Range<usize>> = Vec::new();
        for piece in self.pieces.iter().filter(|piece| counts(piece)) {
            let start = self.text.floor_char_boundary(piece.plain.start.saturating_sub(margin));
            let end = self.text.ceil_char_boundary(piece.plain.end + margin);
            match parts.last_mut() {
                Some(last) if start <= last.end => last.end = end,
                _ => parts.push(start..end),
            }
        }
        parts
    }

    /// Whether the text is its own plain form.
    pub fn is_plain(&self) -> bool {
        self.changes.is_empty()
    }
}

/// Takes the disguises off a text.
pub fn normalise(text: &str) -> Normalised<'_> {
    let mut plain =
        Normalised { text: Cow::Borrowed(text), original: text, changes: Changes::none(), pieces: Vec::new() };
    if text.len() > TEXT_BYTES_MAX {
        return plain;
    }
    let (mut new, mut copied, mut at) = (String::new(), 0, 0);
    while at < text.len() {
        let end = piece_end(text, at);
        if let Some(undone) = undo(&text[at..end]) {
            new.push_str(&text[copied..at]);
            let start = new.len();
            new.push_str(&undone.text);
            copied = end;
            plain.changes.add(undone.changes);
            let changed = start..new.len();
            plain.pieces.push(Piece { plain: changed, original: at..end, changes: undone.changes, maps: undone.maps });
        }
        at = end;
    }
    if !plain.pieces.is_empty() {
        new.push_str(&text[copied..]);
        plain.text = Cow::Owned(new);
    }
    plain
}

/// Where the piece that begins at `at` ends: behind the last line end of its second half, else the last blank, else the
/// first blank after it.
fn piece_end(text: &str, at: usize) -> usize {
    let bytes = &text.as_bytes()[at..];
    if bytes.len() <= PIECE_BYTES + PIECE_BYTES / 2 {
        return text.len();
    }
    let half = &bytes[PIECE_BYTES / 2..PIECE_BYTES];
    let cut =
        memchr::memrchr(b'\n', half).or_else(|| memchr::memrchr(b' ', half)).map(|offset| PIECE_BYTES / 2 + offset);
    let cut = cut.or_else(|| memchr::memchr2(b' ', b'\n', &bytes[PIECE_BYTES..]).map(|offset| PIECE_BYTES + offset));
    cut.map_or(text.len(), |offset| at + offset + 1)
}

/// A piece without its disguises.
struct Undone {
    text: String,
    changes: Changes,
    maps: Vec<Map>,
}

/// Takes the disguises off a piece, if it has any.
fn undo(piece: &str) -> Option<Undone> {
    let mut undone = Undone { text: String::new(), changes: Changes::none(), maps: Vec::new() };
    let mut signs = Signs::of(piece);
    for _ in 0..ROUNDS_MAX {
        if signs.is_plain() {
            break;
        }
        let changes = round(piece, signs, &mut undone);
        undone.changes.add(changes);
        // What only changed in dress hides nothing further.
        if !changes.is_material() {
            break;
        }
        signs = Signs::of(&undone.text);
    }
    undone.maps.reverse();
    (!undone.maps.is_empty()).then_some(undone)
}

/// One pass after the other, each on what the one before left. Characters come first, since the rest looks for ASCII;
/// escapes before markup, since tags may be escaped; turned and backward text last, since it must be whole.
fn round(piece: &str, mut signs: Signs, undone: &mut Undone) -> Changes {
    type Pass = (fn(Signs) -> bool, fn(&str) -> Option<Rewritten>);
    const PASSES: [Pass; 10] = [
        (|signs| signs.unicode, unicode::rewrite),
        (|signs| signs.escapes, escapes::rewrite),
        (|signs| signs.markup, markup::rewrite),
        (|signs| signs.long, tokens::rewrite),
        (|signs| signs.binary, digits::rewrite_binary),
        (|signs| signs.morse, digits::rewrite_morse),
        (|signs| signs.spaced, split::rewrite),
        (|signs| signs.leet, split::rewrite_leet),
        (|signs| signs.rot13, |text| cipher::rewrite(text, Cipher::Rot13)),
        (|signs| signs.backwards, |text| cipher::rewrite(text, Cipher::Backwards)),
    ];
    let mut changes = Changes::none();
    for (needs, rewrite) in PASSES {
        if signs.is_plain() {
            break;
        }
        if !needs(signs) {
            continue;
        }
        let text = if undone.maps.is_empty() { piece } else { &undone.text };
        if let Some(rewritten) = rewrite(text) {
            changes.add(rewritten.changes);
            undone.maps.push(rewritten.map);
            undone.text = rewritten.text;
            if rewritten.changes.is_material() {
                signs = Signs::of(&undone.text);
            }
        }
    }
    changes
}
