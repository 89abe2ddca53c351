//! The reports as they read: golden files, and words that try to break out.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::incident::{Ending, Incident, KeyFacts, Remark, Sighting};
use crate::provider::{Charged, Counted, Whose};
use crate::report::{self, Evidence, ProviderUsage, Report, Upstream};

fn told() -> Report {
    let mut history = office();
    let night = SINCE + 16 * HOUR;
    history.uses.extend([
        used(SINCE + 120, "gpt-5.4-mini", 6, 12),
        used(night, "gpt-5.5-pro", 900, 41_250),
        used(night, "gpt-5.4-mini", 4, 8),
        used(night + HOUR, "gpt-5.5-pro", 310, 14_007),
    ]);
    history.addresses.extend([
        came(SINCE + 120, "192.0.2.7", 6),
        AddressUse { user_agent: Some("python-requests/2.32".into()), ..came(night, "198.51.100.23", 904) },
        AddressUse { refused: 55, user_agent: Some("curl/8.5".into()), ..came(night + HOUR, "198.51.100.23", 365) },
    ]);
    let (profile, difference) = held(&history);
    let proposal = propose(&profile);
    let incident = Incident {
        id: "incident_1".into(),
        closed_at: None,
        reason: "Reported by GitHub secret scanning.".into(),
        source: "github".into(),
        opened_by: "sallyport".into(),
        key: KeyFacts {
            id: "key_1".into(),
            name: "ci".into(),
            kind: "proj".into(),
            redacted: "sp-proj_****x9Qz".into(),
            created_at: MONDAY,
            project: Some(("proj_1".into(), "Search".into())),
        },
        exposed_since: Some(SINCE),
        found_at: night + HOUR + 1_200,
        ending: Ending::Revoked,
        ended_at: Some(night + HOUR + 1_201),
        replacement: Some("key_2".into()),
        limits: Vec::new(),
        sightings: vec![Sighting {
            told_at: night + HOUR + 1_200,
            by: "github".into(),
            url: Some("https://github.com/acme/search/blob/0a1b2c/.env#L3".into()),
            source: Some("commit".into()),
        }],
        remarks: vec![Remark { at: night + 2 * HOUR, by: "key_admin".into(), text: "Rolled out key_2.".into() }],
    };
    let upstream = Upstream::NotRead {
        key_ids: Vec::new(),
        why: "no admin key of the provider is configured, so its own usage cannot be read.".into(),
    };
    let evidence = Evidence { profile, difference, proposal, read_at: night + 2 * HOUR };
    Report { incident, upstream, evidence }
}

/// How many code spans a line has; `None` where one is not closed, or is empty, which Markdown reads as another mark.
fn spans(line: &str) -> Option<usize> {
    let (mut count, mut rest) = (0, line.chars());
    loop {
        match rest.next() {
            None => return Some(count),
            Some('\\') => drop(rest.next()),
            Some('`') => {
                let length = rest.by_ref().position(|c| c == '`')?;
                count += if length == 0 { return None } else { 1 };
            }
            Some(_) => {}
        }
    }
}

#[test]
fn the_markdown_reads_as_agreed() {
    assert_eq!(report::markdown(&told()), include_str!("report.md"));
}

#[test]
fn the_json_reads_as_agreed() {
    let golden: Value = serde_json::from_str(include_str!("report.json")).expect("JSON");
    assert_eq!(report::json(&told()), golden, "{:#}", report::json(&told()));
}

#[test]
fn what_the_provider_counts_is_shown_where_it_was_read() {
    let usage = ProviderUsage {
        whose: Whose { key_ids: vec!["key_upstream".into()], project_id: None },
        counted: vec![Counted { at: SINCE, model: "gpt-5.5-pro".into(), calls: 1_300 }],
        charged: vec![Charged { day: SINCE - SINCE % DAY, cost: Nano::from_cents(56_000) }],
        is_whole: false,
    };
    let report = Report { upstream: Upstream::Read(usage), ..told() };
    let (markdown, json) = (report::markdown(&report), report::json(&report));
    for words in ["key\\_upstream", ": 1300 calls.", "$560.00 by whole days", "more than was read here"] {
        assert!(markdown.contains(words), "{words}: {markdown}");
    }
    assert_eq!(json["key"]["upstream_key_ids"], json!(["key_upstream"]));
    assert_eq!((&json["upstream_usage"]["calls"], &json["upstream_usage"]["cost"]), (&json!(1_300), &json!("560.00")));
}

#[test]
fn an_incident_of_an_unused_key_says_so() {
    let (profile, difference) = held(&History::default());
    let evidence = Evidence { profile, difference, proposal: None, read_at: SINCE };
    let mut report = Report { evidence, ..told() };
    (report.incident.ending, report.incident.ended_at) = (Ending::GoneBefore, None);
    let markdown = report::markdown(&report);
    for words in ["Nothing was used.", "None are known.", "The key was not used before", "- the key was gone before\n"]
    {
        assert!(markdown.contains(words), "{words}: {markdown}");
    }
    let timeline = &report::json(&report)["timeline"];
    assert_eq!((&timeline["ended_at"], &timeline["reaction_seconds"]), (&Value::Null, &Value::Null));
}

proptest! {
    /// Words from outside stand in lines and cells that are there already, and make no others.
    #[test]
    fn no_words_break_out_of_the_markdown(words in "(?s).{0,60}", marks in "[|`\n#*<>\\[\\]!_\\\\ -]{0,30}") {
        let words = format!("{words}{marks}");
        let plain = told();
        let mut hostile = plain.clone();
        hostile.incident.reason = words.clone();
        hostile.incident.source = words.clone();
        hostile.incident.key.name = words.clone();
        hostile.incident.sightings[0].url = Some(words.clone());
        hostile.incident.remarks[0].text = words.clone();
        for met in &mut hostile.evidence.difference.addresses {
            met.agents = met.agents.iter().map(|agent| format!("{words}{agent}")).collect();
        }
        let models = std::mem::take(&mut hostile.evidence.difference.models);
        let renamed: BTreeMap<_, _> = models.into_iter().map(|(model, used)| (format!("{model}{words}"), used)).collect();
        hostile.evidence.difference.models = renamed;
        let (plain, hostile) = (report::markdown(&plain), report::markdown(&hostile));
        prop_assert_eq!(plain.lines().count(), hostile.lines().count());
        for (plain, hostile) in plain.lines().zip(hostile.lines()) {
            let cells = |line: &str| line.replace("\\|", "").matches('|').count();
            prop_assert_eq!(cells(plain), cells(hostile), "{}", hostile);
            prop_assert_eq!(plain.starts_with("## "), hostile.starts_with("## "), "{}", hostile);
            prop_assert_eq!(spans(plain), spans(hostile), "{}", hostile);
        }
    }
}

#[test]
fn a_report_is_json_whatever_is_in_it() {
    let mut hostile = told();
    hostile.incident.reason = "\u{0}\"\\".into();
    let shown = report::json(&hostile);
    assert_eq!(shown["reason"], json!("\u{0}\"\\"));
}
