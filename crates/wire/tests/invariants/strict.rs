//! A second reading of JSON with the library, which tells besides whether any object has a key twice.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use serde_json::de::{Deserializer, SliceRead};
use serde_json::{Map, Value};

/// A document as the library reads it.
pub struct Found {
    /// The document.
    pub value: Value,
    /// Whether a key stands twice in one object, at any depth.
    pub has_duplicates: bool,
}

/// Reads a document.
///
/// # Errors
/// Those of the library.
pub fn read(body: &[u8]) -> Result<Found, serde_json::Error> {
    let has_duplicates = Cell::new(false);
    let mut reader: Deserializer<SliceRead<'_>> = Deserializer::from_slice(body);
    let value = Seed(&has_duplicates).deserialize(&mut reader)?;
    reader.end()?;
    Ok(Found { value, has_duplicates: has_duplicates.get() })
}

use serde_core::de::{DeserializeSeed, Deserializer as _, Error, MapAccess, SeqAccess, Visitor};
