//! What is said about one text, in JSON and for people.
//!
//! Promises: `start` and `end` are positions of characters within the text, `start <= end`; a score has seven decimals.

use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;

use injection::{Judgement, Kind};
use serde_json::json;

/// Characters of a finding that people are shown.
const EXCERPT_MAX: usize = 100;

/// One judged text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    pub(super) score: f32,
    pub(super) blocks: bool,
    pub(super) micros: u64,
    findings: Vec<Found>,
    partly: bool,
}

/// A finding with its place in characters.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    kind: &'static str,
    score: f32,
    rule: Option<String>,
    start: usize,
    end: usize,
}

/// The kind's name in the API and in training data.
fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Direct => "direct",
        Kind::Indirect => "indirect",
        Kind::Jailbreak => "jailbreak",
        Kind::Extraction => "extraction",
    }
}

impl Verdict {
    pub(super) fn new(text: &str, judgement: &Judgement, threshold: f32, took: Duration) -> Verdict {
        let mut places: Vec<usize> = judgement.findings.iter().flat_map(|one| [one.span.start, one.span.end]).collect();
        places.sort_unstable();
        places.dedup();
        let characters = positions(text, &places);
        let position = |byte: usize| places.binary_search(&byte).map_or(0, |at| characters[at]);
        let findings = judgement.findings.iter().map(|one| Found {
            kind: name(one.kind),
            score: one.score,
            rule: one.rule.clone(),
            start: position(one.span.start),
            end: position(one.span.end),
        });
        Verdict {
            score: judgement.score,
            blocks: judgement.score >= threshold,
            micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            findings: findings.collect(),
            partly: judgement.partly,
        }
    }

    /// Where the worst finding is, in characters.
    pub(super) fn worst(&self) -> Option<Range<usize>> {
        self.findings.first().map(|found| found.start..found.end)
    }

    /// The answer's line, without its end.
    pub(super) fn json(&self) -> String {
        let mut line = format!("{{\"score\":{:.7},\"verdict\":\"{}\",\"findings\":[", self.score, self.word());
        for (at, found) in self.findings.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let Found { kind, score, start, end, .. } = found;
            let rule = found.rule.as_ref().map(|rule| format!(",\"rule\":{}", json!(rule))).unwrap_or_default();
            let _ = write!(
                line,
                "{comma}{{\"kind\":\"{kind}\",\"score\":{score:.7},\"start\":{start},\"end\":{end}{rule}}}"
            );
        }
        let partly = if self.partly { ",\"partly\":true" } else { "" };
        let _ = write!(line, "],\"micros\":{}{partly}}}", self.micros);
        line
    }

    /// Some lines of text.
    pub(super) fn for_people(&self, text: &str) -> String {
        let milliseconds = self.micros as f64 / 1e3;
        let mut out = format!("{:5}  {:.4}  ({milliseconds:.1} ms)\n", self.word(), self.score);
        for found in &self.findings {
            let (Found { kind, score, start, end, .. }, rule) = (found, found.rule.as_deref().unwrap_or("-"));
            let excerpt: String = text.chars().skip(*start).take((end - start).min(EXCERPT_MAX)).collect();
            let more = if end - start > EXCERPT_MAX { "…" } else { "" };
            let excerpt = excerpt.escape_debug();
            let _ = writeln!(out, "  {kind:10} {score:.4}  {start}-{end}  {rule}  “{excerpt}{more}”");
        }
        if self.partly {
            out.push_str("  The transformer did not read all of it: raise --windows.\n");
        }
        out
    }

    fn word(&self) -> &'static str {
        if self.blocks { "block" } else { "pass" }
    }
}

/// The line that answers what cannot be judged.
pub(super) fn error(number: usize, message: &str) -> String {
    json!({"error": {"line": number, "message": message}}).to_string()
}

/// How many characters begin before each of the sorted places in bytes; a place inside a character counts as its end.
fn positions(text: &str, places: &[usize]) -> Vec<usize> {
    let (mut byte, mut count) = (0, 0);
    let begins = |byte: &&u8| **byte & 0xc0 != 0x80;
    let mut characters = Vec::with_capacity(places.len());
    for place in places {
        let place = (*place).min(text.len());
        count += text.as_bytes()[byte..place].iter().filter(begins).count();
        byte = place;
        characters.push(count);
    }
    characters
}

#[cfg(test)]
mod tests {
    use injection::Finding;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn finding(span: std::ops::Range<usize>) -> Finding {
        Finding { kind: Kind::Extraction, score: 0.25, span, rule: Some("a \"rule\"".into()) }
    }

    proptest! {
        #[test]
        fn offsets_cut_the_same_text_out_in_characters(
            (text, cuts) in any::<String>().prop_flat_map(|text| {
                let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
                let pair = (prop::sample::select(places.clone()), prop::sample::select(places));
                (Just(text), prop::collection::vec(pair, 0..6))
            }),
        ) {
            let spans: Vec<_> = cuts.iter().map(|&(a, b)| a.min(b)..a.max(b)).collect();
            let findings = spans.iter().cloned().map(finding).collect();
            let judgement = Judgement { score: 0.5, findings, partly: false };
            let line = Verdict::new(&text, &judgement, 0.5, Duration::from_micros(7)).json();
            let line: Value = serde_json::from_str(&line).expect("JSON");
            prop_assert_eq!(&line["verdict"], "block");
            prop_assert_eq!(&line["micros"], 7);
            for (found, span) in line["findings"].as_array().expect("a list").iter().zip(spans) {
                let at = |name: &str| found[name].as_u64().expect("a number") as usize;
                prop_assert!(at("start") <= at("end"));
                let cut: String = text.chars().skip(at("start")).take(at("end") - at("start")).collect();
                prop_assert_eq!(cut, &text[span]);
                prop_assert_eq!(&found["rule"], "a \"rule\"");
            }
        }

        #[test]
        fn no_span_panics_or_points_behind_the_text(text in any::<String>(), a in 0_usize..99, b in 0_usize..99) {
            let judgement = Judgement { score: 0.5, findings: vec![finding(a.min(b)..a.max(b))], partly: true };
            let verdict = Verdict::new(&text, &judgement, 0.6, Duration::ZERO);
            prop_assert!(verdict.findings[0].start <= verdict.findings[0].end);
            prop_assert!(verdict.findings[0].end <= text.chars().count());
            prop_assert!(verdict.for_people(&text).starts_with("pass"));
        }
    }

    #[test]
    fn a_score_has_seven_decimals() {
        let judgement = Judgement { score: 0.5, ..Judgement::default() };
        let line = Verdict::new("", &judgement, 0.9, Duration::ZERO).json();
        assert_eq!(line, r#"{"score":0.5000000,"verdict":"pass","findings":[],"micros":0}"#);
    }
}
