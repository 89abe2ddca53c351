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
use crate::incident::Incident;
use crate::profile::{Profile, Spent, Use};
use crate::proposal::Proposal;

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
pub struct Report {
    /// The incident.
    pub incident: Incident,
    /// The provider's side.
    pub upstream: Upstream,
    /// What the key did.
    pub evidence: Evidence,
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
