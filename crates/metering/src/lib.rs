//! What a request may cost at most, and what an answer says that it used.

pub mod audio;
pub mod image;
pub mod tokens;
