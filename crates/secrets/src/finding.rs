//! What is reported.

use std::ops::Range;

use keys::Secret;

use crate::rule::Rule;

/// How bytes were read to find a secret in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encoding {
    /// Escapes, percent encoding, entities, UTF-16, characters that are not seen.
    Escaped,
    /// Base64, standard or for URLs.
    Base64,
    /// Hexadecimal digits.
    Hex,
    /// Pieces of string literals, of marked-up words, of wrapped lines, of streamed events.
    Pieces,
    /// A row of character codes.
    Codes,
    /// Letters turned by thirteen.
    Rot13,
    /// Written backwards.
    Reversed,
}

impl Encoding {
    /// The word in reports.
    pub const fn word(self) -> &'static str {
        match self {
            Encoding::Escaped => "escaped",
            Encoding::Base64 => "base64",
            Encoding::Hex => "hex",
            Encoding::Pieces => "pieces",
            Encoding::Codes => "codes",
            Encoding::Rot13 => "rot13",
            Encoding::Reversed => "reversed",
        }
    }
}

/// A secret, or a sign of one, in the bytes that were given.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What it is.
    pub rule: &'static Rule,
    /// Bytes of the input that hold it, from its first to behind its last. Where it is encoded these are the encoded
    /// bytes; where it is in pieces, what stands between them is within.
    pub span: Range<u64>,
    /// The secret as it would be used, decoded.
    pub secret: Secret,
    /// How it was read, from the outside in; nothing where it stands as it is.
    pub encodings: Vec<Encoding>,
}

/// Fewest bytes of a secret whose last four may be shown.
const SHOWN_SECRET_BYTES_MIN: usize = 20;

impl Finding {
    /// The secret as reports show it: what its kind has in common, stars, and the last four where enough stays hidden.
    pub fn redacted(&self) -> String {
        let text = self.secret.expose();
        if self.rule.class != crate::Class::Secret {
            return text.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        if let Some(label) = text.strip_prefix("-----BEGIN ").and_then(|rest| rest.split("-----").next()) {
            return format!("-----BEGIN {label}-----****");
        }
        let head = if self.rule.is_guessable { "" } else { public_head(text, self.rule) };
        let hidden = text.len() - head.len();
        let is_shown = !self.rule.is_guessable && hidden >= SHOWN_SECRET_BYTES_MIN;
        let tail = if is_shown { text.get(text.len() - 4..).unwrap_or_default() } else { "" };
        format!("{head}****{tail}")
    }
}

/// The start of a token that is no secret: the anchor, and the word of the kind behind it.
fn public_head<'a>(text: &'a str, rule: &Rule) -> &'a str {
    if rule.anchors.is_empty() {
        // Our own keys: prefix and kind, then an underscore.
        return text.rfind('_').map_or("", |at| &text[..=at]);
    }
    if !rule.lead.is_empty() {
        return "";
    }
    let anchor = rule.anchors.iter().filter(|anchor| text.starts_with(**anchor)).map(|anchor| anchor.len()).max();
    let Some(anchor) = anchor else { return "" };
    let words: usize = ["proj-", "svcacct-", "admin-", "service-", "None-"]
        .into_iter()
        .filter(|word| rule.kind == crate::rules::OPENAI && text[anchor..].starts_with(word))
        .map(str::len)
        .sum();
    &text[..anchor + words]
}
