//! The alerts of a report.

use std::fmt;

use keys::Secret;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Most alerts of one report.
pub const ALERTS_MAX: usize = 10_000;
/// Characters that are kept of an alert's address: enough for any file in any repository.
const URL_CHARS_MAX: usize = 2_048;
/// Characters that are kept of an alert's other words.
const WORD_CHARS_MAX: usize = 100;

/// Shortest token that is looked for in the words beside it: what is shorter is no secret, and stands anywhere.
const TOKEN_BYTES_MIN: usize = 16;

/// One token that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// The token: in the open already, and a secret all the same until it is revoked.
    pub token: Secret,
    /// The type under which its shape is enrolled. Answers repeat it.
    pub kind: String,
    /// Where it was found; GitHub leaves it out for places that are not public.
    pub url: Option<String>,
    /// In what it was found: `content`, `commit`, `pull_request_comment`, `npm` …
    pub source: Option<String>,
}

/// Why a body is no report.
#[derive(Debug, thiserror::Error)]
pub enum MalformedAlerts {
    /// It is no JSON array of alerts.
    #[error("the body is not a JSON array of {{token, type, url, source}} (line {line}, column {column})")]
    Shape {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// It holds too many.
    #[error("the report has more than {ALERTS_MAX} alerts: send it in parts")]
    TooMany,
}

/// An alert as it is written. Members that are not known are nobody's business.
#[derive(Deserialize)]
struct Written {
    token: String,
    r#type: String,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    source: Option<String>,
}

/// An alert that is an object: derived readers would take its members as an array too.
struct Object(Written);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an alert")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object, A::Error> {
        Written::deserialize(MapAccessDeserializer::new(members)).map(Object)
    }
}

/// Reads the body of a report, signed or not: for the fuzzer. Who acts on alerts takes those of a `Verified`.
///
/// # Errors
/// [`MalformedAlerts`], without a word of the body: a token could stand where it breaks.
pub fn parse_alerts(body: &[u8]) -> Result<Vec<Alert>, MalformedAlerts> {
    let list: Result<List, serde_json::Error> = serde_json::from_slice(body);
    match list {
        Ok(List { alerts, is_whole: true }) => Ok(alerts),
        Ok(List { is_whole: false, .. }) => Err(MalformedAlerts::TooMany),
        Err(error) => Err(MalformedAlerts::Shape { line: error.line(), column: error.column() }),
    }
}

/// Alerts up to the bound, and whether those are all.
struct List {
    alerts: Vec<Alert>,
    is_whole: bool,
}

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<List, D::Error> {
        deserializer.deserialize_seq(ListVisitor)
    }
}

/// Stops keeping at the bound, so that memory follows it and not the body.
struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = List;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of alerts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut written: A) -> Result<List, A::Error> {
        let mut alerts = Vec::new();
        while alerts.len() < ALERTS_MAX {
            match written.next_element::<Object>()? {
                Some(Object(alert)) => alerts.push(alert.into()),
                None => return Ok(List { alerts, is_whole: true }),
            }
        }
        let mut is_whole = true;
        while written.next_element::<IgnoredAny>()?.is_some() {
            is_whole = false;
        }
        Ok(List { alerts, is_whole })
    }
}

impl From<Written> for Alert {
    fn from(written: Written) -> Alert {
        let token = Secret::new(written.token);
        let some = |text: Option<String>, chars_max| {
            text.map(|text| one_line(&text, &token, chars_max)).filter(|text| !text.is_empty())
        };
        let (url, source) = (some(written.url, URL_CHARS_MAX), some(written.source, WORD_CHARS_MAX));
        Alert { token, kind: written.r#type, url, source }
    }
}

/// A text from outside as one line of bounded length, which ends up in mails, logs and reports: without the token, which
/// may stand in the very address at which it was found.
fn one_line(text: &str, token: &Secret, chars_max: usize) -> String {
    let line: String = text.trim().chars().filter(|c| !c.is_control()).collect();
    let line = match token.expose() {
        token if token.len() >= TOKEN_BYTES_MIN => line.replace(token, "[token]"),
        _ => line,
    };
    line.chars().take(chars_max).collect()
}
