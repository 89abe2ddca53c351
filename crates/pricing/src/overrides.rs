//! The operator's own prices: for models that the shipped list lacks, for what it leaves out, for negotiated rates.
//!
//! An override holds for just the name that it names (a listed snapshot has a row of its own and keeps its prices), and
//! changes just what it names: other tiers and units stay as they are listed.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::UnitPrices;
use crate::{AmountError, ImagePrice, Modality, ModelPrices, Pico, Source, Table, Tier, Unit};

/// The name under which calls of hosted tools are priced for every model that has no price of its own for them.
pub const EVERY_MODEL: &str = "*";

/// Overrides that a table takes.
pub const OVERRIDES_MAX: usize = 10_000;

/// Bytes of a model's name; longer ones cannot be asked for.
pub const NAME_BYTES_MAX: usize = 256;

/// What an operator says about a model. A plain value: the API fills it in as the file's parser does
/// ([`Override::from_toml`]); it is checked when a table takes it ([`Table::with`]).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Override {
    /// The model's name; `*` for calls of hosted tools of every model.
    pub model: String,
    /// The model whose prices and limits it takes first. Not one that is an alias in the same overrides.
    pub alias: Option<String>,
    /// What it is for.
    pub modality: Option<Modality>,
    /// Tokens in and out together.
    pub context_window_tokens: Option<u64>,
    /// Tokens in.
    pub max_input_tokens: Option<u64>,
    /// Tokens out.
    pub max_output_tokens: Option<u64>,
    /// Prices of units.
    pub prices: Vec<UnitPrice>,
    /// Input tokens above which the long-context prices apply.
    pub long_context_above: Option<u64>,
    /// Prices by the image.
    pub images: Vec<ImagePrice>,
    /// Multipliers in per mille for requests that a region's host serves.
    pub regions: Vec<(String, u32)>,
    /// The prices are made up ([`crate::demo`]).
    pub demo: bool,
}

/// The price of a unit at a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitPrice {
    /// The tier. Calls of hosted tools cost the same at each, whatever is said here.
    pub tier: Tier,
    /// The unit.
    pub unit: Unit,
    /// Whether it is the price above the long-context step.
    pub long_context: bool,
    /// Pico-dollars for [`Unit::priced_by`] of the unit.
    pub price: Pico,
}

/// An override that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("prices of `{model}`, `{field}`: {mend}")]
pub struct OverrideError {
    /// The model; empty where the file as a whole cannot be read.
    pub model: String,
    /// The field, as it is written in the file.
    pub field: String,
    /// What is wrong, and what to write instead.
    pub mend: String,
}

impl OverrideError {
    pub(crate) fn new(model: &str, field: &str, mend: impl Into<String>) -> OverrideError {
        OverrideError { model: model.to_owned(), field: field.to_owned(), mend: mend.into() }
    }

    pub(crate) fn amount(model: &str, field: &str, written: &str, error: AmountError) -> OverrideError {
        OverrideError::new(model, field, format!("`{written}` is {error}"))
    }
}

impl Override {
    /// An override of a model that says nothing yet.
    pub fn of(model: &str) -> Override {
        Override { model: model.to_owned(), ..Override::default() }
    }

    /// With a unit's price in dollars as price lists write it: for [`Unit::listed_by`] prices (a million tokens, a
    /// minute, a thousand searches).
    ///
    /// # Errors
    /// When the amount is no exact decimal number.
    pub fn usd(mut self, tier: Tier, unit: Unit, long_context: bool, usd: &str) -> Result<Override, OverrideError> {
        let price = Pico::from_usd(usd, unit.listed_by())
            .map_err(|error| OverrideError::amount(&self.model, unit.word(), usd, error))?;
        self.prices.push(UnitPrice { tier, unit, long_context, price });
        Ok(self)
    }

    fn error(&self, field: &str, mend: impl Into<String>) -> OverrideError {
        OverrideError::new(&self.model, field, mend)
    }

    fn check(&self, listed: &ModelPrices) -> Result<(), OverrideError> {
        if self.model.is_empty() || self.model.len() > NAME_BYTES_MAX {
            return Err(self.error("model", format!("a name has 1 to {NAME_BYTES_MAX} bytes")));
        }
        for (field, limit) in [
            ("context_window_tokens", self.context_window_tokens),
            ("max_input_tokens", self.max_input_tokens),
            ("max_output_tokens", self.max_output_tokens),
        ] {
            if limit == Some(0) {
                return Err(self.error(field, "a limit of 0 leaves no room for a request; leave the line out"));
            }
        }
        let long = self.prices.iter().find(|given| given.long_context);
        if let Some(given) = long.filter(|given| !given.unit.is_token()) {
            return Err(self.error(given.unit.word(), "only tokens have a long-context price; name it outside"));
        }
        if long.is_some() && self.long_context_above.or(listed.long_context_above).is_none() {
            return Err(self.error("long_context.above_input_tokens", "say above how many input tokens they apply"));
        }
        if listed.listed.is_empty() && !self.has_prices() {
            return Err(self.error("alias", "a new model needs a price, or `alias` with the name of a priced model"));
        }
        Ok(())
    }

