//! What was used and what it cost: one row a settled request.

use pricing::{Nano, Quantities, Tier};

use crate::records::{KeyId, ProjectId};

/// Which of the API's usage reports a row belongs to: the last part of `/v1/organization/usage/…`. Calls of hosted
/// tools are not rows of their own; their reports are made from the quantities of the rows that made them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UsageKind {
    /// Chat completions, responses, legacy completions, and whatever else samples text.
    Completions,
    /// Embeddings.
    Embeddings,
    /// Moderations; free.
    Moderations,
    /// Images made, edited, varied.
    Images,
    /// Speech.
    AudioSpeeches,
    /// Transcriptions and translations.
    AudioTranscriptions,
    /// Decisions.
    Decisions,
    /// Vector stores: storage and searches.
    VectorStores,
    /// Sessions of containers made by a call of their own.
    CodeInterpreterSessions,
    /// Videos, training, and what else is billed and has no report of its own in the API: in the costs only.
    Other,
}

impl UsageKind {
    /// All.
    pub const ALL: [UsageKind; 10] = [
        UsageKind::Completions,
        UsageKind::Embeddings,
        UsageKind::Moderations,
        UsageKind::Images,
        UsageKind::AudioSpeeches,
        UsageKind::AudioTranscriptions,
        UsageKind::Decisions,
        UsageKind::VectorStores,
        UsageKind::CodeInterpreterSessions,
        UsageKind::Other,
    ];

    /// The report's name in paths and columns.
    pub const fn word(self) -> &'static str {
        match self {
            UsageKind::Completions => "completions",
            UsageKind::Embeddings => "embeddings",
            UsageKind::Moderations => "moderations",
            UsageKind::Images => "images",
            UsageKind::AudioSpeeches => "audio_speeches",
            UsageKind::AudioTranscriptions => "audio_transcriptions",
            UsageKind::Decisions => "decisions",
            UsageKind::VectorStores => "vector_stores",
            UsageKind::CodeInterpreterSessions => "code_interpreter_sessions",
            UsageKind::Other => "other",
        }
    }

    /// The kind with this name.
    pub fn from_word(word: &str) -> Option<UsageKind> {
        UsageKind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// How sure a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Certainty {
    /// The upstream said what was used, and it has a price.
    Settled,
    /// The stream broke, or the process died: charged at the full hold until a later fact lowers it.
    Estimated,
    /// Something of it has no price: `cost` leaves that part out.
    Unpriced,
}

impl Certainty {
    /// The word in columns and the API.
    pub const fn word(self) -> &'static str {
        match self {
            Certainty::Settled => "settled",
            Certainty::Estimated => "estimated",
            Certainty::Unpriced => "unpriced",
        }
    }

    /// The certainty with this name.
    pub fn from_word(word: &str) -> Option<Certainty> {
        [Certainty::Settled, Certainty::Estimated, Certainty::Unpriced]
            .into_iter()
            .find(|certainty| certainty.word() == word)
    }
}

/// One line of a row's bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CostLine {
    /// Model and unit, as the costs report names them: `gpt-5.4, text_input`.
    pub item: String,
    /// How many units; 0 for the full hold of an estimated row.
    pub quantity: u64,
    /// What they cost.
    pub amount: Nano,
}

/// One settled request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// The request's id. A row that is sent again changes nothing: a request settles once.
    pub id: String,
    /// When its hold began, Unix seconds: decides the period, the bucket and the price.
    pub began_at: i64,
    /// When it ended, Unix seconds.
    pub settled_at: i64,
    /// Project.
    pub project: ProjectId,
    /// Key.
    pub key: KeyId,
    /// `safety_identifier` or `user` of the request, under a keyed hash.
    pub end_user: Option<String>,
    /// Run of an agent.
    pub run: Option<String>,
    /// Tag.
    pub tag: Option<String>,
    /// Which report it belongs to.
    pub kind: UsageKind,
    /// Path template of the endpoint.
    pub endpoint: &'static str,
    /// Model, as priced.
    pub model: String,
    /// Tier that decided the price.
    pub tier: Tier,
    /// Images made.
    pub images: u64,
    /// How much was used.
    pub quantities: Quantities,
    /// What it cost: the sum of the lines.
    pub cost: Nano,
    /// The bill.
    pub lines: Vec<CostLine>,
    /// How sure that is.
    pub certainty: Certainty,
}
