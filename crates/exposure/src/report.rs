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
use crate::profile::Profile;
use crate::proposal::Proposal;
use crate::provider::{Charged, Counted, Whose};

/// What the provider's own usage says of the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// It was read.
    Read(ProviderUsage),
    /// It was not.
    NotRead {
        /// The provider's ids of the keys that the gate sends, where they are known.
        key_ids: Vec<String>,
        /// Why, and what would mend it: a sentence.
        why: String,
    },
}

/// What the provider counts and charges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderUsage {
    /// Whose it is.
    pub whose: Whose,
    /// Requests by hour or day and model.
    pub counted: Vec<Counted>,
    /// Costs by whole days: the first has what was before the exposure too.
    pub charged: Vec<Charged>,
    /// Whether that is all; more pages were there than are read, otherwise.
    pub is_whole: bool,
}

impl ProviderUsage {
    fn calls(&self) -> u64 {
        self.counted.iter().map(|row| row.calls).fold(0, u64::saturating_add)
    }

    fn cost(&self) -> Nano {
        self.charged.iter().map(|row| row.cost).sum()
    }
}

impl Upstream {
    fn key_ids(&self) -> &[String] {
        match self {
            Upstream::Read(usage) => &usage.whose.key_ids,
            Upstream::NotRead { key_ids, .. } => key_ids,
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

/// Dollars without a sign, exactly.
fn dollars(amount: Nano) -> String {
    amount.to_string().trim_start_matches('$').to_owned()
}
