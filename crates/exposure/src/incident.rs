//! What is written down about an exposed key: what happened, when, and what was done.
//!
//! No secret is in it: of the key its id and what lists show.

use serde::{Deserialize, Serialize};

/// Most places where a key was found that an incident lists: a key in a public repository is soon in its forks.
pub const SIGHTINGS_MAX: usize = 50;
/// Most remarks of an incident.
pub const REMARKS_MAX: usize = 200;

/// A key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFacts {
    /// Id.
    pub id: String,
    /// Name.
    pub name: String,
    /// What it opens: `proj`, `svc`, `admin`.
    pub kind: String,
    /// As lists show it.
    pub redacted: String,
    /// When it was made.
    pub created_at: i64,
    /// Its project's id and name; admin keys have none.
    pub project: Option<(String, String)>,
}

/// A place where the key was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// When we were told.
    pub told_at: i64,
    /// Who told us: `github`.
    pub by: String,
    /// Where it is.
    pub url: Option<String>,
    /// In what: `commit`, `issue_comment` …
    pub source: Option<String>,
}

/// How a key ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Revoked with the incident.
    Revoked,
    /// Suspended with the incident: it can be resumed.
    Suspended,
    /// Gone before.
    GoneBefore,
    /// Left in force, by the wish of whoever opened the incident.
    LeftInForce,
}

impl Ending {
    /// All.
    pub const ALL: [Ending; 4] = [Ending::Revoked, Ending::Suspended, Ending::GoneBefore, Ending::LeftInForce];

    /// The word in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Ending::Revoked => "revoked",
            Ending::Suspended => "suspended",
            Ending::GoneBefore => "gone_before",
            Ending::LeftInForce => "left_in_force",
        }
    }

    /// The ending with this name.
    pub fn from_word(word: &str) -> Option<Ending> {
        Ending::ALL.into_iter().find(|ending| ending.word() == word)
    }
}

/// A remark of somebody who works on the incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// When.
    pub at: i64,
    /// Who: an admin key's id, or the gate.
    pub by: String,
    /// What.
    pub text: String,
}

/// An incident: one exposed key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Id, `incident_…`.
    pub id: String,
    /// When it was closed.
    pub closed_at: Option<i64>,
    /// What happened, in the words of whoever opened it.
    pub reason: String,
    /// Who says so: `api`, `github`, …
    pub source: String,
    /// Who opened it: an admin key's id, or whose report it was.
    pub opened_by: String,
    /// The key.
    pub key: KeyFacts,
    /// Since when the key was exposed, as somebody said.
    pub exposed_since: Option<i64>,
    /// When the gate learnt of it.
    pub found_at: i64,
    /// How the key ended.
    pub ending: Ending,
    /// When it did; `None` while it is in force, or where nobody knows any more.
    pub ended_at: Option<i64>,
    /// The key that took its place.
    pub replacement: Option<String>,
    /// Spending limits that were set because of it.
    pub limits: Vec<String>,
    /// Where it was found.
    pub sightings: Vec<Sighting>,
    /// Remarks.
    pub remarks: Vec<Remark>,
}

impl Incident {
    /// What ids begin with.
    pub const ID_PREFIX: &'static str = "incident_";

    /// From when on the key's use counts as exposed: as somebody said, else since it was made, because nobody can say
    /// that it was not.
    pub fn since(&self) -> i64 {
        self.exposed_since.unwrap_or(self.key.created_at)
    }

    /// Whether a place where the key was found is known already.
    pub fn has_seen(&self, sighting: &Sighting) -> bool {
        self.sightings
            .iter()
            .any(|seen| (&seen.by, &seen.url, &seen.source) == (&sighting.by, &sighting.url, &sighting.source))
    }

    /// Seconds from learning of the exposure to the key's end.
    pub fn reaction_seconds(&self) -> Option<i64> {
        self.ended_at.map(|ended| ended.saturating_sub(self.found_at).max(0))
    }

    /// Seconds for which the key was exposed and in force.
    pub fn exposed_seconds(&self) -> Option<i64> {
        self.ended_at.map(|ended| ended.saturating_sub(self.since()).max(0))
    }
}
