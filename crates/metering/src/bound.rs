//! The most that a request may use of each unit.
//!
//! Promise: whatever the upstream can bill for a request that this bounds lies within the bound. Sources of each rule:
//! a token of text is at least a byte of the body that spells it (JSON escapes only lengthen); a message, a tool and the
//! request as a whole cost a few tokens of their own; a model cannot read more than its maximum input in one turn, nor
//! write more than the cap it was given.
//!
//! Left out: what that costs (`pricing`), and whether it may be spent (`ledger`).

use pricing::{Bound, ImageCount, ModelPrices, Tier, Unit};
use wire::endpoint::Meter;

use crate::request::{Asked, Cap, CapMembers, HostedTools, TierAsked};
use crate::{audio, image};

/// Tokens of a request as such: the reply's primer (3), instructions that the API puts around tools and formats. The
/// measured ones stay under 40.
pub const REQUEST_TOKENS: u64 = 64;
/// Tokens of a message beside its texts: 3 and a name's 1 by the published count; the role is in the body's bytes.
pub const MESSAGE_TOKENS: u64 = 8;
/// Tokens of a tool's or function's frame: 7 to 10, 12 at the end of all, by fit; the schema is in the bytes.
pub const TOOL_TOKENS: u64 = 32;
/// Calls of hosted tools that a request may make under a hard limit if it does not say itself: each turn may bill the
/// whole context again.
pub const TOOL_CALLS_DEFAULT: u64 = 8;
/// Output tokens of a legacy completion that sets no cap: the API's default.
const COMPLETION_TOKENS_DEFAULT: u64 = 16;
/// Output tokens that each unfinished image of a stream costs, by OpenAI's image guide.
const PARTIAL_IMAGE_TOKENS: u64 = 100;
/// Most images that an edit takes by reference, by the API document.
const EDIT_IMAGES_MAX: u64 = 16;
/// Tiers that a synchronous call can be served at.
const TIERS: [Tier; 5] = [Tier::Standard, Tier::Flex, Tier::Priority, Tier::Ultrafast, Tier::Scale];

/// A request's bound, and the caps that it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounded {
    /// The most of each unit.
    pub bound: Bound,
    /// Output tokens of each choice; the bound holds only if the upstream is told so.
    pub output_cap: Option<u64>,
    /// Calls of hosted tools; likewise.
    pub tool_calls: Option<u64>,
    /// Choices that are made.
    pub choices: u64,
}

/// Why a request has no bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoBound {
    /// Something in it costs what nobody can say.
    #[error("{0} has no bound")]
    Part(String),
    /// The model's maximum output is not known, and the request sets no cap.
    #[error("the model's maximum output is not known: set {0} in the request")]
    NoCap(&'static str),
    /// The model's maximum input is not known, and the request refers to input that is stored elsewhere.
    #[error("the request refers to stored input, and the model's maximum input is not known")]
    HiddenInput,
    /// The answer's length cannot be bounded.
    #[error("the length of what is spoken has no bound for this model")]
    Speech,
    /// The endpoint as a whole.
    #[error("calls of this endpoint have no bound")]
    Endpoint,
}

/// What is known beside the request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// Output tokens of a request that sets no cap: the project's default.
    pub output_tokens_default: Option<u64>,
    /// Tokens of the conversation that the request goes on from, as they were settled.
    pub earlier_tokens: Option<u64>,
    /// Tokens of the request's text, where they were counted; else its bytes stand for them.
    pub text_tokens: Option<u64>,
    /// The region whose host serves the request.
    pub region: Option<&'a str>,
}

/// The most that a request may use.
///
/// # Errors
/// When something about it has no bound.
pub fn bound(
    meter: Meter,
    asked: &Asked,
    model: &str,
    prices: &ModelPrices,
    known: &Known<'_>,
) -> Result<Bounded, NoBound> {
    if let Some(part) = &asked.unbounded {
        return Err(NoBound::Part(part.clone()));
    }
    if asked.is_background {
        return Err(NoBound::Part("a response made in the background".into()));
    }
    for (member, cap) in [("n", asked.choices), ("best_of", asked.best_of), ("max_tool_calls", asked.max_tool_calls)] {
        // One reader takes `4.0` for four, another for nothing.
        if cap == Cap::Odd {
            return Err(NoBound::Part(format!("`{member}`, which is no whole number,")));
        }
    }
    let tiers = match asked.tier {
        TierAsked::Named(tier) => vec![tier],
        TierAsked::Any => TIERS.to_vec(),
    };
    let bound = Bound { tiers, region: known.region.map(str::to_owned), ..Bound::default() };
    let request = Request { meter, asked, model, prices, known, bound };
    match meter {
        Meter::Chat | Meter::Responses | Meter::Completions => request.text(),
        Meter::Compactions => request.compaction(),
        Meter::Embeddings => request.input_only(),
        Meter::Moderations => Ok(request.done(None, None, 1)),
        Meter::Decisions => {
            let mut request = request;
            request.bound.tiers = vec![Tier::Decisions];
            request.input_only()
        }
        Meter::Images => Ok(request.images()),
        Meter::Speech => request.speech(),
        Meter::Transcriptions => Ok(request.transcription()),
        Meter::Nothing | Meter::Unbounded => Err(NoBound::Endpoint),
    }
}

