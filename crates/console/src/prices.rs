//! The price table in force, and the operator's prices of single models over it.
//!
//! Promise: a price is in force only as part of a table that makes sense as a whole; what is stored is the text that was
//! checked. Bodies are the file of overrides as JSON: the same fields, dollars in quotes.

use pricing::{EVERY_MODEL, ModelPrices, Override, OverrideError, Prices, Source, Table, Tier, Unit};
use serde_json::{Map, Value, json};
use store::{Act, PriceOverride};
use wire::refusal::{Reason, Refusal};

use crate::input::{Fields, Sizes, deleted, invalid, page_of, query};
use crate::{Answer, Call, Console, Event, no_such};

const PAGES: Sizes = Sizes { min: 1, default: 100, max: 1_000 };

/// The table that these overrides of the API make, over what the process began with.
///
/// # Errors
/// At the first that makes no sense.
pub fn table_in_force<'a>(
    prices: &Prices,
    given: impl IntoIterator<Item = &'a PriceOverride>,
) -> Result<Table, OverrideError> {
    let mut overrides = Vec::new();
    // In one order always, so that the same prices are the same version after a restart.
    let mut given: Vec<&PriceOverride> = given.into_iter().collect();
    given.sort_by(|one, other| one.model.cmp(&other.model));
    for of_model in given {
        overrides.extend(Override::from_toml(&of_model.toml)?);
    }
    prices.with(&overrides)
}

/// What one unit's price is called in the file.
fn field_of(unit: Unit) -> (&'static str, Option<&'static str>) {
    match unit {
        Unit::AudioMilliseconds => ("usd_per_audio_minute", None),
        Unit::VideoMilliseconds => ("usd_per_video_second", None),
        Unit::Characters => ("usd_per_1m_characters", None),
        Unit::WebSearchLow => ("usd_per_1k_web_searches", Some("low")),
        Unit::WebSearchMedium => ("usd_per_1k_web_searches", Some("medium")),
        Unit::WebSearchHigh => ("usd_per_1k_web_searches", Some("high")),
        Unit::FileSearch => ("usd_per_1k_file_searches", None),
        Unit::ContainerSession => ("usd_per_container_session", None),
        token => ("usd_per_1m_tokens", Some(token.word())),
    }
}

fn insert(fields: &mut Map<String, Value>, path: &[&str], value: Value) {
    let Some((last, before)) = path.split_last() else { return };
    let mut place = fields;
    for name in before {
        let inner = place.entry(*name).or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(inner) = inner else { return };
        place = inner;
    }
    place.insert((*last).to_owned(), value);
}

/// A model's prices as listed, in the fields of the file.
fn show(model: &ModelPrices, is_overridden: bool) -> Value {
    let mut fields = Map::new();
    for tier in Tier::ALL {
        for unit in Unit::ALL {
            for long in [false, true] {
                // Calls cost the same at every tier, long or not: said once.
                if unit.is_call() && (tier != Tier::Standard || long) {
                    continue;
                }
                let Some(price) = model.listed_price(tier, unit, long) else { continue };
                let (field, inner) = field_of(unit);
                let tier = Some(tier.word()).filter(|_| tier != Tier::Standard);
                let long = Some("long_context").filter(|_| long);
                let path: Vec<&str> = [long, Some(field), tier, inner].into_iter().flatten().collect();
                insert(&mut fields, &path, price.usd(unit.listed_by()).into());
            }
        }
    }
    if let Some(above) = model.long_context_above {
        insert(&mut fields, &["long_context", "above_input_tokens"], above.into());
    }
    for (region, per_mille) in &model.regions {
        let multiplier = format!("{}.{:03}", per_mille / 1_000, per_mille % 1_000);
        insert(&mut fields, &["regional_processing_multiplier", region], multiplier.into());
    }
    let images = model.images.iter().map(|image| {
        json!({"quality": image.quality, "size": image.size, "usd": image.price.usd(1), "tier": image.tier.word()})
    });
    let images: Vec<Value> = images.collect();
    if !images.is_empty() {
        insert(&mut fields, &["usd_per_image"], images.into());
    }
    let source = match model.source {
        Source::Shipped => "shipped",
        Source::Override => "override",
        Source::Demo => "demo",
    };
    let mut shown = json!({
        "object": "sallyport.price",
        "id": model.name,
        "model": model.name,
        "modality": model.modality.word(),
        "source": source,
        "is_overridden_by_api": is_overridden,
        "context_window_tokens": model.context_window_tokens,
        "max_input_tokens": model.max_input_tokens,
        "max_output_tokens": model.max_output_tokens,
        "deprecation_date": model.deprecation_date,
        "retired": model.retired,
    });
    crate::amounts::merge(&mut shown, fields);
    shown
}

