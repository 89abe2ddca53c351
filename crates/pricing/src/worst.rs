//! The most that a use within a bound can cost.
//!
//! Fast, because it stands in the way of every request under a limit: prices are looked up by index in the sets that
//! were prepared when the table was built, nothing is allocated (names of missing prices are gathered only on the way
//! to a refusal), and no line is rounded that can be summed first.

use crate::bill::{Parts, image_item, item_at, tier_item};
use crate::model::{EQUIVALENT_MARGIN_PER_MILLE, UnitPrices};
use crate::{ImageCount, ModelPrices, Nano, Tier, Unit};

/// The kinds of text, audio and image tokens in.
const TEXT_INPUT: [Unit; 4] =
    [Unit::TextInput, Unit::TextCachedInput, Unit::TextCacheWrite30m, Unit::TextCacheWrite12h];
const AUDIO_INPUT: [Unit; 3] = [Unit::AudioInput, Unit::AudioCachedInput, Unit::AudioCacheWrite];
const IMAGE_INPUT: [Unit; 2] = [Unit::ImageInput, Unit::ImageCachedInput];
/// A search's size is the upstream's choice where the request leaves it open.
const WEB_SEARCHES: [Unit; 3] = [Unit::WebSearchLow, Unit::WebSearchMedium, Unit::WebSearchHigh];

/// A quality or size of images that the upstream chooses.
const AUTO: &str = "auto";

/// What a request may use at most.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bound {
    /// Every tier that the answer may come back with. None named: any that the model has.
    pub tiers: Vec<Tier>,
    /// The region whose host serves the request.
    pub region: Option<String>,
    /// Tokens in, of every kind: plain, read from the cache or written to it.
    pub input_tokens: u64,
    /// How many of `input_tokens` may be audio.
    pub audio_input_tokens: u64,
    /// How many of `input_tokens` may be images.
    pub image_input_tokens: u64,
    /// Text tokens out, reasoning included.
    pub text_output_tokens: u64,
    /// Audio tokens out.
    pub audio_output_tokens: u64,
    /// Image tokens out.
    pub image_output_tokens: u64,
    /// Milliseconds of audio.
    pub audio_ms: u64,
    /// Characters spoken.
    pub characters: u64,
    /// Milliseconds of video.
    pub video_ms: u64,
    /// Web searches of any size.
    pub web_searches: u64,
    /// Searches in vector stores.
    pub file_searches: u64,
    /// Container sessions.
    pub container_sessions: u64,
    /// Images billed by the image. The quality or size `auto` stands for any that the model lists.
    pub images: Vec<ImageCount>,
}

/// A bound has no worst case, because something in it has no price.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no price for {}", units.join(", "))]
pub struct Unpriced {
    /// What has no price, named as in [`crate::Bill::unpriced`].
    pub units: Vec<String>,
}

impl ModelPrices {
    /// The most that a use within the bound can be billed, at any of its tiers. Where every price is a whole number of
    /// nano-dollars, some use costs just that; otherwise it is above the dearest use by less than a nano-dollar for
    /// each line that the bill may have.
    ///
    /// A tier that the model does not have is left out where it has another of them: the upstream cannot serve it.
    /// Likewise a kind of cache write that the model lists no price for while it lists another: a bill that has it all
    /// the same names it as unpriced.
    ///
    /// # Errors
    /// When something of which the bound is not zero has no price at a tier of the bound, or none of the bound's tiers
    /// has prices.
    pub fn worst(&self, bound: &Bound) -> Result<Nano, Unpriced> {
        let per_mille = self.multiplier_per_mille(bound.region.as_deref());
        let mut worst = None;
        for prices in self.prepared.iter().filter(|prices| bound.allows(prices.tier)) {
            // The step is crossed by the number of tokens alone, so both sides of it are possible.
            let step = self.long_context_above.unwrap_or(u64::MAX);
            let mut sides = self.side(prices.tier, &prices.short, bound, bound.input_tokens.min(step), per_mille);
            if bound.input_tokens > step {
                let long = self.side(prices.tier, &prices.long, bound, bound.input_tokens, per_mille);
                sides = sides.and_then(|short| Some(short.max(long?)));
            }
            let Some(amount) = sides else { return Err(self.unpriced(bound)) };
            worst = worst.max(Some(amount));
        }
        match worst {
            Some(worst) => Ok(worst),
            None if bound.is_nothing() => Ok(Nano::ZERO),
            None => Err(self.unpriced(bound)),
        }
    }

