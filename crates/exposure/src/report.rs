//! The incident as a report: for people as Markdown, for machines as JSON.
//!
//! Both say the same, and are the evidence pack for a provider's support: times in UTC, key ids (the provider's and
//! ours), amounts, counts, models, addresses, and what the provider's own usage says, or why it was not read.
//! Words from outside (addresses of finds, agents, notes) cannot break out of their place in the Markdown.

mod json;
mod markdown;

use pricing::Nano;

pub use json::{json, json_evidence};
pub use markdown::markdown;

use crate::difference::Difference;
use crate::profile::{Profile, Spent, Use};
use crate::proposal::Proposal;

/// A key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// What the provider's own usage says of the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// It was read: the provider's key id, and the usage under it since the exposure.
    Read {
        /// The provider's id of the key that the gate used.
        key_id: String,
        /// Usage, as the provider counts it.
        uses: Vec<Use>,
    },
    /// It was not; why, and what would mend it.
    NotRead {
        /// The provider's id of the key that the gate used, where it is known.
        key_id: Option<String>,
        /// A sentence.
        why: String,
    },
}

impl Upstream {
    fn key_id(&self) -> Option<&str> {
        match self {
            Upstream::Read { key_id, .. } => Some(key_id),
            Upstream::NotRead { key_id, .. } => key_id.as_deref(),
        }
    }
}

/// A remark of somebody who works on the incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// When.
    pub at: i64,
    /// Who: an admin key's id, or the gate.
    pub by: String,
    /// What.
    pub text: String,
}

/// What the key did, and what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Before the exposure.
    pub profile: Profile,
    /// Since.
    pub difference: Difference,
    /// The limit that follows, where something was spent before.
    pub proposal: Option<Proposal>,
    /// Until when usage is counted in, Unix seconds.
    pub read_at: i64,
}

/// All that a report tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Id.
    pub id: String,
    /// Whether it is closed, and when that was.
    pub closed_at: Option<i64>,
    /// What happened, in the words of whoever opened it.
    pub reason: String,
    /// Who says so: `api`, `github`, …
    pub source: String,
    /// Who opened it: an admin key's id, or the gate.
    pub opened_by: String,
    /// The key.
    pub key: KeyFacts,
    /// Since when the key was exposed.
    pub exposed_since: i64,
    /// Whether nobody said so: then it is the time at which the key was made.
    pub is_exposure_assumed: bool,
    /// When the gate learnt of it.
    pub found_at: i64,
    /// How the key ended.
    pub ending: Ending,
    /// When it did; `None` while it is in force, or where nobody knows any more.
    pub ended_at: Option<i64>,
    /// The key that took its place.
    pub replacement: Option<String>,
    /// Where it was found.
    pub sightings: Vec<Sighting>,
    /// Remarks.
    pub remarks: Vec<Remark>,
    /// The provider's side.
    pub upstream: Upstream,
    /// What the key did.
    pub evidence: Evidence,
}

impl Incident {
    /// Seconds from learning of the exposure to the key's end.
    fn reaction_seconds(&self) -> Option<i64> {
        self.ended_at.map(|ended| ended.saturating_sub(self.found_at).max(0))
    }

    /// Seconds for which the key was exposed and in force.
    fn exposed_seconds(&self) -> Option<i64> {
        self.ended_at.map(|ended| ended.saturating_sub(self.exposed_since).max(0))
    }
}

/// The sum of uses.
fn sum(uses: &[Use]) -> Spent {
    uses.iter().fold(Spent::default(), |mut sum, used| {
        sum.add(used.calls, used.cost);
        sum
    })
}

/// Dollars without a sign, exactly.
fn dollars(amount: Nano) -> String {
    amount.to_string().trim_start_matches('$').to_owned()
}