impl Console {
    /// The table; `model` a part of names, `source` where prices come from.
    pub(crate) fn list_prices(&self, call: &Call<'_>) -> Answer {
        let (part, source) = (query(call, "model")?, query(call, "source")?);
        let source = match source.as_deref() {
            None => None,
            Some("shipped") => Some(Source::Shipped),
            Some("override") => Some(Source::Override),
            Some("demo") => Some(Source::Demo),
            Some(_) => return Err(invalid("source", "'source' must be shipped, override or demo.")),
        };
        let (table, snapshot) = (self.money.prices.table(), self.snapshot());
        let models: Vec<&ModelPrices> = table
            .models()
            .filter(|model| part.as_deref().is_none_or(|part| model.name.contains(part)))
            .filter(|model| source.is_none_or(|source| model.source == source))
            .collect();
        let show = |model: &&ModelPrices| show(model, snapshot.prices.contains_key(&model.name));
        let mut answer = page_of(call, PAGES, &models, |model| &model.name, show)?;
        let mut tools = Map::new();
        for unit in Unit::ALL {
            if let Some(price) = table.tool_price(unit) {
                let (field, inner) = field_of(unit);
                let path: Vec<&str> = [Some(field), inner].into_iter().flatten().collect();
                insert(&mut tools, &path, price.usd(unit.listed_by()).into());
            }
        }
        let age_days = table.age_days(self.now());
        answer["version"] = table.version().into();
        answer["as_of"] = table.as_of().into();
        answer["age_days"] = age_days.into();
        answer["is_old"] = (age_days >= pricing::OLD_DAYS).into();
        answer["missing"] = json!(table.missing());
        answer["tools"] = tools.into();
        answer["is_tools_overridden_by_api"] = snapshot.prices.contains_key(EVERY_MODEL).into();
        Ok(answer)
    }

    /// The model that a call means: in the path, or, for names with a slash, which no path can hold, beside it.
    fn priced_model(call: &Call<'_>, named: Option<String>) -> Result<String, Refusal> {
        let name = match call.param("model") {
            "" => named.ok_or_else(|| invalid("model", "Missing required parameter: 'model'."))?,
            name => name.to_owned(),
        };
        let is_name = (1..=pricing::NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
        is_name.then_some(name).ok_or_else(|| {
            invalid("model", format!("'model' must be a name of 1 to {} bytes.", pricing::NAME_BYTES_MAX))
        })
    }

    /// Sets the operator's prices of a model, in the place of those that the API had before. With `dry_run` in the
    /// query nothing is stored.
    pub(crate) async fn put_prices(&self, call: &Call<'_>) -> Answer {
        let fields = Fields::of(call)?;
        let named = fields.text("model")?;
        let model = Self::priced_model(call, named)?;
        let mut given = fields.into_map();
        given.remove("model");
        let toml = as_file(&model, given)?;
        let prices = PriceOverride { model: model.clone(), toml };
        let snapshot = self.snapshot();
        let others = snapshot.prices.values().filter(|other| other.model != model);
        let table = table_in_force(&self.money.prices, others.chain([&prices])).map_err(|error| senseless(&error))?;
        if !crate::input::query_flag(call, "dry_run")? {
            let payload = json!({"id": model, "changes_requested": {"toml": prices.toml}});
            let event = Event { kind: "prices.updated", project: None, payload };
            self.commit(call.actor(), Act::PutPrices(prices), vec![event]).await?;
            self.money.prices.set(table.clone());
        }
        let row = table.models().find(|row| row.name == model).map(|row| show(row, true));
        Ok(row.unwrap_or_else(|| json!({"object": "sallyport.price", "id": model, "model": model})))
    }

    /// Takes the operator's prices of a model away: what is shipped, or in the configuration, holds again.
    pub(crate) async fn delete_prices(&self, call: &Call<'_>) -> Answer {
        let model = Self::priced_model(call, query(call, "model")?)?;
        let snapshot = self.snapshot();
        if !snapshot.prices.contains_key(&model) {
            return Err(no_such("price set through the API", &model));
        }
        let others = snapshot.prices.values().filter(|other| other.model != model);
        let table = table_in_force(&self.money.prices, others).map_err(|error| senseless(&error))?;
        let event = Event { kind: "prices.deleted", project: None, payload: json!({"id": model}) };
        self.commit(call.actor(), Act::DeletePrices(model.clone()), vec![event]).await?;
        self.money.prices.set(table);
        Ok(deleted("sallyport.price.deleted", &model))
    }
}

fn senseless(error: &OverrideError) -> Refusal {
    let words = format!("'{}' of the prices of '{}': {}.", error.field, error.model, error.mend);
    invalid(error.field.clone(), words)
}

/// The fields of a model as the file of overrides that they stand for, read back to see that it can be.
fn as_file(model: &str, fields: Map<String, Value>) -> Result<String, Refusal> {
    let table = as_table("", fields)?;
    let mut file = toml::Table::new();
    if model == EVERY_MODEL {
        file.insert("tools".to_owned(), table.into());
    } else {
        file.insert("model".to_owned(), toml::Table::from_iter([(model.to_owned(), table.into())]).into());
    }
    let text = toml::to_string(&file);
    let text = text.map_err(|error| Refusal::new(Reason::InvalidValue, "These are no prices.").cause(error))?;
    Override::from_toml(&text).map_err(|error| senseless(&error)).map(|_| text)
}

fn as_table(at: &str, fields: Map<String, Value>) -> Result<toml::Table, Refusal> {
    let mut table = toml::Table::new();
    for (name, value) in fields {
        let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        if !value.is_null() {
            table.insert(name, as_toml(&at, value)?);
        }
    }
    Ok(table)
}

fn as_toml(at: &str, value: Value) -> Result<toml::Value, Refusal> {
    let wrong = |words: &str| invalid(at.to_owned(), format!("'{at}' {words}."));
    Ok(match value {
        Value::String(text) => text.into(),
        Value::Bool(value) => value.into(),
        // A number with a point was a float before anybody could read its digits.
        Value::Number(number) => match number.as_i64() {
            Some(number) => number.into(),
            None => return Err(wrong("must be dollars in quotes, like \"2.50\": they are read digit by digit")),
        },
        Value::Array(list) => list.into_iter().map(|value| as_toml(at, value)).collect::<Result<Vec<_>, _>>()?.into(),
        Value::Object(fields) => as_table(at, fields)?.into(),
        Value::Null => return Err(wrong("must not be null here")),
    })
}