    /// Whether it gives a price other than of calls of tools.
    fn has_prices(&self) -> bool {
        self.prices.iter().any(|given| !given.unit.is_call() && !given.long_context) || !self.images.is_empty()
    }

    /// Puts what it says into a model's row.
    fn lay_over(&self, model: &mut ModelPrices) {
        model.name.clone_from(&self.model);
        model.source = if self.demo { Source::Demo } else { Source::Override };
        model.modality = self.modality.unwrap_or(model.modality);
        model.context_window_tokens = self.context_window_tokens.or(model.context_window_tokens);
        model.max_input_tokens = self.max_input_tokens.or(model.max_input_tokens);
        model.max_output_tokens = self.max_output_tokens.or(model.max_output_tokens);
        model.long_context_above = self.long_context_above.or(model.long_context_above);
        for given in &self.prices {
            let prices = match given.unit.is_call() {
                true => &mut model.calls,
                false if given.long_context => &mut model.listed_tier(given.tier).long,
                false => &mut model.listed_tier(given.tier).short,
            };
            prices[given.unit as usize] = Some(given.price);
        }
        for image in &self.images {
            let same = |other: &ImagePrice| {
                (other.tier, &other.quality, &other.size) == (image.tier, &image.quality, &image.size)
            };
            model.images.retain(|other| !same(other));
            model.images.push(image.clone());
        }
        for region in &self.regions {
            model.regions.retain(|(name, _)| *name != region.0);
            model.regions.push(region.clone());
        }
    }
}

/// The models of a table with overrides laid over them: those of one model in their order, aliases after all others.
///
/// # Errors
/// At the first that makes no sense.
pub(crate) fn applied(
    table: &Table,
    tools: &mut UnitPrices,
    given: &[Override],
) -> Result<Vec<ModelPrices>, OverrideError> {
    if given.len() > OVERRIDES_MAX {
        return Err(OverrideError::new("", "model", format!("more than {OVERRIDES_MAX} overrides")));
    }
    let mut models: BTreeMap<&str, ModelPrices> =
        table.models().map(|model| (model.name.as_str(), model.clone())).collect();
    let mut of_model: BTreeMap<&str, Vec<&Override>> = BTreeMap::new();
    for over in given {
        match over.model.as_str() {
            EVERY_MODEL => lay_over_tools(over, tools)?,
            name => of_model.entry(name).or_default().push(over),
        }
    }
    let (aliased, plain): (Vec<_>, Vec<_>) =
        of_model.into_iter().partition(|(_, overs)| overs.iter().any(|over| over.alias.is_some()));
    for (name, overs) in plain {
        let model = laid_over(models.get(name).cloned().unwrap_or_default(), &overs)?;
        models.insert(name, model);
    }
    let aliases: BTreeSet<&str> = aliased.iter().map(|(name, _)| *name).collect();
    for (name, overs) in aliased {
        let last = overs.iter().rev().find_map(|over| Some((over, over.alias.as_deref()?)));
        let (over, alias) = last.expect("these were parted from the others by having an alias");
        if aliases.contains(alias) {
            return Err(over.error("alias", format!("`{alias}` is an alias itself; name the model that it stands for")));
        }
        // A snapshot's name reaches its family's row.
        let target = models.get(alias).or_else(|| models.get(table.find(alias)?.name.as_str()));
        let target =
            target.ok_or_else(|| over.error("alias", format!("no prices for `{alias}`; name a priced model")))?;
        let model = laid_over(target.clone(), &overs)?;
        models.insert(name, model);
    }
    Ok(models.into_values().collect())
}

fn laid_over(mut model: ModelPrices, overs: &[&Override]) -> Result<ModelPrices, OverrideError> {
    for over in overs {
        over.check(&model)?;
        over.lay_over(&mut model);
    }
    Ok(model)
}

fn lay_over_tools(over: &Override, tools: &mut UnitPrices) -> Result<(), OverrideError> {
    let only_calls = over.prices.iter().all(|given| given.unit.is_call());
    let nothing_else = Override { prices: Vec::new(), ..over.clone() } == Override::of(EVERY_MODEL);
    if !only_calls || !nothing_else {
        return Err(over.error("tools", "only calls of hosted tools have a price for every model"));
    }
    for given in &over.prices {
        tools[given.unit as usize] = Some(given.price);
    }
    Ok(())
}