struct Request<'a> {
    meter: Meter,
    asked: &'a Asked,
    model: &'a str,
    prices: &'a ModelPrices,
    known: &'a Known<'a>,
    bound: Bound,
}

impl Request<'_> {
    fn done(self, output_cap: Option<u64>, tool_calls: Option<u64>, choices: u64) -> Bounded {
        Bounded { bound: self.bound, output_cap, tool_calls, choices }
    }

    /// Whether a unit has a price at any tier of the bound.
    fn is_priced(&self, unit: Unit) -> bool {
        self.prices.tiers().any(|tier| self.prices.price(tier, unit, false).is_some())
    }

    /// Tokens of text and frames in the request.
    fn text_tokens(&self) -> u64 {
        let asked = self.asked;
        let text = self.known.text_tokens.unwrap_or(asked.text_bytes);
        text.saturating_add(REQUEST_TOKENS)
            .saturating_add(asked.messages.saturating_mul(MESSAGE_TOKENS))
            .saturating_add(asked.tools.saturating_mul(TOOL_TOKENS))
    }

    fn image_tokens(&self) -> u64 {
        let tokens = |image: &crate::request::ImageIn| image::tokens_max(self.model, image.detail, image.size);
        self.asked.images.iter().map(tokens).fold(0, u64::saturating_add)
    }

    /// Puts one turn's input into the bound; `None` where it has none.
    fn input(&mut self) -> Option<u64> {
        let (image, sound) = (self.image_tokens(), audio::audio_tokens_max(self.asked.audio_ms));
        let here = self.text_tokens().saturating_add(image).saturating_add(sound);
        let max_input = self.prices.max_input_tokens.or(self.prices.context_window_tokens).unwrap_or(u64::MAX);
        // Each of a list of inputs may fill the model.
        let max_input = max_input.saturating_mul(self.asked.inputs.max(1));
        let goes_on = self.asked.previous_response.is_some();
        let is_hidden = self.asked.has_hidden_input || goes_on;
        // Of a conversation that goes on it may be known what it was; of anything else that is hidden it is not.
        let earlier = if goes_on { self.known.earlier_tokens } else { Some(0) };
        let whole = match earlier.filter(|_| !self.asked.has_hidden_input) {
            Some(earlier) => here.saturating_add(earlier),
            None if max_input == u64::MAX => return None,
            None => max_input,
        };
        let input = whole.min(max_input);
        self.bound.input_tokens = input;
        self.bound.image_input_tokens = if is_hidden { input } else { image.min(input) };
        self.bound.audio_input_tokens = match is_hidden && self.is_priced(Unit::AudioInput) {
            true => input,
            false => sound.min(input),
        };
        if is_hidden && !self.is_priced(Unit::ImageInput) {
            self.bound.image_input_tokens = image.min(input);
        }
        Some(input)
    }

    fn input_only(mut self) -> Result<Bounded, NoBound> {
        self.input().ok_or(NoBound::HiddenInput)?;
        Ok(self.done(None, None, 1))
    }

    fn text(mut self) -> Result<Bounded, NoBound> {
        let asked = self.asked;
        let one_turn = self.input().ok_or(NoBound::HiddenInput)?;
        let default = match self.meter {
            Meter::Completions => Some(COMPLETION_TOKENS_DEFAULT),
            _ => self.known.output_tokens_default.or(self.prices.max_output_tokens),
        };
        let cap = match asked.output_cap {
            Cap::Given(cap) => cap,
            Cap::Absent => default.ok_or(NoBound::NoCap(cap_name(self.meter)))?,
            // The upstream refuses it; if one did not, it would not give more than its maximum.
            Cap::Odd => self.prices.max_output_tokens.ok_or(NoBound::NoCap(cap_name(self.meter)))?,
        };
        let choices = asked.choices.given().unwrap_or(1).max(asked.best_of.given().unwrap_or(1)).max(1);
        let choices = choices.saturating_mul(asked.inputs.max(1));
        let output = cap.saturating_add(asked.prediction_bytes).saturating_mul(choices);
        self.bound.text_output_tokens = output;
        if asked.speaks {
            self.bound.audio_output_tokens = output;
        }
        let tool_calls = self.hosted(one_turn)?;
        Ok(self.done(Some(cap), tool_calls, choices))
    }

    /// What the model can write at most: nothing in the request caps it.
    fn compaction(mut self) -> Result<Bounded, NoBound> {
        self.input().ok_or(NoBound::HiddenInput)?;
        let words = "a compaction by a model whose maximum output is not known";
        self.bound.text_output_tokens = self.prices.max_output_tokens.ok_or_else(|| NoBound::Part(words.into()))?;
        Ok(self.done(None, None, 1))
    }

    /// Hosted tools: each call is billed, and each turn bills the grown context again.
    fn hosted(&mut self, one_turn: u64) -> Result<Option<u64>, NoBound> {
        let searches = self.asked.hosted.web_search || searches_in_chat(self.meter, self.asked, self.model);
        let hosted = HostedTools { web_search: searches, ..self.asked.hosted };
        if !hosted.any() {
            return Ok(None);
        }
        let max_input =
            self.prices.max_input_tokens.or(self.prices.context_window_tokens).ok_or(NoBound::HiddenInput)?;
        // A chat completion searches once, before it answers.
        let calls = match self.meter {
            Meter::Responses => self.asked.max_tool_calls.given().unwrap_or(TOOL_CALLS_DEFAULT),
            _ => 1,
        };
        self.bound.input_tokens = max_input.saturating_mul(calls).saturating_add(one_turn);
        let each = |is_allowed: bool| if is_allowed { calls } else { 0 };
        self.bound.web_searches = each(hosted.web_search);
        self.bound.file_searches = each(hosted.file_search);
        self.bound.container_sessions = each(hosted.code_interpreter);
        Ok((self.meter == Meter::Responses).then_some(calls))
    }

    fn images(mut self) -> Bounded {
        let asked = self.asked;
        let count = asked.choices.given().unwrap_or(1).max(1);
        let or_auto = |word: &Option<String>| word.clone().unwrap_or_else(|| "auto".to_owned());
        let (quality, size) = (or_auto(&asked.images_out.quality), or_auto(&asked.images_out.size));
        self.bound.images = vec![ImageCount { quality, size, count }];
        if self.is_priced(Unit::ImageOutput) {
            self.bound.image_output_tokens =
                asked.images_out.partial_images.saturating_mul(PARTIAL_IMAGE_TOKENS).saturating_mul(count);
        }
        if self.is_priced(Unit::TextInput) {
            let hidden = match asked.has_hidden_input {
                true => image::tokens_max(self.model, image::Detail::Auto, None).saturating_mul(EDIT_IMAGES_MAX),
                false => 0,
            };
            let image = self.image_tokens().saturating_add(hidden);
            self.bound.image_input_tokens = image;
            self.bound.input_tokens = self.text_tokens().saturating_add(image);
        }
        self.done(None, None, count)
    }

    fn speech(mut self) -> Result<Bounded, NoBound> {
        if !self.is_priced(Unit::Characters) {
            return Err(NoBound::Speech);
        }
        self.bound.characters = self.asked.characters;
        Ok(self.done(None, None, 1))
    }

    /// Long recordings are cut into pieces of which each is read and written apart, so the maxima of one call do not
    /// bound them; the sound does: nobody speaks faster than a token in 50 ms.
    fn transcription(mut self) -> Bounded {
        if self.is_priced(Unit::AudioMilliseconds) {
            // Billed by whole seconds.
            self.bound.audio_ms = self.asked.audio_ms.div_ceil(1_000).saturating_mul(1_000);
        } else {
            let sound = audio::audio_tokens_max(self.asked.audio_ms);
            self.bound.audio_input_tokens = sound;
            self.bound.input_tokens = self.text_tokens().saturating_add(sound);
            self.bound.text_output_tokens = sound.max(self.prices.max_output_tokens.unwrap_or(0));
        }
        self.done(None, None, 1)
    }
}

