//! How large an image is, and how many tokens a model may bill for it.
//!
//! Promises: pure, linear in the bytes given, no panic on any bytes, nothing is decoded but headers. A size that cannot
//! be told from the header is `None`, and `None` is priced as the largest image that the model's rule allows, so an
//! unreadable image is never held too low.
//!
//! Left out: rotation (every rule is symmetric in width and height, so an EXIF orientation changes no count), pixels,
//! and formats that the API does not take (they come out as `None`).

mod data_url;
mod header;
mod rules;
#[cfg(test)]
mod tests;

pub use data_url::{DataUrl, HEAD_BYTES_MAX, data_url};
pub use header::{Size, size};
pub use rules::{Detail, ESTIMATE_MARGIN_PERCENT, tokens_max};
