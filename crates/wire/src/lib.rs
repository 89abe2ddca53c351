//! The OpenAI API on the wire: the table of endpoints, the table of refusals, and parsers for the bytes that come
//! from the network.
//!
//! Promises: pure functions over bytes, without I/O, clock or async; linear time and bounded memory on any input; no
//! panic on any input; what two parsers could read differently is an error, not a guess.

pub mod channel;
pub mod endpoint;
pub mod framing;
pub mod json;
pub mod key_like;
pub mod multipart;
pub mod refusal;
pub mod sse;
pub mod target;
