//! A model's prices: what is listed, and what follows from it for each tier below and above the long-context step.
//!
//! A bill and a worst case look prices up by index; every rule about a price that is not listed is applied once, here,
//! when the table is built ([`ModelPrices::prepare`]).

use crate::{Pico, Tier, Unit};

/// A price for each unit, where there is one.
pub(crate) type UnitPrices = [Option<Pico>; Unit::COUNT];

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Modality {
    /// Text out; also vision and audio in chat.
    #[default]
    Text,
    /// Images out.
    Image,
    /// Speech to speech, live.
    Realtime,
    /// Transcription and translation.
    SpeechToText,
    /// Speech.
    TextToSpeech,
    /// Embeddings.
    Embedding,
    /// Videos out.
    Video,
    /// Moderation.
    Moderation,
}

impl Modality {
    /// All.
    pub const ALL: [Modality; 8] = [
        Modality::Text,
        Modality::Image,
        Modality::Realtime,
        Modality::SpeechToText,
        Modality::TextToSpeech,
        Modality::Embedding,
        Modality::Video,
        Modality::Moderation,
    ];

    /// The name in files and the API.
    pub const fn word(self) -> &'static str {
        match self {
            Modality::Text => "text",
            Modality::Image => "image",
            Modality::Realtime => "realtime",
            Modality::SpeechToText => "speech_to_text",
            Modality::TextToSpeech => "text_to_speech",
            Modality::Embedding => "embedding",
            Modality::Video => "video",
            Modality::Moderation => "moderation",
        }
    }

    /// The modality with this name.
    pub fn from_word(word: &str) -> Option<Modality> {
        Modality::ALL.into_iter().find(|modality| modality.word() == word)
    }
}

/// Where a model's prices come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Source {
    /// The list that is part of the program.
    #[default]
    Shipped,
    /// The operator, wholly or in part.
    Override,
    /// Made up for the embedded model: nobody is charged ([`crate::demo`]).
    Demo,
}

/// What an image costs, where images are billed, or their cost is published, by the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePrice {
    /// The tier.
    pub tier: Tier,
    /// `standard`, `hd`, `low`, `medium`, `high`.
    pub quality: String,
    /// `1024x1024`.
    pub size: String,
    /// Pico-dollars an image.
    pub price: Pico,
    /// The model is billed by tokens and this is the published equivalent, which is rounded: up to 2 % below what the
    /// tokens cost. A worst case takes [`EQUIVALENT_MARGIN_PER_MILLE`] more.
    pub equivalent: bool,
}

/// What a worst case adds to an equivalent price: 5 %. The largest difference between a published equivalent and the
/// tokens of that quality and size (408 tokens at $40 a million for a low 1024x1536 of gpt-image-1, listed as $0.016)
/// is 2 %.
pub const EQUIVALENT_MARGIN_PER_MILLE: u32 = 1_050;

/// What is listed for a tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedTier {
    pub(crate) tier: Tier,
    pub(crate) short: UnitPrices,
    /// Above the long-context step. Empty where the list has none for this tier.
    pub(crate) long: UnitPrices,
}

/// What applies at a tier, every rule for missing prices applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TierPrices {
    pub(crate) tier: Tier,
    pub(crate) short: UnitPrices,
    pub(crate) long: UnitPrices,
}

/// A model and what it costs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelPrices {
    /// The name under which it is listed.
    pub name: String,
    /// What it is for.
    pub modality: Modality,
    /// Tokens in and out together.
    pub context_window_tokens: Option<u64>,
    /// Tokens in.
    pub max_input_tokens: Option<u64>,
    /// Tokens out.
    pub max_output_tokens: Option<u64>,
    /// The day after which the API may refuse it, `YYYY-MM-DD`.
    pub deprecation_date: Option<String>,
    /// The API has removed it.
    pub retired: bool,
    /// Where the prices come from.
    pub source: Source,
    /// Input tokens above which the long-context prices apply, to the whole request.
    pub long_context_above: Option<u64>,
    /// Prices by the image.
    pub images: Vec<ImagePrice>,
    /// Multipliers in per mille for requests that a region's host serves.
    pub regions: Vec<(String, u32)>,
    /// As listed, in the order of [`Tier`]'s numbers.
    pub(crate) listed: Vec<ListedTier>,
    /// Calls of hosted tools, as listed for this model: the same at every tier.
    pub(crate) calls: UnitPrices,
    /// What follows from it all, in the order of [`Tier`]'s numbers.
    pub(crate) prepared: Vec<TierPrices>,
}

