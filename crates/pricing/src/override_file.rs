//! The file of overrides: TOML, dollars in quotes, in the units of public price lists.
//!
//! Amounts are strings, because a number with a point would be read as a float. Every field is known by name; a wrong
//! one is refused with the names that fit.

use toml::{Table as Fields, Value};

use crate::overrides::{EVERY_MODEL, UnitPrice};
use crate::{ImagePrice, Modality, Override, OverrideError, Pico, Tier, Unit, decimal};

const MODEL_FIELDS: &str = "alias, modality, context_window_tokens, max_input_tokens, max_output_tokens, \
    usd_per_1m_tokens, usd_per_1m_characters, usd_per_audio_minute, usd_per_video_second, usd_per_1k_web_searches, \
    usd_per_1k_file_searches, usd_per_container_session, usd_per_image, long_context, regional_processing_multiplier";
const TOOL_FIELDS: &str = "usd_per_1k_web_searches, usd_per_1k_file_searches, usd_per_container_session";
const LONG_FIELDS: &str = "above_input_tokens, usd_per_1m_tokens";
const IMAGE_FIELDS: &str = "quality, size, usd, tier";
const SEARCH_SIZES: [(&str, Unit); 3] =
    [("low", Unit::WebSearchLow), ("medium", Unit::WebSearchMedium), ("high", Unit::WebSearchHigh)];

impl Override {
    /// The overrides that a file names: a table `[model."NAME"]` for each model, and `[tools]` for calls of hosted tools
    /// of every model. `docs/reference/prices.md` shows all fields.
    ///
    /// # Errors
    /// At the first field that cannot be read, with its mend.
    pub fn from_toml(text: &str) -> Result<Vec<Override>, OverrideError> {
        let file: Fields =
            text.parse().map_err(|error: toml::de::Error| OverrideError::new("", "file", error.to_string()))?;
        let mut overrides = Vec::new();
        for (section, value) in &file {
            let at = At { model: "", path: section.clone() };
            match section.as_str() {
                "tools" => overrides.push(tools(at.of_model(EVERY_MODEL), at.fields(value)?)?),
                "model" => {
                    for (name, value) in at.fields(value)? {
                        let at = At { model: name, path: String::new() };
                        overrides.push(model(&at, at.fields(value)?)?);
                    }
                }
                _ => return Err(at.wrong("no such section; there are `[model.\"NAME\"]` and `[tools]`")),
            }
        }
        Ok(overrides)
    }
}

fn model(at: &At<'_>, fields: &Fields) -> Result<Override, OverrideError> {
    let mut given = Override::of(at.model);
    for (name, value) in fields {
        let at = at.field(name);
        match name.as_str() {
            "alias" => given.alias = Some(at.text(value)?.to_owned()),
            "modality" => {
                let words = Modality::ALL.map(Modality::word).join(", ");
                let modality = Modality::from_word(at.text(value)?);
                given.modality = Some(modality.ok_or_else(|| at.wrong(format!("write one of {words}")))?);
            }
            "context_window_tokens" => given.context_window_tokens = Some(at.count(value)?),
            "max_input_tokens" => given.max_input_tokens = Some(at.count(value)?),
            "max_output_tokens" => given.max_output_tokens = Some(at.count(value)?),
            "usd_per_1m_tokens" => tokens(&at, value, false, &mut given)?,
            "long_context" => {
                for (name, value) in at.fields(value)? {
                    let at = at.field(name);
                    match name.as_str() {
                        "above_input_tokens" => given.long_context_above = Some(at.count(value)?),
                        "usd_per_1m_tokens" => tokens(&at, value, true, &mut given)?,
                        _ => return Err(at.unknown(LONG_FIELDS)),
                    }
                }
            }
            "usd_per_1m_characters" => at.price(value, Unit::Characters, &mut given)?,
            "usd_per_audio_minute" => at.price(value, Unit::AudioMilliseconds, &mut given)?,
            "usd_per_video_second" => at.price(value, Unit::VideoMilliseconds, &mut given)?,
            "usd_per_image" => given.images = images(&at, value)?,
            "regional_processing_multiplier" => {
                for (region, value) in at.fields(value)? {
                    let (at, text) = (at.field(region), at.field(region).text(value)?);
                    let per_mille = decimal::per_mille(text)
                        .map_err(|error| OverrideError::amount(at.model, &at.path, text, error))?;
                    given.regions.push((region.clone(), per_mille));
                }
            }
            _ if call(&at, name, value, &mut given)? => {}
            _ => return Err(at.unknown(MODEL_FIELDS)),
        }
    }
    Ok(given)
}

fn tools(at: At<'_>, fields: &Fields) -> Result<Override, OverrideError> {
    let mut given = Override::of(EVERY_MODEL);
    for (name, value) in fields {
        let at = at.field(name);
        if !call(&at, name, value, &mut given)? {
            return Err(at.unknown(TOOL_FIELDS));
        }
    }
    Ok(given)
}

