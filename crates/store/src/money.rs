//! What a project says about money and pace beside its limits.

use std::collections::BTreeMap;

use pricing::Nano;
use rates::Limits;

/// What happens upstream when a client leaves in the middle of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Abandoned {
    /// The answer is read to its end, within a cap of time and money, so that its usage is known.
    #[default]
    ReadOn,
    /// The upstream call is cut; its full hold stays charged as an estimate.
    Cancel,
}

impl Abandoned {
    /// The word in columns and the API.
    pub const fn word(self) -> &'static str {
        match self {
            Abandoned::ReadOn => "read_on",
            Abandoned::Cancel => "cancel",
        }
    }

    /// The policy with this name.
    pub fn from_word(word: &str) -> Option<Abandoned> {
        [Abandoned::ReadOn, Abandoned::Cancel].into_iter().find(|policy| policy.word() == word)
    }
}

/// A project's settings about money.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MoneySettings {
    /// Output tokens that a request without a cap of its own gets; `None`: the model's maximum.
    pub output_tokens_default: Option<u64>,
    /// What happens when a client leaves.
    pub abandoned: Abandoned,
    /// Endpoints that bill and cannot be bounded, by path template, each allowed under a hard limit for an amount that
    /// the operator answers for.
    pub allowances: BTreeMap<String, Nano>,
}

/// The name under which a project's limits over all models stand beside those of single models.
pub const ALL_MODELS: &str = "*";

/// A project's rate limits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProjectRates {
    /// By the model's name; [`ALL_MODELS`] for all together.
    pub by_model: BTreeMap<String, Limits>,
    /// For each of the project's end users.
    pub end_user: Limits,
}

/// The operator's prices of a model, as given through the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceOverride {
    /// The model.
    pub model: String,
    /// A file of overrides for this model alone ([`pricing::Override::from_toml`]).
    pub toml: String,
}
