//! The units that the API bills by, and how much of each a call used.

/// A unit of billing with a price of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Unit {
    /// Text tokens in, neither read from nor written to the cache.
    TextInput,
    /// Text tokens read from the prompt cache.
    TextCachedInput,
    /// Text tokens written to the prompt cache for 30 minutes.
    TextCacheWrite30m,
    /// Text tokens written to the prompt cache for 12 hours.
    TextCacheWrite12h,
    /// Text tokens out, reasoning included.
    TextOutput,
    /// Audio tokens in.
    AudioInput,
    /// Audio tokens read from the cache.
    AudioCachedInput,
    /// Audio tokens written to the cache.
    AudioCacheWrite,
    /// Audio tokens out.
    AudioOutput,
    /// Image tokens in.
    ImageInput,
    /// Image tokens read from the cache.
    ImageCachedInput,
    /// Image tokens out.
    ImageOutput,
    /// Milliseconds of audio transcribed or translated.
    AudioMilliseconds,
    /// Characters (Unicode scalars) spoken.
    Characters,
    /// Milliseconds of video.
    VideoMilliseconds,
    /// Web searches with little context.
    WebSearchLow,
    /// Web searches with medium context, the default.
    WebSearchMedium,
    /// Web searches with much context.
    WebSearchHigh,
    /// Searches in vector stores.
    FileSearch,
    /// Container sessions (code interpreter, hosted shell).
    ContainerSession,
}

impl Unit {
    /// How many there are.
    pub const COUNT: usize = 20;

    /// All, in the order of their numbers.
    pub const ALL: [Unit; Unit::COUNT] = [
        Unit::TextInput,
        Unit::TextCachedInput,
        Unit::TextCacheWrite30m,
        Unit::TextCacheWrite12h,
        Unit::TextOutput,
        Unit::AudioInput,
        Unit::AudioCachedInput,
        Unit::AudioCacheWrite,
        Unit::AudioOutput,
        Unit::ImageInput,
        Unit::ImageCachedInput,
        Unit::ImageOutput,
        Unit::AudioMilliseconds,
        Unit::Characters,
        Unit::VideoMilliseconds,
        Unit::WebSearchLow,
        Unit::WebSearchMedium,
        Unit::WebSearchHigh,
        Unit::FileSearch,
        Unit::ContainerSession,
    ];

    /// The unit's name in files, columns and the API.
    pub const fn word(self) -> &'static str {
        match self {
            Unit::TextInput => "text_input",
            Unit::TextCachedInput => "text_cached_input",
            Unit::TextCacheWrite30m => "text_cache_write_30m",
            Unit::TextCacheWrite12h => "text_cache_write_12h",
            Unit::TextOutput => "text_output",
            Unit::AudioInput => "audio_input",
            Unit::AudioCachedInput => "audio_cached_input",
            Unit::AudioCacheWrite => "audio_cache_write",
            Unit::AudioOutput => "audio_output",
            Unit::ImageInput => "image_input",
            Unit::ImageCachedInput => "image_cached_input",
            Unit::ImageOutput => "image_output",
            Unit::AudioMilliseconds => "audio_ms",
            Unit::Characters => "characters",
            Unit::VideoMilliseconds => "video_ms",
            Unit::WebSearchLow => "web_search_low",
            Unit::WebSearchMedium => "web_search_medium",
            Unit::WebSearchHigh => "web_search_high",
            Unit::FileSearch => "file_search",
            Unit::ContainerSession => "container_session",
        }
    }

    /// How many of the unit a price is for. Milliseconds are too short for whole pico-dollars (a minute at 0.017 dollar
    /// is 283,333⅓ a millisecond), so audio is priced a minute and video a second; all else is priced by the piece.
    pub const fn priced_by(self) -> u64 {
        match self {
            Unit::AudioMilliseconds => 60_000,
            Unit::VideoMilliseconds => 1_000,
            _ => 1,
        }
    }

    /// How many prices the dollars of a price list are for: a million tokens or characters, a thousand searches, one
    /// minute, second or session.
    pub const fn listed_by(self) -> u64 {
        match self {
            Unit::AudioMilliseconds | Unit::VideoMilliseconds | Unit::ContainerSession => 1,
            Unit::WebSearchLow | Unit::WebSearchMedium | Unit::WebSearchHigh | Unit::FileSearch => 1_000,
            _ => 1_000_000,
        }
    }

    /// Whether it counts tokens: the units that a long-context price list names.
    pub const fn is_token(self) -> bool {
        (self as u8) <= Unit::ImageOutput as u8
    }

    /// Whether it counts calls of a hosted tool, which cost the same at every tier.
    pub const fn is_call(self) -> bool {
        (self as u8) >= Unit::WebSearchLow as u8
    }

    /// The unit of plain input of the same kind, where this is a unit of input tokens; itself for plain input.
    pub const fn plain_input(self) -> Option<Unit> {
        match self {
            Unit::TextInput | Unit::TextCachedInput | Unit::TextCacheWrite30m | Unit::TextCacheWrite12h => {
                Some(Unit::TextInput)
            }
            Unit::AudioInput | Unit::AudioCachedInput | Unit::AudioCacheWrite => Some(Unit::AudioInput),
            Unit::ImageInput | Unit::ImageCachedInput => Some(Unit::ImageInput),
            _ => None,
        }
    }

    /// The unit with this name.
    pub fn from_word(word: &str) -> Option<Unit> {
        Unit::ALL.into_iter().find(|unit| unit.word() == word)
    }
}

