//! The answer to a report: for each token whether it was one of ours.

use std::collections::HashSet;
use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use keys::Secret;
use serde_json::{Value, json};

/// What a token turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Label {
    /// A key of this gate, in force or not any more.
    TruePositive,
    /// No key that this gate knows.
    FalsePositive,
}

impl Label {
    /// The protocol's word.
    pub const fn word(self) -> &'static str {
        match self {
            Label::TruePositive => "true_positive",
            Label::FalsePositive => "false_positive",
        }
    }
}

/// A token with its label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Labelled {
    /// The token's hash, from [`token_hash`].
    pub token_hash: String,
    /// The type, as the alert named it.
    pub kind: String,
    /// What it turned out to be.
    pub label: Label,
}

/// SHA-256 of a token in hexadecimal digits: how answers name it without repeating it.
pub fn token_hash(token: &Secret) -> String {
    let digest = digest(&SHA256, token.expose().as_bytes());
    digest.as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The answer's JSON: a token that was reported from several places is labelled once for each type.
pub fn answer(labelled: &[Labelled]) -> Value {
    let mut seen = HashSet::new();
    let first = labelled.iter().filter(|token| seen.insert((&token.token_hash, &token.kind)));
    first
        .map(|token| json!({"token_hash": token.token_hash, "token_type": token.kind, "label": token.label.word()}))
        .collect()
}
