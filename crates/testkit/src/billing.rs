//! What the upstream bills: its own account of every call, kept whether or not the caller learns of it.
//!
//! A bill is drawn up before the first byte of an answer and closed when the answer ends, however it ends: the prompt
//! in any case, and of the output what was generated, which a caller that left or a stream that broke never sees.
//! Nothing here knows prices, and nothing here comes from what the caller believes.

use std::collections::BTreeMap;

use serde::Serialize;

/// Most bills kept one by one; the sums go on beyond it. At some 500 bytes each, 50 MB.
const BILLS_MAX: usize = 100_000;
/// Most pairs of model and tier summed apart; further ones are summed under `(others)`.
const SUMS_MAX: usize = 1_000;

/// The words of the units of billing.
pub(crate) mod unit {
    pub(crate) const TEXT_INPUT: &str = "text_input";
    pub(crate) const TEXT_CACHED_INPUT: &str = "text_cached_input";
    pub(crate) const TEXT_CACHE_WRITE_30M: &str = "text_cache_write_30m";
    pub(crate) const TEXT_CACHE_WRITE_12H: &str = "text_cache_write_12h";
    pub(crate) const TEXT_OUTPUT: &str = "text_output";
    pub(crate) const AUDIO_INPUT: &str = "audio_input";
    pub(crate) const AUDIO_OUTPUT: &str = "audio_output";
    pub(crate) const IMAGE_INPUT: &str = "image_input";
    pub(crate) const IMAGE_OUTPUT: &str = "image_output";
    pub(crate) const AUDIO_MS: &str = "audio_ms";
    pub(crate) const CHARACTERS: &str = "characters";
    pub(crate) const VIDEO_MS: &str = "video_ms";
    pub(crate) const WEB_SEARCH_LOW: &str = "web_search_low";
    pub(crate) const WEB_SEARCH_MEDIUM: &str = "web_search_medium";
    pub(crate) const WEB_SEARCH_HIGH: &str = "web_search_high";
    pub(crate) const FILE_SEARCH: &str = "file_search";
    pub(crate) const CONTAINER_SESSION: &str = "container_session";
}

/// How much of each unit, by the unit's word; nothing is listed as zero.
pub type Quantities = BTreeMap<&'static str, u64>;

/// Images of one quality and size, billed by the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Images {
    /// `standard`, `hd`, `low`, `medium`, `high`.
    pub quality: String,
    /// `1024x1024`.
    pub size: String,
    /// How many.
    pub count: u64,
}

/// What one call was billed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Billed {
    /// Number of the request, from 0; its `x-request-id` ends in it.
    pub number: u64,
    /// Path.
    pub path: String,
    /// Model that answered.
    pub model: String,
    /// Service tier that it was served at: `default`, `flex`, `priority`, `decisions`, …
    pub tier: String,
    /// Quantities by unit.
    pub quantities: Quantities,
    /// Images billed by the image.
    pub images: Vec<Images>,
    /// Whether the whole answer was written.
    pub complete: bool,
}

/// What the calls to one model at one tier were billed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// Model.
    pub model: String,
    /// Service tier.
    pub tier: String,
    /// Calls.
    pub requests: u64,
    /// Calls whose answer was not written whole.
    pub incomplete: u64,
    /// Quantities by unit.
    pub quantities: Quantities,
    /// Images billed by the image.
    pub images: Vec<Images>,
}

/// Everything billed so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Billing {
    /// Calls billed.
    pub requests: u64,
    /// Calls under way, which will be billed.
    pub open: u64,
    /// Calls that are in the sums, but not in the list.
    pub unlisted: u64,
    /// Sums by model and tier.
    pub sums: Vec<Sum>,
    /// Calls one by one, in the order in which they ended.
    pub billed: Vec<Billed>,
}

impl Billing {
    /// How much of a unit was billed, over all models and tiers.
    pub fn total(&self, unit: &str) -> u64 {
        self.sums.iter().filter_map(|sum| sum.quantities.get(unit)).sum()
    }
}

/// A bill before its end is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bill {
    pub(crate) path: String,
    pub(crate) model: String,
    pub(crate) tier: String,
    /// Due whatever becomes of the answer.
    pub(crate) input: Quantities,
    /// Tokens in the order in which they are generated.
    pub(crate) output: Vec<(&'static str, u64)>,
    pub(crate) images: Vec<Images>,
}

impl Bill {
    /// Closes the bill after so many tokens of output.
    pub(crate) fn close(self, number: u64, generated: u64, complete: bool) -> Billed {
        let mut quantities = self.input;
        let mut left = generated;
        for (unit, tokens) in self.output {
            let taken = tokens.min(left);
            left -= taken;
            *quantities.entry(unit).or_default() += taken;
        }
        quantities.retain(|_, quantity| *quantity > 0);
        let Bill { path, model, tier, images, .. } = Bill { input: Quantities::new(), output: Vec::new(), ..self };
        Billed { number, path, model, tier, quantities, images, complete }
    }
}

/// The upstream's books.
#[derive(Debug, Default)]
pub(crate) struct Books {
    requests: u64,
    open: u64,
    sums: BTreeMap<(String, String), Sum>,
    billed: Vec<Billed>,
}

impl Books {
    pub(crate) fn begin(&mut self) {
        self.open += 1;
    }

    pub(crate) fn end(&mut self, billed: Billed) {
        self.open = self.open.saturating_sub(1);
        self.sum(&billed, 1);
        if self.billed.len() < BILLS_MAX {
            self.billed.push(billed);
        }
    }

    /// Adds so many calls that were billed alike.
    fn sum(&mut self, billed: &Billed, times: u64) {
        self.requests += times;
        let mut key = (billed.model.clone(), billed.tier.clone());
        if self.sums.len() >= SUMS_MAX && !self.sums.contains_key(&key) {
            key = ("(others)".to_owned(), "(others)".to_owned());
        }
        let sum = self.sums.entry(key.clone()).or_insert_with(|| Sum { model: key.0, tier: key.1, ..Sum::default() });
        sum.requests += times;
        sum.incomplete += if billed.complete { 0 } else { times };
        for (unit, quantity) in &billed.quantities {
            *sum.quantities.entry(unit).or_default() += quantity * times;
        }
        for images in &billed.images {
            let same = |known: &&mut Images| known.quality == images.quality && known.size == images.size;
            match sum.images.iter_mut().find(same) {
                Some(known) => known.count += images.count * times,
                None => sum.images.push(Images { count: images.count * times, ..images.clone() }),
            }
        }
    }

    /// The books with calls added that are only counted: what each was billed, and how many there were.
    pub(crate) fn read(&self, counted: &[(Billed, u64)], with_list: bool) -> Billing {
        let mut all = Books { requests: self.requests, sums: self.sums.clone(), ..Books::default() };
        counted.iter().filter(|(_, times)| *times > 0).for_each(|(billed, times)| all.sum(billed, *times));
        Billing {
            requests: all.requests,
            open: self.open,
            unlisted: all.requests - self.billed.len() as u64,
            sums: all.sums.into_values().collect(),
            billed: if with_list { self.billed.clone() } else { Vec::new() },
        }
    }

    /// Forgets what was billed; calls under way stay open.
    pub(crate) fn clear(&mut self) {
        *self = Books { open: self.open, ..Books::default() };
    }
}
