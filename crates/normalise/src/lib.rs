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

/// A text without its disguises.
#[derive(Debug)]
pub struct Normalised<'a> {
    /// The plain form; borrowed from the original where nothing had to change.
    pub text: Cow<'a, str>,
    original: &'a str,
    changes: Changes,
    /// From the last rewriting to the first.
    maps: Vec<Map>,
}

impl Normalised<'_> {
    /// The bytes of the original from which these bytes of the plain form were made.
    ///
    /// Where letters were encoded in groups, the groups that the range touches. Positions past the end count as the end.
    pub fn origin(&self, plain: Range<usize>) -> Range<usize> {
        let end = plain.end.min(self.text.len());
        let mut range = plain.start.min(end)..end;
        for map in &self.maps {
            range = map.origin(range);
        }
        self.original.floor_char_boundary(range.start)..self.original.ceil_char_boundary(range.end)
    }

    /// Which disguises were taken off.
    pub fn changes(&self) -> Changes {
        self.changes
    }

    /// Which of them hid these bytes of the plain form.
    pub fn changes_in(&self, plain: Range<usize>) -> Changes {
        let mut changes = Changes::none();
        let mut range = plain;
        for map in &self.maps {
            changes.add(map.changes(range.clone()));
            range = map.origin(range);
        }
        changes
    }

    /// Whether the text is its own plain form.
    pub fn is_plain(&self) -> bool {
        self.changes.is_empty()
    }
}

/// Takes the disguises off a text.
pub fn normalise(text: &str) -> Normalised<'_> {
    let mut plain =
        Normalised { text: Cow::Borrowed(text), original: text, changes: Changes::none(), maps: Vec::new() };
    if text.len() > TEXT_BYTES_MAX {
        return plain;
    }
    for _ in 0..ROUNDS_MAX {
        let changes = round(&mut plain);
        plain.changes.add(changes);
        // What only changed in dress hides nothing further.
        if !changes.is_material() {
            break;
        }
    }
    plain.maps.reverse();
    plain
}

/// One pass after the other, each on what the one before left. Characters come first, since the rest looks for ASCII;
/// escapes before markup, since tags may be escaped; turned and backward text last, since it must be whole.
fn round(plain: &mut Normalised<'_>) -> Changes {
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
    let mut signs = Signs::of(&plain.text);
    for (needs, rewrite) in PASSES {
        if signs.is_plain() {
            break;
        }
        if !needs(signs) {
            continue;
        }
        if let Some(rewritten) = rewrite(&plain.text) {
            changes.add(rewritten.changes);
            plain.maps.push(rewritten.map);
            plain.text = Cow::Owned(rewritten.text);
            if rewritten.changes.is_material() {
                signs = Signs::of(&plain.text);
            }
        }
    }
    changes
}
