//! The price list that is part of the program: `prices.json`, written by `cargo xtask prices`. Every number in it is an
//! integer: pico-dollars, tokens, per mille, seconds.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::model::{ImagePrice, UnitPrices};
use crate::{Modality, ModelPrices, Pico, Source, Table, Tier, Unit};

const LIST: &str = include_str!("../prices.json");

/// Prices by the names of their units.
type Listed = BTreeMap<String, u64>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    version: String,
    as_of: i64,
    missing: Vec<String>,
    tools: Listed,
    models: Vec<Model>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    model: String,
    modality: String,
    context_window: Option<u64>,
    max_input: Option<u64>,
    max_output: Option<u64>,
    deprecation: Option<String>,
    #[serde(default)]
    retired: bool,
    #[serde(default)]
    prices: BTreeMap<String, Listed>,
    long_above: Option<u64>,
    #[serde(default)]
    long: BTreeMap<String, Listed>,
    #[serde(default)]
    calls: Listed,
    /// Quality, size, pico-dollars, whether it is the equivalent of tokens.
    #[serde(default)]
    images: Vec<(String, String, u64, bool)>,
    #[serde(default)]
    regions: BTreeMap<String, u32>,
}

/// The shipped table.
///
/// # Errors
/// When the file is not what `cargo xtask prices` writes.
pub(crate) fn table() -> Result<Table, String> {
    let list: List = serde_json::from_str(LIST).map_err(|error| error.to_string())?;
    let models = list.models.into_iter().map(model).collect::<Result<_, _>>()?;
    Ok(Table::new(list.version, list.as_of, list.missing, unit_prices(&list.tools)?, models))
}

fn model(written: Model) -> Result<ModelPrices, String> {
    let word = &written.modality;
    let mut model = ModelPrices {
        modality: Modality::from_word(word).ok_or_else(|| format!("no modality `{word}`"))?,
        context_window_tokens: written.context_window,
        max_input_tokens: written.max_input,
        max_output_tokens: written.max_output,
        deprecation_date: written.deprecation,
        retired: written.retired,
        source: Source::Shipped,
        long_context_above: written.long_above,
        regions: written.regions.into_iter().collect(),
        calls: unit_prices(&written.calls)?,
        images: written.images.into_iter().map(image).collect(),
        name: written.model,
        ..ModelPrices::default()
    };
    for (word, listed) in &written.prices {
        model.listed_tier(tier(word)?).short = unit_prices(listed)?;
    }
    for (word, listed) in &written.long {
        model.listed_tier(tier(word)?).long = unit_prices(listed)?;
    }
    Ok(model)
}

fn image((quality, size, pico, equivalent): (String, String, u64, bool)) -> ImagePrice {
    ImagePrice { tier: Tier::Standard, quality, size, price: Pico(pico), equivalent }
}

fn tier(word: &str) -> Result<Tier, String> {
    Tier::from_word(word).ok_or_else(|| format!("no tier `{word}`"))
}

fn unit_prices(listed: &Listed) -> Result<UnitPrices, String> {
    let mut prices = [None; Unit::COUNT];
    for (word, pico) in listed {
        let unit = Unit::from_word(word).ok_or_else(|| format!("no unit `{word}`"))?;
        prices[unit as usize] = Some(Pico(*pico));
    }
    Ok(prices)
}
