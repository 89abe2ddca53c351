//! What the reader shows of a document, and to whom.

use std::borrow::Cow;
use std::ops::Range;

use super::unescape;

/// What kind of value a member has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number.
    Number,
    /// A string.
    String,
    /// `[]`
    EmptyArray,
    /// An array with elements.
    Array,
    /// An object.
    Object,
}

/// Whether the members inside a value are shown, too. They are checked in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visit {
    /// Show what is inside.
    Into,
    /// Check it silently.
    Past,
}

/// A member of an object, before its value is read.
#[derive(Debug)]
pub struct Member<'a> {
    /// 1 for members of the outermost object.
    pub depth: usize,
    /// Whether it is the first of its object, so that a visitor can tell the objects of an array apart.
    pub is_first: bool,
    /// The key, unescaped.
    pub key: Cow<'a, str>,
    /// The key as it stands in the document.
    pub key_literal: Literal<'a>,
    /// Kind of the value.
    pub kind: Kind,
    /// The document from the value on, not checked yet.
    pub ahead: &'a str,
}

/// An element of an array, before it is read.
#[derive(Debug)]
pub struct Element<'a> {
    /// Its kind.
    pub kind: Kind,
    /// The document from the element on, not checked yet.
    pub ahead: &'a str,
}

/// A string that was read.
#[derive(Debug, Clone, Copy)]
pub struct Literal<'a> {
    /// Offset of its first quote in the document.
    pub at: usize,
    /// What stands between its quotes.
    pub raw: &'a str,
    /// Whether there are escapes in it.
    pub is_escaped: bool,
}

impl<'a> Literal<'a> {
    /// Bytes of the document that hold it, with its quotes.
    pub fn span(self) -> Range<usize> {
        self.at..self.at + self.raw.len() + 2
    }

    /// Its value.
    pub fn text(self) -> Cow<'a, str> {
        if self.is_escaped { Cow::Owned(unescape(self.raw)) } else { Cow::Borrowed(self.raw) }
    }
}

/// Is shown the members of a document in their order, and what else it asks for.
pub trait Visitor<'a> {
    /// A member begins.
    fn enter(&mut self, member: Member<'a>) -> Visit;
    /// The value of a member at depth 1 was read: its text.
    fn top_level_value(&mut self, _text: &'a str) {}
    /// An element of an array begins.
    fn element(&mut self, _element: Element<'a>) {}
    /// A string was read that is a value: a member's, an element, or the document.
    fn string(&mut self, _literal: Literal<'a>) {}
    /// An object or an array ends, empty ones too.
    fn leave(&mut self) {}
}
