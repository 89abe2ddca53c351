//! Reads a multipart body along: the bytes pass unchanged, and what two parsers could read differently stops them.
//!
//! Promises: framing is checked to the last boundary; a field that the table reads stands once; ids of stored objects
//! are noticed while projects share an upstream account.

use bytes::Bytes;
use wire::multipart::{Event, Parser};
use wire::refusal::{Reason, Refusal};

/// Longest text field kept: names of models are short, and nothing else is read.
const FIELD_BYTES_MAX: usize = 512;

/// Fields that the gate reads, or that several readers must agree on: at most one of each.
const SINGLE_FIELDS: &[&str] = &["model", "purpose", "stream", "n", "response_format", "size", "quality", "language"];

/// A multipart body being read along.
pub(crate) struct Form {
    parser: Parser,
    seen: Vec<&'static str>,
    /// The text of the field that is being kept.
    keeping: Option<Vec<u8>>,
    model: Option<String>,
    /// Names of fields that refer to stored objects are refused.
    refuse_references: bool,
}