    /// The worst case at one tier, on one side of the long-context step. `None` where a price is missing.
    fn side(&self, tier: Tier, prices: &UnitPrices, bound: &Bound, input_tokens: u64, per_mille: u32) -> Option<Nano> {
        let mut total = input(prices, bound, input_tokens, per_mille)?;
        for (unit, quantity) in bound.single_units() {
            if quantity > 0 {
                total = total.plus(unit.amount(prices[unit as usize]?, quantity, per_mille));
            }
        }
        if bound.web_searches > 0 {
            let mut pool = Pool::new(per_mille);
            pool.take(&dearest(prices, &WEB_SEARCHES, Need::All, per_mille)?, bound.web_searches);
            total = total.plus(pool.amount(bound.web_searches));
        }
        for image in bound.images.iter().filter(|image| image.count > 0) {
            let each = self.dearest_image(tier, image, per_mille)?;
            total = total.plus(Nano(each.0.saturating_mul(image.count)));
        }
        Some(total)
    }

    /// The most that one image costs. Rounded up by the image, because a bill may have a line for each.
    fn dearest_image(&self, tier: Tier, image: &ImageCount, per_mille: u32) -> Option<Nano> {
        let is = |asked: &str, listed: &str| asked == listed || asked == AUTO;
        self.images
            .iter()
            .filter(|listed| {
                listed.tier == tier && is(&image.quality, &listed.quality) && is(&image.size, &listed.size)
            })
            .map(|listed| {
                let margin = if listed.equivalent { u64::from(EQUIVALENT_MARGIN_PER_MILLE) } else { 1_000 };
                Parts(Parts::of(listed.price, margin, per_mille).0.div_ceil(1_000)).amount(1)
            })
            .max()
    }

    /// What in the bound has no price, for the refusal.
    fn unpriced(&self, bound: &Bound) -> Unpriced {
        let mut units = Vec::new();
        for prices in self.prepared.iter().filter(|prices| bound.allows(prices.tier)) {
            let missing = |unit: Unit| prices.short[unit as usize].is_none() || prices.long[unit as usize].is_none();
            let items = bound.needs().filter(|unit| missing(*unit)).map(|unit| unit.word().to_owned());
            let images = bound
                .images
                .iter()
                .filter(|image| image.count > 0 && self.dearest_image(prices.tier, image, 1_000).is_none());
            units.extend(items.chain(images.map(image_item)).map(|item| item_at(&item, prices.tier)));
        }
        if units.is_empty() {
            // None of the tiers has prices.
            units.extend(bound.tiers.iter().map(|tier| tier_item(*tier)));
        }
        if units.is_empty() {
            units.push(tier_item(Tier::Standard));
        }
        Unpriced { units }
    }
}

impl Bound {
    fn allows(&self, tier: Tier) -> bool {
        self.tiers.is_empty() || self.tiers.contains(&tier)
    }

    /// The bounds of one unit each.
    fn single_units(&self) -> [(Unit, u64); 8] {
        [
            (Unit::TextOutput, self.text_output_tokens),
            (Unit::AudioOutput, self.audio_output_tokens),
            (Unit::ImageOutput, self.image_output_tokens),
            (Unit::AudioMilliseconds, self.audio_ms),
            (Unit::Characters, self.characters),
            (Unit::VideoMilliseconds, self.video_ms),
            (Unit::FileSearch, self.file_searches),
            (Unit::ContainerSession, self.container_sessions),
        ]
    }

