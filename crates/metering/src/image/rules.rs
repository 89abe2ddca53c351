//! OpenAI's published rules for the tokens of an input image, as a table, read on the safe side.
//!
//! Tile models: the image is fitted into 2048 × 2048, then its short side to 768 (never enlarged); a base and a price
//! for each tile of 512 × 512. Patch models: the patches of 32 × 32 that cover the image, at most a cap, times a
//! multiplier. Where the guide scales an image down to just under the cap, the cap itself is taken: developers have
//! measured it being billed. Where the guide says that `low` is cheap on a patch model, the price of `high` is taken:
//! developers have measured that it has no effect. `auto` is the dearest that the model offers.

use super::Size;

/// How closely the model is asked to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// `low`: a thumbnail.
    Low,
    /// `high`.
    High,
    /// `auto`, or absent: the model decides, so it is held at the dearest.
    Auto,
    /// `original`: no scaling, on newer models; on others as `high`.
    Original,
}

/// What is added to every count, in percent, rounded up: OpenAI calls the count of an image's tokens an estimate that
/// cannot be made locally. Where measured bills were above the guide's formula, they were so by up to 5 % (caps reached
/// by images that the formula puts below); twice that is held.
pub const ESTIMATE_MARGIN_PERCENT: u64 = 10;

/// How a family of models counts.
#[derive(Clone, Copy)]
enum Rule {
    Tiles {
        /// For the image as such; all there is with `low`.
        base: u64,
        /// For each tile.
        tile: u64,
        /// Pixels of the short side after scaling.
        short_side: u64,
        /// For inputs kept at high fidelity (image models), whether asked for or not.
        fidelity: u64,
    },
    Patches {
        /// Tokens for a hundred patches.
        percent: u64,
        /// Most patches with `high`.
        high_max: u64,
        /// Most patches with `original`.
        original_max: u64,
    },
}

const fn tiles(base: u64, tile: u64) -> Rule {
    Rule::Tiles { base, tile, short_side: 768, fidelity: 0 }
}

const fn patches(percent: u64) -> Rule {
    Rule::Patches { percent, high_max: 1536, original_max: 1536 }
}

/// Models with `detail: original`: 2,500 patches with `high`, 10,000 with `original`.
const fn large_patches(percent: u64) -> Rule {
    Rule::Patches { percent, high_max: 2500, original_max: 10_000 }
}

/// 65 + 129 a tile with a short side of 512; high input fidelity adds 4,096 (square) or 6,144 tokens. Newer models
/// always keep it high.
const IMAGE_MODEL: Rule = Rule::Tiles { base: 65, tile: 129, short_side: 512, fidelity: 6144 };

/// The rule of each family, found by its longest name. Sources: [guide] OpenAI's "Images and vision" guide, section
/// "Calculating costs"; [measured] bills that developers published in OpenAI's community forum (March 2026), taken
/// where they are dearer than the guide.
const FAMILIES: &[(&str, Rule)] = &[
    // [guide] tile models.
    ("gpt-4o", tiles(85, 170)),
    ("chatgpt-4o-latest", tiles(85, 170)),
    ("gpt-4.1", tiles(85, 170)),
    ("gpt-4.5-preview", tiles(85, 170)),
    ("gpt-4-turbo", tiles(85, 170)),
    ("gpt-4-vision-preview", tiles(85, 170)),
    ("gpt-4-1106-vision-preview", tiles(85, 170)),
    ("gpt-4o-mini", tiles(2833, 5667)),
    ("gpt-5", tiles(70, 140)),
    ("gpt-5.1", tiles(70, 140)),
    ("o1", tiles(75, 150)),
    ("o3", tiles(75, 150)),
    ("computer-use-preview", tiles(65, 129)),
    ("gpt-image-1", IMAGE_MODEL),
    ("gpt-image-1-mini", IMAGE_MODEL),
    ("gpt-image-1.5", IMAGE_MODEL),
    ("chatgpt-image-latest", IMAGE_MODEL),
    // [guide] patch models.
    ("gpt-4.1-mini", patches(162)),
    ("gpt-4.1-nano", patches(246)),
    ("o4-mini", patches(172)),
    ("codex-mini-latest", patches(172)),
    ("gpt-5-mini", patches(162)),
    ("gpt-5-nano", patches(246)),
    // Named after patch models of which it inherits one or the other.
    ("gpt-5.1-codex-mini", patches(172)),
    // [measured] 1.2 a patch where the guide says 1.
    ("gpt-5.2", patches(120)),
    ("gpt-5.3", patches(120)),
    // [guide] caps, [measured] 1.2 a patch; 2,500 patches with `high` on mini and nano too, [guide] their multipliers.
    ("gpt-5.4", large_patches(120)),
    ("gpt-5.4-mini", large_patches(162)),
    ("gpt-5.4-nano", large_patches(246)),
    // Newer than the published multipliers: the caps of the guide for "future models", the dearest multiplier.
    ("gpt-5.5", large_patches(246)),
    ("gpt-5.6", large_patches(246)),
    ("gpt-6", large_patches(246)),
    ("gpt-6.1", large_patches(246)),
];

