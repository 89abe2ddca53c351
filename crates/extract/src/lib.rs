//! Every text of a request, with its channel and its place.

mod class;
mod file;
mod form;
mod lines;
mod place;
mod remember;
mod rules;
mod spotlight;
mod stretch;
mod table;
mod text;
mod tokens;
mod walk;

pub use form::{FIELD_BYTES_MAX, FormReader};
pub use lines::LINE_BYTES_MAX;
pub use place::place;
pub use remember::{Key, MEMORY_SLOTS, Memory};
pub use spotlight::{Spotlight, Spotlit, is_marked, spotlight};
pub use stretch::{OVERLAP_BYTES, STRETCH_BYTES};
pub use text::{
    Extracted, Form, Medium, Origin, Text, UNKNOWN_FIELD_CHARS_MAX, UNKNOWN_FIELDS_MAX, Unscanned, Unseen, UnseenSet,
};
use wire::endpoint::Endpoint;
use wire::json::{JsonError, scan};

use table::Table;
use walk::Walk;

/// The texts of a JSON body.
///
/// # Errors
/// When the body is not the strict JSON that `wire::json` reads.
pub fn extract<'b>(endpoint: &Endpoint, body: &'b [u8]) -> Result<Extracted<'b>, JsonError> {
    let mut walk = Walk::new(Table::shared().root(endpoint), body.len());
    scan(body, &mut walk)?;
    Ok(walk.finish())
}

#[cfg(test)]
mod tests;
