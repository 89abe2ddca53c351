//! Finds secrets in bytes: keys of the OpenAI API, keys of this gate, credentials of other services, and signs in code
//! that a secret is about to be published.
//!
//! Promises:
//! - what is found does not depend on how the bytes are cut into pieces ([`Engine::scan`] and [`Engine::stream`] give the
//!   same), nor does what is found in decoded layers;
//! - a [`Stream`] keeps a bounded window, and says how many bytes at the end may still belong to a secret
//!   ([`Stream::held_back`], at most [`HELD_BACK_BYTES_MAX`]), so that whoever passes bytes on can wait with exactly those;
//! - a secret is looked for as it stands, and behind escapes, percent encoding, entities, UTF-16, characters that are not
//!   seen, base64 and hexadecimal digits at any alignment, up to three of them inside each other; and in pieces: string
//!   literals, wrapped lines, mark-up, the events of a recorded stream; in character codes and in ROT13;
//! - a finding's span is exact in the bytes that were given, and a secret prints as stars.
//!
//! Left out: I/O, compressed data, allow lists, and asking the issuer whether a key is alive.
//!
//! To add a rule, do four things: put a row into the table of its kind in `rules/`, with the source of its shape; choose
//! an anchor that is rare and stands at the start; give it a check of its own if a checksum or a length is known; run the
//! tests, which make an instance of every row and demand that it is found.

mod bridge;
mod checks;
mod encoded;
mod engine;
mod finding;
mod layer;
mod lookalike;
mod rule;
mod rules;
mod stream;
#[cfg(test)]
mod tests;
mod text;
mod walk;

pub use engine::{Config, Engine};
pub use finding::{Encoding, Finding};
pub use rule::{Class, Rule, Severity};
pub use stream::Stream;

/// Most bytes that a stream holds back: the reach of a secret in pieces, behind findings that overlap for as long, and
/// decoded tokens at each end. Ordinary text holds back its last word.
pub const HELD_BACK_BYTES_MAX: usize = 2 * walk::REACH_BYTES_MAX + 4096;
