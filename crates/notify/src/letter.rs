//! Notices as letters to a person: what happened, by how much, what to do next.
//!
//! Promise: whatever a notice holds, its letter has a subject of one line and a body of bounded length.

use std::fmt::Write as _;

use store::{Notice, SpendAlertTriggered};
use time::OffsetDateTime;

/// Kind of a notice that only tests whether notices arrive.
pub const TEST_NOTICE_KIND: &str = "sallyport.test";

/// Kind of a notice of an exposed key.
const KEY_EXPOSED_KIND: &str = "key.exposed";

/// Characters of a subject.
const SUBJECT_CHARS_MAX: usize = 200;
/// Characters of a payload that is shown as it is.
const PAYLOAD_CHARS_MAX: usize = 10_000;

/// A letter without its head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) subject: String,
    pub(crate) body: String,
}

/// The letter of a notice.
pub(crate) fn letter(notice: &Notice, subject_prefix: Option<&str>) -> Letter {
    let mut letter = match SpendAlertTriggered::read(notice) {
        Some(alert) => spend_alert(&alert),
        None if notice.kind == TEST_NOTICE_KIND => test(),
        None if notice.kind == KEY_EXPOSED_KIND => key_exposed(notice),
        None => other(notice),
    };
    let prefix = subject_prefix.unwrap_or("Sallyport:");
    letter.subject = line(&format!("{} {}", prefix.trim(), letter.subject));
    // Writing to a `String` cannot fail.
    let _ = write!(
        letter.body,
        "\nNoticed on {}. Notice {}: a second mail with this id tells of the same event.\n",
        moment(notice.created_at),
        notice.id
    );
    letter
}

fn spend_alert(alert: &SpendAlertTriggered) -> Letter {
    let who = match (&alert.project_id, &alert.project_name) {
        (None, _) => "The organization".to_owned(),
        (Some(id), None) => format!("Project {}", id.as_str()),
        (Some(id), Some(name)) => format!("Project \"{}\" ({})", line(name), id.as_str()),
    };
    let month = month(alert.window_start);
    let (spent, threshold) = (alert.spent, alert.threshold);
    Letter {
        subject: format!("{who} has passed its spend alert of {threshold}"),
        body: format!(
            "{who} has spent {spent} in {month} (UTC).\n\
             The spend alert {} is set at {threshold}; it was passed by {}.\n\
             \n\
             This is a warning: the alert itself stops nothing. Which limits do stop requests, and how much\n\
             is left below them, is shown by\n\
             \n    \
                 sallyport limit list\n\
             \n\
             This alert is told once a month.\n",
            alert.alert_id,
            spent.minus(threshold)
        ),
    }
}

/// What happened to which key, and what is left to do: the first minutes count.
fn key_exposed(notice: &Notice) -> Letter {
    let of = |field: &str| line(notice.payload[field].as_str().unwrap_or_default());
    let named =
        |field: &str, otherwise: &str| Some(of(field)).filter(|text| !text.is_empty()).unwrap_or(otherwise.to_owned());
    let who = format!("\"{}\" ({})", of("key_name"), of("key_id"));
    let (is_over, ending) = match notice.payload["ending"].as_str() {
        Some("revoked") => (true, "It is revoked: refused from now on, its open streams are cut."),
        Some("suspended") => (true, "It is suspended: refused until somebody resumes it, its open streams are cut."),
        Some("gone_before") => (true, "That secret was not in force any more."),
        _ => (false, "It is STILL IN FORCE, as whoever opened the incident wanted."),
    };
    let state = if is_over { "" } else { " and still in force" };
    Letter {
        subject: format!("key {who} is exposed{state}"),
        body: format!(
            "The key {who} of project {} is exposed: {}\n{ending}\n\nFound at: {}\nReported by: {}\n\n\
             What it did since, which charges look unexpected, and a report for the provider's support:\n\
             \n    \
                 sallyport incident show {id}\n    \
                 sallyport incident report {id}\n\n\
             A key in its place, with the same settings, if there is none yet:\n\
             \n    \
                 sallyport incident replace {id}\n",
            named("project_name", "none (an admin key)"),
            of("reason"),
            named("url", "a place that was not named"),
            of("reported_by"),
            id = of("incident_id"),
        ),
    }
}

fn test() -> Letter {
    Letter {
        subject: "a test of notices by mail".to_owned(),
        body: "This mail was asked for, to see whether notices arrive. They do.\n".to_owned(),
    }
}

fn other(notice: &Notice) -> Letter {
    let payload: String = format!("{:#}", notice.payload).chars().take(PAYLOAD_CHARS_MAX).collect();
    Letter {
        subject: notice.kind.clone(),
        body: format!("An event of the type `{}` happened:\n\n{payload}\n", line(&notice.kind)),
    }
}

