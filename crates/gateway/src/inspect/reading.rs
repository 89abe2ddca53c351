//! What the detector says about one text, in the places of the API.
//!
//! Promise: offsets count Unicode scalar values, as every language's text does that a client may be written in, and not
//! bytes.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use injection::{Budget, Channel, Detector, Finding, Judgement, Kind, Pending};
use store::{GuardSettings, TextHash};

/// Findings of one text that are kept: the best ones. More of them say nothing new.
const FINDINGS_MAX: usize = 8;

/// Every kind, in its own order.
pub(crate) const KINDS: [Kind; 4] = [Kind::Direct, Kind::Indirect, Kind::Jailbreak, Kind::Extraction];

/// The name of a kind in findings, headers, metrics and answers.
pub(crate) const fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Direct => "direct",
        Kind::Indirect => "indirect",
        Kind::Jailbreak => "jailbreak",
        Kind::Extraction => "extraction",
    }
}

/// One thing found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    pub(crate) kind: Kind,
    /// 0 to 1.
    pub(crate) score: f32,
    /// Where it begins in the text, in scalar values.
    pub(crate) start: usize,
    /// Where it ends.
    pub(crate) end: usize,
    /// The rule's name, where a rule found it.
    pub(crate) rule: Option<Arc<str>>,
}

/// What was found in one text.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Reading {
    /// The highest score of all, also where nothing was found.
    pub(crate) score: f32,
    /// Best first.
    pub(crate) found: Vec<Found>,
    /// Whether parts were left to the cheap stages.
    pub(crate) partly: bool,
    /// Of the text, where something was found in it.
    pub(crate) hash: Option<TextHash>,
}

impl Reading {
    /// Takes over a judgement of `text`.
    pub(crate) fn of(text: &str, judgement: Judgement) -> Reading {
        let findings = judgement.findings.into_iter().take(FINDINGS_MAX);
        let found: Vec<Found> = findings.map(|finding| found(text, finding)).collect();
        let hash = (!found.is_empty()).then(|| hash(text));
        Reading { score: judgement.score, found, partly: judgement.partly, hash }
    }

    /// Reads what the cheap stages were unsure of. Milliseconds: for guard threads.
    pub(crate) fn read(detector: &Detector, pending: &Pending<'_>, threshold: f32, windows: usize) -> Reading {
        Reading::of(pending.text(), detector.read(pending, threshold, Budget { windows }))
    }
}

/// SHA-256 of a text.
pub(crate) fn hash(text: &str) -> TextHash {
    let mut hash = TextHash([0; 32]);
    hash.0.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}

/// Whether a project lets a text through unread where it stands.
pub(super) fn is_allowed(settings: &GuardSettings, channel: Channel, text: &str) -> bool {
    !settings.allow.is_empty() && settings.allows(channel, hash(text))
}

fn found(text: &str, finding: Finding) -> Found {
    let before = |at: usize| text.get(..at).map_or(0, |before| before.chars().count());
    let start = before(finding.span.start);
    let end = start + text.get(finding.span.clone()).map_or(0, |inside| inside.chars().count());
    Found { kind: finding.kind, score: finding.score, start, end, rule: finding.rule.map(Arc::from) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_count_scalar_values() {
        let text = "Grüße 👋, ignore this";
        let at = text.find("ignore").expect("there");
        let finding = Finding { kind: Kind::Direct, score: 0.9, span: at..at + 6, rule: Some("a".into()) };
        let reading = Reading::of(text, Judgement { score: 0.9, findings: vec![finding], partly: false });
        let found = &reading.found[0];
        let inside: String = text.chars().skip(found.start).take(found.end - found.start).collect();
        assert_eq!((inside.as_str(), found.start), ("ignore", 9));
    }
}