/// Whether a chat completion searches the web, once, before it answers: because it asks to, or because its model always
/// does. No usage reports it.
pub fn searches_in_chat(meter: Meter, asked: &Asked, model: &str) -> bool {
    meter == Meter::Chat && (asked.hosted.web_search || model.contains("-search"))
}

/// The members to set for another cap: the one that the request names, or the endpoint's own.
pub fn cap_names(meter: Meter, asked: &Asked) -> impl Iterator<Item = &'static str> {
    let CapMembers { own, old } = asked.cap_members;
    let names = [(own || !old, cap_name(meter)), (old, "max_tokens")];
    names.into_iter().filter_map(|(is_named, name)| is_named.then_some(name))
}

/// The member that caps the output of an endpoint.
pub const fn cap_name(meter: Meter) -> &'static str {
    match meter {
        Meter::Responses => "max_output_tokens",
        Meter::Completions => "max_tokens",
        _ => "max_completion_tokens",
    }
}

/// Models that bill no output but what they show, by their families' names. Source: OpenAI's model pages; models that
/// reason, and all that are not known, may bill more.
const OPEN: [&str; 7] = ["gpt-3.5", "gpt-4", "gpt-4o", "gpt-4.1", "gpt-4-turbo", "davinci-002", "babbage-002"];

/// Whether a model may bill output that it does not show.
pub fn hides_output(model: &str) -> bool {
    let model = model.strip_prefix("ft:").unwrap_or(model);
    let is_of =
        |name: &str| model.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', ':']));
    !OPEN.iter().any(|name| is_of(name)) || model.contains("search") || model.contains("audio")
}

#[cfg(test)]
mod tests;