impl ModelPrices {
    /// The tiers that have prices.
    pub fn tiers(&self) -> impl Iterator<Item = Tier> + '_ {
        self.prepared.iter().map(|prices| prices.tier)
    }

    /// What a unit costs ([`Unit::priced_by`] of it) at a tier, below or above the long-context step.
    pub fn price(&self, tier: Tier, unit: Unit, long_context: bool) -> Option<Pico> {
        self.at(tier, long_context).and_then(|prices| prices[unit as usize])
    }

    /// What the price list itself says, without the rules for what it does not say.
    pub fn listed_price(&self, tier: Tier, unit: Unit, long_context: bool) -> Option<Pico> {
        if unit.is_call() {
            return self.calls[unit as usize];
        }
        let listed = self.listed.iter().find(|listed| listed.tier == tier)?;
        if long_context { listed.long[unit as usize] } else { listed.short[unit as usize] }
    }

    /// What an image costs at a tier.
    pub fn image_price(&self, tier: Tier, quality: &str, size: &str) -> Option<&ImagePrice> {
        self.images.iter().find(|image| image.tier == tier && image.quality == quality && image.size == size)
    }

    /// What the whole request is multiplied by, in per mille. A region that the list does not name costs what the
    /// dearest does that it names.
    pub fn multiplier_per_mille(&self, region: Option<&str>) -> u32 {
        let Some(region) = region else { return 1_000 };
        let named = self.regions.iter().find(|(name, _)| name == region);
        named.or_else(|| self.regions.iter().max_by_key(|(_, per_mille)| per_mille)).map_or(1_000, |(_, m)| *m)
    }

    pub(crate) fn at(&self, tier: Tier, long_context: bool) -> Option<&UnitPrices> {
        let prices = self.prepared.iter().find(|prices| prices.tier == tier)?;
        Some(if long_context { &prices.long } else { &prices.short })
    }

    pub(crate) fn listed_tier(&mut self, tier: Tier) -> &mut ListedTier {
        let place = self.listed.partition_point(|listed| listed.tier < tier);
        if self.listed.get(place).is_none_or(|listed| listed.tier != tier) {
            self.listed.insert(place, ListedTier { tier, short: [None; Unit::COUNT], long: [None; Unit::COUNT] });
        }
        &mut self.listed[place]
    }

    /// Works out what applies at each tier. `tools` are the prices of calls that hold for every model; the model's own
    /// go before them.
    pub(crate) fn prepare(&mut self, tools: &UnitPrices) {
        for tier in self.images.iter().map(|image| image.tier).collect::<Vec<_>>() {
            self.listed_tier(tier);
        }
        let mut calls = *tools;
        overlay(&mut calls, &self.calls);
        let lists = |unit: Unit| self.listed.iter().any(|tier| tier.short[unit as usize].is_some());
        let rules = Missing {
            image_is_text: self.modality == Modality::Text && !lists(Unit::ImageInput),
            text_write_is_input: !lists(Unit::TextCacheWrite30m) && !lists(Unit::TextCacheWrite12h),
            audio_write_is_input: !lists(Unit::AudioCacheWrite),
        };
        let standard = self.listed.iter().find(|tier| tier.tier == Tier::Standard);
        let standard_long = standard.map(|tier| rules.long(tier, None));
        self.prepared = self
            .listed
            .iter()
            .map(|listed| {
                let mut short = rules.filled(&listed.short);
                let mut long = rules.long(listed, standard_long.as_ref());
                overlay(&mut short, &calls);
                overlay(&mut long, &calls);
                TierPrices { tier: listed.tier, short, long }
            })
            .collect();
    }
}

/// What a model's list as a whole says about units that a tier does not list.
struct Missing {
    /// No image input is listed: a chat model bills image tokens as input text, which they are part of.
    image_is_text: bool,
    /// No write to the cache is listed at any tier: writing is not charged apart, and the tokens are plain input. Where
    /// some write is listed, one that is not has no price (writes cost more than plain input, so it is no safe
    /// stand-in).
    text_write_is_input: bool,
    /// The same for audio.
    audio_write_is_input: bool,
}

impl Missing {
    /// A list with what stands in for the prices that it leaves out.
    fn filled(&self, listed: &UnitPrices) -> UnitPrices {
        let mut prices = *listed;
        let mut stand_in = |unit: Unit, other: Unit| {
            prices[unit as usize] = prices[unit as usize].or(prices[other as usize]);
        };
        // Tokens read from the cache cost at most what plain input does.
        stand_in(Unit::TextCachedInput, Unit::TextInput);
        stand_in(Unit::AudioCachedInput, Unit::AudioInput);
        if self.image_is_text {
            stand_in(Unit::ImageInput, Unit::TextInput);
            stand_in(Unit::ImageCachedInput, Unit::TextCachedInput);
        }
        stand_in(Unit::ImageCachedInput, Unit::ImageInput);
        if self.text_write_is_input {
            stand_in(Unit::TextCacheWrite30m, Unit::TextInput);
            stand_in(Unit::TextCacheWrite12h, Unit::TextInput);
        }
        if self.audio_write_is_input {
            stand_in(Unit::AudioCacheWrite, Unit::AudioInput);
        }
        prices
    }

    /// The prices of a tier above the long-context step.
    ///
    /// What the tier's long set lists, holds. A unit that it leaves out costs the dearest of what could be meant: the
    /// tier's own price below the step, plain input above it, and, where the tier has no long set at all, the standard
    /// tier's long price (for some tiers no long set is published, and it is not said which price they then take).
    fn long(&self, listed: &ListedTier, standard_long: Option<&UnitPrices>) -> UnitPrices {
        let (short, set) = (self.filled(&listed.short), self.filled(&listed.long));
        let standard_long = standard_long.filter(|_| listed.long.iter().all(Option::is_none));
        let mut prices = [None; Unit::COUNT];
        for unit in Unit::ALL {
            let at = unit as usize;
            let plain = unit.plain_input().and_then(|plain| set[plain as usize]);
            let standard = standard_long.filter(|_| unit.is_token()).and_then(|set| set[at]);
            // Another tier's price, or plain input's, only raises one that there is: it makes none.
            prices[at] = listed.long[at].or_else(|| {
                let own = short[at].max(set[at])?;
                [Some(own), plain, standard].into_iter().flatten().max()
            });
        }
        prices
    }
}

/// Puts what `over` has in the place of what `under` has.
pub(crate) fn overlay(under: &mut UnitPrices, over: &UnitPrices) {
    for (under, over) in under.iter_mut().zip(over) {
        *under = over.or(*under);
    }
}