/// Reads the price of a call. Whether the field names one.
fn call(at: &At<'_>, name: &str, value: &Value, given: &mut Override) -> Result<bool, OverrideError> {
    match (name, value) {
        ("usd_per_1k_web_searches", Value::Table(sizes)) => {
            for (size, value) in sizes {
                let at = at.field(size);
                let unit = SEARCH_SIZES.iter().find(|(word, _)| word == size);
                let (_, unit) = unit.ok_or_else(|| at.unknown("low, medium, high"))?;
                at.price(value, *unit, given)?;
            }
        }
        ("usd_per_1k_web_searches", _) => {
            for (_, unit) in SEARCH_SIZES {
                at.price(value, unit, given)?;
            }
        }
        ("usd_per_1k_file_searches", _) => at.price(value, Unit::FileSearch, given)?,
        ("usd_per_container_session", _) => at.price(value, Unit::ContainerSession, given)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Token prices: of the standard tier where a unit's name leads to an amount, of another where a tier's leads to units.
fn tokens(at: &At<'_>, value: &Value, long: bool, given: &mut Override) -> Result<(), OverrideError> {
    for (name, value) in at.fields(value)? {
        let at = at.field(name);
        if let Some(tier) = Tier::from_word(name) {
            for (name, value) in at.fields(value)? {
                at.field(name).token(value, tier, name, long, given)?;
            }
        } else {
            at.token(value, Tier::Standard, name, long, given)?;
        }
    }
    Ok(())
}

fn images(at: &At<'_>, value: &Value) -> Result<Vec<ImagePrice>, OverrideError> {
    let Value::Array(images) = value else {
        return Err(at.wrong("write [{ quality = \"high\", size = \"1024x1024\", usd = \"0.167\" }]"));
    };
    images.iter().map(|value| image(at, at.fields(value)?)).collect()
}

fn image(at: &At<'_>, fields: &Fields) -> Result<ImagePrice, OverrideError> {
    let (mut quality, mut size, mut price, mut tier) = (None, None, None, Tier::Standard);
    for (name, value) in fields {
        let at = at.field(name);
        let text = at.text(value)?;
        match name.as_str() {
            "quality" => quality = Some(text.to_owned()),
            "size" => size = Some(text.to_owned()),
            "usd" => price = Some(at.amount(text, 1)?),
            "tier" => tier = Tier::from_word(text).ok_or_else(|| at.unknown(&tier_words()))?,
            _ => return Err(at.unknown(IMAGE_FIELDS)),
        }
    }
    match (quality, size, price) {
        (Some(quality), Some(size), Some(price)) => Ok(ImagePrice { tier, quality, size, price, equivalent: false }),
        _ => Err(at.wrong("each image needs quality, size and usd")),
    }
}

fn tier_words() -> String {
    Tier::ALL.map(Tier::word).join(", ")
}

/// Where in the file a value is, for errors.
struct At<'a> {
    model: &'a str,
    path: String,
}

impl<'a> At<'a> {
    fn of_model<'b>(&self, model: &'b str) -> At<'b> {
        At { model, path: self.path.clone() }
    }

    fn field(&self, name: &str) -> At<'a> {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        At { model: self.model, path }
    }

    fn wrong(&self, mend: impl Into<String>) -> OverrideError {
        OverrideError::new(self.model, &self.path, mend)
    }

    fn unknown(&self, fitting: &str) -> OverrideError {
        self.wrong(format!("no such field; there are {fitting}"))
    }

    fn fields<'v>(&self, value: &'v Value) -> Result<&'v Fields, OverrideError> {
        value.as_table().ok_or_else(|| self.wrong("fields belong here: write a table"))
    }

    fn text<'v>(&self, value: &'v Value) -> Result<&'v str, OverrideError> {
        match value {
            Value::String(text) => Ok(text),
            Value::Integer(_) | Value::Float(_) => {
                Err(self.wrong("write the amount in quotes, like \"2.50\": it is read digit by digit"))
            }
            _ => Err(self.wrong("write a text in quotes")),
        }
    }

    fn count(&self, value: &Value) -> Result<u64, OverrideError> {
        let count = value.as_integer().and_then(|count| u64::try_from(count).ok());
        count.ok_or_else(|| self.wrong("write a whole number without quotes, like 128000"))
    }

    fn amount(&self, text: &str, pieces: u64) -> Result<Pico, OverrideError> {
        Pico::from_usd(text, pieces).map_err(|error| OverrideError::amount(self.model, &self.path, text, error))
    }

    fn price(&self, value: &Value, unit: Unit, given: &mut Override) -> Result<(), OverrideError> {
        let price = self.amount(self.text(value)?, unit.listed_by())?;
        given.prices.push(UnitPrice { tier: Tier::Standard, unit, long_context: false, price });
        Ok(())
    }

    fn token(
        &self,
        value: &Value,
        tier: Tier,
        name: &str,
        long_context: bool,
        given: &mut Override,
    ) -> Result<(), OverrideError> {
        let Some(unit) = Unit::from_word(name).filter(|unit| unit.is_token()) else {
            let units: Vec<&str> = Unit::ALL.into_iter().filter(|unit| unit.is_token()).map(Unit::word).collect();
            return Err(self.unknown(&format!("the units {} and the tiers {}", units.join(", "), tier_words())));
        };
        let price = self.amount(self.text(value)?, unit.listed_by())?;
        given.prices.push(UnitPrice { tier, unit, long_context, price });
        Ok(())
    }
}
