//! GitHub's secret-scanning partner protocol: a signed list of tokens that were found in the open, and our answer.
//!
//! Promises: [`Verified`] is made by [`KeySet::verify`] alone; who acts on alerts asks for one, so that an unsigned report
//! cannot be acted on; the signature covers the body as it came, byte for byte; the answer names tokens by their
//! hash; a report is bounded in size ([`BODY_BYTES_MAX`]) and number ([`ALERTS_MAX`]).
//!
//! Left out: fetching the key set, and the HTTP around it.

mod alerts;
mod key_set;
mod labels;

pub use alerts::{ALERTS_MAX, Alert, MalformedAlerts, parse_alerts};
pub use key_set::{KeySet, KeySetError, REPLACED_KEY_SECONDS_MAX, Signature, Unverified, Verified};
pub use labels::{Label, Labelled, answer, token_hash};

/// Most bytes of a report: some fifteen thousand alerts. Reports "may be large", says the protocol, and no number.
pub const BODY_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Header that names the key that signed.
pub const KEY_IDENTIFIER_HEADER: &str = "github-public-key-identifier";
/// Header with the signature.
pub const SIGNATURE_HEADER: &str = "github-public-key-signature";

#[cfg(test)]
mod tests;
