//! The table of what is looked for. Shapes change: each row says where its own comes from.

mod clouds;
mod code;
mod generation;
mod services;
mod signs;

use crate::rule::Rule;

/// The kind of the keys of the OpenAI API.
pub(crate) const OPENAI: &str = "openai_api_key";

/// Every rule.
pub(crate) fn all() -> impl Iterator<Item = &'static Rule> {
    let tables = [generation::RULES, clouds::RULES, code::RULES, services::RULES, signs::RULES];
    tables.into_iter().flatten()
}

/// The vendor's documentation of its token formats.
pub(crate) const DOCUMENTED: &str = "documented by the vendor";
/// The rules of gitleaks 8 (MIT), read for the shape.
pub(crate) const GITLEAKS: &str = "shape as in gitleaks 8";
/// The detectors of trufflehog 3, read for the shape.
pub(crate) const TRUFFLEHOG: &str = "shape as in trufflehog 3";
/// Tokens as their owners see them.
pub(crate) const SEEN: &str = "shape as seen in use";
