//! What a request says about its cost.
//!
//! Promises: one pass over the body, nothing is believed that only makes the request cheaper unless the upstream must
//! read it the same way; what is not understood counts as input that the gate cannot see, or makes the request
//! unbounded, never as nothing.
//!
//! Left out: prices and models ([`crate::bound`]); where the bytes come from.

mod form;
mod json;
mod parts;
#[cfg(test)]
mod tests;

use pricing::{Tier, Unit};
use wire::endpoint::Meter;

pub use form::FormReader;
pub use json::JsonReader;

use crate::image::{Detail, Size};

/// A cap as the request gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cap {
    /// None, or `null`.
    #[default]
    Absent,
    /// So many.
    Given(u64),
    /// Something that is no whole number: the upstream will refuse it, or read it as it likes.
    Odd,
}

impl Cap {
    /// The number, where there is one.
    pub fn given(self) -> Option<u64> {
        match self {
            Cap::Given(number) => Some(number),
            Cap::Absent | Cap::Odd => None,
        }
    }
}

/// The members that a request names for its output cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapMembers {
    /// The endpoint's own: `max_completion_tokens`, `max_output_tokens`, `max_tokens` of legacy completions.
    pub own: bool,
    /// `max_tokens` of a chat completion.
    pub old: bool,
}

/// The service tier that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TierAsked {
    /// Absent, `auto`, or a word that the gate does not know: any tier.
    #[default]
    Any,
    /// This one.
    Named(Tier),
}

/// An image in the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageIn {
    /// How closely the model is to look.
    pub detail: Detail,
    /// Its size, where its header is here and can be read.
    pub size: Option<Size>,
}

/// Images that are counted one by one. No model takes more, and each takes time to count.
pub const IMAGES_MAX: usize = 2_000;

/// Hosted tools that the request allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HostedTools {
    /// Web search.
    pub web_search: bool,
    /// Search in vector stores.
    pub file_search: bool,
    /// Containers.
    pub code_interpreter: bool,
}

impl HostedTools {
    /// Whether there is one.
    pub fn any(self) -> bool {
        self.web_search || self.file_search || self.code_interpreter
    }
}

/// How much context a web search brings, `search_context_size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Search {
    /// `low`
    Low,
    /// `medium`, the default.
    #[default]
    Medium,
    /// `high`
    High,
}

impl Search {
    /// The unit that it is billed by.
    pub const fn unit(self) -> Unit {
        match self {
            Search::Low => Unit::WebSearchLow,
            Search::Medium => Unit::WebSearchMedium,
            Search::High => Unit::WebSearchHigh,
        }
    }
}

/// Images that are to be made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImagesOut {
    /// `1024x1024`; `None` leaves it to the model.
    pub size: Option<String>,
    /// `low`, `hd`; `None` leaves it to the model.
    pub quality: Option<String>,
    /// Unfinished images that a stream shows on the way, for each image.
    pub partial_images: u64,
}

/// What a request says about its cost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asked {
    /// Bytes of the body that may become text tokens: all but those of media that are counted apart.
    pub text_bytes: u64,
    /// Messages, or items, which cost a few tokens of their own.
    pub messages: u64,
    /// Tools and functions, likewise.
    pub tools: u64,
    /// Images to be looked at, at most [`IMAGES_MAX`]; of more than that, each counts as any input may.
    pub images: Vec<ImageIn>,
    /// Milliseconds of sound to be heard, at most.
    pub audio_ms: u64,
    /// Whether every packet of that sound was walked.
    pub is_audio_exact: bool,
    /// Input that is not in the request: stored conversations, files, URLs; but for the one that it goes on from.
    pub has_hidden_input: bool,
    /// The response that this one goes on from, with all that was read and written before.
    pub previous_response: Option<String>,
    /// Why no bound can be given at all, in words for the refusal.
    pub unbounded: Option<String>,
    /// Whether a hosted tool may use models that the request does not name at its top.
    pub may_use_other_models: bool,
    /// Hosted tools.
    pub hosted: HostedTools,
    /// How much context web searches bring: the unit that they are billed by.
    pub search: Search,
    /// Calls of hosted tools.
    pub max_tool_calls: Cap,
    /// Output tokens, for each choice.
    pub output_cap: Cap,
    /// The members that say so, `null` or not: chat has an old name and a new one, and takes one of them at a time.
    pub cap_members: CapMembers,
    /// Choices.
    pub choices: Cap,
    /// Choices made to pick from.
    pub best_of: Cap,
    /// Prompts or inputs that each are read, and answered, apart: one where the request has no list of them.
    pub inputs: u64,
    /// Whether the answer may be spoken.
    pub speaks: bool,
    /// Bytes of a predicted output: rejected parts of it are billed as output.
    pub prediction_bytes: u64,
    /// Tier.
    pub tier: TierAsked,
    /// Whether the answer is to be a stream.
    pub streams: bool,
    /// `stream_options`, whatever is in there.
    pub has_stream_options: bool,
    /// `stream_options.include_usage`.
    pub includes_usage: bool,
    /// Whether the answer is made in the background.
    pub is_background: bool,
    /// Images to be made.
    pub images_out: ImagesOut,
    /// Characters to be spoken.
    pub characters: u64,
    /// `safety_identifier`, or else `user`.
    pub end_user: Option<String>,
}

impl Asked {
    /// A rough number of tokens, for rate limits: a quarter of the text's bytes, media by their rules, and the cap.
    pub fn tokens_estimated(&self, model: &str) -> u64 {
        let images =
            self.images.iter().map(|image| crate::image::tokens_max(model, image.detail, image.size)).sum::<u64>();
        let choices = self.choices.given().unwrap_or(1).max(1).saturating_mul(self.inputs.max(1));
        let output = self.output_cap.given().unwrap_or(0).saturating_mul(choices);
        (self.text_bytes / 4)
            .saturating_add(images)
            .saturating_add(crate::audio::audio_tokens_max(self.audio_ms))
            .saturating_add(output)
    }
}

/// Unfinished images that a stream shows at most, by the API document.
const PARTIAL_IMAGES_MAX: u64 = 3;

/// Unfinished images that a request asks for.
fn partial_images(asked: Cap) -> u64 {
    match asked {
        Cap::Absent => 0,
        Cap::Given(count) => count,
        Cap::Odd => PARTIAL_IMAGES_MAX,
    }
}

/// Whether a meter reads bodies: those of all others are not looked into.
pub fn reads(meter: Meter) -> bool {
    !matches!(meter, Meter::Nothing | Meter::Unbounded)
}