/// The most tokens that an image can cost as input of a model.
///
/// `None` as size (a URL, a file id, an unreadable header) is the largest that the model's rule allows; a model that is
/// in no published table is counted by the dearest rule of all. [`ESTIMATE_MARGIN_PERCENT`] is included.
pub fn tokens_max(model: &str, detail: Detail, size: Option<Size>) -> u64 {
    with_margin(estimate(model, detail, size))
}

/// The count by the rules, without margin.
pub(super) fn estimate(model: &str, detail: Detail, size: Option<Size>) -> u64 {
    match rule(model) {
        Some(rule) => rule.tokens(detail, size),
        None => FAMILIES.iter().map(|(_, rule)| rule.tokens(detail, size)).max().unwrap_or(u64::MAX),
    }
}

fn with_margin(tokens: u64) -> u64 {
    tokens.saturating_add(tokens.div_ceil(100 / ESTIMATE_MARGIN_PERCENT))
}

/// The rule of the longest family name that the model's name begins with; the name must end there or go on with a
/// hyphen or colon, so that `gpt-5` is not the family of `gpt-5.9`. A fine-tuned model counts as what it was tuned from.
fn rule(model: &str) -> Option<Rule> {
    let model = model.strip_prefix("ft:").unwrap_or(model);
    let in_family =
        |name: &str| model.strip_prefix(name).is_some_and(|rest| matches!(rest.chars().next(), None | Some('-' | ':')));
    FAMILIES.iter().filter(|(name, _)| in_family(name)).max_by_key(|(name, _)| name.len()).map(|(_, rule)| *rule)
}

impl Rule {
    fn tokens(self, detail: Detail, size: Option<Size>) -> u64 {
        match self {
            Self::Tiles { base, fidelity, .. } if detail == Detail::Low => base + fidelity,
            Self::Tiles { base, tile, short_side, fidelity } => base + tile * tile_count(short_side, size) + fidelity,
            Self::Patches { percent, high_max, original_max } => {
                let most = match detail {
                    Detail::Low | Detail::High => high_max,
                    Detail::Auto | Detail::Original => original_max,
                };
                (patch_count(size).min(most) * percent).div_ceil(100)
            }
        }
    }
}

/// Tiles of 512 × 512 that cover the image after scaling; exact fractions, so that no way of rounding to whole pixels
/// gives more. A wider image does not always have more tiles, since its short side shrinks.
fn tile_count(short_side: u64, size: Option<Size>) -> u64 {
    const BOX: u64 = 2048;
    const TILE: u64 = 512;
    let Some(Size { width, height }) = size else {
        return (BOX / TILE) * short_side.div_ceil(TILE);
    };
    let (long, short) = (u64::from(width.max(height)), u64::from(width.min(height)).max(1));
    // The long side is `long × numerator / denominator`, and so is the short one.
    let (mut numerator, mut denominator) = (long.min(BOX), long.max(1));
    if short * numerator > short_side * denominator {
        (numerator, denominator) = (short_side, short);
    }
    let side = |pixels: u64| (pixels * numerator).div_ceil(denominator * TILE).max(1);
    side(long) * side(short)
}

/// Patches of 32 × 32 that cover the image unscaled: scaling it down only gives fewer.
fn patch_count(size: Option<Size>) -> u64 {
    const PATCH: u64 = 32;
    let Some(Size { width, height }) = size else { return u64::from(u32::MAX) };
    u64::from(width).div_ceil(PATCH).max(1) * u64::from(height).div_ceil(PATCH).max(1)
}