/// A text as one line, at a bounded length: control characters, among them line breaks, become blanks.
fn line(text: &str) -> String {
    let blanked = |character: char| if character.is_control() { ' ' } else { character };
    text.trim().chars().take(SUBJECT_CHARS_MAX).map(blanked).collect()
}

/// The month of a time, `September 2026`.
fn month(unix_seconds: i64) -> String {
    let at = at(unix_seconds);
    format!("{} {}", at.month(), at.year())
}

/// A time, `2026-09-14 10:22 UTC`.
fn moment(unix_seconds: i64) -> String {
    let at = at(unix_seconds);
    let (year, month, day) = at.to_calendar_date();
    format!("{year}-{:02}-{day:02} {:02}:{:02} UTC", u8::from(month), at.hour(), at.minute())
}

fn at(unix_seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(unix_seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use pricing::Nano;
    use proptest::prelude::*;
    use serde_json::json;
    use store::{ProjectId, SpendAlert};

    use super::*;

    fn alert(name: Option<&str>) -> SpendAlertTriggered {
        SpendAlertTriggered {
            alert_id: "alert_1".to_owned(),
            project_id: name.map(|_| ProjectId::new("proj_1")),
            project_name: name.map(str::to_owned),
            threshold: Nano::from_cents(5_000),
            spent: Nano(52_130_000_001),
            window_start: 1_788_220_800,
        }
    }

    fn notice(kind: &str, payload: serde_json::Value) -> Notice {
        Notice { id: "notice_1".to_owned(), kind: kind.to_owned(), created_at: 1_789_381_320, payload }
    }

    #[test]
    fn a_spend_alert_says_who_what_by_how_much_and_what_next() {
        let notice = notice(SpendAlert::NOTICE_KIND, alert(Some("Web")).payload());
        let letter = letter(&notice, Some("[prod]"));
        assert_eq!(letter.subject, "[prod] Project \"Web\" (proj_1) has passed its spend alert of $50.00");
        assert_eq!(
            letter.body,
            "Project \"Web\" (proj_1) has spent $52.130000001 in September 2026 (UTC).
The spend alert alert_1 is set at $50.00; it was passed by $2.130000001.

This is a warning: the alert itself stops nothing. Which limits do stop requests, and how much
is left below them, is shown by

    sallyport limit list

This alert is told once a month.

Noticed on 2026-09-14 10:22 UTC. Notice notice_1: a second mail with this id tells of the same event.
"
        );
    }

    #[test]
    fn a_payload_reads_back() {
        for alert in [alert(None), alert(Some("Web"))] {
            assert_eq!(SpendAlertTriggered::read(&notice(SpendAlert::NOTICE_KIND, alert.payload())), Some(alert));
        }
        let letter = letter(&notice(SpendAlert::NOTICE_KIND, alert(None).payload()), None);
        assert_eq!(letter.subject, "Sallyport: The organization has passed its spend alert of $50.00");
    }

    #[test]
    fn an_exposed_key_says_what_is_done_and_what_is_left_to_do() {
        let payload = json!({
            "incident_id": "incident_1", "key_id": "key_1", "key_name": "ci", "project_name": "Search",
            "reason": "GitHub secret scanning found the key.", "reported_by": "github",
            "url": "https://github.com/acme/app/blob/1/.env", "ending": "revoked",
        });
        let told = letter(&notice("key.exposed", payload.clone()), None);
        assert_eq!(told.subject, "Sallyport: key \"ci\" (key_1) is exposed");
        for words in ["It is revoked", "blob/1/.env", "incident replace incident_1", "of project Search"] {
            assert!(told.body.contains(words), "{words}: {}", told.body);
        }
        let mut left = payload;
        left["ending"] = "left_in_force".into();
        let told = letter(&notice("key.exposed", left), None);
        assert!(told.subject.ends_with("and still in force") && told.body.contains("STILL IN FORCE"));
    }

    #[test]
    fn an_unknown_kind_is_shown_as_it_is() {
        let letter = letter(&notice("price.drift", json!({"model": "gpt"})), None);
        assert_eq!(letter.subject, "Sallyport: price.drift");
        assert!(letter.body.contains("\"model\": \"gpt\"") && letter.body.contains("notice_1"), "{}", letter.body);
    }

    proptest! {
        #[test]
        fn no_text_breaks_out_of_its_line(prefix in ".*", name in "(?s).{0,300}", kind in "(?s).{0,300}") {
            for notice in
                [
                    notice(SpendAlert::NOTICE_KIND, alert(Some(&name)).payload()),
                    notice(&kind, json!({"name": name})),
                    notice(KEY_EXPOSED_KIND, json!({"key_name": name, "url": name, "ending": kind})),
                ]
            {
                let letter = letter(&notice, Some(&prefix));
                prop_assert!(!letter.subject.contains(char::is_control));
                prop_assert!(letter.subject.chars().count() <= SUBJECT_CHARS_MAX);
                prop_assert!(letter.body.chars().count() < PAYLOAD_CHARS_MAX + 1_000);
            }
        }
    }
}
