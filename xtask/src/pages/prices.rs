//! The page of prices.

use pricing::{EQUIVALENT_MARGIN_PER_MILLE, Modality, ModelPrices, Table, Tier, Unit};

use super::{table_head, table_row};

const INTRODUCTION: &str = "\
A third-party copy of the public price list, as of the day in the
version: a default, not the truth. Prices are whole pico-dollars (10⁻¹² dollar), amounts whole nano-dollars, rounded up
once per line of a bill; no float is anywhere near them.

A model, tier or unit without a price is refused under a hard limit until the operator gives an amount, and counted as
unpriced otherwise.

## Not in the list

";

const RULES: &str = "
## Rules

- **Names**: a model's own row; else a dated snapshot (`-YYYY-MM-DD`, `-MMDD`) takes its family's, unless a listed
  snapshot of the family is dearer; `-latest` and `-preview` likewise, unless other models' names begin with the
  family's; `ft:BASE:…` takes the row `ft:BASE`, never the base model's. Any other name has no price.
- **Tier**: the answer's `service_tier` decides. A tier that the model has no prices for is unpriced.
- **Long context**: above the step the whole request is billed at the long-context prices. A unit that the long list
  leaves out costs the dearest of its price below the step, plain input above it, and, where the tier has no long list,
  the standard tier's long price.
- **Cached input** without a price costs what plain input does.
- **Cache writes** cost what plain input does where the model lists no write price at all. A kind of write that a model
  leaves out while it lists another is unpriced.
- **Images that a chat model reads** are input text, unless it lists a price for them.
- **Minutes, characters, seconds of video, images** are listed without a tier: they are the standard tier's. Calls of
  hosted tools cost the same at each tier.
- **Region**: multiplies each line before it is rounded. A region that is not listed costs what the dearest does.
- **Images of models that are billed by tokens**: the list's price by the image (≈) is a rounded equivalent, to which a
  hold adds {margin} %.
";

const MODELS: &str = "
## Models

Dollars as listed, at the standard tier; in brackets above the long-context step. The other tiers' are in
`crates/pricing/prices.json`.
";

const OVERRIDES: &str = "
## Overrides

A file in TOML names prices for models that the list lacks, for what it leaves out, and for negotiated rates. What an
override does not name stays as it is listed. It holds for just the name that it names: a snapshot with a row of its own
keeps its prices. All fields (`examples/prices.toml`; token prices that name no tier are the standard tier's):

";

/// What an operator may write: a test of the pricing crate loads it.
const EXAMPLE: &str = include_str!("../../../examples/prices.toml");

/// The page's text.
pub(super) fn text() -> String {
    let table = Table::shipped();
    let overrides = format!("{OVERRIDES}```toml\n{EXAMPLE}```\n");
    [introduction(&table), rules(), overrides, units(), listed(&table)].concat()
}

fn introduction(table: &Table) -> String {
    let mut text = format!("# Prices\n\nVersion `{}`: {} models. ", table.version(), table.models().len());
    text += INTRODUCTION;
    for missing in table.missing() {
        text += &format!("- {missing}\n");
    }
    text
}

fn rules() -> String {
    RULES.replace("{margin}", &((EQUIVALENT_MARGIN_PER_MILLE - 1_000) / 10).to_string())
}

fn units() -> String {
    let mut text = "\n## Units\n\n".to_owned() + &table_head(&["Unit", "Dollars in files are for"]);
    for unit in Unit::ALL {
        let pieces = match unit {
            Unit::AudioMilliseconds => "a minute",
            Unit::VideoMilliseconds => "a second",
            Unit::ContainerSession => "a session",
            Unit::Characters => "1,000,000 characters",
            unit if unit.is_call() => "1,000 calls",
            _ => "1,000,000 tokens",
        };
        text += &table_row(&[&format!("`{}`", unit.word()), pieces]);
    }
    text
}

fn listed(table: &Table) -> String {
    let mut text = MODELS.to_owned();
    for modality in Modality::ALL {
        text += &format!("\n### {}\n\n", modality.word());
        text += &table_head(&["Model", "Prices", "Other tiers", "Tokens in, out", "Ends"]);
        for model in table.models().filter(|model| model.modality == modality) {
            let limits = [model.max_input_tokens, model.max_output_tokens]
                .map(|limit| limit.map_or_else(|| "?".to_owned(), |limit| limit.to_string()));
            let others: Vec<&str> = model.tiers().filter(|tier| *tier != Tier::Standard).map(Tier::word).collect();
            let end = if model.retired { "retired" } else { model.deprecation_date.as_deref().unwrap_or_default() };
            let name = format!("`{}`", model.name);
            text += &table_row(&[&name, &prices(model), &others.join(", "), &limits.join(", "), end]);
        }
    }
    text
}

fn prices(model: &ModelPrices) -> String {
    let mut items = Vec::new();
    for unit in Unit::ALL {
        let usd = |long| model.listed_price(Tier::Standard, unit, long).map(|price| price.usd(unit.listed_by()));
        let long = usd(true).filter(|_| unit.is_token()).map_or_else(String::new, |usd| format!(" ({usd})"));
        items.extend(usd(false).map(|usd| format!("{} {usd}{long}", unit.word())));
    }
    for image in &model.images {
        let equivalent = if image.equivalent { "≈ " } else { "" };
        items.push(format!("image {} {} {equivalent}{}", image.size, image.quality, image.price.usd(1)));
    }
    items.extend(model.regions.iter().map(|(region, per_mille)| format!("{region} × {per_mille}/1000")));
    items.join("; ")
}