    /// The units that must have a price.
    fn needs(&self) -> impl Iterator<Item = Unit> {
        let input = [
            (Unit::TextInput, self.input_tokens),
            (Unit::AudioInput, self.input_tokens.min(self.audio_input_tokens)),
            (Unit::ImageInput, self.input_tokens.min(self.image_input_tokens)),
        ];
        let searches = WEB_SEARCHES.map(|unit| (unit, self.web_searches));
        let needs = input.into_iter().chain(self.single_units()).chain(searches);
        needs.filter(|(_, quantity)| *quantity > 0).map(|(unit, _)| unit)
    }

    fn is_nothing(&self) -> bool {
        self.needs().next().is_none() && self.images.iter().all(|image| image.count == 0)
    }
}

/// The worst case of the tokens in: as many as may be of the dearest kind, then of the next.
fn input(prices: &UnitPrices, bound: &Bound, tokens: u64, per_mille: u32) -> Option<Nano> {
    if tokens == 0 {
        return Some(Nano::ZERO);
    }
    let text = dearest(prices, &TEXT_INPUT, Need::First, per_mille)?;
    // Audio and images count only where they are dearer than text; what they do not take may all be text.
    let special = |kinds: &[Unit], tokens: u64| match tokens {
        0 => Some((Kinds::default(), 0)),
        tokens => Some((dearest(prices, kinds, Need::First, per_mille)?, tokens)),
    };
    let mut special =
        [special(&AUDIO_INPUT, bound.audio_input_tokens)?, special(&IMAGE_INPUT, bound.image_input_tokens)?];
    if special[0].0.price < special[1].0.price {
        special.swap(0, 1);
    }
    let (mut pool, mut left) = (Pool::new(per_mille), tokens);
    for (kinds, most) in special {
        let taken = if kinds.price > text.price { left.min(most) } else { 0 };
        pool.take(&kinds, taken);
        left -= taken;
    }
    pool.take(&text, left);
    Some(pool.amount(tokens))
}

/// Units of which one bound allows any mixture.
#[derive(Default)]
struct Kinds {
    /// The dearest price.
    price: u64,
    /// How many of them have a price that is no whole number of nano-dollars: lines that may round up.
    broken: u32,
}

/// Which units of a kind must have a price.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// The first; the others are left out where the model has none.
    First,
    /// All.
    All,
}

fn dearest(prices: &UnitPrices, units: &[Unit], need: Need, per_mille: u32) -> Option<Kinds> {
    let mut kinds = Kinds::default();
    for (number, unit) in units.iter().enumerate() {
        match prices[*unit as usize] {
            Some(price) => {
                kinds.price = kinds.price.max(price.0);
                kinds.broken += u32::from(Parts::is_broken(price, per_mille));
            }
            None if number == 0 || need == Need::All => return None,
            None => {}
        }
    }
    Some(kinds)
}

/// The sum of lines that one bound covers together, rounded once, with what the rounding of each line can add.
struct Pool {
    parts: u128,
    broken: u32,
    per_mille: u32,
}

impl Pool {
    fn new(per_mille: u32) -> Pool {
        Pool { parts: 0, broken: 0, per_mille }
    }

    /// Adds `quantity` at the dearest price of the kinds, and what each of their lines may round up.
    fn take(&mut self, kinds: &Kinds, quantity: u64) {
        let parts = Parts::of(crate::Pico(kinds.price), quantity, self.per_mille);
        self.parts = self.parts.saturating_add(parts.0);
        self.broken += kinds.broken;
    }

    /// A line rounds up by less than a nano-dollar, and there are no more lines than pieces.
    fn amount(&self, pieces: u64) -> Nano {
        let lines = u128::from(self.broken).min(u128::from(pieces));
        let most = self.parts.saturating_add(lines * (Parts::PER_NANO - 1)) / Parts::PER_NANO;
        Nano(u64::try_from(most).unwrap_or(u64::MAX))
    }
}
