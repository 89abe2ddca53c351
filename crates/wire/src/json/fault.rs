//! Why a document was refused, and where.

use std::fmt;

use super::{DEPTH_MAX, NUMBER_CHARS_MAX, TOP_LEVEL_MAX};

/// Why a body was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// What is wrong.
    pub fault: Fault,
    /// Byte offset.
    pub offset: usize,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// What can be wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Not UTF-8.
    Utf8,
    /// Something else was expected here.
    Expected(&'static str),
    /// The text ends too early.
    Ends,
    /// Something follows the value.
    Trailing,
    /// A key stands twice in one object.
    DuplicateKey(String),
    /// Half of a surrogate pair.
    LoneSurrogate,
    /// Nesting over [`DEPTH_MAX`].
    TooDeep,
    /// A number over [`NUMBER_CHARS_MAX`].
    LongNumber,
    /// The outermost object has members over [`TOP_LEVEL_MAX`].
    TooManyMembers,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Utf8 => f.write_str("the text is not valid UTF-8"),
            Fault::Expected(what) => write!(f, "expected {what}"),
            Fault::Ends => f.write_str("the text ends too early"),
            Fault::Trailing => f.write_str("something follows the JSON value"),
            Fault::DuplicateKey(key) => write!(f, "the key '{key}' stands twice in one object"),
            Fault::LoneSurrogate => f.write_str("an escape is half of a surrogate pair"),
            Fault::TooDeep => write!(f, "the nesting is deeper than {DEPTH_MAX} levels"),
            Fault::LongNumber => write!(f, "a number has more than {NUMBER_CHARS_MAX} characters"),
            Fault::TooManyMembers => write!(f, "the outermost object has more than {TOP_LEVEL_MAX} members"),
        }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (line {}, column {})", self.fault, self.line, self.column)
    }
}

impl std::error::Error for JsonError {}
