//! Findings as text, JSON and SARIF.

use std::collections::BTreeSet;
use std::fmt::Write;

use secrets::{Class, Engine, Severity};
use serde_json::{Value, json};

use crate::hit::Hit;
use crate::run::Outcome;

/// For people: place, kind, the line with a caret under the stars, and what to do.
pub fn text(hits: &[Hit]) -> String {
    let mut out = String::new();
    for hit in hits {
        let commit = hit.commit.as_deref().map(|commit| format!(" (commit {})", &commit[..commit.len().min(12)]));
        let hidden =
            if hit.encodings.is_empty() { String::new() } else { format!(", hidden: {}", hit.encodings.join(" in ")) };
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "{}:{}:{}: {} [{}, {}{hidden}]{}",
            hit.file,
            hit.line,
            hit.column,
            hit.rule.title,
            hit.rule.kind,
            hit.rule.severity.word(),
            commit.unwrap_or_default()
        );
        let margin = hit.excerpt.before.chars().count();
        let width = hit.redacted.chars().count().max(1);
        let _ = writeln!(out, "  | {}{}{}", hit.excerpt.before, hit.redacted, hit.excerpt.behind);
        let _ = writeln!(out, "  | {}{}", " ".repeat(margin), "^".repeat(width));
        let _ = writeln!(out, "  = {}\n", hit.rule.mend);
    }
    out
}

/// One line about the whole.
pub fn summary(outcome: &Outcome, seconds: f64) -> String {
    let megabytes = outcome.bytes as f64 / 1e6;
    let speed = if seconds > 0.0 { megabytes / seconds } else { 0.0 };
    let known = if outcome.known == 0 { String::new() } else { format!(" ({} more in the baseline)", outcome.known) };
    let counted = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    format!(
        "{}{known} in {}, {megabytes:.1} MB, {speed:.0} MB/s, {}",
        counted(outcome.hits.len() as u64, "finding"),
        counted(outcome.files, "file"),
        counted(outcome.warning_count, "warning")
    )
}

/// A list of objects: `file`, `line`, `kind`, `span` and `redacted`, then what else is known.
pub fn json(hits: &[Hit]) -> String {
    let list: Vec<Value> = hits.iter().map(object).collect();
    serde_json::to_string_pretty(&list).expect("strings and numbers make JSON") + "\n"
}

fn object(hit: &Hit) -> Value {
    let mut object = json!({
        "file": hit.file,
        "line": hit.line,
        "kind": hit.rule.kind,
        "span": [hit.span.start, hit.span.end],
        "redacted": hit.redacted,
        "column": hit.column,
        "title": hit.rule.title,
        "severity": hit.rule.severity.word(),
        "class": class(hit),
        "encodings": hit.encodings,
        "fingerprint": hit.fingerprint,
        "mend": hit.rule.mend,
    });
    if let (Some(object), Some(commit)) = (object.as_object_mut(), &hit.commit) {
        object.insert("commit".into(), commit.as_str().into());
    }
    object
}

fn class(hit: &Hit) -> &'static str {
    match hit.rule.class {
        Class::Secret => "secret",
        Class::Sign | Class::DirectCall => "sign",
    }
}

/// SARIF 2.1.0, for code scanning of forges.
pub fn sarif(hits: &[Hit], version: &str) -> String {
    let used: BTreeSet<&str> = hits.iter().map(|hit| hit.rule.kind).collect();
    let rules: Vec<Value> = Engine::rules()
        .filter(|rule| used.contains(rule.kind))
        .map(|rule| {
            json!({
                "id": rule.kind,
                "name": rule.kind,
                "shortDescription": {"text": rule.title},
                "help": {"text": rule.mend},
                "defaultConfiguration": {"level": level(rule.severity)},
                "properties": {"security-severity": score(rule.severity), "tags": ["security", "secret"]},
            })
        })
        .collect();
    let index = |kind: &str| used_index(&rules, kind);
    let results: Vec<Value> = hits
        .iter()
        .map(|hit| {
            json!({
                "ruleId": hit.rule.kind,
                "ruleIndex": index(hit.rule.kind),
                "level": level(hit.rule.severity),
                "message": {"text": format!("{}: {}. {}.", hit.rule.title, hit.redacted, hit.rule.mend)},
                "locations": [{
                    "physicalLocation": {
                        "artifactLocation": {"uri": uri(&hit.file)},
                        "region": {
                            "startLine": hit.line,
                            "startColumn": hit.column,
                            "byteOffset": hit.span.start,
                            "byteLength": hit.span.end - hit.span.start,
                        },
                    },
                }],
                "partialFingerprints": {"sallyportSecret/v1": hit.fingerprint},
                "properties": {"commit": hit.commit, "encodings": hit.encodings},
            })
        })
        .collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "sallyport", "semanticVersion": version, "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    serde_json::to_string_pretty(&log).expect("strings and numbers make JSON") + "\n"
}

fn used_index(rules: &[Value], kind: &str) -> usize {
    rules.iter().position(|rule| rule["id"] == kind).expect("the list has every kind that was found")
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "note",
        Severity::Medium => "warning",
        Severity::High => "error",
    }
}

/// Code scanning's scale from 0 to 10.
const fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "3.0",
        Severity::Medium => "6.0",
        Severity::High => "9.0",
    }
}

/// A relative reference: what a URI does not allow is percent-encoded.
fn uri(file: &str) -> String {
    let mut out = String::new();
    for byte in file.trim_start_matches("./").bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=@".contains(&byte) {
            true => out.push(char::from(byte)),
            false => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}
