//! The plain form of a text: disguises taken off, and where each part of the plain form came from.

use std::borrow::Cow;
use std::ops::Range;

/// A text without its disguises.
#[derive(Debug)]
pub struct Normalised<'a> {
    /// The plain form; borrowed from the original where nothing had to change.
    pub text: Cow<'a, str>,
}

impl Normalised<'_> {
    /// The bytes of the original from which these bytes of the plain form were made.
    pub fn origin(&self, plain: Range<usize>) -> Range<usize> {
        plain
    }
}

/// Takes the disguises off a text.
pub fn normalise(text: &str) -> Normalised<'_> {
    Normalised { text: Cow::Borrowed(text) }
}
