//! Exposed keys: who says so, what the key did since, and what to do about it.
//!
//! - [`github`]: GitHub's secret-scanning partner protocol: signature, alerts, labels.
//! - [`profile`]: the ordinary use of a key, from what was settled before the exposure.
//! - [`difference`]: what the key did since, held against its profile; charges that look unexpected.
//! - [`proposal`]: a spending limit that follows from the profile.
//! - [`provider`]: what the provider itself counts and charges.
//! - [`incident`]: what is written down about an exposed key.
//! - [`report`]: the incident as Markdown and JSON, with what a provider's support asks for.
//!
//! Promises: no I/O, no clock; amounts are integers and sums agree with what they are sums of; nothing depends on the
//! order in which uses are given; no secret is in any output: of a key its id and its redacted form, of a reported token
//! its hash.
//!
//! Left out: whose a token is, what is revoked, where incidents are kept.

pub mod difference;
pub mod github;
pub mod incident;
mod moment;
pub mod profile;
pub mod proposal;
pub mod provider;
pub mod report;

pub use moment::utc;

#[cfg(test)]
mod tests;
