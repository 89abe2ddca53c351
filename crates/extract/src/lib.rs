//! Every text of a request, with its channel and its place.
//!
//! [`extract`] reads a JSON body, [`FormReader`] a multipart form while it passes. Both are driven by two files.
//! `fields.txt` lists what the request bodies of the data plane may hold; `cargo xtask fields` writes it from the API's
//! documents. `rules.txt` says by hand what each field is: whose text, or an identifier, a reference, an address,
//! encoded media. A field without a rule fails a test, and so does a rule without a field.
//!
//! Promises: every string of a body that has something to say comes out once: as a [`Text`], as [`Unscanned`], or passes
//! as the one word that its field is for. Where parts of one message meet, what stands around that comes out once more, as
//! one text. A string in a field that no list knows is untrusted, and the field is named. A field that ought to hold a
//! word and holds a sentence is untrusted text. Time is linear in the body, memory a few times the body (forms: a few
//! stretches); no tree is built; no input panics. A conversation of 1 kB takes two microseconds (`cargo run --release -p
//! extract --example extract_speed`).
//!
//! Whose words a text is, where one could argue:
//! - Earlier answers, reasoning and arguments of calls that the client sends along are untrusted ([`Origin::Replay`]):
//!   the gate cannot tell them from forged ones, and they may repeat what a page or a tool said.
//! - What an MCP server says about its tools is untrusted; descriptions in the request's own tool definitions are the
//!   developer's, that of a server too.
//! - A predicted answer is shown to the model and is treated like an earlier one.
//! - A file is untrusted, whatever it looks like, unless its form's [`Purpose`] says that it holds requests or examples: a
//!   document that somebody else wrote may look like them.
//! - Metadata, names of objects and stop sequences are read by no model; they are the user's, and names of up to three
//!   words pass.
//! - Credentials for tools, and the tokens of log probabilities, are not looked into.
//!
//! Also here, as they work on what was extracted: [`Memory`] of what was judged in an earlier turn, and [`spotlight`].
//!
//! Left out: words of one piece. Whatever is ASCII without a blank, has at most 16 separators and stands where an
//! identifier belongs passes unread; where a name or a value of the caller's choosing may stand, what has at most three
//! words in it (`drop_all_rules`). Pictures, sound, PDF and office files are named, and no more
//! than what is printable in them is read. Bodies of operations that no document describes (agents) are unknown as a whole.
//!
//! To add a field that the documents do not have yet: run `cargo xtask fields` with newer ones, then write its rule.

mod class;
mod file;
mod form;
mod lines;
mod place;
mod purpose;
mod remember;
mod rules;
mod runs;
mod seams;
mod spotlight;
mod stretch;
mod table;
mod text;
mod tokens;
mod walk;

pub use form::{FIELD_BYTES_MAX, FormReader};
pub use lines::LINE_BYTES_MAX;
pub use place::place;
pub use purpose::{Purpose, PurposeReader};
pub use remember::{Key, MEMORY_SLOTS, Memory, Note};
pub use seams::SEAM_BYTES;
pub use spotlight::{Spotlight, Spotlit, is_marked, is_unmarkable, spotlight};
pub use stretch::{OVERLAP_BYTES, STRETCH_BYTES};
pub use text::{
    Extracted, Form, Medium, Origin, Piece, Text, UNKNOWN_FIELD_CHARS_MAX, UNKNOWN_FIELDS_MAX, Unscanned, Unseen,
    UnseenSet,
};
use wire::endpoint::{Endpoint, Method};
use wire::json::{JsonError, scan};

use table::Table;
use walk::Walk;

/// Builds the table, so that no request has to wait for the few milliseconds that this takes.
pub fn prepare() {
    Table::shared();
}

/// The texts of a JSON body.
///
/// # Errors
/// When the body is not the strict JSON that `wire::json` reads.
pub fn extract<'b>(endpoint: &Endpoint, body: &'b [u8]) -> Result<Extracted<'b>, JsonError> {
    let mut walk = Walk::new(Table::shared().root(endpoint), body.len());
    scan(body, &mut walk)?;
    let mut found = walk.finish();
    if let Some(unseen) = unseen_of(endpoint) {
        found.unseen.insert(unseen);
    }
    Ok(found)
}

/// What an operation brings into a model's view by its path alone, with a body or without.
pub fn unseen_of(endpoint: &Endpoint) -> Option<Unseen> {
    const PATHS: [(&str, Unseen); 4] = [
        ("/v1/threads/{thread_id}/runs", Unseen::Conversation),
        ("/v1/agents/sessions/{session_id}", Unseen::Conversation),
        ("/v1/agents/automations/{automation_id}", Unseen::StoredPrompt),
        ("/v1/evals/{eval_id}/runs", Unseen::StoredPrompt),
    ];
    let is_meant = |path: &str| endpoint.method == Method::Post && endpoint.path.starts_with(path);
    PATHS.into_iter().find(|(path, _)| is_meant(path)).map(|(_, unseen)| unseen)
}

#[cfg(test)]
mod tests;
