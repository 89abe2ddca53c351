//! Which disguises were taken off.

use std::fmt;

/// One kind of disguise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Change {
    /// Invisible characters of the tag block (U+E0000…) that spell ASCII.
    Tags,
    /// Bytes hidden in a run of variation selectors, or such a run without sense.
    Selectors,
    /// Zero-width characters, soft hyphens, invisible operators; bits written in them; anything unseen inside a word.
    Invisible,
    /// Controls of the writing direction where none is needed, between words.
    Bidi,
    /// Letters of another script that look like the ones of the word they stand in.
    Homoglyphs,
    /// Fullwidth, mathematical, enclosed, small-capital, raised or turned letters.
    Styled,
    /// Marks stacked on Latin letters.
    Marks,
    /// Blanks other than those of honest typesetting.
    Spaces,
    /// Base64, standard or URL-safe.
    Base64,
    /// Base32.
    Base32,
    /// Hexadecimal digits.
    Hex,
    /// Percent-encoded letters, digits or characters beyond ASCII.
    Percent,
    /// HTML entities for letters, digits or characters beyond ASCII.
    Entities,
    /// Quoted-printable.
    QuotedPrintable,
    /// `\u`, `\x` and octal escapes, and `\n` before a letter, which readers would take for the letter's word.
    Escapes,
    /// Letters turned by thirteen places.
    Rot13,
    /// Text written backwards.
    Reversed,
    /// Digits and signs for letters.
    Leet,
    /// Morse code.
    Morse,
    /// Binary digits.
    Binary,
    /// Letters with separators between them.
    Split,
    /// Tags, comments or emphasis inside a word.
    MarkupInWord,
    /// Tags taken away, comments and attribute values laid open.
    Markup,
    /// Entities, percent signs and escapes for punctuation and blanks.
    Punctuation,
}

impl Change {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Change; 24] = [
        Change::Tags,
        Change::Selectors,
        Change::Invisible,
        Change::Bidi,
        Change::Homoglyphs,
        Change::Styled,
        Change::Marks,
        Change::Spaces,
        Change::Base64,
        Change::Base32,
        Change::Hex,
        Change::Percent,
        Change::Entities,
        Change::QuotedPrintable,
        Change::Escapes,
        Change::Rot13,
        Change::Reversed,
        Change::Leet,
        Change::Morse,
        Change::Binary,
        Change::Split,
        Change::MarkupInWord,
        Change::Markup,
        Change::Punctuation,
    ];

    /// The name used in rule files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Change::Tags => "tags",
            Change::Selectors => "selectors",
            Change::Invisible => "invisible",
            Change::Bidi => "bidi",
            Change::Homoglyphs => "homoglyphs",
            Change::Styled => "styled",
            Change::Marks => "marks",
            Change::Spaces => "spaces",
            Change::Base64 => "base64",
            Change::Base32 => "base32",
            Change::Hex => "hex",
            Change::Percent => "percent",
            Change::Entities => "entities",
            Change::QuotedPrintable => "quoted-printable",
            Change::Escapes => "escapes",
            Change::Rot13 => "rot13",
            Change::Reversed => "reversed",
            Change::Leet => "leet",
            Change::Morse => "morse",
            Change::Binary => "binary",
            Change::Split => "split",
            Change::MarkupInWord => "markup-in-word",
            Change::Markup => "markup",
            Change::Punctuation => "punctuation",
        }
    }
}

/// A set of [`Change`]s.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Changes(u32);

impl Changes {
    /// Changes after which every reader sees the same words, with gaps between them as before: the raw form alone says as
    /// much to whoever reads words. Patterns read both forms.
    const COSMETIC: u32 = 1 << Change::Markup as u8
        | 1 << Change::Punctuation as u8
        | 1 << Change::Spaces as u8
        | 1 << Change::Bidi as u8;

    /// The set with nothing in it.
    pub const fn none() -> Changes {
        Changes(0)
    }

    /// Adds a kind.
    pub fn insert(&mut self, change: Change) {
        self.0 |= 1 << change as u8;
    }

    pub(crate) fn add(&mut self, other: Changes) {
        self.0 |= other.0;
    }

    /// Whether this kind is among them.
    pub const fn contains(self, change: Change) -> bool {
        self.0 & (1 << change as u8) != 0
    }

    /// Whether any kind is in both.
    pub const fn meets(self, other: Changes) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether nothing was changed.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the plain form has words that a reader of the raw form would not see: then both are worth judging.
    pub const fn is_material(self) -> bool {
        self.0 & !Self::COSMETIC != 0
    }

    /// Each kind in the set.
    pub fn iter(self) -> impl Iterator<Item = Change> {
        Change::ALL.into_iter().filter(move |change| self.contains(*change))
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.iter()).finish()
    }
}