/// A service tier. The answer's decides the price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum Tier {
    /// `default`.
    #[default]
    Standard,
    /// The batch API.
    Batch,
    /// `flex`.
    Flex,
    /// `priority`, also called `fast`.
    Priority,
    /// `ultrafast`.
    Ultrafast,
    /// `scale`: reserved capacity; no price is listed.
    Scale,
    /// The decisions endpoint: a price list of its own.
    Decisions,
}

impl Tier {
    /// All, in the order of their numbers.
    pub const ALL: [Tier; 7] =
        [Tier::Standard, Tier::Batch, Tier::Flex, Tier::Priority, Tier::Ultrafast, Tier::Scale, Tier::Decisions];

    /// The tier's name in files, columns and prices.
    pub const fn word(self) -> &'static str {
        match self {
            Tier::Standard => "standard",
            Tier::Batch => "batch",
            Tier::Flex => "flex",
            Tier::Priority => "priority",
            Tier::Ultrafast => "ultrafast",
            Tier::Scale => "scale",
            Tier::Decisions => "decisions",
        }
    }

    /// The tier with this name.
    pub fn from_word(word: &str) -> Option<Tier> {
        Tier::ALL.into_iter().find(|tier| tier.word() == word)
    }

    /// The tier that a `service_tier` of an answer, or of a request, names; `None` for `auto` and unknown words.
    pub fn from_service_tier(word: &str) -> Option<Tier> {
        match word {
            "default" | "standard" => Some(Tier::Standard),
            "flex" => Some(Tier::Flex),
            "priority" | "fast" => Some(Tier::Priority),
            "ultrafast" => Some(Tier::Ultrafast),
            "scale" => Some(Tier::Scale),
            _ => None,
        }
    }
}

/// Images of one quality and size, where a model is billed by the image.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageCount {
    /// `standard`, `hd`, `low`, `medium`, `high`.
    pub quality: String,
    /// `1024x1024`.
    pub size: String,
    /// How many.
    pub count: u64,
}

/// How much of each unit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quantities {
    units: [u64; Unit::COUNT],
    /// Images billed by the image.
    pub images: Vec<ImageCount>,
}

impl Quantities {
    /// How much of a unit.
    pub fn of(&self, unit: Unit) -> u64 {
        self.units[unit as usize]
    }

    /// Sets how much of a unit.
    pub fn set(&mut self, unit: Unit, quantity: u64) {
        self.units[unit as usize] = quantity;
    }

    /// Adds to a unit; sums saturate.
    pub fn add(&mut self, unit: Unit, quantity: u64) {
        let sum = &mut self.units[unit as usize];
        *sum = sum.saturating_add(quantity);
    }

    /// The units of which there is something.
    pub fn some(&self) -> impl Iterator<Item = (Unit, u64)> + '_ {
        Unit::ALL.into_iter().map(|unit| (unit, self.of(unit))).filter(|(_, quantity)| *quantity > 0)
    }

    /// Tokens in, of every kind, cached and cache-written ones included.
    pub fn input_tokens(&self) -> u64 {
        Unit::ALL[..=Unit::ImageCachedInput as usize]
            .iter()
            .filter(|unit| !matches!(unit, Unit::TextOutput | Unit::AudioOutput))
            .fold(0, |sum, unit| sum.saturating_add(self.of(*unit)))
    }

    /// Tokens out, of every kind.
    pub fn output_tokens(&self) -> u64 {
        [Unit::TextOutput, Unit::AudioOutput, Unit::ImageOutput]
            .iter()
            .fold(0, |sum, unit| sum.saturating_add(self.of(*unit)))
    }

    /// Whether there is nothing of anything.
    pub fn is_empty(&self) -> bool {
        self.units.iter().all(|quantity| *quantity == 0) && self.images.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_numbered_in_order_and_named_apart() {
        for (number, unit) in Unit::ALL.into_iter().enumerate() {
            assert_eq!(unit as usize, number);
            assert_eq!(Unit::from_word(unit.word()), Some(unit));
        }
    }

    #[test]
    fn input_and_output_tokens_add_up() {
        let mut quantities = Quantities::default();
        for unit in Unit::ALL {
            quantities.set(unit, 1);
        }
        assert_eq!((quantities.input_tokens(), quantities.output_tokens()), (9, 3));
    }
}
