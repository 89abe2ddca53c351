//! What a use costs, line by line.

use crate::{ImageCount, ModelPrices, Nano, Pico, Quantities, Tier, Unit};

/// A line of a bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The unit's name, or `image` with size and quality: `image 1024x1024 high`.
    pub item: String,
    /// How much of it.
    pub quantity: u64,
    /// What that costs, rounded up; zero where there is no price.
    pub amount: Nano,
}

/// What a use costs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bill {
    /// A line for each unit used and each entry of images.
    pub lines: Vec<Line>,
    /// The sum of the lines.
    pub total: Nano,
    /// What has no price: the item, with the tier where it is not the standard one (`image_output (batch)`), or
    /// `tier scale` where the model has no prices for the tier at all.
    pub unpriced: Vec<String>,
}

impl ModelPrices {
    /// What a use costs at a tier, served by a region's host or by the ordinary one.
    ///
    /// Above the long-context step the whole request is billed at the long-context prices. The region's multiplier goes
    /// into each line before its one rounding up.
    pub fn bill(&self, tier: Tier, region: Option<&str>, used: &Quantities) -> Bill {
        let long_context = self.long_context_above.is_some_and(|above| used.input_tokens() > above);
        let prices = self.at(tier, long_context);
        let per_mille = self.multiplier_per_mille(region);
        let mut bill = Bill::default();
        for (unit, quantity) in used.some() {
            let amount =
                prices.and_then(|prices| prices[unit as usize]).map(|price| unit.amount(price, quantity, per_mille));
            bill.push(tier, unit.word().to_owned(), quantity, amount);
        }
        for image in used.images.iter().filter(|image| image.count > 0) {
            let amount = self
                .image_price(tier, &image.quality, &image.size)
                .map(|listed| Parts::of(listed.price, image.count, per_mille).amount(1));
            bill.push(tier, image_item(image), image.count, amount);
        }
        if prices.is_none() && !bill.lines.is_empty() {
            bill.unpriced = vec![tier_item(tier)];
        }
        bill
    }
}

impl Bill {
    fn push(&mut self, tier: Tier, item: String, quantity: u64, amount: Option<Nano>) {
        if amount.is_none() {
            self.unpriced.push(item_at(&item, tier));
        }
        let amount = amount.unwrap_or(Nano::ZERO);
        self.total = self.total.plus(amount);
        self.lines.push(Line { item, quantity, amount });
    }
}

/// The name of images of a size and quality.
pub(crate) fn image_item(image: &ImageCount) -> String {
    format!("image {} {}", image.size, image.quality)
}

/// The name of a whole tier without prices.
pub(crate) fn tier_item(tier: Tier) -> String {
    format!("tier {}", tier.word())
}

/// An item's name with the tier where that is not the standard one.
pub(crate) fn item_at(item: &str, tier: Tier) -> String {
    match tier {
        Tier::Standard => item.to_owned(),
        other => format!("{item} ({})", other.word()),
    }
}

/// An amount before it is rounded: millionths of a nano-dollar (a pico-dollar a unit times per mille), or of as many
/// nano-dollars as [`Unit::priced_by`] says. Saturates, which is on the safe side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Parts(pub(crate) u128);

impl Parts {
    /// Parts of a nano-dollar.
    pub(crate) const PER_NANO: u128 = 1_000_000;

    pub(crate) fn of(price: Pico, quantity: u64, per_mille: u32) -> Parts {
        let pico = u128::from(price.0) * u128::from(quantity);
        Parts(pico.saturating_mul(u128::from(per_mille)))
    }

    /// Whether one unit costs no whole number of nano-dollars.
    pub(crate) fn is_broken(price: Pico, per_mille: u32) -> bool {
        // Only the remainder counts, and it keeps the product within 64 bits.
        !((price.0 % 1_000_000) * u64::from(per_mille)).is_multiple_of(1_000_000)
    }

    /// Rounded up, for a price that is for `priced_by` of its unit.
    pub(crate) fn amount(self, priced_by: u64) -> Nano {
        let nano = self.0.div_ceil(Parts::PER_NANO * u128::from(priced_by));
        Nano(u64::try_from(nano).unwrap_or(u64::MAX))
    }
}

impl Unit {
    /// What `quantity` costs, rounded up.
    pub(crate) fn amount(self, price: Pico, quantity: u64, per_mille: u32) -> Nano {
        Parts::of(price, quantity, per_mille).amount(self.priced_by())
    }
}
